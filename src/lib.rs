//! palabre: a small XML socket server for Flash movies, Ruffle, raw TCP programs and telnet.
//!
//! One process, one thread, one `mio::Poll`. A stanza walks once through three layers, [`net`],
//! [`wire`] and [`hub`], and never turns back; the other modules serve these three:
//!
//! ```text
//! bytes ─ net ─► frame ─ wire ─► Stanza<'a> ─ hub ─► deliveries ─ net ─► outboxes
//!                                                   ─► one write per peer and turn
//! ```
//!
//! # Where to begin
//!
//! Read [`manual::protocol`] first: what a client sends and gets, and what the words mean. Then
//! take the map below from the top; each module's page begins with what it does. [`manual`] has the
//! other topics, [`manual::developing`] how the tests are run.
//!
//! # Map, in reading order
//!
//! - [`manual`]: the documentation, a topic a file; `palabre help TOPIC` prints it.
//! - [`limits`]: every bound, with its unit, its default and where the number comes from.
//! - [`files`]: files that are read whole, and what is none.
//! - [`networks`]: lists of IP networks, and whether an address is in one.
//! - [`nick`]: which names are names, which nicks are the same, and which look alike.
//! - [`reason`]: why connections are closed and requests refused, by a name that stays.
//! - [`record`]: what outlives the process, as records.
//! - [`secret`]: bytes in which a password may stand, and how they are overwritten.
//! - [`session_id`]: how a session is named, `SLOT.GENERATION`.
//! - `src/worker_input.rs`: what the worker processes of this binary hear from their server.
//! - [`wire`]: how bytes become frames ([`wire::framer`]), frames become checked stanzas
//!   ([`wire::stanza`]) and answers become bytes ([`wire::write`]).
//! - [`hub`]: the whole behaviour of the server, without a socket, a clock or a thread:
//!   [`hub::Hub::handle`] takes an [`hub::Input`] and the time, and answers through an
//!   [`hub::Outlet`]. [`hub::command`] has the table of all stanzas.
//! - [`accounts`]: who may log in, by a file of hashed passwords or a database, and the worker
//!   process that finds out, so that the loop never waits for either.
//! - [`store`]: rooms and bans that outlive the process: a file of SQLite, and the process that
//!   writes it.
//! - [`config`]: file and arguments become a [`config::Config`]. `src/config/keys.rs` is the table
//!   of keys, `draft.rs` what a file says, `checks.rs` what must go together, `problem.rs` what is
//!   told of it.
//! - [`logging`]: where the log goes, and what is escaped in it.
//! - [`metrics`]: plain counters, and how Prometheus reads them.
//! - [`net`]: binds, owns the poll and the only clock. [`net::server`] has the turn of the loop,
//!   [`net::world`] what the loop asks of the world, so that a test can be one;
//!   [`net::transport`] what stands between bytes and stanzas: HTTP, WebSocket, TLS. Plugins are
//!   processes of its own: [`manual::plugins`] has what they say to each other.
//!   `src/web` has the page and the script that browsers load.
//! - [`cli`]: the command line. `src/cli/arguments.rs` has its commands and options, a file or a
//!   folder of the name each command (`restart` stands beside `start`); what several of them need
//!   is in files of its own: pid files and ports, the terminal, what a server needs to start.
//! - `bench`: the load generator, `palabre-bench`, and the floor it compares with. It is behind a
//!   Cargo feature, and nothing else depends on it.
//!
//! # Where a change goes
//!
//! - A stanza that clients send: a row, an action and its arm in `src/hub/command.rs`, what it does
//!   in a chapter of `src/hub` such as `src/hub/param.rs`, its answers in `src/wire/write.rs`. A
//!   name that only the server sends is in the list of `src/hub/message.rs`. Then a transcript in
//!   `tests/transcripts`, the reference model in `tests/simulation`, the tables of `README.md` and
//!   `src/manual/protocol.md` (a test prints them), and `src/web/palabre.js`.
//! - A limit: `src/limits.rs`, its key in `src/config/keys.rs`, and the place that keeps it; what
//!   the server may hold by it is reckoned in `src/config/memory.rs`. With a close of its own a
//!   reason in `src/reason.rs` and its code in `src/net/transport.rs`. Its bound is tested in
//!   `tests/limits.rs`, its table is in `src/manual/configuration.md`.
//! - A metric: `src/metrics.rs` counts, `src/metrics/prometheus.rs` writes; what a gauge shows is
//!   gathered by `Server::gauges` in `src/net/server.rs`.
//! - A transport: `src/net/transport/detect.rs` tells it by its first bytes, `src/net/transport.rs`
//!   leads to a file of its own beside `src/net/transport/websocket.rs` and has the list of their
//!   names; its switch is in `src/config/web.rs`, which `src/config.rs` fills from
//!   `src/config/values.rs` and `src/config/keys.rs`. The load generator speaks it by
//!   `src/bench/over.rs` and `src/bench/transport.rs`, the tests of the loop by
//!   `tests/loop/speech.rs`.
//! - A hook that plugins hear: `src/net/plugins/hook.rs` names it, `src/net/desk/hooks.rs` tells
//!   it. What the hub has to say for it is a note in `src/hub/note.rs`, which `src/net/desk.rs`
//!   logs, and in `src/hub/plugin.rs` where it is said for those alone who have registered it, as
//!   `src/net/server/plugins.rs` tells the hub; the simulation has to know both, by
//!   `tests/simulation/generator.rs` and `tests/simulation/recorder.rs`. What a plugin may say is
//!   read in `src/net/plugins/verb.rs`, done by `src/net/server/plugins/stanzas.rs`, what the hub
//!   has to do in `src/hub/orders.rs`. The tables are in `src/manual/plugins.md`.
//! - A hook by which plugins are asked: besides, what they are asked about and what waits for them,
//!   `src/hub/permission.rs`, and how they are asked, `src/net/plugins/asking.rs`.
//!
//! # Invariants
//!
//! 1. A turn has one order: poll, mark ready, read and handle, timers, plugins, settle closes,
//!    flush sockets and plugins, close sockets, admit, free slots ([`net::server`]). Events only
//!    set flags. Work that is left makes the next poll return at once.
//! 2. Readiness is told at its edges and kept in flags; a reader is paused by not reading it.
//! 3. A connection is named by slot and generation ([`session_id::ConnId`]); a slot that is freed
//!    in a turn is not given out in it.
//! 4. Closing begins in one place and always has a reason ([`hub::CloseReason`]): what was received
//!    before the end is handled, the farewell is flushed, then the stream is ended, then what still
//!    comes is dropped until the peer's end or a deadline. A closing connection still counts.
//! 5. Everything is bounded, in [`limits`].
//! 6. Cost belongs to the one who causes it: a request takes time and memory in proportion to its
//!    own bytes, plus what its sender may make others receive, and that has a rate. Nothing is
//!    normalised, hashed, searched or copied before its length is held to its limit. A turn has so
//!    much work, so many bytes and so many ends; the rest waits its go.
//! 7. An idle connection owns no buffer: there is one read buffer, and only an unfinished tail
//!    is copied out of it.
//! 8. A message is encoded once, however many receive it, and each receiver costs one system
//!    call a turn, however many messages; one of a crowd costs one call in the several turns that
//!    it takes to write to all of it.
//! 9. Nothing iterates a hash map where the order can be seen.
//! 10. A peer's bytes can't panic the server: a panic is a bug in us. Nor can a log, a disk or a
//!     plugin that takes no more stop the loop: what can't be written without waiting is dropped
//!     and counted.
//! 11. Doubt closes: where logins are to be checked and nobody can, nobody gets in, and the reason
//!     is told.
//! 12. No unsafe code.
//!
//! # What is deliberately absent
//!
//! No threads, no locks, no async runtime: a chat server waits for the kernel, and one core of a
//! small host serves thousands. (The worker is another process, and has threads.) No
//! state on disk but what is kept by name: rooms with the mode `keep` and the server's bans, where
//! there is a store. No message is kept for those who are away.
#![forbid(unsafe_code)]

pub mod manual;

pub mod limits;

pub mod files;

pub mod networks;

pub mod nick;

pub mod reason;

pub mod record;

pub mod secret;

pub mod session_id;

mod worker_input;

pub mod wire;

pub mod hub;

pub mod accounts;

pub mod store;

pub mod config;

pub mod logging;

pub mod metrics;

pub mod net;

pub mod cli;

#[cfg(feature = "bench")]
pub mod bench;
