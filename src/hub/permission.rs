//! What plugins permit before it is done: that a session enters a room, that it says something
//! (manual: plugins, 'What a plugin may rely on').
//!
//! A stanza that is asked about does nothing: it is offered again when there is a verdict. A no is
//! told then; with a yes everything is looked at anew, rates, rights and modes. Until then nothing
//! else of its session is handled. So each session has one question at most; so many are open at a
//! time, of one household and in all, and the others stand in line, as logins do.

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
    stages: BTreeMap<ConnId, PermissionStage>,
}

/// How far a stanza has come that needs a permission.
#[derive(Debug)]
enum PermissionStage {
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
        !self.is_empty()
            && matches!(
                self.stages.get(&conn),
                Some(PermissionStage::InLine(_) | PermissionStage::Asked(_))
            )
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
        let refused = || format!("You may not join room {name}");
        if self.was_refused(request.conn, refused, out) {
            return true;
        }
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
        if self.was_refused(conn, || "You may not say that".to_owned(), out) {
            return true;
        }
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
        match self.permissions.stages.get(&request.conn) {
            Some(PermissionStage::InLine(_) | PermissionStage::Asked(_)) => {
                self.held = Some(Progress::Wait);
                true
            }
            Some(PermissionStage::Called) => self.ask_permission(request, kind, rooms, true, out),
            None => self.ask_permission(request, kind, rooms, false, out),
            Some(
                PermissionStage::Granted | PermissionStage::Refused(_) | PermissionStage::Undecided,
            ) => false,
        }
    }

    /// Whether a session's stanza was refused; the session is told so, by `refused` where no plugin
    /// has words of its own.
    fn was_refused(
        &self,
        conn: ConnId,
        refused: impl FnOnce() -> String,
        out: &mut impl Outlet,
    ) -> bool {
        let refused = match self.permissions.stages.get(&conn) {
            Some(PermissionStage::Refused(why)) => {
                let why = why.as_deref().map_or_else(refused, ToOwned::to_owned);
                Refused::told(RefusalReason::Rights, why)
            }
            Some(PermissionStage::Undecided) => Refused::new(RefusalReason::Undecided, NOT_NOW),
            Some(_) | None => return false,
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
            stages.insert(conn, PermissionStage::InLine(place));
            self.call_next_permission(out);
            return true;
        }
        let id = questions.open(conn, cost, false);
        stages.insert(conn, PermissionStage::Asked(id));
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
            Permission::Granted => PermissionStage::Granted,
            Permission::Refused(why) => PermissionStage::Refused(why.map(Into::into)),
            Permission::Undecided => PermissionStage::Undecided,
        };
        self.permissions.stages.insert(conn, stage);
        self.call_next_permission(out);
    }

    /// A stanza was handled, and whatever was decided about it is used up; or its session is over.
    pub(super) fn forget_permission(&mut self, conn: ConnId, out: &mut impl Outlet) {
        if self.permissions.is_empty() {
            return;
        }
        let questions = &mut self.permissions.questions;
        match self.permissions.stages.remove(&conn) {
            None
            | Some(
                PermissionStage::Granted | PermissionStage::Refused(_) | PermissionStage::Undecided,
            ) => return,
            Some(PermissionStage::InLine(place)) => questions.leave(place),
            Some(PermissionStage::Called) => _ = questions.came(conn),
            Some(PermissionStage::Asked(question)) => {
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
            self.permissions.stages.insert(conn, PermissionStage::Called);
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
                PermissionStage::InLine(place) => questions.is_in_line(*place, conn),
                PermissionStage::Called => questions.is_called(conn),
                PermissionStage::Asked(question) => questions.is_open(*question, conn),
                PermissionStage::Granted
                | PermissionStage::Refused(_)
                | PermissionStage::Undecided => true,
            };
            assert!(known, "{conn} waits for nothing: {stage:?}");
        }
    }
}
