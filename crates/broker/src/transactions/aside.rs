//! Half messages that were put aside because nobody ended them. Their producers may still come to know: a late commit
//! delivers them.

use std::collections::BTreeMap;

use protocol::LogOffset;

use crate::limits;

/// Where the newest of them are, by the queue offset of the half message that was sent.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    places: BTreeMap<i64, LogOffset>,
    forgot_some: bool,
}

impl Aside {
    pub(crate) fn insert(&mut self, origin: i64, place: LogOffset) {
        self.places.insert(origin, place);
        if self.places.len() > limits::ASIDE_MAX {
            self.places.pop_first();
            self.forgot_some = true;
        }
    }

    /// Where it is; it is not aside any more.
    pub(crate) fn take(&mut self, origin: i64) -> Option<LogOffset> {
        self.places.remove(&origin)
    }

    /// There are others.
    pub(crate) fn forget_some(&mut self) {
        self.forgot_some = true;
    }

    /// Whether what is not known here may be aside nevertheless.
    pub(crate) fn forgot_some(&self) -> bool {
        self.forgot_some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let mut aside = Aside::default();
        let count = i64::try_from(limits::ASIDE_MAX).unwrap();
        (0..count).for_each(|origin| aside.insert(origin, LogOffset(origin * 10)));
        assert!(!aside.forgot_some());
        aside.insert(count, LogOffset(7));
        assert!(aside.forgot_some());
        assert_eq!(aside.take(0), None);
        assert_eq!(aside.take(1), Some(LogOffset(10)));
        assert_eq!(aside.take(count), Some(LogOffset(7)));
        assert_eq!(aside.take(count), None);
    }
}
