//! The most memory that a server by a configuration can take, as a sum: what each of its parts is
//! bounded by, and the keys that lower it.
//!
//! It is the worst case of everything at once, with what a growing buffer has beside its bytes, and
//! far from what a server takes. What the system keeps for sockets is its own and not in it; nor is
//! what an allocator does not give back, which is of memory that is in it.

use core::fmt;

use super::Config;
use crate::limits::{
    ACCOUNTS_FILE_BYTES_MAX, ADDRESSES_REMEMBERED_MAX, HASH_MEMORY_KIB_MAX, HASH_THREADS_MAX,
    LISTERS_MAX, LOG_ADDRESSES_MAX, LOG_BYTES_MAX, LOGIN_BYTES_MAX, PLUGIN_NAME_BYTES_MAX,
    PLUGIN_NAMES_MAX, PLUGIN_STANZA_BYTES_MIN, READ_BYTES_PER_TURN, TURN_BYTES_MAX,
    TURN_PIECES_MAX,
};

/// The program with nobody in it: 5.0 MB resident, 6.5 with a certificate (`palabre-bench idle`),
/// and what it keeps of the largest turn.
const PROGRAM_BYTES: usize = 12 * MIB;

/// The same of the process that checks passwords, with a database's library.
const WORKER_BYTES: usize = 12 * MIB;

const MIB: usize = 1_048_576;

/// A buffer that grows is given twice what it had.
const GROWTH: usize = 2;

/// A connection, its session, its places in tables and timers, without names: 454 bytes resident
/// with a short nick (`palabre-bench idle`), and what a session has that is held up.
const SESSION_BYTES: usize = 1_536;

/// The nick as it is shown, and twice as it is compared, where it can be longer.
const NICKS: usize = 4;

/// What TLS keeps for an idle connection (`palabre-bench idle --over tls`: 4.2 KB), and the
/// handshake or the record that has not come as a whole: 64 KiB of one, and what was read last.
const TLS_BYTES: usize = 5_120 + GROWTH * (65_536 + READ_BYTES_PER_TURN);

/// A room without params, name and members: 640 bytes with its places in tables.
const ROOM_BYTES: usize = 640;

/// A membership: the room's key in the session, the session's id in the room, and again in lists
/// of the room that are sent in parts.
const MEMBERSHIP_BYTES: usize = GROWTH * (4 + 8 + 2 * 8);

/// A place in the list of a parent and of its child.
const LISTING_BYTES: usize = GROWTH * (4 + 4);

/// A piece of a delivery.
const PIECE_BYTES: usize = 32;

/// An address whose failed logins are remembered, or whose lines in the log are counted.
const ADDRESS_BYTES: usize = 128;

/// What waits for a plugin: events and answers, each up to `limits.backlog`.
const PLUGIN_BACKLOGS: usize = 2;

/// An account beside its line in the file: its nick as it is compared, and its place.
const ACCOUNTS_GROWTH: usize = 3;

/// One part of the sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// What takes it.
    pub what: String,
    /// So many bytes at most; `None` where the configuration has lifted what bounds it.
    pub bytes: Option<usize>,
    /// What makes it less.
    pub keys: &'static str,
    /// It is in a process of its own, beside the server's.
    pub beside: bool,
}

/// The sum of what a server can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Its parts, in the order in which they are told.
    pub terms: Vec<Term>,
}

impl Memory {
    /// All of it; `None` where a part has no bound.
    #[must_use]
    pub fn total_bytes(&self) -> Option<usize> {
        sum(self.terms.iter())
    }

    /// The part of the server's own process, without those that it starts.
    #[must_use]
    pub fn server_bytes(&self) -> Option<usize> {
        sum(self.terms.iter().filter(|term| !term.beside))
    }
}

fn sum<'a>(mut terms: impl Iterator<Item = &'a Term>) -> Option<usize> {
    terms.try_fold(0_usize, |sum, term| Some(sum.saturating_add(term.bytes?)))
}

/// One line for the number, and one for each term, the largest first.
impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total_bytes() {
            Some(bytes) => write!(f, "memory: {} at most, the sum of", mebibytes(bytes))?,
            None => f.write_str("memory: without a limit, the sum of")?,
        }
        let mut terms: Vec<&Term> = self.terms.iter().collect();
        terms.sort_by_key(|term| core::cmp::Reverse(term.bytes.unwrap_or(usize::MAX)));
        for term in terms {
            let bytes = term.bytes.map_or_else(|| "no limit".to_owned(), mebibytes);
            write!(f, "\n  {bytes:>12}  {}", term.what)?;
            if !term.keys.is_empty() {
                write!(f, "; less by {}", term.keys)?;
            }
        }
        Ok(())
    }
}

/// In MiB, rounded up.
fn mebibytes(bytes: usize) -> String {
    format!("{} MiB", bytes.div_ceil(MIB))
}

impl Config {
    /// What a server by this configuration can take, where no more than `possible` sessions can be
    /// open at once: the limit of open files, less what the server keeps back.
    #[must_use]
    pub fn memory(&self, possible: usize) -> Memory {
        let limits = &self.settings.limits;
        let sessions = match limits.sessions_max {
            0 => possible,
            max => max.min(possible),
        };
        let terms = vec![
            self.sessions(sessions),
            self.unread(sessions),
            self.backlog(),
            Term {
                what: "params of rooms and clients".to_owned(),
                bytes: Some(limits.params_total_bytes_max),
                keys: "[limits] paramstotal",
                beside: false,
            },
            self.rooms(sessions),
            turn(limits.backlog_bytes_max),
            Term {
                what: "logins that are asked about, addresses, the log".to_owned(),
                bytes: Some(
                    LOGIN_BYTES_MAX
                        + (ADDRESSES_REMEMBERED_MAX + LOG_ADDRESSES_MAX + sessions) * ADDRESS_BYTES
                        + GROWTH * LOG_BYTES_MAX,
                ),
                keys: "",
                beside: false,
            },
            self.plugins(),
            Term {
                what: "the program".to_owned(),
                bytes: Some(PROGRAM_BYTES),
                keys: "",
                beside: false,
            },
            self.worker(),
        ];
        Memory { terms: terms.into_iter().filter(|term| term.bytes != Some(0)).collect() }
    }

    fn sessions(&self, sessions: usize) -> Term {
        let limits = &self.settings.limits;
        Term {
            what: format!("{sessions} sessions, with nothing to say"),
            bytes: Some(sessions.saturating_mul(SESSION_BYTES + NICKS * limits.nick_bytes_max)),
            keys: "[limits] sessions",
            beside: false,
        }
    }

    /// What was received and is no whole stanza yet, or waits for its turn.
    fn unread(&self, sessions: usize) -> Term {
        let stanza = self.settings.limits.stanza_bytes_max.saturating_add(READ_BYTES_PER_TURN);
        let tls = if self.web.tls.is_some() { TLS_BYTES } else { 0 };
        let each = stanza.saturating_mul(GROWTH).saturating_add(tls);
        Term {
            what: format!(
                "a stanza of each that has not come as a whole{}",
                match tls {
                    0 => "",
                    _ => ", and its TLS",
                }
            ),
            bytes: Some(sessions.saturating_mul(each)),
            keys: "[limits] sessions, stanzabytes",
            beside: false,
        }
    }

    fn backlog(&self) -> Term {
        let limits = &self.settings.limits;
        let bytes = limits.backlog_total_bytes_max.saturating_add(limits.backlog_bytes_max);
        Term {
            what: "what waits for slow readers".to_owned(),
            bytes: Some(bytes.saturating_mul(GROWTH)),
            keys: "[limits] backlogtotal",
            beside: false,
        }
    }

    fn rooms(&self, sessions: usize) -> Term {
        let limits = &self.settings.limits;
        let memberships = match (limits.rooms_per_client_max, limits.rooms_max) {
            (0, 0) => None,
            (0, rooms) => Some(sessions.saturating_mul(rooms)),
            (each, _) => Some(sessions.saturating_mul(each)),
        };
        // A room without members is gone.
        let rooms = match limits.rooms_max {
            0 => memberships,
            rooms => Some(memberships.map_or(rooms, |memberships| memberships.min(rooms))),
        };
        let bytes = memberships.zip(rooms).map(|(memberships, rooms)| {
            let each = ROOM_BYTES
                .saturating_add(limits.room_bytes_max.saturating_mul(2))
                .saturating_add(LISTERS_MAX * LISTING_BYTES);
            rooms.saturating_mul(each).saturating_add(memberships.saturating_mul(MEMBERSHIP_BYTES))
        });
        Term {
            what: "rooms, their members and child rooms".to_owned(),
            bytes,
            keys: "[limits] rooms, roomsperclient",
            beside: false,
        }
    }

    fn plugins(&self) -> Term {
        let limits = &self.settings.limits;
        let stanza = limits.stanza_bytes_max.max(PLUGIN_STANZA_BYTES_MIN);
        let stanza = stanza.saturating_add(READ_BYTES_PER_TURN);
        let waiting = limits.backlog_bytes_max.saturating_mul(PLUGIN_BACKLOGS);
        let each = waiting.saturating_add(stanza).saturating_mul(GROWTH);
        let each = each.saturating_add(2 * PLUGIN_NAMES_MAX * PLUGIN_NAME_BYTES_MAX);
        Term {
            what: "what waits for plugins, without their own processes".to_owned(),
            bytes: Some(self.modules.len().saturating_mul(each)),
            keys: "[limits] backlog, [modules] list",
            beside: false,
        }
    }

    /// The process that checks passwords.
    fn worker(&self) -> Term {
        let has_hashes = self.accounts.file.is_some() || self.accounts.root.is_some();
        let hashing = HASH_THREADS_MAX * HASH_MEMORY_KIB_MAX as usize * 1_024;
        let hashing = if has_hashes { hashing } else { 0 };
        let file = match self.accounts.file {
            Some(_) => ACCOUNTS_GROWTH * usize::try_from(ACCOUNTS_FILE_BYTES_MAX).unwrap_or(0),
            None => 0,
        };
        let asked = if self.accounts.needs_worker() { WORKER_BYTES + LOGIN_BYTES_MAX } else { 0 };
        Term {
            what: "the process that checks passwords: hashes as costly as may be, the largest file"
                .to_owned(),
            bytes: Some(hashing + file + asked),
            keys: "",
            beside: true,
        }
    }
}

/// What one turn encodes, once as it is and once in frames, a list or an answer that goes beyond
/// what a turn may, and the pieces of it.
fn turn(backlog_bytes_max: usize) -> Term {
    let encoded = TURN_BYTES_MAX.saturating_add(backlog_bytes_max / 4);
    Term {
        what: "what one turn has to deliver".to_owned(),
        bytes: Some((2 * GROWTH).saturating_mul(encoded) + GROWTH * TURN_PIECES_MAX * PIECE_BYTES),
        keys: "",
        beside: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::web::Tls;
    use crate::limits::Limits;

    const SESSIONS: usize = 1_000;

    fn with(change: impl FnOnce(&mut Config)) -> Memory {
        let mut config = Config::default();
        change(&mut config);
        config.memory(SESSIONS)
    }

    fn with_limits(change: impl FnOnce(&mut Limits)) -> Memory {
        with(|config| change(&mut config.settings.limits))
    }

    fn total(memory: &Memory) -> usize {
        memory.total_bytes().unwrap()
    }

    #[test]
    fn every_key_that_is_named_makes_it_less() {
        let usual = total(&with(|_| ()));
        type Change = fn(&mut Limits);
        let lower: [(&str, Change); 9] = [
            ("sessions", |limits| limits.sessions_max = 10),
            ("stanzabytes", |limits| limits.stanza_bytes_max /= 2),
            ("nickbytes", |limits| limits.nick_bytes_max /= 2),
            ("roombytes", |limits| limits.room_bytes_max /= 2),
            ("paramstotal", |limits| limits.params_total_bytes_max /= 2),
            ("roomsperclient", |limits| limits.rooms_per_client_max = 1),
            ("rooms", |limits| limits.rooms_max = 100),
            ("backlog", |limits| limits.backlog_bytes_max /= 2),
            ("backlogtotal", |limits| limits.backlog_total_bytes_max /= 2),
        ];
        for (key, change) in lower {
            let less = total(&with_limits(change));
            assert!(less < usual, "{key}: {less} of {usual}");
        }
        // And what holds nothing by itself makes none.
        let same: [Change; 5] = [
            |limits| limits.stanza_rate_per_s = 1,
            |limits| limits.params_max = 0,
            |limits| limits.login_time_s = 0,
            |limits| limits.sessions_per_address_max = 0,
            |limits| limits.backlog_soft_bytes_max /= 2,
        ];
        for change in same {
            assert_eq!(total(&with_limits(change)), usual);
        }
    }

    #[test]
    fn each_part_is_what_its_key_allows() {
        let params = |memory: &Memory| {
            memory.terms.iter().position(|term| {
                term.keys == "[limits] paramstotal" && term.bytes == Some(5_000_000)
            })
        };
        assert!(params(&with_limits(|limits| limits.params_total_bytes_max = 5_000_000)).is_some());
        // Sessions beyond the limit of open files are none, and 0 is as many as it allows.
        for sessions in [0, SESSIONS, SESSIONS + 1] {
            let memory = with_limits(|limits| limits.sessions_max = sessions);
            assert_eq!(total(&memory), total(&with(|_| ())), "{sessions}");
        }
        let one = |count: usize| total(&with_limits(|limits| limits.sessions_max = count));
        let limits = Limits::default();
        let stanza = 2 * (limits.stanza_bytes_max + READ_BYTES_PER_TURN);
        let rooms = limits.rooms_per_client_max
            * (ROOM_BYTES
                + 2 * limits.room_bytes_max
                + LISTERS_MAX * LISTING_BYTES
                + MEMBERSHIP_BYTES);
        let each = stanza + SESSION_BYTES + NICKS * limits.nick_bytes_max + ADDRESS_BYTES + rooms;
        assert_eq!(one(11) - one(10), each);
    }

    #[test]
    fn what_is_lifted_is_said_to_have_no_limit() {
        let memory = with_limits(|limits| limits.rooms_max = 0);
        assert!(memory.total_bytes().is_some(), "a room without members is gone");
        let memory = with_limits(|limits| {
            limits.rooms_max = 0;
            limits.rooms_per_client_max = 0;
        });
        assert_eq!(memory.total_bytes(), None);
        let text = memory.to_string();
        assert!(
            text.starts_with("memory: without a limit, the sum of\n      no limit  "),
            "{text}"
        );
        // A number too large to be told is one all the same.
        let memory = with_limits(|limits| limits.stanza_bytes_max = usize::MAX);
        assert_eq!(memory.total_bytes(), Some(usize::MAX));
    }

    #[test]
    fn processes_beside_the_server_count_where_there_are_any() {
        let usual = with(|_| ());
        assert_eq!(usual.server_bytes(), usual.total_bytes());
        let memory = with(|config| config.accounts.file = Some("/accounts".into()));
        assert_eq!(memory.server_bytes(), usual.total_bytes());
        let hashes = HASH_THREADS_MAX * HASH_MEMORY_KIB_MAX as usize * 1_024;
        assert!(total(&memory) > total(&usual) + hashes);
        let tls = with(|config| {
            let [certificate, key] = ["/c", "/k"].map(Into::into);
            config.web.tls = Some(Tls { certificate, key, required: false });
        });
        assert_eq!(total(&tls) - total(&usual), SESSIONS * TLS_BYTES);
    }

    #[test]
    fn the_largest_part_stands_first() {
        let memory = Memory {
            terms: [(3 * MIB, ""), (5 * MIB + 1, "[limits] rooms")]
                .map(|(bytes, keys)| Term {
                    what: format!("{bytes} bytes"),
                    bytes: Some(bytes),
                    keys,
                    beside: false,
                })
                .to_vec(),
        };
        assert_eq!(
            memory.to_string(),
            "memory: 9 MiB at most, the sum of\n         6 MiB  5242881 bytes; less by [limits] \
             rooms\n         3 MiB  3145728 bytes"
        );
    }
}
