//! Which client owns which queue: the locks that orderly consumers take (41), renew every 20 s and give back (42).

use std::collections::HashMap;

use protocol::bodies::MessageQueue;

use crate::limits;

#[cfg(test)]
mod tests;

/// The locks of all groups. A lock that was not renewed for [`limits::LOCK_MS_MAX`] belongs to whoever asks next.
#[derive(Default)]
pub(crate) struct Locks {
    groups: HashMap<String, HashMap<MessageQueue, Lock>>,
    count: usize,
}

struct Lock {
    client_id: String,
    renewed_ms: i64,
}

impl Lock {
    fn expired(&self, now_ms: i64) -> bool {
        now_ms - self.renewed_ms > limits::LOCK_MS_MAX
    }
}

impl Locks {
    /// Takes or renews what it can; returns the queues that `client_id` now owns.
    pub(crate) fn acquire(
        &mut self,
        group: &str,
        client_id: &str,
        queues: Vec<MessageQueue>,
        now_ms: i64,
    ) -> Vec<MessageQueue> {
        if queues.is_empty() || self.count >= limits::LOCKS_MAX && !self.groups.contains_key(group)
        {
            return Vec::new();
        }
        let locks = match self.groups.get_mut(group) {
            Some(locks) => locks,
            None => self.groups.entry(group.to_owned()).or_default(),
        };
        let mut owned = Vec::with_capacity(queues.len());
        for queue in queues {
            match locks.get_mut(&queue) {
                Some(lock) if lock.client_id == client_id => lock.renewed_ms = now_ms,
                Some(lock) if lock.expired(now_ms) => {
                    tracing::info!(
                        group,
                        client_id,
                        previous = lock.client_id,
                        ?queue,
                        "took over an expired queue lock"
                    );
                    lock.client_id = client_id.to_owned();
                    lock.renewed_ms = now_ms;
                }
                Some(_) => continue,
                None if self.count >= limits::LOCKS_MAX => continue,
                None => {
                    locks.insert(
                        queue.clone(),
                        Lock {
                            client_id: client_id.to_owned(),
                            renewed_ms: now_ms,
                        },
                    );
                    self.count += 1;
                }
            }
            owned.push(queue);
        }
        owned
    }

    /// Gives back the queues that `client_id` owns; the others stay as they are.
    pub(crate) fn release(&mut self, group: &str, client_id: &str, queues: &[MessageQueue]) {
        let Some(locks) = self.groups.get_mut(group) else {
            return;
        };
        for queue in queues {
            if locks
                .get(queue)
                .is_some_and(|lock| lock.client_id == client_id)
            {
                locks.remove(queue);
                self.count -= 1;
            }
        }
        if locks.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Gives back all that `client_id` owns of the group's: it has left.
    pub(crate) fn release_all(&mut self, group: &str, client_id: &str) {
        let Some(locks) = self.groups.get_mut(group) else {
            return;
        };
        let before = locks.len();
        locks.retain(|_, lock| lock.client_id != client_id);
        self.count -= before - locks.len();
        if locks.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Whether some client of the group holds a queue, which makes it an orderly group.
    pub(crate) fn held(&self, group: &str, now_ms: i64) -> bool {
        self.groups
            .get(group)
            .is_some_and(|locks| locks.values().any(|lock| !lock.expired(now_ms)))
    }

    /// Forgets locks nobody renewed, so that clients that vanished do not fill the table.
    pub(crate) fn forget_expired(&mut self, now_ms: i64) {
        self.groups.retain(|_, locks| {
            locks.retain(|_, lock| !lock.expired(now_ms));
            !locks.is_empty()
        });
        self.count = self.groups.values().map(HashMap::len).sum();
    }
}
