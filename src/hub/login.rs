//! From the first stanza to the last: login, policy, help, quit (PROTOCOL.md sections 3 and 10).

use super::Hub;
use super::command::{Request, help_lines};
use super::nick::comparison_key;
use super::plugin::{Question, Verdict};
use super::reason::CloseReason;
use super::session::Login;
use super::types::{ConnId, LoginRefusal, Note, Outlet, Time};
use crate::wire::write;

const NICK_REFUSED: &str = "Nickname empty or already taken";

impl Hub {
    /// `<connect nickname="N" [password="P"] [rootpass="R"] />`.
    pub(super) fn connect(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let conn = request.conn;
        let nick = request.attribute(0);
        // Forms of old movies send the field when it is empty, too.
        let root_password =
            request.stanza.value("rootpass").filter(|password| !password.is_empty());
        if (root_password.is_some() || self.registered.logins) && self.may_not_try(conn, out) {
            return;
        }
        let key = match self.nick_key(nick) {
            Ok(key) => key,
            Err(reason) => {
                return self.refuse_login(conn, nick, &reason, LoginRefusal::BadNick, out);
            }
        };
        if !self.sessions.take_nick(conn, key, nick) {
            return self.refuse_login(conn, nick, NICK_REFUSED, LoginRefusal::BadNick, out);
        }
        if request.stanza.value("caps").is_some() {
            self.sessions.ask_capabilities(conn);
        }
        let settings = &self.settings;
        let hashed = settings.root_password_hashed && settings.root_password.is_some();
        let (for_others, for_us) =
            if hashed { (root_password, None) } else { (None, root_password) };
        let root = for_us.is_some_and(|password| self.is_root(conn, nick, &password, out));
        if root || !(self.registered.logins || for_others.is_some()) {
            return self.log_in(conn, root, out);
        }
        self.asks += 1;
        self.sessions.wait(conn, self.asks, for_others.is_some());
        out.ask(Question {
            ask: self.asks,
            conn,
            nick,
            element: request.stanza.element(),
            login: self.registered.logins,
            root_password: for_others.as_deref(),
        });
    }

    /// Somebody decided on a login that waits for this very answer; any other is ignored.
    pub(super) fn decide(
        &mut self,
        conn: ConnId,
        ask: u64,
        verdict: Verdict,
        out: &mut impl Outlet,
    ) {
        let Some(session) = self.sessions.find(conn) else {
            return;
        };
        let asked_for_root = match session.login {
            Login::Waiting { ask: own, root } if own == ask => root,
            Login::New | Login::Waiting { .. } | Login::Done => return,
        };
        let nick = session.nick.clone();
        if asked_for_root && verdict != Verdict::Root {
            self.count_failure(conn);
            out.note(Note::RootRefused { conn, nick: &nick });
        }
        match verdict {
            Verdict::Allowed => self.log_in(conn, false, out),
            Verdict::Root if asked_for_root => self.log_in(conn, true, out),
            Verdict::Root | Verdict::Refused => {
                self.sessions.refuse(conn);
                self.count_failure(conn);
                let why = LoginRefusal::Unauthorised;
                self.refuse_login(conn, &nick, "Authentication Error", why, out);
            }
        }
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

    /// Closes the sessions that have taken too long to log in.
    pub(super) fn close_late_logins(&mut self, out: &mut impl Outlet) {
        let max = self.settings.limits.login_time_s;
        while let Some((opened_at, conn)) = self.first_late_login() {
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

    fn log_in(&mut self, conn: ConnId, root: bool, out: &mut impl Outlet) {
        self.sessions.log_in(conn, root);
        if let Some(session) = self.sessions.find(conn) {
            // There is no capability to grant in this version; who asks is told so.
            let granted = session.asked_capabilities.then_some("");
            self.answer(conn, out, |buffer| write::connected(buffer, &session.nick, granted));
            out.note(Note::LoggedIn { conn, nick: &session.nick, root });
        }
    }

    fn nick_key(&self, nick: &str) -> Result<Box<str>, String> {
        let max = self.settings.limits.nick_bytes_max;
        if nick.len() > max {
            return Err(format!("{NICK_REFUSED} (limit {max} bytes)"));
        }
        comparison_key(nick).ok_or_else(|| NICK_REFUSED.to_owned())
    }

    /// Closes a session whose address has failed too often, before anything is compared.
    fn may_not_try(&mut self, conn: ConnId, out: &mut impl Outlet) -> bool {
        let Some(household) = self.sessions.find(conn).map(|session| session.household) else {
            return true;
        };
        let limits = &self.settings.limits;
        let too_often = self.sessions.failed_too_often(household, limits, self.now);
        if too_often {
            let max = limits.failed_logins_per_minute;
            self.error_and_close(
                conn,
                &format!("Too many failed logins (limit {max} per minute)"),
                CloseReason::FailedLogins,
                out,
            );
        }
        too_often
    }

    /// Whether this is root's password. A wrong one is counted and noted; the login goes on.
    fn is_root(&mut self, conn: ConnId, nick: &str, password: &str, out: &mut impl Outlet) -> bool {
        let own = self.settings.root_password.as_deref().filter(|own| !own.is_empty());
        let right = own.is_some_and(|own| same_secret(own.as_bytes(), password.as_bytes()));
        if !right {
            self.count_failure(conn);
            out.note(Note::RootRefused { conn, nick });
        }
        right
    }

    /// Counts a failed login or root password of a session's household.
    fn count_failure(&mut self, conn: ConnId) {
        if let Some(household) = self.sessions.find(conn).map(|session| session.household) {
            self.sessions.count_failure(household, &self.settings.limits, self.now);
        }
    }
}

/// Compares without stopping at the first difference, so that the time taken tells nothing of
/// how much of a guess was right.
fn same_secret(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differences) == 0
}
