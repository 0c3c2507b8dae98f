//! What the strict check costs beside a bare quick-xml event loop over the same stanzas.
//!
//! `cargo bench --bench parse` takes turns between the two, so that both meet the same noise,
//! and compares the fastest turn of each. `-- ours NAME` and `-- bare NAME` run one of the two
//! over one stanza, for a profiler.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use palabre::limits::Limits;
use palabre::wire::stanza::Parser;
use quick_xml::Reader;
use quick_xml::events::Event;

/// Parses in one turn: long enough for the clock, short enough to fit between interruptions.
const PARSES_PER_TURN: u32 = 2_000;
/// Turns of each side.
const TURNS: u32 = 400;

fn stanzas() -> Vec<(&'static str, String)> {
    let line = "All work and no play makes Jack a dull boy, isn't it so? ";
    vec![
        ("ping", "<ping />".to_owned()),
        ("message", "<m toroom=\"lobby\">hello everybody, how are you?</m>".to_owned()),
        (
            "attributes",
            "<m toroom=\"lobby\" back=\"1\" colour=\"#ff0000\" x=\"120\" y=\"48\" d='a &amp; b'>hi</m>"
                .to_owned(),
        ),
        (
            "markup",
            "<m r='lobby'><b>hello</b> &lt;you&gt; <i a='1' b='2'>and <u>you</u></i><br/></m>"
                .to_owned(),
        ),
        ("4 KiB body", format!("<m r='lobby'>{}</m>", line.repeat(4_096 / line.len()))),
    ]
}

fn ours(parser: &mut Parser, frame: &str, limits: &Limits) -> usize {
    match parser.parse(black_box(frame.as_bytes()), limits) {
        Ok(stanza) => stanza.inner().len(),
        Err(refusal) => panic!("{frame}: {refusal:?}"),
    }
}

fn bare(frame: &str) -> usize {
    let mut reader = Reader::from_str(black_box(frame));
    let mut events = 0;
    loop {
        match reader.read_event() {
            Ok(Event::Eof) => return events,
            Ok(event) => {
                black_box(&event);
                events += 1;
            }
            Err(error) => panic!("{frame}: {error}"),
        }
    }
}

/// How long one turn of `parse` takes.
fn turn(mut parse: impl FnMut() -> usize) -> Duration {
    let start = Instant::now();
    for _ in 0..PARSES_PER_TURN {
        black_box(parse());
    }
    start.elapsed()
}

fn main() {
    let limits = Limits::default();
    let mut parser = Parser::new();
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [side, name] = &asked[..] {
        for (_, frame) in stanzas().iter().filter(|(stanza, _)| stanza == name) {
            let parse =
                |_| if side == "bare" { bare(frame) } else { ours(&mut parser, frame, &limits) };
            println!("{side} {name}: {}", (0..10_000).map(parse).sum::<usize>());
        }
        return;
    }
    println!("{:<12} {:>9} {:>9} {:>6}", "stanza", "ours", "bare", "ratio");
    let (mut ours_total, mut bare_total) = (0.0, 0.0);
    for (name, frame) in stanzas() {
        let (mut ours_best, mut bare_best) = (Duration::MAX, Duration::MAX);
        for _ in 0..TURNS {
            ours_best = ours_best.min(turn(|| ours(&mut parser, &frame, &limits)));
            bare_best = bare_best.min(turn(|| bare(&frame)));
        }
        let each = |best: Duration| best.as_secs_f64() * 1e9 / f64::from(PARSES_PER_TURN);
        report(name, each(ours_best), each(bare_best));
        ours_total += each(ours_best);
        bare_total += each(bare_best);
    }
    report("overall", ours_total, bare_total);
}

fn report(name: &str, ours_ns: f64, bare_ns: f64) {
    println!("{name:<12} {ours_ns:>6.1} ns {bare_ns:>6.1} ns {:>6.2}", ours_ns / bare_ns);
}
