//! Tasks that outlive the call that started them, and are waited for before the broker is gone.

use std::future::Future;

use parking_lot::Mutex;
use tokio::task::{JoinError, JoinSet};

/// The broker's tasks.
#[derive(Default)]
pub(crate) struct Tasks {
    set: Mutex<JoinSet<()>>,
}

impl Tasks {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.set.lock();
        while let Some(ended) = set.try_join_next() {
            report(ended);
        }
        set.spawn(task);
    }

    /// Returns when all that were started have ended.
    pub(crate) async fn join(&self) {
        let mut set = std::mem::take(&mut *self.set.lock());
        while let Some(ended) = set.join_next().await {
            report(ended);
        }
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task of the broker failed");
    }
}
