//! What an attack's figures mean: whether the polite felt it.
//!
//! A fault of the server is there in every round; what else the machine has to do is not. So it is
//! the medians of the rounds that count, of which noise has to spoil more than half, and rounds
//! alone and beside take turns, so that a busy minute meets both. A round in which the system let
//! the server or the generator wait for its core says more of the system than of either: it does
//! not count where there are calm ones. Fewer rounds than [`JUDGED_ROUNDS_MIN`] have no median
//! worth the name: of a small run everything is judged but the latencies.

use std::time::Duration;

use serde_json::{Value, json};

use super::stage::AttackOutcome;
use crate::bench::report::{span, whole};

/// The polite may wait so many times as long as alone.
const RATIO_MAX: f64 = 2.0;

/// A wait below this is none, however short it is alone: what comes to a server that is busy at all
/// comes in the middle of a turn, and is answered at the end of the next. A turn of a busy server
/// writes to up to 128, each by a call of the system of 10 to 25 µs on small and shared hosts
/// (`palabre-bench rude --attack departures`), and the generator shares its core with the
/// attackers.
const TWO_TURNS_NS: f64 = 6e6;

/// A longer wait is too long, whatever it is alone.
const LATENCY_NS_MAX: f64 = 20e6;

/// So many rounds have a median.
pub(super) const JUDGED_ROUNDS_MIN: usize = 3;

/// The part of a measurement for which the server or the generator may wait for a core that others
/// have, in a round that counts: p99 is that of the longest hundredth.
const WAITED_PART_MAX: f64 = 0.005;

/// What one round found: p99 of the polite, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) alone_ns: u64,
    pub(super) beside_ns: u64,
    /// The part of the time for which the server or the generator waited for a core.
    pub(super) waited_part: f64,
}

impl Round {
    /// Whether it was the server that was measured, and not what else the machine has to do.
    pub(super) fn is_calm(&self) -> bool {
        self.waited_part <= WAITED_PART_MAX
    }
}

/// What an attack has come to.
#[derive(Clone, Debug, Default)]
pub(super) struct AttackFindings {
    pub(super) name: &'static str,
    pub(super) rounds: Vec<Round>,
    /// Resident memory of the server at its peak, beyond what it had when the polite were in.
    pub(super) grown_bytes: Option<u64>,
    /// What it may have in all.
    pub(super) memory_bytes_max: u64,
    pub(super) peak_bytes: Option<u64>,
    /// What befell the polite, and what else does not hold.
    pub(super) outcome: AttackOutcome,
}

impl AttackFindings {
    /// What the server has to answer for; nothing, as it should be.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = [&self.outcome.harmed[..], &self.outcome.broken].concat();
        if self.rounds.len() >= JUDGED_ROUNDS_MIN {
            faults.extend(self.slowness());
        }
        if let Some(peak) = self.peak_bytes.filter(|peak| *peak > self.memory_bytes_max) {
            let [peak, max] = [peak, self.memory_bytes_max].map(|bytes| whole(bytes as f64));
            faults.push(format!("memory: {peak} bytes, may have {max}"));
        }
        faults
    }

    /// Whether the polite had to wait for too long.
    fn slowness(&self) -> Option<String> {
        let (alone, beside) = (self.alone_ns(), self.beside_ns());
        let shown = |ns: f64| span(Duration::from_nanos(ns as u64));
        if beside > LATENCY_NS_MAX {
            return Some(format!("p99 is {}, may be {}", shown(beside), shown(LATENCY_NS_MAX)));
        }
        let slow = beside > TWO_TURNS_NS && beside > RATIO_MAX * alone;
        slow.then(|| format!("p99 is {:.1} times what it is alone", beside / alone.max(1.0)))
    }

    /// The rounds that count: the calm ones or, if they are too few, the calmest.
    fn counted(&self) -> Vec<Round> {
        let mut rounds = self.rounds.clone();
        rounds.sort_by(|one, other| one.waited_part.total_cmp(&other.waited_part));
        rounds.truncate(self.calm().max(JUDGED_ROUNDS_MIN));
        rounds
    }

    fn alone_ns(&self) -> f64 {
        median(self.counted().iter().map(|round| round.alone_ns))
    }

    fn beside_ns(&self) -> f64 {
        median(self.counted().iter().map(|round| round.beside_ns))
    }

    /// How many rounds were calm.
    pub(super) fn calm(&self) -> usize {
        self.rounds.iter().filter(|round| round.is_calm()).count()
    }

    /// The head of the table.
    pub(super) fn head() -> String {
        let [attack, alone, beside] = ["attack", "p99 alone", "beside"];
        let [times, memory, calm] = ["times", "memory", "calm"];
        format!("{attack:<16}{alone:>10}{beside:>9}{times:>8}{memory:>10}{calm:>7}  verdict")
    }

    /// Its line of the table.
    pub(super) fn row(&self) -> String {
        let (alone, beside) = (self.alone_ns(), self.beside_ns());
        let shown = |ns: f64| span(Duration::from_nanos(ns as u64));
        let times = match self.rounds.is_empty() {
            true => "-".to_owned(),
            false => format!("{:.1}", beside / alone.max(1.0)),
        };
        let memory = self
            .grown_bytes
            .map_or_else(|| "-".to_owned(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6));
        let faults = self.faults();
        let verdict = match faults.is_empty() {
            true => "ok".to_owned(),
            false => format!("FAILED: {}", faults.join("; ")),
        };
        let (alone, beside) = (shown(alone), shown(beside));
        let calm = format!("{}/{}", self.calm(), self.rounds.len());
        let name = self.name;
        format!("{name:<16}{alone:>10}{beside:>9}{times:>8}{memory:>10}{calm:>7}  {verdict}")
    }

    /// The same, for programs. Latencies are in microseconds.
    pub(super) fn json(&self) -> Value {
        let us = |ns: u64| ns as f64 / 1e3;
        json!({
            "attack": self.name,
            "rounds": self.rounds.iter().map(|round| json!({
                "p99_alone_us": us(round.alone_ns), "p99_beside_us": us(round.beside_ns),
                "waited_part": round.waited_part,
            })).collect::<Vec<_>>(),
            "p99_alone_us": self.alone_ns() / 1e3,
            "p99_beside_us": self.beside_ns() / 1e3,
            "memory_grown_bytes": self.grown_bytes,
            "memory_peak_bytes": self.peak_bytes,
            "memory_bytes_max": self.memory_bytes_max,
            "faults": self.faults(),
        })
    }
}

/// The one in the middle, or between the two that are; 0 of none.
fn median(values: impl Iterator<Item = u64>) -> f64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle] as f64,
        _ => f64::midpoint(values[middle - 1] as f64, values[middle] as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn found(rounds: &[(u64, u64)]) -> AttackFindings {
        let waited_part = 0.0;
        let round = |&(alone_ns, beside_ns)| Round { alone_ns, beside_ns, waited_part };
        let rounds = rounds.iter().map(round);
        AttackFindings {
            name: "test",
            rounds: rounds.collect(),
            grown_bytes: Some(10_000_000),
            peak_bytes: Some(20_000_000),
            memory_bytes_max: 30_000_000,
            outcome: AttackOutcome::default(),
        }
    }

    #[test]
    fn twice_as_long_is_borne_and_more_is_not() {
        for (alone, beside, fault) in [
            (8 * MS, 16 * MS, None),
            (8 * MS, 16 * MS + 1, Some("p99 is 2.0 times what it is alone")),
            // A wait that is none.
            (MS / 10, 6 * MS, None),
            (MS / 10, 6 * MS + 1, Some("p99 is 60.0 times what it is alone")),
            // A machine that is slow itself.
            (15 * MS, 20 * MS, None),
            (15 * MS, 20 * MS + 1, Some("p99 is 20.0ms, may be 20.0ms")),
        ] {
            let found = found(&[(alone, beside); 3]);
            assert_eq!(found.faults(), Vec::from_iter(fault), "{alone} {beside}");
            let verdict = fault.map_or("ok".to_owned(), |fault| format!("FAILED: {fault}"));
            assert!(found.row().ends_with(&format!("  {verdict}")), "{}", found.row());
        }
    }

    #[test]
    fn noise_has_to_spoil_more_than_half_of_the_rounds() {
        let (calm, noise) = ((MS, MS), (MS, 500 * MS));
        assert!(found(&[noise, calm, calm, noise, calm]).faults().is_empty());
        assert_eq!(found(&[noise, calm, noise, noise, calm]).faults().len(), 1);
        // And of a few rounds nothing is said.
        assert!(found(&[noise, noise]).faults().is_empty());
        assert!(found(&[]).faults().is_empty());
        assert!(found(&[]).row().contains(" - "), "{}", found(&[]).row());
    }

    #[test]
    fn rounds_that_were_disturbed_do_not_count_where_there_are_calm_ones() {
        let disturbed = Round { alone_ns: MS, beside_ns: 500 * MS, waited_part: 0.006 };
        let calm = |count: usize| {
            let mut found = found(&[(MS, MS)]);
            found.rounds = [vec![found.rounds[0]; count], vec![disturbed; 5]].concat();
            found
        };
        assert!(calm(3).faults().is_empty());
        assert_eq!(calm(3).calm(), 3);
        // Where there are too few, those count that were disturbed least.
        assert!(calm(2).faults().is_empty());
        assert_eq!(calm(1).faults().len(), 1);
    }

    #[test]
    fn memory_and_the_polite_are_judged_in_one_round_as_well() {
        let calm = [(MS, MS)];
        let more = |peak: u64| AttackFindings { peak_bytes: Some(peak), ..found(&calm) };
        assert!(more(30_000_000).faults().is_empty());
        assert_eq!(more(30_000_001).faults(), ["memory: 30,000,001 bytes, may have 30,000,000"]);
        // Where the process can't be seen nothing is said of it.
        assert!(AttackFindings { peak_bytes: None, ..found(&calm) }.faults().is_empty());
        let outcome = AttackOutcome {
            harmed: vec!["2 of 10 members cut off".to_owned()],
            broken: vec!["the log grew".to_owned()],
        };
        let harmed = AttackFindings { outcome, ..found(&calm) };
        assert_eq!(harmed.faults(), ["2 of 10 members cut off", "the log grew"]);
        assert_eq!(harmed.json()["faults"][0], "2 of 10 members cut off");
    }

    #[test]
    fn the_columns_of_the_table_stand_below_each_other() {
        let (head, row) = (AttackFindings::head(), found(&[(MS, 3 * MS)]).row());
        let ends = |word: &str, text: &str| text.find(word).map(|at| at + word.len());
        for (title, value) in [("p99 alone", "1.0ms"), ("beside", "3.0ms"), ("times", "3.0 ")] {
            let value_end = ends(value, &row).map(|end| end - value.ends_with(' ') as usize);
            assert!(ends(title, &head).is_some() && value_end.is_some(), "{head}\n{row}");
        }
        assert_eq!(ends("memory", &head), ends("10.0 MB", &row), "{head}\n{row}");
    }
}
