//! The lives of plugins' processes: they are started, started again and ended.

use log::{error, info, warn};

use super::Server;
use super::stanzas::tell_dropped_lines;
use crate::config::Module;
use crate::logging::Escaped;
use crate::net::plugins::{NextStart, PluginId, Plugins, ProcessId};
use crate::net::world::World;

impl<W: World> Server<W> {
    /// Takes in the plugins; they are started in the first turn.
    pub fn set_plugins(&mut self, modules: Vec<Module>) {
        let max = self.hub.settings().limits.backlog_bytes_max;
        self.desk.plugins = Plugins::new(modules, max, self.desk.now);
    }

    /// Sets the server's own worker, or that there is none: started where it did not run, and with
    /// `anew` in any case, because it has to read its settings again. Logins that the old one was
    /// asked about are answered by it.
    pub fn set_worker(&mut self, worker: Option<Module>, anew: bool) {
        self.desk.plugins.set_worker(worker, anew, self.desk.now);
        self.tell_hub_of_plugins();
    }

    pub(super) fn start_if_due(&mut self, id: PluginId) {
        let now = self.desk.now;
        if self.stopping || !self.desk.plugins.is_to_start(id, now) {
            return;
        }
        let module = &self.desk.plugins.plugin(id).module;
        match self.world.start(id.index(), module) {
            Ok(process) => {
                info!("plugin {} started", module.name);
                self.desk.plugins.started(id, process, now);
            }
            Err(cause) => {
                error!("plugin {}: can't start {}: {cause}", module.name, module.program.display());
                self.plan_restart(id);
            }
        }
    }

    /// The present process of a plugin is over or could not be started.
    fn plan_restart(&mut self, id: PluginId) {
        self.store_ended(id);
        let restart = self.desk.plugins.ended(id, self.desk.now, self.stopping);
        let name = self.desk.plugins.name(id);
        match restart {
            NextStart::AfterS(wait_s) => warn!("plugin {name} is started again in {wait_s} s"),
            NextStart::Never => {
                error!("plugin {name} is not started again ([module {name}] restart)");
            }
            NextStart::AtOnce | NextStart::Unwanted => {}
        }
    }

    /// Goes on with the end of a process that has ended, or has to.
    pub(super) fn end_if_over(&mut self, process: ProcessId) {
        let (id, now) = (process.plugin, self.desk.now);
        let name = self.desk.plugins.name(id).to_owned();
        let Some(child) = self.desk.plugins.child(process) else {
            return;
        };
        let Some(how) = child.go_on_ending(&mut self.world, now) else {
            return;
        };
        child.tell_line(now, |line, _| info!("plugin {name} says: {}", Escaped(line)));
        let retired = self.desk.plugins.is_retired(process);
        let expected = if retired {
            self.desk.plugins.retired_ended(process, now)
        } else {
            self.desk.plugins.restarts_at_once(id)
        };
        if self.stopping || expected {
            info!("plugin {name}: {how}");
        } else {
            error!("plugin {name}: {how}");
        }
        if !retired {
            self.plan_restart(id);
        }
    }

    pub(super) fn read_errors_of(&mut self, process: ProcessId) {
        let name = self.desk.plugins.name(process.plugin).to_owned();
        if let Some(child) = self.desk.plugins.child(process) {
            child.read_errors(
                &mut self.world,
                &mut self.scratch,
                self.desk.now,
                |line, dropped| {
                    tell_dropped_lines(&name, dropped);
                    info!("plugin {name} says: {}", Escaped(line.trim_end_matches('\r')));
                },
            );
        }
    }
}
