//! The newest end of the log in memory: the very buffers that were written, by offset.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::RwLock;

#[cfg(test)]
mod tests;

/// Bounded by what its buffers occupy; the oldest go first.
#[derive(Debug)]
pub(crate) struct Tail {
    occupied_max: usize,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Chunk>,
    occupied: usize,
}

/// Whole records that follow one another in the log.
#[derive(Debug)]
struct Chunk {
    start: i64,
    bytes: Bytes,
    occupied: usize,
}

/// A part of a chunk, which keeps all of it in memory.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    /// What it keeps in memory.
    pub(crate) occupied: usize,
}

impl Chunk {
    fn end(&self) -> i64 {
        self.start + self.bytes.len() as i64
    }
}

impl Tail {
    pub(crate) fn new(occupied_max: usize) -> Self {
        Tail {
            occupied_max,
            state: RwLock::default(),
        }
    }

    /// Adds what was written at `start`, beyond all that is held. `occupied`: the size of the
    /// buffer that `bytes` keeps alive, which may be larger than its content.
    pub(crate) fn push(&self, start: i64, bytes: Bytes, occupied: usize) {
        let mut state = self.state.write();
        if let Some(last) = state.chunks.back() {
            assert!(start >= last.end(), "the log only grows");
        }
        state.occupied += occupied;
        state.chunks.push_back(Chunk {
            start,
            bytes,
            occupied,
        });
        while state.occupied > self.occupied_max && state.chunks.len() > 1 {
            if let Some(oldest) = state.chunks.pop_front() {
                state.occupied -= oldest.occupied;
            }
        }
    }

    /// Forgets everything, so that a test reads from disk.
    #[cfg(test)]
    pub(crate) fn clear(&self) {
        *self.state.write() = State::default();
    }

    /// All that is held from `at` to the end of its chunk.
    pub(crate) fn rest_of_chunk(&self, at: i64) -> Option<Held> {
        let state = self.state.read();
        let after = state.chunks.partition_point(|chunk| chunk.start <= at);
        let chunk = state.chunks.get(after.checked_sub(1)?)?;
        (at < chunk.end()).then(|| Held {
            bytes: chunk.bytes.slice((at - chunk.start) as usize..),
            occupied: chunk.occupied,
        })
    }

    /// `len` bytes at `at`, if one chunk has them all.
    pub(crate) fn slice(&self, at: i64, len: usize) -> Option<Bytes> {
        let state = self.state.read();
        let after = state.chunks.partition_point(|chunk| chunk.start <= at);
        let chunk = state.chunks.get(after.checked_sub(1)?)?;
        let from = (at - chunk.start) as usize;
        (from + len <= chunk.bytes.len()).then(|| chunk.bytes.slice(from..from + len))
    }
}
