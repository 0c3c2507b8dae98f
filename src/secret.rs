//! Bytes in which a password may stand, and how they are overwritten.
//!
//! A password that a client gives is in the memory of the server from the read to the question
//! about it, and in the worker's from there to its hash. Whoever reads the memory of a process
//! later (a core file, a swapped page, a debugger) is not to find it: what held it is overwritten
//! when it is not needed any more. The copies that the system keeps (buffers of sockets and pipes)
//! and those in registers are out of reach.

use std::fmt;

use smallvec::SmallVec;
use zeroize::{Zeroize as _, Zeroizing};

/// Text or bytes that are overwritten when they are dropped. They are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

impl Secret {
    /// What `write` writes into a buffer that has room for so many bytes. Should it write more,
    /// what it had written before is left behind in memory.
    #[must_use]
    pub fn written(room_bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(room_bytes));
        write(&mut bytes);
        debug_assert!(bytes.len() <= room_bytes, "{} bytes, not {room_bytes}", bytes.len());
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A text that is overwritten when it is dropped. It is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HiddenText(Zeroizing<String>);

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.0.is_empty() { "HiddenText(empty)" } else { "HiddenText(not shown)" };
        f.write_str(text)
    }
}

impl HiddenText {
    /// A copy of a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Overwrites bytes.
pub fn wipe(bytes: &mut [u8]) {
    bytes.zeroize();
}

/// Words of the stack that reading a stanza or hashing a password uses, and more: 32 KiB.
const STACK_WORDS: usize = 4_096;

/// Overwrites the stack that calls before this one have used. Whatever reads bytes in bulk copies
/// some of them there: a check of characters, the first block of a hash.
#[inline(never)]
pub fn wipe_stack() {
    let mut words = [0_u64; STACK_WORDS];
    std::hint::black_box(&mut words).zeroize();
}

/// Overwrites, as far as the allocator gives it back, memory that somebody else has just freed in
/// pieces of these lengths without overwriting it: `rustls` keeps the text of each record in a
/// piece of its own.
pub fn wipe_freed(lengths: &[usize]) {
    let pieces: SmallVec<[Zeroizing<Vec<u8>>; 4]> =
        lengths.iter().rev().map(|length| Zeroizing::new(vec![1; *length])).collect();
    std::hint::black_box(&pieces);
}

/// Empties a buffer; what it held and what it has held is overwritten.
pub fn clear(bytes: &mut Vec<u8>) {
    bytes.zeroize();
}

/// Appends to a buffer. Where it has to grow, the memory that it leaves is overwritten.
pub fn append(buffer: &mut Vec<u8>, bytes: &[u8]) {
    let needed = buffer.len() + bytes.len();
    if needed > buffer.capacity() {
        let mut grown = Vec::with_capacity(needed.max(2 * buffer.capacity()));
        grown.extend_from_slice(buffer);
        clear(buffer);
        *buffer = grown;
    }
    buffer.extend_from_slice(bytes);
}

/// Removes so many bytes from the front of a buffer; the memory behind the rest is overwritten.
pub fn remove_front(buffer: &mut Vec<u8>, count: usize) {
    let left = buffer.len() - count;
    buffer.copy_within(count.., 0);
    buffer[left..].zeroize();
    buffer.truncate(left);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::written(16, |buffer| buffer.extend_from_slice(b"hunter2"));
        assert_eq!(secret.bytes(), b"hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(7 bytes)");
    }

    #[test]
    fn a_hidden_text_is_not_shown() {
        let hidden = HiddenText::new("hunter2");
        assert_eq!(hidden.text(), "hunter2");
        assert_eq!(format!("{hidden:?}"), "HiddenText(not shown)");
        assert_eq!(format!("{:?}", HiddenText::default()), "HiddenText(empty)");
    }

    #[test]
    fn buffers_grow_and_shrink_as_others_do() {
        let mut buffer = Vec::new();
        for part in ["one", "two", "three and a long one"] {
            append(&mut buffer, part.as_bytes());
        }
        assert_eq!(buffer, b"onetwothree and a long one");
        remove_front(&mut buffer, 6);
        assert_eq!(buffer, b"three and a long one");
        clear(&mut buffer);
        assert!(buffer.is_empty());
    }
}
