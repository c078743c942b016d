//! A unit of the timer log: one message that waits, or one that calls another off.
//!
//! | at | bytes | what (big-endian) |
//! |---|---|---|
//! | 0 | 4 | 52 |
//! | 4 | 8 | position of the slot's previous unit, -1 if there is none |
//! | 12 | 4 | 1, with 2 if it is put back into the queue when due, with 4 if it calls a message off |
//! | 16 | 8 | when it was written, ms, rounded down to the precision |
//! | 24 | 4 | the slot's time minus that |
//! | 28 | 8 | the record's log offset |
//! | 36 | 4 | its size |
//! | 40 | 4 | hash of the topic it is for |
//! | 44 | 4 | CRC-32 of the rest; ours, Java leaves 0 |
//! | 48 | 4 | ms from the slot's time to when it is due; ours, Java leaves 0 and means the slot's end |
//!
//! A file of the log ends with {i32 bytes to its end, i64 0, i32 [`BLANK_MAGIC`]}.

use std::ops::Range;

pub(crate) const UNIT_BYTES: usize = 52;
pub(crate) const BLANK_BYTES: usize = 16;
pub(crate) const BLANK_MAGIC: i32 = 0xCBD4_3194_u32 as i32;

pub(crate) const MAGIC_DEFAULT: i32 = 1;
pub(crate) const MAGIC_ROLL: i32 = 2;
pub(crate) const MAGIC_DELETE: i32 = 4;
/// Delivered: Java takes it for one that calls off a message which is not there, and does nothing.
pub(crate) const MAGIC_DONE: i32 = MAGIC_DEFAULT | MAGIC_DELETE;
const MAGIC_MAX: i32 = 15;

const CRC: Range<usize> = 44..48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) prev: i64,
    pub(crate) magic: i32,
    pub(crate) write_ms: i64,
    pub(crate) slot_ms: i64,
    pub(crate) log_offset: i64,
    pub(crate) size: i32,
    pub(crate) topic_hash: i32,
    /// `None`: Java wrote it, and it is due at the slot's end.
    pub(crate) due_ms: Option<i64>,
}

impl Unit {
    pub(crate) fn encode(&self) -> [u8; UNIT_BYTES] {
        let mut bytes = [0; UNIT_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &(UNIT_BYTES as i32).to_be_bytes());
        put(4, &self.prev.to_be_bytes());
        put(12, &self.magic.to_be_bytes());
        put(16, &self.write_ms.to_be_bytes());
        put(24, &((self.slot_ms - self.write_ms) as i32).to_be_bytes());
        put(28, &self.log_offset.to_be_bytes());
        put(36, &self.size.to_be_bytes());
        put(40, &self.topic_hash.to_be_bytes());
        if let Some(due_ms) = self.due_ms {
            put(48, &((due_ms - self.slot_ms) as u32).to_be_bytes());
            let crc = crc_of(&bytes);
            bytes[CRC].copy_from_slice(&crc.to_be_bytes());
        }
        bytes
    }

    /// `None` where no unit is, or a torn one.
    pub(crate) fn decode(bytes: &[u8; UNIT_BYTES]) -> Option<Unit> {
        let magic = int(bytes, 12);
        if int(bytes, 0) != UNIT_BYTES as i32 || !(1..=MAGIC_MAX).contains(&magic) {
            return None;
        }
        let (crc, after_ms) = (int(bytes, CRC.start) as u32, int(bytes, 48));
        let ours = crc != 0 || after_ms != 0;
        if ours && crc != crc_of(bytes) {
            return None;
        }
        let write_ms = long(bytes, 16);
        let slot_ms = write_ms.checked_add(i64::from(int(bytes, 24)))?;
        Some(Unit {
            prev: long(bytes, 4),
            magic,
            write_ms,
            slot_ms,
            log_offset: long(bytes, 28),
            size: int(bytes, 36),
            topic_hash: int(bytes, 40),
            due_ms: ours.then(|| slot_ms.saturating_add(i64::from(after_ms as u32))),
        })
    }

    /// It calls another message off (or has been delivered).
    pub(crate) fn is_delete(&self) -> bool {
        self.magic & MAGIC_DELETE != 0 && !self.is_roll()
    }

    pub(crate) fn is_roll(&self) -> bool {
        self.magic & MAGIC_ROLL != 0
    }
}

/// What ends a file of which so many bytes are left.
pub(crate) fn blank(left: i64) -> [u8; BLANK_BYTES] {
    let mut bytes = [0; BLANK_BYTES];
    bytes[..4].copy_from_slice(&(left as i32).to_be_bytes());
    bytes[12..].copy_from_slice(&BLANK_MAGIC.to_be_bytes());
    bytes
}

/// Whether a file ends here; Java compares no more either.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes
        .get(12..16)
        .is_some_and(|magic| magic == BLANK_MAGIC.to_be_bytes())
}

fn crc_of(bytes: &[u8; UNIT_BYTES]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..CRC.start]);
    crc.update(&bytes[CRC.end..]);
    crc.finalize()
}

fn long(bytes: &[u8; UNIT_BYTES], at: usize) -> i64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    i64::from_be_bytes(field)
}

fn int(bytes: &[u8; UNIT_BYTES], at: usize) -> i32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    i32::from_be_bytes(field)
}
