//! What all connections of a server hold together: requests in flight and bytes. Connections settle
//! their share once per wake-up, not per request, so two cores seldom meet on these counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::limits::{LOGGED_CLOSES_MAX, Limits, OUTBOUND_BYTES_SPARED};
use crate::log_limit::LogLimit;

/// One connection's share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// Requests not answered.
    pub(crate) frames: usize,
    /// Bytes of these and of what was read of the next.
    pub(crate) bytes: usize,
    /// Bytes waiting to be sent.
    pub(crate) outbound: usize,
}

/// The limits and what is used of them.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) limits: Limits,
    frames: AtomicUsize,
    bytes: AtomicUsize,
    outbound: AtomicUsize,
    /// Connections that wait for room, by what they need: see [`Need`].
    waiting: [Crowd; 4],
    /// For lines about connections that were cut or refused.
    pub(crate) log_limit: LogLimit,
}

/// What there must be room for before a connection may read on. Those who need the same are woken
/// together, and nobody else is.
#[derive(Clone, Copy, Debug)]
struct Need {
    /// It waits inside a frame, for which there is twice the room.
    mid_frame: bool,
    /// It has more to send than every connection may have.
    outbound: bool,
}

impl Need {
    const ALL: [Need; 4] = [Need::of(0), Need::of(1), Need::of(2), Need::of(3)];

    const fn of(index: usize) -> Need {
        Need {
            mid_frame: index & 1 != 0,
            outbound: index & 2 != 0,
        }
    }

    fn index(self) -> usize {
        usize::from(self.mid_frame) | usize::from(self.outbound) << 1
    }
}

#[derive(Debug, Default)]
struct Crowd {
    /// Somebody is in `tasks`: lets the usual release go without the lock.
    any: AtomicBool,
    tasks: Mutex<FxHashMap<u64, Waker>>,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Arc<Budget> {
        Arc::new(Budget {
            limits,
            frames: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            outbound: AtomicUsize::new(0),
            waiting: Default::default(),
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
        self.outbound.fetch_add(
            now.outbound.wrapping_sub(charged.outbound),
            Ordering::SeqCst,
        );
        *charged = now;
        for (need, crowd) in Need::ALL.into_iter().zip(&self.waiting) {
            if crowd.any.load(Ordering::SeqCst) && self.has_room(need) {
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
            && (!need.outbound
                || self.outbound.load(Ordering::SeqCst) < self.limits.outbound_bytes_total)
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
            outbound: own.outbound >= OUTBOUND_BYTES_SPARED,
        };
        if self.has_room(need) {
            return Poll::Ready(());
        }
        let crowd = &self.waiting[need.index()];
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
        for crowd in &self.waiting {
            if crowd.any.load(Ordering::SeqCst) {
                crowd.tasks.lock().remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
