//! The server that is measured, seen from outside: a process that the bench starts itself, or
//! one that runs already; its processor time and its memory as `/proc` tells them.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Fault;
use super::over::Mix;
use super::report::FLOOR;
use super::transport::{Client, Identity, Way};

/// Which server is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// This program's own server, with the limits of rate lifted, or as it comes.
    Server {
        /// Whether one client may send as much as it can.
        unlimited: bool,
    },
    /// Another build of it, likewise with the limits of rate lifted.
    Build(PathBuf),
    /// The relay, for the floor.
    Floor,
}

/// A server.
#[derive(Debug)]
pub(super) struct Host {
    /// What it is called in the tables.
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    pid: Option<u32>,
    child: Option<Child>,
    /// Where the log of a server of ours is, and its configuration.
    directory: Option<tempfile::TempDir>,
    /// The certificate of a server of ours.
    identity: Option<Identity>,
}

impl Host {
    /// Starts a server on a free port of loopback, with a certificate where `mix` needs one.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn start(kind: Kind, mix: &Mix) -> Result<Self, Fault> {
        let fault = |source| Fault::system("start the server", source);
        let own = std::env::current_exe().map_err(fault)?;
        let (name, program, unlimited) = match kind {
            Kind::Server { unlimited } => ("palabre", own, Some(unlimited)),
            Kind::Build(program) => ("against", program, Some(true)),
            Kind::Floor => (FLOOR, own, None),
        };
        let mut command = Command::new(program);
        let mut directory = None;
        let identity = mix.is_secure().then(Identity::new).transpose();
        let identity = identity.map_err(|what| Fault::NoCertificate { what })?;
        if let Some(unlimited) = unlimited {
            let folder = tempfile::tempdir().map_err(fault)?;
            let file = folder.path().join("palabre.conf");
            let text = configuration(&folder, unlimited, identity.as_ref()).map_err(fault)?;
            fs::write(&file, text).map_err(fault)?;
            command.args(["run", "--listen", "127.0.0.1:0", "--config"]).arg(file);
            directory = Some(folder);
        } else {
            command.args(["bench", "--serve-floor"]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            // Ctrl-C is for the generator: it still wants the server's figures.
            .process_group(0)
            .spawn()
            .map_err(fault)?;
        let console = child.stdout.take().map(BufReader::new);
        let address = console.and_then(|console| {
            let mut lines = console.lines().map_while(Result::ok);
            lines.find_map(|line| line.strip_prefix("listening on ")?.parse().ok())
        });
        let pid = Some(child.id());
        let Some(address) = address else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Fault::NotStarted { name });
        };
        pin(pid, usize::MAX);
        Ok(Self { name, address, pid, child: Some(child), directory, identity })
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
        let pid = pid.or_else(|| listener_pid(address));
        let (child, directory, identity) = (None, None, None);
        Ok(Self { name: "server", address, pid, child, directory, identity })
    }

    /// How connections to it begin that speak what `mix` says.
    ///
    /// # Errors
    /// When there is no TLS for those that want it.
    pub(super) fn way(&self, mix: &Mix) -> Result<Way, Fault> {
        let client = mix.is_secure().then(|| Client::new(self.identity.as_ref())).transpose();
        let client = client.map_err(|what| Fault::NoCertificate { what })?;
        Ok(Way { target: self.address, client })
    }

    /// The process, if it is known.
    pub(super) const fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Processor time used so far by all its threads; `None` when the process is not known.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid?)).ok()?;
        let nanoseconds = tasks
            .filter_map(Result::ok)
            .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
            .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
            .sum();
        Some(Duration::from_nanos(nanoseconds))
    }

    /// Resident memory in bytes.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        self.memory("VmRSS:")
    }

    /// The most that was ever resident, in bytes.
    pub(super) fn peak_bytes(&self) -> Option<u64> {
        self.memory("VmHWM:")
    }

    /// Waits until the server has nothing left to do, as far as its processor time tells.
    pub(super) fn wait_until_calm(&self) {
        const LOOK: Duration = Duration::from_millis(20);
        const CALM: Duration = Duration::from_micros(500);
        while let Some(before) = self.processor_time() {
            std::thread::sleep(LOOK);
            if self.processor_time().is_none_or(|after| after - before < CALM) {
                return;
            }
        }
        std::thread::sleep(LOOK);
    }

    /// The log of a server of ours.
    pub(super) fn log(&self) -> Option<String> {
        fs::read_to_string(self.directory.as_ref()?.path().join("palabre.log")).ok()
    }

    fn memory(&self, name: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid?)).ok()?;
        let line = status.lines().find(|line| line.starts_with(name))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1_024)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The text of the configuration; the files that it names are written.
fn configuration(
    folder: &tempfile::TempDir,
    unlimited: bool,
    identity: Option<&Identity>,
) -> io::Result<String> {
    let log: PathBuf = folder.path().join("palabre.log");
    let rate = if unlimited { "stanzarate = 0\n" } else { "" };
    let mut text = format!("[logging]\nlogfile = {}\n[limits]\n{rate}", log.display());
    if let Some(identity) = identity {
        let (certificate, key) = (folder.path().join("certificate"), folder.path().join("key"));
        fs::write(&certificate, &identity.certificate_pem)?;
        fs::write(&key, &identity.key_pem)?;
        text +=
            &format!("[tls]\ncertificate = {}\nkey = {}\n", certificate.display(), key.display());
    }
    Ok(text)
}

/// Takes the generator and the server off each other's core, when there are two: the server
/// gets the last one, the generator the first.
pub(super) fn pin(pid: Option<u32>, core: usize) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    let wanted = ALLOWED_CORES.get_or_init(|| cores);
    if wanted.len() < 2 {
        return;
    }
    let mut set = CpuSet::new();
    set.set(wanted[core.min(wanted.len() - 1)]);
    let pid = pid.and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
    // Without the right to do so the figures are as noisy as before.
    let _ = sched_setaffinity(pid, &set);
}

/// The cores that the process had before it pinned itself.
static ALLOWED_CORES: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();

/// The process that listens on this port of this host, if we may see it.
fn listener_pid(address: SocketAddr) -> Option<u32> {
    if !address.ip().is_loopback() {
        return None;
    }
    let inode = listening_inode(address.port())?;
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?;
    processes.filter_map(Result::ok).find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let mut descriptors = fs::read_dir(process.path().join("fd")).ok()?.filter_map(Result::ok);
        let found = descriptors.any(|descriptor| {
            fs::read_link(descriptor.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str())
        });
        found.then_some(pid)
    })
}

/// The inode of the socket that listens on a port (proc(5), `/proc/net/tcp`).
fn listening_inode(port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let lines = BufReader::new(File::open(table).ok()?).lines();
        lines.map_while(Result::ok).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = fields.get(1)?.rsplit(':').next()?;
            let matches =
                u16::from_str_radix(local, 16) == Ok(port) && fields.get(3) == Some(&LISTEN);
            if matches { fields.get(9)?.parse().ok() } else { None }
        })
    })
}

/// Raises this process's limit of open files as far as it may.
///
/// # Errors
/// When `connections` and some more don't fit.
pub(super) fn need_descriptors(connections: usize) -> Result<(), Fault> {
    /// What the process needs besides: poll, pipes, files of `/proc`.
    const OTHERS: usize = 32;
    let possible = crate::net::raise_descriptor_limit();
    if connections.saturating_add(OTHERS) > possible {
        return Err(Fault::TooManyConnections { connections, possible });
    }
    Ok(())
}
