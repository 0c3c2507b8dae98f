//! Lines that are typed → stanzas: `/join`, `/msg` and the like.

use unicode_normalization::UnicodeNormalization as _;

use super::shown::{Shown, is_unseen};
use crate::wire::write;

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
//text         says /text
<stanza />     is sent as it is
anything else  goes to the room that was joined last
A name with blanks in it stands in quotes: /msg \"Ann Lee\" hi; a quote in it is \\\".";

/// Where the client stands, as far as its own commands tell.
#[derive(Debug, Default)]
pub(super) struct CommandContext {
    /// The room that was joined last.
    room: Option<String>,
}

/// What becomes of a line of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineAction {
    Send(Vec<u8>),
    /// Send it, and read no more input.
    SendLast(Vec<u8>),
    /// Nothing to send; something that was asked to be told.
    Tell(String),
    /// Nothing is sent, and why.
    Refuse(String),
    Nothing,
}

impl CommandContext {
    /// Reads one line of input.
    pub(super) fn line(&mut self, line: &str) -> LineAction {
        // Some editors begin a file with a mark of its encoding.
        let line = line.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if line.is_empty() {
            return LineAction::Nothing;
        }
        if let Some(element) = line.strip_prefix('<') {
            let stanza = line.as_bytes().to_vec();
            let after = element.strip_prefix("quit").unwrap_or("no");
            let quits = after.starts_with(|c: char| c.is_whitespace() || c == '/' || c == '>');
            return if quits { LineAction::SendLast(stanza) } else { LineAction::Send(stanza) };
        }
        if line.starts_with("//") {
            return self.say(&line[1..]);
        }
        if let Some(command) = line.strip_prefix('/') {
            let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
            return self.command(name, rest.trim());
        }
        if let Some(first) = disguise(line) {
            let code = u32::from(first);
            return LineAction::Refuse(format!(
                "not sent, since it looks like a command and begins with U+{code:04X}: type it anew"
            ));
        }
        self.say(line)
    }

    /// A message to the room that was joined last.
    fn say(&self, text: &str) -> LineAction {
        match &self.room {
            Some(room) => LineAction::Send(message("r", room, text)),
            None => LineAction::Refuse("no room joined: /join R first, or /msg N text".to_owned()),
        }
    }

    fn command(&mut self, name: &str, rest: &str) -> LineAction {
        let refuse = |text: &str| LineAction::Refuse(text.to_owned());
        // Where nothing but a name stands it may be in quotes, and may have blanks without them.
        let unquoted = match name_and_rest(rest) {
            Some((name, "")) => name,
            Some(_) | None => rest.to_owned(),
        };
        let whole = &*unquoted;
        match name {
            "nick" if whole.is_empty() => refuse("/nick N: a name is missing"),
            "nick" => LineAction::Send(request("connect", "nickname", whole)),
            "join" if whole.is_empty() => refuse("/join R: a room is missing"),
            "join" => {
                self.room = Some(whole.to_owned());
                LineAction::Send(request("join", "room", whole))
            }
            "leave" => {
                let room = Some(whole.to_owned())
                    .filter(|room| !room.is_empty())
                    .or_else(|| self.room.clone());
                let Some(room) = room else { return refuse("/leave R: a room is missing") };
                self.room.take_if(|joined| *joined == room);
                LineAction::Send(request("leave", "room", &room))
            }
            "msg" => self
                .to("c", rest)
                .unwrap_or_else(|| refuse("/msg N text: a nick or the text is missing")),
            "say" => self
                .to("r", rest)
                .unwrap_or_else(|| refuse("/say R text: a room or the text is missing")),
            "rooms" => LineAction::Send(b"<getrooms />".to_vec()),
            "quit" => LineAction::SendLast(b"<quit />".to_vec()),
            "help" => LineAction::Tell(HELP.to_owned()),
            _ => LineAction::Refuse(format!(
                "/{}: no such command, see /help; a text that begins with a slash is sent with two",
                Shown(name.as_bytes())
            )),
        }
    }

    /// A message to the first word of `rest`, or to the name in quotes that it begins with.
    fn to(&self, attribute: &str, rest: &str) -> Option<LineAction> {
        let (name, text) = name_and_rest(rest)?;
        Some(text).filter(|text| !text.is_empty() && !name.is_empty())?;
        Some(LineAction::Send(message(attribute, &name, text)))
    }
}

/// What a line begins with that looks like a command and is none, so that everybody would read it:
/// something unseen stands before the slash, or it is another letter that looks like one.
fn disguise(line: &str) -> Option<char> {
    let first = line.chars().next().filter(|first| !"/<".contains(*first))?;
    let seen = line.chars().filter(|c| !is_unseen(*c) && !c.is_whitespace());
    let mut seen = seen.nfkc();
    let (begins, word) = (seen.next()?, seen.next()?);
    let is_slash = "/\u{2044}\u{2215}\u{2571}\u{27cb}\u{29f8}<".contains(begins);
    (is_slash && word.is_ascii_alphabetic()).then_some(first)
}

/// The name that a text begins with, and what follows it: a word, or what stands in quotes, in
/// which `\\"` and `\\\\` are a quote and a backslash. `None` where a quote is not closed, or
/// something stands right behind it.
fn name_and_rest(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        return Some((name.to_owned(), rest.trim()));
    };
    let mut name = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let rest = &quoted[at + 1..];
                let apart = rest.is_empty() || rest.starts_with(char::is_whitespace);
                return apart.then(|| (name, rest.trim()));
            }
            '\\' if quoted[at + 1..].starts_with(['"', '\\']) => {
                name.extend(characters.next().map(|(_, escaped)| escaped));
            }
            _ => name.push(character),
        }
    }
    None
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(session: &mut CommandContext, line: &str) -> String {
        match session.line(line) {
            LineAction::Send(stanza) | LineAction::SendLast(stanza) => {
                String::from_utf8(stanza).unwrap()
            }
            LineAction::Tell(text) | LineAction::Refuse(text) => format!("! {text}"),
            LineAction::Nothing => String::new(),
        }
    }

    #[test]
    fn lines_become_stanzas() {
        let session = &mut CommandContext::default();
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
            ("/msg \"Ann Lee\" hi", r#"<m c="Ann Lee">hi</m>"#),
            (r#"/msg "A\"n\\" hi "you""#, r#"<m c="A&quot;n\">hi "you"</m>"#),
            ("/msg \"Ann Lee hi", "! /msg N text: a nick or the text is missing"),
            ("/msg \"Ann\"Lee hi", "! /msg N text: a nick or the text is missing"),
            ("/msg \"Ann Lee\"", "! /msg N text: a nick or the text is missing"),
            ("/msg \"\" hi", "! /msg N text: a nick or the text is missing"),
            ("/msg An\"n hi", r#"<m c="An&quot;n">hi</m>"#),
            ("/say \"big room\"  hi", r#"<m r="big room">hi</m>"#),
            ("/nick \"Ann Lee\"", r#"<connect nickname="Ann Lee" />"#),
            ("/nick Ann Lee", r#"<connect nickname="Ann Lee" />"#),
            ("/join \"big room\"", r#"<join room="big room" />"#),
            ("hi", r#"<m r="big room">hi</m>"#),
            ("/leave \"big room\"", r#"<leave room="big room" />"#),
            ("/rooms", "<getrooms />"),
            ("<ping  />", "<ping  />"),
            ("/quit", "<quit />"),
            ("//dance", r#"! no room joined: /join R first, or /msg N text"#),
            ("/join tea", r#"<join room="tea" />"#),
            (" //dance <now> ", r#"<m r="tea">/dance &lt;now&gt;</m>"#),
            ("///", r#"<m r="tea">//</m>"#),
            ("\u{feff}/rooms", "<getrooms />"),
            (
                "/dance",
                "! /dance: no such command, see /help; a text that begins with a slash is sent with two",
            ),
        ] {
            assert_eq!(sent(session, line), stanza, "{line:?}");
        }
    }

    #[test]
    fn what_looks_like_a_command_is_no_message() {
        let session = &mut CommandContext { room: Some("tea".to_owned()) };
        for (line, code) in [
            ("\u{200b}/msg Bob secret", "U+200B"),
            ("\u{2060} /msg Bob secret", "U+2060"),
            ("\u{3164}\u{200b}<connect password='x'/>", "U+3164"),
            ("\u{1}/msg Bob secret", "U+0001"),
            ("\u{ff0f}msg Bob secret", "U+FF0F"),
            ("\u{ff0f}\u{200b}\u{ff4d}sg Bob secret", "U+FF0F"),
            ("\u{2044}msg Bob secret", "U+2044"),
            ("\u{2215}msg Bob secret", "U+2215"),
        ] {
            let action = session.line(line);
            let LineAction::Refuse(text) = action else { panic!("{line:?}: {action:?}") };
            assert!(text.contains(code), "{text}");
        }
        for line in ["and/or", "\u{200b}hello", "\u{ff0f}\u{4eba}", "\u{200b}//x", "1 \u{2044} 2"] {
            assert!(matches!(session.line(line), LineAction::Send(_)), "{line:?}");
        }
    }

    #[test]
    fn quit_is_the_last_however_it_is_spelled() {
        let session = &mut CommandContext::default();
        for line in ["/quit", "<quit />", "<quit/>", "<quit></quit>"] {
            assert!(matches!(session.line(line), LineAction::SendLast(_)), "{line}");
        }
        for line in ["<quite />", "<m>quit</m>", "<q"] {
            assert!(matches!(session.line(line), LineAction::Send(_)), "{line}");
        }
    }
}
