//! `palabre plugin-test`: tries a plugin out and prints the conversation, for those who write
//! one.
//!
//! The server that it talks to is the real one, in a world of its own: `stage` has clients that
//! follow the script below instead of a network, and `tap` prints what goes through the pipes.

mod stage;
mod tap;

use core::str::FromStr;
use std::path::{Path, PathBuf};

use argh::FromArgs;

use self::stage::{ClientAct, ScriptedWorld, Step};
use super::{Exit, Failure};
use crate::config::{Misfit, Module};
use crate::hub::{HashKey, ListenerKind, RootPassword, Settings};
use crate::limits::{Limits, PLUGIN_TEST_WAIT_MS_MAX};
use crate::net::server::{Server, Turn};
use crate::secret::Secret;
use crate::wire::stanza::Parser;
use crate::wire::write;

/// run a plugin against a short session of two clients, and print the conversation
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "plugin-test",
    help_triggers("-h", "--help", "help"),
    note = "Two clients log in, join the room tea, send what the plugin has registered, talk,
leave and are gone; then the server stops. A client that the plugin does not let in
logs in as root, so that the rest can be seen. Timers are fired at once. What is
printed, one stanza a line:
  >  the server says to the plugin
  <  the plugin says
  #  it says on its standard error
  !  something is wrong; then the exit code is 1",
    example = "Look what a plugin makes of a password, and another of a stanza:
  $ palabre plugin-test --password hacker ./simpleLogin.py
  $ palabre plugin-test --stanza '<dice room=\"tea\" />' ./dice.sh",
    example = "Where the plugin's arguments hold a \"--name=value\":
  $ palabre plugin-test -- ./dice --sides=20"
)]
pub(super) struct PluginTest {
    /// what the first client is called (default: Ann)
    #[argh(option, arg_name = "nick", default = "String::from(\"Ann\")")]
    nick: String,
    /// the password that both clients log in with
    #[argh(option, arg_name = "password")]
    password: Option<String>,
    /// what the first client sends from the room tea, instead of an empty stanza of each name
    /// that the plugin has registered; may be repeated
    #[argh(option, arg_name = "stanza")]
    stanza: Vec<Element>,
    /// how many milliseconds of silence mean that nothing more comes (default: 200)
    #[argh(option, arg_name = "ms", default = "Milliseconds(200)")]
    wait: Milliseconds,
    /// the program, by its path or as the shell would find it, and its arguments
    #[argh(positional, greedy, arg_name = "program")]
    program: Vec<String>,
}

/// What makes a client root whom the plugin has refused.
const ROOT_PASSWORD: &str = "root";

/// Tries a plugin.
///
/// # Errors
/// When it can't be started, or the system lacks something.
pub(super) fn plugin_test(arguments: &PluginTest) -> Result<Exit, Failure> {
    let Some((program, rest)) = arguments.program.split_first() else {
        let text = "plugin-test needs a program: palabre plugin-test ./helloworld.py";
        return Err(Failure::new(Exit::Usage, text));
    };
    let module = module(program, rest)?;
    let system = |error| Failure::system(&error, format_args!("can't set up the poll: {error}"));
    let stage = ScriptedWorld::new(arguments.wait.0, script(arguments)).map_err(system)?;
    let mut server = Server::new(stage, &[ListenerKind::Main], settings(), HashKey::default(), 0);
    server.set_plugins(vec![module]);
    while server.turn().map_err(system)? != Turn::Stop {}
    match server.world_mut().outcome() {
        Ok(true) => Ok(Exit::Success),
        Ok(false) => Ok(Exit::Failed),
        Err(error) => Err(Failure::system(&error, cannot_start(program, &error))),
    }
}

fn cannot_start(program: &str, error: &std::io::Error) -> String {
    let advice = if !program.contains('/') && Path::new(program).exists() {
        format!("; for the file in this directory say ./{program}")
    } else if error.kind() == std::io::ErrorKind::PermissionDenied {
        "; a plugin has to be executable (chmod +x)".to_owned()
    } else {
        String::new()
    };
    format!("can't start {program}: {error}{advice}")
}

/// The program as a module of the configuration would name it.
fn module(program: &str, arguments: &[String]) -> Result<Module, Failure> {
    let no_directory =
        |error| Failure::system(&error, format_args!("no current directory: {error}"));
    let directory = std::env::current_dir().map_err(no_directory)?;
    let file = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or(program);
    let name = file.split('.').next().filter(|name| !name.is_empty()).unwrap_or(file);
    // A relative path would be looked up in another directory on some systems.
    let path = if program.contains('/') { directory.join(program) } else { PathBuf::from(program) };
    Ok(Module {
        name: name.to_owned(),
        program: path,
        arguments: arguments.to_vec(),
        directory,
        environment: vec![("PALABRE_PLUGIN".to_owned(), name.to_owned())],
        restart: false,
        timeout_s: stage::TIMEOUT_S,
        input: Secret::default(),
    })
}

/// Those of a server without a configuration, but nobody is sent away for being slow.
fn settings() -> Settings {
    let limits = Limits { login_time_s: 0, idle_time_s: 0, ..Limits::default() };
    let root_password = RootPassword::clear(ROOT_PASSWORD);
    Settings { limits, root_password, ..Settings::default() }
}

/// What the two clients do.
fn script(arguments: &PluginTest) -> Vec<Step> {
    const FIRST: usize = 0;
    const SECOND: usize = 1;
    let nick = &arguments.nick;
    let own = arguments.stanza.iter().map(|stanza| stanza.0.clone()).collect();
    let other = if nick.eq_ignore_ascii_case("Bob") { "Ann" } else { "Bob" };
    let say = |stanza: &str| ClientAct::Say(stanza.to_owned());
    let mut password: Vec<(&str, &str)> = Vec::new();
    password.extend(arguments.password.as_deref().map(|password| ("password", password)));
    let login = |nick: &str| ClientAct::LogIn(connect(nick, &password));
    let as_root =
        |nick: &str| ClientAct::LogInAnyway(connect(nick, &[("rootpass", ROOT_PASSWORD)]));
    let steps = [
        (FIRST, ClientAct::Connect),
        (FIRST, login(nick)),
        (FIRST, as_root(nick)),
        (FIRST, say("<join room=\"tea\" />")),
        (SECOND, ClientAct::Connect),
        // The nick is taken.
        (SECOND, login(nick)),
        (SECOND, login(other)),
        (SECOND, as_root(other)),
        (SECOND, say("<join room=\"tea\" />")),
        (FIRST, ClientAct::SendRegistered(own)),
        (FIRST, say("<m toroom=\"tea\">Good morning</m>")),
        (SECOND, ClientAct::Say(message(nick))),
        (FIRST, say("<leave room=\"tea\" />")),
        (FIRST, say("<quit />")),
        (SECOND, ClientAct::Break),
    ];
    steps.into_iter().map(|(client, act)| Step { client, act }).collect()
}

fn connect(nick: &str, more: &[(&str, &str)]) -> String {
    let mut stanza = b"<connect".to_vec();
    for (name, value) in [("nickname", nick)].iter().chain(more) {
        stanza.extend_from_slice(format!(" {name}=\"").as_bytes());
        write::attribute_value(&mut stanza, value);
        stanza.push(b'"');
    }
    stanza.extend_from_slice(b" />");
    String::from_utf8(stanza).unwrap_or_default()
}

fn message(to: &str) -> String {
    let mut stanza = b"<m toclient=\"".to_vec();
    write::attribute_value(&mut stanza, to);
    stanza.extend_from_slice(b"\">Sugar?</m>");
    String::from_utf8(stanza).unwrap_or_default()
}

/// `--stanza`: one XML element.
struct Element(String);

impl FromStr for Element {
    type Err = Misfit;

    fn from_str(text: &str) -> Result<Self, Misfit> {
        match Parser::new().parse(text.as_bytes(), &Limits::default()) {
            Ok(stanza) => Ok(Self(stanza.element().to_owned())),
            Err(_) => Err(Misfit::quoted(text, "one XML element, such as '<hello />'")),
        }
    }
}

/// `--wait`.
struct Milliseconds(u64);

impl FromStr for Milliseconds {
    type Err = Misfit;

    fn from_str(text: &str) -> Result<Self, Misfit> {
        let wait = text.parse().ok().filter(|ms| (1..=PLUGIN_TEST_WAIT_MS_MAX).contains(ms));
        wait.map(Self).ok_or_else(|| {
            Misfit::quoted(text, format!("milliseconds from 1 to {PLUGIN_TEST_WAIT_MS_MAX}"))
        })
    }
}
