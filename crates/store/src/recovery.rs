//! Opening what is there: the log is the truth, the queues are made to agree with it.
//!
//! A scan starts where the last checkpoint vouches for log and queues alike and goes to the end of
//! the log. Queues keep their entries of records before the start; the others come from the scan.
//! What is no record is stepped over if a good one follows, and cut off if none does. Nothing is
//! done that a crash in the middle and a second recovery would not do again.

use std::io;
use std::sync::Arc;

use protocol::LogOffset;
use protocol::record::{Outline, sys_flag};

use crate::checkpoint::Checkpoint;
use crate::commit_log::{CommitLog, Segment};
use crate::config::{Config, file_start};
use crate::consume_queue::QueueEntry;
use crate::consume_queue::ends::Ends;
use crate::consume_queue::files::QueueFiles;
use crate::consume_queue::table::Table;
use crate::disk::{Disk, File, Wait};
use crate::store::{BadRange, OpenError};

pub(crate) use self::redispatch::Redispatch;
pub(crate) use self::scan::{LogScan, Step};

/// What a disk writes as a whole.
const SECTOR_BYTES: i64 = 512;

mod redispatch;
mod scan;
#[cfg(test)]
mod tests;

/// What opening a store found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// It had been closed in order.
    pub clean: bool,
    /// Where reading the log began ...
    pub scanned_from: LogOffset,
    /// ... and where it ends now.
    pub end: LogOffset,
    /// Something followed the end that is no record (or, after a power cut with async flush,
    /// followed one that was lost), and was cut off.
    pub cut: bool,
    /// Places in the log that hold no record though some follow them, or records that can't be
    /// their queue's.
    pub bad: Vec<BadRange>,
}

/// What recovery goes by, and what it brings in order.
pub(crate) struct Ground<'a> {
    pub(crate) config: &'a Config,
    pub(crate) disk: &'a Disk,
    pub(crate) log: &'a CommitLog,
    pub(crate) table: &'a Table,
    pub(crate) queues: &'a QueueFiles,
    pub(crate) checkpoint: &'a Checkpoint,
    /// What the last close has noted of the queues, if nothing has changed since.
    pub(crate) ends: Option<&'a Ends>,
    /// The abort file was there.
    pub(crate) crashed: bool,
    /// Since then the machine has lost what it had not written; `None` if that can't be known.
    pub(crate) lost_power: Option<bool>,
}

/// See [`Ground::lost_power`].
pub(crate) fn lost_power(disk: &Disk, checkpoint: &Checkpoint) -> Option<bool> {
    let then = checkpoint.extra.as_ref()?.boot?;
    Some(then != disk.boot_id()?)
}

/// What the store goes on with.
pub(crate) struct Recovered {
    pub(crate) report: Recovery,
    pub(crate) end: i64,
    /// Store time of the last record.
    pub(crate) last_ms: i64,
    /// The log is durable up to here.
    pub(crate) durable: i64,
    /// The queue files durably have the entries of all records before it ...
    pub(crate) queues_durable: i64,
    /// ... and as long as the machine runs, of all before this.
    pub(crate) queues_written: i64,
}

/// What the queues are known to have, and what the log has behind it.
struct Started<'a> {
    /// Where the scan began.
    start: i64,
    /// Each queue's last entry before it, by number; empty where the files were not read.
    last: Vec<Option<QueueEntry>>,
    scanned: Scanned<'a>,
}

/// How a scan ended.
struct Scanned<'a> {
    scan: LogScan<'a>,
    end: i64,
    last_ms: i64,
    bad: Vec<BadRange>,
    /// A good record was left behind the end.
    refused: bool,
    /// Queues lack entries of records before the scan: it must start here instead.
    deeper: Option<i64>,
}

impl<'a> Scanned<'a> {
    fn new(scan: LogScan<'a>, start: i64) -> Self {
        Scanned {
            scan,
            end: start,
            last_ms: 0,
            bad: Vec::new(),
            refused: false,
            deeper: None,
        }
    }
}

impl Ground<'_> {
    pub(crate) fn recover(&self) -> Result<Recovered, OpenError> {
        let log_min = self.log.min();
        let by_ends = self.ends.map(|ends| self.by_ends(ends)).transpose()?;
        let Started {
            start,
            last,
            mut scanned,
        } = match by_ends.flatten() {
            Some(started) => started,
            None => self.by_files()?,
        };
        let cut = self.cut_log(scanned.end, &mut scanned.scan)? || scanned.refused;
        let durable = self.durable(scanned.end, !scanned.bad.is_empty())?;
        // From here on older files are opened only to be read.
        self.log.set_end(scanned.end);
        let extra = self.checkpoint.extra.as_ref();
        let queues_durable = extra.map_or(start, |extra| extra.queues_durable.0.min(start));
        for queue in self.table.all() {
            queue.visible().raise(queue.next());
            let untouched = !queue.is_listed();
            if !untouched {
                self.queues.find_min(&queue, log_min)?;
            }
            if !self.crashed {
                continue;
            }
            match last.get(queue.number() as usize) {
                Some(Some(last)) if untouched && last.log_offset.0 < queues_durable => {
                    self.queues.mark_files_unsynced(&queue, queue.next());
                }
                _ => self.queues.mark_unsynced_from(&queue, queues_durable)?,
            }
        }
        Ok(Recovered {
            report: Recovery {
                clean: !self.crashed,
                scanned_from: LogOffset(start),
                end: LogOffset(scanned.end),
                cut,
                bad: scanned.bad,
            },
            end: scanned.end,
            last_ms: match scanned.last_ms {
                0 => self.last_ms(&last)?,
                known_ms => known_ms,
            },
            durable,
            queues_durable,
            queues_written: start,
        })
    }

    /// Goes by what the queues' files hold.
    fn by_files(&self) -> Result<Started<'_>, OpenError> {
        let whole = self.load_queues()?;
        let log_min = self.log.min();
        // Entries of records from here on may be stale; those whose log file was removed can't be
        // told from good ones, and nobody needs them.
        let vouched = self.vouched()?;
        let mut start = match whole {
            true => vouched.max(log_min),
            false => log_min,
        };
        let mut again = false;
        // Each queue's last entry before the scan, by number. Its file is open only once.
        let mut last = Vec::new();
        let scanned = loop {
            let deeper = match self.keep_before(start.min(vouched), again, &mut last)? {
                Some(deeper) => Some(deeper),
                None if start > log_min && self.lacks_messages() => Some(log_min),
                None => {
                    let scanned = self.scan(start)?;
                    if scanned.deeper.is_none() {
                        break scanned;
                    }
                    scanned.deeper
                }
            };
            // Once is to be expected of a lost file; a second time is not worth guessing.
            start = match deeper {
                Some(deeper) if !again && deeper < start => deeper.max(log_min),
                _ => log_min,
            };
            again = true;
        };
        Ok(Started {
            start,
            last,
            scanned,
        })
    }

    /// Goes by what the last close has noted. `None` if the log does not end where it did: the files will tell.
    fn by_ends(&self, ends: &Ends) -> io::Result<Option<Started<'_>>> {
        let extra = self.checkpoint.extra.as_ref();
        let Some(end) = extra.map(|extra| extra.queues_written.0) else {
            return Ok(None);
        };
        let mut scan = LogScan::new(self.log, end);
        let ended = matches!(scan.next()?, Step::End(at) if at.0 == end);
        if !ended || self.log.segment(end).is_none() {
            return Ok(None);
        }
        for (topic, id, end) in ends.queues() {
            if let Ok(queue) = self.table.find_or_create(topic, id) {
                end.set(&queue);
            }
        }
        Ok(Some(Started {
            start: end,
            last: Vec::new(),
            scanned: Scanned {
                last_ms: ends.last_ms,
                ..Scanned::new(scan, end)
            },
        }))
    }

    /// Whether queues have not what they had when the store was closed: files were lost since, and
    /// their offsets would be given again.
    fn lacks_messages(&self) -> bool {
        let extra = self.checkpoint.extra.as_ref().filter(|_| !self.crashed);
        let closed = extra.and_then(|extra| extra.closed);
        let lacks = closed.is_some_and(|closed| closed != self.table.totals());
        if lacks {
            tracing::warn!(
                "consume queue files were lost while the store was closed, all of the log is read"
            );
        }
        lacks
    }

    /// Finds the queues and their files; `false` if one lacks a file in the middle.
    fn load_queues(&self) -> Result<bool, OpenError> {
        let mut whole = true;
        for topic in self.disk.list(&self.config.queue_dir)? {
            if !topic.is_dir {
                continue;
            }
            for id in self.disk.list(&self.config.queue_dir.join(&topic.name))? {
                let Ok(id) = id.name.parse() else { continue };
                if let Ok(queue) = self.table.find_or_create(&topic.name, id) {
                    whole &= self.queues.load(&queue)?;
                }
            }
        }
        Ok(whole)
    }

    /// From where on the log has to be read: all before is in the queues, as the last checkpoint
    /// says.
    fn vouched(&self) -> io::Result<i64> {
        let log_min = self.log.min();
        let Some(newest) = self.log.segments().pop() else {
            return Ok(log_min);
        };
        let start = match &self.checkpoint.extra {
            Some(_) if !self.queues.any_files(&self.table.all()) => log_min,
            Some(extra) if self.crashed && self.lost_power != Some(false) => extra.queues_durable.0,
            Some(extra) => extra.queues_written.0,
            None if self.crashed => self.start_by_time()?,
            None => self.start_by_queues()?,
        };
        // Files may have been removed since.
        Ok(match self.log.segment(start) {
            Some(_) => start,
            None => newest.start.min(start),
        })
    }

    /// What Java closed: its queues have all records. The last one is read to know its time.
    fn start_by_queues(&self) -> io::Result<i64> {
        let mut newest = self.log.min();
        for queue in self.table.all() {
            let kept = self.queues.keep_before(&queue, i64::MAX, self.log, false)?;
            newest = newest.max(kept.last.map_or(0, |last| last.log_offset.0));
        }
        Ok(newest)
    }

    /// What Java left without closing: the newest file whose first record is surely older than
    /// what had been flushed (`isMappedFileMatchedRecover`).
    fn start_by_time(&self) -> io::Result<i64> {
        let flushed_ms = self.checkpoint.physic_ms.min(self.checkpoint.logics_ms) - 3000;
        for segment in self.log.segments().iter().rev() {
            let mut scan = LogScan::new(self.log, segment.start);
            if let Step::Record(first) = scan.next()?
                && first.log_offset.0 == segment.start
                && first.store_timestamp <= flushed_ms
            {
                return Ok(segment.start);
            }
        }
        Ok(self.log.min())
    }

    /// Cuts every queue back to the start of the scan. Gives an earlier one if a queue needs it.
    fn keep_before(
        &self,
        start: i64,
        again: bool,
        last: &mut Vec<Option<QueueEntry>>,
    ) -> io::Result<Option<i64>> {
        let wipe = self.crashed || again;
        let mut deeper = None;
        last.clear();
        for queue in self.table.all() {
            let kept = self.queues.keep_before(&queue, start, self.log, wipe)?;
            if kept.damaged && start > self.log.min() {
                let from = kept.last.map_or(self.log.min(), |last| last.log_end());
                deeper = Some(deeper.map_or(from, |deeper: i64| deeper.min(from)));
            }
            // Numbers are given in the order of `all`, without gaps.
            last.push(kept.last);
        }
        Ok(deeper)
    }

    /// Store time of the last record, where neither the scan nor a note of the last close tells it.
    fn last_ms(&self, last: &[Option<QueueEntry>]) -> io::Result<i64> {
        let entries = last.iter().flatten().filter(|entry| !entry.is_filler());
        let newest = entries.max_by_key(|entry| entry.log_offset);
        let mut last_ms = self.checkpoint.physic_ms;
        if let Some(entry) = newest {
            let record =
                self.log
                    .read_at(entry.log_offset.0, entry.size as usize, Wait::ForDisk)?;
            if let Ok(outline) = Outline::decode(&record) {
                last_ms = last_ms.max(outline.store_timestamp);
            }
        }
        Ok(last_ms)
    }

    fn scan(&self, start: i64) -> io::Result<Scanned<'_>> {
        let mut redispatch = Redispatch::new(self, start);
        let mut scanned = Scanned::new(LogScan::new(self.log, start), start);
        loop {
            match scanned.scan.next()? {
                Step::Record(outline) if self.is_torn(&outline) => {
                    scanned.end = outline.log_offset.0;
                    scanned.refused = true;
                    break;
                }
                Step::Record(outline) => {
                    scanned.last_ms = outline.store_timestamp;
                    if is_queued(&outline) {
                        redispatch.record(&outline)?;
                    }
                    if redispatch.deeper.is_some() {
                        break;
                    }
                }
                Step::Bad(range) if self.ends_at(range.from) => {
                    scanned.end = range.from.0;
                    scanned.refused = true;
                    break;
                }
                Step::Bad(range) => {
                    tracing::warn!(from = range.from.0, to = range.to.0, "no record in the log");
                    redispatch.bad(range);
                }
                Step::End(end) => {
                    scanned.end = end.0;
                    break;
                }
            }
        }
        redispatch.finish()?;
        scanned.deeper = redispatch.deeper;
        scanned.bad = redispatch.bad;
        Ok(scanned)
    }

    /// What a power cut took away ends the log: it leaves no gap, and all that was acknowledged
    /// after a sync lies before, as each sync takes along all that was written earlier.
    fn ends_at(&self, bad: LogOffset) -> bool {
        let extra = self.checkpoint.extra.as_ref();
        self.crashed
            && self.lost_power == Some(true)
            && extra.is_some_and(|extra| bad >= extra.log_durable)
    }

    /// No crc guards topic and properties, but they are text, and a sector that a power cut takes
    /// away reads as zero.
    fn is_torn(&self, outline: &Outline<'_>) -> bool {
        if !self.ends_at(outline.log_offset) {
            return false;
        }
        let end = self.log.file_offset(outline.log_offset.0) + outline.size as i64;
        let properties = end - outline.properties.len() as i64;
        let topic = properties - 2 - outline.topic.len() as i64;
        lacks_sector(outline.properties, properties)
            || lacks_sector(outline.topic.as_bytes(), topic)
    }

    /// Nothing stays behind the end that could ever be taken for a record.
    fn cut_log(&self, end: i64, scan: &mut LogScan<'_>) -> io::Result<bool> {
        let mut cut = false;
        for segment in self.log.segments() {
            if segment.start + self.log.file_bytes() <= end {
                continue;
            }
            let data_end = scan.data_end(&segment)?;
            let file = self.log.file(&segment)?;
            let from = (end - segment.start).max(0) as u64;
            if !is_blank(&file, from, (data_end - segment.start) as u64)? {
                cut = true;
                file.set_len(from)?;
                file.allocate(self.log.file_bytes() as u64)?;
                file.sync_data()?;
            }
        }
        Ok(cut)
    }

    /// Up to where the log is durable now. With sync flush that is all of it, before anybody
    /// sees what a crash of the process alone has left in the kernel's memory. A hole that was
    /// stepped over must lie before: the next power cut would be taken to have made it.
    fn durable(&self, end: i64, holes: bool) -> io::Result<i64> {
        let durable = match (&self.checkpoint.extra, self.crashed) {
            (_, false) => end,
            (Some(extra), true) => extra.log_durable.0.min(end),
            (None, true) => self.log.min(),
        };
        if self.checkpoint.extra.is_some() && self.crashed && self.lost_power != Some(true) {
            self.log.rewrite(durable, end)?;
        }
        if (self.config.sync_flush || holes) && durable < end {
            self.log.sync(durable, end)?;
            return Ok(end);
        }
        Ok(durable)
    }
}

/// Whether all that a sector of the disk has of `bytes`, which are at `pos` of a file, is zero.
fn lacks_sector(bytes: &[u8], pos: i64) -> bool {
    let before = (-pos).rem_euclid(SECTOR_BYTES) as usize;
    let (first, rest) = bytes.split_at(before.min(bytes.len()));
    let parts = std::iter::once(first).chain(rest.chunks(SECTOR_BYTES as usize));
    parts
        .filter(|part| !part.is_empty())
        .any(|part| part.iter().all(|byte| *byte == 0))
}

fn is_queued(outline: &Outline<'_>) -> bool {
    crate::batch::is_queued(outline.sys_flag & sys_flag::TRANSACTION)
}

/// The files of the log, oldest first.
pub(crate) fn segments(config: &Config, disk: &Disk) -> Result<Vec<Arc<Segment>>, OpenError> {
    let mut files = Vec::new();
    for entry in disk.list(&config.commit_log_dir)? {
        let Some(start) = file_start(&entry.name).filter(|_| !entry.is_dir) else {
            continue;
        };
        let path = config.commit_log_dir.join(&entry.name);
        if entry.len > config.log_file_bytes || start % config.log_file_bytes as i64 != 0 {
            return Err(OpenError::FileSize {
                path,
                found: entry.len,
                expected: config.log_file_bytes,
                name: "mappedFileSizeCommitLog",
            });
        }
        files.push((Segment::new(start, path, None), entry.len));
    }
    remove_unfinished(config, disk, &mut files)?;
    for (segment, len) in &files {
        if *len < config.log_file_bytes {
            // Cut short by a crash while it was made, or by somebody.
            let path = &segment.path;
            tracing::warn!(path = %path.display(), len, "commit log file too short");
            disk.open_write(path)?.allocate(config.log_file_bytes)?;
        }
    }
    let segments = files.into_iter().map(|(segment, _)| Arc::new(segment));
    Ok(segments.collect())
}

/// Removes files that are too short and have no data in or behind them: a crash came while they were made ahead, and there may
/// be no space for them now. The first file stays: it says where the log goes on.
fn remove_unfinished(
    config: &Config,
    disk: &Disk,
    files: &mut Vec<(Segment, u64)>,
) -> io::Result<()> {
    if files.iter().all(|(_, len)| *len == config.log_file_bytes) {
        return Ok(());
    }
    for number in (1..files.len()).rev() {
        let (segment, len) = &files[number];
        let file = disk.open_read(&segment.path)?;
        if !is_blank(&file, 0, file.data_end()?)? {
            break;
        }
        if *len < config.log_file_bytes {
            disk.remove_file(&segment.path)?;
            files.remove(number);
        }
    }
    Ok(())
}

/// Whether a file is all zero in a range.
pub(crate) fn is_blank(file: &File, from: u64, to: u64) -> io::Result<bool> {
    let mut at = from;
    let mut bytes = vec![0; to.saturating_sub(from).min(64 << 10) as usize];
    while at < to {
        let wanted = bytes.len().min((to - at) as usize);
        let count = file.read_at(&mut bytes[..wanted], at, Wait::ForDisk)?;
        if bytes[..count].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        if count == 0 {
            break;
        }
        at += count as u64;
    }
    Ok(true)
}
