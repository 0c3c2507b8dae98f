//! What a turn has to deliver: every stanza encoded once, and for each connection the pieces of
//! that which it gets, merged where they touch.
//!
//! Stanzas for the members of a room stand in a log of that room, one behind the other, so that
//! what is said elsewhere in the same turn does not come between them; all others stand in a log of
//! their own. One small entry a connection, all of them side by side, is all that queueing a stanza
//! for thousands of receivers looks at. A receiver whose stanzas lie together, which is the rule in
//! a room, has one piece; where it has more, the earlier ones hang in a chain that all connections
//! share. Nothing here allocates once the turn's size has been seen.
//!
//! A piece ends where its *run* ends: stanzas that lie together and were queued for the same
//! receivers, nothing else having been queued in between. What one member says to its room
//! stanza after stanza is a run that becomes longer, without a look at the receivers.

use std::collections::VecDeque;

use crate::hub::{ConnId, Roster, Span};
use crate::limits::{CROWD, TURN_BYTES_MAX, TURN_DELIVERED_BYTES_MAX, TURN_PIECES_MAX};
use crate::wire::framer::FRAME_END;

/// Capacity that is kept between turns: `FIRST_LOG_KEPT_BYTES` by each of the first `FIRST_LOGS`
/// logs, `LOG_KEPT_BYTES` by each of the rest. What a burst added is freed. A saturated room of 100
/// needs some 10 KB.
const FIRST_LOGS: usize = 2;
const FIRST_LOG_KEPT_BYTES: usize = 524_288;
const LOG_KEPT_BYTES: usize = 16_384;
/// Logs that are kept at all: rooms in which something is said in the same turn.
const LOGS_KEPT: usize = 128;
/// The same for links of chains and for runs.
const LINKS_KEPT: usize = 16_384;
const RUNS_KEPT: usize = 16_384;
const CROWD_KEPT: usize = 16_384;

/// What it takes to queue a stanza for a receiver, and to begin a piece and to write it, in
/// nanoseconds: `cargo bench --bench micro hub-message` and
/// `palabre-bench rude --attack deliveries`.
const DELIVERY_WORK_NS: usize = 8;
const PIECE_WORK_NS: usize = 24;

/// The log of stanzas that are not for the members of a room.
const OWN_LOG: u32 = 0;

/// No connection has this generation.
const NOBODY: u32 = 0;

/// The end of a chain.
const END: u32 = u32::MAX;

/// All deliveries of a turn.
#[derive(Debug)]
pub(super) struct Deliveries {
    /// The stanzas encoded since the last flush: [`OWN_LOG`], and one log for each room that
    /// has something to hear; the logs behind `logs_used` are empty.
    logs: Vec<Vec<u8>>,
    logs_used: u32,
    /// By room, the turn in which it last had a log, and which.
    log_of_room: Vec<(u32, u32)>,
    turn: u32,
    encoded_bytes: usize,
    /// Receivers that stanzas were queued for one by one, those who take nothing more included:
    /// that is found out at each.
    queued: usize,
    /// Bytes of all stanzas queued, each counted once for each receiver.
    delivered_bytes: usize,
    /// A connection with more than this for it in one turn is to be written to before more is
    /// queued.
    share_bytes_max: usize,
    /// There is such a connection.
    is_overfull: bool,
    /// Where the runs of this turn end; only the last one can become longer. The first is that
    /// of the connections for which nothing is queued.
    run_ends: Vec<usize>,
    /// The receivers of the last run; `None` when it may not become longer.
    last_audience: Option<Audience>,
    /// By slot.
    entries: Vec<QueueEntry>,
    links: Vec<Link>,
    /// Slots of those that have something to flush or to finish.
    dirty: Vec<usize>,
    /// Slots of those that have something to flush because a crowd was told something. They may be
    /// flushed later than the others, and may be among the others as well.
    crowd: VecDeque<usize>,
}

/// All members of a room but one.
#[derive(Clone, Copy, Debug)]
struct Audience {
    roster_number: u64,
    except: Option<ConnId>,
    /// Where what they get stands.
    log: u32,
    /// How many of them take something.
    open: usize,
    /// Bytes queued for the one with most, or more.
    share_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct QueueEntry {
    /// Whose entry this is; [`NOBODY`] when nothing more is to be queued.
    generation: u32,
    /// The chain of the pieces before the last one.
    first: u32,
    newest: u32,
    /// Whether there is a connection in this slot, if only one that is closing.
    occupied: bool,
    /// On the list of those to flush.
    in_dirty: bool,
    /// On the list of those to flush because a crowd was told something.
    in_crowd: bool,
    /// The last piece: its log, where it starts, and the run with which it ends. A turn's log is
    /// far shorter than a `u32` counts.
    log: u32,
    run: u32,
    start: u32,
    /// Bytes of the pieces before it.
    earlier_bytes: u32,
}

const EMPTY: Span = Span { log: OWN_LOG, start: 0, end: 0 };

/// The run of the connections for which nothing is queued; it ends at 0.
const NO_RUN: u32 = 0;

const VACANT: QueueEntry = QueueEntry {
    generation: NOBODY,
    first: END,
    newest: END,
    occupied: false,
    in_dirty: false,
    in_crowd: false,
    log: OWN_LOG,
    run: NO_RUN,
    start: 0,
    earlier_bytes: 0,
};

/// A piece that others follow.
#[derive(Clone, Copy, Debug)]
struct Link {
    span: Span,
    next: u32,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self {
            logs: vec![Vec::new()],
            logs_used: 1,
            log_of_room: Vec::new(),
            // Rooms that never had a log carry 0.
            turn: 1,
            encoded_bytes: 0,
            queued: 0,
            delivered_bytes: 0,
            share_bytes_max: usize::MAX,
            is_overfull: false,
            run_ends: vec![0],
            last_audience: None,
            entries: Vec::new(),
            links: Vec::new(),
            dirty: Vec::new(),
            crowd: VecDeque::new(),
        }
    }
}

impl Deliveries {
    /// Encodes one stanza: `write` appends its text, the NUL follows.
    pub(super) fn encode(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        self.encode_in(OWN_LOG, write)
    }

    /// Encodes one stanza for members of a room.
    pub(super) fn encode_for_room(&mut self, room: u32, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let log = self.log_of(room);
        self.encode_in(log, write)
    }

    fn encode_in(&mut self, log: u32, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let bytes = &mut self.logs[log as usize];
        let start = bytes.len();
        write(bytes);
        bytes.push(FRAME_END);
        let end = bytes.len();
        self.encoded_bytes += end - start;
        Span { log, start, end }
    }

    /// The log of a room in this turn. Should two rooms ever share one, after as many turns as
    /// a `u32` counts, nothing is lost but their separation.
    fn log_of(&mut self, room: u32) -> u32 {
        let room = room as usize;
        if room >= self.log_of_room.len() {
            self.log_of_room.resize(room + 1, (0, OWN_LOG));
        }
        let (turn, log) = &mut self.log_of_room[room];
        if *turn != self.turn || *log >= self.logs_used {
            (*turn, *log) = (self.turn, self.logs_used);
            self.logs_used += 1;
            if self.logs.len() < self.logs_used as usize {
                self.logs.push(Vec::new());
            }
        }
        *log
    }

    /// A stanza of this turn, without its NUL.
    pub(super) fn stanza(&self, span: Span) -> &[u8] {
        &self.logs[span.log as usize][span.start..span.end - 1]
    }

    /// Bytes encoded since the last flush.
    pub(super) const fn encoded_bytes(&self) -> usize {
        self.encoded_bytes
    }

    /// Sets how many bytes may be queued for one connection before it is to be written to.
    pub(super) const fn set_share(&mut self, bytes: usize) {
        self.share_bytes_max = bytes;
    }

    /// Whether more is queued than one turn may hold, so that it is to be written out first.
    pub(super) const fn is_full(&self) -> bool {
        self.is_overfull
            || self.encoded_bytes >= TURN_BYTES_MAX
            || self.delivered_bytes >= TURN_DELIVERED_BYTES_MAX
            || self.links.len() >= TURN_PIECES_MAX
    }

    /// About how long what was queued since the last flush has taken and will take, in
    /// nanoseconds, but for what each receiver costs by itself.
    pub(super) const fn work_ns(&self) -> u64 {
        let by_count = self.queued * DELIVERY_WORK_NS + self.links.len() * PIECE_WORK_NS;
        (by_count + self.encoded_bytes / 2 + self.delivered_bytes / 2) as u64
    }

    /// How many connections are to be written to, or more.
    pub(super) fn receivers(&self) -> usize {
        self.dirty.len() + self.crowd.len()
    }

    /// How many connections are to be written to because a crowd was told something.
    pub(super) fn crowded(&self) -> usize {
        self.crowd.len()
    }

    /// Bytes queued for a connection since the last flush.
    pub(super) fn share_bytes(&self, slot: usize) -> usize {
        let entry = self.entries.get(slot).unwrap_or(&VACANT);
        entry.earlier_bytes as usize + self.run_ends[entry.run as usize] - entry.start as usize
    }

    /// From now on stanzas can be queued for this connection.
    pub(super) fn open(&mut self, conn: ConnId) {
        let slot = conn.slot as usize;
        if slot >= self.entries.len() {
            self.entries.resize(slot + 1, VACANT);
        }
        debug_assert!(conn.generation != NOBODY, "generations begin with 1");
        self.entries[slot] = QueueEntry { generation: conn.generation, occupied: true, ..VACANT };
        self.last_audience = None;
    }

    /// Nothing more is queued for this connection; what is queued is still sent.
    pub(super) fn refuse(&mut self, slot: usize) {
        if let Some(entry) = self.entries.get_mut(slot) {
            entry.generation = NOBODY;
        }
        self.last_audience = None;
    }

    /// Drops what is queued for this connection in this turn.
    pub(super) fn forget(&mut self, slot: usize) {
        if let Some(entry) = self.entries.get_mut(slot) {
            (entry.first, entry.newest, entry.run) = (END, END, NO_RUN);
            (entry.start, entry.earlier_bytes) = (0, 0);
        }
        self.last_audience = None;
    }

    /// A connection's slot is free again. The memory of many goes with the last of them.
    pub(super) fn release(&mut self, slot: usize) {
        if let Some(entry) = self.entries.get_mut(slot) {
            *entry = VACANT;
        }
        while self.entries.last().is_some_and(|entry| !entry.occupied) {
            self.entries.pop();
        }
        if self.entries.capacity() > 4 * self.entries.len().max(1_024) {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// Queues a stanza for one connection; gives how many deliveries that is: none when the
    /// connection is another one by now or takes nothing more.
    pub(super) fn push(&mut self, to: ConnId, span: Span) -> usize {
        let run = self.begin_run(span.end);
        let share_bytes = self.queue(to, span, run, false);
        let open = usize::from(share_bytes > 0);
        self.queued += 1;
        self.count(open, span, share_bytes);
        open
    }

    /// Queues a stanza for all members of a room but one; gives how many deliveries that is.
    #[inline]
    pub(super) fn push_all(&mut self, to: Roster<'_>, except: Option<ConnId>, span: Span) -> usize {
        match self.lengthen_run(to, except, span) {
            Some(open) => open,
            None => self.push_run(to, except, span),
        }
    }

    /// Begins a run for all members of a room but one.
    fn push_run(&mut self, to: Roster<'_>, except: Option<ConnId>, span: Span) -> usize {
        let run = self.begin_run(span.end);
        let (mut open, mut most) = (0, 0);
        let crowd = to.members.len() > CROWD;
        for &conn in to.members {
            if Some(conn) != except {
                let share_bytes = self.queue(conn, span, run, crowd);
                open += usize::from(share_bytes > 0);
                most = most.max(share_bytes);
            }
        }
        let (roster_number, log, share_bytes) = (to.number, span.log, most);
        self.last_audience = Some(Audience { roster_number, except, log, open, share_bytes });
        self.queued += to.members.len();
        self.count(open, span, most);
        open
    }

    /// Queues a stanza for some of a room's members; gives how many deliveries that is.
    pub(super) fn push_some(&mut self, to: &[ConnId], span: Span) -> usize {
        to.iter().map(|&conn| self.push(conn, span)).sum()
    }

    /// Counts a stanza for so many receivers, of which one has so many bytes queued by now.
    const fn count(&mut self, open: usize, span: Span, share_bytes: usize) {
        self.delivered_bytes += open * span.bytes();
        self.is_overfull |= share_bytes > self.share_bytes_max;
    }

    /// Begins a run with a stanza that ends there.
    fn begin_run(&mut self, end: usize) -> u32 {
        // A turn's stanzas are far fewer than a `u32` counts.
        let run = self.run_ends.len() as u32;
        self.run_ends.push(end);
        self.last_audience = None;
        run
    }

    /// Queues a stanza that goes on with the last run; gives how many deliveries that is, or
    /// `None` when it does not go on with it.
    #[inline]
    fn lengthen_run(
        &mut self,
        to: Roster<'_>,
        except: Option<ConnId>,
        span: Span,
    ) -> Option<usize> {
        let last = self.last_audience.as_mut()?;
        let end = self.run_ends.last_mut()?;
        let goes_on = last.roster_number == to.number
            && last.except == except
            && last.log == span.log
            && *end == span.start;
        if !goes_on {
            return None;
        }
        *end = span.end;
        last.share_bytes += span.bytes();
        let (open, share_bytes) = (last.open, last.share_bytes);
        self.count(open, span, share_bytes);
        Some(open)
    }

    /// Queues a stanza with which this run begins, for one of a crowd or not; gives how many bytes
    /// that makes for the connection, none when it takes nothing.
    #[inline]
    fn queue(&mut self, to: ConnId, span: Span, run: u32, crowd: bool) -> usize {
        let slot = to.slot as usize;
        let Some(entry) = self.entries.get_mut(slot) else {
            return 0;
        };
        if entry.generation != to.generation || to.generation == NOBODY {
            return 0;
        }
        let listed = entry.in_dirty || (crowd && entry.in_crowd);
        if !listed && crowd {
            entry.in_crowd = true;
            self.crowd.push_back(slot);
        } else if !listed {
            entry.in_dirty = true;
            self.dirty.push(slot);
        }
        let end = self.run_ends[entry.run as usize];
        if end == span.start && entry.log == span.log && entry.run != NO_RUN {
            entry.run = run;
        } else {
            let last = Span { log: entry.log, start: entry.start as usize, end };
            begin_piece(entry, last, &mut self.links);
            (entry.log, entry.start, entry.run) = (span.log, span.start as u32, run);
        }
        entry.earlier_bytes as usize + span.end - entry.start as usize
    }

    /// Puts a connection on the list of those to flush or to finish.
    pub(super) fn mark_dirty(&mut self, slot: usize) {
        if let Some(entry) = self.entries.get_mut(slot)
            && !entry.in_dirty
        {
            entry.in_dirty = true;
            self.dirty.push(slot);
        }
    }

    /// Whether a connection is on that list, or to be flushed because a crowd was told something.
    pub(super) fn is_dirty(&self, slot: usize) -> bool {
        self.entries.get(slot).is_some_and(|entry| entry.in_dirty || entry.in_crowd)
    }

    /// Whether no connection is.
    pub(super) fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.crowd.is_empty()
    }

    /// Takes the next one that is to be flushed because a crowd was told something.
    pub(super) fn next_of_crowd(&mut self) -> Option<usize> {
        let slot = self.crowd.pop_front()?;
        if let Some(entry) = self.entries.get_mut(slot) {
            entry.in_crowd = false;
        }
        Some(slot)
    }

    /// Has a connection that is on the list be flushed as one of a crowd.
    pub(super) fn put_off(&mut self, slot: usize) {
        if let Some(entry) = self.entries.get_mut(slot) {
            entry.in_dirty = false;
            if !std::mem::replace(&mut entry.in_crowd, true) {
                self.crowd.push_back(slot);
            }
        }
    }

    /// That list; [`Deliveries::visited`] takes a connection off it.
    pub(super) fn take_dirty(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.dirty)
    }

    /// Gives the emptied list back, for its memory.
    pub(super) fn restore_dirty(&mut self, mut emptied: Vec<usize>) {
        emptied.clear();
        emptied.append(&mut self.dirty);
        self.dirty = emptied;
    }

    /// A connection is about to be flushed.
    pub(super) fn visited(&mut self, slot: usize) {
        if let Some(entry) = self.entries.get_mut(slot) {
            entry.in_dirty = false;
        }
    }

    /// What is queued for a connection.
    pub(super) fn pieces(&self, slot: usize) -> Pieces<'_> {
        let entry = self.entries.get(slot).unwrap_or(&VACANT);
        let last = match entry.run {
            NO_RUN => EMPTY,
            run => {
                let end = self.run_ends[run as usize];
                Span { log: entry.log, start: entry.start as usize, end }
            }
        };
        Pieces { logs: &self.logs, links: &self.links, next: entry.first, last }
    }

    /// Forgets the stanzas of this turn; they are written or copied out.
    pub(super) fn clear(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        self.encoded_bytes = 0;
        (self.queued, self.delivered_bytes, self.is_overfull) = (0, 0, false);
        // Those behind the used ones were seen to when they were used.
        let used = std::mem::replace(&mut self.logs_used, 1) as usize;
        self.logs.truncate(LOGS_KEPT);
        for (index, log) in self.logs.iter_mut().take(used).enumerate() {
            log.clear();
            log.shrink_to(if index < FIRST_LOGS { FIRST_LOG_KEPT_BYTES } else { LOG_KEPT_BYTES });
        }
        self.links.clear();
        self.links.shrink_to(LINKS_KEPT);
        self.crowd.shrink_to(CROWD_KEPT);
        self.run_ends.truncate(1);
        self.run_ends.shrink_to(RUNS_KEPT);
        self.last_audience = None;
    }
}

/// Makes room for a new piece: the last one goes into the chain.
#[inline(never)]
fn begin_piece(entry: &mut QueueEntry, last: Span, links: &mut Vec<Link>) {
    if entry.run != NO_RUN {
        // A turn's stanzas are far fewer than a `u32` counts, and so are their bytes.
        let index = links.len() as u32;
        entry.earlier_bytes += (last.end - last.start) as u32;
        links.push(Link { span: last, next: END });
        match links.get_mut(entry.newest as usize) {
            Some(newest) if entry.first != END => newest.next = index,
            _ => entry.first = index,
        }
        entry.newest = index;
    }
}

/// What is queued for one connection, piece by piece.
#[derive(Clone, Debug)]
pub(super) struct Pieces<'a> {
    logs: &'a [Vec<u8>],
    links: &'a [Link],
    next: u32,
    last: Span,
}

impl Pieces<'_> {
    /// Nothing at all.
    pub(super) fn none() -> Self {
        Self { logs: &[], links: &[], next: END, last: EMPTY }
    }
}

impl<'a> Pieces<'a> {
    /// Something that was made elsewhere, in one piece.
    pub(super) fn of(bytes: &'a Vec<u8>) -> Self {
        Self::within(bytes, 0, bytes.len())
    }

    /// A part of something that was made elsewhere, in one piece.
    pub(super) fn within(bytes: &'a Vec<u8>, start: usize, end: usize) -> Self {
        let last = Span { log: OWN_LOG, start, end };
        Self { logs: std::slice::from_ref(bytes), links: &[], next: END, last }
    }

    /// Where the piece stands, where there is one and no other.
    pub(super) fn single_span(&self) -> Option<Span> {
        (self.next == END && self.last.end > self.last.start).then_some(self.last)
    }

    /// The piece, where there is one and no other.
    pub(super) fn single(&self) -> Option<&'a [u8]> {
        (self.next == END && self.last.end > self.last.start).then(|| self.bytes(self.last))
    }

    /// Whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.last.end == self.last.start
    }

    /// The whole log in which a piece stands.
    pub(super) fn log(&self, span: Span) -> &'a [u8] {
        &self.logs[span.log as usize]
    }

    /// Takes the next piece, and tells where it stands.
    pub(super) fn next_span(&mut self) -> Option<Span> {
        if let Some(link) = self.links.get(self.next as usize) {
            self.next = link.next;
            return Some(link.span);
        }
        let last = std::mem::replace(&mut self.last, EMPTY);
        (last.end > last.start).then_some(last)
    }

    fn bytes(&self, span: Span) -> &'a [u8] {
        &self.logs[span.log as usize][span.start..span.end]
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.next_span().map(|span| self.bytes(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: ConnId = ConnId { slot: 0, generation: 1 };
    const BOB: ConnId = ConnId { slot: 1, generation: 2 };

    fn with_two() -> Deliveries {
        let mut deliveries = Deliveries::default();
        deliveries.open(ANN);
        deliveries.open(BOB);
        deliveries
    }

    fn say(deliveries: &mut Deliveries, text: &str) -> Span {
        deliveries.encode(|buffer| buffer.extend_from_slice(text.as_bytes()))
    }

    /// Lists of the same slots have the same number.
    fn roster(members: &[ConnId]) -> Roster<'_> {
        Roster { number: members.iter().map(|conn| 1 << conn.slot).sum(), members }
    }

    fn queued(deliveries: &Deliveries, conn: ConnId) -> Vec<&str> {
        let pieces = deliveries.pieces(conn.slot as usize);
        pieces.map(|piece| std::str::from_utf8(piece).unwrap()).collect()
    }

    /// Bytes that are encoded, bytes that are delivered and pieces that do not lie together.
    #[test]
    fn a_turn_is_full_at_each_of_its_bounds() {
        let mut deliveries = with_two();
        let say = |deliveries: &mut Deliveries, bytes: usize| {
            deliveries.encode(|buffer| buffer.resize(buffer.len() + bytes - 1, b'x'))
        };
        say(&mut deliveries, TURN_BYTES_MAX - 1);
        assert!(!deliveries.is_full());
        say(&mut deliveries, 1);
        assert!(deliveries.is_full(), "at the bound");

        deliveries.clear();
        deliveries.set_share(usize::MAX);
        let span = say(&mut deliveries, 1 << 20);
        for _ in 1..TURN_DELIVERED_BYTES_MAX >> 20 {
            deliveries.push(ANN, span);
        }
        let [most, least] = [(1 << 20) - 1, 1].map(|bytes| say(&mut deliveries, bytes));
        deliveries.push(ANN, most);
        assert!(!deliveries.is_full());
        deliveries.push(ANN, least);
        assert!(deliveries.is_full(), "at the bound");

        deliveries.forget(0);
        deliveries.clear();
        let spans = [2, 2, 2].map(|bytes| say(&mut deliveries, bytes));
        // The last piece of a connection is no link yet.
        for number in 0..TURN_PIECES_MAX {
            deliveries.push(ANN, spans[number % 2 * 2]);
        }
        assert!(!deliveries.is_full());
        deliveries.push(ANN, spans[TURN_PIECES_MAX % 2 * 2]);
        assert!(deliveries.is_full(), "at the bound");
    }

    #[test]
    fn stanzas_that_touch_are_one_piece_and_others_keep_their_order() {
        let mut deliveries = with_two();
        for (text, except) in [("a", None), ("b", None), ("c", Some(ANN)), ("d", Some(ANN))] {
            let span = say(&mut deliveries, text);
            deliveries.push_all(roster(&[ANN, BOB]), except, span);
        }
        for (text, except) in [("e", None), ("f", Some(ANN)), ("g", None)] {
            let span = say(&mut deliveries, text);
            deliveries.push_all(roster(&[ANN, BOB]), except, span);
        }
        assert_eq!(queued(&deliveries, ANN), ["a\0b\0", "e\0", "g\0"]);
        assert_eq!(queued(&deliveries, BOB), ["a\0b\0c\0d\0e\0f\0g\0"]);
        assert_eq!(deliveries.pieces(0).single(), None);
        assert!(deliveries.pieces(1).single().is_some());
        assert_eq!(deliveries.take_dirty(), [0, 1]);
    }

    #[test]
    fn what_a_room_hears_touches_whatever_is_said_elsewhere() {
        let mut deliveries = with_two();
        let in_room = |deliveries: &mut Deliveries, room, text: &str, to: &[ConnId]| {
            let span =
                deliveries.encode_for_room(room, |bytes| bytes.extend_from_slice(text.as_bytes()));
            deliveries.push_all(roster(to), None, span);
        };
        for turn in 0..3 {
            in_room(&mut deliveries, 7, "a", &[ANN, BOB]);
            in_room(&mut deliveries, 2, "b", &[BOB]);
            let answer = say(&mut deliveries, "c");
            deliveries.push(BOB, answer);
            in_room(&mut deliveries, 7, "d", &[ANN, BOB]);
            assert_eq!(queued(&deliveries, ANN), ["a\0d\0"], "turn {turn}");
            assert_eq!(queued(&deliveries, BOB), ["a\0", "b\0", "c\0", "d\0"], "turn {turn}");
            assert_eq!(deliveries.encoded_bytes(), 8);
            for slot in [0, 1] {
                deliveries.forget(slot);
            }
            deliveries.clear();
            assert_eq!(deliveries.logs.len(), 3);
        }
    }

    #[test]
    fn a_run_becomes_longer_only_while_nothing_else_happens() {
        let mut deliveries = with_two();
        let both = [ANN, BOB];
        let say_all = |deliveries: &mut Deliveries, text: &str| {
            let span = say(deliveries, text);
            deliveries.push_all(roster(&both), None, span)
        };
        assert_eq!([say_all(&mut deliveries, "a"), say_all(&mut deliveries, "b")], [2, 2]);
        let own = say(&mut deliveries, "c");
        deliveries.push(BOB, own);
        assert_eq!([say_all(&mut deliveries, "d"), say_all(&mut deliveries, "e")], [2, 2]);
        deliveries.refuse(0);
        assert_eq!([say_all(&mut deliveries, "f"), say_all(&mut deliveries, "g")], [1, 1]);
        let apart = say(&mut deliveries, "h");
        assert_eq!(deliveries.push_all(roster(&[BOB]), None, apart), 1);
        let nobody_else = say(&mut deliveries, "i");
        assert_eq!(deliveries.push_all(roster(&[BOB]), Some(BOB), nobody_else), 0);
        assert_eq!(queued(&deliveries, ANN), ["a\0b\0", "d\0e\0"]);
        assert_eq!(queued(&deliveries, BOB), ["a\0b\0c\0d\0e\0f\0g\0h\0"]);
    }

    #[test]
    fn the_memory_of_a_storm_is_given_back() {
        let mut deliveries = with_two();
        let storm = |buffer: &mut Vec<u8>| buffer.resize(1_048_576, b'x');
        deliveries.encode(storm);
        for room in 0..200 {
            deliveries.encode_for_room(room, storm);
        }
        deliveries.clear();
        let kept: usize = deliveries.logs.iter().map(Vec::capacity).sum();
        assert!(
            kept <= FIRST_LOGS * FIRST_LOG_KEPT_BYTES + LOGS_KEPT * LOG_KEPT_BYTES,
            "{kept} bytes are kept"
        );
    }

    #[test]
    fn only_the_very_connection_is_queued_for_and_only_while_it_is_open() {
        let mut deliveries = with_two();
        let span = say(&mut deliveries, "a");
        let earlier = ConnId { slot: 0, generation: 7 };
        let beyond = ConnId { slot: 9, generation: 1 };
        assert_eq!(deliveries.push_all(roster(&[earlier, beyond]), None, span), 0);
        assert_eq!(deliveries.push(ANN, span), 1);
        deliveries.refuse(0);
        assert_eq!(deliveries.push(ANN, span), 0);
        assert_eq!(queued(&deliveries, ANN), ["a\0"]);
        deliveries.forget(0);
        assert!(deliveries.pieces(0).is_empty() && deliveries.is_dirty(0));
        assert_eq!(deliveries.push(ConnId { slot: 0, generation: NOBODY }, span), 0);
    }

    #[test]
    fn the_memory_of_many_goes_with_the_last_of_them() {
        let mut deliveries = Deliveries::default();
        let conns = (0..20_000).map(|slot| ConnId { slot, generation: 1 });
        for conn in conns.clone() {
            deliveries.open(conn);
        }
        for conn in conns.skip(1) {
            deliveries.release(conn.slot as usize);
        }
        assert_eq!(deliveries.entries.len(), 1);
        assert!(deliveries.entries.capacity() <= 4_096);
        let span = say(&mut deliveries, "a");
        assert_eq!(deliveries.push(ANN, span), 1);
    }
}
