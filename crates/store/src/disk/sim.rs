//! A disk in memory that loses power, runs full and fails on demand; deterministic by seed.
//!
//! What is written is visible at once, but survives [`SimDisk::crash`] for certain only after
//! `sync_data` of the file and `sync_dir` of its directory. Without these, any subset of 512-byte
//! sectors and of changes to names may survive, in any order: stricter than most file systems.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use self::content::Content;
use self::names::{Names, Node};
use super::{Entry, LOCK_CONTENT, Space, Stamp};

mod content;
mod names;

/// What is written or not as a whole.
const SECTOR: u64 = 512;

/// Size reported when no capacity is set.
const TOTAL_DEFAULT: u64 = 1 << 40;

/// See the module's first lines.
#[derive(Debug)]
pub struct SimDisk {
    state: Mutex<State>,
    held: Mutex<Held>,
    released: Condvar,
}

/// Calls that wait: of a disk that takes its time.
#[derive(Debug, Default)]
struct Held {
    /// By kind and path.
    calls: Vec<(FaultOn, String)>,
    waiting: usize,
}

#[derive(Debug)]
struct State {
    names: Names,
    random: Random,
    faults: Vec<Fault>,
    capacity: Option<u64>,
    locked: Vec<String>,
    mounts: Vec<PathBuf>,
    changes: u64,
    next_file: u64,
    boot: u64,
    forgetful: bool,
    coarse: bool,
}

/// What a crash leaves of all that is not yet synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashKeep {
    /// The process died: the kernel still has everything, and has not synced it either.
    All,
    /// Power cut; the disk had written nothing on its own.
    None,
    /// Power cut; any subset was written, in any order.
    Random,
}

/// A failure to come.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The calls that count.
    pub on: FaultOn,
    /// Only on paths that contain this text (empty: all).
    pub path: String,
    /// How many matching calls succeed first.
    pub after: u64,
    /// What the caller sees.
    pub error: FaultError,
    /// Fail all later matching calls too, not just one.
    pub sticky: bool,
}

/// Kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after the call")]
pub enum FaultOn {
    /// Any call that may change the disk: all but `Read` and `Stamp`. Sticky, it is a disk that is gone.
    AnyChange,
    /// Of a file.
    Create,
    /// Also opening a file that is there, and listing a directory.
    Read,
    Stamp,
    /// A random number of sectors is written before it fails.
    Write,
    /// What was not synced is kept or lost sector by sector, and a later sync won't save it.
    Sync,
    /// `allocate` and `set_len`.
    Allocate,
    CreateDir,
    Remove,
    Rename,
    SyncDir,
}

impl FaultOn {
    fn is_change(self) -> bool {
        !matches!(self, FaultOn::Read | FaultOn::Stamp)
    }
}

/// What a failing call reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// EIO.
    Io,
    /// ENOSPC, kind `StorageFull`.
    NoSpace,
}

impl Fault {
    fn is_on(&self, on: FaultOn, path: &str) -> bool {
        (self.on == on || self.on == FaultOn::AnyChange && on.is_change())
            && path.contains(&self.path)
    }
}

/// An open simulated file.
#[derive(Debug)]
pub struct SimFile {
    disk: Arc<SimDisk>,
    path: String,
    writable: bool,
    content: Arc<Mutex<Content>>,
}

#[derive(Debug)]
pub(super) struct SimLock {
    disk: Arc<SimDisk>,
    path: String,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Arc<SimDisk> {
        Arc::new(SimDisk {
            state: Mutex::new(State {
                names: Names::default(),
                random: Random(seed),
                faults: Vec::new(),
                capacity: None,
                locked: Vec::new(),
                mounts: Vec::new(),
                changes: 0,
                next_file: 0,
                boot: 1,
                forgetful: false,
                coarse: false,
            }),
            held: Mutex::default(),
            released: Condvar::new(),
        })
    }

    /// The disk as the next start finds it. Handles to this one stay with this one: what they
    /// still do is never seen. Locks and faults are gone.
    pub fn crash(&self, keep: CrashKeep) -> Arc<SimDisk> {
        let mut state = self.state.lock();
        let seed = state.random.next();
        let State { names, random, .. } = &mut *state;
        let names = names.crash(keep, random);
        let same_boot = keep == CrashKeep::All;
        Arc::new(SimDisk {
            state: Mutex::new(State {
                names,
                random: Random(seed),
                faults: Vec::new(),
                capacity: state.capacity,
                locked: Vec::new(),
                mounts: state.mounts.clone(),
                changes: 0,
                next_file: state.next_file,
                boot: if same_boot {
                    state.boot
                } else {
                    state.boot + 1
                },
                forgetful: state.forgetful,
                coarse: state.coarse,
            }),
            held: Mutex::default(),
            released: Condvar::new(),
        })
    }

    /// Adds a failure to come.
    pub fn fail(&self, fault: Fault) {
        self.state.lock().faults.push(fault);
    }

    /// Forgets all failures to come.
    pub fn heal(&self) {
        self.state.lock().faults.clear();
    }

    /// From now on reads, writes or syncs of files whose path contains this text wait until
    /// [`SimDisk::release`]. A held read is one that is not in memory.
    pub fn hold(&self, on: FaultOn, path: &str) {
        assert!(
            matches!(on, FaultOn::Read | FaultOn::Write | FaultOn::Sync),
            "{on:?} can't be held"
        );
        self.held.lock().calls.push((on, path.to_owned()));
    }

    /// Lets those that wait go on, and all that come.
    pub fn release(&self) {
        self.held.lock().calls.clear();
        self.released.notify_all();
    }

    /// Calls that wait.
    pub fn waiting(&self) -> usize {
        self.held.lock().waiting
    }

    fn wait_while_held(&self, on: FaultOn, path: &str) {
        let mut held = self.held.lock();
        held.waiting += 1;
        self.released
            .wait_while(&mut held, |held| held.holds(on, path));
        held.waiting -= 1;
    }

    /// Size of the disk in bytes; `None` is without end. May be set below what is in use.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// From now on, after a crash too, reads that don't wait are refused, come short or find
    /// nothing, at random: as a kernel may do, and some do that shouldn't.
    pub fn forget(&self) {
        self.state.lock().forgetful = true;
    }

    /// From now on, after a crash too, the times in stamps are whole seconds.
    pub fn coarsen(&self) {
        self.state.lock().coarse = true;
    }

    /// From now on a directory and all below it is a file system of its own.
    pub fn mount(&self, dir: &Path) {
        self.state.lock().mounts.push(dir.to_owned());
    }

    /// Bytes in use: pages written and blocks reserved.
    pub fn used(&self) -> u64 {
        self.state.lock().names.used()
    }

    /// Calls so far that may have changed the disk (those that `FaultOn::AnyChange` counts): a
    /// test repeats a run and fails it at each of them.
    pub fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    pub(super) fn open_read(self: &Arc<Self>, path: &Path) -> io::Result<SimFile> {
        let mut state = self.state.lock();
        state.pass(FaultOn::Read, path)?;
        match state.names.find(path)? {
            Node::File(content) => Ok(self.file(path, false, content)),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn open_existing(self: &Arc<Self>, path: &Path) -> io::Result<SimFile> {
        let mut state = self.state.lock();
        state.pass(FaultOn::Read, path)?;
        match state.names.find(path)? {
            Node::File(content) => Ok(self.file(path, true, content)),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn open_write(self: &Arc<Self>, path: &Path) -> io::Result<SimFile> {
        match self.open_existing(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let mut state = self.state.lock();
        state.pass(FaultOn::Create, path)?;
        state.next_file += 1;
        let content = Arc::new(Mutex::new(Content::new(state.next_file)));
        state.names.link(path, Node::File(content.clone()))?;
        Ok(self.file(path, true, content))
    }

    fn file(
        self: &Arc<Self>,
        path: &Path,
        writable: bool,
        content: Arc<Mutex<Content>>,
    ) -> SimFile {
        SimFile {
            disk: self.clone(),
            path: path.to_string_lossy().into_owned(),
            writable,
            content,
        }
    }

    pub(super) fn len(&self, path: &Path) -> io::Result<u64> {
        match self.state.lock().names.find(path)? {
            Node::File(content) => Ok(content.lock().len()),
            Node::Dir(_) => Ok(0),
        }
    }

    /// A crash does not set it back, though it may do so to what changed: an inode may be written before its content.
    pub(super) fn stamp(&self, path: &Path) -> io::Result<(Stamp, u64)> {
        let mut state = self.state.lock();
        state.pass(FaultOn::Stamp, path)?;
        let (mut stamp, len) = match state.names.find(path)? {
            Node::File(content) => {
                let content = content.lock();
                (content.stamp(), content.len())
            }
            Node::Dir(dir) => (state.names.stamp(dir), 0),
        };
        if state.coarse {
            stamp.changed *= 1_000_000_000;
        }
        Ok((stamp, len))
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.state.lock();
        state.pass(FaultOn::Read, dir)?;
        state.names.list(dir)
    }

    pub(super) fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.pass(FaultOn::CreateDir, dir)?;
        state.names.create_dir(dir)
    }

    pub(super) fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.pass(FaultOn::Remove, path)?;
        match state.names.find(path)? {
            Node::File(_) => state.names.unlink(path),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        for entry in self.list(dir)? {
            let path = dir.join(entry.name);
            if entry.is_dir {
                self.remove_dir_all(&path)
            } else {
                self.remove_file(&path)
            }?;
        }
        let mut state = self.state.lock();
        state.pass(FaultOn::Remove, dir)?;
        state.names.unlink(dir)
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.pass(FaultOn::Rename, from)?;
        state.names.rename(from, to)
    }

    pub(super) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.pass(FaultOn::SyncDir, dir)?;
        state.names.sync(dir)
    }

    pub(super) fn sync_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let passed = state.pass(FaultOn::Sync, path);
        let here = file_system(&state.mounts, path);
        let State {
            names,
            random,
            mounts,
            ..
        } = &mut *state;
        let is_here = |path: &Path| file_system(mounts, path) == here;
        names.sync_all(is_here, |content| match passed {
            Ok(()) => content.sync(),
            Err(_) => content.sync_failed(random),
        });
        passed
    }

    pub(super) fn file_system(&self, path: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        state.names.find(path)?;
        Ok(file_system(&state.mounts, path))
    }

    pub(super) fn boot_id(&self) -> u128 {
        u128::from(self.state.lock().boot)
    }

    pub(super) fn space(&self, _: &Path) -> io::Result<Space> {
        let state = self.state.lock();
        let total = state.capacity.unwrap_or(TOTAL_DEFAULT);
        let free = total.saturating_sub(state.names.used());
        Ok(Space {
            total,
            free,
            usable: free,
        })
    }

    pub(super) fn is_locked(self: &Arc<Self>, path: &Path) -> io::Result<bool> {
        match self.open_read(path) {
            Ok(file) => Ok(self.state.lock().locked.contains(&file.path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn lock(self: &Arc<Self>, path: &Path) -> io::Result<SimLock> {
        let file = self.open_write(path)?;
        let mut state = self.state.lock();
        if state.locked.contains(&file.path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locked.push(file.path.clone());
        drop(state);
        let lock = SimLock {
            disk: self.clone(),
            path: file.path.clone(),
        };
        file.write_all_at(LOCK_CONTENT, 0)?;
        Ok(lock)
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk
            .state
            .lock()
            .locked
            .retain(|path| *path != self.path);
    }
}

impl State {
    /// Counts the call and fails it if a fault says so.
    fn pass(&mut self, on: FaultOn, path: &Path) -> io::Result<()> {
        if on.is_change() {
            self.changes += 1;
        }
        let path = path.to_string_lossy();
        let mut failed = None;
        self.faults.retain_mut(|fault| {
            if !fault.is_on(on, &path) {
                return true;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return true;
            }
            failed = Some(fault.error);
            fault.sticky
        });
        match failed {
            None => Ok(()),
            Some(FaultError::Io) => Err(io::Error::other("simulated input/output error")),
            Some(FaultError::NoSpace) => Err(no_space()),
        }
    }

    /// Fails if `bytes` more do not fit.
    fn take(&self, bytes: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if bytes > 0 && self.names.used() + bytes > capacity => Err(no_space()),
            _ => Ok(()),
        }
    }
}

/// The number of the file system that a path is on.
fn file_system(mounts: &[PathBuf], path: &Path) -> u64 {
    let mount = mounts.iter().rposition(|mount| path.starts_with(mount));
    mount.map_or(0, |number| number as u64 + 1)
}

fn no_space() -> io::Error {
    io::Error::new(
        io::ErrorKind::StorageFull,
        "no space left on simulated device",
    )
}

impl Held {
    fn holds(&self, on: FaultOn, path: &str) -> bool {
        let matches = |(kind, part): &(FaultOn, String)| *kind == on && path.contains(part);
        self.calls.iter().any(matches)
    }
}

impl SimFile {
    pub(super) fn read_cached_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        if self.disk.held.lock().holds(FaultOn::Read, &self.path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut state = self.disk.state.lock();
        // A read that is to fail is one of the disk.
        if state
            .faults
            .iter()
            .any(|fault| fault.is_on(FaultOn::Read, &self.path))
        {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let reach = match state.forgetful.then(|| state.random.below(4)) {
            Some(0) => return Err(io::ErrorKind::WouldBlock.into()),
            Some(1) => 0,
            Some(2) => state.random.below(buf.len() as u64 + 1) as usize,
            _ => buf.len(),
        };
        Ok(self.content.lock().read(&mut buf[..reach], pos))
    }

    pub(super) fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.disk.wait_while_held(FaultOn::Read, &self.path);
        self.disk
            .state
            .lock()
            .pass(FaultOn::Read, Path::new(&self.path))?;
        Ok(self.content.lock().read(buf, pos))
    }

    pub(super) fn write_all_at(&self, bytes: &[u8], pos: u64) -> io::Result<()> {
        self.disk.wait_while_held(FaultOn::Write, &self.path);
        let mut state = self.change()?;
        if let Err(error) = state.pass(FaultOn::Write, Path::new(&self.path)) {
            // The kernel copies page by page: what is within a sector is written or not.
            let reach = state.random.below(bytes.len() as u64 + 1) + pos;
            let written = (reach - reach % SECTOR).saturating_sub(pos) as usize;
            if state
                .take(self.content.lock().growth(written as u64, pos))
                .is_ok()
            {
                self.content.lock().write(&bytes[..written], pos);
            }
            return Err(error);
        }
        let growth = self.content.lock().growth(bytes.len() as u64, pos);
        state.take(growth)?;
        self.content.lock().write(bytes, pos);
        Ok(())
    }

    pub(super) fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.change()?;
        state.pass(FaultOn::Allocate, Path::new(&self.path))?;
        let growth = self.content.lock().growth(len, 0);
        state.take(growth)?;
        self.content.lock().allocate(len);
        Ok(())
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.change()?;
        state.pass(FaultOn::Allocate, Path::new(&self.path))?;
        self.content.lock().set_len(len);
        Ok(())
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().len())
    }

    pub(super) fn sync_data(&self) -> io::Result<()> {
        self.disk.wait_while_held(FaultOn::Sync, &self.path);
        let mut state = self.disk.state.lock();
        let passed = state.pass(FaultOn::Sync, Path::new(&self.path));
        let mut content = self.content.lock();
        match passed {
            Ok(()) => content.sync(),
            Err(_) => content.sync_failed(&mut state.random),
        }
        passed
    }

    pub(super) fn data_from(&self, pos: u64) -> io::Result<Option<u64>> {
        self.disk
            .state
            .lock()
            .pass(FaultOn::Read, Path::new(&self.path))?;
        Ok(self.content.lock().data_from(pos))
    }

    pub(super) fn data_end(&self) -> io::Result<u64> {
        self.disk
            .state
            .lock()
            .pass(FaultOn::Read, Path::new(&self.path))?;
        Ok(self.content.lock().data_end())
    }

    fn change(&self) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(self.disk.state.lock())
    }
}

/// SplitMix64: small, and the same on every platform.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// How likely a crash keeps one thing, in quarters. Drawn anew for each file, so that whole
    /// files are often early or late.
    fn keep(&mut self) -> u64 {
        self.below(5)
    }

    fn kept(&mut self, quarters: u64) -> bool {
        self.below(4) < quarters
    }
}
