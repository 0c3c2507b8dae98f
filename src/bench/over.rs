//! What the generator's connections speak, and how many of them speak what.

use std::fmt;
use std::str::FromStr;

use super::error::near;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// Stanzas as they are.
    Stanzas,
    /// Each stanza in a binary frame of a WebSocket.
    WebSocket,
    /// Stanzas in TLS.
    Tls,
    /// A WebSocket in TLS.
    Wss,
}

impl Spoken {
    const ALL: [(&str, Self); 4] = [
        ("stanzas", Self::Stanzas),
        ("websocket", Self::WebSocket),
        ("tls", Self::Tls),
        ("wss", Self::Wss),
    ];

    /// As it is called on the command line.
    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, over)| *over == self).map_or("", |(name, _)| name)
    }

    /// Whether records of TLS are around it.
    pub(super) const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Whether it is a WebSocket.
    pub(super) const fn is_web_socket(self) -> bool {
        matches!(self, Self::WebSocket | Self::Wss)
    }
}

/// What the connections of a run speak, and in which shares: `websocket`, or several with a
/// number each, `websocket:5000,tls:1000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    shares: Vec<(Spoken, usize)>,
    /// Whether the numbers were given, and are connections.
    counted: bool,
}

impl Mix {
    /// All speak this.
    pub(super) fn of(over: Spoken) -> Self {
        Self { shares: vec![(over, 1)], counted: false }
    }

    /// So many connections are meant, if a number was given.
    pub(super) fn connections(&self) -> Option<usize> {
        self.counted.then(|| self.total())
    }

    /// Whether nothing stands between any connection and its stanzas.
    pub(super) fn is_plain(&self) -> bool {
        self.has(|over| over == Spoken::Stanzas) && self.shares.len() == 1
    }

    /// Whether a certificate is needed.
    pub(super) fn is_secure(&self) -> bool {
        self.has(Spoken::is_secure)
    }

    /// What so many connections speak together: what, and how many of them.
    pub(super) fn dealt(&self, connections: usize) -> Vec<(Spoken, usize)> {
        let mut dealer = Dealer::new(self.clone());
        let mut dealt: Vec<(Spoken, usize)> =
            self.shares.iter().map(|&(over, _)| (over, 0)).collect();
        for _ in 0..connections {
            let over = dealer.deal();
            if let Some((_, count)) = dealt.iter_mut().find(|(other, _)| *other == over) {
                *count += 1;
            }
        }
        dealt
    }

    fn has(&self, is: impl Fn(Spoken) -> bool) -> bool {
        self.shares.iter().any(|&(over, _)| is(over))
    }

    fn total(&self) -> usize {
        self.shares.iter().map(|&(_, share)| share).sum()
    }
}

impl Default for Mix {
    fn default() -> Self {
        Self::of(Spoken::Stanzas)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (over, share)) in self.shares.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", over.name())?;
            if self.counted {
                write!(f, ":{share}")?;
            }
        }
        Ok(())
    }
}

/// More connections than any host has ports for.
const SHARE_MAX: usize = 10_000_000;

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = Spoken::ALL.iter().map(|(name, _)| *name).collect();
        let needs = |name: &str| {
            let near = near(name, &names);
            format!(
                "found {text:?}, needs one of {}, or several with a number of connections each: \
                 websocket:5000,tls:1000{near}",
                names.join(", ")
            )
        };
        let parts: Vec<&str> = text.split(',').collect();
        let counted = text.contains(':');
        let mut shares: Vec<(Spoken, usize)> = Vec::new();
        for part in &parts {
            let (name, number) = part.split_once(':').unwrap_or((part, ""));
            let over = Spoken::ALL.iter().find(|(other, _)| *other == name).map(|&(_, over)| over);
            let share = if number.is_empty() && !counted && parts.len() == 1 {
                Some(1)
            } else {
                number.parse().ok().filter(|share| (1..=SHARE_MAX).contains(share))
            };
            let (Some(over), Some(share)) = (over, share) else {
                return Err(needs(name));
            };
            if shares.iter().any(|(other, _)| *other == over) {
                return Err(needs(name));
            }
            shares.push((over, share));
        }
        Ok(Self { shares, counted })
    }
}

/// Tells each connection what to speak, so that any number in a row has the shares as nearly as
/// can be: each that was not taken gains its share, and whoever has gained most is next.
#[derive(Clone, Debug)]
pub(super) struct Dealer {
    mix: Mix,
    gained: Vec<i64>,
}

impl Dealer {
    /// One that has not dealt yet.
    pub(super) fn new(mix: Mix) -> Self {
        let gained = vec![0; mix.shares.len()];
        Self { mix, gained }
    }

    /// What is dealt.
    pub(super) const fn mix(&self) -> &Mix {
        &self.mix
    }

    /// What the next connection speaks.
    pub(super) fn deal(&mut self) -> Spoken {
        let mut next = 0;
        for (index, (_, share)) in self.mix.shares.iter().enumerate() {
            self.gained[index] += *share as i64;
            if self.gained[index] > self.gained[next] {
                next = index;
            }
        }
        self.gained[next] -= self.mix.total() as i64;
        self.mix.shares[next].0
    }

    /// Begins from the start.
    pub(super) fn restart(&mut self) {
        self.gained.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_dealt_evenly_and_in_the_end_exactly() {
        let mix: Mix = "websocket:5,tls:2,stanzas:1".parse().unwrap();
        assert_eq!(mix.connections(), Some(8));
        assert!(mix.is_secure() && !mix.is_plain());
        assert_eq!(
            mix.dealt(16),
            [(Spoken::WebSocket, 10), (Spoken::Tls, 4), (Spoken::Stanzas, 2)],
            "all of them twice"
        );
        let mut dealer = Dealer::new(mix);
        let dealt: Vec<&str> = (0..8).map(|_| dealer.deal().name()).collect();
        let (w, t, s) = ("websocket", "tls", "stanzas");
        assert_eq!(dealt, [w, t, w, w, s, w, t, w]);
    }

    #[test]
    fn one_alone_needs_no_number() {
        let mix: Mix = "wss".parse().unwrap();
        assert_eq!((mix.connections(), mix.dealt(3)), (None, vec![(Spoken::Wss, 3)]));
        assert_eq!("stanzas".parse::<Mix>().unwrap(), Mix::default());
        assert!(Mix::default().is_plain() && !Mix::default().is_secure());
        assert_eq!("tls:7".parse::<Mix>().unwrap().connections(), Some(7));
        for text in ["wss", "websocket:5000,tls:1000"] {
            assert_eq!(text.parse::<Mix>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_can_not_be_dealt_is_refused() {
        for text in
            ["", "ssl", "tls,wss", "tls:", "tls:0", "tls:1,wss", "tls:1,tls:2", "tls:x", "tls:-1"]
        {
            let error = text.parse::<Mix>().unwrap_err();
            assert!(error.contains("needs one of stanzas, websocket, tls, wss"), "{text}: {error}");
        }
    }
}
