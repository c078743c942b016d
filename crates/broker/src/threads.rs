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
    /// What ends those that do not listen to `stop`.
    stops: Vec<Box<dyn FnOnce() + Send>>,
    handles: Vec<JoinHandle<()>>,
    failure: watch::Sender<Option<String>>,
}

/// Says so if its thread or task panics: a broker without its flusher must not go on as if nothing had happened.
pub(crate) struct Sentinel {
    name: &'static str,
    failure: watch::Sender<Option<String>>,
}

impl Sentinel {
    pub(crate) fn new(name: &'static str, failure: watch::Sender<Option<String>>) -> Sentinel {
        Sentinel { name, failure }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let failure = format!("\"{}\" failed", self.name);
            tracing::error!("{failure}; the broker can't go on");
            self.failure.send_replace(Some(failure));
        }
    }
}

impl Threads {
    pub(crate) fn new(failure: watch::Sender<Option<String>>) -> Threads {
        Threads {
            stop: Arc::default(),
            stops: Vec::new(),
            handles: Vec::new(),
            failure,
        }
    }

    /// Runs `turn` every `period`.
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
        })
    }

    /// Runs `turn` whenever the bell rings (or, if `period` is given, that often instead), and a last time before it stops.
    pub(crate) fn on_bell(
        &mut self,
        name: &'static str,
        bell: &Arc<Bell>,
        period: Option<Duration>,
        mut turn: impl FnMut() + Send + 'static,
    ) -> std::io::Result<()> {
        let (bell, stopped) = (bell.clone(), bell.clone());
        self.stops.push(Box::new(move || stopped.stop()));
        self.start(name, move || {
            while bell.wait(period) {
                turn();
            }
            turn();
        })
    }

    /// Runs `body` on so many threads; `stop` makes it return.
    pub(crate) fn several(
        &mut self,
        name: &'static str,
        count: usize,
        stop: impl FnOnce() + Send + 'static,
        body: impl Fn() + Clone + Send + 'static,
    ) -> std::io::Result<()> {
        self.stops.push(Box::new(stop));
        (0..count).try_for_each(|_| self.start(name, body.clone()))
    }

    fn start(
        &mut self,
        name: &'static str,
        body: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let sentinel = Sentinel::new(name, self.failure.clone());
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
    pub(crate) fn join(self) {}
}

/// Threads end with their owner, also where a start fails half way.
impl Drop for Threads {
    fn drop(&mut self) {
        *self.stop.stopping.lock() = true;
        self.stop.changed.notify_all();
        self.stops.drain(..).for_each(|stop| stop());
        for handle in self.handles.drain(..) {
            // A panic has been reported by its sentinel.
            let _ = handle.join();
        }
    }
}

/// Tells a thread that there is something to do. Ringing costs nothing while it has been rung already.
#[derive(Default)]
pub(crate) struct Bell {
    /// Rung since the last turn began.
    wanted: AtomicBool,
    stopping: Mutex<bool>,
    rung: Condvar,
}

impl Bell {
    /// There is something to do.
    pub(crate) fn ring(&self) {
        if !self.wanted.swap(true, Ordering::AcqRel) {
            // The lock makes sure that the thread either sees the mark or hears the bell.
            drop(self.stopping.lock());
            self.rung.notify_one();
        }
    }

    /// Ends the thread that listens.
    pub(crate) fn stop(&self) {
        *self.stopping.lock() = true;
        self.rung.notify_one();
    }

    /// Sleeps, but not past the time to stop.
    pub(crate) fn pause(&self, period: Duration) {
        let mut stopping = self.stopping.lock();
        self.rung
            .wait_while_for(&mut stopping, |stopping| !*stopping, period);
    }

    /// The thread that listens shall end.
    pub(crate) fn is_stopped(&self) -> bool {
        *self.stopping.lock()
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
