//! A network in memory for one server, without faults: what is sent is there at once, and time
//! passes when it is told to.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use palabre::hub::Time;
use palabre::net::world::{Event, World};

/// The number of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkKey(usize);

/// A connection, as both sides and the world see it.
#[derive(Debug, Default)]
pub(super) struct FakeLink {
    /// Sent by the client, not yet read by the server.
    up: VecDeque<u8>,
    /// The client sends no more.
    ended: bool,
    /// The client has reset the connection.
    broken: bool,
    /// Sent by the server, not yet read by the client.
    down: Vec<u8>,
    /// How much that may be.
    room_bytes: usize,
    blocked: bool,
    woken: bool,
    slot: Option<usize>,
    /// The server has ended its stream.
    pub(super) shut: bool,
    /// The server has closed its socket.
    pub(super) dropped: bool,
}

impl FakeLink {
    /// The client sends this.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.up.extend(bytes);
        self.woken = true;
    }

    /// The client ends its stream.
    pub(super) const fn end(&mut self) {
        self.ended = true;
        self.woken = true;
    }

    /// The client resets the connection.
    pub(super) fn reset(&mut self) {
        self.broken = true;
        self.up.clear();
        self.woken = true;
    }

    /// The client reads all that is there.
    pub(super) fn receive(&mut self) -> Vec<u8> {
        self.woken |= std::mem::take(&mut self.blocked);
        std::mem::take(&mut self.down)
    }
}

/// The server's world.
#[derive(Debug)]
pub(super) struct Network {
    now: Time,
    /// What the server was told last.
    told: Time,
    /// Every connection so far, by its number.
    links: Vec<FakeLink>,
    waiting: VecDeque<(LinkKey, IpAddr)>,
    knocked: bool,
    slots: Vec<Option<LinkKey>>,
    pub(super) signals: Vec<Event>,
    /// The last poll had nothing to tell, and nothing to return at once for.
    pub(super) asleep: bool,
    /// When the last poll would have returned by itself.
    wakes: Option<Time>,
}

impl Network {
    pub(super) const fn new() -> Self {
        Self {
            now: Time(0),
            told: Time(0),
            links: Vec::new(),
            waiting: VecDeque::new(),
            knocked: false,
            slots: Vec::new(),
            signals: Vec::new(),
            asleep: false,
            wakes: None,
        }
    }

    /// Connects; the server may send so many bytes before they are read.
    pub(super) fn connect(&mut self, address: IpAddr, room_bytes: usize) -> LinkKey {
        let key = LinkKey(self.links.len());
        self.links.push(FakeLink { room_bytes, ..FakeLink::default() });
        self.waiting.push_back((key, address));
        self.knocked = true;
        key
    }

    /// A connection, as its client sees it.
    pub(super) fn link(&mut self, key: LinkKey) -> &mut FakeLink {
        &mut self.links[key.0]
    }

    pub(super) const fn now(&self) -> Time {
        self.now
    }

    /// Lets time pass until something is due, `end` at the latest.
    pub(super) fn pass(&mut self, end: Time) {
        self.now = self.wakes.filter(|&time| time < end).unwrap_or(end).max(self.now);
    }
}

impl World for Network {
    type Socket = LinkKey;

    fn now(&mut self) -> Time {
        self.told = self.now;
        self.now
    }

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        events.append(&mut self.signals);
        if std::mem::take(&mut self.knocked) {
            events.push(Event::Acceptable { listener: 0 });
        }
        for key in self.slots.iter().flatten() {
            let link = &mut self.links[key.0];
            if let Some(slot) = link.slot
                && std::mem::take(&mut link.woken)
                && !link.dropped
            {
                let read_closed = link.ended || link.broken;
                let readable = read_closed || !link.up.is_empty();
                let writable = !link.blocked;
                let failed = link.broken;
                events.push(Event::Ready { slot, readable, writable, read_closed, failed });
            }
        }
        self.wakes = timeout.map(|timeout| self.told + timeout);
        self.asleep = events.is_empty() && self.wakes.is_none_or(|time| time > self.now);
        Ok(())
    }

    fn set_idle_time(&mut self, _seconds: u64) {}

    fn accept(&mut self, _listener: usize) -> io::Result<(LinkKey, SocketAddr)> {
        let (key, address) = self.waiting.pop_front().ok_or(ErrorKind::WouldBlock)?;
        Ok((key, SocketAddr::new(address, 40_000)))
    }

    fn register(&mut self, key: &mut LinkKey, slot: usize) -> io::Result<()> {
        let link = self.link(*key);
        link.slot = Some(slot);
        link.woken = true;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some(*key);
        Ok(())
    }

    fn stop_listening(&mut self) {
        for (key, _) in std::mem::take(&mut self.waiting) {
            self.link(key).dropped = true;
        }
    }

    fn read(&mut self, key: &mut LinkKey, buffer: &mut [u8]) -> io::Result<usize> {
        let link = self.link(*key);
        if link.broken {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let count = buffer.len().min(link.up.len());
        if count == 0 {
            return if link.ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        for (byte, sent) in buffer.iter_mut().zip(link.up.drain(..count)) {
            *byte = sent;
        }
        Ok(count)
    }

    fn write(&mut self, key: &mut LinkKey, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let link = self.link(*key);
        assert!(!link.shut, "written after the end");
        if link.broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let before = link.down.len();
        for slice in slices {
            let room = link.room_bytes.saturating_sub(link.down.len());
            link.blocked |= slice.len() > room;
            link.down.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        match link.down.len() - before {
            0 => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn shutdown_write(&mut self, key: &mut LinkKey) -> io::Result<()> {
        let link = self.link(*key);
        assert!(!link.shut, "ended twice");
        link.shut = true;
        Ok(())
    }

    fn check_silence(&mut self, _key: &mut LinkKey, _seconds: u64) {}

    fn close(&mut self, key: LinkKey) {
        self.link(key).dropped = true;
    }
}
