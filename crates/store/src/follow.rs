//! The index follows the log: a cursor reads what has been appended and feeds it, off the append's
//! path. Also questions to the index.

use std::io;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::record::Outline;
use protocol::{LogOffset, properties};

use crate::index::{Index, IndexRecord};
use crate::read::ReadError;
use crate::recovery::{LogScan, Step};
use crate::{LocalTime, Store, limits};

#[cfg(test)]
mod tests;

/// The index and how far it has come.
#[derive(Debug)]
pub(crate) struct Indexing {
    pub(crate) index: Index,
    /// Records before it are indexed. `None`: the index has not been asked yet.
    cursor: Mutex<Option<i64>>,
}

/// Records found by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Whole records, oldest first.
    pub records: Vec<Bytes>,
    /// Store time of the newest record in the index, ms; 0 if there is none.
    pub last_update_timestamp: i64,
    /// Where that record is.
    pub last_update_log_offset: LogOffset,
}

impl Indexing {
    pub(crate) fn new(index: Index) -> Self {
        Indexing {
            index,
            cursor: Mutex::new(None),
        }
    }
}

impl Store {
    /// Indexes some of what has been appended since the last call; `true` if there is more to do
    /// at once. `now` names a new file. After an error the same record is tried again.
    pub fn build_index(&self, now: LocalTime) -> io::Result<bool> {
        let Some(indexing) = &self.index else {
            return Ok(false);
        };
        let end = self.log.end();
        let log_min = self.log.min();
        let mut cursor = indexing.cursor.lock();
        let at = match *cursor {
            Some(at) => at,
            // After a crash this reads a good part of the index.
            None => indexing.index.next_log_offset()?.map_or(log_min, |at| at.0),
        };
        let mut at = at.max(log_min);
        let stop = end.min(at + limits::INDEX_STEP_BYTES);
        let mut result = Ok(());
        while at < stop && result.is_ok() {
            let step = match self.log.tail.rest_of_chunk(at) {
                Some(held) => index_chunk(&indexing.index, &held.bytes, now, &mut at),
                None => self.index_files(&indexing.index, stop, now, &mut at),
            };
            result = step;
        }
        *cursor = Some(at);
        result.map(|()| at < end)
    }

    /// Indexes from files until memory has the rest.
    fn index_files(
        &self,
        index: &Index,
        stop: i64,
        now: LocalTime,
        at: &mut i64,
    ) -> io::Result<()> {
        let mut scan = LogScan::known(&self.log, *at, stop);
        while *at < stop {
            match scan.next()? {
                Step::Record(outline) => {
                    put(index, &outline, now)?;
                    *at = outline.log_offset.0 + outline.size as i64;
                }
                Step::Bad(bad) => *at = bad.to.0,
                Step::End(_) => *at = stop,
            }
            if self.log.tail.slice(*at, 1).is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Records of a topic with a key (one of `KEYS`, or the `UNIQ_KEY`) that were stored in a time
    /// range (ms, compared by the second): the newest `max`.
    pub fn query(
        &self,
        topic: &str,
        key: &str,
        max: usize,
        begin_ms: i64,
        end_ms: i64,
    ) -> Result<Found, ReadError> {
        let mut found = Found::default();
        let Some(indexing) = &self.index else {
            return Ok(found);
        };
        let answer = indexing.index.query(topic, key, max, begin_ms, end_ms)?;
        found.last_update_timestamp = answer.last_update_timestamp;
        found.last_update_log_offset = answer.last_update_log_offset;
        let mut offsets = answer.offsets;
        // The last record indexed before a crash is indexed again.
        offsets.dedup();
        for at in offsets.into_iter().rev() {
            if let Some(record) = self.record_at(at)?
                && Outline::decode(&record).is_ok_and(|outline| has_key(&outline, topic, key))
            {
                found.records.push(record);
            }
        }
        Ok(found)
    }
}

fn index_chunk(index: &Index, chunk: &[u8], now: LocalTime, at: &mut i64) -> io::Result<()> {
    let mut rest = chunk;
    while !rest.is_empty() {
        let outline = Outline::decode(rest).map_err(io::Error::other)?;
        put(index, &outline, now)?;
        rest = &rest[outline.size..];
        *at += outline.size as i64;
    }
    Ok(())
}

fn put(index: &Index, outline: &Outline<'_>, now: LocalTime) -> io::Result<()> {
    let (mut uniq_key, mut keys) = (None, None);
    for (name, value) in properties::iter(outline.properties) {
        match name {
            properties::UNIQ_KEY => uniq_key = Some(value),
            properties::KEYS => keys = Some(value),
            _ => {}
        }
    }
    if uniq_key.is_none() && keys.is_none() {
        return Ok(());
    }
    let record = IndexRecord {
        topic: outline.topic,
        uniq_key,
        keys,
        sys_flag: outline.sys_flag,
        log_offset: outline.log_offset,
        store_timestamp: outline.store_timestamp,
    };
    index.put(&record, now)
}

/// The index knows hashes only; Apache leaves it to the client to look again.
fn has_key(outline: &Outline<'_>, topic: &str, key: &str) -> bool {
    outline.topic == topic
        && properties::iter(outline.properties).any(|(name, value)| match name {
            properties::UNIQ_KEY => value == key,
            properties::KEYS => properties::keys(value).any(|one| one == key),
            _ => false,
        })
}
