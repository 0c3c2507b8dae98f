//! What the hub tells plugins, and which of their answers count: where transcripts of clients
//! can't show it.

#[path = "simulation/recorder.rs"]
mod recorder;

use std::net::{IpAddr, Ipv4Addr};

use palabre::hub::{
    CloseReason, ConnId, HashKey, Hub, Input, ListenerKind, Note, Order, OrderError, Outlet,
    Permission, Progress, Query, Question, QuestionId, Receivers, Registered, RootPassword,
    Settings, Span, Time, Verdict, Watch, Who, is_reserved_name,
};

use palabre::limits::Limits;

use recorder::{Asked, Done, Hook, Recorder, To};

const A: ConnId = ConnId { slot: 0, generation: 1 };
const B: ConnId = ConnId { slot: 1, generation: 1 };

struct Server {
    hub: Hub,
    recorder: Recorder,
}

impl Server {
    fn with(registered: Registered) -> Self {
        let settings = Settings { root_password: RootPassword::Hash, ..Settings::default() };
        let mut server =
            Self { hub: Hub::new(settings, HashKey(3, 4), 0), recorder: Recorder::default() };
        server.tell(Input::Registered(Box::new(registered)));
        server
    }

    /// Logins are asked about.
    fn asking() -> Self {
        Self::with(Registered { logins: true, ..Registered::default() })
    }

    /// What came of an input, to everybody.
    fn tell(&mut self, input: Input<'_>) -> Vec<(ConnId, Done)> {
        self.hub.handle(input, Time(0), &mut self.recorder);
        self.hub.check_invariants();
        self.recorder.take()
    }

    fn open(&mut self, conn: ConnId) {
        self.recorder.open.insert(conn);
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.tell(Input::Opened { conn, address, listener: ListenerKind::Main });
    }

    fn send(&mut self, conn: ConnId, frame: &str) -> Vec<(ConnId, Done)> {
        let done = self.tell(Input::Frame { conn, frame: frame.as_bytes() });
        self.tell(Input::TurnEnd);
        self.recorder.flush();
        done
    }

    /// A question about this connection's login.
    fn ask(&mut self, conn: ConnId, connect: &str) -> Asked {
        match self.send(conn, connect).as_slice() {
            [(to, Done::Asked(asked))] if *to == conn => asked.clone(),
            other => panic!("not asked but {other:?}"),
        }
    }

    fn answer(&mut self, conn: ConnId, ask: QuestionId, verdict: Verdict) -> Vec<(ConnId, Done)> {
        self.tell(Input::Verdict { conn, question: ask, verdict })
    }

    fn log_in(&mut self, conn: ConnId, nick: &str) {
        self.open(conn);
        let done = self.send(conn, &format!("<connect nickname='{nick}'/>"));
        assert!(is_in(&done), "{done:?}");
    }
}

fn is_in(done: &[(ConnId, Done)]) -> bool {
    matches!(done, [(_, Done::Text(text))] if text.starts_with("<connect isok='1'"))
}

#[test]
fn a_question_shows_the_element_alone_with_all_its_attributes() {
    let mut server = Server::asking();
    server.open(A);
    let asked = server.ask(
        A,
        "<?xml version='1.0'?><!-- n --> <connect nickname='N' password='p&amp;' x = '1'>y</connect >\r\n",
    );
    let element = "<connect nickname='N' password='p&amp;' x = '1'>y</connect >".to_owned();
    let expected = Asked {
        ask: QuestionId(1),
        nick: "N".to_owned(),
        element,
        login: true,
        checked: false,
        root_password: None,
    };
    assert_eq!(asked, expected);
}

#[test]
fn a_question_does_not_show_the_root_password_that_was_given() {
    // The root password is a hash, and then one that the hub compares itself.
    for hashed in [true, false] {
        let root_password = if hashed { RootPassword::Hash } else { RootPassword::clear("sesame") };
        let settings = Settings { root_password, ..Settings::default() };
        let mut server =
            Server { hub: Hub::new(settings, HashKey(3, 4), 0), recorder: Recorder::default() };
        let registered = Registered { logins: true, ..Registered::default() };
        server.tell(Input::Registered(Box::new(registered)));
        server.open(A);
        let asked = server.ask(
            A,
            "<connect\n rootpass = 'guess' nickname='N' password='p' x:rootpass='y' xmlns:x='z'/>",
        );
        let shown = "<connect nickname='N' password='p' x:rootpass='y' xmlns:x='z'/>";
        assert_eq!(asked.element, shown);
        assert_eq!(asked.root_password.as_deref(), hashed.then_some("guess"));
    }
}

#[test]
fn root_passwords_that_are_hashed_are_asked_about_with_the_login_or_alone() {
    let mut server = Server::asking();
    server.open(A);
    let asked = server.ask(A, "<connect nickname='N' rootpass='a&amp;b'/>");
    assert!(asked.login);
    assert_eq!(asked.root_password.as_deref(), Some("a&b"));
    let mut server = Server::with(Registered::default());
    server.open(A);
    let asked = server.ask(A, "<connect nickname='N' rootpass='c'/>");
    assert!(!asked.login);
    assert_eq!(asked.root_password.as_deref(), Some("c"));
}

#[test]
fn a_question_keeps_its_passwords_out_of_what_is_logged() {
    let question = Question {
        id: QuestionId(1),
        conn: A,
        nick: "N",
        element: ["<connect nickname='N' password='secret'", "/>"],
        login: true,
        checked: false,
        root_password: Some("secret"),
    };
    let shown = format!("{question:?}");
    assert!(shown.contains("root: true") && !shown.contains("secret"), "{shown}");
}

#[test]
fn a_verdict_counts_once() {
    let mut server = Server::asking();
    server.open(A);
    let ask = server.ask(A, "<connect nickname='N'/>").ask;
    assert!(is_in(&server.answer(A, ask, Verdict::Allowed { account: false })));
    for verdict in
        [Verdict::Allowed { account: false }, Verdict::Refused, Verdict::Root { account: false }]
    {
        assert_eq!(server.answer(A, ask, verdict), []);
    }
}

#[test]
fn a_verdict_is_for_its_own_question() {
    let mut server = Server::asking();
    server.open(A);
    server.open(B);
    let first = server.ask(A, "<connect nickname='N'/>").ask;
    let others = server.ask(B, "<connect nickname='M'/>").ask;
    assert_eq!(server.answer(A, others, Verdict::Allowed { account: false }), []);
    assert_eq!(server.answer(A, first, Verdict::Refused).len(), 2, "told twice that it is not");
    // The same session asks again, and what comes late was about another password.
    let second = server.ask(A, "<connect nickname='N' password='other'/>").ask;
    assert_eq!(server.answer(A, first, Verdict::Allowed { account: false }), []);
    assert!(is_in(&server.answer(A, second, Verdict::Allowed { account: false })));
    assert_eq!(server.answer(A, QuestionId(0), Verdict::Refused), []);
}

#[test]
fn a_verdict_for_a_session_that_is_gone_does_nothing_to_its_successor() {
    let mut server = Server::asking();
    server.open(A);
    let late = server.ask(A, "<connect nickname='N'/>").ask;
    server.tell(Input::Ended { conn: A, reason: CloseReason::PeerClosed });
    server.recorder.open.remove(&A);
    assert_eq!(server.answer(A, late, Verdict::Allowed { account: false }), []);
    let successor = ConnId { generation: 2, ..A };
    server.open(successor);
    assert_eq!(server.answer(A, late, Verdict::Allowed { account: false }), []);
    assert_eq!(server.answer(successor, late, Verdict::Allowed { account: false }), []);
    let ask = server.ask(successor, "<connect nickname='N'/>").ask;
    assert_eq!(server.answer(A, ask, Verdict::Allowed { account: false }), []);
    assert_eq!(server.answer(successor, late, Verdict::Allowed { account: false }), []);
    assert!(is_in(&server.answer(successor, ask, Verdict::Allowed { account: false })));
}

#[test]
fn a_session_that_is_over_need_not_be_asked_about_but_is_answered_all_the_same() {
    let limits = Limits { failed_logins_per_minute: 1, ..Limits::default() };
    let mut server = Server {
        hub: Hub::new(Settings { limits, ..Settings::default() }, HashKey(3, 4), 0),
        recorder: Recorder::default(),
    };
    let registered = Registered { logins: true, ..Registered::default() };
    server.tell(Input::Registered(Box::new(registered)));
    server.open(A);
    let ask = server.ask(A, "<connect nickname='N' password='guess'/>").ask;
    let done = server.tell(Input::Ended { conn: A, reason: CloseReason::PeerClosed });
    assert_eq!(done, [(A, Done::Cancelled(ask))]);
    server.recorder.open.remove(&A);
    // The guess counts until it is answered, and when it was wrong.
    server.open(B);
    assert_eq!(server.send(B, "<connect nickname='N' password='guess'/>"), []);
    let error = "<error>Too many failed logins (limit 1 per minute)</error>".to_owned();
    let closed = [(B, Done::Text(error)), (B, Done::Closed(CloseReason::FailedLogins))];
    assert_eq!(server.answer(A, ask, Verdict::Refused), closed);
}

#[test]
fn what_nobody_could_find_out_is_no_failed_login_unless_somebody_said_no() {
    for (root_refused, login_refused) in [(false, false), (false, true), (true, false)] {
        let limits = Limits { failed_logins_per_minute: 2, ..Limits::default() };
        let settings = Settings {
            limits,
            root_password: RootPassword::Hash,
            logins_checked: true,
            ..Settings::default()
        };
        let mut server =
            Server { hub: Hub::new(settings, HashKey(3, 4), 0), recorder: Recorder::default() };
        server.open(A);
        for _ in 0..2 {
            let ask = server.ask(A, "<connect nickname='N' rootpass='guess'/>").ask;
            let done = server.answer(A, ask, Verdict::Undecided { root_refused, login_refused });
            let told = "<error>Login not possible right now, please try again</error>".to_owned();
            assert_eq!(done[1..], [(A, Done::Text(told))]);
        }
        let done = server.send(A, "<connect nickname='N'/>");
        let counted = root_refused || login_refused;
        assert_eq!(done.contains(&(A, Done::Closed(CloseReason::FailedLogins))), counted);
    }
}

#[test]
fn a_permission_counts_once_and_for_its_own_question() {
    let asked = vec![Watch::default()];
    let mut server = Server::with(Registered { talk_asked: asked, ..Registered::default() });
    server.log_in(A, "A");
    server.log_in(B, "B");
    let want = |server: &mut Server, conn, frame: &str| {
        assert_eq!(server.send(conn, frame), []);
        let (own, question) = server.recorder.wanted.expect("it is asked about");
        assert_eq!(own, conn);
        question
    };
    let permit = |server: &mut Server, conn, question, permission| {
        server.tell(Input::Permission { conn, question, permission })
    };
    let first = want(&mut server, A, "<m c='B'>one</m>");
    let others = want(&mut server, B, "<m c='A'>two</m>");
    // Until then nothing of the session is taken, and no other answer counts for it.
    assert_eq!(permit(&mut server, A, others, Permission::Granted), []);
    assert_eq!(permit(&mut server, B, first, Permission::Granted), []);
    let frame = b"<m c='B'>one</m>";
    let offered = Input::Frame { conn: A, frame };
    let progress = server.hub.handle(offered, Time(0), &mut server.recorder);
    assert_eq!((progress, server.recorder.take()), (Progress::Wait, vec![]));
    assert_eq!(permit(&mut server, A, first, Permission::Granted), []);
    let text = |text: &str| Done::Text(text.to_owned());
    assert_eq!(server.send(A, "<m c='B'>one</m>"), [(B, text("<m f=\"A\">one</m>"))]);
    assert_eq!(permit(&mut server, A, first, Permission::Granted), []);
    // It is used up, and so is one for what came to nothing.
    let second = want(&mut server, A, "<m c='B'>one</m>");
    permit(&mut server, A, second, Permission::Granted);
    server.recorder.wanted = Some((B, others));
    let done = server.tell(Input::Ended { conn: B, reason: CloseReason::PeerClosed });
    assert_eq!(done, [(B, Done::Cancelled(others))]);
    server.recorder.open.remove(&B);
    let gone = "<error>No user connected with nickname: B</error>";
    assert_eq!(server.send(A, "<m c='B'>one</m>"), [(A, text(gone))]);
    let third = want(&mut server, A, "<m c='A'>three</m>");
    assert_ne!(third, second);
    // Late answers do nothing to whoever has the slot.
    server.tell(Input::Ended { conn: A, reason: CloseReason::PeerClosed });
    server.recorder.open.remove(&A);
    let successor = ConnId { generation: 2, ..A };
    server.log_in(successor, "A");
    for conn in [A, successor] {
        assert_eq!(permit(&mut server, conn, third, Permission::Granted), []);
    }
    want(&mut server, successor, "<m c='A'>four</m>");
}

#[test]
fn logins_that_wait_need_their_verdict_when_nobody_is_asked_any_more() {
    let mut server = Server::asking();
    server.open(A);
    let ask = server.ask(A, "<connect nickname='N'/>").ask;
    server.tell(Input::Registered(Box::default()));
    server.log_in(B, "M");
    assert!(is_in(&server.answer(A, ask, Verdict::Allowed { account: false })));
}

#[test]
fn what_is_registered_stays_when_the_configuration_is_read_again() {
    let names = ["hello".to_owned()].into();
    let mut server = Server::with(Registered { logins: true, names, ..Registered::default() });
    server.tell(Input::Reload(Box::default()));
    assert!(server.hub.registered().names.contains("hello"));
    server.open(A);
    let ask = server.ask(A, "<connect nickname='N'/>").ask;
    assert!(is_in(&server.answer(A, ask, Verdict::Allowed { account: false })));
    let registered =
        |element: &str| Done::Registered("N".to_owned(), "hello".to_owned(), element.to_owned());
    let done = server.send(A, " <!-- n --><hello a='&lt;'>x</hello><!-- m -->");
    assert_eq!(done, [(A, registered("<hello a='&lt;'>x</hello>"))]);
    // It is handed out even when it can't be relayed.
    let done = server.send(A, "<hello r='nowhere'/>");
    let error = Done::Text("<error>No room by that name</error>".to_owned());
    assert_eq!(done, [(A, registered("<hello r='nowhere'/>")), (A, error)]);
}

#[test]
fn hooks_are_told_only_while_they_are_registered() {
    let hooks = |on| Registered { joins: on, leaves: on, messages: on, ..Registered::default() };
    let mut server = Server::with(hooks(true));
    server.log_in(A, "A");
    server.log_in(B, "B");
    let heard = |done: Vec<(ConnId, Done)>| -> Vec<(ConnId, Hook)> {
        let hook = |(conn, done)| match done {
            Done::Hook(hook) => Some((conn, hook)),
            Done::Text(_)
            | Done::Closed(_)
            | Done::Asked(_)
            | Done::Cancelled(_)
            | Done::Called
            | Done::Registered(..) => None,
        };
        done.into_iter().filter_map(hook).collect()
    };
    let name = str::to_owned;
    let joined = heard(server.send(A, "<join room='R'/>"));
    assert_eq!(joined, [(A, Hook::Joined(name("A"), name("R")))]);
    let message = |to, text: &str| [(A, Hook::Message(name("A"), to, name(text)))];
    let said = heard(server.send(A, "<m r='R' x='1'>a</m>"));
    assert_eq!(said, message(To::Room(name("R")), "<m x='1' f=\"A\" r=\"R\">a</m>"));
    let said = heard(server.send(A, "<move c='b'/>"));
    assert_eq!(said, message(To::Client(name("B")), "<move f=\"A\"></move>"));
    assert_eq!(heard(server.send(A, "<m r='S'>a</m>")), [], "it was not delivered");
    let kick = Order::Kick { who: Who::Session(A), reason: None };
    assert_eq!(server.hub.order(kick, Time(0), &mut server.recorder), Ok(()));
    let left = heard(server.recorder.take());
    assert_eq!(left, [(A, Hook::Left(name("A"), name("R")))]);

    server.send(B, "<join room='R'/>");
    server.tell(Input::Registered(Box::new(hooks(false))));
    for frame in ["<m r='R'>a</m>", "<leave r='R'/>", "<join r='R'/>"] {
        assert_eq!(heard(server.send(B, frame)), [], "{frame}");
    }
    server.tell(Input::Registered(Box::new(hooks(true))));
    let left = heard(server.tell(Input::Shutdown));
    assert_eq!(left, [(B, Hook::Left(name("B"), name("R")))]);
}

#[test]
fn what_a_plugin_sends_is_no_message_for_plugins() {
    let mut server = Server::with(Registered { messages: true, ..Registered::default() });
    server.log_in(A, "A");
    let order = Order::Deliver { to: Receivers::Everybody { except: None }, element: "<hi/>" };
    assert_eq!(server.hub.order(order, Time(0), &mut server.recorder), Ok(()));
    assert_eq!(server.recorder.take(), [(A, Done::Text("<hi/>".to_owned()))]);
}

#[test]
fn an_answer_stands_behind_what_the_buffer_holds_and_an_error_leaves_it() {
    let mut server = Server::with(Registered::default());
    server.log_in(A, "A");
    let mut buffer = b"<answer ask='1'>".to_vec();
    let query = Query::Clients { room: None };
    assert_eq!(
        server.hub.tell(query, 10, &server.recorder, &mut buffer),
        Err(OrderError::TooLarge(10))
    );
    assert_eq!(buffer, b"<answer ask='1'>");
    assert_eq!(server.hub.tell(query, 100, &server.recorder, &mut buffer), Ok(()));
    assert!(buffer.starts_with(b"<answer ask='1'><clients nb='1'><client name='A' "));
}

/// Keeps the notes alone.
#[derive(Default)]
struct Notes(Vec<String>);

impl Outlet for Notes {
    fn encode(&mut self, _: impl FnOnce(&mut Vec<u8>)) -> Span {
        Span::default()
    }

    fn push(&mut self, _: ConnId, _: Span) {}

    fn close(&mut self, _: ConnId, _: CloseReason) {}

    fn note(&mut self, note: Note<'_>) {
        self.0.push(format!("{note:?}"));
    }
}

#[track_caller]
fn assert_noted(notes: &[String], expected: &[&str]) {
    let pairs = notes.iter().zip(expected);
    let all = pairs.filter(|(note, part)| note.contains(*part)).count();
    assert!(all == notes.len() && all == expected.len(), "{notes:#?} are not {expected:?}");
}

#[test]
fn notes_say_why_a_login_came_to_nothing_and_who_removed_whom() {
    let settings = Settings { root_password: RootPassword::Hash, ..Settings::default() };
    let mut hub = Hub::new(settings, HashKey(1, 2), 0);
    let mut out = Notes::default();
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    hub.handle(Input::Opened { conn: A, address, listener: ListenerKind::Main }, Time(0), &mut out);
    let mut send = |frame: &[u8], verdict| {
        hub.handle(Input::Frame { conn: A, frame }, Time(0), &mut out);
        if let Some((number, verdict)) = verdict {
            let question = QuestionId(number);
            hub.handle(Input::Verdict { conn: A, question, verdict }, Time(0), &mut out);
        }
        std::mem::take(&mut out.0)
    };
    assert_noted(&send(b"<connect/>", None), &["why: NoNick"]);
    assert_noted(&send(b"<connect nickname=' '/>", None), &["why: BadNick"]);
    let connect = b"<connect nickname='N' rootpass='x'/>";
    let refused = send(connect, Some((1, Verdict::Refused)));
    assert_noted(&refused, &["RootRefused", "why: Unauthorised"]);
    let undecided = |root_refused| Verdict::Undecided { root_refused, login_refused: false };
    let nobody_knows = send(connect, Some((2, undecided(false))));
    assert_noted(&nobody_knows, &["why: Undecided"]);
    let nobody_knows = send(connect, Some((3, undecided(true))));
    assert_noted(&nobody_knows, &["RootRefused", "why: Undecided"]);
    let allowed = send(connect, Some((4, Verdict::Allowed { account: false })));
    assert_noted(&allowed, &["RootRefused", "root: false"]);
    let kick = Order::Kick { who: Who::Nick("n"), reason: None };
    assert_eq!(hub.order(kick, Time(0), &mut out), Ok(()));
    assert_noted(&out.0, &["Kicked { by: None", "LoggedOut"]);
}

#[test]
fn names_of_the_server_are_reserved() {
    for name in ["m", "msg", "connect", "join", "shutdown", "error", "clients", "pong"] {
        assert!(is_reserved_name(name), "{name}");
    }
    for name in ["hello", "M", "", "event", "register"] {
        assert!(!is_reserved_name(name), "{name}");
    }
}
