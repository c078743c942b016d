//! The message store on disk: commit log, consume queues, index, recovery, retention.
//!
//! Files only: it knows no topic configuration, no socket and no clock (time is an argument), and
//! has no thread: whoever owns it calls [`Store::flush`], [`Store::flush_queues`] and so on.

mod append;
mod batch;
mod busy;
mod by_time;
pub mod checkpoint;
mod commit_log;
mod config;
mod consume_queue;
pub mod disk;
mod dispatch;
mod expire;
mod flush;
mod follow;
pub mod index;
pub mod limits;
pub mod local_time;
mod read;
mod records;
mod recovery;
pub mod retention;
mod store;
mod tail;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod threads;
pub mod timer;
mod watermark;
mod write_behind;

pub use append::{AppendError, Appended};
pub use batch::{Batch, EntryTag, PushError};
pub use by_time::Boundary;
pub use config::Config;
pub use consume_queue::table::QueueNameError;
pub use consume_queue::{Arrival, Queue, QueueEntry};
pub use disk::{Blocking, Disk};
pub use flush::FlushError;
pub use follow::Found;
pub use local_time::LocalTime;
pub use read::{Read, ReadError, ReadLimits, ReadStatus};
pub use records::Records;
pub use recovery::Recovery;
pub use retention::Cleaned;
pub use store::{BadRange, OpenError, Store};
pub use watermark::{Reached, Sealed, Watermark};
pub use write_behind::CloseError;
