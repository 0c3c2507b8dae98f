//! The store in the turn: what has changed is handed to its process, which is a plugin that is told
//! nothing else. The loop never waits for it.
//!
//! One batch is on its way at a time. What changes meanwhile stays in the hub's state, where later
//! changes of the same thing join it, and so does everything while the process is away or can't
//! write.

use std::time::Duration;

use log::{error, info, warn};

use super::Server;
use crate::hub::{Handed, Outlet as _, Restored, Time};
use crate::limits::{STORE_BATCH_BYTES, STORE_PAUSE_MS, STORE_RETRY_TIME_MS};
use crate::logging::Escaped;
use crate::net::plugins::{Mistake, PluginId, ProcessId, Said};
use crate::net::world::World;
use crate::record::{Change, Record};
use crate::store::worker;

/// How far the loop has come with the store.
#[derive(Debug, Default)]
pub(super) struct Storing {
    /// The process has said that it is there.
    ready: bool,
    /// The batch that is on its way.
    on_its_way: Option<u64>,
    /// Nothing is handed over before.
    next_at: Time,
    /// The last batch could not be written, and the log has been told.
    failing: bool,
    /// What was handed over when the server stopped, by number, as far as it is not confirmed.
    last: Vec<(u64, Vec<Change>)>,
}

impl<W: World> Server<W> {
    /// Takes in what the store has, before anybody is there.
    pub fn restore(&mut self, records: &[Record]) {
        let Restored { rooms, sanctions, left_out } = self.hub.restore(records);
        info!("the store has {rooms} rooms, and {sanctions} bans and mutes of the server");
        for what in left_out {
            warn!("the store: left out: {}", Escaped(&what));
        }
    }

    /// When changes are to be handed over, if there are any that can be.
    pub(super) fn store_due(&self) -> Option<Time> {
        let can = self.storing.ready && self.storing.on_its_way.is_none();
        (can && self.hub.has_changes()).then_some(self.storing.next_at)
    }

    /// Hands over what has changed, when it is time.
    pub(super) fn hand_over_changes(&mut self) {
        if self.store_due().is_some_and(|time| time <= self.desk.now) {
            self.hand_over();
        }
    }

    /// The server stops: what has changed is handed over while it is there, and so is what the
    /// process has not confirmed. A process that has not said anything yet reads it when it has
    /// begun; [`Server::take_unstored`] has what comes to nothing.
    pub(super) fn hand_over_the_last_changes(&mut self) {
        self.hub.changes_lost();
        while let Some(handed) = self.hub.changes(STORE_BATCH_BYTES) {
            self.tell_store(&handed);
            self.storing.last.push((handed.number, handed.changes));
        }
    }

    /// What the store's process has not confirmed when the server has stopped.
    pub(in crate::net) fn take_unstored(&mut self) -> Vec<Change> {
        let last = std::mem::take(&mut self.storing.last);
        last.into_iter().flat_map(|(_, changes)| changes).collect()
    }

    fn hand_over(&mut self) {
        if let Some(handed) = self.hub.changes(STORE_BATCH_BYTES) {
            if self.tell_store(&handed) {
                self.storing.on_its_way = Some(handed.number);
                self.storing.next_at = self.desk.now + Duration::from_millis(STORE_PAUSE_MS);
            } else {
                self.hub.changes_lost();
            }
        }
    }

    fn tell_store(&mut self, handed: &Handed) -> bool {
        let Some(id) = self.desk.plugins.store() else {
            return false;
        };
        let batch = worker::batch(handed.number, &handed.changes);
        self.desk.spent(batch.bytes().len());
        self.desk.plugins.tell_store(id, batch)
    }

    /// `<stored n='…' [error='…'] [new='1'] />`.
    pub(super) fn stored(
        &mut self,
        process: ProcessId,
        said: &Said<'_, '_>,
    ) -> Result<(), Mistake> {
        if self.desk.plugins.store() != Some(process.plugin) {
            return Err(Mistake::NotTheWorker);
        }
        self.storing.ready = true;
        let number = said.number(&["n"])?;
        if self.storing.on_its_way == Some(number) {
            self.storing.on_its_way = None;
        }
        match said.value("error") {
            None => {
                self.hub.changes_stored(number);
                self.storing.last.retain(|(last, _)| *last != number);
                if std::mem::take(&mut self.storing.failing) {
                    info!("the store takes changes again");
                }
                if said.value("new").is_some() {
                    warn!("the store: the file was gone, and is made anew");
                    self.hub.change_all();
                }
            }
            Some(why) => {
                self.hub.changes_lost();
                self.storing.on_its_way = None;
                let pause = Duration::from_millis(STORE_RETRY_TIME_MS);
                self.storing.next_at = self.desk.now + pause;
                if !std::mem::replace(&mut self.storing.failing, true) {
                    error!(
                        "the store can't be written; what changes is lost with this process until \
                         it can: {}",
                        Escaped(why)
                    );
                }
            }
        }
        Ok(())
    }

    /// A process is over: where it was that of the store, what it had not confirmed is handed to
    /// the next one.
    pub(super) fn store_ended(&mut self, id: PluginId) {
        if self.desk.plugins.store() == Some(id) {
            self.hub.changes_lost();
            self.storing.ready = false;
            self.storing.on_its_way = None;
        }
    }
}
