//! What waits to be written to one plugin, in two lanes.
//!
//! Questions and answers go before events: a plugin that is behind with what happens is asked
//! about logins all the same, and what one client does can't take its question from another. A
//! stanza that is written in part is finished first. How many questions there are is bounded where
//! they are asked, answers and events here.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use memchr::memchr;
use smallvec::SmallVec;

use super::AskId;
use crate::limits::PLUGIN_SLICES_MAX;
use crate::secret::Secret;
use crate::wire::framer::FRAME_END;

/// Memory that events keep when all are written.
const KEPT_BYTES: usize = 4_096;

/// What goes first.
#[derive(Debug)]
enum Urgent {
    /// A question, by its number.
    Question(AskId, Rc<Secret>),
    /// What the plugin has asked for.
    Answer(Vec<u8>),
    /// What the process reads before anything else.
    Input(Secret),
}

impl Urgent {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Question(_, stanza) => stanza.bytes(),
            Self::Answer(stanza) => stanza,
            Self::Input(input) => input.bytes(),
        }
    }
}

/// What waits for one process.
#[derive(Debug, Default)]
pub(in crate::net) struct Lanes {
    urgent: VecDeque<Urgent>,
    /// Bytes of the first urgent one that are written.
    urgent_sent: usize,
    /// Bytes of the answers.
    answer_bytes: usize,
    events: Vec<u8>,
    /// Those before are written.
    head: usize,
    /// The first event is written in part.
    event_begun: bool,
}

impl Lanes {
    /// Whether nothing waits.
    pub(in crate::net) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.head == self.events.len()
    }

    /// Bytes of events that wait.
    pub(super) const fn event_bytes(&self) -> usize {
        self.events.len() - self.head
    }

    /// Puts what the process is to read before anything else, if it is anything.
    pub(super) fn begin_with(&mut self, input: Secret) {
        if !input.bytes().is_empty() {
            self.urgent.push_front(Urgent::Input(input));
        }
    }

    /// Puts what only the server's own process reads behind the urgent ones.
    pub(super) fn push_input(&mut self, input: Secret) {
        self.urgent.push_back(Urgent::Input(input));
    }

    /// Puts a question behind the urgent ones.
    pub(super) fn push_question(&mut self, ask: AskId, stanza: Rc<Secret>) {
        self.urgent.push_back(Urgent::Question(ask, stanza));
    }

    /// Takes a question back; `false` when it is written, in part at least.
    pub(super) fn take_back(&mut self, ask: AskId) -> bool {
        let begun = usize::from(self.urgent_sent > 0);
        let mut waiting = self.urgent.iter().skip(begun);
        let own = |urgent: &Urgent| matches!(urgent, Urgent::Question(own, _) if *own == ask);
        let place = waiting.position(own);
        place.and_then(|place| self.urgent.remove(begun + place)).is_some()
    }

    /// Puts an answer, without its NUL, behind the urgent ones; `false` when more than `max` bytes
    /// of answers would wait.
    pub(super) fn push_answer(&mut self, mut stanza: Vec<u8>, max: usize) -> bool {
        stanza.push(FRAME_END);
        let bytes = self.answer_bytes + stanza.len();
        if bytes > max {
            return false;
        }
        self.answer_bytes = bytes;
        self.urgent.push_back(Urgent::Answer(stanza));
        true
    }

    /// Has an event written behind the others; `false`, and it is not there, when more than `max`
    /// bytes would wait.
    pub(super) fn push_event(&mut self, max: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let before = self.events.len();
        write(&mut self.events);
        self.events.push(FRAME_END);
        let fits = self.event_bytes() <= max;
        if !fits {
            self.events.truncate(before);
        }
        fits
    }

    /// Forgets everything.
    pub(in crate::net) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes as much as the process takes in one system call; gives the number of bytes.
    ///
    /// # Errors
    /// As [`World::write_input`](crate::net::world::World::write_input).
    pub(in crate::net) fn write(
        &mut self,
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let begun = self.rest_of_event();
        let events = &self.events[self.head..];
        let mut slices: SmallVec<[IoSlice<'_>; PLUGIN_SLICES_MAX + 2]> = SmallVec::new();
        slices.push(IoSlice::new(&events[..begun]));
        for (place, urgent) in self.urgent.iter().take(PLUGIN_SLICES_MAX).enumerate() {
            let sent = if place == 0 { self.urgent_sent } else { 0 };
            slices.push(IoSlice::new(&urgent.bytes()[sent..]));
        }
        if self.urgent.len() <= PLUGIN_SLICES_MAX {
            slices.push(IoSlice::new(&events[begun..]));
        }
        slices.retain(|slice| !slice.is_empty());
        let written = write(&slices)?;
        drop(slices);
        self.written(written, begun);
        Ok(written)
    }

    /// How much of the first event is left, when it was begun and no urgent stanza was since.
    fn rest_of_event(&self) -> usize {
        let events = &self.events[self.head..];
        if !self.event_begun || self.urgent_sent > 0 {
            return 0;
        }
        memchr(FRAME_END, events).map_or(events.len(), |end| end + 1)
    }

    /// So many bytes are written, those of an event that was begun first.
    fn written(&mut self, count: usize, begun: usize) {
        let mut left = count;
        let of_event = left.min(begun);
        self.head += of_event;
        if begun > 0 {
            self.event_begun = of_event < begun;
        }
        left -= of_event;
        while left > 0
            && let Some(first) = self.urgent.front()
        {
            let rest = first.bytes().len() - self.urgent_sent;
            if left < rest {
                self.urgent_sent += left;
                return;
            }
            left -= rest;
            self.urgent_sent = 0;
            if let Some(Urgent::Answer(stanza)) = self.urgent.pop_front() {
                self.answer_bytes -= stanza.len();
            }
        }
        if left > 0 {
            self.head += left;
            self.event_begun = self.events[self.head - 1] != FRAME_END;
        }
        self.compact();
    }

    fn compact(&mut self) {
        if self.head == self.events.len() {
            self.events.clear();
            self.events.shrink_to(KEPT_BYTES);
            self.head = 0;
        } else if self.head > self.events.len() / 2 {
            self.events.drain(..self.head);
            self.head = 0;
        }
    }

    /// Checks that the answers are counted.
    pub(super) fn check_invariants(&self, max: usize) {
        let answers = self.urgent.iter().filter_map(|urgent| match urgent {
            Urgent::Answer(stanza) => Some(stanza.len()),
            Urgent::Question(..) | Urgent::Input(_) => None,
        });
        assert_eq!(self.answer_bytes, answers.sum::<usize>(), "bytes of answers");
        // A word about what was dropped goes in any case.
        let events_max = max.max(128);
        assert!(self.event_bytes() <= events_max && self.answer_bytes <= max, "too much waits");
        let first = self.urgent.front().map_or(1, |urgent| urgent.bytes().len());
        assert!(self.urgent_sent < first, "an urgent stanza that is written is still there");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that takes so many bytes each time.
    #[derive(Debug)]
    struct Narrow {
        room: usize,
        taken: Vec<u8>,
        slices: usize,
    }

    impl Narrow {
        fn of(room: usize) -> Self {
            Self { room, taken: Vec::new(), slices: 0 }
        }
    }

    impl Narrow {
        fn take(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.slices = slices.len();
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let count = bytes.len().min(self.room);
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
    }

    fn event(lanes: &mut Lanes, text: &str) -> bool {
        lanes.push_event(100, |buffer| buffer.extend_from_slice(text.as_bytes()))
    }

    fn question(lanes: &mut Lanes, ask: AskId, text: &str) {
        let write = |buffer: &mut Vec<u8>| buffer.extend_from_slice(format!("{text}\0").as_bytes());
        lanes.push_question(ask, Rc::new(Secret::written(100, write)));
    }

    #[test]
    fn what_is_urgent_goes_first_and_no_stanza_is_torn() {
        // However little the process takes at a time, and whenever the rest comes.
        for room in 1..12 {
            for before in 0..12 {
                let mut lanes = Lanes::default();
                let mut process = Narrow::of(room);
                assert!(event(&mut lanes, "<e1/>") && event(&mut lanes, "<e2/>"));
                for _ in 0..before {
                    lanes.write(|slices| process.take(slices)).unwrap();
                }
                let written = process.taken.len();
                question(&mut lanes, AskId(1), "<q1/>");
                assert!(lanes.push_answer(b"<a1/>".to_vec(), 100));
                assert!(event(&mut lanes, "<e3/>"));
                while !lanes.is_empty() {
                    lanes.write(|slices| process.take(slices)).unwrap();
                    lanes.check_invariants(100);
                }
                let said = String::from_utf8(process.taken).unwrap();
                let expected = match written {
                    0 => "<q1/>\0<a1/>\0<e1/>\0<e2/>\0<e3/>\0",
                    1..=6 => "<e1/>\0<q1/>\0<a1/>\0<e2/>\0<e3/>\0",
                    _ => "<e1/>\0<e2/>\0<q1/>\0<a1/>\0<e3/>\0",
                };
                assert_eq!(said, expected, "{room} bytes at a time, {written} before");
            }
        }
    }

    #[test]
    fn a_question_can_be_taken_back_before_its_first_byte_is_written() {
        let mut lanes = Lanes::default();
        for ask in 1..=3 {
            question(&mut lanes, AskId(ask), &format!("<q{ask}/>"));
        }
        let mut process = Narrow::of(1);
        lanes.write(|slices| process.take(slices)).unwrap();
        assert!(!lanes.take_back(AskId(1)), "it is begun");
        assert!(
            lanes.take_back(AskId(2)) && !lanes.take_back(AskId(2)) && !lanes.take_back(AskId(9))
        );
        process.room = 100;
        lanes.write(|slices| process.take(slices)).unwrap();
        assert_eq!(process.taken, b"<q1/>\0<q3/>\0");
        assert!(lanes.is_empty());
    }

    #[test]
    fn of_what_is_urgent_only_so_much_is_written_at_once_and_no_event_before_the_rest() {
        let most = PLUGIN_SLICES_MAX;
        for (questions, slices, all) in [(most, most + 1, true), (most + 1, most, false)] {
            let mut lanes = Lanes::default();
            assert!(event(&mut lanes, "<e/>"));
            (0..questions).for_each(|ask| question(&mut lanes, AskId(ask as u64), "<q/>"));
            let mut process = Narrow::of(usize::MAX);
            lanes.write(|slices| process.take(slices)).unwrap();
            assert_eq!((process.slices, lanes.is_empty()), (slices, all), "{questions}");
        }
    }

    #[test]
    fn events_and_answers_have_a_bound_each_and_questions_do_not_share_it() {
        let mut lanes = Lanes::default();
        while event(&mut lanes, "<event/>") {}
        assert_eq!(lanes.event_bytes(), 99);
        while lanes.push_answer(b"<answer/>".to_vec(), 100) {}
        question(&mut lanes, AskId(1), "<q/>");
        lanes.check_invariants(100);
        let mut process = Narrow::of(usize::MAX);
        lanes.write(|slices| process.take(slices)).unwrap();
        assert_eq!(process.taken.len(), 99 + 100 + 5);
        assert!(lanes.is_empty() && event(&mut lanes, "<event/>"));
    }
}
