//! A client of the crowd: what it says, how it says it, and what it makes of what it hears.

use std::io::ErrorKind;

use palabre::limits::Limits;
use palabre::wire::stanza::Parser;

use crate::pipe::{Handle, Received};
use crate::rng::{Rng, mix};
use crate::secure::Secure;
use crate::speech::{Speech, Unwrap};

/// What a client is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Is the first in its room and stays; what it hears is the room's own order.
    Anchor,
    /// Talks, reads, and stays.
    Talker,
    /// Talks and reads; then it quits, with bytes behind, and reads to the end.
    Quitter,
    /// Talks and reads; then it ends its side, and reads to the end.
    HalfCloser,
    /// Talks as fast as the system takes it, then stays.
    Flooder,
    /// Talks and closes its socket in the middle, whatever it has not read.
    Vanisher,
    /// Talks and breaks the connection in the middle.
    Resetter,
    /// Joins and never reads.
    Deaf,
    /// Sends megabytes without a NUL.
    Endless,
    /// Connects and does nothing.
    Idler,
    /// Talks nonsense in between.
    Garbler,
    /// Asks the policy port for the policy.
    PolicyAsker,
    /// Asks the policy port for anything else.
    PolicyLost,
}

impl Role {
    /// Whether it joins a room.
    pub(crate) fn joins(self) -> bool {
        !matches!(self, Self::Endless | Self::Idler | Self::PolicyAsker | Self::PolicyLost)
    }

    /// Whether nothing that it does is a reason to close it.
    pub(crate) fn stays(self) -> bool {
        matches!(self, Self::Anchor | Self::Talker | Self::Flooder | Self::Garbler)
    }

    pub(crate) fn listener(self) -> usize {
        usize::from(matches!(self, Self::PolicyAsker | Self::PolicyLost))
    }
}

/// Something that was heard in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Joined(String),
    Left(String),
    Said { nick: String, number: u32, private: bool },
}

/// What a client has made of the stream that it reads.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    pub(crate) tail: Vec<u8>,
    pub(crate) log: Vec<Heard>,
    pub(crate) errors: Vec<String>,
    pub(crate) policies: u32,
    pub(crate) frames: u32,
    pub(crate) last: String,
    /// It is in its room.
    pub(crate) welcomed: bool,
    /// Who is in the room, in the order in which they joined; unknown before the first list.
    pub(crate) members: Option<Vec<String>>,
    unwrap: Unwrap,
    parser: Parser,
}

impl Ear {
    /// Takes bytes in as they come; a stanza ends at its NUL and nowhere else.
    pub(crate) fn hear(&mut self, speech: Speech, bytes: &[u8]) {
        if speech == Speech::Stanzas {
            self.tail.extend(bytes);
        } else {
            self.tail.extend(self.unwrap.take(speech, bytes));
        }
        while let Some(end) = memchr::memchr(0, &self.tail) {
            let frame: Vec<u8> = self.tail.drain(..=end).take(end).collect();
            self.hear_stanza(&frame);
        }
    }

    /// Whether all that has begun to come has come.
    fn is_whole(&self) -> bool {
        self.tail.is_empty() && self.unwrap.is_whole()
    }

    fn hear_stanza(&mut self, frame: &[u8]) {
        let text = String::from_utf8_lossy(frame).into_owned();
        let limits = Limits::default();
        let stanza = match self.parser.parse(frame, &limits) {
            Ok(stanza) => stanza,
            Err(refusal) => panic!("{refusal:?}: {text}"),
        };
        self.frames += 1;
        let value = |name| stanza.value(name).map(|value| value.into_owned());
        match stanza.name() {
            "client" if stanza.value("joined").is_some() => {
                let nick = value("name").expect("a name");
                if let Some(members) = &mut self.members {
                    members.push(nick.clone());
                }
                self.log.push(Heard::Joined(nick));
            }
            "client" => {
                let nick = value("name").expect("a name");
                if let Some(members) = &mut self.members {
                    members.retain(|member| *member != nick);
                }
                self.log.push(Heard::Left(nick));
            }
            "clients" => {
                let parts = text.split("<client name='").skip(1);
                let members: Vec<_> =
                    parts.map(|part| part.split('\'').next().unwrap_or("").to_owned()).collect();
                assert_eq!(value("nb"), Some(members.len().to_string()));
                let known = self.members.get_or_insert_with(|| members.clone());
                assert_eq!(*known, members, "the list is what was heard before");
            }
            "m" => {
                let nick = value("f").expect("a sender");
                let (number, pad) = stanza.inner().split_once(' ').expect("a number");
                let number = number.parse().expect("a number");
                assert_eq!(pad, padding(&nick, number), "the body is whole");
                let private = stanza.value("r").is_none();
                self.log.push(Heard::Said { nick, number, private });
            }
            "connect" => assert_eq!(value("isok").as_deref(), Some("1"), "{text}"),
            "joined" => self.welcomed = true,
            "error" => self.errors.push(stanza.inner().to_owned()),
            "cross-domain-policy" => self.policies += 1,
            "room" | "childrooms" | "pong" => {}
            other => panic!("{other} is not expected: {text}"),
        }
        self.last = text;
    }
}

fn digest(nick: &str, number: u32) -> usize {
    nick.bytes().fold(u64::from(number), |digest, byte| mix(digest ^ u64::from(byte))) as usize
}

/// The rest of a message's body, which its sender and its number determine.
fn padding(nick: &str, number: u32) -> String {
    let digest = digest(nick, number);
    let part = ["x", "h\u{e9} ", "&amp;", "<b a='1'>\u{2603}</b>", "<!-- c -->", "<![CDATA[<&]]>"];
    let count = if digest.is_multiple_of(97) { 100 } else { digest / 97 % 6 };
    part[digest / 1_000 % part.len()].repeat(count)
}

/// Whether a message goes to the room's anchor alone.
fn is_private(nick: &str, number: u32) -> bool {
    (digest(nick, number) / 7).is_multiple_of(5)
}

/// The stanza that says a numbered message.
pub(crate) fn message(nick: &str, room: &str, number: u32) -> String {
    let to = if is_private(nick, number) {
        format!("c='Anchor{room}'")
    } else {
        format!("b='1' r='{room}'")
    };
    format!("<m {to}>{number} {}</m>\0", padding(nick, number))
}

/// A numbered message of nobody's who is there, as its room hears it.
pub(crate) fn announcement(nick: &str, room: &str, number: u32) -> String {
    format!("<m f='{nick}' r='{room}'>{number} {}</m>", padding(nick, number))
}

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) nick: String,
    pub(crate) role: Role,
    pub(crate) speech: Speech,
    /// What it speaks through, where that is TLS.
    pub(crate) secure: Option<Secure>,
    pub(crate) room: String,
    pub(crate) pipe: Option<Handle>,
    pub(crate) ear: Ear,
    /// Handed to nobody yet.
    pub(crate) outgoing: Vec<u8>,
    /// The most that it sends at once, in bytes.
    pub(crate) chunk: usize,
    /// The most that it reads at once, in bytes.
    pub(crate) gulp: usize,
    /// Messages said, and to be said.
    pub(crate) said: u32,
    pub(crate) to_say: u32,
    /// Milliseconds, at most, between two things that it does.
    pub(crate) pause_ms: usize,
    /// How many stanzas of nonsense it has sent.
    pub(crate) nonsense: usize,
    /// It does nothing more of its own accord.
    pub(crate) silent: bool,
    /// Everything that it has sent must have been handled.
    pub(crate) whole: bool,
    pub(crate) end: Option<Received>,
    pub(crate) restarts: u32,
}

impl Client {
    /// Reads a part of what is there; whether something is left.
    pub(crate) fn read(&mut self, rng: &mut Rng) -> bool {
        let Some(pipe) = &self.pipe else {
            return false;
        };
        if self.end.is_some() || self.role == Role::Deaf || !pipe.borrow().is_readable() {
            return false;
        }
        if rng.chance(25) {
            return true;
        }
        let received = pipe.borrow_mut().receive(rng.between(1, self.gulp));
        match received {
            Received::Bytes(bytes) => {
                let Some(secure) = &mut self.secure else {
                    self.ear.hear(self.speech, &bytes);
                    return pipe.borrow().is_readable();
                };
                self.ear.hear(self.speech, &secure.unwrap(&bytes));
                self.outgoing.extend(secure.records());
                return pipe.borrow().is_readable() || !self.outgoing.is_empty();
            }
            Received::Nothing => {}
            Received::End => {
                let whole = self.ear.is_whole() || pipe.borrow().shut_at.is_none();
                assert!(whole, "{} ends within a stanza", self.nick);
                self.end = Some(Received::End);
                pipe.borrow_mut().close();
            }
            Received::Reset => self.end = Some(Received::Reset),
        }
        false
    }

    /// Sends a part of what it has to say; whether the system took any.
    pub(crate) fn send(&mut self, rng: &mut Rng) -> bool {
        let Some(pipe) = &self.pipe else {
            return false;
        };
        let most = self.chunk.min(self.outgoing.len());
        let count = if self.chunk > 64 && rng.chance(50) { rng.between(1, most) } else { most };
        match pipe.borrow_mut().send(&self.outgoing[..count]) {
            Some(count) => {
                self.outgoing.drain(..count);
                count > 0
            }
            None => {
                self.outgoing.clear();
                self.silent = true;
                false
            }
        }
    }

    /// Has something to say.
    pub(crate) fn say(&mut self, stanzas: &[u8], rng: &mut Rng) {
        let bytes = self.speech.wrap(stanzas, rng);
        self.send_later(&bytes);
    }

    /// Sends bytes by and by, over TLS where it speaks that.
    pub(crate) fn send_later(&mut self, bytes: &[u8]) {
        match &mut self.secure {
            Some(secure) => self.outgoing.extend(secure.wrap(bytes)),
            None => self.outgoing.extend_from_slice(bytes),
        }
    }

    /// Whether it can't say anything yet.
    pub(crate) fn is_greeting(&self) -> bool {
        self.secure.as_ref().is_some_and(Secure::is_greeting)
    }

    /// Thinks of something to say, or of a way to end.
    pub(crate) fn think(&mut self, rng: &mut Rng) {
        if self.said < self.to_say {
            let count = match self.role {
                Role::Flooder => 50,
                _ => rng.between(1, 4) as u32,
            };
            for _ in 0..count.min(self.to_say - self.said) {
                self.said += 1;
                self.say(message(&self.nick, &self.room, self.said).as_bytes(), rng);
                if self.role == Role::Garbler {
                    self.nonsense += 1;
                    self.say(b"<m r='unclosed>\0", rng);
                }
            }
            return;
        }
        match self.role {
            Role::Quitter if !self.whole => {
                self.whole = true;
                self.say(b"<quit/>\0<m r='R0'>behind</m>\0<ping", rng);
                return;
            }
            Role::Endless => {
                self.outgoing.extend(vec![b'x'; 100_000]);
                return;
            }
            Role::HalfCloser => {
                if let Some(secure) = &mut self.secure {
                    self.outgoing = secure.end();
                    if !self.outgoing.is_empty() {
                        return;
                    }
                }
            }
            _ => {}
        }
        self.silent = true;
        let Some(mut pipe) = self.pipe.as_ref().map(|pipe| pipe.borrow_mut()) else {
            return;
        };
        match self.role {
            Role::HalfCloser => {
                self.whole = true;
                pipe.half_close();
            }
            Role::Vanisher => {
                self.whole = pipe.unread() == 0;
                pipe.close();
                self.end = Some(Received::Nothing);
            }
            Role::Resetter => {
                let kinds =
                    [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::TimedOut];
                pipe.reset(rng.pick(&kinds));
                self.end = Some(Received::Nothing);
            }
            _ => self.whole = self.role.stays(),
        }
    }
}
