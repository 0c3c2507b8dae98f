//! Plugins in the turn: their processes are started, read, written to and ended here, and what
//! they say is done.

use std::io;
use std::time::Duration;

use log::{debug, error, info, warn};

use super::Server;
use super::reading::stanza_work_ns;
use crate::config::Module;
use crate::hub;
use crate::hub::{Input, Order, Outlet, Query, Registered};
use crate::limits::{
    DRAIN_TIME_S, ENDS_PER_TURN, Limits, PLUGIN_STANZA_BYTES_MIN, SHARE_WORK_NS, STANZAS_PER_TURN,
    WORKER_RETIRE_TIME_S, WORKER_SILENCE_S, WORKERS_RETIRED_MAX,
};
use crate::logging::Escaped;
use crate::net::plugins::{
    Action, Fault, Hook, Lanes, Mistake, Plugins, Retired, Running, Said, Unregistered,
};
use crate::net::world::{Process, World};
use crate::wire::stanza::{Parser, is_name};
use crate::wire::write;

/// How long a plugin may live on when it has ended its output, how long what it has started may
/// hold its output when it has ended itself, and how long after its input was ended when the server
/// stops.
const END_TIME_S: u64 = 2;

/// Mistakes of one process that the log is told of above debug.
const MISTAKES_LOGGED: u32 = 10;

impl<W: World> Server<W> {
    /// Takes in the plugins; they are started in the first turn.
    pub fn set_plugins(&mut self, modules: Vec<Module>) {
        let max = self.hub.settings().limits.backlog_bytes_max;
        self.desk.plugins = Plugins::new(&modules, max);
        let now = self.desk.now;
        self.running = (0..modules.len()).map(|plugin| Running::to_start(plugin, now)).collect();
        self.modules = modules;
    }

    /// Sets the server's own worker, or that there is none: started where it did not run, and with
    /// `anew` in any case, because it has to read its settings again. Logins that the old one was
    /// asked about are answered by it.
    pub fn set_worker(&mut self, worker: Option<Module>, anew: bool) {
        let place = self.modules.iter().position(Module::is_worker);
        let now = self.desk.now;
        match (place, worker) {
            (None, None) => {}
            (None, Some(module)) => {
                let plugin = self.modules.len();
                self.desk.plugins.add(&module);
                self.running.insert(plugin, Running::to_start(plugin, now));
                self.modules.push(module);
            }
            (Some(index), Some(module)) => {
                self.modules[index] = module;
                let is_there = self.desk.plugins.is_wanted(index);
                self.desk.plugins.set_wanted(index, true);
                // What kept it from running may be mended: it does not wait any longer.
                let is_down = self.running[index].process.is_none();
                if anew || !is_there || is_down {
                    self.start_anew(index);
                }
            }
            (Some(index), None) => {
                self.start_anew(index);
                self.running[index].start_at = None;
                self.desk.plugins.set_wanted(index, false);
            }
        }
        self.tell_hub_of_plugins();
    }

    /// Has another process take the place of a plugin's present one.
    fn start_anew(&mut self, index: usize) {
        let now = self.desk.now;
        let running = &mut self.running[index];
        if running.process.is_none() {
            running.start_at = Some(now);
            return;
        }
        if running.ended.is_some() || running.kill_at.is_some() {
            // It is at its end already.
            running.planned = true;
            return;
        }
        let (number, lanes) = self.desk.plugins.retire(index, now);
        let retired = Retired { number, lanes, dismissed: false };
        let until = now.plus_secs(WORKER_RETIRE_TIME_S);
        let old = self.running[index].retire(retired, now, until);
        let first = self.modules.len();
        if self.running.len() - first == WORKERS_RETIRED_MAX {
            self.running[first].kill_at = Some(now);
        }
        self.running.push(old);
    }

    /// Bytes of a process of this plugin, or room for some.
    pub(super) fn mark_process_ready(&mut self, index: usize) {
        for running in self.running.iter_mut().filter(|running| running.plugin == index) {
            running.readable = true;
            running.writable = true;
            running.error_readable = true;
        }
    }

    /// A process has ended; whoever has is asked.
    pub(super) fn look_for_ended_processes(&mut self) {
        for running in &mut self.running {
            if running.ended.is_none()
                && let Some(process) = &mut running.process
            {
                running.ended = process.ended().map(|end| end.to_string());
            }
        }
    }

    /// When something of a plugin is due; at once when there is something to do.
    pub(super) fn plugins_due(&self) -> Option<hub::Time> {
        let work = self.desk.plugins.is_queued()
            || self.desk.plugins.has_decisions()
            || self.running.iter().any(|running| running.has_work(self.desk.now));
        if work {
            return Some(self.desk.now);
        }
        let running = self.running.iter().filter_map(Running::next_due).min();
        [running, self.desk.plugins.next_due()].into_iter().flatten().min()
    }

    /// Has each plugin its go, after the clients: what they did in this turn is done.
    pub(super) fn serve_plugins(&mut self) {
        for place in 0..self.running.len() {
            self.start_if_due(place);
            let (now, running) = (self.desk.now, &mut self.running[place]);
            if running.is_listened_to(now) {
                running.calm_until = None;
                self.read_errors_of(place);
                self.read_plugin(place);
            }
            self.dismiss_if_done(place);
            self.end_if_over(place);
        }
        self.running.retain(|running| running.retired.is_none() || running.process.is_some());
        let now = self.desk.now;
        for (index, fault) in self.desk.plugins.run_due(now) {
            let name = &self.modules[index].name;
            match fault {
                Fault::Late => {
                    let timeout_s = self.modules[index].timeout_s;
                    error!(
                        "plugin {name}: it has not registered anything within {timeout_s} s: until \
                         it does, nobody can log in"
                    );
                }
                Fault::Silent => {
                    error!(
                        "plugin {name}: it has said nothing for {WORKER_SILENCE_S} s though it is \
                         asked about logins: it is ended and started again"
                    );
                    self.running[index].kill_at = Some(now);
                }
            }
        }
        self.tell_hub_of_plugins();
        self.tell_verdicts();
        self.tell_troubles();
    }

    fn start_if_due(&mut self, index: usize) {
        let now = self.desk.now;
        let running = &mut self.running[index];
        if self.stopping || running.start_at.is_none_or(|time| time > now) {
            return;
        }
        running.start_at = None;
        let settings = &self.modules[index];
        match self.world.start(index, settings) {
            Ok(process) => {
                info!("plugin {} started", settings.name);
                running.begin(process, now);
                self.desk.plugins.started(index, now);
            }
            Err(cause) => {
                let path = settings.program.display();
                error!("plugin {}: can't start {path}: {cause}", settings.name);
                let next = self.plan_restart(index);
                self.desk.plugins.not_started(index, next, now);
            }
        }
    }

    /// Plans when a plugin is started again, if it is.
    fn plan_restart(&mut self, index: usize) -> Option<hub::Time> {
        let now = self.desk.now;
        let running = &mut self.running[index];
        let planned = running.planned;
        let wait_s = running.end(now);
        let settings = &self.modules[index];
        if self.stopping || !self.desk.plugins.is_wanted(index) {
            return None;
        }
        if planned {
            running.start_at = Some(now);
        } else if settings.restart {
            warn!("plugin {} is started again in {wait_s} s", settings.name);
            running.start_at = Some(now.plus_secs(wait_s));
        } else {
            error!(
                "plugin {} is not started again ([module {}] restart)",
                settings.name, settings.name
            );
        }
        running.start_at
    }

    fn read_errors_of(&mut self, place: usize) {
        let running = &mut self.running[place];
        if running.error_readable {
            let name = &self.modules[running.plugin].name;
            running.read_errors(&mut self.scratch, self.desk.now, |line, dropped| {
                tell_dropped_lines(name, dropped);
                info!("plugin {name} says: {}", Escaped(line.trim_end_matches('\r')));
            });
        }
    }

    fn read_plugin(&mut self, place: usize) {
        let running = &mut self.running[place];
        if running.process.is_none() || !(running.readable || running.frames_held) {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let count = if running.frames_held { 0 } else { running.read(&mut scratch) };
        if count == scratch.len() {
            running.calm(self.desk.now);
        }
        self.take_from_plugin(place, &scratch[..count]);
        self.scratch = scratch;
    }

    /// Does what the stanzas ask for that these bytes complete, so many in a turn.
    fn take_from_plugin(&mut self, place: usize, bytes: &[u8]) {
        // What clients are held to does not keep the server's own worker from answering.
        let max = self.hub.settings().limits.stanza_bytes_max.max(PLUGIN_STANZA_BYTES_MIN);
        let mut framer = std::mem::take(&mut self.running[place].framer);
        let mut parser = std::mem::take(&mut self.plugin_parser);
        let mut cut = framer.cut(bytes, max);
        let mut held = false;
        let mut left = STANZAS_PER_TURN;
        let began_ns = self.desk.work_ns();
        loop {
            // It has its share also of a turn that clients fill: others' logins wait for it.
            let had_its_share = self.desk.work_ns() - began_ns >= SHARE_WORK_NS.unsigned_abs();
            if left == 0 || (had_its_share && self.desk.has_enough()) {
                // Whether there is another one, the next turn finds out.
                held = true;
                break;
            }
            match cut.next_frame() {
                Ok(Some(frame)) => {
                    left -= 1;
                    self.desk.metrics.plugin_frames_in += 1;
                    self.desk.worked(stanza_work_ns(frame.len()));
                    if let Err(why) = self.take_stanza(place, frame, &mut parser) {
                        self.refuse_plugin(place, &why);
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    self.refuse_plugin(place, &Mistake::TooLarge(max));
                    cut.discard();
                    self.running[place].frames_held = false;
                    self.plugin_parser = parser;
                    self.force_end(place);
                    return;
                }
            }
        }
        drop(cut);
        let running = &mut self.running[place];
        running.framer = framer;
        running.frames_held = held && !running.framer.is_empty();
        if left == 0 {
            running.calm(self.desk.now);
        }
        self.plugin_parser = parser;
    }

    /// It can't be understood any more.
    fn force_end(&mut self, place: usize) {
        let now = self.desk.now;
        let running = &mut self.running[place];
        running.readable = false;
        running.output_ended = true;
        running.kill_at = Some(now);
        // It hears why before that.
        self.flush_plugins();
    }

    fn refuse_plugin(&mut self, place: usize, mistake: &Mistake) {
        let why = &*mistake.to_string();
        let running = &mut self.running[place];
        let index = running.plugin;
        running.mistakes_told = running.mistakes_told.saturating_add(1);
        let name = self.desk.plugins.name(index);
        if running.mistakes_told <= MISTAKES_LOGGED {
            warn!("plugin {name} made a mistake: {}", Escaped(why));
        } else {
            debug!("plugin {name} made a mistake: {}", Escaped(why));
        }
        if running.retired.is_none() {
            self.desk.plugins.tell(index, |buffer| write::plugin::error(buffer, why));
        }
    }

    fn take_stanza(
        &mut self,
        place: usize,
        frame: &[u8],
        parser: &mut Parser,
    ) -> Result<(), Mistake> {
        if frame.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        // What stands in it for clients is held to their limits where it is sent.
        let stanza = parser.parse(frame, &OF_PLUGINS).map_err(Mistake::NoStanza)?;
        let said = Said::read(&stanza)?;
        let index = self.running[place].plugin;
        let retired = self.running[place].retired.is_some();
        if retired && !said.verb.is_for_the_retired() {
            return Err(Mistake::Replaced);
        }
        let now = self.desk.now;
        match said.verb.action {
            Action::Register => self.register(index, &said),
            Action::Verdict => {
                let (ask, answer, error) = said.verdict()?;
                self.desk.plugins.answer(index, ask, answer, error, now)
            }
            Action::Get => {
                let (query, ask) = said.query()?;
                self.tell_answer(index, query, ask);
                Ok(())
            }
            Action::Log => {
                self.log_line_of(place, said.level()?, &stanza.inner_text());
                Ok(())
            }
            Action::Keep => {
                let state = said.need(&["state"])?;
                // What a worker knows that has been replaced is no news.
                if retired { Ok(()) } else { self.desk.plugins.keep(index, state) }
            }
            Action::Timer => {
                let (name, after_ms) = said.timer()?;
                let at = after_ms.map(|ms| now + Duration::from_millis(ms));
                self.desk.plugins.set_timer(index, name, at)
            }
            Action::Order(read) => self.order(read(&said)?),
        }
    }

    /// Has the hub do what a plugin wants. An element for clients is held to their limits.
    fn order(&mut self, order: Order<'_>) -> Result<(), Mistake> {
        let now = self.desk.now;
        let Order::Deliver { to, element } = order else {
            return self.hub.order(order, now, &mut self.desk).map_err(Mistake::Order);
        };
        let limits = &self.hub.settings().limits;
        let stanza = self.element_parser.parse(element.as_bytes(), limits);
        let element = stanza.map_err(|_| Mistake::NoElement)?.element();
        let order = Order::Deliver { to, element };
        self.hub.order(order, now, &mut self.desk).map_err(Mistake::Order)
    }

    fn log_line_of(&mut self, place: usize, level: log::Level, text: &str) {
        let running = &mut self.running[place];
        if let Some(dropped) = running.take_line(self.desk.now) {
            let name = self.desk.plugins.name(running.plugin);
            tell_dropped_lines(name, dropped);
            log::log!(level, "plugin {name}: {}", Escaped(text));
        }
    }

    fn register(&mut self, index: usize, said: &Said<'_, '_>) -> Result<(), Mistake> {
        let (mut names, mut hooks, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        for name in said.words("names") {
            if hub::is_reserved_name(name) {
                wrong.push(Unregistered::ServersOwn(name.into()));
            } else if !is_name(name) {
                wrong.push(Unregistered::NoName(name.into()));
            } else {
                names.push(name);
            }
        }
        for word in said.words("hooks") {
            match Hook::of(word) {
                // Nobody else is told root's password.
                Some(hook) if hook.is_the_workers() && !self.modules[index].is_worker() => {
                    wrong.push(Unregistered::WorkersOwn(hook.name()));
                }
                Some(hook) => hooks.push(hook),
                None => wrong.push(Unregistered::NoHook(word.into())),
            }
        }
        let now = self.desk.now;
        wrong.extend(self.desk.plugins.register(index, &names, &hooks, now).err());
        if wrong.is_empty() { Ok(()) } else { Err(Mistake::NotRegistered(wrong)) }
    }

    fn tell_answer(&mut self, index: usize, query: Query<'_>, ask: &str) {
        // Four answers fit into what may wait for a plugin.
        let max = self.hub.settings().limits.backlog_bytes_max / 4;
        let mut answer = Vec::new();
        write::plugin::answer_begin(&mut answer, ask);
        let told = self.hub.tell(query, max, &mut answer);
        // One that was too long was written nearly as far as it may be.
        self.desk.spent(if told.is_ok() { answer.len() } else { max });
        if let Err(why) = told {
            write::plugin::error(&mut answer, &why.to_string());
        }
        write::plugin::answer_end(&mut answer);
        self.desk.plugins.tell_answer(index, answer);
    }

    /// Ends the input of a process that another one has taken the place of, when it has answered
    /// all that it was asked.
    fn dismiss_if_done(&mut self, place: usize) {
        let now = self.desk.now;
        let Running { plugin, retired, process, kill_at, .. } = &mut self.running[place];
        if let Some(retired) = retired
            && let Some(process) = process
            && !retired.dismissed
            && retired.lanes.is_empty()
            && !self.desk.plugins.is_asked(*plugin, retired.number)
        {
            retired.dismissed = true;
            let _ = process.shutdown_write();
            *kill_at = Some(now.plus_secs(END_TIME_S));
        }
    }

    /// A process that has ended, or has to.
    fn end_if_over(&mut self, place: usize) {
        let now = self.desk.now;
        let running = &mut self.running[place];
        let Some(process) = &mut running.process else {
            return;
        };
        if running.output_ended != running.ended.is_some() && running.kill_at.is_none() {
            let _ = process.shutdown_write();
            running.kill_at = Some(now.plus_secs(END_TIME_S));
        }
        if running.kill_at.is_some_and(|time| time <= now) {
            process.kill(true);
            running.kill_at = None;
            if running.ended.is_some() {
                running.leave_output();
            }
        }
        if !running.is_over() {
            return;
        }
        let index = running.plugin;
        let name = &self.modules[index].name;
        running.tell_line(now, |line, _| info!("plugin {name} says: {}", Escaped(line)));
        let how = running.ended.take().unwrap_or_default();
        let dismissed = running.retired.as_ref().is_some_and(|retired| retired.dismissed);
        if self.stopping || running.planned || dismissed {
            info!("plugin {name}: {how}");
        } else {
            error!("plugin {name}: {how}");
        }
        match &running.retired {
            Some(retired) => {
                let number = retired.number;
                running.process = None;
                self.desk.plugins.put_again(index, number, now);
            }
            None => {
                let next = self.plan_restart(index);
                self.desk.plugins.ended(index, next, now);
            }
        }
    }

    /// Tells the hub what has been registered.
    fn tell_hub_of_plugins(&mut self) {
        if !self.desk.plugins.take_changed() {
            return;
        }
        let plugins = &self.desk.plugins;
        let registered = Registered {
            names: plugins.names(),
            logins: plugins.judges(Hook::IsAuthorized),
            joins: plugins.hears(Hook::ClientJoinRoom),
            leaves: plugins.hears(Hook::ClientLeaveRoom),
            messages: plugins.hears(Hook::Message),
        };
        let now = self.desk.now;
        let unchecked = self.hub.settings().logins_checked && !registered.logins;
        self.hub.handle(Input::Registered(Box::new(registered)), now, &mut self.desk);
        if unchecked && !std::mem::replace(&mut self.unchecked_told, unchecked) {
            error!(
                "nobody can log in: the configuration says that logins are checked, and no plugin \
                 has registered isAuthorized"
            );
        }
        self.unchecked_told = unchecked;
    }

    /// Has the log say why logins can't be decided on.
    fn tell_troubles(&mut self) {
        let now = self.desk.now;
        while let Some((name, why, count)) = self.desk.plugins.take_trouble(now) {
            let who = name.map_or_else(String::new, |name| format!("plugin {name}: "));
            let more = match count {
                0 | 1 => String::new(),
                count => format!(" ({count} since the last such line)"),
            };
            warn!("{who}a login can't be decided on: {}{more}", Escaped(&why));
        }
    }

    /// Tells the hub what was decided about logins; the sessions go on. A plugin that ends decides
    /// many at once: so many are told in a turn.
    fn tell_verdicts(&mut self) {
        for _ in 0..ENDS_PER_TURN {
            let Some((conn, question, verdict)) = self.desk.plugins.take_verdict() else {
                break;
            };
            self.decide(conn, question, verdict);
        }
    }

    /// Writes to each plugin what it takes of what waits for it.
    pub(super) fn flush_plugins(&mut self) {
        for running in &mut self.running {
            let Running { plugin, retired, process, writable, .. } = running;
            let lanes = match retired {
                Some(retired) => Some(&mut retired.lanes),
                None => self.desk.plugins.lanes(*plugin),
            };
            if let (Some(process), Some(lanes)) = (process, lanes) {
                flush(lanes, &mut **process, writable);
            }
        }
        self.desk.plugins.flushed();
        self.desk.metrics.plugin_drops = self.desk.plugins.dropped();
    }

    /// The server stops: each is told, its input is ended, and later it is.
    pub(super) fn stop_plugins(&mut self) {
        self.desk.plugins.tell_all(Hook::Shutdown, |buffer| {
            write::plugin::event(buffer, Hook::Shutdown.name(), None, &[], None);
        });
        let deadline = self.desk.now.plus_secs(DRAIN_TIME_S);
        for running in &mut self.running {
            running.start_at = None;
            running.stop = true;
            running.kill_at = Some(deadline);
        }
    }

    /// Ends the input of those that have been told everything.
    pub(super) fn end_inputs(&mut self) {
        if !self.stopping || !self.desk.connections.is_empty() {
            return;
        }
        for running in &mut self.running {
            let lanes = match &mut running.retired {
                Some(retired) => Some(&mut retired.lanes),
                None => self.desk.plugins.lanes(running.plugin),
            };
            if running.stop
                && lanes.is_none_or(|lanes| lanes.is_empty())
                && let Some(process) = &mut running.process
            {
                running.stop = false;
                let _ = process.shutdown_write();
            }
        }
    }

    /// Whether a process still runs.
    pub(super) fn has_processes(&self) -> bool {
        self.running.iter().any(|running| running.process.is_some())
    }
}

/// What a plugin sends is held to its length alone.
const OF_PLUGINS: Limits = Limits { depth_max: 0, attributes_max: 0, ..Limits::usual() };

/// Writes what a process takes; what can't be written to it any more is forgotten.
fn flush(lanes: &mut Lanes, process: &mut dyn Process, writable: &mut bool) {
    while *writable && !lanes.is_empty() {
        match lanes.write(process) {
            // It would be asked for ever.
            Ok(0) => return lanes.clear(),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => *writable = false,
            // It will be read to its end, and then it is over.
            Err(_) => return lanes.clear(),
        }
    }
}

/// Lines that the log did not take, because they were too many.
fn tell_dropped_lines(name: &str, dropped: u64) {
    if dropped > 0 {
        warn!("plugin {name} has said {dropped} lines more than the log takes");
    }
}
