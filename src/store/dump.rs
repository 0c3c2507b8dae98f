//! A store as text: a record a line, as JSON, to be read by people and taken in elsewhere.

use core::fmt;
use std::io::{self, BufRead, Write};

use crate::limits::STORE_LINE_BYTES_MAX;
use crate::record::Record;

/// Why text is no dump.
#[derive(Debug)]
pub enum Error {
    /// It can't be read.
    System(io::Error),
    /// A line is no record.
    Line {
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::Line { number, why } => write!(f, "line {number} is no record: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// Writes records.
///
/// # Errors
/// What the system says.
pub fn write(records: &[Record], mut out: impl Write) -> io::Result<()> {
    for record in records {
        serde_json::to_writer(&mut out, record)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Reads them; empty lines are none.
///
/// # Errors
/// The first line that is no record.
pub fn read(mut input: impl BufRead) -> Result<Vec<Record>, Error> {
    let (mut records, mut line, mut number) = (Vec::new(), Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        let mut limited = io::Read::take(&mut input, STORE_LINE_BYTES_MAX);
        if limited.read_until(b'\n', &mut line).map_err(Error::System)? == 0 {
            return Ok(records);
        }
        if line.len() as u64 == STORE_LINE_BYTES_MAX {
            let why = format!("too long (limit {STORE_LINE_BYTES_MAX} bytes)");
            return Err(Error::Line { number, why });
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let record = serde_json::from_slice(&line)
            .map_err(|error| Error::Line { number, why: error.to_string() })?;
        records.push(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_wrong_is_told_by_its_line() {
        let text = "{\"mute\":{\"nick\":\"Bob\",\"by\":\"Ann\"}}\n";
        let records = read(format!("\n{text}\n").as_bytes()).expect("a dump");
        let mut written = Vec::new();
        write(&records, &mut written).expect("memory");
        assert_eq!(String::from_utf8(written).expect("text"), text);
        let error = read(format!("{text}nonsense\n").as_bytes()).expect_err("no dump");
        assert!(error.to_string().starts_with("line 2 is no record: "), "{error}");
    }
}
