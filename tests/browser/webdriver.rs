//! A small client of the W3C WebDriver protocol, for chromedriver.
//!
//! It knows browsers and pages, and nothing of palabre. Whatever fails, panics and says what the
//! driver said. Nothing sleeps: a condition is looked at inside the page until it holds or the
//! patience ends, and then the panic shows what the page showed.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

/// Longer than anything takes that a test waits for in a page, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than that: a driver that answers nothing for so long is dead.
const DRIVER_PATIENCE: Duration = Duration::from_secs(120);

/// More than a picture of a large window has.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// How often a page looks whether a condition holds.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The member that stands for an element, by the specification.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What a browser is told at its start: no window, no sandbox (root has none), no word to
/// anybody outside, and no timers slowed down because nobody looks.
const CHROMIUM_ARGUMENTS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--force-color-profile=srgb",
];

/// A chromedriver of the test's own, which ends with this value.
pub(crate) struct Driver {
    process: Child,
    /// Kept open, so that the driver can go on writing.
    _console: BufReader<ChildStdout>,
    agent: Agent,
    address: String,
}

/// A browser with one window and a profile of its own; it is closed when this is dropped.
pub(crate) struct Browser<'driver> {
    driver: &'driver Driver,
    session: String,
}

/// How a browser is made.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    /// Width and height of the page, in CSS pixels.
    pub(crate) size: (u32, u32),
    /// Whether the user prefers dark pages.
    pub(crate) dark: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { size: (1280, 800), dark: false }
    }
}

impl Driver {
    /// Starts chromedriver on a free port and reads from its console which one it took.
    ///
    /// # Panics
    /// When there is no chromedriver, or it does not say that it has started.
    pub(crate) fn start() -> Self {
        let mut process = Command::new("chromedriver")
            .args(["--port=0", "--log-level=SEVERE"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver starts (Debian: apt-get install chromium chromium-driver)");
        let mut console = BufReader::new(process.stdout.take().expect("a piped output"));
        let port = loop {
            let mut line = String::new();
            let length = console.read_line(&mut line).expect("chromedriver's console is text");
            assert!(length > 0, "chromedriver ended without saying on which port it listens");
            if let Some((_, port)) =
                line.trim_end().split_once(" was started successfully on port ")
            {
                break port.trim_end_matches('.').to_owned();
            }
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(DRIVER_PATIENCE))
            .build()
            .into();
        Self { process, _console: console, agent, address: format!("http://127.0.0.1:{port}") }
    }

    /// Opens a browser.
    pub(crate) fn open(&self, look: Look) -> Browser<'_> {
        let mut arguments: Vec<String> =
            CHROMIUM_ARGUMENTS.iter().map(|&argument| argument.to_owned()).collect();
        if look.dark {
            arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let patience = u64::try_from(PATIENCE.as_millis() * 2).expect("a short time");
        let answer = self.ask(
            "POST",
            "/session",
            &json!({ "capabilities": { "alwaysMatch": {
                "browserName": "chrome",
                "timeouts": { "script": patience, "pageLoad": patience },
                "goog:chromeOptions": { "args": arguments },
                "goog:loggingPrefs": { "browser": "ALL" },
            } } }),
        );
        let session = answer["sessionId"].as_str().expect("a session has an id").to_owned();
        let browser = Browser { driver: self, session };
        browser.resize(look.size);
        browser
    }

    /// One command to the driver; gives the value of its answer.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let address = format!("{}{path}", self.address);
        let response = match method {
            "GET" => self.agent.get(&address).call(),
            "DELETE" => self.agent.delete(&address).call(),
            _ => self.agent.post(&address).send(&body.to_string()),
        };
        // A picture is larger than what a body is held to by default.
        let text = response
            .and_then(|mut response| {
                response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()
            })
            .unwrap_or_else(|error| panic!("chromedriver: {method} {path}: {error}"));
        let mut answer: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("chromedriver: {method} {path}: {error} in {text}"));
        let value = answer["value"].take();
        if let Some(error) = value.get("error") {
            panic!("chromedriver: {method} {path}: {error}: {}", value["message"]);
        }
        value
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have died by itself, which the test has noticed then.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Browser<'_> {
    /// Goes to an address and waits until the page is loaded.
    pub(crate) fn visit(&self, address: &str) {
        self.command("POST", "/url", &json!({ "url": address }));
    }

    /// Makes the page, without the frame around it, `size` CSS pixels wide and high.
    pub(crate) fn resize(&self, size: (u32, u32)) {
        let (width, height) = size;
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        );
    }

    /// Runs the body of a function in the page; `arguments` has what is handed in. Gives what it
    /// returns, a promise's value once it has one.
    pub(crate) fn run(&self, body: &str, arguments: &[Value]) -> Value {
        self.command("POST", "/execute/sync", &json!({ "script": body, "args": arguments }))
    }

    /// Waits until an expression in the page is true, and gives its value. `args` in it is what
    /// is handed in; an expression that throws is not true yet.
    ///
    /// # Panics
    /// When it does not become true; it says `what` and shows the page's text.
    pub(crate) fn wait_for(&self, what: &str, expression: &str, arguments: &[Value]) -> Value {
        let script = format!(
            "const [args, patience, every, done] = arguments;
            const end = performance.now() + patience;
            let error = null;
            (function look() {{
                let value = null;
                try {{ value = ({expression}); error = null; }} catch (thrown) {{ error = thrown; }}
                if (value) done({{ value }});
                else if (performance.now() < end) setTimeout(look, every);
                else done({{
                    thrown: error && String(error),
                    shown: document.body && document.body.innerText,
                }});
            }})();"
        );
        let patience = u64::try_from(PATIENCE.as_millis()).expect("a short time");
        let every = u64::try_from(LOOK_EVERY.as_millis()).expect("a short time");
        let mut answer = self.command(
            "POST",
            "/execute/async",
            &json!({ "script": script, "args": [arguments, patience, every] }),
        );
        assert!(
            answer.get("value").is_some(),
            "waited for {what}: {expression} with {arguments:?}; it threw {}; the page shows {}",
            answer["thrown"],
            answer["shown"].as_str().unwrap_or("nothing"),
        );
        answer["value"].take()
    }

    /// Clicks on the one element that a CSS selector names, as a mouse does: it has to be seen
    /// and nothing may cover it.
    pub(crate) fn click(&self, selector: &str) {
        let path = format!("/element/{}/click", self.find(selector));
        self.command("POST", &path, &json!({}));
    }

    /// Types into the element that a CSS selector names, after what stands there.
    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        let path = format!("/element/{}/value", self.find(selector));
        self.command("POST", &path, &json!({ "text": text }));
    }

    /// Presses keys one after the other, whatever has the focus; see [`key`] for those without a
    /// letter.
    pub(crate) fn press(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        self.command(
            "POST",
            "/actions",
            &json!({ "actions": [{ "type": "key", "id": "keys", "actions": strokes }] }),
        );
    }

    /// Presses the mouse on the one element that a CSS selector names, and holds it.
    pub(crate) fn hold(&self, selector: &str) {
        let element = json!({ ELEMENT: self.find(selector) });
        self.mouse(&json!([
            { "type": "pointerMove", "duration": 0, "origin": element, "x": 0, "y": 0 },
            { "type": "pointerDown", "button": 0 },
        ]));
    }

    /// Lets the mouse go where it is.
    pub(crate) fn let_go(&self) {
        self.mouse(&json!([{ "type": "pointerUp", "button": 0 }]));
    }

    fn mouse(&self, does: &Value) {
        let parameters = json!({ "pointerType": "mouse" });
        self.command(
            "POST",
            "/actions",
            &json!({ "actions": [{
                "type": "pointer", "id": "mouse", "parameters": parameters, "actions": does,
            }] }),
        );
    }

    /// A picture of the window, as a PNG in base64.
    pub(crate) fn screenshot(&self) -> String {
        let picture = self.command("GET", "/screenshot", &Value::Null);
        picture.as_str().expect("a picture is text").to_owned()
    }

    /// What came onto the page's console since this was asked last: the level, where it comes
    /// from and the text, one line each. The browser's own complaints (a violated policy, a
    /// failed request) are among them.
    pub(crate) fn console(&self) -> Vec<String> {
        let lines = self.command("POST", "/se/log", &json!({ "type": "browser" }));
        let lines = lines.as_array().expect("a log is a list");
        let word = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        lines
            .iter()
            .map(|line| ["level", "source", "message"].map(|name| word(line, name)).join(" "))
            .collect()
    }

    /// A command of Chromium's own debugging protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.command("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    fn find(&self, selector: &str) -> String {
        let by = json!({ "using": "css selector", "value": selector });
        let found = self.command("POST", "/element", &by);
        found[ELEMENT].as_str().expect("an element has an id").to_owned()
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.driver.ask(method, &format!("/session/{}{path}", self.session), body)
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        // Straight to the agent: this may run while a panic unwinds, and a second one aborts.
        let address = format!("{}/session/{}", self.driver.address, self.session);
        let _ = self.driver.agent.delete(&address).call();
    }
}

/// Keys without a letter, for [`Browser::press`] and [`Browser::type_into`].
pub(crate) mod key {
    /// The tabulator.
    pub(crate) const TAB: &str = "\u{e004}";
    /// Enter, or return.
    pub(crate) const ENTER: &str = "\u{e007}";
}
