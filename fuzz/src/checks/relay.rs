//! Two sessions in a hub: whatever one makes the other receive tells the real sender, and comes
//! out the same when it is sent once more.

use core::net::{IpAddr, Ipv4Addr};

use palabre::hub::{
    ConnId, HashKey, Hub, Input, ListenerKind, Progress, RootPassword, Settings, Time,
};
use palabre::limits::Limits;
use palabre::wire::stanza::{Parser, Stanza};

use super::outlet::Recorder;

const SENDER: ConnId = ConnId { slot: 0, generation: 0 };
const RECEIVER: ConnId = ConnId { slot: 1, generation: 0 };

/// The sender's nick: one that would break every quote if it were written as it is.
const NICK: &str = "A<&'\">";
const NICK_ESCAPED: &str = "A&lt;&amp;&apos;&quot;&gt;";

/// What the server itself sends, and nobody can have relayed (manual: protocol, 'Messages').
const SERVER_NAMES: &str = " error connect joined leaved client clients room rooms childrooms \
                            clientparam roominfo info pong help cross-domain-policy ";

/// Sends `frame` from a session that is root and in the room `R` with another one, `B`.
///
/// # Panics
/// When the check fails.
pub fn check(frame: &[u8]) {
    let mut pair = Pair::new();
    pair.send(frame);
    let received = pair.out.take(RECEIVER);
    let mut parser = Parser::new();
    let Ok(sent) = parser.parse(frame, &Limits::default()) else {
        assert_eq!(received, Vec::<String>::new(), "relayed although refused");
        return;
    };
    for stanza in received {
        let name =
            Parser::new().parse(stanza.as_bytes(), &lifted()).map(|read| read.name().to_owned());
        let own = name.is_ok_and(|name| SERVER_NAMES.contains(&format!(" {name} ")));
        if !own {
            check_relayed(&mut pair, &sent, &stanza);
        }
    }
}

/// A stanza that was relayed gets two attributes; the sender's limits don't hold for it.
fn lifted() -> Limits {
    Limits { attributes_max: 0, ..Limits::default() }
}

fn check_relayed(pair: &mut Pair, sent: &Stanza<'_>, received: &str) {
    let mut parser = Parser::new();
    let Ok(stanza) = parser.parse(received.as_bytes(), &lifted()) else { panic!("{received}") };
    assert_eq!(stanza.value("f").as_deref(), Some(NICK), "{received}");
    assert!(stanza.value("r").is_none_or(|room| room == "R"), "{received}");
    assert_eq!(stanza.inner(), sent.inner(), "{received}");
    for hidden in ["c", "toclient", "toroom", "b", "back", "broadcast"] {
        assert_eq!(stanza.value(hidden), None, "{received}");
    }
    for kept in stanza.attributes().filter(|kept| kept.name != "f" && kept.name != "r") {
        assert_eq!(sent.value(kept.name), stanza.value(kept.name), "{received}");
    }
    // The attribute that counts, put in again behind the name, takes it the same way.
    let way = ["toclient", "c", "toroom", "r", "broadcast"]
        .into_iter()
        .find(|&way| sent.value(way).is_some());
    let Some(way) = way else { panic!("relayed without a recipient: {received}") };
    let again = match way {
        "toroom" | "r" => received.to_owned(),
        _ => {
            let (start, rest) = received.split_at(1 + stanza.name().len());
            format!("{start} {way}='B'{rest}")
        }
    };
    if stanza.attributes().count() < Limits::default().attributes_max {
        pair.send(again.as_bytes());
        assert_eq!(pair.out.take(RECEIVER), [received], "sent once more: {again}");
    }
}

struct Pair {
    hub: Hub,
    out: Recorder,
}

impl Pair {
    fn new() -> Self {
        let settings = Settings { root_password: RootPassword::clear("p"), ..Settings::default() };
        let mut pair = Self { hub: Hub::new(settings, HashKey(1, 2), 0), out: Recorder::default() };
        for (conn, nick, root) in [(SENDER, NICK_ESCAPED, " rootpass='p'"), (RECEIVER, "B", "")] {
            pair.out.opened(conn);
            let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
            pair.handle(Input::Opened { conn, address, listener: ListenerKind::Main });
            pair.handle_frame(conn, format!("<connect nickname='{nick}'{root}/>").as_bytes());
            pair.handle_frame(conn, b"<join room='R'/>");
        }
        pair.handle(Input::TurnEnd);
        for conn in [SENDER, RECEIVER] {
            let said = pair.out.take(conn);
            assert!(said.iter().any(|stanza| stanza.contains("<joined room='R' />")), "{said:?}");
        }
        pair.out.flush();
        pair
    }

    fn send(&mut self, frame: &[u8]) {
        self.handle_frame(SENDER, frame);
        self.handle(Input::TurnEnd);
        self.out.flush();
    }

    fn handle_frame(&mut self, conn: ConnId, frame: &[u8]) {
        self.handle(Input::Frame { conn, frame });
    }

    fn handle(&mut self, input: Input<'_>) {
        let progress = self.hub.handle(input, Time::default(), &mut self.out);
        assert_eq!(progress, Progress::Done);
        self.hub.check_invariants();
    }
}
