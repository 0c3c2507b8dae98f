//! Plugins, as far as they can be known without their processes: who they are, what they want
//! to hear and are asked, what waits for them, and when something is due.
//!
//! A plugin is a program that speaks stanzas on its standard input and output; `running` has its
//! process. `hook` has what plugins can register for, `request` reads what they say, `asks`
//! has the questions that are open, `lanes` what waits to be written. Nothing here waits: a plugin
//! that does not read loses the events that it would have heard, and is told how many they were.

mod asks;
pub mod hook;
mod lanes;
mod mistake;
mod running;
pub mod verb;

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

pub(super) use self::asks::{Answer, AskId};
use self::asks::{Asks, Open};
pub(super) use self::hook::{Hook, HookSet};
pub(super) use self::lanes::Lanes;
pub(super) use self::mistake::{Mistake, Unregistered};
pub(super) use self::running::{Retired, Running};
pub(super) use self::verb::{Action, Said};
use crate::config::Module;
use crate::hub::{ConnId, QuestionId, Time, Verdict};
use crate::limits::{
    ASK_TRIES_MAX, COMPLAINT_TIME_S, PLUGIN_NAME_BYTES_MAX, PLUGIN_NAMES_MAX, PLUGIN_TIMERS_MAX,
    WORKER_SILENCE_S, WORKER_STATE_BYTES_MAX,
};
use crate::secret::Secret;
use crate::wire::write::plugin as write;

/// How far a plugin has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No process of it runs; when one is about to.
    Down(Option<Time>),
    /// It has not registered anything yet, and may do so until then.
    Starting(Time),
    /// It has not registered in time; it can't be asked.
    Late,
    /// It has registered.
    Ready,
}

/// Something that is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A plugin has had its time to register.
    Registration(usize),
    /// A plugin has had its time to answer.
    Answer { plugin: usize, ask: AskId },
    /// A plugin has been asked something and has answered nothing for too long.
    Silence(usize),
    /// A timer of a plugin.
    Timer { plugin: usize, name: Box<str> },
}

/// What has become of a plugin that its process has to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It has not registered in time.
    Late,
    /// It is asked and says nothing.
    Silent,
}

/// What is to be done about a question to one plugin.
enum Stance {
    /// It is put to it.
    Ask,
    /// It waits for it to be ready, until then.
    Wait(Time),
    /// It has no say.
    Pass,
    /// It can't be asked, for this reason.
    CanNot(&'static str),
}

/// One of them.
#[derive(Debug)]
struct Plugin {
    name: Box<str>,
    /// It is the server's own worker: it alone is told root's password, and a login waits for it as
    /// long as the login itself may take, not until a time of the plugin's.
    own: bool,
    timeout_s: u64,
    /// It is to run.
    wanted: bool,
    state: State,
    /// Counts its processes.
    process: u64,
    hooks: HookSet,
    /// What it has registered at some time; `None` before it has. While it is away it can't be
    /// asked what it would have been.
    registered: Option<HookSet>,
    names: Vec<Box<str>>,
    /// What waits to be written to it.
    lanes: Lanes,
    /// Stanzas that it was not sent since it was last told.
    dropped: u64,
    timers: Vec<(Box<str>, Time)>,
    /// Questions that its process has and has not answered.
    asked: usize,
    /// When it has been silent for too long, while there are such.
    silent_at: Option<Time>,
    /// What its next process is told.
    kept: Option<Box<str>>,
    trouble: Trouble,
}

/// Why a plugin could not be asked, as far as the log has not been told.
#[derive(Debug, Default)]
struct Trouble {
    why: Option<Box<str>>,
    count: u64,
    quiet_until: Time,
}

/// A login that is being decided on.
#[derive(Debug)]
struct Question {
    conn: ConnId,
    /// Whether the root password is right; `None` while that is open.
    root: Option<Answer>,
    /// Whether the login may happen; `None` while that is open.
    login: Option<Answer>,
    /// Its asks.
    asks: SmallVec<[AskId; 2]>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Plugins {
    list: Vec<Plugin>,
    asks: Asks,
    /// What the hub wants to know, under its own numbers.
    questions: BTreeMap<QuestionId, Question>,
    due: BTreeSet<(Time, Due)>,
    /// What is heard by somebody.
    heard: HookSet,
    /// Somebody has something to be sent.
    queued: bool,
    /// What was registered has changed since the hub was last told.
    changed: bool,
    /// Stanzas that were not sent, in all.
    dropped: u64,
    /// Bytes of events that may wait for one of them, and of answers.
    backlog_bytes_max: usize,
    /// Logins could not be decided on for want of anybody who does.
    unchecked: Trouble,
}

impl Plugins {
    /// Takes in those that are to run.
    pub(super) fn new(modules: &[Module], backlog_bytes_max: usize) -> Self {
        let plugin = |module: &Module| Plugin {
            name: module.name.as_str().into(),
            own: module.is_worker(),
            timeout_s: module.timeout_s,
            wanted: true,
            state: State::Down(Some(Time::default())),
            process: 0,
            hooks: HookSet::default(),
            registered: None,
            names: Vec::new(),
            lanes: Lanes::default(),
            dropped: 0,
            timers: Vec::new(),
            asked: 0,
            silent_at: None,
            kept: None,
            trouble: Trouble::default(),
        };
        let list: Vec<Plugin> = modules.iter().map(plugin).collect();
        let changed = !list.is_empty();
        Self { list, changed, backlog_bytes_max, ..Self::default() }
    }

    /// Takes in one more.
    pub(super) fn add(&mut self, module: &Module) {
        let mut added = Self::new(std::slice::from_ref(module), self.backlog_bytes_max);
        self.list.append(&mut added.list);
        self.changed = true;
    }

    /// Whether a plugin is to run at all.
    pub(super) fn is_wanted(&self, index: usize) -> bool {
        self.list.get(index).is_some_and(|plugin| plugin.wanted)
    }

    /// Sets whether a plugin is to run at all. One that is not has no say.
    pub(super) fn set_wanted(&mut self, index: usize, wanted: bool) {
        if let Some(plugin) = self.list.get_mut(index) {
            plugin.wanted = wanted;
            self.changed = true;
        }
        if !wanted {
            self.give_up_waiting(index, DOWN);
        }
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.list.len()
    }

    /// What a plugin is called.
    pub(super) fn name(&self, index: usize) -> &str {
        self.list.get(index).map_or("", |plugin| &plugin.name)
    }

    /// Whether somebody wants to hear of this.
    pub(super) const fn hears(&self, hook: Hook) -> bool {
        self.heard.has(hook)
    }

    /// Whether logins are asked about, and root's passwords.
    pub(super) fn judges(&self, hook: Hook) -> bool {
        self.list.iter().any(|plugin| plugin.may_judge(hook))
    }

    /// Whether what the hub has to know of them has changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Every name that is registered.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let names = self.list.iter().flat_map(|plugin| &plugin.names);
        names.map(|name| String::from(&**name)).collect()
    }

    /// Stanzas that were not sent because their plugin did not read.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// A process of a plugin runs: it is greeted, and has its time to register.
    pub(super) fn started(&mut self, index: usize, now: Time) {
        let Some(plugin) = self.list.get_mut(index) else {
            return;
        };
        let until = now.plus_secs(plugin.timeout_s);
        plugin.state = State::Starting(until);
        plugin.process += 1;
        plugin.lanes.clear();
        plugin.dropped = 0;
        self.due.insert((until, Due::Registration(index)));
        self.changed = true;
        let (name, kept) = (plugin.name.clone(), plugin.kept.clone());
        let version = env!("CARGO_PKG_VERSION");
        self.tell(index, |buffer| write::greeting(buffer, version, &name, kept.as_deref()));
    }

    /// Keeps what the next process of the server's own worker is to be told: what a worker knows
    /// goes with it when it is killed.
    ///
    /// # Errors
    /// When it is another plugin's, or too long.
    pub(super) fn keep(&mut self, index: usize, state: &str) -> Result<(), Mistake> {
        let Some(plugin) = self.list.get_mut(index).filter(|plugin| plugin.own) else {
            return Err(Mistake::NotTheWorker);
        };
        if state.len() > WORKER_STATE_BYTES_MAX {
            return Err(Mistake::LongState);
        }
        plugin.kept = Some(state.into());
        Ok(())
    }

    /// A plugin's process has ended: it hears nothing more. What it was asked is put to the next
    /// process, where there is one soon (`next`).
    pub(super) fn ended(&mut self, index: usize, next: Option<Time>, now: Time) {
        let Some(process) = self.list.get(index).map(|plugin| plugin.process) else {
            return;
        };
        self.leave(index, next);
        if let Some(plugin) = self.list.get_mut(index) {
            plugin.lanes.clear();
        }
        self.put_again(index, process, now);
        self.give_up_if_far(index, now);
    }

    /// A plugin can't be started; when that is tried again.
    pub(super) fn not_started(&mut self, index: usize, next: Option<Time>, now: Time) {
        if let Some(plugin) = self.list.get_mut(index) {
            plugin.state = State::Down(next);
        }
        self.give_up_if_far(index, now);
    }

    /// Nothing waits for a plugin that will not be there in time.
    fn give_up_if_far(&mut self, index: usize, now: Time) {
        if self.list.get(index).is_some_and(|plugin| !plugin.is_near(now)) {
            self.give_up_waiting(index, DOWN);
        }
    }

    /// Another process takes a plugin's place at once. The old one has its time to answer what it
    /// was asked: the number of its process, and what is still to be written to it, are given.
    pub(super) fn retire(&mut self, index: usize, now: Time) -> (u64, Lanes) {
        let Some(plugin) = self.list.get_mut(index) else {
            return (0, Lanes::default());
        };
        let (process, mut lanes) = (plugin.process, std::mem::take(&mut plugin.lanes));
        let until = now.plus_secs(plugin.timeout_s);
        self.leave(index, Some(now));
        for (ask, open) in self.asks.open_of(index) {
            if open.process == Some(process) && lanes.take_back(ask) {
                self.wait(ask, index, Open { tries: open.tries - 1, ..open }, until);
            }
        }
        (process, lanes)
    }

    /// Whether a process of a plugin has been asked what it has not answered.
    pub(super) fn is_asked(&self, index: usize, process: u64) -> bool {
        self.asks.is_asked(index, process)
    }

    /// A process that had been retired has ended: what it has not answered is put to the present
    /// one.
    pub(super) fn put_again(&mut self, index: usize, process: u64, now: Time) {
        for (ask, open) in self.asks.open_of(index) {
            if open.process != Some(process) {
                continue;
            }
            if let Some(deadline) = open.deadline {
                self.due.remove(&(deadline, Due::Answer { plugin: index, ask }));
            }
            self.asks.take_open(ask, index);
            if open.tries >= ASK_TRIES_MAX || self.asks.stanza(ask).is_none() {
                self.has_trouble(index, "it has ended without an answer");
                self.asks.settle(ask, false, true);
            } else {
                self.place(ask, index, open.tries, now);
                // Nobody is let in because the new process does not want to be asked.
                let open = self.asks.find_open(ask, index).is_some();
                self.asks.settle(ask, false, !open);
            }
        }
    }

    /// No process of a plugin is its present one any more.
    fn leave(&mut self, index: usize, next: Option<Time>) {
        let Some(plugin) = self.list.get_mut(index) else {
            return;
        };
        if let State::Starting(until) = plugin.state {
            self.due.remove(&(until, Due::Registration(index)));
        }
        for (name, time) in std::mem::take(&mut plugin.timers) {
            self.due.remove(&(time, Due::Timer { plugin: index, name }));
        }
        if let Some(time) = plugin.silent_at.take() {
            self.due.remove(&(time, Due::Silence(index)));
        }
        plugin.asked = 0;
        plugin.state = State::Down(next);
        plugin.hooks = HookSet::default();
        plugin.names.clear();
        self.settle_heard();
    }

    /// A plugin registers names and hooks.
    ///
    /// # Errors
    /// When it has too many names, or too long ones; the others and the hooks count.
    pub(super) fn register(
        &mut self,
        index: usize,
        names: &[&str],
        hooks: &[Hook],
        now: Time,
    ) -> Result<(), Unregistered> {
        let Some(plugin) = self.list.get_mut(index) else {
            return Ok(());
        };
        let mut wanted = HookSet::default();
        let mut startup = false;
        for &hook in hooks {
            if plugin.hooks.add(hook) {
                wanted.add(hook);
                startup |= hook == Hook::Startup;
            }
        }
        plugin.registered.get_or_insert_default().add_all(wanted);
        let named = plugin.add_names(names);
        if let State::Starting(until) = plugin.state {
            self.due.remove(&(until, Due::Registration(index)));
        }
        let was_ready = std::mem::replace(&mut plugin.state, State::Ready) == State::Ready;
        self.settle_heard();
        if startup {
            self.tell(index, |buffer| {
                write::event(buffer, Hook::Startup.name(), None, &[], None);
            });
        }
        if !was_ready {
            self.put_the_waiting_questions(index, now);
        }
        named
    }

    /// Questions that waited for this plugin to say what it is.
    fn put_the_waiting_questions(&mut self, index: usize, now: Time) {
        for (ask, open) in self.asks.open_of(index) {
            if open.process.is_some() {
                continue;
            }
            let has = self.asks.hook(ask).is_some_and(|hook| self.has_hook(index, hook));
            if has {
                self.closed(ask, open);
                self.asks.take_open(ask, index);
                self.place(ask, index, open.tries, now);
            } else if open.tries == 0 {
                self.closed(ask, open);
                self.asks.excuse(ask, index);
            }
            // One that another process of it was asked waits for this one to want it as well.
        }
    }

    /// Asks all who judge whether this login may be, and as root; [`Plugins::take_verdict`] has
    /// the answer, at once or later. With `checked` there has to be somebody who judges. `write`
    /// writes a question, with its NUL, under the number given.
    pub(super) fn ask(
        &mut self,
        question: QuestionId,
        conn: ConnId,
        hooks: &[Hook],
        checked: bool,
        now: Time,
        write: impl Fn(AskId, Hook) -> Secret,
    ) {
        let unless_asked = |hook, answer| (!hooks.contains(&hook)).then_some(answer);
        let asked = Question {
            conn,
            root: unless_asked(Hook::IsRoot, Answer::No),
            login: unless_asked(Hook::IsAuthorized, Answer::Yes),
            asks: SmallVec::new(),
        };
        self.questions.insert(question, asked);
        for &hook in hooks {
            let ask = self.asks.open(question, hook, checked);
            if let Some(found) = self.questions.get_mut(&question) {
                found.asks.push(ask);
            }
            self.asks.write(ask, write(ask, hook));
            for index in 0..self.list.len() {
                self.place(ask, index, 0, now);
            }
            if checked && hook == Hook::IsAuthorized && !self.judges(hook) {
                self.unchecked
                    .has("no plugin has registered isAuthorized, and nothing else checks");
            }
            self.asks.settle(ask, false, false);
        }
    }

    /// Puts a question to a plugin, has it wait for it, or passes it over.
    fn place(&mut self, ask: AskId, index: usize, tries: u8, now: Time) {
        let Some(hook) = self.asks.hook(ask) else {
            return;
        };
        let Some(plugin) = self.list.get_mut(index) else {
            return;
        };
        let (deadline, process) = match plugin.stance(hook, now) {
            Stance::Pass => return,
            Stance::CanNot(why) => {
                self.has_trouble(index, why);
                return self.asks.can_not_ask(ask);
            }
            Stance::Wait(until) => (Some(until), None),
            Stance::Ask => {
                let until = now.plus_secs(plugin.timeout_s);
                ((!plugin.own).then_some(until), Some(plugin.process))
            }
        };
        if let (Some(_), Some(stanza)) = (process, self.asks.stanza(ask)) {
            plugin.lanes.push_question(ask, stanza);
            self.queued = true;
            plugin.asked += 1;
            if plugin.own && plugin.silent_at.is_none() {
                self.expect_an_answer(index, now);
            }
        }
        let tries = tries + u8::from(process.is_some());
        self.asks.add(ask, Open { plugin: index, deadline, process, tries });
        if let Some(deadline) = deadline {
            self.due.insert((deadline, Due::Answer { plugin: index, ask }));
        }
    }

    /// A question that was put to a process waits for the next one.
    fn wait(&mut self, ask: AskId, index: usize, open: Open, until: Time) {
        if open.deadline.is_none() {
            self.due.insert((until, Due::Answer { plugin: index, ask }));
        }
        if let Some(found) = self.asks.find_open(ask, index) {
            *found = Open { process: None, deadline: open.deadline.or(Some(until)), ..open };
        }
    }

    /// From now on the worker has its time to say something.
    fn expect_an_answer(&mut self, index: usize, now: Time) {
        let Some(plugin) = self.list.get_mut(index) else {
            return;
        };
        if let Some(time) = plugin.silent_at.take() {
            self.due.remove(&(time, Due::Silence(index)));
        }
        if plugin.own && plugin.asked > 0 {
            let time = now.plus_secs(WORKER_SILENCE_S);
            plugin.silent_at = Some(time);
            self.due.insert((time, Due::Silence(index)));
        }
    }

    /// A plugin need not answer this any more, or has: nothing is due for it.
    fn closed(&mut self, ask: AskId, open: Open) {
        let Open { plugin: index, deadline, process, .. } = open;
        if let Some(deadline) = deadline {
            self.due.remove(&(deadline, Due::Answer { plugin: index, ask }));
        }
        let Some(plugin) = self.list.get_mut(index) else {
            return;
        };
        if process == Some(plugin.process) && plugin.asked > 0 {
            plugin.lanes.take_back(ask);
            plugin.asked -= 1;
            if plugin.asked == 0
                && let Some(time) = plugin.silent_at.take()
            {
                self.due.remove(&(time, Due::Silence(index)));
            }
        }
    }

    /// A plugin answers, by its present process or by one that was retired; `why` is what it says
    /// when it could not find out.
    ///
    /// # Errors
    /// When it was never asked that.
    pub(super) fn answer(
        &mut self,
        index: usize,
        ask: AskId,
        answer: Answer,
        why: Option<&str>,
        now: Time,
    ) -> Result<(), Mistake> {
        if !self.asks.was_asked(ask, index) {
            return Err(Mistake::NotAsked(ask.0));
        }
        // What waits for its present process was answered by one that was given up.
        let open = self.asks.find_open(ask, index).filter(|open| open.process.is_some()).copied();
        if let Some(open) = open {
            self.closed(ask, open);
            self.asks.answer(ask, index, answer);
            if let Some(why) = why {
                self.has_trouble(index, why);
            }
        }
        if self.list.get(index).is_some_and(|plugin| plugin.silent_at.is_some()) {
            self.expect_an_answer(index, now);
        }
        Ok(())
    }

    /// The session of one of the hub's questions is over. It is not put to anybody any more; when
    /// all who have it have answered, or at once, there is a verdict all the same.
    pub(super) fn cancel(&mut self, question: QuestionId) {
        let asks = self.questions.get(&question).map(|found| found.asks.clone());
        for ask in asks.unwrap_or_default() {
            // What waits to be written is as good as not put.
            for plugin in 0..self.list.len() {
                let taken_back = self.list[plugin].lanes.take_back(ask);
                if taken_back && let Some(open) = self.asks.take_open(ask, plugin) {
                    self.closed(ask, open);
                }
            }
            for open in self.asks.cancel(ask) {
                self.closed(ask, open);
            }
            // Nobody is let in by what nobody was asked.
            self.asks.settle(ask, false, true);
        }
    }

    /// The next of the hub's questions that is decided: whose it was, its number and the answer.
    pub(super) fn take_verdict(&mut self) -> Option<(ConnId, QuestionId, Verdict)> {
        while let Some(decision) = self.asks.take_decision() {
            while let Some((ask, open)) = self.asks.take_excused() {
                self.closed(ask, open);
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
            // Whoever is root needs no other leave.
            for ask in asks.unwrap_or_default() {
                for (ask, open) in self.asks.forget(ask) {
                    self.closed(ask, open);
                }
            }
            return Some((conn, decision.question, verdict));
        }
        None
    }

    /// Whether a verdict may be there to be taken.
    pub(super) fn has_decisions(&self) -> bool {
        self.asks.has_decisions()
    }

    /// Queues an event for a plugin; `false` when it has too much waiting.
    pub(super) fn tell(&mut self, index: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let max = self.backlog_bytes_max;
        let Some(plugin) = self.running(index) else {
            return false;
        };
        plugin.tell_dropped(max);
        if plugin.dropped > 0 || !plugin.lanes.push_event(max, write) {
            plugin.dropped += 1;
            self.dropped += 1;
            return false;
        }
        self.queued = true;
        true
    }

    /// Queues what a plugin has asked for.
    pub(super) fn tell_answer(&mut self, index: usize, answer: Vec<u8>) {
        let max = self.backlog_bytes_max;
        let Some(plugin) = self.running(index) else {
            return;
        };
        if plugin.lanes.push_answer(answer, max) {
            self.queued = true;
        } else {
            plugin.dropped += 1;
            self.dropped += 1;
        }
    }

    /// A plugin of which a process runs.
    fn running(&mut self, index: usize) -> Option<&mut Plugin> {
        self.list.get_mut(index).filter(|found| !matches!(found.state, State::Down(_)))
    }

    /// Tells all who hear of this hook.
    pub(super) fn tell_all(&mut self, hook: Hook, write: impl Fn(&mut Vec<u8>)) {
        for index in 0..self.list.len() {
            if self.list[index].hooks.has(hook) {
                self.tell(index, &write);
            }
        }
    }

    /// Tells all who registered the name of a client's stanza.
    pub(super) fn tell_registered(&mut self, name: &str, write: impl Fn(&mut Vec<u8>)) {
        for index in 0..self.list.len() {
            if self.list[index].names.iter().any(|known| **known == *name) {
                self.tell(index, &write);
            }
        }
    }

    /// Whether something waits to be sent that nobody has tried to.
    pub(super) const fn is_queued(&self) -> bool {
        self.queued
    }

    /// What waits to be written to a plugin.
    pub(super) fn lanes(&mut self, index: usize) -> Option<&mut Lanes> {
        self.list.get_mut(index).map(|plugin| &mut plugin.lanes)
    }

    /// As much as goes has been written to all.
    pub(super) fn flushed(&mut self) {
        self.queued = false;
        let max = self.backlog_bytes_max;
        for plugin in &mut self.list {
            // A plugin that has read on is told what it missed, though nothing else happens.
            self.queued |= plugin.tell_dropped(max);
        }
    }

    /// Sets a timer of a plugin, or with `None` cancels it.
    ///
    /// # Errors
    /// When it has too many, or the name is too long.
    pub(super) fn set_timer(
        &mut self,
        index: usize,
        name: &str,
        at: Option<Time>,
    ) -> Result<(), Mistake> {
        let Some(plugin) = self.list.get_mut(index) else {
            return Ok(());
        };
        if name.len() > PLUGIN_NAME_BYTES_MAX {
            return Err(Mistake::LongName);
        }
        if let Some(place) = plugin.timers.iter().position(|(known, _)| **known == *name) {
            let (name, time) = plugin.timers.swap_remove(place);
            self.due.remove(&(time, Due::Timer { plugin: index, name }));
        }
        let Some(time) = at else {
            return Ok(());
        };
        if plugin.timers.len() == PLUGIN_TIMERS_MAX {
            return Err(Mistake::ManyTimers);
        }
        plugin.timers.push((name.into(), time));
        self.due.insert((time, Due::Timer { plugin: index, name: name.into() }));
        Ok(())
    }

    /// When something is due.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.due.first().map(|&(time, _)| time)
    }

    /// Does what has become due; gives the plugins that have not done something in time.
    pub(super) fn run_due(&mut self, now: Time) -> Vec<(usize, Fault)> {
        let mut faults = Vec::new();
        while self.due.first().is_some_and(|&(time, _)| time <= now)
            && let Some((time, due)) = self.due.pop_first()
        {
            match due {
                Due::Registration(index) => {
                    if let Some(plugin) = self.list.get_mut(index) {
                        plugin.state = State::Late;
                        faults.push((index, Fault::Late));
                    }
                    self.give_up_waiting(index, LATE);
                }
                Due::Answer { plugin, ask } => self.is_late(ask, plugin),
                Due::Silence(index) => {
                    if let Some(plugin) = self.list.get_mut(index) {
                        plugin.silent_at = None;
                        faults.push((index, Fault::Silent));
                    }
                }
                Due::Timer { plugin: index, name } => {
                    if let Some(plugin) = self.list.get_mut(index) {
                        plugin.timers.retain(|(known, at)| *known != name || *at != time);
                        self.tell(index, |buffer| write::timer(buffer, &name));
                    }
                }
            }
        }
        faults
    }

    /// A plugin has not answered in time, or was not there to be asked.
    fn is_late(&mut self, ask: AskId, index: usize) {
        let Some(open) = self.asks.take_open(ask, index) else {
            return;
        };
        let timeout_s = self.list.get(index).map_or(0, |plugin| plugin.timeout_s);
        self.closed(ask, open);
        if open.process.is_some() {
            self.has_trouble(index, &format!("it has not answered within {timeout_s} s"));
        } else {
            self.has_trouble(index, DOWN);
        }
        self.asks.settle(ask, false, true);
    }

    /// What waits for a plugin to be ready does so in vain.
    fn give_up_waiting(&mut self, index: usize, why: &str) {
        for (ask, open) in self.asks.open_of(index) {
            if open.process.is_none() {
                self.asks.take_open(ask, index);
                self.closed(ask, open);
                self.has_trouble(index, why);
                self.asks.settle(ask, false, true);
            }
        }
    }

    fn has_hook(&self, index: usize, hook: Hook) -> bool {
        self.list.get(index).is_some_and(|plugin| plugin.hooks.has(hook))
    }

    fn has_trouble(&mut self, index: usize, why: &str) {
        if let Some(plugin) = self.list.get_mut(index) {
            plugin.trouble.has(why);
        }
    }

    /// Why logins could not be decided on, how often, and by which plugin, if it was one: so
    /// seldom that the log can take it.
    pub(super) fn take_trouble(&mut self, now: Time) -> Option<(Option<&str>, Box<str>, u64)> {
        if let Some((why, count)) = self.unchecked.take(now) {
            return Some((None, why, count));
        }
        let mut of_plugins = self.list.iter_mut();
        let found = of_plugins.find_map(|plugin| Some((plugin.trouble.take(now)?, &*plugin.name)));
        found.map(|((why, count), name)| (Some(name), why, count))
    }

    /// Checks that every deadline has its reason and every reason its deadline.
    ///
    /// # Panics
    /// When one has not, which is a bug here.
    pub(super) fn check_invariants(&self) {
        let mut expected: BTreeSet<(Time, Due)> = BTreeSet::new();
        let mut asked = vec![0; self.list.len()];
        for (ask, open) in self.asks.open_ones() {
            let plugin = &self.list[open.plugin];
            asked[open.plugin] += usize::from(open.process == Some(plugin.process));
            let due = |time| (time, Due::Answer { plugin: open.plugin, ask });
            expected.extend(open.deadline.map(due));
        }
        for (index, plugin) in self.list.iter().enumerate() {
            if let State::Starting(until) = plugin.state {
                expected.insert((until, Due::Registration(index)));
            }
            let timer = |(name, time): &(Box<str>, Time)| {
                (*time, Due::Timer { plugin: index, name: name.clone() })
            };
            expected.extend(plugin.timers.iter().map(timer));
            expected.extend(plugin.silent_at.map(|time| (time, Due::Silence(index))));
            plugin.lanes.check_invariants(self.backlog_bytes_max);
            let present = !matches!(plugin.state, State::Down(_));
            let counted = if present { asked[index] } else { 0 };
            assert_eq!(plugin.asked, counted, "what {} is asked", plugin.name);
        }
        assert_eq!(self.due, expected, "deadlines of plugins");
        let asks: usize = self.questions.values().map(|question| question.asks.len()).sum();
        assert!(self.asks.len() <= asks, "asks without a question");
    }

    fn settle_heard(&mut self) {
        self.heard = HookSet::default();
        for plugin in &self.list {
            self.heard.add_all(plugin.hooks);
        }
        self.changed = true;
    }
}

/// What the answers about root's password and about the login come to; nothing while one is open.
/// A guess counts where somebody said no to it, whoever else could not be asked.
const fn verdict(root: Option<Answer>, login: Option<Answer>) -> Option<Verdict> {
    let (Some(root), Some(login)) = (root, login) else {
        return match root {
            Some(Answer::Yes) => Some(Verdict::Root),
            Some(Answer::No | Answer::Unknown { .. }) | None => None,
        };
    };
    let root_refused = matches!(root, Answer::No | Answer::Unknown { denied: true });
    Some(match (root, login) {
        (Answer::Yes, _) => Verdict::Root,
        (Answer::No, Answer::Yes) => Verdict::Allowed,
        (Answer::No, Answer::No) => Verdict::Refused,
        (Answer::Unknown { .. }, Answer::Yes) => {
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

/// Why a plugin can't be asked that has not registered in time.
const LATE: &str = "it has not registered anything yet";

/// Why a plugin can't be asked of which no process runs.
const DOWN: &str = "it does not run";

impl Plugin {
    /// Whether it has a say in this, as far as anybody can know.
    fn may_judge(&self, hook: Hook) -> bool {
        if !self.wanted {
            return false;
        }
        match self.state {
            State::Ready => self.hooks.has(hook),
            // What it would register, nobody knows.
            State::Starting(_) | State::Late => true,
            State::Down(_) => self.registered.is_none_or(|hooks| hooks.has(hook)),
        }
    }

    /// Whether, where no process of it runs, one does before whoever asks has waited too long.
    fn is_near(&self, now: Time) -> bool {
        match self.state {
            State::Down(next) => next.is_some_and(|next| next < now.plus_secs(self.timeout_s)),
            State::Starting(_) | State::Late | State::Ready => true,
        }
    }

    /// What becomes of a question to it.
    fn stance(&self, hook: Hook, now: Time) -> Stance {
        // Root's password is for the worker alone, whatever others would register.
        if hook == Hook::IsRoot && !self.own || !self.may_judge(hook) {
            return Stance::Pass;
        }
        match self.state {
            State::Ready => Stance::Ask,
            State::Starting(until) => Stance::Wait(until),
            State::Late => Stance::CanNot(LATE),
            State::Down(_) if self.is_near(now) => Stance::Wait(now.plus_secs(self.timeout_s)),
            State::Down(_) => Stance::CanNot(DOWN),
        }
    }

    /// Takes in names, as many as may be.
    fn add_names(&mut self, names: &[&str]) -> Result<(), Unregistered> {
        let mut named = Ok(());
        for &name in names {
            if name.len() > PLUGIN_NAME_BYTES_MAX {
                named = Err(Unregistered::LongName);
            } else if self.names.iter().any(|known| **known == *name) {
                // It has it.
            } else if self.names.len() == PLUGIN_NAMES_MAX {
                named = Err(Unregistered::ManyNames);
            } else {
                self.names.push(name.into());
            }
        }
        named
    }

    /// Tells it what it missed, when it has read half of what may wait; whether it was told.
    fn tell_dropped(&mut self, max: usize) -> bool {
        let told = self.dropped > 0 && self.lanes.event_bytes() <= max / 2;
        if told {
            let dropped = std::mem::take(&mut self.dropped);
            self.lanes.push_event(usize::MAX, |buffer| write::dropped(buffer, dropped));
        }
        told
    }
}

impl Trouble {
    fn has(&mut self, why: &str) {
        self.count += 1;
        if self.why.is_none() {
            self.why = Some(why.into());
        }
    }

    fn take(&mut self, now: Time) -> Option<(Box<str>, u64)> {
        if self.quiet_until > now {
            return None;
        }
        let why = self.why.take()?;
        self.quiet_until = now.plus_secs(COMPLAINT_TIME_S);
        Some((why, std::mem::take(&mut self.count)))
    }
}
