//! The page and its library in a real Chromium, with the built server behind them. Needs Chromium
//! and its driver, so it runs only when it is named: `cargo test --test browser`.

#[path = "support/built.rs"]
mod built;
#[path = "support/manual.rs"]
mod manual;
#[path = "browser/movie.rs"]
mod movie;
#[path = "browser/page.rs"]
mod page;
#[path = "browser/redrawn.rs"]
mod redrawn;
#[path = "browser/ruffle.rs"]
mod ruffle;
#[path = "browser/server.rs"]
mod server;
#[path = "browser/talk.rs"]
mod talk;
#[path = "browser/webdriver.rs"]
mod webdriver;

use page::Page;
use serde_json::json;
use server::{ROOT_PASSWORD, Raw, Server};
use webdriver::{Driver, Look, key};

const PHONE: Look = Look { size: (360, 640), dark: true };

#[test]
fn the_driver_types_clicks_waits_and_hears_the_console() {
    let driver = Driver::start();
    let browser = driver.open(PHONE);
    browser.visit(
        "data:text/html,<label>Name <input id=nick></label><button id=go>Go</button><p id=said>",
    );
    browser.run("go.onclick = () => setTimeout(() => { said.textContent = nick.value; });", &[]);
    browser.type_into("#nick", "Ann");
    browser.click("#go");
    let said = browser.wait_for("the answer", "said.textContent", &[]);
    assert_eq!(said, "Ann");
    browser.run("nick.focus();", &[]);
    browser.press(key::TAB);
    assert_eq!(browser.run("return document.activeElement.id;", &[]), "go");
    assert_eq!(browser.run("return innerWidth;", &[]), 360);
    let dark = browser.run("return matchMedia('(prefers-color-scheme: dark)').matches;", &[]);
    assert_eq!(dark, true);
    browser.run("console.error('oh', args = arguments[0]);", &[json!(1)]);
    assert!(browser.console().iter().any(|line| line.contains("oh")), "the console is heard");
    assert!(browser.screenshot().starts_with("iVBOR"), "a PNG in base64");
}

#[test]
fn two_browsers_and_a_raw_client_talk() {
    let (driver, server) = (Driver::start(), Server::start());
    let ann = Page(driver.open(Look::default()));
    let bob = Page(driver.open(Look { dark: true, ..Look::default() }));
    ann.enter(&server.page(), "Ann");
    ann.join("tea");
    bob.enter(&server.page(), "Bob");
    // Who made the room is known to be its operator, and only to itself.
    ann.holds("the mark", "document.querySelector('#roster li').innerText.includes('operator')");
    bob.holds("the room", "document.querySelector('#room-tree [data-room=tea]')");
    bob.0.click("#room-tree [data-room=tea]");
    bob.talks_in("tea");
    ann.reads("Bob joined.");
    let mut carl = server.raw_in("Carl", "tea");
    for page in [&ann, &bob] {
        page.sees_people(&["Ann", "Bob", "Carl"]);
    }
    bob.holds("no right", "document.getElementById('setparam').hidden");

    ann.say("Sugar & <b>milk</b>?");
    carl.hears("<m f=\"Ann\" r=\"tea\">Sugar &amp; &lt;b&gt;milk&lt;/b&gt;?</m>");
    for page in [&ann, &bob] {
        page.reads("Ann Sugar & <b>milk</b>?");
    }
    carl.send("<m toroom=\"tea\">Hello <b>all</b></m>");
    carl.send("<pour toroom=\"tea\" cup=\"2\" />");
    for page in [&ann, &bob] {
        page.reads("Carl Hello all");
        page.reads("Carl sent <pour cup=\"2\" f=\"Carl\" r=\"tea\"></pour>");
    }

    bob.turn_to("Ann");
    bob.say("Psst");
    bob.reads("Bob Psst");
    ann.holds("a private message", "document.querySelector('#private-list .unread')");
    ann.0.click("#private-list [data-private=Bob]");
    ann.reads("Bob Psst");
    ann.say("Yes?");
    bob.reads("Ann Yes?");
    carl.send("<m toclient=\"Bob\">Me too</m>");
    bob.0.wait_for("Carl", "document.querySelector('[data-private=Carl]')", &[]);
    bob.0.click("#room-tree [data-room=tea]");
    ann.0.click("#room-tree [data-room=tea]");

    change_params_and_rooms(&ann, &bob, &mut carl);

    ann.0.click("#raw-toggle");
    ann.0.type_into("#raw-xml", &["<nonsense />", key::ENTER].concat());
    ann.shows("#raw-log li:last-child", "in<error>Not a known node</error>");
    ann.shows("#alert p", "Not a known node");
    ann.0.click("#quit");
    ann.is("closed");
    bob.reads("Ann left.");
    for page in [&ann, &bob] {
        page.has_no_complaints();
    }
}

/// Ann changes params of the room and opens it to all; Bob changes params, too, and Carl his own.
/// Then Ann makes a child room and leaves it.
fn change_params_and_rooms(ann: &Page<'_>, bob: &Page<'_>, carl: &mut Raw) {
    ann.0.click("#params [aria-label='Edit title']");
    ann.0.type_into("#param-value", &["Tea at five", key::ENTER].concat());
    for page in [ann, bob] {
        page.shows("#topic", "Tea at five");
        page.reads("The title is now: Tea at five");
    }
    ann.0.click("#params [aria-label^='Open to all']");
    bob.holds("the right", "!document.getElementById('setparam').hidden");
    bob.0.type_into("#param-name", "cups");
    bob.0.type_into("#param-value", &["3", key::ENTER].concat());
    ann.shows("#params [data-param=cups] dd", "3");
    ann.0.click("#params [aria-label='Remove cups']");
    bob.holds("no cups", "!document.querySelector('[data-param=cups]')");
    carl.send("<clientparam name=\"mood\" value=\"grumpy\" />");
    bob.shows("#roster li:last-child .of", "mood: grumpy");

    ann.0.type_into("#child-name", &["biscuits", key::ENTER].concat());
    ann.talks_in("biscuits");
    bob.holds("the child room", "document.querySelector('#room-tree ul [data-room=biscuits]')");
    ann.0.click("#leave");
    bob.holds("no child room", "!document.querySelector('[data-room=biscuits]')");
}

#[test]
fn browsers_come_back_to_a_server_that_was_stopped_or_killed() {
    let (driver, mut server) = (Driver::start(), Server::start());
    let ann = Page(driver.open(Look::default()));
    let bob = Page(driver.open(PHONE));
    ann.enter(&server.page(), "Ann");
    ann.join("tea");
    ann.0.type_into("#child-name", &["biscuits", key::ENTER].concat());
    ann.talks_in("biscuits");
    ann.0.type_into("#mine-name", "mood");
    ann.0.type_into("#mine-value", &["merry", key::ENTER].concat());
    ann.shows("#mine dd", "merry");
    bob.enter(&server.page(), "Bob");
    bob.join("biscuits");
    for round in 1..=2 {
        if round == 1 {
            server.stop();
        } else {
            server.kill();
        }
        for page in [&ann, &bob] {
            page.is("waiting");
            page.reads("The connection is lost");
            page.holds("no talk", "document.getElementById('text').disabled");
        }
        server.start_again();
        for page in [&ann, &bob] {
            page.is("online");
            page.talks_in("biscuits");
            page.reads("Connected again.");
            page.sees_people(&["Ann", "Bob"]);
        }
        // The child room lies in its parent again, and the params are there again.
        ann.holds("the child", "document.querySelector('#room-tree ul [data-room=biscuits]')");
        bob.holds(
            "the param",
            "document.querySelector('#roster').textContent.includes('mood: merry')",
        );
        ann.say(&format!("Here again, {round}"));
        bob.reads(&format!("Ann Here again, {round}"));
        bob.say(&format!("So am I, {round}"));
        ann.reads(&format!("Bob So am I, {round}"));
    }
    for page in [&ann, &bob] {
        page.has_no_complaints();
    }
}

#[test]
fn a_refused_nick_can_be_chosen_again_and_who_is_kicked_stays_away() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    let mut ann = server.raw("Ann");
    page.ask_for(&server.page(), "Ann");
    page.shows("#alert p", "Nickname empty or already taken");
    page.0.type_into("#nick", &["e", key::ENTER].concat());
    page.is("online");
    page.shows("#state", "online as Anne");
    let password = ROOT_PASSWORD.replace('&', "&amp;").replace('"', "&quot;");
    let mut root = server.raw(&format!("root\" rootpass=\"{password}"));
    root.send("<m broadcast=\"1\">Tea is over</m>");
    page.shows("#alert p", "root to all: Tea is over");
    ann.hears("Tea is over");
    root.send("<rmuser nickName=\"Anne\" />");
    root.hears("Client Anne kicked");
    page.is("closed");
    page.shows("#alert p", "You have been kicked from the server by an administrator");
    page.holds("the welcome", "!document.getElementById('welcome').hidden");
    page.has_no_complaints();
}

#[test]
fn what_others_write_is_text_wherever_it_is_shown() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    let evil = "&lt;img src=x onerror=document.title='had'&gt;&quot;&apos;";
    let shown = "<img src=x onerror=document.title='had'>\"'";
    let mut raw = server.raw(evil);
    raw.send(&format!("<join room=\"{evil}\" />"));
    raw.send(&format!("<setparam room=\"{evil}\" name=\"title\" value=\"{evil}\" />"));
    raw.send(&format!("<setparam room=\"{evil}\" name=\"{evil}\" value=\"{evil}\" />"));
    raw.send(&format!("<clientparam name=\"{evil}\" value=\"{evil}\" />"));
    raw.hears("<clientparam");
    page.enter(&server.page(), "Ann");
    page.join(shown);
    page.shows("#topic", shown);
    page.shows("#roster .of", &format!("{shown}: {shown}"));
    raw.send(&format!("<m toroom=\"{evil}\">{evil}</m>"));
    page.reads(&format!("{shown} {shown}"));
    raw.send(&format!("<m toroom=\"{evil}\"><img xmlns=\"http://www.w3.org/1999/xhtml\" src=\"x\" onerror=\"document.title = 'had'\" /></m>"));
    raw.send(&format!("<m toclient=\"Ann\">{evil}</m>"));
    page.holds("a private message", "document.querySelector('#private-list .unread')");
    page.0.click("#raw-toggle");
    page.0.click("#private-list button");
    page.reads(shown);
    page.holds("no element of theirs", "!document.querySelector('img')");
    // Chromium complains of the handler while it reads the stanza, in a document where nothing
    // would run anyway.
    let mut complaints = page.0.console();
    complaints.retain(|line| !line.contains("Executing inline event handler violates"));
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn the_page_needs_no_mouse_and_fits_a_phone() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look { dark: false, ..PHONE }));
    page.0.visit(&server.page());
    // The nick has the focus; the last tab stop before the button is the summary.
    page.0.press(&["Ann", key::TAB, key::TAB, key::ENTER].concat());
    page.is("online");
    let fits = "document.documentElement.scrollWidth === 360";
    page.holds("no scrolling sideways", fits);
    page.join("a-rather-long-name-of-a-room-that-has-no-place-to-break");
    page.say("https://example.org/a-long-address-without-a-blank-in-it-for-a-line-to-break-at");
    page.reads("https://");
    page.holds("no scrolling sideways", fits);
    // Round the whole page by tabulator: everything that can be used is reached, nothing holds on.
    let mut reached = Vec::new();
    for _ in 0..40 {
        page.0.press(key::TAB);
        let place = page.0.run("return document.activeElement.id;", &[]);
        let place = place.as_str().unwrap_or_default().to_owned();
        if !place.is_empty() && reached.first() == Some(&place) {
            break;
        }
        if !place.is_empty() {
            reached.push(place);
        }
    }
    for id in ["raw-toggle", "quit", "leave", "text", "send"] {
        assert!(reached.iter().any(|reached| reached == id), "{id} is not among {reached:?}");
    }
    for (pane, seen) in [("rooms", "join-name"), ("people", "child-name"), ("talk", "text")] {
        page.0.click(&format!("#panes [data-pane={pane}]"));
        page.0.wait_for(
            "the pane",
            "document.getElementById(args[0]).checkVisibility()",
            &[json!(seen)],
        );
        page.holds("no scrolling sideways", fits);
    }
    page.has_no_complaints();
}

/// What the library promises, driven inside a page; the script throws where it is not kept.
#[test]
fn the_library_keeps_its_promises() {
    let (driver, server) = (Driver::start(), Server::start());
    let browser = driver.open(Look::default());
    browser.visit(&server.page());
    let script = include_str!("browser/library.js");
    let checked = browser.run(script, &[json!(ROOT_PASSWORD)]);
    assert!(checked.as_u64().is_some_and(|checked| checked > 50), "{checked} checks");
    let mut complaints = browser.console();
    // Chromium has a style of its own in what it makes of a text that is no XML.
    complaints.retain(|line| !line.contains("Applying inline style violates"));
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// What the library promises whatever the server and the network do: both are made inside the page,
/// and so is the time.
#[test]
fn the_library_keeps_its_promises_on_bad_lines() {
    let (driver, server) = (Driver::start(), Server::start());
    let browser = driver.open(Look::default());
    browser.visit(&server.page());
    let checked = browser.run(include_str!("browser/library_alone.js"), &[]);
    assert!(checked.as_u64().is_some_and(|checked| checked > 150), "{checked} checks");
}

/// Has a page that is no chat take the library from the server.
fn load_the_library(browser: &webdriver::Browser<'_>, server: &Server) {
    browser.visit(&format!("{}healthz", server.page()));
    let load = "const script = document.createElement('script');
        script.src = '/palabre.js';
        document.head.append(script);";
    browser.run(load, &[]);
    browser.wait_for("the library", "typeof Palabre === 'function'", &[]);
}

#[test]
fn a_connection_that_cannot_be_had_says_so() {
    let (driver, server) = (Driver::start(), Server::start());
    let mut gone = Server::start();
    let dead = gone.page().replace("http", "ws");
    gone.stop();
    let browser = driver.open(Look::default());
    let here = server.page().replace("http", "ws");
    let connect = |address: &str| {
        let script = "const client = new Palabre();
            return client.connect(arguments[0], 'Ann')
                .then(() => client.state, (error) => error instanceof Palabre.Error && error.code);";
        browser.run(script, &[json!(address)])
    };
    // A page of nowhere is refused by its origin before anything is said.
    browser.visit("data:text/html,<p>nowhere");
    browser.run(include_str!("../src/web/palabre.js"), &[]);
    assert_eq!(connect(&here), "unreachable");
    load_the_library(&browser, &server);
    for (address, code) in
        [(&*dead, "unreachable"), ("htp:/nothing", "bad_address"), (&*here, "online")]
    {
        assert_eq!(connect(address), code, "{address}");
    }
}

#[test]
fn a_line_that_is_dead_is_noticed_and_made_again() {
    let (driver, server) = (Driver::start(), Server::start());
    let browser = driver.open(Look::default());
    load_the_library(&browser, &server);
    let script = "globalThis.client = new Palabre({ heartbeat: 200, heartbeatTimeout: 2000 });
        globalThis.lost = [];
        client.on('state', ({ state, cause }) => { if (state === 'waiting') lost.push(cause); });
        client.on('ready', ({ again }) => { globalThis.isBack = again; });
        return client.connect(arguments[0], 'Ann').then(() => client.join('tea')).then(() => client.state);";
    let address = server.page().replace("http", "ws");
    assert_eq!(browser.run(script, &[json!(address)]), "online");
    server.freeze();
    browser.wait_for("the loss", "lost.length > 0", &[]);
    assert_eq!(browser.run("return lost[0];", &[]), "timeout");
    server.thaw();
    browser.wait_for("all that was", "isBack && client.rooms.has('tea')", &[]);
}

/// The README's example, with the server's own address in it, on a page that has the library from
/// the server.
#[test]
fn the_readme_example_says_hello() {
    let example = manual::block("library");
    let (_, example) = example.split_once("<script>\n").expect("a script");
    let (example, _) = example.split_once("</script>").expect("the end of the script");
    let (driver, server) = (Driver::start(), Server::start());
    let mut raw = server.raw_in("Bob", "tea");
    let browser = driver.open(Look::default());
    load_the_library(&browser, &server);
    let address = server.page().replace("http", "ws");
    browser.run(&example.replace("wss://chat.example.org/", &address), &[]);
    raw.hears("<m f=\"Ann\" r=\"tea\">Hello!</m>");
    raw.send("<m toroom=\"tea\">Hello yourself</m>");
    browser.wait_for(
        "the answer",
        "document.body.textContent.includes('Bob: Hello yourself')",
        &[],
    );
}
