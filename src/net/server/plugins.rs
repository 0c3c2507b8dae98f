//! Plugins in the turn: each has its go after the clients, what they decided is told to the hub,
//! and what waits for them is written.
//!
//! `lifecycle` starts and ends their processes, `stanzas` reads what they say and does it.

mod lifecycle;
mod stanzas;

use log::{error, warn};

use super::Server;
use crate::hub;
use crate::hub::{Input, Permission, Registered};
use crate::limits::{DRAIN_TIME_S, ENDS_PER_TURN, WORKER_SILENCE_S};
use crate::logging::Escaped;
use crate::net::plugins::{Answer, Decided, Hook, Overdue, Trouble};
use crate::net::world::World;

impl<W: World> Server<W> {
    /// When something of a plugin is due; at once when there is something to do.
    pub(super) fn plugins_due(&self) -> Option<hub::Time> {
        self.desk.plugins.next_due(self.desk.now)
    }

    /// Has each plugin its go, after the clients: what they did in this turn is done.
    pub(super) fn serve_plugins(&mut self) {
        let now = self.desk.now;
        for id in self.desk.plugins.ids() {
            self.start_if_due(id);
            for process in self.desk.plugins.processes_of(id) {
                if self.desk.plugins.child(process).is_some_and(|child| child.listen(now)) {
                    self.read_errors_of(process);
                    self.read_plugin(process);
                }
                self.desk.plugins.dismiss_if_done(&mut self.world, process, now);
                self.end_if_over(process);
            }
        }
        for (id, fault) in self.desk.plugins.run_due(now) {
            let name = self.desk.plugins.name(id);
            match fault {
                Overdue::Late if self.desk.plugins.store() == Some(id) => {
                    error!("the store: its process has not opened the file in time");
                }
                Overdue::Late => {
                    let timeout_s = self.desk.plugins.plugin(id).module.timeout_s;
                    error!(
                        "plugin {name}: it has not registered anything within {timeout_s} s: until \
                         it does, nobody can log in"
                    );
                }
                Overdue::Silent => error!(
                    "plugin {name}: it has said nothing for {WORKER_SILENCE_S} s though it is \
                     asked about logins: it is ended and started again"
                ),
            }
        }
        self.tell_hub_of_plugins();
        self.tell_verdicts();
        self.tell_troubles();
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
            joins_asked: plugins.watches(Hook::MayJoin),
            talk_asked: plugins.watches(Hook::MayTalk),
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

    /// Has the log say what can't be decided on, and why.
    fn tell_troubles(&mut self) {
        let now = self.desk.now;
        while let Some(trouble) = self.desk.plugins.take_trouble(now) {
            let Trouble { plugin, subject, why, count } = trouble;
            let who = plugin.map_or_else(String::new, |name| format!("plugin {name}: "));
            let more = match count {
                0 | 1 => String::new(),
                count => format!(" ({count} since the last such line)"),
            };
            warn!("{who}{subject} can't be decided on: {}{more}", Escaped(&why));
        }
    }

    /// Tells the hub what was decided; the sessions go on. A plugin that ends decides
    /// many at once: so many are told in a turn.
    fn tell_verdicts(&mut self) {
        for _ in 0..ENDS_PER_TURN {
            match self.desk.plugins.take_decided() {
                None => break,
                Some(Decided::Login { conn, question, verdict }) => {
                    self.decide(conn, question, verdict);
                }
                Some(Decided::Permission { conn, question, answer, reason }) => {
                    let permission = match answer {
                        Answer::Yes { .. } => Permission::Granted,
                        Answer::No => Permission::Refused(reason.as_deref()),
                        Answer::Unknown { .. } => Permission::Undecided,
                    };
                    self.permit(conn, question, permission);
                }
            }
        }
    }

    /// Writes to each plugin what it takes of what waits for it.
    pub(super) fn flush_plugins(&mut self) {
        self.desk.plugins.flush(&mut self.world);
        self.desk.metrics.plugin_drops = self.desk.plugins.dropped();
    }

    /// The server stops: each plugin is told, its input is ended, and later it is.
    pub(super) fn stop_plugins(&mut self) {
        self.desk.plugins.stop(self.desk.now.plus_secs(DRAIN_TIME_S));
    }

    /// Ends the input of the plugins that have been told everything.
    pub(super) fn end_inputs(&mut self) {
        if self.stopping && self.desk.connections.is_empty() {
            self.desk.plugins.end_farewells(&mut self.world);
        }
    }
}
