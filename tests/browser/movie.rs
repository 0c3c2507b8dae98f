//! Old Flash movies, assembled: SWF 8 with AVM1 bytecode, as much of it as a chat needs.
//!
//! Tags, actions and their fields are those of Adobe's "SWF File Format Specification",
//! version 19. The machine has a stack: a method's arguments are pushed from the last to the
//! first, then their number, the object and the method's name.

/// The function of the page that a movie tells what happens to it, a word at a time:
/// `connected` or `refused`, `in` the room, all `returned`, `closed`.
pub(crate) const LISTENER: &str = "movieSays";

/// How many stanzas the mouse sends, 50 a second.
pub(crate) const MOVES: i32 = 100;

/// Whom a movie connects to, and as what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'text> {
    /// The first argument of `XMLSocket.connect`; `None` is its `null`, the host that the movie
    /// comes from.
    pub(crate) host: Option<&'text str>,
    /// The second.
    pub(crate) port: u16,
    /// The nick it logs in under.
    pub(crate) nick: &'text str,
    /// The room it joins as soon as it is logged in.
    pub(crate) room: &'text str,
}

/// A movie that says in its room what it hears there, byte for byte, in an `<m echo="1">`.
pub(crate) fn parrot(part: Part<'_>) -> Vec<u8> {
    let mut echo = Code::default();
    // From behind the first tag to before the last one, as it came: an XML object would write
    // the text anew.
    echo.text("</m>");
    echo.text("<").number(1).variable("raw").call("lastIndexOf");
    echo.text(">").number(1).variable("raw").call("indexOf").number(1).action(ADD);
    echo.number(2).variable("raw").call("substring");
    echo.number(2).text(&format!("<m toroom=\"{}\" echo=\"1\">", part.room)).call("concat");
    echo.send();
    movie(part, &Code::default(), &Code::default(), ("m", &echo))
}

/// A movie that sends a `<mouse n="…" />` to its room every 20 ms, [`MOVES`] in all, and wants
/// each back.
pub(crate) fn mouse(part: Part<'_>) -> Vec<u8> {
    let mut start = Code::default();
    start.text("sent").number(0).action(SET_VARIABLE);
    start.text("returned").number(0).action(SET_VARIABLE);

    let mut stop = Code::default();
    stop.variable("timer").number(1).text("clearInterval").action(CALL_FUNCTION).action(POP);
    let mut step = Code::default();
    step.text("sent").variable("sent").number(1).action(ADD).action(SET_VARIABLE);
    step.text("\" />").variable("sent").number(2);
    step.text(&format!("<mouse toroom=\"{}\" back=\"1\" n=\"", part.room)).call("concat");
    step.send();
    step.variable("sent").number(MOVES).action(EQUALS).when(&stop);
    let mut entry = Code::default();
    entry.text("timer").number(20).function(&[], &step);
    entry.number(2).text("setInterval").action(CALL_FUNCTION).action(SET_VARIABLE);

    let mut all = Code::default();
    all.tell("returned");
    let mut count = Code::default();
    count.text("returned").variable("returned").number(1).action(ADD).action(SET_VARIABLE);
    count.variable("returned").number(MOVES).action(EQUALS).when(&all);
    movie(part, &start, &entry, ("mouse", &count))
}

/// What both have in common: log in, join, and run `heard.1` for each stanza named `heard.0`, with
/// its text in the variable `raw`.
fn movie(part: Part<'_>, start: &Code, entry: &Code, heard: (&str, &Code)) -> Vec<u8> {
    let mut logged_in = Code::default();
    logged_in.text(&format!("<join room=\"{}\" />", part.room)).send();
    let mut answered = Code::default();
    // A number, as old movies have it.
    answered.root().member("attributes").member("isok").number(1).action(EQUALS).when(&logged_in);
    let mut joined = Code::default();
    joined.tell("in").append(entry);
    let mut on_xml = Code::default();
    for (name, then) in [("connect", &answered), ("joined", &joined), heard] {
        on_xml.root().member("nodeName").text(name).action(EQUALS).when(then);
    }

    // What the player does itself when a movie sets no handler, but the text is kept.
    let mut on_data = Code::default();
    on_data.text("raw").variable("text").action(SET_VARIABLE);
    on_data.variable("text").number(1).text("XML").action(NEW_OBJECT);
    on_data.number(1).variable("socket").call("onXML").action(POP);

    let mut connected = Code::default();
    connected.tell("connected").text(&format!("<connect nickname=\"{}\" />", part.nick)).send();
    let mut refused = Code::default();
    refused.tell("refused");
    let mut on_connect = Code::default();
    on_connect.variable("success").when(&connected);
    on_connect.variable("success").action(NOT).when(&refused);
    let mut on_close = Code::default();
    on_close.tell("closed");

    let mut main = Code::default();
    main.append(start);
    main.text("socket").number(0).text("XMLSocket").action(NEW_OBJECT).action(SET_VARIABLE);
    main.handler("onConnect", &["success"], &on_connect);
    main.handler("onData", &["text"], &on_data);
    main.handler("onXML", &["document"], &on_xml);
    main.handler("onClose", &[], &on_close);
    main.number(part.port.into());
    match part.host {
        Some(host) => main.text(host),
        None => main.null(),
    };
    main.number(2).variable("socket").call("connect").action(POP);
    file(&main)
}

// Actions without fields.
const END: u8 = 0x00;
const NOT: u8 = 0x12;
const POP: u8 = 0x17;
const GET_VARIABLE: u8 = 0x1c;
const SET_VARIABLE: u8 = 0x1d;
const CALL_FUNCTION: u8 = 0x3d;
const NEW_OBJECT: u8 = 0x40;
/// `ActionAdd2`, which also joins texts.
const ADD: u8 = 0x47;
/// `ActionEquals2`, the `==` of the language.
const EQUALS: u8 = 0x49;
const GET_MEMBER: u8 = 0x4e;
const SET_MEMBER: u8 = 0x4f;
const CALL_METHOD: u8 = 0x52;

// Actions with fields, whose length stands before them.
const PUSH: u8 = 0x96;
const DEFINE_FUNCTION: u8 = 0x9b;
const IF: u8 = 0x9d;

/// Actions one behind the other.
#[derive(Default)]
struct Code(Vec<u8>);

impl Code {
    fn action(&mut self, action: u8) -> &mut Self {
        self.0.push(action);
        self
    }

    fn action_with(&mut self, action: u8, fields: &[u8]) -> &mut Self {
        self.0.push(action);
        self.0.extend(length(fields).to_le_bytes());
        self.0.extend(fields);
        self
    }

    fn append(&mut self, code: &Self) -> &mut Self {
        self.0.extend(&code.0);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.action_with(PUSH, &[b"\x00", text.as_bytes(), b"\0"].concat())
    }

    fn number(&mut self, number: i32) -> &mut Self {
        self.action_with(PUSH, &[b"\x07", &number.to_le_bytes()[..]].concat())
    }

    fn null(&mut self) -> &mut Self {
        self.action_with(PUSH, b"\x02")
    }

    fn variable(&mut self, name: &str) -> &mut Self {
        self.text(name).action(GET_VARIABLE)
    }

    fn member(&mut self, name: &str) -> &mut Self {
        self.text(name).action(GET_MEMBER)
    }

    fn call(&mut self, method: &str) -> &mut Self {
        self.text(method).action(CALL_METHOD)
    }

    /// Pushes a function without a name.
    fn function(&mut self, parameters: &[&str], body: &Self) -> &mut Self {
        let mut fields = vec![0];
        fields.extend(u16::try_from(parameters.len()).expect("few parameters").to_le_bytes());
        for parameter in parameters {
            fields.extend([parameter.as_bytes(), b"\0"].concat());
        }
        fields.extend(length(&body.0).to_le_bytes());
        self.action_with(DEFINE_FUNCTION, &fields).append(body)
    }

    /// Runs `body` when what was pushed last is true.
    fn when(&mut self, body: &Self) -> &mut Self {
        let offset = i16::try_from(body.0.len()).expect("a short body");
        self.action(NOT).action_with(IF, &offset.to_le_bytes()).append(body)
    }

    fn handler(&mut self, event: &str, parameters: &[&str], body: &Self) -> &mut Self {
        self.variable("socket").text(event).function(parameters, body).action(SET_MEMBER)
    }

    /// Pushes the element of a stanza.
    fn root(&mut self) -> &mut Self {
        self.variable("document").member("firstChild")
    }

    /// Sends the text that was pushed last.
    fn send(&mut self) -> &mut Self {
        self.number(1).variable("socket").call("send").action(POP)
    }

    fn tell(&mut self, word: &str) -> &mut Self {
        self.text(word).text(LISTENER).number(2);
        self.variable("flash").member("external").member("ExternalInterface");
        self.call("call").action(POP)
    }
}

fn length(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).expect("a short movie")
}

/// A movie of one frame, 100 by 100 pixels, that runs `main`.
fn file(main: &Code) -> Vec<u8> {
    const TWIPS: u128 = 100 * 20;
    // A RECT: five bits say that each of its four numbers has 15; zeros fill up the last byte.
    let stage: u128 = (15 << 60 | TWIPS << 30 | TWIPS) << 7;
    let mut body = stage.to_be_bytes()[7..].to_vec();
    // Frames a second, 8.8 fixed, and their number.
    body.extend([0, 50, 1, 0]);
    // FileAttributes: the movie uses the network.
    tag(&mut body, 69, &[1, 0, 0, 0]);
    // SetBackgroundColor
    tag(&mut body, 9, &[0xff, 0xff, 0xff]);
    // DoAction
    tag(&mut body, 12, &[&main.0[..], &[END]].concat());
    // ShowFrame
    tag(&mut body, 1, &[]);
    // End
    tag(&mut body, 0, &[]);
    let mut file = b"FWS\x08".to_vec();
    file.extend(u32::try_from(8 + body.len()).expect("a short movie").to_le_bytes());
    file.extend(body);
    file
}

/// A tag in its long form, which suits every length.
fn tag(file: &mut Vec<u8>, code: u16, body: &[u8]) {
    file.extend((code << 6 | 0x3f).to_le_bytes());
    file.extend(u32::try_from(body.len()).expect("a short movie").to_le_bytes());
    file.extend(body);
}
