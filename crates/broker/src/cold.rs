//! Reads of what is not in memory. They wait for the disk on threads of their own, a few at a time, so that neither the
//! runtime's workers nor other requests of the same connection wait with them.

use std::sync::Arc;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

use crate::broker::Broker;
use crate::limits;

#[cfg(test)]
mod tests;

/// Turns to wait for the disk.
pub(crate) struct ColdReads(Arc<Semaphore>);

impl Default for ColdReads {
    fn default() -> ColdReads {
        ColdReads(Arc::new(Semaphore::new(limits::COLD_READS_MAX)))
    }
}

/// Whatever else reads in a task of the runtime (pops, queries, what delivers delayed messages) waits where it is; the worker's
/// other tasks go on in another thread.
pub(crate) fn in_place(read: &mut dyn FnMut()) {
    let runtime = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match runtime {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(read),
        // A thread of our own, or a runtime that has no other.
        _ => read(),
    }
}

impl Broker {
    /// Runs what may wait for the disk, once it is its turn. Who calls has a request's place in its connection's limits, so
    /// that few wait for their turn.
    pub(crate) fn read_cold(self: &Arc<Self>, read: impl FnOnce(&Arc<Broker>) + Send + 'static) {
        let (broker, turns) = (self.clone(), self.cold_reads.0.clone());
        self.tasks.spawn(async move {
            // The semaphore is never closed.
            let _turn = turns.acquire_owned().await;
            let run = move || read(&broker);
            if let Err(error) = tokio::task::spawn_blocking(run).await {
                tracing::error!(%error, "a read failed");
            }
        });
    }
}
