//! Hash tables keyed by a secret that is handed in.

use std::collections::HashMap;
use std::hash::BuildHasher;

use siphasher::sip::SipHasher13;

use super::HashKey;

/// A hash table whose buckets a peer can't aim at.
pub(super) type Table<K, V> = HashMap<K, V, KeyedState>;

/// SipHash-1-3 under the hub's key; what std uses, but reproducible.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyedState(HashKey);

impl KeyedState {
    pub(super) const fn new(key: HashKey) -> Self {
        Self(key)
    }

    pub(super) fn table<K, V>(key: HashKey) -> Table<K, V> {
        HashMap::with_hasher(Self(key))
    }
}

impl BuildHasher for KeyedState {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0.0, self.0.1)
    }
}
