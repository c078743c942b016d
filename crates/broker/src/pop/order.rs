//! Messages taken in order: a queue that a group took messages from is blocked for the group until they are acknowledged
//! or their time is over (Apache's `ConsumerOrderInfoManager`, `consumerOrderInfo.json`).

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use protocol::bodies::{OrderInfo, OrderInfos};

use crate::broker::Broker;
use crate::limits;

#[cfg(test)]
mod tests;

/// A queue of a topic as a group sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupQueue {
    pub(crate) topic: Arc<str>,
    pub(crate) group: Arc<str>,
    pub(crate) queue_id: i32,
}

/// What an acknowledgement does to the group's offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderAck {
    /// The group goes on there.
    Next(i64),
    /// Taken again since: no effect.
    Stale,
    /// Nothing is known of this, or only older things: what was taken shortly before a kill was not saved.
    Unknown,
    /// Not among the messages taken.
    Illegal,
}

#[derive(Debug)]
struct Blocked {
    info: OrderInfo,
    /// Its place among the releases.
    release: Option<(i64, u64)>,
}

/// What every group took in order.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    table: HashMap<GroupQueue, Blocked>,
    /// When queues become free because a time is over.
    releases: BTreeMap<(i64, u64), GroupQueue>,
    serial: u64,
    changes: u64,
}

impl Orders {
    pub(crate) fn load(file: OrderInfos, now_ms: i64) -> Orders {
        let mut orders = Orders::default();
        for (key, queues) in file.table {
            let Some((topic, group)) = key.split_once('@') else {
                continue;
            };
            let (topic, group): (Arc<str>, Arc<str>) = (topic.into(), group.into());
            for (queue_id, info) in queues {
                let key = GroupQueue {
                    topic: topic.clone(),
                    group: group.clone(),
                    queue_id,
                };
                orders.put(key, info, now_ms);
            }
        }
        orders.changes = 0;
        orders
    }

    pub(crate) fn to_file(&self) -> OrderInfos {
        let mut file = OrderInfos::default();
        for (key, blocked) in &self.table {
            let name = format!("{}@{}", key.topic, key.group);
            let queues = file.table.entry(name).or_default();
            queues.insert(key.queue_id, blocked.info.clone());
        }
        file
    }

    /// Changes since the start.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// The queues, and of each whether nobody took anything from it for a day.
    fn ages(&self, now_ms: i64) -> Vec<(GroupQueue, bool)> {
        let age = |blocked: &Blocked| now_ms.saturating_sub(blocked.info.last_consumed);
        let ages = self.table.iter();
        ages.map(|(key, blocked)| (key.clone(), age(blocked) > limits::ORDER_MS_MAX))
            .collect()
    }

    /// Whether the group has to wait before it may take from the queue. A try with the name of the one that has the messages
    /// gets them again.
    pub(crate) fn is_blocked(
        &self,
        key: &GroupQueue,
        attempt_id: Option<&str>,
        invisible_ms: i64,
        now_ms: i64,
    ) -> bool {
        let Some(Blocked { info, .. }) = self.table.get(key) else {
            return false;
        };
        if info.attempt_id.is_some() && info.attempt_id.as_deref() == attempt_id {
            return false;
        }
        open(info).any(|offset| now_ms < visible_ms(info, offset, invisible_ms))
    }

    /// The group takes these messages. Returns for each of them how often it was taken before.
    pub(crate) fn take(
        &mut self,
        key: GroupQueue,
        attempt_id: Option<&str>,
        pop_ms: i64,
        invisible_ms: i64,
        offsets: &[i64],
    ) -> Vec<i32> {
        let before = self.table.get(&key).map(|blocked| &blocked.info);
        let again = before.is_some_and(|before| {
            before.attempt_id.is_some() && before.attempt_id.as_deref() == attempt_id
        });
        let count = |offset: i64| {
            let Some(before) = before else {
                return 0;
            };
            let counts = before.consumed_counts.as_ref();
            let known = counts.and_then(|counts| counts.get(&offset)).copied();
            if again {
                known.unwrap_or(0)
            } else if all(before).any(|taken| taken == offset) {
                known.unwrap_or(0) + 1
            } else {
                0
            }
        };
        let counts: Vec<i32> = offsets.iter().map(|offset| count(*offset)).collect();
        let first = offsets.first().copied().unwrap_or(0);
        let distances = offsets.iter().skip(1).map(|offset| offset - first);
        let info = OrderInfo {
            attempt_id: attempt_id.map(str::to_owned),
            acked: 0,
            invisible_time: Some(invisible_ms),
            last_consumed: pop_ms,
            offsets: std::iter::once(first).chain(distances).collect(),
            consumed_counts: before.is_some().then(|| {
                let counted = offsets.iter().copied().zip(counts.iter().copied());
                counted.filter(|(_, count)| *count > 0).collect()
            }),
            visible_times: None,
            pop_time: pop_ms,
        };
        self.put(key, info, pop_ms);
        counts
    }

    /// The message was consumed.
    pub(crate) fn ack(
        &mut self,
        key: &GroupQueue,
        offset: i64,
        pop_ms: i64,
        now_ms: i64,
    ) -> OrderAck {
        let Some(Blocked { info, .. }) = self.table.get_mut(key) else {
            return OrderAck::Unknown;
        };
        match info.pop_time.cmp(&pop_ms) {
            Ordering::Less => return OrderAck::Unknown,
            Ordering::Equal => {}
            Ordering::Greater => return OrderAck::Stale,
        }
        let Some(index) = all(info).position(|taken| taken == offset) else {
            return OrderAck::Illegal;
        };
        info.acked |= 1 << index;
        let next = open(info).next();
        let behind = all(info).last().map_or(0, |last| last.saturating_add(1));
        self.changed(key, now_ms);
        OrderAck::Next(next.unwrap_or(behind))
    }

    /// The message shall come back at another time. Returns whether that is so now.
    pub(crate) fn change(
        &mut self,
        key: &GroupQueue,
        offset: i64,
        pop_ms: i64,
        visible_ms: i64,
        now_ms: i64,
    ) -> bool {
        let Some(Blocked { info, .. }) = self.table.get_mut(key) else {
            return false;
        };
        if info.pop_time != pop_ms || !all(info).any(|taken| taken == offset) {
            return false;
        }
        let times = info.visible_times.get_or_insert_default();
        times.insert(offset, visible_ms);
        self.changed(key, now_ms);
        true
    }

    /// The queue is free: its offset was reset.
    pub(crate) fn clear(&mut self, key: &GroupQueue) {
        if let Some(blocked) = self.table.remove(key) {
            self.changes += 1;
            if let Some(release) = blocked.release {
                self.releases.remove(&release);
            }
        }
    }

    /// The next time a queue becomes free.
    pub(crate) fn next_release(&self) -> Option<i64> {
        self.releases.keys().next().map(|(at_ms, _)| *at_ms)
    }

    /// Queues that became free because their time is over.
    pub(crate) fn take_released(&mut self, now_ms: i64) -> Vec<GroupQueue> {
        let mut free = Vec::new();
        while let Some(first) = self.releases.first_entry() {
            if first.key().0 > now_ms {
                break;
            }
            let key = first.remove();
            if let Some(blocked) = self.table.get_mut(&key) {
                blocked.release = None;
            }
            free.push(key);
        }
        free
    }

    /// Takes over what is known of a queue.
    pub(crate) fn put(&mut self, key: GroupQueue, info: OrderInfo, now_ms: i64) {
        let blocked = Blocked {
            info,
            release: None,
        };
        if let Some(before) = self.table.insert(key.clone(), blocked)
            && let Some(release) = before.release
        {
            self.releases.remove(&release);
        }
        self.changed(&key, now_ms);
    }

    fn changed(&mut self, key: &GroupQueue, now_ms: i64) {
        self.changes += 1;
        self.serial += 1;
        let Some(blocked) = self.table.get_mut(key) else {
            return;
        };
        if let Some(release) = blocked.release.take() {
            self.releases.remove(&release);
        }
        // It is free when the last of its messages is.
        let times = open(&blocked.info).map(|offset| visible_ms(&blocked.info, offset, 0));
        if let Some(at_ms) = times.max().filter(|at_ms| *at_ms > now_ms) {
            let release = (at_ms, self.serial);
            blocked.release = Some(release);
            self.releases.insert(release, key.clone());
        }
    }
}

impl Broker {
    /// Saves consumerOrderInfo.json if it has changed.
    pub(crate) fn save_orders(&self) {
        self.pops.orders.file.save_changes(|saved| {
            if self.pops.orders.state.read().changes() <= saved {
                return None;
            }
            let there = |key: &GroupQueue| {
                let topic = self.topic(&key.topic);
                topic.is_some_and(|topic| key.queue_id < topic.read_queue_nums)
                    && self.groups.state.read().find(&key.group).is_some()
            };
            let ages = self.pops.orders.state.read().ages(self.clock.now_ms());
            let gone: Vec<GroupQueue> = ages
                .into_iter()
                .filter(|(key, old)| *old || !there(key))
                .map(|(key, _)| key)
                .collect();
            let mut orders = self.pops.orders.state.write();
            gone.iter().for_each(|key| orders.clear(key));
            Some((orders.changes(), orders.to_file()))
        });
    }
}

/// Offsets of all messages taken; as many as there are bits for acknowledgements.
fn all(info: &OrderInfo) -> impl Iterator<Item = i64> {
    let first = info.offsets.first().copied().unwrap_or(0);
    let offsets = info.offsets.iter().enumerate().take(64);
    offsets.map(move |(index, value)| match index {
        0 => first,
        _ => first.saturating_add(*value),
    })
}

/// Those that are not acknowledged.
fn open(info: &OrderInfo) -> impl Iterator<Item = i64> {
    let acked = info.acked;
    let offsets = all(info).enumerate();
    offsets
        .filter(move |(index, _)| acked & 1 << index == 0)
        .map(|(_, offset)| offset)
}

/// When a message may be taken again. A file of an old broker may not have the invisible time.
fn visible_ms(info: &OrderInfo, offset: i64, invisible_ms: i64) -> i64 {
    let changed = info
        .visible_times
        .as_ref()
        .and_then(|times| times.get(&offset));
    let invisible_ms = info
        .invisible_time
        .filter(|ms| *ms > 0)
        .unwrap_or(invisible_ms);
    changed
        .copied()
        .unwrap_or_else(|| info.pop_time.saturating_add(invisible_ms))
}
