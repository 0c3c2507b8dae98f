//! Every bound of the server: its unit, its default and where the number comes from.
//!
//! Nothing is imported here. A limit of rate, time or count that is `0` is lifted;
//! a limit in bytes can't be.

/// Every configurable bound, under the keys of `[limits]` (manual: protocol, 'Limits').
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
        Self::usual()
    }
}

impl Limits {
    /// The default of each.
    #[must_use]
    pub const fn usual() -> Self {
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

impl Limits {
    /// Bytes that wait for a reader that does not keep up, and for one that does again: a part of
    /// `backlogsoft`, so that those who talk are held back before it is cut off.
    #[must_use]
    pub const fn behind_bytes(&self) -> (usize, usize) {
        (self.backlog_soft_bytes_max / 2, self.backlog_soft_bytes_max / 4)
    }

    /// Bytes that may wait for a connection's own reading before nothing more is read of it. What
    /// is then asked for is still answered: half of `backlog` is left for that, and a stanza more.
    #[must_use]
    pub const fn unread_bytes_max(&self) -> usize {
        let backlog = self.backlog_bytes_max;
        let more =
            if self.stanza_bytes_max < backlog / 4 { self.stanza_bytes_max } else { backlog / 4 };
        backlog / 2 - more
    }

    /// Bytes that may be queued for a connection in one turn before they are written.
    #[must_use]
    pub const fn share_bytes_max(&self) -> usize {
        self.backlog_bytes_max / 4
    }
}

/// Whether `count` is over a limit of which `0` means "none".
#[must_use]
pub const fn exceeds(count: usize, max: usize) -> bool {
    max != 0 && count > max
}

/// `[rooms] fullroster`: above this many members only the joiner gets the whole client list
/// (manual: protocol, 'Rooms').
pub const FULL_ROSTER_MEMBERS: usize = 200;

/// What a param takes beside its name and value: two allocations, and its place in the list of its
/// owner (measured with 64 empty params in each of 10,000 rooms).
pub const PARAM_BYTES_MORE: usize = 96;

/// Rooms that may list one room as a child room: each of them tells its members when that one
/// changes.
pub const LISTERS_MAX: usize = 64;

/// Lists of child rooms that are looked through to find out whether one more would form a cycle or
/// nest too deep: a tenth of a millisecond.
pub const LISTS_LOOKED_AT_MAX: usize = 16_384;

/// Seconds of `listrate` that a room or a client may use up at once.
pub const LIST_BURST_S: u64 = 4;

/// A sender is held back while most of those who are to receive what it says don't keep up, but no
/// stanza is for longer than this, and no reader is waited for longer.
pub const HELD_BACK_TIME_S: u64 = 5;

/// How often it is looked whether they do again, in milliseconds.
pub const HELD_BACK_LOOK_MS: u64 = 10;

/// How long a reader may stay above `backlogsoft` (manual: protocol, 'Limits').
pub const BACKLOG_SOFT_TIME_S: u64 = 10;

/// How long a client may stay above `stanzarate` (manual: protocol, 'Limits').
pub const STANZA_RATE_TIME_S: u64 = 10;

/// How long a closing connection may take to read its farewell and to end; one value for every
/// close, that of the server among them, keeps the loop simple.
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

/// So many different things the log advises the operator of within [`ADVICE_TIME_S`]: hosts and
/// origins that requests name, and that anybody can make up.
pub const ADVICE_MAX: usize = 64;

/// Then, in seconds, it is told anew.
pub const ADVICE_TIME_S: u64 = 3_600;

/// Bytes of the server's one read buffer and the most that one connection is read in a turn:
/// what redis and most servers take per event; a full default stanza fits.
pub const READ_BYTES_PER_TURN: usize = 65_536;

/// The same for a connection that has a transport: a record of TLS fits, and the smallest frames
/// of a WebSocket, 2,700 of them, take no longer than the stanzas of a turn.
pub const TRANSPORT_READ_BYTES_PER_TURN: usize = 16_384;

/// Bytes that are held of a connection that has not logged in: a stanza that has not come as a
/// whole or waits for the login before it, the head of a request, records of TLS that have not come
/// as a whole, and answers that it does not read. Each of these may have so many.
pub const EARLY_BYTES_MAX: usize = 32_768;

/// Bytes beyond [`EARLY_BYTES_MAX`] that stanzas of those who have not logged in may have, all of
/// them together: some old client may begin with a long one.
pub const EARLY_MORE_BYTES_MAX: usize = 4 * 1_048_576;

/// Stanzas of one plugin that are handled in a turn.
/// At about 1 µs a stanza it holds the others up for less than 100 µs.
pub const STANZAS_PER_TURN: usize = 64;

/// Bytes encoded in a turn before the turn stops reading and writes them out. It bounds the
/// turn's memory whatever is asked for; the rest is handled in the next turn.
pub const TURN_BYTES_MAX: usize = 4 * 1_048_576;

/// Work of a turn, in nanoseconds as it is reckoned, before the turn stops reading; and when what
/// it takes to write to the receivers is more than that, twice as much: a turn that has many to
/// write to is worth more stanzas to each.
pub const TURN_WORK_NS: u64 = 500_000;

/// Work of a turn that writes what earlier ones have queued: some polite clients' messages, or one
/// that tells something to thousands.
pub const WRITING_WORK_NS: u64 = 100_000;

/// A room of more members is a crowd: what it is told may be written later than what others are
/// told, by some turns.
pub const CROWD: usize = 16;

/// Connections that are written to in a turn when more than twice as many have something to be
/// written. The rest is written to in the next turns, in which those have their go who have caused
/// little: so a ping waits for so many calls of the system, 5 to 25 µs each, and not for those to
/// all of a crowd.
pub const RECEIVERS_PER_TURN: usize = 64;
/// As [`RECEIVERS_PER_TURN`], in bytes: some 0.5 ms of the system's copying.
pub const WRITTEN_BYTES_PER_TURN: u64 = 1_048_576;

/// Connections that have their go in a turn.
pub const CONNECTIONS_PER_TURN: usize = 512;

/// Work of one connection in its go, in nanoseconds as it is reckoned, before the next one has
/// its own: about a hundred stanzas that are answered, or what they make others receive.
pub const SHARE_WORK_NS: i64 = 20_000;

/// Of the time that goes by, so much less may each connection use up and still have its go before
/// those that use up more: a message to 10 others each millisecond.
pub const SHARE_RECOVERY_FACTOR: u128 = 16;

/// Where many wait at once, each recovers only this many times more slowly than if all of them had
/// equal parts of the time: otherwise each of 250 that want all there is would have caused little
/// work by the time that its go comes, and whoever is polite would wait behind all of them. Eight,
/// because work takes up to four times as long as it is reckoned, and what is saved up counts too.
pub const SHARE_RECOVERY_CROWD: u128 = 8;

/// More work than this is not held against a connection.
pub const SHARE_OWED_NS_MAX: i64 = 320 * SHARE_WORK_NS;

/// What handling a stanza takes, in nanoseconds, and each of its bytes (`cargo bench --bench
/// micro`): 0.1 to 13 by what is in it. A stanza of 64 KiB has a turn of its own.
pub const STANZA_WORK_NS: u64 = 500;

/// See [`STANZA_WORK_NS`].
pub const STANZA_BYTE_WORK_NS: u64 = 8;

/// What reading a frame of a WebSocket takes, in nanoseconds, whatever is in it.
pub const FRAME_WORK_NS: u64 = 50;

/// What looking at the head of a request takes, in nanoseconds for each of its bytes.
pub const HEAD_BYTE_WORK_NS: u64 = 2;

/// What decrypting a record of TLS takes, in nanoseconds, whatever is in it.
pub const RECORD_WORK_NS: u64 = 500;

/// What the server's part of a TLS handshake takes beside the signature, in nanoseconds. How long
/// the signature takes is measured when the key is read: that is 20 µs to 50 ms by the key.
pub const HANDSHAKE_WORK_NS: u64 = 150_000;

/// What it takes more with a client that wants the curve P-384.
pub const P384_WORK_NS: u64 = 600_000;

/// The server warns of a key whose signature takes longer, in nanoseconds: for so long nobody else
/// is served whenever somebody connects over TLS.
pub const SIGNATURE_NS_MAX: u64 = 10_000_000;

/// Addresses (IPv6: /64) of which it is known that they have had the server make signatures of
/// late: others come before them. Beyond that, those that have waited for long enough are
/// forgotten.
pub const GREETERS_MAX: usize = 1_024;

/// What a read takes that completes no stanza, in nanoseconds: a system call.
pub const READ_WORK_NS: u64 = 2_000;

/// What it takes to write to one connection, whatever is written: a system call.
pub const RECEIVER_WORK_NS: u64 = 5_000;

/// Bytes delivered in a turn, each stanza counted once for each receiver, before the turn stops
/// reading: some 30 ms of the system's copying.
pub const TURN_DELIVERED_BYTES_MAX: usize = 64 * 1_048_576;

/// Pieces of stanzas that do not lie together, queued in a turn before it stops reading. Each
/// takes 32 bytes.
pub const TURN_PIECES_MAX: usize = 262_144;

/// Connections that come to an end, or to a time of theirs, in a turn without having sent anything:
/// logins that take too long, silent WebSockets, closes that have had their time, verdicts. Each
/// takes about 10 microseconds, the system's calls for it included.
pub const ENDS_PER_TURN: usize = 256;

/// Households whose failed logins are forgiven at a time, when a connection opens: two would do to
/// forget as fast as they are remembered.
pub const FORGIVEN_AT_ONCE: usize = 16;

/// Connections accepted by one listener in a turn, so that a burst of connects holds no other
/// client up.
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

/// Passwords that may wait in the worker to be hashed, and as many again for the database: two for
/// each login that the server asks about, that of its account and root's.
pub const JUDGE_QUEUE_MAX: usize = 2 * LOGINS_ASKED_MAX;

/// The same of one address, IPv6 by its /64.
pub const JUDGE_QUEUE_PER_ADDRESS_MAX: usize = 2 * LOGINS_ASKED_PER_ADDRESS_MAX;

/// Logins that are asked about at the same time, and as many stanzas that need a permission, of one
/// address (IPv6 by its /64) where
/// `limits.failedlogins` leaves it so many; others of it wait their turn. More would be of no use:
/// so many passwords take 64 times 20 to 40 ms of a core.
pub const LOGINS_ASKED_PER_ADDRESS_MAX: usize = 64;

/// The same of all addresses together: 16 of them with as many as one may have. Beyond that
/// addresses have their turns in a round.
pub const LOGINS_ASKED_MAX: usize = 1_024;

/// Bytes of the `connect` elements that are asked about at the same time, of one address; one may
/// be longer. A `connect` has some 100 bytes, 7 KB with the longest nick and password.
pub const LOGIN_BYTES_PER_ADDRESS_MAX: usize = 131_072;

/// The same of all addresses together. Each is kept once, whomever it is put to.
pub const LOGIN_BYTES_MAX: usize = 4 * 1_048_576;

/// Questions that may wait for one plugin or its answers: as many as there are, each login with
/// root's password in it, and as many about what needs a permission. A plugin with more can't be
/// asked.
pub const PLUGIN_ASKS_MAX: usize = 3 * LOGINS_ASKED_MAX;

/// How often a question about a login is put to a plugin whose process ends with it: a second one
/// that ends with the same question has its fault in it.
pub const ASK_TRIES_MAX: u8 = 2;

/// How long the worker may be silent while it is asked something before it is ended and started
/// anew: several times what the dearest hash and a database that hangs take.
pub const WORKER_SILENCE_S: u64 = 20;

/// What the server keeps for the next worker: which accounts file it was and a digest of its nicks,
/// some 100 bytes.
pub const WORKER_STATE_BYTES_MAX: usize = 256;

/// How long a worker that another one has taken the place of has for what it was asked.
pub const WORKER_RETIRE_TIME_S: u64 = 30;

/// Workers that others have taken the place of and that still have something to answer; when there
/// is one more, the oldest is ended.
pub const WORKERS_RETIRED_MAX: usize = 4;

/// Stanza names that one plugin may register.
pub const PLUGIN_NAMES_MAX: usize = 256;

/// Bytes of such a name, and of the name of a timer.
pub const PLUGIN_NAME_BYTES_MAX: usize = 128;

/// Bytes of one stanza of a plugin, where `limits.stanzabytes` is less: that is for clients.
pub const PLUGIN_STANZA_BYTES_MIN: usize = 65_536;

/// A line of the log that the worker sends: with each byte escaped, as six, it is a stanza within
/// [`PLUGIN_STANZA_BYTES_MIN`].
pub const WORKER_LINE_BYTES_MAX: usize = 8_192;

/// How long the worker has to register, and how long a login waits for one that does not run: the
/// default `timeout` of a plugin.
pub const ASK_TIME_S: u64 = 5;

/// The accounts file, in bytes: some 600,000 accounts, read in a second.
pub const ACCOUNTS_FILE_BYTES_MAX: u64 = 64 * 1_048_576;

/// A configuration, in bytes: the longest that `palabre check` prints has some 20 KB.
pub const CONFIG_FILE_BYTES_MAX: u64 = 1_048_576;

/// A certificate with its chain, a key, or the authorities of a system (some 220 KB), in bytes.
pub const PEM_FILE_BYTES_MAX: u64 = 4 * 1_048_576;

/// Lines of the accounts file: one of an account has more than 64 bytes, so that this is more
/// accounts than it could hold. Blank lines and comments could be many more.
pub const ACCOUNTS_LINES_MAX: usize = 1_048_576;

/// Lines of the accounts file that are told to be wrong; the rest is not read then. A file of
/// another kind may be wrong in each line.
pub const ACCOUNTS_FAULTS_MAX: usize = 20;

/// How long an accounts file that is written in place has to be left alone before it counts where
/// it lacks a nick: an editor writes it within milliseconds.
pub const ACCOUNTS_SETTLE_TIME_S: u64 = 2;

/// How long after it was made a new accounts file may have been written last for it to be taken as
/// whole once it has been left alone: some ticks of the clock that files are stamped by.
pub const ACCOUNTS_ONE_GO_TIME_MS: u32 = 20;

/// How long such a file has to be left alone, since an upload may stop behind its first block.
pub const ACCOUNTS_ONE_GO_SETTLE_TIME_S: u64 = 60;

/// Nicks that are nobody's because the accounts file has lost them by being written in place; one
/// that loses more is not taken. As many as the largest file has.
pub const NICKS_RESERVED_MAX: usize = 600_000;

/// How long the database may take to accept a connection.
pub const DATABASE_CONNECT_TIME_S: u64 = 3;

/// How long the database may take to answer a request, and how long a login waits for one that is
/// locked or gone.
pub const DATABASE_REQUEST_TIME_S: u64 = 4;

/// How long a database that had no row for a stranger is taken to have none: what stands in it
/// may make the request one that lets everybody in, and to ask costs as much as a login.
pub const DATABASE_PROOF_TIME_S: u64 = 60;

/// The pause after the first failure to reach the database; it doubles with each further one.
pub const DATABASE_PAUSE_S: u64 = 1;

/// The longest pause between two attempts to reach the database: no longer than somebody waits
/// who tries again.
pub const DATABASE_PAUSE_MAX_S: u64 = 5;

/// The same complaint of the worker is logged once in this time.
pub const COMPLAINT_TIME_S: u64 = 60;

/// Bytes of the log that wait for a reader that rests, or for a disk that is full; lines beyond
/// are lost and counted. Some 2,500 lines: what a busy minute writes.
pub const LOG_BYTES_MAX: usize = 262_144;

/// Lines of a turn are written when they are so many bytes, or at the turn's end.
pub const LOG_FLUSH_BYTES: usize = 32_768;

/// How soon the log is tried again when it took no more: nobody notices such a delay, and a
/// server that has nothing else to do costs nothing by it.
pub const LOG_RETRY_TIME_MS: u64 = 250;

/// How long a server that ends waits for whoever reads its last lines.
pub const LOG_FAREWELL_TIME_MS: u64 = 1_000;

/// Lines of the log: so many a second, and so many saved up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRate {
    /// Lines a second.
    pub per_s: u64,
    /// Lines at once.
    pub burst: u64,
}

/// Lines that the connections of one address may cause (IPv6: of its /64): 2 KB a second at most,
/// and at once what 256 clients cause that connect, log in and go.
pub const LOG_LINES: LineRate = LineRate { per_s: 20, burst: 1_000 };

/// The same for warnings: each of 256 clients may go over a limit at once.
pub const LOG_WARNINGS: LineRate = LineRate { per_s: 2, burst: 300 };

/// Lines that all connections may cause: at once what 5,000 clients cause that come back after a
/// restart.
pub const LOG_LINES_IN_ALL: LineRate = LineRate { per_s: 400, burst: 20_000 };

/// The same for warnings.
pub const LOG_WARNINGS_IN_ALL: LineRate = LineRate { per_s: 40, burst: 6_000 };

/// Addresses whose lines are counted each for itself: 400 KB. They are forgotten when they have
/// been silent for less than a minute.
pub const LOG_ADDRESSES_MAX: usize = 4_096;

/// How often it is told which lines were left out of the log.
pub const LOG_LEFT_OUT_TIME_S: u64 = 10;

/// The longest line that `palabre client` reads from a pipe: far more than any stanza that a server
/// takes by default.
pub const CLIENT_LINE_BYTES_MAX: usize = 16 * 1_048_576;

/// Addresses that are named by a line of the log that tells how many lines were left out.
pub const LOG_ADDRESSES_NAMED_MAX: usize = 8;

/// An address that has had the server make a signature is a newcomer again after so long, whatever
/// the signature took.
pub const GREETER_WAITS_NS_MAX: u64 = 1_000_000_000;

/// Slices of one write to a client. More pieces than this are copied together first.
pub const OUTBOX_SLICES_MAX: usize = 64;

/// Several pieces of so many bytes together are copied into one slice: the system needs longer
/// to take each by itself (6 % in `palabre-bench fanout --rooms 50` with one log for all rooms).
pub const OUTBOX_JOINED_BYTES_MAX: usize = 16_384;

/// So much of a connection's first word is held before it is known whether a request of HTTP begins
/// with it.
pub const HTTP_METHOD_BYTES_MAX: usize = 64;

/// Stanzas between two pieces that nobody may want are framed for WebSockets as well, up to so many
/// bytes: a log of frames has no gaps, and to begin it anew costs as much.
pub const FRAMED_GAP_BYTES_MAX: usize = 4_096;

/// The longest head of a request of HTTP, in bytes; what browsers send with cookies of their own is
/// below 8 KiB.
pub const HTTP_HEAD_BYTES_MAX: usize = 16_384;

/// Headers of one request of HTTP.
pub const HTTP_HEADERS_MAX: usize = 64;

/// Timers of one plugin.
pub const PLUGIN_TIMERS_MAX: usize = 64;

/// Answers of the longest kind that fit into what may wait for a plugin: one has that part of
/// `limits.backlog` at most.
pub const PLUGIN_ANSWERS_WAITING: usize = 4;

/// Lines of one plugin that the log takes at once; a plugin is not to fill the disk.
pub const PLUGIN_LINES_BURST: u32 = 200;

/// Lines of one plugin that the log takes besides, each second.
pub const PLUGIN_LINES_PER_S: u64 = 20;

/// Mistakes of one process of a plugin that the log is told of above debug.
pub const PLUGIN_MISTAKES_LOGGED: u32 = 10;

/// How long a plugin may live on when it has ended its output, how long what it has started may
/// hold its output when it has ended itself, and how long after its input was ended.
pub const PLUGIN_END_TIME_S: u64 = 2;

/// A line of a plugin's standard error that is longer is cut.
pub const PLUGIN_ERROR_LINE_BYTES_MAX: usize = 1_024;

/// The longest wait before a plugin that ends again and again is started once more, in seconds.
pub const PLUGIN_RESTART_WAIT_S_MAX: u64 = 60;

/// Slices of one write to a plugin.
pub const PLUGIN_SLICES_MAX: usize = 16;

/// How often the program of a plugin may be a script that another script runs (`exec_binprm` of
/// Linux).
pub const SCRIPTS_MAX: u32 = 4;

/// The longest time that a plugin may be given to answer, in seconds: nobody waits for longer.
pub const PLUGIN_TIMEOUT_S_MAX: u64 = 300;

/// Bytes of the log that are written at once to what is only known to take something: POSIX
/// promises no more of a pipe (`_POSIX_PIPE_BUF`), and no more is asked of a terminal.
pub const LOG_SHARED_BYTES_MAX: usize = 512;

/// The longest silence that `palabre plugin-test` can be told to wait for: a minute is more than
/// anybody's patience.
pub const PLUGIN_TEST_WAIT_MS_MAX: u64 = 60_000;

/// Up to so many attributes of an element each is compared with each, to find one that is given
/// twice; above, they are sorted. At 16 both cost about the same.
pub const ATTRIBUTES_PAIRWISE_MAX: usize = 16;

/// The longest name of an element or an attribute, in bytes: that of libxml2 (its
/// `XML_MAX_NAME_LENGTH`).
pub const XML_NAME_BYTES_MAX: usize = 50_000;

/// Roles that members of one room have.
pub const ROLES_MAX: usize = 256;

/// Roles of one room that are remembered for those who come back; the oldest go.
pub const REMEMBERED_ROLES_MAX: usize = 256;

/// Bans of one room.
pub const ROOM_BANS_MAX: usize = 256;

/// Mutes of one room.
pub const ROOM_MUTES_MAX: usize = 256;

/// Invitations to one room that have not been used.
pub const ROOM_INVITATIONS_MAX: usize = 256;

/// How long an invitation holds.
pub const INVITATION_TIME_S: u64 = 600;

/// Bans of the server.
pub const SERVER_BANS_MAX: usize = 65_536;

/// Mutes of the server.
pub const SERVER_MUTES_MAX: usize = 65_536;

/// The longest password of a room, in bytes.
pub const ROOM_PASSWORD_BYTES_MAX: usize = 128;

/// The longest reason of a ban or a removal, in bytes.
pub const REASON_BYTES_MAX: usize = 256;

/// The longest time of a ban or a mute that ends, in seconds: ten years.
pub const SANCTION_TIME_S_MAX: u64 = 315_360_000;

/// Messages that a room can be told to keep: there is no history yet.
pub const HISTORY_MESSAGES_MAX: u32 = 0;

/// Sessions in one answer to `who`.
pub const WHO_SESSIONS_MAX: usize = 200;

/// About how many bytes of changes go to the store at a time: what the loop writes down in about a
/// millisecond.
pub const STORE_BATCH_BYTES: usize = 262_144;

/// Bytes of a batch that the store's process takes: one change may be larger than the batch that it
/// is to be, by the largest stanza that can be configured and its bans.
pub const STORE_BATCH_BYTES_MAX: usize = 256 * 1_048_576;

/// Bytes of a line of a dump.
pub const STORE_LINE_BYTES_MAX: u64 = 256 * 1_048_576;

/// How often changes are handed over to the store at most. A server that is killed loses what has
/// changed since, and while the last batch was written.
pub const STORE_PAUSE_MS: u64 = 50;

/// When changes are handed over again that could not be stored: a disk that is full has room by and
/// by, and a try costs a millisecond.
pub const STORE_RETRY_TIME_MS: u64 = 1_000;

/// How long a server that begins waits for the one before to have written its last batch.
pub const STORE_LOCK_TIME_S: u64 = 5;

/// How long the store's process has to open its file.
pub const STORE_OPEN_TIME_S: u64 = 30;

/// How long whoever reads the store may keep it from being written: a backup by SQLite's own means
/// takes no longer, and none keeps a reader from reading.
pub const STORE_BUSY_TIME_S: u64 = 5;

/// Bytes of the write-ahead log that stay when the rest is in the file.
pub const STORE_WAL_BYTES_KEPT: usize = 4 * 1_048_576;
