//! What all connections of a server hold together: requests in flight and bytes. Connections settle
//! their share once per wake-up, not per request, so two cores seldom meet on these counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::limits::{LOGGED_CLOSES_MAX, Limits, OUTBOUND_BYTES_SPARED, WAITING_BYTES_SPARED};
use crate::log_limit::LogLimit;
use crate::turns::Turns;

/// One connection's share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// Requests not answered.
    pub(crate) frames: usize,
    /// Bytes of these and of what was read of the next.
    pub(crate) bytes: usize,
    /// Those of them that are of requests not answered.
    pub(crate) waiting: usize,
    /// Bytes waiting to be sent.
    pub(crate) outbound: usize,
}

/// The limits and what is used of them.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) limits: Limits,
    frames: AtomicUsize,
    bytes: AtomicUsize,
    waiting: AtomicUsize,
    outbound: AtomicUsize,
    /// Connections that wait for room, by what they need: see [`Need`].
    crowds: [Crowd; Need::COUNT],
    pub(crate) turns: Turns,
    /// For lines about connections that were cut or refused.
    pub(crate) log_limit: LogLimit,
}

/// What there must be room for before a connection may read on. Those who need the same are woken
/// together, and nobody else is.
#[derive(Clone, Copy, Debug)]
struct Need {
    /// It waits inside a frame, for which there is twice the room.
    mid_frame: bool,
    /// More of it waits for answers than every connection may have.
    waiting: bool,
    /// It has more to send than every connection may have.
    outbound: bool,
}

impl Need {
    const COUNT: usize = 8;

    fn of(index: usize) -> Need {
        Need {
            mid_frame: index & 1 != 0,
            waiting: index & 2 != 0,
            outbound: index & 4 != 0,
        }
    }

    fn index(self) -> usize {
        usize::from(self.mid_frame)
            | usize::from(self.waiting) << 1
            | usize::from(self.outbound) << 2
    }
}

#[derive(Debug, Default)]
struct Crowd {
    /// Somebody is in `tasks`: lets the usual release go without the lock.
    any: AtomicBool,
    tasks: Mutex<FxHashMap<u64, Waker>>,
}

impl Budget {
    /// With so many turns at a time.
    pub(crate) fn new(limits: Limits, turns: usize) -> Arc<Budget> {
        Arc::new(Budget {
            limits,
            frames: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            outbound: AtomicUsize::new(0),
            crowds: Default::default(),
            turns: Turns::new(turns),
            log_limit: LogLimit::new(LOGGED_CLOSES_MAX),
        })
    }

    /// Replaces a connection's share.
    pub(crate) fn settle(&self, charged: &mut Share, now: Share) {
        if *charged == now {
            return;
        }
        // Wrapping: adding the difference to the sum of all shares never leaves it below zero.
        self.frames
            .fetch_add(now.frames.wrapping_sub(charged.frames), Ordering::SeqCst);
        self.bytes
            .fetch_add(now.bytes.wrapping_sub(charged.bytes), Ordering::SeqCst);
        self.waiting
            .fetch_add(now.waiting.wrapping_sub(charged.waiting), Ordering::SeqCst);
        self.outbound.fetch_add(
            now.outbound.wrapping_sub(charged.outbound),
            Ordering::SeqCst,
        );
        *charged = now;
        for (index, crowd) in self.crowds.iter().enumerate() {
            if crowd.any.load(Ordering::SeqCst) && self.has_room(Need::of(index)) {
                let tasks = {
                    let mut tasks = crowd.tasks.lock();
                    crowd.any.store(false, Ordering::SeqCst);
                    std::mem::take(&mut *tasks)
                };
                tasks.into_values().for_each(Waker::wake);
            }
        }
    }

    fn has_room(&self, need: Need) -> bool {
        let bytes_max = self.limits.bytes_max << u32::from(need.mid_frame);
        self.frames.load(Ordering::SeqCst) < self.limits.frames_max
            && self.bytes.load(Ordering::SeqCst) < bytes_max
            && (!need.waiting || !self.is_crowded())
            && (!need.outbound
                || self.outbound.load(Ordering::SeqCst) < self.limits.outbound_bytes_total)
    }

    /// So much waits for answers that nobody may have more than the share that is spared.
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) >= self.limits.waiting_bytes_soft
    }

    /// Ready when connection `id`, which holds `own`, may read on; else its task is woken when
    /// there is room.
    pub(crate) fn poll_room(
        &self,
        id: u64,
        own: Share,
        mid_frame: bool,
        cx: &Context<'_>,
    ) -> Poll<()> {
        let need = Need {
            mid_frame,
            waiting: own.waiting >= WAITING_BYTES_SPARED,
            outbound: own.outbound >= OUTBOUND_BYTES_SPARED,
        };
        if self.has_room(need) {
            return Poll::Ready(());
        }
        let crowd = &self.crowds[need.index()];
        let mut tasks = crowd.tasks.lock();
        crowd.any.store(true, Ordering::SeqCst);
        // Room that was made before `any` could be seen woke nobody.
        if self.has_room(need) {
            return Poll::Ready(());
        }
        tasks.insert(id, cx.waker().clone());
        Poll::Pending
    }

    /// A connection is gone.
    pub(crate) fn leave(&self, id: u64, charged: &mut Share) {
        self.settle(charged, Share::default());
        for crowd in &self.crowds {
            if crowd.any.load(Ordering::SeqCst) {
                crowd.tasks.lock().remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
