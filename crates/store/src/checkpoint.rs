//! The checkpoint file: up to when log, queues and index were flushed, for the next recovery.
//!
//! | at | bytes | what (big-endian) |
//! |---|---|---|
//! | 0 | 8 | store time up to which the commit log is flushed, ms |
//! | 8 | 8 | the same for the consume queues |
//! | 16 | 8 | the same for full index files |
//! | 24 | 8 | flushed offset of the master, on a replica |
//! | 32 | 8 | confirmed offset, in controller mode |
//! | 40 | 4 | `SKYC`: the rest is ours; Java leaves it alone |
//! | 44 | 4 | bit 0: the run that wrote this acknowledged after fsync; bit 1: the boot is known; bit 2: it closed the store |
//! | 48 | 16 | boot of the machine |
//! | 64 | 8 | the log is durable up to this log offset |
//! | 72 | 8 | the entries of all records below are durable in the queue files |
//! | 80 | 8 | ... and below this at least written |
//! | 88 | 4 | if it closed the store: how many queues have had messages |
//! | 92 | 8 | ... and their messages, those expired included, all queues together |
//! | 100 | 4 | CRC-32 of bytes 0 to 99; once Java rewrote the first 40 it no longer fits |
//!
//! All within one sector, so a torn write leaves the old or the new; 4096 bytes long.

use std::io;
use std::path::Path;

use protocol::LogOffset;

use crate::disk::Disk;

#[cfg(test)]
mod tests;

const FILE_BYTES: usize = 4096;
const JAVA_BYTES: usize = 40;
const EXTRA_MAGIC: [u8; 4] = *b"SKYC";
/// Those that say something.
pub(crate) const EXTRA_BYTES: usize = 104;
const SYNC_FLUSH: u32 = 1;
const BOOT_KNOWN: u32 = 2;
const CLOSED: u32 = 4;

/// What the checkpoint file says. Times are store times in ms, 0 = nothing flushed yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The commit log is flushed up to here.
    pub physic_ms: i64,
    /// The consume queues are flushed up to here.
    pub logics_ms: i64,
    /// Full index files are flushed up to here.
    pub index_ms: i64,
    /// Flushed offset of the master, on a replica.
    pub master_flushed: i64,
    /// Confirmed offset, in controller mode.
    pub confirm: i64,
    /// What Java does not know; `None` in a file that Java wrote last.
    pub extra: Option<Extra>,
}

/// Bytes that Java neither reads nor changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    /// Boot in which it was written, see [`Disk::boot_id`].
    pub boot: Option<u128>,
    /// The run that wrote this acknowledged only after fsync.
    pub sync_flush: bool,
    /// The log is durable up to here, a record's boundary as the next two.
    pub log_durable: LogOffset,
    /// The queue files durably have the entries of all records below.
    pub queues_durable: LogOffset,
    /// The queue files have been given the entries of all records below.
    pub queues_written: LogOffset,
    /// What the queues had when the store was closed; `None` while it is open. Queues that have
    /// something else at the next start have lost files.
    pub closed: Option<QueueTotals>,
}

/// All queues together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueTotals {
    /// Queues that have had messages.
    pub queues: u32,
    /// Sum of their next offsets.
    pub next: i64,
}

impl Checkpoint {
    /// Reads the file; `None` if it is absent or too short to be a checkpoint (a power cut during
    /// its first write), which recovery treats as all zeros. Other failures name the file.
    pub fn read(disk: &Disk, path: &Path) -> io::Result<Option<Checkpoint>> {
        match disk.read(path) {
            Ok(bytes) => Ok(Checkpoint::decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the file in place. With `sync` it is durable then, a new file's name too; without, it
    /// survives the death of the process.
    pub fn write(&self, disk: &Disk, path: &Path, sync: bool) -> io::Result<()> {
        let created = !disk.exists(path);
        let file = disk.open_write(path)?;
        if file.len()? < FILE_BYTES as u64 {
            file.allocate(FILE_BYTES as u64)?;
        }
        file.write_all_at(&self.encode(), 0)?;
        if sync || created {
            file.sync_data()?;
        }
        match path.parent() {
            Some(dir) if created => disk.sync_dir(dir),
            _ => Ok(()),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Checkpoint> {
        Some(Checkpoint {
            physic_ms: long(bytes, 0)?,
            logics_ms: long(bytes, 8)?,
            index_ms: long(bytes, 16)?,
            master_flushed: long(bytes, 24)?,
            confirm: long(bytes, 32)?,
            extra: bytes.get(..EXTRA_BYTES).and_then(Extra::decode),
        })
    }

    /// The bytes that say something: the rest of the file is zero.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(EXTRA_BYTES);
        let java = [
            self.physic_ms,
            self.logics_ms,
            self.index_ms,
            self.master_flushed,
            self.confirm,
        ];
        java.iter()
            .for_each(|long| bytes.extend(long.to_be_bytes()));
        match &self.extra {
            None => bytes.resize(EXTRA_BYTES, 0),
            Some(extra) => {
                let flag = |set: bool, flag: u32| if set { flag } else { 0 };
                let flags = flag(extra.sync_flush, SYNC_FLUSH)
                    | flag(extra.boot.is_some(), BOOT_KNOWN)
                    | flag(extra.closed.is_some(), CLOSED);
                bytes.extend(EXTRA_MAGIC);
                bytes.extend(flags.to_be_bytes());
                bytes.extend(extra.boot.unwrap_or(0).to_be_bytes());
                for offset in [
                    extra.log_durable,
                    extra.queues_durable,
                    extra.queues_written,
                ] {
                    bytes.extend(offset.0.to_be_bytes());
                }
                let closed = extra.closed.unwrap_or_default();
                bytes.extend(closed.queues.to_be_bytes());
                bytes.extend(closed.next.to_be_bytes());
                bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
            }
        }
        bytes
    }
}

impl Extra {
    fn decode(bytes: &[u8]) -> Option<Extra> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let is_ours = body.get(JAVA_BYTES..)?.starts_with(&EXTRA_MAGIC);
        if !is_ours || crc32fast::hash(body) != u32::from_be_bytes(*crc) {
            return None;
        }
        let flags = int(body, 44)?;
        let boot = u128::from_be_bytes(*body.get(48..)?.first_chunk()?);
        let closed = QueueTotals {
            queues: int(body, 88)?,
            next: long(body, 92)?,
        };
        Some(Extra {
            boot: (flags & BOOT_KNOWN != 0).then_some(boot),
            sync_flush: flags & SYNC_FLUSH != 0,
            log_durable: LogOffset(long(body, 64)?),
            queues_durable: LogOffset(long(body, 72)?),
            queues_written: LogOffset(long(body, 80)?),
            closed: (flags & CLOSED != 0).then_some(closed),
        })
    }
}

fn long(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn int(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
