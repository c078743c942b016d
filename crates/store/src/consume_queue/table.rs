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

type QueuesOfTopic = FxHashMap<i32, Arc<Queue>>;

#[derive(Debug, Default)]
pub(crate) struct Table {
    topics: RwLock<FxHashMap<Box<str>, QueuesOfTopic>>,
    numbers: AtomicU32,
}

impl Table {
    pub(crate) fn find(&self, topic: &str, id: i32) -> Option<Arc<Queue>> {
        self.topics.read().get(topic)?.get(&id).cloned()
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
        let queues = match topics.get_mut(topic) {
            Some(queues) => queues,
            None => topics.entry(topic.into()).or_default(),
        };
        let new = || {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            Arc::new(Queue::new(topic, id, number))
        };
        Ok(queues.entry(id).or_insert_with(new).clone())
    }

    /// The queues of a topic, by id.
    pub(crate) fn of_topic(&self, topic: &str) -> Vec<Arc<Queue>> {
        let topics = self.topics.read();
        let mut queues: Vec<_> = topics
            .get(topic)
            .map(|queues| queues.values().cloned().collect())
            .unwrap_or_default();
        queues.sort_unstable_by_key(|queue: &Arc<Queue>| queue.id());
        queues
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

    /// Every queue, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Queue>> {
        let topics = self.topics.read();
        topics
            .values()
            .flat_map(|queues| queues.values().cloned())
            .collect()
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
