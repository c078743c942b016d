//! The open half messages in memory: which there are, when to look after each, and what became of copies.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::limits;

#[cfg(test)]
mod tests;

/// A half message without an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Half {
    /// Where its record begins.
    pub(crate) log_offset: i64,
    /// Queue offset of the half message that was sent; its own if it is no copy.
    pub(crate) origin: i64,
    /// When to ask the producer.
    pub(crate) due_ms: i64,
    /// The topic it is for.
    pub(crate) topic: Arc<str>,
    /// When to look after it.
    wake_ms: i64,
    moving: Option<Move>,
}

/// Why a copy has been written, which has not been read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// The producer is asked.
    Ask,
    /// It lay too far back.
    Along,
}

/// Where a half message is that somebody wants to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It, or its newest copy, is open here.
    Open(i64),
    /// It, or its newest copy, has not been read yet.
    Ahead,
    /// It has ended.
    Gone,
}

/// What reading a half message came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// One more is open.
    New,
    /// It takes the place of the one it is a copy of, and the producer is to be asked now.
    Ask,
    /// It takes the place of the one it is a copy of.
    Copy,
}

/// All of them, by queue offset.
#[derive(Debug, Default)]
pub(crate) struct Table {
    open: BTreeMap<i64, Half>,
    wakes: BTreeSet<(i64, i64)>,
    /// From the one that was sent to its newest copy.
    copies: HashMap<i64, i64>,
    /// The next one to read.
    next: i64,
}

impl Table {
    /// Empty; half messages are read from `next` on.
    pub(crate) fn from(next: i64) -> Table {
        Table {
            next,
            ..Table::default()
        }
    }

    pub(crate) fn next(&self) -> i64 {
        self.next
    }

    /// Read up to there.
    pub(crate) fn set_next(&mut self, next: i64) {
        self.next = self.next.max(next);
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn get(&self, at: i64) -> Option<&Half> {
        self.open.get(&at)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Half)> {
        self.open.iter().map(|(at, half)| (*at, half))
    }

    /// Below this all have ended.
    pub(crate) fn low(&self) -> i64 {
        let first = self.open.keys().next();
        first.map_or(self.next, |first| self.next.min(*first))
    }

    /// A half message was read, stored at `stored_ms`. A copy has the origin of the one whose place it takes.
    pub(crate) fn read(
        &mut self,
        at: i64,
        log_offset: i64,
        origin: i64,
        due_ms: i64,
        stored_ms: i64,
        topic: Arc<str>,
    ) -> Read {
        self.set_next(at + 1);
        let mut half = Half {
            log_offset,
            origin,
            due_ms,
            topic,
            wake_ms: 0,
            moving: None,
        };
        let mut read = Read::New;
        if origin != at {
            let before = self.copies.insert(origin, at).unwrap_or(origin);
            if let Some(before) = self.take(before) {
                read = match before.moving {
                    Some(Move::Ask) => Read::Ask,
                    Some(Move::Along) => {
                        half.due_ms = before.due_ms;
                        Read::Copy
                    }
                    None => Read::Copy,
                };
            }
        }
        half.wake_ms = half
            .due_ms
            .min(stored_ms.saturating_add(limits::HALF_STAYS_MS_MAX));
        self.wakes.insert((half.wake_ms, at));
        self.open.insert(at, half);
        read
    }

    fn take(&mut self, at: i64) -> Option<Half> {
        let half = self.open.remove(&at)?;
        self.wakes.remove(&(half.wake_ms, at));
        Some(half)
    }

    /// Finds the half message at a queue offset, whose origin is the given one.
    pub(crate) fn find(&self, at: i64, origin: i64) -> Place {
        if at >= self.next {
            return Place::Ahead;
        }
        let newest = match self.open.contains_key(&at) {
            true => at,
            false => self.copies.get(&origin).copied().unwrap_or(origin),
        };
        match self.open.get(&newest) {
            Some(half) if half.moving.is_some() => Place::Ahead,
            Some(_) => Place::Open(newest),
            None => Place::Gone,
        }
    }

    /// It has ended.
    pub(crate) fn end(&mut self, at: i64) -> Option<Half> {
        let half = self.take(at)?;
        self.copies.remove(&half.origin);
        Some(half)
    }

    /// A copy of it was written: nothing happens to it until that is read.
    pub(crate) fn moving(&mut self, at: i64, why: Move) {
        if let Some(half) = self.open.get_mut(&at) {
            self.wakes.remove(&(half.wake_ms, at));
            half.moving = Some(why);
        }
    }

    /// To be looked after at another time.
    pub(crate) fn postpone(&mut self, at: i64, to_ms: i64) {
        if let Some(half) = self.open.get_mut(&at) {
            self.wakes.remove(&(half.wake_ms, at));
            half.wake_ms = to_ms;
            half.due_ms = half.due_ms.max(to_ms);
            self.wakes.insert((to_ms, at));
        }
    }

    /// When there is something to look after.
    pub(crate) fn wake_ms(&self) -> Option<i64> {
        self.wakes.first().map(|(wake_ms, _)| *wake_ms)
    }

    /// Those to look after now, the most urgent first.
    pub(crate) fn due(&self, now_ms: i64, count: usize) -> Vec<i64> {
        let due = self.wakes.range(..=(now_ms, i64::MAX));
        due.take(count).map(|(_, at)| *at).collect()
    }

    /// Those that lie so far back that the queue must be read from too far at the next start.
    pub(crate) fn stragglers(&self, count: usize) -> Vec<i64> {
        let open = i64::try_from(self.open.len()).unwrap_or(i64::MAX);
        let span_max = open.saturating_mul(4).max(limits::HALVES_SPAN_MIN);
        let from = self.next - span_max;
        let back = self.open.range(..from);
        let back = back.filter(|(_, half)| half.moving.is_none());
        back.take(count).map(|(at, _)| *at).collect()
    }
}
