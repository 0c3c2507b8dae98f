//! Three sessions and whatever they send: the hub's tables stay whole, and all that it says is
//! well-formed and goes to somebody who is there.

use core::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use palabre::hub::{
    CloseReason, ConnId, HashKey, Hub, Input, ListenerKind, Progress, RootPassword, Settings, Time,
};

use super::outlet::Recorder;

/// Takes a script of steps that NUL bytes part. A step's first byte says what happens: `0`, `1`
/// and `2` send the rest as a frame of that session, `e` and a digit end one, `l` and a digit
/// send too large a frame, `p` and a digit open one on the policy port, `t` ends the turn, `s`
/// lets a second pass and `m` a minute. A session that is not there is opened first.
///
/// # Panics
/// When the check fails.
pub fn check(script: &[u8]) {
    let mut play = SessionPlay::new();
    for step in script.split(|&byte| byte == 0) {
        let Some((&what, rest)) = step.split_first() else { continue };
        let who = rest.first().map_or(0, |digit| u32::from(digit % 3));
        match what {
            b'0'..=b'2' => play.frame(u32::from(what - b'0'), rest),
            b'e' => play.end(who),
            b'l' => {
                let conn = play.session(who, ListenerKind::Main);
                play.handle(Input::FrameTooLarge { conn, max: 65_536 });
            }
            b'v' => {
                let conn = play.session(who, ListenerKind::Main);
                play.handle(Input::FramesInVain { conn, count: u64::from(who) * 1_000 + 1 });
            }
            b'p' => {
                play.end(who);
                play.session(who, ListenerKind::Policy);
            }
            b's' => play.pass(Duration::from_secs(1)),
            b'm' => play.pass(Duration::from_secs(60)),
            _ => play.end_turn(),
        }
    }
    for slot in 0..3 {
        play.end(slot);
    }
    play.end_turn();
    assert_eq!(play.hub.rooms(), 0, "rooms without anybody in them");
}

struct SessionPlay {
    hub: Hub,
    out: Recorder,
    now: Time,
    /// The connection that was last in each slot.
    conns: [Option<ConnId>; 3],
}

impl SessionPlay {
    fn new() -> Self {
        let mut settings =
            Settings { root_password: RootPassword::clear("p"), ..Settings::default() };
        settings.domains = vec!["*.example.org".to_owned()];
        // Small ones, so that a short script reaches them.
        settings.limits.params_max = 3;
        settings.limits.rooms_per_client_max = 3;
        settings.limits.rooms_max = 4;
        settings.limits.room_depth_max = 2;
        settings.limits.stanza_burst = 8;
        settings.limits.stanza_rate_per_s = 1;
        settings.limits.failed_logins_per_minute = 2;
        settings.full_roster_members = 2;
        Self {
            hub: Hub::new(settings, HashKey(1, 2), 0),
            out: Recorder::default(),
            now: Time::default(),
            conns: [None; 3],
        }
    }

    /// The session in a slot, opened if there is none.
    fn session(&mut self, slot: u32, listener: ListenerKind) -> ConnId {
        let before = self.conns[slot as usize];
        if let Some(conn) = before.filter(|&conn| self.out.is_open(conn)) {
            return conn;
        }
        // A slot is not given out in the turn in which it was freed.
        self.end_turn();
        let generation = before.map_or(0, |conn| conn.generation + 1);
        let conn = ConnId { slot, generation };
        self.conns[slot as usize] = Some(conn);
        self.out.opened(conn);
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        self.handle(Input::Opened { conn, address, listener });
        conn
    }

    fn frame(&mut self, slot: u32, frame: &[u8]) {
        let conn = self.session(slot, ListenerKind::Main);
        let mut input = Input::Frame { conn, frame };
        while let Progress::Later(time) = self.handle(input) {
            assert!(time > self.now, "to be offered again in the past");
            self.now = time;
            self.tick();
            if !self.out.is_open(conn) {
                return;
            }
            input = Input::Frame { conn, frame };
        }
    }

    fn end(&mut self, slot: u32) {
        if let Some(conn) = self.conns[slot as usize].filter(|&conn| self.out.is_open(conn)) {
            self.out.ended(conn);
            self.handle(Input::Ended { conn, reason: CloseReason::PeerClosed });
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.tick();
    }

    /// Tells the hub the time, if it waits for one that has come.
    fn tick(&mut self) {
        if self.hub.poll_timeout().is_some_and(|time| time <= self.now) {
            self.handle(Input::Tick);
            assert!(self.hub.poll_timeout().is_none_or(|time| time > self.now), "ticks for ever");
        }
    }

    fn end_turn(&mut self) {
        self.handle(Input::TurnEnd);
        for conn in self.conns.into_iter().flatten() {
            self.out.take(conn);
        }
        self.out.flush();
    }

    fn handle(&mut self, input: Input<'_>) -> Progress {
        let progress = self.hub.handle(input, self.now, &mut self.out);
        self.hub.check_invariants();
        assert_ne!(progress, Progress::Wait, "nobody was asked for a verdict");
        progress
    }
}
