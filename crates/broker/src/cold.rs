//! Reads of what is not in memory. They wait for the disk on threads of their own, a few at a time, so that neither the
//! runtime's workers nor other requests of the same connection wait with them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

use crate::broker::Broker;
use crate::refusal::Refusal;

#[cfg(test)]
mod tests;

type Read = Box<dyn FnOnce(&Arc<Broker>) + Send>;

/// Reads that wait for their turn. Who asks has a request's place in its connection's limits, so that they are few.
#[derive(Default)]
pub(crate) struct ColdReads {
    line: Mutex<Line>,
    changed: Condvar,
}

#[derive(Default)]
struct Line {
    reads: VecDeque<Read>,
    stopping: bool,
}

impl ColdReads {
    /// Ends the threads once nothing waits.
    pub(crate) fn stop(&self) {
        self.line.lock().stopping = true;
        self.changed.notify_all();
    }

    fn next(&self) -> Option<Read> {
        let mut line = self.line.lock();
        self.changed
            .wait_while(&mut line, |line| line.reads.is_empty() && !line.stopping);
        line.reads.pop_front()
    }
}

/// What reads in a task of the runtime and is not known before to wait (deliveries of delayed messages, half messages, messages sent
/// back) waits where it is; the worker's other tasks go on in another thread.
pub(crate) fn in_place(read: &mut dyn FnMut()) {
    let runtime = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match runtime {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(read),
        // A thread of our own, or a runtime that has no other.
        _ => read(),
    }
}

impl Broker {
    /// Runs what may wait for the disk, once it is its turn.
    pub(crate) fn read_cold(&self, read: impl FnOnce(&Arc<Broker>) + Send + 'static) {
        self.cold_reads.line.lock().reads.push_back(Box::new(read));
        self.cold_reads.changed.notify_one();
    }

    /// What such a read gives. It is not made if nobody waits for it any more.
    pub(crate) async fn cold<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Arc<Broker>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (done, result) = oneshot::channel();
        self.read_cold(move |broker| {
            if !done.is_closed() {
                // Whoever waited may be gone by now.
                let _ = done.send(read(broker));
            }
        });
        let failed = |_| Err(Refusal::system("the read failed"));
        result.await.unwrap_or_else(failed)
    }

    /// One of the threads that read, until it is time to stop.
    pub(crate) fn read_what_is_cold(self: &Arc<Self>) {
        while let Some(read) = self.cold_reads.next() {
            if catch_unwind(AssertUnwindSafe(|| read(self))).is_err() {
                tracing::error!("a read failed: see the panic before this line");
            }
        }
    }
}
