//! Plugins in the loop: what they hear and are asked, how they end and come back, and that none
//! of them holds anybody up, whatever it does.

use std::rc::Rc;

use palabre::config::Module;
use palabre::hub::Time;
use palabre::limits::{
    Limits, PLUGIN_END_TIME_S, PLUGIN_ERROR_LINE_BYTES_MAX, PLUGIN_NAME_BYTES_MAX,
    PLUGIN_NAMES_MAX, PLUGIN_RESTART_WAIT_S_MAX, PLUGIN_STANZA_BYTES_MIN,
};
use palabre::net::world::ProcessEnd;
use palabre::secret::Secret;

use crate::house::{House, Peer, ROOM, logged};
use crate::pipe::Received;
use crate::process::Handle;

pub(crate) fn module(name: &str) -> Module {
    Module {
        name: name.to_owned(),
        program: "/nowhere".into(),
        arguments: Vec::new(),
        directory: "/".into(),
        environment: Vec::new(),
        restart: true,
        timeout_s: 5,
        input: Secret::default(),
    }
}

pub(crate) fn house_with(names: &[&str]) -> House {
    house_with_limits(names, Limits { login_time_s: 0, ..Limits::default() })
}

pub(crate) fn house_with_limits(names: &[&str], limits: Limits) -> House {
    let mut house = House::with_limits(limits);
    house.server.set_plugins(names.iter().map(|name| module(name)).collect());
    house.settle();
    house
}

impl House {
    /// The process that was started last under this index.
    pub(crate) fn process(&mut self, index: usize) -> Handle {
        let processes = &self.world().processes;
        let (_, found) = processes.iter().rev().find(|(own, _)| *own == index).expect("it runs");
        Rc::clone(found)
    }

    /// A plugin says something; what it then has heard.
    pub(crate) fn told(&mut self, plugin: &Handle, stanzas: &[&str]) -> Vec<String> {
        plugin.borrow_mut().say(stanzas);
        self.settle();
        plugin.borrow_mut().heard()
    }

    pub(crate) fn try_login(&mut self, nick: &str) -> Peer {
        let peer = self.connect();
        peer.send(&format!("<connect nickname='{nick}' password='p&amp;q'/>"));
        self.settle();
        peer
    }
}

const GREETING: &str = "<palabre version='1.0.0' plugins='1' name='one' />";
pub(crate) const REFUSED: [&str; 2] =
    ["<connect isok='0' msg='Authentication Error'/>", "<error>Authentication Error</error>"];
pub(crate) const NOT_NOW: [&str; 2] = [
    "<connect isok='0' msg='Login not possible right now, please try again'/>",
    "<error>Login not possible right now, please try again</error>",
];

pub(crate) fn connected(nick: &str) -> String {
    format!("<connect isok='1' msg='Your nickname is now : {nick}'/>")
}

/// A question for a login that waits, and the number in it.
pub(crate) fn asked(heard: &[String]) -> u64 {
    let [ask] = heard else { panic!("one question: {heard:?}") };
    let number = ask.strip_prefix("<ask ask='").and_then(|rest| rest.split('\'').next());
    number.and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn a_plugin_is_greeted_and_hears_what_it_registered_for() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    assert_eq!(plugin.borrow_mut().heard(), [GREETING]);
    let hooks = "onStartup onClientInit onClientConnect onClientJoinRoom onRoomInit onMessage \
                 onClientLeaveRoom onRoomRemove onClientQuit onRemoveClient onClientClose";
    let register = format!("<register names='dance' hooks='{hooks}' />");
    assert_eq!(house.told(&plugin, &[&register]), ["<event hook='onStartup' />"]);
    let mut a = house.connect();
    a.send("<connect nickname='A&quot;'/>");
    a.send("<join room='R'/>");
    a.send("<m r='R'>hi</m>");
    a.send("<dance step='1'/>");
    a.send("<leave room='R'/>");
    a.send("<quit/>");
    house.settle();
    let who = "session='0.1' nick='A&quot;' address='10.0.0.1' transport='stanzas'";
    assert_eq!(
        plugin.borrow_mut().heard(),
        [
            "<event hook='onClientInit' session='0.1' address='10.0.0.1' />".to_owned(),
            format!("<event hook='onClientConnect' {who} />"),
            "<event hook='onRoomInit' session='0.1' address='10.0.0.1' transport='stanzas' \
             room='R' />"
                .to_owned(),
            format!("<event hook='onClientJoinRoom' {who} room='R' />"),
            format!(
                "<event hook='onMessage' {who} room='R'><m f=\"A&quot;\" r=\"R\">hi</m></event>"
            ),
            format!("<stanza {who}><dance step='1'/></stanza>"),
            format!("<event hook='onClientLeaveRoom' {who} room='R' />"),
            "<event hook='onRoomRemove' room='R' />".to_owned(),
            format!("<event hook='onClientQuit' {who} />"),
            format!("<event hook='onRemoveClient' {who} />"),
        ]
    );
    assert!(!a.frames().iter().any(|frame| frame.contains("<error>")));
}

#[test]
fn a_plugin_speaks_to_clients_and_is_told_what_it_did_wrong() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    house.told(&plugin, &["<register names='hello' />"]);
    let mut a = house.member("A", ROOM);
    let mut b = house.member("B", ROOM);
    a.frames();
    a.send("<hello/>");
    house.settle();
    assert_eq!(plugin.borrow_mut().heard().len(), 1);
    let heard = house.told(
        &plugin,
        &[
            "<send nick='A'><world>Hello World !</world></send>",
            "<send session='1.2'><x/></send>",
            "<send room='R' except='0.1'><y a=\"1\"/></send>",
            "<send all='1'><z/></send>",
        ],
    );
    assert_eq!(heard, Vec::<String>::new());
    assert_eq!(a.frames(), ["<world>Hello World !</world>", "<z/>"]);
    assert_eq!(b.frames(), ["<x/>", "<y a=\"1\"/>", "<z/>"]);
    for (wrong, error) in [
        ("<send nick='C'><x/></send>", "No user connected with nickname: C"),
        ("<send nick='A'><x/><y/></send>", "<send> needs exactly one element in it"),
        ("<send nick='A'>text</send>", "<send> needs exactly one element in it"),
        ("<send><x/></send>", "<send> needs session='…', nick='…', room='…' or all='1'"),
        ("<dance/>", "<dance> is nothing that a plugin can send"),
        ("no XML", "This is not a valid XML string"),
        ("<verdict ask='7' allowed='1'/>", "nobody asked you ask='7'"),
        ("<verdict ask='x' allowed='1'/>", "ask='x' is no number"),
        (
            "<register names='join pour 7up a:b' hooks='onTea'/>",
            "join is the server's own; 7up is no name of an element without a prefix; a:b is no \
             name of an element without a prefix; onTea is no hook",
        ),
        ("<timer name='t' after='soon'/>", "after='soon' is no number"),
        ("<get what='weather' ask='1'/>", "what='weather' is none of rooms, clients, params"),
    ] {
        let mut expected = String::new();
        for c in error.chars() {
            match c {
                '<' => expected.push_str("&lt;"),
                '>' => expected.push_str("&gt;"),
                c => expected.push(c),
            }
        }
        assert_eq!(
            house.told(&plugin, &[wrong]),
            [format!("<error>{expected}</error>")],
            "{wrong}"
        );
    }
    // What was right in it counts.
    a.send("<pour/>");
    house.settle();
    assert_eq!(plugin.borrow_mut().heard().len(), 1);
    assert!(!logged("plugin one made a mistake").is_empty());
}

#[test]
fn a_plugin_hears_how_order_is_kept() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    house.told(&plugin, &["<register hooks='onRole onMode onKick onBan onMute' />"]);
    let a = house.member("A", ROOM);
    let _b = house.member("B", ROOM);
    let _c = house.member("C", ROOM);
    for stanza in [
        "<role room='R' nick='b' role='voice'/>",
        "<mode room='R' limit='9'/>",
        "<mute room='R' nick='B'/>",
        "<unmute room='R' nick='B'/>",
        "<ban room='R' nick='Nobody'/>",
        "<unban room='R' nick='Nobody'/>",
        "<kick room='R' nick='B'/>",
    ] {
        a.send(stanza);
    }
    house.settle();
    let session = |number: u32, nick: &str| {
        let slot = number - 1;
        format!(
            "session='{slot}.{number}' nick='{nick}' address='10.0.0.{number}' transport='stanzas'"
        )
    };
    let mode = "<mode room='R' locked='0' password='0' limit='9' moderated='0' hidden='0' keep='0' \
                history='0' />";
    let by = "by='0.1' />";
    assert_eq!(
        plugin.borrow_mut().heard(),
        [
            format!("<event hook='onRole' {} room='R' role='voice' {by}", session(2, "B")),
            format!("<event hook='onMode' room='R' by='0.1'>{mode}</event>"),
            format!("<event hook='onMute' whom='B' room='R' {by}"),
            format!("<event hook='onMute' whom='B' room='R' lifted='1' {by}"),
            format!("<event hook='onBan' whom='Nobody' room='R' {by}"),
            format!("<event hook='onBan' whom='Nobody' room='R' lifted='1' {by}"),
            format!("<event hook='onKick' {} room='R' {by}", session(2, "B")),
        ]
    );
    // What plugins do they hear as well: nobody's session has done it.
    let heard = house.told(
        &plugin,
        &[
            "<mute nick='C' />",
            "<ban address='192.0.2.0/24' />",
            "<kick nick='B' />",
            "<leave nick='A' room='R' />",
        ],
    );
    assert_eq!(
        heard,
        [
            "<event hook='onMute' whom='C' />".to_owned(),
            "<event hook='onBan' whom='192.0.2.0/24' />".to_owned(),
            format!("<event hook='onKick' {} />", session(2, "B")),
            format!("<event hook='onRole' {} room='R' role='operator' />", session(3, "C")),
        ]
    );
}

#[test]
fn a_login_waits_for_its_verdict_and_what_stands_behind_it_waits_too() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    house.told(&plugin, &["<register hooks='isAuthorized' />"]);
    let mut others = Vec::new();
    let mut a = house.try_login("A");
    a.send("<ping/>");
    a.send("<join room='R'/>");
    house.settle();
    assert_eq!(a.frames(), Vec::<String>::new());
    let heard = plugin.borrow_mut().heard();
    let ask = asked(&heard);
    assert_eq!(
        heard,
        [format!(
            "<ask ask='{ask}' hook='isAuthorized' session='0.1' nick='A' address='10.0.0.1' \
             transport='stanzas'><connect nickname='A' password='p&amp;q'/></ask>"
        )]
    );
    // Everybody else goes on.
    for nick in ["B", "C"] {
        let peer = house.try_login(nick);
        let ask = asked(&plugin.borrow_mut().heard());
        house.told(&plugin, &[&format!("<verdict ask='{ask}' allowed='yes' />")]);
        others.push(peer);
    }
    assert_eq!(others[1].frames(), [connected("C")]);
    assert_eq!(
        house.told(&plugin, &[&format!("<verdict ask='{ask}' allowed='1' />")]),
        Vec::<String>::new()
    );
    assert_eq!(a.frames()[..2], [connected("A"), "<pong />".to_owned()]);
    // Twice is once.
    assert_eq!(
        house.told(&plugin, &[&format!("<verdict ask='{ask}' allowed='0' />")]),
        Vec::<String>::new()
    );
    a.send("<ping/>");
    house.settle();
    assert!(a.frames().contains(&"<pong />".to_owned()));
    assert!(logged("p&amp;q").is_empty() && logged("p&q").is_empty(), "no password in the log");
}

#[test]
fn the_first_yes_lets_in_and_no_needs_all() {
    let mut house = house_with(&["one", "two", "three"]);
    let plugins = [0, 1, 2].map(|index| house.process(index));
    for plugin in &plugins[..2] {
        plugin.borrow_mut().heard();
        house.told(plugin, &["<register hooks='isAuthorized' />"]);
    }
    house.told(&plugins[2], &["<register names='tea' />"]);
    plugins[2].borrow_mut().heard();
    let ask = |house: &mut House, nick: &str| {
        let peer = house.try_login(nick);
        let numbers = [0, 1].map(|index| asked(&plugins[index].borrow_mut().heard()));
        assert_eq!(plugins[2].borrow_mut().heard(), Vec::<String>::new());
        (peer, numbers.map(|number| format!("<verdict ask='{number}' allowed='")))
    };
    let (mut a, [one, two]) = ask(&mut house, "A");
    house.told(&plugins[0], &[&format!("{one}0'/>")]);
    assert_eq!(a.frames(), Vec::<String>::new());
    house.told(&plugins[1], &[&format!("{two}1'/>")]);
    assert_eq!(a.frames(), [connected("A")]);
    let (mut b, [_, two]) = ask(&mut house, "B");
    house.told(&plugins[1], &[&format!("{two}1'/>")]);
    assert_eq!(b.frames(), [connected("B")]);
    let (mut c, [one, two]) = ask(&mut house, "C");
    house.told(&plugins[0], &[&format!("{one}0'/>")]);
    house.told(&plugins[1], &[&format!("{two}0'/>")]);
    assert_eq!(c.frames(), REFUSED);
}

#[test]
fn what_a_plugin_could_not_find_out_is_no_answer() {
    let mut house = house_with(&["one", "two"]);
    let plugins = [0, 1].map(|index| house.process(index));
    for plugin in &plugins {
        plugin.borrow_mut().heard();
        house.told(plugin, &["<register hooks='isAuthorized' />"]);
    }
    let (yes, no) = ("allowed='1'", "allowed='0'");
    let (error, both) = ("error='the &lt;line&gt; is down'", "allowed='no' error='x'");
    for (nick, one, two, expected) in [
        ("A", error, yes, vec![connected("A")]),
        ("B", error, no, NOT_NOW.map(str::to_owned).to_vec()),
        ("C", no, error, NOT_NOW.map(str::to_owned).to_vec()),
        ("D", error, error, NOT_NOW.map(str::to_owned).to_vec()),
        ("E", both, no, NOT_NOW.map(str::to_owned).to_vec()),
        ("F", no, no, REFUSED.map(str::to_owned).to_vec()),
    ] {
        let mut peer = house.try_login(nick);
        let asks = [0, 1].map(|index| asked(&plugins[index].borrow_mut().heard()));
        for (index, answer) in [one, two].into_iter().enumerate() {
            assert_eq!(peer.frames(), Vec::<String>::new(), "{nick}");
            let verdict = format!("<verdict ask='{}' {answer} />", asks[index]);
            assert_eq!(house.told(&plugins[index], &[&verdict]), Vec::<String>::new());
        }
        assert_eq!(peer.frames(), expected, "{nick}: {one}, {two}");
    }
    // The log has it once in a while.
    let told = logged("plugin one: a login can't be decided on: the <line> is down");
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn a_login_that_is_over_before_it_is_put_to_a_plugin_is_not() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    let gone = house.try_login("Gone");
    let mut there = house.try_login("There");
    gone.pipe.borrow_mut().reset(std::io::ErrorKind::ConnectionReset);
    house.settle();
    let heard = house.told(&plugin, &["<register hooks='isAuthorized' />"]);
    let [ask] = &heard[..] else { panic!("one question: {heard:?}") };
    assert!(ask.contains("nick='There'"), "{ask}");
    house.told(&plugin, &[&format!("<verdict ask='{}' allowed='1' />", asked(&heard))]);
    assert_eq!(there.frames(), [connected("There")]);
    // One that it has not read yet is taken back as well.
    plugin.borrow_mut().room = 10;
    let first = house.try_login("First");
    let gone = house.try_login("Gone");
    gone.pipe.borrow_mut().reset(std::io::ErrorKind::ConnectionReset);
    house.settle();
    plugin.borrow_mut().room = usize::MAX;
    plugin.borrow_mut().woken = true;
    house.settle();
    assert!(asked(&plugin.borrow_mut().heard()) > 0, "of First alone");
    drop(first);
}

#[test]
fn a_plugin_has_so_many_names_and_no_longer_ones() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    let names = |range: std::ops::Range<usize>| {
        let names: Vec<String> = range.map(|number| format!("n{number}")).collect();
        format!("<register names='{}' />", names.join(" "))
    };
    assert_eq!(house.told(&plugin, &[&names(0..PLUGIN_NAMES_MAX)]), Vec::<String>::new());
    let error = format!("<error>too many names (limit {PLUGIN_NAMES_MAX})</error>");
    let one_more = names(PLUGIN_NAMES_MAX - 1..PLUGIN_NAMES_MAX + 1);
    assert_eq!(house.told(&plugin, &[&one_more]), [error]);
    let mut a = house.member("A", ROOM);
    for (number, answers) in [(PLUGIN_NAMES_MAX - 1, 0), (PLUGIN_NAMES_MAX, 1)] {
        a.send(&format!("<n{number}/>"));
        house.settle();
        assert_eq!(a.said().len(), answers, "{number}");
    }
    plugin.borrow_mut().heard();
    house.told(&plugin, &[&names(PLUGIN_NAMES_MAX - 1..PLUGIN_NAMES_MAX)]);
    let longest = "x".repeat(PLUGIN_NAME_BYTES_MAX);
    let timer = format!("<timer name='{longest}' after='9000' />");
    assert_eq!(house.told(&plugin, &[&timer]), Vec::<String>::new());
    let long = "x".repeat(PLUGIN_NAME_BYTES_MAX + 1);
    let error = format!("<error>too long a name (limit {PLUGIN_NAME_BYTES_MAX} bytes)</error>");
    for stanza in
        [format!("<register names='{long}' />"), format!("<timer name='{long}' after='1' />")]
    {
        assert_eq!(house.told(&plugin, &[&stanza]), std::slice::from_ref(&error));
    }
}

#[test]
fn the_longest_name_can_be_registered() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    let longest = "x".repeat(PLUGIN_NAME_BYTES_MAX);
    let register = format!("<register names='{longest}' />");
    assert_eq!(house.told(&plugin, &[&register]), Vec::<String>::new());
    let a = house.member("A", ROOM);
    a.send(&format!("<{longest}/>"));
    house.settle();
    assert!(plugin.borrow_mut().heard()[0].contains(&longest));
}

#[test]
fn an_answer_has_a_quarter_of_what_may_wait() {
    let limits = Limits {
        stanza_bytes_max: 2_000,
        backlog_bytes_max: 4_000,
        backlog_soft_bytes_max: 4_000,
        login_time_s: 0,
        ..Limits::default()
    };
    let mut house = house_with_limits(&["one"], limits);
    let plugin = house.process(0);
    house.told(&plugin, &["<register/>"]);
    let _a = house.member("A", ROOM);
    let rest = "<params nick='A' session='0.1'><param name='K' value='' /></params>";
    for (bytes, error) in [(1_000, None), (1_001, Some("Answer too large (limit 1000 bytes)"))] {
        let value = "v".repeat(bytes - rest.len());
        let set = format!("<clientparam nick='A' name='K' value='{value}' />");
        let heard = house.told(&plugin, &[&set, "<get what='params' nick='A' ask='7' />"]);
        let params = rest.replace("value=''", &format!("value='{value}'"));
        let content = error.map_or(params, |error| format!("<error>{error}</error>"));
        assert_eq!(heard, [format!("<answer ask='7'>{content}</answer>")], "{bytes} bytes");
    }
}

#[test]
fn a_plugin_says_so_many_bytes_in_one_stanza() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    let register = |bytes: usize| format!("<register names='a'{}/>", " ".repeat(bytes - 21));
    assert_eq!(register(PLUGIN_STANZA_BYTES_MIN).len(), PLUGIN_STANZA_BYTES_MIN);
    let error = format!("<error>a stanza over {PLUGIN_STANZA_BYTES_MIN} bytes</error>");
    for (bytes, errors) in [(0, vec![]), (1, vec![error])] {
        plugin.borrow_mut().say(&[&register(PLUGIN_STANZA_BYTES_MIN + bytes)]);
        // A plugin that fills a read is read on a millisecond later.
        let later = house.now() + std::time::Duration::from_millis(10);
        house.run_until(later);
        assert_eq!(plugin.borrow_mut().heard(), errors, "{bytes} more");
        let a = house.member(&format!("A{bytes}"), ROOM);
        a.send("<a/>");
        house.settle();
        assert_eq!(plugin.borrow_mut().heard().len(), 1 - bytes, "it is registered, or ended");
    }
}

#[test]
fn what_clients_are_held_to_keeps_no_plugin_from_speaking() {
    let limits = Limits {
        stanza_bytes_max: 64,
        attributes_max: 1,
        depth_max: 1,
        login_time_s: 0,
        ..Limits::default()
    };
    let mut house = house_with_limits(&["one"], limits);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    let register = format!("<register names='tea' hooks='isAuthorized{}' />", " ".repeat(100));
    assert_eq!(house.told(&plugin, &[&register]), Vec::<String>::new());
    let mut a = house.connect();
    a.send("<connect nickname='A'/>");
    house.settle();
    let ask = asked(&plugin.borrow_mut().heard());
    house.told(&plugin, &[&format!("<verdict ask='{ask}' allowed='1' />")]);
    assert_eq!(a.frames(), [connected("A")]);
    house.told(&plugin, &["<send nick='A' x='y'><hi a='1'/></send>"]);
    assert_eq!(a.frames(), ["<hi a='1'/>"]);
    let longest = format!("<hi>{}</hi>", "x".repeat(64 - 9));
    for (held, error) in [
        (
            "<hi a='1' b='2'/>",
            "the element in &lt;send&gt;: Too many attributes (limit 1 on one element)",
        ),
        ("<hi><you/></hi>", "the element in &lt;send&gt;: Stanza nested too deep (limit 1 levels)"),
        (&longest.replace("</", "x</"), "an element over 64 bytes in &lt;send&gt;"),
    ] {
        let error = format!("<error>{error}</error>");
        assert_eq!(house.told(&plugin, &[&format!("<send nick='A'>{held}</send>")]), [error]);
    }
    assert_eq!(a.frames(), Vec::<String>::new());
    // The blanks around it are no part of it.
    house.told(&plugin, &[&format!("<send nick='A'>  {longest}  </send>")]);
    assert_eq!(a.frames(), [longest]);
}

#[test]
fn no_answer_in_time_decides_nothing_and_a_late_one_does_nothing() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    house.told(&plugin, &["<register hooks='isAuthorized' />"]);
    let start = house.now();
    let mut a = house.try_login("A");
    let late = asked(&plugin.borrow_mut().heard());
    house.run_until(Time(start.plus_secs(5).0 - 1));
    assert_eq!(a.frames(), Vec::<String>::new());
    house.run_until(start.plus_secs(5));
    assert_eq!(a.frames(), NOT_NOW);
    assert_eq!(logged("plugin one: a login can't be decided on: it has not answered").len(), 1);
    // The slot has another session by the time the answer comes.
    let gone = house.try_login("B");
    let gone_ask = asked(&plugin.borrow_mut().heard());
    gone.pipe.borrow_mut().close();
    house.settle();
    let mut successor = house.try_login("C");
    let own = asked(&plugin.borrow_mut().heard());
    for ask in [late, gone_ask] {
        house.told(&plugin, &[&format!("<verdict ask='{ask}' allowed='1' />")]);
    }
    assert_eq!(successor.frames(), Vec::<String>::new());
    house.told(&plugin, &[&format!("<verdict ask='{own}' allowed='1' />")]);
    assert_eq!(successor.frames(), [connected("C")]);
    assert_eq!(a.frames(), Vec::<String>::new());
}

#[test]
fn nobody_is_let_in_while_the_plugin_that_decides_is_away_or_not_ready() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    // It has not said yet what it is.
    let mut early = house.try_login("Early");
    assert_eq!(early.frames(), Vec::<String>::new());
    plugin.borrow_mut().heard();
    let heard = house.told(&plugin, &["<register hooks='isAuthorized' />"]);
    house.told(&plugin, &[&format!("<verdict ask='{}' allowed='1' />", asked(&heard))]);
    assert_eq!(early.frames(), [connected("Early")]);

    // It dies with a question: that and what comes meanwhile wait for the next one.
    let mut waiting = house.try_login("Waiting");
    let first = asked(&plugin.borrow_mut().heard());
    plugin.borrow_mut().end(ProcessEnd::Signal(11));
    house.settle();
    let mut down = house.try_login("Down");
    assert_eq!(logged("plugin one: signal 11 ended it").len(), 1);
    let back = house.now().plus_secs(1);
    house.run_until(back);
    let again = house.process(0);
    assert!(!Rc::ptr_eq(&again, &plugin), "it is started again");
    assert_eq!((waiting.frames().len(), down.frames().len()), (0, 0));
    again.borrow_mut().heard();
    let heard = house.told(&again, &["<register hooks='isAuthorized' />"]);
    let [one, two] = &heard[..] else { panic!("two questions: {heard:?}") };
    assert_eq!(asked(std::slice::from_ref(one)), first, "the same question");
    for ask in [one, two].map(|heard| asked(std::slice::from_ref(heard))) {
        house.told(&again, &[&format!("<verdict ask='{ask}' allowed='1' />")]);
    }
    assert_eq!(waiting.frames(), [connected("Waiting")]);
    assert_eq!(down.frames(), [connected("Down")]);
}

#[test]
fn a_question_that_waits_is_put_to_a_plugin_that_registers_in_two_stanzas() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    house.told(&plugin, &["<register hooks='isAuthorized' />"]);
    let mut a = house.try_login("A");
    let ask = asked(&plugin.borrow_mut().heard());
    plugin.borrow_mut().end(ProcessEnd::Signal(11));
    house.settle();
    let back = house.now().plus_secs(1);
    house.run_until(back);
    let again = house.process(0);
    again.borrow_mut().heard();
    assert_eq!(house.told(&again, &["<register names='tea' />"]), Vec::<String>::new());
    assert_eq!(a.frames(), Vec::<String>::new(), "what was asked before is not let in unasked");
    assert_eq!(asked(&house.told(&again, &["<register hooks='isAuthorized' />"])), ask);
    house.told(&again, &[&format!("<verdict ask='{ask}' allowed='1' />")]);
    assert_eq!(a.frames(), [connected("A")]);
}

#[test]
fn a_question_that_ends_two_processes_is_not_put_to_a_third() {
    let mut house = house_with(&["one"]);
    let mut a = house.try_login("A");
    for wait_s in [1, 2] {
        let plugin = house.process(0);
        assert_eq!(a.frames(), Vec::<String>::new());
        house.told(&plugin, &["<register hooks='isAuthorized' />"]);
        plugin.borrow_mut().end(ProcessEnd::Signal(11));
        house.settle();
        let later = house.now().plus_secs(wait_s);
        house.run_until(later);
    }
    assert_eq!(a.frames(), NOT_NOW);
}

#[test]
fn nobody_waits_for_a_plugin_that_is_not_back_in_time() {
    let mut house = House::with_limits(Limits::default());
    house.world().no_processes = true;
    house.server.set_plugins(vec![Module { restart: false, ..module("one") }]);
    house.settle();
    assert_eq!(house.try_login("Never").frames(), NOT_NOW, "it is not started again");
    house.server.set_plugins(vec![module("one")]);
    house.settle();
    let start = house.now();
    let mut early = house.try_login("Early");
    assert_eq!(early.frames(), Vec::<String>::new());
    house.run_until(start.plus_secs(5));
    assert_eq!(early.frames(), NOT_NOW);
    // It is tried again after 1 s, 2 s, 4 s and then 8 s.
    house.run_until(start.plus_secs(8));
    assert_eq!(house.try_login("Late").frames(), NOT_NOW, "at once");
}

#[test]
fn a_plugin_that_never_registers_shuts_the_door_and_one_that_only_listens_does_not() {
    let mut house = house_with(&["one", "two"]);
    let listener = house.process(1);
    house.told(&listener, &["<register />"]);
    let mut a = house.try_login("A");
    assert_eq!(a.frames(), Vec::<String>::new());
    let start = house.now();
    house.run_until(start.plus_secs(5));
    assert_eq!(a.frames(), NOT_NOW);
    assert_eq!(house.try_login("B").frames(), NOT_NOW);
    assert_eq!(logged("it has not registered anything within 5 s").len(), 1);
    assert_eq!(logged("a login can't be decided on: it has not registered").len(), 1);
    let late = house.process(0);
    house.told(&late, &["<register names='tea'/>"]);
    assert_eq!(house.try_login("C").frames(), [connected("C")]);
}

#[test]
fn a_plugin_that_can_not_be_started_is_tried_again_and_shuts_the_door() {
    let mut house = House::with_limits(Limits::default());
    house.world().no_processes = true;
    house.server.set_plugins(vec![module("one")]);
    house.settle();
    let waits_s = [1, 2, 4, 8, 16, 32, PLUGIN_RESTART_WAIT_S_MAX, PLUGIN_RESTART_WAIT_S_MAX];
    for (wait_s, count) in waits_s.into_iter().zip(2..) {
        let later = house.now().plus_secs(wait_s);
        house.run_until(Time(later.0 - 1));
        assert_eq!(logged("plugin one: can't start /nowhere").len(), count - 1);
        house.run_until(later);
        assert_eq!(logged("plugin one: can't start /nowhere").len(), count);
    }
    house.world().no_processes = false;
    let later = house.now().plus_secs(PLUGIN_RESTART_WAIT_S_MAX);
    house.run_until(later);
    let plugin = house.process(0);
    house.told(&plugin, &["<register/>"]);
    assert_eq!(house.try_login("B").frames(), [connected("B")]);
}

/// So that four of them find their place behind each other, however slowly the plugin reads.
#[test]
fn an_answer_to_a_plugin_is_at_most_a_quarter_of_what_may_wait_for_it() {
    let limits = Limits {
        stanza_bytes_max: 1_000,
        backlog_bytes_max: 4_000,
        backlog_soft_bytes_max: 4_000,
        ..Limits::default()
    };
    let mut house = house_with_limits(&["one"], limits);
    let plugin = house.process(0);
    house.told(&plugin, &["<register/>"]);
    let a = house.try_login("A");
    let mut longest = 0;
    for number in 0..64 {
        a.send(&format!("<join room='a room with a name {number:04}'/>"));
        house.settle();
        let heard = house.told(&plugin, &["<get what='rooms' ask='1'/>"]);
        let [answer] = &heard[..] else { panic!("one answer: {heard:?}") };
        if answer.contains("<error>") {
            assert!((900..=1_000).contains(&longest), "{longest} and then {answer}");
            return;
        }
        longest = answer.len();
    }
    panic!("however long it is: {longest}");
}

#[test]
fn what_a_plugin_does_not_read_is_dropped_and_counted() {
    let limits = Limits {
        stanza_bytes_max: 1_000,
        backlog_bytes_max: 4_000,
        backlog_soft_bytes_max: 4_000,
        stanza_rate_per_s: 0,
        login_time_s: 0,
        ..Limits::default()
    };
    let mut house = house_with_limits(&["one"], limits);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    house.told(&plugin, &["<register names='tick' hooks='isAuthorized' />"]);
    let a = house.try_login("A");
    let ask = asked(&plugin.borrow_mut().heard());
    house.told(&plugin, &[&format!("<verdict ask='{ask}' allowed='1' />")]);
    plugin.borrow_mut().room = 300;
    for _ in 0..200 {
        a.send("<tick/>");
        house.settle();
    }
    // A question is put to it all the same, before what it has not read.
    let mut b = house.try_login("B");
    let mut heard = Vec::new();
    while plugin.borrow().unread() > 0 {
        // As much as its pipe holds, stanzas cut anywhere.
        let mut pipes = plugin.borrow_mut();
        pipes.room = usize::MAX;
        drop(pipes);
        house
            .told(&plugin, &["<log>reading</log>"])
            .into_iter()
            .for_each(|stanza| heard.push(stanza));
        house.settle();
    }
    let place = |part: &str| heard.iter().position(|stanza| stanza.contains(part));
    assert!(place("<ask ") < place("<dropped "), "{heard:#?}");
    let ask = asked(&heard[place("<ask ").expect("it is asked")..][..1]);
    house.told(&plugin, &[&format!("<verdict ask='{ask}' allowed='1' />")]);
    assert_eq!(b.frames(), [connected("B")]);
    let ticks = heard.iter().filter(|stanza| stanza.contains("<tick/>")).count();
    let dropped = heard.iter().find_map(|stanza| {
        stanza.strip_prefix("<dropped count='")?.strip_suffix("' />")?.parse::<usize>().ok()
    });
    assert_eq!(dropped.map(|count| count + ticks), Some(200), "{} heard", heard.len());
}

#[test]
fn whatever_a_plugin_does_the_clients_go_on() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    house.told(&plugin, &["<register names='x' />"]);
    let mut a = house.member("A", ROOM);
    let b = house.member("B", ROOM);
    a.frames();
    // A flood: a turn takes so many of it, and the clients have theirs.
    let flood = "<log level='debug'>x</log>\0".repeat(10_000);
    plugin.borrow_mut().say_bytes(flood.as_bytes());
    b.send("<m r='R'>in between</m>");
    house.turn();
    house.turn();
    assert_eq!(a.said(), ["<m f=\"B\" r=\"R\">in between</m>"]);
    // It is at rest between two of its parts, and all of them are done in the end.
    house.settle();
    let later = house.now().plus_secs(1);
    house.run_until(later);
    // Garbage, and a stanza without an end.
    plugin.borrow_mut().say_bytes(b"\xff\xfe<<<\0<send");
    house.settle();
    assert_eq!(plugin.borrow_mut().heard(), ["<error>This is not a valid XML string</error>"]);
    plugin.borrow_mut().end(ProcessEnd::Exit(3));
    house.settle();
    assert_eq!(logged("plugin one: it ended with exit code 3").len(), 1);
    b.send("<m r='R'>still here</m>");
    house.settle();
    assert_eq!(a.said(), ["<m f=\"B\" r=\"R\">still here</m>"]);
    // One that never ends a stanza is ended.
    let later = house.now().plus_secs(1);
    house.run_until(later);
    let endless = house.process(0);
    endless.borrow_mut().say_bytes(&vec![b'x'; 200_000]);
    let later = house.now() + std::time::Duration::from_millis(10);
    house.run_until(later);
    assert!(endless.borrow().killed);
    // One that closes its output and stays is ended.
    let later = house.now().plus_secs(2);
    house.run_until(later);
    let quiet = house.process(0);
    quiet.borrow_mut().stubborn = true;
    quiet.borrow_mut().end_output();
    let later = house.now().plus_secs(PLUGIN_END_TIME_S);
    house.run_until(Time(later.0 - 1));
    assert!(!quiet.borrow().killed);
    house.run_until(later);
    assert!(quiet.borrow().killed);
}

#[test]
fn a_plugin_that_says_much_at_once_is_listened_to_in_parts() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    house.told(&plugin, &["<register/>"]);
    let mut a = house.member("A", ROOM);
    a.frames();
    let flood: String = (0..200).map(|n| format!("<send nick='A'><x>{n}</x></send>\0")).collect();
    plugin.borrow_mut().say_bytes(flood.as_bytes());
    let start = house.now();
    house.settle();
    assert_eq!(a.said().len(), 64, "the loop rests before it does more");
    house.run_until(start + std::time::Duration::from_millis(1));
    assert_eq!(a.said().len(), 64, "a millisecond later");
    house.run_until(start.plus_secs(1));
    assert_eq!(a.said().len(), 72, "nothing is lost");
}

#[test]
fn standard_error_goes_to_the_log_line_by_line() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    plugin.borrow_mut().complain("first\nsec");
    house.settle();
    plugin.borrow_mut().complain("ond\x1b[31m\nthird");
    house.settle();
    plugin.borrow_mut().end(ProcessEnd::Exit(1));
    house.settle();
    let lines = logged("plugin one says: ");
    let texts: Vec<&str> = lines.iter().filter_map(|line| line.split("says: ").nth(1)).collect();
    assert_eq!(texts, ["first", "second\\u{1b}[31m", "third"]);
}

#[test]
fn a_line_on_standard_error_is_cut_where_it_is_too_long() {
    let mut house = house_with(&["long"]);
    let plugin = house.process(0);
    let (longest, more) =
        ("y".repeat(PLUGIN_ERROR_LINE_BYTES_MAX), "z".repeat(PLUGIN_ERROR_LINE_BYTES_MAX));
    plugin.borrow_mut().complain(&format!("{longest}\n{more}+\n"));
    house.settle();
    let lines = logged("plugin long says: ");
    let texts: Vec<&str> = lines.iter().filter_map(|line| line.split("says: ").nth(1)).collect();
    assert_eq!(texts, [&longest, &more, "+"]);
}

#[test]
fn the_log_takes_so_many_lines_and_mistakes_of_a_plugin_and_counts_the_lines_beyond() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    // It is read in parts.
    plugin.borrow_mut().say(&["<log>line</log>"; 260]);
    house.run_until(Time::from_millis(900));
    assert_eq!(logged("plugin one: line").len(), 200);
    house.run_until(Time::from_secs(2));
    house.told(&plugin, &["<log>later</log>"]);
    assert_eq!(logged("plugin one: later").len(), 1);
    assert_eq!(logged("plugin one has said 60 lines more than the log takes").len(), 1);
    let heard = house.told(&plugin, &["<nonsense />"; 15]);
    assert_eq!(heard.iter().filter(|text| text.starts_with("<error>")).count(), 15);
    assert_eq!(logged("plugin one made a mistake: ").len(), 10);
}

#[test]
fn timers_of_a_plugin_come_in_time_once_and_can_be_moved_and_cancelled() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    let start = house.now();
    house.told(
        &plugin,
        &[
            "<register/>",
            "<timer name='a' after='1000'/>",
            "<timer name='b' after='1500'/>",
            "<timer name='c' after='500'/>",
            "<timer name='c'/>",
            "<timer name='a' after='2000'/>",
        ],
    );
    house.run_until(start.plus_secs(1));
    assert_eq!(plugin.borrow_mut().heard(), Vec::<String>::new());
    house.run_until(start.plus_secs(3));
    assert_eq!(plugin.borrow_mut().heard(), ["<timer name='b' />", "<timer name='a' />"]);
    let many: Vec<String> =
        (0..65).map(|number| format!("<timer name='{number}' after='9000'/>")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    plugin.borrow_mut().say(&many);
    house.run_until(start.plus_secs(4));
    assert_eq!(plugin.borrow_mut().heard(), ["<error>too many timers (limit 64)</error>"]);
}

#[test]
fn at_the_end_plugins_are_told_then_their_input_ends_and_later_they_are() {
    let mut house = house_with(&["one", "two"]);
    let [good, stubborn] = [0, 1].map(|index| house.process(index));
    good.borrow_mut().heard();
    house.told(&good, &["<register hooks='onShutdown onClientClose'/>"]);
    house.told(&stubborn, &["<register/>"]);
    stubborn.borrow_mut().stubborn = true;
    let a = house.member("A", ROOM);
    good.borrow_mut().heard();
    let start = house.now();
    house.stop();
    house.settle();
    a.pipe.borrow_mut().close();
    house.settle();
    let heard = good.borrow_mut().heard();
    assert!(heard.iter().any(|stanza| stanza == "<event hook='onShutdown' />"), "{heard:?}");
    assert!(good.borrow().input_ended && !good.borrow().killed);
    assert!(!house.stopped && stubborn.borrow().input_ended);
    house.run_until(start.plus_secs(6));
    assert!(house.stopped && stubborn.borrow().killed);
}

#[test]
fn a_login_whose_client_has_ended_its_side_is_decided_and_answered() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    house.told(&plugin, &["<register hooks='isAuthorized'/>"]);
    let mut b = house.try_login("B");
    let ask = asked(&plugin.borrow_mut().heard());
    house.told(&plugin, &[&format!("<verdict ask='{ask}' allowed='1' />")]);
    b.frames();
    // The end comes with the login, with something behind it, and later.
    let behind = "<m c='B'>hello</m>\0<ping/>\0";
    for (nick, more, later) in [("A", "", false), ("C", behind, false), ("D", behind, true)] {
        let mut a = house.connect();
        a.send_bytes(format!("<connect nickname='{nick}'/>\0{more}").as_bytes());
        if later {
            house.settle();
        }
        a.pipe.borrow_mut().half_close();
        house.settle();
        assert_eq!(a.frames(), Vec::<String>::new(), "nothing is decided");
        let ask = asked(&plugin.borrow_mut().heard());
        house.told(&plugin, &[&format!("<verdict ask='{ask}' allowed='1' />")]);
        let mut expected = vec![connected(nick)];
        if !more.is_empty() {
            expected.push("<pong />".to_owned());
            assert_eq!(b.frames(), [format!("<m f=\"{nick}\">hello</m>")]);
        }
        assert_eq!(a.frames(), expected, "{nick}");
        a.assert_then(Received::End);
        a.pipe.borrow_mut().close();
        house.settle();
    }
    assert_eq!(house.server.connections(), 1);
}

#[test]
fn a_login_whose_connection_breaks_is_over_at_once() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    house.told(&plugin, &["<register hooks='isAuthorized'/>"]);
    let a = house.try_login("A");
    a.send("<m c='A'>behind</m>");
    house.settle();
    a.pipe.borrow_mut().reset(std::io::ErrorKind::ConnectionReset);
    house.settle();
    assert_eq!(house.server.connections(), 0);
}

#[test]
fn a_client_that_leaves_while_its_login_is_decided_is_gone() {
    let mut house = house_with(&["one"]);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    house.told(&plugin, &["<register hooks='isAuthorized'/>"]);
    let a = house.try_login("A");
    let ask = asked(&plugin.borrow_mut().heard());
    a.pipe.borrow_mut().close();
    house.settle();
    house.told(&plugin, &[&format!("<verdict ask='{ask}' allowed='1' />")]);
    assert_eq!(house.server.connections(), 0);
    assert_eq!(house.try_login("A").frames(), Vec::<String>::new(), "the nick is free");
}
