//! What outlives the process, as records: rooms that are kept, and the server's bans and mutes.
//!
//! The hub makes records of its state and takes them in again, the store keeps them, and `palabre
//! store dump` prints them as JSON, one a line. Names are as people see them; what is the same nick
//! is found out anew by whoever reads a record.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::secret::HiddenText;

/// Something that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A room that is kept.
    Room(Box<RoomRecord>),
    /// A ban of a nick from the server.
    NickBan(NickRecord),
    /// A ban of a network from the server.
    NetworkBan(NetworkRecord),
    /// A nick that may not talk anywhere.
    Mute(NickRecord),
}

/// What names a record. Nicks are named by their comparison keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKey {
    /// The room of this name.
    Room(Box<str>),
    /// The ban of this nick.
    NickBan(Box<str>),
    /// The ban of this network.
    NetworkBan(Box<str>),
    /// The mute of this nick.
    Mute(Box<str>),
}

/// How what is kept changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is like this now, whatever it was.
    Put(Record),
    /// It is gone.
    Remove(RecordKey),
}

/// A room that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoomRecord {
    /// Its name.
    pub name: String,
    /// When it was created, in microseconds since 1970.
    pub created_unix_us: u64,
    /// Its place among those that were created at the same time: the least one comes first.
    pub place: u64,
    /// The room that it was created under, where that one is kept as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Its modes.
    pub modes: ModesRecord,
    /// Names and values, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<(String, String)>,
    /// Who may not come in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bans: Vec<NickRecord>,
    /// Who may not talk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mutes: Vec<NickRecord>,
    /// The roles of those whose nick was proven by a password.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleRecord>,
}

/// The modes of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModesRecord {
    /// `locked`.
    pub locked: bool,
    /// `password`; empty for none.
    #[serde(
        skip_serializing_if = "is_no_text",
        serialize_with = "show_text",
        deserialize_with = "hide_text"
    )]
    pub password: HiddenText,
    /// `limit`.
    pub limit: u32,
    /// `moderated`.
    pub moderated: bool,
    /// `hidden`.
    pub hidden: bool,
    /// `keep`; a room of the configuration stays without it.
    pub keep: bool,
    /// `history`.
    pub history: u32,
}

/// What holds for a nick.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NickRecord {
    /// As its client had it, or as it was written.
    pub nick: String,
    /// The household that a banned client had in a room, if it was one client's at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub household: Option<IpAddr>,
    /// The nick of whoever gave it; empty for a plugin.
    pub by: String,
    /// When it is over, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_unix_s: Option<u64>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A ban of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkRecord {
    /// An address, or a network with its length.
    pub network: String,
    /// The nick of whoever gave it; empty for a plugin.
    pub by: String,
    /// When it is over, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_unix_s: Option<u64>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A role that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoleRecord {
    /// Whose it is.
    pub nick: String,
    /// What it is called in a stanza.
    pub role: String,
}

fn is_no_text(text: &HiddenText) -> bool {
    text.text().is_empty()
}

fn show_text<S: serde::Serializer>(text: &HiddenText, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(text.text())
}

fn hide_text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<HiddenText, D::Error> {
    Ok(HiddenText::new(&String::deserialize(from)?))
}

impl Change {
    /// About how many bytes it takes to write it down.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put(record) => record.bytes(),
            Self::Remove(
                RecordKey::Room(name)
                | RecordKey::NickBan(name)
                | RecordKey::NetworkBan(name)
                | RecordKey::Mute(name),
            ) => HEAD_BYTES + name.len(),
        }
    }
}

/// What the names of fields take, about.
const HEAD_BYTES: usize = 64;

impl Record {
    fn bytes(&self) -> usize {
        match self {
            Self::Room(room) => room.bytes(),
            Self::NickBan(record) | Self::Mute(record) => record.bytes(),
            Self::NetworkBan(record) => {
                HEAD_BYTES
                    + record.network.len()
                    + record.by.len()
                    + record.reason.as_ref().map_or(0, String::len)
            }
        }
    }
}

impl RoomRecord {
    fn bytes(&self) -> usize {
        let params = self.params.iter().map(|(name, value)| HEAD_BYTES + name.len() + value.len());
        let nicks = self.bans.iter().chain(&self.mutes).map(NickRecord::bytes);
        let roles = self.roles.iter().map(|role| HEAD_BYTES + role.nick.len());
        4 * HEAD_BYTES + self.name.len() + params.chain(nicks).chain(roles).sum::<usize>()
    }
}

impl NickRecord {
    fn bytes(&self) -> usize {
        let reason = self.reason.as_ref().map_or(0, String::len);
        2 * HEAD_BYTES + self.nick.len() + self.by.len() + reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_that_people_can_read_and_write() {
        let line = r#"{"room":{"name":"Class","created_unix_us":1,"place":2,"modes":{"locked":false,"password":"pw","limit":0,"moderated":false,"hidden":false,"keep":true,"history":0},"params":[["title","a\nb"]],"bans":[{"nick":"Bob","household":"192.0.2.1","by":"Ann","until_unix_s":9}]}}"#;
        let record: Record = serde_json::from_str(line).expect("a record");
        assert_eq!(serde_json::to_string(&record).expect("text"), line);
        assert!(!format!("{record:?}").contains("pw"), "a password is not shown");
        let short = r#"{"room":{"name":"Class","modes":{"keep":true}}}"#;
        assert!(serde_json::from_str::<Record>(short).is_ok(), "what is not said is as usual");
        let wrong = r#"{"mute":{"nick":"Bob","untill":1}}"#;
        assert!(serde_json::from_str::<Record>(wrong).is_err(), "a word that means nothing");
    }
}
