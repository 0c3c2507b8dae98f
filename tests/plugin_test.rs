//! `palabre plugin-test`: what it says to a plugin, what it finds wrong, and its exit codes. The
//! plugins are lines of `sh`, which every machine has, and the sample in it.

#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

#[path = "support/manual.rs"]
mod manual;

use std::process::{Command, Stdio};

/// A conversation that was printed.
#[derive(Debug)]
struct Tried {
    code: i32,
    out: String,
    err: String,
}

impl Tried {
    /// The lines of one side; a busy machine may let the other side's come between them anywhere.
    fn lines(&self, mark: &str) -> Vec<&str> {
        self.out.lines().filter_map(|line| line.strip_prefix(mark)).collect()
    }
}

fn try_with(arguments: &[&str]) -> Tried {
    let ran = Command::new(env!("CARGO_BIN_EXE_palabre"))
        .arg("plugin-test")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Tried {
        code: ran.status.code().expect("it ends by itself"),
        out: String::from_utf8(ran.stdout).unwrap(),
        err: String::from_utf8(ran.stderr).unwrap(),
    }
}

fn try_script(options: &[&str], script: &str) -> Tried {
    try_with(&[options, &["sh", "-c", script]].concat())
}

const GREETING: &str = "<palabre version='1.0.0' plugins='1' name='sh' />";

#[test]
fn the_shell_sample_is_tried_without_a_complaint() {
    let tried = try_with(&["--stanza", "<dice room=\"tea\" />", "tests/plugins/dice.sh"]);
    assert_eq!((tried.code, &*tried.err), (0, ""), "{tried:?}");
    // But for the dot of the die it is the manual's conversation.
    let shown = &manual::blocks("plugin-test")[1];
    let without_dots = |text: &str| text.replace(|c: char| ('1'..='6').contains(&c), "·");
    assert_eq!(without_dots(&tried.out), without_dots(shown));
}

#[test]
fn a_plugin_hears_a_whole_session_in_its_order() {
    let hooks = "onStartup onShutdown onClientInit onClientConnect onClientUnauthorized \
                 onClientBadnick onClientJoinRoom onClientLeaveRoom onClientQuit onClientClose \
                 onRemoveClient onRoomInit onRoomRemove onMessage";
    let script =
        format!("printf '<register names=\"b, a\" hooks=\"{hooks}\" />\\0'; cat >/dev/null");
    let tried = try_script(&["--nick", "O'Neil"], &script);
    assert_eq!((tried.code, &*tried.err), (0, ""), "{tried:?}");
    let first = "session='0.1' nick='O&apos;Neil' address='127.0.0.1' transport='stanzas'";
    let second = "session='1.2' nick='Bob' address='127.0.0.1' transport='stanzas'";
    assert_eq!(
        tried.lines("> "),
        [
            GREETING,
            "<event hook='onStartup' />",
            "<event hook='onClientInit' session='0.1' address='127.0.0.1' />",
            &format!("<event hook='onClientConnect' {first} />"),
            "<event hook='onRoomInit' session='0.1' address='127.0.0.1' transport='stanzas' \
             room='tea' />",
            &format!("<event hook='onClientJoinRoom' {first} room='tea' />"),
            "<event hook='onClientInit' session='1.2' address='127.0.0.1' />",
            "<event hook='onClientBadnick' session='1.2' nick='O&apos;Neil' address='127.0.0.1' \
             transport='stanzas' reason='Nickname empty or already taken' />",
            &format!("<event hook='onClientConnect' {second} />"),
            &format!("<event hook='onClientJoinRoom' {second} room='tea' />"),
            &format!("<stanza {first}><b /></stanza>"),
            &format!("<stanza {first}><a /></stanza>"),
            &format!(
                "<event hook='onMessage' {first} room='tea'>\
                 <m f=\"O&apos;Neil\" r=\"tea\">Good morning</m></event>"
            ),
            &format!(
                "<event hook='onMessage' {second} to='O&apos;Neil'>\
                 <m f=\"Bob\">Sugar?</m></event>"
            ),
            &format!("<event hook='onClientLeaveRoom' {first} room='tea' />"),
            &format!("<event hook='onClientQuit' {first} />"),
            &format!("<event hook='onRemoveClient' {first} />"),
            &format!("<event hook='onClientLeaveRoom' {second} room='tea' />"),
            "<event hook='onRoomRemove' room='tea' />",
            &format!("<event hook='onClientClose' {second} reason='it closed the connection' />"),
            &format!("<event hook='onRemoveClient' {second} />"),
            "<event hook='onShutdown' />",
        ]
    );
}

#[test]
fn a_login_is_asked_about_with_its_password() {
    let tried = try_script(
        &["--password", "a&b"],
        "printf '<register hooks=\"isAuthorized onClientConnect onClientUnauthorized\" />\\0'
         exec sed -unz \
            -e \"s/^<ask ask='\\([0-9]*\\)'.* nick='Ann'.*/<verdict ask='\\1' allowed='1' \\/>/p\" \
            -e \"s/^<ask ask='\\([0-9]*\\)'.* nick='Bob'.*/<verdict ask='\\1' allowed='0' \\/>/p\"",
    );
    assert_eq!(tried.code, 0, "{tried:?}");
    let first = "session='0.1' nick='Ann' address='127.0.0.1' transport='stanzas'";
    let second = "session='1.2' nick='Bob' address='127.0.0.1' transport='stanzas'";
    assert_eq!(
        tried.lines("> "),
        [
            GREETING,
            &format!(
                "<ask ask='1' hook='isAuthorized' {first}>\
                 <connect nickname=\"Ann\" password=\"a&amp;b\" /></ask>"
            ),
            &format!("<event hook='onClientConnect' {first} />"),
            &format!(
                "<ask ask='2' hook='isAuthorized' {second}>\
                 <connect nickname=\"Bob\" password=\"a&amp;b\" /></ask>"
            ),
            &format!("<event hook='onClientUnauthorized' {second} />"),
            // As root, whom the plugin can't refuse, so that the rest can be seen.
            &format!("<event hook='onClientConnect' {second} />"),
        ]
    );
}

#[test]
fn questions_are_answered_and_orders_carried_out_as_by_a_server() {
    let script = "printf '<register names=\"x\" />\\0'
        head -c 60 >/dev/null
        for order in '<get what=\"clients\" room=\"tea\" ask=\"7\" />' '<kick nick=\"Bob\" />' \
            '<get what=\"params\" room=\"tea\" ask=\"8\" />' '<send nick=\"Bob\"><y /></send>'; do
            printf '%s\\0' \"$order\"
        done
        cat >/dev/null";
    let tried = try_script(&[], script);
    let answers = tried.lines("> ");
    assert!(
        answers.contains(
            &"<answer ask='7'><clients room='tea' nb='2'>\
          <client name='Ann' session='0.1' operator='1' address='127.0.0.1' />\
          <client name='Bob' session='1.2' address='127.0.0.1' /></clients></answer>"
        ),
        "{tried:#?}"
    );
    assert_eq!(tried.code, 1);
    assert_eq!(tried.lines("! "), ["<error>No user connected with nickname: Bob</error>"]);
}

#[test]
fn timers_are_fired_at_once() {
    let tried = try_script(
        &["--wait", "20"],
        "printf '<register />\\0<timer name=\"day\" after=\"86400000\" />\\0'
         printf '<timer name=\"hour\" after=\"3600000\" />\\0'; cat >/dev/null",
    );
    assert_eq!(tried.code, 0, "{tried:?}");
    assert_eq!(tried.lines("> "), [GREETING, "<timer name='hour' />", "<timer name='day' />"]);
}

/// Scripts that are rude, and the complaints about each.
const RUDE: [(&str, &[&str]); 10] = [
    ("exit 3", &["it ended with exit code 3, before the server stopped"]),
    ("kill -9 $$", &["signal 9 ended it, before the server stopped"]),
    ("printf '<register />\\0'; cat >/dev/null; exit 4", &["it ended with exit code 4"]),
    (
        "printf 'rubbish\\0<register />\\0<x>\\0'; cat >/dev/null",
        &[
            "no XML: text before the root, at byte 0",
            "<error>This is not a valid XML string</error>",
            "no XML: an element that is not closed, at byte 3",
            "<error>This is not a valid XML string</error>",
        ],
    ),
    (
        "printf '<register names=\"join\" hooks=\"onTea\" />\\0<dance />\\0'; cat >/dev/null",
        &[
            "<error>join is the server's own; onTea is no hook</error>",
            "<error>&lt;dance&gt; is nothing that a plugin can send</error>",
        ],
    ),
    ("printf '<register />\\0<log>half'; cat >/dev/null", &["this has no NUL behind it"]),
    (
        "cat >/dev/null",
        &["it has not registered anything within 5 s: until it does, nobody can log in"],
    ),
    (
        "printf '<register hooks=\"isAuthorized\" />\\0'; cat >/dev/null",
        &["it has not answered within 5 s: that is a no"; 2],
    ),
    ("printf '<register />\\0'; exec sleep 1000", &["it did not end by itself when its input did"]),
    (
        "yes | tr -d '\\n'",
        &[
            "a stanza over 65536 bytes: the server ends whoever sends it",
            "<error>a stanza over 65536 bytes</error>",
            "signal 9 ended it, before the server stopped",
        ],
    ),
];

#[test]
fn what_is_wrong_is_said_and_the_exit_code_is_1() {
    let tries: Vec<_> = RUDE
        .iter()
        .map(|&(script, complaints)| {
            let tried = std::thread::spawn(move || try_script(&["--wait", "20"], script));
            (script, complaints, tried)
        })
        .collect();
    for (script, complaints, tried) in tries {
        let tried = tried.join().unwrap();
        assert_eq!(tried.code, 1, "{script}: {tried:?}");
        assert_eq!(tried.lines("! "), complaints, "{script}: {tried:?}");
    }
}

#[test]
fn what_a_plugin_complains_of_is_printed_line_by_line() {
    let tried = try_script(
        &["--wait", "20"],
        "printf '<register />\\0'; printf 'one\\ntwo \\033[1m\\nrest' >&2; cat >/dev/null",
    );
    assert_eq!(tried.code, 0, "{tried:?}");
    assert_eq!(tried.lines("# "), ["one", "two \\u{1b}[1m", "rest"]);
}

#[test]
fn the_stanzas_that_are_given_are_sent_instead() {
    let script = "printf '<register names=\"hello other\" />\\0'; cat >/dev/null";
    let sent = |tried: &Tried| -> Vec<String> {
        let stanzas = tried.lines("> ").into_iter().filter(|line| line.starts_with("<stanza "));
        stanzas.map(|line| line.split_once('>').unwrap().1.replace("</stanza>", "")).collect()
    };
    let tried =
        try_script(&["--stanza", " <hello to='you'/>", "--stanza=<hello>again</hello>"], script);
    assert_eq!(tried.code, 0, "{tried:?}");
    assert_eq!(sent(&tried), ["<hello to='you'/>", "<hello>again</hello>"]);
    let tried = try_script(&["--stanza", "<helo />"], script);
    assert_eq!((tried.code, tried.lines("! ")), (1, vec!["it has not registered <helo>"]));
}

#[test]
fn the_program_gets_its_arguments_and_its_name() {
    let script = "printf '<register />\\0'; echo \"$PALABRE_PLUGIN: $*\" >&2; cat >/dev/null";
    let tried =
        try_with(&["--wait=20", "--", "sh", "-c", script, "x", "--sides=20", "--nick", "a"]);
    assert_eq!(tried.lines("# "), ["sh: --sides=20 --nick a"], "{tried:?}");
}

#[test]
fn what_can_t_be_tried_is_refused() {
    for (arguments, code, hint) in [
        (&[][..], 2, "needs a program"),
        (&["--wait", "0", "sh"], 2, "from 1 to 60000"),
        (&["--wait", "60001", "sh"], 2, "from 1 to 60000"),
        (&["--wait", "60000", "./nothing-by-this-name"], 1, "No such file"),
        (&["--stanza", "hello", "sh"], 2, "needs one XML element"),
        (&["./nothing-by-this-name"], 1, "No such file"),
        (&["Cargo.toml"], 1, "say ./Cargo.toml"),
        (&["./Cargo.toml"], 4, "chmod +x"),
    ] {
        let tried = try_with(arguments);
        assert_eq!((tried.code, &*tried.out), (code, ""), "{tried:?}");
        assert!(tried.err.starts_with("palabre: ") && tried.err.contains(hint), "{tried:?}");
    }
}
