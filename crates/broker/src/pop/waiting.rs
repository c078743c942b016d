//! Pops and notifications that wait for messages of a group's topic. One task watches the queues for all that wait for the
//! same; an arrival wakes one of them, which wakes the next if it leaves something.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use parking_lot::Mutex;
use protocol::QueueOffset;
use store::{Arrival, Queue};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::GroupQueue;
use crate::broker::Broker;
use crate::config::PopConfig;

/// All that wait. A negative queue id stands for all queues of the topic.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<GroupQueue, Arc<Waiting>>,
    count: usize,
}

/// Those that wait for the same.
#[derive(Debug, Default)]
struct Waiting {
    pops: Notify,
    notifications: Notify,
    /// The queues to watch may be others now.
    refresh: Notify,
    over: AtomicBool,
    /// Changed under the lock of the state.
    count: AtomicUsize,
}

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pop,
    Notification,
}

/// A place among those that wait.
pub(crate) struct Ticket {
    broker: Arc<Broker>,
    key: GroupQueue,
    kind: Kind,
    waiting: Arc<Waiting>,
}

impl Ticket {
    /// Completes when there may be a message. What comes after this was enabled is not missed.
    pub(crate) fn notified(&self) -> Notified<'_> {
        match self.kind {
            Kind::Pop => self.waiting.pops.notified(),
            Kind::Notification => self.waiting.notifications.notified(),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.broker.pops.waits.state.lock();
        state.count -= 1;
        if self.waiting.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            state.waiting.remove(&self.key);
            drop(state);
            self.waiting.over.store(true, Ordering::Release);
            self.waiting.refresh.notify_one();
        }
    }
}

impl Waits {
    /// A place; `None` when too many wait already.
    pub(crate) fn enter(broker: &Arc<Broker>, key: GroupQueue, kind: Kind) -> Option<Ticket> {
        let waits = &broker.pops.waits;
        let known = waits.state.lock().waiting.contains_key(&key);
        // What arrives from here on is noticed, by a watcher that is there or by the new one.
        let seen = (!known).then(|| Seen::at_end(broker.queues_of(&key)));
        let (waiting, watcher) = waits.place(&key, &broker.config.pop)?;
        if watcher {
            let seen = seen.unwrap_or_else(|| Seen::from_start(broker.queues_of(&key)));
            let watching = watch(broker.clone(), key.clone(), waiting.clone(), seen);
            broker.tasks.spawn(watching);
        }
        Some(Ticket {
            broker: broker.clone(),
            key,
            kind,
            waiting,
        })
    }

    /// A place among those that wait for the same, and whether they need a watcher.
    fn place(&self, key: &GroupQueue, config: &PopConfig) -> Option<(Arc<Waiting>, bool)> {
        let mut state = self.state.lock();
        if state.count >= config.waiting_max {
            return None;
        }
        let known = state.waiting.get(key).cloned();
        let watcher = known.is_none();
        let waiting = known.unwrap_or_default();
        if waiting.count.load(Ordering::Relaxed) > config.waiting_per_queue_max {
            return None;
        }
        if watcher {
            state.waiting.insert(key.clone(), waiting.clone());
        }
        state.count += 1;
        waiting.count.fetch_add(1, Ordering::Relaxed);
        Some((waiting, watcher))
    }

    /// There is something to take from a queue (any, if negative): wakes one that waits for it.
    pub(crate) fn notify(&self, key: &GroupQueue) {
        let find = |queue_id| {
            let key = GroupQueue {
                queue_id,
                ..key.clone()
            };
            self.state.lock().waiting.get(&key).cloned()
        };
        for queue_id in [Some(-1), (key.queue_id >= 0).then_some(key.queue_id)] {
            if let Some(waiting) = queue_id.and_then(find) {
                waiting.wake();
            }
        }
    }

    /// The group's topic has a queue more.
    pub(crate) fn refresh(&self, topic: &str, group: &str) {
        let state = self.state.lock();
        let of_those =
            |(key, _): &(&GroupQueue, &Arc<Waiting>)| *key.topic == *topic && *key.group == *group;
        let those = state.waiting.iter().filter(of_those);
        let those: Vec<Arc<Waiting>> = those.map(|(_, waiting)| waiting.clone()).collect();
        drop(state);
        for waiting in those {
            waiting.refresh.notify_one();
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.state.lock().count
    }
}

impl Waiting {
    fn wake(&self) {
        self.pops.notify_one();
        self.notifications.notify_one();
    }
}

/// Queues, each with the offset up to which its messages were told of.
struct Seen(Vec<(Arc<Queue>, QueueOffset)>);

impl Seen {
    fn at_end(queues: Vec<Arc<Queue>>) -> Seen {
        let seen = queues.into_iter().map(|queue| {
            let end = queue.max_visible();
            (queue, end)
        });
        Seen(seen.collect())
    }

    fn from_start(queues: Vec<Arc<Queue>>) -> Seen {
        let seen = queues.into_iter().map(|queue| (queue, QueueOffset(0)));
        Seen(seen.collect())
    }

    /// Watches these queues; all messages of those not watched so far are new.
    fn change(&mut self, queues: Vec<Arc<Queue>>) {
        let before = std::mem::take(&mut self.0);
        let seen = |queue: &Arc<Queue>| {
            let known = before.iter().find(|(known, _)| Arc::ptr_eq(known, queue));
            known.map_or(QueueOffset(0), |(_, seen)| *seen)
        };
        self.0 = queues
            .iter()
            .map(|queue| (queue.clone(), seen(queue)))
            .collect();
    }

    /// Completes when any has a new message.
    async fn arrival(&mut self) {
        let arrival = |(queue, seen): &(Arc<Queue>, QueueOffset)| queue.arrival(*seen);
        any(self.0.iter().map(arrival).collect()).await;
        for (queue, seen) in &mut self.0 {
            *seen = queue.max_visible();
        }
    }
}

/// Completes when one of them does; never, if there is none.
pub(super) async fn any(mut arrivals: Vec<Arrival>) {
    poll_fn(|context| {
        let ready = arrivals
            .iter_mut()
            .any(|arrival| Pin::new(arrival).poll(context).is_ready());
        if ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

async fn watch(broker: Arc<Broker>, key: GroupQueue, waiting: Arc<Waiting>, mut seen: Seen) {
    let mut stopped = pin!(broker.holds.stopped());
    while !waiting.over.load(Ordering::Acquire) {
        tokio::select! {
            () = seen.arrival() => waiting.wake(),
            () = waiting.refresh.notified() => seen.change(broker.queues_of(&key)),
            () = &mut stopped => return,
        }
    }
}
