//! The only place that opens files: the real disk, or a simulated one that can lose power.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod os;
mod sim;

pub use sim::{CrashKeep, Fault, FaultError, FaultOn, SimDisk};

#[cfg(test)]
mod tests;

/// Where files live. Cheap to clone; every call names its path in the error it returns.
#[derive(Clone, Debug)]
pub enum Disk {
    /// The operating system's files.
    Os,
    /// Files in memory, deterministic by seed.
    Sim(Arc<SimDisk>),
}

/// An open file. All calls take `&self` and a position; shared freely between threads.
#[derive(Debug)]
pub enum File {
    /// A file of the operating system.
    Os(os::OsFile),
    /// A simulated file.
    Sim(sim::SimFile),
}

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// As long as it takes.
    ForDisk,
    /// Not at all: what is not in memory is an error of kind `WouldBlock`.
    No,
}

/// Runs a read that waits for the disk. The default just does; who calls the store from a thread that others need as well
/// lets them go on elsewhere first.
#[derive(Clone, Copy, Debug)]
pub struct Blocking(pub fn(&mut dyn FnMut()));

impl Default for Blocking {
    fn default() -> Self {
        Blocking(|read| read())
    }
}

impl Blocking {
    /// Reads what is in memory; what is not, as the caller wants it.
    pub(crate) fn read<T>(
        self,
        wait: Wait,
        mut read: impl FnMut(Wait) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut found = read(Wait::No);
        let is_cold = matches!(&found, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        if is_cold && wait == Wait::ForDisk {
            (self.0)(&mut || found = read(Wait::ForDisk));
        }
        found
    }
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// File name without its directory.
    pub name: String,
    /// Length in bytes, 0 for a directory.
    pub len: u64,
    /// A directory, not a file.
    pub is_dir: bool,
}

/// Room on the file system that holds a path, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Size of the file system.
    pub total: u64,
    /// Not in use, including what only root may take.
    pub free: u64,
    /// What this process may still take.
    pub usable: u64,
}

/// Which file or directory it is, and when its content, or for a directory a name in it, last changed. The system keeps both:
/// no tool sets them back. The clock by which it does moves on every few milliseconds; on some file systems (ext3, ext4 with inodes
/// of 128 bytes, HFS+) once a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Tells it from all others that are on its file system at the time.
    pub number: u64,
    /// Changes with each change, unless one came in the same tick; for real files nanoseconds since 1970.
    pub changed: i64,
}

impl Space {
    /// Percent in use of what this process may ever use, rounded up as Apache does; `None` on a
    /// file system without size.
    pub fn used_percent(&self) -> Option<u32> {
        let used = u128::from(self.total.saturating_sub(self.free));
        let entire = used + u128::from(self.usable);
        (entire > 0).then(|| (used * 100).div_ceil(entire) as u32)
    }
}

/// An exclusive lock on a store directory, released on drop (or when the process dies).
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its Drop")] LockOf);

#[derive(Debug)]
#[expect(dead_code, reason = "held for its Drop")]
enum LockOf {
    Os(os::OsFile),
    Sim(sim::SimLock),
}

/// What Apache writes into its lock file.
const LOCK_CONTENT: &[u8] = b"lock";

macro_rules! on {
    ($disk:expr, $path:expr, $call:ident ( $($arg:expr),* )) => {
        match $disk {
            Disk::Os => os::$call($($arg),*),
            Disk::Sim(sim) => sim.$call($($arg),*),
        }
        .map_err(|error| named($path, error))
    };
}

impl Disk {
    /// Opens an existing file for reading.
    pub fn open_read(&self, path: &Path) -> io::Result<File> {
        match self {
            Disk::Os => os::open_read(path).map(File::Os),
            Disk::Sim(sim) => sim.open_read(path).map(File::Sim),
        }
        .map_err(|error| named(path, error))
    }

    /// Opens an existing file for reading and writing.
    pub fn open_existing(&self, path: &Path) -> io::Result<File> {
        match self {
            Disk::Os => os::open_existing(path).map(File::Os),
            Disk::Sim(sim) => sim.open_existing(path).map(File::Sim),
        }
        .map_err(|error| named(path, error))
    }

    /// Opens a file for reading and writing, creating an empty one if it is absent. Its name
    /// survives a power cut only after [`Disk::sync_dir`] of its directory.
    pub fn open_write(&self, path: &Path) -> io::Result<File> {
        match self {
            Disk::Os => os::open_write(path).map(File::Os),
            Disk::Sim(sim) => sim.open_write(path).map(File::Sim),
        }
        .map_err(|error| named(path, error))
    }

    /// Whether a file or directory is there. An error other than "not found" counts as there.
    pub fn exists(&self, path: &Path) -> bool {
        match self.len(path) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Length of a file in bytes.
    pub fn len(&self, path: &Path) -> io::Result<u64> {
        on!(self, path, len(path))
    }

    /// By which to tell later whether it has changed. `Unsupported` where the platform can't.
    pub fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        Ok(self.stamp_and_len(path)?.0)
    }

    /// With it the length of a file, at the price of one.
    pub fn stamp_and_len(&self, path: &Path) -> io::Result<(Stamp, u64)> {
        on!(self, path, stamp(path))
    }

    /// The names in a directory, sorted.
    pub fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = on!(self, dir, list(dir))?;
        entries.sort();
        Ok(entries)
    }

    /// Creates a directory and its parents; what it creates survives a power cut.
    pub fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        let mut at = dir;
        while !at.as_os_str().is_empty() && !self.exists(at) {
            missing.push(at);
            match at.parent() {
                Some(parent) => at = parent,
                None => break,
            }
        }
        for dir in missing.into_iter().rev() {
            on!(self, dir, create_dir(dir))?;
            if let Err(error) = self.sync_dir(parent_of(dir)) {
                // The next call must not take it for one that stays.
                let _ = self.remove_dir_all(dir);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Creates a directory whose parent is there. Its name survives a power cut only after [`Disk::sync_dir`] of the parent.
    pub fn create_dir(&self, dir: &Path) -> io::Result<()> {
        on!(self, dir, create_dir(dir))
    }

    /// Removes a file. The name may come back after a power cut until its directory is synced.
    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        on!(self, path, remove_file(path))
    }

    /// Removes a directory and all below it.
    pub fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        on!(self, dir, remove_dir_all(dir))
    }

    /// Renames a file, replacing what has the new name.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        on!(self, from, rename(from, to))
    }

    /// Makes creations, renames and removals in a directory survive a power cut.
    pub fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        on!(self, dir, sync_dir(dir))
    }

    /// Makes all that was written so far to the file system of `path` survive a power cut. Kind
    /// `Unsupported` where the platform can't: sync file by file then.
    pub fn sync_all(&self, path: &Path) -> io::Result<()> {
        on!(self, path, sync_all(path))
    }

    /// Which file system a file or directory is on: a number that each has for itself.
    pub fn file_system(&self, path: &Path) -> io::Result<u64> {
        on!(self, path, file_system(path))
    }

    /// Which boot of the machine this is. The same as in an earlier run: the kernel has kept all
    /// that this run wrote. `None` where the platform can't tell.
    pub fn boot_id(&self) -> Option<u128> {
        match self {
            Disk::Os => os::boot_id(),
            Disk::Sim(sim) => Some(sim.boot_id()),
        }
    }

    /// Replaces a file's content atomically: after a crash it is all old or all new, and once
    /// this returns it is new. One caller at a time for a path.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let file = self.open_write(&temporary)?;
        file.set_len(0)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()?;
        drop(file);
        self.rename(&temporary, path)?;
        self.sync_dir(parent_of(path))
    }

    /// The whole content of a file.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open_read(path)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], filled as u64, Wait::ForDisk)? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Room on the file system of `path`. `Unsupported` where the platform can't tell.
    pub fn space(&self, path: &Path) -> io::Result<Space> {
        on!(self, path, space(path))
    }

    /// Whether somebody holds the lock, Apache's broker too. Unlike an attempt to take it this writes nothing; an absent
    /// file is not locked.
    pub fn is_locked(&self, path: &Path) -> io::Result<bool> {
        on!(self, path, is_locked(path))
    }

    /// Takes the lock on a store directory: kind `WouldBlock` if another process (or another
    /// part of this one) holds it. Excludes Apache's broker too.
    pub fn lock(&self, path: &Path) -> io::Result<Lock> {
        match self {
            Disk::Os => os::lock(path).map(LockOf::Os),
            Disk::Sim(sim) => sim.lock(path).map(LockOf::Sim),
        }
        .map(Lock)
        .map_err(|error| named(path, error))
    }
}

impl File {
    /// Reads at a position; fewer bytes than asked for, or 0, at the end of the file. A read that does not wait gives what the
    /// system has in memory: otherwise it is an error of kind `WouldBlock`, also where the platform or the file system can't
    /// tell, and at the end of the file: Linux 5.9 and 5.10 say 0 where they would have to wait.
    pub fn read_at(&self, buf: &mut [u8], pos: u64, wait: Wait) -> io::Result<usize> {
        let cached = match (self, wait) {
            (File::Os(file), Wait::ForDisk) => return file.read_at(buf, pos),
            (File::Sim(file), Wait::ForDisk) => return file.read_at(buf, pos),
            (File::Os(file), Wait::No) => file.read_cached_at(buf, pos),
            (File::Sim(file), Wait::No) => file.read_cached_at(buf, pos),
        };
        match cached {
            Ok(count) if count > 0 => Ok(count),
            // Whoever may wait learns from the disk whether it is the end, or what is wrong.
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Fills the buffer or fails with `UnexpectedEof`.
    pub fn read_exact_at(&self, mut buf: &mut [u8], mut pos: u64, wait: Wait) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, pos, wait) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    buf = &mut buf[count..];
                    pos += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all bytes at a position. After an error any part of them may have been written.
    pub fn write_all_at(&self, bytes: &[u8], pos: u64) -> io::Result<()> {
        match self {
            File::Os(file) => file.write_all_at(bytes, pos),
            File::Sim(file) => file.write_all_at(bytes, pos),
        }
    }

    /// Makes the file at least `len` bytes long with its blocks reserved, so that later writes
    /// within it can't run out of space. New bytes read as zero.
    pub fn allocate(&self, len: u64) -> io::Result<()> {
        match self {
            File::Os(file) => file.allocate(len),
            File::Sim(file) => file.allocate(len),
        }
    }

    /// Cuts or extends the file; an extension is sparse and reads as zero.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        match self {
            File::Os(file) => file.set_len(len),
            File::Sim(file) => file.set_len(len),
        }
    }

    /// Length in bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a file's length can fail; emptiness is never asked for"
    )]
    pub fn len(&self) -> io::Result<u64> {
        match self {
            File::Os(file) => file.len(),
            File::Sim(file) => file.len(),
        }
    }

    /// The next position from `pos` on that may hold something other than zeros; `None` if only
    /// holes follow. `pos` itself where the platform can't tell.
    pub fn data_from(&self, pos: u64) -> io::Result<Option<u64>> {
        match self {
            File::Os(file) => file.data_from(pos),
            File::Sim(file) => file.data_from(pos),
        }
    }

    /// From here on the file holds nothing but zeros: its end where the platform can't tell. To be
    /// asked before reading: some file systems take what was read for data.
    pub fn data_end(&self) -> io::Result<u64> {
        match self {
            File::Os(file) => file.data_end(),
            File::Sim(file) => file.data_end(),
        }
    }

    /// Makes content and length survive a power cut. After an error what was written since the
    /// last success may or may not be on disk, and no later call will put it there.
    pub fn sync_data(&self) -> io::Result<()> {
        match self {
            File::Os(file) => file.sync_data(),
            File::Sim(file) => file.sync_data(),
        }
    }
}

/// The directory a path is in; `.` for a bare name.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
