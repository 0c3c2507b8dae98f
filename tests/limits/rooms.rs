//! What keeps order in a room and on the server: at each bound, and one past it.

use palabre::limits::{
    REASON_BYTES_MAX, ROLES_MAX, ROOM_BANS_MAX, ROOM_INVITATIONS_MAX, ROOM_MUTES_MAX,
    ROOM_PASSWORD_BYTES_MAX, SANCTION_TIME_S_MAX, SERVER_BANS_MAX, SERVER_MUTES_MAX,
    WHO_SESSIONS_MAX,
};

use super::*;

/// Nobody has to wait, and whoever is root keeps order on the server.
fn server() -> (Server, ConnId) {
    let limits = Limits {
        stanza_rate_per_s: 0,
        byte_rate_per_s: 0,
        list_rate_per_s: 0,
        sessions_per_address_max: 0,
        ..Limits::default()
    };
    let settings =
        Settings { limits, root_password: RootPassword::clear("secret"), ..Settings::default() };
    let mut server = Server::with(settings);
    let root = server.open();
    let told = server.send(root, "<connect nickname='root' rootpass='secret'/>");
    assert!(told[0].starts_with("<connect isok='1'"), "{told:?}");
    (server, root)
}

/// Does something for each number up to the bound, and once more.
fn so_many(
    server: &mut Server,
    conn: ConnId,
    max: usize,
    stanza: impl Fn(usize) -> String,
    error: &str,
) {
    for number in 0..max {
        server.passes(conn, &stanza(number));
    }
    let told = server.send(conn, &stanza(max));
    assert_eq!(told, [format!("<error>{error}</error>")]);
    // One that is there already is none more.
    server.passes(conn, &stanza(0));
}

#[test]
fn bans_mutes_and_invitations_of_a_room() {
    let (mut server, _) = server();
    let conn = server.log_in("op");
    server.passes(conn, "<join room='R'/>");
    let ban = |number| format!("<ban room='R' nick='n{number}'/>");
    so_many(&mut server, conn, ROOM_BANS_MAX, ban, "Too many bans (limit 256)");
    let mute = |number| format!("<mute room='R' nick='n{number}'/>");
    so_many(&mut server, conn, ROOM_MUTES_MAX, mute, "Too many mutes (limit 256)");
    for number in 0..=ROOM_INVITATIONS_MAX {
        server.log_in(&format!("n{number}"));
    }
    let invite = |number| format!("<invite room='R' nick='n{number}'/>");
    let error = "Too many invitations (limit 256)";
    so_many(&mut server, conn, ROOM_INVITATIONS_MAX, invite, error);
}

/// A ban that is refused has changed nothing: who is invited comes in past the lock.
#[test]
fn a_ban_too_many_takes_no_invitation() {
    let (mut server, _) = server();
    let conn = server.log_in("op");
    server.passes(conn, "<join room='R'/>");
    for number in 0..ROOM_BANS_MAX {
        server.passes(conn, &format!("<ban room='R' nick='n{number}'/>"));
    }
    let guest = server.log_in("guest");
    server.passes(conn, "<mode room='R' locked='1'/>");
    server.passes(conn, "<invite room='R' nick='guest'/>");
    server.is_refused(conn, "<ban room='R' nick='guest'/>", "Too many bans (limit 256)");
    server.passes(guest, "<join room='R'/>");
}

/// Who sees hidden rooms is told of each change in a list of its own, which is not what it has
/// asked for: it pays nothing for it.
#[test]
fn lists_with_hidden_rooms_are_paid_for_by_the_room() {
    const ROOMS: usize = 8;
    let limits = Limits {
        list_rate_per_s: 40_000,
        byte_rate_per_s: 0,
        stanza_rate_per_s: 0,
        ..Limits::default()
    };
    let mut server = Server::new(limits);
    let [op, sees] = ["op", "sees"].map(|nick| server.log_in(nick));
    let value = "x".repeat(3_000);
    for room in 0..ROOMS {
        server.passes(op, &format!("<join room='P{room}'/>"));
        server.passes(sees, &format!("<join room='P{room}'/>"));
        server.passes(op, &format!("<addchild parentroom='P{room}' childroom='C{room}'/>"));
        server.passes(op, &format!("<setparam room='C{room}' name='k' value='{value}'/>"));
        server.passes(sees, &format!("<join room='C{room}'/>"));
        server.passes(op, &format!("<mode room='C{room}' hidden='1'/>"));
        server.passes(op, &format!("<addchild parentroom='P{room}' childroom='D{room}'/>"));
        server.pass_seconds(60);
    }
    // Each room has lists for 66,000 of its 160,000 bytes; the member gets 264,000 of all of them.
    for room in (0..ROOMS).cycle().take(10 * ROOMS) {
        server.passes(op, &format!("<setparam room='D{room}' name='k' value='v'/>"));
        server.handle(Input::TurnEnd);
    }
    assert_eq!(server.offer(sees, "<ping/>"), Progress::Done, "nobody else's lists hold it up");
}

#[test]
fn roles_of_a_room() {
    let (mut server, root) = server();
    let members: Vec<ConnId> =
        (0..=ROLES_MAX).map(|number| server.log_in(&format!("n{number}"))).collect();
    for &member in &members {
        server.passes(member, "<join room='R'/>");
    }
    let role = |number| format!("<role room='R' nick='n{number}' role='voice'/>");
    so_many(&mut server, root, ROLES_MAX, role, "Too many roles (limit 256)");
}

#[test]
fn bans_and_mutes_of_the_server() {
    assert_eq!((SERVER_BANS_MAX, SERVER_MUTES_MAX), (65_536, 65_536));
    let (mut server, root) = server();
    let ban = |number: usize| {
        if number == 0 {
            "<ban nick='n'/>".to_owned()
        } else {
            let (high, low) = (number >> 8, number & 0xFF);
            format!("<ban address='2001:db8::{high:x}:{low:x}'/>")
        }
    };
    so_many(&mut server, root, SERVER_BANS_MAX, ban, "Too many bans (limit 65536)");
    let mute = |number| format!("<mute nick='n{number}'/>");
    so_many(&mut server, root, SERVER_MUTES_MAX, mute, "Too many mutes (limit 65536)");
}

#[test]
fn sessions_in_one_answer_to_who() {
    let (mut server, root) = server();
    for number in 1..WHO_SESSIONS_MAX {
        server.log_in(&format!("n{number}"));
    }
    let told = server.send(root, "<who/>");
    assert!(told[0].starts_with("<sessions nb='200'><session "), "{}", told[0]);
    let last = server.log_in("last");
    let told = server.send(root, "<who/>");
    let more = format!("{}.{}", last.slot - 1, last.generation);
    assert!(told[0].starts_with(&format!("<sessions nb='200' more='{more}'>")), "{}", told[0]);
    let told = server.send(root, &format!("<who after='{more}'/>"));
    assert!(told[0].starts_with("<sessions nb='1'><session ") && told[0].contains("'last'"));
}

#[test]
fn words_and_times() {
    let (mut server, _) = server();
    let conn = server.log_in("op");
    server.passes(conn, "<join room='R'/>");
    let long = "x".repeat(ROOM_PASSWORD_BYTES_MAX);
    server.passes(conn, &format!("<mode room='R' password='{long}'/>"));
    let error = "<error>Room password too long (limit 128 bytes)</error>";
    assert_eq!(server.send(conn, &format!("<mode room='R' password='{long}x'/>")), [error]);
    let long = "x".repeat(REASON_BYTES_MAX);
    server.passes(conn, &format!("<ban room='R' nick='n' reason='{long}'/>"));
    let error = "<error>Reason too long (limit 256 bytes)</error>";
    assert_eq!(server.send(conn, &format!("<ban room='R' nick='n' reason='{long}x'/>")), [error]);
    server.passes(conn, &format!("<ban room='R' nick='n' time='{SANCTION_TIME_S_MAX}'/>"));
    let error = format!("<error>Time too long (limit {SANCTION_TIME_S_MAX} s)</error>");
    let over = format!("<ban room='R' nick='n' time='{}'/>", SANCTION_TIME_S_MAX + 1);
    assert_eq!(server.send(conn, &over), [error]);
    let long = "x".repeat(65);
    let error = "<error>Nick too long (limit 64 bytes)</error>";
    assert_eq!(server.send(conn, &format!("<mute room='R' nick='{long}'/>")), [error]);
}
