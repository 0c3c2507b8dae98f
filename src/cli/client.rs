//! `palabre client`: a line client for people and for scripts.
//!
//! Two threads: this is no server. The main one has the connection, prints what arrives and ends
//! with it; the other reads the input and, at its end, has the connection's side closed, so that
//! whatever the server still has to say is printed. `commands` knows what may be typed, `line` is
//! the connection, `console` the terminal or the pipes, `shown` how a stanza is shown, `verdict`
//! what the exit code says.

mod commands;
mod console;
mod line;
pub(super) mod shown;
#[cfg(feature = "tls")]
mod trust;
mod verdict;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;

use argh::FromArgs;
use mio::Waker;
use zeroize::Zeroizing;

use super::terminal::password;
use super::{Exit, Failure, PROGRAM, command_line, complain, is_end_of_output, unsaid};
use crate::secret;
use crate::wire::write;
use commands::{CommandContext, LineAction};
use console::{ConsoleInput, Printer};
use line::{Pumped, ServerConnection};
use verdict::Outcome;

/// talk to a server: what is typed is sent, what arrives is printed, one stanza a line
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "client",
    help_triggers("-h", "--help", "help"),
    note = "A line that begins with < is sent as it is, one with / is a command (/help names them),
any other goes to the room that was joined last. In what is printed, a newline
within a stanza is \\n and a backslash \\\\, so that each stanza is one line; what can't
be seen is \\u{{…}}.",
    example = "Look who is there, in a script:
  $ printf '/join lobby\\n' | palabre client --nick me",
    error_code(1, "there is no connection, or it broke; the input can't be read"),
    error_code(4, "the login was refused"),
    error_code(5, "a request was refused, or a line was not sent")
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
    /// ask for root's password, and be root; in a pipe, the next line is it
    #[argh(switch)]
    rootpass: bool,
    /// speak TLS, with a server whose certificate an authority of this system vouches for
    #[argh(switch)]
    tls: bool,
    /// trust these instead: a PEM file with the certificates of authorities, or the server's own
    #[argh(option, arg_name = "file")]
    ca: Option<PathBuf>,
    /// the name that the certificate has to be for (default: the host of --connect)
    #[argh(option, arg_name = "host")]
    tls_name: Option<String>,
    /// take any certificate: nobody knows who reads along
    #[argh(switch)]
    insecure: bool,
}

/// What the input wants of the connection.
#[derive(Debug)]
enum InputStep {
    Send(Vec<u8>),
    /// A line was not sent.
    Withhold,
    /// The input can't be read any more.
    Unreadable,
    /// Nothing more is sent; the server's end is no news.
    End,
}

/// Talks to a server until the connection ends.
///
/// # Errors
/// When nobody answers there, when the connection breaks, and when something was refused.
pub(super) fn client(arguments: &Client) -> Result<Exit, Failure> {
    let server = &arguments.connect;
    check_options(arguments)?;
    let login = login(arguments)?;
    let mut line = ServerConnection::connect(arguments)?;
    let lost = |error| Failure::new(Exit::Failed, line::lost(server, &error, arguments.tls));
    // Closed, it would wake nobody: it lives as long as the connection.
    let waker = Arc::new(line.waker().map_err(lost)?);
    let own = Arc::clone(&waker);
    let (input, mut printer) = console::open();
    if input.is_typed() {
        complain(format_args!("connected to {server}; /help for help, /quit to end"));
    }
    let (sender, orders) = channel();
    let mut verdict = Outcome::new(login.is_some());
    if let Some(login) = login {
        line.queue(&login);
    }
    thread::spawn(move || {
        send_input(input, &sender, &own, &mut CommandContext::default());
        let _ = sender.send(InputStep::End);
        let _ = own.wake();
    });
    let talked = talk(&mut line, &orders, &mut printer, &mut verdict);
    drop(waker);
    printer.close();
    match talked {
        Ok(()) => verdict.exit(server),
        Err(Lost::Console(error)) if is_end_of_output(&error) => Ok(Exit::Success),
        Err(Lost::Console(error)) => Err(unsaid(PROGRAM, &error)),
        Err(Lost::Server(error)) => Err(lost(error)),
    }
}

fn check_options(arguments: &Client) -> Result<(), Failure> {
    let usage = |text: &str| Err(Failure::new(Exit::Usage, text));
    if arguments.nick.is_none() && (arguments.password || arguments.rootpass) {
        let option = if arguments.password { "--password" } else { "--rootpass" };
        return usage(&format!("{option} needs --nick NAME as well"));
    }
    let about_tls = arguments.ca.is_some() || arguments.tls_name.is_some() || arguments.insecure;
    if about_tls && !arguments.tls {
        return usage("--ca, --tls-name and --insecure are about TLS: they need --tls as well");
    }
    if arguments.insecure && arguments.ca.is_some() {
        return usage("--insecure takes any certificate, so --ca would mean nothing");
    }
    if arguments.tls && cfg!(not(feature = "tls")) {
        return usage("--tls needs a palabre with TLS in it: cargo build --release --features tls");
    }
    Ok(())
}

/// What is sent before anything that is typed.
fn login(arguments: &Client) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let Some(nick) = &arguments.nick else { return Ok(None) };
    let mut stanza = Zeroizing::new(b"<connect nickname=\"".to_vec());
    write::attribute_value(&mut stanza, nick);
    let secrets = [
        (arguments.password, "Password: ", &b"\" password=\""[..]),
        (arguments.rootpass, "Root's password: ", b"\" rootpass=\""),
    ];
    for (asked, prompt, attribute) in secrets {
        if asked {
            let password = password(prompt)?;
            let mut escaped = Zeroizing::new(Vec::with_capacity("&quot;".len() * password.len()));
            write::attribute_value(&mut escaped, &password);
            secret::append(&mut stanza, attribute);
            secret::append(&mut stanza, &escaped);
        }
    }
    secret::append(&mut stanza, b"\" />");
    Ok(Some(stanza))
}

/// Sends the input line by line until it ends. A NUL ends a line as well, for scripts that
/// already speak the protocol.
fn send_input(
    mut input: ConsoleInput,
    orders: &Sender<InputStep>,
    waker: &Waker,
    session: &mut CommandContext,
) {
    let mut line = Vec::new();
    loop {
        match input.read(&mut line) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                complain(format_args!("palabre: can't read the input: {error}"));
                // A line that is too long is a line that was not sent.
                let is_line = error.kind() == io::ErrorKind::FileTooLarge;
                let order = if is_line { InputStep::Withhold } else { InputStep::Unreadable };
                let _ = orders.send(order);
                return;
            }
        }
        for part in line.split(|byte| *byte == 0) {
            let action = core::str::from_utf8(part).map_or_else(
                |_| LineAction::Refuse("palabre: a line that is not UTF-8 was not sent".to_owned()),
                |part| session.line(part),
            );
            let is_last = matches!(action, LineAction::SendLast(_));
            let order = match action {
                LineAction::Send(stanza) | LineAction::SendLast(stanza) => InputStep::Send(stanza),
                LineAction::Tell(text) => {
                    complain(text);
                    continue;
                }
                LineAction::Refuse(text) => {
                    complain(text);
                    InputStep::Withhold
                }
                LineAction::Nothing => continue,
            };
            let sent = orders.send(order).is_ok() && waker.wake().is_ok();
            if is_last || !sent {
                return;
            }
        }
    }
}

/// Why talking ended before the server did.
#[derive(Debug)]
enum Lost {
    Server(io::Error),
    /// Nobody reads the output any more, or it can't be written.
    Console(io::Error),
}

/// Prints each stanza as one line, and sends what there is to send, until the server ends. What it
/// had begun is printed too.
fn talk(
    line: &mut ServerConnection,
    orders: &Receiver<InputStep>,
    printer: &mut Printer,
    verdict: &mut Outcome,
) -> Result<(), Lost> {
    let mut stanza = Vec::new();
    let mut received = Vec::new();
    loop {
        loop {
            match orders.try_recv() {
                Ok(InputStep::Send(request)) => {
                    verdict.sent(&request);
                    line.queue(&request);
                }
                Ok(InputStep::Withhold) => verdict.withheld(),
                Ok(InputStep::Unreadable) => verdict.unreadable(),
                Ok(InputStep::End) => {
                    verdict.leaves();
                    line.end();
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        received.clear();
        let pumped = line.pump(&mut received);
        let mut parts = received.split(|byte| *byte == 0).peekable();
        while let Some(part) = parts.next() {
            stanza.extend_from_slice(part);
            if parts.peek().is_some() {
                verdict.received(&stanza);
                printer.print(&stanza).map_err(Lost::Console)?;
                stanza.clear();
            }
        }
        printer.flush().map_err(Lost::Console)?;
        if pumped.map_err(Lost::Server)? == Pumped::Ended {
            break;
        }
        line.wait().map_err(Lost::Server)?;
    }
    verdict.ended(!stanza.is_empty());
    if !stanza.is_empty() {
        let printed = printer.print(&stanza).and_then(|()| printer.flush());
        printed.map_err(Lost::Console)?;
    }
    Ok(())
}
