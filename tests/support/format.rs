//! How a transcript is spelled, and the parser of it.
//!
//! ```text
//! # A comment; the first one says which part of the manual's protocol it is about.
//! # hub only: why          In the header: the whole file; under a scene: that scene. It is not
//! #                        run over sockets, because it needs the clock or other addresses.
//! set limits.nickbytes 5   A key of the configuration file, for the transcript or, under a
//!                          scene's heading, for that scene. `set hub.asklogins yes`,
//!                          `set hub.registered a b` are what plugins register, and
//!                          `set hub.hashed yes` what a hashed root password does, and
//!                          `set hub.checked yes` what accounts do; hub only.
//!                          `set module dice.timeout 9` is of a section `[module dice]`; the
//!                          path `modules` leads to tests/plugins; not for the hub.
//!                          `set room Hall.limit 9` is of a section `[room Hall]`.
//! == Title                 A scene; each begins with a fresh server.
//! = login A B              A and B connect under these nicks; what they get is not compared.
//! = root A                 The same with rootpass="secret".
//! = room R A B             A and B, in this order, join R; what anybody gets is not compared.
//! = child P C A            A creates C as a child room of P, or joins and lists it.
//! A> <ping />              A sends a frame (the NUL is added), and the turn ends.
//! A>> <pi                  A sends these bytes as they are, in one write, and the turn ends.
//! = together               What is sent from here to `= turn` comes in one turn.
//! = turn
//! A+ 10.0.0.1              A connects from this address; without it from loopback, and without
//!                          the line when A is first named. `A+ policy` uses the policy port.
//! A-                       A ends its side and still reads.
//! = allow A                The verdict on A's login, where logins are asked about; or refuse;
//!                          grant: it is root, unsure: nobody could find out, or prove: it may,
//!                          and its nick was proven by a password.
//! = permit A               The verdict on what A wants to do, where `set hub.asked mayTalk R` or
//!                          `mayJoin` (without rooms all) has it asked about; `= forbid A why` is
//!                          no, with or without a reason, `= doubt A` that nobody could find out.
//! plugin> <kick nick="A" /> An order of a plugin; hub only. `plugin` is no client, and what it
//!                          gets is the error or the answer. In the first client's words
//!                          `session="0.1"` is that client, the second is 1.2 and so on.
//! @ 300s                   The virtual clock goes on (s or ms).
//! A< <pong />              A gets exactly this stanza.
//! A| more                  A newline and this are the next part of the line before.
//! A? help join -connect    A gets a well-formed <help> that names join and doesn't name connect.
//! A! closed quit           A's connection is closed, with this reason (compared in the hub only).
//! ```
//!
//! What a client gets is named under what caused it: when the next line sends something, every
//! client must have got what was named and nothing else, each in the order written. Escapes in what
//! is sent and got: `\n \r \t \\` and `\xHH` for any byte; no line ends in a blank. In what is got,
//! `$PORT` stands for the port that is served, `$TIME` for any time of `getinfo` and `$TEXT` for
//! what nobody can foretell, without a quote or a `<`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use palabre::hub::Verdict;

/// Who gives a plugin's orders.
pub(crate) const PLUGIN: &str = "plugin";

/// A key of the configuration with its section, and its value.
pub(crate) type Setting = (String, String);

/// A file of scenes.
pub(crate) struct Transcript {
    pub(crate) file: String,
    pub(crate) scenes: Vec<Scene>,
}

/// A conversation with a fresh server.
pub(crate) struct Scene {
    pub(crate) title: String,
    /// Why it can't be run over sockets, if it can't.
    pub(crate) hub_only: Option<String>,
    pub(crate) settings: Vec<Setting>,
    pub(crate) steps: Vec<Step>,
}

/// What happens in one turn and what everybody gets because of it.
#[derive(Default)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) acts: Vec<Act>,
    pub(crate) expected: Vec<Expected>,
    /// Set-up whose answers are not compared.
    pub(crate) setup: bool,
}

/// Something that a client, or time, does.
#[derive(Clone)]
pub(crate) enum Act {
    Open {
        client: String,
        from: Option<IpAddr>,
        policy: bool,
    },
    Send {
        client: String,
        bytes: Vec<u8>,
    },
    End {
        client: String,
    },
    /// Whoever decides about logins has decided.
    Verdict {
        client: String,
        verdict: Verdict,
    },
    /// Whoever decides about what a client wants to do has decided.
    Permission {
        client: String,
        permission: Permitted,
    },
    /// A plugin orders or asks something.
    Order(Vec<u8>),
    Wait(Duration),
}

/// Whether something may be done; a no may have a reason.
#[derive(Clone)]
pub(crate) enum Permitted {
    Yes,
    No(Option<String>),
    Unknown,
}

impl Act {
    /// The client that acts.
    pub(crate) fn client(&self) -> Option<&str> {
        match self {
            Self::Open { client, .. }
            | Self::Send { client, .. }
            | Self::End { client }
            | Self::Verdict { client, .. }
            | Self::Permission { client, .. } => Some(client),
            Self::Order(_) | Self::Wait(_) => None,
        }
    }
}

/// Something that a client must get.
pub(crate) struct Expected {
    pub(crate) line: usize,
    pub(crate) client: String,
    pub(crate) what: What,
}

/// What a client gets.
pub(crate) enum What {
    Stanza(Vec<u8>),
    Help { with: Vec<String>, without: Vec<String> },
    Closed(String),
}

/// The settings as the configuration file spells them.
pub(crate) fn configuration(settings: &[Setting]) -> String {
    let mut sections: BTreeMap<&str, String> = BTreeMap::new();
    for (key, value) in settings {
        let (section, key) = key.split_once('.').unwrap_or(("", key));
        sections.entry(section).or_default().push_str(&format!("{key} = {value}\n"));
    }
    sections.iter().map(|(section, keys)| format!("[{section}]\n{keys}")).collect()
}

/// Reads a transcript; `file` names it in errors.
///
/// # Errors
/// A text with the file and the line of what is not spelled as the module says.
pub(crate) fn parse(file: &str, text: &str) -> Result<Transcript, String> {
    let mut parser = Parser::default();
    for (index, line) in text.lines().enumerate() {
        parser.line(index + 1, line).map_err(|error| format!("{file}:{}: {error}", index + 1))?;
    }
    if parser.together {
        return Err(format!("{file}: `= together` without `= turn`"));
    }
    Ok(Transcript { file: file.to_owned(), scenes: parser.scenes })
}

/// How a line continues with `X|`.
enum Open {
    Nothing,
    Sent { frame: bool },
    Got,
}

struct Parser {
    hub_only: Option<String>,
    settings: Vec<Setting>,
    scenes: Vec<Scene>,
    /// The clients that are connected at this point of the scene.
    connected: BTreeSet<String>,
    together: bool,
    last: Open,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            hub_only: None,
            settings: Vec::new(),
            scenes: Vec::new(),
            connected: BTreeSet::new(),
            together: false,
            last: Open::Nothing,
        }
    }
}

impl Parser {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line.ends_with([' ', '\t', '\r']) {
            return Err("a blank at the end of the line (write \\x20)".to_owned());
        }
        if line.is_empty() {
            Ok(())
        } else if let Some(comment) = line.strip_prefix('#') {
            self.comment(comment);
            Ok(())
        } else if let Some(title) = line.strip_prefix("== ") {
            self.scene(title);
            Ok(())
        } else if let Some(setting) = line.strip_prefix("set ") {
            self.setting(setting)
        } else if let Some(directive) = line.strip_prefix("= ") {
            self.directive(number, directive)
        } else if let Some(time) = line.strip_prefix("@ ") {
            self.act(number, Act::Wait(duration(time)?))
        } else {
            self.of_a_client(number, line)
        }
    }

    fn comment(&mut self, comment: &str) {
        let Some(reason) = comment.trim().strip_prefix("hub only: ") else { return };
        match self.scenes.last_mut() {
            Some(scene) => scene.hub_only = Some(reason.to_owned()),
            None => self.hub_only = Some(reason.to_owned()),
        }
    }

    fn scene(&mut self, title: &str) {
        self.connected.clear();
        self.last = Open::Nothing;
        self.scenes.push(Scene {
            title: title.to_owned(),
            hub_only: self.hub_only.clone(),
            settings: self.settings.clone(),
            steps: Vec::new(),
        });
    }

    fn setting(&mut self, setting: &str) -> Result<(), String> {
        // The section `[room Lesson 1]` has blanks in it.
        let kinds = ["module ", "room "];
        let has_name = kinds.iter().any(|kind| setting.starts_with(kind));
        let section = if has_name { setting.find('.').unwrap_or(0) } else { 0 };
        let blank = setting[section..].find(' ').ok_or("set needs a key and a value")?;
        let (key, value) = setting.split_at(section + blank);
        let settings = match self.scenes.last_mut() {
            None => &mut self.settings,
            Some(scene) if scene.steps.is_empty() => &mut scene.settings,
            Some(_) => return Err("set stands before the first step".to_owned()),
        };
        settings.retain(|(known, _)| known != key);
        settings.push((key.to_owned(), value[1..].to_owned()));
        Ok(())
    }

    fn directive(&mut self, number: usize, directive: &str) -> Result<(), String> {
        let mut words = directive.split(' ');
        match words.next() {
            Some("together") => {
                self.steps()?.push(Step { line: number, ..Step::default() });
                self.together = true;
            }
            Some("turn") if self.together => self.together = false,
            Some("login") => {
                for client in words {
                    self.set_up(number, client, format!("<connect nickname=\"{client}\" />"))?;
                }
            }
            Some("root") => {
                for client in words {
                    let connect = format!("<connect nickname=\"{client}\" rootpass=\"secret\" />");
                    self.set_up(number, client, connect)?;
                }
            }
            Some("room") => {
                let room = words.next().ok_or("which room?")?;
                for client in words {
                    self.set_up(number, client, format!("<join room=\"{room}\" />"))?;
                }
            }
            Some("allow") => {
                self.verdict(number, words.next(), Verdict::Allowed { account: false })?
            }
            Some("prove") => {
                self.verdict(number, words.next(), Verdict::Allowed { account: true })?;
            }
            Some("refuse") => self.verdict(number, words.next(), Verdict::Refused)?,
            Some("unsure") => {
                let (root_refused, login_refused) = (false, false);
                let verdict = Verdict::Undecided { root_refused, login_refused };
                self.verdict(number, words.next(), verdict)?
            }
            Some("grant") => {
                self.verdict(number, words.next(), Verdict::Root { account: false })?
            }
            Some(word @ ("permit" | "forbid" | "doubt")) => {
                let client = words.next().ok_or("whom?")?.to_owned();
                let why: Vec<&str> = words.collect();
                let permission = match word {
                    "permit" => Permitted::Yes,
                    "doubt" => Permitted::Unknown,
                    _ => Permitted::No(Some(why.join(" ")).filter(|why| !why.is_empty())),
                };
                self.act(number, Act::Permission { client, permission })?;
            }
            Some("child") => {
                let parent = words.next().ok_or("under which room?")?;
                let child = words.next().ok_or("which room?")?;
                for client in words {
                    let stanza =
                        format!("<addchild parentroom=\"{parent}\" childroom=\"{child}\" />");
                    self.set_up(number, client, stanza)?;
                }
            }
            Some(_) | None => return Err(format!("no directive: {directive}")),
        }
        Ok(())
    }

    fn verdict(
        &mut self,
        number: usize,
        client: Option<&str>,
        verdict: Verdict,
    ) -> Result<(), String> {
        let client = client.ok_or("whom?")?.to_owned();
        self.act(number, Act::Verdict { client, verdict })
    }

    fn set_up(&mut self, number: usize, client: &str, stanza: String) -> Result<(), String> {
        let mut bytes = stanza.into_bytes();
        bytes.push(0);
        self.send(number, client, bytes)?;
        self.step()?.setup = true;
        Ok(())
    }

    fn of_a_client(&mut self, number: usize, line: &str) -> Result<(), String> {
        let end = line.find(|c: char| !c.is_ascii_alphanumeric()).ok_or("no operator")?;
        let (client, rest) = line.split_at(end);
        if client.is_empty() {
            return Err("no client is named".to_owned());
        }
        let (operator, text) = rest.split_once(' ').unwrap_or((rest, ""));
        match operator {
            ">" | ">>" => {
                let mut bytes = unescape(text)?;
                let frame = operator == ">";
                if frame {
                    bytes.push(0);
                }
                self.send(number, client, bytes)?;
                self.last = Open::Sent { frame };
            }
            "+" => self.open(number, client, text)?,
            "-" => self.act(number, Act::End { client: client.to_owned() })?,
            "<" => {
                self.expect(number, client, What::Stanza(unescape(text)?))?;
                self.last = Open::Got;
            }
            "|" => self.continuation(client, text)?,
            "?" => self.expect(number, client, help(text)?)?,
            "!" => {
                let reason = text.strip_prefix("closed ").ok_or("closed for which reason?")?;
                self.expect(number, client, What::Closed(reason.to_owned()))?;
                self.connected.remove(client);
            }
            _ => return Err(format!("no operator: {operator}")),
        }
        Ok(())
    }

    fn send(&mut self, number: usize, client: &str, bytes: Vec<u8>) -> Result<(), String> {
        if client == PLUGIN {
            return self.act(number, Act::Order(bytes));
        }
        let known = self.connected.contains(client);
        let again = !known && self.steps()?.iter().any(|step| has_opened(step, client));
        if again {
            return Err(format!("{client} is closed; `{client}+` opens it again"));
        }
        let send = Act::Send { client: client.to_owned(), bytes };
        if known {
            return self.act(number, send);
        }
        self.open(number, client, "")?;
        self.step()?.acts.push(send);
        Ok(())
    }

    fn open(&mut self, number: usize, client: &str, text: &str) -> Result<(), String> {
        if !self.connected.insert(client.to_owned()) {
            return Err(format!("{client} is connected already"));
        }
        let (address, policy) = match text.strip_suffix("policy") {
            Some(address) => (address.trim_end(), true),
            None => (text, false),
        };
        let from = if address.is_empty() {
            None
        } else {
            Some(address.parse().map_err(|_| format!("no address: {address}"))?)
        };
        self.act(number, Act::Open { client: client.to_owned(), from, policy })
    }

    /// Adds an act: to the turn that is being written, or as a turn of its own.
    fn act(&mut self, number: usize, act: Act) -> Result<(), String> {
        self.last = Open::Nothing;
        if self.together {
            self.step()?.acts.push(act);
        } else {
            self.steps()?.push(Step { line: number, acts: vec![act], ..Step::default() });
        }
        Ok(())
    }

    fn expect(&mut self, line: usize, client: &str, what: What) -> Result<(), String> {
        if self.together {
            return Err("what is got stands after `= turn`".to_owned());
        }
        self.last = Open::Nothing;
        let step = self.step()?;
        if step.setup {
            return Err("what a set-up gives is not compared".to_owned());
        }
        step.expected.push(Expected { line, client: client.to_owned(), what });
        Ok(())
    }

    fn continuation(&mut self, client: &str, text: &str) -> Result<(), String> {
        let more = unescape(text)?;
        let misplaced = || "nothing of this client's to continue".to_owned();
        match self.last {
            Open::Nothing => return Err(misplaced()),
            Open::Got => match self.step()?.expected.last_mut() {
                Some(Expected { what: What::Stanza(stanza), client: of, .. }) if of == client => {
                    stanza.push(b'\n');
                    stanza.extend(more);
                }
                Some(_) | None => return Err(misplaced()),
            },
            Open::Sent { frame } => match self.step()?.acts.last_mut() {
                Some(Act::Send { client: of, bytes }) if of == client => {
                    if frame {
                        bytes.pop();
                    }
                    bytes.push(b'\n');
                    bytes.extend(more);
                    if frame {
                        bytes.push(0);
                    }
                }
                Some(_) | None => return Err(misplaced()),
            },
        }
        Ok(())
    }

    fn steps(&mut self) -> Result<&mut Vec<Step>, String> {
        let scene = self.scenes.last_mut().ok_or("a step stands in a scene (`== Title`)")?;
        Ok(&mut scene.steps)
    }

    fn step(&mut self) -> Result<&mut Step, String> {
        self.steps()?.last_mut().ok_or_else(|| "nothing has been sent yet".to_owned())
    }
}

fn has_opened(step: &Step, client: &str) -> bool {
    step.acts.iter().any(|act| matches!(act, Act::Open { client: of, .. } if of == client))
}

fn duration(text: &str) -> Result<Duration, String> {
    let number = |digits: &str| digits.parse().map_err(|_| format!("no time: {text}"));
    if let Some(milliseconds) = text.strip_suffix("ms") {
        Ok(Duration::from_millis(number(milliseconds)?))
    } else {
        let seconds = text.strip_suffix('s').ok_or("a time ends in s or ms")?;
        Ok(Duration::from_secs(number(seconds)?))
    }
}

fn help(text: &str) -> Result<What, String> {
    let names = text.strip_prefix("help").ok_or("only help is parsed rather than compared")?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for name in names.split_whitespace() {
        match name.strip_prefix('-') {
            Some(name) => without.push(name.to_owned()),
            None => with.push(name.to_owned()),
        }
    }
    Ok(What::Help { with, without })
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.bytes());
        let mut skip = 1;
        bytes.push(match after.as_bytes().first() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'\\') => b'\\',
            Some(b'x') => {
                skip = 3;
                let digits = after.get(1..3).ok_or("\\x takes two digits")?;
                u8::from_str_radix(digits, 16).map_err(|_| format!("no byte: \\x{digits}"))?
            }
            Some(_) | None => return Err("no escape; a backslash is \\\\".to_owned()),
        });
        rest = &after[skip..];
    }
    bytes.extend(rest.bytes());
    Ok(bytes)
}
