//! The clock: wall time in milliseconds, injected wherever it is needed, so that tests and
//! simulation can turn it; and the monotonic time that deadlines are counted in.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub use tokio::time::Instant;

/// Now, for measuring how long something took and for deadlines: never goes backwards, says nothing
/// about the time of day.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Where the time comes from. Clones of a manual clock show the same time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// Stands still until it is set or advanced: milliseconds since 1970.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `now_ms`.
    pub fn manual(now_ms: i64) -> Clock {
        Clock::Manual(Arc::new(AtomicI64::new(now_ms)))
    }

    /// Milliseconds since 1970, UTC. May go backwards, as wall clocks do.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    pub fn now_ms(&self) -> i64 {
        match self {
            Clock::System => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
                Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
            },
            Clock::Manual(now_ms) => now_ms.load(Ordering::Acquire),
        }
    }

    /// Turns a manual clock on by `ms`.
    ///
    /// # Panics
    /// On the system clock, which nobody here may turn.
    pub fn advance(&self, ms: i64) {
        match self {
            Clock::System => panic!("the system clock can't be advanced"),
            Clock::Manual(now_ms) => now_ms.fetch_add(ms, Ordering::AcqRel),
        };
    }
}
