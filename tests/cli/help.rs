//! `palabre help`: topics of the manual, commands, and what is neither.

use std::process::Stdio;

use palabre::manual::TOPICS;

use super::house::{House, Terminal, read_until};
use super::manual;

#[test]
fn a_topic_is_printed_as_it_is_but_for_the_marks_of_tests() {
    let house = House::new();
    for topic in TOPICS {
        let ran = house.run(&["help", topic.name]);
        assert_eq!((ran.code, &*ran.err), (0, ""), "{}", topic.name);
        let lines = topic.text.lines().filter(|line| !line.starts_with("<!--"));
        assert!(ran.out.lines().eq(lines), "{}", ran.out);
    }
}

#[test]
fn the_help_of_help_is_the_overview() {
    let house = House::new();
    let ran = house.run(&["help", "help"]);
    assert_eq!((ran.code, ran.out, &*ran.err), (0, house.run(&["help"]).out, ""));
}

#[test]
fn the_help_of_a_command_is_read_either_way() {
    let house = House::new();
    for command in [&["run"][..], &["passwd"], &["passwd", "add"], &[]] {
        let one = house.run(&[&["help"], command].concat());
        let other = house.run(&[command, &["--help"]].concat());
        assert_eq!((one.code, one.out, one.err), (0, other.out, other.err), "{command:?}");
    }
}

/// The names of a section of the help, each at the beginning of a line.
fn listed<'a>(help: &'a str, section: &str) -> Vec<&'a str> {
    let (_, lines) = help.split_once(&format!("\n{section}:\n")).unwrap();
    let lines = lines.lines().take_while(|line| !line.is_empty());
    let entries =
        lines.filter_map(|line| line.strip_prefix("  ")).filter(|it| !it.starts_with(' '));
    entries.map(|entry| entry.split(' ').next().unwrap()).collect()
}

#[test]
fn the_documents_have_every_command_and_every_exit_code() {
    let help = House::new().run(&["help"]).out;
    let shown = manual::part("commands");
    for command in listed(&help, "Commands") {
        let cell = format!("`palabre {command}`");
        let rows = shown.lines().filter(|row| row.split(" | ").next().unwrap().contains(&cell));
        assert_eq!(rows.count(), 1, "README.md's table of commands, {command}");
    }
    let shown = manual::part("exit codes");
    let codes = shown.lines().skip(2).map(|row| row.split(['|', ' ']).nth(2).unwrap());
    let codes: Vec<&str> = codes.collect();
    assert_eq!(codes, [&["0"][..], &listed(&help, "Error codes")].concat());
}

#[test]
fn what_is_neither_topic_nor_command_is_answered_with_the_nearest_name() {
    let house = House::new();
    for (words, told) in [
        (
            &["protocl"][..],
            "no topic of the manual and no command is called \"protocl\"; the nearest is protocol\n",
        ),
        (&["staart"], "is called \"staart\"; the nearest is start\n"),
        (&["zzzzzzzz"], "is called \"zzzzzzzz\"\n"),
        (&["protocol", "names"], "an argument too many, \"names\" (palabre help protocol)\n"),
        (&["passwd", "ad"], "unknown command \"ad\" (palabre passwd); the nearest is add\n"),
        (&["--bogus"], "unknown option --bogus"),
    ] {
        let ran = house.run(&[&["help"], words].concat());
        assert_eq!((ran.code, &*ran.out), (2, ""), "{words:?}");
        assert!(ran.err.starts_with("palabre: ") && ran.err.contains(told), "{}", ran.err);
        assert!(ran.err.contains("--help for more information."), "{}", ran.err);
    }
}

#[test]
fn nobody_needs_to_read_a_topic_to_its_end() {
    let house = House::new();
    let mut child = house.command(&["help", "protocol"]).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}

#[test]
fn a_topic_is_paged_on_a_terminal() {
    let house = House::new();
    house.executable(
        "pager",
        "#!/bin/sh\necho \"$1, LESS=$LESS\"\nread -r line\necho \"<$line>\"\n",
    );
    let pager = format!("PAGER={} 'in pages'", house.path("pager").display());
    let mut terminal = Terminal::new(&house, &["env", "LESS=S", &pager], &["help", "operating"]);
    read_until(&terminal.screen, "in pages, LESS=S");
    read_until(&terminal.screen, "<# Operating>");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));

    // Without a pager that can be run it is just printed.
    for pager in ["PAGER=", "PAGER=./nothing-of-that-name"] {
        let mut terminal = Terminal::new(&house, &["env", pager], &["help", "operating"]);
        read_until(&terminal.screen, "# Operating");
        assert_eq!(terminal.child.wait().unwrap().code(), Some(0), "{pager}");
    }
}
