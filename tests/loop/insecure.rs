//! Nobody speaks over TLS where it is not built in.

use palabre::net::transport::Front;

pub(crate) fn front() -> Front {
    Front::default()
}

/// The client's side of a connection over TLS, which there is none of.
#[derive(Debug)]
pub(crate) enum Secure {}

impl Secure {
    pub(crate) const fn new(_: bool) -> Option<Self> {
        None
    }

    pub(crate) const fn is_greeting(&self) -> bool {
        match *self {}
    }

    pub(crate) fn wrap(&self, _: &[u8]) -> Vec<u8> {
        match *self {}
    }

    pub(crate) fn end(&self) -> Vec<u8> {
        match *self {}
    }

    pub(crate) fn unwrap(&self, _: &[u8]) -> Vec<u8> {
        match *self {}
    }

    pub(crate) fn records(&self) -> Vec<u8> {
        match *self {}
    }
}
