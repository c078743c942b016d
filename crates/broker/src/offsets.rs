//! How far each group has consumed each queue: committed by clients (15, 11), asked for at their start (14).

use std::collections::HashMap;
use std::sync::Arc;

use protocol::QueueOffset;
use protocol::bodies::{ConsumerOffsets, DataVersion};

#[cfg(test)]
mod tests;

/// Commits between two steps of the data version (Apache's consumerOffsetUpdateVersionStep).
const VERSION_STEP: u64 = 500;

type Queues = HashMap<i32, QueueOffset>;

/// Committed offsets, by `topic@group` and queue id, as consumerOffset.json has them.
#[derive(Default)]
pub(crate) struct Offsets {
    /// Shared with snapshots: what changes while there is one is copied.
    table: HashMap<Arc<str>, Arc<Queues>>,
    /// Where an operator set groups, until their next pull is told. Not kept over a restart, unlike the offsets themselves.
    resets: HashMap<String, Queues>,
    version: DataVersion,
    /// Changes since the start.
    commits: u64,
}

fn key(group: &str, topic: &str) -> String {
    let mut key = String::with_capacity(topic.len() + 1 + group.len());
    key.push_str(topic);
    key.push('@');
    key.push_str(group);
    key
}

impl Offsets {
    pub(crate) fn load(file: ConsumerOffsets) -> Offsets {
        let table = file
            .offset_table
            .into_iter()
            .map(|(key, queues)| (key.into(), Arc::new(queues.into_iter().collect())))
            .collect();
        Offsets {
            table,
            version: file.data_version,
            ..Offsets::default()
        }
    }

    /// Remembers that the group will go on at `offset`; returns false, and does not, while it was reset and has not been told
    /// yet. Moving back is the client's right.
    pub(crate) fn commit(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: QueueOffset,
        now_ms: i64,
    ) -> bool {
        let key = key(group, topic);
        if !self.resets.is_empty() && self.is_reset(&key, queue_id) {
            return false;
        }
        let previous = self.set(&key, queue_id, offset);
        if previous == Some(offset) {
            return true;
        }
        if let Some(previous) = previous.filter(|previous| *previous > offset) {
            tracing::info!(
                group,
                topic,
                queue_id,
                previous = previous.0,
                offset = offset.0,
                "a committed offset moves back"
            );
        }
        self.changed(now_ms);
        true
    }

    fn set(&mut self, key: &str, queue_id: i32, offset: QueueOffset) -> Option<QueueOffset> {
        match self.table.get_mut(key) {
            Some(queues) => Arc::make_mut(queues).insert(queue_id, offset),
            None => {
                let queues = Queues::from([(queue_id, offset)]);
                self.table.insert(key.into(), Arc::new(queues));
                None
            }
        }
    }

    fn changed(&mut self, now_ms: i64) {
        self.commits += 1;
        if self.commits.is_multiple_of(VERSION_STEP) {
            self.version = self.version.next(now_ms);
        }
    }

    fn is_reset(&self, key: &str, queue_id: i32) -> bool {
        let queues = self.resets.get(key);
        queues.is_some_and(|queues| queues.contains_key(&queue_id))
    }

    /// Lets the group go on at `offset`, whatever it commits before its next pull.
    pub(crate) fn reset(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: QueueOffset,
        now_ms: i64,
    ) {
        let key = key(group, topic);
        let queues = self.resets.entry(key.clone()).or_default();
        queues.insert(queue_id, offset);
        self.set(&key, queue_id, offset);
        self.changed(now_ms);
    }

    /// Whether a group was reset and has not been told yet.
    pub(crate) fn has_resets(&self) -> bool {
        !self.resets.is_empty()
    }

    /// Where the group was set, for the pull that tells it.
    pub(crate) fn take_reset(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: i32,
    ) -> Option<QueueOffset> {
        let key = key(group, topic);
        let queues = self.resets.get_mut(&key)?;
        let offset = queues.remove(&queue_id);
        if queues.is_empty() {
            self.resets.remove(&key);
        }
        offset
    }

    /// The topics a group has offsets in.
    pub(crate) fn topics_of(&self, group: &str) -> impl Iterator<Item = &str> {
        let pairs = self.table.keys().filter_map(|key| key.split_once('@'));
        pairs
            .filter(move |(_, known)| *known == group)
            .map(|(topic, _)| topic)
    }

    /// The groups that have offsets in a topic.
    pub(crate) fn groups_of(&self, topic: &str) -> impl Iterator<Item = &str> {
        let pairs = self.table.keys().filter_map(|key| key.split_once('@'));
        pairs
            .filter(move |(known, _)| *known == topic)
            .map(|(_, group)| group)
    }

    pub(crate) fn committed(&self, group: &str, topic: &str, queue_id: i32) -> Option<QueueOffset> {
        self.table
            .get(key(group, topic).as_str())?
            .get(&queue_id)
            .copied()
    }

    /// Moves offsets beyond the end of their queue back to it; returns how many. `end` knows no queues of topics that are gone.
    pub(crate) fn lower(&mut self, end: impl Fn(&str, i32) -> Option<QueueOffset>) -> usize {
        let mut lowered = 0;
        for (key, queues) in &mut self.table {
            let topic = key.split_once('@').map_or("", |(topic, _)| topic);
            for (queue_id, offset) in Arc::make_mut(queues) {
                if let Some(end) = end(topic, *queue_id).filter(|end| *end < *offset) {
                    *offset = end;
                    lowered += 1;
                }
            }
        }
        self.commits += lowered as u64;
        lowered
    }

    /// Changes since the start.
    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }

    /// All offsets as they are now, to be written without the lock that guards this.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let queues = self.table.iter();
        Snapshot {
            version: self.version,
            table: queues
                .map(|(key, queues)| (key.clone(), queues.clone()))
                .collect(),
        }
    }
}

/// See [`Offsets::snapshot`].
pub(crate) struct Snapshot {
    version: DataVersion,
    table: Vec<(Arc<str>, Arc<Queues>)>,
}

impl Snapshot {
    /// What consumerOffset.json holds.
    pub(crate) fn to_table(&self) -> ConsumerOffsets {
        let queues = |queues: &Queues| queues.iter().map(|(id, offset)| (*id, *offset)).collect();
        let offset_table = self
            .table
            .iter()
            .map(|(key, offsets)| (key.to_string(), queues(offsets)))
            .collect();
        ConsumerOffsets {
            data_version: self.version,
            offset_table,
        }
    }
}
