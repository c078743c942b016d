//! Apache's index file: header, slots, entries; its hash; its file names.
//!
//! | at | bytes | what (big-endian) |
//! |---|---|---|
//! | 0 | 8 | store time of the first entry, ms |
//! | 8 | 8 | store time of the last entry, ms |
//! | 16 | 8 | log offset of the first entry |
//! | 24 | 8 | log offset of the last entry |
//! | 32 | 4 | slots in use |
//! | 36 | 4 | entries + 1: the number of the next entry; they are counted from 1 |
//! | 40 | 4 each | slots: number of the newest entry whose hash falls into it, 0 = none |
//! | 40 + 4 * slots | 20 each | entries; the place of number 0 stays empty |
//!
//! | entry at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | hash |
//! | 4 | 8 | log offset of the record |
//! | 12 | 4 | seconds since the file's first entry |
//! | 16 | 4 | number of the next older entry of the slot, 0 = none |

use protocol::LogOffset;

pub(super) const HEADER_BYTES: usize = 40;
pub(super) const SLOT_BYTES: usize = 4;
pub(super) const ENTRY_BYTES: usize = 20;

/// Sizes of an index file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) slots: u32,
    /// One more than the entries that fit.
    pub(super) entries_max: u32,
}

impl Layout {
    pub(super) fn slot_of(self, hash: i32) -> u32 {
        hash as u32 % self.slots
    }

    pub(super) fn slot_at(self, slot: u32) -> u64 {
        HEADER_BYTES as u64 + u64::from(slot) * SLOT_BYTES as u64
    }

    pub(super) fn entry_at(self, number: u32) -> u64 {
        self.slot_at(self.slots) + u64::from(number) * ENTRY_BYTES as u64
    }

    pub(super) fn file_bytes(self) -> u64 {
        self.entry_at(self.entries_max)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) begin_timestamp: i64,
    pub(super) end_timestamp: i64,
    pub(super) begin_log_offset: LogOffset,
    pub(super) end_log_offset: LogOffset,
    pub(super) slots_used: u32,
    /// Number of the next entry.
    pub(super) next: u32,
}

impl Default for Header {
    fn default() -> Header {
        Header {
            begin_timestamp: 0,
            end_timestamp: 0,
            begin_log_offset: LogOffset(0),
            end_log_offset: LogOffset(0),
            slots_used: 0,
            next: 1,
        }
    }
}

impl Header {
    /// A file that follows this one starts where it ends.
    pub(super) fn of_next_file(&self) -> Header {
        Header {
            begin_timestamp: self.end_timestamp,
            end_timestamp: self.end_timestamp,
            begin_log_offset: self.end_log_offset,
            end_log_offset: self.end_log_offset,
            ..Header::default()
        }
    }

    pub(super) fn is_full(&self, layout: Layout) -> bool {
        self.next >= layout.entries_max
    }

    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Header {
        let long = |at: usize| i64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
        let int = |at: usize| i32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
        Header {
            begin_timestamp: long(0),
            end_timestamp: long(8),
            begin_log_offset: LogOffset(long(16)),
            end_log_offset: LogOffset(long(24)),
            slots_used: int(32).max(0) as u32,
            next: int(36).max(1) as u32,
        }
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.begin_timestamp.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.end_timestamp.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.begin_log_offset.0.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.end_log_offset.0.to_be_bytes());
        bytes[32..36].copy_from_slice(&self.slots_used.to_be_bytes());
        bytes[36..40].copy_from_slice(&self.next.to_be_bytes());
        bytes
    }

    /// Seconds since the first entry, within what an entry can hold. The first entry itself is
    /// at 0. (5.3.3 counts the first entry of a follow-up file from the end of the file before,
    /// so that it is found at too late a time.)
    pub(super) fn seconds(&self, store_timestamp: i64) -> i32 {
        let seconds = store_timestamp.saturating_sub(self.begin_timestamp) / 1000;
        if self.begin_timestamp <= 0 {
            0
        } else {
            seconds.clamp(0, i64::from(i32::MAX)) as i32
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) hash: i32,
    pub(super) log_offset: LogOffset,
    pub(super) seconds: i32,
    /// Number of the next older entry of the slot; 0 or less: none.
    pub(super) older: i32,
}

impl Entry {
    pub(super) fn decode(bytes: &[u8; ENTRY_BYTES]) -> Entry {
        let int = |at: usize| i32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
        Entry {
            hash: int(0),
            log_offset: LogOffset(i64::from_be_bytes(std::array::from_fn(|i| bytes[4 + i]))),
            seconds: int(12),
            older: int(16),
        }
    }

    pub(super) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[0..4].copy_from_slice(&self.hash.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.log_offset.0.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.seconds.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.older.to_be_bytes());
        bytes
    }
}

/// Java's hash of `topic#`, to go on with a key.
pub(super) fn hash_start(topic: &str) -> i32 {
    hash_on(hash_on(0, topic), "#")
}

/// The hash an entry holds: that of `topic#key`, made positive.
pub(super) fn key_hash(start: i32, key: &str) -> i32 {
    // Java's abs of the least integer is negative; Apache takes 0 then.
    hash_on(start, key).checked_abs().unwrap_or(0)
}

/// Goes on with Java's `String.hashCode`, which is over UTF-16 units.
fn hash_on(start: i32, text: &str) -> i32 {
    let step = |hash: i32, unit: i32| hash.wrapping_mul(31).wrapping_add(unit);
    if text.is_ascii() {
        // Four at a time: each step alone waits for the multiplication before it.
        const POWERS: [i32; 4] = [31 * 31 * 31, 31 * 31, 31, 1];
        let (fours, rest) = text.as_bytes().as_chunks::<4>();
        let hash = fours.iter().fold(start, |hash, four| {
            let weighed = four
                .iter()
                .zip(POWERS)
                .map(|(byte, power)| i32::from(*byte) * power);
            hash.wrapping_mul(31 * POWERS[0])
                .wrapping_add(weighed.sum())
        });
        rest.iter()
            .fold(hash, |hash, byte| step(hash, i32::from(*byte)))
    } else {
        text.encode_utf16()
            .fold(start, |hash, unit| step(hash, i32::from(unit)))
    }
}
