//! One plugin: what it is, how far its life has come, and the question to it that follows from
//! that.

use std::collections::BTreeSet;

use super::child::{Child, LineBudget};
use super::hook::{Hook, HookSet};
use super::mistake::Unregistered;
use crate::config::Module;
use crate::hub::{Time, Watch};
use crate::limits::{
    COMPLAINT_TIME_S, PLUGIN_NAME_BYTES_MAX, PLUGIN_NAMES_MAX, PLUGIN_RESTART_WAIT_S_MAX,
    WORKERS_RETIRED_MAX,
};
use crate::net::world::ProcessKey;
use crate::wire::write::plugin as write;

/// The first wait before a plugin is started again.
const RESTART_WAIT_S: u64 = 1;

/// A plugin whose process has run for so long is started again after the first wait.
const STEADY_S: u64 = 60;

/// Why a plugin can't be asked that has not registered in time what it would be asked.
pub(super) const LATE: &str = "it has not registered yet that it is to be asked";

/// Why a plugin can't be asked of which no process runs.
pub(super) const DOWN: &str = "it does not run";

/// A plugin.
#[derive(Debug)]
pub(in crate::net) struct Plugin {
    /// What the configuration says of it.
    pub(in crate::net) module: Module,
    /// Whether it is to run. One that is not has no say.
    pub(super) wanted: bool,
    pub(in crate::net) life: Life,
    /// Counts its processes; the present one has the last number.
    pub(super) processes: u64,
    /// Processes that another one has taken the place of, the oldest first.
    pub(super) retired: Vec<Retired>,
    /// What it has registered at some time; `None` before it has. While it is away it can't be
    /// asked what it would register.
    pub(super) registered: Option<HookSet>,
    /// Of what it is asked before it is done; as its present process has said, or the last one that
    /// has said something of it.
    pub(super) watches: Watches,
    /// What its next process is told.
    pub(super) kept: Option<Box<str>>,
    /// What the log still takes of its lines, for its next process.
    lines: LineBudget,
    /// Seconds before it is started again.
    restart_wait_s: u64,
    pub(super) trouble: PluginTrouble,
}

/// How far a plugin has come.
#[derive(Debug)]
pub(in crate::net) enum Life {
    /// No process of it runs yet, or any more: one is started then.
    Waiting { start_at: Time },
    /// No process of it runs, and none is started.
    GivenUp,
    /// A process of it runs, or is not over yet.
    Up(Box<Up>),
}

/// The present process of a plugin, and what goes with it.
#[derive(Debug)]
pub(in crate::net) struct Up {
    pub(in crate::net) child: Child,
    pub(super) registration: Registration,
    pub(super) timers: Vec<(Box<str>, Time)>,
    /// Questions that the process has and has not answered.
    pub(super) asked: usize,
    /// When the worker has been silent for too long, while it has such questions.
    pub(super) silent_at: Option<Time>,
    /// Stanzas that the plugin was not sent since it was last told.
    pub(super) dropped: u64,
    started_at: Time,
    /// The plugin is started again without a wait, because its settings have changed.
    pub(super) restart_at_once: bool,
}

/// What a process has said of what it wants.
#[derive(Debug)]
pub(super) enum Registration {
    /// Nothing, and it has its time until then.
    Registering { until: Time },
    /// Nothing within its time: the plugin can't be asked.
    Late,
    /// It has registered.
    Serving { hooks: HookSet, names: Vec<Box<str>> },
}

/// A process that has its time to answer what it was asked, after another one has taken its place.
#[derive(Debug)]
pub(in crate::net) struct Retired {
    pub(in crate::net) child: Child,
    /// Its input is ended: it has answered all that it was asked.
    pub(in crate::net) dismissed: bool,
}

/// When a plugin is started again whose process is over, or could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum NextStart {
    /// In the next turn.
    AtOnce,
    /// After so many seconds.
    AfterS(u64),
    /// Not at all, as its section in the configuration says.
    Never,
    /// Not at all: the server stops, or the plugin is not wanted any more.
    Unwanted,
}

/// What becomes of a question to one plugin.
pub(super) enum Stance {
    /// It is put to the plugin.
    Ask,
    /// It waits for the plugin to be ready, until then.
    Wait(Time),
    /// The plugin has no say.
    Pass,
    /// The plugin can't be asked, for this reason.
    CanNot(&'static str),
}

impl Plugin {
    pub(super) fn new(module: Module, now: Time) -> Self {
        Self {
            module,
            wanted: true,
            life: Life::Waiting { start_at: now },
            processes: 0,
            retired: Vec::new(),
            registered: None,
            watches: Watches::default(),
            kept: None,
            lines: LineBudget::default(),
            restart_wait_s: 0,
            trouble: PluginTrouble::default(),
        }
    }

    /// Whether it is the server's own worker: it alone is told root's password, and a login waits
    /// for it as long as the login itself may take, not until a time of the plugin's.
    pub(super) fn is_worker(&self) -> bool {
        self.module.is_worker()
    }

    /// What goes with its present process.
    pub(super) fn up(&mut self) -> Option<&mut Up> {
        match &mut self.life {
            Life::Up(up) => Some(up),
            Life::Waiting { .. } | Life::GivenUp => None,
        }
    }

    /// The hooks that its present process has registered.
    pub(super) fn hooks(&self) -> HookSet {
        match self.registration() {
            Some(Registration::Serving { hooks, .. }) => *hooks,
            Some(Registration::Registering { .. } | Registration::Late) | None => {
                HookSet::default()
            }
        }
    }

    /// The names that its present process has registered.
    pub(super) fn names(&self) -> &[Box<str>] {
        match self.registration() {
            Some(Registration::Serving { names, .. }) => names,
            Some(Registration::Registering { .. } | Registration::Late) | None => &[],
        }
    }

    fn registration(&self) -> Option<&Registration> {
        match &self.life {
            Life::Up(up) => Some(&up.registration),
            Life::Waiting { .. } | Life::GivenUp => None,
        }
    }

    /// Its processes, the present one first.
    pub(super) fn processes(&self) -> impl Iterator<Item = &Child> {
        let present = match &self.life {
            Life::Up(up) => Some(&up.child),
            Life::Waiting { .. } | Life::GivenUp => None,
        };
        present.into_iter().chain(self.retired.iter().map(|retired| &retired.child))
    }

    /// The same, to be changed.
    pub(super) fn children(&mut self) -> impl Iterator<Item = &mut Child> {
        let present = match &mut self.life {
            Life::Up(up) => Some(&mut up.child),
            Life::Waiting { .. } | Life::GivenUp => None,
        };
        present.into_iter().chain(self.retired.iter_mut().map(|retired| &mut retired.child))
    }

    /// When the next process is started.
    pub(super) const fn start_at(&self) -> Option<Time> {
        match self.life {
            Life::Waiting { start_at } => Some(start_at),
            Life::GivenUp | Life::Up(_) => None,
        }
    }

    /// A process of it runs from now on.
    pub(super) fn begin(&mut self, process: ProcessKey, until: Time, now: Time) {
        self.processes += 1;
        let mut child = Child::new(self.processes, process, std::mem::take(&mut self.lines));
        child.lanes.begin_with(self.module.input.clone());
        self.life = Life::Up(Box::new(Up {
            child,
            registration: Registration::Registering { until },
            timers: Vec::new(),
            asked: 0,
            silent_at: None,
            dropped: 0,
            started_at: now,
            restart_at_once: false,
        }));
    }

    /// Its process is over or could not be started: plans when the next one is.
    pub(super) fn plan_restart(&mut self, now: Time, stopping: bool) -> (Life, NextStart) {
        let (steady, at_once) = match &self.life {
            Life::Up(up) => (up.started_at.plus_secs(STEADY_S) <= now, up.restart_at_once),
            Life::Waiting { .. } | Life::GivenUp => (false, false),
        };
        let wait_s = if steady { RESTART_WAIT_S } else { self.restart_wait_s.max(RESTART_WAIT_S) };
        self.restart_wait_s = (wait_s * 2).min(PLUGIN_RESTART_WAIT_S_MAX);
        if stopping || !self.wanted {
            (Life::GivenUp, NextStart::Unwanted)
        } else if at_once {
            (Life::Waiting { start_at: now }, NextStart::AtOnce)
        } else if self.module.restart {
            (Life::Waiting { start_at: now.plus_secs(wait_s) }, NextStart::AfterS(wait_s))
        } else {
            (Life::GivenUp, NextStart::Never)
        }
    }

    /// Goes on without its present process, which is given.
    pub(super) fn leave(&mut self, next: Life) -> Option<Box<Up>> {
        match std::mem::replace(&mut self.life, next) {
            Life::Up(mut up) => {
                self.lines = up.child.take_lines();
                Some(up)
            }
            Life::Waiting { .. } | Life::GivenUp => None,
        }
    }

    /// Keeps a process that another one takes the place of, to be ended at that time; the oldest
    /// one of too many is ended now.
    pub(super) fn retire(&mut self, mut child: Child, until: Time, now: Time) {
        child.end_by(until);
        if self.retired.len() == WORKERS_RETIRED_MAX
            && let Some(oldest) = self.retired.first_mut()
        {
            oldest.child.end_by(now);
        }
        self.retired.push(Retired { child, dismissed: false });
    }

    /// Whether the plugin has a say in this, as far as the server can know. Before its first
    /// process has registered nobody logs in, so that a permission need not wait for that.
    pub(super) fn may_judge(&self, hook: Hook) -> bool {
        // The process that writes the store is asked nothing, whatever it has said.
        self.wanted
            && !self.module.is_store()
            && match (self.registration(), self.registered) {
                (Some(Registration::Serving { hooks, .. }), _) => hooks.has(hook),
                (_, before) if hook.is_permission() => before.is_some_and(|hooks| hooks.has(hook)),
                // What it would register is not known.
                (Some(Registration::Registering { .. } | Registration::Late), _) => true,
                (None, before) => before.is_none_or(|hooks| hooks.has(hook)),
            }
    }

    /// Whether a process of it runs, or will before a question has waited for too long.
    pub(super) fn is_near(&self, now: Time) -> bool {
        match self.life {
            Life::Waiting { start_at } => start_at < self.timeout(now),
            Life::GivenUp => false,
            Life::Up(_) => true,
        }
    }

    /// When the time is over that it has to register, or to answer.
    pub(super) fn timeout(&self, now: Time) -> Time {
        now.plus_secs(self.module.timeout_s)
    }

    /// What becomes of a question to it.
    pub(super) fn stance(&self, hook: Hook, now: Time) -> Stance {
        // Root's password is for the worker alone, whatever others would register.
        if hook.is_the_workers() && !self.is_worker() || !self.may_judge(hook) {
            return Stance::Pass;
        }
        match self.registration() {
            Some(Registration::Serving { .. }) => Stance::Ask,
            Some(&Registration::Registering { until }) => Stance::Wait(until),
            Some(Registration::Late) => Stance::CanNot(LATE),
            None if self.is_near(now) => Stance::Wait(self.timeout(now)),
            None => Stance::CanNot(DOWN),
        }
    }
}

impl Up {
    /// Takes in hooks, and names as many as may be; gives the hooks that are new.
    pub(super) fn register(
        &mut self,
        hooks: &[Hook],
        names: &[&str],
    ) -> (HookSet, Result<(), Unregistered>) {
        let (mut own, mut own_names) =
            match std::mem::replace(&mut self.registration, Registration::Late) {
                Registration::Serving { hooks, names } => (hooks, names),
                Registration::Registering { .. } | Registration::Late => {
                    (HookSet::default(), Vec::new())
                }
            };
        let mut new = HookSet::default();
        for &hook in hooks {
            if own.add(hook) {
                new.add(hook);
            }
        }
        let named = add_names(&mut own_names, names);
        self.registration = Registration::Serving { hooks: own, names: own_names };
        (new, named)
    }

    /// Tells the plugin what it missed, when it has read half of what may wait; whether it was
    /// told.
    pub(super) fn tell_dropped(&mut self, max: usize) -> bool {
        let told = self.dropped > 0 && self.child.lanes.event_bytes() <= max / 2;
        if told {
            let dropped = std::mem::take(&mut self.dropped);
            self.child.lanes.push_event(usize::MAX, |buffer| write::dropped(buffer, dropped));
        }
        told
    }
}

fn add_names(own: &mut Vec<Box<str>>, added: &[&str]) -> Result<(), Unregistered> {
    let mut named = Ok(());
    for &name in added {
        if name.len() > PLUGIN_NAME_BYTES_MAX {
            named = Err(Unregistered::LongName);
        } else if own.iter().any(|known| **known == *name) {
            // It has it.
        } else if own.len() == PLUGIN_NAMES_MAX {
            named = Err(Unregistered::ManyNames);
        } else {
            own.push(name.into());
        }
    }
    named
}

/// Why a plugin could not be asked, as far as the log has not been told.
#[derive(Debug, Default)]
pub(super) struct PluginTrouble {
    /// What could not be decided on, and why.
    what: Option<(&'static str, Box<str>)>,
    count: u64,
    quiet_until: Time,
}

impl PluginTrouble {
    pub(super) fn has(&mut self, subject: &'static str, why: &str) {
        self.count += 1;
        if self.what.is_none() {
            self.what = Some((subject, why.into()));
        }
    }

    pub(super) fn take(&mut self, now: Time) -> Option<(&'static str, Box<str>, u64)> {
        if self.quiet_until > now {
            return None;
        }
        let (subject, why) = self.what.take()?;
        self.quiet_until = now.plus_secs(COMPLAINT_TIME_S);
        Some((subject, why, std::mem::take(&mut self.count)))
    }
}

/// Of what a plugin is asked before it is done.
#[derive(Debug, Default)]
pub(in crate::net) struct Watches {
    joins: Watch,
    talk: Watch,
}

impl Watches {
    /// What it is asked by this hook; nothing by one that is no permission.
    pub(in crate::net) fn of(&self, hook: Hook) -> Option<&Watch> {
        let own = [(Hook::MayJoin, &self.joins), (Hook::MayTalk, &self.talk)];
        own.into_iter().find(|(known, _)| *known == hook).map(|(_, watch)| watch)
    }

    /// Adds a room and names of stanzas, or all where there are none, to what it is asked by this
    /// hook; what earlier processes have said of that is forgotten with the first that is `new`.
    pub(super) fn add(
        &mut self,
        hook: Hook,
        new: bool,
        room: Option<&str>,
        stanzas: &[&str],
    ) -> Result<(), Unregistered> {
        let own = [(Hook::MayJoin, &mut self.joins), (Hook::MayTalk, &mut self.talk)];
        let found = own.into_iter().find(|(known, _)| *known == hook);
        let Some((_, watch)) = found else {
            return Ok(());
        };
        if new {
            let none = || Some(BTreeSet::new());
            *watch = Watch { rooms: none(), stanzas: none() };
        }
        let rooms = room.as_slice();
        add_watched(&mut watch.rooms, rooms).and(add_watched(&mut watch.stanzas, stanzas))
    }
}

/// Adds names to those that are watched for; without any of them all are from now on.
fn add_watched(own: &mut Option<BTreeSet<Box<str>>>, added: &[&str]) -> Result<(), Unregistered> {
    if added.is_empty() {
        *own = None;
    }
    let Some(own) = own else {
        return Ok(());
    };
    for &name in added {
        if name.len() > PLUGIN_NAME_BYTES_MAX {
            return Err(Unregistered::LongName);
        } else if own.len() == PLUGIN_NAMES_MAX && !own.contains(name) {
            return Err(Unregistered::ManyNames);
        }
        own.insert(name.into());
    }
    Ok(())
}
