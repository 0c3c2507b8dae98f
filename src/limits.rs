//! Every bound of the server: its unit, its default and where the number comes from.
//!
//! Nothing is imported here. A limit of rate, time or count that is `0` is lifted;
//! a limit in bytes can't be.

/// Every configurable bound, under the keys of `[limits]` (PROTOCOL.md section 11).
///
/// Counts, rates and times of `0` mean "no limit"; ask [`exceeds`] instead of comparing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `stanzabytes`: bytes of one frame before its NUL. An XMLSocket message of a game is
    /// under 1 KiB; a whiteboard's drawing fits 64 KiB.
    pub stanza_bytes_max: usize,
    /// `depth`: nesting of one stanza, the root element counted.
    pub depth_max: usize,
    /// `attributes`: attributes of one element, namespace declarations counted.
    pub attributes_max: usize,
    /// `nickbytes`: bytes of a nick.
    pub nick_bytes_max: usize,
    /// `roombytes`: bytes of a room's name.
    pub room_bytes_max: usize,
    /// `params`: params of one room or one session.
    pub params_max: usize,
    /// `parambytes`: bytes of a param's value; a param's name is held to it as well.
    pub param_bytes_max: usize,
    /// `paramstotal`: bytes of all params of all rooms and sessions, each as it is written and
    /// with [`PARAM_BYTES_MORE`].
    pub params_total_bytes_max: usize,
    /// `roomsperclient`: rooms one session is in.
    pub rooms_per_client_max: usize,
    /// `rooms`: rooms in all.
    pub rooms_max: usize,
    /// `roomdepth`: child rooms within child rooms; a room without a parent has depth 0.
    pub room_depth_max: usize,
    /// `sessions`: open sessions; `0` takes what the descriptor limit allows.
    pub sessions_max: usize,
    /// `sessionsperaddress`: open sessions from one address; loopback is exempt.
    pub sessions_per_address_max: usize,
    /// `logintime`: seconds from accept to login.
    pub login_time_s: u64,
    /// `idletime`: seconds of silence before the server checks that the peer is there.
    pub idle_time_s: u64,
    /// `stanzarate`: stanzas of one session, per second.
    pub stanza_rate_per_s: u64,
    /// `stanzaburst`: stanzas that may come at once before the rate counts.
    pub stanza_burst: u64,
    /// `byterate`: bytes of one session, per second; what a stanza makes the server write to
    /// others counts where that is more than the stanza itself.
    pub byte_rate_per_s: u64,
    /// `byteburst`: bytes that may come at once before the rate counts.
    pub byte_burst: u64,
    /// `failedlogins`: refused authentications and wrong root passwords of one address, per minute.
    pub failed_logins_per_minute: u64,
    /// `backlog`: bytes waiting for one reader before it is cut off.
    pub backlog_bytes_max: usize,
    /// `backlogsoft`: bytes that may wait for one reader for [`BACKLOG_SOFT_TIME_S`].
    pub backlog_soft_bytes_max: usize,
    /// `backlogtotal`: bytes waiting for all readers together.
    pub backlog_total_bytes_max: usize,
    /// `listbytes`: bytes of one list as it is written, its NUL included; a longer one goes
    /// without params, and if that is too long as well, an error stands in for it.
    pub list_bytes_max: usize,
    /// `listrate`: bytes of lists that one room may send to its members in a second, each list
    /// counted once for each receiver; and bytes of lists that one session may ask for.
    pub list_rate_per_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stanza_bytes_max: 65_536,
            depth_max: 64,
            attributes_max: 64,
            nick_bytes_max: 64,
            room_bytes_max: 128,
            params_max: 64,
            param_bytes_max: 4_096,
            params_total_bytes_max: 67_108_864,
            rooms_per_client_max: 64,
            rooms_max: 65_536,
            room_depth_max: 8,
            sessions_max: 0,
            sessions_per_address_max: 256,
            login_time_s: 300,
            idle_time_s: 300,
            stanza_rate_per_s: 200,
            stanza_burst: 1_000,
            byte_rate_per_s: 262_144,
            byte_burst: 1_048_576,
            failed_logins_per_minute: 20,
            backlog_bytes_max: 1_048_576,
            backlog_soft_bytes_max: 262_144,
            backlog_total_bytes_max: 268_435_456,
            list_bytes_max: 262_144,
            list_rate_per_s: 4_194_304,
        }
    }
}

/// Whether `count` is over a limit of which `0` means "none".
#[must_use]
pub const fn exceeds(count: usize, max: usize) -> bool {
    max != 0 && count > max
}

/// `[rooms] fullroster`: above this many members only the joiner gets the whole client list
/// (PROTOCOL.md section 12).
pub const FULL_ROSTER_MEMBERS: usize = 200;

/// What a param takes beside its name and value: two allocations, and its place in the list of its
/// owner (measured with 64 empty params in each of 10,000 rooms).
pub const PARAM_BYTES_MORE: usize = 96;

/// How long a reader may stay above `backlogsoft` (PROTOCOL.md section 11).
pub const BACKLOG_SOFT_TIME_S: u64 = 10;

/// How long a client may stay above `stanzarate` (PROTOCOL.md section 11).
pub const STANZA_RATE_TIME_S: u64 = 10;

/// How long a closing connection may take to read its farewell and to end (issue: shutdown
/// flushes "within 5 s"; one value for every close keeps the loop simple).
pub const DRAIN_TIME_S: u64 = 5;

/// The same for a connection that was refused because there are too many: it is not to keep its
/// descriptor from others for long.
pub const REFUSED_DRAIN_TIME_S: u64 = 1;

/// Connections that were refused because there are too many and may still read their farewell,
/// all addresses together; others are closed without one. They are what most of
/// [`DESCRIPTORS_RESERVED`] is for.
pub const REFUSED_DRAINING_MAX: usize = 32;

/// How long a silent WebSocket may take to answer a ping; as long as TCP keep-alive gives a peer
/// that does not answer.
pub const PING_ANSWER_TIME_S: u64 = 30;

/// Bytes of the server's one read buffer and the most that one connection is read in a turn:
/// what redis and most servers take per event; a full default stanza fits.
pub const READ_BYTES_PER_TURN: usize = 65_536;

/// The same for a connection that has a transport: a record of TLS fits, and the smallest frames
/// of a WebSocket, 2,700 of them, take no longer than the stanzas of a turn.
pub const TRANSPORT_READ_BYTES_PER_TURN: usize = 16_384;

/// Stanzas of one connection that are handled in a turn before the next one has its go.
/// At about 1 µs a stanza it holds the others up for less than 100 µs.
pub const STANZAS_PER_TURN: usize = 64;

/// Bytes encoded in a turn before the turn stops reading and writes them out. It bounds the
/// turn's memory whatever is asked for; the rest is handled in the next turn.
pub const TURN_BYTES_MAX: usize = 4 * 1_048_576;

/// Connections accepted by one listener in a turn, so that a burst of connects holds nobody up.
pub const ACCEPTS_PER_TURN: usize = 128;

/// Descriptors kept back from `sessions` for listeners, log, pid file and refusals.
pub const DESCRIPTORS_RESERVED: usize = 64;

/// Calm of this length ends a time of too many stanzas; it is longer than the wait for one
/// token at the lowest rate, one a second.
pub const STANZA_RATE_CALM_S: u64 = 2;

/// Addresses whose failed logins are remembered; beyond it the oldest are forgotten first.
pub const ADDRESSES_REMEMBERED_MAX: usize = 65_536;

/// The longest header of the PROXY protocol, version 2. It could have 64 KiB; addresses take 232
/// bytes at most, and what proxies tell besides (names, a cipher, an id) some hundreds.
pub const PROXY_HEADER_BYTES_MAX: usize = 4_096;
/// A longer password is wrong, unread: longer than any that a person types or a program makes.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// The most memory that a password hash may ask for, in KiB, so that the accounts file can't
/// take a small host's: the second choice of RFC 9106 section 4, over three times our own.
pub const HASH_MEMORY_KIB_MAX: u32 = 65_536;

/// The most passes over that memory that a password hash may ask for: at the most memory, about
/// half a second of a small host.
pub const HASH_PASSES_MAX: u32 = 10;

/// The most lanes that a password hash may ask for; they are worked off one after the other.
pub const HASH_LANES_MAX: u32 = 16;

/// Passwords that are hashed at the same time, where the host has the cores: at most 76 MiB.
pub const HASH_THREADS_MAX: usize = 4;

/// Passwords that may wait for a thread, for each thread: what it can hash, at 40 ms each, before
/// [`ASK_TIME_S`] is over.
pub const HASH_QUEUE_PER_THREAD: usize = 128;

/// How long whoever asks about a login waits for the answer: the default `timeout` of a plugin.
pub const ASK_TIME_S: u64 = 5;

/// The accounts file, in bytes: some 600,000 accounts, read in a second.
pub const ACCOUNTS_FILE_BYTES_MAX: u64 = 64 * 1_048_576;

/// Logins that may wait for the database: as many as it would have to answer in [`ASK_TIME_S`] at
/// 200 a second.
pub const DATABASE_QUEUE: usize = 1_024;

/// How long the database may take to accept a connection, and to answer a request; both are
/// shorter than [`ASK_TIME_S`], so that whoever asks hears of it.
pub const DATABASE_CONNECT_TIME_S: u64 = 3;

/// See [`DATABASE_CONNECT_TIME_S`].
pub const DATABASE_REQUEST_TIME_S: u64 = 4;

/// The pause after the first failure to reach the database; it doubles with each further one.
pub const DATABASE_PAUSE_S: u64 = 1;

/// The longest pause between two attempts to reach the database.
pub const DATABASE_PAUSE_MAX_S: u64 = 30;

/// The same complaint of the worker is logged once in this time.
pub const COMPLAINT_TIME_S: u64 = 60;
