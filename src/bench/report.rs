//! What a run found, for people (a table and a plot) and for programs (JSON).

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use textplots::{Chart, Plot as _, Shape};

use super::measure::{Sample, histogram};
use super::options::Options;
use super::over::Spoken;

/// The percentiles that are told, in percent.
const PERCENTILES: [(&str, f64); 4] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

/// One workload's figures.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) workload: &'static str,
    /// Rooms, members, sizes.
    pub(super) shape: String,
    /// What is counted.
    pub(super) unit: &'static str,
    pub(super) sides: Vec<Side>,
    /// Whether the first server is compared with the others.
    pub(super) compares: bool,
    /// Lines that belong under the table.
    pub(super) notes: Vec<String>,
    /// Besides, for programs.
    pub(super) more: Vec<(&'static str, Value)>,
}

/// What is counted, and how much of it is asked for.
#[derive(Clone, Debug)]
pub(super) struct Heading {
    /// What is counted.
    pub(super) unit: &'static str,
    /// Rooms, members, sizes.
    pub(super) shape: String,
}

impl Heading {
    /// Of a workload that counts deliveries.
    pub(super) const fn deliveries(shape: String) -> Self {
        Self { unit: "deliveries", shape }
    }
}

/// What one server did.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) name: String,
    /// One a round.
    pub(super) samples: Vec<Sample>,
    /// Resident memory for each of its sessions, in bytes, beyond the empty server.
    pub(super) resident_bytes: Option<u64>,
}

impl Side {
    /// One that has done nothing yet.
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), samples: Vec::new(), resident_bytes: None }
    }

    /// The median of what `value` gives for each round.
    pub(super) fn median(&self, value: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let mut values: Vec<f64> = self.samples.iter().filter_map(value).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            length if length % 2 == 1 => values.get(middle).copied(),
            _ => Some(f64::midpoint(values[middle - 1], values[middle])),
        }
    }

    /// All rounds' latencies, in nanoseconds.
    pub(super) fn latency(&self) -> Histogram<u64> {
        let mut all = histogram();
        for sample in &self.samples {
            // The bounds are the same.
            let _ = all.add(&sample.tally.latency);
        }
        all
    }

    /// All rounds' latencies by what their receivers speak, where they speak several things.
    pub(super) fn latency_by_over(&self) -> Vec<(Spoken, Histogram<u64>)> {
        let mut all: Vec<(Spoken, Histogram<u64>)> = Vec::new();
        for (over, latency) in self.samples.iter().flat_map(|sample| &sample.tally.by_over) {
            match all.iter_mut().find(|(other, _)| other == over) {
                // The bounds are the same.
                Some((_, sum)) => _ = sum.add(latency),
                None => all.push((*over, latency.clone())),
            }
        }
        all
    }
}

impl Figures {
    /// Those of a comparison, with nothing under the table.
    pub(super) fn of(options: &Options, heading: Heading, sides: Vec<Side>) -> Self {
        let Heading { unit, shape } = heading;
        let (notes, more) = (Vec::new(), Vec::new());
        let workload = options.workload.name();
        Self { workload, shape, unit, sides, compares: true, notes, more }
    }

    /// Deliveries a second of processor time, as a multiple of each other server's.
    fn ratios(&self) -> impl Iterator<Item = Ratio<'_>> {
        let (server, others) = match &self.sides[..] {
            [server, others @ ..] if self.compares => (Some(server), others),
            _ => (None, &[][..]),
        };
        others.iter().filter_map(move |other| Ratio::of(server?, other))
    }

    /// The table.
    pub(super) fn table(&self) -> String {
        let mut text = format!("{}: {}\n", self.workload, self.shape);
        let unit = format!("{}/s", self.unit);
        let _ = write!(text, "{:<9}{unit:>14}{:>11}{:>14}", "", "CPU s", "per CPU s");
        for (name, _) in PERCENTILES {
            let _ = write!(text, "{name:>9}");
        }
        let _ = writeln!(text, "{:>9}{:>10}", "max", "B/session");
        for side in &self.sides {
            text.push_str(&row(side));
            for (over, latency) in side.latency_by_over() {
                let _ = write!(text, "  {:<46}", over.name());
                text.push_str(&spread(&latency));
                text.push('\n');
            }
        }
        for Ratio { to, median, low, high } in self.ratios() {
            let _ = write!(text, "{median:.2} times {to}, per CPU second");
            if self.sides[0].samples.len() > 1 {
                let _ = write!(text, " (rounds {low:.2} to {high:.2})");
            }
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "{note}");
        }
        text
    }

    /// How the server's latency grows towards the last deliveries.
    pub(super) fn plot(&self) -> Option<String> {
        let latency = self.sides.first()?.latency();
        if latency.is_empty() {
            return None;
        }
        // Each step of the first axis is one more nine.
        let nines = (latency.len() as f64).log10().clamp(1.0, 6.0);
        let points: Vec<(f32, f32)> = (0_u8..=100)
            .map(|step| {
                let x = nines * f64::from(step) / 100.0;
                let value = latency.value_at_quantile(1.0 - 10_f64.powf(-x));
                (x as f32, (value as f64 / 1e3).log10().max(0.0) as f32)
            })
            .collect();
        let lines = Shape::Lines(&points);
        let mut chart = Chart::new(120, 40, 0.0, nines as f32);
        let drawn = chart.lineplot(&lines);
        drawn.axis();
        drawn.figures();
        Some(format!(
            "latency: up, the power of ten of microseconds; to the right, nines (1: p90, 2: p99, \
             3: p99.9)\n{drawn}"
        ))
    }

    /// Everything, for programs. Times are in seconds, latencies in microseconds.
    pub(super) fn json(&self) -> Value {
        let sides: Vec<Value> = self
            .sides
            .iter()
            .map(|side| {
                json!({
                    "server": side.name,
                    "resident_bytes_per_session": side.resident_bytes,
                    "per_second": side.median(|sample| Some(sample.per_second())),
                    "per_processor_second": side.median(Sample::per_processor_second),
                    "latency_us": latencies(&side.latency()),
                    "rounds": side.samples.iter().map(round).collect::<Vec<_>>(),
                })
            })
            .collect();
        let mut value = json!({
            "workload": self.workload,
            "shape": self.shape,
            "unit": self.unit,
            "servers": sides,
            "ratios": self.ratios().map(|ratio| json!({
                "to": ratio.to, "median": ratio.median, "low": ratio.low, "high": ratio.high,
            })).collect::<Vec<_>>(),
            "notes": self.notes,
        });
        for (name, more) in &self.more {
            value[name] = more.clone();
        }
        value
    }
}

/// How one server compares with another.
struct Ratio<'a> {
    /// The other's name.
    to: &'a str,
    /// The ratio of the medians.
    median: f64,
    /// The lowest and the highest ratio of a round.
    low: f64,
    high: f64,
}

impl<'a> Ratio<'a> {
    fn of(server: &Side, other: &'a Side) -> Option<Self> {
        let each = |side: &Side| side.median(Sample::per_processor_second);
        let rounds = server.samples.iter().zip(&other.samples).filter_map(|(one, other)| {
            Some(one.per_processor_second()? / other.per_processor_second()?)
        });
        let (low, high) = rounds
            .fold((f64::MAX, 0.0_f64), |(low, high), ratio| (low.min(ratio), high.max(ratio)));
        Some(Self { to: &other.name, median: each(server)? / each(other)?, low, high })
    }
}

fn row(side: &Side) -> String {
    let dash = || "-".to_owned();
    let rate = side.median(|sample| Some(sample.per_second())).map_or_else(dash, whole);
    let processor = side.median(|sample| Some(sample.processor?.as_secs_f64()));
    let processor = processor.map_or_else(dash, |seconds| format!("{seconds:.3}"));
    let per_processor = side.median(Sample::per_processor_second).map_or_else(dash, whole);
    let mut text = format!("{:<9}{rate:>14}{processor:>11}{per_processor:>14}", side.name);
    text.push_str(&spread(&side.latency()));
    let bytes = side.resident_bytes.map_or_else(dash, |bytes| bytes.to_string());
    let _ = writeln!(text, "{bytes:>10}");
    text
}

/// The percentiles and the most, in columns.
fn spread(latency: &Histogram<u64>) -> String {
    let shown = |ns: u64| match latency.is_empty() {
        true => "-".to_owned(),
        false => span(Duration::from_nanos(ns)),
    };
    let values = PERCENTILES.iter().map(|(_, percent)| latency.value_at_percentile(*percent));
    values.chain([latency.max()]).map(|ns| format!("{:>9}", shown(ns))).collect()
}

fn round(sample: &Sample) -> Value {
    json!({
        "count": sample.tally.count,
        "seconds": sample.span.as_secs_f64(),
        "processor_seconds": sample.processor.map(|time| time.as_secs_f64()),
        "bytes_received": sample.bytes_in,
        "generator_lag_us": sample.tally.lag_ns as f64 / 1e3,
        "latency_us": latencies(&sample.tally.latency),
        "latency_us_by_transport": sample.tally.by_over.iter()
            .map(|(over, latency)| (over.name().to_owned(), latencies(latency)))
            .collect::<serde_json::Map<_, _>>(),
    })
}

fn latencies(latency: &Histogram<u64>) -> Value {
    let us = |ns: u64| ns as f64 / 1e3;
    let mut value = json!({ "max": us(latency.max()) });
    for (name, percent) in PERCENTILES {
        value[name] = us(latency.value_at_percentile(percent)).into();
    }
    value
}

/// A number with its thousands apart.
pub(super) fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A latency with three digits and its unit.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (value, unit) = if seconds >= 1.0 {
        (seconds, "s")
    } else if seconds >= 1e-3 {
        (seconds * 1e3, "ms")
    } else {
        (seconds * 1e6, "µs")
    };
    let decimals = if value >= 100.0 { 0 } else { 1 };
    format!("{value:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Arrivals;

    fn sample(count: u64, processor_ms: u64) -> Sample {
        let mut tally = Arrivals::new();
        for _ in 0..count {
            tally.delivered(1_000);
        }
        let processor = Some(Duration::from_millis(processor_ms));
        Sample { tally, span: Duration::from_secs(1), processor, bytes_in: 0 }
    }

    fn side(name: &str, samples: Vec<Sample>) -> Side {
        Side { samples, ..Side::named(name) }
    }

    #[test]
    fn numbers_read_well() {
        for (value, text) in
            [(0.0, "0"), (999.0, "999"), (1_000.0, "1,000"), (1.2345e6, "1,234,500")]
        {
            assert_eq!(whole(value), text);
        }
        assert_eq!(span(Duration::from_nanos(1_500)), "1.5µs");
        assert_eq!(span(Duration::from_micros(123_456)), "123ms");
        assert_eq!(span(Duration::from_secs(2)), "2.0s");
    }

    #[test]
    fn the_ratio_is_that_of_the_medians() {
        let figures = Figures {
            workload: "test",
            shape: String::new(),
            unit: "deliveries",
            sides: vec![
                side("palabre", vec![sample(10, 100), sample(10, 200), sample(10, 1_000)]),
                side("floor", vec![sample(10, 100), sample(10, 100), sample(10, 100)]),
            ],
            compares: true,
            notes: Vec::new(),
            more: Vec::new(),
        };
        let table = figures.table();
        assert!(
            table.contains("0.50 times floor, per CPU second (rounds 0.10 to 1.00)"),
            "{table}"
        );
        assert_eq!(figures.json()["servers"][0]["rounds"].as_array().unwrap().len(), 3);
        assert!(figures.plot().is_some());
    }
}
