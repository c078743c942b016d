//! The clock: wall time in milliseconds, injected wherever it is needed, so that tests and
//! simulation can turn it; and the monotonic time that deadlines are counted in.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
pub use tokio::time::Instant;

#[cfg(test)]
mod tests;

/// A wait for a time of day looks at the clock again after this: clocks are set, and machines sleep.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

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
    Manual(Arc<watch::Sender<i64>>),
}

impl Clock {
    /// A clock that stands at `now_ms`.
    pub fn manual(now_ms: i64) -> Clock {
        Clock::Manual(Arc::new(watch::Sender::new(now_ms)))
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
            Clock::Manual(now_ms) => *now_ms.borrow(),
        }
    }

    /// Turns a manual clock on by `ms`.
    ///
    /// # Panics
    /// On the system clock, which nobody here may turn.
    pub fn advance(&self, ms: i64) {
        match self {
            Clock::System => panic!("the system clock can't be advanced"),
            Clock::Manual(now_ms) => now_ms.send_modify(|now_ms| *now_ms += ms),
        }
    }

    /// Completes when the clock shows that time or a later one: never early, and late by a timer's
    /// tick, or by up to a second after the clock was set forward.
    pub async fn reached(&self, at_ms: i64) {
        match self {
            Clock::System => loop {
                let left = at_ms.saturating_sub(self.now_ms());
                if left <= 0 {
                    return;
                }
                let left = Duration::from_millis(left.unsigned_abs());
                tokio::time::sleep(left.min(LOOK_AGAIN)).await;
            },
            Clock::Manual(now_ms) => {
                let mut now_ms = now_ms.subscribe();
                // An error means that nobody can turn it any more.
                if now_ms.wait_for(|now_ms| *now_ms >= at_ms).await.is_err() {
                    std::future::pending().await
                }
            }
        }
    }
}
