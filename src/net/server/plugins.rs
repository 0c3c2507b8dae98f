//! Plugins in the turn: their processes are started, read, written to and ended here, and what
//! they say is done.

use std::time::Duration;

use log::{debug, error, info, warn};

use super::Server;
use crate::config::Module;
use crate::hub;
use crate::hub::{Input, Order, Query, Receivers, Registered};
use crate::limits::{DRAIN_TIME_S, STANZAS_PER_TURN};
use crate::logging::Escaped;
use crate::net::deliveries::Pieces;
use crate::net::outbox::Flush;
use crate::net::plugins::{Hook, Plugins, Request, Running, To, What, Who};
use crate::net::world::World;
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
        self.running = modules.iter().map(|_| Running::to_start(now)).collect();
        self.modules = modules;
    }

    /// Starts one anew that has to read its settings again.
    pub fn restart_plugin(&mut self, name: &str) {
        for (settings, running) in self.modules.iter().zip(&mut self.running) {
            if settings.name == name
                && let Some(process) = &mut running.process
            {
                running.planned = true;
                let _ = process.shutdown_write();
                running.kill_at = Some(self.desk.now.plus_secs(END_TIME_S));
            }
        }
    }

    /// Bytes of a process, or room for some.
    pub(super) fn mark_process_ready(&mut self, index: usize) {
        if let Some(running) = self.running.get_mut(index) {
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
                running.ended = process.ended();
            }
        }
    }

    /// When something of a plugin is due; at once when there is something to do.
    pub(super) fn plugins_due(&self) -> Option<hub::Time> {
        if self.running.is_empty() {
            return None;
        }
        let work = self.desk.plugins.is_queued()
            || self.running.iter().any(|running| running.has_work(self.desk.now));
        if work {
            return Some(self.desk.now);
        }
        let running = self.running.iter().filter_map(Running::next_due).min();
        [running, self.desk.plugins.next_due()].into_iter().flatten().min()
    }

    /// Has each plugin its go, after the clients: what they did in this turn is done.
    pub(super) fn serve_plugins(&mut self) {
        for index in 0..self.running.len() {
            self.start_if_due(index);
            let (now, running) = (self.desk.now, &mut self.running[index]);
            if running.is_listened_to(now) {
                running.calm_until = None;
                self.read_errors_of(index);
                self.read_plugin(index);
            }
            self.end_if_over(index);
        }
        let now = self.desk.now;
        for index in self.desk.plugins.run_due(now) {
            let timeout_s = self.modules[index].timeout_s;
            error!(
                "plugin {}: it has not registered anything within {timeout_s} s: until it does, \
                 nobody can log in",
                self.desk.plugins.name(index)
            );
        }
        self.tell_hub_of_plugins();
        self.tell_verdicts();
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
                self.plan_restart(index);
            }
        }
    }

    fn plan_restart(&mut self, index: usize) {
        let now = self.desk.now;
        let running = &mut self.running[index];
        let planned = running.planned;
        let wait_s = running.end(now);
        let settings = &self.modules[index];
        if self.stopping {
            return;
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
    }

    fn read_errors_of(&mut self, index: usize) {
        let running = &mut self.running[index];
        if running.error_readable {
            let name = &self.modules[index].name;
            running.read_errors(&mut self.scratch, self.desk.now, |line, dropped| {
                tell_dropped_lines(name, dropped);
                info!("plugin {name} says: {}", Escaped(line.trim_end_matches('\r')));
            });
        }
    }

    fn read_plugin(&mut self, index: usize) {
        let running = &mut self.running[index];
        if running.process.is_none() || !(running.readable || running.frames_held) {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let count = if running.frames_held { 0 } else { running.read(&mut scratch) };
        if count == scratch.len() {
            running.calm(self.desk.now);
        }
        self.take_from_plugin(index, &scratch[..count]);
        self.scratch = scratch;
    }

    /// Does what the stanzas ask for that these bytes complete, so many in a turn.
    fn take_from_plugin(&mut self, index: usize, bytes: &[u8]) {
        let max = self.hub.settings().limits.stanza_bytes_max;
        let mut framer = std::mem::take(&mut self.running[index].framer);
        let mut parser = std::mem::take(&mut self.plugin_parser);
        let mut cut = framer.cut(bytes, max);
        let mut held = false;
        let mut left = STANZAS_PER_TURN;
        loop {
            if left == 0 || self.desk.has_enough() {
                // Whether there is another one, the next turn finds out.
                held = true;
                break;
            }
            match cut.next_frame() {
                Ok(Some(frame)) => {
                    left -= 1;
                    self.desk.metrics.plugin_frames_in += 1;
                    let done = self.take_stanza(index, frame, &mut parser);
                    if let Err(why) = done {
                        self.refuse_plugin(index, &why);
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    self.refuse_plugin(index, &format!("a stanza over {max} bytes"));
                    cut.discard();
                    self.running[index].frames_held = false;
                    self.plugin_parser = parser;
                    self.force_end(index);
                    return;
                }
            }
        }
        drop(cut);
        let running = &mut self.running[index];
        running.framer = framer;
        running.frames_held = held && !running.framer.is_empty();
        if left == 0 {
            running.calm(self.desk.now);
        }
        self.plugin_parser = parser;
    }

    /// It can't be understood any more.
    fn force_end(&mut self, index: usize) {
        let now = self.desk.now;
        let running = &mut self.running[index];
        running.readable = false;
        running.output_ended = true;
        running.kill_at = Some(now);
        // It hears why before that.
        self.flush_plugins();
    }

    fn refuse_plugin(&mut self, index: usize, why: &str) {
        let running = &mut self.running[index];
        running.mistakes_told = running.mistakes_told.saturating_add(1);
        let name = self.desk.plugins.name(index);
        if running.mistakes_told <= MISTAKES_LOGGED {
            warn!("plugin {name} made a mistake: {}", Escaped(why));
        } else {
            debug!("plugin {name} made a mistake: {}", Escaped(why));
        }
        self.desk.plugins.tell(index, |buffer| write::plugin::error(buffer, why));
    }

    fn take_stanza(
        &mut self,
        index: usize,
        frame: &[u8],
        parser: &mut Parser,
    ) -> Result<(), String> {
        if frame.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let limits = &self.hub.settings().limits;
        let request = {
            let stanza = parser.parse(frame, limits).map_err(|refusal| refusal.to_string())?;
            Request::read(&stanza)?
        };
        let now = self.desk.now;
        let order = match request {
            Request::Register { names, hooks } => return self.register(index, names, hooks),
            Request::Verdict { ask, allowed } => {
                return self.desk.plugins.answer(index, ask, allowed);
            }
            Request::Get { what, ask } => {
                self.tell_answer(index, &what, &ask);
                return Ok(());
            }
            Request::Log { level, text } => {
                if let Some(dropped) = self.running[index].take_line(now) {
                    let name = self.desk.plugins.name(index);
                    tell_dropped_lines(name, dropped);
                    log::log!(level, "plugin {name}: {}", Escaped(&text));
                }
                return Ok(());
            }
            Request::Timer { name, after_ms } => {
                let at = after_ms.map(|ms| now + Duration::from_millis(ms));
                return self.desk.plugins.set_timer(index, &name, at);
            }
            Request::Send { to, inner } => {
                let mut parser = std::mem::take(&mut self.element_parser);
                let stanza = parser.parse(inner.as_bytes(), &self.hub.settings().limits);
                let stanza =
                    stanza.map_err(|_| "<send> needs exactly one element in it".to_owned())?;
                let order = Order::Deliver { to: receivers(&to), element: stanza.element() };
                let done = self.order(order);
                self.element_parser = parser;
                return done;
            }
            Request::Kick { ref who, ref reason } => {
                Order::Kick { who: named(who), reason: reason.as_deref() }
            }
            Request::Join { ref who, ref room } => Order::Join { who: named(who), room },
            Request::Leave { ref who, ref room } => Order::Leave { who: named(who), room },
            Request::SetParam { ref room, ref name, ref value } => {
                Order::SetRoomParam { room, name, value }
            }
            Request::RemoveParam { ref room, ref name } => Order::RemoveRoomParam { room, name },
            Request::ClientParam { ref who, ref name, ref value } => {
                Order::SetClientParam { who: named(who), name, value }
            }
            Request::RemoveClientParam { ref who, ref name } => {
                Order::RemoveClientParam { who: named(who), name }
            }
        };
        self.order(order)
    }

    fn order(&mut self, order: Order<'_>) -> Result<(), String> {
        let now = self.desk.now;
        self.hub.order(order, now, &mut self.desk).map_err(|error| error.to_string())
    }

    fn register(
        &mut self,
        index: usize,
        names: Vec<String>,
        hooks: Vec<Result<Hook, String>>,
    ) -> Result<(), String> {
        let (mut good_names, mut good_hooks, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            if hub::is_reserved_name(&name) {
                wrong.push(format!("{name} is the server's own"));
            } else if !is_name(&name) {
                wrong.push(format!("{name} is no name of an element without a prefix"));
            } else {
                good_names.push(name);
            }
        }
        for hook in hooks {
            match hook {
                // Nobody else is told root's password.
                Ok(Hook::IsRoot) if !self.modules[index].is_worker() => {
                    wrong.push(format!("{} is for the server's own accounts", Hook::IsRoot.name()));
                }
                Ok(hook) => good_hooks.push(hook),
                Err(word) => wrong.push(format!("{word} is no hook")),
            }
        }
        let now = self.desk.now;
        self.desk.plugins.register(index, good_names, good_hooks, now);
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    fn tell_answer(&mut self, index: usize, what: &What<'_>, ask: &str) {
        // Four answers fit into what may wait for a plugin.
        let max = self.hub.settings().limits.backlog_bytes_max / 4;
        let query = match what {
            What::Rooms => Query::Rooms,
            What::Clients(room) => Query::Clients { room: room.as_deref() },
            What::RoomParams(room) => Query::RoomParams { room },
            What::ClientParams(who) => Query::ClientParams { who: named(who) },
        };
        let mut answer = Vec::new();
        let told = self.hub.tell(query, max, &mut answer);
        self.desk.plugins.tell(index, |buffer| {
            write::plugin::answer_begin(buffer, ask);
            match told {
                Ok(()) => buffer.extend_from_slice(&answer),
                Err(why) => write::plugin::error(buffer, &why.to_string()),
            }
            write::plugin::answer_end(buffer);
        });
    }

    /// A process that has ended, or has to.
    fn end_if_over(&mut self, index: usize) {
        let now = self.desk.now;
        let running = &mut self.running[index];
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
        if running.is_over() {
            let name = &self.modules[index].name;
            running.tell_line(now, |line, _| info!("plugin {name} says: {}", Escaped(line)));
            let how = running.ended.take().unwrap_or_default();
            if self.stopping || running.planned {
                info!("plugin {name}: {how}");
            } else {
                error!("plugin {name}: {how}");
            }
            self.desk.plugins.ended(index);
            self.plan_restart(index);
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
        self.hub.handle(Input::Registered(Box::new(registered)), now, &mut self.desk);
    }

    /// Tells the hub what was decided about logins; the sessions go on.
    fn tell_verdicts(&mut self) {
        while let Some((conn, ask, verdict)) = self.desk.plugins.take_verdict() {
            self.decide(conn, ask, verdict);
        }
    }

    /// One system call for each plugin that has something to be sent.
    pub(super) fn flush_plugins(&mut self) {
        let max = self.hub.settings().limits.backlog_bytes_max;
        for (index, running) in self.running.iter_mut().enumerate() {
            let Some(process) = &mut running.process else {
                continue;
            };
            let (outbox, joined) = (&mut running.outbox, &mut self.joined);
            let writable = &mut running.writable;
            self.desk.plugins.flush(index, |queue| {
                let flushed =
                    outbox.flush(Pieces::of(queue), joined, &mut **process, *writable, 2 * max);
                match flushed {
                    Flush::Done(_) => {}
                    Flush::Blocked(_) => *writable = false,
                    // It will be read to its end, and then it is over.
                    Flush::TooMuch | Flush::Broken(_) => outbox.clear(),
                }
                outbox.backlog_bytes()
            });
        }
        self.desk.plugins.flushed();
        self.desk.metrics.plugin_drops = self.desk.plugins.dropped();
        for index in 0..self.running.len() {
            self.desk.plugins.tell_dropped(index);
        }
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
            if running.stop
                && running.outbox.is_empty()
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

/// Lines that the log did not take, because they were too many.
fn tell_dropped_lines(name: &str, dropped: u64) {
    if dropped > 0 {
        warn!("plugin {name} has said {dropped} lines more than the log takes");
    }
}

fn named<'a>(who: &'a Who<'_>) -> hub::Who<'a> {
    match who {
        Who::Session(conn) => hub::Who::Session(*conn),
        Who::Nick(nick) => hub::Who::Nick(nick),
    }
}

fn receivers<'a>(to: &'a To<'_>) -> Receivers<'a> {
    match to {
        To::One(who) => Receivers::Client(named(who)),
        To::Room(name, except) => Receivers::Room { name, except: *except },
        To::All(except) => Receivers::Everybody { except: *except },
    }
}
