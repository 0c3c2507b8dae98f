//! Binds, owns the `Poll` and the only clock.

use std::fmt;
use std::net::SocketAddr;

use crate::config::Config;
use crate::hub::Settings;

/// Why serving failed.
#[derive(Debug)]
pub enum Error {
    /// A listen address could not be bound.
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system refused something the loop can't do without.
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, source } => write!(f, "can't listen on {address}: {source}"),
            Self::System { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for Error {}

/// A server that listens but does not serve yet.
#[derive(Debug)]
pub struct Listening {
    addresses: Vec<SocketAddr>,
}

/// Binds every address of the configuration.
///
/// # Errors
/// [`Error::Bind`] for the first address that can't be bound.
pub fn bind(config: &Config) -> Result<Listening, Error> {
    let _ = config;
    Ok(Listening { addresses: Vec::new() })
}

impl Listening {
    /// The addresses that are listened on, ports resolved, the policy port not among them.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until a signal or root stops it. `reload` is called on SIGHUP: it reads the
    /// configuration again, reopens the log and gives the hub's new settings, or `None` when
    /// the old ones stay in force.
    ///
    /// # Errors
    /// [`Error::System`] when the poll itself fails.
    pub fn serve(self, reload: &mut dyn FnMut() -> Option<Settings>) -> Result<(), Error> {
        let _ = reload;
        Ok(())
    }
}
