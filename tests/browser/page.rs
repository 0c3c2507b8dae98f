//! The chat page as a person uses it: what is typed, clicked and seen.

use serde_json::{Value, json};

use super::webdriver::{Browser, key};

/// Somebody before the page.
pub(crate) struct Page<'driver>(pub(crate) Browser<'driver>);

impl Page<'_> {
    /// Goes to the page and asks for a nick.
    pub(crate) fn ask_for(&self, address: &str, nick: &str) {
        self.0.visit(address);
        self.0.type_into("#nick", nick);
        self.0.click("#login [type=submit]");
    }

    /// Goes to the page and enters under a nick.
    pub(crate) fn enter(&self, address: &str, nick: &str) {
        self.ask_for(address, nick);
        self.is("online");
    }

    /// Joins a room, which is made if need be.
    pub(crate) fn join(&self, room: &str) {
        self.0.type_into("#join-name", &[room, key::ENTER].concat());
        self.talks_in(room);
    }

    /// Waits until the conversation that is shown is this one, and can be talked in.
    pub(crate) fn talks_in(&self, name: &str) {
        self.0.wait_for(
            "the conversation",
            "document.getElementById('talk-title').textContent === args[0]
             && !document.getElementById('text').disabled",
            &[json!(name)],
        );
    }

    /// Opens a private conversation from the list of people.
    pub(crate) fn turn_to(&self, nick: &str) {
        self.0.wait_for("the nick in the list of people", HAS_NICK, &[json!(nick)]);
        self.0.click(&format!("#roster [data-nick='{nick}']"));
        self.talks_in(&format!("Private: {nick}"));
    }

    /// Says something where the talk is.
    pub(crate) fn say(&self, text: &str) {
        self.0.type_into("#text", &[text, key::ENTER].concat());
    }

    /// Waits for a line with this text in the conversation that is shown.
    pub(crate) fn reads(&self, text: &str) {
        self.0.wait_for(
            "the line",
            "[...document.querySelectorAll('.log:not([hidden]) .said')]
                .some((line) => line.textContent.includes(args[0]))",
            &[json!(text)],
        );
    }

    /// Waits until an element shows just this text.
    pub(crate) fn shows(&self, selector: &str, text: &str) {
        self.0.wait_for(
            "the text",
            "document.querySelector(args[0]).textContent === args[1]",
            &[json!(selector), json!(text)],
        );
    }

    /// Waits for a state of the connection, as the page shows it.
    pub(crate) fn is(&self, state: &str) {
        self.0.wait_for(
            "the state",
            "document.getElementById('state').dataset.state === args[0]",
            &[json!(state)],
        );
    }

    /// Waits until all of these, and nobody else, are in the list of people.
    pub(crate) fn sees_people(&self, nicks: &[&str]) {
        self.0.wait_for(
            "the people",
            "[...document.querySelectorAll('#roster [data-nick]')]
                .map((button) => button.dataset.nick).sort().join() === [...args[0]].sort().join()",
            &[json!(nicks)],
        );
    }

    /// Goes to the page, whose server is from here on [`SCRIPTED`], and enters under a nick.
    pub(crate) fn enter_scripted(&self, address: &str, nick: &str) {
        self.0.visit(address);
        self.0.run(SCRIPTED, &[]);
        self.0.type_into("#nick", &[nick, key::ENTER].concat());
        self.is("online");
    }

    /// Has the scripted server say something.
    pub(crate) fn hears(&self, stanza: &str) {
        self.0.run("scripted.says(arguments[0]);", &[json!(stanza)]);
    }

    /// What stands in a field.
    pub(crate) fn field(&self, id: &str) -> String {
        let value = self.0.run("return document.getElementById(arguments[0]).value;", &[json!(id)]);
        value.as_str().expect("a field has a text").to_owned()
    }

    /// Waits until a field holds just this text.
    pub(crate) fn field_holds(&self, id: &str, text: &str) {
        self.0.wait_for(
            "the field",
            "document.getElementById(args[0]).value === args[1]",
            &[json!(id), json!(text)],
        );
    }

    /// Waits for what is the truth about the page, an expression in it.
    pub(crate) fn holds(&self, what: &str, expression: &str) -> Value {
        self.0.wait_for(what, expression, &[])
    }

    /// Nothing stands on the console, which is where the browser complains about a page, but that
    /// connections failed while there was no server.
    pub(crate) fn has_no_complaints(&self) {
        let mut lines = self.0.console();
        lines.retain(|line| !line.contains("WebSocket connection to"));
        assert!(lines.is_empty(), "{lines:#?}");
    }
}

/// A server inside the page, which a test has say what it likes.
const SCRIPTED: &str = include_str!("scripted.js");

const HAS_NICK: &str = "[...document.querySelectorAll('#roster [data-nick]')]
    .some((button) => button.dataset.nick === args[0])";
