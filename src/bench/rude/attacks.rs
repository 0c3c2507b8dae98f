//! The attacks, each with its name, what it does and what the server has for it. Those of a kind
//! are in one file.

mod doors;
mod floods;
mod handshakes;
mod lists;
mod names;
mod rooms;

use super::mob::Mob;
use super::stage::{AttackOutcome, AttackStage};
use crate::bench::error::Fault;
use crate::bench::host::Extras;

/// Connections of most attacks: what one address may have, less one to try it.
const SESSIONS: usize = 250;

/// An attack.
#[derive(Clone, Debug)]
pub(super) struct Attack {
    /// As it is called on the command line.
    pub(super) name: &'static str,
    /// What the attackers do.
    pub(super) meaning: &'static str,
    pub(super) house: Extras,
    pub(super) run: AttackRun,
}

/// What the attackers do until the stage says that it is over.
type AttackRun = fn(&mut Mob, &AttackStage<'_>) -> Result<AttackOutcome, Fault>;

/// A server as it comes.
const PLAIN: Extras =
    Extras { accounts: &[], certificate: false, deaf_console: false, descriptors: None };

const RSA: Extras = Extras { certificate: true, ..PLAIN };

/// All of them, in the order in which they are run.
#[rustfmt::skip]
pub(super) static ATTACKS: [Attack; 19] = [
    Attack { name: "long-names", house: PLAIN, run: names::long_names,
        meaning: "65 KB of U+FDFA wherever a name is looked up" },
    Attack { name: "namespaces", house: PLAIN, run: names::namespaces,
        meaning: "64 KiB of <p:x/> before the login" },
    Attack { name: "child-lists", house: PLAIN, run: lists::child_lists,
        meaning: "16 child rooms of 60 KB each, and a param set over and over" },
    Attack { name: "client-lists", house: PLAIN, run: lists::client_lists,
        meaning: "a room of 150 with params, and one that joins and leaves" },
    Attack { name: "many-parents", house: PLAIN, run: lists::many_parents,
        meaning: "a room under 64 others is entered and left" },
    Attack { name: "own-params", house: PLAIN, run: lists::own_params,
        meaning: "a session in 64 rooms sets params" },
    Attack { name: "getrooms", house: PLAIN, run: lists::getrooms,
        meaning: "100 ask for 1,664 rooms with long names" },
    Attack { name: "costly-joins", house: PLAIN, run: lists::costly_joins,
        meaning: "polite ones join a room that is made as costly as can be" },
    Attack { name: "large-messages", house: PLAIN, run: floods::large_messages,
        meaning: "65 KB messages to members that have 10 Mbit/s" },
    Attack { name: "deliveries", house: PLAIN, run: rooms::deliveries,
        meaning: "250 in two rooms say ten bytes, 64 times each" },
    Attack { name: "departures", house: PLAIN, run: rooms::departures,
        meaning: "250 in 16 common rooms go at once" },
    Attack { name: "params", house: PLAIN, run: rooms::params,
        meaning: "250 set as many params as they may" },
    Attack { name: "tls-handshakes", house: RSA, run: handshakes::handshakes,
        meaning: "250 ClientHellos at once, RSA of 2,048 bits" },
    Attack { name: "tls-records", house: RSA, run: handshakes::records,
        meaning: "250 ClientHellos in records of one byte" },
    Attack { name: "last-seconds", house: Extras { descriptors: Some(600), ..PLAIN },
        run: doors::last_seconds,
        meaning: "who has quit keeps its connection, 600 descriptors" },
    Attack { name: "guesses", house: Extras { accounts: &doors::OWNERS, ..PLAIN },
        run: doors::guesses,
        meaning: "250 guess at a password while its owner logs in" },
    Attack { name: "deaf-console", house: Extras { deaf_console: true, ..PLAIN },
        run: floods::log_lines,
        meaning: "log lines into a pipe that nobody reads" },
    Attack { name: "log-lines", house: PLAIN, run: floods::log_lines,
        meaning: "connections that leave lines in the log" },
    Attack { name: "frames", house: PLAIN, run: handshakes::frames,
        meaning: "pings, empty and one-byte frames in WebSockets" },
];
