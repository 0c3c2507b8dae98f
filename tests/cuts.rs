//! Bytes may arrive in any chunks; the meaning never depends on how they were cut (manual:
//! protocol, 'Framing').
//!
//! All transcripts make one long conversation here. It is given to the framer and the hub a
//! frame at a time, and then cut into small chunks and at random, with the turns ending
//! anywhere: whatever the cut, every client must get the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[expect(dead_code, reason = "the checker and the sockets are for the other tests")]
mod support;

use support::format::{Act, Setting, parse};
use support::hub_driver::HubDriver;

/// Cuts at random, one for each seed. `CUT_SEED` runs one alone.
const SEEDS: std::ops::Range<u64> = 0..12;

/// Who sent which frame, its NUL included, in the order in which the frames were complete.
type Conversation = Vec<(String, Vec<u8>)>;

/// What each client got, one stanza after the other with its NUL.
type Answers = BTreeMap<String, Vec<u8>>;

/// What all transcripts send. What would end a session is left out, so that it goes on.
fn conversation() -> Conversation {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let entries = fs::read_dir(&directory).expect("tests/transcripts can be read");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    let mut frames = Conversation::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("a transcript can be read");
        let transcript = parse("transcript", &text).unwrap_or_else(|error| panic!("{error}"));
        for scene in &transcript.scenes {
            let acts = scene.steps.iter().flat_map(|step| &step.acts);
            frames.extend(frames_of(acts));
        }
    }
    frames.retain(|(_, frame)| !ends_the_session(frame));
    frames
}

fn frames_of<'a>(acts: impl Iterator<Item = &'a Act>) -> Conversation {
    let mut unfinished: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let mut frames = Conversation::new();
    for act in acts {
        let Act::Send { client, bytes } = act else { continue };
        let tail = unfinished.entry(client).or_default();
        for &byte in bytes {
            tail.push(byte);
            if byte == 0 {
                frames.push((client.clone(), std::mem::take(tail)));
            }
        }
    }
    frames
}

fn ends_the_session(frame: &[u8]) -> bool {
    let text = String::from_utf8_lossy(frame);
    ["quit", "policy-file-request", "cross-domain-request"]
        .iter()
        .any(|name| text.contains(&format!("<{name}")))
}

/// A server without the limits that a conversation of this length would meet.
fn server() -> HubDriver {
    let settings: Vec<Setting> = [("limits.stanzarate", "0"), ("limits.failedlogins", "0")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
    HubDriver::new(&settings).unwrap_or_else(|error| panic!("{error}"))
}

fn answers(server: &mut HubDriver) -> Answers {
    let mut answers = Answers::new();
    for (client, heard) in server.heard() {
        assert!(heard.closed.is_none(), "{client} was closed");
        let of_client = answers.entry(client).or_default();
        for stanza in heard.stanzas {
            of_client.extend(stanza);
            of_client.push(0);
        }
    }
    answers
}

fn open_all(server: &mut HubDriver, conversation: &Conversation) {
    let mut clients: Vec<&String> = conversation.iter().map(|(client, _)| client).collect();
    clients.sort();
    clients.dedup();
    for client in clients {
        server.act(&Act::Open { client: client.clone(), from: None, policy: false });
    }
}

/// The conversation as it is meant: a frame, a turn.
fn uncut(conversation: &Conversation) -> Answers {
    let mut server = server();
    open_all(&mut server, conversation);
    for (client, frame) in conversation {
        server.act(&Act::Send { client: client.clone(), bytes: frame.clone() });
        server.end_turn();
    }
    answers(&mut server)
}

/// How the bytes are cut and where turns end.
enum Knife {
    /// Chunks of this many bytes, each a turn.
    Every(usize),
    Random(fastrand::Rng),
}

impl Knife {
    fn chunk(&mut self) -> usize {
        match self {
            Self::Every(bytes) => *bytes,
            Self::Random(random) => {
                let longest = if random.u8(..8) == 0 { 4_000 } else { 60 };
                1 + random.usize(..longest)
            }
        }
    }

    fn turn_ends(&mut self) -> bool {
        match self {
            Self::Every(_) => true,
            Self::Random(random) => random.u8(..3) == 0,
        }
    }

    /// Now and then somebody else's next frame begins to arrive early: whose, as a number.
    fn early(&mut self) -> Option<usize> {
        match self {
            Self::Every(_) => None,
            Self::Random(random) => (random.u8(..4) == 0).then(|| random.usize(..1_000)),
        }
    }
}

/// One client's bytes.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    /// How many of them the server has.
    fed: usize,
    /// How many it may have at this point of the conversation: whole frames.
    due: usize,
}

/// The conversation cut. The frames are complete in the same order; a turn ends before another
/// client's frame is complete, because changes that share a turn share their client lists.
fn cut(conversation: &Conversation, mut knife: Knife) -> Answers {
    let mut server = server();
    open_all(&mut server, conversation);
    let mut streams: BTreeMap<&str, Stream> = BTreeMap::new();
    for (client, frame) in conversation {
        streams.entry(client).or_default().bytes.extend(frame);
    }
    for (number, run) in conversation.chunk_by(|(one, _), (next, _)| one == next).enumerate() {
        let client = run[0].0.as_str();
        let stream = streams.get_mut(client).expect("every client has a stream");
        stream.due += run.iter().map(|(_, frame)| frame.len()).sum::<usize>();
        let due = stream.due;
        while streams[client].fed < due {
            let bytes = knife.chunk();
            feed(&mut server, client, &mut streams, due, bytes);
            if let Some(number) = knife.early() {
                let other = *streams.keys().nth(number % streams.len()).expect("there is one");
                let stream = &streams[other];
                let end = stream.bytes[stream.due..].iter().position(|&byte| byte == 0);
                // The NUL stays behind: the frame isn't complete before its time.
                if let Some(end) = end.map(|end| stream.due + end) {
                    feed(&mut server, other, &mut streams, end, bytes);
                }
            }
            if knife.turn_ends() {
                server.end_turn();
            }
        }
        server.end_turn();
        if number % 50 == 0 {
            server.check_invariants();
        }
    }
    server.check_invariants();
    answers(&mut server)
}

/// Gives the server a client's next bytes, as many as said, but none from `end` on.
fn feed(
    server: &mut HubDriver,
    client: &str,
    streams: &mut BTreeMap<&str, Stream>,
    end: usize,
    bytes: usize,
) {
    let stream = streams.get_mut(client).expect("every client has a stream");
    let until = end.min(stream.fed + bytes).max(stream.fed);
    let chunk = stream.bytes[stream.fed..until].to_vec();
    stream.fed = until;
    server.act(&Act::Send { client: client.to_owned(), bytes: chunk });
}

fn assert_same(answers: &Answers, expected: &Answers, how: &str) {
    assert_eq!(answers.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{how}");
    for (client, bytes) in answers {
        let expected: Vec<&[u8]> = expected[client].split(|&byte| byte == 0).collect();
        let got: Vec<&[u8]> = bytes.split(|&byte| byte == 0).collect();
        let differs = (0..got.len().max(expected.len())).find(|&i| got.get(i) != expected.get(i));
        if let Some(index) = differs {
            let show = |stanza: Option<&&[u8]>| {
                stanza.map(|stanza| String::from_utf8_lossy(stanza).into_owned())
            };
            panic!(
                "{how}: stanza {index} of {client}\n got: {:?}\nuncut: {:?}",
                show(got.get(index)),
                show(expected.get(index))
            );
        }
    }
}

fn assert_cuts_change_nothing(conversation: &Conversation) {
    let expected = uncut(conversation);
    let stanzas = expected.values().flatten().filter(|&&byte| byte == 0).count();
    assert!(stanzas > conversation.len() / 2, "only {stanzas} answers: not much of a test");
    for bytes in [1, 2, 3, 7] {
        let answers = cut(conversation, Knife::Every(bytes));
        assert_same(&answers, &expected, &format!("chunks of {bytes} bytes"));
    }
    let only: Option<u64> =
        std::env::var("CUT_SEED").ok().map(|seed| seed.parse().expect("CUT_SEED is a number"));
    for seed in SEEDS.filter(|&seed| only.is_none_or(|only| only == seed)) {
        let answers = cut(conversation, Knife::Random(fastrand::Rng::with_seed(seed)));
        assert_same(&answers, &expected, &format!("CUT_SEED={seed}"));
    }
}

#[test]
fn cutting_the_conversation_of_many_clients_changes_nothing() {
    let conversation = conversation();
    assert!(conversation.len() > 500, "only {} frames", conversation.len());
    assert_cuts_change_nothing(&conversation);
}

#[test]
fn cutting_the_conversation_of_one_client_changes_nothing() {
    let alone = conversation().into_iter().map(|(_, frame)| ("A".to_owned(), frame)).collect();
    assert_cuts_change_nothing(&alone);
}
