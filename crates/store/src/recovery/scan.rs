//! Walks the log record by record, and finds the next good one behind what is no record.

use std::io;
use std::sync::Arc;

use memchr::memmem;
use protocol::LogOffset;
use protocol::record::{MAGIC_BLANK, MAGIC_V1, MAGIC_V2, Outline, SIZE_MIN, crc31};
use rustc_hash::FxHashMap;

use crate::commit_log::{BLANK_BYTES, CommitLog, Segment};
use crate::disk::Wait;
use crate::store::BadRange;

/// Bytes of log read at once: what is read is looked at while it is in the cache of the processor.
const WINDOW_BYTES: usize = 256 << 10;

/// Bytes of a record up to and with its log offset.
const FRONT_BYTES: usize = 36;

/// What the magics of records have in common.
const MAGIC_PREFIX: [u8; 3] = [0xDA, 0xA3, 0x20];

/// See the module's first line.
#[derive(Debug)]
pub(crate) struct LogScan<'a> {
    log: &'a CommitLog,
    at: i64,
    window: Vec<u8>,
    window_start: i64,
    /// Data is known to go on to here; beyond it, see `data_ends`.
    data_to: i64,
    /// Where the data of each file ends, asked before it is read.
    data_ends: FxHashMap<i64, i64>,
}

/// What comes next in the log.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A good record.
    Record(Outline<'a>),
    /// No record, but one follows.
    Bad(BadRange),
    /// No record, and none follows.
    End(LogOffset),
}

/// What is at a place.
enum Found {
    Record { size: usize },
    Blank,
    Nothing,
}

impl<'a> LogScan<'a> {
    pub(crate) fn new(log: &'a CommitLog, from: i64) -> Self {
        LogScan {
            log,
            at: from,
            window: Vec::new(),
            window_start: 0,
            data_to: from,
            data_ends: FxHashMap::default(),
        }
    }

    /// The same for a log that is known to have records up to `to`: the file system need not be asked where its data ends.
    pub(crate) fn known(log: &'a CommitLog, from: i64, to: i64) -> Self {
        LogScan {
            data_to: to,
            ..LogScan::new(log, from)
        }
    }

    pub(crate) fn next(&mut self) -> io::Result<Step<'_>> {
        loop {
            let at = self.at;
            let found = match self.log.segment(at) {
                Some(segment) => self.look(&segment, at)?,
                None => Found::Nothing,
            };
            match found {
                Found::Record { size } => {
                    self.at += size as i64;
                    let from = (at - self.window_start) as usize;
                    let outline = Outline::decode(&self.window[from..from + size]);
                    return outline.map(Step::Record).map_err(io::Error::other);
                }
                Found::Blank => {
                    let next = self.log.file_start(at) + self.log.file_bytes();
                    if !self.log.segments().iter().any(|file| file.start >= next) {
                        return Ok(Step::End(LogOffset(at)));
                    }
                    self.at = next;
                }
                Found::Nothing => {
                    let Some(to) = self.find_behind(at)? else {
                        return Ok(Step::End(LogOffset(at)));
                    };
                    self.at = to;
                    return Ok(Step::Bad(BadRange {
                        from: LogOffset(at),
                        to: LogOffset(to),
                    }));
                }
            }
        }
    }

    fn look(&mut self, segment: &Arc<Segment>, at: i64) -> io::Result<Found> {
        let room = segment.start + self.log.file_bytes() - at;
        let front = self.fill(segment, at, FRONT_BYTES)?;
        let Some((size, rest)) = front.split_first_chunk::<4>() else {
            return Ok(Found::Nothing);
        };
        let size = i64::from(i32::from_be_bytes(*size));
        let Some((magic, _)) = rest.split_first_chunk::<4>() else {
            return Ok(Found::Nothing);
        };
        match u32::from_be_bytes(*magic) {
            MAGIC_BLANK if size == room => return Ok(Found::Blank),
            MAGIC_V1 | MAGIC_V2 => {}
            _ => return Ok(Found::Nothing),
        }
        let log_offset = front.get(28..).and_then(<[u8]>::first_chunk::<8>);
        if log_offset.map(|bytes| i64::from_be_bytes(*bytes)) != Some(at)
            || size < SIZE_MIN as i64
            || size + BLANK_BYTES > room
        {
            return Ok(Found::Nothing);
        }
        let size = size as usize;
        let bytes = self.fill(segment, at, size)?;
        let good = Outline::decode(bytes)
            .is_ok_and(|outline| crc31(outline.body) == outline.body_crc && outline.size == size);
        Ok(match good {
            true => Found::Record { size },
            false => Found::Nothing,
        })
    }

    /// The bytes at a place, `need` of them or as many as the file has.
    fn fill(&mut self, segment: &Segment, at: i64, need: usize) -> io::Result<&[u8]> {
        let window_end = self.window_start + self.window.len() as i64;
        if at < self.window_start || at + need as i64 > window_end {
            let file = self.log.file(segment)?;
            // What is asked for is read in any case: some file systems make holes of zeros.
            let data_end = match self.data_to > at {
                true => self.data_to,
                false => self.data_end(segment)?,
            };
            let ahead = (data_end - at).clamp(0, WINDOW_BYTES as i64);
            let room = (segment.start + self.log.file_bytes() - at) as usize;
            let wanted = need.max(ahead as usize).min(room);
            self.window.resize(wanted, 0);
            self.window_start = at;
            let mut filled = 0;
            while filled < wanted {
                let pos = (at - segment.start) as u64 + filled as u64;
                match file.read_at(&mut self.window[filled..], pos, Wait::ForDisk)? {
                    0 => break,
                    count => filled += count,
                }
            }
            self.window.truncate(filled);
        }
        let from = (at - self.window_start) as usize;
        let to = (from + need).min(self.window.len());
        Ok(&self.window[from..to])
    }

    /// From here on a file is all zero.
    pub(crate) fn data_end(&mut self, segment: &Segment) -> io::Result<i64> {
        if let Some(end) = self.data_ends.get(&segment.start) {
            return Ok(*end);
        }
        let end = segment.start + self.log.file(segment)?.data_end()? as i64;
        self.data_ends.insert(segment.start, end);
        Ok(end)
    }

    /// Where the next record (or the end of a file) is behind a place that has none.
    fn find_behind(&mut self, at: i64) -> io::Result<Option<i64>> {
        if let Some(to) = self.skip_by_size(at)? {
            return Ok(Some(to));
        }
        for segment in self.log.segments() {
            let from = segment.start.max(at + 1);
            if from < segment.start + self.log.file_bytes()
                && let Some(to) = self.find_in(&segment, from)?
            {
                return Ok(Some(to));
            }
        }
        Ok(None)
    }

    /// Believes the size of a record that is only otherwise damaged, if a good one follows it:
    /// a body may hold what looks like records.
    fn skip_by_size(&mut self, at: i64) -> io::Result<Option<i64>> {
        let Some(segment) = self.log.segment(at) else {
            return Ok(None);
        };
        let front = self.fill(&segment, at, FRONT_BYTES)?;
        let Some(size) = front.first_chunk::<4>() else {
            return Ok(None);
        };
        let to = at + i64::from(i32::from_be_bytes(*size));
        if to <= at || to + BLANK_BYTES > segment.start + self.log.file_bytes() {
            return Ok(None);
        }
        Ok(match self.look(&segment, to)? {
            Found::Nothing => None,
            Found::Record { .. } | Found::Blank => Some(to),
        })
    }

    fn find_in(&mut self, segment: &Arc<Segment>, from: i64) -> io::Result<Option<i64>> {
        let finder = memmem::Finder::new(&MAGIC_PREFIX);
        let end = self.data_end(segment)?;
        let mut from = from;
        while from < end {
            self.window.clear();
            let bytes = self.fill(segment, from, WINDOW_BYTES.min((end - from) as usize))?;
            let len = bytes.len() as i64;
            // Looking at a hit moves the window, so all are collected first.
            let hits: Vec<i64> = finder.find_iter(bytes).map(|hit| hit as i64 - 4).collect();
            for hit in hits {
                let candidate = from + hit;
                if hit >= 0 && matches!(self.look(segment, candidate)?, Found::Record { .. }) {
                    return Ok(Some(candidate));
                }
            }
            if from + len >= end || len <= FRONT_BYTES as i64 {
                break;
            }
            // A record may start at the window's end, its magic being beyond it.
            from += len - FRONT_BYTES as i64;
        }
        Ok(None)
    }
}
