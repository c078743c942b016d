//! The commit log read from its files as they are, without a store: nothing is locked, recovered or written.

use std::path::Path;

use anyhow::anyhow;
use memchr::memmem;
use protocol::record::{Decoded, MAGIC_V1, Record, RecordError};
use store::disk::{Disk, File, Wait};

const READ_BYTES: usize = 1 << 20;
/// Length and magic, which fillers have too.
const START_BYTES: usize = 8;
/// What claims to be longer is no record.
const RECORD_BYTES_MAX: usize = 64 << 20;
/// Searched twice, so that a record's start is not missed between two windows.
const SEARCH_OVERLAP: usize = 8;

/// All files of a log, in order.
pub(super) struct Log {
    pub(super) segments: Vec<Segment>,
}

/// One file: the log's bytes from `start` on.
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) start: i64,
    pub(super) len: i64,
    file: std::io::Result<File>,
}

impl Segment {
    pub(super) fn end(&self) -> i64 {
        self.start + self.len
    }

    fn file(&self) -> anyhow::Result<&File> {
        self.file.as_ref().map_err(|error| anyhow!("{error}"))
    }
}

impl Log {
    pub(super) fn open(disk: &Disk, dir: &Path) -> anyhow::Result<Log> {
        let mut segments = Vec::new();
        for entry in disk.list(dir)? {
            let Some(start) = start_of(&entry.name).filter(|_| !entry.is_dir) else {
                continue;
            };
            segments.push(Segment {
                start,
                len: i64::try_from(entry.len)?,
                file: disk.open_read(&dir.join(&entry.name)),
                name: entry.name,
            });
        }
        Ok(Log { segments })
    }

    pub(super) fn min(&self) -> i64 {
        self.segments.first().map_or(0, |segment| segment.start)
    }

    fn segment(&self, at: i64) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.end() <= at);
        self.segments
            .get(after)
            .filter(|segment| segment.start <= at)
    }

    /// Up to `bytes` from `at` on, within one file, and no more than a record may have: what asks for more was misread.
    pub(super) fn read(&self, at: i64, bytes: usize) -> anyhow::Result<Vec<u8>> {
        let Some(segment) = self.segment(at) else {
            return Ok(Vec::new());
        };
        let rest = usize::try_from(segment.end() - at)?;
        let count = bytes.min(rest).min(RECORD_BYTES_MAX);
        let mut buf = vec![0; count];
        let read =
            segment
                .file()?
                .read_at(&mut buf, u64::try_from(at - segment.start)?, Wait::ForDisk)?;
        buf.truncate(read);
        Ok(buf)
    }

    /// The first byte from `at` on that may be other than zero.
    fn data_from(&self, at: i64) -> anyhow::Result<Option<i64>> {
        let Some(segment) = self.segment(at) else {
            return Ok(None);
        };
        let data = segment
            .file()?
            .data_from(u64::try_from(at - segment.start)?)?;
        Ok(data
            .and_then(|data| i64::try_from(data).ok())
            .map(|data| segment.start + data))
    }

    /// Goes through the log from `at` on, or from its first file if that is later.
    pub(super) fn walk(&self, at: i64) -> Walk<'_> {
        Walk {
            log: self,
            at: at.max(self.min()),
            window: Vec::new(),
            window_at: 0,
        }
    }
}

/// The offset a file is named after.
pub(super) fn start_of(name: &str) -> Option<i64> {
    (name.len() == 20).then(|| name.parse().ok())?
}

/// Steps through a log from record to record.
pub(super) struct Walk<'a> {
    log: &'a Log,
    /// Where the next step begins.
    at: i64,
    window: Vec<u8>,
    window_at: i64,
}

/// What a step came upon.
pub(super) enum Step<'a> {
    /// A sound record.
    Record(Decoded<'a>),
    /// Bytes that should be a record and are none, or can't be read; why.
    Bad { at: i64, until: i64, error: String },
    /// Nothing is written from here on.
    End { at: i64 },
}

enum Found {
    Record { size: usize },
    Filler,
    Nothing(RecordError),
}

impl Walk<'_> {
    /// The next record, or what is in its place; `None` after the end.
    pub(super) fn step(&mut self) -> anyhow::Result<Option<Step<'_>>> {
        loop {
            let at = self.at;
            let Some(segment) = self.log.segment(at) else {
                return Ok(None);
            };
            let segment_end = segment.end();
            let found = match self.look(at) {
                Ok(found) => found,
                Err(error) => return Ok(Some(self.give_up(at, segment_end, &error))),
            };
            match found {
                _ if segment_end - at < START_BYTES as i64 => self.at = segment_end,
                Found::Record { size } => {
                    self.at += size as i64;
                    let record = Record::decode(self.bytes(at, size)?, false)?;
                    return Ok(Some(Step::Record(record)));
                }
                Found::Filler => self.at = segment_end,
                Found::Nothing(error) => {
                    let sound = match self.next_sound(at + 1, segment_end) {
                        Ok(sound) => sound,
                        Err(error) => return Ok(Some(self.give_up(at, segment_end, &error))),
                    };
                    let last = self.log.segment(segment_end).is_none();
                    self.at = sound.unwrap_or(segment_end);
                    let until = self.at;
                    let end = sound.is_none() && last && error == RecordError::Magic(0);
                    let step = if end {
                        Step::End { at }
                    } else {
                        let error = format!("no sound record, {error}");
                        Step::Bad { at, until, error }
                    };
                    return Ok(Some(step));
                }
            }
        }
    }

    /// Leaves out the rest of a file in which something can't be read.
    fn give_up(&mut self, at: i64, until: i64, error: &anyhow::Error) -> Step<'static> {
        self.at = until;
        let error = format!("not checked, a part can't be read: {error}");
        Step::Bad { at, until, error }
    }

    fn look(&mut self, at: i64) -> anyhow::Result<Found> {
        let size = self
            .bytes(at, 4)?
            .first_chunk()
            .map_or(0, |size| i32::from_be_bytes(*size));
        let size = usize::try_from(size).unwrap_or(0).min(RECORD_BYTES_MAX);
        let found = match Record::decode(self.bytes(at, size.max(START_BYTES))?, true) {
            Ok(Decoded { record, size, .. }) if record.log_offset.0 == at => Found::Record { size },
            Ok(Decoded { size, .. }) => Found::Nothing(RecordError::Length {
                field: "log offset",
                found: at,
                size: size as i64,
            }),
            Err(RecordError::Blank { .. }) => Found::Filler,
            Err(error) => Found::Nothing(error),
        };
        Ok(found)
    }

    /// The first place from `at` on, before `end`, at which a record is that says it is there.
    fn next_sound(&mut self, mut at: i64, end: i64) -> anyhow::Result<Option<i64>> {
        const MAGIC_AT: usize = 4;
        let magic = MAGIC_V1.to_be_bytes();
        // The two differ in the last byte only.
        let finder = memmem::Finder::new(&magic[..3]);
        while let Some(data) = self.log.data_from(at)?.filter(|data| *data < end) {
            at = data;
            let window = self.bytes(at, READ_BYTES)?;
            let len = window.len();
            let hits: Vec<_> = finder
                .find_iter(window)
                .filter_map(|hit| hit.checked_sub(MAGIC_AT))
                .collect();
            for hit in hits {
                if let Found::Record { .. } = self.look(at + hit as i64)? {
                    return Ok(Some(at + hit as i64));
                }
            }
            if len <= SEARCH_OVERLAP {
                break;
            }
            at += (len - SEARCH_OVERLAP) as i64;
        }
        Ok(None)
    }

    /// Up to `count` bytes at `at`, fewer at the end of the file.
    fn bytes(&mut self, at: i64, count: usize) -> anyhow::Result<&[u8]> {
        let window_end = self.window_at + self.window.len() as i64;
        if at < self.window_at || at + count as i64 > window_end {
            self.window = self.log.read(at, count.max(READ_BYTES))?;
            self.window_at = at;
        }
        let from = (at - self.window_at) as usize;
        Ok(&self.window[from..self.window.len().min(from + count)])
    }
}

#[cfg(test)]
mod tests;
