//! What all connections of a server hold together: requests in flight and bytes. Connections settle
//! their share once per wake-up, not per request, so two cores seldom meet on these counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::clock::{self, Instant};
use crate::limits::{LOGGED_CLOSES_MAX, Limits};

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
    /// Some connection is in `waiting`: lets the usual release go without the lock.
    crowded: AtomicBool,
    waiting: Mutex<FxHashMap<u64, Waker>>,
    closes: Mutex<Closes>,
}

/// Closed connections logged in this second.
#[derive(Debug)]
struct Closes {
    since: Instant,
    logged: u32,
    withheld: u64,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Arc<Budget> {
        Arc::new(Budget {
            limits,
            frames: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            outbound: AtomicUsize::new(0),
            crowded: AtomicBool::new(false),
            waiting: Mutex::default(),
            closes: Mutex::new(Closes {
                since: clock::monotonic(),
                logged: 0,
                withheld: 0,
            }),
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
        if self.crowded.load(Ordering::SeqCst) && self.has_room(Share::default(), false) {
            let waiting = {
                let mut waiting = self.waiting.lock();
                self.crowded.store(false, Ordering::SeqCst);
                std::mem::take(&mut *waiting)
            };
            waiting.into_values().for_each(Waker::wake);
        }
    }

    /// Whether a connection that holds `own` may read on.
    fn has_room(&self, own: Share, mid_frame: bool) -> bool {
        let bytes_max = self.limits.bytes_max << u32::from(mid_frame);
        self.frames.load(Ordering::SeqCst) < self.limits.frames_max
            && self.bytes.load(Ordering::SeqCst) < bytes_max
            && (own.outbound < crate::limits::OUTBOUND_BYTES_SPARED
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
        if self.has_room(own, mid_frame) {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock();
        self.crowded.store(true, Ordering::SeqCst);
        // Room that was made before `crowded` could be seen woke nobody.
        if self.has_room(own, mid_frame) {
            return Poll::Ready(());
        }
        waiting.insert(id, cx.waker().clone());
        Poll::Pending
    }

    /// A connection is gone.
    pub(crate) fn leave(&self, id: u64, charged: &mut Share) {
        self.settle(charged, Share::default());
        if self.crowded.load(Ordering::SeqCst) {
            self.waiting.lock().remove(&id);
        }
    }

    /// Whether one more line about a closed connection may be logged, and how many were not since
    /// the last.
    pub(crate) fn may_log_close(&self) -> Option<u64> {
        let mut closes = self.closes.lock();
        let now = clock::monotonic();
        if now - closes.since >= Duration::from_secs(1) {
            closes.since = now;
            closes.logged = 0;
        }
        if closes.logged == LOGGED_CLOSES_MAX {
            closes.withheld += 1;
            return None;
        }
        closes.logged += 1;
        Some(std::mem::take(&mut closes.withheld))
    }
}
