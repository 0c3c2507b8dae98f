//! The questions that plugins have been asked and have not answered yet.
//!
//! The first yes decides; no is decided when all have said no, or have not answered in time.

use std::collections::{BTreeMap, VecDeque};

use super::hook::Hook;
use crate::hub::Time;

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) struct Decision {
    /// The hub's question that it is a part of.
    pub(in crate::net) question: u64,
    /// What was asked.
    pub(in crate::net) hook: Hook,
    /// The answer.
    pub(in crate::net) allowed: bool,
}

#[derive(Debug)]
struct Ask {
    question: u64,
    hook: Hook,
    /// Who has not answered yet.
    open: Vec<Open>,
    /// Somebody has said no.
    denied: bool,
}

#[derive(Debug)]
struct Open {
    plugin: usize,
    deadline: Time,
    /// The question, while nobody knows whether it is for this plugin.
    unsaid: Option<Vec<u8>>,
}

/// A plugin that need not answer any more, until when it might have, and the question.
type Excused = (usize, Time, u64);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Asks {
    by_number: BTreeMap<u64, Ask>,
    /// The number of the last one; they begin with 1.
    last: u64,
    decided: VecDeque<(Decision, Vec<Excused>)>,
}

impl Asks {
    pub(super) fn open(&mut self, question: u64, hook: Hook) -> u64 {
        self.last += 1;
        self.by_number.insert(self.last, Ask { question, hook, open: Vec::new(), denied: false });
        self.last
    }

    pub(super) fn add(&mut self, ask: u64, plugin: usize, deadline: Time, unsaid: Option<Vec<u8>>) {
        if let Some(ask) = self.by_number.get_mut(&ask) {
            ask.open.push(Open { plugin, deadline, unsaid });
        }
    }

    /// Somebody who can't be asked says no.
    pub(super) fn deny(&mut self, ask: u64) {
        if let Some(ask) = self.by_number.get_mut(&ask) {
            ask.denied = true;
        }
    }

    /// Whether this plugin has been asked this, however it ended.
    pub(super) fn was_asked(&self, ask: u64, plugin: usize) -> bool {
        match self.by_number.get(&ask) {
            Some(found) => {
                found.denied
                    || found.open.iter().any(|open| open.plugin == plugin && open.unsaid.is_none())
            }
            // It is decided: nobody remembers whom it was asked.
            None => ask > 0 && ask <= self.last,
        }
    }

    /// Takes an answer; gives until when it would have been in time.
    pub(super) fn answer(&mut self, ask: u64, plugin: usize, allowed: bool) -> Option<Time> {
        let found = self.by_number.get_mut(&ask)?;
        let place = found.open.iter().position(|open| open.plugin == plugin)?;
        let open = found.open.swap_remove(place);
        if allowed {
            self.decide(ask, true);
        } else {
            found.denied = true;
            self.close_if_settled(ask);
        }
        Some(open.deadline)
    }

    /// A plugin turns out to have no say in this.
    pub(super) fn excuse(&mut self, ask: u64, plugin: usize) {
        if let Some(found) = self.by_number.get_mut(&ask) {
            found.open.retain(|open| open.plugin != plugin);
            self.close_if_settled(ask);
        }
    }

    /// A plugin is gone; what it would have had to answer, and until when.
    pub(super) fn deny_all_of(&mut self, plugin: usize) -> Vec<(u64, Time)> {
        let asked = |ask: &Ask| ask.open.iter().any(|open| open.plugin == plugin);
        let numbers: Vec<u64> = self
            .by_number
            .iter()
            .filter(|(_, ask)| asked(ask))
            .map(|(number, _)| *number)
            .collect();
        let deny = |number| self.answer(number, plugin, false).map(|deadline| (number, deadline));
        numbers.into_iter().filter_map(deny).collect()
    }

    /// What was not put to a plugin because nobody knew what it is: number, hook, question and
    /// until when it would have waited.
    pub(super) fn waiting_for(&mut self, plugin: usize) -> Vec<(u64, Hook, Vec<u8>, Time)> {
        let mut waiting = Vec::new();
        for (&number, ask) in &mut self.by_number {
            for open in ask.open.iter_mut().filter(|open| open.plugin == plugin) {
                if let Some(stanza) = open.unsaid.take() {
                    waiting.push((number, ask.hook, stanza, open.deadline));
                }
            }
        }
        waiting
    }

    pub(super) fn set_deadline(&mut self, ask: u64, plugin: usize, deadline: Time) {
        let asked = self.by_number.get_mut(&ask);
        if let Some(open) =
            asked.and_then(|ask| ask.open.iter_mut().find(|open| open.plugin == plugin))
        {
            open.deadline = deadline;
        }
    }

    /// Nobody is left to answer: it is decided. Whoever is asked by nobody is let in, and not
    /// as root.
    pub(super) fn close_if_settled(&mut self, ask: u64) {
        if let Some(found) = self.by_number.get(&ask)
            && found.open.is_empty()
        {
            let allowed = !found.denied && found.hook == Hook::IsAuthorized;
            self.decide(ask, allowed);
        }
    }

    /// Who still has to answer what, and until when.
    pub(super) fn open_ones(&self) -> impl Iterator<Item = Excused> {
        let excused = self.decided.iter().flat_map(|(_, excused)| excused.iter().copied());
        let open = self.by_number.iter().flat_map(|(&number, ask)| {
            ask.open.iter().map(move |open| (open.plugin, open.deadline, number))
        });
        open.chain(excused)
    }

    pub(super) fn take_decision(&mut self) -> Option<(Decision, Vec<Excused>)> {
        self.decided.pop_front()
    }

    fn decide(&mut self, number: u64, allowed: bool) {
        if let Some(ask) = self.by_number.remove(&number) {
            let excused =
                ask.open.iter().map(|open| (open.plugin, open.deadline, number)).collect();
            let decision = Decision { question: ask.question, hook: ask.hook, allowed };
            self.decided.push_back((decision, excused));
        }
    }
}
