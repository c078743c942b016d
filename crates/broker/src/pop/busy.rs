//! Queues that somebody takes from, or goes back in, right now: one at a time for each group.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::pin::pin;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::order::GroupQueue;
use super::waiting::Waits;

#[derive(Default)]
pub(super) struct Busy {
    /// By hash of group, topic and queue (two with the same one wait for each other): what those wait for who were turned
    /// away meanwhile.
    state: Mutex<HashMap<u64, HashSet<GroupQueue>>>,
    freed: Notify,
    hasher: std::hash::RandomState,
}

/// A queue that is ours; let go when dropped. Then those who were turned away look again: what they were woken for may have
/// come after we looked.
pub(super) struct BusyGuard<'a> {
    busy: &'a Busy,
    waits: &'a Waits,
    hash: u64,
}

impl Drop for BusyGuard<'_> {
    fn drop(&mut self) {
        let turned_away = self.busy.state.lock().remove(&self.hash);
        self.busy.freed.notify_waiters();
        for wanted in turned_away.into_iter().flatten() {
            self.waits.notify(&wanted);
        }
    }
}

impl Busy {
    /// `None` while somebody else has it; then those that wait for `wanted` are woken when it is free.
    pub(super) fn try_take<'a>(
        &'a self,
        waits: &'a Waits,
        (group, topic, queue_id): (&str, &str, i32),
        wanted: impl FnOnce() -> GroupQueue,
    ) -> Option<BusyGuard<'a>> {
        let hash = self.hasher.hash_one((group, topic, queue_id));
        let mut state = self.state.lock();
        if let Some(turned_away) = state.get_mut(&hash) {
            turned_away.insert(wanted());
            return None;
        }
        state.insert(hash, HashSet::new());
        drop(state);
        Some(BusyGuard {
            busy: self,
            waits,
            hash,
        })
    }

    /// Waits for its turn, which is as long as a read from the store.
    pub(super) async fn take<'a>(
        &'a self,
        waits: &'a Waits,
        (group, topic, queue_id): (&str, &str, i32),
    ) -> BusyGuard<'a> {
        let hash = self.hasher.hash_one((group, topic, queue_id));
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Entry::Vacant(free) = self.state.lock().entry(hash) {
                free.insert(HashSet::new());
                return BusyGuard {
                    busy: self,
                    waits,
                    hash,
                };
            }
            freed.await;
        }
    }
}
