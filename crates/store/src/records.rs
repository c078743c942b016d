//! Records that were read, in as few pieces as they were in memory.

use bytes::Bytes;
use protocol::record::SIZE_MIN;

/// Whole records, one behind the other.
#[derive(Clone, Debug, Default)]
pub struct Records {
    pieces: Vec<Bytes>,
    len: usize,
}

impl Records {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Each by itself.
    pub fn iter(&self) -> impl Iterator<Item = Bytes> {
        self.pieces.iter().flat_map(|piece| {
            let mut rest = piece.clone();
            std::iter::from_fn(move || {
                let size = u32::from_be_bytes(*rest.first_chunk::<4>()?) as usize;
                let is_sound = (SIZE_MIN..=rest.len()).contains(&size);
                Some(rest.split_to(if is_sound { size } else { rest.len() }))
            })
        })
    }

    /// All of them, to be sent one behind the other.
    pub fn into_pieces(self) -> Vec<Bytes> {
        self.pieces
    }

    /// One more, which is in a piece that follows.
    pub(crate) fn count(&mut self) {
        self.len += 1;
    }

    /// The piece that holds what was counted since the last one.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.pieces.push(piece);
    }
}
