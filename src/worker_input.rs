//! What a worker process of this binary hears from its server: frames, read to the end. Passwords
//! may stand in them, so nothing of them stays in memory.

use std::io::{self, Read};

use crate::limits::READ_BYTES_PER_TURN;
use crate::secret;
use crate::wire::framer::Framer;

/// Hands on each frame that comes, until the input ends. One of more than `bytes_max` bytes is
/// `too_large`.
///
/// # Errors
/// What reading says, `too_large`, and what `take` says.
pub(crate) fn read_frames<E: From<io::Error>>(
    mut input: impl Read,
    bytes_max: usize,
    too_large: impl Fn() -> E,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut framer = Framer::for_secrets();
    let mut chunk = vec![0; READ_BYTES_PER_TURN];
    loop {
        let length = match input.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let mut cut = framer.cut(&chunk[..length], bytes_max);
        while let Some(frame) = cut.next_frame().map_err(|_| too_large())? {
            take(frame)?;
        }
        drop(cut);
        secret::wipe(&mut chunk[..length]);
        secret::wipe_stack();
    }
}
