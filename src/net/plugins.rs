//! Plugins, as far as they can be known without their processes: who they are, what they want
//! to hear and are asked, what waits for them, and when something is due.
//!
//! A plugin is a program that speaks stanzas on its standard input and output; `running` has its
//! process. `hook` has what plugins can register for, `request` reads what they say, `asks`
//! has the questions that are open. Nothing here waits: whoever does not read loses what it
//! would have heard, and is told how much that was.

mod asks;
mod hook;
mod request;
mod running;

use std::collections::{BTreeMap, BTreeSet};

use self::asks::Asks;
pub(super) use self::hook::{Hook, HookSet};
pub(super) use self::request::{Request, To, What, Who};
pub(super) use self::running::Running;
use crate::config::Module;
use crate::hub::{ConnId, Time, Verdict};
use crate::wire::framer::FRAME_END;
use crate::wire::write::plugin as write;

/// Timers of one plugin.
const TIMERS_MAX: usize = 64;

/// How far a plugin has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No process of it runs.
    Down,
    /// It has not registered anything yet, and may do so until then.
    Starting(Time),
    /// It has not registered in time; it says no to everything.
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
    Answer { plugin: usize, ask: u64 },
    /// A timer of a plugin.
    Timer { plugin: usize, name: Box<str> },
}

/// One of them.
#[derive(Debug)]
struct Plugin {
    name: Box<str>,
    timeout_s: u64,
    state: State,
    hooks: HookSet,
    /// What it has registered at some time; `None` before it has. While it is away it says no
    /// to what it would have been asked.
    registered: Option<HookSet>,
    names: Vec<Box<str>>,
    /// What it is to be sent, each stanza with its NUL.
    queue: Vec<u8>,
    /// Bytes that wait in its outbox.
    backlog_bytes: usize,
    /// Stanzas that it was not sent since it was last told.
    dropped: u64,
    timers: Vec<(Box<str>, Time)>,
}

/// A login that is being decided on.
#[derive(Clone, Copy, Debug)]
struct Question {
    conn: ConnId,
    /// Whether the root password is right; `None` while that is open.
    root: Option<bool>,
    /// Whether the login may happen; `None` while that is open.
    login: Option<bool>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Plugins {
    list: Vec<Plugin>,
    asks: Asks,
    /// What the hub wants to know, under its own numbers.
    questions: BTreeMap<u64, Question>,
    due: BTreeSet<(Time, Due)>,
    /// What is heard by somebody.
    heard: HookSet,
    /// Somebody has something to be sent.
    queued: bool,
    /// What was registered has changed since the hub was last told.
    changed: bool,
    /// Stanzas that were not sent, in all.
    dropped: u64,
    /// Bytes that may wait for one of them.
    backlog_bytes_max: usize,
}

impl Plugins {
    /// Takes in those that are to run.
    pub(super) fn new(modules: &[Module], backlog_bytes_max: usize) -> Self {
        let plugin = |module: &Module| Plugin {
            name: module.name.as_str().into(),
            timeout_s: module.timeout_s,
            state: State::Down,
            hooks: HookSet::default(),
            registered: None,
            names: Vec::new(),
            queue: Vec::new(),
            backlog_bytes: 0,
            dropped: 0,
            timers: Vec::new(),
        };
        let list: Vec<Plugin> = modules.iter().map(plugin).collect();
        let changed = !list.is_empty();
        Self { list, changed, backlog_bytes_max, ..Self::default() }
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
        plugin.queue.clear();
        plugin.dropped = 0;
        plugin.backlog_bytes = 0;
        self.due.insert((until, Due::Registration(index)));
        self.changed = true;
        let name = plugin.name.clone();
        self.tell(index, |buffer| write::greeting(buffer, env!("CARGO_PKG_VERSION"), &name));
    }

    /// A plugin's process has ended: it hears nothing more, and says no to what it was asked.
    pub(super) fn ended(&mut self, index: usize) {
        let Some(plugin) = self.list.get_mut(index) else {
            return;
        };
        if let State::Starting(until) = plugin.state {
            self.due.remove(&(until, Due::Registration(index)));
        }
        for (name, time) in std::mem::take(&mut plugin.timers) {
            self.due.remove(&(time, Due::Timer { plugin: index, name }));
        }
        plugin.state = State::Down;
        plugin.hooks = HookSet::default();
        plugin.names.clear();
        plugin.queue = Vec::new();
        plugin.backlog_bytes = 0;
        self.settle_heard();
        for (ask, deadline) in self.asks.deny_all_of(index) {
            self.due.remove(&(deadline, Due::Answer { plugin: index, ask }));
        }
    }

    /// A plugin registers names and hooks.
    pub(super) fn register(
        &mut self,
        index: usize,
        names: impl IntoIterator<Item = String>,
        hooks: impl IntoIterator<Item = Hook>,
        now: Time,
    ) {
        let Some(plugin) = self.list.get_mut(index) else {
            return;
        };
        let mut wanted = HookSet::default();
        let mut startup = false;
        for hook in hooks {
            if plugin.hooks.add(hook) {
                wanted.add(hook);
                startup |= hook == Hook::Startup;
            }
        }
        plugin.registered.get_or_insert_default().add_all(wanted);
        for name in names {
            if !plugin.names.iter().any(|known| **known == *name) {
                plugin.names.push(name.into());
            }
        }
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
    }

    /// Questions that waited for this plugin to say what it is.
    fn put_the_waiting_questions(&mut self, index: usize, now: Time) {
        let Some(plugin) = self.list.get(index) else {
            return;
        };
        let (hooks, until) = (plugin.hooks, now.plus_secs(plugin.timeout_s));
        for (ask, hook, stanza, deadline) in self.asks.waiting_for(index) {
            self.due.remove(&(deadline, Due::Answer { plugin: index, ask }));
            if !hooks.has(hook) {
                self.asks.excuse(ask, index);
            } else if self.tell(index, |buffer| buffer.extend_from_slice(&stanza)) {
                self.asks.set_deadline(ask, index, until);
                self.due.insert((until, Due::Answer { plugin: index, ask }));
            } else {
                self.asks.answer(ask, index, false);
            }
        }
    }

    /// Asks all who judge whether this login may be, and as root; [`Plugins::take_verdict`] has
    /// the answer, at once or later. `write` writes a question under the number given.
    pub(super) fn ask(
        &mut self,
        question: u64,
        conn: ConnId,
        hooks: &[Hook],
        now: Time,
        write: impl Fn(&mut Vec<u8>, u64, Hook),
    ) {
        let open = |hook| if hooks.contains(&hook) { None } else { Some(hook != Hook::IsRoot) };
        let asked = Question { conn, root: open(Hook::IsRoot), login: open(Hook::IsAuthorized) };
        self.questions.insert(question, asked);
        for &hook in hooks {
            self.ask_one(question, hook, now, &write);
        }
    }

    fn ask_one(
        &mut self,
        question: u64,
        hook: Hook,
        now: Time,
        write: &impl Fn(&mut Vec<u8>, u64, Hook),
    ) {
        let ask = self.asks.open(question, hook);
        let mut stanza = Vec::new();
        write(&mut stanza, ask, hook);
        for index in 0..self.list.len() {
            let plugin = &self.list[index];
            let until = match plugin.state {
                State::Ready if plugin.hooks.has(hook) => now.plus_secs(plugin.timeout_s),
                State::Starting(until) => until,
                State::Ready => continue,
                // Whoever is not there says no, if it had a say.
                State::Down | State::Late => {
                    if plugin.may_judge(hook) {
                        self.asks.deny(ask);
                    }
                    continue;
                }
            };
            let waits = matches!(plugin.state, State::Starting(_));
            if waits || self.tell(index, |buffer| buffer.extend_from_slice(&stanza)) {
                self.asks.add(ask, index, until, waits.then(|| stanza.clone()));
                self.due.insert((until, Due::Answer { plugin: index, ask }));
            } else {
                self.asks.deny(ask);
            }
        }
        self.asks.close_if_settled(ask);
    }

    /// A plugin answers.
    ///
    /// # Errors
    /// When it was never asked that.
    pub(super) fn answer(&mut self, index: usize, ask: u64, allowed: bool) -> Result<(), String> {
        if !self.asks.was_asked(ask, index) {
            return Err(format!("nobody asked you ask='{ask}'"));
        }
        if let Some(deadline) = self.asks.answer(ask, index, allowed) {
            self.due.remove(&(deadline, Due::Answer { plugin: index, ask }));
        }
        Ok(())
    }

    /// The next of the hub's questions that is decided: whose it was, its number and the answer.
    pub(super) fn take_verdict(&mut self) -> Option<(ConnId, u64, Verdict)> {
        while let Some((decision, open)) = self.asks.take_decision() {
            for (plugin, deadline, ask) in open {
                self.due.remove(&(deadline, Due::Answer { plugin, ask }));
            }
            let Some(question) = self.questions.get_mut(&decision.question) else {
                continue;
            };
            if decision.hook == Hook::IsRoot {
                question.root = Some(decision.allowed);
            } else {
                question.login = Some(decision.allowed);
            }
            let verdict = match (question.root, question.login) {
                (Some(true), _) => Verdict::Root,
                (Some(false), Some(true)) => Verdict::Allowed,
                (Some(false), Some(false)) => Verdict::Refused,
                (None, _) | (Some(false), None) => continue,
            };
            let conn = question.conn;
            self.questions.remove(&decision.question);
            return Some((conn, decision.question, verdict));
        }
        None
    }

    /// Queues a stanza for a plugin; `false` when it has too much waiting.
    pub(super) fn tell(&mut self, index: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let max = self.backlog_bytes_max;
        let Some(plugin) = self.list.get_mut(index).filter(|found| found.state != State::Down)
        else {
            return false;
        };
        let before = plugin.queue.len();
        if plugin.dropped > 0 && plugin.backlog_bytes + before <= max / 2 {
            write::dropped(&mut plugin.queue, std::mem::take(&mut plugin.dropped));
            plugin.queue.push(FRAME_END);
        }
        let begin = plugin.queue.len();
        write(&mut plugin.queue);
        plugin.queue.push(FRAME_END);
        if plugin.dropped > 0 || plugin.backlog_bytes + plugin.queue.len() > max {
            plugin.queue.truncate(begin);
            plugin.dropped += 1;
            self.dropped += 1;
            return false;
        }
        self.queued = true;
        true
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

    /// Whether something waits to be sent.
    pub(super) const fn is_queued(&self) -> bool {
        self.queued
    }

    /// What a plugin is to be sent now; `take` gives how many bytes of it wait afterwards.
    pub(super) fn flush(&mut self, index: usize, take: impl FnOnce(&Vec<u8>) -> usize) {
        if let Some(plugin) = self.list.get_mut(index) {
            plugin.backlog_bytes = take(&plugin.queue);
            plugin.queue.clear();
            plugin.queue.shrink_to(QUEUE_KEPT_BYTES);
        }
    }

    /// All have been flushed.
    pub(super) const fn flushed(&mut self) {
        self.queued = false;
    }

    /// A plugin that has read on is told what it missed, though nothing else happens.
    pub(super) fn tell_dropped(&mut self, index: usize) {
        let max = self.backlog_bytes_max;
        if let Some(plugin) = self.list.get_mut(index)
            && plugin.dropped > 0
            && plugin.backlog_bytes + plugin.queue.len() <= max / 2
        {
            write::dropped(&mut plugin.queue, std::mem::take(&mut plugin.dropped));
            plugin.queue.push(FRAME_END);
            self.queued = true;
        }
    }

    /// Sets a timer of a plugin, or with `None` cancels it.
    ///
    /// # Errors
    /// When it has too many.
    pub(super) fn set_timer(
        &mut self,
        index: usize,
        name: &str,
        at: Option<Time>,
    ) -> Result<(), String> {
        let Some(plugin) = self.list.get_mut(index) else {
            return Ok(());
        };
        if let Some(place) = plugin.timers.iter().position(|(known, _)| **known == *name) {
            let (name, time) = plugin.timers.swap_remove(place);
            self.due.remove(&(time, Due::Timer { plugin: index, name }));
        }
        let Some(time) = at else {
            return Ok(());
        };
        if plugin.timers.len() == TIMERS_MAX {
            return Err(format!("too many timers (limit {TIMERS_MAX})"));
        }
        plugin.timers.push((name.into(), time));
        self.due.insert((time, Due::Timer { plugin: index, name: name.into() }));
        Ok(())
    }

    /// When something is due.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.due.first().map(|&(time, _)| time)
    }

    /// Does what has become due; gives the plugins that have not registered in time.
    pub(super) fn run_due(&mut self, now: Time) -> Vec<usize> {
        let mut late = Vec::new();
        while self.due.first().is_some_and(|&(time, _)| time <= now)
            && let Some((time, due)) = self.due.pop_first()
        {
            match due {
                Due::Registration(index) => {
                    if let Some(plugin) = self.list.get_mut(index) {
                        plugin.state = State::Late;
                        late.push(index);
                    }
                }
                Due::Answer { plugin, ask } => {
                    self.asks.answer(ask, plugin, false);
                }
                Due::Timer { plugin: index, name } => {
                    if let Some(plugin) = self.list.get_mut(index) {
                        plugin.timers.retain(|(known, at)| *known != name || *at != time);
                        self.tell(index, |buffer| write::timer(buffer, &name));
                    }
                }
            }
        }
        late
    }

    /// Checks that every deadline has its reason and every reason its deadline.
    ///
    /// # Panics
    /// When one has not, which is a bug here.
    pub(super) fn check_invariants(&self) {
        let mut expected: BTreeSet<(Time, Due)> = BTreeSet::new();
        for (index, plugin) in self.list.iter().enumerate() {
            if let State::Starting(until) = plugin.state {
                expected.insert((until, Due::Registration(index)));
            }
            let timer = |(name, time): &(Box<str>, Time)| {
                (*time, Due::Timer { plugin: index, name: name.clone() })
            };
            expected.extend(plugin.timers.iter().map(timer));
            let waiting = plugin.backlog_bytes + plugin.queue.len();
            assert!(waiting <= self.backlog_bytes_max, "{waiting} bytes wait for {}", plugin.name);
        }
        for (plugin, deadline, ask) in self.asks.open_ones() {
            expected.insert((deadline, Due::Answer { plugin, ask }));
        }
        assert_eq!(self.due, expected, "deadlines of plugins");
    }

    fn settle_heard(&mut self) {
        self.heard = HookSet::default();
        for plugin in &self.list {
            self.heard.add_all(plugin.hooks);
        }
        self.changed = true;
    }
}

/// Memory of a queue that is kept for the next turn.
const QUEUE_KEPT_BYTES: usize = 4_096;

impl Plugin {
    /// Whether it has a say in this, as far as anybody can know.
    fn may_judge(&self, hook: Hook) -> bool {
        match self.state {
            State::Ready => self.hooks.has(hook),
            // What it would register, nobody knows.
            State::Starting(_) | State::Late => true,
            State::Down => self.registered.is_none_or(|hooks| hooks.has(hook)),
        }
    }
}
