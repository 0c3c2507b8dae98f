//! An outlet that looks at everything the hub has to say.

use std::collections::{BTreeMap, BTreeSet};

use palabre::hub::{CloseReason, ConnId, Note, Outlet, Span};
use palabre::limits::Limits;
use palabre::wire::stanza::Parser;

/// Keeps what was said since it was last asked, and knows who is connected.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    arena: Vec<u8>,
    open: BTreeSet<ConnId>,
    received: BTreeMap<ConnId, Vec<String>>,
}

impl Recorder {
    pub(super) fn opened(&mut self, conn: ConnId) {
        self.open.insert(conn);
    }

    pub(super) fn ended(&mut self, conn: ConnId) {
        self.open.remove(&conn);
    }

    pub(super) fn is_open(&self, conn: ConnId) -> bool {
        self.open.contains(&conn)
    }

    /// What `conn` received since it was last asked about.
    pub(super) fn take(&mut self, conn: ConnId) -> Vec<String> {
        self.received.remove(&conn).unwrap_or_default()
    }

    /// The end of a turn: what was encoded in it is gone.
    pub(super) fn flush(&mut self) {
        self.arena.clear();
    }
}

impl Outlet for Recorder {
    fn encode(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.arena.len();
        write(&mut self.arena);
        self.arena.push(0);
        Span { log: 0, start, end: self.arena.len() }
    }

    fn push(&mut self, to: ConnId, message: Span) {
        assert!(self.is_open(to), "something for {to}, which is not there");
        let [stanza @ .., 0] = &self.arena[message.start..message.end] else {
            panic!("no whole stanza: {message:?}")
        };
        assert_stanza(stanza);
        let stanza = String::from_utf8_lossy(stanza).into_owned();
        self.received.entry(to).or_default().push(stanza);
    }

    fn close(&mut self, conn: ConnId, reason: CloseReason) {
        assert!(self.open.remove(&conn), "{conn} closed twice: {reason:?}");
    }

    fn note(&mut self, _note: Note<'_>) {}
}

/// A stanza as clients need it, without its NUL.
///
/// # Panics
/// When it is none.
pub(super) fn assert_stanza(stanza: &[u8]) {
    assert!(!stanza.contains(&0), "a NUL in a stanza");
    assert!(stanza.starts_with(b"<"), "Flash sees nothing in what does not begin with a tag");
    assert!(!stanza.starts_with(b"<?") && !stanza.starts_with(b"<!"));
    // A relay adds two attributes and a list of rooms nests, so the sender's limits don't hold.
    let limits = Limits { depth_max: 0, attributes_max: 0, ..Limits::default() };
    let parsed = Parser::new().parse(stanza, &limits).map(|_| ());
    assert_eq!(parsed, Ok(()), "{:?}", String::from_utf8_lossy(stanza));
}
