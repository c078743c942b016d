//! The JSON files under config/: read with a fallback to the copy of what was there before, replaced atomically.

use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use protocol::fastjson;
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::disk::Disk;

#[cfg(test)]
mod tests;

/// A metadata file that can't be used, and neither can its copy.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}; its copy {}: {backup_cause}. Restore one of them, or move both away to start without what they hold", file.display(), backup.display())]
pub struct MetadataError {
    file: PathBuf,
    cause: String,
    backup: PathBuf,
    backup_cause: String,
}

/// One file, and beside it `.bak`: what the file held before its last change, for Apache's broker and for people.
pub(crate) struct MetadataFile {
    disk: Disk,
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The file's content is good enough to become the copy.
    sound: bool,
    /// The last attempt to write failed.
    unsaved: bool,
}

enum Unusable {
    Absent,
    /// No bytes at all: what Apache leaves behind when the machine dies at the wrong moment.
    Empty,
    Broken(String),
}

impl MetadataFile {
    pub(crate) fn new(disk: &Disk, path: PathBuf) -> MetadataFile {
        MetadataFile {
            disk: disk.clone(),
            path,
            state: Mutex::default(),
        }
    }

    /// The path with something behind its name.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(suffix);
        path.into()
    }

    /// The content of the file or of its copy; `None` if the broker is new.
    pub(crate) fn load<T: DeserializeOwned>(&self) -> Result<Option<T>, MetadataError> {
        let why = match self.read(&self.path) {
            Ok(content) => {
                self.state.lock().sound = true;
                return Ok(Some(content));
            }
            Err(why) => why,
        };
        let backup_why = match self.read(&self.beside(".bak")) {
            Ok(content) => {
                tracing::warn!(file = %self.path.display(), cause = why.text(), "using the copy of an unreadable file");
                return Ok(Some(content));
            }
            Err(why) => why,
        };
        match (&why, &backup_why) {
            (Unusable::Absent | Unusable::Empty, Unusable::Absent | Unusable::Empty) => Ok(None),
            _ => Err(MetadataError {
                file: self.path.clone(),
                cause: why.text(),
                backup: self.beside(".bak"),
                backup_cause: backup_why.text(),
            }),
        }
    }

    fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<T, Unusable> {
        let bytes = self.disk.read(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unusable::Absent,
            _ => Unusable::Broken(error.to_string()),
        })?;
        if bytes.is_empty() {
            return Err(Unusable::Empty);
        }
        fastjson::from_slice(&bytes).map_err(|error| Unusable::Broken(error.to_string()))
    }

    /// Writes what `snapshot` returns. The snapshot is taken when it is this file's turn, so the last writer never writes
    /// the older state. A failure is logged, and [`retry`](MetadataFile::retry) tries again.
    pub(crate) fn save<T: Serialize>(&self, snapshot: impl FnOnce() -> T) -> bool {
        let mut state = self.state.lock();
        match self.write(&mut state, &snapshot()) {
            Ok(()) => {
                *state = State {
                    sound: true,
                    unsaved: false,
                }
            }
            Err(error) => {
                state.unsaved = true;
                tracing::error!(file = %self.path.display(), %error, "could not write; will try again");
            }
        }
        !state.unsaved
    }

    /// Writes again if the last attempt failed.
    pub(crate) fn retry<T: Serialize>(&self, snapshot: impl FnOnce() -> T) {
        if self.state.lock().unsaved {
            self.save(snapshot);
        }
    }

    /// The new content is durable beside the file before the file becomes the copy and it takes the file's place. Whatever of
    /// the two renames survives a power cut, one of the names has the old or the new content.
    fn write<T: Serialize>(&self, state: &mut State, content: &T) -> io::Result<()> {
        let bytes = fastjson::to_vec_pretty(content);
        if !state.sound {
            return self.disk.replace(&self.path, &bytes);
        }
        let next = self.beside(".next");
        let file = self.disk.open_write(&next)?;
        file.set_len(0)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        state.sound = false;
        self.disk.rename(&self.path, &self.beside(".bak"))?;
        self.disk.rename(&next, &self.path)?;
        self.disk
            .sync_dir(self.path.parent().unwrap_or(Path::new(".")))
    }
}

impl Unusable {
    fn text(&self) -> String {
        match self {
            Unusable::Absent => "not there".to_owned(),
            Unusable::Empty => "empty".to_owned(),
            Unusable::Broken(cause) => cause.clone(),
        }
    }
}
