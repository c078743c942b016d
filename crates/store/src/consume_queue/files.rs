//! Files of consume queues: written behind, read by position, few of them open at a time.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use protocol::{LogOffset, QueueOffset};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{ENTRY_BYTES, FILLER_SIZE, Queue, QueueEntry};
use crate::config::{Config, file_name};
use crate::disk::{Blocking, Disk, File, Wait};
use crate::limits;

/// What all queues share to get at their files.
#[derive(Debug)]
pub(crate) struct QueueFiles {
    pub(super) disk: Disk,
    dir: PathBuf,
    pub(super) file_bytes: i64,
    blocking: Blocking,
    handles: Mutex<Handles>,
    /// Queues that have entries to write: those whose entries are `listed`.
    dirty: Mutex<Vec<Arc<Queue>>>,
    /// Held while they are written.
    writing: Mutex<()>,
    /// Bytes of such entries, over all queues.
    pub(super) unwritten: AtomicUsize,
    unsynced: Mutex<FxHashMap<FileKey, Arc<Queue>>>,
    /// Files whose names are durable.
    named: Mutex<FxHashSet<FileKey>>,
    sync_failed: AtomicBool,
    /// The log has lost old files, but some queue may not have followed: to remove them failed half way.
    pub(crate) expire_failed: AtomicBool,
    /// The last write failed: appends leave the next try to the write-behind.
    write_failed: AtomicBool,
}

/// A queue's number and the position in it at which the file starts.
type FileKey = (u32, i64);

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    /// There must be a file.
    Write,
    Create,
}

#[derive(Debug, Default)]
struct Handles {
    open: FxHashMap<FileKey, Handle>,
    uses: u64,
}

#[derive(Debug)]
struct Handle {
    file: Arc<File>,
    writable: bool,
    used: u64,
}

impl QueueFiles {
    pub(crate) fn new(config: &Config, disk: Disk) -> Self {
        QueueFiles {
            disk,
            dir: config.queue_dir.clone(),
            file_bytes: config.queue_file_bytes as i64,
            blocking: config.blocking,
            handles: Mutex::default(),
            dirty: Mutex::default(),
            writing: Mutex::new(()),
            unwritten: AtomicUsize::new(0),
            unsynced: Mutex::default(),
            named: Mutex::default(),
            sync_failed: AtomicBool::new(false),
            expire_failed: AtomicBool::new(false),
            write_failed: AtomicBool::new(false),
        }
    }

    /// Adds entries to their queue, to be written later; at once if too many wait.
    pub(crate) fn push(
        &self,
        queue: &Arc<Queue>,
        entries: impl ExactSizeIterator<Item = QueueEntry>,
    ) {
        // First: once they are there, somebody may have written them and subtract them.
        let added = entries.len() * ENTRY_BYTES;
        let total = self.unwritten.fetch_add(added, Ordering::Relaxed) + added;
        let pushed = queue.push(entries);
        if pushed.to_list {
            self.dirty.lock().push(queue.clone());
        }
        let is_much = pushed.unwritten >= limits::QUEUE_UNWRITTEN_BYTES_MAX
            || total >= limits::QUEUES_UNWRITTEN_BYTES_MAX;
        if is_much && !self.write_failed.load(Ordering::Relaxed) {
            // A failure is met again, and reported, by the next write-behind. The entries stay.
            let _ = self.write_out(queue);
        }
    }

    /// Bytes of entries that wait to be written, over all queues.
    pub(crate) fn unwritten(&self) -> usize {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// Whether it costs less to write later: many queues have a little each.
    pub(crate) fn may_wait(&self) -> bool {
        self.unwritten() < limits::QUEUES_WAITING_BYTES_MAX
            && self.dirty.lock().len() > limits::QUEUES_DIRTY_MANY
    }

    /// Writes all entries that wait. On an error the rest stays for the next call.
    pub(crate) fn write_all_out(&self) -> io::Result<()> {
        // What somebody else has taken from the list is not yet written.
        let _one_at_a_time = self.writing.lock();
        let mut dirty = std::mem::take(&mut *self.dirty.lock());
        while let Some(queue) = dirty.pop() {
            // From here on a new entry lists the queue again.
            queue.entries.lock().listed = false;
            if let Err(error) = self.write_out(&queue) {
                if !std::mem::replace(&mut queue.entries.lock().listed, true) {
                    dirty.push(queue);
                }
                self.dirty.lock().append(&mut dirty);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes a queue's waiting entries. Two callers at once write the same bytes twice.
    fn write_out(&self, queue: &Arc<Queue>) -> io::Result<()> {
        let result = self.try_write_out(queue);
        self.write_failed.store(result.is_err(), Ordering::Relaxed);
        result
    }

    fn try_write_out(&self, queue: &Arc<Queue>) -> io::Result<()> {
        let (first, bytes, files) = {
            let entries = queue.entries.lock();
            if entries.unwritten.is_empty() {
                return Ok(());
            }
            let files = entries.files.clone();
            (entries.first, entries.unwritten.clone(), files)
        };
        let mut at = first * ENTRY_BYTES as i64;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let start = at - at % self.file_bytes;
            let room = (start + self.file_bytes - at) as usize;
            let (piece, after) = rest.split_at(room.min(rest.len()));
            let file = if files.contains(&start) {
                self.open(queue, start, Access::Write)?
            } else {
                self.create(queue, start, at)?
            };
            file.write_all_at(piece, (at - start) as u64)?;
            self.unsynced
                .lock()
                .entry((queue.number, start))
                .or_insert_with(|| queue.clone());
            at += piece.len() as i64;
            rest = after;
        }
        let mut entries = queue.entries.lock();
        let end = at + self.file_bytes - 1;
        let end = end - end % self.file_bytes;
        if entries.files.is_empty() {
            let first_byte = first * ENTRY_BYTES as i64;
            entries.files.start = first_byte - first_byte % self.file_bytes;
        }
        entries.files.end = entries.files.end.max(end);
        let written = at / ENTRY_BYTES as i64 - entries.first;
        if written > 0 {
            let written_bytes = written as usize * ENTRY_BYTES;
            entries.unwritten.drain(..written_bytes);
            entries.first += written;
            if entries.unwritten.is_empty() {
                entries.unwritten = Vec::new();
            }
            self.unwritten.fetch_sub(written_bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Creates a file of a queue, as long as Java expects it and sparse. What lies in it before
    /// the first entry is filled as Java fills it. The names of file and directories are durable
    /// with the next [`QueueFiles::sync`], as the entries are: until then the checkpoint vouches for
    /// neither. (A sync for each of many new queues would take longer than all else about them.)
    fn create(&self, queue: &Arc<Queue>, start: i64, first: i64) -> io::Result<Arc<File>> {
        let dir = self.queue_dir(queue);
        if !self.disk.exists(&dir) {
            self.disk.create_dir(&self.dir.join(&*queue.topic))?;
            self.disk.create_dir(&dir)?;
        }
        let file = self.open(queue, start, Access::Create)?;
        file.set_len(self.file_bytes as u64)?;
        if first > start {
            let filler = QueueEntry {
                queue_offset: QueueOffset(0),
                log_offset: LogOffset(0),
                size: FILLER_SIZE,
                tags_code: 0,
            };
            let count = (first - start) as usize / ENTRY_BYTES;
            file.write_all_at(&filler.encode().repeat(count), 0)?;
        }
        Ok(file)
    }

    /// Makes all that has been written durable. After one error it is never tried again, and
    /// `false`: the system forgets what it could not write, and would say that all is well. The
    /// next start brings the entries from the log.
    pub(crate) fn sync(&self) -> io::Result<bool> {
        if self.sync_failed() {
            return Ok(false);
        }
        let unsynced = std::mem::take(&mut *self.unsynced.lock());
        let result = self.sync_files(&unsynced);
        self.sync_failed.store(result.is_err(), Ordering::Relaxed);
        result.map(|()| true)
    }

    /// Whether a sync would have anything to do.
    pub(crate) fn is_unsynced(&self) -> bool {
        !self.unsynced.lock().is_empty()
    }

    pub(crate) fn sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::Relaxed)
    }

    fn sync_files(&self, files: &FxHashMap<FileKey, Arc<Queue>>) -> io::Result<()> {
        let mut synced = None;
        if files.len() > limits::SYNC_FILES_MAX {
            match self.disk.sync_all(&self.dir) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                done => synced = Some(done.and_then(|()| self.disk.file_system(&self.dir))?),
            }
        }
        for (&key, queue) in files {
            // A directory may be a link to another disk.
            if synced.is_some() && self.disk.file_system(&self.queue_dir(queue)).ok() == synced {
                continue;
            }
            match self.open(queue, key.1, Access::Write) {
                // Expired meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?.sync_data()?,
            }
            // Once, up to the top: who made a directory may have died before it was durable.
            if !self.named.lock().contains(&key) {
                let dir = self.queue_dir(queue);
                self.disk.sync_dir(&dir)?;
                self.disk.sync_dir(&self.dir.join(&*queue.topic))?;
                self.disk.sync_dir(&self.dir)?;
                self.named.lock().insert(key);
            }
        }
        Ok(())
    }

    /// Notes that a file may hold what is not durable.
    pub(crate) fn mark_unsynced(&self, queue: &Arc<Queue>, start: i64) {
        let key = (queue.number, start);
        self.unsynced.lock().insert(key, queue.clone());
    }

    /// Entries from `from` on, at most `count`, as far as there are any.
    pub(crate) fn read(
        &self,
        queue: &Queue,
        from: i64,
        count: usize,
        wait: Wait,
    ) -> io::Result<Vec<QueueEntry>> {
        let mut found = Vec::new();
        let (first, files) = {
            let entries = queue.entries.lock();
            if from < entries.next() {
                let skip = (from - entries.first).max(0) as usize * ENTRY_BYTES;
                let wanted = from.max(entries.first);
                let count = count.saturating_sub((wanted - from) as usize);
                let (held, _) = entries.unwritten[skip..].as_chunks();
                found.extend(
                    (wanted..)
                        .zip(held.iter().take(count))
                        .map(|(at, bytes)| QueueEntry::decode(at, bytes)),
                );
            }
            (entries.first, entries.files.clone())
        };
        if from >= first {
            return Ok(found);
        }
        let count = count.min((first - from) as usize);
        let mut read = self.blocking.read(wait, |wait| {
            self.read_files(queue, from, count, &files, wait)
        })?;
        if read.len() == count {
            read.append(&mut found);
        }
        Ok(read)
    }

    fn read_files(
        &self,
        queue: &Queue,
        from: i64,
        count: usize,
        files: &std::ops::Range<i64>,
        wait: Wait,
    ) -> io::Result<Vec<QueueEntry>> {
        let mut read = Vec::with_capacity(count);
        while read.len() < count {
            let at = (from + read.len() as i64) * ENTRY_BYTES as i64;
            let start = at - at % self.file_bytes;
            if !files.contains(&start) {
                break;
            }
            let room = (start + self.file_bytes - at) as usize / ENTRY_BYTES;
            let mut bytes = vec![0; room.min(count - read.len()) * ENTRY_BYTES];
            match self.open_to_read(queue, start, wait) {
                // Expired since `files` was looked at.
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                file => file?.read_exact_at(&mut bytes, (at - start) as u64, wait)?,
            }
            let (chunks, _) = bytes.as_chunks();
            let at = from + read.len() as i64;
            read.extend(
                (at..)
                    .zip(chunks)
                    .map(|(at, bytes)| QueueEntry::decode(at, bytes)),
            );
        }
        Ok(read)
    }

    /// Whether any of these queues has a file.
    pub(crate) fn any_files(&self, queues: &[Arc<Queue>]) -> bool {
        queues
            .iter()
            .any(|queue| !queue.entries.lock().files.is_empty())
    }

    /// The one entry at an offset.
    pub(crate) fn entry(&self, queue: &Queue, at: i64) -> io::Result<Option<QueueEntry>> {
        Ok(self.read(queue, at, 1, Wait::ForDisk)?.pop())
    }

    /// The first offset in the file after the one that has (or would have) an offset.
    pub(crate) fn next_file(&self, at: QueueOffset) -> QueueOffset {
        let entries = self.file_bytes / ENTRY_BYTES as i64;
        QueueOffset(at.0 + entries - at.0 % entries)
    }

    pub(super) fn queue_dir(&self, queue: &Queue) -> PathBuf {
        self.dir.join(&*queue.topic).join(queue.id.to_string())
    }

    pub(super) fn path(&self, queue: &Queue, start: i64) -> PathBuf {
        self.queue_dir(queue).join(file_name(start))
    }

    /// Closes a file that is about to be removed.
    pub(super) fn forget(&self, queue: &Queue, start: i64) {
        let key = (queue.number, start);
        self.handles.lock().open.remove(&key);
        self.unsynced.lock().remove(&key);
        self.named.lock().remove(&key);
    }

    pub(super) fn is_open(&self, queue: &Queue, start: i64) -> bool {
        let key = (queue.number, start);
        self.handles.lock().open.contains_key(&key)
    }

    fn open_to_read(&self, queue: &Queue, start: i64, wait: Wait) -> io::Result<Arc<File>> {
        match wait {
            Wait::ForDisk => self.open(queue, start, Access::Read),
            Wait::No => {
                let file = self.opened((queue.number, start), false);
                file.ok_or_else(|| io::ErrorKind::WouldBlock.into())
            }
        }
    }

    fn opened(&self, key: FileKey, writable: bool) -> Option<Arc<File>> {
        let mut handles = self.handles.lock();
        handles.uses += 1;
        let used = handles.uses;
        let handle = handles.open.get_mut(&key)?;
        (handle.writable || !writable).then(|| {
            handle.used = used;
            handle.file.clone()
        })
    }

    /// A handle on a file.
    pub(super) fn open(&self, queue: &Queue, start: i64, access: Access) -> io::Result<Arc<File>> {
        let writable = access != Access::Read;
        let key = (queue.number, start);
        if let Some(file) = self.opened(key, writable) {
            return Ok(file);
        }
        let path = self.path(queue, start);
        let file = Arc::new(match access {
            Access::Read => self.disk.open_read(&path)?,
            Access::Write => self.disk.open_existing(&path)?,
            Access::Create => self.disk.open_write(&path)?,
        });
        let mut handles = self.handles.lock();
        let handle = Handle {
            file: file.clone(),
            writable,
            used: handles.uses,
        };
        handles.open.insert(key, handle);
        handles.shrink();
        Ok(file)
    }
}

impl Handles {
    /// Closes the half that was not used for the longest time once there are too many.
    fn shrink(&mut self) {
        if self.open.len() <= limits::QUEUE_HANDLES_MAX {
            return;
        }
        let mut uses: Vec<u64> = self.open.values().map(|handle| handle.used).collect();
        let middle = uses.len() / 2;
        let (_, &mut median, _) = uses.select_nth_unstable(middle);
        self.open.retain(|_, handle| handle.used > median);
    }
}
