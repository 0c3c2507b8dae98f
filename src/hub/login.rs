//! From the first stanza to the last: login, policy, help, quit
//! (manual: protocol, 'Session' and 'Flash policy').

use std::borrow::Cow;
use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::Hub;
use super::caps::Caps;
use super::command::{Request, help_lines};
use super::input::Progress;
use super::note::{LoginRefusal, Note};
use super::outlet::Outlet;
use super::plugin::{Question, QuestionId, Verdict};
use super::questions::{Asked, NextInLine, QuestionCost};
use super::session::{Login, Session};
use super::settings::RootPassword;
use super::time::Time;
use crate::limits::ENDS_PER_TURN;
use crate::nick::{Lookalikes, comparison_key};
use crate::reason::CloseReason;
use crate::session_id::ConnId;
use crate::wire::write;

/// Why a nick can't be had; its text is what the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NickRefused {
    /// It has more bytes than this.
    TooLong { max: usize },
    /// A session has it or one that looks like it, or it is a nick that none can have.
    Taken,
}

impl fmt::Display for NickRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nickname empty or already taken")?;
        match self {
            Self::TooLong { max } => write!(f, " (limit {max} bytes)"),
            Self::Taken => Ok(()),
        }
    }
}

impl std::error::Error for NickRefused {}

/// What a session is besides logged in.
#[derive(Clone, Copy, Debug)]
struct Rights {
    root: bool,
    /// Its nick was proven by a password.
    account: bool,
}

impl Rights {
    /// What a verdict that lets it in gives it.
    const fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Root { account } => Self { root: true, account },
            Verdict::Allowed { account } => Self { root: false, account },
            Verdict::Refused | Verdict::Undecided { .. } => Self { root: false, account: false },
        }
    }
}

/// What a login is told that nobody could decide on.
const NOT_NOW: &str = "Login not possible right now, please try again";

/// A `connect` that may be answered: what a decision on it needs.
struct Attempt<'a> {
    conn: ConnId,
    nick: &'a str,
    /// The nick's comparison key: equal nicks have equal keys.
    key: Box<str>,
    /// The root password that was given.
    root_password: Option<&'a str>,
    /// The element without the root password.
    element: [&'a str; 2],
    caps: Caps,
}

impl Hub {
    /// `<connect nickname="N" [password="P"] [rootpass="R"] />`.
    pub(super) fn connect(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let (conn, nick, stanza) = (request.conn, request.attribute(0), request.stanza);
        let called = self.take_turn(conn);
        // Forms of old movies send the field when it is empty, too.
        let root_password = stanza
            .value("rootpass")
            .map(|value| Zeroizing::new(value.into_owned()))
            .filter(|password| !password.is_empty());
        let guesses = u64::from(root_password.is_some()) + u64::from(self.asks_logins());
        if guesses > 0 && self.may_not_try(conn, out) {
            return self.call_next(out);
        }
        let key = match self.free_nick_key(nick) {
            Ok(key) => key,
            Err(reason) => {
                self.refuse_login(conn, nick, &reason.to_string(), LoginRefusal::BadNick, out);
                return self.call_next(out);
            }
        };
        let element = stanza.element_without("rootpass");
        if guesses > 0 && !self.may_ask(conn, guesses, stanza.element().len(), called) {
            return self.call_next(out);
        }
        let attempt = Attempt {
            conn,
            nick,
            key,
            root_password: root_password.as_ref().map(|password| password.as_str()),
            element,
            caps: Caps::asked(stanza.value("caps").as_deref()),
        };
        self.try_login(attempt, stanza.element().len(), out);
        self.call_next(out);
    }

    /// Whether each login needs a plugin's or the worker's permission.
    const fn asks_logins(&self) -> bool {
        self.registered.logins || self.settings.logins_checked
    }

    /// Logs the session in where nothing else has to permit it, and otherwise asks.
    fn try_login(&mut self, attempt: Attempt<'_>, bytes: usize, out: &mut impl Outlet) {
        let Attempt { conn, nick, key, root_password, element, caps } = attempt;
        let settings = &self.settings;
        let (for_others, for_us) = if settings.root_password.is_hash() {
            (root_password, None)
        } else {
            (None, root_password)
        };
        let root = for_us.is_some_and(|password| self.is_root(conn, nick, password, out));
        let login = self.asks_logins();
        if root || !(login || for_others.is_some()) {
            self.sessions.ask_caps(conn, caps);
            return self.log_in(conn, key, nick, Rights { root, account: false }, out);
        }
        let Some(household) = self.sessions.find(conn).map(|session| session.household) else {
            return;
        };
        let guesses = u64::from(login) + u64::from(for_others.is_some());
        let cost = QuestionCost { household, guesses, bytes };
        let question = self.questions.open(conn, cost, for_others.is_some());
        self.sessions.ask(conn, question, nick, caps);
        out.ask(Question {
            id: question,
            conn,
            nick,
            element,
            login,
            checked: self.settings.logins_checked,
            root_password: for_others,
        });
    }

    /// Whether it was this login's turn; what was kept for it is free again.
    fn take_turn(&mut self, conn: ConnId) -> bool {
        let called = self.questions.came(conn).is_some();
        if called {
            self.sessions.set_login(conn, Login::New);
        }
        called
    }

    /// Whether a login with so many passwords may be asked about now; otherwise it stands in line.
    fn may_ask(&mut self, conn: ConnId, guesses: u64, bytes: usize, called: bool) -> bool {
        let Some(household) = self.sessions.find(conn).map(|session| session.household) else {
            return false;
        };
        let cost = QuestionCost { household, guesses, bytes };
        let left = self.sessions.guesses_left(household, &self.settings.limits, self.now);
        if self.questions.may_ask(cost, left, called) {
            return true;
        }
        let place = self.questions.line_up(conn, cost);
        self.sessions.set_login(conn, Login::InLine(place));
        false
    }

    /// What became of a frame of a session that had not logged in before it.
    pub(super) fn progress_of_login(
        &mut self,
        conn: ConnId,
        called: bool,
        out: &mut impl Outlet,
    ) -> Progress {
        let login = self.sessions.find(conn).map(|session| session.login);
        match login {
            // The frame that it was called for is no login any more.
            Some(Login::Called) if called => {
                self.take_turn(conn);
                self.call_next(out);
                Progress::Done
            }
            Some(Login::InLine(_) | Login::Called) => Progress::Wait,
            Some(Login::Asked(_)) => Progress::Asked,
            Some(Login::New | Login::Done) | None => Progress::Done,
        }
    }

    /// Checks that each session that waits is known where it waits.
    pub(super) fn check_questions(&self) {
        self.questions.check_invariants();
        for session in self.sessions.iter() {
            let (conn, questions) = (session.conn, &self.questions);
            let known = match session.login {
                Login::New | Login::Done => true,
                Login::InLine(place) => questions.is_in_line(place, conn),
                Login::Called => questions.is_called(conn),
                Login::Asked(question) => questions.is_open(question, conn),
            };
            assert!(known, "{conn} waits for nothing: {:?}", session.login);
        }
    }

    /// Calls the logins whose turn has come, and closes those whose turn will not.
    pub(super) fn call_next(&mut self, out: &mut impl Outlet) {
        loop {
            let (sessions, limits, now) = (&self.sessions, &self.settings.limits, self.now);
            let left = |household| sessions.guesses_left(household, limits, now);
            match self.questions.next_turn(left) {
                None => return,
                Some(NextInLine::Call(conn)) => {
                    self.sessions.set_login(conn, Login::Called);
                    out.go_on(conn);
                }
                Some(NextInLine::TooMany(household, line)) => {
                    // These passwords came together with as many wrong ones as may be, before
                    // those were answered: guessing in this way is not to be free of charge.
                    let count = line.len() as u64;
                    let limits = &self.settings.limits;
                    self.sessions.count_unasked(household, count, limits, self.now);
                    for conn in line {
                        self.sessions.set_login(conn, Login::New);
                        self.close_for_failures(conn, out);
                    }
                }
            }
        }
    }

    /// A login that waits for this very answer is decided; any other answer is ignored. A guess
    /// counts whether or not its session is still there to hear of it.
    pub(super) fn decide(
        &mut self,
        conn: ConnId,
        question: QuestionId,
        verdict: Verdict,
        out: &mut impl Outlet,
    ) {
        let Some(asked) = self.questions.answered(question, conn) else {
            return;
        };
        let Asked { cost: QuestionCost { household, .. }, root: asked_for_root, .. } = asked;
        let verdict = match verdict {
            Verdict::Root { .. } if !asked_for_root => Verdict::Refused,
            Verdict::Root { .. }
            | Verdict::Allowed { .. }
            | Verdict::Refused
            | Verdict::Undecided { .. } => verdict,
        };
        let (root_refused, login_refused) = match verdict {
            Verdict::Root { .. } => (false, false),
            Verdict::Allowed { .. } => (asked_for_root, false),
            Verdict::Refused => (asked_for_root, true),
            Verdict::Undecided { root_refused, login_refused } => {
                (root_refused && asked_for_root, login_refused)
            }
        };
        for _ in 0..u64::from(root_refused) + u64::from(login_refused) {
            self.sessions.count_failure(household, &self.settings.limits, self.now);
        }
        let waits = |session: &&Session| session.login == Login::Asked(question);
        let nick = self.sessions.find(conn).filter(waits).map(|session| session.nick.clone());
        if let Some(nick) = nick {
            if root_refused {
                out.note(Note::RootRefused { conn, nick: &nick });
            }
            self.tell_verdict(conn, &nick, verdict, out);
        }
        self.call_next(out);
    }

    /// Does what a verdict says about the session that has waited for it.
    fn tell_verdict(&mut self, conn: ConnId, nick: &str, verdict: Verdict, out: &mut impl Outlet) {
        let (reason, why) = match verdict {
            Verdict::Allowed { .. } | Verdict::Root { .. } => match self.free_nick_key(nick) {
                Ok(key) => return self.log_in(conn, key, nick, Rights::of(verdict), out),
                // Another one was let in first.
                Err(reason) => (Cow::Owned(reason.to_string()), LoginRefusal::BadNick),
            },
            Verdict::Refused => (Cow::Borrowed("Authentication Error"), LoginRefusal::Unauthorised),
            Verdict::Undecided { .. } => (Cow::Borrowed(NOT_NOW), LoginRefusal::Undecided),
        };
        self.sessions.refuse(conn);
        self.refuse_login(conn, nick, &reason, why, out);
    }

    /// A session is over: what its login holds is free, and a question that needs no answer any
    /// more need not be asked.
    pub(super) fn forget_login(&mut self, session: &Session, out: &mut impl Outlet) {
        match session.login {
            Login::New | Login::Done => return,
            Login::InLine(place) => self.questions.leave(place),
            Login::Called => _ = self.questions.came(session.conn),
            Login::Asked(question) => out.cancel(question),
        }
        self.call_next(out);
    }

    /// Answers a refused login twice, as the documentation and as the old server had it.
    pub(super) fn refuse_login(
        &self,
        conn: ConnId,
        nick: &str,
        reason: &str,
        why: LoginRefusal,
        out: &mut impl Outlet,
    ) {
        self.answer(conn, out, |buffer| write::not_connected(buffer, reason));
        self.answer(conn, out, |buffer| write::error(buffer, reason));
        out.note(Note::LoginRefused { conn, nick, reason, why });
    }

    /// `<ping />`.
    pub(super) fn ping(&self, request: &Request<'_>, out: &mut impl Outlet) {
        self.answer(request.conn, out, write::pong);
    }

    /// `<help />`.
    pub(super) fn help(&self, request: &Request<'_>, out: &mut impl Outlet) {
        if let Some(session) = self.sessions.find(request.conn) {
            let lines = help_lines(session.logged_in(), session.root);
            self.answer(request.conn, out, |buffer| write::help(buffer, lines));
        }
    }

    /// `<quit />`.
    pub(super) fn quit(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        self.close(request.conn, CloseReason::Quit, out);
    }

    /// `<policy-file-request/>`.
    pub(super) fn tell_policy(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let domains = self.settings.domains.iter().map(String::as_str);
        let ports = &self.settings.policy_ports;
        self.answer(request.conn, out, |buffer| write::policy(buffer, domains, ports));
        self.close(request.conn, CloseReason::PolicyServed, out);
    }

    /// Closes the sessions that have taken too long to log in: so many at a time, the others at the
    /// next tick, which is due at once.
    pub(super) fn close_late_logins(&mut self, out: &mut impl Outlet) {
        let max = self.settings.limits.login_time_s;
        for _ in 0..ENDS_PER_TURN {
            let Some((opened_at, conn)) = self.first_late_login() else {
                return;
            };
            debug_assert!(opened_at.plus_secs(max) <= self.now);
            self.error_and_close(
                conn,
                &format!("Login timed out (limit {max} s)"),
                CloseReason::LoginTimeout,
                out,
            );
        }
    }

    fn first_late_login(&self) -> Option<(Time, ConnId)> {
        self.sessions
            .first_logging_in()
            .filter(|_| self.login_deadline().is_some_and(|deadline| deadline <= self.now))
    }

    /// When the next session will have taken too long to log in.
    pub(super) fn login_deadline(&self) -> Option<Time> {
        let max = self.settings.limits.login_time_s;
        let (opened_at, _) = self.sessions.first_logging_in().filter(|_| max != 0)?;
        Some(opened_at.plus_secs(max))
    }

    /// Logs a session in under a nick that is free.
    fn log_in(
        &mut self,
        conn: ConnId,
        key: Box<str>,
        nick: &str,
        rights: Rights,
        out: &mut impl Outlet,
    ) {
        let Rights { root, account } = rights;
        if !root && let Some(error) = self.refusal_of_banned_nick(&key) {
            self.sessions.refuse(conn);
            return self.refuse_login(conn, nick, &error, LoginRefusal::Banned, out);
        }
        let muted = !root && self.is_muted_nick(&key);
        if !self.sessions.log_in(conn, key, nick, root) {
            return;
        }
        if let Some(session) = self.sessions.find_mut(conn) {
            (session.account, session.muted) = (account, muted);
        }
        if let Some(session) = self.sessions.find(conn) {
            let granted = session.caps.granted();
            self.answer(conn, out, |buffer| {
                write::connected(buffer, &session.nick, granted.as_deref());
            });
            out.note(Note::LoggedIn { conn, nick: &session.nick, root });
        }
    }

    /// The comparison key of a nick that a session without one may have. A nick that looks like a
    /// taken one is refused with the same words as a taken one: it is taken to the eye.
    ///
    /// # Errors
    /// What the client is told.
    fn free_nick_key(&self, nick: &str) -> Result<Box<str>, NickRefused> {
        let max = self.settings.limits.nick_bytes_max;
        if nick.len() > max {
            return Err(NickRefused::TooLong { max });
        }
        comparison_key(nick)
            .filter(|key| !self.sessions.is_taken(key) && !self.is_imitation(nick))
            .ok_or(NickRefused::Taken)
    }

    /// Whether a nick looks like that of a session that is there, and may not.
    fn is_imitation(&self, nick: &str) -> bool {
        match self.settings.lookalikes {
            Lookalikes::Refuse => self.sessions.looks_taken(nick),
            Lookalikes::Allow => false,
        }
    }

    /// Closes a session whose household has failed too often, before anything is compared.
    pub(super) fn may_not_try(&mut self, conn: ConnId, out: &mut impl Outlet) -> bool {
        let Some(household) = self.sessions.find(conn).map(|session| session.household) else {
            return true;
        };
        let too_often = self.sessions.guesses_left(household, &self.settings.limits, self.now) == 0;
        if too_often {
            self.close_for_failures(conn, out);
        }
        too_often
    }

    fn close_for_failures(&mut self, conn: ConnId, out: &mut impl Outlet) {
        let max = self.settings.limits.failed_logins_per_minute;
        let error = format!("Too many failed logins (limit {max} per minute)");
        self.error_and_close(conn, &error, CloseReason::FailedLogins, out);
    }

    /// Whether this is root's password. A wrong one is counted and noted; the login goes on.
    fn is_root(&mut self, conn: ConnId, nick: &str, password: &str, out: &mut impl Outlet) -> bool {
        let right = match &self.settings.root_password {
            // It takes the same time whatever the difference is, but for that of the lengths.
            RootPassword::Clear(own) => own.as_bytes().ct_eq(password.as_bytes()).into(),
            RootPassword::None | RootPassword::Hash => false,
        };
        if !right {
            self.count_failure(conn);
            out.note(Note::RootRefused { conn, nick });
        }
        right
    }

    /// Counts a failed login or root password of a session's household.
    pub(super) fn count_failure(&mut self, conn: ConnId) {
        if let Some(household) = self.sessions.find(conn).map(|session| session.household) {
            self.sessions.count_failure(household, &self.settings.limits, self.now);
        }
    }
}
