//! Transactions: half messages wait in a topic of their own until their producer ends them (37) or is asked (39).
//!
//! Everything is in two queues, as Apache keeps it. The first has half messages and copies of them: to ask a producer once
//! more, or because the first open one lies too far back, a half message is written again at the end. The second has op
//! messages, which name the offsets in the first that are done with. Where both have to be read from is committed by a group
//! of the broker's own. What one decision writes (messages to deliver, copies, their op message) goes into the log with one append,
//! so that a killed broker has done all of it or nothing.
//!
//! One task owns all of this ([`owner`]); connections put ends into its inbox.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use protocol::LogOffset;
use protocol::bodies::{DataVersion, TopicCount, TransactionCounts};
use remoting::ReplyTo;
use tokio::sync::Notify;

use crate::lateness::Lateness;
use crate::limits;
use crate::metadata::MetadataFile;

mod aside;
pub(crate) mod half;
pub(crate) mod ops;
pub(crate) mod owner;
mod rebuild;
mod table;

#[cfg(test)]
mod tests;

/// The group whose offsets say where the two queues have to be read from.
const GROUP: &str = "CID_RMQ_SYS_TRANS";

/// A producer's word on a half message, checked as far as the half message itself can tell.
#[derive(Debug)]
pub(crate) struct End {
    /// Queue offset of the half message, and of the one it is a copy of.
    pub(crate) at: i64,
    pub(crate) origin: i64,
    pub(crate) log_offset: LogOffset,
    pub(crate) unique_key: Option<String>,
    pub(crate) commit: bool,
    pub(crate) reply: ReplyTo,
}

/// What connections, threads and the owner share.
pub(crate) struct Transactions {
    inbox: Mutex<Inbox>,
    bell: Notify,
    open: AtomicUsize,
    counts: Mutex<Counts>,
    pub(crate) aside: Mutex<aside::Aside>,
    file: MetadataFile,
    pub(crate) lateness: Lateness,
}

#[derive(Default)]
struct Inbox {
    ends: Vec<End>,
    closed: bool,
}

/// Open half messages by topic. A topic stays when it has none any more, as in Apache.
#[derive(Default)]
struct Counts {
    topics: HashMap<Arc<str>, TopicCount>,
    version: DataVersion,
    changes: u64,
}

impl Transactions {
    pub(crate) fn new(file: MetadataFile) -> Transactions {
        Transactions {
            inbox: Mutex::default(),
            bell: Notify::new(),
            open: AtomicUsize::new(0),
            counts: Mutex::default(),
            aside: Mutex::default(),
            file,
            lateness: Lateness::default(),
        }
    }

    /// Hands an end to the owner; gives it back if there are too many, or the broker is about to stop.
    pub(crate) fn submit(&self, end: End) -> Result<(), End> {
        let mut inbox = self.inbox.lock();
        if inbox.closed || inbox.ends.len() >= limits::ENDS_MAX {
            return Err(end);
        }
        inbox.ends.push(end);
        drop(inbox);
        self.bell.notify_one();
        Ok(())
    }

    /// Half messages without an end.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Takes up to so many ends out of the inbox.
    fn take(&self, count: usize) -> Vec<End> {
        let mut inbox = self.inbox.lock();
        if inbox.ends.len() <= count {
            return std::mem::take(&mut inbox.ends);
        }
        let rest = inbox.ends.split_off(count);
        std::mem::replace(&mut inbox.ends, rest)
    }

    fn is_idle(&self) -> bool {
        self.inbox.lock().ends.is_empty()
    }

    fn close(&self) {
        self.inbox.lock().closed = true;
    }

    /// Notes how many more half messages are open, or fewer.
    fn count(&self, topic: &Arc<str>, change: i64, now_ms: i64) {
        let mut counts = self.counts.lock();
        let count = counts.topics.entry(topic.clone()).or_default();
        count.count += change;
        count.time_stamp = now_ms;
        counts.version = counts.version.next(now_ms);
        counts.changes += 1;
    }

    /// Saves the counts if they have changed.
    pub(crate) fn save(&self) {
        self.file.save_changes(|saved| {
            let counts = self.counts.lock();
            (counts.changes > saved).then(|| (counts.changes, counts.to_table()))
        });
    }
}

impl Counts {
    fn to_table(&self) -> TransactionCounts {
        let topics = self.topics.iter();
        TransactionCounts {
            data_version: self.version,
            transaction_count: topics
                .map(|(topic, count)| (topic.to_string(), *count))
                .collect(),
        }
    }
}
