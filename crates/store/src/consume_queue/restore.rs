//! Consume queues as recovery finds them: what of their files can be kept, and where they begin.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::record::Outline;

use super::files::{Access, QueueFiles};
use super::{ENTRY_BYTES, Queue, QueueEntry};
use crate::commit_log::CommitLog;
use crate::config::{Config, file_start};
use crate::disk::{Disk, Wait};
use crate::recovery::is_blank;
use crate::store::OpenError;

/// How far a queue's files can be trusted.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Its last entry.
    pub(crate) last: Option<QueueEntry>,
    /// Entries were missing that should have been there: they have to come from the log.
    pub(crate) damaged: bool,
}

/// Entries read at once where few are left to search.
const BLOCK_ENTRIES: i64 = 4096 / ENTRY_BYTES as i64;

/// Queue files looked at to find out their size.
const SAMPLE: usize = 64;

/// Bytes of a queue file: what existing ones have wins over what is configured, as 5.3.3 ignores
/// the key that it is often configured by (`mapedFileSizeConsumeQueue`). A file that a crash cut
/// short is no evidence.
pub(crate) fn file_bytes(config: &Config, disk: &Disk, crashed: bool) -> io::Result<u64> {
    let mut seen = Vec::new();
    'all: for topic in disk.list(&config.queue_dir)? {
        let topic_dir = config.queue_dir.join(&topic.name);
        for id in list_dirs(disk, &topic_dir, topic.is_dir)? {
            for file in disk.list(&topic_dir.join(id))? {
                match file_start(&file.name) {
                    Some(start) if !file.is_dir => seen.push((start as u64, file.len)),
                    _ => continue,
                }
                if file.len == config.queue_file_bytes || seen.len() == SAMPLE {
                    break 'all;
                }
            }
        }
    }
    let configured = config.queue_file_bytes;
    let len = seen.iter().map(|(_, len)| *len).max().unwrap_or(configured);
    let fits = |bytes: u64| seen.iter().all(|(start, _)| start.is_multiple_of(bytes));
    let is_evident = len > configured || !crashed || !fits(configured);
    if len == configured || len == 0 || !len.is_multiple_of(20) || !fits(len) || !is_evident {
        return Ok(configured);
    }
    tracing::warn!(
        found = len,
        configured,
        "consume queue files have another size than configured, and keep it"
    );
    Ok(len)
}

fn list_dirs(disk: &Disk, dir: &Path, is_dir: bool) -> io::Result<Vec<String>> {
    let entries = if is_dir { disk.list(dir)? } else { Vec::new() };
    let dirs = entries.into_iter().filter(|entry| entry.is_dir);
    Ok(dirs.map(|entry| entry.name).collect())
}

impl QueueFiles {
    /// Notes which files a queue has. Those behind a missing one are of no use and go; `false`
    /// then: their entries have to come from the log.
    pub(crate) fn load(&self, queue: &Queue) -> Result<bool, OpenError> {
        let dir = self.queue_dir(queue);
        let mut files = 0..0;
        let mut whole = true;
        for file in self.disk.list(&dir)? {
            let Some(start) = file_start(&file.name).filter(|_| !file.is_dir) else {
                continue;
            };
            if file.len > self.file_bytes as u64 || start % self.file_bytes != 0 {
                return Err(OpenError::FileSize {
                    path: dir.join(file.name),
                    found: file.len,
                    expected: self.file_bytes as u64,
                    name: "mappedFileSizeConsumeQueue",
                });
            }
            if files.is_empty() {
                files = start..start;
            }
            if start != files.end {
                whole = false;
                self.remove(queue, start)?;
                continue;
            }
            if file.len < self.file_bytes as u64 {
                // Cut short by a crash while it was made, or by somebody.
                self.open(queue, start, Access::Write)?
                    .set_len(self.file_bytes as u64)?;
            }
            files.end += self.file_bytes;
        }
        let mut entries = queue.entries.lock();
        entries.first = files.end / ENTRY_BYTES as i64;
        entries.files = files;
        Ok(whole)
    }

    /// Keeps a queue's entries of records before `log_start` and forgets all others. With `wipe`
    /// they are also removed from the files, where Java would find them.
    pub(crate) fn keep_before(
        &self,
        queue: &Arc<Queue>,
        log_start: i64,
        log: &CommitLog,
        wipe: bool,
    ) -> io::Result<Kept> {
        let files = queue.entries.lock().files.clone();
        let per_file = self.file_bytes / ENTRY_BYTES as i64;
        let first = files.start / ENTRY_BYTES as i64;
        let end = files.end / ENTRY_BYTES as i64;
        if wipe && first < end {
            // It will have to be written: open it once.
            self.open(queue, files.end - self.file_bytes, Access::Write)?;
        }
        let is_good = |entry: &QueueEntry| {
            entry.is_valid() && (entry.is_filler() || entry.log_offset.0 < log_start)
        };
        let good = |at: i64| Ok(self.entry(queue, at)?.as_ref().is_some_and(is_good));
        let full = partition((end - first) / per_file, |file| {
            good(first + (file + 1) * per_file - 1)
        })?;
        let base = first + full * per_file;
        let count = match base < end {
            true => self.entries_in(queue, base * ENTRY_BYTES as i64)?,
            false => 0,
        };
        let mut next = base + self.partition_entries(queue, base, count, is_good)?;
        let mut damaged = false;
        if next > first && !self.is_plausible(queue, next - 1, first, log)? {
            // What is half written misled the search: believe only what is in order from the
            // beginning.
            damaged = true;
            next = first;
            let mut before = -1;
            while let Some(entry) = self.entry(queue, next)?
                && next < end
                && good(next)?
                && (entry.is_filler() || entry.log_offset.0 > before)
            {
                before = entry.log_offset.0;
                next += 1;
            }
            while next > first && !self.is_plausible(queue, next - 1, first, log)? {
                next -= 1;
            }
        }
        let mut last = None;
        if next > first {
            last = self.entry(queue, next - 1)?;
        } else if log_start <= log.min() {
            // The log has all there is to know.
            next = 0;
        }
        self.cut(queue, next, wipe)?;
        queue.set_min(0);
        self.find_min(queue, log.min())?;
        Ok(Kept { last, damaged })
    }

    /// How many entries a file may have: as many as fit in what has been written of it.
    fn entries_in(&self, queue: &Queue, start: i64) -> io::Result<i64> {
        let data = self.open(queue, start, Access::Read)?.data_end()?;
        let entries = data
            .min(self.file_bytes as u64)
            .div_ceil(ENTRY_BYTES as u64);
        Ok(entries as i64)
    }

    /// How many of `count` entries from `first` on hold, those that do coming first.
    fn partition_entries(
        &self,
        queue: &Queue,
        first: i64,
        count: i64,
        holds: impl Fn(&QueueEntry) -> bool,
    ) -> io::Result<i64> {
        let (mut low, mut high) = (0, count.max(0));
        while high - low > BLOCK_ENTRIES {
            let middle = low + (high - low) / 2;
            if self
                .entry(queue, first + middle)?
                .as_ref()
                .is_some_and(&holds)
            {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let block = self.read(queue, first + low, (high - low) as usize, Wait::ForDisk)?;
        Ok(low + block.partition_point(holds) as i64)
    }

    /// Whether an entry is the queue's. One whose record can't be read is believed if it comes
    /// behind one that is right: it is the log that is damaged, and its offset stays taken.
    fn is_plausible(
        &self,
        queue: &Queue,
        at: i64,
        first: i64,
        log: &CommitLog,
    ) -> io::Result<bool> {
        if let Some(known) = self.names_its_record(queue, at, log)? {
            return Ok(known);
        }
        if at == first {
            return Ok(true);
        }
        let (Some(before), Some(entry)) = (self.entry(queue, at - 1)?, self.entry(queue, at)?)
        else {
            return Ok(false);
        };
        Ok(before.log_end() <= entry.log_offset.0
            && self.names_its_record(queue, at - 1, log)? == Some(true))
    }

    /// Whether an entry names the record it should; `None` if there is no record to be read.
    fn names_its_record(
        &self,
        queue: &Queue,
        at: i64,
        log: &CommitLog,
    ) -> io::Result<Option<bool>> {
        let Some(entry) = self.entry(queue, at)? else {
            return Ok(Some(false));
        };
        if !entry.is_valid() {
            return Ok(Some(false));
        }
        if entry.is_filler() || entry.log_offset.0 < log.min() {
            return Ok(Some(true));
        }
        let record = log.read_at(entry.log_offset.0, entry.size as usize, Wait::ForDisk)?;
        let outline = Outline::decode(&record).ok();
        let outline = outline.filter(|outline| outline.log_offset == entry.log_offset);
        Ok(outline.map(|outline| entry.names(queue, &outline)))
    }

    /// The queue ends at `next`: files behind it go, with `wipe` also what follows it in its file.
    pub(crate) fn cut(&self, queue: &Arc<Queue>, next: i64, wipe: bool) -> io::Result<()> {
        let end = next * ENTRY_BYTES as i64;
        let mut entries = queue.entries.lock();
        let waiting = entries.unwritten.len();
        let kept = ((next - entries.first).max(0) as usize * ENTRY_BYTES).min(waiting);
        entries.unwritten.truncate(kept);
        self.unwritten.fetch_sub(waiting - kept, Ordering::Relaxed);
        entries.first = entries.first.min(next);
        let last_file = end - end % self.file_bytes;
        let keep_last = end > last_file;
        let mut file = entries.files.end;
        while file > entries.files.start
            && (file - self.file_bytes > last_file
                || file - self.file_bytes == last_file && !keep_last)
        {
            file -= self.file_bytes;
            self.remove(queue, file)?;
        }
        entries.files.end = file;
        if entries.files.is_empty() {
            entries.files = 0..0;
        }
        let in_file = (end - last_file) as u64;
        if wipe && keep_last && entries.files.contains(&last_file) {
            self.wipe(queue, last_file, in_file)?;
        }
        drop(entries);
        queue.next.store(next, Ordering::Relaxed);
        queue.set_min(queue.min().0.min(next));
        Ok(())
    }

    /// Zeroes a file from a position on, unless it is so already.
    fn wipe(&self, queue: &Arc<Queue>, start: i64, from: u64) -> io::Result<()> {
        let file = self.open(queue, start, Access::Write)?;
        if is_blank(&file, from, file.data_end()?)? {
            return Ok(());
        }
        file.set_len(from)?;
        file.set_len(self.file_bytes as u64)?;
        self.mark_unsynced(queue, start);
        Ok(())
    }

    /// Notes that what the files have on records from a place in the log on (or have no longer, when
    /// it was cut) may not be durable: the process that wrote it died.
    pub(crate) fn mark_unsynced_from(&self, queue: &Arc<Queue>, log_at: i64) -> io::Result<()> {
        let files = queue.entries.lock().files.clone();
        let first = files.start / ENTRY_BYTES as i64;
        let count = queue.next() - first;
        let durable = self.partition_entries(queue, first, count, |entry| {
            entry.is_filler() || entry.log_offset.0 < log_at
        })?;
        self.mark_files_unsynced(queue, first + durable);
        Ok(())
    }

    /// The same for what the files have from an entry on.
    pub(crate) fn mark_files_unsynced(&self, queue: &Arc<Queue>, from: i64) {
        let files = queue.entries.lock().files.clone();
        let mut start = from * ENTRY_BYTES as i64;
        start -= start % self.file_bytes;
        while start < files.end {
            self.mark_unsynced(queue, start);
            start += self.file_bytes;
        }
    }

    /// Removes a file for good: were it to come back after a power cut, its entries would be taken
    /// for those of the records that are at their places by then.
    fn remove(&self, queue: &Queue, start: i64) -> io::Result<()> {
        self.forget(queue, start);
        match self.disk.remove_file(&self.path(queue, start)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.disk.sync_dir(&self.queue_dir(queue)),
        }
    }

    /// An empty queue whose first message will be `next`.
    pub(crate) fn begin_at(&self, queue: &Queue, next: i64) {
        queue.entries.lock().first = next;
        queue.next.store(next, Ordering::Relaxed);
    }

    /// Removes the files, but not the last one, whose messages are all gone from the log, and
    /// finds the oldest one that is not. Gives how many files went.
    pub(crate) fn expire(&self, queue: &Queue, log_min: i64) -> io::Result<usize> {
        let mut removed = 0;
        loop {
            let files = queue.entries.lock().files.clone();
            let second = files.start + self.file_bytes;
            if second >= files.end {
                break;
            }
            let last = self.entry(queue, second / ENTRY_BYTES as i64 - 1)?;
            if last.is_none_or(|last| last.log_offset.0 >= log_min) {
                break;
            }
            // Readers stop looking here before the file is gone.
            queue.entries.lock().files.start = second;
            self.remove(queue, files.start)?;
            removed += 1;
        }
        self.find_min(queue, log_min)?;
        Ok(removed)
    }

    /// Finds the oldest message that the log still has, between the present minimum and the end.
    pub(crate) fn find_min(&self, queue: &Queue, log_min: i64) -> io::Result<()> {
        let first = {
            let entries = queue.entries.lock();
            match entries.files.is_empty() {
                true => entries.first,
                false => entries.files.start / ENTRY_BYTES as i64,
            }
        };
        let first = first.max(queue.min().0);
        let gone = |entry: &QueueEntry| entry.is_filler() || entry.log_offset.0 < log_min;
        let passed = self.partition_entries(queue, first, queue.next() - first, gone)?;
        queue.set_min(first + passed);
        Ok(())
    }
}

/// How many of `count` things hold, those that do coming first.
fn partition(count: i64, mut holds: impl FnMut(i64) -> io::Result<bool>) -> io::Result<i64> {
    let (mut low, mut high) = (0, count.max(0));
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
