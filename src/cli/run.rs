//! `palabre run`: serves until it is told to stop.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
#[cfg(feature = "tls")]
use std::time::SystemTime;

use super::needs::{self, check_accounts};
use super::pid_file::{self, PidFile};
use super::start::READY;
use super::{Exit, Failure, VERSION, command_line, command_line_for, wanted_pid_file};
use crate::config::{self, Arguments, Config, LOOKED_FOR, in_path};
use crate::net::transport::Front;
#[cfg(feature = "tls")]
use crate::net::transport::TlsConfig;
use crate::{logging, net};

/// Serves by the configuration. `detached` leaves the terminal first; the pid file and the log
/// file then are not left out.
///
/// # Errors
/// Whatever keeps it from serving.
pub(super) fn run(arguments: Arguments, detached: bool) -> Result<Exit, Failure> {
    let mut signals = net::Signals::take()
        .map_err(|error| Failure::system(&error, format_args!("can't take signals: {error}")))?;
    if detached {
        leave_terminal()?;
        signals.leave_terminal();
    }
    let mut config = config::load(&arguments)?;
    if detached {
        take_defaults(&mut config);
    }
    logging::init(config.log_level, config.log_file.as_deref()).map_err(log_failure)?;
    tell_warnings(&config.warnings);
    tell_warnings(config.open_secrets().as_slice());
    tell_warnings(&check_accounts(&config)?);
    let front = front(&config)?;
    check_faults(&config)?;
    tell_of_database(&config)?;
    // A pid file has to be removed, and those who connect are told good-bye.
    let _waiting = signals.wait_for_the_loop();
    let early = wanted_pid_file(&config);
    let mut pid_file = take_pid_file(&config, early.as_deref(), detached)?;
    let store = config.store.as_deref().map(net::store::take).transpose()?;
    let listening = net::bind(&config, signals).map_err(|error| bind_failure(&error))?;
    let listening = listening.with_store(store);
    let addresses = listening.addresses().to_vec();
    // On a free port and without a configuration it is tried out; in the foreground it is known by
    // its terminal.
    if early.is_none() && detached {
        let port = addresses.first().map_or(0, SocketAddr::port);
        let path = pid_file::default_path(None, port);
        pid_file = take_pid_file(&config, Some(&path), detached)?;
    }
    log_start(&config, &addresses);
    announce(&config, &listening, pid_file.as_ref(), detached);
    tell_of_log(&config);
    if detached {
        logging::say(READY);
        logging::leave_console();
        leave_console()
            .map_err(|error| Failure::system(&error, format_args!("/dev/null: {error}")))?;
    }
    logging::started();
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

/// What a detached server can't do without: a log.
pub(super) fn take_defaults(config: &mut Config) {
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
        None => pid_file::default_path(None, 0).with_extension("log"),
    }
}

fn log_failure(error: logging::Error) -> Failure {
    Failure::new(Exit::of(error.kind()), error)
}

/// Warnings about the configuration are for the console too, whatever is logged.
fn tell_warnings(warnings: &[String]) {
    for warning in warnings {
        if logging::level() < log::LevelFilter::Warn {
            logging::complain(format_args!("warning: {warning}"));
        }
        log::warn!("{warning}");
    }
}

/// A plugin that can't be run is missed when it is too late.
fn check_faults(config: &Config) -> Result<(), Failure> {
    let failures = needs::faults(config);
    let text: Vec<String> = failures.into_iter().map(|failure| failure.text).collect();
    if text.is_empty() {
        return Ok(());
    }
    Err(Failure { exit: Exit::NotConfigured, text: text.join("\n") })
}

/// A database that is down may come back: until then nobody gets in by it. One that lets everybody
/// in is no way to check logins.
fn tell_of_database(config: &Config) -> Result<(), Failure> {
    if let Some(down) = needs::look_at_database(config)? {
        tell_warnings(&[format!("{down}; nobody gets in by it until they can")]);
    }
    Ok(())
}

/// What the listeners take, with the certificate read. Without it a server that has one
/// configured does not start: its clients would be turned away, or talk in the clear.
fn front(config: &Config) -> Result<Front, Failure> {
    let web = config.web.clone();
    #[cfg(feature = "tls")]
    if let Some(files) = &web.tls {
        let loaded = net::certificate::load(files, &web.hosts, SystemTime::now())?;
        tell_warnings(&loaded.warnings);
        let certificate_hosts = loaded.hosts;
        let net::certificate::LoadedFiles { server, signature_ns, .. } = loaded;
        let tls = Some(TlsConfig { server, signature_ns });
        return Ok(Front { tls, certificate_hosts, web, ..Front::default() });
    }
    Ok(Front { web, ..Front::default() })
}

/// In the foreground a pid file is a convenience: without the right to write it, the server
/// goes on, and so it does without the usual one. That another server holds the configured one is
/// an error in any case.
fn take_pid_file(
    config: &Config,
    path: Option<&Path>,
    detached: bool,
) -> Result<Option<PidFile>, Failure> {
    let Some(path) = path else { return Ok(None) };
    match PidFile::take(path) {
        Ok(file) => Ok(Some(file)),
        Err(error @ pid_file::Error::System { .. }) if !detached => {
            log::warn!("{error}; start, stop and status won't know this server");
            Ok(None)
        }
        Err(error) if !detached && config.pid_file.is_none() => {
            log::warn!("{error}; start, stop and status won't know this one: [daemon] pidfile");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// A disk that is full may have room later, and serving goes before its log; but somebody has to
/// know.
fn tell_of_log(config: &Config) {
    if let Some((path, kind)) = config.log_file.as_ref().zip(logging::refused()) {
        logging::complain(format_args!(
            "warning: [logging] logfile: can't write {}: {kind}; lines wait until it takes them, \
             and those that are too many are counted",
            path.display()
        ));
    }
}

fn bind_failure(error: &net::Error) -> Failure {
    match error {
        net::Error::Bind { address, source } => needs::address_failure(*address, source),
        net::Error::System { .. } => Failure::new(Exit::Failed, error),
    }
}

/// The first lines on the console: where it listens and how to try it.
fn announce(
    config: &Config,
    listening: &net::Listening,
    pid_file: Option<&PidFile>,
    detached: bool,
) {
    let say = |text: fmt::Arguments<'_>| logging::say(text);
    say(format_args!("{VERSION}"));
    match &config.source {
        Some(path) => say(format_args!("configuration: {}", path.display())),
        None => say(format_args!(
            "configuration: built-in defaults (there is no {})",
            LOOKED_FOR.join(" and no ")
        )),
    }
    for address in listening.addresses() {
        say(format_args!("listening on {address}"));
    }
    for address in listening.policy_addresses() {
        say(format_args!("policy requests on {address}"));
    }
    if let Some(note) = listens_to_all(config) {
        say(format_args!("{note}"));
    }
    if let Some(path) = &config.log_file {
        say(format_args!("log: {}", path.display()));
    }
    if let Some(file) = pid_file {
        say(format_args!("pid file: {}", file.path().display()));
    }
    if let Some(address) = listening.addresses().first() {
        announce_ways_in(config, reachable(*address));
    }
    say(format_args!("stop it with {}", how_to_stop(config, listening.addresses(), detached)));
}

/// Says how to try it: what works with this configuration, and no more.
fn announce_ways_in(config: &Config, address: SocketAddr) {
    let web = &config.web;
    let tls = web.tls.as_ref();
    let (ip, port) = (address.ip(), address.port());
    let place = address.to_string();
    if web.stanzas {
        let mut words = vec!["client", "--connect", &place, "--nick", "me"];
        if config.accounts.asks_logins() && !config.accounts.guests {
            words.push("--password");
        }
        if let Some(tls) = tls.filter(|tls| tls.required) {
            words.push("--tls");
            // Its own certificate is trusted as it is, whatever name this host goes by.
            words.extend(tls.certificate.to_str().into_iter().flat_map(|path| ["--ca", path]));
        }
        logging::say(format_args!("try it:  {}", command_line(words)));
    }
    let plain = web.stanzas && tls.is_none_or(|tls| !tls.required);
    if plain && in_path(Path::new("nc")).is_some() {
        logging::say(format_args!(
            "or:      printf '<connect nickname=\"me\" />\\0<quit />\\0' | nc {ip} {port} | tr '\\0' '\\n'"
        ));
    }
    if web.http && web.websocket && web.page {
        let scheme = if tls.is_some() { "https" } else { "http" };
        logging::say(format_args!("or open  {scheme}://{address}/ in a browser"));
    }
}

/// What is said of a file that has the server listen to everybody by saying nothing.
pub(super) fn listens_to_all(config: &Config) -> Option<String> {
    let source = config.source.as_ref().filter(|_| config.listens_to_all_unasked())?;
    Some(format!(
        "everybody who reaches this host can connect, since {} names no address; this line in its \
         section [daemon] keeps it to this host:\n  ip = 127.0.0.1",
        source.display()
    ))
}

/// What ends it, wherever it is typed.
fn how_to_stop(config: &Config, addresses: &[SocketAddr], detached: bool) -> String {
    let Some(address) = addresses.first().filter(|_| detached) else { return "Ctrl-C".to_owned() };
    if config.source.is_none() && *address != SocketAddr::from(([127, 0, 0, 1], 2468)) {
        return command_line(["stop", "--listen", &address.to_string()]);
    }
    command_line_for(config, &["stop"])
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
        let loaded = check_that_nothing_waits(&in_force)
            .and_then(|()| config::load(&arguments).map_err(Failure::from));
        let loaded = loaded.and_then(|config| match config.request_fault() {
            Some(text) => Err(Failure { exit: Exit::NotConfigured, text }),
            None => check_that_it_stays_closed(&in_force, &config)
                .and_then(|()| front(&config))
                .map(|front| (config, front)),
        });
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

/// A file that is no file would keep everybody waiting for whoever writes to it, and a pipe that
/// was read once holds nothing any more.
fn check_that_nothing_waits(config: &Config) -> Result<(), Failure> {
    let tls = config.web.tls.as_ref();
    let files = tls.into_iter().flat_map(|tls| [&tls.certificate, &tls.key]);
    for path in config.source.iter().chain(files) {
        if path.metadata().is_ok_and(|found| !found.is_file()) {
            let text = format_args!("{} is no file that could be read again", path.display());
            return Err(Failure::new(Exit::NotConfigured, text));
        }
    }
    Ok(())
}

/// A file that an editor has cut, or that is half written, says what an empty one says: that
/// everybody may log in, and without TLS. Who means that restarts.
fn check_that_it_stays_closed(in_force: &Config, config: &Config) -> Result<(), Failure> {
    let demands_tls = |config: &Config| config.web.tls.as_ref().is_some_and(|tls| tls.required);
    let text = if in_force.settings.logins_checked && !config.settings.logins_checked {
        "logins are checked, and by this configuration nobody would check them any more; if that is \
         meant: palabre restart"
    } else if demands_tls(in_force) && !demands_tls(config) {
        "TLS is required, and by this configuration it would not be any more; if that is meant: \
         palabre restart"
    } else {
        return Ok(());
    };
    Err(Failure::new(Exit::NotConfigured, text))
}

fn reopen_log(config: &Config) {
    if let Err(error) = logging::reopen(config.log_level, config.log_file.as_deref()) {
        log::error!("{error}; the log goes on where it was");
    }
}
