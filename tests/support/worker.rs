//! The worker as the server sees it: the built binary in a directory of its own, asked over its
//! pipes. Nothing sleeps; whatever is waited for is bounded.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::SystemTime;

use palabre::accounts::worker::launch;
use palabre::wire::write;
use tempfile::TempDir;

use super::built::{PATIENCE, ended};

const GREETING: &str = "<palabre version='1.0.0' plugins='1' name='worker' />";

/// A directory with a `palabre.conf` and what it names.
pub(crate) struct House(TempDir);

impl House {
    pub(crate) fn new(config: &str) -> Self {
        let house = Self(TempDir::new().unwrap());
        house.write("palabre.conf", config);
        house
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        // As an editor does it, so that nobody sees a half.
        fs::write(self.path("new"), text).unwrap();
        // However coarse the clock is, that was before it got its name.
        let new = fs::File::options().write(true).open(self.path("new")).unwrap();
        new.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_palabre"));
        command.args(arguments).current_dir(self.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A worker that has not been greeted.
    pub(crate) fn silent_worker(&self) -> Worker {
        // As the server starts it: it may stand anywhere.
        let directory = self.0.path().display().to_string();
        let config = self.path("palabre.conf").display().to_string();
        let mut command = self.command(&["worker", "--config", &config, "--directory", &directory]);
        let mut worker = Worker::new(command.current_dir("/").spawn().unwrap());
        let text = fs::read(self.path("palabre.conf")).unwrap();
        worker.input.as_mut().unwrap().write_all(launch::input(&text).bytes()).unwrap();
        worker
    }

    /// A worker that has been greeted and has registered these hooks.
    pub(crate) fn worker(&self, hooks: &str) -> Worker {
        self.worker_after("", hooks)
    }

    /// The one that comes after another, which has left this.
    pub(crate) fn worker_after(&self, kept: &str, hooks: &str) -> Worker {
        let mut worker = self.silent_worker();
        if kept.is_empty() {
            worker.send(GREETING);
        } else {
            worker.send(&GREETING.replace(" />", &format!(" kept='{kept}' />")));
        }
        assert_eq!(worker.next(), format!("<register hooks='{hooks}' />"));
        worker
    }
}

pub(crate) struct Worker {
    pub(crate) child: Child,
    pub(crate) input: Option<ChildStdin>,
    stanzas: Receiver<String>,
    /// The texts of its `<log>`s.
    pub(crate) log: Vec<String>,
    /// What it has had the server keep.
    pub(crate) kept: Vec<String>,
    /// Why the last question could not be answered, and whether something said no all the same.
    pub(crate) why: String,
    pub(crate) denied: bool,
    /// The last yes said that the nick was proven by its password.
    pub(crate) account: bool,
    asks: u32,
}

impl Worker {
    fn new(mut child: Child) -> Self {
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, stanzas) = channel();
        thread::spawn(move || {
            loop {
                let mut stanza = Vec::new();
                let length = output.read_until(0, &mut stanza).unwrap_or(0);
                if length == 0 || sender.send(String::from_utf8(stanza).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            input,
            stanzas,
            log: Vec::new(),
            kept: Vec::new(),
            why: String::new(),
            denied: false,
            account: false,
            asks: 0,
        }
    }

    pub(crate) fn send(&mut self, stanza: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{stanza}\0").as_bytes()).unwrap();
    }

    pub(crate) fn next(&self) -> String {
        match self.stanzas.recv_timeout(PATIENCE) {
            Ok(stanza) => stanza.strip_suffix('\0').expect("a whole stanza").to_owned(),
            Err(RecvTimeoutError::Timeout) => panic!("the worker says nothing"),
            Err(RecvTimeoutError::Disconnected) => panic!("the worker has ended"),
        }
    }

    /// The next verdict, with its number: yes, no, or that nobody could find out. What is logged
    /// before it is kept, and why it could not be found out.
    pub(crate) fn verdict(&mut self) -> (u32, Option<bool>) {
        loop {
            let stanza = self.next();
            if let Some(log) = stanza.strip_prefix("<log level='") {
                self.log.push(log.strip_suffix("</log>").unwrap().to_owned());
                continue;
            }
            if let Some(kept) = stanza.strip_prefix("<keep state='") {
                self.kept.push(kept.strip_suffix("' />").unwrap().to_owned());
                continue;
            }
            let verdict = stanza.strip_prefix("<verdict ask='").expect("a verdict");
            let (ask, rest) = verdict.split_once('\'').unwrap();
            let ask = ask.parse().unwrap();
            let rest = rest.strip_suffix(" />").expect("no more in it");
            self.denied = rest.starts_with(" allowed='0'");
            if let Some((_, why)) = rest.split_once(" error='") {
                self.why = why.strip_suffix('\'').unwrap().to_owned();
                return (ask, None);
            }
            return match rest {
                " allowed='1' account='1'" => {
                    self.account = true;
                    (ask, Some(true))
                }
                " allowed='1'" => {
                    self.account = false;
                    (ask, Some(true))
                }
                " allowed='0'" => (ask, Some(false)),
                other => panic!("{other}"),
            };
        }
    }

    /// Whether a `connect` with these attributes is allowed.
    pub(crate) fn ask(&mut self, hook: &str, nick: &str, attributes: &[(&str, &str)]) -> bool {
        self.answer(hook, nick, attributes) == Some(true)
    }

    /// Asks about a `connect` with these attributes; gives the answer to it.
    pub(crate) fn answer(
        &mut self,
        hook: &str,
        nick: &str,
        attributes: &[(&str, &str)],
    ) -> Option<bool> {
        self.asks += 1;
        let ask = self.asks;
        self.send(&question(ask, hook, nick, attributes));
        let (answered, allowed) = self.verdict();
        assert_eq!(answered, ask);
        allowed
    }

    pub(crate) fn may(&mut self, nick: &str, password: &str) -> bool {
        self.ask("isAuthorized", nick, &[("password", password)])
    }

    /// Whether the answer is a no.
    pub(crate) fn refuses(&mut self, nick: &str, password: &str) -> bool {
        self.answer("isAuthorized", nick, &[("password", password)]) == Some(false)
    }

    /// Whether it could not find out.
    pub(crate) fn is_unsure(&mut self, nick: &str, password: &str) -> bool {
        self.answer("isAuthorized", nick, &[("password", password)]).is_none()
    }

    /// Closes its input and waits for its end: its exit code and what it said on the console.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        self.input = None;
        let status = ended(&mut self.child);
        let mut console = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut console).unwrap();
        (status.code(), console)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn question(ask: u32, hook: &str, nick: &str, attributes: &[(&str, &str)]) -> String {
    let escaped = |value: &str| {
        let mut bytes = Vec::new();
        write::attribute_value(&mut bytes, value);
        String::from_utf8(bytes).unwrap()
    };
    let mut connect = format!("<connect nickname=\"{}\"", escaped(nick));
    for (name, value) in attributes {
        write!(connect, " {name}=\"{}\"", escaped(value)).unwrap();
    }
    format!(
        "<ask ask='{ask}' hook='{hook}' session='12.345' nick='{}' address='127.0.0.1' \
         transport='stanzas'>{connect} /></ask>",
        escaped(nick)
    )
}
