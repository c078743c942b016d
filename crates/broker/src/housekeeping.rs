//! What the broker's threads do each time it is their turn.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{Local, TimeZone};
use protocol::LogOffset;
use remoting::clock::{Clock, monotonic};
use store::{FlushError, LocalTime};
use tokio::runtime::Handle;

use crate::broker::Broker;
use crate::limits;

#[cfg(test)]
mod tests;

/// How long the index may lag behind an append.
const INDEX_PAUSE: Duration = Duration::from_millis(10);

impl Broker {
    /// Now, and where the clock on the wall is: files are named and deleted by local time. A clock that is set by hand is UTC.
    pub(crate) fn local_time(&self) -> LocalTime {
        let epoch_ms = self.clock.now_ms();
        let utc_offset_s = match &self.clock {
            Clock::Manual(_) => 0,
            Clock::System => {
                let local = Local.timestamp_millis_opt(epoch_ms).single();
                local.map_or(0, |local| local.offset().local_minus_utc())
            }
        };
        LocalTime {
            epoch_ms,
            utc_offset_s,
        }
    }

    /// Makes what was appended durable; with sync flush, lets it be acknowledged and seen.
    pub(crate) fn flush(&self) {
        self.time_flush(|| Self::report_flush(self.store.flush()));
    }

    /// Remembers whether the disk is quick now.
    fn time_flush(&self, flush: impl FnOnce()) {
        let begun = monotonic();
        flush();
        let quick = begun.elapsed() < limits::FLUSH_HERE_MAX;
        self.quick_disk.store(quick, Ordering::Relaxed);
    }

    fn report_flush(flushed: Result<LogOffset, FlushError>) {
        match flushed {
            // Every later flush fails like this; the first one has been logged.
            Ok(_) | Err(FlushError::Sealed(_)) => {}
            Err(error) => {
                tracing::error!(%error, "no more messages are taken; what is stored can still be read")
            }
        }
    }

    /// Makes what was appended durable on this worker of the runtime, if there is another one that goes on meanwhile, and the disk
    /// was quick the last time: only one flushes at a time. False if it is not durable.
    pub(crate) fn flush_here(&self) -> bool {
        let quick = self.quick_disk.load(Ordering::Relaxed);
        if !quick || Handle::current().metrics().num_workers() < 2 {
            return false;
        }
        let end = self.store.log_end();
        self.time_flush(|| {
            if let Some(flushed) = self.store.try_flush() {
                Self::report_flush(flushed);
            }
        });
        let durable = self.store.durable().at() >= end.0;
        if durable {
            self.index_bell.ring();
        }
        durable
    }

    /// Brings the index up to the end of the log. What is appended a moment later comes along, so that a busy broker does not
    /// turn to it for every message. Ends early when the broker stops: the next start goes on. `failing` as with [`Broker::write_behind`].
    pub(crate) fn index(&self, failing: &mut bool) {
        std::thread::sleep(INDEX_PAUSE);
        let mut built = self.store.build_index(self.local_time());
        while matches!(built, Ok(true)) && !self.index_bell.is_stopped() {
            built = self.store.build_index(self.local_time());
        }
        note(
            &built,
            failing,
            "write the index: new messages are not found by key",
        );
    }

    /// Writes what lookups need and can be made anew from the log: consume queues. Makes log files ahead. `failing` is kept from one call to the
    /// next, so that a full disk is logged once.
    pub(crate) fn write_behind(&self, failing: &mut bool) {
        let written = self.store.flush_queues(self.clock.now_ms());
        note(
            &written,
            failing,
            "write consume queues or make a log file ahead",
        );
    }

    /// Deletes messages that have expired, and looks whether the disk has room.
    pub(crate) fn clean(&self, failing: &mut bool) {
        let cleaned = self.store.clean(self.local_time(), false);
        note(&cleaned, failing, "delete old files");
    }

    /// Saves topics and groups if they have changed.
    pub(crate) fn save_topics_and_groups(&self) {
        self.topics.file.save_changes(|saved| {
            let topics = self.topics.state.read();
            (topics.changes() > saved).then(|| (topics.changes(), topics.snapshot()))
        });
        self.groups.file.save_changes(|saved| {
            let groups = self.groups.state.read();
            (groups.changes() > saved).then(|| (groups.changes(), groups.to_table()))
        });
        self.save_request_modes();
    }

    /// Saves what changed, and again what could not be saved at its time.
    pub(crate) fn save_metadata(&self) {
        self.save_topics_and_groups();
        self.transactions.save();
        self.save_orders();
        self.note_revive_offsets();
        self.offsets.file.save_changes(|saved| {
            let (commits, offsets) = {
                let offsets = self.offsets.state.read();
                (offsets.commits() > saved).then(|| (offsets.commits(), offsets.snapshot()))
            }?;
            // Offsets on disk are not ahead of the log: a group would pass messages whose check points, or they
            // themselves, a power cut took.
            self.store.flush().ok()?;
            Some((commits, offsets.to_table()))
        });
        self.expressions.state.write().clean(self.clock.now_ms());
        self.expressions.file.save_changes(|saved| {
            let expressions = self.expressions.state.read();
            (expressions.changes() > saved).then(|| (expressions.changes(), expressions.to_table()))
        });
    }

    /// Saves how far delay levels are delivered. What they delivered is durable first: a power cut must not take the copy of a
    /// message that is not delivered again.
    pub(crate) fn save_delays(&self) {
        self.delays.file.save_changes(|saved| {
            let delays = self.delays.state.read();
            let changed = delays.changes() > saved;
            let snapshot = changed.then(|| (delays.changes(), delays.to_table()))?;
            drop(delays);
            self.store.flush().is_ok().then_some(snapshot)
        });
    }

    /// Forgets clients and locks that were not heard of for too long.
    pub(crate) fn expire_clients(&self) {
        let now_ms = self.clock.now_ms();
        let expired = self.clients.lock().expired(now_ms);
        for peer in expired {
            tracing::warn!(peer = %peer.remote_addr(), "no heartbeat for two minutes: closing the connection");
            peer.close();
        }
        self.locks.lock().forget_expired(now_ms);
    }
}

/// Logs when something begins to fail, and when it works again.
fn note<T>(done: &io::Result<T>, failing: &mut bool, what: &str) {
    match done {
        Err(error) if !*failing => tracing::error!(%error, "can't {what}; will keep trying"),
        Ok(_) if *failing => tracing::info!("can {what} again"),
        _ => {}
    }
    *failing = done.is_err();
}
