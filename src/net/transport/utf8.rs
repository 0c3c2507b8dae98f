//! Whether a text that comes in parts is UTF-8, told as soon as it can be.

/// How far the check has come.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The beginning of a character whose end has not come.
    begun: [u8; 4],
    begun_bytes: u8,
}

impl Utf8 {
    /// Goes on with these bytes; `false` when no text can begin like this.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> bool {
        while self.begun_bytes > 0
            && let Some((&byte, rest)) = bytes.split_first()
        {
            self.begun[usize::from(self.begun_bytes)] = byte;
            self.begun_bytes += 1;
            bytes = rest;
            match std::str::from_utf8(&self.begun[..usize::from(self.begun_bytes)]) {
                Ok(_) => self.begun_bytes = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        let Err(error) = std::str::from_utf8(bytes) else {
            return true;
        };
        if error.error_len().is_some() {
            return false;
        }
        // At most three bytes: four are a character or none.
        let tail = &bytes[error.valid_up_to()..];
        self.begun[..tail.len()].copy_from_slice(tail);
        self.begun_bytes = tail.len() as u8;
        true
    }

    /// Whether the text may end here.
    pub(super) const fn is_whole(&self) -> bool {
        self.begun_bytes == 0
    }
}
