//! What plugins are asked: the hub's question about a login, or about something that needs a
//! permission, is put to each plugin that has a say, waits for one that is about to run, and is
//! decided by their answers.
//!
//! `asks` has what is open; here it meets the plugins' lives. Several plugins may be asked the
//! same, and a question that ended a process is put to the next one and to no third.

use smallvec::SmallVec;

use super::asks::{Answer, AskId, Decision, OpenAsk};
use super::hook::Hook;
use super::mistake::Mistake;
use super::plugin::{DOWN, LATE, Stance};
use super::verb::VerdictSaid;
use super::{Due, PluginId, Plugins};
use crate::hub::{ConnId, PermissionQuestion, QuestionId, Time, Verdict};
use crate::limits::{ASK_TRIES_MAX, PLUGIN_ASKS_MAX, WORKER_SILENCE_S};
use crate::secret::Secret;

/// A login that is being decided on.
#[derive(Debug)]
pub(super) struct LoginQuestion {
    conn: ConnId,
    /// Whether the root password is right; `None` while that is open.
    root: Option<Answer>,
    /// Whether the login may happen; `None` while that is open.
    login: Option<Answer>,
    /// What plugins are asked about it.
    pub(super) asks: SmallVec<[AskId; 2]>,
}

/// Something that needs a permission.
#[derive(Debug)]
pub(super) struct Pending {
    conn: ConnId,
    /// What plugins are asked about it.
    ask: AskId,
}

/// What plugins have decided on.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::net) enum Decided {
    /// A login.
    Login { conn: ConnId, question: QuestionId, verdict: Verdict },
    /// Something that needs a permission, and what the client is to be told that does not get it.
    Permission { conn: ConnId, question: QuestionId, answer: Answer, reason: Option<Box<str>> },
}

impl Plugins {
    /// Asks the plugins that watch for it whether something may be done: a stanza of this name, in
    /// one of these rooms or in none. [`Plugins::take_decided`] has the answer, at once or later.
    pub(in crate::net) fn ask_permission(
        &mut self,
        question: &PermissionQuestion<'_>,
        hook: Hook,
        now: Time,
        write: impl Fn(AskId) -> Secret,
    ) {
        let ask = self.asks.open(question.id, hook, false);
        self.pending.insert(question.id, Pending { conn: question.conn, ask });
        self.asks.write(ask, write(ask));
        for id in self.ids() {
            let watch = self.plugin(id).watches.of(hook);
            if watch.is_some_and(|watch| watch.fits(question.rooms, question.stanza)) {
                self.place(ask, id, 0, now);
            }
        }
        self.asks.settle(ask, false, false);
    }

    /// Asks all plugins that judge whether this login may be, and as root;
    /// [`Plugins::take_decided`] has the answer, at once or later. With `checked` there has to be a
    /// plugin that judges. `write` writes a question, with its NUL, under the number given.
    pub(in crate::net) fn ask(
        &mut self,
        question: QuestionId,
        conn: ConnId,
        hooks: &[Hook],
        checked: bool,
        now: Time,
        write: impl Fn(AskId, Hook) -> Secret,
    ) {
        let unless_asked = |hook, answer| (!hooks.contains(&hook)).then_some(answer);
        let asked = LoginQuestion {
            conn,
            root: unless_asked(Hook::IsRoot, Answer::No),
            login: unless_asked(Hook::IsAuthorized, Answer::Yes { account: false }),
            asks: SmallVec::new(),
        };
        self.questions.insert(question, asked);
        for &hook in hooks {
            let ask = self.asks.open(question, hook, checked);
            if let Some(found) = self.questions.get_mut(&question) {
                found.asks.push(ask);
            }
            self.asks.write(ask, write(ask, hook));
            for id in self.ids() {
                self.place(ask, id, 0, now);
            }
            if checked && hook == Hook::IsAuthorized && !self.judges(hook) {
                let why = "no plugin has registered isAuthorized, and nothing else checks";
                self.unchecked.has(hook.subject(), why);
            }
            self.asks.settle(ask, false, false);
        }
    }

    /// Puts a question to a plugin, has it wait for the plugin, or passes the plugin over.
    fn place(&mut self, ask: AskId, id: PluginId, tries: u8, now: Time) {
        let Some(hook) = self.asks.hook(ask) else {
            return;
        };
        let plugin = &self.list[id.index()];
        let is_full = self.asks.count_of(id) >= PLUGIN_ASKS_MAX;
        let (deadline, process) = match plugin.stance(hook, now) {
            Stance::Pass => return,
            Stance::Ask | Stance::Wait(_) if is_full => {
                self.has_trouble(id, ask, "it is asked too much already");
                return self.asks.can_not_ask(ask);
            }
            Stance::CanNot(why) => {
                self.has_trouble(id, ask, why);
                return self.asks.can_not_ask(ask);
            }
            Stance::Wait(until) => (Some(until), None),
            // The worker has as long as the login itself.
            Stance::Ask => {
                let until = plugin.timeout(now);
                ((!plugin.is_worker()).then_some(until), Some(plugin.processes))
            }
        };
        if process.is_some()
            && let Some(stanza) = self.asks.stanza(ask)
            && let Some(up) = self.list[id.index()].up()
        {
            up.child.lanes.push_question(ask, stanza);
            up.asked += 1;
            let is_first = up.silent_at.is_none();
            self.queued = true;
            if is_first {
                self.expect_an_answer(id, now);
            }
        }
        let tries = tries + u8::from(process.is_some());
        self.asks.add(ask, OpenAsk { plugin: id, deadline, process, tries });
        if let Some(deadline) = deadline {
            self.due.insert((deadline, Due::Answer { plugin: id, ask }));
        }
    }

    /// Puts the questions that waited for a plugin to say what it is.
    pub(super) fn put_the_waiting_questions(&mut self, id: PluginId, now: Time) {
        for (ask, open) in self.asks.open_of(id) {
            if open.process.is_some() {
                continue;
            }
            let hooks = self.list[id.index()].hooks();
            if self.asks.hook(ask).is_some_and(|hook| hooks.has(hook)) {
                self.closed(ask, open);
                self.asks.take_open(ask, id);
                self.place(ask, id, open.tries, now);
            } else if open.tries == 0 {
                self.closed(ask, open);
                self.asks.excuse(ask, id);
            }
            // One that another process of it was asked waits for this one to want it as well.
        }
    }

    /// What a process of a plugin has not answered that is over is put to the present one.
    pub(super) fn put_again(&mut self, id: PluginId, process: u64, now: Time) {
        for (ask, open) in self.asks.open_of(id) {
            if open.process != Some(process) {
                continue;
            }
            if let Some(deadline) = open.deadline {
                self.due.remove(&(deadline, Due::Answer { plugin: id, ask }));
            }
            self.asks.take_open(ask, id);
            if open.tries >= ASK_TRIES_MAX || self.asks.stanza(ask).is_none() {
                self.has_trouble(id, ask, "it has ended without an answer");
                self.asks.settle(ask, false, true);
            } else {
                self.place(ask, id, open.tries, now);
                // A login is not let in because the new process does not want to be asked.
                let open = self.asks.find_open(ask, id).is_some();
                self.asks.settle(ask, false, !open);
            }
        }
    }

    /// A question that was put to a process waits for the next one, until then.
    pub(super) fn wait(&mut self, ask: AskId, open: OpenAsk, until: Time) {
        if open.deadline.is_none() {
            self.due.insert((until, Due::Answer { plugin: open.plugin, ask }));
        }
        if let Some(found) = self.asks.find_open(ask, open.plugin) {
            *found = OpenAsk { process: None, deadline: open.deadline.or(Some(until)), ..open };
        }
    }

    /// Gives up what waits for a plugin to be ready.
    pub(super) fn give_up_waiting(&mut self, id: PluginId, why: &str) {
        for (ask, open) in self.asks.open_of(id) {
            if open.process.is_none() {
                self.asks.take_open(ask, id);
                self.closed(ask, open);
                self.has_trouble(id, ask, why);
                self.asks.settle(ask, false, true);
            }
        }
    }

    /// Gives up what waits for a plugin that will not be there in time.
    pub(super) fn give_up_if_far(&mut self, id: PluginId, now: Time) {
        if !self.list[id.index()].is_near(now) {
            self.give_up_waiting(id, DOWN);
        }
    }

    /// From now on the worker has its time to say something, while it is asked anything.
    fn expect_an_answer(&mut self, id: PluginId, now: Time) {
        let plugin = &mut self.list[id.index()];
        let is_worker = plugin.is_worker();
        let Some(up) = plugin.up() else {
            return;
        };
        if let Some(time) = up.silent_at.take() {
            self.due.remove(&(time, Due::Silence(id)));
        }
        if is_worker && up.asked > 0 {
            let time = now.plus_secs(WORKER_SILENCE_S);
            up.silent_at = Some(time);
            self.due.insert((time, Due::Silence(id)));
        }
    }

    /// A plugin need not answer this any more, or has: nothing is due for it.
    fn closed(&mut self, ask: AskId, open: OpenAsk) {
        let OpenAsk { plugin: id, deadline, process, .. } = open;
        if let Some(deadline) = deadline {
            self.due.remove(&(deadline, Due::Answer { plugin: id, ask }));
        }
        if let Some(up) = self.list[id.index()].up()
            && process == Some(up.child.number)
            && up.asked > 0
        {
            up.child.lanes.take_back(ask);
            up.asked -= 1;
            if up.asked == 0
                && let Some(time) = up.silent_at.take()
            {
                self.due.remove(&(time, Due::Silence(id)));
            }
        }
    }

    /// A plugin answers, by its present process or by one that was retired.
    ///
    /// # Errors
    /// When it was never asked that.
    pub(in crate::net) fn answer(
        &mut self,
        id: PluginId,
        said: VerdictSaid<'_>,
        now: Time,
    ) -> Result<(), Mistake> {
        let VerdictSaid { ask, answer, error, reason } = said;
        if !self.asks.was_asked(ask, id) {
            return Err(Mistake::NotAsked(ask.0));
        }
        // What waits for its present process was answered by one that was given up.
        let open = self.asks.find_open(ask, id).filter(|open| open.process.is_some()).copied();
        if let Some(open) = open {
            self.closed(ask, open);
            if let Some(why) = error {
                self.has_trouble(id, ask, why);
            }
            self.asks.answer(ask, id, answer, reason);
        }
        if self.list[id.index()].up().is_some_and(|up| up.silent_at.is_some()) {
            self.expect_an_answer(id, now);
        }
        Ok(())
    }

    /// The session of one of the hub's questions is over. It is not put to any plugin any more;
    /// when all plugins that have it have answered, or at once, there is a verdict on a login all
    /// the same.
    pub(in crate::net) fn cancel(&mut self, question: QuestionId) {
        if let Some(pending) = self.pending.remove(&question) {
            for (ask, open) in self.asks.forget(pending.ask) {
                self.closed(ask, open);
            }
            return;
        }
        let asks = self.questions.get(&question).map(|found| found.asks.clone());
        for ask in asks.unwrap_or_default() {
            // What waits to be written is as good as not put.
            for id in self.ids() {
                let up = self.list[id.index()].up();
                if up.is_some_and(|up| up.child.lanes.take_back(ask))
                    && let Some(open) = self.asks.take_open(ask, id)
                {
                    self.closed(ask, open);
                }
            }
            for open in self.asks.cancel(ask) {
                self.closed(ask, open);
            }
            // No login is let in that no plugin was asked about.
            self.asks.settle(ask, false, true);
        }
    }

    /// The next of the hub's questions that is decided.
    pub(in crate::net) fn take_decided(&mut self) -> Option<Decided> {
        while let Some(decision) = self.asks.take_decision() {
            while let Some((ask, open)) = self.asks.take_excused() {
                self.closed(ask, open);
            }
            if let Some(pending) = self.pending.remove(&decision.question) {
                let Decision { question, answer, reason, .. } = decision;
                return Some(Decided::Permission { conn: pending.conn, question, answer, reason });
            }
            let Some(question) = self.questions.get_mut(&decision.question) else {
                continue;
            };
            if decision.hook == Hook::IsRoot {
                question.root = Some(decision.answer);
            } else {
                question.login = Some(decision.answer);
            }
            let Some(verdict) = verdict(question.root, question.login) else {
                continue;
            };
            let conn = question.conn;
            let asks = self.questions.remove(&decision.question).map(|question| question.asks);
            // A login as root needs no other leave.
            for ask in asks.unwrap_or_default() {
                for (ask, open) in self.asks.forget(ask) {
                    self.closed(ask, open);
                }
            }
            return Some(Decided::Login { conn, question: decision.question, verdict });
        }
        None
    }

    /// Whether a verdict may be there to be taken.
    pub(in crate::net) fn has_decisions(&self) -> bool {
        self.asks.has_decisions()
    }

    /// A plugin has not answered in time, or was not there to be asked.
    pub(super) fn is_late(&mut self, ask: AskId, id: PluginId) {
        let Some(open) = self.asks.take_open(ask, id) else {
            return;
        };
        let timeout_s = self.list[id.index()].module.timeout_s;
        self.closed(ask, open);
        if open.process.is_some() {
            self.has_trouble(id, ask, &format!("it has not answered within {timeout_s} s"));
        } else {
            let runs = self.list[id.index()].up().is_some();
            self.has_trouble(id, ask, if runs { LATE } else { DOWN });
        }
        self.asks.settle(ask, false, true);
    }

    /// A plugin could not be asked this, which is not decided yet, or has not answered it.
    fn has_trouble(&mut self, id: PluginId, ask: AskId, why: &str) {
        let subject = self.asks.hook(ask).map_or("a login", Hook::subject);
        self.list[id.index()].trouble.has(subject, why);
    }
}

/// What the answers about root's password and about the login come to; nothing while one is open.
/// A guess counts where a plugin said no to it, though another one could not be asked.
const fn verdict(root: Option<Answer>, login: Option<Answer>) -> Option<Verdict> {
    let (Some(root), Some(login)) = (root, login) else {
        return match root {
            Some(Answer::Yes { .. }) => Some(Verdict::Root { account: false }),
            Some(Answer::No | Answer::Unknown { .. }) | None => None,
        };
    };
    let root_refused = matches!(root, Answer::No | Answer::Unknown { denied: true });
    Some(match (root, login) {
        (Answer::Yes { .. }, Answer::Yes { account }) => Verdict::Root { account },
        (Answer::Yes { .. }, _) => Verdict::Root { account: false },
        (Answer::No, Answer::Yes { account }) => Verdict::Allowed { account },
        (Answer::No, Answer::No) => Verdict::Refused,
        (Answer::Unknown { .. }, Answer::Yes { .. }) => {
            Verdict::Undecided { root_refused, login_refused: false }
        }
        (Answer::Unknown { .. }, Answer::No) => {
            Verdict::Undecided { root_refused, login_refused: true }
        }
        (Answer::No | Answer::Unknown { .. }, Answer::Unknown { denied }) => {
            Verdict::Undecided { root_refused, login_refused: denied }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Module;
    use crate::secret::Secret;

    fn plugins() -> Plugins {
        let module = Module {
            name: "one".to_owned(),
            program: "/nowhere".into(),
            arguments: Vec::new(),
            directory: "/".into(),
            environment: Vec::new(),
            restart: true,
            timeout_s: 5,
            input: Secret::default(),
        };
        Plugins::new(vec![module], 1_000, Time::default())
    }

    fn ask(plugins: &mut Plugins, number: usize) {
        let conn = ConnId { slot: 0, generation: 1 };
        let write = |_, _| Secret::written(10, |buffer| buffer.extend_from_slice(b"<ask/>\0"));
        let question = QuestionId(number as u64);
        plugins.ask(question, conn, &[Hook::IsAuthorized], false, Time::default(), write);
    }

    #[test]
    fn so_much_and_no_more_is_asked_of_one_plugin() {
        let mut plugins = plugins();
        for number in 1..=PLUGIN_ASKS_MAX {
            ask(&mut plugins, number);
        }
        assert_eq!(plugins.take_decided(), None, "all wait for it");
        ask(&mut plugins, PLUGIN_ASKS_MAX + 1);
        let Some(Decided::Login { question, verdict, .. }) = plugins.take_decided() else {
            panic!("it can't be asked");
        };
        assert_eq!(question, QuestionId(PLUGIN_ASKS_MAX as u64 + 1));
        assert!(matches!(verdict, Verdict::Undecided { login_refused: false, .. }), "{verdict:?}");
        let trouble = plugins.take_trouble(Time::default()).expect("the log is told");
        assert_eq!(&*trouble.why, "it is asked too much already");
        // One that is over makes room for another.
        plugins.cancel(QuestionId(1));
        let decided = plugins.take_decided();
        assert!(matches!(decided, Some(Decided::Login { question: QuestionId(1), .. })));
        ask(&mut plugins, PLUGIN_ASKS_MAX + 2);
        assert_eq!(plugins.take_decided(), None);
    }
}
