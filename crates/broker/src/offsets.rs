//! How far each group has consumed each queue: committed by clients (15, 11), asked for at their start (14).

use std::collections::HashMap;

use protocol::QueueOffset;
use protocol::bodies::{ConsumerOffsets, DataVersion};

#[cfg(test)]
mod tests;

/// Commits between two steps of the data version (Apache's consumerOffsetUpdateVersionStep).
const VERSION_STEP: u64 = 500;

/// Committed offsets, by `topic@group` and queue id, as consumerOffset.json has them.
#[derive(Default)]
pub(crate) struct Offsets {
    table: HashMap<String, HashMap<i32, QueueOffset>>,
    version: DataVersion,
    commits: u64,
    commits_saved: u64,
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
            .map(|(key, queues)| (key, queues.into_iter().collect()))
            .collect();
        Offsets {
            table,
            version: file.data_version,
            commits: 0,
            commits_saved: 0,
        }
    }

    /// Remembers that the group will go on at `offset`. Moving back is the client's right: that is how offsets are reset.
    pub(crate) fn commit(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: QueueOffset,
        now_ms: i64,
    ) {
        let previous = self
            .table
            .entry(key(group, topic))
            .or_default()
            .insert(queue_id, offset);
        if previous == Some(offset) {
            return;
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
        self.commits += 1;
        if self.commits.is_multiple_of(VERSION_STEP) {
            self.version = self.version.next(now_ms);
        }
    }

    pub(crate) fn committed(&self, group: &str, topic: &str, queue_id: i32) -> Option<QueueOffset> {
        self.table.get(&key(group, topic))?.get(&queue_id).copied()
    }

    /// What to write to consumerOffset.json, or `None` if nothing changed since the last call.
    pub(crate) fn unsaved(&mut self) -> Option<ConsumerOffsets> {
        if self.commits == self.commits_saved {
            return None;
        }
        self.commits_saved = self.commits;
        let offset_table = self
            .table
            .iter()
            .map(|(key, queues)| {
                (
                    key.clone(),
                    queues.iter().map(|(id, offset)| (*id, *offset)).collect(),
                )
            })
            .collect();
        Some(ConsumerOffsets {
            data_version: self.version,
            offset_table,
        })
    }

    /// The last [`unsaved`](Offsets::unsaved) did not reach the disk: try again at the next turn.
    pub(crate) fn not_saved(&mut self) {
        self.commits_saved = u64::MAX;
    }
}
