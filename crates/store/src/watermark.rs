//! A position that only grows, and futures that wait for it: what is durable, what is visible.

use std::collections::BTreeMap;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

#[cfg(test)]
mod tests;

/// See the module's first line. Those whose position was reached are woken in the order of their positions, but first
/// those for whom little is to be done then.
#[derive(Debug, Default)]
pub struct Watermark {
    at: AtomicI64,
    /// How many wait, so that raising it costs no lock when nobody does.
    waiting: AtomicUsize,
    waiters: Mutex<Waiters>,
}

#[derive(Debug, Default)]
struct Waiters {
    sealed: bool,
    next_id: u64,
    wakers: BTreeMap<(i64, u64), Waiter>,
}

#[derive(Debug)]
struct Waiter {
    work: usize,
    waker: Waker,
}

/// The watermark will never move again: an fsync failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log is sealed after a failed sync to disk")]
pub struct Sealed;

impl Watermark {
    pub(crate) fn new(at: i64) -> Self {
        Watermark {
            at: AtomicI64::new(at),
            ..Watermark::default()
        }
    }

    /// Everything below this has been reached.
    pub fn at(&self) -> i64 {
        self.at.load(Ordering::SeqCst)
    }

    /// Completes when everything below `target` has been reached, or with an error once that can
    /// no longer happen. Dropping it leaves no trace.
    pub fn reached(&self, target: i64) -> Reached<'_> {
        self.reached_for(target, 1)
    }

    /// The same; so many requests will be answered then.
    pub fn reached_for(&self, target: i64, work: usize) -> Reached<'_> {
        Reached {
            watermark: self,
            ticket: Ticket {
                work,
                ..Ticket::new(target)
            },
        }
    }

    /// Moves up; [`Watermark::wake`] must follow.
    pub(crate) fn raise(&self, to: i64) {
        self.at.fetch_max(to, Ordering::SeqCst);
    }

    /// Wakes those whose position has been reached. Not under a lock.
    pub(crate) fn wake(&self) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut waiters = self.waiters.lock();
        let still = waiters.wakers.split_off(&(self.at() + 1, 0));
        let released = mem::replace(&mut waiters.wakers, still);
        self.waiting.store(waiters.wakers.len(), Ordering::SeqCst);
        drop(waiters);
        wake_all(released);
    }

    /// Nothing beyond the present position will ever be reached; those who wait for it are told.
    pub(crate) fn seal(&self) {
        let mut waiters = self.waiters.lock();
        waiters.sealed = true;
        let released = mem::take(&mut waiters.wakers);
        self.waiting.store(0, Ordering::SeqCst);
        drop(waiters);
        wake_all(released);
    }
}

fn wake_all(released: BTreeMap<(i64, u64), Waiter>) {
    let mut released: Vec<Waiter> = released.into_values().collect();
    released.sort_by_key(|waiter| waiter.work);
    for waiter in released {
        waiter.waker.wake();
    }
}

/// A place in a watermark's order of waiters: what its futures are made of.
#[derive(Debug)]
pub(crate) struct Ticket {
    target: i64,
    work: usize,
    id: Option<u64>,
}

impl Ticket {
    pub(crate) fn new(target: i64) -> Self {
        Ticket {
            target,
            work: 1,
            id: None,
        }
    }

    pub(crate) fn poll(
        &mut self,
        watermark: &Watermark,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Sealed>> {
        if watermark.at() >= self.target {
            self.leave(watermark);
            return Poll::Ready(Ok(()));
        }
        let mut waiters = watermark.waiters.lock();
        let id = *self.id.get_or_insert_with(|| {
            waiters.next_id += 1;
            waiters.next_id
        });
        if waiters.sealed {
            self.id = None;
            return Poll::Ready(Err(Sealed));
        }
        let waiter = Waiter {
            work: self.work,
            waker: context.waker().clone(),
        };
        waiters.wakers.insert((self.target, id), waiter);
        watermark
            .waiting
            .store(waiters.wakers.len(), Ordering::SeqCst);
        // Whoever raised it before it could see that somebody waits has not woken us.
        if watermark.at() >= self.target {
            drop(waiters);
            self.leave(watermark);
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    pub(crate) fn leave(&mut self, watermark: &Watermark) {
        if let Some(id) = self.id.take() {
            let mut waiters = watermark.waiters.lock();
            waiters.wakers.remove(&(self.target, id));
            watermark
                .waiting
                .store(waiters.wakers.len(), Ordering::SeqCst);
        }
    }
}

/// What [`Watermark::reached`] returns.
#[derive(Debug)]
pub struct Reached<'a> {
    watermark: &'a Watermark,
    ticket: Ticket,
}

impl Future for Reached<'_> {
    type Output = Result<(), Sealed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let watermark = self.watermark;
        self.ticket.poll(watermark, context)
    }
}

impl Drop for Reached<'_> {
    fn drop(&mut self) {
        self.ticket.leave(self.watermark);
    }
}
