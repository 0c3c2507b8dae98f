//! The process that writes the store: it is started and watched as plugins are, and takes changes
//! in numbered batches.
//!
//! A frame of its standard input that is no stanza is a batch: its number, then a change a line as
//! JSON. Of the server's stanzas it needs the greeting alone. When a batch is on the disk it says
//! `<stored n='…' />`, and where it
//! can't be written `<stored n='…' error='…' />`: the server hands the same over again by and by.
//! What has been read when the input ends is written, whatever became of the server.

use core::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;

use super::{Error as StoreError, Lock, StoreFile};
use crate::limits::STORE_BATCH_BYTES_MAX;
use crate::record::Change;
use crate::secret::{self, Secret};
use crate::wire::framer::FRAME_END;
use crate::wire::write;
use crate::worker_input::read_frames;

/// The plugin that it is; no other one can have its name.
pub const NAME: &str = "store";

/// The subcommand of this program that it is. In no help is it of use to anybody.
pub const COMMAND: &str = "store-worker";

/// The option with the path of the file.
const FILE: &str = "--file";

/// What it is started with. `None` when the path is no text.
#[must_use]
pub fn arguments(file: &Path) -> Option<Vec<String>> {
    Some([COMMAND, FILE, file.to_str()?].map(str::to_owned).to_vec())
}

/// A batch as the process reads it. Passwords of rooms may be in it.
#[must_use]
pub fn batch(number: u64, changes: &[Change]) -> Secret {
    let mut text = format!("{number}\n").into_bytes();
    for change in changes {
        // What the hub makes can be written, and memory takes it.
        if serde_json::to_writer(&mut text, change).is_ok() {
            text.push(b'\n');
        }
    }
    text.push(FRAME_END);
    let secret = Secret::written(text.len(), |buffer| buffer.extend_from_slice(&text));
    secret::wipe(&mut text);
    secret
}

/// Why it ended before its input did.
#[derive(Debug)]
pub enum Error {
    /// The system refused something.
    System(io::Error),
    /// What came is no batch of a server.
    NoBatch,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::NoBatch => f.write_str(
                "what came on the standard input is nothing to store: the server starts this \
                 process",
            ),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Writes what comes on `input` until it ends.
///
/// # Errors
/// Why it can't go on. That the file can't be written is none: it may be later.
pub fn run(path: PathBuf, input: impl Read, output: impl Write) -> Result<(), Error> {
    let mut writer = StoreWriter { path, open: None, output };
    read_frames(
        input,
        STORE_BATCH_BYTES_MAX,
        || Error::NoBatch,
        |frame| {
            if frame.starts_with(b"<palabre ") {
                writer.begin()?;
            } else if !frame.starts_with(b"<") {
                writer.take(frame)?;
            }
            Ok(())
        },
    )
}

struct StoreWriter<O> {
    path: PathBuf,
    /// The file and its lock, while it can be written.
    open: Option<(StoreFile, Lock)>,
    output: O,
}

/// How often the process tries to have the lock while its server begins.
const LOCK_TRIES: u32 = 250;

impl<O: Write> StoreWriter<O> {
    /// Says that it is there, and whether the file can be written.
    fn begin(&mut self) -> io::Result<()> {
        // Nothing is asked of it as of a plugin.
        self.say(b"<register />")?;
        let opened = self.write(&[]);
        self.answer(0, opened)
    }

    fn take(&mut self, frame: &[u8]) -> Result<(), Error> {
        let mut lines = frame.split(|byte| *byte == b'\n');
        let number = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.parse().ok());
        let number = number.ok_or(Error::NoBatch)?;
        let mut changes: Vec<Change> = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            changes.push(serde_json::from_slice(line).map_err(|_| Error::NoBatch)?);
        }
        let written = self.write(&changes);
        self.answer(number, written)?;
        Ok(())
    }

    /// Writes changes; whether the file was made for it, so that it has nothing else.
    fn write(&mut self, changes: &[Change]) -> Result<bool, StoreError> {
        let written = self.try_to_write(changes);
        if written.is_err() {
            // The next batch finds out anew what is there.
            self.open = None;
        }
        written
    }

    fn try_to_write(&mut self, changes: &[Change]) -> Result<bool, StoreError> {
        let mut is_new = false;
        if self.open.is_none() {
            let lock = self.lock()?;
            let store = StoreFile::open(&self.path)?;
            is_new = store.is_new();
            self.open = Some((store, lock));
        }
        if let Some((store, _)) = &mut self.open {
            store.apply(changes)?;
        }
        Ok(is_new)
    }

    fn lock(&self) -> Result<Lock, StoreError> {
        for _ in 1..LOCK_TRIES {
            match Lock::join(&self.path) {
                Err(StoreError::InUse(_)) => thread::sleep(super::LOCK_PAUSE),
                joined => return joined,
            }
        }
        Lock::join(&self.path)
    }

    fn answer(&mut self, number: u64, written: Result<bool, StoreError>) -> io::Result<()> {
        let mut stanza = format!("<stored n='{number}'").into_bytes();
        match written {
            Ok(false) => {}
            Ok(true) => stanza.extend_from_slice(b" new='1'"),
            Err(error) => {
                stanza.extend_from_slice(b" error='");
                write::attribute_value(&mut stanza, &error.to_string());
                stanza.push(b'\'');
            }
        }
        stanza.extend_from_slice(b" />");
        self.say(&stanza)
    }

    fn say(&mut self, stanza: &[u8]) -> io::Result<()> {
        let said = [stanza, &[FRAME_END]].concat();
        match self.output.write_all(&said).and_then(|()| self.output.flush()) {
            // The server is gone: what it has handed over is written all the same.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            said => said,
        }
    }
}
