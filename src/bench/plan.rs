//! A run: what it measures, in which order, and where the figures go.

use std::fs::File;
use std::io::{IsTerminal as _, Seek as _, Write};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::comparison::Comparison;
use super::cores::pin;
use super::error::Fault;
use super::interrupt::{is_interrupted, take_signals};
use super::options::{Options, Workload};
use super::report::Figures;
use super::rude;
use super::suite::SUITE;
use super::workload::measure_of;

/// Measures what the options ask for and prints it to `out`.
///
/// # Errors
/// The first thing that went wrong; what was measured before it has been printed.
pub fn run(options: &Options, out: &mut dyn Write) -> Result<(), Fault> {
    options.check()?;
    let json_file = options.json.as_deref().map(open_json).transpose()?;
    take_signals()?;
    pin(0);
    let mut plan = Plan { options, bar: bar(options), out, found: Vec::new() };
    let result = match plan.run() {
        // What there was is printed.
        Err(Fault::Interrupted) if !plan.found.is_empty() => Ok(()),
        result => result,
    };
    plan.bar.finish_and_clear();
    let found: Vec<Value> = plan.found;
    if let Some(mut file) = json_file.filter(|_| !found.is_empty()) {
        let all = json!({ "version": env!("CARGO_PKG_VERSION"), "workloads": found });
        empty(&mut file)
            .and_then(|()| file.write_all(format!("{all:#}\n").as_bytes()))
            .map_err(|source| Fault::system("write the --json file", source))?;
    }
    result
}

/// Opens the file of the figures before anything is measured in vain. What is in it stays until
/// there are others.
fn open_json(path: &Path) -> Result<File, Fault> {
    let opened = File::options().write(true).create(true).truncate(false).open(path);
    opened.map_err(|source| Fault::Usage { text: format!("--json {}: {source}", path.display()) })
}

/// A pipe or a device has nothing to be emptied of.
fn empty(file: &mut File) -> std::io::Result<()> {
    if !file.metadata()?.is_file() {
        return Ok(());
    }
    file.rewind()?;
    file.set_len(0)
}

/// A bar on a terminal, none in a pipe.
fn bar(options: &Options) -> ProgressBar {
    let rows = if options.workload == Workload::Suite { SUITE.len() } else { 1 };
    let bar = ProgressBar::new((rows * options.servers() * options.rounds()) as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar
}

struct Plan<'a> {
    options: &'a Options,
    bar: ProgressBar,
    out: &'a mut dyn Write,
    found: Vec<Value>,
}

impl Plan<'_> {
    fn run(&mut self) -> Result<(), Fault> {
        if self.options.workload == Workload::Rude {
            return self.attack();
        }
        if self.options.workload != Workload::Suite {
            return self.measure(self.options);
        }
        for row in &SUITE {
            self.measure(&row.options(self.options))?;
            if is_interrupted() {
                break;
            }
        }
        Ok(())
    }

    fn attack(&mut self) -> Result<(), Fault> {
        let (bar, out) = (&self.bar, &mut self.out);
        rude::run(self.options, &mut self.found, |line| print(bar, out, line))
    }

    /// Measures one workload and tells what was found.
    fn measure(&mut self, options: &Options) -> Result<(), Fault> {
        let Some(measure) = measure_of(options.workload) else {
            return Ok(());
        };
        self.bar.set_message(options.workload.name());
        let mut figures = measure(&Comparison { options, bar: &self.bar })?;
        if !options.over.is_plain() {
            figures.shape += &format!(", over {}", options.over);
        }
        figures.more.push(("over", options.over.to_string().into()));
        self.tell(&figures);
        Ok(())
    }

    fn tell(&mut self, figures: &Figures) {
        let mut text = figures.table();
        let alone = self.options.workload != Workload::Suite;
        if alone && (self.options.plot || std::io::stdout().is_terminal()) {
            text.extend(figures.plot());
        }
        self.found.push(figures.json());
        print(&self.bar, self.out, &text);
    }
}

/// Prints lines above the bar.
fn print(bar: &ProgressBar, out: &mut dyn Write, text: &str) {
    bar.suspend(|| {
        // That nobody reads any more is no error of ours.
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
    });
}
