//! An outlet that writes down what each connection is told, and when it is closed.

use std::collections::{BTreeMap, BTreeSet};

use palabre::hub::{
    CloseReason, ConnId, MessageTo, Note, Outlet, PermissionQuestion, Question, QuestionId,
    RefusalReason, Span,
};

/// One thing that the hub did to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Queued this stanza for it.
    Text(String),
    /// Closed it.
    Closed(CloseReason),
    /// Asked whether it may log in.
    Asked(Asked),
    /// Need not be asked about any more, under this number.
    Cancelled(QuestionId),
    /// Has its turn to log in.
    Called,
    /// Handed out a stanza of a registered name: the sender's nick, the name and the element.
    Registered(String, String, String),
    /// Noted for plugins that it joined, left or said something.
    Hook(Hook),
}

/// What plugins may hear of a session; its nick comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Joined(String, String),
    Left(String, String),
    /// To whom, and the stanza as it was delivered.
    Message(String, To, String),
}

/// Who got a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Room(String),
    Client(String),
    Everybody,
}

/// A question about a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) ask: QuestionId,
    pub(crate) nick: String,
    /// Without the root password.
    pub(crate) element: String,
    /// Whether the login itself is asked about.
    pub(crate) login: bool,
    /// Whether it needs somebody's leave in any case.
    pub(crate) checked: bool,
    pub(crate) root_password: Option<String>,
}

/// Writes down what the hub does, each connection's share in its order.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    /// The turn's encoded stanzas, each with its NUL.
    arena: Vec<u8>,
    /// What was done since the last [`Recorder::take`], in order.
    done: Vec<(ConnId, Done)>,
    /// Connections that are open, by what was told to the hub and by what it did.
    pub(crate) open: BTreeSet<ConnId>,
    /// Who is logged in, by the hub's notes.
    pub(crate) logged_in: BTreeMap<ConnId, String>,
    /// Which rooms there are, by the hub's notes.
    pub(crate) rooms: BTreeSet<String>,
    /// Whose login was asked about under which number.
    asked: BTreeMap<QuestionId, ConnId>,
    /// Who wants a permission, and the number of the question; the last one.
    pub(crate) wanted: Option<(ConnId, QuestionId)>,
    /// Errors that the notes say were limits, since the last [`Recorder::take`].
    pub(crate) limits_named: Vec<(ConnId, String)>,
    /// The turn has enough to do.
    pub(crate) is_full: bool,
}

impl Recorder {
    /// What was done since it was last asked for.
    pub(crate) fn take(&mut self) -> Vec<(ConnId, Done)> {
        std::mem::take(&mut self.done)
    }

    /// The turn is over: what it encoded is flushed and forgotten.
    pub(crate) fn flush(&mut self) {
        self.arena.clear();
    }

    fn text(&self, message: Span) -> String {
        let (nul, bytes) = self.arena[message.start..message.end].split_last().expect("its NUL");
        assert_eq!(*nul, 0, "a span ends with its NUL");
        String::from_utf8(bytes.to_vec()).expect("a stanza is UTF-8")
    }

    fn hook(&mut self, conn: ConnId, hook: Hook) {
        self.assert_open(conn, "told plugins of");
        self.done.push((conn, Done::Hook(hook)));
    }

    fn assert_open(&self, conn: ConnId, what: &str) {
        assert!(self.open.contains(&conn), "the hub {what} {conn}, which is not open");
    }
}

impl Outlet for Recorder {
    fn encode(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.arena.len();
        write(&mut self.arena);
        let stanza = &self.arena[start..];
        assert_eq!(stanza.first(), Some(&b'<'), "a stanza starts with its tag");
        assert!(!stanza.starts_with(b"<?"), "a stanza has no declaration");
        assert!(!stanza.contains(&0), "a stanza holds no NUL");
        self.arena.push(0);
        Span { log: 0, start, end: self.arena.len() }
    }

    fn push(&mut self, to: ConnId, message: Span) {
        self.assert_open(to, "told something to");
        let text = self.text(message);
        self.done.push((to, Done::Text(text)));
    }

    fn has_enough(&self) -> bool {
        self.is_full
    }

    fn close(&mut self, conn: ConnId, reason: CloseReason) {
        self.assert_open(conn, "closed");
        self.open.remove(&conn);
        self.done.push((conn, Done::Closed(reason)));
    }

    fn note(&mut self, note: Note<'_>) {
        match note {
            Note::LoggedIn { conn, nick, .. } => {
                let before = self.logged_in.insert(conn, nick.to_owned());
                assert_eq!(before, None, "{conn} logged in twice");
            }
            Note::LoggedOut { conn, nick } => {
                let before = self.logged_in.remove(&conn);
                assert_eq!(before.as_deref(), Some(nick), "{conn} logged out");
            }
            Note::RoomCreated { room, .. } => {
                assert!(self.rooms.insert(room.to_owned()), "room {room:?} created twice");
            }
            Note::RoomRemoved { room } => {
                assert!(self.rooms.remove(room), "room {room:?} removed, but it was not there");
            }
            Note::Refused { conn, error, reason: RefusalReason::Limit, .. } => {
                self.limits_named.push((conn, error.to_owned()));
            }
            Note::LoginRefused { .. }
            | Note::RootRefused { .. }
            | Note::Refused { .. }
            | Note::Kicked { .. }
            | Note::RemovedFromRoom { .. }
            | Note::Banned { .. }
            | Note::Unbanned { .. }
            | Note::Muted { .. }
            | Note::Unmuted { .. }
            | Note::Invited { .. }
            | Note::RoleGiven { .. }
            | Note::ModesSet { .. }
            | Note::ListTooLarge { .. }
            | Note::InfoTold { .. }
            | Note::Broadcast { .. }
            | Note::ShutdownAsked { .. } => {}
            Note::Joined { conn, nick, room } => {
                self.hook(conn, Hook::Joined(nick.to_owned(), room.to_owned()));
            }
            Note::Left { conn, nick, room } => {
                self.hook(conn, Hook::Left(nick.to_owned(), room.to_owned()));
            }
            Note::Message { conn, nick, to, message } => {
                let to = match to {
                    MessageTo::Room(room) => To::Room(room.to_owned()),
                    MessageTo::Client(nick) => To::Client(nick.to_owned()),
                    MessageTo::Everybody => To::Everybody,
                };
                let message = self.text(message);
                self.hook(conn, Hook::Message(nick.to_owned(), to, message));
            }
        }
    }

    fn ask(&mut self, question: Question<'_>) {
        self.assert_open(question.conn, "asked about");
        let asked = Asked {
            ask: question.id,
            nick: question.nick.to_owned(),
            element: question.element.concat(),
            login: question.login,
            checked: question.checked,
            root_password: question.root_password.map(str::to_owned),
        };
        self.asked.insert(question.id, question.conn);
        self.done.push((question.conn, Done::Asked(asked)));
    }

    fn ask_permission(&mut self, question: PermissionQuestion<'_>) {
        self.assert_open(question.conn, "asked about");
        self.wanted = Some((question.conn, question.id));
    }

    fn cancel(&mut self, ask: QuestionId) {
        if let Some((conn, _)) = self.wanted.take_if(|(_, wanted)| *wanted == ask) {
            return self.done.push((conn, Done::Cancelled(ask)));
        }
        let conn = self.asked.remove(&ask).expect("only what was asked is cancelled");
        self.done.push((conn, Done::Cancelled(ask)));
    }

    fn go_on(&mut self, conn: ConnId) {
        self.assert_open(conn, "called");
        self.done.push((conn, Done::Called));
    }

    fn registered(&mut self, conn: ConnId, nick: &str, name: &str, element: &str) {
        self.assert_open(conn, "handed out a stanza of");
        let done = Done::Registered(nick.to_owned(), name.to_owned(), element.to_owned());
        self.done.push((conn, done));
    }
}
