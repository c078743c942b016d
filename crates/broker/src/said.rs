//! What was logged already, of lines that anybody can cause: the first of a kind says it all.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};

use parking_lot::Mutex;
use remoting::LogLimit;

use crate::limits;

/// Remembers causes.
pub(crate) struct Said {
    hasher: RandomState,
    causes: Mutex<HashSet<u64>>,
    limit: LogLimit,
}

/// Lines a second, whatever their causes.
const PER_SECOND: u32 = 10;

impl Default for Said {
    fn default() -> Self {
        Said {
            hasher: RandomState::new(),
            causes: Mutex::default(),
            limit: LogLimit::new(PER_SECOND),
        }
    }
}

impl Said {
    /// Whether this is to be logged: it is new, and not too much else is. What is not logged stays new. With too many causes to
    /// remember, all are new again. A cause is named by who caused it (its address) and what it is, not by texts that clients
    /// make up: one of them could cause as many as it likes.
    pub(crate) fn is_news(&self, cause: impl Hash) -> bool {
        let cause = self.hasher.hash_one(cause);
        if self.causes.lock().contains(&cause) || self.limit.allow().is_none() {
            return false;
        }
        let mut causes = self.causes.lock();
        if causes.len() >= limits::SAID_MAX {
            causes.clear();
        }
        causes.insert(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_once_and_not_too_many() {
        let said = Said::default();
        assert!(said.is_news(("group", 1)));
        assert!(!said.is_news(("group", 1)));
        assert!(said.is_news(("group", 2)));
        let more = (0..limits::SAID_MAX).filter(|cause| said.is_news(cause));
        assert!(more.count() < 1_000);
        said.causes.lock().extend(0..limits::SAID_MAX as u64);
        wait_for_news(&said, "one more");
        assert_eq!(said.causes.lock().len(), 1);
    }

    /// The limit is that of a second.
    fn wait_for_news(said: &Said, cause: &str) {
        let begun = remoting::clock::monotonic();
        while !said.is_news(cause) {
            assert!(begun.elapsed() < std::time::Duration::from_secs(10));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    #[test]
    fn what_noise_withheld_is_said_later() {
        let said = Said::default();
        let causes = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let withheld: Vec<_> = causes.iter().filter(|cause| !said.is_news(cause)).collect();
        assert!(!withheld.is_empty());
        for cause in withheld {
            wait_for_news(&said, cause);
            assert!(!said.is_news(cause));
        }
    }
}
