//! All that the server keeps of its plugins: each one's process and life, what it has registered,
//! is asked and still has to be told, and when something is due.
//!
//! A plugin is a program that speaks stanzas on its standard input and output. `plugin` is one of
//! them with its life, `child` one process with its pipes, `lanes` what waits to be written to it.
//! [`hook`] has what plugins can register for, [`verb`] what they can say, `mistake` what may be
//! wrong with that. `asking` puts questions about logins to them, `asks` has those that are open.
//! What plugins say is done in `super::server`, what they hear is told by `super::desk`.
//!
//! Nothing here waits: a plugin that does not read loses the events that it would have heard, and
//! is told how many they were.

mod asking;
mod asks;
mod child;
pub mod hook;
mod lanes;
mod mistake;
mod plugin;
pub mod verb;

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

pub(super) use self::asking::Decided;
use self::asking::{LoginQuestion, Pending};
pub(super) use self::asks::{Answer, AskId};
use self::asks::{Asks, OpenAsk};
pub(super) use self::child::Child;
pub(super) use self::hook::{Hook, HookSet};
pub(super) use self::mistake::{Mistake, Unregistered};
use self::plugin::{DOWN, LATE, PluginTrouble, Registration};
pub(super) use self::plugin::{Life, NextStart, Plugin};
pub(super) use self::verb::{PluginAction, Said, VerdictSaid};
use super::world::{ProcessKey, World};
use crate::config::Module;
use crate::hub::{QuestionId, Time, Watch};
use crate::limits::{
    LOGINS_ASKED_MAX, PLUGIN_ASKS_MAX, PLUGIN_NAME_BYTES_MAX, PLUGIN_TIMERS_MAX,
    WORKER_RETIRE_TIME_S, WORKER_STATE_BYTES_MAX,
};
use crate::secret::Secret;
use crate::wire::write::plugin as write;

/// A plugin, by its place among all of them; none is ever taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PluginId(usize);

impl PluginId {
    pub(super) const fn index(self) -> usize {
        self.0
    }
}

/// A process: its plugin, and its number among the plugin's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessId {
    pub(super) plugin: PluginId,
    number: u64,
}

/// Something that is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A plugin has had its time to register.
    Registration(PluginId),
    /// A plugin has had its time to answer.
    Answer { plugin: PluginId, ask: AskId },
    /// The worker has been asked something and has answered nothing for too long.
    Silence(PluginId),
    /// A timer of a plugin.
    Timer { plugin: PluginId, name: Box<str> },
}

/// What a plugin has not done in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It has not registered.
    Late,
    /// It is asked and says nothing.
    Silent,
}

/// What a plugin registers.
#[derive(Debug)]
pub(super) struct Registering<'s> {
    /// Stanzas of clients that it is to be told of.
    pub(super) names: Vec<&'s str>,
    pub(super) hooks: Vec<Hook>,
    /// The room that it is asked about by these hooks, where they ask before something is done;
    /// without one all.
    pub(super) room: Option<&'s str>,
    /// The stanzas that it is asked about by them; without any all.
    pub(super) stanzas: Vec<&'s str>,
}

/// Why plugins could not decide on something.
#[derive(Debug)]
pub(super) struct Trouble<'a> {
    /// The plugin that had to, if it was one.
    pub(super) plugin: Option<&'a str>,
    /// What it is about, in words.
    pub(super) subject: &'static str,
    pub(super) why: Box<str>,
    /// How often that was so.
    pub(super) count: u64,
}

/// All plugins.
#[derive(Debug, Default)]
pub(super) struct Plugins {
    list: Vec<Plugin>,
    asks: Asks,
    /// What the hub wants to know.
    questions: BTreeMap<QuestionId, LoginQuestion>,
    /// What else it wants to know: whether something may be done.
    pending: BTreeMap<QuestionId, Pending>,
    due: BTreeSet<(Time, Due)>,
    /// The hooks that are registered, by any plugin.
    heard: HookSet,
    /// Something waits to be written to a plugin that was not tried yet.
    queued: bool,
    /// What was registered has changed since the hub was last told.
    changed: bool,
    /// Stanzas that were not sent, in all.
    dropped: u64,
    /// Bytes of events that may wait for a plugin, and of answers.
    backlog_bytes_max: usize,
    /// Logins could not be decided on because no plugin does.
    unchecked: PluginTrouble,
}

impl Plugins {
    /// The plugins that are to run, to be started at once.
    pub(super) fn new(modules: Vec<Module>, backlog_bytes_max: usize, now: Time) -> Self {
        let list: Vec<Plugin> =
            modules.into_iter().map(|module| Plugin::new(module, now)).collect();
        let changed = !list.is_empty();
        Self { list, changed, backlog_bytes_max, ..Self::default() }
    }

    // Which plugins and processes there are.

    /// How many plugins there are.
    pub(super) const fn len(&self) -> usize {
        self.list.len()
    }

    /// All plugins.
    pub(super) fn ids(&self) -> impl Iterator<Item = PluginId> + use<> {
        (0..self.list.len()).map(PluginId)
    }

    /// A plugin; there is one for each id.
    pub(super) fn plugin(&self, id: PluginId) -> &Plugin {
        &self.list[id.index()]
    }

    /// The process that writes the store, if there is a store.
    pub(super) fn store(&self) -> Option<PluginId> {
        self.ids().find(|&id| self.plugin(id).module.is_store())
    }

    /// What a plugin is called.
    pub(super) fn name(&self, id: PluginId) -> &str {
        &self.plugin(id).module.name
    }

    /// The processes of a plugin, the present one first.
    pub(super) fn processes_of(&mut self, id: PluginId) -> SmallVec<[ProcessId; 2]> {
        let children = self.list[id.index()].children();
        children.map(|child| ProcessId { plugin: id, number: child.number }).collect()
    }

    /// A process, while it is not over.
    pub(super) fn child(&mut self, process: ProcessId) -> Option<&mut Child> {
        let mut children = self.list[process.plugin.index()].children();
        children.find(|child| child.number == process.number)
    }

    /// Whether another process has taken the place of this one.
    pub(super) fn is_retired(&self, process: ProcessId) -> bool {
        let retired = &self.plugin(process.plugin).retired;
        retired.iter().any(|retired| retired.child.number == process.number)
    }

    /// Marks the processes under the index of a plugin: something may be read or written.
    pub(super) fn mark_ready(&mut self, index: usize) {
        let found = self.list.get_mut(index);
        found.into_iter().flat_map(Plugin::children).for_each(Child::mark_ready);
    }

    /// Finds out which processes have ended.
    pub(super) fn look_for_ended_processes(&mut self, world: &mut impl World) {
        let children = self.list.iter_mut().flat_map(Plugin::children);
        children.for_each(|child| child.look_for_end(world));
    }

    /// Whether a process of any plugin is not over.
    pub(super) fn has_processes(&self) -> bool {
        let has =
            |plugin: &Plugin| matches!(plugin.life, Life::Up(_)) || !plugin.retired.is_empty();
        self.list.iter().any(has)
    }

    // The lives of plugins.

    /// Sets what the server's own worker is, or that there is none. It is started where it did not
    /// run, and with `anew` in any case, because it has to read its settings again; what the old
    /// process was asked is answered by that.
    pub(super) fn set_worker(&mut self, worker: Option<Module>, anew: bool, now: Time) {
        let found = self.ids().find(|&id| self.plugin(id).is_worker());
        match (found, worker) {
            (None, None) => return,
            (None, Some(module)) => self.list.push(Plugin::new(module, now)),
            (Some(id), Some(module)) => {
                let plugin = &mut self.list[id.index()];
                plugin.module = module;
                let was_wanted = std::mem::replace(&mut plugin.wanted, true);
                // What kept it from running may be mended: it does not wait any longer.
                let is_down = !matches!(plugin.life, Life::Up(_));
                if anew || !was_wanted || is_down {
                    self.start_anew(id, now);
                }
            }
            (Some(id), None) => {
                self.start_anew(id, now);
                let plugin = &mut self.list[id.index()];
                plugin.wanted = false;
                if plugin.start_at().is_some() {
                    plugin.life = Life::GivenUp;
                }
                self.give_up_waiting(id, DOWN);
            }
        }
        self.changed = true;
    }

    /// Has another process take the place of a plugin's present one. The old one has its time to
    /// answer what it was asked; what was not written to it yet waits for the new one.
    fn start_anew(&mut self, id: PluginId, now: Time) {
        let plugin = &mut self.list[id.index()];
        let until = plugin.timeout(now);
        match &mut plugin.life {
            Life::Up(up) if up.child.is_ending() => {
                up.restart_at_once = true;
                return;
            }
            Life::Waiting { .. } | Life::GivenUp | Life::Up(_) => {}
        }
        let Some(mut child) = self.leave(id, Life::Waiting { start_at: now }) else {
            return;
        };
        for (ask, open) in self.asks.open_of(id) {
            if open.process == Some(child.number) && child.lanes.take_back(ask) {
                self.wait(ask, OpenAsk { tries: open.tries - 1, ..open }, until);
            }
        }
        self.list[id.index()].retire(child, now.plus_secs(WORKER_RETIRE_TIME_S), now);
    }

    /// Whether a process of this plugin is to be started now.
    pub(super) fn is_to_start(&self, id: PluginId, now: Time) -> bool {
        self.plugin(id).start_at().is_some_and(|time| time <= now)
    }

    /// A process of a plugin runs: it is greeted, and has its time to register.
    pub(super) fn started(&mut self, id: PluginId, process: ProcessKey, now: Time) {
        let plugin = &mut self.list[id.index()];
        let until = plugin.timeout(now);
        plugin.begin(process, until, now);
        let (name, kept) = (plugin.module.name.clone(), plugin.kept.clone());
        self.due.insert((until, Due::Registration(id)));
        self.changed = true;
        let version = env!("CARGO_PKG_VERSION");
        self.tell(id, |buffer| write::greeting(buffer, version, &name, kept.as_deref()));
    }

    /// The present process of a plugin is over, or could not be started; tells when the next one
    /// is. It is put what the old one was asked, if it is there soon.
    pub(super) fn ended(&mut self, id: PluginId, now: Time, stopping: bool) -> NextStart {
        let (next, restart) = self.list[id.index()].plan_restart(now, stopping);
        if let Some(child) = self.leave(id, next) {
            self.put_again(id, child.number, now);
        }
        self.give_up_if_far(id, now);
        restart
    }

    /// A process is over that another one had taken the place of; whether it was dismissed.
    pub(super) fn retired_ended(&mut self, process: ProcessId, now: Time) -> bool {
        let retired = &mut self.list[process.plugin.index()].retired;
        let found = retired.iter().position(|retired| retired.child.number == process.number);
        let dismissed = found.is_some_and(|place| retired.remove(place).dismissed);
        self.put_again(process.plugin, process.number, now);
        dismissed
    }

    /// Ends the input of a process that another one has taken the place of, when it has answered
    /// all that it was asked.
    pub(super) fn dismiss_if_done(
        &mut self,
        world: &mut impl World,
        process: ProcessId,
        now: Time,
    ) {
        let ProcessId { plugin: id, number } = process;
        let asked = self.asks.is_asked(id, number);
        let mut retired = self.list[id.index()].retired.iter_mut();
        if let Some(found) = retired.find(|retired| retired.child.number == number)
            && !found.dismissed
            && !asked
            && found.child.lanes.is_empty()
        {
            found.dismissed = true;
            found.child.dismiss(world, now);
        }
    }

    /// Whether a plugin is started again because its settings have changed, not because it failed.
    pub(super) fn restarts_at_once(&self, id: PluginId) -> bool {
        matches!(&self.plugin(id).life, Life::Up(up) if up.restart_at_once)
    }

    /// The server stops: each plugin is told, its input is ended when it has been told everything,
    /// and its processes are ended at the deadline.
    pub(super) fn stop(&mut self, deadline: Time) {
        self.tell_all(Hook::Shutdown, |buffer| {
            write::event(buffer, Hook::Shutdown.name(), None, &[], None);
        });
        for plugin in &mut self.list {
            if plugin.start_at().is_some() {
                plugin.life = Life::GivenUp;
            }
            plugin.children().for_each(|child| child.begin_farewell(deadline));
        }
    }

    /// Ends the inputs of the processes that have been told everything when the server stops.
    pub(super) fn end_farewells(&mut self, world: &mut impl World) {
        let children = self.list.iter_mut().flat_map(Plugin::children);
        children.for_each(|child| child.end_farewell(world));
    }

    /// The present process of a plugin is not its present one any more; gives it.
    fn leave(&mut self, id: PluginId, next: Life) -> Option<Child> {
        let up = *self.list[id.index()].leave(next)?;
        if let Registration::Registering { until } = up.registration {
            self.due.remove(&(until, Due::Registration(id)));
        }
        for (name, time) in up.timers {
            self.due.remove(&(time, Due::Timer { plugin: id, name }));
        }
        if let Some(time) = up.silent_at {
            self.due.remove(&(time, Due::Silence(id)));
        }
        self.settle_heard();
        Some(up.child)
    }

    // What plugins register and keep.

    /// A plugin registers names and hooks.
    ///
    /// # Errors
    /// When it has too many names, or too long ones; the others and the hooks count.
    pub(super) fn register(
        &mut self,
        id: PluginId,
        wanted: &Registering<'_>,
        now: Time,
    ) -> Result<(), Unregistered> {
        let Registering { names, hooks, room, stanzas } = wanted;
        let plugin = &mut self.list[id.index()];
        let Some(up) = plugin.up() else {
            return Ok(());
        };
        let was_serving = matches!(up.registration, Registration::Serving { .. });
        if let Registration::Registering { until } = up.registration {
            self.due.remove(&(until, Due::Registration(id)));
        }
        let (new, named) = up.register(hooks, names);
        plugin.registered.get_or_insert_default().add_all(new);
        let mut watched = Ok(());
        for &hook in hooks {
            watched = watched.and(plugin.watches.add(hook, new.has(hook), *room, stanzas));
        }
        self.settle_heard();
        if new.has(Hook::Startup) {
            self.tell(id, |buffer| {
                write::event(buffer, Hook::Startup.name(), None, &[], None);
            });
        }
        if !was_serving || new != HookSet::default() {
            self.put_the_waiting_questions(id, now);
        }
        named.and(watched)
    }

    /// Keeps what the next process of the server's own worker is to be told: what a worker knows
    /// goes with it when it is killed.
    ///
    /// # Errors
    /// When it is another plugin's, or too long.
    pub(super) fn keep(&mut self, id: PluginId, state: &str) -> Result<(), Mistake> {
        let plugin = &mut self.list[id.index()];
        if !plugin.is_worker() {
            return Err(Mistake::NotTheWorker);
        }
        if state.len() > WORKER_STATE_BYTES_MAX {
            return Err(Mistake::LongState);
        }
        plugin.kept = Some(state.into());
        Ok(())
    }

    /// Sets a timer of a plugin, or with `None` cancels it.
    ///
    /// # Errors
    /// When it has too many, or the name is too long.
    pub(super) fn set_timer(
        &mut self,
        id: PluginId,
        name: &str,
        at: Option<Time>,
    ) -> Result<(), Mistake> {
        let Some(up) = self.list[id.index()].up() else {
            return Ok(());
        };
        if name.len() > PLUGIN_NAME_BYTES_MAX {
            return Err(Mistake::LongName);
        }
        if let Some(place) = up.timers.iter().position(|(known, _)| **known == *name) {
            let (name, time) = up.timers.swap_remove(place);
            self.due.remove(&(time, Due::Timer { plugin: id, name }));
        }
        let Some(time) = at else {
            return Ok(());
        };
        if up.timers.len() == PLUGIN_TIMERS_MAX {
            return Err(Mistake::ManyTimers);
        }
        up.timers.push((name.into(), time));
        self.due.insert((time, Due::Timer { plugin: id, name: name.into() }));
        Ok(())
    }

    /// Whether any plugin hears of this.
    pub(super) const fn hears(&self, hook: Hook) -> bool {
        self.heard.has(hook)
    }

    /// Whether any plugin is asked this, as far as the server can know.
    pub(super) fn judges(&self, hook: Hook) -> bool {
        self.list.iter().any(|plugin| plugin.may_judge(hook))
    }

    /// Of what plugins are asked by this hook, as far as anybody can know.
    pub(super) fn watches(&self, hook: Hook) -> Vec<Watch> {
        let judges = self.list.iter().filter(|plugin| plugin.may_judge(hook));
        judges.filter_map(|plugin| plugin.watches.of(hook).cloned()).collect()
    }

    /// Every name that is registered.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let names = self.list.iter().flat_map(Plugin::names);
        names.map(|name| String::from(&**name)).collect()
    }

    /// Whether what the hub has to know of plugins has changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn settle_heard(&mut self) {
        self.heard = HookSet::default();
        for plugin in &self.list {
            self.heard.add_all(plugin.hooks());
        }
        self.changed = true;
    }

    // What plugins are told.

    /// Queues an event for a plugin; `false` when too much waits for it already.
    pub(super) fn tell(&mut self, id: PluginId, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let max = self.backlog_bytes_max;
        let Some(up) = self.list[id.index()].up() else {
            return false;
        };
        up.tell_dropped(max);
        if up.dropped > 0 || !up.child.lanes.push_event(max, write) {
            up.dropped += 1;
            self.dropped += 1;
            return false;
        }
        self.queued = true;
        true
    }

    /// Queues a batch for the process that writes the store, which has at most one, or those of
    /// the end; `false` where it does not run.
    pub(super) fn tell_store(&mut self, id: PluginId, batch: Secret) -> bool {
        let up = self.list[id.index()].up();
        let told = up.map(|up| up.child.lanes.push_input(batch)).is_some();
        self.queued |= told;
        told
    }

    /// Queues what a plugin has asked for.
    pub(super) fn tell_answer(&mut self, id: PluginId, answer: Vec<u8>) {
        let max = self.backlog_bytes_max;
        let Some(up) = self.list[id.index()].up() else {
            return;
        };
        if up.child.lanes.push_answer(answer, max) {
            self.queued = true;
        } else {
            up.dropped += 1;
            self.dropped += 1;
        }
    }

    /// Tells all plugins that hear of this hook.
    pub(super) fn tell_all(&mut self, hook: Hook, write: impl Fn(&mut Vec<u8>)) {
        for id in self.ids() {
            if self.plugin(id).hooks().has(hook) {
                self.tell(id, &write);
            }
        }
    }

    /// Tells all plugins that have registered the name of a client's stanza.
    pub(super) fn tell_registered(&mut self, name: &str, write: impl Fn(&mut Vec<u8>)) {
        for id in self.ids() {
            if self.plugin(id).names().iter().any(|known| **known == *name) {
                self.tell(id, &write);
            }
        }
    }

    /// Writes to each process what it takes of what waits for it.
    pub(super) fn flush(&mut self, world: &mut impl World) {
        self.queued = false;
        let max = self.backlog_bytes_max;
        for plugin in &mut self.list {
            plugin.children().for_each(|child| child.flush(world));
            // A plugin that has read on is told what it missed, though nothing else happens.
            self.queued |= plugin.up().is_some_and(|up| up.tell_dropped(max));
        }
    }

    /// Stanzas that were not sent because their plugin did not read.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    // What is due.

    /// When something is due; at once when there is something to do.
    pub(super) fn next_due(&self, now: Time) -> Option<Time> {
        let mut next = self.due.first().map(|&(time, _)| time);
        let mut work = self.queued || self.has_decisions();
        for plugin in &self.list {
            next = [next, plugin.start_at()].into_iter().flatten().min();
            for child in plugin.processes() {
                work |= child.has_work(now);
                next = [next, child.next_due()].into_iter().flatten().min();
            }
        }
        if work { Some(now) } else { next }
    }

    /// Does what has become due; gives the plugins that have not done something in time.
    pub(super) fn run_due(&mut self, now: Time) -> Vec<(PluginId, Overdue)> {
        let mut faults = Vec::new();
        while self.due.first().is_some_and(|&(time, _)| time <= now)
            && let Some((time, due)) = self.due.pop_first()
        {
            match due {
                Due::Registration(id) => {
                    if let Some(up) = self.list[id.index()].up() {
                        up.registration = Registration::Late;
                        faults.push((id, Overdue::Late));
                    }
                    self.give_up_waiting(id, LATE);
                }
                Due::Answer { plugin, ask } => self.is_late(ask, plugin),
                Due::Silence(id) => {
                    if let Some(up) = self.list[id.index()].up() {
                        up.silent_at = None;
                        up.child.end_by(now);
                        faults.push((id, Overdue::Silent));
                    }
                }
                Due::Timer { plugin: id, name } => {
                    if let Some(up) = self.list[id.index()].up() {
                        up.timers.retain(|(known, at)| *known != name || *at != time);
                        self.tell(id, |buffer| write::timer(buffer, &name));
                    }
                }
            }
        }
        faults
    }

    /// What could not be decided on: so seldom that the log can take it.
    pub(super) fn take_trouble(&mut self, now: Time) -> Option<Trouble<'_>> {
        if let Some((subject, why, count)) = self.unchecked.take(now) {
            return Some(Trouble { plugin: None, subject, why, count });
        }
        self.list.iter_mut().find_map(|plugin| {
            let (subject, why, count) = plugin.trouble.take(now)?;
            Some(Trouble { plugin: Some(&*plugin.module.name), subject, why, count })
        })
    }

    /// Checks that every deadline has its reason and every reason its deadline, and that no plugin
    /// holds more than it may.
    ///
    /// # Panics
    /// When that is not so, which is a bug here.
    pub(super) fn check_invariants(&self) {
        let mut expected: BTreeSet<(Time, Due)> = BTreeSet::new();
        let mut asked = vec![0; self.list.len()];
        for (ask, open) in self.asks.open_ones() {
            let plugin = self.plugin(open.plugin);
            asked[open.plugin.index()] += usize::from(open.process == Some(plugin.processes));
            let due = |time| (time, Due::Answer { plugin: open.plugin, ask });
            expected.extend(open.deadline.map(due));
        }
        for id in self.ids() {
            let plugin = self.plugin(id);
            assert!(self.asks.count_of(id) <= PLUGIN_ASKS_MAX, "too much is asked");
            let Life::Up(up) = &plugin.life else {
                continue;
            };
            if let Registration::Registering { until } = up.registration {
                expected.insert((until, Due::Registration(id)));
            }
            let timer = |(name, time): &(Box<str>, Time)| {
                (*time, Due::Timer { plugin: id, name: name.clone() })
            };
            expected.extend(up.timers.iter().map(timer));
            expected.extend(up.silent_at.map(|time| (time, Due::Silence(id))));
            up.child.lanes.check_invariants(self.backlog_bytes_max);
            assert_eq!(up.asked, asked[id.index()], "what {} is asked", plugin.module.name);
        }
        assert_eq!(self.due, expected, "deadlines of plugins");
        self.asks.check_invariants();
        let asks: usize = self.questions.values().map(|question| question.asks.len()).sum();
        assert!(self.asks.len() <= asks + self.pending.len(), "asks without a question");
        assert!(self.pending.len() <= LOGINS_ASKED_MAX, "too much needs a permission");
        assert!(self.questions.len() <= LOGINS_ASKED_MAX, "too many questions of the hub's");
    }
}
