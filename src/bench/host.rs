//! The server that is measured, seen from outside: a process that the bench starts itself, or
//! one that runs already; its processor time and its memory.
//!
//! `configuration` has what a server is told that the bench starts.

mod configuration;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use self::configuration::{CONFIGURATION, ONCE_UNLIMITED, UNLIMITED, configuration};
pub(super) use self::configuration::{Extras, ServerKind};
use super::cores::pin;
use super::error::Fault;
use super::interrupt::is_interrupted;
use super::over::Mix;
use super::processes::{children, listener_pid, processor_time, status, waiting_time};
use super::transport::{Approach, OwnCertificate, TlsClient};
use crate::config::is_executable;

/// What the relay is called.
pub(super) const FLOOR: &str = "floor";

/// A server.
#[derive(Debug)]
pub(super) struct MeasuredHost {
    /// What it is called in the tables.
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    pid: Option<u32>,
    child: Option<Child>,
    /// Where the log of a server of ours is, and its configuration.
    directory: Option<tempfile::TempDir>,
    /// The certificate of a server of ours.
    identity: Option<OwnCertificate>,
    /// It has processes of its own, which it ends when it is asked to end.
    has_children: bool,
    /// It takes this host for a proxy.
    proxied: bool,
}

impl MeasuredHost {
    /// Starts a server on a free port of loopback, with a certificate where `mix` needs one.
    /// `server` is the program of the server, unless it is the one beside this program.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn start(kind: ServerKind, mix: &Mix, server: Option<&Path>) -> Result<Self, Fault> {
        if !matches!(kind, ServerKind::Build(_)) {
            return Self::launch(&kind, mix, server, UNLIMITED);
        }
        match Self::launch(&kind, mix, server, UNLIMITED) {
            // It may be one that does not know all of these limits; what it says then is told.
            Err(Fault::NotStarted { .. }) => Self::launch(&kind, mix, server, ONCE_UNLIMITED),
            started => started,
        }
    }

    /// Starts a server whose limits are lifted by `unlimited`, where they are.
    fn launch(
        kind: &ServerKind,
        mix: &Mix,
        server: Option<&Path>,
        unlimited: &str,
    ) -> Result<Self, Fault> {
        let fault = |source| Fault::system("start the server", source);
        let own = std::env::current_exe().map_err(fault)?;
        let house = if let ServerKind::Attacked(house) = kind { house } else { &Extras::default() };
        let has_children = matches!(kind, ServerKind::Accounts(_) | ServerKind::Plugins(_))
            || !house.accounts.is_empty();
        let (name, program) = program_of(kind, server, &own)?;
        let mut command = Command::new(own);
        command.args(["leashed", &std::process::id().to_string(), "--"]);
        if let Some(count) = house.descriptors {
            let limited = format!("ulimit -n {count}; exec \"$0\" \"$@\"");
            command.args(["/bin/sh", "-c", &limited]);
        }
        // A name alone would be looked for elsewhere.
        command.arg(std::path::absolute(program).map_err(fault)?);
        let mut directory = None;
        let identity = match house.certificate {
            true => OwnCertificate::rsa().map(Some),
            false => mix.is_secure().then(OwnCertificate::new).transpose(),
        };
        let identity = identity.map_err(|what| Fault::NoCertificate { what })?;
        if *kind != ServerKind::Floor {
            let folder = tempfile::tempdir().map_err(fault)?;
            let file = folder.path().join(CONFIGURATION);
            let text = configuration(folder.path(), (kind, unlimited), identity.as_ref())?;
            fs::write(&file, text).map_err(fault)?;
            command.args(["run", "--listen", "127.0.0.1:0", "--config"]).arg(file);
            directory = Some(folder);
        } else {
            command.arg("--serve-floor");
        }
        let is_first_try = matches!(kind, ServerKind::Build(_)) && unlimited == UNLIMITED;
        // What it starts itself is to be on its core as well, so it is there from its beginning.
        pin(usize::MAX);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(match (is_first_try, house.deaf_console) {
                (true, _) => Stdio::null(),
                // The child has its end until it goes: nobody reads there.
                (false, true) => Stdio::piped(),
                (false, false) => Stdio::inherit(),
            })
            // Ctrl-C is for the generator: it still wants the server's figures.
            .process_group(0)
            .spawn();
        pin(0);
        let mut child = child.map_err(fault)?;
        let pid = Some(child.id());
        let address = match child.stdout.take().map(wait_for_address) {
            Some(Ok(address)) => address,
            failed => {
                end(&mut child, has_children);
                let interrupted = matches!(failed, Some(Err(Fault::Interrupted)));
                return Err(if interrupted {
                    Fault::Interrupted
                } else {
                    Fault::NotStarted { name }
                });
            }
        };
        let (child, proxied) = (Some(child), matches!(kind, ServerKind::Attacked(_)));
        Ok(Self { name, address, pid, child, directory, identity, has_children, proxied })
    }

    /// A server that runs already; `pid` is looked for when it listens on this host.
    ///
    /// # Errors
    /// When `place` is no address.
    pub(super) fn running(place: &str, pid: Option<u32>) -> Result<Self, Fault> {
        let address = place
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .ok_or_else(|| Fault::NoAddress { place: place.to_owned() })?;
        if let Some(pid) = pid.filter(|pid| status(*pid).is_none()) {
            let text = format!("--pid {pid}: there is no such process");
            return Err(Fault::Usage { text });
        }
        let pid = pid.or_else(|| listener_pid(address));
        let (child, directory, identity) = (None, None, None);
        let (has_children, proxied) = (false, false);
        let name = "server";
        Ok(Self { name, address, pid, child, directory, identity, has_children, proxied })
    }

    /// How connections to it begin that speak what `mix` says.
    ///
    /// # Errors
    /// When there is no TLS for those that want it.
    pub(super) fn way(&self, mix: &Mix) -> Result<Approach, Fault> {
        let is_secure = mix.is_secure() || (self.proxied && self.identity.is_some());
        let client = is_secure.then(|| TlsClient::new(self.identity.as_ref())).transpose();
        let client = client.map_err(|what| Fault::NoCertificate { what })?;
        Ok(Approach { target: self.address, client, proxied: self.proxied })
    }

    /// The process, if it is known.
    pub(super) const fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Processor time used so far by all its threads; `None` when the process is not known.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        processor_time(self.pid?)
    }

    /// How long it has wanted its core so far and not had it.
    pub(super) fn waiting_time(&self) -> Option<Duration> {
        waiting_time(self.pid?)
    }

    /// The same of the processes that it has started and that still run.
    pub(super) fn children_time(&self) -> Duration {
        self.children().into_iter().filter_map(processor_time).sum()
    }

    /// Whether the server and all that it has started have one core, the same.
    pub(super) fn is_on_one_core(&self) -> bool {
        let pids = self.pid.into_iter().chain(self.children());
        let cores: Vec<_> = pids.map(|pid| status(pid)?.cpus_allowed_list).collect();
        let is_one = |cores: &Option<Vec<(u32, u32)>>| {
            cores
                .as_ref()
                .is_some_and(|cores| matches!(cores[..], [(first, last)] if first == last))
        };
        cores.iter().all(is_one) && cores.windows(2).all(|pair| pair[0] == pair[1])
    }

    /// The processes whose parent it is.
    fn children(&self) -> Vec<u32> {
        self.pid.map_or_else(Vec::new, children)
    }

    /// Resident memory in bytes.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        kilobytes(status(self.pid?)?.vmrss)
    }

    /// The most that was ever resident, in bytes.
    pub(super) fn peak_bytes(&self) -> Option<u64> {
        kilobytes(status(self.pid?)?.vmhwm)
    }

    /// Waits until the server has nothing left to do, as far as its processor time tells, and not
    /// for ever.
    pub(super) fn wait_until_calm(&self) {
        const LOOK: Duration = Duration::from_millis(20);
        const CALM: Duration = Duration::from_micros(500);
        /// One that serves others besides is never calm.
        const PATIENCE: Duration = Duration::from_secs(10);
        let begin = Instant::now();
        // What its processes still have to do takes its core, too.
        let children = || if self.has_children { self.children_time() } else { Duration::ZERO };
        let spent = || self.processor_time().map(|own| own + children());
        while let Some(before) = spent() {
            std::thread::sleep(LOOK);
            let after = spent();
            let calm = after.is_none_or(|after| after.saturating_sub(before) < CALM);
            if calm || is_interrupted() || begin.elapsed() > PATIENCE {
                return;
            }
        }
        std::thread::sleep(LOOK);
    }

    /// The configuration of a server of ours.
    pub(super) fn configuration(&self) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.path().join(CONFIGURATION))
    }

    /// The log file of a server of ours.
    pub(super) fn log_file(&self) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.path().join("palabre.log"))
    }

    /// Whether the process still runs, as far as anybody knows.
    pub(super) fn is_running(&self) -> bool {
        let state = self.pid.map(|pid| status(pid).map(|status| status.state));
        state.is_none_or(|state| state.is_some_and(|state| !state.starts_with('Z')))
    }

    /// The log of a server of ours.
    pub(super) fn log(&self) -> Option<String> {
        fs::read_to_string(self.log_file()?).ok()
    }
}

impl Drop for MeasuredHost {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child, self.has_children);
        }
    }
}

/// What a server of this kind is called, and its program; `own` is the generator's.
fn program_of(
    kind: &ServerKind,
    server: Option<&Path>,
    own: &Path,
) -> Result<(&'static str, PathBuf), Fault> {
    Ok(match kind {
        ServerKind::Server { .. }
        | ServerKind::Accounts(_)
        | ServerKind::Plugins(_)
        | ServerKind::Attacked(_) => {
            ("palabre", server.map_or_else(|| server_beside(own), |named| Ok(named.into()))?)
        }
        ServerKind::Build(program) => ("against", program.clone()),
        ServerKind::Floor => (FLOOR, own.to_owned()),
    })
}

/// What the system counts in units of 1,024 bytes, in bytes.
fn kilobytes(count: Option<u64>) -> Option<u64> {
    count.map(|count| count * 1_024)
}

/// The program of the server that stands beside this one.
///
/// # Errors
/// When there is none.
fn server_beside(own: &Path) -> Result<PathBuf, Fault> {
    let program = own.with_file_name("palabre");
    if is_executable(&program) {
        return Ok(program);
    }
    let text =
        format!("there is no server to start: needs {}, or --server PROGRAM", program.display());
    Err(Fault::Usage { text })
}

/// Ends a server of ours. One with processes of its own is asked, so that it ends those.
fn end(child: &mut Child, has_children: bool) {
    let asked = has_children && {
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok()
    };
    if !asked {
        let _ = child.kill();
    }
    let _ = child.wait();
}

/// Where a server listens, when it has said so.
///
/// # Errors
/// When it ends or says nothing else for too long, and [`Fault::Interrupted`].
fn wait_for_address(console: ChildStdout) -> Result<SocketAddr, Fault> {
    let (sender, receiver) = mpsc::channel();
    // Reading waits, and there is more to be watched.
    std::thread::spawn(move || {
        let mut lines = BufReader::new(console).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("listening on ")?.parse().ok());
        // Whoever waited may have given up.
        let _ = address.map(|address| sender.send(address));
    });
    let begin = Instant::now();
    loop {
        match receiver.recv_timeout(START_LOOK) {
            Ok(address) => return Ok(address),
            Err(RecvTimeoutError::Timeout) if is_interrupted() => return Err(Fault::Interrupted),
            Err(RecvTimeoutError::Timeout) if begin.elapsed() < START_TIME => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return Err(Fault::NotStarted { name: "" });
            }
        }
    }
}

/// How long a server may take to say where it listens: it may have accounts to read.
const START_TIME: Duration = Duration::from_secs(60);

/// Meanwhile it is seen to signals so often.
const START_LOOK: Duration = Duration::from_millis(50);
