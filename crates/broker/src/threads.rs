//! The threads that do what blocks: flushing, writing behind, cleaning, saving offsets. Each has a name and is joined.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

#[cfg(test)]
mod tests;

/// Tells a thread that it is time to stop, while it sleeps too.
#[derive(Default)]
struct Stop {
    stopping: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Sleeps; returns false when it is time to stop.
    fn sleep(&self, period: Duration) -> bool {
        let mut stopping = self.stopping.lock();
        self.changed
            .wait_while_for(&mut stopping, |stopping| !*stopping, period);
        !*stopping
    }
}

/// The running threads.
pub(crate) struct Threads {
    stop: Arc<Stop>,
    handles: Vec<JoinHandle<()>>,
    failure: watch::Sender<Option<String>>,
}

/// Says so if its thread panics: a broker without its flusher must not go on as if nothing had happened.
struct Sentinel {
    name: &'static str,
    failure: watch::Sender<Option<String>>,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let failure = format!("the thread \"{}\" failed", self.name);
            tracing::error!("{failure}; the broker can't go on");
            self.failure.send_replace(Some(failure));
        }
    }
}

impl Threads {
    pub(crate) fn new(failure: watch::Sender<Option<String>>) -> Threads {
        Threads {
            stop: Arc::default(),
            handles: Vec::new(),
            failure,
        }
    }

    /// Runs `turn` every `period`, and a last time before it stops.
    pub(crate) fn every(
        &mut self,
        name: &'static str,
        period: Duration,
        mut turn: impl FnMut() + Send + 'static,
    ) -> std::io::Result<()> {
        let stop = self.stop.clone();
        self.start(name, move || {
            while stop.sleep(period) {
                turn();
            }
            turn();
        })
    }

    /// Runs the flusher: `flush` whenever something was appended, or, if `period` is given, that often.
    pub(crate) fn flusher(
        &mut self,
        flusher: Arc<Flusher>,
        period: Option<Duration>,
        mut flush: impl FnMut() + Send + 'static,
    ) -> std::io::Result<()> {
        self.start("flush", move || {
            while flusher.wait(period) {
                flush();
            }
            flush();
        })
    }

    fn start(
        &mut self,
        name: &'static str,
        body: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let sentinel = Sentinel {
            name,
            failure: self.failure.clone(),
        };
        let run = move || {
            let _sentinel = sentinel;
            body();
        };
        self.handles.push(
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(run)?,
        );
        Ok(())
    }

    /// Stops all of them; returns when they are gone. Blocks.
    pub(crate) fn join(self, flusher: &Flusher) {
        *self.stop.stopping.lock() = true;
        self.stop.changed.notify_all();
        flusher.stop();
        for handle in self.handles {
            // A panic has been reported by its sentinel.
            let _ = handle.join();
        }
    }
}

/// The bell of the flusher thread.
#[derive(Default)]
pub(crate) struct Flusher {
    /// Something was appended since the last flush began.
    wanted: AtomicBool,
    stopping: Mutex<bool>,
    rung: Condvar,
}

impl Flusher {
    /// Something waits to be flushed.
    pub(crate) fn wake(&self) {
        if !self.wanted.swap(true, Ordering::AcqRel) {
            // The lock makes sure that the flusher either sees the mark or hears the bell.
            drop(self.stopping.lock());
            self.rung.notify_one();
        }
    }

    fn stop(&self) {
        *self.stopping.lock() = true;
        self.rung.notify_one();
    }

    /// Waits for the bell, or for `period`; returns false when it is time to stop.
    fn wait(&self, period: Option<Duration>) -> bool {
        let mut stopping = self.stopping.lock();
        match period {
            Some(period) => {
                self.rung
                    .wait_while_for(&mut stopping, |stopping| !*stopping, period);
            }
            None => self.rung.wait_while(&mut stopping, |stopping| {
                !*stopping && !self.wanted.load(Ordering::Acquire)
            }),
        }
        self.wanted.store(false, Ordering::Release);
        !*stopping
    }
}
