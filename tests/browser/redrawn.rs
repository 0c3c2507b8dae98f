//! What is shown changes all the time because of others; what a user is about to click, or works
//! in with the keyboard, stays.

use serde_json::json;

use super::page::Page;
use super::server::Server;
use super::webdriver::{Browser, Driver, Look, key};

/// How many members the measured room has.
const MEMBERS: usize = 2_000;

/// All that goes on elsewhere while a button is pressed: rooms come and go before and behind, are
/// talked in, people come and go, params change, something is complained of.
const TURMOIL: &str = "
    for (let round = 0; round < 20; round += 1) {
        const names = ['a', 'm', 'tea', 'z'].filter((name) => name === 'tea' || round % 3)
            .concat(`room ${round}`);
        scripted.says(
            `<rooms nb='${names.length}'>${names.map((name) => (
                `\\n<room name='${name}' clients='${round}' >\\n</room>`)).join('')}\\n</rooms>`,
            `<m f=\"Bob\" r=\"den\">${round}</m>`,
            `<m f=\"Carl ${round}\">psst</m>`,
            `<client name='Abe ${round}' joined='tea' />`,
            `<clients room='tea' nb='3'>\\n  <client name='New ${round}' />\\n  <client name='Bob' />
                <client name='Ann' >\\n<param name='mood' value='${round}' />\\n  </client>\\n</clients>`,
            `<room name='tea' clients='2' >\\n <param name='p ${round}' value='x' />\\n</room>`,
            `<error>Oh ${round}</error>`,
        );
    }
    return new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));";

fn turmoil(browser: &Browser<'_>) {
    browser.run(TURMOIL, &[]);
}

/// Ann in the rooms tea and den, the first of which is shown; Bob is in both.
fn begin(page: &Page<'_>, server: &Server) {
    page.enter_scripted(&server.page(), "Ann");
    for room in ["den", "tea"] {
        page.join(room);
        page.hears(&format!("<client name='Bob' joined='{room}' />"));
    }
    page.sees_people(&["Ann", "Bob"]);
    page.hears("<rooms nb='1'>\n<room name='tea' clients='2' >\n</room>\n</rooms>");
    page.hears("<m f=\"Carl\">psst</m>");
    page.holds("Carl", "document.querySelector('[data-private=Carl]')");
}

#[test]
fn no_click_is_lost_because_of_what_goes_on_elsewhere() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    begin(&page, &server);
    for (button, shown) in [
        ("#room-tree [data-room=den]", "den"),
        ("#room-tree [data-room=tea]", "tea"),
        ("#roster [data-nick=Bob]", "Private: Bob"),
        ("#private-list [data-private=Carl]", "Private: Carl"),
        ("#room-tree [data-room=tea] .name", "tea"),
    ] {
        page.0.hold(button);
        turmoil(&page.0);
        page.0.let_go();
        page.talks_in(shown);
    }
    // What was held back is shown afterwards.
    page.sees_people(&["Ann", "Bob", "New 19"]);
    page.holds("the newest room", "document.querySelector('[data-room=\"room 19\"]')");
    page.0.hold("#params [aria-label='Edit title']");
    turmoil(&page.0);
    page.0.let_go();
    page.field_holds("param-name", "title");
    // Nor is a complaint that is put away; the next one comes in its place.
    page.hears("<error>First</error>");
    page.shows("#alert p", "First");
    page.0.hold("#alert button");
    page.hears("<error>Second</error>");
    page.0.let_go();
    page.shows("#alert p", "Second");
    page.holds("not the first", "!document.getElementById('alert').textContent.includes('First')");
    page.has_no_complaints();
}

#[test]
fn a_place_in_a_list_is_kept_by_the_keyboard_too() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    begin(&page, &server);
    for button in ["#room-tree [data-room=tea]", "#roster [data-nick=Bob]"] {
        page.0.run("document.querySelector(arguments[0]).focus();", &[json!(button)]);
        turmoil(&page.0);
        let place = "return document.activeElement === document.querySelector(arguments[0]);";
        assert_eq!(page.0.run(place, &[json!(button)]), true, "{button}");
    }
    page.0.press(key::ENTER);
    page.talks_in("Private: Bob");
    // Whoever goes leaves the focus to a neighbour.
    page.0.click("#room-tree [data-room=tea]");
    page.talks_in("tea");
    page.holds("Bob", "document.querySelector('#roster [data-nick=Bob]')");
    page.0.run("document.querySelector('#roster [data-nick=Bob]').focus();", &[]);
    page.hears("<client name='Bob' left='tea' />");
    page.holds("a neighbour", "document.activeElement.matches('#roster [data-nick]')");
}

/// A room of [`MEMBERS`], shown.
fn a_full_room(page: &Page<'_>, server: &Server) {
    page.enter_scripted(&server.page(), "Ann");
    page.0.run(
        "const nicks = Array.from({ length: arguments[0] - 1 }, (_, index) => `member ${index}`);
         globalThis.nicks = ['Ann', ...nicks];
         globalThis.list = (nicks) => `<clients room='hall' nb='${nicks.length}'>${nicks.map((nick) => (
             `\\n  <client name='${nick}' />`)).join('')}\\n</clients>`;
         scripted.room('hall', globalThis.nicks);",
        &[json!(MEMBERS)],
    );
    page.0.wait_for(
        "all members",
        "document.querySelectorAll('#roster li').length === args[0]",
        &[json!(MEMBERS)],
    );
}

#[test]
fn a_change_of_a_long_roster_touches_what_has_changed() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    a_full_room(&page, &server);
    page.0.run(
        "globalThis.changes = [];
         new MutationObserver((records) => changes.push(...records))
             .observe(document.getElementById('roster'), { childList: true, subtree: true,
                 characterData: true, attributes: true });",
        &[],
    );
    for (stanza, people, changes) in [
        ("list(nicks)", 2_000, 0),
        ("\"<client name='Late' joined='hall' />\"", 2_001, 1),
        ("\"<client name='member 700' left='hall' />\"", 2_000, 1),
        ("list(['Early', ...nicks])", 2_001, 3),
        ("list([...nicks, 'Early'])", 2_001, 2),
        (
            "'<clientparam name=\"mood\" value=\"x\" f=\"member 9\" r=\"hall\"></clientparam>'",
            2_001,
            1,
        ),
        ("'<m f=\"member 9\" r=\"hall\">hello</m>'", 2_001, 0),
    ] {
        let found = page.0.run(
            &format!(
                "changes.length = 0;
                 scripted.says({stanza});
                 return new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)))
                     .then(() => [document.querySelectorAll('#roster li').length, changes.length]);"
            ),
            &[],
        );
        assert_eq!(found, json!([people, changes]), "{stanza}");
    }
}

/// Prints what a change of a roster of [`MEMBERS`] takes, from the stanza to the layout:
/// `cargo test --test browser roster -- --nocapture`.
#[test]
fn what_a_change_of_a_long_roster_takes() {
    let (driver, server) = (Driver::start(), Server::start());
    let page = Page(driver.open(Look::default()));
    a_full_room(&page, &server);
    let script = "
        const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
        const real = requestAnimationFrame.bind(globalThis);
        return (async () => {
            const took = [];
            for (let round = 0; round < 60; round += 1) {
                await frame();
                const drawn = [];
                globalThis.requestAnimationFrame = (draw) => drawn.push(draw);
                const begun = performance.now();
                scripted.says(arguments[0] ? list(nicks.slice(round))
                    : `<client name='${nicks[round + 900]}' left='hall' />`);
                for (const draw of drawn) draw();
                document.getElementById('roster').getBoundingClientRect();
                took.push(performance.now() - begun);
                globalThis.requestAnimationFrame = real;
            }
            took.sort((one, other) => one - other);
            return [took[30], took[57], took[59]].map((time) => time.toFixed(1)).join(' ');
        })();";
    for (what, whole) in [("one line", false), ("the whole list", true)] {
        let took = page.0.run(script, &[json!(whole)]);
        println!("{MEMBERS} members, {what}: median, p95, longest in ms: {took}");
    }
}
