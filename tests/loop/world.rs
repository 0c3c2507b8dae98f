//! The world around the loop: a network in memory and a clock that jumps.

use std::cell::RefMut;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use palabre::config::Module;
use palabre::hub::Time;
use palabre::net::world::{Event, ProcessEnd, ProcessKey, World};

use crate::crowd::Everybody;
use crate::pipe::{FakeSocket, Faults, Handle, Pipe, Room, Shared};
use crate::process;
use crate::rng::Rng;

/// What Linux says when a process has no descriptor left.
const EMFILE: i32 = 24;

/// Listeners and connections.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) shared: Rc<Shared>,
    pub(crate) faults: Faults,
    pub(crate) rng: Rng,
    /// How many descriptors there are.
    pub(crate) descriptors_max: usize,
    pub(crate) connections: Vec<Handle>,
    listeners: Vec<Listener>,
    /// Whose slot it is, or was last.
    slots: Vec<Option<Handle>>,
    stopped: bool,
    idle_time_s: Option<u64>,
}

#[derive(Debug, Default)]
struct Listener {
    queue: VecDeque<(Handle, IpAddr)>,
    woken: bool,
}

/// The loop's world.
pub(crate) struct Simulated {
    pub(crate) network: Network,
    pub(crate) crowd: Option<Everybody>,
    /// Every process that was started, and under which index.
    pub(crate) processes: Vec<(usize, process::Handle)>,
    /// No process can be started.
    pub(crate) no_processes: bool,
    /// Signals that have come.
    pub(crate) signals: Vec<Event>,
    /// How often the process may still sleep for too long.
    oversleeps: u32,
    /// The poll returns by then, though nothing has happened.
    pub(crate) alarm: Option<Time>,
    /// The last poll slept until the alarm, or would have slept for ever.
    pub(crate) slept: bool,
    /// The last poll was told to return at once, and had nothing to tell.
    pub(crate) hurried: bool,
    pub(crate) last_timeout: Option<Duration>,
}

impl Network {
    fn new(seed: u64, faults: Faults, listeners: usize) -> Self {
        Self {
            shared: Rc::default(),
            faults,
            rng: Rng::new(seed),
            descriptors_max: usize::MAX,
            connections: Vec::new(),
            listeners: (0..listeners).map(|_| Listener::default()).collect(),
            slots: Vec::new(),
            stopped: false,
            idle_time_s: None,
        }
    }

    pub(crate) fn now(&self) -> Time {
        self.shared.now.get()
    }

    /// Connects to a listener; whether that is accepted is to be seen.
    pub(crate) fn connect(&mut self, listener: usize, address: IpAddr, room: Room) -> Handle {
        let id = self.connections.len();
        let rng = Rng::new(self.rng.next());
        let pipe = Pipe::connect(id, &self.shared, self.faults, rng, room);
        self.connections.push(Rc::clone(&pipe));
        if self.stopped {
            pipe.borrow_mut().refuse();
        } else {
            self.listeners[listener].queue.push_back((Rc::clone(&pipe), address));
            self.listeners[listener].woken = true;
        }
        pipe
    }

    /// Connections that nobody has accepted yet.
    pub(crate) fn waiting(&self) -> usize {
        self.listeners.iter().map(|listener| listener.queue.len()).sum()
    }

    fn is_under_way(&self) -> bool {
        self.watched().any(|pipe| pipe.borrow().is_under_way())
    }

    fn watched(&self) -> impl Iterator<Item = &Handle> {
        self.slots.iter().flatten().filter(|pipe| pipe.borrow().is_held())
    }

    /// Tells what happened.
    fn collect(&mut self, events: &mut Vec<Event>) {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            if std::mem::take(&mut listener.woken) && !listener.queue.is_empty() {
                events.push(Event::Acceptable { listener: index });
            }
        }
        let disordered = self.rng.chance(self.faults.disordered);
        let mut first = events.is_empty();
        for pipe in self.slots.iter().flatten() {
            let mut pipe = pipe.borrow_mut();
            if !pipe.is_held() || !pipe.has_edge() || (disordered && !first && self.rng.chance(30))
            {
                continue;
            }
            let event = pipe.take_event();
            first &= event.is_none();
            events.extend(event);
        }
        if disordered {
            for last in (1..events.len()).rev() {
                events.swap(last, self.rng.below(last + 1));
            }
        }
        if self.rng.chance(self.faults.spurious) {
            events.push(Event::Ready {
                slot: self.rng.below(self.slots.len() + 2),
                readable: self.rng.chance(50),
                writable: self.rng.chance(50),
                read_closed: false,
                failed: false,
            });
        }
    }
}

impl Simulated {
    pub(crate) fn new(seed: u64, faults: Faults, listeners: usize) -> Self {
        Self {
            network: Network::new(seed, faults, listeners),
            crowd: None,
            processes: Vec::new(),
            no_processes: false,
            signals: Vec::new(),
            oversleeps: 5,
            alarm: None,
            slept: false,
            hurried: false,
            last_timeout: None,
        }
    }

    fn look(&mut self, events: &mut Vec<Event>) {
        if let Some(crowd) = &mut self.crowd {
            crowd.act(&mut self.network);
        }
        events.append(&mut self.signals);
        for (index, pipes) in &self.processes {
            let mut pipes = pipes.borrow_mut();
            if std::mem::take(&mut pipes.woken) {
                events.push(Event::ProcessReady { index: *index });
            }
            if std::mem::take(&mut pipes.ended_untold) {
                events.push(Event::ProcessEnded);
            }
        }
        self.network.collect(events);
    }

    fn pipes(&self, process: ProcessKey) -> RefMut<'_, process::Pipes> {
        let (_, pipes) = &self.processes[process.0 as usize];
        let pipes = pipes.borrow_mut();
        assert!(!pipes.forgotten, "a process is asked that was forgotten");
        pipes
    }

    fn set_time(&self, time: Time) {
        let now = &self.network.shared.now;
        now.set(now.get().max(time));
    }

    /// When a poll returns that has nothing to tell now.
    fn wake_time(&self, deadline: Option<Time>) -> Option<Time> {
        let next = self.crowd.as_ref().and_then(Everybody::next_act);
        let soon = self.network.now() + Duration::from_micros(50);
        let arrival = self.network.is_under_way().then_some(soon);
        [deadline, next, self.alarm, arrival].into_iter().flatten().min()
    }
}

impl World for Simulated {
    type Socket = FakeSocket;

    fn now(&mut self) -> Time {
        self.network.now()
    }

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let shared = Rc::clone(&self.network.shared);
        shared.turn.set(shared.turn.get() + 1);
        shared.turn_before.set(shared.now.get());
        self.last_timeout = timeout;
        self.slept = false;
        self.hurried = false;
        if self.network.faults.turn_ns > 0 {
            let took = self.network.rng.below(self.network.faults.turn_ns) as u64;
            self.set_time(shared.now.get() + Duration::from_nanos(took));
        }
        let deadline = timeout.map(|timeout| shared.now.get() + timeout);
        loop {
            self.look(events);
            if !events.is_empty() {
                break;
            }
            if timeout == Some(Duration::ZERO) {
                self.hurried = true;
                break;
            }
            if deadline.is_some_and(|deadline| deadline <= shared.now.get()) {
                break;
            }
            let Some(wake) = self.wake_time(deadline) else {
                self.slept = true;
                break;
            };
            if self.alarm == Some(wake) && deadline != Some(wake) && wake <= shared.now.get() {
                self.slept = true;
                break;
            }
            self.set_time(wake);
            if self.oversleeps > 0 && self.network.rng.chance(self.network.faults.overslept) {
                self.oversleeps -= 1;
                let late = self.network.rng.below(2_000_000_000) as u64;
                self.set_time(wake + Duration::from_nanos(late));
            }
        }
        shared.note("poll", events.len(), 0);
        Ok(())
    }

    fn set_idle_time(&mut self, seconds: u64) {
        self.network.idle_time_s = Some(seconds);
    }

    fn accept(&mut self, listener: usize) -> io::Result<(FakeSocket, SocketAddr)> {
        let network = &mut self.network;
        assert!(!network.stopped, "accepting after the end of listening");
        let shared = Rc::clone(&network.shared);
        let queue = &mut network.listeners[listener].queue;
        if queue.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        if shared.descriptors.get() >= network.descriptors_max {
            shared.note("starved", 0, 0);
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        shared.activity.set(shared.activity.get() + 1);
        if network.rng.chance(network.faults.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        let Some((pipe, address)) = queue.pop_front() else {
            return Err(ErrorKind::WouldBlock.into());
        };
        if network.rng.chance(network.faults.accept_aborted) {
            pipe.borrow_mut().refuse();
            return Err(ErrorKind::ConnectionAborted.into());
        }
        shared.note("accept", pipe.borrow().id, 0);
        pipe.borrow_mut().idle_time_s = network.idle_time_s;
        shared.descriptors.set(shared.descriptors.get() + 1);
        Ok((FakeSocket { pipe }, SocketAddr::new(address, 40_000)))
    }

    fn register(&mut self, socket: &mut FakeSocket, slot: usize) -> io::Result<()> {
        let network = &mut self.network;
        if network.slots.len() <= slot {
            network.slots.resize_with(slot + 1, || None);
        }
        if let Some(last) = &network.slots[slot] {
            let dropped_in = last.borrow().dropped_in;
            let turn = network.shared.turn.get();
            assert!(dropped_in.is_some(), "slot {slot} is given out while it is in use");
            assert_ne!(
                dropped_in,
                Some(turn),
                "slot {slot} is given out in the turn that freed it"
            );
        }
        if network.rng.chance(network.faults.unwatchable) {
            return Err(io::Error::other("no memory for the watch"));
        }
        network.shared.note("watch", socket.pipe.borrow().id, slot);
        socket.pipe.borrow_mut().watch(slot);
        network.slots[slot] = Some(Rc::clone(&socket.pipe));
        Ok(())
    }

    fn read(&mut self, socket: &mut FakeSocket, buffer: &mut [u8]) -> io::Result<usize> {
        socket.read(buffer)
    }

    fn write(&mut self, socket: &mut FakeSocket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        socket.write(slices)
    }

    fn shutdown_write(&mut self, socket: &mut FakeSocket) -> io::Result<()> {
        socket.shutdown_write()
    }

    fn check_silence(&mut self, socket: &mut FakeSocket, seconds: u64) {
        socket.pipe.borrow_mut().idle_time_s = Some(seconds);
    }

    fn close(&mut self, socket: FakeSocket) {
        socket.close();
    }

    fn start(&mut self, index: usize, _: &Module) -> io::Result<ProcessKey> {
        self.network.shared.activity.set(self.network.shared.activity.get() + 1);
        if self.no_processes {
            return Err(ErrorKind::NotFound.into());
        }
        let pipes = process::Pipes::new(&self.network.shared);
        self.processes.push((index, pipes));
        Ok(ProcessKey(self.processes.len() as u64 - 1))
    }

    fn read_output(&mut self, process: ProcessKey, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipes(process).read_output(buffer)
    }

    fn read_errors(&mut self, process: ProcessKey, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipes(process).read_errors(buffer)
    }

    fn write_input(&mut self, process: ProcessKey, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.pipes(process).write_input(slices)
    }

    fn end_input(&mut self, process: ProcessKey) {
        self.pipes(process).end_input();
    }

    fn ended(&mut self, process: ProcessKey) -> Option<ProcessEnd> {
        self.pipes(process).how_it_ended()
    }

    fn kill(&mut self, process: ProcessKey, force: bool) {
        self.pipes(process).kill(force);
    }

    fn forget(&mut self, process: ProcessKey) {
        let mut pipes = self.pipes(process);
        assert!(!pipes.is_alive() && !pipes.forgotten, "it ends, and is forgotten, once");
        pipes.forgotten = true;
    }

    fn stop_listening(&mut self) {
        assert!(!self.network.stopped, "listening is stopped twice");
        self.network.stopped = true;
        for listener in &mut self.network.listeners {
            for (pipe, _) in listener.queue.drain(..) {
                pipe.borrow_mut().refuse();
            }
        }
    }
}
