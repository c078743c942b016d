//! The real disk. All that differs between platforms is here.
#![allow(clippy::disallowed_types, reason = "this is the file that opens files")]

use std::fs::{self, File as StdFile, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use super::{Entry, LOCK_CONTENT, Space, Stamp};

#[derive(Debug)]
pub struct OsFile(StdFile);

pub(super) fn open_read(path: &Path) -> io::Result<OsFile> {
    StdFile::open(path).map(OsFile)
}

pub(super) fn open_existing(path: &Path) -> io::Result<OsFile> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    Ok(OsFile(file))
}

pub(super) fn open_write(path: &Path) -> io::Result<OsFile> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map(OsFile)
}

pub(super) fn len(path: &Path) -> io::Result<u64> {
    fs::metadata(path).map(|metadata| metadata.len())
}

pub(super) fn list(dir: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // A plain directory's type comes with its name: there may be 100,000 of them.
        if entry.file_type()?.is_dir() {
            entries.push(Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                len: 0,
                is_dir: true,
            });
            continue;
        }
        // Follows symbolic links: people link a topic's directory to another disk.
        let metadata = match fs::metadata(entry.path()) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let is_dir = metadata.is_dir();
        let len = if is_dir { 0 } else { metadata.len() };
        entries.push(Entry {
            name: entry.file_name().to_string_lossy().into_owned(),
            len,
            is_dir,
        });
    }
    Ok(entries)
}

pub(super) fn create_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        result => result,
    }
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

pub(super) fn remove_dir_all(dir: &Path) -> io::Result<()> {
    fs::remove_dir_all(dir)
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

#[cfg(unix)]
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    StdFile::open(dir)?.sync_all()
}

/// Windows can't open a directory as a file and journals its names by itself.
#[cfg(not(unix))]
pub(super) fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Before 5.8 syncfs does not tell of write errors.
#[cfg(target_os = "linux")]
pub(super) fn sync_all(path: &Path) -> io::Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.trim().parse::<u32>().ok());
    if (numbers.next(), numbers.next()) < (Some(5), Some(8)) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(rustix::fs::syncfs(StdFile::open(path)?)?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn sync_all(_: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(unix)]
pub(super) fn file_system(path: &Path) -> io::Result<u64> {
    fs::metadata(path).map(|metadata| std::os::unix::fs::MetadataExt::dev(&metadata))
}

/// Nobody asks where nothing can be synced at once.
#[cfg(not(unix))]
pub(super) fn file_system(_: &Path) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(unix)]
pub(super) fn stamp(path: &Path) -> io::Result<(Stamp, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path)?;
    let seconds = metadata.ctime().wrapping_mul(1_000_000_000);
    let stamp = Stamp {
        number: metadata.ino(),
        changed: seconds.wrapping_add(metadata.ctime_nsec()),
    };
    Ok((stamp, metadata.len()))
}

#[cfg(not(unix))]
pub(super) fn stamp(_: &Path) -> io::Result<(Stamp, u64)> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
pub(super) fn boot_id() -> Option<u128> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    u128::from_str_radix(&id.trim().replace('-', ""), 16).ok()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn boot_id() -> Option<u128> {
    None
}

#[cfg(unix)]
pub(super) fn space(path: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(Space {
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        free: stat.f_bfree.saturating_mul(stat.f_frsize),
        usable: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

#[cfg(not(unix))]
pub(super) fn space(_: &Path) -> io::Result<Space> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn lock(path: &Path) -> io::Result<OsFile> {
    let file = open_write(path)?;
    match file.0.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    exclude_java(&file.0)?;
    file.write_all_at(LOCK_CONTENT, 0)?;
    Ok(file)
}

pub(super) fn is_locked(path: &Path) -> io::Result<bool> {
    let file = match open_read(path) {
        Ok(file) => file.0,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // A shared lock needs no right to write.
    let taken = match file.try_lock_shared() {
        Ok(()) => share_with_java(&file),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => Err(error),
    };
    match taken {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

/// Java locks with fcntl, which the flock of `try_lock` neither sees nor stops. fcntl alone
/// would not do: it never refuses the same process.
#[cfg(unix)]
fn exclude_java(file: &StdFile) -> io::Result<()> {
    fcntl(file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
}

#[cfg(unix)]
fn share_with_java(file: &StdFile) -> io::Result<()> {
    fcntl(file, rustix::fs::FlockOperation::NonBlockingLockShared)
}

#[cfg(unix)]
fn fcntl(file: &StdFile, operation: rustix::fs::FlockOperation) -> io::Result<()> {
    match rustix::fs::fcntl_lock(file, operation) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::ACCESS) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

/// On Windows both use LockFileEx.
#[cfg(not(unix))]
fn exclude_java(_: &StdFile) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn share_with_java(_: &StdFile) -> io::Result<()> {
    Ok(())
}

impl OsFile {
    #[cfg(unix)]
    pub(super) fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, buf, pos)
    }

    #[cfg(target_os = "linux")]
    pub(super) fn read_cached_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        use rustix::io::{ReadWriteFlags, preadv2};
        let mut into = [io::IoSliceMut::new(buf)];
        Ok(preadv2(&self.0, &mut into, pos, ReadWriteFlags::NOWAIT)?)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn read_cached_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    #[cfg(unix)]
    pub(super) fn write_all_at(&self, bytes: &[u8], pos: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, pos)
    }

    #[cfg(windows)]
    pub(super) fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.0, buf, pos)
    }

    #[cfg(windows)]
    pub(super) fn write_all_at(&self, mut bytes: &[u8], mut pos: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match std::os::windows::fs::FileExt::seek_write(&self.0, bytes, pos) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = &bytes[count..];
                    pos += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    pub(super) fn allocate(&self, len: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        if len == 0 {
            return Ok(());
        }
        loop {
            match fallocate(&self.0, FallocateFlags::empty(), 0, len) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                // Some network and copy-on-write file systems have no fallocate.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return self.extend(len),
                Err(error) => return Err(error.into()),
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn allocate(&self, len: u64) -> io::Result<()> {
        self.extend(len)
    }

    fn extend(&self, len: u64) -> io::Result<()> {
        if self.len()? < len {
            self.set_len(len)
        } else {
            Ok(())
        }
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }

    #[cfg(target_os = "linux")]
    pub(super) fn data_from(&self, pos: u64) -> io::Result<Option<u64>> {
        use rustix::io::Errno;
        match rustix::fs::seek(&self.0, rustix::fs::SeekFrom::Data(pos)) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NXIO) => Ok(None),
            Err(Errno::INVAL) => self.anything_from(pos),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn data_from(&self, pos: u64) -> io::Result<Option<u64>> {
        self.anything_from(pos)
    }

    #[cfg(target_os = "linux")]
    pub(super) fn data_end(&self) -> io::Result<u64> {
        use rustix::fs::{SeekFrom, seek};
        use rustix::io::Errno;
        let len = self.len()?;
        let mut end = 0;
        while end < len {
            let data = match seek(&self.0, SeekFrom::Data(end)) {
                Ok(data) => data,
                Err(Errno::NXIO) => break,
                Err(Errno::INVAL) => return Ok(len),
                Err(error) => return Err(error.into()),
            };
            end = seek(&self.0, SeekFrom::Hole(data))?;
        }
        Ok(end)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn data_end(&self) -> io::Result<u64> {
        self.len()
    }

    fn anything_from(&self, pos: u64) -> io::Result<Option<u64>> {
        Ok((pos < self.len()?).then_some(pos))
    }

    pub(super) fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
