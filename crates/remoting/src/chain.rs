//! Bytes on their way out: encoded headers back to back in one buffer, with the bodies that go
//! between them hung in uncopied.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use crate::limits::COPIED_BODY_BYTES_MAX;

/// What a reply or a call carries behind its header.
#[derive(Clone, Debug, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    None,
    /// One piece.
    Bytes(Bytes),
    /// Several pieces that the other side reads as one.
    Chain(Vec<Bytes>),
}

impl Body {
    /// Bytes in all pieces.
    pub fn len(&self) -> usize {
        match self {
            Body::None => 0,
            Body::Bytes(bytes) => bytes.len(),
            Body::Chain(pieces) => pieces.iter().map(Bytes::len).sum(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body::Bytes(bytes.into())
    }
}

impl From<Vec<Bytes>> for Body {
    fn from(pieces: Vec<Bytes>) -> Body {
        Body::Chain(pieces)
    }
}

/// A queue of bytes: appended at the back, written from the front.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// Headers and small bodies.
    pub(crate) heads: BytesMut,
    /// Each body goes out when `heads` is sent up to the offset before it. Offsets ascend.
    bodies: VecDeque<(usize, Bytes)>,
    heads_sent: usize,
    bodies_len: usize,
}

impl Chain {
    /// Bytes not yet sent.
    pub(crate) fn len(&self) -> usize {
        self.heads.len() - self.heads_sent + self.bodies_len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push_body(&mut self, body: Body) {
        match body {
            Body::None => {}
            Body::Bytes(bytes) => self.push_piece(bytes),
            Body::Chain(pieces) => pieces.into_iter().for_each(|piece| self.push_piece(piece)),
        }
    }

    fn push_piece(&mut self, piece: Bytes) {
        if piece.len() <= COPIED_BODY_BYTES_MAX {
            self.heads.extend_from_slice(&piece);
        } else {
            self.bodies_len += piece.len();
            self.bodies.push_back((self.heads.len(), piece));
        }
    }

    /// Fills `slices` with what comes next; returns how many were filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut push = |bytes: &'a [u8]| {
            if !bytes.is_empty() && filled < slices.len() {
                slices[filled] = IoSlice::new(bytes);
                filled += 1;
            }
        };
        let mut from = self.heads_sent;
        for (at, body) in self.bodies.iter().take(crate::limits::SLICES_MAX) {
            push(&self.heads[from..*at]);
            push(body);
            from = *at;
        }
        // Behind the last body only; otherwise the slices are full anyway.
        push(&self.heads[from..]);
        filled
    }

    /// Forgets the first `sent` bytes.
    pub(crate) fn advance(&mut self, mut sent: usize) {
        while sent > 0 {
            let heads_end = self.bodies.front().map_or(self.heads.len(), |(at, _)| *at);
            let from_heads = sent.min(heads_end - self.heads_sent);
            self.heads_sent += from_heads;
            sent -= from_heads;
            if let Some((_, body)) = self.bodies.front_mut() {
                let from_body = sent.min(body.len());
                body.advance(from_body);
                sent -= from_body;
                self.bodies_len -= from_body;
                if body.is_empty() {
                    self.bodies.pop_front();
                }
            } else {
                assert!(sent == 0, "more was sent than there was");
            }
        }
        if self.is_empty() {
            self.heads.clear();
            self.heads_sent = 0;
        }
    }

    /// Gives the buffers back. Only when empty.
    pub(crate) fn release(&mut self) {
        assert!(self.is_empty(), "unsent bytes would be lost");
        *self = Chain::default();
    }
}

#[cfg(test)]
mod tests;
