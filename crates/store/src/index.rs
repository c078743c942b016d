//! The hash index: from topic and key to log offsets, in Apache's files.
//!
//! It follows the log: what it lost it builds again. Files are filled one after the other. The one
//! being filled keeps its slot table in memory and appends its entries; a full one is sealed before
//! the next one is made, which gets its table, and then only read, with no file kept open.
//!
//! On disk a header never counts an entry that is not durable: [`Index::flush`] writes entries,
//! syncs, then writes the header. Slots are written when a file is sealed or the store closes; after
//! a crash they are built again from the entries.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use protocol::LogOffset;

use self::active::Active;
use self::layout::{Header, Layout};
use self::load::Unrecovered;
use crate::disk::{Disk, File};
use crate::local_time::LocalTime;

mod active;
mod layout;
mod load;
mod query;
#[cfg(test)]
mod tests;

pub use self::query::IndexAnswer;

/// A rolled-back transaction, by the bits of a record's system flag.
const ROLLBACK: i32 = 0x8 | 0x4;

/// How the run before this one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastExit {
    /// It closed the store.
    Clean,
    /// It did not.
    Crash {
        /// The checkpoint's `index_ms`: files that end later are not trusted.
        index_ms: i64,
    },
}

/// What the index needs of a record.
#[derive(Clone, Copy, Debug)]
pub struct IndexRecord<'a> {
    /// Topic it is stored under.
    pub topic: &'a str,
    /// Property `UNIQ_KEY`.
    pub uniq_key: Option<&'a str>,
    /// Property `KEYS`: keys separated by blanks.
    pub keys: Option<&'a str>,
    /// The record's system flag; rolled-back transactions are not indexed.
    pub sys_flag: i32,
    /// Where the record starts.
    pub log_offset: LogOffset,
    /// Store time, ms.
    pub store_timestamp: i64,
}

/// All index files of a store. Lock order: `sealer`, then `state`. Under `state` nothing waits for
/// the disk but a write to the page cache: questions come from threads that must not wait.
#[derive(Debug)]
pub struct Index {
    disk: Disk,
    dir: PathBuf,
    layout: Layout,
    log_end: LogOffset,
    /// Held while recovering, sealing or flushing.
    sealer: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Files a crash may have left incomplete, until first needed.
    unrecovered: Option<Arc<Unrecovered>>,
    /// Read only, oldest first. After a clean start the last may have room left.
    files: Vec<ClosedFile>,
    /// Full, but not yet closed.
    sealing: Option<Arc<Active>>,
    active: Option<Active>,
    /// The slot table of the file that was closed last, for the next one.
    slots: Option<Vec<u32>>,
    /// The record at this offset may have some of its entries already.
    resume: Option<LogOffset>,
    /// A sync failed: what is on disk is unknown, nothing may be added.
    failed: bool,
}

/// A file that is only read.
#[derive(Clone, Debug)]
struct ClosedFile {
    /// File name, the time it was created.
    name: u64,
    path: Arc<PathBuf>,
    header: Header,
}

impl Index {
    /// Finds the index files; reads only their headers. What a crash left is looked at by the
    /// first call that needs it (see [`Index::next_log_offset`]). `slots` and `entries_max` are a
    /// file's size; files of another size are left alone with a warning. Entries from `log_end`
    /// on are forgotten.
    pub fn open(
        disk: &Disk,
        dir: PathBuf,
        slots: u32,
        entries_max: u32,
        log_end: LogOffset,
        last_exit: LastExit,
    ) -> io::Result<Index> {
        disk.create_dir_all(&dir)?;
        let layout = Layout {
            slots: slots.max(1),
            entries_max: entries_max.max(2),
        };
        let (files, unrecovered) = load::find(disk, &dir, layout, log_end, last_exit)?;
        let resume = files.last().map(|file| file.header.end_log_offset);
        let state = State {
            unrecovered: unrecovered.map(Arc::new),
            files,
            sealing: None,
            active: None,
            slots: None,
            resume,
            failed: false,
        };
        Ok(Index {
            disk: disk.clone(),
            dir,
            layout,
            log_end,
            sealer: Mutex::new(()),
            state: Mutex::new(state),
        })
    }

    /// Where to go on: records below are indexed or need not be, the one at this offset may have to
    /// be put again (which does no harm). `None`: nothing is indexed yet. After a crash the first
    /// call reads a file's entries, up to 400 MB, so it is no call for the way to ready.
    pub fn next_log_offset(&self) -> io::Result<Option<LogOffset>> {
        Ok(self
            .recovered()?
            .header()
            .map(|header| header.end_log_offset))
    }

    /// Indexes all keys of a record. Call with ascending offsets; those already indexed are
    /// skipped. After an error put the same record again. `now` names a new file.
    pub fn put(&self, record: &IndexRecord<'_>, now: LocalTime) -> io::Result<()> {
        if record.sys_flag & ROLLBACK == ROLLBACK {
            return Ok(());
        }
        let keys = record
            .uniq_key
            .into_iter()
            .chain(record.keys.into_iter().flat_map(split));
        let mut keys = keys.peekable();
        if keys.peek().is_none() {
            return Ok(());
        }
        let mut state = self.recovered()?;
        if state.failed {
            return Err(failed());
        }
        if state
            .header()
            .is_some_and(|header| record.log_offset < header.end_log_offset)
        {
            return Ok(());
        }
        let again = state
            .resume
            .take_if(|at| *at == record.log_offset)
            .is_some();
        let topic = layout::hash_start(record.topic);
        for key in keys {
            let hash = layout::key_hash(topic, key);
            let added = self
                .room(&mut state, now)
                .and_then(|()| match &mut state.active {
                    Some(active) => {
                        active.put(hash, record.log_offset, record.store_timestamp, again)
                    }
                    None => Err(failed()),
                });
            if let Err(error) = added {
                state.resume = Some(record.log_offset);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Sees to an active file with room for one more entry.
    fn room(&self, state: &mut MutexGuard<'_, State>, now: LocalTime) -> io::Result<()> {
        loop {
            let sealing = state.sealing.is_some();
            match &mut state.active {
                // Here, though it waits for the disk: the next file gets its slot table. Two in turn would be twice as much
                // for good, since the allocator keeps what was freed of such a size.
                _ if sealing => MutexGuard::unlocked(state, || self.seal(&self.sealer.lock()))?,
                Some(active) if !active.is_full() => return active.make_room(),
                Some(active) => {
                    active.write_tail()?;
                    state.sealing = state.active.take().map(Arc::new);
                }
                None => self.open_active(state, now)?,
            }
        }
    }

    /// Sees to a file to fill: the last one if it has room, or a new one. The full one before is closed.
    fn open_active(&self, state: &mut MutexGuard<'_, State>, now: LocalTime) -> io::Result<()> {
        let not_full = |file: &&ClosedFile| !file.header.is_full(self.layout);
        let last = state.files.last().filter(not_full).cloned();
        if let Some(last) = last {
            let load = || Active::load(&self.disk, &last, self.layout);
            let active = MutexGuard::unlocked(state, load)?;
            state.files.pop();
            state.active = Some(active);
            return Ok(());
        }
        let last_name = state.files.last().map_or(0, |file| file.name);
        let name = now.digits().max(last_name + 1);
        let before = state.header().unwrap_or_default();
        let mut spare = state.slots.take();
        let created = MutexGuard::unlocked(state, || {
            Active::create(&self.disk, &self.dir, name, self.layout, before, &mut spare)
        });
        state.slots = spare;
        state.active = Some(created?);
        Ok(())
    }

    /// Makes all that was put durable, then counted. Call from one thread, every second or so.
    pub fn flush(&self) -> io::Result<()> {
        let sealer = self.sealer.lock();
        // If that failed when the file became full.
        self.seal(&sealer)?;
        let mut state = self.state.lock();
        if state.failed {
            return Err(failed());
        }
        let Some(active) = state.active.as_mut().filter(|active| active.is_dirty()) else {
            return Ok(());
        };
        active.write_tail()?;
        let (header, file) = (active.header, active.handle.clone());
        drop(state);
        self.sync(&file)?;
        file.write_all_at(&header.encode(), 0)?;
        // If it has become full meanwhile, its end sees to all of it; and no other takes its place before, for which
        // the sealer is needed.
        if let Some(active) = self.state.lock().active.as_mut() {
            active.flushed = header;
        }
        Ok(())
    }

    /// Closes the full file, if there is one: slots, header, sync. From then on it can be trusted.
    fn seal(&self, _sealer: &MutexGuard<'_, ()>) -> io::Result<()> {
        let state = self.state.lock();
        let Some(sealing) = state.sealing.clone() else {
            return Ok(());
        };
        if state.failed {
            return Err(failed());
        }
        drop(state);
        self.complete(&sealing)?;
        let mut state = self.state.lock();
        state.files.push(sealing.file());
        state.sealing = None;
        // Under `sealer` nobody else has it.
        state.slots = Arc::into_inner(sealing).map(|sealed| sealed.slots);
        Ok(())
    }

    /// Writes what only memory had of a file whose entries are all written. Entries are synced
    /// before the header counts them.
    fn complete(&self, active: &Active) -> io::Result<()> {
        if !active.slots_behind {
            return Ok(());
        }
        active.write_slots()?;
        self.sync(&active.handle)?;
        active.handle.write_all_at(&active.header.encode(), 0)?;
        self.sync(&active.handle)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
            .inspect_err(|_| self.state.lock().failed = true)
    }

    /// End of the last full file that is safely on disk, ms; for the checkpoint's `index_ms`.
    pub fn sealed_timestamp(&self) -> i64 {
        let state = self.state.lock();
        let full = |file: &&ClosedFile| file.header.is_full(self.layout);
        state
            .files
            .iter()
            .rev()
            .find(full)
            .map_or(0, |file| file.header.end_timestamp)
    }

    /// Removes files that only know records below `log_min`, never the last; how many.
    pub fn delete_before(&self, log_min: LogOffset) -> io::Result<usize> {
        let mut state = self.recovered()?;
        let newer = usize::from(state.sealing.is_some() || state.active.is_some());
        let last = (state.files.len() + newer)
            .saturating_sub(1)
            .min(state.files.len());
        let expired = |file: &&ClosedFile| file.header.end_log_offset < log_min;
        let count = state.files[..last].iter().take_while(expired).count();
        for _ in 0..count {
            self.disk.remove_file(&state.files[0].path)?;
            state.files.remove(0);
        }
        if count > 0 {
            self.disk.sync_dir(&self.dir)?;
        }
        Ok(count)
    }

    /// Size of all index files, bytes.
    pub fn total_bytes(&self) -> u64 {
        let state = self.state.lock();
        let open = usize::from(state.sealing.is_some()) + usize::from(state.active.is_some());
        (state.files.len() + open) as u64 * self.layout.file_bytes()
    }

    /// Completes all files on disk. If this fails, the next start must treat the store as crashed.
    pub fn close(&self) -> io::Result<()> {
        drop(self.recovered()?);
        let sealer = self.sealer.lock();
        self.seal(&sealer)?;
        let mut state = self.state.lock();
        if state.failed {
            return Err(failed());
        }
        let Some(active) = &mut state.active else {
            return Ok(());
        };
        active.write_tail()?;
        state.sealing = state.active.take().map(Arc::new);
        drop(state);
        self.seal(&sealer)
    }

    /// The state, with what a crash left put in order.
    fn recovered(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.unrecovered.is_none() {
            return Ok(state);
        }
        drop(state);
        let _one_at_a_time = self.sealer.lock();
        let unrecovered = self.state.lock().unrecovered.clone();
        if let Some(unrecovered) = unrecovered {
            let end = unrecovered.recover(&self.disk, &self.dir, self.layout, self.log_end)?;
            let mut state = self.state.lock();
            state.files.extend(end.files);
            state.active = end.active;
            state.resume = state.header().map(|header| header.end_log_offset);
            state.unrecovered = None;
        }
        Ok(self.state.lock())
    }
}

impl State {
    /// Header of the newest file.
    fn header(&self) -> Option<Header> {
        let open = self
            .active
            .as_ref()
            .or(self.sealing.as_deref())
            .map(|active| active.header);
        open.or(self.files.last().map(|file| file.header))
    }
}

fn split(keys: &str) -> impl Iterator<Item = &str> {
    keys.split(' ').filter(|key| !key.is_empty())
}

fn failed() -> io::Error {
    io::Error::other("index: a sync failed; it is built again after a restart")
}
