//! All queues by topic and id.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use super::Queue;
use crate::checkpoint::QueueTotals;

/// A topic whose name can't be a directory's, or a negative queue id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no queue can be named \"{topic}\" {id}")]
pub struct QueueNameError {
    /// As asked for.
    pub topic: String,
    /// As asked for.
    pub id: i32,
}

/// Sorted by id. Nearly always the ids are those from 0 on, so that a queue is where its id says.
type QueuesOfTopic = Vec<Arc<Queue>>;

#[derive(Debug, Default)]
pub(crate) struct Table {
    /// The name is shared with the queues.
    topics: RwLock<FxHashMap<Arc<str>, QueuesOfTopic>>,
    numbers: AtomicU32,
}

impl Table {
    pub(crate) fn find(&self, topic: &str, id: i32) -> Option<Arc<Queue>> {
        let topics = self.topics.read();
        let queues = topics.get(topic)?;
        let at = place(queues, id).ok()?;
        Some(queues[at].clone())
    }

    pub(crate) fn find_or_create(
        &self,
        topic: &str,
        id: i32,
    ) -> Result<Arc<Queue>, QueueNameError> {
        if let Some(queue) = self.find(topic, id) {
            return Ok(queue);
        }
        if !is_file_name(topic) || id < 0 {
            let topic = topic.to_owned();
            return Err(QueueNameError { topic, id });
        }
        let mut topics = self.topics.write();
        let name = match topics.get_key_value(topic) {
            Some((name, _)) => name.clone(),
            None => Arc::from(topic),
        };
        let queues = topics.entry(name.clone()).or_default();
        let at = match place(queues, id) {
            Ok(at) => at,
            Err(at) => {
                let number = self.numbers.fetch_add(1, Ordering::Relaxed);
                // Most topics have few: a doubled vector would be half empty.
                queues.reserve_exact(1);
                queues.insert(at, Arc::new(Queue::new(name, id, number)));
                at
            }
        };
        Ok(queues[at].clone())
    }

    /// The queues of a topic, by id.
    pub(crate) fn of_topic(&self, topic: &str) -> Vec<Arc<Queue>> {
        let topics = self.topics.read();
        topics.get(topic).cloned().unwrap_or_default()
    }

    /// The topics that have a queue, sorted.
    pub(crate) fn topics(&self) -> Vec<String> {
        let mut topics: Vec<_> = self
            .topics
            .read()
            .keys()
            .map(|topic| topic.to_string())
            .collect();
        topics.sort_unstable();
        topics
    }

    /// What all queues have had.
    pub(crate) fn totals(&self) -> QueueTotals {
        let next = self.all().into_iter().map(|queue| queue.next());
        next.filter(|next| *next > 0)
            .fold(QueueTotals::default(), |totals, next| QueueTotals {
                queues: totals.queues + 1,
                next: totals.next.wrapping_add(next),
            })
    }

    /// Every queue, in the order in which they were found or made.
    pub(crate) fn all(&self) -> Vec<Arc<Queue>> {
        let topics = self.topics.read();
        let mut all: Vec<_> = topics.values().flatten().cloned().collect();
        drop(topics);
        all.sort_unstable_by_key(|queue| queue.number());
        all
    }
}

/// Where a queue is, or would be.
fn place(queues: &[Arc<Queue>], id: i32) -> Result<usize, usize> {
    let at = id as usize;
    match queues.get(at) {
        Some(queue) if queue.id() == id => Ok(at),
        _ => queues.binary_search_by_key(&id, |queue| queue.id()),
    }
}

/// One plain component of a path, on any platform.
fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && name != "."
        && name != ".."
        && !name.contains(['/', '\\', '\0', ':'])
}
