//! Messages that wait for a time: a wheel of slots, each the end of a chain of units in the timer log. Files only; the
//! broker follows the timer queue, brings what arrives there ([`Timer::enqueue`]), and delivers what is due.
//!
//! A slot of time `s` has the messages due after `s`, up to `s` + the precision. Apache delivers them all at that end; here
//! each has its own millisecond, kept where Java has a reserved field. Every message of the timer queue gets one unit, in
//! the queue's order, so that the log tells where to go on. Delivery is in the order of [`Mark`]s, and one mark says how far
//! it has come; it is written after each batch and needs no sync, because it names the log end it depends on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::{LogOffset, QueueOffset};

use crate::disk::{Disk, File};
use crate::limits;

mod checkpoint;
mod flush;
mod log;
mod recovery;
#[cfg(test)]
mod tests;
mod unit;
mod wheel;

use checkpoint::{Mark, TimerCheckpoint};
use log::{Block, TimerLog};
use unit::{MAGIC_DEFAULT, MAGIC_DELETE, MAGIC_ROLL, Unit};
use wheel::{Slot, Wheel};

pub use flush::{Flush, TimerFlushError};

/// Slots of the wheel: 14 days at the usual precision.
const SLOTS_TOTAL: i64 = 2 * 7 * 86_400;
/// Furthest slot that a message may go to, in slots.
pub const ROLL_WINDOW_SLOTS_MAX: i64 = SLOTS_TOTAL / 2 - 60;
/// A slot is read this long before its time.
const LEAD_MS: i64 = 1_000;
/// The clock may be set back by this much and nothing else is done than to wait for it to come back.
const STEP_BACK_MS: i64 = 1_000;

/// Where the files are and how time is cut.
#[derive(Clone, Debug)]
pub struct TimerConfig {
    /// `timerwheel`.
    pub wheel_path: PathBuf,
    /// `timerlog`.
    pub log_dir: PathBuf,
    /// `config/timercheck`.
    pub checkpoint_path: PathBuf,
    /// `mappedFileSizeTimerLog`.
    pub log_file_bytes: u64,
    /// `timerPrecisionMs`, of files to be made.
    pub precision_ms: i64,
    /// `timerRollWindowSlot`: messages due later are put back into the queue on the way.
    pub roll_window_slots: i64,
}

impl TimerConfig {
    /// Apache's files below a store's root, and its defaults.
    pub fn new(root: &std::path::Path) -> TimerConfig {
        TimerConfig {
            wheel_path: root.join("timerwheel"),
            log_dir: root.join("timerlog"),
            checkpoint_path: root.join("config").join("timercheck"),
            log_file_bytes: 100 << 20,
            precision_ms: 1_000,
            roll_window_slots: 2 * 86_400,
        }
    }
}

/// A message of the timer queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerMessage {
    /// Its place in the queue.
    pub queue_offset: QueueOffset,
    /// Its record's place in the commit log.
    pub log_offset: LogOffset,
    /// Its record's size.
    pub size: i32,
    /// `TIMER_OUT_MS`: its slot.
    pub slot_ms: i64,
    /// When it is due, if that is known better; ignored outside its slot.
    pub due_ms: Option<i64>,
    /// It calls a message of the same slot off.
    pub delete: bool,
    /// Java's hash of the topic it is for.
    pub topic_hash: i32,
}

/// A message that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When it was to be delivered.
    pub due_ms: i64,
    position: i64,
    slot_ms: i64,
    /// Its record's place in the commit log.
    pub log_offset: LogOffset,
    /// When it came into the wheel: `TIMER_ENQUEUE_MS`.
    pub enqueued_ms: i64,
    /// Not yet its time: it goes back into the timer queue.
    pub roll: bool,
}

impl Due {
    /// The slot it is in.
    pub fn slot_ms(&self) -> i64 {
        self.slot_ms
    }

    fn mark(&self) -> Mark {
        Mark {
            due_ms: self.due_ms,
            position: self.position,
        }
    }
}

/// A unit that calls messages of its slot off, if its record says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete {
    /// The slot whose messages it is about.
    pub slot_ms: i64,
    /// Its record's place in the commit log.
    pub log_offset: LogOffset,
}

/// Whether messages were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Enqueued {
    /// They were.
    Done,
    /// None was: the clock was set back behind what has been delivered. [`Timer::rewind`], then try again.
    ClockBack,
}

/// The slot that is being read.
#[derive(Clone, Copy, Debug)]
struct Loading {
    slot_ms: i64,
    /// Position of the next unit to read.
    next: i64,
    /// The chain of units is broken there: those before it are looked for one by one, from the first.
    until: Option<i64>,
}

/// The timer's files. One owner; see there for the order of calls.
#[derive(Debug)]
pub struct Timer {
    config: TimerConfig,
    disk: Disk,
    log: TimerLog,
    wheel: Wheel,
    checkpoint: TimerCheckpoint,
    checkpoint_file: Option<Arc<File>>,
    /// Everything up to here has been delivered.
    mark: Mark,
    /// ... and that is durable.
    durable: Mark,
    /// End of the commit log when the mark was set.
    mark_log_end: i64,
    /// The slots before this time are in memory, as far as they are not delivered.
    horizon_ms: i64,
    loading: Option<Loading>,
    ready: BinaryHeap<Reverse<Due>>,
    deletes: Vec<Delete>,
    queue_offset: i64,
    /// The checkpoint file is behind.
    moved: bool,
    /// A sync failed: what it was for may be lost, so the checkpoint stays where it is until the next start.
    sync_failed: bool,
}

impl Timer {
    /// Where to read on in the timer queue.
    pub fn queue_offset(&self) -> QueueOffset {
        QueueOffset(self.queue_offset)
    }

    /// What slots are cut into: as the files are, whatever is configured by now, while messages wait in them.
    pub fn precision_ms(&self) -> i64 {
        self.config.precision_ms
    }

    fn floor(&self, at_ms: i64) -> i64 {
        at_ms - at_ms.rem_euclid(self.precision_ms())
    }

    /// The slot of what is due at a time.
    fn slot_of(&self, due_ms: i64) -> i64 {
        self.floor(due_ms - 1)
    }

    /// All slots before this one have been delivered.
    fn read_ms(&self) -> i64 {
        match self.mark.position {
            i64::MAX => self.floor(self.mark.due_ms),
            _ => self.slot_of(self.mark.due_ms),
        }
    }

    /// Takes the next messages of the timer queue; all or none of them. After an error nothing has changed.
    pub fn enqueue(&mut self, messages: &[TimerMessage], now_ms: i64) -> io::Result<Enqueued> {
        let write_ms = self.floor(now_ms);
        let mut places = Vec::with_capacity(messages.len());
        for message in messages {
            match self.place(message, write_ms, now_ms) {
                Some(place) => places.push(place),
                None => return Ok(Enqueued::ClockBack),
            }
        }
        let mut appending = self.log.appending();
        let mut slots = std::collections::BTreeMap::<i64, Slot>::new();
        let mut units = Vec::with_capacity(messages.len());
        for (message, (slot_ms, due_ms, magic)) in messages.iter().zip(places) {
            let position = appending.next();
            let known = slots.get(&slot_ms).or(self.wheel.slots.get(&slot_ms));
            let unit = Unit {
                prev: known.map_or(-1, |slot| slot.last),
                magic,
                write_ms,
                slot_ms,
                log_offset: message.log_offset.0,
                size: message.size,
                topic_hash: message.topic_hash,
                due_ms: Some(due_ms),
            };
            let count = known.map_or(0, |slot| slot.count);
            let slot = Slot {
                first: known.map_or(position, |slot| slot.first),
                last: position,
                count: count + if message.delete { -1 } else { 1 },
            };
            slots.insert(slot_ms, slot);
            appending.push(&unit);
            units.push((position, unit));
        }
        self.log.append(appending)?;
        for (slot_ms, slot) in slots {
            self.wheel.set(slot_ms, slot);
        }
        let reading = self.loading.as_ref().map(|loading| loading.slot_ms);
        for (position, unit) in units {
            if unit.slot_ms < self.horizon_ms || reading == Some(unit.slot_ms) {
                self.make_ready(position, &unit);
            }
        }
        if let Some(last) = messages.last() {
            self.queue_offset = last.queue_offset.0 + 1;
            self.moved = true;
        }
        Ok(Enqueued::Done)
    }

    /// Slot, due time and magic of a message; `None` if that has been delivered already.
    fn place(&self, message: &TimerMessage, write_ms: i64, now_ms: i64) -> Option<(i64, i64, i32)> {
        let precision_ms = self.precision_ms();
        let window = self.config.roll_window_slots;
        let magic = MAGIC_DEFAULT | if message.delete { MAGIC_DELETE } else { 0 };
        let wanted_slot_ms = self.floor(message.slot_ms);
        let beyond = (wanted_slot_ms - write_ms) / precision_ms - window;
        let (slot_ms, due_ms, magic) = if beyond >= 0 {
            // As Apache: enough time must be left for the next turn.
            let turn = if beyond < window / 3 {
                window / 2
            } else {
                window
            };
            let slot_ms = write_ms + turn * precision_ms;
            (slot_ms, slot_ms + precision_ms, magic | MAGIC_ROLL)
        } else {
            let slot_end_ms = wanted_slot_ms + precision_ms;
            let asked_ms = message.due_ms.unwrap_or(slot_end_ms);
            let in_slot = asked_ms > wanted_slot_ms && asked_ms <= slot_end_ms;
            let due_ms = if in_slot { asked_ms } else { slot_end_ms };
            (wanted_slot_ms, due_ms.max(now_ms), magic)
        };
        if magic == MAGIC_DEFAULT | MAGIC_DELETE {
            // One that comes too late goes where it does no harm.
            let slot_ms = slot_ms.max(self.slot_of(now_ms));
            let behind = slot_ms + precision_ms + STEP_BACK_MS < self.mark.due_ms;
            return (!behind).then_some((slot_ms, slot_ms, magic));
        }
        let first_ms = match self.mark.position {
            i64::MAX => self.mark.due_ms.saturating_add(1),
            _ => self.mark.due_ms,
        };
        if due_ms < first_ms.saturating_sub(STEP_BACK_MS) {
            return None;
        }
        let due_ms = due_ms.max(first_ms);
        Some((self.slot_of(due_ms), due_ms, magic))
    }

    fn make_ready(&mut self, position: i64, unit: &Unit) {
        if unit.is_delete() {
            self.deletes.push(Delete {
                slot_ms: unit.slot_ms,
                log_offset: LogOffset(unit.log_offset),
            });
            return;
        }
        let slot_end_ms = unit.slot_ms + self.precision_ms();
        let due = Due {
            due_ms: unit.due_ms.unwrap_or(slot_end_ms),
            position,
            slot_ms: unit.slot_ms,
            log_offset: LogOffset(unit.log_offset),
            enqueued_ms: unit.write_ms,
            roll: unit.is_roll(),
        };
        if due.mark() > self.mark {
            self.ready.push(Reverse(due));
        }
    }

    /// Reads slots whose time comes, up to so many units. `false` if there is more to read at once.
    pub fn load(&mut self, now_ms: i64, units_max: usize) -> io::Result<bool> {
        let target_ms = self.slot_of(now_ms + LEAD_MS) + self.precision_ms();
        let mut block = Block::default();
        let mut units_left = units_max;
        while self.start_loading(target_ms) {
            while let Some(loading) = self.loading {
                let Loading {
                    slot_ms,
                    next: at,
                    until,
                } = loading;
                if units_left == 0 {
                    return Ok(false);
                }
                units_left -= 1;
                let unit = match self.log.has(at) {
                    true => self.log.unit(at, &mut block)?,
                    false => None,
                };
                let unit = unit.filter(|unit| unit.slot_ms == slot_ms);
                if let Some(unit) = &unit {
                    self.make_ready(at, unit);
                }
                // The chain ends where it says so, or where files are gone.
                let next = match (until, unit) {
                    (Some(until), _) => Some(self.log.after(at)).filter(|next| *next < until),
                    (None, Some(unit)) => Some(unit.prev).filter(|prev| (0..at).contains(prev)),
                    (None, None) if at >= self.log.min() => {
                        self.loading = self.broken_chain(slot_ms, at);
                        continue;
                    }
                    (None, None) => None,
                };
                self.loading = next.map(|next| Loading { next, ..loading });
                if next.is_none() {
                    self.horizon_ms = slot_ms + self.precision_ms();
                }
            }
        }
        Ok(true)
    }

    /// A unit of a slot can't be read, and so does not tell where those before it are: how to find them.
    fn broken_chain(&self, slot_ms: i64, at: i64) -> Option<Loading> {
        tracing::warn!(
            slot_ms,
            at,
            "the timer log is damaged: its message is lost, the others of its slot are looked for"
        );
        let first = self.wheel.slots.get(&slot_ms).map_or(at, |slot| slot.first);
        Some(Loading {
            slot_ms,
            next: self.log.aligned(first.max(self.log.min())),
            until: Some(at),
        })
    }

    /// Whether a slot is being read, or begins to be.
    fn start_loading(&mut self, target_ms: i64) -> bool {
        if self.loading.is_some() {
            return true;
        }
        let next = self.wheel.slots.range(self.horizon_ms..).next();
        let next = next.map(|(slot_ms, slot)| (*slot_ms, slot.last));
        match next {
            Some((slot_ms, last)) if slot_ms < target_ms => {
                self.horizon_ms = slot_ms;
                if self.ready.len() < limits::TIMER_READY_MAX {
                    self.loading = Some(Loading {
                        slot_ms,
                        next: last,
                        until: None,
                    });
                }
            }
            _ => self.horizon_ms = self.horizon_ms.max(target_ms),
        }
        self.loading.is_some()
    }

    /// What calls messages off, of the slots read since the last call.
    pub fn take_deletes(&mut self) -> Vec<Delete> {
        std::mem::take(&mut self.deletes)
    }

    /// They could not be read now.
    pub fn put_back_deletes(&mut self, deletes: impl IntoIterator<Item = Delete>) {
        self.deletes.extend(deletes);
    }

    /// The messages due by now, up to so many; each is [`Timer::delivered`] or [`Timer::put_back`] before anything else.
    pub fn take_due(&mut self, now_ms: i64, count_max: usize) -> Vec<Due> {
        let complete_ms = now_ms.min(self.horizon_ms);
        let mut due = Vec::new();
        while due.len() < count_max
            && let Some(Reverse(next)) = self.ready.peek()
            && next.due_ms <= complete_ms
        {
            due.push(*next);
            self.ready.pop();
        }
        due
    }

    /// They could not be delivered now.
    pub fn put_back(&mut self, due: Vec<Due>) {
        self.ready.extend(due.into_iter().map(Reverse));
    }

    /// They have been put into a commit log that ends there now. Survives the death of the process.
    pub fn delivered(&mut self, due: &[Due], log_end: LogOffset) -> io::Result<()> {
        let Some(last) = due.last() else {
            return Ok(());
        };
        self.mark = last.mark();
        self.mark_log_end = log_end.0;
        self.write_checkpoint()
    }

    /// When there is something to load or deliver next.
    pub fn wake_ms(&self) -> Option<i64> {
        if self.loading.is_some() || !self.deletes.is_empty() {
            return Some(i64::MIN);
        }
        let ready = self.ready.peek().map(|Reverse(due)| due.due_ms);
        if self.ready.len() >= limits::TIMER_READY_MAX {
            return ready;
        }
        let slot = self.wheel.slots.range(self.horizon_ms..).next();
        let slot = slot.map(|(slot_ms, _)| slot_ms + 1 - LEAD_MS);
        ready.into_iter().chain(slot).min()
    }

    /// Slots before this time need nothing remembered any more. Forgets those that have been delivered.
    pub fn forget_past(&mut self, now_ms: i64) -> i64 {
        let pending = self
            .ready
            .peek()
            .map(|Reverse(due)| self.slot_of(due.due_ms));
        let bound_ms = [Some(self.horizon_ms), Some(self.slot_of(now_ms)), pending];
        let bound_ms = bound_ms.into_iter().flatten().min().unwrap_or(i64::MIN);
        let reading = self
            .loading
            .as_ref()
            .map_or(i64::MAX, |loading| loading.slot_ms);
        let bound_ms = bound_ms.min(reading);
        while let Some((&slot_ms, _)) = self.wheel.slots.first_key_value()
            && slot_ms < bound_ms
        {
            self.wheel.forget(slot_ms);
        }
        bound_ms
    }

    /// Goes on there in the timer queue: what is before can't be read.
    pub fn skip_to(&mut self, offset: QueueOffset) {
        if offset.0 > self.queue_offset {
            self.queue_offset = offset.0;
            self.moved = true;
        }
    }

    /// Messages in a slot.
    pub fn slot_count(&self, slot_ms: i64) -> i32 {
        self.wheel.slots.get(&slot_ms).map_or(0, |slot| slot.count)
    }

    /// Messages in each slot that has not been delivered.
    pub fn slot_counts(&self) -> impl Iterator<Item = (i64, i32)> {
        let slots = self.wheel.slots.iter();
        slots.map(|(slot_ms, slot)| (*slot_ms, slot.count))
    }

    /// Removes log files whose messages are gone.
    pub fn expire(&mut self, log_min: LogOffset) -> io::Result<()> {
        self.log.expire(log_min.0)
    }
}
