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
    /// Whether this is to be logged: it is new, and not too much else is. With too many causes to remember, all are new again.
    pub(crate) fn is_news(&self, cause: impl Hash) -> bool {
        let cause = self.hasher.hash_one(cause);
        {
            let mut causes = self.causes.lock();
            if causes.len() >= limits::SAID_MAX {
                causes.clear();
            }
            if !causes.insert(cause) {
                return false;
            }
        }
        self.limit.allow().is_some()
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
        assert!(said.causes.lock().len() <= limits::SAID_MAX);
    }
}
