//! Wrong arguments: the nearest right name, and the help of the command that they were given to.
//!
//! What commands and options there are is read from the help itself, so that there is one list.

use super::{PROGRAM, command_line};
use crate::config::nearest_told;

/// Where the command `bench` of earlier versions is.
pub(super) const BENCH_IS_ELSEWHERE: &str = "bench is a program of its own, palabre-bench, which \
                                             this makes: cargo build --release --features bench";

/// What is told of wrong arguments of a program. `complaint` is what the parser says of `words`,
/// and `help_of` gives the help of a command, by its name and those of the commands above it.
pub(super) fn explain(
    program: &str,
    words: &[&str],
    complaint: &str,
    help_of: impl Fn(&[&str]) -> String,
) -> String {
    let (command, help) = command_of(words, help_of);
    let more = command_line(command.iter().copied().chain(["--help"]));
    let more = format!("Run {more} for more information.");
    let Some(unknown) = complaint.strip_prefix("Unrecognized argument: ") else {
        return format!("{program}: {complaint}\n{more}");
    };
    if (program, unknown, command.is_empty()) == (PROGRAM, "bench", true) {
        return format!("{PROGRAM}: {BENCH_IS_ELSEWHERE}");
    }
    let is_option = unknown.starts_with('-');
    let known = if is_option { options(&help) } else { commands(&help) };
    let what = match (is_option, known.is_empty()) {
        (true, _) => format!("unknown option {unknown}"),
        (false, false) => format!("unknown command {unknown:?}"),
        (false, true) => format!("an argument too many, {unknown:?}"),
    };
    let of = if command.is_empty() {
        String::new()
    } else {
        format!(" ({program} {})", command.join(" "))
    };
    let near = nearest_told(unknown, known.into_iter());
    // Its usage, options and commands; examples and the like come with --help.
    let end = ["\n\nExamples:", "\n\nNotes:", "\n\nError codes:"];
    let end = end.iter().filter_map(|mark| help.find(mark)).min().unwrap_or(help.len());
    format!("{program}: {what}{of}{near}\n\n{}\n\n{more}", help[..end].trim())
}

/// The command that the words lead to, and its help.
fn command_of<'a>(
    words: &[&'a str],
    help_of: impl Fn(&[&str]) -> String,
) -> (Vec<&'a str>, String) {
    let mut command = Vec::new();
    let mut help = help_of(&command);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            if help.contains(&format!("{word} <")) {
                words.next();
            }
        } else if commands(&help).contains(word) {
            command.push(word);
            help = help_of(&command);
        } else {
            break;
        }
    }
    (command, help)
}

/// The lines of a section of the help.
fn section<'a>(help: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let found = help.split_once(&format!("\n{name}:\n")).map_or("", |(_, rest)| rest);
    found.lines().take_while(|line| !line.is_empty())
}

pub(super) fn commands(help: &str) -> Vec<&str> {
    let lines = section(help, "Commands").filter_map(|line| line.strip_prefix("  "));
    lines.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(' ').next()).collect()
}

fn options(help: &str) -> Vec<&str> {
    let lines = section(help, "Options").filter(|line| line.starts_with("  -"));
    let words = lines.flat_map(|line| line.split_whitespace());
    words.map(|word| word.trim_end_matches(',')).filter(|word| word.starts_with('-')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help_of(command: &[&str]) -> String {
        let text = match command {
            [] => {
                "Usage: x [--config <file>] [-V] [<command>]\n\nit serves\n\nOptions:\n  \
                 -V, --version  tell it\n  --config       a file, or\n                 -1\n\n\
                 Commands:\n  run    serve\n  stop   end\n         it\n\nExamples:\n  x run\n"
            }
            ["run"] => "Usage: x run [--fast]\n\nserve\n\nOptions:\n  --fast    quickly\n",
            _ => "",
        };
        text.to_owned()
    }

    #[test]
    fn commands_and_options_are_read_from_the_help() {
        assert_eq!(commands(&help_of(&[])), ["run", "stop"]);
        assert_eq!(options(&help_of(&[])), ["-V", "--version", "--config"]);
        let command = |words: &[&'static str]| command_of(words, help_of).0;
        assert_eq!(command(&["--config", "run", "--fsat"]), [""; 0]);
        assert_eq!(command(&["--config", "f", "-V", "run", "--fsat", "stop"]), ["run"]);
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_one_and_the_help_of_its_command() {
        let explain =
            |words: &[&'static str], complaint| explain("palabre", words, complaint, help_of);
        let told = explain(&["run", "--fsat"], "Unrecognized argument: --fsat");
        let start =
            "palabre: unknown option --fsat (palabre run); the nearest is --fast\n\nUsage: x run";
        assert!(told.starts_with(start), "{told}");
        assert!(told.ends_with("run --help for more information."), "{told}");
        let told = explain(&["rum"], "Unrecognized argument: rum");
        assert!(told.contains("unknown command \"rum\"; the nearest is run\n"), "{told}");
        assert!(told.contains("Commands:\n") && !told.contains("Examples:"), "{told}");
        let told = explain(&["run", "zzz"], "Unrecognized argument: zzz");
        assert!(told.contains("an argument too many, \"zzz\" (palabre run)\n"), "{told}");
        let told = explain(&["run", "--fast"], "something else");
        assert!(told.starts_with("palabre: something else\nRun "), "{told}");
    }
}
