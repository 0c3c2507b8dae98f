//! The process of one plugin, and what has come from it and waits for it.

use std::io;
use std::time::Duration;

use super::Lanes;
use crate::hub::Time;
use crate::limits::{PLUGIN_ERROR_LINE_BYTES_MAX, PLUGIN_RESTART_WAIT_S_MAX};
use crate::net::world::Process;
use crate::wire::framer::Framer;

/// Lines of one plugin that the log takes at once, and then each second; a plugin is not to fill
/// the disk.
const LINES_BURST: u32 = 200;
const LINES_PER_S: u64 = 20;

/// A first wait before a plugin is started again.
const RESTART_WAIT_S: u64 = 1;

/// One that has run for so long is started again at once.
const STEADY_S: u64 = 60;

/// How long a plugin waits that has filled a read, or had as many stanzas done as a turn does. 64
/// stanzas or 64 KiB a millisecond are more than any has to say, and a few hundredths of a core.
/// A server that one plugin keeps at work without a pause has to share its core with another one
/// that computes, and everybody waits for the scheduler: with one that floods and one that spins
/// `palabre-bench plugins` had a p90 of 2 ms instead of 0.1 ms.
const CALM: Duration = Duration::from_millis(1);

/// A process that another one of its plugin has taken the place of.
#[derive(Debug)]
pub(in crate::net) struct Retired {
    /// Its number among the processes of the plugin.
    pub(in crate::net) number: u64,
    /// What was still to be written to it.
    pub(in crate::net) lanes: Lanes,
    /// Its input is ended: it has answered all that it was asked.
    pub(in crate::net) dismissed: bool,
}

/// The process of one plugin, if one runs.
#[derive(Debug, Default)]
pub(in crate::net) struct Running {
    /// Whose it is.
    pub(in crate::net) plugin: usize,
    /// It is not the plugin's present one.
    pub(in crate::net) retired: Option<Box<Retired>>,
    pub(in crate::net) process: Option<Box<dyn Process>>,
    pub(in crate::net) framer: Framer,
    /// There may be something to read.
    pub(in crate::net) readable: bool,
    /// There may be room to write.
    pub(in crate::net) writable: bool,
    /// There may be something on its standard error.
    pub(in crate::net) error_readable: bool,
    /// The framer may hold stanzas that nobody has taken.
    pub(in crate::net) frames_held: bool,
    /// It has said so much at once that it is not listened to before then.
    pub(in crate::net) calm_until: Option<Time>,
    /// It has ended its output.
    pub(in crate::net) output_ended: bool,
    /// How it has ended, in words.
    pub(in crate::net) ended: Option<String>,
    /// When it is made to end, if it has not by then.
    pub(in crate::net) kill_at: Option<Time>,
    /// It is to be started again at once, because its settings have changed.
    pub(in crate::net) planned: bool,
    /// Its input is to be ended when all is sent.
    pub(in crate::net) stop: bool,
    /// When it is started again.
    pub(in crate::net) start_at: Option<Time>,
    /// Mistakes of it that the log has been told of.
    pub(in crate::net) mistakes_told: u32,
    started_at: Time,
    wait_s: u64,
    error_line: Vec<u8>,
    lines: Lines,
}

/// How many lines of a plugin the log still takes.
#[derive(Debug)]
pub(in crate::net) struct Lines {
    left: u32,
    counted_at: Time,
    dropped: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Self { left: LINES_BURST, counted_at: Time::default(), dropped: 0 }
    }
}

impl Lines {
    /// Whether the log takes one more, and how many it did not take before it.
    pub(in crate::net) fn take(&mut self, now: Time) -> Option<u64> {
        let seconds = now.since(self.counted_at).as_secs();
        if seconds > 0 {
            let more = u32::try_from(seconds.saturating_mul(LINES_PER_S)).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(more).min(LINES_BURST);
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

impl Running {
    /// The process of this plugin is to be started then.
    pub(in crate::net) fn to_start(plugin: usize, at: Time) -> Self {
        Self { plugin, start_at: Some(at), ..Self::default() }
    }

    /// The process has its time to answer what it was asked, while another one takes its place:
    /// this one is given.
    pub(in crate::net) fn retire(&mut self, retired: Retired, now: Time, until: Time) -> Self {
        let next = Self {
            wait_s: self.wait_s,
            lines: std::mem::take(&mut self.lines),
            ..Self::to_start(self.plugin, now)
        };
        let mut old = std::mem::replace(self, next);
        old.retired = Some(Box::new(retired));
        old.kill_at = Some(until);
        old
    }

    /// A process runs from now on.
    pub(in crate::net) fn begin(&mut self, process: Box<dyn Process>, now: Time) {
        let wait_s = self.wait_s;
        let lines = std::mem::take(&mut self.lines);
        *self = Self {
            plugin: self.plugin,
            process: Some(process),
            lines,
            readable: true,
            writable: true,
            error_readable: true,
            started_at: now,
            wait_s,
            ..Self::default()
        };
    }

    /// It is over; gives the seconds after which it may be started again.
    pub(in crate::net) fn end(&mut self, now: Time) -> u64 {
        let steady = self.started_at.plus_secs(STEADY_S) <= now && self.process.is_some();
        let wait_s = if steady { RESTART_WAIT_S } else { self.wait_s.max(RESTART_WAIT_S) };
        *self = Self {
            plugin: self.plugin,
            wait_s: (wait_s * 2).min(PLUGIN_RESTART_WAIT_S_MAX),
            error_line: std::mem::take(&mut self.error_line),
            lines: std::mem::take(&mut self.lines),
            ..Self::default()
        };
        wait_s
    }

    /// Whether the log takes one more line of it, and how many it did not take before.
    pub(in crate::net) fn take_line(&mut self, now: Time) -> Option<u64> {
        self.lines.take(now)
    }

    /// Whether serving it could get anything done.
    pub(in crate::net) fn has_work(&self, now: Time) -> bool {
        let speaks = self.readable || self.error_readable || self.frames_held;
        self.process.is_some() && (self.is_over() || speaks && self.is_listened_to(now))
    }

    /// Whether what it says is taken now.
    pub(in crate::net) fn is_listened_to(&self, now: Time) -> bool {
        self.calm_until.is_none_or(|time| time <= now)
    }

    /// It waits for a moment: whoever speaks without an end is not to keep the loop at work.
    pub(in crate::net) fn calm(&mut self, now: Time) {
        self.calm_until = Some(now + CALM);
    }

    /// It has ended, and all that it has said is taken.
    pub(in crate::net) const fn is_over(&self) -> bool {
        self.ended.is_some() && self.output_ended && !self.frames_held
    }

    /// It has ended, and what it has started and left behind is not listened to.
    pub(in crate::net) fn leave_output(&mut self) {
        self.readable = false;
        self.error_readable = false;
        self.frames_held = false;
        self.output_ended = true;
    }

    /// When something is due.
    pub(in crate::net) fn next_due(&self) -> Option<Time> {
        [self.kill_at, self.start_at, self.calm_until].into_iter().flatten().min()
    }

    /// Reads its standard error once; each whole line is told, a long one in parts.
    pub(in crate::net) fn read_errors(
        &mut self,
        scratch: &mut [u8],
        now: Time,
        mut tell: impl FnMut(&str, u64),
    ) {
        let Some(process) = &mut self.process else {
            return;
        };
        match process.read_error(scratch) {
            Ok(0) => self.error_readable = false,
            Ok(count) => {
                if count == scratch.len() {
                    self.calm_until = Some(now + CALM);
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

    /// Reads once; `Ok(0)` when nothing came, for now or, with `output_ended` set, for ever.
    pub(in crate::net) fn read(&mut self, scratch: &mut [u8]) -> usize {
        let Some(process) = &mut self.process else {
            return 0;
        };
        match process.read(scratch) {
            Ok(0) => {
                self.readable = false;
                self.output_ended = true;
                0
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => {
                self.readable = false;
                self.output_ended |= error.kind() != io::ErrorKind::WouldBlock;
                0
            }
        }
    }
}
