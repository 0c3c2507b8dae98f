//! What became of what was asked: the exit code of the client.

use super::super::{Exit, Failure};
use crate::limits::Limits;
use crate::wire::stanza::Parser;

/// Requests after which the server ends the connection itself.
const LAST: [&str; 4] = ["quit", "shutdown", "policy-file-request", "cross-domain-request"];

/// What is known so far.
pub(super) struct Outcome {
    parser: Parser,
    limits: Limits,
    /// Logins that have no answer yet.
    asked: usize,
    /// Whether a login was granted: after it there are no others.
    granted: bool,
    /// Whether the last login that was answered was refused.
    login_refused: bool,
    refused: usize,
    /// Lines that were not sent.
    withheld: usize,
    /// The input could not be read to its end, which has been told.
    unreadable: bool,
    leaving: bool,
    broken: bool,
}

impl Outcome {
    /// Nothing yet; `asked` is whether a login is sent first.
    pub(super) fn new(asked: bool) -> Self {
        Self {
            parser: Parser::new(),
            // What a server sends is held to its own limits.
            limits: Limits { depth_max: 0, attributes_max: 0, ..Limits::default() },
            asked: usize::from(asked),
            granted: false,
            login_refused: false,
            refused: 0,
            withheld: 0,
            unreadable: false,
            leaving: false,
            broken: false,
        }
    }

    /// A request is sent.
    pub(super) fn sent(&mut self, request: &[u8]) {
        let Ok(stanza) = self.parser.parse(request, &self.limits) else { return };
        let name = stanza.name();
        self.asked += usize::from(name == "connect" && !self.granted);
        self.leaving |= LAST.contains(&name);
    }

    /// A line was not sent.
    pub(super) const fn withheld(&mut self) {
        self.withheld += 1;
    }

    /// What is still in the input can't be read.
    pub(super) const fn unreadable(&mut self) {
        self.unreadable = true;
    }

    /// Nothing more is sent.
    pub(super) const fn leaves(&mut self) {
        self.leaving = true;
    }

    /// A stanza has arrived.
    pub(super) fn received(&mut self, stanza: &[u8]) {
        let Ok(stanza) = self.parser.parse(stanza, &self.limits) else { return };
        match stanza.name() {
            "connect" => {
                self.granted = stanza.value("isok").as_deref() == Some("1");
                self.login_refused = !self.granted;
                // Those behind one that was granted are no logins for the server either.
                self.asked = if self.granted { 0 } else { self.asked.saturating_sub(1) };
            }
            // One with a sender is another client's.
            "error" if stanza.value("f").is_none() => self.refused += 1,
            _ => {}
        }
    }

    /// The server has ended; `within` a stanza.
    pub(super) const fn ended(&mut self, within: bool) {
        self.broken = within || !self.leaving;
    }

    /// The exit code: what went wrong first stands first.
    pub(super) fn exit(&self, server: &str) -> Result<Exit, Failure> {
        if self.login_refused {
            Err(Failure::new(Exit::NotPermitted, "the login was refused"))
        } else if self.broken {
            Err(Failure::new(Exit::Failed, format_args!("{server} closed the connection")))
        } else if self.asked > 0 {
            let text = format_args!("{server} closed the connection and left the login unanswered");
            Err(Failure::new(Exit::Failed, text))
        } else {
            let counted = |count, one, several| {
                (count > 0).then(|| format!("{count} {}", if count == 1 { one } else { several }))
            };
            let undone = [
                counted(self.refused, "request refused", "requests refused"),
                counted(self.withheld, "line not sent", "lines not sent"),
            ];
            let undone: Vec<String> = undone.into_iter().flatten().collect();
            match (self.unreadable, undone.is_empty()) {
                (false, true) => Ok(Exit::Success),
                (true, true) => Err(Failure { exit: Exit::Failed, text: String::new() }),
                (false, false) => Err(Failure::new(Exit::Refused, undone.join(", "))),
                (true, false) => Err(Failure::new(Exit::Failed, undone.join(", "))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(sent: &[&str], received: &[&str], leaves: bool, within: bool) -> Exit {
        let mut verdict = Outcome::new(true);
        sent.iter().for_each(|request| verdict.sent(request.as_bytes()));
        received.iter().for_each(|stanza| verdict.received(stanza.as_bytes()));
        if leaves {
            verdict.leaves();
        }
        verdict.ended(within);
        verdict.exit("there").unwrap_or_else(|failure| failure.exit)
    }

    #[test]
    fn what_was_refused_and_what_broke_is_told_apart() {
        let (yes, no) = ("<connect isok='1' msg='hi'/>", "<connect isok='0' msg='no'/>");
        let error = "<error>no</error>";
        assert_eq!(exit(&[], &[yes, "<pong />"], true, false), Exit::Success);
        assert_eq!(exit(&[], &[no, error], true, false), Exit::NotPermitted);
        assert_eq!(
            exit(&["<connect nickname='b'/>"], &[no, error, yes], true, false),
            Exit::Refused
        );
        assert_eq!(exit(&[], &[yes, error], true, false), Exit::Refused);
        // Another login behind one that was granted is a request like others.
        let again = "<connect nickname='b'/>";
        assert_eq!(exit(&[again], &[yes, error], true, false), Exit::Refused);
        assert_eq!(exit(&[again, again], &[no, error, yes, error], true, false), Exit::Refused);
        let mut verdict = Outcome::new(true);
        verdict.received(yes.as_bytes());
        verdict.sent(again.as_bytes());
        verdict.received(error.as_bytes());
        verdict.withheld();
        verdict.leaves();
        verdict.ended(false);
        let told = verdict.exit("there").unwrap_err();
        assert_eq!(
            (told.exit, &*told.text),
            (Exit::Refused, "palabre: 1 request refused, 1 line not sent")
        );
        assert_eq!(exit(&[], &[yes, "<error f='Bob'>no</error>"], true, false), Exit::Success);
        assert_eq!(exit(&[], &[], true, false), Exit::Failed);
        assert_eq!(exit(&[], &[yes], false, false), Exit::Failed);
        assert_eq!(exit(&[], &[yes], true, true), Exit::Failed);
        assert_eq!(exit(&["<shutdown/>"], &[yes], false, false), Exit::Success);
        assert_eq!(exit(&["<policy-file-request/>"], &[yes], false, false), Exit::Success);
    }
}
