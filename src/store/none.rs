//! No store: this binary was built without SQLite.

use std::path::Path;

use super::Error;
use crate::record::{Change, Record};

/// There is none.
#[derive(Debug)]
pub enum NoStore {}

impl NoStore {
    /// Opens none.
    ///
    /// # Errors
    /// Always.
    pub const fn open(_: &Path) -> Result<Self, Error> {
        Err(Error::NotBuiltIn)
    }

    /// Opens none.
    ///
    /// # Errors
    /// Always.
    pub const fn open_to_read(_: &Path) -> Result<Self, Error> {
        Err(Error::NotBuiltIn)
    }

    /// There is none.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        match *self {}
    }

    /// There is none.
    ///
    /// # Errors
    /// None.
    pub const fn read(&self) -> Result<Vec<Record>, Error> {
        match *self {}
    }

    /// There is none.
    ///
    /// # Errors
    /// None.
    pub const fn check(&self) -> Result<(), Error> {
        match *self {}
    }

    /// There is none.
    ///
    /// # Errors
    /// None.
    pub const fn apply(&mut self, _: &[Change]) -> Result<(), Error> {
        match *self {}
    }
}
