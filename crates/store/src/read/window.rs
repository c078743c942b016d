//! The piece of the log that a read looks at, and what it gives of it.

use std::cell::Cell;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::ReadError;
use crate::commit_log::CommitLog;
use crate::consume_queue::QueueEntry;
use crate::disk::Wait;
use crate::limits;
use crate::records::Records;
use crate::tail::Held;

thread_local! {
    /// What a thread's last read from files used, so that the next one neither makes nor wipes it.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A piece of the log from memory or from a file, another one with each load.
#[derive(Debug, Default)]
pub(super) struct Window {
    start: i64,
    /// The piece itself, if it is not in the buffer.
    held: Option<Held>,
    /// From memory: nothing to check.
    pub(super) as_written: bool,
    /// Of the thread: it begins with the piece that was read from a file.
    buffer: Vec<u8>,
    /// How much of the buffer that is.
    filled: usize,
    /// What is given of the piece, and is not yet among the copies or the records.
    run: Range<usize>,
    /// Bytes that may be given of this piece and of those that follow.
    wanted: usize,
    /// What is given and was copied, and is not yet among the records.
    copies: BytesMut,
    records: Records,
}

impl Window {
    /// Makes it the log from the first entry's record on.
    pub(super) fn load(
        &mut self,
        log: &CommitLog,
        entries: &[QueueEntry],
        wait: Wait,
    ) -> Result<(), ReadError> {
        self.end_run();
        self.start = entries.first().map_or(0, |entry| entry.log_offset.0);
        self.wanted = entries.iter().map(|entry| entry.size.max(0) as usize).sum();
        self.filled = 0;
        self.held = log.tail.rest_of_chunk(self.start);
        self.as_written = self.held.is_some();
        if self.as_written {
            return Ok(());
        }
        let span = dense_span(entries);
        if span > limits::READ_WINDOW_BYTES {
            // One large record, which is given as it is read.
            self.held = Some(Held {
                bytes: log.read_at(self.start, span, wait)?,
                occupied: span,
            });
            return Ok(());
        }
        if self.buffer.is_empty() {
            self.buffer = BUFFER.take();
        }
        if self.buffer.len() < span {
            self.buffer.reserve_exact(span - self.buffer.len());
            self.buffer.resize(span, 0);
        }
        self.filled = log.read_into(self.start, &mut self.buffer[..span], wait)?;
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        match &self.held {
            Some(held) => &held.bytes,
            None => &self.buffer[..self.filled],
        }
    }

    /// Some bytes of the log, if they are in it.
    pub(super) fn slice(&self, at: i64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(at - self.start).ok()?;
        self.bytes().get(from..from.checked_add(len)?)
    }

    /// Messages given so far.
    pub(super) fn given(&self) -> usize {
        self.records.len()
    }

    /// Gives a record that is in it.
    pub(super) fn give(&mut self, at: i64, size: usize) {
        let from = (at - self.start) as usize;
        if self.run.end != from {
            self.end_run();
            self.run = from..from;
        }
        self.run.end += size;
        self.records.count();
    }

    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        if run.is_empty() {
            return;
        }
        if let Some(held) = &self.held
            && let Some(piece) = held.slice(run.clone())
        {
            self.end_copies();
            self.records.push(piece);
            return;
        }
        if self.copies.capacity() - self.copies.len() < run.len() {
            self.end_copies();
            let usual = self.wanted.min(limits::SLICED_BYTES_MAX);
            self.copies.reserve(usual.max(run.len()));
        }
        match &self.held {
            Some(held) => self.copies.extend_from_slice(&held.bytes[run]),
            None => self.copies.extend_from_slice(&self.buffer[run]),
        }
    }

    fn end_copies(&mut self) {
        if self.copies.is_empty() {
            return;
        }
        let copies = self.copies.split();
        // Less was wanted than there was room made for.
        let is_little = copies.len() * 8 < self.wanted.min(limits::SLICED_BYTES_MAX);
        self.records.push(match is_little {
            true => Bytes::copy_from_slice(&copies),
            false => copies.freeze(),
        });
    }

    /// All that was given.
    pub(super) fn into_records(mut self) -> Records {
        self.end_run();
        self.end_copies();
        std::mem::take(&mut self.records)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if !self.buffer.is_empty() {
            // A thread that ends takes it along.
            let _ = BUFFER.try_with(|kept| kept.set(std::mem::take(&mut self.buffer)));
        }
    }
}

impl Held {
    /// A part of it, unless that is little of what it would keep in memory: replies may wait for a slow consumer, and are
    /// counted by their own bytes.
    pub(super) fn slice(&self, part: Range<usize>) -> Option<Bytes> {
        let is_little = self.occupied > limits::SLICED_BYTES_MAX && part.len() * 8 < self.occupied;
        (!is_little).then(|| self.bytes.slice(part))
    }
}

/// Bytes of log worth reading at once for the first entry: as far as an eighth of it is wanted.
fn dense_span(entries: &[QueueEntry]) -> usize {
    let Some(first) = entries.first() else {
        return 0;
    };
    let mut span = i64::from(first.size);
    let mut wanted = span;
    for entry in &entries[1..] {
        wanted += i64::from(entry.size);
        let longer = entry.log_end() - first.log_offset.0;
        if longer < span
            || longer > wanted.saturating_mul(8)
            || longer > limits::READ_WINDOW_BYTES as i64
        {
            break;
        }
        span = longer;
    }
    span as usize
}
