//! The wheel: for every time at which messages become due, their last unit in the timer log. The file has room for 14 days
//! of seconds, most of it holes; only the slots in use are in memory.
//!
//! | at | bytes | what (big-endian) |
//! |---|---|---|
//! | 0 | 8 | the slot's time / precision; the slot's place is this modulo the number of slots |
//! | 8 | 8 | position of its first unit |
//! | 16 | 8 | position of its last unit |
//! | 24 | 4 | messages in it |
//! | 28 | 4 | 0 |

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::{Disk, File, Wait};
use crate::limits;

const SLOT_BYTES: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) count: i32,
}

#[derive(Debug)]
pub(crate) struct Wheel {
    disk: Disk,
    path: PathBuf,
    precision_ms: i64,
    slots_total: i64,
    file: Option<Arc<File>>,
    /// By time, those that may have something to deliver.
    pub(crate) slots: BTreeMap<i64, Slot>,
    /// Times of slots that the file does not have like that.
    dirty: BTreeSet<i64>,
}

impl Wheel {
    /// A wheel without slots; see [`Wheel::load`].
    pub(crate) fn new(disk: &Disk, path: PathBuf, precision_ms: i64, slots_total: i64) -> Wheel {
        Wheel {
            disk: disk.clone(),
            path,
            precision_ms,
            slots_total,
            file: None,
            slots: BTreeMap::new(),
            dirty: BTreeSet::new(),
        }
    }

    fn bytes(&self) -> u64 {
        self.slots_total as u64 * SLOT_BYTES as u64
    }

    /// Reads the slots from a time on. `false` if there is no file, or none of the right length.
    pub(crate) fn load(&mut self, from_ms: i64) -> io::Result<bool> {
        match self.disk.len(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
            Ok(len) if len != self.bytes() => {
                tracing::warn!(
                    len,
                    expected = self.bytes(),
                    "timerwheel has a wrong length"
                );
                return Ok(false);
            }
            Ok(_) => {}
        }
        let file = self.disk.open_existing(&self.path)?;
        let end = file.data_end()?;
        let mut bytes = vec![0; limits::TIMER_BLOCK_BYTES];
        let mut at = 0;
        while at < end {
            let Some(data) = file.data_from(at)? else {
                break;
            };
            at = data.max(at) / SLOT_BYTES as u64 * SLOT_BYTES as u64;
            let wanted = bytes.len().min((self.bytes() - at) as usize);
            file.read_exact_at(&mut bytes[..wanted], at, Wait::ForDisk)?;
            for (index, slot) in bytes[..wanted].chunks_exact(SLOT_BYTES).enumerate() {
                let place = (at / SLOT_BYTES as u64) as i64 + index as i64;
                self.take(slot, place, from_ms);
            }
            at += wanted as u64;
        }
        self.file = Some(Arc::new(file));
        Ok(true)
    }

    fn take(&mut self, bytes: &[u8], place: i64, from_ms: i64) {
        let long = |at: usize| {
            bytes[at..]
                .first_chunk()
                .map_or(0, |long| i64::from_be_bytes(*long))
        };
        let turn = long(0);
        let slot_ms = turn.saturating_mul(self.precision_ms);
        if turn > 0 && slot_ms >= from_ms && turn % self.slots_total == place {
            let slot = Slot {
                first: long(8),
                last: long(16),
                count: (long(24) >> 32) as i32,
            };
            self.slots.insert(slot_ms, slot);
        }
    }

    pub(crate) fn set(&mut self, slot_ms: i64, slot: Slot) {
        self.slots.insert(slot_ms, slot);
        self.dirty.insert(slot_ms);
    }

    /// Nothing in it is wanted any more.
    pub(crate) fn forget(&mut self, slot_ms: i64) {
        self.slots.remove(&slot_ms);
        self.dirty.remove(&slot_ms);
    }

    /// Begins again with other slots; the file's are gone first.
    pub(crate) fn cut_anew(&mut self, precision_ms: i64) -> io::Result<()> {
        self.clear();
        self.file = None;
        if self.disk.exists(&self.path) {
            self.disk.remove_file(&self.path)?;
            self.path
                .parent()
                .map_or(Ok(()), |dir| self.disk.sync_dir(dir))?;
        }
        self.precision_ms = precision_ms;
        Ok(())
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.dirty.clear();
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    fn place(&self, slot_ms: i64) -> u64 {
        (slot_ms / self.precision_ms).rem_euclid(self.slots_total) as u64 * SLOT_BYTES as u64
    }

    fn encode(&self, slot_ms: i64, slot: &Slot) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(&(slot_ms / self.precision_ms).to_be_bytes());
        bytes[8..16].copy_from_slice(&slot.first.to_be_bytes());
        bytes[16..24].copy_from_slice(&slot.last.to_be_bytes());
        bytes[24..28].copy_from_slice(&slot.count.to_be_bytes());
        bytes
    }

    /// The file, made if it is not there.
    pub(crate) fn file(&mut self) -> io::Result<Arc<File>> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let file = self.disk.open_write(&self.path)?;
        if file.len()? != self.bytes() {
            file.set_len(0)?;
        }
        file.set_len(self.bytes())?;
        file.sync_data()?;
        self.path
            .parent()
            .map_or(Ok(()), |dir| self.disk.sync_dir(dir))?;
        let file = Arc::new(file);
        self.file = Some(file.clone());
        Ok(file)
    }

    /// What the file lacks, by position; neighbours in one piece.
    pub(crate) fn take_dirty(&mut self) -> Vec<(u64, Vec<u8>)> {
        let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
        for slot_ms in std::mem::take(&mut self.dirty) {
            let Some(slot) = self.slots.get(&slot_ms) else {
                continue;
            };
            let (place, bytes) = (self.place(slot_ms), self.encode(slot_ms, slot));
            match pieces.last_mut() {
                Some((at, piece)) if *at + piece.len() as u64 == place => {
                    piece.extend_from_slice(&bytes);
                }
                _ => pieces.push((place, bytes.to_vec())),
            }
        }
        pieces
    }

    /// All slots in use are to be written again: what was written of them may be lost.
    pub(crate) fn all_dirty(&mut self) {
        self.dirty = self.slots.keys().copied().collect();
    }

    /// Where the slots of a span of time are that are not in use, and their bytes; neighbours in one piece, of a block at
    /// most.
    pub(crate) fn unused(&self, from_ms: i64, to_ms: i64) -> Vec<(u64, usize)> {
        let turns = (to_ms - from_ms) / self.precision_ms;
        let mut pieces: Vec<(u64, usize)> = Vec::new();
        for turn in 0..turns.min(self.slots_total) {
            let slot_ms = from_ms + turn * self.precision_ms;
            if self.slots.contains_key(&slot_ms) {
                continue;
            }
            let place = self.place(slot_ms);
            match pieces.last_mut() {
                Some((at, len))
                    if *at + *len as u64 == place && *len < limits::TIMER_BLOCK_BYTES =>
                {
                    *len += SLOT_BYTES;
                }
                _ => pieces.push((place, SLOT_BYTES)),
            }
        }
        pieces
    }
}
