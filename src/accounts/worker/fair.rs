//! A queue that is shared fairly by address: each has its turn in a round, however many one puts
//! in, and there are so many of one and so many in all.
//!
//! An address is what it counts as: an IPv6 address its /64.

use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::limits::{JUDGE_QUEUE_MAX, JUDGE_QUEUE_PER_ADDRESS_MAX};
use crate::networks::household;

/// A queue between threads.
pub(super) struct Fair<T> {
    inner: Mutex<Queues<T>>,
    /// Something was put in, or nothing will be any more.
    changed: Condvar,
}

struct Queues<T> {
    by_address: BTreeMap<IpAddr, VecDeque<T>>,
    /// Those that have something here, in the order of their turns.
    round: VecDeque<IpAddr>,
    count: usize,
    closed: bool,
}

impl<T> Fair<T> {
    pub(super) fn new() -> Self {
        let inner =
            Queues { by_address: BTreeMap::new(), round: VecDeque::new(), count: 0, closed: false };
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    /// Puts something in for an address.
    ///
    /// # Errors
    /// Gives it back when there is too much, of this address or in all.
    pub(super) fn push(&self, address: IpAddr, item: T) -> Result<(), T> {
        let address = household(address);
        let mut inner = self.inner();
        let own = inner.by_address.get(&address).map_or(0, VecDeque::len);
        if inner.count == JUDGE_QUEUE_MAX || own == JUDGE_QUEUE_PER_ADDRESS_MAX {
            return Err(item);
        }
        if own == 0 {
            inner.round.push_back(address);
        }
        inner.by_address.entry(address).or_default().push_back(item);
        inner.count += 1;
        drop(inner);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes what is next; waits for it. `None` when it is closed and empty.
    pub(super) fn pop(&self) -> Option<T> {
        let mut inner = self.inner();
        loop {
            if let Some(item) = inner.take() {
                return Some(item);
            }
            if inner.closed {
                return None;
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing more will be put in.
    pub(super) fn close(&self) {
        self.inner().closed = true;
        self.changed.notify_all();
    }

    fn inner(&self) -> MutexGuard<'_, Queues<T>> {
        // Whoever panics has put in or taken out as a whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Queues<T> {
    fn take(&mut self) -> Option<T> {
        let address = self.round.pop_front()?;
        let own = self.by_address.get_mut(&address)?;
        let item = own.pop_front();
        if own.is_empty() {
            self.by_address.remove(&address);
        } else {
            self.round.push_back(address);
        }
        self.count -= 1;
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_turn_whatever_another_one_puts_in() {
        let queue = Fair::new();
        for number in 0..4 {
            queue.push(address(&format!("2001:db8::{number}")), format!("many {number}")).unwrap();
        }
        queue.push(address("192.0.2.1"), "one".to_owned()).unwrap();
        queue.push(address("2001:db8:0:1::"), "another".to_owned()).unwrap();
        queue.close();
        let all: Vec<String> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(all, ["many 0", "one", "another", "many 1", "many 2", "many 3"]);
    }

    #[test]
    fn there_are_so_many_of_one_address_and_so_many_in_all() {
        let queue = Fair::new();
        let mut count = 0;
        while queue.push(address("192.0.2.1"), count).is_ok() {
            count += 1;
        }
        assert_eq!(count, JUDGE_QUEUE_PER_ADDRESS_MAX);
        for number in count.. {
            let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
            if queue.push(IpAddr::from([10, 0, high, low]), number).is_err() {
                assert_eq!(number, JUDGE_QUEUE_MAX);
                break;
            }
        }
        assert_eq!(queue.pop(), Some(0));
        assert_eq!(queue.push(address("192.0.2.1"), 0), Ok(()), "there is room again");
    }
}
