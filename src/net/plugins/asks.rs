//! The questions that plugins are asked and have not answered yet.
//!
//! The first yes decides on a login. No is decided when all plugins have said no. When one could
//! not be asked or could not find out, and none says yes, the answer stays unknown. Of something
//! that needs a permission the first no decides, and yes is decided when all plugins have said yes.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::PluginId;
use super::hook::Hook;
use crate::hub::{QuestionId, Time};
use crate::secret::Secret;

/// The number of something that plugins are asked, which they see and answer under: a question of
/// the hub's about a login may be two of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::net) struct AskId(pub(in crate::net) u64);

/// What a plugin says to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Answer {
    Yes {
        /// The nick was proven by its password.
        account: bool,
    },
    No,
    /// It could not be found out.
    Unknown {
        /// A plugin has said no all the same.
        denied: bool,
    },
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// The hub's question that it is a part of.
    pub(super) question: QuestionId,
    /// What was asked.
    pub(super) hook: Hook,
    /// The answer.
    pub(super) answer: Answer,
    /// What a plugin wants the client to be told that is refused something.
    pub(super) reason: Option<Box<str>>,
}

#[derive(Debug)]
struct Ask {
    question: QuestionId,
    hook: Hook,
    /// Whether a login needs a plugin's yes even where no plugin is asked.
    checked: bool,
    /// The question as it is written, once for all plugins; nothing when it is put to none any
    /// more.
    stanza: Option<Rc<Secret>>,
    /// Who has not answered yet.
    open: Vec<OpenAsk>,
    denied: bool,
    unknown: bool,
    reason: Option<Box<str>>,
}

/// That one plugin has not answered one question.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenAsk {
    pub(super) plugin: PluginId,
    /// Until when it has to have been put and answered, if it has.
    pub(super) deadline: Option<Time>,
    /// The process that it was put to; `None` while it waits for one.
    pub(super) process: Option<u64>,
    /// How many processes it was put to so far.
    pub(super) tries: u8,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Asks {
    by_number: BTreeMap<AskId, Ask>,
    /// The number of the last one; they begin with 1.
    last: AskId,
    decided: VecDeque<Decision>,
    /// Who need not answer any more, and what.
    excused: Vec<(AskId, OpenAsk)>,
    /// How much is open of each plugin.
    counts: BTreeMap<PluginId, usize>,
}

impl Asks {
    /// A new question, under the next number.
    pub(super) fn open(&mut self, question: QuestionId, hook: Hook, checked: bool) -> AskId {
        self.last.0 += 1;
        let ask = Ask {
            question,
            hook,
            checked,
            stanza: None,
            open: Vec::new(),
            denied: false,
            unknown: false,
            reason: None,
        };
        self.by_number.insert(self.last, ask);
        self.last
    }

    /// How a question is written.
    pub(super) fn write(&mut self, ask: AskId, stanza: Secret) {
        if let Some(found) = self.by_number.get_mut(&ask) {
            found.stanza = Some(Rc::new(stanza));
        }
    }

    /// The question as it is written; nothing when it is put to no plugin any more.
    pub(super) fn stanza(&self, ask: AskId) -> Option<Rc<Secret>> {
        self.by_number.get(&ask)?.stanza.clone()
    }

    pub(super) fn hook(&self, ask: AskId) -> Option<Hook> {
        self.by_number.get(&ask).map(|found| found.hook)
    }

    /// A plugin has to answer, or is waited for.
    pub(super) fn add(&mut self, ask: AskId, open: OpenAsk) {
        if let Some(found) = self.by_number.get_mut(&ask) {
            found.open.push(open);
            *self.counts.entry(open.plugin).or_default() += 1;
        }
    }

    /// A plugin that has a say can't be asked.
    pub(super) fn can_not_ask(&mut self, ask: AskId) {
        if let Some(found) = self.by_number.get_mut(&ask) {
            found.unknown = true;
        }
    }

    /// Whether this plugin has been asked this, however it ended.
    pub(super) fn was_asked(&self, ask: AskId, plugin: PluginId) -> bool {
        let own = |open: &OpenAsk| open.plugin == plugin && open.process.is_some();
        match self.by_number.get(&ask) {
            Some(found) => found.denied || found.unknown || found.open.iter().any(own),
            // It is decided, and it is not kept which plugins were asked.
            None => ask > AskId::default() && ask <= self.last,
        }
    }

    /// Takes a plugin's answer; gives what was open. A permission needs every plugin's yes, and a
    /// login one.
    pub(super) fn answer(
        &mut self,
        ask: AskId,
        plugin: PluginId,
        answer: Answer,
        reason: Option<&str>,
    ) -> Option<OpenAsk> {
        let open = self.take_open(ask, plugin)?;
        let found = self.by_number.get_mut(&ask)?;
        let all = found.hook.is_permission();
        match answer {
            Answer::Yes { .. } if all => self.settle(ask, false, false),
            Answer::No if all => {
                found.reason = reason.map(Into::into);
                self.decide(ask, answer);
            }
            Answer::Yes { .. } => self.decide(ask, answer),
            Answer::No => self.settle(ask, true, false),
            Answer::Unknown { denied } => self.settle(ask, denied, true),
        }
        Some(open)
    }

    /// A plugin turns out to have no say in this; gives what was open.
    pub(super) fn excuse(&mut self, ask: AskId, plugin: PluginId) -> Option<OpenAsk> {
        let open = self.take_open(ask, plugin)?;
        self.settle(ask, false, false);
        Some(open)
    }

    /// What a plugin has not answered: its part of it, each with the number.
    pub(super) fn open_of(&self, plugin: PluginId) -> Vec<(AskId, OpenAsk)> {
        let of_ask = |(&number, ask): (&AskId, &Ask)| {
            let open = ask.open.iter().find(|open| open.plugin == plugin);
            open.map(|open| (number, *open))
        };
        self.by_number.iter().filter_map(of_ask).collect()
    }

    /// How many questions wait for a plugin or its answers.
    pub(super) fn count_of(&self, plugin: PluginId) -> usize {
        self.counts.get(&plugin).copied().unwrap_or_default()
    }

    /// Whether this process of a plugin has been put a question that is open.
    pub(super) fn is_asked(&self, plugin: PluginId, process: u64) -> bool {
        let own = |open: &OpenAsk| open.plugin == plugin && open.process == Some(process);
        self.by_number.values().any(|ask| ask.open.iter().any(own))
    }

    /// What is open of one plugin, to be changed.
    pub(super) fn find_open(&mut self, ask: AskId, plugin: PluginId) -> Option<&mut OpenAsk> {
        let found = self.by_number.get_mut(&ask)?;
        found.open.iter_mut().find(|open| open.plugin == plugin)
    }

    /// Takes out what is open of one plugin, without an answer.
    pub(super) fn take_open(&mut self, ask: AskId, plugin: PluginId) -> Option<OpenAsk> {
        let found = self.by_number.get_mut(&ask)?;
        let place = found.open.iter().position(|open| open.plugin == plugin)?;
        let open = found.open.swap_remove(place);
        self.uncount(&[open]);
        Some(open)
    }

    /// The answer is not needed: the question is put to no plugin any more. The plugins that it was
    /// not put to are given; those that have it may answer, and with their answers it is settled.
    pub(super) fn cancel(&mut self, ask: AskId) -> Vec<OpenAsk> {
        let Some(found) = self.by_number.get_mut(&ask) else {
            return Vec::new();
        };
        found.stanza = None;
        let (put, unput): (Vec<_>, Vec<_>) =
            found.open.iter().partition(|open| open.process.is_some());
        found.open = put;
        self.uncount(&unput);
        unput
    }

    /// Forgets a question; gives what plugins have not answered of it.
    pub(super) fn forget(&mut self, ask: AskId) -> Vec<(AskId, OpenAsk)> {
        let found = self.by_number.remove(&ask);
        if let Some(found) = &found {
            self.uncount(&found.open);
        }
        found.into_iter().flat_map(|found| found.open).map(|open| (ask, open)).collect()
    }

    /// Decides when no plugin is left to answer. `denied` and `unknown` tell what the last one has
    /// said.
    pub(super) fn settle(&mut self, ask: AskId, denied: bool, unknown: bool) {
        let Some(found) = self.by_number.get_mut(&ask) else {
            return;
        };
        found.denied |= denied;
        found.unknown |= unknown;
        if !found.open.is_empty() {
            return;
        }
        let answer = if found.unknown {
            Answer::Unknown { denied: found.denied }
        } else if found.denied {
            Answer::No
        } else if found.hook != Hook::IsRoot && !found.checked {
            // When no plugin is asked, a login is allowed, and a request to be root is not. What
            // needs a permission has it from all who were asked.
            Answer::Yes { account: false }
        } else {
            Answer::Unknown { denied: false }
        };
        self.decide(ask, answer);
    }

    /// Who still has to answer what, and until when.
    pub(super) fn open_ones(&self) -> impl Iterator<Item = (AskId, OpenAsk)> {
        let of_ask = |(&number, ask): (&AskId, &Ask)| {
            ask.open.iter().map(move |open| (number, *open)).collect::<Vec<_>>()
        };
        self.by_number.iter().flat_map(of_ask)
    }

    /// How many questions there are.
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// The next of those who need not answer any more, and what.
    pub(super) fn take_excused(&mut self) -> Option<(AskId, OpenAsk)> {
        self.excused.pop()
    }

    pub(super) fn take_decision(&mut self) -> Option<Decision> {
        self.decided.pop_front()
    }

    /// Whether a decision waits to be taken.
    pub(super) fn has_decisions(&self) -> bool {
        !self.decided.is_empty()
    }

    fn uncount(&mut self, closed: &[OpenAsk]) {
        for open in closed {
            if let Some(count) = self.counts.get_mut(&open.plugin) {
                *count -= 1;
            }
        }
    }

    /// Checks that what is open is counted.
    pub(super) fn check_invariants(&self) {
        let mut counts: BTreeMap<PluginId, usize> = BTreeMap::new();
        for (_, open) in self.open_ones() {
            *counts.entry(open.plugin).or_default() += 1;
        }
        let counted = self.counts.iter().filter(|(_, count)| **count > 0);
        assert!(counted.eq(counts.iter()), "what plugins are asked is counted");
    }

    fn decide(&mut self, number: AskId, answer: Answer) {
        if let Some(ask) = self.by_number.remove(&number) {
            self.uncount(&ask.open);
            self.excused.extend(ask.open.iter().map(|open| (number, *open)));
            let Ask { question, hook, reason, .. } = ask;
            self.decided.push_back(Decision { question, hook, answer, reason });
        }
    }
}
