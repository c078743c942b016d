//! Where every queue begins and ends, noted by a clean close, so that the next start need not open the queues' files.
//!
//! | bytes | what (big-endian) |
//! |---|---|
//! | 4 | `SKYE` |
//! | 104 | what the checkpoint of the same close says |
//! | 8 | bytes of a log file |
//! | 8 | bytes of a queue file |
//! | 8 | store time of the last record, ms |
//! | 16 | stamp of the log's directory |
//! | 4 | log files; of each: 8 where it starts, 16 its stamp |
//! | 16 | stamp of the directory of all queues |
//! | 4 | topics; of each: 2 + n its name, 16 the stamp of its directory, 4 queues |
//! | | of each queue: 4 its id, 16 the stamp of its directory, 8 the next offset; unless that is 0: 8 the oldest offset, 8 where its first file starts, 16 the stamp of its last file |
//! | 4 | CRC-32 of all before |
//!
//! A stamp is the inode's number and when it was last changed, ns (`ctime`). What is noted counts only while the checkpoint is
//! the same byte for byte and every stamp too: then nobody has added, removed or replaced a file since, nor written to one that has
//! a stamp. Else the start reads the files, as it does after a crash. Not seen is what is written in place to an older file of a
//! queue, and what is written within the same tick of the file system's clock as the last that the close did, some milliseconds: where
//! a tick is a second nothing is noted.
//!
//! What was done by others while the store was open would be believed for ever, so the close looks for it: each queue must have the files
//! that it is known to have, as long as they should be, and no queue or log file may have been added.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::ScopedJoinHandle;

use bytes::Buf;

use super::files::QueueFiles;
use super::{ENTRY_BYTES, Queue, restore};
use crate::Store;
use crate::checkpoint::{Checkpoint, EXTRA_BYTES, QueueTotals};
use crate::config::{Config, file_name, file_start};
use crate::disk::{Disk, Stamp};
use crate::limits;

#[cfg(test)]
mod tests;

const MAGIC: [u8; 4] = *b"SKYE";

/// What the file says.
#[derive(Debug)]
pub(crate) struct Ends {
    checkpoint: Vec<u8>,
    log_file_bytes: u64,
    pub(crate) queue_file_bytes: u64,
    /// Store time of the last record.
    pub(crate) last_ms: i64,
    log_dir: Stamp,
    log_files: Vec<(i64, Stamp)>,
    queue_dir: Stamp,
    topics: Vec<Topic>,
}

/// A directory in that of all queues.
#[derive(Debug)]
struct Topic {
    name: String,
    dir: Stamp,
    queues: Vec<End>,
}

#[derive(Debug)]
struct End {
    id: i32,
    dir: Stamp,
    next: i64,
    /// `None` if it has had no message.
    files: Option<Files>,
}

#[derive(Debug)]
struct Files {
    min: i64,
    /// Byte position in the queue at which the first one starts.
    start: i64,
    last: Stamp,
}

/// Beside the checkpoint, which may be in one directory with that of another store.
pub(crate) fn path(config: &Config) -> PathBuf {
    let mut path = config.checkpoint_path.as_os_str().to_owned();
    path.push("-queueends");
    path.into()
}

/// Once files may change. It would not be believed any more; but it need not lie there. Durable once the directory is synced.
pub(crate) fn remove(config: &Config, disk: &Disk) -> io::Result<()> {
    match disk.remove_file(&path(config)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

impl Store {
    /// For the next start, after all else of a clean close: from here on nothing that it goes by is written.
    pub(crate) fn note_ends(&self, checkpoint: &Checkpoint, last_ms: i64) -> io::Result<()> {
        let closed = checkpoint.extra.as_ref().and_then(|extra| extra.closed);
        let Some(closed) = closed.filter(|closed| closed.queues > 0) else {
            return Ok(());
        };
        let ends = self.ends(checkpoint, last_ms)?;
        if ends.totals() != closed || self.queues.expire_failed.load(Ordering::Relaxed) {
            return Err(io::Error::other("queues are not as their files are"));
        }
        if ends.is_coarse() {
            return Err(io::Error::other(
                "the file system's times are whole seconds",
            ));
        }
        let path = path(&self.config);
        let file = self.disk.open_write(&path)?;
        file.set_len(0)?;
        file.write_all_at(&ends.encode(), 0)?;
        file.sync_data()?;
        path.parent().map_or(Ok(()), |dir| self.disk.sync_dir(dir))
    }

    fn ends(&self, checkpoint: &Checkpoint, last_ms: i64) -> io::Result<Ends> {
        let (config, disk) = (&self.config, &self.disk);
        // A directory's stamp comes first: what changes after it was listed makes it another.
        let log_dir = disk.stamp(&config.commit_log_dir)?;
        let queue_dir = disk.stamp(&config.queue_dir)?;
        let segments = self.log.segments();
        let starts = segments.iter().map(|file| file.start);
        check_files(disk, &config.commit_log_dir, starts, config.log_file_bytes)?;
        let log_files = segments.iter().map(|file| {
            let stamp = disk.stamp(&file.path)?;
            Ok((file.start, stamp))
        });
        let mut dirs = disk.list(&config.queue_dir)?;
        dirs.retain(|entry| entry.is_dir);
        let topics = for_each(&dirs, |entry| {
            let path = config.queue_dir.join(&entry.name);
            let dir = disk.stamp(&path)?;
            let queues = self.table.of_topic(&entry.name).into_iter();
            let ends = queues.map(|queue| self.queues.end(disk, &path, &queue));
            let queues: Vec<_> = ends
                .filter_map(Result::transpose)
                .collect::<io::Result<_>>()?;
            let there = disk.list(&path)?.into_iter();
            let ids = there.filter_map(|entry| entry.name.parse().ok());
            if ids.filter(|id: &i32| *id >= 0).count() != queues.len() {
                return Err(is_another(&path));
            }
            Ok(Topic {
                name: entry.name.clone(),
                dir,
                queues,
            })
        });
        Ok(Ends {
            checkpoint: checkpoint.encode(),
            log_file_bytes: config.log_file_bytes,
            queue_file_bytes: config.queue_file_bytes,
            last_ms,
            log_dir,
            log_files: log_files.collect::<io::Result<_>>()?,
            queue_dir,
            topics: topics?,
        })
    }
}

impl QueueFiles {
    /// `None` for a queue that has not even a directory.
    fn end(&self, disk: &Disk, topic_dir: &Path, queue: &Queue) -> io::Result<Option<End>> {
        let dir = topic_dir.join(queue.id.to_string());
        let (id, next) = (queue.id, queue.next());
        let stamp = match disk.stamp(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && next == 0 => return Ok(None),
            stamp => stamp?,
        };
        let (written, files) = {
            let entries = queue.entries.lock();
            (entries.first, entries.files.clone())
        };
        let last = last_file(next, self.file_bytes);
        let is_whole = match next {
            0 => files.is_empty(),
            _ => written == next && files.contains(&last) && last + self.file_bytes == files.end,
        };
        if !is_whole {
            let message = format!("{}: not all entries are in the files", dir.display());
            return Err(io::Error::other(message));
        }
        let file_bytes = self.file_bytes as u64;
        // Nearly all queues have one file, and to list 100,000 directories takes long.
        if next == 0 || files.start != last {
            let starts = files.clone().step_by(self.file_bytes as usize);
            check_files(disk, &dir, starts, file_bytes)?;
        }
        let files = match next {
            0 => None,
            _ => {
                let path = dir.join(file_name(last));
                let (stamp, len) = disk.stamp_and_len(&path)?;
                if len != file_bytes || !self.has_last(queue, last)? {
                    return Err(is_another(&path));
                }
                Some(Files {
                    min: queue.min().0,
                    start: files.start,
                    last: stamp,
                })
            }
        };
        Ok(Some(End {
            id,
            dir: stamp,
            next,
            files,
        }))
    }

    /// Whether the last entry is in the file that has the name now: while the one that was given it was open, another may have been
    /// put in its place. No queue but those with an open file is read for it.
    fn has_last(&self, queue: &Queue, last: i64) -> io::Result<bool> {
        if !self.is_open(queue, last) {
            return Ok(true);
        }
        self.forget(queue, last);
        let entry = self.entry(queue, queue.next() - 1)?;
        Ok(entry.is_some_and(|entry| entry.is_valid()))
    }
}

/// Wants exactly these files in a directory.
fn check_files(
    disk: &Disk,
    dir: &Path,
    starts: impl Iterator<Item = i64>,
    file_bytes: u64,
) -> io::Result<()> {
    let there = disk.list(dir)?.into_iter().filter(|entry| !entry.is_dir);
    let there = there.filter_map(|entry| Some((file_start(&entry.name)?, entry.len)));
    match there.eq(starts.map(|start| (start, file_bytes))) {
        true => Ok(()),
        false => Err(is_another(dir)),
    }
}

fn is_another(path: &Path) -> io::Error {
    io::Error::other(format!("{}: not as the store has left it", path.display()))
}

/// Where the file starts that has the last entry of a queue.
fn last_file(next: i64, file_bytes: i64) -> i64 {
    let last = next.saturating_sub(1).saturating_mul(ENTRY_BYTES as i64);
    last - last % file_bytes
}

impl Ends {
    /// What the last close has noted, if nothing has changed since.
    pub(crate) fn noted(config: &Config, disk: &Disk, checkpoint: &Checkpoint) -> Option<Ends> {
        let path = path(config);
        let why = match disk.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => error.to_string(),
            Ok(bytes) => match Ends::decode(&bytes) {
                None => "it is damaged".to_owned(),
                Some(ends) => match ends.changed(config, disk, checkpoint) {
                    Ok(None) => return Some(ends),
                    Ok(Some(why)) => why,
                    Err(error) => error.to_string(),
                },
            },
        };
        let path = path.display();
        tracing::info!(%path, why, "all consume queue files are read: what the last stop noted of them is not true any more");
        None
    }

    /// What is not as it was at the close.
    fn changed(
        &self,
        config: &Config,
        disk: &Disk,
        checkpoint: &Checkpoint,
    ) -> io::Result<Option<String>> {
        let extra = checkpoint.extra.as_ref();
        let closed = extra.and_then(|extra| extra.closed);
        if self.checkpoint != checkpoint.encode() || closed != Some(self.totals()) {
            return Ok(Some("the checkpoint is another".to_owned()));
        }
        if self.log_file_bytes != config.log_file_bytes {
            return Ok(Some("mappedFileSizeCommitLog is another".to_owned()));
        }
        if self.queue_file_bytes != config.queue_file_bytes
            && self.queue_file_bytes != restore::file_bytes(config, disk, false)?
        {
            return Ok(Some("mappedFileSizeConsumeQueue is another".to_owned()));
        }
        let log_dir = &config.commit_log_dir;
        let mut few = vec![
            (log_dir.clone(), self.log_dir),
            (config.queue_dir.clone(), self.queue_dir),
        ];
        for (start, stamp) in &self.log_files {
            few.push((log_dir.join(file_name(*start)), *stamp));
        }
        let few = few.into_iter();
        let few = few.map(|(path, stamp)| other_than(disk, path, stamp));
        let few = few.collect::<io::Result<Vec<_>>>()?;
        let many = for_each(&self.topics, |topic| {
            self.changed_of(topic, disk, config.queue_dir.join(&topic.name))
        })?;
        let changed = few.into_iter().chain(many).flatten().next();
        Ok(changed.map(|path| format!("{} has changed", path.display())))
    }

    fn changed_of(&self, topic: &Topic, disk: &Disk, dir: PathBuf) -> io::Result<Option<PathBuf>> {
        for queue in &topic.queues {
            let path = dir.join(queue.id.to_string());
            if let Some(files) = &queue.files {
                let file = path.join(file_name(last_file(queue.next, self.file_bytes())));
                if let Some(file) = other_than(disk, file, files.last)? {
                    return Ok(Some(file));
                }
            }
            if let Some(path) = other_than(disk, path, queue.dir)? {
                return Ok(Some(path));
            }
        }
        other_than(disk, dir, topic.dir)
    }

    fn file_bytes(&self) -> i64 {
        self.queue_file_bytes as i64
    }

    /// A write that soon follows the close would leave the stamps as they are.
    fn is_coarse(&self) -> bool {
        let queues = self.topics.iter().flat_map(|topic| &topic.queues);
        let files = queues.filter_map(|queue| Some(queue.files.as_ref()?.last));
        let mut stamps = self.log_files.iter().map(|file| file.1).chain(files);
        stamps.all(|stamp| stamp.changed % 1_000_000_000 == 0)
    }

    fn totals(&self) -> QueueTotals {
        let queues = self.topics.iter().flat_map(|topic| &topic.queues);
        queues
            .filter(|queue| queue.next > 0)
            .fold(QueueTotals::default(), |totals, queue| QueueTotals {
                queues: totals.queues + 1,
                next: totals.next.wrapping_add(queue.next),
            })
    }

    /// Each queue by topic and id.
    pub(crate) fn queues(&self) -> impl Iterator<Item = (&str, i32, EndOf<'_>)> {
        let topics = self.topics.iter();
        topics.flat_map(move |topic| {
            let queues = topic.queues.iter();
            queues.map(move |end| (&*topic.name, end.id, EndOf { ends: self, end }))
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(&self.checkpoint);
        bytes.extend(self.log_file_bytes.to_be_bytes());
        bytes.extend(self.queue_file_bytes.to_be_bytes());
        bytes.extend(self.last_ms.to_be_bytes());
        put_stamp(&mut bytes, self.log_dir);
        bytes.extend((self.log_files.len() as u32).to_be_bytes());
        for (start, stamp) in &self.log_files {
            bytes.extend(start.to_be_bytes());
            put_stamp(&mut bytes, *stamp);
        }
        put_stamp(&mut bytes, self.queue_dir);
        bytes.extend((self.topics.len() as u32).to_be_bytes());
        for topic in &self.topics {
            bytes.extend((topic.name.len() as u16).to_be_bytes());
            bytes.extend(topic.name.as_bytes());
            put_stamp(&mut bytes, topic.dir);
            bytes.extend((topic.queues.len() as u32).to_be_bytes());
            for queue in &topic.queues {
                bytes.extend(queue.id.to_be_bytes());
                put_stamp(&mut bytes, queue.dir);
                bytes.extend(queue.next.to_be_bytes());
                if let Some(files) = &queue.files {
                    bytes.extend(files.min.to_be_bytes());
                    bytes.extend(files.start.to_be_bytes());
                    put_stamp(&mut bytes, files.last);
                }
            }
        }
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Ends> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let mut body = body.strip_prefix(&MAGIC)?;
        if crc32fast::hash(&bytes[..bytes.len() - 4]) != u32::from_be_bytes(*crc) {
            return None;
        }
        let body = &mut body;
        let checkpoint = body.split_off(..EXTRA_BYTES)?.to_vec();
        let log_file_bytes = body.try_get_u64().ok()?;
        let queue_file_bytes = body.try_get_u64().ok()?;
        let last_ms = body.try_get_i64().ok()?;
        let log_dir = stamp(body)?;
        let mut log_files = Vec::new();
        for _ in 0..body.try_get_u32().ok()? {
            log_files.push((body.try_get_i64().ok()?, stamp(body)?));
        }
        let queue_dir = stamp(body)?;
        let mut topics = Vec::new();
        for _ in 0..body.try_get_u32().ok()? {
            topics.push(topic(body)?);
        }
        Some(Ends {
            checkpoint,
            log_file_bytes,
            queue_file_bytes,
            last_ms,
            log_dir,
            log_files,
            queue_dir,
            topics,
        })
    }
}

/// Where one queue begins and ends.
pub(crate) struct EndOf<'a> {
    ends: &'a Ends,
    end: &'a End,
}

impl EndOf<'_> {
    /// Sets a queue of which nothing is known yet.
    pub(crate) fn set(&self, queue: &Arc<Queue>) {
        let End { next, files, .. } = self.end;
        let Some(Files { min, start, .. }) = files else {
            return;
        };
        let file_bytes = self.ends.file_bytes();
        let mut entries = queue.entries.lock();
        entries.first = *next;
        entries.files = *start..last_file(*next, file_bytes) + file_bytes;
        drop(entries);
        queue.set_next(*next);
        queue.set_min(*min);
    }
}

fn topic(body: &mut &[u8]) -> Option<Topic> {
    let len = body.try_get_u16().ok()?;
    let name = body.split_off(..usize::from(len))?;
    let name = str::from_utf8(name).ok()?.to_owned();
    let dir = stamp(body)?;
    let mut queues = Vec::new();
    for _ in 0..body.try_get_u32().ok()? {
        let (id, dir) = (body.try_get_i32().ok()?, stamp(body)?);
        let next = body.try_get_i64().ok()?;
        let files = match next {
            0 => None,
            _ => Some(Files {
                min: body.try_get_i64().ok()?,
                start: body.try_get_i64().ok()?,
                last: stamp(body)?,
            }),
        };
        queues.push(End {
            id,
            dir,
            next,
            files,
        });
    }
    Some(Topic { name, dir, queues })
}

/// The path, if it has another stamp.
fn other_than(disk: &Disk, path: PathBuf, then: Stamp) -> io::Result<Option<PathBuf>> {
    Ok((disk.stamp(&path)? != then).then_some(path))
}

/// Asks the disk about many things at a time: what is not in the system's memory it finds several times faster so.
fn for_each<T: Sync, R: Send>(
    all: &[T],
    ask: impl Fn(&T) -> io::Result<R> + Sync,
) -> io::Result<Vec<R>> {
    let few = all.len().div_ceil(limits::STAMP_THREADS);
    if few < limits::STAMP_THREADS {
        return all.iter().map(ask).collect();
    }
    let ask = &ask;
    let some = |some: &[T]| some.iter().map(ask).collect::<io::Result<Vec<R>>>();
    let some = &some;
    std::thread::scope(|scope| {
        let threads = all.chunks(few).map(|part| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, move || some(part));
            (part, thread)
        });
        let threads: Vec<_> = threads.collect();
        let mut answers = Vec::with_capacity(all.len());
        for (part, thread) in threads {
            let mut part = match thread.map(ScopedJoinHandle::join) {
                Ok(part) => part.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                // The system gives no more of them.
                Err(_) => some(part),
            }?;
            answers.append(&mut part);
        }
        Ok(answers)
    })
}

fn put_stamp(bytes: &mut Vec<u8>, stamp: Stamp) {
    bytes.extend(stamp.number.to_be_bytes());
    bytes.extend(stamp.changed.to_be_bytes());
}

fn stamp(body: &mut &[u8]) -> Option<Stamp> {
    Some(Stamp {
        number: body.try_get_u64().ok()?,
        changed: body.try_get_i64().ok()?,
    })
}
