//! What is typed is not lost, does not go astray, and is not shown as said before it is.

use serde_json::json;

use super::page::Page;
use super::server::Server;
use super::webdriver::{Driver, Look, key};

/// A line of the log that is shown, with what became of it.
const LINES: &str = "[...document.querySelectorAll('.log:not([hidden]) p')]
    .map((line) => `${line.querySelector('.said').textContent}|${
        line.querySelector('.fate')?.firstChild.data ?? ''}`)";

/// Waits until a line is shown, and stands so with the server.
fn stands(page: &Page<'_>, line: &str, fate: &str) {
    page.0.wait_for(
        "the line and its fate",
        &format!("({LINES}).includes(args[0])"),
        &[json!(format!("{line}|{fate}"))],
    );
}

/// So many lines with this text are in the log that is shown.
fn count(page: &Page<'_>, text: &str) -> usize {
    let lines = page.0.run(
        &format!("return ({LINES}).filter((line) => line.includes(arguments[0])).length;"),
        &[json!(text)],
    );
    usize::try_from(lines.as_u64().expect("a count")).expect("a small one")
}

#[test]
fn every_room_has_a_draft_of_its_own() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    page.enter(&server.page(), "Ann");
    let mut bob = server.raw("Bob");
    page.join("a");
    page.0.type_into("#text", "for a");
    page.0.type_into("#param-name", "cups");
    page.0.type_into("#param-value", "3");
    page.0.type_into("#child-name", "below a");
    page.join("b");
    for field in ["text", "param-name", "param-value", "child-name"] {
        assert_eq!(page.field(field), "", "{field}");
    }
    page.0.type_into("#text", "for b");
    bob.send("<m toclient=\"Ann\">psst</m>");
    page.holds("Bob", "document.querySelector('[data-private=Bob]')");
    page.0.click("[data-private=Bob]");
    assert_eq!(page.field("text"), "");
    page.0.click("#room-tree [data-room=a]");
    page.talks_in("a");
    for (field, text) in
        [("text", "for a"), ("param-name", "cups"), ("param-value", "3"), ("child-name", "below a")]
    {
        assert_eq!(page.field(field), text, "{field}");
    }
    page.0.press(key::ENTER);
    page.reads("Ann for a");
    page.0.click("#room-tree [data-room=b]");
    assert_eq!(page.field("text"), "for b");
    // Drafts outlive the connection.
    let mut server = server;
    server.stop();
    page.is("waiting");
    server.start_again();
    page.is("online");
    page.talks_in("b");
    assert_eq!(page.field("text"), "for b");
    page.has_no_complaints();
}

#[test]
fn whoever_types_is_not_taken_elsewhere_by_a_late_answer() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    page.enter_scripted(&server.page(), "Ann");
    page.join("a");
    page.0.run("scripted.mute = true;", &[]);
    page.0.type_into("#join-name", &["b", key::ENTER].concat());
    page.0.type_into("#text", "for a");
    page.0.run("scripted.mute = false; scripted.room('b', ['Ann']);", &[]);
    page.hears("<pong />");
    page.holds("the room", "document.querySelector('#room-tree .inside[data-room=b]')");
    page.field_holds("join-name", "");
    page.talks_in("a");
    assert_eq!(page.field("text"), "for a");
    // Nor by being shown the door.
    page.hears("<leaved room='a' />");
    page.reads("You are no longer in this room.");
    page.0.press(key::ENTER);
    page.shows("#alert p", "You are not in a: nobody would hear this.");
    assert_eq!(page.field("text"), "for a");
    page.has_no_complaints();
}

#[test]
fn what_is_not_confirmed_stays_visible_and_can_be_sent_again() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    page.enter_scripted(&server.page(), "Ann");
    page.join("tea");
    page.0.run("scripted.mute = true;", &[]);
    page.say("one");
    stands(&page, "Ann one", "sending …");
    page.hears("<m f=\"Bob\" r=\"tea\">in between</m>");
    page.hears("<m f=\"Ann\" r=\"tea\">one</m>");
    stands(&page, "Ann one", "");
    // It stands where everybody has it.
    let last = page.0.run(&format!("return ({LINES}).at(-1);"), &[]);
    assert_eq!(last, "Ann one|");
    page.hears("<pong />");
    page.say("two");
    page.hears("<error>Room tea is moderated</error>");
    page.hears("<pong />");
    stands(&page, "Ann two", "not sent: Room tea is moderated");
    page.say("three");
    page.0.run("scripted.ends(1006);", &[]);
    stands(&page, "Ann three", "not confirmed: the connection was closed");
    page.0.run("scripted.mute = false;", &[]);
    page.is("online");
    page.talks_in("tea");
    assert_eq!(count(&page, "Ann three"), 1, "it is not sent again by itself");
    for text in ["Ann three", "Ann two"] {
        page.0.run(
            "[...document.querySelectorAll('.failed')].find((line) => line.textContent.includes(arguments[0]))
                ?.querySelector('.fate button').click();",
            &[json!(text)],
        );
        stands(&page, text, "");
        assert_eq!(count(&page, text), 1, "{text}");
    }
    page.0.run("scripted.mute = true;", &[]);
    page.say("four");
    page.hears("<error>Oh</error>");
    page.hears("<pong />");
    stands(&page, "Ann four", "not sent: Oh");
    page.0.click(".failed .fate button:last-child");
    assert_eq!(count(&page, "Ann four"), 0, "what was put away");
    page.has_no_complaints();
}

#[test]
fn what_is_typed_before_the_rooms_are_there_again_waits_for_them() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    page.enter_scripted(&server.page(), "Ann");
    page.join("tea");
    page.0.run("scripted.ends(1006);", &[]);
    page.is("waiting");
    // The login is answered, the rooms are not.
    page.0.run(
        "scripted.mute = true;
         document.getElementById('retry').click();
         return new Promise((resolve) => setTimeout(resolve)).then(() => {
             scripted.says(\"<connect isok='1' msg='Your nickname is now : Ann'/>\");
         });",
        &[],
    );
    page.is("online");
    page.say("early");
    stands(&page, "Ann early", "sending …");
    page.0.run("scripted.mute = false; scripted.room('tea', ['Ann']);", &[]);
    page.hears("<pong />");
    stands(&page, "Ann early", "");
    page.has_no_complaints();
}

#[test]
fn whoever_is_thrown_out_finds_what_was_said_and_nobody_else_does() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    page.enter_scripted(&server.page(), "Ann");
    page.join("tea");
    page.say("heard");
    stands(&page, "Ann heard", "");
    page.0.run("scripted.mute = true;", &[]);
    page.say("unheard");
    page.0.type_into("#text", "half of a");
    page.hears("<error>You have been kicked from the server by an administrator</error>");
    page.0.run("scripted.ends(1008); scripted.mute = false;", &[]);
    page.is("closed");
    page.shows("#alert p", "You have been kicked from the server by an administrator");
    let fate = "not confirmed: You have been kicked from the server by an administrator";
    page.0.press(key::ENTER);
    page.is("online");
    stands(&page, "Ann heard", "");
    stands(&page, "Ann unheard", fate);
    assert_eq!(page.field("text"), "half of a");
    page.holds("no complaint", "!document.getElementById('alert').firstChild");
    page.0.run("scripted.ends(1000);", &[]);
    page.is("closed");
    page.0.type_into("#nick", &["e", key::ENTER].concat());
    page.is("online");
    page.holds("nothing of Ann's", "!document.querySelector('.log')");
    assert_eq!(page.field("text"), "");
    page.has_no_complaints();
}

#[test]
fn a_private_message_is_shown_as_sent_when_the_server_has_handled_it() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    page.enter(&server.page(), "Ann");
    let mut bob = server.raw_in("Bob", "tea");
    page.join("tea");
    page.turn_to("Bob");
    page.say("psst");
    bob.hears("<m f=\"Ann\">psst</m>");
    stands(&page, "Ann psst", "");
    drop(bob);
    page.shows("#room-tree [data-room=tea] .count", "1");
    page.say("still there?");
    stands(&page, "Ann still there?", "not sent: No user connected with nickname: Bob");
    let mut bob = server.raw("bob");
    page.0.click(".failed .fate button");
    stands(&page, "Ann still there?", "");
    bob.hears("still there?");
    // It is one conversation, however the nick is written.
    bob.send("<m toclient=\"Ann\">yes</m>");
    page.reads("bob yes");
    // And one's own words come but once.
    page.0.click("#room-tree [data-room=tea]");
    page.turn_to("Ann");
    page.say("note");
    stands(&page, "Ann note", "");
    assert_eq!(count(&page, "note"), 1);
    page.has_no_complaints();
}

#[test]
fn what_is_too_long_stays_where_it_was_typed() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    page.enter(&server.page(), "Ann");
    page.join("tea");
    page.0.run("document.getElementById('text').value = '€'.repeat(22000);", &[]);
    page.0.click("#send");
    page.holds(
        "the complaint",
        "document.querySelector('#alert p').textContent.startsWith('too long')",
    );
    assert_eq!(page.field("text").chars().count(), 22_000);
    assert_eq!(count(&page, "€"), 0);
    page.is("online");
    page.0.run("document.getElementById('text').value = '€'.repeat(21000);", &[]);
    page.0.click("#send");
    page.holds(
        "the line",
        "document.querySelector('.log:not([hidden])').textContent.includes('€')",
    );
    page.holds("no complaint any more", "!document.getElementById('alert').firstChild");
    page.has_no_complaints();
}

#[test]
fn a_slash_begins_a_command_and_never_what_everybody_reads() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    page.enter(&server.page(), "Ann");
    let (mut bob, mut lee) = (server.raw_in("Bob", "tea"), server.raw("Ann Lee"));
    // Commands need no room.
    page.say("/join tea");
    page.talks_in("tea");
    for typed in ["/msg Bob secret", " /msg \"Ann Lee\"  for  you "] {
        page.say(typed);
        page.0.click("#room-tree [data-room=tea]");
        page.talks_in("tea");
    }
    bob.hears("<m f=\"Ann\">secret</m>");
    lee.hears("<m f=\"Ann\">for  you</m>");
    complains_of_what_is_no_command(&page);
    assert_eq!(page.field("text"), "/nick Bob", "what was not done stays to be mended");
    page.0.run("document.getElementById('text').value = '';", &[]);
    complains_of_what_looks_like_a_slash(&page);
    page.say("//dance");
    page.reads("Ann /dance");
    // The room has heard this and nothing else.
    bob.send("<ping />");
    let heard = bob.hears("<m f=\"Ann\" r=\"tea\">");
    assert_eq!(heard, "<m f=\"Ann\" r=\"tea\">/dance</m>");
    page.say("/help");
    page.reads("/msg N text");
    page.say("/join \"a b\"");
    page.talks_in("a b");
    page.say("/say tea over there");
    page.talks_in("tea");
    bob.hears("over there");
    page.say("/leave \"a b\"");
    page.holds("no such room", "!document.querySelector('[data-room=\"a b\"]')");
    page.say("/leave");
    page.shows("#talk-title", "Private: Ann Lee");
    page.say("/quit");
    page.is("closed");
    page.has_no_complaints();
}

fn complains_of_what_is_no_command(page: &Page<'_>) {
    for (typed, complaint) in [
        (
            "/dance",
            "/dance: no such command, see /help; a text that begins with a slash is sent with two",
        ),
        (
            "/MSG Bob secret",
            "/MSG: no such command, see /help; a text that begins with a slash is sent with two",
        ),
        (
            "/ msg Bob secret",
            "/: no such command, see /help; a text that begins with a slash is sent with two",
        ),
        (
            "／𝐦sg Bob secret",
            "This looks like a command and begins with U+FF0F, so it was not sent: type it anew.",
        ),
        ("/msg Bob", "/msg N text: a nick or the text is missing"),
        ("/msg \"Bob secret", "/msg N text: a nick or the text is missing"),
        ("/msg \"Bob\"secret", "/msg N text: a nick or the text is missing"),
        ("/msg \"Bob\\\" secret", "/msg N text: a nick or the text is missing"),
        ("/msg \"\" secret", "/msg N text: a nick or the text is missing"),
        (r#"/say "a\"b\c" secret"#, r#"/say: you are not in the room a"b\c"#),
        ("/say nowhere secret", "/say: you are not in the room nowhere"),
        ("/join", "/join R: a room is missing"),
        ("/join tea ", ""),
        ("/leave nowhere", "Not a known room"),
        ("/nick Bob", "You are Ann. To be somebody else, leave the server first."),
    ] {
        page.0.run("document.getElementById('text').value = '';", &[]);
        page.say(typed);
        if !complaint.is_empty() {
            page.shows("#alert p", complaint);
        }
    }
}

fn complains_of_what_looks_like_a_slash(page: &Page<'_>) {
    for (typed, code) in [
        ("\u{200b}/msg Bob secret", "U+200B"),
        (" \u{2060}/msg Bob secret", "U+2060"),
        ("\u{3164}\u{fe0f}/msg Bob secret", "U+3164"),
        ("\u{ff0f}msg Bob secret", "U+FF0F"),
        ("\u{ff0f}\u{200b}\u{ff4d}sg Bob secret", "U+FF0F"),
        ("\u{2044}msg Bob secret", "U+2044"),
    ] {
        page.say(typed);
        let wanted = format!(
            "This looks like a command and begins with {code}, so it was not sent: type it anew."
        );
        page.shows("#alert p", &wanted);
        page.field_holds("text", typed);
        page.0.run("document.getElementById('text').value = '';", &[]);
    }
}

#[test]
fn a_log_follows_what_is_said_and_shows_ones_own_words() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    page.enter_scripted(&server.page(), "Ann");
    page.join("tea");
    let chatter = "for (let line = 0; line < 100; line += 1) scripted.says(`<m f=\"Bob\" r=\"tea\">${line}</m>`);";
    page.0.run(chatter, &[]);
    let below = || {
        let frames = "return new Promise((resolve) => {
            requestAnimationFrame(() => requestAnimationFrame(() => {
                const log = document.querySelector('.log:not([hidden])');
                resolve(log.scrollHeight - log.scrollTop - log.clientHeight);
            }));
        });";
        page.0.run(frames, &[]).as_f64().expect("a distance")
    };
    assert!(below() < 2.0, "it is at its end");
    // The box shrinks: the stanzas are shown, the window gets smaller, the text longer.
    page.0.click("#raw-toggle");
    assert!(below() < 2.0, "above the stanzas");
    page.0.resize((1280, 500));
    assert!(below() < 2.0, "in a small window");
    page.0.run("document.getElementById('text').value = 'a\\nb\\nc\\nd';", &[]);
    assert!(below() < 2.0, "above a long text");
    page.0.resize((360, 640));
    assert!(below() < 2.0, "on a phone");
    page.0.click("#panes [data-pane=rooms]");
    page.0.run(chatter, &[]);
    page.0.click("#panes [data-pane=talk]");
    assert!(below() < 2.0, "after another pane");
    // Whoever reads further up is left alone.
    page.0.run("document.querySelector('.log:not([hidden])').scrollTop = 300;", &[]);
    assert!(below() > 500.0, "further up");
    page.0.run(chatter, &[]);
    page.0.resize((360, 600));
    assert!(below() > 500.0, "further up still");
    page.0.run("document.getElementById('text').value = '';", &[]);
    page.say("here");
    assert!(below() < 2.0, "at one's own words");
    page.has_no_complaints();
}

#[test]
fn a_complaint_outlives_the_connection_and_a_list_that_is_too_long_is_not_empty() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    page.enter_scripted(&server.page(), "Ann");
    page.holds("no room", "!document.getElementById('no-rooms').hidden");
    page.shows("#no-rooms", "There are no rooms yet. Make the first one.");
    page.0.run("scripted.rooms = '<error>Answer too large (limit 262144 bytes)</error>';", &[]);
    page.0.click("#refresh");
    page.shows(
        "#no-rooms",
        "There are more rooms than the server can list. Type the name of the one you look for.",
    );
    page.hears("<error>You must be an operator of this room</error>");
    page.shows("#alert p", "You must be an operator of this room");
    page.0.run("scripted.ends(1006);", &[]);
    page.is("waiting");
    page.is("online");
    page.shows("#alert p", "You must be an operator of this room");
    page.has_no_complaints();
}

#[test]
fn a_plugin_speaks_without_a_nick() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    page.enter_scripted(&server.page(), "Ann");
    page.hears("<m>Good morning</m>");
    page.shows("#alert p", "The server: Good morning");
    page.join("tea");
    page.hears("<m>Welcome</m>");
    page.reads("The server: Welcome");
    page.hears("<m r=\"tea\">To all</m>");
    page.reads("The server: To all");
    page.hears("<hello>Hello</hello>");
    page.reads("The server sent <hello>Hello</hello>");
    // What names a room that one is not in was said to oneself alone.
    page.hears("<m r=\"den\" f=\"Bob\">psst</m>");
    page.holds("Bob", "document.querySelector('[data-private=Bob]')");
    page.holds("no room", "!document.querySelector('[data-room=den]')");
    page.has_no_complaints();
}

#[test]
fn names_cannot_turn_what_stands_around_them() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    page.enter_scripted(&server.page(), "Ann");
    page.join("tea");
    let evil = "a\u{202e}b\u{2066}c";
    let shown = "a\\u{202e}b\\u{2066}c";
    page.hears(&format!("<client name='{evil}' joined='tea' />"));
    page.reads(&format!("{shown} joined."));
    page.shows("#roster li:last-child button", shown);
    page.hears(&format!("<m f=\"{evil}\" r=\"tea\">text \u{202e}turned</m>"));
    page.reads(&format!("{shown} text \u{202e}turned"));
    page.hears(&format!("<rooms nb='1'>\n<room name='{evil}' clients='1' >\n</room>\n</rooms>"));
    page.shows("#room-tree li .name", shown);
    page.holds(
        "names and messages by themselves",
        "['.from > bdi', '.text[dir=auto]', '#roster bdi', '#room-tree bdi', '#talk-title bdi']
            .every((selector) => {
                const element = document.querySelector(selector);
                return element && getComputedStyle(element).unicodeBidi.startsWith('isolate');
            })",
    );
    for id in ["nick", "text", "join-name", "topic"] {
        page.0.wait_for(
            "a direction of its own",
            "document.getElementById(args[0]).dir === 'auto'",
            &[json!(id)],
        );
    }
    page.hears("<m f=\"דוד\" r=\"tea\">שלום</m>");
    page.holds(
        "right to left",
        "getComputedStyle([...document.querySelectorAll('.text')].at(-1)).direction === 'rtl'",
    );
    page.has_no_complaints();
}

#[test]
fn passwords_leave_the_form_and_what_fails_says_why() {
    let (driver, mut server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    page.0.visit(&server.page());
    let fill = "document.getElementById('password').value = 'secret';
        document.getElementById('rootpass').value = arguments[0];
        document.getElementById('login').requestSubmit();";
    page.0.type_into("#nick", "Ann");
    server.stop();
    page.0.run(fill, &[json!(super::ROOT_PASSWORD)]);
    page.is("closed");
    page.holds(
        "why",
        "document.querySelector('#alert p').textContent.startsWith(\"can't connect to ws://\")",
    );
    server.start_again();
    page.0.run(fill, &[json!(super::ROOT_PASSWORD)]);
    page.is("online");
    page.holds("no complaint", "!document.getElementById('alert').firstChild");
    for field in ["password", "rootpass"] {
        assert_eq!(page.field(field), "", "{field}");
    }
    page.0.click("#raw-toggle");
    page.holds(
        "the stanza without it",
        "document.getElementById('raw-log').textContent.includes('rootpass=\"…\"')",
    );
    page.0.click("#quit");
    page.is("closed");
    page.holds("no complaint", "!document.getElementById('alert').firstChild");
    page.has_no_complaints();
}
