//! Passwords → Argon2id hashes, as PHC strings, and back to "right" or "wrong".
//!
//! A hash of ours costs what OWASP's Password Storage Cheat Sheet asks for, 19 MiB of memory and
//! two passes, which the crate has as its default. One that was made elsewhere may cost more, to
//! a limit. Nothing here ever shows a password or a hash.

use core::fmt;

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use unicode_normalization::{UnicodeNormalization as _, is_nfc};
use zeroize::Zeroizing;

use crate::limits::{HASH_LANES_MAX, HASH_MEMORY_KIB_MAX, HASH_PASSES_MAX, PASSWORD_BYTES_MAX};
use crate::secret;

/// What every hash of this kind begins with; no plain password is taken to.
pub const PREFIX: &str = "$argon2";

/// A password's hash, `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`, that is known to be one.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// A secret as well: weak passwords can be guessed from it.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(not shown)")
    }
}

/// Why a text is no [`PasswordHash`]; its text is what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashError {
    /// No PHC string of Argon2id, version 19.
    NotArgon2id,
    /// More memory than is given.
    Memory,
    /// More passes than are made.
    Passes,
    /// More lanes than are worked off.
    Lanes,
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotArgon2id => f.write_str(
                "an Argon2id hash, $argon2id$v=19$m=…,t=…,p=…$SALT$HASH, as palabre passwd makes it",
            ),
            Self::Memory => write!(f, "an Argon2id hash of at most m={HASH_MEMORY_KIB_MAX} (KiB)"),
            Self::Passes => write!(f, "an Argon2id hash of at most t={HASH_PASSES_MAX}"),
            Self::Lanes => write!(f, "an Argon2id hash of at most p={HASH_LANES_MAX}"),
        }
    }
}

impl std::error::Error for HashError {}

/// Why a password has no hash.
#[derive(Debug)]
pub enum HashingError {
    /// It is empty, or over [`PASSWORD_BYTES_MAX`].
    Length,
    /// There is no memory for it, or no random number.
    System(argon2::password_hash::Error),
}

impl fmt::Display for HashingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => write!(f, "a password has 1 to {PASSWORD_BYTES_MAX} bytes"),
            Self::System(error) => write!(f, "the password can't be hashed: {error}"),
        }
    }
}

impl std::error::Error for HashingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Length => None,
            Self::System(error) => Some(error),
        }
    }
}

impl PasswordHash {
    /// Hashes a password, with a salt of its own; takes some 20 ms.
    ///
    /// # Errors
    /// What keeps it from it: no memory, no random numbers, a password that is empty or over
    /// [`PASSWORD_BYTES_MAX`].
    pub fn of(password: &str) -> Result<Self, HashingError> {
        if !is_usable(password) {
            return Err(HashingError::Length);
        }
        let hashed: Result<phc::PasswordHash, _> =
            Argon2::default().hash_password(normal(password).as_bytes());
        secret::wipe_stack();
        Ok(Self(hashed.map_err(HashingError::System)?.to_string()))
    }

    /// Takes a PHC string for a hash.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let hash = phc::PasswordHash::new(text).map_err(|_| HashError::NotArgon2id)?;
        let whole = hash.salt.is_some() && hash.hash.is_some();
        if hash.algorithm.as_str() != "argon2id" || hash.version != Some(19) || !whole {
            return Err(HashError::NotArgon2id);
        }
        let params = Params::try_from(&hash).map_err(|_| HashError::NotArgon2id)?;
        if params.m_cost() > HASH_MEMORY_KIB_MAX {
            return Err(HashError::Memory);
        }
        if params.t_cost() > HASH_PASSES_MAX {
            return Err(HashError::Passes);
        }
        if params.p_cost() > HASH_LANES_MAX {
            return Err(HashError::Lanes);
        }
        Ok(Self(text.to_owned()))
    }

    /// The PHC string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the hash of `password`. The comparison takes the same time whatever the
    /// difference; a password that can't be one is wrong at once.
    #[must_use]
    pub fn check(&self, password: &str) -> Checked {
        let password = normal(password);
        let Ok(own) = phc::PasswordHash::new(&self.0) else { return Checked::Wrong };
        let (Ok(params), Some(salt)) = (Params::try_from(&own), own.salt) else {
            return Checked::Wrong;
        };
        if !is_usable(&password) {
            return Checked::Wrong;
        }
        match output(&password, &salt, params) {
            // Two outputs are compared without stopping at the first difference.
            Some(output) if own.hash == Some(output) => Checked::Right,
            Some(_) => Checked::Wrong,
            None => Checked::NoMemory,
        }
    }

    /// Whether this is the hash of `password`, as far as there is memory to find out.
    #[must_use]
    pub fn is_of(&self, password: &str) -> bool {
        self.check(password) == Checked::Right
    }
}

/// What became of comparing a password with a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It is the one.
    Right,
    /// It is another one.
    Wrong,
    /// There was no memory to find out.
    NoMemory,
}

/// Takes as long as [`PasswordHash::check`] takes with a hash of ours, so that the time does not
/// tell who has an account. Never [`Checked::Right`].
#[must_use]
pub fn pretend(password: &str) -> Checked {
    let password = normal(password);
    if !is_usable(&password) {
        return Checked::Wrong;
    }
    let salt = [0; argon2::RECOMMENDED_SALT_LEN];
    match std::hint::black_box(output(&password, &salt, Params::default())) {
        Some(_) => Checked::Wrong,
        None => Checked::NoMemory,
    }
}

/// Room for more blocks than are needed, most of it never touched: what is larger than 32 MiB
/// (`DEFAULT_MMAP_THRESHOLD_MAX` of glibc) is given back to the system when it is dropped. A
/// smaller piece with this alignment is not: two threads that hash kept 350 MB.
const BLOCKS_RESERVED: usize = 33 * 1_024;

#[cfg(test)]
std::thread_local! {
    /// How many passwords this thread has hashed: what takes as long can't be seen without a clock.
    pub(super) static HASHED: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
}

/// What a password comes to; nothing when there is no memory for it.
fn output(password: &str, salt: &[u8], params: Params) -> Option<phc::Output> {
    #[cfg(test)]
    HASHED.set(HASHED.get() + 1);
    let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let blocks = params.block_count();
    let mut memory = Vec::new();
    memory.try_reserve_exact(blocks.max(BLOCKS_RESERVED)).ok()?;
    memory.resize(blocks, Block::new());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut bytes = [0; phc::Output::MAX_LENGTH];
    let bytes = bytes.get_mut(..length)?;
    let hashed = argon2.hash_password_into_with_memory(password.as_bytes(), salt, bytes, memory);
    secret::wipe_stack();
    hashed.ok()?;
    phc::Output::new(bytes).ok()
}

/// Whether a password can be one at all.
#[must_use]
pub fn is_usable(password: &str) -> bool {
    (1..=PASSWORD_BYTES_MAX).contains(&password.len())
}

/// One spelling for what looks the same, whichever keyboard wrote it (RFC 8265 section 4.2.2
/// rule 4).
fn normal(password: &str) -> Zeroizing<String> {
    // No character becomes more than three times as long (Unicode Standard Annex #15, table 3), so
    // that the text does not move while it grows.
    let mut text = Zeroizing::new(String::with_capacity(3 * password.len()));
    if is_nfc(password) {
        text.push_str(password);
    } else {
        text.extend(password.nfc());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with the reference implementation: `echo -n hunter2 | argon2 saltysalt -id -m 12`.
    const CHEAP: &str =
        "$argon2id$v=19$m=4096,t=3,p=1$c2FsdHlzYWx0$85yfauD48H6oCqXbtRb4FaiAZ3ovzFEmMdlN/XEkibQ";

    #[test]
    fn a_hash_knows_its_password() {
        let hash = PasswordHash::of("café").unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_eq!(PasswordHash::parse(hash.as_str()), Ok(hash.clone()));
        assert_eq!(hash.check("café"), Checked::Right);
        assert_eq!(hash.check("cafe\u{301}"), Checked::Right);
        assert_eq!((hash.check("cafe"), hash.check("")), (Checked::Wrong, Checked::Wrong));
        assert_eq!(pretend("café"), Checked::Wrong);
        assert_ne!(PasswordHash::of("café").unwrap(), hash, "each has a salt of its own");
    }

    #[test]
    fn hashes_that_cost_too_much_or_are_none_are_refused() {
        let with = |params: &str| CHEAP.replace("m=4096,t=3,p=1", params);
        assert!(
            PasswordHash::parse(CHEAP)
                .is_ok_and(|hash| hash.is_of("hunter2") && !hash.is_of("hunter3"))
        );
        assert!(PasswordHash::parse(&with("m=65536,t=10,p=16")).is_ok());
        assert_eq!(PasswordHash::parse(&with("m=65537,t=1,p=1")), Err(HashError::Memory));
        assert_eq!(PasswordHash::parse(&with("m=4096,t=11,p=1")), Err(HashError::Passes));
        assert_eq!(PasswordHash::parse(&with("m=4096,t=1,p=17")), Err(HashError::Lanes));
        for text in [
            "",
            "secret",
            "$argon2id$",
            "$argon2id$v=19$m=4096,t=3,p=1",
            "$argon2id$v=19$m=4096,t=3,p=1$c2FsdHlzYWx0",
            &CHEAP.replace("argon2id", "argon2i"),
            &CHEAP.replace("v=19", "v=16"),
            &CHEAP.replace("$v=19", ""),
            &format!("{CHEAP}$"),
            &format!("{CHEAP} "),
            &with("m=0,t=3,p=1"),
        ] {
            assert_eq!(PasswordHash::parse(text), Err(HashError::NotArgon2id), "{text}");
        }
    }

    #[test]
    fn passwords_have_a_longest_length() {
        let longest = "x".repeat(PASSWORD_BYTES_MAX);
        assert!(PasswordHash::of(&longest).unwrap().is_of(&longest));
        assert!(PasswordHash::of(&format!("{longest}x")).is_err());
        assert!(PasswordHash::of("").is_err());
    }

    #[test]
    fn neither_password_nor_hash_is_shown() {
        let shown = format!("{:?}", PasswordHash::parse(CHEAP));
        assert!(!shown.contains("argon2") && !shown.contains("85yf"), "{shown}");
    }
}
