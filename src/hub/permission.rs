//! What plugins permit before it is done: that a session enters a room, that it says something
//! (manual: plugins, 'What a plugin may rely on').
//!
//! A stanza that is asked about does nothing: it is offered again when there is a verdict, and
//! everything is looked at anew then, rates, rights and modes. Until then nothing else of its session
//! is handled. So each session has one question at most; so many are open at a time, of one household
//! and in all, and the others stand in line, as logins do.

use std::collections::BTreeMap;

use super::Hub;
use super::command::Request;
use super::input::{HashKey, Progress};
use super::mode::Entry;
use super::outlet::Outlet;
use super::plugin::{Permission, PermissionKind, PermissionQuestion, QuestionId, Watch};
use super::questions::{NextInLine, QuestionCost, Questions};
use super::rights::Act;
use super::room::RoomKey;
use crate::reason::{RefusalReason, Refused};
use crate::session_id::ConnId;

/// What a session is told that could not be given a verdict.
const NOT_NOW: &str = "Not possible right now, please try again";

/// Above the numbers of all questions about logins.
const BEFORE_THE_FIRST: QuestionId = QuestionId(1 << 63);

/// The sessions of which a stanza waits for plugins, or has its verdict.
#[derive(Debug)]
pub(super) struct Permissions {
    questions: Questions,
    stages: BTreeMap<ConnId, Stage>,
}

/// How far a stanza has come that needs a permission.
#[derive(Debug)]
enum Stage {
    /// It waits for its turn to be asked about, at this place of its household's line.
    InLine(u64),
    /// Its turn has come: it is offered again.
    Called,
    /// This question about it is open.
    Asked(QuestionId),
    /// It may be done: it is offered again.
    Granted,
    /// It is not to be done, for this reason: it is offered again, to be answered.
    Refused(Option<Box<str>>),
    /// The same, because nobody could decide.
    Undecided,
}

impl Permissions {
    pub(super) fn new(key: HashKey) -> Self {
        Self { questions: Questions::behind(BEFORE_THE_FIRST, key), stages: BTreeMap::new() }
    }

    /// Whether no session needs a permission at the moment.
    pub(super) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Whether a session's stanza waits, and nothing of the session is handled.
    pub(super) fn waits(&self, conn: ConnId) -> bool {
        matches!(self.stages.get(&conn), Some(Stage::InLine(_) | Stage::Asked(_)))
    }

    pub(super) fn clear(&mut self) {
        self.questions.clear();
        self.stages.clear();
    }
}

impl Hub {
    /// Whether some plugin is asked before sessions enter rooms.
    pub(super) fn asks_joins(&self) -> bool {
        !self.registered.joins_asked.is_empty() || !self.permissions.is_empty()
    }

    /// Whether some plugin is asked before sessions say something.
    pub(super) fn asks_talk(&self) -> bool {
        !self.registered.talk_asked.is_empty() || !self.permissions.is_empty()
    }

    /// Whether a session that wants to enter a room has to wait for a permission, or was refused it
    /// and told so. What would be refused in any case is not asked about.
    #[cold]
    pub(super) fn lacks_permission_to_join(
        &mut self,
        request: &Request<'_>,
        parent: Option<&str>,
        name: &str,
        entry: Entry<'_>,
        out: &mut impl Outlet,
    ) -> bool {
        if !self.could_enter(request.conn, parent, name, entry) {
            return false;
        }
        let kind = PermissionKind::Join { new: self.rooms.find(name).is_none() };
        self.lacks_permission(request, kind, &[name], out)
    }

    /// The same of a session that wants to say something in rooms that it is in, or to a client.
    #[cold]
    pub(super) fn lacks_permission_to_talk(
        &mut self,
        request: &Request<'_>,
        rooms: &[RoomKey],
        act: Act,
        out: &mut impl Outlet,
    ) -> bool {
        let conn = request.conn;
        let refused = self.is_muted(conn)
            || rooms.iter().any(|&key| self.check_right(conn, key, act).is_err());
        if refused {
            return false;
        }
        let names = rooms.iter().filter_map(|&key| self.rooms.room(key));
        let names: Vec<Box<str>> = names.map(|room| room.name.clone()).collect();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        self.lacks_permission(request, PermissionKind::Talk, &names, out)
    }

    fn lacks_permission(
        &mut self,
        request: &Request<'_>,
        kind: PermissionKind,
        rooms: &[&str],
        out: &mut impl Outlet,
    ) -> bool {
        let conn = request.conn;
        let refused = match self.permissions.stages.get(&conn) {
            Some(Stage::Granted) => return false,
            Some(Stage::Refused(Some(why))) => {
                Refused::told(RefusalReason::Rights, String::from(&**why))
            }
            Some(Stage::Refused(None)) => match (kind, rooms) {
                (PermissionKind::Join { .. }, [room]) => {
                    Refused::told(RefusalReason::Rights, format!("You may not join room {room}"))
                }
                _ => Refused::new(RefusalReason::Rights, "You may not say that"),
            },
            Some(Stage::Undecided) => Refused::new(RefusalReason::Undecided, NOT_NOW),
            Some(Stage::InLine(_) | Stage::Asked(_)) => {
                self.held = Some(Progress::Wait);
                return true;
            }
            stage @ (Some(Stage::Called) | None) => {
                let called = stage.is_some();
                return self.ask_permission(request, kind, rooms, called, out);
            }
        };
        self.refuse_if(conn, Err(refused), out);
        true
    }

    /// Asks whether the stanza at hand may be done, if there is a plugin that wants to be asked; it
    /// stands in line where others are asked about.
    fn ask_permission(
        &mut self,
        request: &Request<'_>,
        kind: PermissionKind,
        rooms: &[&str],
        called: bool,
        out: &mut impl Outlet,
    ) -> bool {
        let conn = request.conn;
        let Some(session) = self.sessions.find(conn).filter(|session| !session.root) else {
            return false;
        };
        let stanza = match request.stanza.name() {
            // They are the same.
            "msg" => "m",
            name => name,
        };
        let watches = match kind {
            PermissionKind::Join { .. } => &self.registered.joins_asked,
            PermissionKind::Talk => &self.registered.talk_asked,
        };
        if !watches.iter().any(|watch: &Watch| watch.fits(rooms, stanza)) {
            return false;
        }
        let bytes = request.stanza.element().len();
        let cost = QuestionCost { household: session.household, guesses: 0, bytes };
        let Permissions { questions, stages } = &mut self.permissions;
        self.held = Some(Progress::Wait);
        if called {
            questions.came(conn);
        }
        if !questions.may_ask(cost, u64::MAX, called) {
            let place = questions.line_up(conn, cost);
            stages.insert(conn, Stage::InLine(place));
            self.call_next_permission(out);
            return true;
        }
        let id = questions.open(conn, cost, false);
        stages.insert(conn, Stage::Asked(id));
        let element = match kind {
            // The room's password is none of the plugins' business.
            PermissionKind::Join { .. } => request.stanza.element_without("password"),
            PermissionKind::Talk => [request.stanza.element(), ""],
        };
        let nick = &*session.nick;
        out.ask_permission(PermissionQuestion { id, conn, nick, kind, rooms, stanza, element });
        self.call_next_permission(out);
        true
    }

    /// Takes the verdict on a stanza that waits for it; any other is passed over.
    pub(super) fn permit(
        &mut self,
        conn: ConnId,
        question: QuestionId,
        permission: Permission<'_>,
        out: &mut impl Outlet,
    ) {
        if self.permissions.questions.answered(question, conn).is_none() {
            return;
        }
        let stage = match permission {
            Permission::Granted => Stage::Granted,
            Permission::Refused(why) => Stage::Refused(why.map(Into::into)),
            Permission::Undecided => Stage::Undecided,
        };
        self.permissions.stages.insert(conn, stage);
        self.call_next_permission(out);
    }

    /// A stanza was handled, and whatever was decided about it is used up; or its session is over.
    pub(super) fn forget_permission(&mut self, conn: ConnId, out: &mut impl Outlet) {
        let questions = &mut self.permissions.questions;
        match self.permissions.stages.remove(&conn) {
            None | Some(Stage::Granted | Stage::Refused(_) | Stage::Undecided) => return,
            Some(Stage::InLine(place)) => questions.leave(place),
            Some(Stage::Called) => _ = questions.came(conn),
            Some(Stage::Asked(question)) => {
                questions.answered(question, conn);
                out.cancel(question);
            }
        }
        self.call_next_permission(out);
    }

    /// Has the stanzas offered again whose turn has come.
    fn call_next_permission(&mut self, out: &mut impl Outlet) {
        // Nobody guesses here: there is no end to what is left.
        while let Some(NextInLine::Call(conn)) = self.permissions.questions.next_turn(|_| u64::MAX)
        {
            self.permissions.stages.insert(conn, Stage::Called);
            out.go_on(conn);
        }
    }

    /// Checks that each stanza that waits is known where it waits.
    pub(super) fn check_permissions(&self) {
        let questions = &self.permissions.questions;
        questions.check_invariants();
        for (&conn, stage) in &self.permissions.stages {
            assert!(self.sessions.find(conn).is_some(), "{conn} is over and waits");
            let known = match stage {
                Stage::InLine(place) => questions.is_in_line(*place, conn),
                Stage::Called => questions.is_called(conn),
                Stage::Asked(question) => questions.is_open(*question, conn),
                Stage::Granted | Stage::Refused(_) | Stage::Undecided => true,
            };
            assert!(known, "{conn} waits for nothing: {stage:?}");
        }
    }
}
