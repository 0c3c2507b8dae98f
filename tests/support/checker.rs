//! Runs the scenes of a transcript through a driver and compares.

use std::collections::BTreeMap;

use super::format::{Act, Expected, Scene, Step, What};

/// What a client got in a step, and whether its connection was closed.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) stanzas: Vec<Vec<u8>>,
    pub(crate) closed: Option<Closed>,
}

/// A closed connection.
pub(crate) enum Closed {
    /// The driver sees the reason.
    For(String),
    /// Over a socket nobody sees it.
    Unseen,
}

/// What a client is to get in a step: enough to know when to stop reading a socket.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) stanzas: usize,
    pub(crate) helps: usize,
    pub(crate) closed: bool,
}

/// What everybody got.
pub(crate) type HeardByClient = BTreeMap<String, Heard>;

/// Holds a conversation with a server.
pub(crate) trait Driver {
    /// Does what the acts say and gives what every client got because of it: all of it.
    ///
    /// # Errors
    /// When the server can't be talked to any more.
    fn perform(
        &mut self,
        acts: &[Act],
        wanted: &BTreeMap<&str, Wanted>,
    ) -> Result<HeardByClient, String>;

    /// The port that the server says it serves.
    fn port(&self) -> String;
}

/// Runs a scene.
///
/// # Errors
/// The first difference, with file and line.
pub(crate) fn run(file: &str, scene: &Scene, driver: &mut impl Driver) -> Result<(), String> {
    for step in &scene.steps {
        check_step(step, driver).map_err(|(line, difference)| {
            format!("{file}:{line}: {difference} (in \"{}\")", scene.title)
        })?;
    }
    Ok(())
}

fn check_step(step: &Step, driver: &mut impl Driver) -> Result<(), (usize, String)> {
    let mut wanted: BTreeMap<&str, Wanted> = BTreeMap::new();
    for expected in &step.expected {
        let wanted = wanted.entry(&expected.client).or_default();
        match &expected.what {
            What::Closed(_) => wanted.closed = true,
            What::Stanza(_) => wanted.stanzas += 1,
            What::Help { .. } => {
                wanted.stanzas += 1;
                wanted.helps += 1;
            }
        }
    }
    let mut heard = driver.perform(&step.acts, &wanted).map_err(|error| (step.line, error))?;
    let port = driver.port();
    for (client, heard) in &heard {
        all_well_formed(client, heard).map_err(|error| (step.line, error))?;
    }
    if step.setup {
        return set_up_went_well(&heard).map_err(|error| (step.line, error));
    }
    for expected in &step.expected {
        let of_client = heard.entry(expected.client.clone()).or_default();
        compare(expected, of_client, &port).map_err(|error| (expected.line, error))?;
    }
    nothing_left(&heard).map_err(|error| (step.line, error))
}

/// Takes what is expected from the front of what was heard.
fn compare(expected: &Expected, heard: &mut Heard, port: &str) -> Result<(), String> {
    let client = &expected.client;
    if let What::Closed(reason) = &expected.what {
        if let Some(stanza) = heard.stanzas.first() {
            return Err(format!("{client} got before its end, unnamed: {}", shown(stanza)));
        }
        return match heard.closed.take() {
            Some(Closed::For(seen)) if seen != *reason => {
                Err(format!("{client} was closed for \"{seen}\" and not for \"{reason}\""))
            }
            Some(Closed::For(_) | Closed::Unseen) => Ok(()),
            None => Err(format!("{client} was not closed")),
        };
    }
    if heard.stanzas.is_empty() {
        let end = if heard.closed.is_some() { "was closed" } else { "got nothing more" };
        return Err(format!("{client} {end}; missing: {}", wanted_text(&expected.what)));
    }
    let stanza = heard.stanzas.remove(0);
    let right = match &expected.what {
        What::Stanza(pattern) => matches(pattern, &stanza, port),
        What::Help { with, without } => {
            return help_names(&stanza, with, without)
                .map_err(|error| format!("{client} got a help {error}: {}", shown(&stanza)));
        }
        What::Closed(_) => false,
    };
    if right {
        return Ok(());
    }
    let wanted = wanted_text(&expected.what);
    Err(format!("{client}\n     got: {}\n  wanted: {wanted}", shown(&stanza)))
}

fn wanted_text(what: &What) -> String {
    match what {
        What::Stanza(pattern) => shown(pattern),
        What::Help { .. } => "<help>".to_owned(),
        What::Closed(reason) => format!("the end, for \"{reason}\""),
    }
}

fn nothing_left(heard: &HeardByClient) -> Result<(), String> {
    for (client, heard) in heard {
        if let Some(stanza) = heard.stanzas.first() {
            return Err(format!("{client} got, unnamed: {}", shown(stanza)));
        }
        match &heard.closed {
            None => {}
            Some(Closed::Unseen) => return Err(format!("{client} was closed")),
            Some(Closed::For(why)) => return Err(format!("{client} was closed for \"{why}\"")),
        }
    }
    Ok(())
}

fn set_up_went_well(heard: &HeardByClient) -> Result<(), String> {
    for (client, heard) in heard {
        if heard.closed.is_some() {
            return Err(format!("the set-up closed {client}"));
        }
        if let Some(error) = heard.stanzas.iter().find(|stanza| stanza.starts_with(b"<error")) {
            return Err(format!("the set-up failed, {client} got {}", shown(error)));
        }
    }
    Ok(())
}

/// Whatever the server sends is one well-formed document and begins with its element: nobody hands
/// a client what its parser refuses (manual: protocol, 'What counts as a stanza' and 'What the
/// server sends').
fn all_well_formed(client: &str, heard: &Heard) -> Result<(), String> {
    for stanza in &heard.stanzas {
        let well_formed = std::str::from_utf8(stanza)
            .is_ok_and(|text| text.starts_with('<') && roxmltree::Document::parse(text).is_ok());
        if !well_formed || stanza.starts_with(b"<?") {
            return Err(format!("{client} got what is no stanza: {}", shown(stanza)));
        }
    }
    Ok(())
}

/// Whether a stanza is what the pattern says, `$PORT`, `$TIME` and `$TEXT` standing for what they
/// mean.
fn matches(pattern: &[u8], stanza: &[u8], port: &str) -> bool {
    let Some(at) = pattern.iter().position(|&byte| byte == b'$') else {
        return pattern == stanza;
    };
    let (literal, rest) = pattern.split_at(at);
    let Some(stanza) = stanza.strip_prefix(literal) else {
        return false;
    };
    if let Some(rest) = rest.strip_prefix(b"$PORT") {
        stanza.strip_prefix(port.as_bytes()).is_some_and(|stanza| matches(rest, stanza, port))
    } else if let Some(rest) = rest.strip_prefix(b"$TIME") {
        let shape = b"0000-00-00 00:00:00.000000";
        stanza.split_at_checked(shape.len()).is_some_and(|(time, stanza)| {
            time.iter().zip(shape).all(|(&byte, &like)| {
                if like == b'0' { byte.is_ascii_digit() } else { byte == like }
            }) && matches(rest, stanza, port)
        })
    } else if let Some(rest) = rest.strip_prefix(b"$TEXT") {
        let end = stanza.iter().position(|byte| b"<'\"".contains(byte));
        let end = end.unwrap_or(stanza.len());
        end > 0 && matches(rest, &stanza[end..], port)
    } else {
        stanza.strip_prefix(b"$").is_some_and(|stanza| matches(&rest[1..], stanza, port))
    }
}

/// A help is a list for people; what is checked is that it is `<help>` and which stanzas it
/// shows: names after a `<`, once its text is read.
fn help_names(stanza: &[u8], with: &[String], without: &[String]) -> Result<(), String> {
    let text = std::str::from_utf8(stanza).map_err(|error| error.to_string())?;
    let document = roxmltree::Document::parse(text).map_err(|error| error.to_string())?;
    let root = document.root_element();
    if root.tag_name().name() != "help" {
        return Err("that is none".to_owned());
    }
    let shown: String = root.descendants().filter_map(|node| node.text()).collect();
    let elements = root.descendants().filter(roxmltree::Node::is_element);
    let named: Vec<&str> = elements
        .map(|node| node.tag_name().name())
        .chain(shown.split('<').skip(1).map(|tag| {
            let end = tag.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            &tag[..end.unwrap_or(tag.len())]
        }))
        .collect();
    if let Some(missing) = with.iter().find(|name| !named.contains(&name.as_str())) {
        return Err(format!("without {missing}"));
    }
    match without.iter().find(|name| named.contains(&name.as_str())) {
        Some(surplus) => Err(format!("with {surplus}")),
        None => Ok(()),
    }
}

/// The bytes as a transcript spells them.
fn shown(stanza: &[u8]) -> String {
    let mut text = String::new();
    for chunk in stanza.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\n' => text.push_str("\n         | "),
                plain => text.push(plain),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    }
    text
}
