//! One process of a plugin: its pipes and what waits for them, and its way to its end.
//!
//! What the process says and is told is others' business: this file reads bytes, writes bytes and
//! knows when the process is over.

use std::io;
use std::time::Duration;

use super::lanes::Lanes;
use crate::hub::Time;
use crate::limits::{
    PLUGIN_END_TIME_S, PLUGIN_ERROR_LINE_BYTES_MAX, PLUGIN_LINES_BURST, PLUGIN_LINES_PER_S,
};
use crate::net::world::{ProcessKey, World};
use crate::wire::framer::Framer;

/// The pause before a plugin is read again that has filled a read, or had as many stanzas done as a
/// turn does. 64 stanzas or 64 KiB a millisecond are more than any has to say, and a few hundredths
/// of a core. A server that one plugin keeps at work without a pause has to share its core with
/// another one that computes, and all clients wait for the scheduler: with one that floods and one
/// that spins `palabre-bench plugins` had a p90 of 2 ms instead of 0.1 ms.
const CALM: Duration = Duration::from_millis(1);

/// A process of a plugin.
#[derive(Debug)]
pub(in crate::net) struct Child {
    /// Its number among the processes of its plugin.
    pub(in crate::net) number: u64,
    process: ProcessKey,
    /// What waits to be written to it.
    pub(in crate::net) lanes: Lanes,
    pub(in crate::net) framer: Framer,
    /// The framer may hold stanzas that were not done yet.
    pub(in crate::net) frames_held: bool,
    /// Mistakes of the process that the log has been told of.
    pub(in crate::net) mistakes_told: u32,
    readable: bool,
    writable: bool,
    error_readable: bool,
    /// The process has said so much at once that it is not read before then.
    calm_until: Option<Time>,
    /// A line on its standard error that has no end yet.
    error_line: Vec<u8>,
    lines: LineBudget,
    output_ended: bool,
    /// How the process has ended, in words.
    exit: Option<String>,
    end: End,
}

/// What is planned for the end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing.
    Unplanned,
    /// It is killed then, if it has not ended by itself.
    By(Time),
    /// The same when the server stops: its input is ended once everything is written to it.
    Farewell(Time),
}

impl Child {
    /// A process that has just been started.
    pub(super) fn new(number: u64, process: ProcessKey, lines: LineBudget) -> Self {
        Self {
            number,
            process,
            lanes: Lanes::default(),
            framer: Framer::default(),
            frames_held: false,
            mistakes_told: 0,
            readable: true,
            writable: true,
            error_readable: true,
            calm_until: None,
            error_line: Vec::new(),
            lines,
            output_ended: false,
            exit: None,
            end: End::Unplanned,
        }
    }

    /// Something may be read from the process, or be written to it.
    pub(super) const fn mark_ready(&mut self) {
        self.readable = true;
        self.writable = true;
        self.error_readable = true;
    }

    /// Finds out whether the process has ended.
    pub(super) fn look_for_end(&mut self, world: &mut impl World) {
        if self.exit.is_none() {
            self.exit = world.ended(self.process).map(|end| end.to_string());
        }
    }

    /// Whether serving the process could get anything done.
    pub(super) fn has_work(&self, now: Time) -> bool {
        let speaks = self.readable || self.error_readable || self.frames_held;
        self.is_over() || speaks && self.is_listened_to(now)
    }

    /// When something is due.
    pub(super) fn next_due(&self) -> Option<Time> {
        [self.kill_at(), self.calm_until].into_iter().flatten().min()
    }

    // What the process says.

    /// Whether what the process says is taken now; the pause is over then.
    pub(in crate::net) fn listen(&mut self, now: Time) -> bool {
        let listened_to = self.is_listened_to(now);
        if listened_to {
            self.calm_until = None;
        }
        listened_to
    }

    fn is_listened_to(&self, now: Time) -> bool {
        self.calm_until.is_none_or(|time| time <= now)
    }

    /// The process is not read for a moment: one that speaks without an end is not to keep the
    /// loop at work.
    pub(in crate::net) fn calm(&mut self, now: Time) {
        self.calm_until = Some(now + CALM);
    }

    /// Reads once; `None` when there is nothing to be done about what was or is said.
    pub(in crate::net) fn read(
        &mut self,
        world: &mut impl World,
        scratch: &mut [u8],
        now: Time,
    ) -> Option<usize> {
        if self.frames_held {
            return Some(0);
        }
        if !self.readable {
            return None;
        }
        match world.read_output(self.process, scratch) {
            Ok(0) => {
                self.readable = false;
                self.output_ended = true;
                Some(0)
            }
            Ok(count) => {
                if count == scratch.len() {
                    self.calm(now);
                }
                Some(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(0),
            Err(error) => {
                self.readable = false;
                self.output_ended |= error.kind() != io::ErrorKind::WouldBlock;
                Some(0)
            }
        }
    }

    /// Reads the standard error once; each whole line is told, a long one in parts, with the
    /// number of lines before it that the log did not take.
    pub(in crate::net) fn read_errors(
        &mut self,
        world: &mut impl World,
        scratch: &mut [u8],
        now: Time,
        mut tell: impl FnMut(&str, u64),
    ) {
        if !self.error_readable {
            return;
        }
        match world.read_errors(self.process, scratch) {
            Ok(0) => self.error_readable = false,
            Ok(count) => {
                if count == scratch.len() {
                    self.calm(now);
                }
                for &byte in &scratch[..count] {
                    if byte == b'\n' || self.error_line.len() == PLUGIN_ERROR_LINE_BYTES_MAX {
                        self.tell_line(now, &mut tell);
                    }
                    if byte != b'\n' {
                        self.error_line.push(byte);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.error_readable = false,
        }
    }

    /// Tells what stands in a line that has no end yet.
    pub(in crate::net) fn tell_line(&mut self, now: Time, mut tell: impl FnMut(&str, u64)) {
        if !self.error_line.is_empty() {
            if let Some(dropped) = self.lines.take(now) {
                tell(&String::from_utf8_lossy(&self.error_line), dropped);
            }
            self.error_line.clear();
        }
    }

    /// Whether the log takes one more line of the plugin, and how many it did not take before.
    pub(in crate::net) fn take_line(&mut self, now: Time) -> Option<u64> {
        self.lines.take(now)
    }

    /// What the log still takes of the plugin's lines, for its next process.
    pub(super) fn take_lines(&mut self) -> LineBudget {
        std::mem::take(&mut self.lines)
    }

    // What it is told.

    /// Writes what the process takes; what can't be written to it any more is forgotten.
    pub(super) fn flush(&mut self, world: &mut impl World) {
        while self.writable && !self.lanes.is_empty() {
            match self.lanes.write(|slices| world.write_input(self.process, slices)) {
                // It would be asked for ever.
                Ok(0) => return self.lanes.clear(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                // It will be read to its end, and then it is over.
                Err(_) => return self.lanes.clear(),
            }
        }
    }

    // Its end.

    /// The process is made to end then, if it has not by itself.
    pub(in crate::net) const fn end_by(&mut self, time: Time) {
        self.end = End::By(time);
    }

    /// Whether the process is on its way to its end.
    pub(super) const fn is_ending(&self) -> bool {
        self.exit.is_some() || self.kill_at().is_some()
    }

    /// The process can't be understood any more: what it still says is not read, and it is ended.
    pub(in crate::net) const fn give_up(&mut self, now: Time) {
        self.readable = false;
        self.frames_held = false;
        self.output_ended = true;
        self.end_by(now);
    }

    /// Ends the input of a process that has nothing more to do.
    pub(in crate::net) fn dismiss(&mut self, world: &mut impl World, now: Time) {
        world.end_input(self.process);
        self.end_by(now.plus_secs(PLUGIN_END_TIME_S));
    }

    /// The server stops.
    pub(super) const fn begin_farewell(&mut self, deadline: Time) {
        self.end = End::Farewell(deadline);
    }

    /// Ends the input of a process that was told everything when the server stops.
    pub(super) fn end_farewell(&mut self, world: &mut impl World) {
        if let End::Farewell(deadline) = self.end
            && self.lanes.is_empty()
        {
            self.end_by(deadline);
            world.end_input(self.process);
        }
    }

    /// Goes on with its end. When it has ended, and everything that it has said is done: how, in
    /// words.
    pub(in crate::net) fn go_on_ending(
        &mut self,
        world: &mut impl World,
        now: Time,
    ) -> Option<String> {
        if self.output_ended != self.exit.is_some() && self.kill_at().is_none() {
            self.dismiss(world, now);
        }
        if self.kill_at().is_some_and(|time| time <= now) {
            world.kill(self.process, true);
            self.end = End::Unplanned;
            if self.exit.is_some() {
                self.leave_output();
            }
        }
        if !self.is_over() {
            return None;
        }
        world.forget(self.process);
        self.exit.take()
    }

    /// What the process has started and left behind is not listened to.
    const fn leave_output(&mut self) {
        self.readable = false;
        self.error_readable = false;
        self.frames_held = false;
        self.output_ended = true;
    }

    /// The process has ended, and all that it has said is done.
    const fn is_over(&self) -> bool {
        self.exit.is_some() && self.output_ended && !self.frames_held
    }

    const fn kill_at(&self) -> Option<Time> {
        match self.end {
            End::Unplanned => None,
            End::By(time) | End::Farewell(time) => Some(time),
        }
    }
}

/// How many lines of a plugin the log still takes.
#[derive(Debug)]
pub(super) struct LineBudget {
    left: u32,
    counted_at: Time,
    dropped: u64,
}

impl Default for LineBudget {
    fn default() -> Self {
        Self { left: PLUGIN_LINES_BURST, counted_at: Time::default(), dropped: 0 }
    }
}

impl LineBudget {
    /// Whether the log takes one more, and how many it did not take before it.
    fn take(&mut self, now: Time) -> Option<u64> {
        let seconds = now.since(self.counted_at).as_secs();
        if seconds > 0 {
            let more =
                u32::try_from(seconds.saturating_mul(PLUGIN_LINES_PER_S)).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(more).min(PLUGIN_LINES_BURST);
            self.counted_at = now;
        }
        if self.left == 0 {
            self.dropped += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.dropped))
    }
}
