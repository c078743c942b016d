//! What goes on while a server is measured: log files that come and go, and moments in which the machine stood still.
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often this process looks.
const TICK: Duration = Duration::from_millis(2);
/// Woken so much too late, the machine stood still: nobody had a core.
const LATE: Duration = Duration::from_millis(8);
/// A stall begins at most this long after a file was seen to come or go, or before.
const NEAR_MS: i64 = 60;

/// What may have caused a stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A log file was made.
    Made,
    /// A log file was deleted.
    Deleted,
    /// A thread that only sleeps was woken much too late.
    Machine,
}

impl Cause {
    pub(super) fn words(self) -> &'static str {
        match self {
            Cause::Made => "a log file was made",
            Cause::Deleted => "a log file was deleted",
            Cause::Machine => "the machine stood still",
        }
    }
}

/// One thing that was seen, in ms since the epoch.
#[derive(Clone, Copy, Debug)]
struct Event {
    from_ms: i64,
    to_ms: i64,
    cause: Cause,
}

/// Looks until it is dropped.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    events: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
}

/// What was seen in some time.
pub(super) struct Seen(Vec<Event>);

impl Watch {
    pub(super) fn start(dir: &Path) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let (say, events) = channel();
        let (stopped, dir) = (stop.clone(), dir.to_owned());
        let thread = std::thread::spawn(move || look(&dir, &stopped, &say));
        Watch {
            stop,
            events,
            thread: Some(thread),
        }
    }

    /// What was seen since the last time.
    pub(super) fn take(&self) -> Seen {
        Seen(self.events.try_iter().collect())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It can't panic.
            let _ = thread.join();
        }
    }
}

impl Seen {
    pub(super) fn count(&self, cause: Cause) -> usize {
        self.0.iter().filter(|event| event.cause == cause).count()
    }

    /// What went on near a stall. The machine is a cause only if it stood still within it: on two cores that a server keeps
    /// busy, nobody who sleeps is woken in time for long.
    pub(super) fn causes(&self, from_ms: i64, to_ms: i64) -> Vec<Cause> {
        let near = |cause: &Cause| {
            let margin = match cause {
                Cause::Machine => 0,
                Cause::Made | Cause::Deleted => NEAR_MS,
            };
            let mut events = self.0.iter().filter(|event| event.cause == *cause);
            events.any(|event| event.from_ms <= to_ms + margin && event.to_ms >= from_ms - margin)
        };
        let causes = [Cause::Made, Cause::Deleted, Cause::Machine];
        causes.into_iter().filter(near).collect()
    }
}

fn look(dir: &Path, stop: &AtomicBool, say: &Sender<Event>) {
    let mut known = files(dir);
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        std::thread::sleep(TICK);
        let slept = began.elapsed();
        let to_ms = now_ms();
        let event = |cause, since: Duration| Event {
            from_ms: to_ms - since.as_millis() as i64,
            to_ms,
            cause,
        };
        let mut events = Vec::new();
        let late = slept.saturating_sub(TICK);
        if late > LATE {
            events.push(event(Cause::Machine, late));
        }
        let now = files(dir);
        let made = now.difference(&known);
        events.extend(made.map(|_| event(Cause::Made, slept)));
        let deleted = known.difference(&now);
        events.extend(deleted.map(|_| event(Cause::Deleted, slept)));
        known = now;
        for event in events {
            // Nobody listens any more: it is over.
            let _ = say.send(event);
        }
    }
}

/// Names only: sizes would cost a call each.
fn files(dir: &Path) -> HashSet<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_has_the_causes_that_were_near() {
        let event = |from_ms, to_ms, cause| Event {
            from_ms,
            to_ms,
            cause,
        };
        let seen = Seen(vec![
            event(1_000, 1_002, Cause::Made),
            event(5_000, 5_030, Cause::Machine),
        ]);
        assert_eq!(seen.causes(1_010, 1_040), [Cause::Made]);
        assert_eq!(seen.causes(1_063, 1_090), [], "too long after");
        assert_eq!(seen.causes(4_980, 5_010), [Cause::Machine]);
        assert_eq!(seen.causes(5_030, 5_060), [Cause::Machine]);
        assert_eq!(seen.causes(5_031, 5_060), [], "woken before it began");
        assert_eq!(seen.causes(4_970, 4_999), [], "over before it stood still");
        assert_eq!(seen.causes(3_000, 3_030), []);
        assert_eq!(seen.count(Cause::Made), 1);
    }

    #[test]
    fn files_are_seen_to_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let watch = Watch::start(dir.path());
        std::thread::sleep(10 * TICK);
        fs::write(dir.path().join("a"), "").unwrap();
        let mut seen = Vec::new();
        while seen.is_empty() {
            seen = watch
                .take()
                .0
                .into_iter()
                .filter(|event| event.cause != Cause::Machine)
                .collect();
        }
        assert_eq!(seen[0].cause, Cause::Made);
        fs::remove_file(dir.path().join("a")).unwrap();
        let mut seen = Vec::new();
        while seen.is_empty() {
            seen = watch
                .take()
                .0
                .into_iter()
                .filter(|event| event.cause != Cause::Machine)
                .collect();
        }
        assert_eq!(seen[0].cause, Cause::Deleted);
    }
}
