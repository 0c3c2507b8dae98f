//! Plugins beside the crowd: one decides on logins, one speaks in a room, one does what it should
//! not.

use std::rc::Rc;
use std::time::Duration;

use palabre::config::Module;
use palabre::hub::Time;
use palabre::net::world::ProcessEnd;

use crate::client::announcement;
use crate::plugins::module;
use crate::process::Handle;
use crate::rng::Rng;
use crate::world::Simulated;

/// The sender of what a plugin says in a room.
pub(crate) const TELLER: &str = "Teller";

/// What hears everything and is asked nothing.
const HEARS: &str = "<register hooks='onStartup onShutdown onClientInit onClientConnect onClientBadnick \
    onRoomInit onClientJoinRoom onMessage onClientLeaveRoom onRoomRemove onClientQuit onClientClose \
    onRemoveClient' />";

/// What a plugin is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trade {
    /// Lets everybody in, later, and where it is asked enter rooms and talk; its first process ends
    /// with what it is asked.
    Judge,
    /// Says numbered messages in a room.
    Teller,
    /// Makes every mistake, and ends.
    Breaker,
}

const TRADES: [Trade; 3] = [Trade::Judge, Trade::Teller, Trade::Breaker];

#[derive(Debug)]
struct Plugin {
    trade: Trade,
    process: Option<Handle>,
    /// Processes so far.
    started: u32,
    /// What it will say, and when.
    due: Vec<(Time, String)>,
    next: Time,
    /// It is asked whatever it may be asked, not about logins alone.
    asks_all: bool,
}

/// All plugins of a run.
#[derive(Debug)]
pub(crate) struct Company {
    rng: Rng,
    plugins: Vec<Plugin>,
    /// The messages that are said in the room, and to be said.
    pub(crate) told: u32,
    to_tell: u32,
    room: &'static str,
    /// What the server has refused those that make no mistakes.
    pub(crate) refused: Vec<String>,
}

impl Company {
    /// The plugins of this seed, which may be none.
    pub(crate) fn new(seed: u64, room: &'static str) -> Self {
        let mut rng = Rng::new(seed ^ 0xc0_de);
        let asks_all = Rng::new(seed ^ 0xa5_c3).chance(50);
        let trades = if rng.chance(60) { &TRADES[..] } else { &[] };
        let plugin = |&trade: &Trade| Plugin {
            trade,
            process: None,
            started: 0,
            due: Vec::new(),
            next: Time::default(),
            asks_all,
        };
        let plugins = trades.iter().map(plugin).collect();
        let to_tell = u32::try_from(rng.between(5, 60)).expect("it is small");
        Self { rng, plugins, told: 0, to_tell, room, refused: Vec::new() }
    }

    pub(crate) fn modules(&self) -> Vec<Module> {
        let named =
            |plugin: &Plugin| Module { timeout_s: 60, ..module(&format!("{:?}", plugin.trade)) };
        self.plugins.iter().map(named).collect()
    }

    /// Whether logins wait for a plugin.
    pub(crate) fn judges(&self) -> bool {
        !self.plugins.is_empty()
    }

    pub(crate) fn has_told_all(&self) -> bool {
        self.plugins.is_empty() || self.told == self.to_tell
    }

    /// When one of them does something next.
    pub(crate) fn next(&self) -> Time {
        let due = |plugin: &Plugin| plugin.due.iter().map(|(at, _)| *at).min();
        let next = |plugin: &Plugin| due(plugin).map_or(plugin.next, |at| at.min(plugin.next));
        self.plugins.iter().map(next).min().unwrap_or(Time(u64::MAX))
    }

    /// Lets those act that have heard something or whose time has come; `there` says whether the
    /// room is there.
    pub(crate) fn act(&mut self, world: &Simulated, there: bool) {
        let now = world.network.now();
        for index in 0..self.plugins.len() {
            let found = world.processes.iter().rev().find(|(own, _)| *own == index);
            let plugin = &mut self.plugins[index];
            let Some((_, process)) = found.filter(|(_, process)| process.borrow().is_alive())
            else {
                plugin.next = Time(u64::MAX);
                plugin.due.clear();
                continue;
            };
            if !plugin.process.as_ref().is_some_and(|known| Rc::ptr_eq(known, process)) {
                plugin.start(process, now);
            }
            let process = Rc::clone(process);
            if process.borrow().unread() > 0 {
                self.hear(index, &process, now);
            }
            let plugin = &mut self.plugins[index];
            plugin.due.sort_by_key(|(at, _)| *at);
            while plugin.due.first().is_some_and(|(at, _)| *at <= now) {
                process.borrow_mut().say(&[&plugin.due.remove(0).1]);
            }
            if plugin.next <= now {
                let pause = self.rng.between(1, 400_000) as u64;
                plugin.next = now + Duration::from_micros(pause);
                match plugin.trade {
                    Trade::Judge => plugin.next = Time(u64::MAX),
                    Trade::Teller if there && self.told < self.to_tell => {
                        self.told += 1;
                        let said = announcement(TELLER, self.room, self.told);
                        let send = format!("<send room='{}'>{said}</send>", self.room);
                        process.borrow_mut().say(&[&send]);
                    }
                    Trade::Teller => {}
                    Trade::Breaker => break_something(&mut self.rng, &process),
                }
            }
        }
    }

    fn hear(&mut self, index: usize, process: &Handle, now: Time) {
        let plugin = &mut self.plugins[index];
        for stanza in process.borrow_mut().heard() {
            if plugin.trade != Trade::Breaker && stanza.starts_with("<error") {
                self.refused.push(stanza);
                continue;
            }
            let Some(ask) = stanza.strip_prefix("<ask ask='") else { continue };
            let (number, _) = ask.split_once('\'').expect("a number");
            // A flooder has a thousand messages, each of which waits for this.
            let slowest_us = if plugin.asks_all { 2_000 } else { 50_000 };
            let after = Duration::from_micros(self.rng.below(slowest_us) as u64);
            plugin.due.push((now + after, format!("<verdict ask='{number}' allowed='1'/>")));
        }
        if plugin.trade == Trade::Judge && plugin.started == 1 && plugin.due.len() > 3 {
            process.borrow_mut().end(ProcessEnd::Exit(1));
        }
    }
}

impl Plugin {
    /// A process is there that was not before.
    fn start(&mut self, process: &Handle, now: Time) {
        self.process = Some(Rc::clone(process));
        self.started += 1;
        self.due.clear();
        self.next = now + Duration::from_millis(1);
        process.borrow_mut().say(&[match self.trade {
            Trade::Judge if self.asks_all => "<register hooks='isAuthorized mayJoin mayTalk' />",
            Trade::Judge => "<register hooks='isAuthorized' />",
            Trade::Teller => "<register />",
            Trade::Breaker => HEARS,
        }]);
    }
}

/// Whatever it does, nobody else notices.
fn break_something(rng: &mut Rng, process: &Handle) {
    let mut process = process.borrow_mut();
    match rng.below(20) {
        0 => process.end(ProcessEnd::Exit(1)),
        1 => process.end(ProcessEnd::Signal(11)),
        2 => process.end_output(),
        3 => process.say_bytes(&vec![b'x'; 200_000]),
        4 => process.say_bytes(b"<half of a st"),
        5..8 => process.complain("it is not to be\n"),
        8..12 => process.say(&["<get what='rooms' ask='1'/>", "<get what='clients' ask='2'/>"]),
        12..15 => process.say(&["<timer name='t' after='20'/>", "<log>x</log>"]),
        15..18 => process.say(&["<dance/>", "no XML", "<verdict ask='7' allowed='0'/>"]),
        _ => process.say(&["<send nick='AnchorR0'><pong/></send>"; 70]),
    }
}
