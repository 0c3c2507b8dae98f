//! How the server spells its stanzas, from the examples in manual: protocol,
//! 'Session', 'Rooms', 'Child rooms', 'Params', 'Messages' and 'Root'.

use palabre::hub::Time;

/// A value between either kind of quotes.
pub(crate) fn value(raw: &str) -> String {
    raw.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&apos;")
        .replace('\t', "&#9;")
        .replace('\n', "&#10;")
        .replace('\r', "&#13;")
}

/// Text between tags.
pub(crate) fn text(raw: &str) -> String {
    raw.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\r', "&#13;")
}

pub(crate) fn error(what: &str) -> String {
    format!("<error>{}</error>", text(what))
}

/// A room's description, with those of its params that are to be told.
pub(crate) fn room(
    name: &str,
    clients: usize,
    parent: Option<&str>,
    params: &[(String, String)],
) -> String {
    let parent = parent.map_or_else(String::new, |parent| format!("parent='{}' ", value(parent)));
    let mut out = format!("<room name='{}' clients='{clients}' {parent}>", value(name));
    for (name, content) in params {
        out += &format!("\n <param name='{}' value='{}' />", value(name), value(content));
    }
    out + "\n</room>"
}

pub(crate) fn rooms(rooms: &[String]) -> String {
    let mut out = format!("<rooms nb='{}'>\n", rooms.len());
    for room in rooms {
        out += room;
        out += "\n";
    }
    out + "</rooms>"
}

pub(crate) fn child_rooms(name: &str, children: &[String]) -> String {
    format!("<childrooms name='{}'>{}\n</childrooms>", value(name), children.concat())
}

/// A client list; each client is a nick and its params.
pub(crate) fn clients(room: &str, clients: &[(String, Vec<(String, String)>)]) -> String {
    let mut out = format!("<clients room='{}' nb='{}'>\n", value(room), clients.len());
    for (nick, params) in clients {
        if params.is_empty() {
            out += &format!("  <client name='{}' />\n", value(nick));
            continue;
        }
        out += &format!("  <client name='{}' >", value(nick));
        for (name, content) in params {
            out += &format!("\n<param name='{}' value='{}' />", value(name), value(content));
        }
        out += "\n  </client>\n";
    }
    out + "</clients>"
}

/// What `getinfo` tells about a room.
pub(crate) fn room_info(
    name: &str,
    params: &[(String, String)],
    nicks: &[String],
    children: &[String],
    created: &str,
    messages: u64,
) -> String {
    let mut out = format!("<roominfo name='{}'><params>", value(name));
    for (name, content) in params {
        out += &format!("\n <param name='{}' value='{}' />", value(name), value(content));
    }
    out += "</params><clients >";
    for nick in nicks {
        out += &format!("\n <client name='{}' />", value(nick));
    }
    out += "\n</clients><childrooms >";
    for child in children {
        out += &format!("\n <room name='{}' />", value(child));
    }
    out + "\n</childrooms><infos>"
        + &format!("<info name='createdtime' value='{created}' />")
        + &format!("<info name='nbmessages' value='{messages}' /></infos></roominfo>")
}

/// The UTC date and time at `now`, when the server started at `unix_start_us`.
pub(crate) fn date_time(unix_start_us: u64, now: Time) -> String {
    let us = unix_start_us + now.0 / 1_000;
    let (mut days, us_of_day) = (us / 86_400_000_000, us % 86_400_000_000);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let seconds = us_of_day / 1_000_000;
    format!(
        "{year:04}-{month:02}-{:02} {:02}:{:02}:{:02}.{:06}",
        days + 1,
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        us_of_day % 1_000_000
    )
}
