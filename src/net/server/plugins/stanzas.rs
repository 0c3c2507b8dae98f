//! What plugins say: their stanzas are cut, read by their table and done, so many in a turn.

use std::time::Duration;

use log::{debug, warn};

use super::Server;
use crate::hub;
use crate::hub::{Order, Outlet, Query};
use crate::limits::{
    Limits, PLUGIN_ANSWERS_WAITING, PLUGIN_MISTAKES_LOGGED, PLUGIN_STANZA_BYTES_MIN,
    REASON_BYTES_MAX, SHARE_WORK_NS, STANZAS_PER_TURN,
};
use crate::logging::Escaped;
use crate::net::plugins::{
    Hook, Mistake, PluginAction, PluginId, ProcessId, Registering, Said, Unregistered, VerdictSaid,
};
use crate::net::server::reading::stanza_work_ns;
use crate::net::world::World;
use crate::wire::stanza::{Parser, Refusal, is_name};
use crate::wire::write;

/// What a plugin sends is held to its length alone.
const OF_PLUGINS: Limits = Limits { depth_max: 0, attributes_max: 0, ..Limits::usual() };

impl<W: World> Server<W> {
    /// Reads a process once, and does what it says.
    pub(super) fn read_plugin(&mut self, process: ProcessId) {
        let now = self.desk.now;
        let Some(child) = self.desk.plugins.child(process) else {
            return;
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        if let Some(count) = child.read(&mut self.world, &mut scratch, now) {
            self.take_from_plugin(process, &scratch[..count]);
        }
        self.scratch = scratch;
    }

    /// Does what the stanzas ask for that these bytes complete, so many in a turn.
    fn take_from_plugin(&mut self, process: ProcessId, bytes: &[u8]) {
        let Some(child) = self.desk.plugins.child(process) else {
            return;
        };
        let mut framer = std::mem::take(&mut child.framer);
        // What clients are held to does not keep the server's own worker from answering.
        let max = self.hub.settings().limits.stanza_bytes_max.max(PLUGIN_STANZA_BYTES_MIN);
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
                    if let Err(mistake) = self.take_stanza(process, frame, &mut parser) {
                        self.refuse_plugin(process, &mistake);
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    self.refuse_plugin(process, &Mistake::TooLarge(max));
                    cut.discard();
                    self.plugin_parser = parser;
                    return self.give_up_on(process);
                }
            }
        }
        drop(cut);
        self.plugin_parser = parser;
        let now = self.desk.now;
        let Some(child) = self.desk.plugins.child(process) else {
            return;
        };
        child.frames_held = held && !framer.is_empty();
        child.framer = framer;
        if left == 0 {
            child.calm(now);
        }
    }

    /// A process can't be understood any more.
    fn give_up_on(&mut self, process: ProcessId) {
        let now = self.desk.now;
        if let Some(child) = self.desk.plugins.child(process) {
            child.give_up(now);
        }
        // The plugin hears why before its process is ended.
        self.flush_plugins();
    }

    /// Tells a plugin, and the log, what it did wrong.
    fn refuse_plugin(&mut self, process: ProcessId, mistake: &Mistake) {
        let why = &*mistake.to_string();
        let retired = self.desk.plugins.is_retired(process);
        let Some(child) = self.desk.plugins.child(process) else {
            return;
        };
        child.mistakes_told = child.mistakes_told.saturating_add(1);
        let loud = child.mistakes_told <= PLUGIN_MISTAKES_LOGGED;
        let name = self.desk.plugins.name(process.plugin);
        if loud {
            warn!("plugin {name} made a mistake: {}", Escaped(why));
        } else {
            debug!("plugin {name} made a mistake: {}", Escaped(why));
        }
        if !retired {
            self.desk.plugins.tell(process.plugin, |buffer| write::plugin::error(buffer, why));
        }
    }

    fn take_stanza(
        &mut self,
        process: ProcessId,
        frame: &[u8],
        parser: &mut Parser,
    ) -> Result<(), Mistake> {
        if frame.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        // What stands in it for clients is held to their limits where it is sent.
        let stanza = parser.parse(frame, &OF_PLUGINS).map_err(Mistake::NoStanza)?;
        let said = Said::read(&stanza)?;
        let (id, now) = (process.plugin, self.desk.now);
        let retired = self.desk.plugins.is_retired(process);
        if retired && !said.verb.is_for_the_retired() {
            return Err(Mistake::Replaced);
        }
        match said.verb.action {
            PluginAction::Register => self.register(id, &said),
            PluginAction::Verdict => {
                let verdict = said.verdict()?;
                let long = verdict.reason.is_some_and(|text| text.len() > REASON_BYTES_MAX);
                let reason = verdict.reason.filter(|_| !long);
                self.desk.plugins.answer(id, VerdictSaid { reason, ..verdict }, now)?;
                if long { Err(Mistake::LongReason) } else { Ok(()) }
            }
            PluginAction::Get(read) => {
                self.tell_answer(id, read(&said)?, said.ask()?);
                Ok(())
            }
            PluginAction::Log => {
                self.log_line_of(process, said.level()?, &stanza.inner_text());
                Ok(())
            }
            PluginAction::Keep => {
                let state = said.need(&["state"])?;
                // What a worker knows that has been replaced is no news.
                if retired { Ok(()) } else { self.desk.plugins.keep(id, state) }
            }
            PluginAction::Stored => self.stored(process, &said),
            PluginAction::Timer => {
                let (name, after_ms) = said.timer()?;
                let at = after_ms.map(|ms| now + Duration::from_millis(ms));
                self.desk.plugins.set_timer(id, name, at)
            }
            PluginAction::Order(read) => self.order(read(&said)?),
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
        let stanza = stanza.map_err(|refusal| match refusal {
            Refusal::NotXml { .. } => Mistake::NoElement,
            Refusal::TooDeep(_) | Refusal::TooManyAttributes(_) => Mistake::ElementRefused(refusal),
        })?;
        let element = stanza.element();
        if element.len() > limits.stanza_bytes_max {
            return Err(Mistake::LargeElement(limits.stanza_bytes_max));
        }
        let order = Order::Deliver { to, element };
        self.hub.order(order, now, &mut self.desk).map_err(Mistake::Order)
    }

    fn log_line_of(&mut self, process: ProcessId, level: log::Level, text: &str) {
        let now = self.desk.now;
        let taken = self.desk.plugins.child(process).and_then(|child| child.take_line(now));
        if let Some(dropped) = taken {
            let name = self.desk.plugins.name(process.plugin);
            tell_dropped_lines(name, dropped);
            log::log!(level, "plugin {name}: {}", Escaped(text));
        }
    }

    fn register(&mut self, id: PluginId, said: &Said<'_, '_>) -> Result<(), Mistake> {
        let (mut names, mut hooks, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        let (room, stanzas) = (said.value("room"), said.words("stanzas").collect::<Vec<_>>());
        let is_worker = self.desk.plugins.plugin(id).module.is_worker();
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
                // Only the worker is told root's password.
                Some(hook) if hook.is_the_workers() && !is_worker => {
                    wrong.push(Unregistered::WorkersOwn(hook.name()));
                }
                Some(hook) => hooks.push(hook),
                None => wrong.push(Unregistered::NoHook(word.into())),
            }
        }
        let watches = room.is_some() || !stanzas.is_empty();
        if watches && !hooks.iter().any(|hook| hook.is_permission()) {
            wrong.push(Unregistered::NoWatch);
        }
        let now = self.desk.now;
        let wanted = Registering { names, hooks, room, stanzas };
        wrong.extend(self.desk.plugins.register(id, &wanted, now).err());
        if wrong.is_empty() { Ok(()) } else { Err(Mistake::NotRegistered(wrong)) }
    }

    fn tell_answer(&mut self, id: PluginId, query: Query<'_>, ask: &str) {
        let max = self.hub.settings().limits.backlog_bytes_max / PLUGIN_ANSWERS_WAITING;
        let mut answer = Vec::new();
        write::plugin::answer_begin(&mut answer, ask);
        let told = self.hub.tell(query, max, &self.desk, &mut answer);
        // One that was too long was written nearly as far as it may be.
        self.desk.spent(if told.is_ok() { answer.len() } else { max });
        if let Err(why) = told {
            write::plugin::error(&mut answer, &why.to_string());
        }
        write::plugin::answer_end(&mut answer);
        self.desk.plugins.tell_answer(id, answer);
    }
}

/// Lines that the log did not take, because they were too many.
pub(super) fn tell_dropped_lines(name: &str, dropped: u64) {
    if dropped > 0 {
        warn!("plugin {name} has said {dropped} lines more than the log takes");
    }
}
