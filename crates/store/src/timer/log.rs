//! The timer log: units one after the other in files named after their start, sparse until written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::unit::{BLANK_BYTES, UNIT_BYTES, Unit, blank, is_blank};
use crate::config::{file_name, file_start};
use crate::disk::{Disk, File, Wait};
use crate::limits;

#[derive(Debug)]
pub(crate) struct TimerLog {
    disk: Disk,
    dir: PathBuf,
    file_bytes: i64,
    /// Where files start. A gap only where one is missing.
    starts: BTreeSet<i64>,
    handles: BTreeMap<i64, Arc<File>>,
    /// Written since the last sync.
    unsynced: BTreeSet<i64>,
    /// After the last unit.
    end: i64,
}

/// Units on their way into the log: their positions are known before they are written.
#[derive(Debug)]
pub(crate) struct Appending {
    file_bytes: i64,
    at: i64,
    /// One for each file.
    pieces: Vec<(i64, Vec<u8>)>,
}

impl Appending {
    /// Where the next unit goes.
    pub(crate) fn next(&mut self) -> i64 {
        let left = self.file_bytes - self.at % self.file_bytes;
        if left < (UNIT_BYTES + BLANK_BYTES) as i64 {
            self.put(&blank(left));
            self.at += left - BLANK_BYTES as i64;
        }
        self.at
    }

    pub(crate) fn push(&mut self, unit: &Unit) {
        self.next();
        self.put(&unit.encode());
    }

    fn put(&mut self, bytes: &[u8]) {
        let begins_file = self.at % self.file_bytes == 0;
        match self.pieces.last_mut() {
            Some((_, piece)) if !begins_file => piece.extend_from_slice(bytes),
            _ => self.pieces.push((self.at, bytes.to_vec())),
        }
        self.at += bytes.len() as i64;
    }
}

/// What recovery makes of something in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Unit,
    /// The end, unless it is known that units follow.
    Damage,
    /// The end in any case.
    End,
}

/// The part of the log that was read last: units of a slot are near each other.
#[derive(Debug, Default)]
pub(crate) struct Block {
    start: i64,
    bytes: Vec<u8>,
}

impl TimerLog {
    pub(crate) fn open(disk: &Disk, dir: PathBuf, file_bytes: u64) -> io::Result<TimerLog> {
        let mut starts = BTreeSet::new();
        let entries = match disk.list(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let Some(start) = file_start(&entry.name).filter(|_| !entry.is_dir) else {
                continue;
            };
            let path = dir.join(&entry.name);
            if entry.len > file_bytes || start % file_bytes as i64 != 0 {
                return Err(io::Error::other(format!(
                    "{} has {} bytes, but mappedFileSizeTimerLog is {file_bytes}",
                    path.display(),
                    entry.len
                )));
            }
            if entry.len < file_bytes {
                // Cut short by a crash while it was made.
                disk.open_write(&path)?.set_len(file_bytes)?;
            }
            starts.insert(start);
        }
        if !starts.is_empty() {
            disk.sync_dir(&dir)?;
        }
        let min = starts.first().copied().unwrap_or(0);
        Ok(TimerLog {
            disk: disk.clone(),
            dir,
            file_bytes: file_bytes as i64,
            starts,
            handles: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            end: min,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Where the oldest file starts.
    pub(crate) fn min(&self) -> i64 {
        self.starts.first().copied().unwrap_or(0)
    }

    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// Whether a unit may start there.
    pub(crate) fn has(&self, position: i64) -> bool {
        (self.min()..self.end).contains(&position)
            && position % self.file_bytes % UNIT_BYTES as i64 == 0
    }

    /// The last position at or before this one where a unit may start.
    pub(crate) fn aligned(&self, position: i64) -> i64 {
        position - position % self.file_bytes % UNIT_BYTES as i64
    }

    /// Where the next unit may be.
    pub(crate) fn after(&self, at: i64) -> i64 {
        let next = at + UNIT_BYTES as i64;
        let left = self.file_bytes - next % self.file_bytes;
        let next = match left < (UNIT_BYTES + BLANK_BYTES) as i64 {
            true => next + left,
            false => next,
        };
        if self.starts.contains(&self.start_of(next)) {
            return next;
        }
        let later = self.starts.range(next..).next();
        later.copied().unwrap_or(next.max(self.end))
    }

    /// Whether there is a file for what is just before a position.
    pub(crate) fn reaches(&self, position: i64) -> bool {
        position <= 0 || self.starts.contains(&self.start_of(position - 1))
    }

    /// The next unit goes into a file that starts at this position or after it.
    pub(crate) fn skip_to(&mut self, position: i64) {
        let files = position.div_euclid(self.file_bytes) + 1;
        self.end = self.end.max(files.saturating_mul(self.file_bytes));
    }

    fn start_of(&self, position: i64) -> i64 {
        position - position % self.file_bytes
    }

    pub(crate) fn appending(&self) -> Appending {
        Appending {
            file_bytes: self.file_bytes,
            at: self.end,
            pieces: Vec::new(),
        }
    }

    /// Writes units; after an error the log is as before.
    pub(crate) fn append(&mut self, appending: Appending) -> io::Result<()> {
        for (at, bytes) in &appending.pieces {
            self.write(*at, bytes)?;
        }
        self.end = appending.at;
        Ok(())
    }

    /// Writes within one file, which is made if it is not there.
    pub(crate) fn write(&mut self, at: i64, bytes: &[u8]) -> io::Result<()> {
        let start = self.start_of(at);
        let file = self.file_or_create(start)?;
        self.unsynced.insert(start);
        file.write_all_at(bytes, (at - start) as u64)
    }

    fn file_or_create(&mut self, start: i64) -> io::Result<Arc<File>> {
        if self.starts.contains(&start) {
            return self.file(start);
        }
        self.disk.create_dir_all(&self.dir)?;
        let path = self.dir.join(file_name(start));
        let file = self.disk.open_write(&path)?;
        file.set_len(self.file_bytes as u64)?;
        file.sync_data()?;
        self.disk.sync_dir(&self.dir)?;
        self.starts.insert(start);
        self.file(start)
    }

    fn file(&mut self, start: i64) -> io::Result<Arc<File>> {
        if let Some(file) = self.handles.get(&start) {
            return Ok(file.clone());
        }
        let path = self.dir.join(file_name(start));
        let file = Arc::new(self.disk.open_existing(&path)?);
        if self.handles.len() >= limits::TIMER_LOG_HANDLES_MAX {
            let unsynced = &self.unsynced;
            self.handles.retain(|start, _| unsynced.contains(start));
        }
        self.handles.insert(start, file.clone());
        Ok(file)
    }

    /// The unit at a position; `None` if there is none, or its file is gone.
    pub(crate) fn unit(&mut self, at: i64, block: &mut Block) -> io::Result<Option<Unit>> {
        let start = self.start_of(at);
        if !self.starts.contains(&start) {
            return Ok(None);
        }
        let to = (at + UNIT_BYTES as i64).min(start + self.file_bytes);
        if at < block.start || to > block.start + block.bytes.len() as i64 {
            *block = self.block(at, start)?;
        }
        let from = (at - block.start) as usize;
        let unit = block.bytes.get(from..).and_then(<[u8]>::first_chunk);
        Ok(unit.and_then(Unit::decode))
    }

    /// What is around a position, more of it before: slots are read from their end.
    fn block(&mut self, at: i64, start: i64) -> io::Result<Block> {
        let block_bytes = limits::TIMER_BLOCK_BYTES as i64;
        let from = (at - block_bytes * 3 / 4).max(start);
        let to = (from + block_bytes).min(start + self.file_bytes);
        let mut bytes = vec![0; (to - from) as usize];
        self.file(start)?
            .read_exact_at(&mut bytes, (from - start) as u64, Wait::ForDisk)?;
        Ok(Block { start: from, bytes })
    }

    /// Finds the end of the log: goes through the units from a position on, to the first that is none; before `flushed`
    /// there are more behind such a one. What is behind the end is blanked, so that nobody takes it for units later.
    pub(crate) fn recover(
        &mut self,
        from: i64,
        flushed: i64,
        mut judge: impl FnMut(i64, &Unit) -> io::Result<Found>,
    ) -> io::Result<()> {
        let mut at = self.aligned(from).max(self.min());
        let mut block = Block::default();
        let mut damages = 0;
        while self.starts.contains(&self.start_of(at)) {
            // Whoever wrote it may have died before it was synced.
            self.unsynced.insert(self.start_of(at));
            let found = match self.unit(at, &mut block)? {
                Some(unit) => judge(at, &unit)?,
                None if self.is_blank(at, &block) => {
                    at = self.start_of(at) + self.file_bytes;
                    continue;
                }
                None => Found::Damage,
            };
            match found {
                Found::Unit => at += UNIT_BYTES as i64,
                Found::Damage if at < flushed => {
                    damages += 1;
                    at = self.after(at);
                }
                Found::Damage | Found::End => break,
            }
        }
        if damages > 0 {
            tracing::warn!(damages, "the timer log is damaged: messages are lost");
        }
        self.end = at;
        self.blank_rest()
    }

    fn is_blank(&self, at: i64, block: &Block) -> bool {
        // Without a file behind it, it is the end all the same.
        let from = usize::try_from(at - block.start).ok();
        let bytes = from.and_then(|from| block.bytes.get(from..));
        bytes.is_some_and(is_blank)
    }

    /// Durably: were it to come back, its records' places might have others by then.
    fn blank_rest(&mut self) -> io::Result<()> {
        let start = self.start_of(self.end);
        let later: Vec<i64> = self.starts.range(start + 1..).copied().collect();
        for start in &later {
            self.remove(*start)?;
        }
        if !later.is_empty() {
            self.disk.sync_dir(&self.dir)?;
        }
        if !self.starts.contains(&start) {
            return Ok(());
        }
        let file = self.file(start)?;
        let mut at = (self.end - start) as u64;
        let zeros = vec![0; limits::TIMER_BLOCK_BYTES];
        let mut found = vec![0; limits::TIMER_BLOCK_BYTES];
        let mut blanked = false;
        while let Some(data) = file.data_from(at)? {
            at = data.max(at);
            let count = file.read_at(&mut found, at, Wait::ForDisk)?;
            if count == 0 {
                break;
            }
            if found[..count].iter().any(|byte| *byte != 0) {
                file.write_all_at(&zeros[..count], at)?;
                blanked = true;
            }
            at += count as u64;
        }
        if blanked {
            file.sync_data()?;
        }
        Ok(())
    }

    fn remove(&mut self, start: i64) -> io::Result<()> {
        self.handles.remove(&start);
        self.unsynced.remove(&start);
        self.disk.remove_file(&self.dir.join(file_name(start)))?;
        self.starts.remove(&start);
        Ok(())
    }

    /// Removes the oldest files while their last unit's record is before `log_min`.
    pub(crate) fn expire(&mut self, log_min: i64) -> io::Result<()> {
        let unit = UNIT_BYTES as i64;
        let in_file = (self.file_bytes - BLANK_BYTES as i64) / unit * unit - unit;
        while let Some(&start) = self.starts.first()
            && start + self.file_bytes <= self.end
        {
            let last = self.unit(start + in_file, &mut Block::default())?;
            if last.is_none_or(|unit| unit.log_offset >= log_min) {
                break;
            }
            self.remove(start)?;
        }
        Ok(())
    }

    /// The files written since the last call, to be synced.
    pub(crate) fn take_unsynced(&mut self) -> io::Result<Vec<Arc<File>>> {
        let starts: Vec<i64> = self.unsynced.iter().copied().collect();
        let files: io::Result<_> = starts.into_iter().map(|start| self.file(start)).collect();
        let files = files?;
        self.unsynced.clear();
        Ok(files)
    }
}
