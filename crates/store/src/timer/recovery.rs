//! Opening the timer's files after a clean exit, a kill, a power cut, or Java.

use std::io;

use protocol::LogOffset;
use protocol::record::Outline;

use super::checkpoint::{Mark, TimerCheckpoint};
use super::log::{Found, TimerLog};
use super::unit::{MAGIC_DELETE, UNIT_BYTES, Unit};
use super::wheel::{Slot, Wheel};
use super::{BinaryHeap, ROLL_WINDOW_SLOTS_MAX, SLOTS_TOTAL, Timer, TimerConfig};
use crate::Store;

impl Timer {
    /// Opens what is there; makes no file before the first message comes. `topic` is the timer queue's.
    pub fn open(mut config: TimerConfig, store: &Store, topic: &str) -> io::Result<Timer> {
        if !(2..=ROLL_WINDOW_SLOTS_MAX).contains(&config.roll_window_slots) {
            // As Apache.
            config.roll_window_slots = ROLL_WINDOW_SLOTS_MAX;
        }
        let disk = store.disk.clone();
        let found = TimerCheckpoint::read(&disk, &config.checkpoint_path)?;
        let is_there = found.is_some();
        if is_there && let Some(dir) = config.checkpoint_path.parent() {
            disk.sync_dir(dir)?;
        }
        let checkpoint = found.unwrap_or_default();
        let log_end = store.log_end().0;
        let (mark, durable, mark_log_end) = match &checkpoint.extra {
            Some(extra) if extra.fresh_log_end <= log_end => {
                (extra.fresh, extra.durable, extra.fresh_log_end)
            }
            Some(extra) => (extra.durable, extra.durable, log_end),
            None => {
                let mark = Mark::all_by(checkpoint.read_ms);
                (mark, mark, log_end)
            }
        };
        let wanted_ms = config.precision_ms;
        if let Some(extra) = &checkpoint.extra {
            config.precision_ms = extra.precision_ms;
        }
        let log = TimerLog::open(&disk, config.log_dir.clone(), config.log_file_bytes)?;
        let wheel = Wheel::new(
            &disk,
            config.wheel_path.clone(),
            config.precision_ms,
            SLOTS_TOTAL,
        );
        let mut timer = Timer {
            config,
            disk,
            log,
            wheel,
            checkpoint,
            checkpoint_file: None,
            mark,
            durable,
            mark_log_end,
            horizon_ms: i64::MIN,
            loading: None,
            ready: BinaryHeap::new(),
            deletes: Vec::new(),
            queue_offset: 0,
            moved: false,
            sync_failed: false,
        };
        timer.horizon_ms = timer.read_ms();
        let last = timer.recover(store, topic)?;
        let lost = timer.log.end() < timer.checkpoint.log_flushed;
        timer.queue_offset = timer.resume(store, topic, last, lost)?;
        if lost {
            tracing::warn!(
                from = timer.queue_offset,
                "files of the timer log are missing: what is in the queue comes into the wheel again"
            );
            timer.pass_positions();
            // A start that comes before all of it has must find the rest.
            timer.checkpoint.queue_offset = timer.queue_offset;
            timer.checkpoint.master_queue_offset = timer.queue_offset;
            timer.checkpoint.log_flushed = timer.log.end();
        }
        timer.cut(wanted_ms, store, topic)?;
        if is_there || !timer.log.is_empty() {
            timer.moved = true;
            timer.write_checkpoint()?;
            // A mark that was refused may not come back once the log has grown beyond its end again.
            timer.checkpoint_file()?.sync_data()?;
        }
        Ok(timer)
    }

    /// Slots from the wheel file, then from the units that it may lack. Returns the last unit.
    fn recover(&mut self, store: &Store, topic: &str) -> io::Result<Option<Unit>> {
        let read_ms = self.read_ms();
        let loaded = self.wheel.load(read_ms)?;
        let flushed = self.checkpoint.log_flushed;
        if !loaded {
            return self.scan(store, topic, self.log.min());
        }
        if self.log.reaches(flushed) {
            let last = self.scan(store, topic, flushed)?;
            let slots = &self.wheel.slots;
            if slots.values().all(|slot| self.log.has(slot.last)) {
                return Ok(last);
            }
        }
        tracing::warn!("timerwheel does not fit timerlog: made anew from it");
        self.wheel.clear();
        self.scan(store, topic, self.log.min())
    }

    fn scan(&mut self, store: &Store, topic: &str, from: i64) -> io::Result<Option<Unit>> {
        let read_ms = self.read_ms();
        let (log_min, log_end) = (store.log_min().0, store.log_end().0);
        let wheel = &mut self.wheel;
        let mut last = None;
        let flushed = self.checkpoint.log_flushed;
        self.log.recover(from, flushed, |at, unit| {
            let size = i64::from(unit.size);
            let record_end = unit.log_offset.saturating_add(size);
            if unit.log_offset < 0 || size <= 0 || record_end > log_end {
                // Its record is lost; those of the units behind it are too.
                return Ok(match unit.due_ms {
                    Some(_) => Found::End,
                    None => Found::Damage,
                });
            }
            // Those of Java have no checksum of their own.
            let ours = unit.due_ms.is_some() || unit.log_offset < log_min;
            if !ours && queue_offset_of(store, topic, unit)?.is_none() {
                return Ok(Found::Damage);
            }
            last = Some(*unit);
            let known = wheel.slots.get(&unit.slot_ms);
            if unit.slot_ms >= read_ms && known.is_none_or(|slot| slot.last < at) {
                let called_off = unit.magic & MAGIC_DELETE != 0;
                let slot = Slot {
                    first: known.map_or(at, |slot| slot.first),
                    last: at,
                    count: known.map_or(0, |slot| slot.count) + if called_off { -1 } else { 1 },
                };
                wheel.set(unit.slot_ms, slot);
            }
            Ok(Found::Unit)
        })?;
        Ok(last)
    }

    /// Takes the precision that is configured now, if nothing waits that was cut otherwise.
    fn cut(&mut self, wanted_ms: i64, store: &Store, topic: &str) -> io::Result<()> {
        let precision_ms = self.precision_ms();
        if wanted_ms == precision_ms {
            return Ok(());
        }
        let queue_end = store
            .queue(topic, 0)
            .map_or(0, |queue| queue.max_visible().0);
        if !self.wheel.slots.is_empty() || self.queue_offset < queue_end {
            tracing::warn!(
                wanted_ms,
                precision_ms,
                "timerPrecisionMs stays as it was: timed messages wait in slots of that length"
            );
            return Ok(());
        }
        self.wheel.cut_anew(wanted_ms)?;
        self.config.precision_ms = wanted_ms;
        self.horizon_ms = self.read_ms();
        Ok(())
    }

    /// What is new is behind the mark also by its position.
    fn pass_positions(&mut self) {
        let marked = match self.mark.position {
            i64::MAX => 0,
            position => position.saturating_add(UNIT_BYTES as i64),
        };
        self.log.skip_to(marked.max(self.checkpoint.log_flushed));
    }

    /// Where to read on in the timer queue: behind the last unit's message, or where the checkpoint says, whichever is later;
    /// if units were lost that the checkpoint counts on, where they were.
    fn resume(
        &self,
        store: &Store,
        topic: &str,
        last: Option<Unit>,
        lost: bool,
    ) -> io::Result<i64> {
        let Some(queue) = store.queue(topic, 0) else {
            return Ok(0);
        };
        let behind_last = match last {
            Some(unit) => queue_offset_of(store, topic, &unit)?.map_or(0, |offset| offset + 1),
            None => 0,
        };
        let offset = match lost {
            true => behind_last,
            false => behind_last.max(self.checkpoint.queue_offset),
        };
        let max = queue.max_visible().0;
        Ok(offset.min(max).max(queue.min().0))
    }
}

/// The offset in the timer queue of a unit's record, if that is there.
fn queue_offset_of(store: &Store, topic: &str, unit: &Unit) -> io::Result<Option<i64>> {
    let record = store.record_at(LogOffset(unit.log_offset));
    let Some(record) = record.map_err(|error| error.0)? else {
        return Ok(None);
    };
    Ok(Outline::decode(&record)
        .ok()
        .filter(|outline| outline.topic == topic && outline.size as i64 == i64::from(unit.size))
        .map(|outline| outline.queue_offset.0))
}
