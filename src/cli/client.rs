//! `palabre client`: a line client for people and for scripts.
//!
//! Two threads, each with one direction: this is no server. The main one prints what arrives
//! and ends with the connection; the other reads the input and, at its end, closes its side, so
//! that whatever the server still has to say is printed.

use core::fmt;
use std::io::{self, BufRead, IsTerminal as _, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use argh::FromArgs;
use zeroize::Zeroizing;

use super::{Exit, Failure, complain, passwd};
use crate::secret;
use crate::wire::write;

/// talk to a server: what is typed is sent, what arrives is printed, one stanza a line
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "client",
    help_triggers("-h", "--help", "help"),
    note = "A line that begins with < is sent as it is, one with / is a command (/help names them),
any other goes to the room that was joined last. In what is printed, a newline
within a stanza is \\n and a backslash \\\\, so that each stanza is one line.",
    example = "Look who is there, in a script:
  $ printf '/join lobby\\n' | palabre client --nick me"
)]
pub(super) struct Client {
    /// the server (default: 127.0.0.1:2468)
    #[argh(option, arg_name = "host:port", default = "String::from(\"127.0.0.1:2468\")")]
    connect: String,
    /// log in under this name first
    #[argh(option, arg_name = "name")]
    nick: Option<String>,
    /// ask for the password of that name's account; in a pipe, the first line is it
    #[argh(switch)]
    password: bool,
}

/// What the help of the client says.
const HELP: &str = "\
/nick N        log in as N
/join R        join the room R; other lines then go there
/leave [R]     leave R, or the room that was joined last
/msg N text    to the nick N alone
/say R text    to the room R
/rooms         list the rooms
/help          this help
/quit          end
<stanza />     is sent as it is
anything else  goes to the room that was joined last";

/// Set before the connection is ended on purpose, so that its end is no news.
static LEAVING: AtomicBool = AtomicBool::new(false);

/// Talks to a server until the connection ends.
///
/// # Errors
/// When nobody answers there, or the connection breaks.
pub(super) fn client(arguments: &Client) -> Result<Exit, Failure> {
    let server = &arguments.connect;
    let mut login = login(arguments)?;
    let mut stream = connect(server)?;
    let lost =
        |error: io::Error| Failure::new(Exit::Failed, format_args!("lost {server}: {error}"));
    let mut sender = stream.try_clone().map_err(lost)?;
    if io::stdin().is_terminal() {
        complain(format_args!("connected to {server}; /help for help, /quit to end"));
    }
    let mut session = Session::default();
    send(&mut sender, &login).map_err(lost)?;
    if let Action::Send(stanza) = &mut login {
        secret::clear(stanza);
    }
    thread::spawn(move || {
        // The printing thread notices what becomes of the connection.
        let _ = send_input(io::stdin().lock(), &mut sender, &mut session);
        LEAVING.store(true, Ordering::Release);
        let _ = sender.shutdown(Shutdown::Write);
    });
    match print_stanzas(&mut stream, &mut io::stdout().lock()) {
        Ok(()) => {
            if !LEAVING.load(Ordering::Acquire) {
                complain(format_args!("{server} closed the connection"));
            }
            Ok(Exit::Success)
        }
        Err(Lost::Console) => Ok(Exit::Success),
        Err(Lost::Server(error)) => Err(lost(error)),
    }
}

/// What is sent before anything that is typed.
fn login(arguments: &Client) -> Result<Action, Failure> {
    match (&arguments.nick, arguments.password) {
        (None, false) => Ok(Action::Nothing),
        (None, true) => Err(Failure::new(Exit::Usage, "--password needs --nick NAME as well")),
        (Some(nick), false) => Ok(Session::default().command("nick", nick)),
        (Some(nick), true) => {
            let password = passwd::password("Password: ")?;
            // It does not move in memory while it grows.
            let escaped_max = "&quot;".len() * (nick.len() + password.len());
            let mut stanza = Vec::with_capacity(64 + escaped_max);
            stanza.extend_from_slice(b"<connect nickname=\"");
            write::attribute_value(&mut stanza, nick);
            stanza.extend_from_slice(b"\" password=\"");
            write::attribute_value(&mut stanza, &password);
            stanza.extend_from_slice(b"\" />");
            Ok(Action::Send(stanza))
        }
    }
}

fn connect(server: &str) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(server).map_err(|error| {
        let advice = if error.kind() == io::ErrorKind::ConnectionRefused {
            "\n  nobody listens there: start a server with `palabre`, or name another one with \
             --connect HOST:PORT"
        } else if error.kind() == io::ErrorKind::InvalidInput {
            "\n  --connect takes HOST:PORT, such as 127.0.0.1:2468 or [::1]:2468"
        } else {
            ""
        };
        Failure::new(Exit::Failed, format_args!("can't connect to {server}: {error}{advice}"))
    })?;
    // Lines are short, and somebody waits for each.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Where the client stands, as far as its own commands tell.
#[derive(Debug, Default)]
struct Session {
    /// The room that was joined last.
    room: Option<String>,
}

/// What becomes of a line of input.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    Send(Vec<u8>),
    /// Send it, and read no more input.
    SendLast(Vec<u8>),
    /// Nothing to send; something to tell the user.
    Tell(String),
    Nothing,
}

impl Session {
    /// Reads one line of input.
    fn line(&mut self, line: &str) -> Action {
        let line = line.trim();
        if line.is_empty() {
            return Action::Nothing;
        }
        if let Some(element) = line.strip_prefix('<') {
            let stanza = line.as_bytes().to_vec();
            let after = element.strip_prefix("quit").unwrap_or("no");
            let quits = after.starts_with(|c: char| c.is_whitespace() || c == '/' || c == '>');
            return if quits { Action::SendLast(stanza) } else { Action::Send(stanza) };
        }
        if let Some(command) = line.strip_prefix('/') {
            let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
            return self.command(name, rest.trim());
        }
        match &self.room {
            Some(room) => Action::Send(message("r", room, line)),
            None => Action::Tell("no room joined: /join R first, or /msg N text".to_owned()),
        }
    }

    fn command(&mut self, name: &str, rest: &str) -> Action {
        let tell = |text: &str| Action::Tell(text.to_owned());
        match name {
            "nick" if rest.is_empty() => tell("/nick N: a name is missing"),
            "nick" => Action::Send(request("connect", "nickname", rest)),
            "join" if rest.is_empty() => tell("/join R: a room is missing"),
            "join" => {
                self.room = Some(rest.to_owned());
                Action::Send(request("join", "room", rest))
            }
            "leave" => {
                let room = Some(rest.to_owned())
                    .filter(|room| !room.is_empty())
                    .or_else(|| self.room.clone());
                let Some(room) = room else { return tell("/leave R: a room is missing") };
                self.room.take_if(|joined| *joined == room);
                Action::Send(request("leave", "room", &room))
            }
            "msg" => self
                .to("c", rest)
                .unwrap_or_else(|| tell("/msg N text: a nick or the text is missing")),
            "say" => self
                .to("r", rest)
                .unwrap_or_else(|| tell("/say R text: a room or the text is missing")),
            "rooms" => Action::Send(b"<getrooms />".to_vec()),
            "quit" => Action::SendLast(b"<quit />".to_vec()),
            "help" => tell(HELP),
            _ => Action::Tell(format!("/{}: no such command, see /help", Shown(name.as_bytes()))),
        }
    }

    /// A message to the first word of `rest`.
    fn to(&self, attribute: &str, rest: &str) -> Option<Action> {
        let (name, text) = rest.split_once(char::is_whitespace)?;
        Some(Action::Send(message(attribute, name, text.trim())))
    }
}

fn request(name: &str, attribute: &str, value: &str) -> Vec<u8> {
    let mut stanza = format!("<{name} {attribute}=\"").into_bytes();
    write::attribute_value(&mut stanza, value);
    stanza.extend_from_slice(b"\" />");
    stanza
}

fn message(attribute: &str, to: &str, text: &str) -> Vec<u8> {
    let mut stanza = format!("<m {attribute}=\"").into_bytes();
    write::attribute_value(&mut stanza, to);
    stanza.extend_from_slice(b"\">");
    write::text(&mut stanza, text);
    stanza.extend_from_slice(b"</m>");
    stanza
}

/// Sends the input line by line until it ends. A NUL ends a line as well, for scripts that
/// already speak the protocol.
fn send_input(
    mut input: impl BufRead,
    sender: &mut impl Write,
    session: &mut Session,
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        for part in line.split(|byte| *byte == 0) {
            let Ok(part) = core::str::from_utf8(part) else {
                complain("palabre: a line that is not UTF-8 was not sent");
                continue;
            };
            let action = session.line(part);
            if matches!(action, Action::SendLast(_)) {
                LEAVING.store(true, Ordering::Release);
                return send(sender, &action);
            }
            send(sender, &action)?;
        }
    }
}

fn send(sender: &mut impl Write, action: &Action) -> io::Result<()> {
    match action {
        Action::Send(stanza) | Action::SendLast(stanza) => {
            let mut framed = Zeroizing::new(Vec::with_capacity(stanza.len() + 1));
            framed.extend_from_slice(stanza);
            framed.push(0);
            sender.write_all(&framed)
        }
        Action::Tell(text) => {
            complain(text);
            Ok(())
        }
        Action::Nothing => Ok(()),
    }
}

/// Why printing ended before the server did.
#[derive(Debug)]
enum Lost {
    Server(io::Error),
    /// Nobody reads the output any more.
    Console,
}

/// Prints each stanza as one line, until the server ends. What it had begun is printed too.
fn print_stanzas(server: &mut impl Read, console: &mut impl Write) -> Result<(), Lost> {
    let mut chunk = [0; 16 * 1024];
    let mut stanza = Vec::new();
    loop {
        let length = match server.read(&mut chunk) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Lost::Server(error)),
        };
        if length == 0 {
            break;
        }
        let mut parts = chunk[..length].split(|byte| *byte == 0).peekable();
        while let Some(part) = parts.next() {
            stanza.extend_from_slice(part);
            if parts.peek().is_some() {
                writeln!(console, "{}", Shown(&stanza)).map_err(|_| Lost::Console)?;
                stanza.clear();
            }
        }
        console.flush().map_err(|_| Lost::Console)?;
    }
    if stanza.is_empty() {
        return Ok(());
    }
    writeln!(console, "{}", Shown(&stanza))
        .and_then(|()| console.flush())
        .map_err(|_| Lost::Console)
}

/// A stanza as one line, without loss: newlines are `\n` and `\r`, a backslash is doubled,
/// whatever could command a terminal is `\u{…}`, and bytes that are no UTF-8 are `\x…`.
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            let mut rest = chunk.valid();
            while let Some(at) = rest.find(|c: char| c == '\\' || (c.is_control() && c != '\t')) {
                let (plain, special) = rest.split_at(at);
                f.write_str(plain)?;
                let mut characters = special.chars();
                for escaped in characters.next().into_iter().flat_map(char::escape_default) {
                    fmt::Write::write_char(f, escaped)?;
                }
                rest = characters.as_str();
            }
            f.write_str(rest)?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(session: &mut Session, line: &str) -> String {
        match session.line(line) {
            Action::Send(stanza) | Action::SendLast(stanza) => String::from_utf8(stanza).unwrap(),
            Action::Tell(text) => format!("! {text}"),
            Action::Nothing => String::new(),
        }
    }

    #[test]
    fn lines_become_stanzas() {
        let session = &mut Session::default();
        for (line, stanza) in [
            ("", ""),
            ("  \r\n", ""),
            ("hello", "! no room joined: /join R first, or /msg N text"),
            ("/nick A&B", r#"<connect nickname="A&amp;B" />"#),
            ("/join the \"lobby\"", r#"<join room="the &quot;lobby&quot;" />"#),
            ("1 < 2 & \"3\"\r\n", r#"<m r="the &quot;lobby&quot;">1 &lt; 2 &amp; "3"</m>"#),
            ("/msg N  hi  there ", r#"<m c="N">hi  there</m>"#),
            ("/say R hi", r#"<m r="R">hi</m>"#),
            ("/leave other", r#"<leave room="other" />"#),
            ("/leave", r#"<leave room="the &quot;lobby&quot;" />"#),
            ("/leave", "! /leave R: a room is missing"),
            ("/msg N", "! /msg N text: a nick or the text is missing"),
            ("/rooms", "<getrooms />"),
            ("<ping  />", "<ping  />"),
            ("/quit", "<quit />"),
            ("/dance", "! /dance: no such command, see /help"),
        ] {
            assert_eq!(sent(session, line), stanza, "{line:?}");
        }
    }

    #[test]
    fn quit_is_the_last_however_it_is_spelled() {
        let session = &mut Session::default();
        for line in ["/quit", "<quit />", "<quit/>", "<quit></quit>"] {
            assert!(matches!(session.line(line), Action::SendLast(_)), "{line}");
        }
        for line in ["<quite />", "<m>quit</m>", "<q"] {
            assert!(matches!(session.line(line), Action::Send(_)), "{line}");
        }
    }

    #[test]
    fn input_ends_at_quit_and_lines_end_at_nul_as_well() {
        let mut out = Vec::new();
        let input: &[u8] = b"<a />\0<b />\n<\xff>\n/quit\n<never />\n";
        send_input(input, &mut out, &mut Session::default()).unwrap();
        assert_eq!(out, b"<a />\0<b />\0<quit />\0");
        out.clear();
        send_input(&b"<a />"[..], &mut out, &mut Session::default()).unwrap();
        assert_eq!(out, b"<a />\0");
    }

    /// Gives its bytes in pieces.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    #[test]
    fn each_stanza_is_one_line_however_it_is_cut() {
        let bytes = "<a>é\nü</a>\0<b\r\n/>\0\0<c>\\ \u{9b}\t日</c>\0<d".as_bytes();
        for length in 1..=bytes.len() {
            let mut out = Vec::new();
            print_stanzas(&mut Pieces(bytes, length), &mut out).unwrap();
            let expected = "<a>é\\nü</a>\n<b\\r\\n/>\n\n<c>\\\\ \\u{9b}\t日</c>\n<d\n";
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{length}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_are_not_lost() {
        assert_eq!(Shown(b"<a>\xff\xc3</a>").to_string(), "<a>\\xff\\xc3</a>");
    }
}
