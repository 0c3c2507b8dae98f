//! What stands under a table: how late the generator was, how two sides compare.

use std::time::Duration;

use super::measure::Sample;
use super::report::{Side, span};

/// How late the generator was itself: a latency below that says nothing of the server.
pub(super) fn lag(sides: &[Side]) -> Option<String> {
    let lag =
        sides.iter().flat_map(|side| &side.samples).map(|sample| sample.tally.lag_ns).max()?;
    Some(format!("the generator sent at most {} late", span(Duration::from_nanos(lag))))
}

/// How much longer the polite wait among the rude, by the medians of the rounds: the last
/// thousandth of a single one is the machine's mood.
pub(super) fn quotients(alone: &Side, among: &Side) -> Option<String> {
    // An early end can leave nothing to compare.
    if alone.latency().is_empty() || among.latency().is_empty() {
        return None;
    }
    let quotient = |percent: f64| {
        let value = |side: &Side| {
            let at = |sample: &Sample| sample.tally.latency.value_at_percentile(percent) as f64;
            side.median(|sample| Some(at(sample))).unwrap_or_default()
        };
        value(among) / value(alone).max(1.0)
    };
    Some(format!(
        "p99 is {:.2} times, p99.9 {:.2} times what it is alone",
        quotient(99.0),
        quotient(99.9)
    ))
}

/// How the chat's latency compares, and how much it differs between the rounds by itself.
pub(super) fn compared(sides: &[Side; 2]) -> Vec<String> {
    let mut notes = Vec::from_iter(quotients(&sides[0], &sides[1]));
    let p99 = |sample: &Sample| sample.tally.latency.value_at_percentile(99.0);
    let range = |side: &Side| {
        let values = || side.samples.iter().map(p99);
        let shown = |value: Option<u64>| span(Duration::from_nanos(value.unwrap_or_default()));
        format!("{} to {}", shown(values().min()), shown(values().max()))
    };
    if sides[0].samples.len() > 1 {
        let [alone, beside] = [range(&sides[0]), range(&sides[1])];
        notes.push(format!("p99 in the rounds: alone {alone}, beside {beside}"));
    }
    notes
}

/// Whether the server and its other processes shared a core.
pub(super) fn cores_note(on_one_core: bool, others: &str) -> String {
    if on_one_core {
        format!("the server and {others} had one core together")
    } else {
        format!("the server and {others} had several cores")
    }
}
