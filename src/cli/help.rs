//! `palabre help`: the topics of the manual, and the help of a command.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGQUIT};

use super::arguments::{Palabre, Unparsed, help_of, parse};
use super::mistakes::{self, commands};
use super::{Exit, Failure, PROGRAM, command_line, said, say};
use crate::config::nearest_told;
use crate::manual::{ManualTopic, TOPICS};

/// What shows a topic on a terminal when `PAGER` names nothing else.
const PAGER: &str = "less";

/// How `less` behaves where `LESS` does not say otherwise: what fits on the screen is just printed.
const LESS: &str = "FRX";

/// Prints a topic of the manual, the help of a command, or what there is of both, which is also the
/// help of this command.
///
/// # Errors
/// When neither a topic nor a command has this name, or the output could not be written.
pub(super) fn help(words: &[&str]) -> Result<Exit, Failure> {
    let overview = help_of::<Palabre>(PROGRAM, &[]);
    match words {
        [] | ["help"] => say(overview.trim_end()),
        [word, more @ ..] => match (topic(word), more) {
            (Some(topic), []) => show(&readable(topic.text)),
            (Some(_), [more, ..]) => {
                let text = format!("an argument too many, {more:?} (palabre help {word})");
                return Err(wrong(&text));
            }
            (None, _) if word.starts_with('-') || commands(&overview).contains(word) => {
                return command(words);
            }
            (None, _) => return Err(unknown(word, &overview)),
        },
    }
    said()
}

fn topic(name: &str) -> Option<&'static ManualTopic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

/// Prints the help of the command that the words lead to.
fn command(words: &[&str]) -> Result<Exit, Failure> {
    match parse::<Palabre>(PROGRAM, &[words, &["--help"]].concat()) {
        Err(Unparsed::Help(text)) => say(text.trim_end()),
        Err(Unparsed::Wrong(text)) => return Err(Failure { exit: Exit::Usage, text }),
        Ok(_) => {}
    }
    said()
}

fn unknown(word: &str, overview: &str) -> Failure {
    if word == "bench" {
        return Failure::new(Exit::Usage, mistakes::BENCH_IS_ELSEWHERE);
    }
    let topics = TOPICS.iter().map(|topic| topic.name);
    let near = nearest_told(word, topics.chain(commands(overview)));
    wrong(&format!("no topic of the manual and no command is called {word:?}{near}"))
}

fn wrong(text: &str) -> Failure {
    let more = command_line(["--help"]);
    Failure::new(Exit::Usage, format_args!("{text}\nRun {more} for more information."))
}

/// A topic as people read it: without the marks that are for tests.
fn readable(text: &str) -> String {
    let is_mark = |line: &&str| line.starts_with("<!-- ") && line.ends_with(" -->");
    let lines = text.lines().filter(|line| !is_mark(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Shows a text by a pager on a terminal, and prints it anywhere else. That nobody reads to its end
/// is no error.
fn show(text: &str) {
    if !(io::stdout().is_terminal() && page(text)) {
        say(text.trim_end());
    }
}

/// Whether a pager has shown the text.
fn page(text: &str) -> bool {
    let wanted = std::env::var("PAGER").unwrap_or_else(|_| PAGER.to_owned());
    let words = shlex::split(&wanted).unwrap_or_default();
    let Some((program, arguments)) = words.split_first() else {
        return false;
    };
    // Ctrl-C is for the pager: without us it would be left alone with the terminal.
    let seen = Arc::default();
    for signal in [SIGINT, SIGQUIT] {
        if signal_hook::flag::register(signal, Arc::clone(&seen)).is_err() {
            return false;
        }
    }
    let mut pager = Command::new(program);
    pager.args(arguments).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        pager.env("LESS", LESS);
    }
    let Ok(mut running) = pager.spawn() else {
        return false;
    };
    if let Some(mut input) = running.stdin.take() {
        let _ = input.write_all(text.as_bytes());
    }
    running.wait().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_for_tests_and_not_for_readers() {
        assert_eq!(readable("a\n<!-- keys -->\n| <!-- b --> |\n"), "a\n| <!-- b --> |\n");
    }

    #[test]
    fn no_topic_has_the_name_of_a_command_and_all_are_in_the_overview() {
        let overview = help_of::<Palabre>(PROGRAM, &[]);
        for ManualTopic { name, about, .. } in TOPICS {
            assert!(!commands(&overview).contains(name), "{name}");
            let line = format!("\n    {name:<14}  {about}\n");
            assert!(overview.contains(&line), "{overview}\nlacks{line}");
        }
    }
}
