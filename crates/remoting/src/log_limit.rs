//! Lines that anybody on the network can cause: so many a second, the rest is counted.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{self, Instant};

/// Says which lines are logged.
#[derive(Debug)]
pub struct LogLimit {
    per_second: u32,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    since: Instant,
    logged: u32,
    withheld: u64,
}

impl LogLimit {
    /// So many lines a second.
    pub fn new(per_second: u32) -> LogLimit {
        let seen = Seen {
            since: clock::monotonic(),
            logged: 0,
            withheld: 0,
        };
        LogLimit {
            per_second,
            seen: Mutex::new(seen),
        }
    }

    /// Whether one more line may be logged, and how many were not since the last.
    pub fn allow(&self) -> Option<u64> {
        self.allow_at(clock::monotonic())
    }

    fn allow_at(&self, now: Instant) -> Option<u64> {
        let mut seen = self.seen.lock();
        if now - seen.since >= Duration::from_secs(1) {
            seen.since = now;
            seen.logged = 0;
        }
        if seen.logged == self.per_second {
            seen.withheld += 1;
            return None;
        }
        seen.logged += 1;
        Some(std::mem::take(&mut seen.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_counted() {
        let limit = LogLimit::new(2);
        let start = limit.seen.lock().since;
        let ask = |ms| [(); 4].map(|()| limit.allow_at(start + Duration::from_millis(ms)));
        assert_eq!(ask(999), [Some(0), Some(0), None, None]);
        assert_eq!(ask(1000), [Some(2), Some(0), None, None]);
    }
}
