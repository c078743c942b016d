//! The JSON files under config/: read with a fallback to the copy of what was there before, replaced atomically.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use protocol::fastjson;
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::disk::Disk;
use tokio::sync::watch;

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
    /// Whether the file's content is good enough to become the copy. Locked while the file is written.
    sound: Mutex<bool>,
    progress: watch::Sender<Progress>,
}

/// How far [`MetadataFile::save_changes`] got, in numbers of changes.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// These were to be written; it may have failed.
    tried: u64,
    /// These are in the file.
    saved: u64,
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
            sound: Mutex::default(),
            progress: watch::Sender::default(),
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
                *self.sound.lock() = true;
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

    /// Writes the state if it has changed since it was last written. Called when it is this file's turn, `snapshot` is given
    /// the changes that are saved already and returns the state with the number of its changes, if there are more: changes
    /// that come while the file is written are written together, and never an older state after a newer one.
    pub(crate) fn save_changes<T: Serialize>(
        &self,
        snapshot: impl FnOnce(u64) -> Option<(u64, T)>,
    ) {
        let mut sound = self.sound.lock();
        let before = self.progress.borrow().saved;
        let Some((changes, content)) = snapshot(before) else {
            return;
        };
        let mut progress = Progress {
            tried: changes,
            saved: before,
        };
        match self.write(&mut sound, &content) {
            Ok(()) => {
                *sound = true;
                progress.saved = changes;
            }
            Err(error) => {
                tracing::error!(file = %self.path.display(), %error, "could not write; will try again")
            }
        }
        self.progress.send_replace(progress);
    }

    /// Completes when the state with so many changes has been written, or with false when that failed.
    pub(crate) fn saved(&self, changes: u64) -> impl Future<Output = bool> + Send + use<> {
        let mut progress = self.progress.subscribe();
        async move {
            let tried = progress.wait_for(|progress| progress.tried >= changes);
            // Without the broker nobody will write it.
            tried.await.is_ok_and(|progress| progress.saved >= changes)
        }
    }

    /// Whether the state with so many changes is in the file.
    pub(crate) fn is_saved(&self, changes: u64) -> bool {
        self.progress.borrow().saved >= changes
    }

    /// As a slow disk would: nothing is written meanwhile.
    #[cfg(test)]
    pub(crate) fn hold_up(&self) -> parking_lot::MutexGuard<'_, bool> {
        self.sound.lock()
    }

    /// The new content is durable beside the file before the file becomes the copy and it takes the file's place. Whatever of
    /// the two renames survives a power cut, one of the names has the old or the new content.
    fn write<T: Serialize>(&self, sound: &mut bool, content: &T) -> io::Result<()> {
        let bytes = fastjson::to_vec_pretty(content);
        if !*sound {
            return self.disk.replace(&self.path, &bytes);
        }
        let next = self.beside(".next");
        let file = self.disk.open_write(&next)?;
        file.set_len(0)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        *sound = false;
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
