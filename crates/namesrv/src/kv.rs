//! Key-value configuration, kept in `kvConfig.json`.

use std::io;

use parking_lot::{Mutex, RwLock};
use protocol::bodies::{KvConfig, KvTable};
use protocol::fastjson;

use crate::limits::KV_BYTES_MAX;

/// Namespace whose keys are ordered topics and whose values are their queues, `broker:count;…`.
pub(crate) const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

/// Replaces a file's content with these bytes, atomically and durably.
pub type Replace = Box<dyn Fn(&[u8]) -> io::Result<()> + Send + Sync>;

/// `kvConfig.json`, as whoever may open files lends it.
pub struct KvFile {
    /// What to call it in messages.
    pub path: String,
    /// What is in it; `None` if there is none yet.
    pub content: Option<Vec<u8>>,
    /// Writes it.
    pub replace: Replace,
}

/// The table in memory, never ahead of the file.
pub(crate) struct Kv {
    table: RwLock<KvConfig>,
    /// Held while a change is written; readers need not wait for the disk.
    replace: Mutex<Replace>,
}

/// The file holds something else.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct OpenError {
    /// As in [`KvFile`].
    pub path: String,
    /// What is wrong.
    pub source: fastjson::Error,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KvError {
    #[error("kvConfig.json could not be written: {0}")]
    Io(#[from] io::Error),
    #[error("kvConfig.json would have {0} bytes, limit {KV_BYTES_MAX}")]
    TooLarge(usize),
}

impl Kv {
    pub(crate) fn open(file: KvFile) -> Result<Kv, OpenError> {
        let table = match file.content {
            Some(content) if !content.trim_ascii().is_empty() => {
                let path = file.path;
                fastjson::from_slice(&content).map_err(|source| OpenError { path, source })?
            }
            _ => KvConfig::default(),
        };
        Ok(Kv {
            table: RwLock::new(table),
            replace: Mutex::new(file.replace),
        })
    }

    pub(crate) fn find(&self, namespace: &str, key: &str) -> Option<String> {
        self.table
            .read()
            .config_table
            .get(namespace)?
            .get(key)
            .cloned()
    }

    pub(crate) fn namespace(&self, namespace: &str) -> Option<KvTable> {
        let table = self.table.read().config_table.get(namespace)?.clone();
        Some(KvTable { table })
    }

    pub(crate) fn put(&self, namespace: &str, key: &str, value: &str) -> Result<(), KvError> {
        self.change(|table| {
            let namespace = table.config_table.entry(namespace.to_owned()).or_default();
            namespace.insert(key.to_owned(), value.to_owned());
        })
    }

    pub(crate) fn delete(&self, namespace: &str, key: &str) -> Result<(), KvError> {
        self.change(|table| {
            if let Some(namespace) = table.config_table.get_mut(namespace) {
                namespace.remove(key);
            }
        })
    }

    /// On the disk first, then visible. (Apache answers success even if the file can't be written.)
    fn change(&self, change: impl FnOnce(&mut KvConfig)) -> Result<(), KvError> {
        let replace = self.replace.lock();
        let mut table = self.table.read().clone();
        change(&mut table);
        let bytes = fastjson::to_vec(&table);
        if bytes.len() > KV_BYTES_MAX {
            return Err(KvError::TooLarge(bytes.len()));
        }
        replace(&bytes)?;
        *self.table.write() = table;
        Ok(())
    }
}
