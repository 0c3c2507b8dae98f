//! What a run can fail by, each with the words that tell it.

use std::fmt;
use std::io;

use crate::config::nearest_told;

/// Why a run failed.
#[derive(Debug)]
pub enum Fault {
    /// The system refused something.
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The server did not tell where it listens.
    NotStarted {
        /// Which one.
        name: &'static str,
    },
    /// `--connect` names no address.
    NoAddress {
        /// What it says.
        place: String,
    },
    /// More connections than this process may have.
    TooManyConnections {
        /// So many are wanted.
        connections: usize,
        /// So many descriptors there are.
        possible: usize,
    },
    /// The server answered with an `<error>`.
    Refused {
        /// The whole stanza.
        text: String,
    },
    /// The server closed a connection.
    Closed {
        /// Its number.
        who: usize,
    },
    /// What stands between a connection and its stanzas failed.
    Transport {
        /// Which connection, and what is wrong.
        what: String,
    },
    /// No certificate for the server that is to be measured.
    NoCertificate {
        /// What is wrong.
        what: String,
    },
    /// Options that a workload does not take, or that don't go together.
    Usage {
        /// What is wrong, and what would be right.
        text: String,
    },
    /// The server said nothing for too long.
    Silent {
        /// What its answers were to begin with.
        wanted: &'static str,
        /// So many came.
        seen: usize,
        /// So many were wanted.
        count: usize,
    },
    /// Deliveries never came.
    Missing {
        /// How many.
        count: u64,
    },
    /// A delivery came before one that it should follow.
    Skipped {
        /// Whose message.
        stream: usize,
        /// The number that was to come.
        expected: u32,
        /// The number that came.
        number: u32,
    },
    /// A delivery came twice, or was never sent.
    Doubled {
        /// Whose message.
        stream: usize,
        /// Its number.
        number: u32,
    },
    /// A delivery came to somebody who should not have it.
    Stray {
        /// Who got it.
        who: usize,
        /// Whose message.
        stream: usize,
    },
    /// A delivery is not what was sent.
    Garbled {
        /// What came.
        frame: String,
    },
    /// A frame has no end.
    FrameTooLarge {
        /// After so many bytes.
        bytes: usize,
    },
    /// Not everybody heard of everybody who came.
    Presence {
        /// So many heard.
        heard: u64,
        /// So many should have.
        wanted: u64,
    },
    /// A reader that never reads was not cut off.
    NotCutOff {
        /// After so many seconds.
        seconds: u64,
    },
    /// Something that the workload promises does not hold.
    Broken {
        /// What.
        what: String,
    },
    /// Ctrl-C or another signal, before there was anything to print.
    Interrupted,
}

impl Fault {
    /// A transport's, of the connection of this number.
    pub(super) fn transport(who: usize, over: &str, what: &str) -> Self {
        Self::Transport { what: format!("connection {who} over {over}: {what}") }
    }

    pub(super) fn system(what: &'static str, source: io::Error) -> Self {
        Self::System { what, source }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { what, source } => write!(f, "can't {what}: {source}"),
            Self::NotStarted { name } => write!(f, "{name} did not start"),
            Self::NoAddress { place } => {
                write!(f, "--connect {place}: no such address, needs HOST:PORT")
            }
            Self::TooManyConnections { connections, possible } => write!(
                f,
                "{connections} connections are too many: {possible} files may be open (`ulimit -n`)"
            ),
            Self::Refused { text } => write!(
                f,
                "the server answered {text}; is one of its limits in the way ([limits] of its \
                 configuration: stanzarate = 0, byterate = 0, listrate = 0, sessions, \
                 sessionsperaddress)?"
            ),
            Self::Closed { who } => write!(f, "the server closed connection {who}"),
            Self::Transport { what } => f.write_str(what),
            Self::NoCertificate { what } => write!(f, "no TLS: {what}"),
            Self::Usage { text } => f.write_str(text),
            Self::Silent { wanted, seen, count } => {
                write!(f, "the server went silent: {seen} of {count} answers {wanted}… came")
            }
            Self::Missing { count } => write!(f, "{count} deliveries are missing"),
            Self::Skipped { stream, expected, number } => write!(
                f,
                "out of order or missing: message {number} of sender {stream} came where \
                 {expected} was due"
            ),
            Self::Doubled { stream, number } => {
                write!(f, "message {number} of sender {stream} came twice or was never sent")
            }
            Self::Stray { who, stream } => {
                write!(f, "connection {who} got a message of sender {stream} that is not for it")
            }
            Self::Garbled { frame } => write!(f, "not what was sent: {frame}"),
            Self::FrameTooLarge { bytes } => write!(f, "a frame of more than {bytes} bytes"),
            Self::Presence { heard, wanted } => {
                write!(f, "joins were heard of {heard} times, should be {wanted}")
            }
            Self::NotCutOff { seconds } => {
                write!(f, "the one that never reads was not cut off in {seconds} s")
            }
            Self::Broken { what } => f.write_str(what),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::System { source, .. } = self { Some(source) } else { None }
    }
}

/// What is told of a name that is none of those that can stand there.
pub(super) fn needs_one_of(found: &str, names: &[&str]) -> String {
    format!("found {found:?}, needs one of {}{}", names.join(", "), near(found, names))
}

/// The name that may be meant, as it is told behind the others.
pub(super) fn near(found: &str, names: &[&str]) -> String {
    if names.contains(&found) {
        return String::new();
    }
    nearest_told(found, names.iter().copied())
}
