//! How far the timer has come: `config/timercheck`.
//!
//! | at | bytes | what (big-endian) |
//! |---|---|---|
//! | 0 | 8 | all slots before this time (ms) have been delivered |
//! | 8 | 8 | the wheel file has all units of the timer log before this position |
//! | 16 | 8 | all messages of the queue before this offset are in the timer log |
//! | 24 | 8 | the same, of the master |
//! | 32 | 24 | data version: state version, timestamp, counter |
//! | 56 | 4 | `SKYT`: the rest is ours; Java leaves it alone |
//! | 60 | 4 | CRC-32 of all else; no longer fits when Java rewrote the first 56 |
//! | 64 | 16 | mark: all due by a time (ms), and at that time all up to a position of the timer log, has been delivered, durably |
//! | 80 | 16 | mark: the same, as far as the messages are not lost with the end of the log |
//! | 96 | 8 | log end that the second mark needs |
//! | 104 | 8 | precision, ms: what the slots of the wheel and of the units are cut into |
//!
//! All within one sector, so a torn write leaves the old or the new; 4096 bytes long.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, File};

const FILE_BYTES: u64 = 4096;
const JAVA_BYTES: usize = 56;
const EXTRA_MAGIC: [u8; 4] = *b"SKYT";
const BYTES: usize = 112;

/// Messages are delivered in this order: by time, then by position in the timer log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) due_ms: i64,
    pub(crate) position: i64,
}

impl Mark {
    /// Everything due by this time.
    pub(crate) fn all_by(due_ms: i64) -> Mark {
        let position = i64::MAX;
        Mark { due_ms, position }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimerCheckpoint {
    pub(crate) read_ms: i64,
    pub(crate) log_flushed: i64,
    pub(crate) queue_offset: i64,
    pub(crate) master_queue_offset: i64,
    pub(crate) version: [i64; 3],
    /// `None` in a file that Java wrote last.
    pub(crate) extra: Option<Extra>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extra {
    pub(crate) durable: Mark,
    pub(crate) fresh: Mark,
    pub(crate) fresh_log_end: i64,
    pub(crate) precision_ms: i64,
}

impl TimerCheckpoint {
    /// Reads the file; `None` if it is absent or too short to be a checkpoint.
    pub(crate) fn read(disk: &Disk, path: &Path) -> io::Result<Option<TimerCheckpoint>> {
        match disk.read(path) {
            Ok(bytes) => Ok(TimerCheckpoint::decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the file for writing, makes it if it is not there.
    pub(crate) fn create(disk: &Disk, path: &Path) -> io::Result<Arc<File>> {
        if let Some(dir) = path.parent() {
            disk.create_dir_all(dir)?;
        }
        let file = disk.open_write(path)?;
        if file.len()? < FILE_BYTES {
            file.set_len(FILE_BYTES)?;
            file.sync_data()?;
            path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir))?;
        }
        Ok(Arc::new(file))
    }

    fn decode(bytes: &[u8]) -> Option<TimerCheckpoint> {
        let long = |at: usize| Some(i64::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let mark = |at: usize| {
            Some(Mark {
                due_ms: long(at)?,
                position: long(at + 8)?,
            })
        };
        let extra = || {
            let bytes = bytes.first_chunk::<BYTES>()?;
            let crc = u32::from_be_bytes(*bytes[60..].first_chunk()?);
            let ours = bytes[JAVA_BYTES..].starts_with(&EXTRA_MAGIC) && crc == crc_of(bytes);
            let extra = Extra {
                durable: mark(64)?,
                fresh: mark(80)?,
                fresh_log_end: long(96)?,
                precision_ms: long(104)?,
            };
            (ours && extra.precision_ms > 0).then_some(extra)
        };
        Some(TimerCheckpoint {
            read_ms: long(0)?,
            log_flushed: long(8)?,
            queue_offset: long(16)?,
            master_queue_offset: long(24)?,
            version: [long(32)?, long(40)?, long(48)?],
            extra: extra(),
        })
    }

    pub(crate) fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        let [state, timestamp, counter] = self.version;
        let java = [
            self.read_ms,
            self.log_flushed,
            self.queue_offset,
            self.master_queue_offset,
            state,
            timestamp,
            counter,
        ];
        for (index, long) in java.iter().enumerate() {
            put(index * 8, &long.to_be_bytes());
        }
        if let Some(extra) = &self.extra {
            put(JAVA_BYTES, &EXTRA_MAGIC);
            let longs = [
                extra.durable.due_ms,
                extra.durable.position,
                extra.fresh.due_ms,
                extra.fresh.position,
                extra.fresh_log_end,
                extra.precision_ms,
            ];
            for (index, long) in longs.iter().enumerate() {
                put(64 + index * 8, &long.to_be_bytes());
            }
            let crc = crc_of(&bytes);
            bytes[60..64].copy_from_slice(&crc.to_be_bytes());
        }
        bytes
    }
}

fn crc_of(bytes: &[u8; BYTES]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..60]);
    crc.update(&bytes[64..]);
    crc.finalize()
}
