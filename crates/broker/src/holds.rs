//! Pulls that wait for a message: their number is limited, and they end with their connection.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clients::PeerId;
use crate::limits;

#[cfg(test)]
mod tests;

/// The waiting pulls of all connections.
#[derive(Default)]
pub(crate) struct Holds {
    by_peer: Mutex<HashMap<PeerId, JoinSet<()>>>,
    count: Arc<AtomicUsize>,
    stopping: watch::Sender<bool>,
    resets: watch::Sender<()>,
}

/// A hold's place in the count; gives it back when dropped.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Holds {
    /// Room for one more of the connection; `None` when there are [`limits::HOLDS_MAX`], or as many of it as it may have.
    pub(crate) fn place(&self, peer: PeerId) -> Option<Place> {
        if let Some(holds) = self.by_peer.lock().get_mut(&peer) {
            while let Some(ended) = holds.try_join_next() {
                report(ended);
            }
            if holds.len() >= limits::HOLDS_PER_CLIENT_MAX {
                return None;
            }
        }
        let place = Place(self.count.clone());
        (self.count.fetch_add(1, Ordering::Relaxed) < limits::HOLDS_MAX).then_some(place)
    }

    /// Runs `hold` until it ends or its connection does.
    pub(crate) fn start(&self, peer: PeerId, hold: impl Future<Output = ()> + Send + 'static) {
        self.by_peer.lock().entry(peer).or_default().spawn(hold);
    }

    /// The connection is gone: nobody waits any more.
    pub(crate) fn closed(&self, peer: PeerId) {
        let holds = self.by_peer.lock().remove(&peer);
        drop(holds);
    }

    /// Completes when no pull shall wait any longer.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopping = self.stopping.subscribe();
        async move {
            // An error means that the broker is gone, which is the same.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    }

    /// A group was reset: pulls that wait look whether it is theirs.
    pub(crate) fn reset(&self) {
        self.resets.send_replace(());
    }

    /// Changes at once, and then with each reset.
    pub(crate) fn resets(&self) -> watch::Receiver<()> {
        let mut resets = self.resets.subscribe();
        resets.mark_changed();
        resets
    }

    /// Ends all of them, each with its answer; returns when they are gone.
    pub(crate) async fn stop(&self) {
        self.stopping.send_replace(true);
        let all = std::mem::take(&mut *self.by_peer.lock());
        for mut holds in all.into_values() {
            while let Some(ended) = holds.join_next().await {
                report(ended);
            }
        }
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a held pull failed");
    }
}
