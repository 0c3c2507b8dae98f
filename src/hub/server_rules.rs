//! Bans and mutes of the whole server, as the hub remembers them.

use core::net::IpAddr;
use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv6Net};
use prefix_trie::PrefixMap;

use super::records::nick_record;
use super::room_rules::{giver, is_over};
use crate::limits::{SERVER_BANS_MAX, SERVER_MUTES_MAX};
use crate::networks;
use crate::nick::comparison_key;
use crate::record::{NetworkRecord, NickRecord, Record, RecordKey};
use crate::session_id::ConnId;
use crate::wire::write::extension as write;

/// A ban of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerBan {
    pub(super) by: Box<str>,
    pub(super) until_unix_s: Option<u64>,
    pub(super) reason: Option<Box<str>>,
}

/// Bans of a nick, or of a network of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NickBan {
    pub(super) nick: Box<str>,
    pub(super) ban: ServerBan,
}

/// Who is muted everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerMute {
    pub(super) nick: Box<str>,
    pub(super) by: Box<str>,
    pub(super) until_unix_s: Option<u64>,
}

/// What keeps order on the server.
#[derive(Debug, Default)]
pub(super) struct ServerRules {
    /// By the comparison key of the nick.
    pub(super) nicks: BTreeMap<Box<str>, NickBan>,
    /// IPv4 networks stand in it as those of the IPv6 addresses that stand for them.
    pub(super) networks: PrefixMap<Ipv6Net, ServerBan>,
    /// By the comparison key of the nick.
    pub(super) mutes: BTreeMap<Box<str>, ServerMute>,
    /// Sessions that a ban fits, and which are still to be ended.
    pub(super) ending: Vec<ConnId>,
}

impl ServerRules {
    /// How many bans there are.
    pub(super) fn bans(&self) -> usize {
        self.nicks.len() + self.networks.len()
    }

    /// The ban that an address is in. Of several the widest tells.
    pub(super) fn ban_of_address(&self, address: IpAddr, unix_s: u64) -> Option<&ServerBan> {
        if self.networks.is_empty() {
            return None;
        }
        let host = as_ipv6(IpNet::from(address));
        self.networks.cover_values(&host).find(|ban| !is_over(ban.until_unix_s, unix_s))
    }

    /// The ban of a nick, by its comparison key.
    pub(super) fn ban_of_nick(&self, key: &str, unix_s: u64) -> Option<&ServerBan> {
        let found = self.nicks.get(key).map(|found| &found.ban);
        found.filter(|ban| !is_over(ban.until_unix_s, unix_s))
    }

    /// Whether a nick is muted, by its comparison key.
    pub(super) fn mutes(&self, key: &str, unix_s: u64) -> bool {
        self.mutes.get(key).is_some_and(|mute| !is_over(mute.until_unix_s, unix_s))
    }

    /// Forgets what is over, and gives it.
    pub(super) fn forget_over(&mut self, unix_s: u64) -> Vec<RecordKey> {
        let mut over = Vec::new();
        self.nicks.retain(|key, found| {
            let holds = !is_over(found.ban.until_unix_s, unix_s);
            if !holds {
                over.push(RecordKey::NickBan(key.clone()));
            }
            holds
        });
        self.networks.retain(|network, ban| {
            let holds = !is_over(ban.until_unix_s, unix_s);
            if !holds {
                over.push(RecordKey::NetworkBan(shown(*network).into()));
            }
            holds
        });
        self.mutes.retain(|key, mute| {
            let holds = !is_over(mute.until_unix_s, unix_s);
            if !holds {
                over.push(RecordKey::Mute(key.clone()));
            }
            holds
        });
        over
    }

    /// What names the records of all bans and mutes.
    pub(super) fn keys(&self) -> impl Iterator<Item = RecordKey> {
        let nicks = self.nicks.keys().cloned().map(RecordKey::NickBan);
        let networks = self.networks.iter();
        let networks = networks.map(|(network, _)| RecordKey::NetworkBan(shown(network).into()));
        let mutes = self.mutes.keys().cloned().map(RecordKey::Mute);
        nicks.chain(networks).chain(mutes)
    }

    /// The record of a ban or mute, while it is there.
    pub(super) fn record(&self, key: &RecordKey) -> Option<Record> {
        match key {
            RecordKey::NickBan(key) => {
                let NickBan { nick, ban } = self.nicks.get(key)?;
                Some(Record::NickBan(NickRecord {
                    reason: ban.reason.as_deref().map(Into::into),
                    ..nick_record(nick, &ban.by, ban.until_unix_s)
                }))
            }
            RecordKey::NetworkBan(network) => {
                let ban = self.networks.get(&as_ipv6(networks::parse(network).ok()?))?;
                Some(Record::NetworkBan(NetworkRecord {
                    network: (**network).into(),
                    by: (*ban.by).into(),
                    until_unix_s: ban.until_unix_s,
                    reason: ban.reason.as_deref().map(Into::into),
                }))
            }
            RecordKey::Mute(key) => {
                let ServerMute { nick, by, until_unix_s } = self.mutes.get(key)?;
                Some(Record::Mute(nick_record(nick, by, *until_unix_s)))
            }
            RecordKey::Room(_) => None,
        }
    }

    /// Takes in what a record says, where nobody is there yet; gives what names it. `None` where
    /// there is no room for it, or it is no ban or mute.
    pub(super) fn restore(&mut self, record: &Record) -> Option<RecordKey> {
        let has_room = self.bans() < SERVER_BANS_MAX;
        let ban = |by: &str, until_unix_s, reason: &Option<String>| ServerBan {
            by: by.into(),
            until_unix_s,
            reason: reason.as_deref().map(Into::into),
        };
        match record {
            Record::NickBan(found) if has_room => {
                let key = comparison_key(&found.nick)?;
                let ban = ban(&found.by, found.until_unix_s, &found.reason);
                self.nicks.insert(key.clone(), NickBan { nick: (*found.nick).into(), ban });
                Some(RecordKey::NickBan(key))
            }
            Record::NetworkBan(found) if has_room => {
                let network = as_ipv6(networks::parse(&found.network).ok()?);
                let ban = ban(&found.by, found.until_unix_s, &found.reason);
                self.networks.insert(network, ban);
                Some(RecordKey::NetworkBan(shown(network).into()))
            }
            Record::Mute(found) if self.mutes.len() < SERVER_MUTES_MAX => {
                let key = comparison_key(&found.nick)?;
                let mute = ServerMute {
                    nick: (*found.nick).into(),
                    by: (*found.by).into(),
                    until_unix_s: found.until_unix_s,
                };
                self.mutes.insert(key.clone(), mute);
                Some(RecordKey::Mute(key))
            }
            Record::Room(_) | Record::NickBan(_) | Record::NetworkBan(_) | Record::Mute(_) => None,
        }
    }
}

impl ServerBan {
    /// What whoever it holds for is told.
    pub(super) fn told(&self) -> String {
        let until = self.until_unix_s.map(|until| format!(" until {}", write::time(until)));
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}"));
        format!("You are banned{}{}", until.unwrap_or_default(), reason.unwrap_or_default())
    }

    pub(super) const fn sanction(&self) -> write::Sanction<'_> {
        write::Sanction {
            room: None,
            nick: None,
            address: None,
            by: giver(&self.by),
            until_unix_s: self.until_unix_s,
            reason: match &self.reason {
                Some(reason) => Some(reason),
                None => None,
            },
        }
    }
}

/// A network of IPv4 as that of the IPv6 addresses that stand for its own.
pub(super) fn as_ipv6(network: IpNet) -> Ipv6Net {
    const MAPPED_PREFIX: u8 = 96;
    match network {
        IpNet::V6(network) => network.trunc(),
        IpNet::V4(network) => Ipv6Net::new_assert(
            network.trunc().addr().to_ipv6_mapped(),
            MAPPED_PREFIX + network.prefix_len(),
        ),
    }
}

/// A network as it is shown: one of IPv4 as such.
pub(super) fn shown(network: Ipv6Net) -> String {
    let shown = match network.addr().to_ipv4_mapped() {
        Some(address) if network.prefix_len() >= 96 => {
            ipnet::Ipv4Net::new_assert(address, network.prefix_len() - 96).into()
        }
        Some(_) | None => IpNet::V6(network),
    };
    networks::show(&shown)
}
