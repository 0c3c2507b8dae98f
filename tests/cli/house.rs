//! A directory with commands that are run in it, servers in the foreground and clients by hand.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use tempfile::TempDir;

use crate::built::{Built, PATIENCE, lines_of};

/// A directory of its own, with the commands that are run in it.
pub(crate) struct House {
    pub(crate) directory: TempDir,
}

/// What a command left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl House {
    /// A house with next to nothing in its `palabre.conf`, so that no other one is found.
    pub(crate) fn new() -> Self {
        Self::with("[daemon]\nip = 127.0.0.1\n")
    }

    /// A house with this `palabre.conf`.
    pub(crate) fn with(config: &str) -> Self {
        let house = Self { directory: TempDir::new().unwrap() };
        house.write("palabre.conf", config);
        house
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        // The commands print paths as the system names them.
        self.directory.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A program.
    pub(crate) fn executable(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_palabre"), arguments)
    }

    /// Another program in this house.
    pub(crate) fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.directory.path());
        command.env("XDG_RUNTIME_DIR", self.directory.path()).env("HOME", self.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        // A command that does not read its input may end first.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let (sender, receiver) = channel();
        thread::spawn(move || sender.send(child.wait_with_output()));
        let output = receiver.recv_timeout(PATIENCE).expect("the command ends").unwrap();
        Ran {
            code: output.status.code().expect("the command ends by itself"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A server in a session of its own: a terminal that the tests are run in is not its.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Built {
        let words = [&[env!("CARGO_BIN_EXE_palabre")], arguments].concat();
        gentle(Built::start(&mut self.program("setsid", &words)))
    }
}

/// Whatever was started detached ends with its house.
impl Drop for House {
    fn drop(&mut self) {
        // Without a pid file of its own it would be somebody else's server.
        if self.read("palabre.conf").contains("pidfile = p.pid") {
            let _ = self.command(&["stop"]).output();
        }
    }
}

/// A server that removes its pid file, which may lie outside the house.
pub(crate) fn gentle(mut built: Built) -> Built {
    built.ends_by_itself = true;
    built
}

/// Waits until a server has announced itself; gives what it said.
pub(crate) fn announced(server: &Built) -> Vec<String> {
    read_until(&server.console, "stop it with")
}

/// Reads lines until one holds `wanted`; gives them all.
pub(crate) fn read_until(lines: &Receiver<String>, wanted: &str) -> Vec<String> {
    let read = crate::built::read_until(lines, wanted);
    read.unwrap_or_else(|read| panic!("no line with {wanted:?} in {read:#?}"))
}

/// The addresses in what a server said about itself.
pub(crate) fn addresses(lines: &[String]) -> Vec<String> {
    lines.iter().filter_map(|line| line.strip_prefix("listening on ")).map(str::to_owned).collect()
}

/// A client by hand.
pub(crate) struct Talk(pub(crate) BufReader<TcpStream>);

impl Talk {
    pub(crate) fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends a stanza and reads the next one that arrives.
    pub(crate) fn ask(&mut self, stanza: &str) -> String {
        self.0.get_mut().write_all(format!("{stanza}\0").as_bytes()).unwrap();
        self.next()
    }

    pub(crate) fn next(&mut self) -> String {
        let mut text = Vec::new();
        // Unlike `read`, this goes on after `ErrorKind::Interrupted`.
        self.0.read_until(0, &mut text).unwrap();
        text.pop_if(|last| *last == 0);
        String::from_utf8(text).unwrap()
    }
}

/// A terminal, and a program whose controlling terminal it is.
pub(crate) struct Terminal {
    pub(crate) keyboard: File,
    pub(crate) screen: Receiver<String>,
    pub(crate) child: Child,
    /// All that was on the screen, prompts without an end as well.
    said: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    pub(crate) fn new(house: &House, program: &[&str], arguments: &[&str]) -> Self {
        // A program that another test starts meanwhile is not to hold the terminal open.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let mut options = File::options();
        options.read(true).write(true);
        let slave = options.open(path).unwrap();
        let side = || Stdio::from(slave.try_clone().unwrap());
        // As at a terminal, however the tests themselves were started.
        let wrapped: &[&str] = &["--ctty", "env", "--default-signal=HUP,INT,QUIT"];
        let words = [wrapped, program, &[env!("CARGO_BIN_EXE_palabre")], arguments].concat();
        let mut command = house.program("setsid", &words);
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        let keyboard = File::from(master);
        let said = Arc::new(Mutex::new(Vec::new()));
        let watched = Watched(keyboard.try_clone().unwrap(), Arc::clone(&said));
        let screen = lines_of(watched);
        Self { keyboard, screen, child, said }
    }

    /// Whether what is typed is shown.
    pub(crate) fn echoes(&self) -> bool {
        tcgetattr(&self.keyboard).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Has what is typed be shown.
    pub(crate) fn echo(&self) {
        let mut modes = tcgetattr(&self.keyboard).unwrap();
        modes.local_modes.insert(LocalModes::ECHO);
        tcsetattr(&self.keyboard, OptionalActions::Now, &modes).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Whether this has been on the screen.
    pub(crate) fn has_said(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.said.lock().unwrap()).contains(text)
    }

    pub(crate) fn address(&self) -> String {
        let said = read_until(&self.screen, "stop it with");
        addresses(&said).remove(0).trim_end().to_owned()
    }
}

/// Keeps what is read through it.
struct Watched(File, Arc<Mutex<Vec<u8>>>);

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.lock().unwrap().extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}
