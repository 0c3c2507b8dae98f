//! What would keep a server of this configuration from starting, found out while another one still
//! serves: nothing is made, nothing is stopped and nobody's connection is taken.

use std::io;
#[cfg(feature = "tls")]
use std::time::SystemTime;

use rustix::process::Pid;

use super::needs::{address_failure, check_accounts, faults, look_at_database, look_at_store};
use super::pid_file::{self, State};
use super::{Exit, Failure, ports, wanted_pid_file};
use crate::config::Config;
#[cfg(feature = "tls")]
use crate::net::certificate;
use crate::{logging, net};

/// Everything that is known of a configuration without serving by it.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What keeps a server from starting.
    pub(super) failures: Vec<Failure>,
    /// What the operator should know.
    pub(super) warnings: Vec<String>,
    /// What the certificates are, and the key.
    pub(super) about_tls: Vec<String>,
    /// What the store has, if there is one.
    pub(super) about_store: Option<String>,
}

/// For what it is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To tell all: a certificate that has expired is an error as well.
    Check,
    /// To start a server in the background, which can't do without a pid file and a log.
    Start,
}

/// Looks at everything that a start needs.
pub(super) fn look(config: &Config, purpose: Purpose) -> Findings {
    let mut findings = Findings::default();
    findings.warnings.extend(config.warnings.iter().cloned());
    match check_accounts(config) {
        Ok(warnings) => findings.warnings.extend(warnings),
        Err(failure) => findings.failures.push(failure),
    }
    #[cfg(feature = "tls")]
    findings.look_at_certificate(config, purpose);
    match look_at_store(config) {
        Ok(about) => findings.about_store = about,
        Err(failure) => findings.failures.push(failure),
    }
    findings.failures.extend(faults(config));
    if let Some(path) = &config.log_file
        && let Err(error) = logging::check(path)
    {
        findings.failures.push(Failure::new(Exit::of(error.kind()), error));
    }
    let running = findings.look_at_pid_file(config, purpose);
    findings.failures.extend(taken(config, running));
    match look_at_database(config) {
        Ok(None) => {}
        Ok(Some(down)) => findings.failures.push(Failure::new(Exit::NotConfigured, down)),
        Err(failure) => findings.failures.push(failure),
    }
    // First of all it has to run.
    if findings.failures.is_empty() {
        findings.warnings.extend(config.open_secrets());
    }
    findings
}

impl Findings {
    #[cfg(feature = "tls")]
    fn look_at_certificate(&mut self, config: &Config, purpose: Purpose) {
        let Some(files) = &config.web.tls else { return };
        let (now, hosts) = (SystemTime::now(), &config.web.hosts);
        let found = match purpose {
            Purpose::Check => {
                let checked = certificate::check(files, hosts, now);
                checked.map(|checked| {
                    let certificate::CheckedFiles { certificates, signature_ns, warnings } =
                        checked;
                    let certificates =
                        certificates.iter().map(|text| format!("certificate: {text}"));
                    let ms = signature_ns as f64 / 1e6;
                    let key = format!("key: a signature takes {ms:.3} ms here");
                    (warnings, certificates.chain([key]).collect())
                })
            }
            Purpose::Start => {
                certificate::load(files, hosts, now).map(|loaded| (loaded.warnings, Vec::new()))
            }
        };
        match found {
            Ok((warnings, about_tls)) => {
                self.warnings.extend(warnings);
                self.about_tls = about_tls;
            }
            Err(error) => self.failures.push(error.into()),
        }
    }

    /// The server that runs by this configuration, if one does.
    fn look_at_pid_file(&mut self, config: &Config, purpose: Purpose) -> Option<Pid> {
        let path = wanted_pid_file(config)?;
        match pid_file::check(&path) {
            Ok(State::Running(pid)) => return Some(pid),
            Ok(State::Stale | State::Absent) => {}
            // In the foreground the usual one may be missing.
            Err(error) if config.pid_file.is_none() && purpose == Purpose::Check => {
                self.warnings.push(format!("{error}; start, stop and status need it"));
            }
            Err(error) => self.failures.push(error.into()),
        }
        None
    }
}

/// The addresses that can't be had, unless `running` has them, which ends before they are needed.
fn taken(config: &Config, running: Option<Pid>) -> Vec<Failure> {
    let mut failures = Vec::new();
    for wanted in [config.listen.clone(), config.policy_listen()] {
        let mut had = false;
        for listen in wanted {
            let address = listen.address;
            match net::bound(address) {
                Ok(_) => had = true,
                Err(error) if is_in_use(&error) && ports::is_of(address, running) => had = true,
                // The second half of "all addresses", on a host without IPv6.
                Err(_) if listen.optional && had => {}
                Err(source) => failures.push(address_failure(address, &source)),
            }
        }
    }
    failures
}

fn is_in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}
