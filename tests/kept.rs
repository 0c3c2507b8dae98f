//! What outlives the process, in the hub: rooms that are kept and the server's bans are there again
//! when a store gives them back, and behave as before.

#[expect(dead_code, reason = "transcripts are run by other tests")]
mod support;

use std::collections::BTreeMap;
use std::net::IpAddr;

use support::checker::{Driver as _, HeardByClient};
use support::format::{Act, Setting};
use support::hub_driver::HubDriver;

use palabre::hub::Verdict;

fn server(settings: &[(&str, &str)]) -> HubDriver {
    let settings: Vec<Setting> =
        settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    HubDriver::new(&settings).expect("settings")
}

fn open(client: &str) -> Act {
    Act::Open { client: client.to_owned(), from: None, policy: false }
}

fn open_from(client: &str, from: &str) -> Act {
    let from: IpAddr = from.parse().expect("an address");
    Act::Open { client: client.to_owned(), from: Some(from), policy: false }
}

fn say(client: &str, stanza: &str) -> Act {
    Act::Send { client: client.to_owned(), bytes: format!("{stanza}\0").into_bytes() }
}

/// What a client hears of these acts.
fn heard(server: &mut HubDriver, client: &str, acts: &[Act]) -> String {
    let all: HeardByClient = server.perform(acts, &BTreeMap::new()).expect("acts");
    let stanzas = all.get(client).map(|heard| heard.stanzas.clone()).unwrap_or_default();
    let stanzas: Vec<String> =
        stanzas.into_iter().map(|stanza| String::from_utf8(stanza).expect("text")).collect();
    stanzas.join("\n")
}

fn log_in(server: &mut HubDriver, nick: &str) -> String {
    let connect = format!("<connect nickname=\"{nick}\" caps=\"rooms\" />");
    heard(server, nick, &[open(nick), say(nick, &connect)])
}

/// A login that is proven by a password.
fn prove(server: &mut HubDriver, nick: &str) {
    log_in(server, nick);
    let verdict = Verdict::Allowed { account: true };
    let decided = Act::Verdict { client: nick.to_owned(), verdict };
    let told = heard(server, nick, &[decided]);
    assert!(told.contains("isok='1'"), "{told}");
}

const ASKED: (&str, &str) = ("hub.asklogins", "yes");
const KEEP: (&str, &str) = ("rooms.keep", "operators");

#[test]
fn a_room_that_is_kept_is_there_again_with_all_that_keeps_order_in_it() {
    let mut server = server(&[ASKED, KEEP]);
    prove(&mut server, "Teacher");
    prove(&mut server, "Bob");
    heard(
        &mut server,
        "Teacher",
        &[
            say("Teacher", "<join room=\"Class\" />"),
            say("Bob", "<join room=\"Class\" />"),
            say("Teacher", "<role room=\"Class\" nick=\"Bob\" role=\"voice\" />"),
            say("Teacher", "<setparam room=\"Class\" name=\"topic\" value=\"a &lt; b\" />"),
            say("Teacher", "<ban room=\"Class\" nick=\"Eve\" time=\"600\" reason=\"spam\" />"),
            say("Teacher", "<mute room=\"Class\" nick=\"Tim\" />"),
            say("Teacher", "<mode room=\"Class\" password=\"pw\" moderated=\"1\" keep=\"1\" />"),
        ],
    );
    let modes = heard(&mut server, "Teacher", &[say("Teacher", "<mode room=\"Class\" />")]);
    let bans = heard(&mut server, "Teacher", &[say("Teacher", "<getbans room=\"Class\" />")]);
    let rooms = heard(&mut server, "Teacher", &[say("Teacher", "<getrooms />")]);
    server.restart();
    for nick in ["Eve", "Tim", "Bob", "Teacher"] {
        prove(&mut server, nick);
    }
    let join = |nick: &str| say(nick, "<join room=\"Class\" password=\"pw\" />");
    let told = heard(&mut server, "Eve", &[join("Eve")]);
    assert_eq!(told, "<error>You are banned from room Class</error>");
    let told = heard(&mut server, "Tim", &[say("Tim", "<join room=\"Class\" />")]);
    assert_eq!(told, "<error>Wrong password for room Class</error>");
    let told = heard(&mut server, "Bob", &[join("Bob")]);
    assert!(told.contains("<client name='Bob' role='voice' />"), "{told}");
    let told = heard(&mut server, "Teacher", &[say("Teacher", "<join room=\"Class\" />")]);
    assert!(told.contains("<client name='Teacher' role='operator' />"), "{told}");
    let say_so = |stanza: &str| [say("Teacher", stanza)];
    assert_eq!(heard(&mut server, "Teacher", &say_so("<mode room=\"Class\" />")), modes);
    assert_eq!(heard(&mut server, "Teacher", &say_so("<getbans room=\"Class\" />")), bans);
    assert_eq!(heard(&mut server, "Teacher", &say_so("<getrooms />")), rooms);
    heard(&mut server, "Tim", &[join("Tim")]);
    let told = heard(&mut server, "Tim", &[say("Tim", "<msg toroom=\"Class\">hi</msg>")]);
    assert_eq!(told, "<error>You are muted in room Class</error>");
}

#[test]
fn a_room_that_is_not_kept_any_more_is_gone() {
    let mut server = server(&[KEEP]);
    log_in(&mut server, "Ann");
    let keep = |keep: &str| say("Ann", &format!("<mode room=\"R\" keep=\"{keep}\" />"));
    heard(&mut server, "Ann", &[say("Ann", "<join room=\"R\" />"), keep("1")]);
    heard(&mut server, "Ann", &[keep("0")]);
    server.restart();
    log_in(&mut server, "Ann");
    let told = heard(&mut server, "Ann", &[say("Ann", "<getrooms />")]);
    assert_eq!(told, "<rooms nb='0'>\n</rooms>");
}

#[test]
fn rooms_stand_where_they_were_and_in_their_order() {
    let mut server = server(&[KEEP]);
    log_in(&mut server, "Ann");
    let keep = |room: &str| say("Ann", &format!("<mode room=\"{room}\" keep=\"1\" />"));
    let acts = [
        say("Ann", "<join room=\"Zoo\" />"),
        say("Ann", "<addchild parentroom=\"Zoo\" childroom=\"Apes\" />"),
        say("Ann", "<join room=\"Park\" />"),
        keep("Apes"),
        keep("Park"),
        keep("Zoo"),
        say("Ann", "<leave room=\"Apes\" />"),
        say("Ann", "<leave room=\"Park\" />"),
        say("Ann", "<leave room=\"Zoo\" />"),
    ];
    heard(&mut server, "Ann", &acts);
    let rooms = heard(&mut server, "Ann", &[say("Ann", "<getrooms />")]);
    server.restart();
    log_in(&mut server, "Ann");
    assert_eq!(heard(&mut server, "Ann", &[say("Ann", "<getrooms />")]), rooms);
    let told = heard(&mut server, "Ann", &[say("Ann", "<join room=\"Zoo\" />")]);
    let apes = "<childrooms name='Zoo'><room name='Apes' clients='0' parent='Zoo' >";
    assert!(told.contains(apes), "{told}");
}

#[test]
fn bans_and_mutes_of_the_server_hold_after_a_restart_until_they_are_over() {
    let mut server = server(&[("admin.password", "secret")]);
    let root = say("Ann", "<connect nickname=\"Ann\" rootpass=\"secret\" />");
    heard(&mut server, "Ann", &[open("Ann"), root]);
    let acts = [
        say("Ann", "<ban nick=\"Eve\" time=\"60\" reason=\"spam\" />"),
        say("Ann", "<ban address=\"192.0.2.0/24\" />"),
        say("Ann", "<mute nick=\"Tim\" />"),
        say("Ann", "<ban nick=\"Sue\" />"),
        say("Ann", "<unban nick=\"Sue\" />"),
    ];
    let told = heard(&mut server, "Ann", &acts);
    assert!(!told.contains("error"), "{told}");
    server.restart();
    let told = log_in(&mut server, "Eve");
    assert!(told.contains("You are banned until 2026-11-23T22:40:18Z: spam"), "{told}");
    assert!(log_in(&mut server, "Sue").contains("isok='1'"));
    let mut all = server.perform(&[open_from("X", "192.0.2.9")], &BTreeMap::new()).expect("an act");
    assert!(all.remove("X").expect("a client").closed.is_some(), "its network is banned");
    log_in(&mut server, "Tim");
    let told = heard(&mut server, "Tim", &[say("Tim", "<msg toclient=\"Sue\">hi</msg>")]);
    assert_eq!(told, "<error>You are muted</error>");
    heard(&mut server, "Sue", &[Act::Wait(std::time::Duration::from_secs(61))]);
    server.restart();
    assert!(log_in(&mut server, "Eve").contains("isok='1'"), "it is over");
}
