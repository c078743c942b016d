//! What a store is opened with: plain values, no file is read for them here.

use std::path::{Path, PathBuf};

use crate::disk::Blocking;
use crate::retention;

/// Apache's delay levels: 1s 5s 10s 30s 1m .. 10m 20m 30m 1h 2h.
const DELAY_LEVELS_S: [i64; 18] = [
    1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200,
];

/// Where the files are, how large they are and what an acknowledgement waits for. Paths and
/// sizes have Apache's defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// `storePathRootDir`.
    pub root: PathBuf,
    /// `storePathCommitLog`.
    pub commit_log_dir: PathBuf,
    /// `storePathConsumeQueue`.
    pub queue_dir: PathBuf,
    /// `storePathIndex`.
    pub index_dir: PathBuf,
    /// `storeCheckpoint`.
    pub checkpoint_path: PathBuf,
    /// `abortFile`: there while the store is open.
    pub abort_path: PathBuf,
    /// Bytes of a commit log file (`mappedFileSizeCommitLog`).
    pub log_file_bytes: u64,
    /// Bytes of a consume queue file, a multiple of 20 (`mappedFileSizeConsumeQueue`, which
    /// Apache gives as such a multiple too).
    pub queue_file_bytes: u64,
    /// Entries of a new index file at most (`maxIndexNum`).
    pub index_entries_max: u32,
    /// Hash slots of a new index file (`maxHashSlotNum`).
    pub index_slots: u32,
    /// `messageIndexEnable`.
    pub index_enabled: bool,
    /// `messageDelayLevel`, the first for level 1: recovery computes from it when a delayed
    /// message is due.
    pub delay_levels_ms: Vec<i64>,
    /// What is deleted when.
    pub retention: retention::Limits,
    /// `flushDiskType=SYNC_FLUSH`: consumers see nothing that is not durable.
    pub sync_flush: bool,
    /// See there.
    pub blocking: Blocking,
}

impl Config {
    /// Apache's layout and sizes under a root directory.
    pub fn new(root: impl AsRef<Path>) -> Self {
        let root = root.as_ref();
        Config {
            root: root.to_path_buf(),
            commit_log_dir: root.join("commitlog"),
            queue_dir: root.join("consumequeue"),
            index_dir: root.join("index"),
            checkpoint_path: root.join("checkpoint"),
            abort_path: root.join("abort"),
            log_file_bytes: 1 << 30,
            queue_file_bytes: 6_000_000,
            index_entries_max: 20_000_000,
            index_slots: 5_000_000,
            index_enabled: true,
            delay_levels_ms: DELAY_LEVELS_S.iter().map(|level| level * 1000).collect(),
            retention: retention::Limits::default(),
            sync_flush: false,
            blocking: Blocking::default(),
        }
    }
}

/// `%020d`: how commit log and consume queue files are named after the offset they start at.
pub(crate) fn file_name(start: i64) -> String {
    format!("{start:020}")
}

/// The reverse of [`file_name`]; `None` for a name that is not of this form.
pub(crate) fn file_start(name: &str) -> Option<i64> {
    if name.len() != 20 || !name.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    name.parse().ok()
}
