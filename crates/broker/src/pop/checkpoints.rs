//! Which messages were taken by pop and are not acknowledged: what the revive topic says, folded.
//!
//! Every record of the revive topic changes this table exactly once: those that this broker appends are noted by whoever
//! appended them, all others by the reader that follows the topic.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use protocol::bodies::CheckPoint;

use crate::limits;

#[cfg(test)]
mod tests;

/// Names a check point.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Topic the messages were taken from: the producer's or a retry topic.
    pub(crate) topic: Arc<str>,
    pub(crate) group: Arc<str>,
    pub(crate) queue_id: i32,
    pub(crate) start: i64,
    pub(crate) pop_ms: i64,
}

/// Messages that one pop took from one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) key: Key,
    pub(crate) invisible_ms: i64,
    /// Distance of each message from the start.
    pub(crate) distances: Box<[i32]>,
    /// Bit n: message n is acknowledged.
    pub(crate) acked: u32,
}

impl Taken {
    /// When its messages come back.
    pub(crate) fn due_ms(&self) -> i64 {
        self.key.pop_ms.saturating_add(self.invisible_ms)
    }

    fn all(&self) -> u32 {
        debug_assert!((1..=32).contains(&self.distances.len()));
        u32::MAX >> (32 - self.distances.len())
    }

    /// The bits of these offsets.
    fn mask(&self, offsets: &[i64]) -> u32 {
        let bit = |distance: &i32| {
            let offset = self.key.start.saturating_add(i64::from(*distance));
            offsets.contains(&offset)
        };
        let bits = self.distances.iter().enumerate();
        bits.filter(|(_, distance)| bit(distance))
            .fold(0, |mask, (index, _)| mask | 1 << index)
    }

    /// The offsets of these bits.
    pub(crate) fn offsets(&self, mask: u32) -> impl Iterator<Item = i64> {
        let bits = self.distances.iter().enumerate();
        bits.filter(move |(index, _)| mask & 1 << index != 0)
            .map(|(_, distance)| self.key.start.saturating_add(i64::from(*distance)))
    }

    /// What is not acknowledged.
    pub(crate) fn open_offsets(&self) -> impl Iterator<Item = i64> {
        self.offsets(self.all() & !self.acked)
    }

    /// As a record of the revive topic has it.
    pub(crate) fn to_record(&self, broker: &str) -> CheckPoint {
        CheckPoint {
            bit_map: self.acked as i32,
            broker_name: broker.to_owned(),
            group: self.key.group.to_string(),
            distances: self.distances.to_vec(),
            invisible_time: self.invisible_ms,
            count: self.distances.len() as i8,
            pop_time: self.key.pop_ms,
            queue_id: self.key.queue_id,
            revive_offset: 0,
            re_put_times: None,
            start_offset: self.key.start,
            topic: self.key.topic.to_string(),
        }
    }

    /// Of a record; `None` if it holds no messages, or says what can't be.
    pub(crate) fn of_record(record: &CheckPoint) -> Option<Taken> {
        let count = usize::try_from(record.count).ok()?;
        let dense = || (0..i32::from(record.count)).collect();
        let distances: Box<[i32]> = match record.distances.is_empty() {
            true => dense(),
            false => record.distances.as_slice().into(),
        };
        let sound = (1..=limits::POP_MAX as usize).contains(&count)
            && distances.len() == count
            && distances.iter().all(|distance| *distance >= 0)
            && record.start_offset >= 0
            && record.queue_id >= 0
            && !record.topic.is_empty()
            && !record.group.is_empty();
        sound.then(|| Taken {
            key: Key {
                topic: record.topic.as_str().into(),
                group: record.group.as_str().into(),
                queue_id: record.queue_id,
                start: record.start_offset,
                pop_ms: record.pop_time,
            },
            invisible_ms: record.invisible_time,
            distances,
            acked: record.bit_map as u32,
        })
    }
}

/// Where a record of the revive topic is: queue and offset.
pub(crate) type At = (i32, i64);

/// A check point with messages that are not acknowledged.
#[derive(Debug)]
struct Open {
    taken: Taken,
    at: At,
    /// Its place among the deadlines.
    due: (i64, u64),
    /// Bits whose acknowledgements are on their way into the log: neither acknowledged nor due, and nobody else's.
    pending: u32,
    /// Its messages are being put into the retry topic: nobody may acknowledge them any more.
    reviving: bool,
}

/// A queue of the revive topic.
#[derive(Debug, Default)]
struct Log {
    /// Records of open check points.
    open: BTreeMap<i64, Key>,
    /// All records before are in the table.
    applied: i64,
    /// So are these.
    ahead: BTreeSet<i64>,
}

/// The open check points.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    open: HashMap<Key, Open>,
    due: BTreeMap<(i64, u64), Key>,
    /// How many each group has open.
    of_group: HashMap<Arc<str>, usize>,
    early: HashMap<Key, Early>,
    /// When those that are too late were last taken out of them.
    swept_ms: i64,
    logs: Vec<Log>,
    serial: u64,
}

/// Messages whose check point is still to come.
#[derive(Debug, Default)]
struct Early {
    offsets: Vec<i64>,
    until_ms: i64,
}

/// How often those that are too late are looked for, at most: all are looked at.
const SWEEP_MS: i64 = 1_000;

/// An acknowledgement that may be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acking {
    /// The messages' bits ...
    pub(crate) mask: u32,
    /// ... and their offsets.
    pub(crate) offsets: Vec<i64>,
    /// It closes the check point.
    pub(crate) is_last: bool,
    /// Queue of the revive topic the record belongs into.
    pub(crate) revive_queue: i32,
}

impl Checkpoints {
    /// Of a revive topic with so many queues, each read from an offset on.
    pub(crate) fn new(starts: impl IntoIterator<Item = i64>) -> Checkpoints {
        let log = |applied| Log {
            applied,
            ..Log::default()
        };
        Checkpoints {
            open: HashMap::new(),
            due: BTreeMap::new(),
            of_group: HashMap::new(),
            early: HashMap::new(),
            swept_ms: 0,
            logs: starts.into_iter().map(log).collect(),
            serial: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Queues of the revive topic that are followed.
    pub(crate) fn queues(&self) -> i32 {
        i32::try_from(self.logs.len()).unwrap_or(i32::MAX)
    }

    /// Whether so many are open that the group may not have more.
    pub(crate) fn is_full(&self, group: &str) -> bool {
        self.open.len() >= limits::CHECKPOINTS_MAX
            || self
                .of_group
                .get(group)
                .is_some_and(|count| *count >= limits::CHECKPOINTS_PER_GROUP_MAX)
    }

    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.open.contains_key(key)
    }

    /// A check point's record is at this place. One that is known is replaced: it was put again.
    pub(crate) fn add(&mut self, taken: Taken, at: At, due_ms: i64) {
        if !self.apply(at) {
            return;
        }
        let (mut taken, mut at, mut pending) = (taken, at, 0);
        if let Some(before) = self.remove(&taken.key) {
            // What was acknowledged meanwhile is only in records behind the old place.
            if before.taken.acked & !taken.acked != 0 || before.pending != 0 {
                at = before.at;
            }
            taken.acked |= before.taken.acked;
            pending = before.pending;
        }
        if let Some(early) = self.early.remove(&taken.key) {
            taken.acked |= taken.mask(&early.offsets);
        }
        if taken.acked & taken.all() == taken.all() {
            return;
        }
        let due = self.at_due(due_ms, &taken.key);
        if let Some(log) = self.log(at.0) {
            log.open.insert(at.1, taken.key.clone());
        }
        *self.of_group.entry(taken.key.group.clone()).or_default() += 1;
        let open = Open {
            at,
            due,
            pending,
            reviving: false,
            taken,
        };
        self.open.insert(open.taken.key.clone(), open);
    }

    /// A record at this place says that these messages are acknowledged.
    pub(crate) fn acked(&mut self, key: &Key, offsets: &[i64], at: At) {
        if self.apply(at)
            && let Some(open) = self.open.get_mut(key)
        {
            open.taken.acked |= open.taken.mask(offsets);
            self.close_if_done(key);
        }
    }

    /// Another record, which changes nothing, is at this place.
    pub(crate) fn skip(&mut self, at: At) {
        self.apply(at);
    }

    /// Somebody wants to acknowledge these messages: `None` if none of them is open. Must be ended by [`Checkpoints::end_ack`].
    pub(crate) fn begin_ack(&mut self, key: &Key, offsets: &[i64]) -> Option<Acking> {
        let open = self.open.get_mut(key).filter(|open| !open.reviving)?;
        let mask = open.taken.mask(offsets) & !open.taken.acked & !open.pending;
        if mask == 0 {
            return None;
        }
        open.pending |= mask;
        Some(Acking {
            mask,
            offsets: open.taken.offsets(mask).collect(),
            is_last: (open.taken.acked | mask) & open.taken.all() == open.taken.all(),
            revive_queue: open.at.0,
        })
    }

    /// The acknowledgement's record is at this place, or was not appended.
    pub(crate) fn end_ack(&mut self, key: &Key, mask: u32, at: Option<At>) {
        if let Some(at) = at {
            self.apply(at);
        }
        let Some(open) = self.open.get_mut(key) else {
            return;
        };
        open.pending &= !mask;
        if at.is_some() {
            open.taken.acked |= mask;
            self.close_if_done(key);
        }
    }

    /// Check points whose time has come, at most `max`: their messages can no longer be acknowledged until they are either
    /// revived or postponed. One that is just being acknowledged comes a little later.
    pub(crate) fn take_due(&mut self, now_ms: i64, max: usize) -> Vec<Taken> {
        let due: Vec<Key> = self
            .due
            .range(..=(now_ms, u64::MAX))
            .map(|(_, key)| key)
            .filter(|key| {
                let open = self.open.get(*key);
                open.is_some_and(|open| open.pending == 0)
            })
            .take(max)
            .cloned()
            .collect();
        let mut taken = Vec::with_capacity(due.len());
        for key in due {
            if let Some(open) = self.open.get_mut(&key) {
                self.due.remove(&open.due);
                open.reviving = true;
                taken.push(open.taken.clone());
            }
        }
        taken
    }

    /// What could not be revived, or will never be: tried again then, or given up.
    pub(crate) fn postpone(&mut self, key: &Key, due_ms: Option<i64>) {
        let Some(due_ms) = due_ms else {
            self.remove(key);
            return;
        };
        let due = self.at_due(due_ms, key);
        match self.open.get_mut(key) {
            Some(open) => {
                open.reviving = false;
                open.due = due;
            }
            None => {
                self.due.remove(&due);
            }
        }
    }

    /// All records of a queue before this one are in the table, or can't be read.
    pub(crate) fn skip_to(&mut self, revive_queue: i32, offset: i64) {
        let Some(log) = self.log(revive_queue) else {
            return;
        };
        log.applied = log.applied.max(offset);
        log.ahead = log.ahead.split_off(&log.applied);
        while log.ahead.remove(&log.applied) {
            log.applied += 1;
        }
    }

    /// Queue of the revive topic that has a check point.
    pub(crate) fn revive_queue(&self, key: &Key) -> Option<i32> {
        self.open.get(key).map(|open| open.at.0)
    }

    /// These messages are acknowledged, but their check point is still to come: Apache's timer has it.
    pub(crate) fn ack_early(&mut self, key: Key, offsets: &[i64], until_ms: i64, now_ms: i64) {
        if self.early.len() >= limits::EARLY_ACKS_MAX && now_ms > self.swept_ms + SWEEP_MS {
            self.swept_ms = now_ms;
            self.early.retain(|_, early| early.until_ms >= now_ms);
        }
        if self.early.len() < limits::EARLY_ACKS_MAX || self.early.contains_key(&key) {
            let early = self.early.entry(key).or_default();
            early.until_ms = until_ms;
            for offset in offsets {
                let room = early.offsets.len() < limits::POP_MAX as usize;
                if room && !early.offsets.contains(offset) {
                    early.offsets.push(*offset);
                }
            }
        }
    }

    /// For how many check points still to come there are acknowledgements.
    #[cfg(test)]
    pub(crate) fn early(&self) -> usize {
        self.early.len()
    }

    /// The next deadline.
    pub(crate) fn next_due(&self) -> Option<i64> {
        let first = self.due.keys().next();
        first.map(|(due_ms, _)| *due_ms)
    }

    /// Whether messages are on their way back.
    #[cfg(test)]
    pub(crate) fn is_reviving(&self) -> bool {
        self.open.values().any(|open| open.reviving)
    }

    /// The first record of a queue that is needed to know what is open.
    pub(crate) fn needed_from(&self, revive_queue: i32) -> Option<i64> {
        let log = self.logs.get(usize::try_from(revive_queue).ok()?)?;
        let oldest = log.open.keys().next().copied();
        Some(oldest.map_or(log.applied, |oldest| oldest.min(log.applied)))
    }

    /// The first record of a queue that is not in the table.
    pub(crate) fn applied(&self, revive_queue: i32) -> Option<i64> {
        let log = self.logs.get(usize::try_from(revive_queue).ok()?)?;
        Some(log.applied)
    }

    /// Open check points of a queue whose records are before an offset, oldest first, at most `max`.
    pub(crate) fn open_before(&self, revive_queue: i32, offset: i64, max: usize) -> Vec<Taken> {
        let Some(log) = self
            .logs
            .get(usize::try_from(revive_queue).unwrap_or(usize::MAX))
        else {
            return Vec::new();
        };
        let old = log.open.range(..offset).filter_map(|(_, key)| {
            let open = self.open.get(key)?;
            (open.pending == 0 && !open.reviving).then(|| open.taken.clone())
        });
        old.take(max).collect()
    }

    /// Whether the record at this place was not in the table yet; now it counts as such.
    fn apply(&mut self, (revive_queue, offset): At) -> bool {
        let Some(log) = self.log(revive_queue) else {
            return false;
        };
        if offset < log.applied || !log.ahead.insert(offset) {
            return false;
        }
        while log.ahead.remove(&log.applied) {
            log.applied += 1;
        }
        true
    }

    fn log(&mut self, revive_queue: i32) -> Option<&mut Log> {
        self.logs.get_mut(usize::try_from(revive_queue).ok()?)
    }

    fn at_due(&mut self, due_ms: i64, key: &Key) -> (i64, u64) {
        self.serial += 1;
        let due = (due_ms, self.serial);
        self.due.insert(due, key.clone());
        due
    }

    fn close_if_done(&mut self, key: &Key) {
        let done = self
            .open
            .get(key)
            .is_some_and(|open| open.taken.acked & open.taken.all() == open.taken.all());
        if done {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Open> {
        let open = self.open.remove(key)?;
        self.due.remove(&open.due);
        if let Some(log) = self.log(open.at.0) {
            log.open.remove(&open.at.1);
        }
        if let Some(count) = self.of_group.get_mut(&key.group) {
            *count -= 1;
            if *count == 0 {
                self.of_group.remove(&key.group);
            }
        }
        Some(open)
    }
}
