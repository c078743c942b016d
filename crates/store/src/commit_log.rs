//! The commit log: records one after the other in preallocated files named after their start.
//!
//! A record never spans files. Where one does not fit with 8 bytes to spare, the file ends with
//! {i32 bytes to the end of the file, i32 magic}, whatever follows it.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard, RwLock};
use protocol::LogOffset;
use protocol::record::MAGIC_BLANK;

use crate::append::Writer;
use crate::config::{Config, file_name};
use crate::disk::{Blocking, Disk, File, Wait};
use crate::limits;
use crate::tail::Tail;

#[cfg(test)]
mod tests;

/// Bytes of the record that ends a file.
pub(crate) const BLANK_BYTES: i64 = 8;

#[derive(Debug)]
pub(crate) struct CommitLog {
    disk: Disk,
    dir: PathBuf,
    file_bytes: i64,
    /// Oldest first; a gap only where a file is missing.
    segments: RwLock<VecDeque<Arc<Segment>>>,
    /// Held while a file is made: the append and whoever makes one ahead must not both do it.
    making: Mutex<()>,
    blocking: Blocking,
    pub(crate) tail: Tail,
    /// After the last record.
    end: AtomicI64,
    /// Files before it need not stay open: all in them is durable.
    durable: AtomicI64,
}

/// A file of the log. Open while it is written and flushed, then while it is read.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) start: i64,
    pub(crate) path: PathBuf,
    file: Mutex<Option<Arc<File>>>,
}

impl Segment {
    pub(crate) fn new(start: i64, path: PathBuf, file: Option<File>) -> Self {
        Segment {
            start,
            path,
            file: Mutex::new(file.map(Arc::new)),
        }
    }

    fn open_file(&self) -> Option<Arc<File>> {
        self.file.lock().clone()
    }
}

impl CommitLog {
    /// The log with the files found in its directory.
    pub(crate) fn new(
        config: &Config,
        disk: Disk,
        segments: impl IntoIterator<Item = Arc<Segment>>,
    ) -> Self {
        CommitLog {
            disk,
            dir: config.commit_log_dir.clone(),
            file_bytes: config.log_file_bytes as i64,
            segments: RwLock::new(segments.into_iter().collect()),
            making: Mutex::new(()),
            blocking: config.blocking,
            tail: Tail::new(limits::TAIL_BYTES_MAX),
            end: AtomicI64::new(0),
            durable: AtomicI64::new(0),
        }
    }

    /// After the last record written.
    pub(crate) fn end(&self) -> i64 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn set_end(&self, end: i64) {
        self.end.store(end, Ordering::Release);
    }

    /// Everything before is durable.
    pub(crate) fn set_durable(&self, durable: i64) {
        self.durable.store(durable, Ordering::Relaxed);
    }

    /// A handle on a file. Opens one that is only read now and then, and closes others like it
    /// once there are many.
    pub(crate) fn file(&self, segment: &Segment) -> io::Result<Arc<File>> {
        if let Some(file) = segment.open_file() {
            return Ok(file);
        }
        let file = Arc::new(if segment.start < self.file_start(self.end()) {
            self.disk.open_read(&segment.path)?
        } else {
            self.disk.open_existing(&segment.path)?
        });
        let cold = self.file_start(self.durable.load(Ordering::Relaxed));
        let segments = self.segments();
        let open = segments
            .iter()
            .filter(|other| other.start < cold && other.file.lock().is_some());
        let open: Vec<_> = open.collect();
        if open.len() >= limits::LOG_HANDLES_MAX {
            open.iter().for_each(|other| *other.file.lock() = None);
        }
        *segment.file.lock() = Some(file.clone());
        Ok(file)
    }

    /// Where the oldest file starts.
    pub(crate) fn min(&self) -> i64 {
        self.segments
            .read()
            .front()
            .map_or(0, |segment| segment.start)
    }

    /// Where the file that has this place starts.
    pub(crate) fn file_start(&self, at: i64) -> i64 {
        at - at % self.file_bytes
    }

    /// Position of a place within its file.
    pub(crate) fn file_offset(&self, at: i64) -> i64 {
        at - self.file_start(at)
    }

    pub(crate) fn file_bytes(&self) -> i64 {
        self.file_bytes
    }

    /// The files, oldest first.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().iter().cloned().collect()
    }

    /// The file that has a place.
    pub(crate) fn segment(&self, at: i64) -> Option<Arc<Segment>> {
        let start = self.file_start(at);
        let segments = self.segments.read();
        // Nearly always the newest is meant.
        if let Some(last) = segments.back()
            && last.start == start
        {
            return Some(last.clone());
        }
        let found = segments.binary_search_by_key(&start, |segment| segment.start);
        segments.get(found.ok()?).cloned()
    }

    /// The file that has a place, made if there is none yet: preallocated, and its name durable.
    pub(crate) fn segment_or_create(&self, at: i64) -> io::Result<Arc<Segment>> {
        if let Some(segment) = self.segment(at) {
            return Ok(segment);
        }
        let _making = self.making.lock();
        if let Some(segment) = self.segment(at) {
            return Ok(segment);
        }
        self.space_for_a_file()?;
        let start = self.file_start(at);
        let path = self.dir.join(file_name(start));
        let file = self.disk.open_write(&path)?;
        let made = file
            .allocate(self.file_bytes as u64)
            .and_then(|()| self.disk.sync_dir(&self.dir));
        if let Err(error) = made {
            // A file without its blocks would hold them up: the disk may be full.
            drop(file);
            let _ = self.disk.remove_file(&path);
            return Err(error);
        }
        let segment = Arc::new(Segment::new(start, path, Some(file)));
        let mut segments = self.segments.write();
        let place = segments.partition_point(|segment| segment.start < start);
        segments.insert(place, segment.clone());
        Ok(segment)
    }

    /// To try and fail would take, for a moment, all the space that is left from everybody else.
    fn space_for_a_file(&self) -> io::Result<()> {
        match self.disk.space(&self.dir) {
            Ok(space) if space.usable < self.file_bytes as u64 => Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!(
                    "{} bytes left, a commit log file takes {}",
                    space.usable, self.file_bytes
                ),
            )),
            // Where it can't be told, the file itself tells.
            _ => Ok(()),
        }
    }

    /// Writes within one file.
    pub(crate) fn write(&self, segment: &Segment, at: i64, bytes: &[u8]) -> io::Result<()> {
        assert!(at >= segment.start && at + bytes.len() as i64 <= segment.start + self.file_bytes);
        self.file(segment)?
            .write_all_at(bytes, (at - segment.start) as u64)
    }

    /// Up to `len` bytes from a place on, as far as its file goes.
    pub(crate) fn read_at(&self, at: i64, len: usize, wait: Wait) -> io::Result<Bytes> {
        let mut bytes = vec![0; len.min(self.file_bytes as usize)];
        let filled = self.read_into(at, &mut bytes, wait)?;
        bytes.truncate(filled);
        Ok(bytes.into())
    }

    /// Fills a buffer from a place on, as far as its file goes; how far it came.
    pub(crate) fn read_into(&self, at: i64, bytes: &mut [u8], wait: Wait) -> io::Result<usize> {
        self.blocking
            .read(wait, |wait| self.try_read_into(at, bytes, wait))
    }

    fn try_read_into(&self, at: i64, bytes: &mut [u8], wait: Wait) -> io::Result<usize> {
        let Some(segment) = self.segment(at) else {
            return Ok(0);
        };
        let file = match wait {
            Wait::ForDisk => self.file(&segment),
            Wait::No => (segment.open_file()).ok_or_else(|| io::ErrorKind::WouldBlock.into()),
        };
        let file = match file {
            // Removed since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            file => file?,
        };
        let room = segment.start + self.file_bytes - at;
        let wanted = bytes.len().min(room as usize);
        let mut filled = 0;
        while filled < wanted {
            let pos = (at - segment.start) as u64 + filled as u64;
            match file.read_at(&mut bytes[filled..wanted], pos, wait) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Ends a file at a place.
    pub(crate) fn write_blank(&self, segment: &Segment, at: i64) -> io::Result<()> {
        let room = segment.start + self.file_bytes - at;
        let mut blank = [0; BLANK_BYTES as usize];
        blank[..4].copy_from_slice(&(room as i32).to_be_bytes());
        blank[4..].copy_from_slice(&MAGIC_BLANK.to_be_bytes());
        self.write(segment, at, &blank)
    }

    /// Writes a range again as it is read, so that the next sync really writes it to disk: what
    /// an earlier one failed to write the kernel takes for written.
    pub(crate) fn rewrite(&self, from: i64, to: i64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let file_end = self.file_start(at) + self.file_bytes;
            let Some(segment) = self.segment(at) else {
                at = file_end;
                continue;
            };
            let len = (to.min(file_end) - at).min(limits::READ_WINDOW_BYTES as i64);
            let bytes = self.read_at(at, len as usize, Wait::ForDisk)?;
            if bytes.len() < len as usize {
                let (path, count) = (segment.path.display(), bytes.len());
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("{path}: {count} of {len} bytes could be read"),
                ));
            }
            self.write(&segment, at, &bytes)?;
            at += len;
        }
        Ok(())
    }

    /// Syncs the files that hold any of a range.
    pub(crate) fn sync(&self, from: i64, to: i64) -> io::Result<()> {
        let first = self.file_start(from);
        for segment in self.segments() {
            if segment.start >= first && segment.start < to {
                self.file(&segment)?.sync_data()?;
            }
        }
        Ok(())
    }

    /// Removes the files from a place on, which were made ahead and not used. Gives how many. Once the log lock, under which the
    /// place was chosen, is let go, no append knows of them.
    pub(crate) fn remove_unused(
        &self,
        from: i64,
        log_lock: MutexGuard<'_, Writer>,
    ) -> io::Result<usize> {
        // None is made again before it is gone.
        let _making = self.making.lock();
        let mut unused = {
            let mut segments = self.segments.write();
            let first = segments.partition_point(|segment| segment.start < from);
            segments.split_off(first)
        };
        drop(log_lock);
        let mut removed = 0;
        while let Some(last) = unused.back() {
            match self.disk.remove_file(&last.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    self.segments.write().append(&mut unused);
                    return Err(error);
                }
                _ => {}
            }
            unused.pop_back();
            removed += 1;
        }
        if removed > 0 {
            self.disk.sync_dir(&self.dir)?;
        }
        Ok(removed)
    }

    /// Removes the files that lie wholly below a place, oldest first.
    /// Gives how many. What was read from them stays readable for those who have it.
    pub(crate) fn delete_before(&self, place: LogOffset) -> io::Result<usize> {
        let mut removed = 0;
        loop {
            let oldest = {
                let segments = self.segments.read();
                match segments.front() {
                    Some(oldest) if oldest.start + self.file_bytes <= place.0 => oldest.clone(),
                    _ => break,
                }
            };
            let file = self.disk.open_existing(&oldest.path);
            match self.disk.remove_file(&oldest.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // One by one: a power cut must not bring back some that others are missing between.
            self.disk.sync_dir(&self.dir)?;
            self.segments.write().pop_front();
            // What it held goes now and here, a piece at a time: else all of it with its last handle, wherever that is, and the
            // file system keeps writers waiting as long as a piece takes.
            if let Ok(file) = file {
                give_back(&file);
            }
            removed += 1;
        }
        Ok(removed)
    }
}

/// Frees the blocks of a file that has no name any more. What fails is freed when it is closed.
fn give_back(file: &File) {
    let mut len = file.len().unwrap_or(0);
    while len > 0 {
        len = len.saturating_sub(limits::REMOVED_STEP_BYTES);
        if file.set_len(len).is_err() {
            return;
        }
    }
}
