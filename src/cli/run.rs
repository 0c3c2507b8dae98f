//! `palabre run`: serves until it is told to stop.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
#[cfg(feature = "tls")]
use std::time::SystemTime;

use super::pid_file::{self, PidFile};
use super::start::READY;
use super::{Exit, Failure, VERSION, check_accounts, complain, say};
use crate::config::{self, Arguments, Config, LOOKED_FOR};
use crate::net::transport::Front;
use crate::{logging, net};

/// Serves by the configuration. `detached` leaves the terminal first; the pid file and the log
/// file then are not left out.
///
/// # Errors
/// Whatever keeps it from serving.
pub(super) fn run(arguments: Arguments, detached: bool) -> Result<Exit, Failure> {
    if detached {
        leave_terminal()?;
    }
    let mut config = config::load(&arguments)?;
    if detached {
        take_defaults(&mut config);
    }
    logging::init(config.log_level, config.log_file.as_deref()).map_err(log_failure)?;
    tell_warnings(&config.warnings);
    tell_warnings(&check_accounts(&config.accounts)?);
    let front = front(&config)?;
    let pid_file = take_pid_file(&config, detached)?;
    let listening = net::bind(&config).map_err(|error| bind_failure(&error))?;
    let addresses = listening.addresses().to_vec();
    announce(&config, &listening, detached);
    if detached {
        say(READY);
        leave_console()
            .map_err(|error| Failure::system(&error, format_args!("/dev/null: {error}")))?;
    }
    logging::started();
    log_start(&config, &addresses);
    let mut reload = reloader(arguments, config, detached);
    let served = listening.serve(front, &mut reload);
    drop(pid_file);
    match served {
        Ok(()) => Ok(Exit::Success),
        Err(error) => {
            log::error!("{error}");
            Err(Failure::new(Exit::Failed, error))
        }
    }
}

/// A session of its own: no terminal's end or Ctrl-C reaches it.
fn leave_terminal() -> Result<(), Failure> {
    match rustix::process::setsid() {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(Failure::new(Exit::Failed, format_args!("no session of its own: {error}")))
        }
    }
}

/// Whoever started it waits for the end of these, and later writes would go nowhere.
fn leave_console() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// What a detached server can't do without: a pid file and a log.
fn take_defaults(config: &mut Config) {
    config.pid_file.get_or_insert_with(pid_file::default_path);
    if config.log_file.is_none() {
        config.log_file = Some(default_log_file());
    }
}

/// Where a server without a console logs when `logfile` is empty: a log that is lost would be
/// missed when it is too late.
fn default_log_file() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/log/palabre.log");
    }
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    match state {
        Some(directory) => {
            // When it can't be made, opening the log says so.
            let _ = fs::create_dir_all(&directory);
            directory.join("palabre.log")
        }
        None => pid_file::default_path().with_extension("log"),
    }
}

fn log_failure(error: logging::Error) -> Failure {
    Failure::new(Exit::of(error.kind()), error)
}

/// Warnings about the configuration are for the console too, whatever is logged.
fn tell_warnings(warnings: &[String]) {
    for warning in warnings {
        if logging::level() < log::LevelFilter::Warn {
            complain(format_args!("warning: {warning}"));
        }
        log::warn!("{warning}");
    }
}

/// What the listeners take, with the certificate read. Without it a server that has one
/// configured does not start: its clients would be turned away, or talk in the clear.
fn front(config: &Config) -> Result<Front, Failure> {
    let web = config.web.clone();
    #[cfg(feature = "tls")]
    if let Some(files) = &web.tls {
        let loaded = net::tls::load(files, &web.hosts, SystemTime::now())?;
        tell_warnings(&loaded.warnings);
        let certificate_hosts = loaded.hosts;
        return Ok(Front { tls: Some(loaded.server), certificate_hosts, web, ..Front::default() });
    }
    Ok(Front { web, ..Front::default() })
}

/// In the foreground a pid file is a convenience: without the right to write it, the server
/// goes on. That another server holds it is an error in any case.
fn take_pid_file(config: &Config, detached: bool) -> Result<Option<PidFile>, Failure> {
    let Some(path) = &config.pid_file else { return Ok(None) };
    match PidFile::take(path) {
        Ok(file) => Ok(Some(file)),
        Err(error @ pid_file::Error::System { .. }) if !detached => {
            log::warn!("{error}; start, stop and status won't know this server");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn bind_failure(error: &net::Error) -> Failure {
    let net::Error::Bind { address, source } = error else {
        return Failure::new(Exit::Failed, error);
    };
    let kind = source.kind();
    let advice = if kind == io::ErrorKind::AddrInUse {
        let free = SocketAddr::new(address.ip(), 0);
        format!(
            "\n  another program listens there, perhaps another palabre: see `palabre status`, \
             or take a free port with --listen {free}"
        )
    } else if kind == io::ErrorKind::PermissionDenied && address.port() < 1024 {
        "\n  ports below 1024 are for root and for programs with CAP_NET_BIND_SERVICE".to_owned()
    } else if kind == io::ErrorKind::AddrNotAvailable {
        "\n  this host has no such address; an empty [daemon] ip listens on all it has".to_owned()
    } else {
        String::new()
    };
    Failure::system(source, format_args!("{error}{advice}"))
}

/// The first lines on the console: where it listens and how to try it.
fn announce(config: &Config, listening: &net::Listening, detached: bool) {
    say(VERSION);
    match &config.source {
        Some(path) => say(format_args!("configuration: {}", path.display())),
        None => say(format_args!(
            "configuration: built-in defaults (there is no {})",
            LOOKED_FOR.join(" and no ")
        )),
    }
    let addresses = listening.addresses();
    for address in addresses {
        say(format_args!("listening on {address}"));
    }
    for address in listening.policy_addresses() {
        say(format_args!("policy requests on {address}"));
    }
    if let Some(path) = &config.log_file {
        say(format_args!("log: {}", path.display()));
    }
    if let Some(address) = addresses.first().map(|address| reachable(*address)) {
        let (ip, port) = (address.ip(), address.port());
        say(format_args!("try it:  palabre client --connect {address} --nick me"));
        say(format_args!(
            "or:      printf '<connect nickname=\"me\" />\\0<quit />\\0' | nc {ip} {port} | tr '\\0' '\\n'"
        ));
        let web = &config.web;
        if web.http && web.websocket && web.page {
            let scheme = if web.tls.is_some() { "https" } else { "http" };
            say(format_args!("or open  {scheme}://{address}/ in a browser"));
        }
    }
    say(format_args!("stop it with {}", how_to_stop(config, detached)));
}

fn how_to_stop(config: &Config, detached: bool) -> String {
    match &config.source {
        _ if !detached => "Ctrl-C".to_owned(),
        // Where `stop` looks for it, wherever it is called.
        Some(path) if path != Path::new(LOOKED_FOR[1]) => {
            format!("palabre stop --config {}", path.display())
        }
        Some(_) | None => "palabre stop".to_owned(),
    }
}

/// An address by which this host reaches what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn log_start(config: &Config, addresses: &[SocketAddr]) {
    let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let source = config
        .source
        .as_ref()
        .map_or_else(|| "built-in defaults".to_owned(), |path| path.display().to_string());
    log::info!(
        "{VERSION} listens on {} by {source}, pid {}",
        addresses.join(", "),
        std::process::id()
    );
}

/// What SIGHUP does: reads the configuration and the certificate again, names what needs a
/// restart, reopens the log.
fn reloader(
    arguments: Arguments,
    running: Config,
    detached: bool,
) -> impl FnMut() -> Option<(Config, Front)> {
    let mut in_force = running.clone();
    move || {
        let loaded = config::load(&arguments).map_err(Failure::from);
        let loaded = loaded.and_then(|config| front(&config).map(|front| (config, front)));
        let (mut config, front) = match loaded {
            Ok(loaded) => loaded,
            Err(failure) => {
                for line in failure.text.lines() {
                    log::error!("{line}");
                }
                log::error!("the configuration was not read again, the old one stays in force");
                reopen_log(&in_force);
                return None;
            }
        };
        if detached {
            take_defaults(&mut config);
        }
        reopen_log(&config);
        for warning in &config.warnings {
            log::warn!("{warning}");
        }
        for name in config.needs_restart(&running) {
            log::warn!("{name}: changed, and counts after a restart");
        }
        log::info!("configuration read again");
        in_force = config;
        Some((in_force.clone(), front))
    }
}

fn reopen_log(config: &Config) {
    if let Err(error) = logging::reopen(config.log_level, config.log_file.as_deref()) {
        log::error!("{error}; the log goes on where it was");
    }
}
