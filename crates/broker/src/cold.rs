//! Reads of what is not in memory. They wait for the disk on threads of their own, a few at a time, so that neither the
//! runtime's workers nor other requests of the same connection wait with them.

use std::sync::Arc;

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
