//! The built server as a process: started, heard, ended. All tests that start it do so here.
//!
//! Nothing sleeps for a time that something is thought to take; whatever is waited for is bounded
//! by [`PATIENCE`].

#![allow(dead_code, reason = "each test takes what it needs of it")]

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything that is waited for takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server in the foreground; it is killed with this.
pub(crate) struct Built {
    pub(crate) child: Child,
    /// What it says on its standard output, line by line.
    pub(crate) console: Receiver<String>,
    /// What it says on its standard error: the log, where that is no file.
    pub(crate) log: Receiver<String>,
    /// It is asked to end, so that it removes what it has made, and waited for.
    pub(crate) ends_by_itself: bool,
}

impl Built {
    /// Starts what a command says; its output is read by threads, so that it waits for nobody.
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn();
        Self::of(child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    /// A server that was started with its outputs in pipes.
    pub(crate) fn of(mut child: Child) -> Self {
        let console = lines_of(child.stdout.take().expect("a piped output"));
        let log = lines_of(child.stderr.take().expect("a piped error output"));
        Self { child, console, log, ends_by_itself: false }
    }

    /// The first address that it says it listens on.
    ///
    /// # Panics
    /// When it says none: with all that it said.
    pub(crate) fn address(&self) -> String {
        const SAYS: &str = "listening on ";
        let said = read_until(&self.console, SAYS);
        let Ok(said) = said else {
            let log: Vec<String> = self.log.try_iter().collect();
            panic!("it did not say where it listens, but {said:#?} and {log:#?}")
        };
        let address = said.last().and_then(|line| line.strip_prefix(SAYS));
        address.unwrap_or_else(|| panic!("no address in {said:#?}")).to_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is there");
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        ended(&mut self.child)
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        if self.ends_by_itself && self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal(Signal::TERM);
            let _ = wait(&mut self.child);
        } else {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits for the end of a process.
///
/// # Panics
/// When it does not end in time; then it is killed.
pub(crate) fn ended(child: &mut Child) -> ExitStatus {
    wait(child).unwrap_or_else(|| panic!("it did not end within {PATIENCE:?}"))
}

/// Waits for the end of a process, which is killed when that does not come in time.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let pid = Pid::from_child(child);
    let (over, is_over) = channel::<()>();
    // Until it has been waited for nobody else has its number.
    let watch = thread::spawn(move || {
        let late = is_over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if late {
            let _ = kill_process(pid, Signal::KILL);
        }
        late
    });
    let status = child.wait().expect("its end is told");
    drop(over);
    let late = watch.join().expect("the watch does not panic");
    (!late).then_some(status)
}

/// Reads an output to its end, so that nobody who writes there waits for us.
pub(crate) fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Reads lines until one holds `wanted`; gives them all.
///
/// # Errors
/// The lines that there were, where none does.
pub(crate) fn read_until(
    lines: &Receiver<String>,
    wanted: &str,
) -> Result<Vec<String>, Vec<String>> {
    let mut read = Vec::new();
    loop {
        let Ok(line) = lines.recv_timeout(PATIENCE) else { return Err(read) };
        let found = line.contains(wanted);
        read.push(line);
        if found {
            return Ok(read);
        }
    }
}

/// Asks again and again, bounded: for what nobody tells, such as what is in a file. In between the
/// core is left to whoever brings it about.
pub(crate) fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    soon(ask).unwrap_or_else(|| panic!("in vain: {what}"))
}

/// The same, and nothing where it is in vain.
pub(crate) fn soon<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = ask();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
}
