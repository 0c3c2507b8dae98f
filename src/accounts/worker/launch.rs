//! How the server starts its worker: the name it runs under as a plugin, its command line, and the
//! configuration that it reads before the server's greeting.
//!
//! The configuration comes as the text that is in force. The file may say something else by the
//! time that a worker is started: a change that has not been taken in yet, or was refused.

use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::limits::CONFIG_FILE_BYTES_MAX;
use crate::secret::Secret;

/// The plugin that the worker is; no other one can have its name.
pub const NAME: &str = "accounts";

/// The subcommand of this program that is the worker. In no help is it of use to anybody.
pub const COMMAND: &str = "worker";

/// The option with the path of the configuration file, for what is relative to it.
const FILE: &str = "--config";

/// The option with the directory that relative paths are relative to.
const DIRECTORY: &str = "--directory";

/// What the worker is started with. `None` when a path is no text.
#[must_use]
pub fn arguments(file: &Path, directory: &Path) -> Option<Vec<String>> {
    let words = [COMMAND, FILE, file.to_str()?, DIRECTORY, directory.to_str()?];
    Some(words.map(str::to_owned).to_vec())
}

/// What the worker reads first: how long the configuration is, as eight bytes, the most significant
/// one first, and the configuration. So no password is an argument, where everybody could see it.
#[must_use]
pub fn input(config: &[u8]) -> Secret {
    let length = (config.len() as u64).to_be_bytes();
    Secret::written(length.len() + config.len(), |buffer| {
        buffer.extend_from_slice(&length);
        buffer.extend_from_slice(config);
    })
}

/// Reads what [`input`] has written, and no byte behind it.
///
/// # Errors
/// When the input ends before, or no server has written it.
pub fn read_input(input: &mut impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut length = [0; 8];
    input.read_exact(&mut length)?;
    let length = u64::from_be_bytes(length);
    let fits = usize::try_from(length).ok().filter(|_| length <= CONFIG_FILE_BYTES_MAX);
    let mut config = Zeroizing::new(vec![0; fits.ok_or(io::ErrorKind::InvalidData)?]);
    input.read_exact(&mut config)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_reads_the_configuration_and_nothing_behind_it() {
        let secret = input(b"[admin]\n");
        let mut stream: Vec<u8> = [secret.bytes(), b"<palabre />\0"].concat();
        let mut rest = &stream[..];
        assert_eq!(read_input(&mut rest).unwrap().as_slice(), b"[admin]\n");
        assert_eq!(rest, b"<palabre />\0");
        stream.truncate(10);
        assert!(read_input(&mut &stream[..]).is_err(), "it has ended");
        for (length, too_long) in
            [(CONFIG_FILE_BYTES_MAX, false), (CONFIG_FILE_BYTES_MAX + 1, true)]
        {
            let error = read_input(&mut &length.to_be_bytes()[..]).unwrap_err();
            assert_eq!(error.kind() == io::ErrorKind::InvalidData, too_long, "{length}");
        }
    }
}
