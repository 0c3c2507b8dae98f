//! Whether a text that comes in parts is UTF-8, told as soon as it can be.

/// How far the check has come.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The beginning of a character whose end has not come.
    begun: [u8; 4],
    begun_bytes: u8,
}

impl Utf8 {
    /// Goes on with these bytes.
    ///
    /// # Errors
    /// No text can go on like this; so many of the bytes are sound.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut rest = bytes;
        while self.begun_bytes > 0
            && let Some((&byte, behind)) = rest.split_first()
        {
            self.begun[usize::from(self.begun_bytes)] = byte;
            self.begun_bytes += 1;
            match std::str::from_utf8(&self.begun[..usize::from(self.begun_bytes)]) {
                Ok(_) => self.begun_bytes = 0,
                Err(error) if error.error_len().is_some() => return Err(bytes.len() - rest.len()),
                Err(_) => {}
            }
            rest = behind;
        }
        let Err(error) = std::str::from_utf8(rest) else {
            return Ok(());
        };
        if error.error_len().is_some() {
            return Err(bytes.len() - rest.len() + error.valid_up_to());
        }
        // At most three bytes: four are a character or none.
        let tail = &rest[error.valid_up_to()..];
        self.begun[..tail.len()].copy_from_slice(tail);
        self.begun_bytes = tail.len() as u8;
        Ok(())
    }

    /// Whether the text may end here.
    pub(super) const fn is_whole(&self) -> bool {
        self.begun_bytes == 0
    }
}
