//! The counters as Prometheus reads them: its text format, version 0.0.4.
//!
//! Every name begins with `palabre_`; units are seconds and bytes. A reason that has not
//! happened yet is there with 0, so that its first time is an increase.

use std::fmt::{self, Arguments, Display, Write as _};

use super::Metrics;
use crate::reason::{CloseReason, RefusalReason};

/// What is so at the moment, besides what is counted.
#[derive(Clone, Debug, Default)]
pub struct Gauges<'a> {
    /// The version that runs. It needs no escaping.
    pub version: &'a str,
    /// When the server started, in microseconds since 1970.
    pub start_unix_us: u64,
    /// Sessions by what they speak; a name needs no escaping.
    pub sessions: Vec<(&'a str, usize)>,
    /// Rooms.
    pub rooms: usize,
    /// Connections, those that are closing among them.
    pub connections: usize,
    /// Bytes waiting for slow readers.
    pub backlog_bytes: usize,
}

/// Appends everything to `out`.
pub fn write(out: &mut String, metrics: &Metrics, gauges: &Gauges<'_>) {
    let mut page = MetricsPage(out);
    page.head("build_info", "gauge", "The version that runs.");
    page.labelled("build_info", "version", gauges.version, 1);
    let start = Seconds::of_us(gauges.start_unix_us);
    page.gauge("start_time_seconds", "When the server started, since 1970.", start);
    page.head("sessions", "gauge", "Open sessions, by what they speak.");
    for (transport, count) in &gauges.sessions {
        page.labelled("sessions", "transport", transport, *count);
    }
    page.gauge("connections", "Open connections, closing ones too.", gauges.connections);
    page.gauge("rooms", "Rooms.", gauges.rooms);
    page.gauge("backlog_bytes", "Bytes waiting for slow readers.", gauges.backlog_bytes);

    page.counter("connections_accepted_total", "Connections accepted.", metrics.accepted);
    page.counter("accept_errors_total", "Times that accepting failed.", metrics.accept_errors);
    page.counter("logins_total", "Logins.", metrics.logins);
    page.counter("stanzas_received_total", "Stanzas received.", metrics.frames_in);
    page.counter("deliveries_total", "Stanzas sent, one for each receiver.", metrics.deliveries);
    page.counter("received_bytes_total", "Bytes received.", metrics.bytes_in);
    page.counter("sent_bytes_total", "Bytes sent.", metrics.bytes_out);
    let received = metrics.plugin_frames_in;
    page.counter("plugin_stanzas_received_total", "Stanzas received from plugins.", received);
    let dropped = metrics.plugin_drops;
    page.counter("plugin_drops_total", "Stanzas not sent to plugins that don't read.", dropped);
    let lost = metrics.log_lines_lost;
    page.counter("log_lines_lost_total", "Lines of the log that could not be written.", lost);
    let left_out = metrics.log_lines_left_out;
    let help = "Lines of the log left out, because one address caused too many.";
    page.counter("log_lines_left_out_total", help, left_out);
    page.head("refusals_total", "counter", "Requests refused with an error, by reason.");
    for reason in RefusalReason::ALL {
        page.labelled("refusals_total", "reason", reason.label(), metrics.refusals(reason));
    }
    page.head("closes_total", "counter", "Connections closed, by reason.");
    for reason in CloseReason::ALL {
        page.labelled("closes_total", "reason", reason.label(), metrics.closes(reason));
    }
    page.turn_time(metrics);
}

struct MetricsPage<'a>(&'a mut String);

impl MetricsPage<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.line(format_args!("palabre_{name} {value}"));
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        self.line(format_args!("palabre_{name} {value}"));
    }

    fn turn_time(&mut self, metrics: &Metrics) {
        const NAME: &str = "turn_duration_seconds";
        let times = &metrics.turn_time;
        self.head(NAME, "histogram", "Turns of the loop, the waiting for events left out.");
        for (bound_us, count) in times.cumulative() {
            let bound = Seconds::of_us(u64::from(bound_us));
            self.line(format_args!("palabre_{NAME}_bucket{{le=\"{bound}\"}} {count}"));
        }
        let count = times.count();
        self.line(format_args!("palabre_{NAME}_bucket{{le=\"+Inf\"}} {count}"));
        self.line(format_args!("palabre_{NAME}_sum {}", Seconds(times.sum_ns())));
        self.line(format_args!("palabre_{NAME}_count {count}"));
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP palabre_{name} {help}"));
        self.line(format_args!("# TYPE palabre_{name} {kind}"));
    }

    fn labelled(&mut self, name: &str, label: &str, value: &str, sample: impl Display) {
        self.line(format_args!("palabre_{name}{{{label}=\"{value}\"}} {sample}"));
    }

    fn line(&mut self, arguments: Arguments<'_>) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "{arguments}");
    }
}

/// Nanoseconds, written as seconds without any loss.
struct Seconds(u64);

impl Seconds {
    const fn of_us(microseconds: u64) -> Self {
        Self(microseconds.saturating_mul(1_000))
    }
}

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let rest = format!("{rest:09}");
        write!(f, "{whole}.{}", rest.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn page(metrics: &Metrics) -> String {
        let gauges = Gauges {
            version: "1.2.3",
            start_unix_us: 1_795_478_400_250_000,
            sessions: vec![("stanzas", 7), ("websocket", 2)],
            rooms: 3,
            connections: 9,
            backlog_bytes: 1_000,
        };
        let mut page = String::from("before\n");
        write(&mut page, metrics, &gauges);
        page.strip_prefix("before\n").expect("it is appended").to_owned()
    }

    fn full() -> Metrics {
        let mut metrics = Metrics { accepted: 11, bytes_out: u64::MAX, ..Metrics::default() };
        metrics.close(CloseReason::Quit);
        metrics.close(CloseReason::Quit);
        metrics.refuse(RefusalReason::UnknownTarget);
        for nanoseconds in [9_000, 30_000, 30_000, 7_000_000_000] {
            metrics.turn_time.observe(nanoseconds);
        }
        metrics
    }

    /// A sample's name with its labels, and its value.
    fn samples(page: &str) -> Vec<(&str, &str)> {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').expect("a name and a value")).collect()
    }

    /// The family that a sample belongs to, by the kinds that are declared.
    fn family<'a>(name: &'a str, kinds: &BTreeMap<&str, &str>) -> &'a str {
        let bare = name.split('{').next().unwrap_or_default();
        let of_histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|end| bare.strip_suffix(end))
            .find(|base| kinds.get(base) == Some(&"histogram"));
        of_histogram.unwrap_or(bare)
    }

    #[test]
    fn every_sample_stands_once_under_the_help_and_the_type_of_its_family() {
        let page = page(&full());
        assert!(page.ends_with('\n'));
        let mut kinds = BTreeMap::new();
        let mut helped = "";
        let mut current = "";
        let mut seen = BTreeSet::new();
        for line in page.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').expect("a text");
                assert!(text.ends_with('.') && !text.contains('\\'), "{line}");
                helped = name;
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type");
                assert_eq!(name, helped, "{line}");
                assert!(kinds.insert(name, kind).is_none(), "{name} comes twice");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                let well_formed = |c: char| c.is_ascii_lowercase() || c == '_';
                assert!(name.starts_with("palabre_") && name.chars().all(well_formed), "{line}");
                current = name;
            } else {
                let (name, value) = line.rsplit_once(' ').expect("a name and a value");
                assert_eq!(family(name, &kinds), current, "{line}");
                assert!(seen.insert(name), "{name} comes twice");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }

    #[test]
    fn buckets_add_up_and_end_with_all() {
        let page = page(&full());
        let name = "palabre_turn_duration_seconds";
        let buckets: Vec<(f64, u64)> = samples(&page)
            .into_iter()
            .filter_map(|(sample, value)| {
                let bound = sample.strip_prefix(name)?.strip_prefix("_bucket{le=\"")?;
                let bound = bound.strip_suffix("\"}").expect("nothing but the bound");
                Some((bound.parse().expect("a bound"), value.parse().expect("a count")))
            })
            .collect();
        assert_eq!(buckets.len(), super::super::Histogram::BOUNDS_US.len() + 1);
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{buckets:?}");
        assert_eq!(buckets[..3], [(0.00001, 1), (0.000025, 1), (0.00005, 3)]);
        assert_eq!(buckets[15..], [(1.0, 3), (f64::INFINITY, 4)]);
        assert!(page.contains(&format!("{name}_sum 7.000069\n{name}_count 4\n")), "{page}");
    }

    #[test]
    fn what_has_not_happened_is_there_with_nothing() {
        let page = page(&Metrics::default());
        for (label, count) in
            [("refusals", RefusalReason::ALL.len()), ("closes", CloseReason::ALL.len())]
        {
            let start = format!("palabre_{label}_total{{reason=\"");
            let lines = page.lines().filter(|line| line.starts_with(&start));
            assert_eq!(lines.filter(|line| line.ends_with("\"} 0")).count(), count, "{page}");
        }
    }

    #[test]
    fn figures_arrive_as_they_are() {
        let page = page(&full());
        for line in [
            "palabre_build_info{version=\"1.2.3\"} 1",
            "palabre_start_time_seconds 1795478400.25",
            "palabre_sessions{transport=\"stanzas\"} 7",
            "palabre_sessions{transport=\"websocket\"} 2",
            "palabre_rooms 3",
            "palabre_connections 9",
            "palabre_backlog_bytes 1000",
            "palabre_connections_accepted_total 11",
            "palabre_sent_bytes_total 18446744073709551615",
            "palabre_closes_total{reason=\"quit\"} 2",
            "palabre_refusals_total{reason=\"unknown_target\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }
}
