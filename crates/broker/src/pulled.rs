//! How far groups have pulled since the start, for tools (208). Every answer to a pull notes it, so that costs no allocation and,
//! where the group has pulled before, no lock that others wait for.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::RwLock;
use protocol::QueueOffset;

use crate::limits;

/// Where the next pull of each group will be in each queue. Known by the hash of their names: two that share one (of 2^64, and
/// nobody can choose it) would be shown to tools with one number.
#[derive(Default)]
pub(crate) struct Pulled {
    hasher: RandomState,
    places: RwLock<HashMap<u64, AtomicI64>>,
}

impl Pulled {
    /// Remembers that the group's next pull will be at `next`. With too many to remember all are forgotten: what a group committed
    /// is shown until it pulls again.
    pub(crate) fn note(&self, group: &str, topic: &str, queue_id: i32, next: QueueOffset) {
        let key = self.hasher.hash_one((group, topic, queue_id));
        if let Some(place) = self.places.read().get(&key) {
            return place.store(next.0, Ordering::Relaxed);
        }
        let mut places = self.places.write();
        if places.len() >= limits::PULLED_MAX {
            places.clear();
        }
        places.insert(key, AtomicI64::new(next.0));
    }

    /// How far the group has pulled, if it is remembered.
    pub(crate) fn last(&self, group: &str, topic: &str, queue_id: i32) -> Option<QueueOffset> {
        let key = self.hasher.hash_one((group, topic, queue_id));
        let places = self.places.read();
        let place = places.get(&key)?;
        Some(QueueOffset(place.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pull_is_known_and_not_too_many_are() {
        let pulled = Pulled::default();
        pulled.note("G", "T", 0, QueueOffset(5));
        pulled.note("G", "T", 1, QueueOffset(6));
        pulled.note("G", "T", 0, QueueOffset(4));
        assert_eq!(pulled.last("G", "T", 0), Some(QueueOffset(4)));
        assert_eq!(pulled.last("G", "T", 1), Some(QueueOffset(6)));
        assert_eq!(pulled.last("H", "T", 0), None);
        assert_eq!(pulled.places.read().len(), 2);
        for queue_id in 0..limits::PULLED_MAX as i32 {
            pulled.note("H", "T", queue_id, QueueOffset(1));
        }
        assert!(pulled.places.read().len() <= limits::PULLED_MAX);
        let newest = limits::PULLED_MAX as i32 - 1;
        assert_eq!(pulled.last("H", "T", newest), Some(QueueOffset(1)));
    }
}
