//! What plugins are answered when they ask about rooms and clients: no byte of it is white space
//! between elements.

use core::net::IpAddr;
use std::io::Write as _;

use super::super::Part;
use crate::session_id::ConnId;

/// A client.
#[derive(Clone, Copy, Debug)]
pub struct ClientEntry<'a> {
    /// Its nick.
    pub nick: &'a str,
    /// Its session.
    pub session: ConnId,
    /// Where it comes from.
    pub address: IpAddr,
    /// Whether it is the operator of the room that was asked about.
    pub operator: bool,
}

/// The beginning of a plugin's answer about clients, those of a room or all; [`client`]s
/// and [`clients_end`] follow.
pub fn clients_begin(buffer: &mut Vec<u8>, room: Option<&str>, clients: usize) {
    put!(buffer, b"<clients");
    if let Some(room) = room {
        put!(buffer, b" room='", room, b"'");
    }
    put!(buffer, b" nb='", clients, b"'>");
}

/// One client of a plugin's answer.
pub fn client(buffer: &mut Vec<u8>, client: ClientEntry<'_>) {
    put!(buffer, b"<client name='", client.nick, b"' session='");
    session(buffer, client.session);
    put!(buffer, b"'");
    if client.operator {
        put!(buffer, b" operator='1'");
    }
    // Writing into a vector can't fail.
    let _ = write!(buffer, " address='{}' />", client.address);
}

/// The end of a plugin's answer about clients.
pub fn clients_end(buffer: &mut Vec<u8>) {
    put!(buffer, b"</clients>");
}

/// The beginning of a plugin's answer about a room's params; [`param`]s and [`params_end`]
/// follow.
pub fn room_params_begin(buffer: &mut Vec<u8>, room: &str) {
    put!(buffer, b"<params room='", room, b"'>");
}

/// The beginning of a plugin's answer about a client's params; [`param`]s and
/// [`params_end`] follow.
pub fn client_params_begin(buffer: &mut Vec<u8>, nick: &str, id: ConnId) {
    put!(buffer, b"<params nick='", nick, b"' session='");
    session(buffer, id);
    put!(buffer, b"'>");
}

/// One param of a plugin's answer.
pub fn param(buffer: &mut Vec<u8>, name: &str, value: &str) {
    put!(buffer, b"<param name='", name, b"' value='", value, b"' />");
}

/// The end of a plugin's answer about params.
pub fn params_end(buffer: &mut Vec<u8>) {
    put!(buffer, b"</params>");
}

fn session(buffer: &mut Vec<u8>, id: ConnId) {
    // Writing into a vector can't fail.
    let _ = write!(buffer, "{}", id.spelled());
}
