//! The index file being filled.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::LogOffset;

use super::ClosedFile;
use super::layout::{ENTRY_BYTES, Entry, HEADER_BYTES, Header, Layout, SLOT_BYTES};
use crate::disk::{Disk, File, Wait};
use crate::limits::INDEX_TAIL_BYTES;

/// Slots written at once.
const SLOTS_CHUNK: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: Name,
    pub(super) handle: Arc<File>,
    layout: Layout,
    pub(super) header: Header,
    /// The header on disk.
    pub(super) flushed: Header,
    /// The first file's are zeroed by the allocator: a page never touched takes no memory.
    pub(super) slots: Vec<u32>,
    /// The slots on disk lack some of these.
    pub(super) slots_behind: bool,
    /// The slots on disk may be neither zero nor of these entries, so that all are to be written.
    slots_stale: bool,
    /// Entries not yet written, from number `written` on.
    tail: Vec<u8>,
    written: u32,
}

#[derive(Debug)]
pub(super) struct Name {
    pub(super) name: u64,
    path: Arc<PathBuf>,
}

impl Active {
    /// A new file, durable before anything is put into it. It takes the spare slot table, if there is one.
    pub(super) fn create(
        disk: &Disk,
        dir: &Path,
        name: u64,
        layout: Layout,
        before: Header,
        spare: &mut Option<Vec<u32>>,
    ) -> io::Result<Active> {
        let path = dir.join(format!("{name:017}"));
        let handle = disk.open_write(&path)?;
        let header = before.of_next_file();
        handle.set_len(layout.file_bytes())?;
        handle.write_all_at(&header.encode(), 0)?;
        handle.sync_data()?;
        disk.sync_dir(dir)?;
        let slots = match spare.take() {
            Some(mut slots) => {
                slots.fill(0);
                slots
            }
            None => vec![0; layout.slots as usize],
        };
        Ok(Active {
            file: Name {
                name,
                path: Arc::new(path),
            },
            handle: Arc::new(handle),
            layout,
            header,
            flushed: header,
            slots,
            slots_behind: false,
            slots_stale: false,
            tail: Vec::new(),
            written: 1,
        })
    }

    /// A file that was completed, with room left.
    pub(super) fn load(disk: &Disk, file: &ClosedFile, layout: Layout) -> io::Result<Active> {
        let mut active = Active::open(disk, file, layout)?;
        let mut bytes = vec![0; SLOTS_CHUNK * SLOT_BYTES];
        for (chunk, slots) in active.slots.chunks_mut(SLOTS_CHUNK).enumerate() {
            let bytes = &mut bytes[..slots.len() * SLOT_BYTES];
            active.handle.read_exact_at(
                bytes,
                layout.slot_at((chunk * SLOTS_CHUNK) as u32),
                Wait::ForDisk,
            )?;
            let (read, _) = bytes.as_chunks::<SLOT_BYTES>();
            for (slot, bytes) in slots.iter_mut().zip(read) {
                let number = u32::from_be_bytes(*bytes);
                if number > 0 && number < file.header.next {
                    *slot = number;
                }
            }
        }
        Ok(active)
    }

    /// A file that a crash may have left incomplete: goes by its entries, up to the first that
    /// can't be, or that is for a record which the log no longer has.
    pub(super) fn rebuild(
        disk: &Disk,
        file: &ClosedFile,
        layout: Layout,
        log_end: LogOffset,
    ) -> io::Result<Active> {
        let mut active = Active::open(disk, file, layout)?;
        active.slots_behind = true;
        active.slots_stale = true;
        active.header.slots_used = 0;
        let counted = file.header.next.min(layout.entries_max);
        let nothing = Entry {
            hash: 0,
            log_offset: LogOffset(0),
            seconds: 0,
            older: 0,
        };
        let mut last = nothing;
        let mut next = 1;
        let mut bytes = vec![0; INDEX_TAIL_BYTES / ENTRY_BYTES * ENTRY_BYTES];
        'all: while next < counted {
            let count = (bytes.len() / ENTRY_BYTES).min((counted - next) as usize);
            let bytes = &mut bytes[..count * ENTRY_BYTES];
            active
                .handle
                .read_exact_at(bytes, layout.entry_at(next), Wait::ForDisk)?;
            for entry in bytes.as_chunks::<ENTRY_BYTES>().0 {
                let entry = Entry::decode(entry);
                let slot = &mut active.slots[layout.slot_of(entry.hash) as usize];
                let plausible = entry != nothing
                    && entry.hash >= 0
                    && entry.seconds >= 0
                    && entry.older == *slot as i32
                    && entry.log_offset >= last.log_offset
                    && entry.log_offset < log_end;
                if !plausible {
                    break 'all;
                }
                active.header.slots_used += u32::from(*slot == 0);
                *slot = next;
                next += 1;
                last = entry;
            }
        }
        let header = &mut active.header;
        if header.seconds(header.end_timestamp) != last.seconds {
            header.end_timestamp = header
                .begin_timestamp
                .saturating_add(i64::from(last.seconds) * 1000);
        }
        header.end_log_offset = last.log_offset;
        active.header.next = next;
        active.written = next;
        Ok(active)
    }

    fn open(disk: &Disk, file: &ClosedFile, layout: Layout) -> io::Result<Active> {
        Ok(Active {
            file: Name {
                name: file.name,
                path: file.path.clone(),
            },
            handle: Arc::new(disk.open_existing(&file.path)?),
            layout,
            header: file.header,
            flushed: file.header,
            slots: vec![0; layout.slots as usize],
            slots_behind: false,
            slots_stale: false,
            tail: Vec::new(),
            written: file.header.next,
        })
    }

    pub(super) fn is_full(&self) -> bool {
        self.header.is_full(self.layout)
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.header != self.flushed
    }

    /// The file as it is read once it is complete.
    pub(super) fn file(&self) -> ClosedFile {
        ClosedFile {
            name: self.file.name,
            path: self.file.path.clone(),
            header: self.header,
        }
    }

    /// Writes the tail if it is as long as it may get.
    pub(super) fn make_room(&mut self) -> io::Result<()> {
        if self.tail.len() < INDEX_TAIL_BYTES {
            Ok(())
        } else {
            self.write_tail()
        }
    }

    /// Adds an entry; the file is not full. With `once` not if the record has one with this hash.
    pub(super) fn put(
        &mut self,
        hash: i32,
        log_offset: LogOffset,
        store_timestamp: i64,
        once: bool,
    ) -> io::Result<()> {
        if once && self.has(hash, log_offset)? {
            return Ok(());
        }
        let number = self.header.next;
        if number <= 1 {
            self.header.begin_log_offset = log_offset;
            self.header.begin_timestamp = store_timestamp;
        }
        let slot = &mut self.slots[self.layout.slot_of(hash) as usize];
        let entry = Entry {
            hash,
            log_offset,
            seconds: self.header.seconds(store_timestamp),
            older: *slot as i32,
        };
        self.header.slots_used += u32::from(*slot == 0);
        *slot = number;
        self.slots_behind = true;
        self.tail.extend_from_slice(&entry.encode());
        self.header.next += 1;
        self.header.end_log_offset = log_offset;
        self.header.end_timestamp = store_timestamp;
        Ok(())
    }

    fn has(&self, hash: i32, log_offset: LogOffset) -> io::Result<bool> {
        let mut number = self.newest(hash);
        while number > 0 {
            let entry = match self.tail_entry(number) {
                Some(entry) => entry,
                None => {
                    let mut bytes = [0; ENTRY_BYTES];
                    self.handle.read_exact_at(
                        &mut bytes,
                        self.layout.entry_at(number),
                        Wait::ForDisk,
                    )?;
                    Entry::decode(&bytes)
                }
            };
            if entry.hash == hash && entry.log_offset == log_offset {
                return Ok(true);
            }
            if entry.log_offset < log_offset || entry.older >= number as i32 {
                return Ok(false);
            }
            number = entry.older.max(0) as u32;
        }
        Ok(false)
    }

    /// Number of the newest entry in a hash's slot, 0 if there is none.
    pub(super) fn newest(&self, hash: i32) -> u32 {
        self.slots[self.layout.slot_of(hash) as usize]
    }

    /// An entry that is not written yet; `None`: look on disk.
    pub(super) fn tail_entry(&self, number: u32) -> Option<Entry> {
        let at = number.checked_sub(self.written)? as usize * ENTRY_BYTES;
        self.tail.get(at..)?.first_chunk().map(Entry::decode)
    }

    pub(super) fn write_tail(&mut self) -> io::Result<()> {
        if self.tail.is_empty() {
            return Ok(());
        }
        self.handle
            .write_all_at(&self.tail, self.layout.entry_at(self.written))?;
        self.written = self.header.next;
        self.tail.clear();
        Ok(())
    }

    /// Writes all slots that are not already zero on disk.
    pub(super) fn write_slots(&self) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(SLOTS_CHUNK * SLOT_BYTES);
        for (chunk, slots) in self.slots.chunks(SLOTS_CHUNK).enumerate() {
            if !self.slots_stale && slots.iter().all(|slot| *slot == 0) {
                continue;
            }
            bytes.clear();
            bytes.extend(slots.iter().flat_map(|slot| slot.to_be_bytes()));
            let first = (chunk * SLOTS_CHUNK) as u32;
            self.handle
                .write_all_at(&bytes, self.layout.slot_at(first))?;
        }
        Ok(())
    }

    /// Writes the header of a file found after a crash, before anything is added.
    pub(super) fn write_header(&mut self) -> io::Result<()> {
        self.handle.write_all_at(&self.header.encode(), 0)?;
        self.handle.sync_data()?;
        self.flushed = self.header;
        Ok(())
    }
}

/// Reads the header of an index file.
pub(super) fn read_header(disk: &Disk, path: &Path) -> io::Result<Header> {
    let mut bytes = [0; HEADER_BYTES];
    disk.open_read(path)?
        .read_exact_at(&mut bytes, 0, Wait::ForDisk)?;
    Ok(Header::decode(&bytes))
}
