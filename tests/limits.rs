//! Each limit that the hub owns (manual: protocol, 'Limits'): at the bound, and one past it.

#[path = "limits/rates.rs"]
mod rates;
#[path = "simulation/recorder.rs"]
mod recorder;
#[path = "limits/rooms.rs"]
mod rooms;

use std::fmt::Write as _;
use std::net::IpAddr;

use palabre::hub::{
    CloseReason, ConnId, HashKey, Hub, Input, ListenerKind, Lookalikes, Progress, QuestionId,
    Registered, RootPassword, Settings, Time, Verdict,
};
use palabre::limits::{
    LOGIN_BYTES_MAX, LOGIN_BYTES_PER_ADDRESS_MAX, LOGINS_ASKED_MAX, LOGINS_ASKED_PER_ADDRESS_MAX,
    Limits,
};

use recorder::{Done, Recorder};

const ROOT_PASSWORD: &str = "sesame";

/// A hub with clients to talk to; slots are given out one by one.
struct Server {
    hub: Hub,
    recorder: Recorder,
    now: Time,
    slots: u32,
}

impl Server {
    fn new(limits: Limits) -> Self {
        let root_password = RootPassword::clear(ROOT_PASSWORD);
        Self::with(Settings { limits, root_password, ..Settings::default() })
    }

    fn with(settings: Settings) -> Self {
        Self {
            hub: Hub::new(settings, HashKey(3, 4), 0),
            recorder: Recorder::default(),
            now: Time::from_secs(1_000),
            slots: 0,
        }
    }

    fn ask_about_logins(&mut self) {
        let registered = Registered { logins: true, ..Registered::default() };
        self.handle(Input::Registered(Box::new(registered)));
    }

    fn handle(&mut self, input: Input<'_>) -> Progress {
        let progress = self.hub.handle(input, self.now, &mut self.recorder);
        // With more sessions it takes long, and the simulation does it then.
        if self.slots < 32 {
            self.hub.check_invariants();
        }
        progress
    }

    /// A connection from an address, and what it is told at once.
    fn open_from(&mut self, address: &str) -> (ConnId, Vec<Done>) {
        let conn = ConnId { slot: self.slots, generation: 1 };
        self.slots += 1;
        self.recorder.open.insert(conn);
        let address: IpAddr = address.parse().expect("an address");
        self.handle(Input::Opened { conn, address, listener: ListenerKind::Main });
        (conn, self.told(conn))
    }

    fn open(&mut self) -> ConnId {
        self.open_from("127.0.0.1").0
    }

    fn log_in(&mut self, nick: &str) -> ConnId {
        let conn = self.open();
        let told = self.send(conn, &format!("<connect nickname='{nick}'/>"));
        assert!(told[0].starts_with("<connect isok='1'"), "{told:?}");
        conn
    }

    fn offer(&mut self, conn: ConnId, stanza: &str) -> Progress {
        self.handle(Input::Frame { conn, frame: stanza.as_bytes() })
    }

    /// What one connection was told since it was last asked for; the others' share is dropped.
    fn told(&mut self, conn: ConnId) -> Vec<Done> {
        let done = self.recorder.take();
        self.recorder.limits_named.clear();
        done.into_iter().filter(|(to, _)| *to == conn).map(|(_, done)| done).collect()
    }

    /// Sends a stanza in a turn of its own and gives the texts of the answer.
    fn send(&mut self, conn: ConnId, stanza: &str) -> Vec<String> {
        self.handle(Input::TurnEnd);
        self.recorder.flush();
        self.told(conn);
        assert_eq!(self.offer(conn, stanza), Progress::Done, "{stanza}");
        let text = |done| match done {
            Done::Text(text) => Some(text),
            Done::Closed(_)
            | Done::Asked(_)
            | Done::Cancelled(_)
            | Done::Called
            | Done::Registered(..)
            | Done::Hook(_) => None,
        };
        self.told(conn).into_iter().filter_map(text).collect()
    }

    fn is_refused(&mut self, conn: ConnId, stanza: &str, error: &str) {
        assert_eq!(self.send(conn, stanza), [format!("<error>{error}</error>")], "{stanza}");
    }

    fn passes(&mut self, conn: ConnId, stanza: &str) {
        let told = self.send(conn, stanza);
        assert!(!told.iter().any(|text| text.starts_with("<error>")), "{stanza}: {told:?}");
    }

    fn pass_seconds(&mut self, seconds: u64) {
        self.now = self.now.plus_secs(seconds);
    }
}

fn error_and_close(error: &str, reason: CloseReason) -> Vec<Done> {
    vec![Done::Text(format!("<error>{error}</error>")), Done::Closed(reason)]
}

#[test]
fn stanza_bytes() {
    let mut server = Server::new(Limits::default());
    let conn = server.log_in("a");
    // The shell counts; the hub is told which limit is crossed, and when.
    server.handle(Input::FrameTooLarge { conn, max: 32_768 });
    let error = "Stanza too large (limit 32768 bytes)";
    assert_eq!(server.told(conn), error_and_close(error, CloseReason::StanzaTooLarge));
}

#[test]
fn depth() {
    let mut server = Server::new(Limits { depth_max: 3, ..Limits::default() });
    let conn = server.log_in("a");
    server.passes(conn, "<m c='a'><b><c/></b></m>");
    let told = server.send(conn, "<m c='a'><b><c><d/></c></b></m>");
    assert!(told[0].starts_with("<error>") && told[0].contains("limit 3"), "{told:?}");
    server.passes(conn, "<ping/>");
}

#[test]
fn attributes() {
    let mut server = Server::new(Limits { attributes_max: 2, ..Limits::default() });
    let conn = server.log_in("a");
    server.passes(conn, "<m c='a' x='1'/>");
    let told = server.send(conn, "<m c='a' x='1' y='2'/>");
    assert!(told[0].starts_with("<error>") && told[0].contains("limit 2"), "{told:?}");
    server.passes(conn, "<ping/>");
}

#[test]
fn nick_bytes() {
    let mut server = Server::new(Limits::default());
    let conn = server.open();
    // A letter of two bytes and 62 of one are 64 bytes; characters are not what counts.
    let fits = format!("\u{E9}{}", "x".repeat(62));
    let why = "Nickname empty or already taken (limit 64 bytes)";
    assert_eq!(
        server.send(conn, &format!("<connect nickname='{fits}x'/>")),
        [format!("<connect isok='0' msg='{why}'/>"), format!("<error>{why}</error>")]
    );
    server.passes(conn, &format!("<connect nickname='{fits}'/>"));
}

#[test]
fn room_bytes() {
    let mut server = Server::new(Limits::default());
    let conn = server.log_in("a");
    let fits = format!("\u{E9}{}", "x".repeat(126));
    let error = "Room name too long (limit 128 bytes)";
    server.is_refused(conn, &format!("<join room='{fits}x'/>"), error);
    server.passes(conn, &format!("<join room='{fits}'/>"));
    let child = format!("<addchild parentroom='{fits}' childroom='{}'/>", "y".repeat(129));
    server.is_refused(conn, &child, error);
}

#[test]
fn params_of_a_room() {
    let mut server = Server::new(Limits { params_max: 3, ..Limits::default() });
    let conn = server.log_in("a");
    server.passes(conn, "<join room='r'/>");
    // A room is born with title and openParams.
    server.passes(conn, "<setparam room='r' name='x' value='1'/>");
    let one_more = "<setparam room='r' name='y' value='1'/>";
    server.is_refused(conn, one_more, "Too many params (limit 3)");
    server.passes(conn, "<setparam room='r' name='x' value='2'/>");
    server.passes(conn, "<removeparam room='r' name='title'/>");
    server.passes(conn, one_more);
}

#[test]
fn params_of_a_client() {
    let mut server = Server::new(Limits { params_max: 2, ..Limits::default() });
    let conn = server.log_in("a");
    server.passes(conn, "<clientparam name='x' value='1'/>");
    server.passes(conn, "<clientparam name='y' value='1'/>");
    server.is_refused(conn, "<clientparam name='z' value='1'/>", "Too many params (limit 2)");
    server.passes(conn, "<clientparam name='y' value='2'/>");
}

#[test]
fn param_bytes() {
    let mut server = Server::new(Limits::default());
    let conn = server.log_in("a");
    server.passes(conn, "<join room='r'/>");
    let error = "Param too long (limit 4096 bytes)";
    let (fits, long) = ("v".repeat(4_096), "v".repeat(4_097));
    for set in ["<setparam room='r'", "<clientparam"] {
        server.passes(conn, &format!("{set} name='x' value='{fits}'/>"));
        server.is_refused(conn, &format!("{set} name='x' value='{long}'/>"), error);
        server.passes(conn, &format!("{set} name='{fits}' value=''/>"));
        server.is_refused(conn, &format!("{set} name='{long}' value=''/>"), error);
        // What counts is the value that is meant, not how it is written.
        let written = "&amp;".repeat(4_096);
        server.passes(conn, &format!("{set} name='x' value='{written}'/>"));
    }
}

#[test]
fn rooms_per_client() {
    let mut server = Server::new(Limits { rooms_per_client_max: 2, ..Limits::default() });
    let (first, other) = (server.log_in("a"), server.log_in("b"));
    server.passes(first, "<join room='1'/>");
    server.passes(first, "<join room='2'/>");
    server.passes(other, "<join room='3'/>");
    let error = "You are in too many rooms (limit 2)";
    server.is_refused(first, "<join room='3'/>", error);
    server.is_refused(first, "<join room='4'/>", error);
    server.is_refused(first, "<addchild parentroom='1' childroom='5'/>", error);
    server.passes(first, "<leave room='1'/>");
    server.passes(first, "<join room='3'/>");
}

#[test]
fn rooms_in_all() {
    let mut server = Server::new(Limits { rooms_max: 2, ..Limits::default() });
    let (first, other) = (server.log_in("a"), server.log_in("b"));
    server.passes(first, "<join room='1'/>");
    server.passes(first, "<join room='2'/>");
    let error = "Too many rooms (limit 2)";
    server.is_refused(other, "<join room='3'/>", error);
    server.passes(other, "<join room='2'/>");
    server.is_refused(other, "<addchild parentroom='2' childroom='3'/>", error);
    server.passes(first, "<leave room='1'/>");
    server.passes(other, "<join room='3'/>");
}

#[test]
fn room_depth() {
    let mut server = Server::new(Limits::default());
    let conn = server.log_in("a");
    server.passes(conn, "<join room='0'/>");
    for depth in 1..=8 {
        let parent = depth - 1;
        server.passes(conn, &format!("<addchild parentroom='{parent}' childroom='{depth}'/>"));
    }
    let error = "Child rooms nested too deep (limit 8)";
    server.is_refused(conn, "<addchild parentroom='8' childroom='9'/>", error);
    server.passes(conn, "<addchild parentroom='7' childroom='8b'/>");
    // A room that exists and has a child room of its own brings its levels with it.
    let other = server.log_in("b");
    server.passes(other, "<join room='x'/>");
    server.passes(other, "<addchild parentroom='x' childroom='y'/>");
    server.is_refused(conn, "<addchild parentroom='7' childroom='x'/>", error);
    server.passes(conn, "<addchild parentroom='6' childroom='x'/>");
}

#[test]
fn sessions() {
    let mut server = Server::new(Limits { sessions_max: 2, ..Limits::default() });
    let first = server.open();
    server.open();
    let (_, told) = server.open_from("127.0.0.1");
    let error = "Too many sessions (limit 2)";
    assert_eq!(told, error_and_close(error, CloseReason::TooManySessions));
    // A connection that was turned away does not count; a closing one does, until it is closed.
    server.send(first, "<quit/>");
    let (_, told) = server.open_from("10.0.0.1");
    assert_eq!(told, error_and_close(error, CloseReason::TooManySessions));
    for _ in 0..2 {
        server.handle(Input::Gone { conn: first });
    }
    assert_eq!(server.open_from("10.0.0.1").1, []);
    let (_, told) = server.open_from("10.0.0.1");
    assert_eq!(told, error_and_close(error, CloseReason::TooManySessions));
}

#[test]
fn sessions_per_address() {
    let mut server = Server::new(Limits { sessions_per_address_max: 2, ..Limits::default() });
    let full = error_and_close(
        "Too many sessions from your address (limit 2)",
        CloseReason::TooManyFromAddress,
    );
    for (address, same) in [
        ("10.0.0.1", "::ffff:10.0.0.1"),
        ("2001:db8::1", "2001:db8:0::1"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
    ] {
        let (first, told) = server.open_from(address);
        assert_eq!(told, []);
        assert_eq!(server.open_from(same).1, [], "{same}");
        assert_eq!(server.open_from(address).1, full, "{address}");
        assert_eq!(server.open_from(same).1, full, "{same}");
        server.handle(Input::Ended { conn: first, reason: CloseReason::PeerClosed });
        assert_eq!(server.open_from(same).1, full, "{same}: a closing connection counts");
        server.handle(Input::Gone { conn: first });
        assert_eq!(server.open_from(same).1, [], "{same}");
        assert_eq!(server.open_from(address).1, full, "{address}");
    }
    assert_eq!(server.open_from("10.0.0.2").1, [], "another address");
    assert_eq!(server.open_from("2001:db8:1:3::").1, [], "another /64");
}

#[test]
fn an_address_that_is_told_later_takes_the_place_of_the_first_one_while_it_closes() {
    let mut server = behind_a_proxy(Limits { sessions_per_address_max: 1, ..Limits::default() });
    let (first, _) = server.open_behind("2001:db8::1");
    server.send(first, "<quit/>");
    let (_, told) = server.open_behind("2001:db8::2");
    assert!(told.contains(&Done::Closed(CloseReason::TooManyFromAddress)), "{told:?}");
    server.handle(Input::Gone { conn: first });
    assert_eq!(server.open_behind("2001:db8::2").1, []);
}

#[test]
fn failed_logins_of_a_network_of_ipv6() {
    let limits = Limits { failed_logins_per_minute: 2, ..Limits::default() };
    let mut server = Server::new(limits);
    let guess = |server: &mut Server, address: &str| {
        let (conn, _) = server.open_from(address);
        server.offer(conn, &format!("<connect nickname='u{}' rootpass='guess'/>", conn.slot));
        server.told(conn).len()
    };
    assert_eq!(guess(&mut server, "2001:db8:0:1::1"), 1);
    assert_eq!(guess(&mut server, "2001:db8:0:1:8000::"), 1);
    assert_eq!(guess(&mut server, "2001:db8:0:1::3"), 2, "an error and the end");
    assert_eq!(guess(&mut server, "2001:db8:0:2::1"), 1, "another /64");
}

#[test]
fn loopback_may_have_any_number_of_sessions() {
    let mut server = Server::new(Limits { sessions_per_address_max: 1, ..Limits::default() });
    for address in ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"] {
        for _ in 0..3 {
            assert_eq!(server.open_from(address).1, [], "{address}");
        }
    }
}

fn behind_a_proxy(limits: Limits) -> Server {
    let trusted_proxies = vec!["10.0.0.1/32".parse().expect("a network")];
    let root_password = RootPassword::clear(ROOT_PASSWORD);
    Server::with(Settings { limits, trusted_proxies, root_password, ..Settings::default() })
}

impl Server {
    /// A connection from an address behind the proxy, and what it is told at once.
    fn open_behind(&mut self, address: &str) -> (ConnId, Vec<Done>) {
        let (conn, told) = self.open_from("10.0.0.1");
        assert_eq!(told, []);
        let address: IpAddr = address.parse().expect("an address");
        self.handle(Input::ClientAddress { conn, address });
        (conn, self.told(conn))
    }
}

#[test]
fn sessions_per_address_behind_a_proxy() {
    let mut server = behind_a_proxy(Limits { sessions_per_address_max: 2, ..Limits::default() });
    let full = error_and_close(
        "Too many sessions from your address (limit 2)",
        CloseReason::TooManyFromAddress,
    );
    // The proxy's own are as many as it likes, and whoever has an address counts there.
    let (first, told) = server.open_behind("192.0.2.1");
    assert_eq!(told, []);
    assert_eq!(server.open_behind("::ffff:192.0.2.1").1, []);
    assert_eq!(server.open_behind("192.0.2.1").1, full);
    assert_eq!(server.open_from("192.0.2.1").1, full);
    assert_eq!(server.open_behind("192.0.2.2").1, []);
    // Told the same twice it counts once, and it may move on.
    let address: IpAddr = "192.0.2.1".parse().expect("an address");
    server.handle(Input::ClientAddress { conn: first, address });
    assert_eq!(server.told(first), []);
    let elsewhere = "192.0.2.9".parse().expect("an address");
    server.handle(Input::ClientAddress { conn: first, address: elsewhere });
    assert_eq!(server.told(first), []);
    assert_eq!(server.open_from("192.0.2.1").1, []);
    assert_eq!(server.open_from("192.0.2.1").1, full);
    // The address of another proxy, or loopback, is nobody's own.
    for _ in 0..3 {
        assert_eq!(server.open_behind("10.0.0.1").1, []);
        assert_eq!(server.open_behind("127.0.0.1").1, []);
    }
}

#[test]
fn failed_logins_behind_a_proxy() {
    let limits = Limits { failed_logins_per_minute: 1, ..Limits::default() };
    let mut server = behind_a_proxy(limits);
    let wrong = |conn: ConnId| format!("<connect nickname='u{}' rootpass='guess'/>", conn.slot);
    let (conn, _) = server.open_behind("192.0.2.1");
    server.passes(conn, &wrong(conn));
    let (conn, _) = server.open_behind("192.0.2.2");
    server.passes(conn, &wrong(conn));
    let (conn, _) = server.open_behind("192.0.2.1");
    server.offer(conn, &wrong(conn));
    let error = "Too many failed logins (limit 1 per minute)";
    assert_eq!(server.told(conn), error_and_close(error, CloseReason::FailedLogins));
}

#[test]
fn login_time() {
    let mut server = Server::new(Limits::default());
    let opened_at = server.now;
    let (late, in_time) = (server.open(), server.open());
    assert_eq!(server.hub.poll_timeout(), Some(opened_at.plus_secs(300)));
    server.now = Time(opened_at.plus_secs(300).0 - 1);
    server.handle(Input::Tick);
    assert_eq!(server.told(late), []);
    server.passes(in_time, "<connect nickname='a'/>");
    server.now = opened_at.plus_secs(300);
    server.handle(Input::Tick);
    let error = "Login timed out (limit 300 s)";
    assert_eq!(server.told(late), error_and_close(error, CloseReason::LoginTimeout));
    assert_eq!(server.hub.poll_timeout(), None, "nobody is left to wait for");
    server.passes(in_time, "<ping/>");
}

#[test]
fn login_time_runs_while_somebody_decides() {
    let mut server = Server::new(Limits::default());
    server.ask_about_logins();
    let conn = server.open();
    assert_eq!(server.offer(conn, "<connect nickname='a'/>"), Progress::Asked);
    server.told(conn);
    server.pass_seconds(300);
    server.handle(Input::Tick);
    let error = "Login timed out (limit 300 s)";
    let mut closed = error_and_close(error, CloseReason::LoginTimeout);
    closed.insert(1, Done::Cancelled(QuestionId(1)));
    assert_eq!(server.told(conn), closed);
    server.handle(Input::Verdict {
        conn,
        question: QuestionId(1),
        verdict: Verdict::Allowed { account: false },
    });
    assert_eq!(server.told(conn), [], "the verdict comes too late");
}

#[test]
fn stanza_rate() {
    let limits = Limits { stanza_rate_per_s: 4, stanza_burst: 3, ..Limits::default() };
    let mut server = Server::new(limits);
    let conn = server.open();
    server.passes(conn, "<connect nickname='a'/>");
    server.passes(conn, "<ping/>");
    server.passes(conn, "<ping/>");
    // The fourth comes too soon: it waits for its token, a quarter of a second.
    let there_at = server.now + std::time::Duration::from_millis(250);
    assert_eq!(server.offer(conn, "<ping/>"), Progress::Later(there_at));
    let error = "<error>Too many stanzas (limit 4 per second)</error>";
    assert_eq!(server.told(conn), [Done::Text(error.to_owned())]);
    server.now = Time(there_at.0 - 1);
    assert_eq!(server.offer(conn, "<ping/>"), Progress::Later(there_at));
    assert_eq!(server.told(conn), [], "told once");
    server.now = there_at;
    assert_eq!(server.send(conn, "<ping/>"), ["<pong />"], "not lost");
}

#[test]
fn stanza_rate_of_an_old_mouse_movie() {
    let mut server = Server::new(Limits::default());
    let conn = server.log_in("mouse");
    for _ in 0..50 * 60 {
        server.now = server.now + std::time::Duration::from_millis(20);
        server.passes(conn, "<m c='mouse' x='1' y='2'/>");
    }
}

#[test]
fn stanza_burst() {
    let mut server = Server::new(Limits::default());
    let conn = server.log_in("a");
    for _ in 0..999 {
        server.passes(conn, "<ping/>");
    }
    let there_at = server.now + std::time::Duration::from_millis(5);
    assert_eq!(server.offer(conn, "<ping/>"), Progress::Later(there_at));
    // Five seconds of silence, and the whole burst is there again, but no more.
    server.pass_seconds(60);
    server.told(conn);
    for _ in 0..1_000 {
        server.passes(conn, "<ping/>");
    }
    assert!(matches!(server.offer(conn, "<ping/>"), Progress::Later(_)));
}

/// Sends as fast as it is read until the clock stands at `until`; gives what came but pongs.
fn send_without_pause(server: &mut Server, conn: ConnId, until: Time) -> Vec<Done> {
    let mut told = Vec::new();
    while server.now < until && server.recorder.open.contains(&conn) {
        if let Progress::Later(at) = server.offer(conn, "<ping/>") {
            server.now = at.min(until);
        }
        told.extend(server.told(conn).into_iter().filter(|done| *done != pong()));
    }
    told
}

fn pong() -> Done {
    Done::Text("<pong />".to_owned())
}

#[test]
fn ten_seconds_over_the_stanza_rate_end_the_session() {
    let limits = Limits { stanza_rate_per_s: 4, stanza_burst: 2, ..Limits::default() };
    let mut server = Server::new(limits);
    let conn = server.log_in("a");
    let error = Done::Text("<error>Too many stanzas (limit 4 per second)</error>".to_owned());
    let starts_at = server.now;
    let almost = Time(starts_at.plus_secs(10).0 - 1);
    assert_eq!(send_without_pause(&mut server, conn, almost), [error]);
    assert!(server.recorder.open.contains(&conn), "a nanosecond before the end");
    let past = starts_at.plus_secs(11);
    let told = send_without_pause(&mut server, conn, past);
    assert_eq!(told, [Done::Closed(CloseReason::TooFast)]);
    assert_eq!(server.now, starts_at.plus_secs(10));
}

#[test]
fn calm_ends_the_time_over_the_stanza_rate() {
    let limits = Limits { stanza_rate_per_s: 4, stanza_burst: 2, ..Limits::default() };
    let mut server = Server::new(limits);
    let conn = server.log_in("a");
    let error = Done::Text("<error>Too many stanzas (limit 4 per second)</error>".to_owned());
    for _ in 0..5 {
        let until = server.now.plus_secs(9);
        assert_eq!(send_without_pause(&mut server, conn, until), std::slice::from_ref(&error));
        server.pass_seconds(5);
    }
    assert!(server.recorder.open.contains(&conn));
}

fn wrong_password(server: &mut Server) -> Vec<Done> {
    let (conn, _) = server.open_from("::ffff:10.0.0.1");
    server.offer(conn, &format!("<connect nickname='u{}' rootpass='guess'/>", conn.slot));
    server.told(conn)
}

#[test]
fn failed_logins() {
    let mut server = Server::new(Limits::default());
    let closed =
        error_and_close("Too many failed logins (limit 20 per minute)", CloseReason::FailedLogins);
    for count in 1..=20 {
        let told = wrong_password(&mut server);
        assert_eq!(told.len(), 1, "the login goes on without root rights: {count} {told:?}");
    }
    assert_eq!(wrong_password(&mut server), closed);
    // Neither the right password nor another spelling of the address is listened to now,
    let (conn, _) = server.open_from("10.0.0.1");
    server.offer(conn, &format!("<connect nickname='x' rootpass='{ROOT_PASSWORD}'/>"));
    assert_eq!(server.told(conn), closed);
    // but who has no password to guess logs in, and so does another address.
    let (conn, _) = server.open_from("10.0.0.1");
    server.passes(conn, "<connect nickname='y'/>");
    let (conn, _) = server.open_from("10.0.0.2");
    server.passes(conn, &format!("<connect nickname='z' rootpass='{ROOT_PASSWORD}'/>"));
}

#[test]
fn failed_logins_are_forgiven_one_every_three_seconds() {
    let mut server = Server::new(Limits::default());
    for _ in 0..20 {
        wrong_password(&mut server);
    }
    server.now = Time(server.now.plus_secs(3).0 - 1);
    assert_eq!(wrong_password(&mut server).len(), 2, "error and close, a nanosecond too early");
    server.now = Time(server.now.0 + 1);
    assert_eq!(wrong_password(&mut server).len(), 1);
    assert_eq!(wrong_password(&mut server).len(), 2);
    server.pass_seconds(3_600);
    for _ in 0..20 {
        assert_eq!(wrong_password(&mut server).len(), 1);
    }
    assert_eq!(wrong_password(&mut server).len(), 2, "an hour saves up no more than twenty");
}

#[test]
fn a_nick_that_is_taken_is_no_failed_login() {
    let limits = Limits { failed_logins_per_minute: 1, ..Limits::default() };
    let mut server = Server::new(limits);
    server.log_in("a");
    let conn = server.open();
    for _ in 0..5 {
        let told = server.send(conn, "<connect nickname='A' rootpass='guess'/>");
        assert_eq!(told[1], "<error>Nickname empty or already taken</error>");
    }
    server.passes(conn, &format!("<connect nickname='b' rootpass='{ROOT_PASSWORD}'/>"));
}

#[test]
fn refused_authentications_are_failed_logins() {
    let limits = Limits { failed_logins_per_minute: 2, ..Limits::default() };
    let mut server = Server::new(limits);
    server.ask_about_logins();
    let conn = server.open();
    for ask in 1..=2 {
        assert_eq!(server.offer(conn, "<connect nickname='a'/>"), Progress::Asked);
        server.told(conn);
        server.handle(Input::Verdict {
            conn,
            question: QuestionId(ask),
            verdict: Verdict::Refused,
        });
        assert_eq!(server.told(conn)[1], Done::Text("<error>Authentication Error</error>".into()));
    }
    server.offer(conn, "<connect nickname='a'/>");
    let error = "Too many failed logins (limit 2 per minute)";
    assert_eq!(server.told(conn), error_and_close(error, CloseReason::FailedLogins));
}

/// A server that asks about logins and counts no failed ones.
fn asking() -> Server {
    let limits =
        Limits { failed_logins_per_minute: 0, sessions_per_address_max: 0, ..Limits::default() };
    let mut server = Server::new(limits);
    server.ask_about_logins();
    server
}

impl Server {
    /// A login from an address, of so many bytes: whether it is asked about at once.
    fn log_in_from(&mut self, address: &str, bytes: usize) -> (ConnId, bool) {
        let (conn, _) = self.open_from(address);
        let (asked, _) = self.try_again(conn, bytes);
        (conn, asked)
    }

    /// Offers it; whether it is asked about, and who has his turn because of it.
    fn try_again(&mut self, conn: ConnId, bytes: usize) -> (bool, Vec<ConnId>) {
        let begin = format!("<connect nickname='u{}' x='", conn.slot);
        let rest = bytes.saturating_sub(begin.len() + "'/>".len());
        let progress = self.offer(conn, &format!("{begin}{}'/>", "x".repeat(rest)));
        assert!(matches!(progress, Progress::Asked | Progress::Wait), "{progress:?}");
        (progress == Progress::Asked, self.called())
    }

    /// Who has his turn by what has happened.
    fn called(&mut self) -> Vec<ConnId> {
        let done = self.recorder.take();
        done.into_iter().filter(|(_, done)| *done == Done::Called).map(|(conn, _)| conn).collect()
    }

    /// Answers a question; who has his turn because of it.
    fn allow(&mut self, conn: ConnId, ask: u64) -> Vec<ConnId> {
        self.handle(Input::Verdict {
            conn,
            question: QuestionId(ask),
            verdict: Verdict::Allowed { account: false },
        });
        self.called()
    }
}

#[test]
fn logins_of_one_address_that_are_asked_about() {
    let mut server = asking();
    let first = server.log_in_from("10.0.0.1", 0).0;
    for _ in 1..LOGINS_ASKED_PER_ADDRESS_MAX {
        assert!(server.log_in_from("10.0.0.1", 0).1);
    }
    let (late, asked) = server.log_in_from("10.0.0.1", 0);
    assert!(!asked, "one more waits");
    assert!(server.log_in_from("10.0.0.2", 0).1, "another address does not");
    let (later, _) = server.log_in_from("10.0.0.1", 0);
    assert_eq!(server.allow(first, 1), [late]);
    let (latest, asked) = server.log_in_from("10.0.0.1", 0);
    assert!(!asked, "who was called before comes first");
    assert_eq!(server.try_again(late, 0), (true, vec![]));
    server.hub.check_invariants();
    // One that goes makes room when nobody needs its answer any more: when that has come.
    server.handle(Input::Ended { conn: late, reason: CloseReason::PeerClosed });
    assert_eq!(server.called(), []);
    let ask = LOGINS_ASKED_PER_ADDRESS_MAX as u64 + 2;
    assert_eq!(server.allow(late, ask), [later]);
    // One that was called and goes makes room at once.
    server.handle(Input::Ended { conn: later, reason: CloseReason::PeerClosed });
    assert_eq!(server.called(), [latest]);
    server.hub.check_invariants();
}

#[test]
fn logins_of_all_addresses_that_are_asked_about() {
    let mut server = asking();
    let addresses = LOGINS_ASKED_MAX / 16;
    let mut asked = Vec::new();
    for number in 0..LOGINS_ASKED_MAX {
        let (conn, is_asked) = server.log_in_from(&format!("10.0.1.{}", number % addresses), 0);
        assert!(is_asked, "{number}");
        asked.push(conn);
    }
    // Those that wait have their turns in a round, each address one.
    let wait = |server: &mut Server, address| {
        let (conn, asked) = server.log_in_from(address, 0);
        assert!(!asked);
        conn
    };
    let many: Vec<ConnId> = (0..3).map(|_| wait(&mut server, "10.0.2.1")).collect();
    let one = wait(&mut server, "10.0.2.2");
    for (ask, next) in [(1, many[0]), (2, one), (3, many[1]), (4, many[2])] {
        let conn = asked[ask as usize - 1];
        assert_eq!(server.allow(conn, ask), [next]);
        assert_eq!(server.try_again(next, 0), (true, vec![]));
    }
    assert_eq!(server.allow(asked[4], 5), []);
    server.hub.check_invariants();
}

#[test]
fn bytes_of_logins_that_are_asked_about() {
    let mut server = asking();
    let quarter = LOGIN_BYTES_PER_ADDRESS_MAX / 4;
    let conns: Vec<_> = (0..5).map(|_| server.log_in_from("10.0.0.1", quarter)).collect();
    assert_eq!(conns.iter().filter(|(_, asked)| *asked).count(), 4, "of one address");
    assert_eq!(server.allow(conns[0].0, 1), [conns[4].0]);
    assert_eq!(server.try_again(conns[4].0, quarter), (true, vec![]));

    let mut server = asking();
    let households = LOGIN_BYTES_MAX / LOGIN_BYTES_PER_ADDRESS_MAX;
    let mut first = None;
    for household in 0..households {
        for _ in 0..4 {
            let (conn, asked) = server.log_in_from(&format!("10.0.0.{household}"), quarter);
            assert!(asked);
            first.get_or_insert(conn);
        }
    }
    let (late, asked) = server.log_in_from("10.0.1.1", 100);
    assert!(!asked, "of all");
    assert_eq!(server.allow(first.expect("there are some"), 1), [late]);
    server.hub.check_invariants();
}

#[test]
fn one_login_is_asked_about_however_long_it_is() {
    let limits = Limits { stanza_bytes_max: 8 * LOGIN_BYTES_MAX, ..Limits::default() };
    let mut server = Server::new(limits);
    server.ask_about_logins();
    assert!(server.log_in_from("10.0.0.1", 2 * LOGIN_BYTES_MAX).1);
    assert!(!server.log_in_from("10.0.0.1", 100).1);
    assert!(!server.log_in_from("10.0.0.2", 100).1);
}

#[test]
fn guesses_in_flight_are_failed_until_they_are_answered() {
    let mut server = Server::new(Limits { failed_logins_per_minute: 3, ..Limits::default() });
    server.ask_about_logins();
    let conns: Vec<_> = (0..5).map(|_| server.log_in_from("10.0.0.1", 0)).collect();
    let asked: Vec<bool> = conns.iter().map(|(_, asked)| *asked).collect();
    assert_eq!(asked, [true, true, true, false, false]);
    // A root password that the hub compares itself is a guess as any other.
    let (root, _) = server.open_from("10.0.0.1");
    let stanza = format!("<connect nickname='root' rootpass='{ROOT_PASSWORD}'/>");
    assert_eq!(server.offer(root, &stanza), Progress::Wait);
    let conn = conns[0].0;
    server.handle(Input::Verdict { conn, question: QuestionId(1), verdict: Verdict::Refused });
    assert_eq!(server.called(), [], "it was one");
    assert_eq!(server.allow(conns[1].0, 2), [conns[3].0]);
    let (conn, verdict) =
        (conns[2].0, Verdict::Undecided { root_refused: false, login_refused: false });
    server.handle(Input::Verdict { conn, question: QuestionId(3), verdict });
    assert_eq!(server.called(), [conns[4].0], "that was none");
    assert_eq!(server.try_again(conns[3].0, 0), (true, vec![]));
    assert_eq!(server.try_again(conns[4].0, 0), (true, vec![]));
    // It may come to two: its login is asked about when it is wrong.
    assert_eq!(server.allow(conns[3].0, 4), []);
    assert_eq!(server.allow(conns[4].0, 5), [root]);
    server.told(root);
    assert_eq!(server.offer(root, &stanza), Progress::Done);
    assert!(matches!(&server.told(root)[..], [Done::Text(text)] if text.contains("isok='1'")));
}

#[test]
fn an_answer_larger_than_listbytes_goes_without_params_or_is_replaced() {
    let mut server = Server::new(Limits { list_bytes_max: 2_000, ..Limits::default() });
    let conn = server.log_in("a");
    let mut rooms = "<rooms nb='0'>\n</rooms>".to_owned();
    for room in 0.. {
        server.passes(conn, &format!("<join room='{room}'/>"));
        let mut list = format!("<rooms nb='{}'>\n", room + 1);
        for other in 0..=room {
            let _ = writeln!(
                list,
                "<room name='{other}' clients='1' >\n <param name='title' value='' />\n \
                 <param name='openParams' value='0' />\n</room>"
            );
        }
        list += "</rooms>";
        if list.len() + 1 > 2_000 {
            break;
        }
        rooms = list;
        assert_eq!(server.send(conn, "<getrooms/>"), [rooms.as_str()]);
    }
    assert!(rooms.len() > 1_800, "the last answer that fits nearly fills it");
    let mut there = server.hub.rooms();
    loop {
        let mut list = format!("<rooms nb='{there}'>\n");
        for room in 0..there {
            let _ = writeln!(list, "<room name='{room}' clients='1' >\n</room>");
        }
        list += "</rooms>";
        if list.len() + 1 > 2_000 {
            break;
        }
        assert_eq!(server.send(conn, "<getrooms/>"), [list.as_str()]);
        server.passes(conn, &format!("<join room='{there}'/>"));
        there += 1;
    }
    assert!(there > 40, "only names are left out of");
    server.is_refused(conn, "<getrooms/>", "Answer too large (limit 2000 bytes)");
}

/// Params are told in one stanza, so all of one owner are held to the size of one, as written.
#[test]
fn all_params_of_an_owner_together() {
    let limits = Limits { stanza_bytes_max: 100, ..Limits::default() };
    let mut server = Server::new(limits);
    let conn = server.log_in("a");
    server.passes(conn, "<join room='R'/>");
    let error = "Params too long together (limit 100 bytes)";
    // A room begins with title and openParams=0: 16 bytes. A quote is written as six.
    let set = |name: &str, quotes: usize, rest: usize| {
        let value = format!("{}{}", "&quot;".repeat(quotes), "x".repeat(rest));
        format!("<setparam room='R' name='{name}' value='{value}'/>")
    };
    server.passes(conn, &set("k", 13, 5));
    server.is_refused(conn, &set("l", 0, 0), error);
    server.is_refused(conn, &set("k", 13, 6), error);
    server.passes(conn, "<removeparam room='R' name='title'/>");
    server.passes(conn, &set("l", 0, 4));
    server.is_refused(conn, &set("m", 0, 0), error);
    let own = |rest: usize| format!("<clientparam name='k' value='{}'/>", "x".repeat(rest));
    server.passes(conn, &own(99));
    server.is_refused(conn, &own(100), error);
}

/// Each param counts 96 bytes besides its name and its value as they are written.
#[test]
fn all_params_of_the_server() {
    // Two rooms are born with 208 bytes each.
    let limits = Limits { params_total_bytes_max: 2 * 208 + 3 * 100, ..Limits::default() };
    let mut server = Server::new(limits);
    let (first, other) = (server.log_in("a"), server.log_in("b"));
    server.passes(first, "<join room='R'/>");
    server.passes(other, "<join room='S'/>");
    let error = "Too many params on this server (limit 716 bytes)";
    server.passes(first, "<setparam room='R' name='k' value='123'/>");
    server.passes(first, "<clientparam name='k' value='123'/>");
    server.is_refused(other, "<clientparam name='k' value='1234'/>", error);
    server.is_refused(other, "<setparam room='S' name='k' value='1234'/>", error);
    server.passes(other, "<clientparam name='k' value='123'/>");
    server.is_refused(first, "<clientparam name='k' value='1234'/>", error);
    // What does not make it more is granted, and whatever goes makes room.
    server.passes(first, "<clientparam name='k' value='321'/>");
    server.passes(first, "<clientparam name='k' value=''/>");
    server.passes(first, "<removeparam room='R' name='k'/>");
    server.passes(other, "<setparam room='S' name='k' value='1&lt;'/>");
    server.is_refused(first, "<setparam room='R' name='k' value=''/>", error);
    server.send(other, "<quit/>");
    server.passes(first, "<setparam room='R' name='k' value='1234'/>");
    // A room may be made however many params there are.
    let mut crowded = Server::new(Limits { params_total_bytes_max: 1, ..Limits::default() });
    let conn = crowded.log_in("a");
    crowded.passes(conn, "<join room='R'/>");
    crowded.is_refused(
        conn,
        "<setparam room='R' name='title' value='x'/>",
        "Too many params on this server (limit 1 bytes)",
    );
    crowded.passes(conn, "<setparam room='R' name='openParams' value='1'/>");
}

/// A name that is longer than any can be is nobody's, whatever it would be normalised to.
#[test]
fn a_name_is_not_looked_up_beyond_its_limit() {
    let mut server = Server::new(Limits { nick_bytes_max: 6, ..Limits::default() });
    let conn = server.log_in("abcdef");
    server.passes(conn, "<m c='ABCDEF'/>");
    // Full-width letters have three bytes each.
    let wide = "\u{FF41}\u{FF42}\u{FF43}\u{FF44}\u{FF45}\u{FF46}";
    let error = format!("No user connected with nickname: {wide}");
    server.is_refused(conn, &format!("<m c='{wide}'/>"), &error);
    // A limit that was larger counts for those who have such a nick.
    let limits = Limits { nick_bytes_max: 2, ..Limits::default() };
    server.handle(Input::Reload(Box::new(Settings { limits, ..Settings::default() })));
    server.passes(conn, "<m c='abcdef'/>");
}

/// What looks alike and is there when that is refused again stays, and stands in the way of more.
#[test]
fn lookalikes_that_are_there_stay() {
    let set = |server: &mut Server, lookalikes| {
        let settings = Settings { lookalikes, ..Settings::default() };
        server.handle(Input::Reload(Box::new(settings)));
    };
    let mut server =
        Server::with(Settings { lookalikes: Lookalikes::Allow, ..Settings::default() });
    let (bob, imitator) = (server.log_in("Bob"), server.log_in("B\u{43E}b"));
    server.passes(bob, "<join room='tea'/>");
    server.passes(imitator, "<join room='t\u{435}a'/>");
    set(&mut server, Lookalikes::Refuse);
    let error = "Room name that looks like the name of another room";
    server.passes(bob, "<join room='t\u{435}a'/>");
    server.passes(imitator, "<m c='Bob'/>");
    server.is_refused(bob, "<join room='te\u{430}'/>", error);
    server.passes(bob, "<leave room='tea'/>");
    server.is_refused(bob, "<join room='\u{442}ea'/>", error);
    server.passes(bob, "<join room='tea'/>");
    server.passes(bob, "<quit/>");
    let conn = server.open();
    for nick in ["Bob", "b\u{43E}b", "B\u{3BF}b"] {
        let told = server.send(conn, &format!("<connect nickname='{nick}'/>"));
        assert_eq!(told[1], "<error>Nickname empty or already taken</error>", "{nick}");
    }
    set(&mut server, Lookalikes::Allow);
    server.passes(conn, "<connect nickname='Bob'/>");
    server.passes(conn, "<join room='te\u{430}'/>");
}

/// Two that look alike ask at once: the nick is taken by the verdict.
#[test]
fn lookalikes_that_are_asked_about_together() {
    let mut server = Server::new(Limits::default());
    server.ask_about_logins();
    let (one, other) = (server.open(), server.open());
    for (conn, nick) in [(one, "Bob"), (other, "B\u{43E}b")] {
        let progress = server.offer(conn, &format!("<connect nickname='{nick}'/>"));
        assert_eq!(progress, Progress::Asked);
    }
    for (conn, ask) in [(other, 2), (one, 1)] {
        server.handle(Input::Verdict {
            conn,
            question: QuestionId(ask),
            verdict: Verdict::Allowed { account: false },
        });
    }
    let told = server.send(one, "<ping/>");
    assert_eq!(told, ["<error>You must login first</error>"]);
    server.passes(other, "<ping/>");
}

#[test]
fn zero_lifts_rates_times_and_counts() {
    let limits = Limits {
        params_max: 0,
        rooms_per_client_max: 0,
        rooms_max: 0,
        room_depth_max: 0,
        sessions_max: 0,
        sessions_per_address_max: 0,
        login_time_s: 0,
        stanza_rate_per_s: 0,
        byte_rate_per_s: 0,
        list_rate_per_s: 0,
        failed_logins_per_minute: 0,
        ..Limits::default()
    };
    let mut server = Server::new(limits);
    let idle = server.open();
    assert_eq!(server.hub.poll_timeout(), None, "logintime");
    let conn = server.log_in("a");
    server.passes(conn, "<join room='0'/>");
    for number in 1..200 {
        let parent = number - 1;
        server.passes(conn, &format!("<addchild parentroom='{parent}' childroom='{number}'/>"));
        server.passes(conn, &format!("<setparam room='0' name='{number}' value=''/>"));
        server.passes(conn, &format!("<clientparam name='{number}' value=''/>"));
        assert_eq!(wrong_password(&mut server).len(), 1, "failedlogins");
    }
    for _ in 0..2_000 {
        server.passes(conn, "<ping/>");
    }
    for _ in 0..300 {
        assert_eq!(server.open_from("10.0.0.1").1, [], "sessions, sessionsperaddress");
    }
    server.pass_seconds(1_000_000);
    server.handle(Input::Tick);
    assert_eq!(server.told(idle), [], "logintime");
}
