//! Every bound of this crate in one place.

/// The memory copy of the newest end of the log, counted by what its buffers occupy.
pub const TAIL_BYTES_MAX: usize = 8 << 20;

/// Entries of one queue kept in memory before the append itself writes them to the queue's file.
pub const QUEUE_UNWRITTEN_BYTES_MAX: usize = 256 << 10;

/// The same over all queues: beyond it every append writes out the queues it touches.
pub const QUEUES_UNWRITTEN_BYTES_MAX: usize = 32 << 20;

/// More queues than this with entries to write: wait for more entries, since what a write costs is the file ...
pub const QUEUES_DIRTY_MANY: usize = 4096;

/// ... but not when so many bytes wait over all queues ...
pub const QUEUES_WAITING_BYTES_MAX: usize = 16 << 20;

/// ... or the next start after a crash would have to read this much of the log.
pub const QUEUES_BEHIND_BYTES_MAX: i64 = 256 << 20;

/// Threads that ask the disk about all queues, at a start and at a stop.
pub const STAMP_THREADS: usize = 16;

/// Open files of consume queues. An idle queue has none.
pub const QUEUE_HANDLES_MAX: usize = 512;

/// Files of the log are made so long before they are needed, at the present rate ...
pub const LOG_AHEAD_MS: i64 = 4_000;

/// ... but never more than so many, and more than one only while the disk has room by `diskMaxUsedSpaceRatio`.
pub const LOG_FILES_AHEAD_MAX: i64 = 4;

/// A log file that is removed gives back so much of the disk at a time.
pub const REMOVED_STEP_BYTES: u64 = 32 << 20;

/// Open files of the log that are not written any more.
pub const LOG_HANDLES_MAX: usize = 64;

/// Bytes of one append, so that one caller can't hold the log lock for long.
pub const BATCH_BYTES_MAX: usize = 32 << 20;

/// An append does not wait longer than this for those before it to be written, nor, with sync flush, behind a sync that
/// takes longer. Apache's osPageCacheBusyTimeOutMills; its clients give up after three times as much.
pub const BUSY_MS: i64 = 1_000;

/// Records are served as slices of buffers up to this size; of larger ones, small parts are copied.
pub const SLICED_BYTES_MAX: usize = 16 << 10;

/// Largest record that is served by its place in the log.
pub const RECORD_BYTES_MAX: usize = 128 << 20;

/// Records that one read looks at and its filter leaves out; it ends with the one that reaches this, to be gone on with.
pub const UNFIT_BYTES_MAX: usize = 4 << 20;

/// How much of the log one read takes from disk at a time.
pub const READ_WINDOW_BYTES: usize = 256 << 10;

/// A durable checkpoint is due when the log has grown this much since the last one ...
pub const CHECKPOINT_BYTES: i64 = 64 << 20;

/// ... or when this long has passed and anything has changed.
pub const CHECKPOINT_MS: u64 = 10_000;

/// More queue files than this to sync at a checkpoint: sync the file system at once.
pub const SYNC_FILES_MAX: usize = 64;

/// Records that one step of the index follower takes, so that its owner can stop it between.
pub const INDEX_STEP_BYTES: i64 = 4 << 20;

/// Index entries kept in memory before they are written.
pub const INDEX_TAIL_BYTES: usize = 1 << 20;

/// Open files of the timer log, those written since the last flush not counted.
pub const TIMER_LOG_HANDLES_MAX: usize = 4;

/// How much of the timer's files is read or blanked at once.
pub const TIMER_BLOCK_BYTES: usize = 64 << 10;

/// No more slots of the timer are read while so many of its messages wait in memory. One slot is read as a whole.
pub const TIMER_READY_MAX: usize = 64 << 10;
