//! Looks up keys, in the order and with the limits of Apache.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::LogOffset;

use super::active::Active;
use super::layout::{ENTRY_BYTES, Entry, Header, Layout, SLOT_BYTES, hash_start, key_hash};
use super::{ClosedFile, Index};
use crate::disk::{Disk, File, Wait};

/// Entries read at once: those of a key that many records have lie close together.
const ENTRIES_BLOCK: u32 = 200;

/// What the index knows about a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexAnswer {
    /// Records that may have the key, newest first, each once: hashes collide, so look into each.
    pub offsets: Vec<LogOffset>,
    /// Store time of the newest entry of all, ms; 0 if there is none.
    pub last_update_timestamp: i64,
    /// Log offset of the newest entry of all.
    pub last_update_log_offset: LogOffset,
}

#[derive(Clone, Copy)]
struct Question {
    hash: i32,
    begin: i64,
    end: i64,
}

/// The way through one file's entries, from the newest of the key's slot on.
struct Walk {
    file: Place,
    header: Header,
    /// Number of the entry to look at, 0 at the end; `None`: ask the slot.
    next: Option<u32>,
    found: Vec<LogOffset>,
}

enum Place {
    Open(Arc<File>),
    Closed(Arc<PathBuf>),
}

impl Index {
    /// Records of `topic` that may have `key` and were stored from `begin` to `end` (ms, compared
    /// by the second), at most `max`. After a crash only what is in trusted files, until the rest
    /// has been recovered: it does not wait for that.
    pub fn query(
        &self,
        topic: &str,
        key: &str,
        max: usize,
        begin: i64,
        end: i64,
    ) -> io::Result<IndexAnswer> {
        let question = Question {
            hash: key_hash(hash_start(topic), key),
            begin,
            end,
        };
        let mut answer = IndexAnswer::default();
        let state = self.state.lock();
        if let Some(header) = state.header() {
            answer.last_update_timestamp = header.end_timestamp;
            answer.last_update_log_offset = header.end_log_offset;
        }
        // What is in memory is looked at under the lock, the disk without it.
        let open = state.active.iter().chain(state.sealing.as_deref());
        let open = open.map(|active| Walk::in_memory(active, &question, max));
        let closed = state.files.iter().rev().map(Walk::of_closed);
        let walks: Vec<Walk> = open.chain(closed).collect();
        drop(state);

        for mut walk in walks {
            if question.overlaps(&walk.header) {
                walk.on_disk(&self.disk, self.layout, &question, max)?;
                answer.offsets.append(&mut walk.found);
                // A key that its record names twice; or a record that ends a full file and, after a
                // restart, was put into the next one again.
                answer.offsets.dedup();
                answer.offsets.truncate(max);
            }
            if walk.header.begin_timestamp < begin || answer.offsets.len() >= max {
                break;
            }
        }
        Ok(answer)
    }
}

impl Question {
    fn overlaps(&self, header: &Header) -> bool {
        self.begin <= header.end_timestamp && self.end >= header.begin_timestamp
    }

    /// Takes the entry if it answers; the number of the next one, 0 at the end.
    fn step(&self, header: &Header, number: u32, entry: Entry, found: &mut Vec<LogOffset>) -> u32 {
        if entry.seconds < 0 {
            return 0;
        }
        let time = header
            .begin_timestamp
            .saturating_add(i64::from(entry.seconds) * 1000);
        if entry.hash == self.hash && (self.begin..=self.end).contains(&time) {
            found.push(entry.log_offset);
        }
        // Entries point to older ones only: anything else is damage, and might be a loop.
        match u32::try_from(entry.older) {
            Ok(older) if older < number && time >= self.begin => older,
            _ => 0,
        }
    }
}

impl Walk {
    fn of_closed(file: &ClosedFile) -> Walk {
        let place = Place::Closed(file.path.clone());
        Walk {
            file: place,
            header: file.header,
            next: None,
            found: Vec::new(),
        }
    }

    fn in_memory(active: &Active, question: &Question, max: usize) -> Walk {
        let mut number = active.newest(question.hash);
        let mut found = Vec::new();
        while number > 0 && found.len() < max {
            let Some(entry) = active.tail_entry(number) else {
                break;
            };
            number = question.step(&active.header, number, entry, &mut found);
        }
        let file = Place::Open(active.handle.clone());
        Walk {
            file,
            header: active.header,
            next: Some(number),
            found,
        }
    }

    fn on_disk(
        &mut self,
        disk: &Disk,
        layout: Layout,
        question: &Question,
        max: usize,
    ) -> io::Result<()> {
        let opened = match &self.file {
            Place::Open(file) => file.clone(),
            Place::Closed(path) => match disk.open_read(path) {
                Ok(file) => Arc::new(file),
                // Deleted since: so are its records.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            },
        };
        let mut number = match self.next {
            Some(number) => number,
            None => {
                let mut slot = [0; SLOT_BYTES];
                opened.read_exact_at(
                    &mut slot,
                    layout.slot_at(layout.slot_of(question.hash)),
                    Wait::ForDisk,
                )?;
                Some(u32::from_be_bytes(slot))
                    .filter(|it| *it < self.header.next)
                    .unwrap_or(0)
            }
        };
        let mut block = Block {
            first: 0,
            bytes: Vec::new(),
        };
        while number > 0 && self.found.len() < max {
            let entry = block.entry(&opened, layout, number)?;
            number = question.step(&self.header, number, entry, &mut self.found);
        }
        Ok(())
    }
}

/// Entries last read, those just before the one asked for included.
struct Block {
    first: u32,
    bytes: Vec<u8>,
}

impl Block {
    fn entry(&mut self, file: &File, layout: Layout, number: u32) -> io::Result<Entry> {
        if let Some(entry) = self.find(number) {
            return Ok(entry);
        }
        self.first = (number + 1).saturating_sub(ENTRIES_BLOCK).max(1);
        self.bytes
            .resize((number + 1 - self.first) as usize * ENTRY_BYTES, 0);
        file.read_exact_at(&mut self.bytes, layout.entry_at(self.first), Wait::ForDisk)?;
        self.find(number)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn find(&self, number: u32) -> Option<Entry> {
        let at = number.checked_sub(self.first)? as usize * ENTRY_BYTES;
        self.bytes.get(at..)?.first_chunk().map(Entry::decode)
    }
}
