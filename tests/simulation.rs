//! The hub beside a small reference model, by seed: hundreds of sessions on a virtual clock.
//!
//! Each seed makes up settings, clients and their inputs. After every input each connection must
//! have been told exactly what the model tells it, byte for byte and in the model's order, and
//! the hub's own invariants must hold.
//!
//! `PALABRE_SEED=7` runs that seed alone, `PALABRE_SEED=1000..2000` that range;
//! `PALABRE_STEPS=50` makes the runs shorter or longer.

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
#[path = "simulation/random.rs"]
mod random;
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

const KEY: HashKey = HashKey(1, 2);

/// The seeds to run: those that are asked for, or the fixed set.
fn seeds() -> Range<u64> {
    let Ok(asked) = std::env::var("PALABRE_SEED") else {
        return 0..64;
    };
    let number = |text: &str| {
        text.trim()
            .parse::<u64>()
            .expect("PALABRE_SEED is N or N..M")
    };
    match asked.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&asked)..number(&asked) + 1,
    }
}

fn steps() -> Option<usize> {
    let asked = std::env::var("PALABRE_STEPS").ok()?;
    Some(asked.trim().parse().expect("PALABRE_STEPS is a number"))
}

/// Runs the seeds whose runs have between so many clients.
fn run_all(clients: Range<usize>) {
    for seed in seeds().filter(|seed| clients.contains(&generator::shape(*seed).clients)) {
        driver::run(seed, steps(), KEY, false);
    }
}

#[test]
fn a_few_clients_are_told_what_the_model_tells_them() {
    run_all(0..10);
}

#[test]
fn a_crowd_is_told_what_the_model_tells_it() {
    run_all(10..200);
}

#[test]
fn hundreds_are_told_what_the_model_tells_them() {
    run_all(200..1_000);
}

#[test]
fn one_seed_gives_one_record() {
    for seed in [3, 6] {
        let first = driver::run(seed, Some(800), KEY, true);
        let again = driver::run(seed, Some(800), KEY, true);
        assert!(first == again, "seed {seed} gives two records");
        assert!(first.lines().count() > 800, "there is something to compare");
    }
}

#[test]
fn the_key_of_the_hash_tables_is_seen_nowhere() {
    for seed in [2, 5] {
        let one = driver::run(seed, Some(800), HashKey(1, 2), true);
        let other = driver::run(seed, Some(800), HashKey(!0, 99), true);
        assert!(
            one == other,
            "seed {seed} depends on the order of a hash table"
        );
    }
}
