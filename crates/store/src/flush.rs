//! Flushing: what has been appended becomes durable and, with sync flush, visible.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use protocol::LogOffset;

use crate::Store;
use crate::append::Writer;
use crate::consume_queue::Queue;

/// Why a flush failed. The log is sealed for ever: what was not durable never will be for certain.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// This flush met the error.
    #[error("sync to disk failed, the log is sealed: {0}")]
    Io(io::Error),
    /// An earlier one did.
    #[error(transparent)]
    Sealed(#[from] crate::Sealed),
}

/// What the last flush left durable.
#[derive(Debug)]
pub(crate) struct Flushed {
    /// Store time of the last durable record.
    pub(crate) last_ms: i64,
}

/// With sync flush: messages that are written, but not yet durable.
#[derive(Debug, Default)]
pub(crate) struct Hidden(Mutex<VecDeque<HiddenMessage>>);

#[derive(Debug)]
struct HiddenMessage {
    /// Where its batch ends in the log: batches become durable as a whole.
    log_end: i64,
    queue: Arc<Queue>,
    /// The queue's visible end once this message is.
    next: i64,
}

impl Hidden {
    /// Under the log lock, so that they come in order.
    pub(crate) fn push(&self, log_end: i64, queue: &Arc<Queue>, next: i64) {
        let mut messages = self.0.lock();
        if let Some(last) = messages.back_mut()
            && Arc::ptr_eq(&last.queue, queue)
            && last.log_end == log_end
        {
            last.next = next;
            return;
        }
        messages.push_back(HiddenMessage {
            log_end,
            queue: queue.clone(),
            next,
        });
    }

    /// Shows the messages that end at `durable` or before it, and wakes who waits for them.
    fn show(&self, durable: i64) {
        let shown = {
            let mut messages = self.0.lock();
            let count = messages.partition_point(|message| message.log_end <= durable);
            messages.drain(..count).collect::<Vec<_>>()
        };
        for message in &shown {
            message.queue.visible().raise(message.next);
        }
        for message in &shown {
            message.queue.visible().wake();
        }
    }
}

impl Store {
    /// Makes everything appended so far durable and gives the end of it. Appends go on meanwhile.
    pub fn flush(&self) -> Result<LogOffset, FlushError> {
        self.flush_as(&mut self.flushing.lock(), self.writer.lock())
    }

    /// The same, unless somebody else is at it or in a write, which may hang: `None`.
    pub fn try_flush(&self) -> Option<Result<LogOffset, FlushError>> {
        let mut flushed = self.flushing.try_lock()?;
        let writer = self.writer.try_lock()?;
        Some(self.flush_as(&mut flushed, writer))
    }

    fn flush_as(
        &self,
        flushed: &mut Flushed,
        writer: MutexGuard<'_, Writer>,
    ) -> Result<LogOffset, FlushError> {
        if writer.sealed {
            return Err(crate::Sealed.into());
        }
        let (end, last_ms) = (writer.end, writer.last_ms);
        drop(writer);
        let durable = self.durable.at();
        if end == durable {
            return Ok(LogOffset(end));
        }
        let under_way = self.syncing_since.begin();
        let synced = self.log.sync(durable, end);
        // Before anybody is woken by it: whoever appends then waits for another one.
        drop(under_way);
        if let Err(error) = synced {
            self.seal(&mut self.writer.lock());
            return Err(FlushError::Io(error));
        }
        flushed.last_ms = last_ms;
        self.log.set_durable(end);
        self.durable.raise(end);
        self.hidden.show(end);
        self.durable.wake();
        Ok(LogOffset(end))
    }

    /// No append succeeds any more, and who waits for durability is told that it won't come.
    pub(crate) fn seal(&self, writer: &mut Writer) {
        writer.sealed = true;
        self.durable.seal();
    }
}
