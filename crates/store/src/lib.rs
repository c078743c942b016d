//! The message store on disk: commit log, consume queues, index, recovery, retention.

pub mod checkpoint;
pub mod disk;
