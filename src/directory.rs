//! The arbiter's table: who publishes which name, and which shard is its home (DESIGN.md 4.5). Every name has one
//! arbiter, `hash(name) mod shards`; a directory holds the names of one shard's arbitration.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use penstock_shard::mesh::ShardId;

use crate::app::Shortage;
use crate::config::SecondPublisher;
use crate::limits;
use crate::messages::ClaimId;
use crate::names::StreamName;

/// The shard that arbitrates `name`.
pub fn arbiter_of(name: &StreamName, shards: usize) -> ShardId {
    let mut hasher = DefaultHasher::new();
    name.as_str().hash(&mut hasher);
    ShardId((hasher.finish() % shards as u64) as u16)
}

/// How many streams have their home on each shard, which placement follows, and how short of memory they are. Shared by
/// all shards; a recent value is good enough.
#[derive(Debug)]
pub struct Homes {
    streams: Vec<AtomicU32>,
    pub shortage: Shortage,
}

impl Homes {
    pub fn new(shards: usize) -> Arc<Homes> {
        Arc::new(Homes {
            streams: (0..shards).map(|_| AtomicU32::new(0)).collect(),
            shortage: Shortage::new(shards),
        })
    }

    /// The shard with the fewest streams, `preferred` among equals; counts the new one.
    fn place(&self, preferred: ShardId) -> ShardId {
        let load = |shard: usize| (self.streams[shard].load(Ordering::Relaxed), shard != preferred.index());
        let shard = (0..self.streams.len())
            .min_by_key(|shard| load(*shard))
            .unwrap_or(preferred.index());
        self.streams[shard].fetch_add(1, Ordering::Relaxed);
        ShardId(shard as u16)
    }

    fn leave(&self, shard: ShardId) {
        self.streams[shard.index()].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Owned by one shard.
#[derive(Debug)]
pub struct Directory {
    entries: HashMap<StreamName, Entry>,
    homes: Arc<Homes>,
}

#[derive(Debug)]
struct Entry {
    home: ShardId,
    publisher: Option<ClaimId>,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    Granted {
        home: ShardId,
    },
    /// Granted; the publisher with this claim is to be ended by `home`.
    Replaced {
        home: ShardId,
        former: ClaimId,
    },
    /// Somebody publishes.
    Busy,
    /// The directory is full.
    Full,
}

impl Directory {
    pub fn new(homes: Arc<Homes>) -> Self {
        Directory {
            entries: HashMap::new(),
            homes,
        }
    }

    /// A publisher on shard `from` wants `name`. A new name gets the least loaded shard as its home.
    pub fn claim(&mut self, name: &StreamName, claim: ClaimId, from: ShardId, second: SecondPublisher) -> Grant {
        if let Some(entry) = self.entries.get_mut(name) {
            return match (entry.publisher, second) {
                (None, _) => {
                    entry.publisher = Some(claim);
                    Grant::Granted { home: entry.home }
                }
                (Some(former), SecondPublisher::Replace) => {
                    entry.publisher = Some(claim);
                    Grant::Replaced {
                        home: entry.home,
                        former,
                    }
                }
                (Some(_), SecondPublisher::Refuse) => Grant::Busy,
            };
        }
        if self.entries.len() >= limits::NAMES_PER_ARBITER_MAX {
            return Grant::Full;
        }
        let home = self.homes.place(from);
        self.entries.insert(
            name.clone(),
            Entry {
                home,
                publisher: Some(claim),
            },
        );
        Grant::Granted { home }
    }

    /// As [`Directory::claim`], for a publisher that cannot move: a name whose home is elsewhere is busy.
    pub fn claim_at(&mut self, name: &StreamName, claim: ClaimId, home: ShardId) -> Grant {
        if self.entries.contains_key(name) {
            return Grant::Busy;
        }
        self.homes.streams[home.index()].fetch_add(1, Ordering::Relaxed);
        self.entries.insert(
            name.clone(),
            Entry {
                home,
                publisher: Some(claim),
            },
        );
        Grant::Granted { home }
    }

    /// Whether `claim` has the name still.
    pub fn holds(&self, name: &StreamName, claim: ClaimId) -> bool {
        let entry = self.entries.get(name);
        entry.is_some_and(|entry| entry.publisher == Some(claim))
    }

    /// The publisher of `claim` is gone; the stream may still be at its home, which is returned when the name is vacant.
    pub fn release(&mut self, name: &StreamName, claim: ClaimId) -> Option<ShardId> {
        let entry = self.entries.get_mut(name)?;
        if entry.publisher != Some(claim) {
            return None;
        }
        entry.publisher = None;
        Some(entry.home)
    }

    /// The stream is gone from its home. A publisher that was granted the name meanwhile keeps it.
    pub fn gone(&mut self, name: &StreamName) {
        if self.entries.get(name).is_some_and(|entry| entry.publisher.is_none())
            && let Some(entry) = self.entries.remove(name)
        {
            self.homes.leave(entry.home);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn home(&self, name: &StreamName) -> Option<ShardId> {
        self.entries.get(name).map(|entry| entry.home)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> StreamName {
        StreamName::sanitise(text).unwrap().name
    }

    #[test]
    fn a_name_has_one_publisher_and_keeps_its_home() {
        let mut directory = Directory::new(Homes::new(2));
        let (a, b) = (name("a"), name("b"));
        let claim =
            |directory: &mut Directory, name, id, second| directory.claim(name, ClaimId(id), ShardId(1), second);
        let home = ShardId(1);
        assert_eq!(
            claim(&mut directory, &a, 1, SecondPublisher::Refuse),
            Grant::Granted { home }
        );
        assert_eq!(
            claim(&mut directory, &b, 9, SecondPublisher::Refuse),
            Grant::Granted { home: ShardId(0) },
            "less loaded"
        );
        assert_eq!(claim(&mut directory, &a, 2, SecondPublisher::Refuse), Grant::Busy);
        let replaced = Grant::Replaced {
            home,
            former: ClaimId(1),
        };
        assert_eq!(claim(&mut directory, &a, 3, SecondPublisher::Replace), replaced);
        assert!(!directory.holds(&a, ClaimId(1)) && directory.holds(&a, ClaimId(3)));
        assert_eq!(directory.release(&a, ClaimId(1)), None);
        directory.gone(&a);
        assert_eq!(
            directory.home(&a),
            Some(home),
            "the replaced publisher's end is not the newer one's"
        );
        assert_eq!(directory.release(&a, ClaimId(3)), Some(home));
        assert_eq!(
            claim(&mut directory, &a, 4, SecondPublisher::Refuse),
            Grant::Granted { home }
        );
        directory.release(&a, ClaimId(4));
        directory.gone(&a);
        directory.gone(&a);
        assert_eq!(directory.home(&a), None);
        let counts: Vec<_> = directory
            .homes
            .streams
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        assert_eq!(counts, [1, 0], "b is at home on the first shard, nothing on the second");
    }

    #[test]
    fn every_shard_arbitrates_some_names_and_all_agree() {
        let mut seen = [0; 8];
        for number in 0..800 {
            seen[arbiter_of(&name(&format!("stream{number}")), 8).index()] += 1;
        }
        assert!(seen.iter().all(|count| *count > 40), "{seen:?}");
    }
}
