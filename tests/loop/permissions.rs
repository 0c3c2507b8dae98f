//! Plugins that are asked before something is done, in the loop: what waits, for how long, and who
//! does not.

use std::rc::Rc;

use palabre::hub::Time;
use palabre::limits::{
    LOGINS_ASKED_PER_ADDRESS_MAX, Limits, PLUGIN_NAME_BYTES_MAX, PLUGIN_NAMES_MAX, REASON_BYTES_MAX,
};
use palabre::net::world::ProcessEnd;

use crate::house::{House, Peer, ROOM, logged};
use crate::plugins::{asked, house_with};
use crate::process::Handle;

const NOT_NOW: &str = "<error>Not possible right now, please try again</error>";
const NOT_THAT: &str = "<error>You may not say that</error>";

/// A server with plugins that have registered this.
fn house_asking(registered: &[&str]) -> (House, Vec<Handle>) {
    let names: Vec<&str> = ["one", "two"].into_iter().take(registered.len()).collect();
    let mut house = house_with(&names);
    let plugins: Vec<Handle> = (0..names.len()).map(|index| house.process(index)).collect();
    for (plugin, register) in plugins.iter().zip(registered) {
        plugin.borrow_mut().heard();
        assert_eq!(house.told(plugin, &[register]), Vec::<String>::new());
    }
    (house, plugins)
}

fn said(house: &mut House, peer: &Peer, stanza: &str) {
    peer.send(stanza);
    house.settle();
}

/// What a plugin was asked, one question.
fn question(plugin: &Handle) -> u64 {
    asked(&plugin.borrow_mut().heard())
}

fn verdict(house: &mut House, plugin: &Handle, ask: u64, what: &str) -> Vec<String> {
    house.told(plugin, &[&format!("<verdict ask='{ask}' {what} />")])
}

#[test]
fn what_is_said_waits_for_its_verdict_and_so_does_all_behind_it_but_nobody_else() {
    let (mut house, plugins) = house_asking(&["<register hooks='mayTalk' />"]);
    let plugin = &plugins[0];
    let mut a = house.member("A", ROOM);
    let mut b = house.member("B", ROOM);
    a.frames();
    a.send("<m r='R'>one</m>");
    a.send("<ping/>");
    said(&mut house, &a, "<m r='R'>two</m>");
    let heard = plugin.borrow_mut().heard();
    let ask = asked(&heard);
    assert_eq!(
        heard,
        [format!(
            "<ask ask='{ask}' hook='mayTalk' session='0.1' nick='A' address='10.0.0.1' \
             transport='stanzas' room='R'><m r='R'>one</m></ask>"
        )]
    );
    said(&mut house, &b, "<ping/>");
    assert_eq!(b.frames(), ["<pong />"]);
    assert_eq!(a.frames(), Vec::<String>::new());
    let heard = verdict(&mut house, plugin, ask, "allowed='1'");
    assert_eq!(b.frames(), ["<m f=\"A\" r=\"R\">one</m>"]);
    assert_eq!(a.frames(), ["<pong />"]);
    // The next one has its own question, and the verdict on the first one counts once.
    let next = asked(&heard);
    assert_eq!(verdict(&mut house, plugin, ask, "allowed='1'"), Vec::<String>::new());
    assert_eq!(b.frames(), Vec::<String>::new());
    verdict(&mut house, plugin, next, "allowed='0' reason='Not &lt;so&gt; loud'");
    assert_eq!(a.frames(), ["<error>Not &lt;so&gt; loud</error>"]);
    said(&mut house, &a, "<m c='B'>three</m>");
    let ask = question(plugin);
    verdict(&mut house, plugin, ask, "allowed='0'");
    assert_eq!(a.frames(), [NOT_THAT]);
    assert_eq!(b.frames(), Vec::<String>::new());
}

#[test]
fn no_verdict_in_time_is_a_no_and_a_late_one_does_nothing() {
    let (mut house, plugins) = house_asking(&["<register hooks='mayTalk' />"]);
    let plugin = &plugins[0];
    let mut a = house.member("A", ROOM);
    let start = house.now();
    a.send("<m r='R' back='1'>one</m>");
    said(&mut house, &a, "<ping/>");
    let late = question(plugin);
    house.run_until(Time(start.plus_secs(5).0 - 1));
    assert_eq!(a.frames(), Vec::<String>::new());
    house.run_until(start.plus_secs(5));
    assert_eq!(a.frames(), [NOT_NOW, "<pong />"]);
    assert_eq!(logged("plugin one: a message can't be decided on: it has not answered").len(), 1);
    said(&mut house, &a, "<m r='R' back='1'>two</m>");
    let own = question(plugin);
    assert_eq!(verdict(&mut house, plugin, late, "allowed='1'"), Vec::<String>::new());
    assert_eq!(a.frames(), Vec::<String>::new());
    verdict(&mut house, plugin, own, "error='the list is gone'");
    assert_eq!(a.frames(), [NOT_NOW]);
}

#[test]
fn what_waits_for_a_plugin_that_has_died_is_put_to_its_next_process() {
    let (mut house, plugins) =
        house_asking(&["<register hooks='mayTalk' />", "<register names='tea' />"]);
    let mut a = house.member("A", ROOM);
    let mut b = house.member("B", ROOM);
    a.frames();
    said(&mut house, &a, "<m r='R'>one</m>");
    let first = question(&plugins[0]);
    plugins[0].borrow_mut().end(ProcessEnd::Signal(11));
    house.settle();
    said(&mut house, &b, "<m r='R'>two</m>");
    let back = house.now().plus_secs(1);
    house.run_until(back);
    let again = house.process(0);
    assert!(!Rc::ptr_eq(&again, &plugins[0]), "it is started again");
    again.borrow_mut().heard();
    assert_eq!((a.frames().len(), b.frames().len()), (0, 0));
    let heard = house.told(&again, &["<register hooks='mayTalk' />"]);
    let [one, two] = [0, 1].map(|place| asked(&heard[place..=place]));
    assert_eq!(one, first, "the same question");
    verdict(&mut house, &again, one, "allowed='1'");
    verdict(&mut house, &again, two, "allowed='1'");
    assert_eq!(a.frames(), ["<m f=\"B\" r=\"R\">two</m>"]);
    assert_eq!(b.frames(), ["<m f=\"A\" r=\"R\">one</m>"]);
    // One that has no say keeps nobody from talking while it is away.
    plugins[1].borrow_mut().end(ProcessEnd::Signal(11));
    house.settle();
    said(&mut house, &a, "<m r='R'>three</m>");
    let ask = question(&again);
    verdict(&mut house, &again, ask, "allowed='1'");
    assert_eq!(b.frames(), ["<m f=\"A\" r=\"R\">three</m>"]);
    // Nor does one that has a say, for longer than its time.
    again.borrow_mut().end(ProcessEnd::Signal(11));
    house.world().no_processes = true;
    house.settle();
    said(&mut house, &a, "<m r='R'>four</m>");
    assert_eq!(a.frames(), Vec::<String>::new());
    let later = house.now().plus_secs(5);
    house.run_until(later);
    assert_eq!(a.frames(), [NOT_NOW]);
    assert_eq!(b.frames(), Vec::<String>::new());
}

#[test]
fn what_a_session_wanted_that_is_over_is_not_asked_any_more() {
    let (mut house, plugins) = house_asking(&["<register hooks='mayTalk' />"]);
    let plugin = &plugins[0];
    let gone = house.member("Gone", ROOM);
    let mut there = house.member("There", ROOM);
    said(&mut house, &gone, "<m r='R'>one</m>");
    let ask = question(plugin);
    // This one is still to be written.
    plugin.borrow_mut().room = 0;
    said(&mut house, &there, "<m r='R' back='1'>two</m>");
    gone.pipe.borrow_mut().reset(std::io::ErrorKind::ConnectionReset);
    house.settle();
    assert_eq!(verdict(&mut house, plugin, ask, "allowed='1'"), Vec::<String>::new());
    there.frames();
    plugin.borrow_mut().room = usize::MAX;
    plugin.borrow_mut().woken = true;
    house.settle();
    let ask = question(plugin);
    verdict(&mut house, plugin, ask, "allowed='1'");
    assert_eq!(there.frames(), ["<m f=\"There\" r=\"R\">two</m>"]);
}

#[test]
fn an_end_behind_what_waits_comes_after_it() {
    let (mut house, plugins) = house_asking(&["<register hooks='mayTalk' />"]);
    let a = house.member("A", ROOM);
    let mut b = house.member("B", ROOM);
    a.send("<m r='R'>last words</m>");
    a.pipe.borrow_mut().half_close();
    house.settle();
    let ask = question(&plugins[0]);
    b.frames();
    verdict(&mut house, &plugins[0], ask, "allowed='1'");
    assert_eq!(
        b.frames()[..2],
        ["<m f=\"A\" r=\"R\">last words</m>", "<client name='A' left='R' />"]
    );
}

#[test]
fn each_plugin_is_asked_what_it_watches_for_and_each_may_say_no() {
    let (mut house, plugins) = house_asking(&[
        "<register hooks='mayTalk' room='R' stanzas='m clientparam' />",
        "<register hooks='mayTalk mayJoin' room='S' />",
    ]);
    let [one, two] = &plugins[..] else { panic!("two") };
    assert_eq!(house.told(two, &["<register hooks='mayTalk' room='R' />"]), Vec::<String>::new());
    let mut a = house.member("A", ROOM);
    let nobody = |house: &mut House, stanza: &str| {
        said(house, &a, stanza);
        assert_eq!(one.borrow_mut().heard(), Vec::<String>::new(), "{stanza}");
        assert_eq!(two.borrow_mut().heard(), Vec::<String>::new(), "{stanza}");
    };
    nobody(&mut house, "<m c='A'>private</m>");
    nobody(&mut house, "<join room='T'/>");
    nobody(&mut house, "<m r='T'>elsewhere</m>");
    a.frames();
    said(&mut house, &a, "<join room='S' password='secret' ticket='1'/>");
    let heard = two.borrow_mut().heard();
    let ask = asked(&heard);
    assert_eq!(
        heard,
        [format!(
            "<ask ask='{ask}' hook='mayJoin' session='0.1' nick='A' address='10.0.0.1' \
             transport='stanzas' room='S' new='1'><join room='S' ticket='1'/></ask>"
        )]
    );
    verdict(&mut house, two, ask, "allowed='0'");
    assert_eq!(a.frames(), ["<error>You may not join room S</error>"]);
    for (first, second, told) in
        [("1", "1", "<m f=\"A\" r=\"R\">both</m>"), ("1", "0", NOT_THAT), ("0", "1", NOT_THAT)]
    {
        said(&mut house, &a, "<msg r='R' back='1'>both</msg>");
        let asks = [question(one), question(two)];
        verdict(&mut house, one, asks[0], &format!("allowed='{first}'"));
        verdict(&mut house, two, asks[1], &format!("allowed='{second}'"));
        assert_eq!(a.frames(), [told], "{first} {second}");
    }
    said(&mut house, &a, "<move r='R'/>");
    assert_eq!(one.borrow_mut().heard(), Vec::<String>::new(), "it watches for others");
    let ask = question(two);
    verdict(&mut house, two, ask, "allowed='1'");
}

#[test]
fn what_a_plugin_says_wrong_about_permissions_is_told() {
    let (mut house, plugins) = house_asking(&["<register hooks='mayTalk' />"]);
    let plugin = &plugins[0];
    let long = "x".repeat(PLUGIN_NAME_BYTES_MAX + 1);
    let names: Vec<String> = (0..=PLUGIN_NAMES_MAX).map(|number| format!("n{number}")).collect();
    for (wrong, error) in [
        (
            format!("<register hooks='mayJoin' room='S' stanzas='{}' />", names.join(" ")),
            "too many names (limit 256)",
        ),
        (
            "<register hooks='onMessage' room='R' />".to_owned(),
            "room and stanzas are for mayJoin and mayTalk",
        ),
        (
            format!("<register hooks='mayJoin' room='{long}' />"),
            "too long a name (limit 128 bytes)",
        ),
    ] {
        assert_eq!(house.told(plugin, &[&wrong]), [format!("<error>{error}</error>")]);
    }
    let mut a = house.member("A", ROOM);
    said(&mut house, &a, "<m r='R'>one</m>");
    let ask = question(plugin);
    let reason = format!("allowed='0' reason='{}'", "x".repeat(REASON_BYTES_MAX + 1));
    let error = format!("<error>too long a reason (limit {REASON_BYTES_MAX} bytes)</error>");
    assert_eq!(verdict(&mut house, plugin, ask, &reason), [error]);
    assert_eq!(a.frames(), [NOT_THAT], "the verdict counts without it");
}

#[test]
fn so_much_is_asked_about_of_one_address_and_the_rest_has_its_turn() {
    let limits = Limits { login_time_s: 0, sessions_per_address_max: 0, ..Limits::default() };
    let mut house = crate::plugins::house_with_limits(&["one"], limits);
    let plugin = house.process(0);
    plugin.borrow_mut().heard();
    house.told(&plugin, &["<register hooks='mayTalk' />"]);
    let mut peers = Vec::new();
    for number in 0..=LOGINS_ASKED_PER_ADDRESS_MAX {
        let mut peer = house.connect_to(0, "192.0.2.7".parse().expect("an address"), ROOM);
        peer.send(&format!("<connect nickname='n{number}'/>"));
        house.settle();
        peer.send(&format!("<m c='n{number}'>hi</m>"));
        house.settle();
        peer.frames();
        peers.push(peer);
    }
    let heard = plugin.borrow_mut().heard();
    assert_eq!(heard.len(), LOGINS_ASKED_PER_ADDRESS_MAX);
    let first = asked(&heard[..1]);
    let heard = verdict(&mut house, &plugin, first, "allowed='1'");
    assert!(heard[0].contains("nick='n64'"), "{heard:?}");
    assert_eq!(peers[0].frames(), ["<m f=\"n0\">hi</m>"]);
    let ask = asked(&heard);
    verdict(&mut house, &plugin, ask, "allowed='1'");
    assert_eq!(peers[64].frames(), ["<m f=\"n64\">hi</m>"]);
}
