//! What the worker says to the server, stanza by stanza, from whichever thread.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::{COMPLAINT_TIME_S, WORKER_LINE_BYTES_MAX};
use crate::wire::framer::FRAME_END;
use crate::wire::write;

/// How important a line of the log is, in the words of the plugin protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineLevel {
    Info,
    Warning,
    Error,
}

impl LineLevel {
    const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What there is to complain about; each is told once in [`COMPLAINT_TIME_S`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// The server says what it should not.
    Server,
    /// Too many passwords at once.
    Hashing,
    /// There is no memory to hash one.
    Memory,
    /// Too many questions for the database at once.
    Queue,
    /// The accounts file.
    Accounts,
    /// The database.
    Database,
}

/// What is said to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkerAnswer {
    Yes {
        /// The password is that of the nick's account.
        account: bool,
    },
    No,
    /// It could not be found out.
    Unknown {
        /// For what reason.
        why: &'static str,
        /// Something that could be found out says no.
        denied: bool,
    },
}

/// The number of topics.
const TOPICS: usize = Topic::Database as usize + 1;

/// The one way out.
pub(super) struct Voice(Mutex<Output>);

struct Output {
    output: Box<dyn Write + Send>,
    complaints: [Complaint; TOPICS],
}

#[derive(Clone, Copy, Default)]
struct Complaint {
    /// When it was told.
    told: Option<Instant>,
    /// How many were not told since.
    withheld: u64,
}

impl Voice {
    pub(super) fn new(output: impl Write + Send + 'static) -> Self {
        let complaints = [Complaint::default(); TOPICS];
        Self(Mutex::new(Output { output: Box::new(output), complaints }))
    }

    /// Which hooks the worker wants to be asked.
    pub(super) fn register(&self, hooks: &str) {
        let mut stanza = b"<register hooks='".to_vec();
        write::attribute_value(&mut stanza, hooks);
        stanza.extend_from_slice(b"' />");
        self.inner().say(stanza);
    }

    /// The answer to a question.
    pub(super) fn verdict(&self, ask: &str, answer: WorkerAnswer) {
        let mut stanza = b"<verdict ask='".to_vec();
        write::attribute_value(&mut stanza, ask);
        let (allowed, error) = match answer {
            WorkerAnswer::Yes { account: true } => ("' allowed='1' account='1", None),
            WorkerAnswer::Yes { account: false } => ("' allowed='1", None),
            WorkerAnswer::No => ("' allowed='0", None),
            WorkerAnswer::Unknown { why, denied } => {
                (if denied { "' allowed='0" } else { "" }, Some(why))
            }
        };
        stanza.extend_from_slice(allowed.as_bytes());
        if let Some(why) = error {
            stanza.extend_from_slice(b"' error='");
            write::attribute_value(&mut stanza, why);
        }
        stanza.extend_from_slice(b"' />");
        self.inner().say(stanza);
    }

    /// What the server is to tell the worker that comes after this one.
    pub(super) fn keep(&self, state: &str) {
        let mut stanza = b"<keep state='".to_vec();
        write::attribute_value(&mut stanza, state);
        stanza.extend_from_slice(b"' />");
        self.inner().say(stanza);
    }

    /// A line for the server's log.
    pub(super) fn log(&self, level: LineLevel, text: &str) {
        self.inner().log(level, text);
    }

    /// A line for the server's log, unless the same topic had one not long ago.
    pub(super) fn complain(&self, topic: Topic, text: &str) {
        self.complain_at(topic, text, Instant::now());
    }

    fn complain_at(&self, topic: Topic, text: &str, now: Instant) {
        let mut inner = self.inner();
        let complaint = &mut inner.complaints[topic as usize];
        let time = Duration::from_secs(COMPLAINT_TIME_S);
        if complaint.told.is_some_and(|told| now.duration_since(told) < time) {
            complaint.withheld += 1;
            return;
        }
        let withheld = core::mem::take(&mut complaint.withheld);
        complaint.told = Some(now);
        match withheld {
            0 => inner.log(LineLevel::Warning, text),
            count => {
                inner.log(
                    LineLevel::Warning,
                    &format!("{text} (and {count} more since the last line)"),
                );
            }
        }
    }

    /// There is nothing to complain about any more; the next complaint is told at once.
    pub(super) fn settled(&self, topic: Topic, text: &str) {
        let mut inner = self.inner();
        inner.complaints[topic as usize] = Complaint::default();
        inner.log(LineLevel::Info, text);
    }

    fn inner(&self) -> MutexGuard<'_, Output> {
        // A stanza is written as a whole or not at all, whoever panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    fn log(&mut self, level: LineLevel, text: &str) {
        let mut stanza = format!("<log level='{}'>", level.name()).into_bytes();
        // Characters that XML forbids can't be written in any way.
        let forbidden = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
        // One that is too long would be no stanza to the server, which ends who sends such.
        let max = text.len().min(WORKER_LINE_BYTES_MAX);
        let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let shown = &text[..end];
        let text = shown.replace(forbidden, "\u{fffd}");
        write::text(&mut stanza, &text);
        stanza.extend_from_slice(b"</log>");
        self.say(stanza);
    }

    fn say(&mut self, mut stanza: Vec<u8>) {
        stanza.push(FRAME_END);
        // A server that does not listen has ended, and the input with it.
        let _ = self.output.write_all(&stanza).and_then(|()| self.output.flush());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::limits::PLUGIN_STANZA_BYTES_MIN;

    #[derive(Clone, Default)]
    pub(in super::super) struct Heard(Arc<Mutex<Vec<u8>>>);

    impl Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is said, stanza by stanza.
    pub(in super::super) fn heard(speak: impl FnOnce(&Voice)) -> Vec<String> {
        let heard = Heard::default();
        speak(&Voice::new(heard.clone()));
        let bytes = heard.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn what_it_says_is_escaped() {
        let said = heard(|voice| {
            voice.register("isAuthorized isRoot");
            voice.verdict("1'7", WorkerAnswer::Yes { account: false });
            voice.verdict("18", WorkerAnswer::No);
            voice.verdict("19", WorkerAnswer::Unknown { why: "a<b", denied: false });
            voice.verdict("20", WorkerAnswer::Unknown { why: "it's gone", denied: true });
            voice.log(LineLevel::Error, "a<b\0\n");
        });
        let expected = [
            "<register hooks='isAuthorized isRoot' />",
            "<verdict ask='1&apos;7' allowed='1' />",
            "<verdict ask='18' allowed='0' />",
            "<verdict ask='19' error='a&lt;b' />",
            "<verdict ask='20' allowed='0' error='it&apos;s gone' />",
            "<log level='error'>a&lt;b\u{fffd}\u{fffd}</log>",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_line_is_no_longer_than_the_server_takes_a_stanza() {
        for text in ["'".repeat(100_000), "é".repeat(100_000), "\0".repeat(100_000)] {
            let said = heard(|voice| voice.log(LineLevel::Warning, &text));
            assert!(said[0].len() < PLUGIN_STANZA_BYTES_MIN, "{}", said[0].len());
            assert!(said[0].len() > WORKER_LINE_BYTES_MAX && said[0].ends_with("</log>"));
        }
    }

    #[test]
    fn the_same_complaint_is_told_once_in_a_while() {
        let start = Instant::now();
        let said = heard(|voice| {
            let complain = |topic, seconds| {
                voice.complain_at(topic, "oh", start + Duration::from_secs(seconds));
            };
            for seconds in [0, 0, COMPLAINT_TIME_S - 1] {
                complain(Topic::Queue, seconds);
            }
            complain(Topic::Database, 1);
            complain(Topic::Queue, COMPLAINT_TIME_S);
            complain(Topic::Queue, 2 * COMPLAINT_TIME_S);
            voice.settled(Topic::Queue, "well");
            complain(Topic::Queue, 2 * COMPLAINT_TIME_S);
        });
        let expected = [
            "<log level='warning'>oh</log>",
            "<log level='warning'>oh</log>",
            "<log level='warning'>oh (and 2 more since the last line)</log>",
            "<log level='warning'>oh</log>",
            "<log level='info'>well</log>",
            "<log level='warning'>oh</log>",
        ];
        assert_eq!(said, expected);
    }
}
