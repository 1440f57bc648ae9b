//! How many connections each address has, on all shards together: what keeps one peer from taking the whole table.
//!
//! A table of counts by the address's hash, shared without a lock. Two addresses that fall together (one in 65,536) are
//! counted as one; which ones do is unlike at every start, so nobody can aim at another's. An IPv6 peer is its /64, which
//! is what one subscriber is given.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::limits::ADDRESS_PLACES;

/// Shared by all shards.
#[derive(Debug)]
pub struct Addresses {
    counts: Vec<AtomicU32>,
    keys: RandomState,
    connections_max: u32,
}

impl Addresses {
    /// Nothing is counted when there is no bound.
    pub fn new(connections_max: Option<u32>) -> Arc<Addresses> {
        let places = connections_max.map_or(0, |_| ADDRESS_PLACES);
        Arc::new(Addresses {
            counts: (0..places).map(|_| AtomicU32::new(0)).collect(),
            keys: RandomState::new(),
            connections_max: connections_max.unwrap_or(u32::MAX),
        })
    }

    /// One more connection of `address`; false, and it is not counted, when it has as many as it may.
    pub fn enter(&self, address: IpAddr) -> bool {
        let Some(count) = self.count_of(address) else {
            return true;
        };
        let room = |count: u32| (count < self.connections_max).then_some(count + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    /// A connection that entered is gone.
    pub fn leave(&self, address: IpAddr) {
        if let Some(count) = self.count_of(address) {
            let before = count.fetch_sub(1, Ordering::Relaxed);
            debug_assert!(before > 0, "who leaves has entered");
        }
    }

    fn count_of(&self, address: IpAddr) -> Option<&AtomicU32> {
        if self.counts.is_empty() {
            return None;
        }
        let hash = self.keys.hash_one(subscriber(address));
        self.counts.get(hash as usize % self.counts.len())
    }
}

fn subscriber(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_as_many_as_it_may_and_again_when_some_have_left() {
        let addresses = Addresses::new(Some(3));
        let (a, b) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert!((0..3).all(|_| addresses.enter(a)) && !addresses.enter(a) && !addresses.enter(a));
        // Two addresses are counted apart, but for one pair in so many.
        assert!(addresses.enter(b) || ADDRESS_PLACES < 1000);
        addresses.leave(a);
        assert!(addresses.enter(a) && !addresses.enter(a));
    }

    #[test]
    fn a_network_of_one_subscriber_is_one_address() {
        let addresses = Addresses::new(Some(1));
        let [one, same, other] = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"];
        assert!(addresses.enter(one.parse().unwrap()) && !addresses.enter(same.parse().unwrap()));
        assert_ne!(subscriber(other.parse().unwrap()), subscriber(one.parse().unwrap()));
    }

    #[test]
    fn without_a_bound_nobody_is_counted() {
        let addresses = Addresses::new(None);
        let a = "192.0.2.1".parse().unwrap();
        assert!((0..100_000).all(|_| addresses.enter(a)));
        addresses.leave(a);
    }
}
