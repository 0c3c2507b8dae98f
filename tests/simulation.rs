//! The hub beside a small reference model, by seed: hundreds of sessions on a virtual clock.
//!
//! Each seed makes up settings, clients and their inputs. After every input each connection must
//! have been told exactly what the model tells it, byte for byte and in the model's order, and
//! the hub's own invariants must hold.
//!
//! `PALABRE_SEED=7` runs that seed alone, `PALABRE_SEED=1000..2000` that range, both with the
//! hub's tables looked through after every input; `PALABRE_STEPS=50` makes the runs shorter or
//! longer.

#[path = "simulation/driver.rs"]
mod driver;
#[path = "simulation/generator.rs"]
mod generator;
#[path = "simulation/messages.rs"]
mod messages;
#[path = "simulation/model.rs"]
mod model;
#[path = "simulation/nicks.rs"]
mod nicks;
#[path = "simulation/orders.rs"]
mod orders;
#[path = "simulation/random.rs"]
mod random;
#[path = "simulation/rates.rs"]
mod rates;
#[path = "simulation/recorder.rs"]
mod recorder;
#[path = "simulation/rooms.rs"]
mod rooms;
#[path = "simulation/stanza.rs"]
mod stanza;
#[path = "simulation/text.rs"]
mod text;

use std::ops::Range;

use palabre::hub::HashKey;

use driver::Record;

const KEY: HashKey = HashKey(1, 2);

/// What the fixed seeds meet: every answer of the protocol and every close that the hub decides
/// on. A change of the generator that no longer reaches one of them fails here.
const MET: &[&str] = &[
    "<childrooms",
    "<client",
    "<clientparam",
    "<clients",
    "<connect",
    "<cross-domain-policy",
    "<help",
    "<info",
    "<joined",
    "<leave",
    "<leaved",
    "<m",
    "<move",
    "<p:note",
    "<pong",
    "<room",
    "<roominfo",
    "<rooms",
    "### Server is now going down ... ###",
    "A room can't be listed under one of its own descendants",
    "Answer too large (limit  bytes)",
    "Authentication Error",
    "Child rooms nested too deep (limit )",
    "Login not possible right now, please try again",
    "Login timed out (limit  s)",
    "Nickname empty or already taken",
    "Nickname empty or already taken (limit  bytes)",
    "Params too long together (limit  bytes)",
    "No NickName Attribute",
    "No name specified",
    "No recipient given",
    "No room by that name",
    "No room specified",
    "No user connected with nickname",
    "No value specified",
    "Not a known node",
    "Not a known room",
    "Param too long (limit  bytes)",
    "Room name that is not in normal form C",
    "Room name that looks like the name of another room",
    "Room name too long (limit  bytes)",
    "Room name with characters that are invisible or not assigned",
    "Room name with control characters or white space at its ends",
    "Stanza too large (limit  bytes)",
    "Stanzas named error are the server's own and can't be relayed",
    "This is not a valid XML string",
    "Too many bytes (limit  per second)",
    "Too many failed logins (limit  per minute)",
    "Too many params (limit )",
    "Too many params on this server (limit  bytes)",
    "Too many rooms (limit )",
    "Too many sessions (limit )",
    "Too many sessions from your address (limit )",
    "Too many stanzas (limit  per second)",
    "You are already in this room",
    "You are in too many rooms (limit )",
    "You have been kicked from the server by an administrator",
    "You must be an operator of this room",
    "You must be root",
    "You must login first",
    "asked",
    "asked about root",
    "called",
    "cancelled",
    "closed: FailedLogins",
    "closed: Kicked",
    "closed: LoginTimeout",
    "closed: PolicyOnly",
    "closed: PolicyServed",
    "closed: Quit",
    "closed: Shutdown",
    "closed: StanzaTooLarge",
    "closed: TooFast",
    "closed: TooManyFromAddress",
    "closed: TooManySessions",
    "hook: joined",
    "hook: left",
    "hook: to a client",
    "hook: to a room",
    "hook: to everybody",
    "openParams can't be removed",
    "plugin's error: Answer too large (limit  bytes)",
    "plugin's error: No name specified",
    "plugin's error: No room by that name",
    "plugin's error: No room specified",
    "plugin's error: No session by that id",
    "plugin's error: No user connected with nickname",
    "plugin's error: Not a known room",
    "plugin's error: Param too long (limit  bytes)",
    "plugin's error: Params too long together (limit  bytes)",
    "plugin's error: Room name that is not in normal form C",
    "plugin's error: Room name too long (limit  bytes)",
    "plugin's error: Room name with characters that are invisible or not assigned",
    "plugin's error: Room name with control characters or white space at its ends",
    "plugin's error: Session . has not logged in",
    "plugin's error: Too many params (limit )",
    "plugin's error: Too many rooms (limit )",
    "plugin's error: You are already in this room",
    "plugin's error: You are in too many rooms (limit )",
    "plugin's error: openParams can't be removed",
    "plugin: join",
    "plugin: kick",
    "plugin: leave",
    "plugin: query",
    "plugin: remove a client's param",
    "plugin: remove a room's param",
    "plugin: send to a client",
    "plugin: send to a room",
    "plugin: send to everybody",
    "plugin: set a client's param",
    "plugin: set a room's param",
    "registered",
    "waits for a verdict",
];

/// The seeds that are asked for, if any are.
fn seeds_asked_for() -> Option<Range<u64>> {
    let asked = std::env::var("PALABRE_SEED").ok()?;
    let number = |text: &str| text.trim().parse::<u64>().expect("PALABRE_SEED is N or N..M");
    Some(match asked.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&asked)..number(&asked) + 1,
    })
}

fn steps_asked_for() -> Option<usize> {
    let asked = std::env::var("PALABRE_STEPS").ok()?;
    Some(asked.trim().parse().expect("PALABRE_STEPS is a number"))
}

/// Runs the seeds whose runs have between so many clients. What they met is given back, when
/// it was the fixed set that ran and ran to its end.
fn run_all(clients: Range<usize>) -> Option<Record> {
    let (asked, steps) = (seeds_asked_for(), steps_asked_for());
    let fixed = asked.is_none() && steps.is_none();
    let mut all = Record::default();
    for seed in asked.unwrap_or(0..64) {
        if clients.contains(&generator::shape(seed).clients) {
            all.merge(driver::run(seed, steps, KEY, false));
        }
    }
    fixed.then_some(all)
}

#[test]
fn a_few_clients_are_told_what_the_model_tells_them() {
    let Some(all) = run_all(0..30) else { return };
    let missed: Vec<_> = MET.iter().filter(|kind| !all.met.contains_key(**kind)).collect();
    assert!(missed.is_empty(), "the fixed seeds no longer meet {missed:?}");
}

#[test]
fn a_crowd_is_told_what_the_model_tells_it() {
    let Some(all) = run_all(30..200) else { return };
    assert!(all.sessions_max >= 50, "{} sessions are no crowd", all.sessions_max);
}

#[test]
fn hundreds_are_told_what_the_model_tells_them() {
    let Some(all) = run_all(200..1_000) else { return };
    assert!(all.sessions_max >= 300, "{} sessions are no hundreds", all.sessions_max);
    assert!(all.members_max >= 30, "no room is full with {} members", all.members_max);
}

#[test]
fn one_seed_gives_one_record() {
    for seed in [3, 10] {
        let first = driver::run(seed, Some(800), KEY, true);
        let again = driver::run(seed, Some(800), KEY, true);
        assert!(first == again, "seed {seed} gives two records");
        assert!(first.lines.lines().count() > 1_000, "there is something to compare");
    }
}

#[test]
fn the_key_of_the_hash_tables_is_seen_nowhere() {
    for seed in [4, 12] {
        let one = driver::run(seed, Some(800), HashKey(1, 2), true);
        let other = driver::run(seed, Some(800), HashKey(!0, 99), true);
        assert!(one == other, "seed {seed} depends on the order of a hash table");
    }
}
