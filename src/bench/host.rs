//! The server that is measured, seen from outside: a process that the bench starts itself, or
//! one that runs already; its processor time and its memory as `/proc` tells them.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::error::Fault;
use super::interrupt::is_interrupted;
use super::over::Mix;
use super::transport::{Client, Identity, Way};
use crate::accounts::hash::PasswordHash;
use crate::config::is_executable;

/// What the relay is called.
pub(super) const FLOOR: &str = "floor";

/// Which server is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The server of this package, with the limits of rate lifted, or as it comes.
    Server {
        /// Whether one client may send as much as it can.
        unlimited: bool,
    },
    /// Another build of it, likewise with the limits of rate lifted.
    Build(PathBuf),
    /// The same with these nicks and passwords in a SQLite database.
    Accounts(Vec<(String, String)>),
    /// The same with plugins: name and script for `sh`.
    Plugins(&'static [(&'static str, &'static str)]),
    /// The same as it comes, for those who attack it.
    Attacked(House),
    /// The relay, for the floor.
    Floor,
}

/// What a server that is attacked has besides its defaults. It takes this host for a proxy, so that
/// its limits of an address count for those who say that they come from one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct House {
    /// Accounts, a file of them, with their passwords; others are guests.
    pub(super) accounts: &'static [(&'static str, &'static str)],
    /// It has a certificate, of an RSA key.
    pub(super) certificate: bool,
    /// Its log goes to a pipe that nobody reads.
    pub(super) deaf_console: bool,
    /// It may open so many files.
    pub(super) descriptors: Option<usize>,
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
    /// It has processes of its own, which it ends when it is asked to end.
    has_children: bool,
    /// It takes this host for a proxy.
    proxied: bool,
}

impl Host {
    /// Starts a server on a free port of loopback, with a certificate where `mix` needs one.
    /// `server` is the program of the server, unless it is the one beside this program.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn start(kind: Kind, mix: &Mix, server: Option<&Path>) -> Result<Self, Fault> {
        if !matches!(kind, Kind::Build(_)) {
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
        kind: &Kind,
        mix: &Mix,
        server: Option<&Path>,
        unlimited: &str,
    ) -> Result<Self, Fault> {
        let fault = |source| Fault::system("start the server", source);
        let own = std::env::current_exe().map_err(fault)?;
        let house = if let Kind::Attacked(house) = kind { house } else { &House::default() };
        let has_children =
            matches!(kind, Kind::Accounts(_) | Kind::Plugins(_)) || !house.accounts.is_empty();
        let (name, program) = match kind {
            Kind::Server { .. } | Kind::Accounts(_) | Kind::Plugins(_) | Kind::Attacked(_) => {
                ("palabre", server.map_or_else(|| server_beside(&own), |named| Ok(named.into()))?)
            }
            Kind::Build(program) => ("against", program.clone()),
            Kind::Floor => (FLOOR, own.clone()),
        };
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
            true => Identity::rsa().map(Some),
            false => mix.is_secure().then(Identity::new).transpose(),
        };
        let identity = identity.map_err(|what| Fault::NoCertificate { what })?;
        if *kind != Kind::Floor {
            let folder = tempfile::tempdir().map_err(fault)?;
            let file = folder.path().join(CONFIGURATION);
            let text = configuration(folder.path(), (kind, unlimited), identity.as_ref())?;
            fs::write(&file, text).map_err(fault)?;
            command.args(["run", "--listen", "127.0.0.1:0", "--config"]).arg(file);
            directory = Some(folder);
        } else {
            command.arg("--serve-floor");
        }
        let is_first_try = matches!(kind, Kind::Build(_)) && unlimited == UNLIMITED;
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
            Some(Err(Fault::Interrupted)) => {
                end(&mut child, has_children);
                return Err(Fault::Interrupted);
            }
            Some(Err(_)) | None => {
                end(&mut child, has_children);
                return Err(Fault::NotStarted { name });
            }
        };
        let (child, proxied) = (Some(child), matches!(kind, Kind::Attacked(_)));
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
        if let Some(pid) = pid.filter(|pid| status(*pid, "Pid:").is_none()) {
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
    pub(super) fn way(&self, mix: &Mix) -> Result<Way, Fault> {
        let is_secure = mix.is_secure() || (self.proxied && self.identity.is_some());
        let client = is_secure.then(|| Client::new(self.identity.as_ref())).transpose();
        let client = client.map_err(|what| Fault::NoCertificate { what })?;
        Ok(Way { target: self.address, client, proxied: self.proxied })
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
        schedule(self.pid?, 1)
    }

    /// The same of the processes that it has started and that still run.
    pub(super) fn children_time(&self) -> Duration {
        self.children().into_iter().filter_map(processor_time).sum()
    }

    /// Whether the server and all that it has started have one core, the same.
    pub(super) fn is_on_one_core(&self) -> bool {
        let cores: Vec<Option<String>> =
            self.pid.into_iter().chain(self.children()).map(cores).collect();
        let one = |cores: &Option<String>| {
            cores.as_ref().is_some_and(|cores| cores.bytes().all(|byte| byte.is_ascii_digit()))
        };
        cores.iter().all(one) && cores.windows(2).all(|pair| pair[0] == pair[1])
    }

    /// The processes whose parent it is (proc(5), `/proc/PID/stat`).
    fn children(&self) -> Vec<u32> {
        let Some(pid) = self.pid else { return Vec::new() };
        let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let numbers = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
        let parent = |child: &u32| -> Option<u32> {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
            // The name before it may have blanks and parentheses.
            stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
        };
        numbers.filter(|child| parent(child) == Some(pid)).collect()
    }

    /// Resident memory in bytes.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        self.memory("VmRSS:")
    }

    /// The most that was ever resident, in bytes.
    pub(super) fn peak_bytes(&self) -> Option<u64> {
        self.memory("VmHWM:")
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
        let state = self.pid.map(|pid| status(pid, "State:"));
        state.is_none_or(|state| state.is_some_and(|state| state != "Z"))
    }

    /// The log of a server of ours.
    pub(super) fn log(&self) -> Option<String> {
        fs::read_to_string(self.log_file()?).ok()
    }

    fn memory(&self, name: &str) -> Option<u64> {
        let kib: u64 = status(self.pid?, name)?.parse().ok()?;
        Some(kib * 1_024)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child, self.has_children);
        }
    }
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

/// What a server of ours is told stands in this file.
const CONFIGURATION: &str = "palabre.conf";

/// What lifts the limits that a load would meet: it sends as fast as it can, and joins rooms of
/// thousands, whose lists are long.
const UNLIMITED: &str = "stanzarate = 0\nbyterate = 0\nlistrate = 0\nbacklog = 4194304\n\
                         listbytes = 1048576\n";

/// What lifted them before there were the others.
const ONCE_UNLIMITED: &str = "stanzarate = 0\nbacklog = 4194304\n";

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

/// The text of the configuration, which stands in this folder; the files that it names are
/// written.
///
/// # Errors
/// When one can't be written.
fn configuration(
    folder: &Path,
    (kind, unlimited): (&Kind, &str),
    identity: Option<&Identity>,
) -> Result<String, Fault> {
    let fault = |source| Fault::system("write what the server is to read", source);
    let limits = match kind {
        Kind::Server { unlimited: true } | Kind::Build(_) => unlimited,
        // A wrong password now and then is part of the load.
        Kind::Accounts(_) => "failedlogins = 0\n",
        Kind::Server { unlimited: false } | Kind::Plugins(_) | Kind::Attacked(_) | Kind::Floor => {
            ""
        }
    };
    let path = |name: &str| folder.join(name).display().to_string();
    let has_file = !matches!(kind, Kind::Attacked(House { deaf_console: true, .. }));
    let log = if has_file { path("palabre.log") } else { String::new() };
    let mut text = format!(
        "[logging]\nlogfile = {log}\n[limits]\n{limits}[daemon]\npidfile = {}\n",
        path("palabre.pid"),
    );
    if let Kind::Attacked(_) = kind {
        text += "trustedproxies = 127.0.0.1\n";
    }
    if let Some(identity) = identity {
        fs::write(folder.join("certificate"), &identity.certificate_pem).map_err(fault)?;
        fs::write(folder.join("key"), &identity.key_pem).map_err(fault)?;
        text += &format!("[tls]\ncertificate = {}\nkey = {}\n", path("certificate"), path("key"));
    }
    match kind {
        Kind::Accounts(accounts) => {
            write_accounts(&folder.join("users.db"), accounts)?;
            text += &format!(
                "[database]\nusedatabase = true\ndbType = sqlite\ndbDatabase = {}\n\
                 dbRequest = SELECT 1 FROM users WHERE login = [LOGIN] AND password = [PASSWORD]\n",
                path("users.db")
            );
        }
        Kind::Plugins(plugins) => {
            let modules = folder.join("modules");
            fs::create_dir(&modules).map_err(fault)?;
            for (name, script) in *plugins {
                let file = modules.join(name);
                fs::write(&file, format!("#!/bin/sh\n{script}\n")).map_err(fault)?;
                fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).map_err(fault)?;
            }
            let names: Vec<&str> = plugins.iter().map(|(name, _)| *name).collect();
            text += &format!("[modules]\npath = {}\nlist = {}\n", path("modules"), names.join(","));
        }
        Kind::Attacked(house) => {
            if !house.accounts.is_empty() {
                let file = folder.join("accounts");
                write_account_file(&file, house.accounts)?;
                text += &format!("[accounts]\nfile = {}\nguests = yes\n", path("accounts"));
            }
        }
        Kind::Server { .. } | Kind::Build(_) | Kind::Floor => {}
    }
    Ok(text)
}

/// Writes an accounts file with these nicks and passwords.
///
/// # Errors
/// When it can't be written, or a password not be hashed.
fn write_account_file(file: &Path, accounts: &[(&str, &str)]) -> Result<(), Fault> {
    let mut text = String::new();
    for (nick, password) in accounts {
        let hash = PasswordHash::of(password)
            .map_err(|error| Fault::Broken { what: error.to_string() })?;
        text += &format!("{nick}:{}\n", hash.as_str());
    }
    fs::write(file, text).map_err(|source| Fault::system("write the accounts", source))?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))
        .map_err(|source| Fault::system("write the accounts", source))
}

/// Writes a SQLite database with these nicks and passwords.
///
/// # Errors
/// When it can't be written, or SQLite is not built in.
#[cfg(feature = "sqlite")]
fn write_accounts(file: &Path, accounts: &[(String, String)]) -> Result<(), Fault> {
    let write = || {
        let mut database = rusqlite::Connection::open(file)?;
        database.execute_batch("CREATE TABLE users (login TEXT PRIMARY KEY, password TEXT)")?;
        let transaction = database.transaction()?;
        for account in accounts {
            transaction.execute("INSERT INTO users VALUES (?1, ?2)", (&account.0, &account.1))?;
        }
        transaction.commit()
    };
    let what = |error: rusqlite::Error| format!("can't write the accounts: {error}");
    write().map_err(|error| Fault::Broken { what: what(error) })
}

/// See above.
#[cfg(not(feature = "sqlite"))]
fn write_accounts(_: &Path, _: &[(String, String)]) -> Result<(), Fault> {
    let what = "no SQLite: this palabre was built without the Cargo feature sqlite".to_owned();
    Err(Fault::Broken { what })
}

/// Processor time used so far by all threads of a process.
fn processor_time(pid: u32) -> Option<Duration> {
    schedule(pid, 0)
}

/// One of the times that the scheduler counts for all threads of a process: that on a core, that in
/// which they wait for one.
fn schedule(pid: u32, field: usize) -> Option<Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let nanoseconds = tasks
        .filter_map(Result::ok)
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().nth(field)?.parse::<u64>().ok())
        .sum();
    Some(Duration::from_nanos(nanoseconds))
}

/// How long this thread has wanted a core so far and not had it.
pub(super) fn own_waiting_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().nth(1)?.parse().ok()?))
}

/// The cores that a process may be on, as `/proc` lists them.
fn cores(pid: u32) -> Option<String> {
    status(pid, "Cpus_allowed_list:")
}

/// The first word behind a name in the status of a process.
fn status(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1).map(str::to_owned)
}

/// Takes the generator and the server off each other's core, when there are two: the server
/// gets the last one, the generator the first. It holds for this thread and for what it starts
/// from now on.
pub(super) fn pin(core: usize) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    let wanted = ALLOWED_CORES.get_or_init(|| cores);
    if wanted.len() < 2 {
        return;
    }
    let mut set = CpuSet::new();
    set.set(wanted[core.min(wanted.len() - 1)]);
    // Without the right to do so the figures are as noisy as before.
    let _ = sched_setaffinity(None, &set);
}

/// Takes this thread to a core that neither the generator nor the server has, when there is one;
/// otherwise to the generator's.
pub(super) fn pin_aside() {
    let cores = ALLOWED_CORES.get().map_or(0, Vec::len);
    pin(usize::from(cores > 2));
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
