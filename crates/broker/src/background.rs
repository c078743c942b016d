//! The broker's own features that go on without a request: one task each, with an owner that ends and joins it.

use std::future::Future;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::threads::Sentinel;

/// The running features.
pub(crate) struct Background {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    failure: watch::Sender<Option<String>>,
}

/// Completes when features shall end.
#[derive(Clone)]
pub(crate) struct Stopped(watch::Receiver<bool>);

impl Stopped {
    pub(crate) async fn wait(&mut self) {
        // An error means that the owner is gone, which is the same.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}

impl Background {
    pub(crate) fn new(failure: watch::Sender<Option<String>>) -> Background {
        Background {
            stop: watch::Sender::new(false),
            tasks: Vec::new(),
            failure,
        }
    }

    /// Runs a feature. It ends soon after the given wait completes; if it panics, the broker can't go on.
    pub(crate) fn start<F>(&mut self, name: &'static str, feature: impl FnOnce(Stopped) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let sentinel = Sentinel::new(name, self.failure.clone());
        let feature = feature(Stopped(self.stop.subscribe()));
        self.tasks.push(tokio::spawn(async move {
            let _sentinel = sentinel;
            feature.await;
        }));
    }

    /// Ends all of them; returns when they are gone.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            // A panic has been reported by its sentinel.
            let _ = task.await;
        }
    }
}
