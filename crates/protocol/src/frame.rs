//! Frames: cuts a byte stream into header and body.
//!
//! | bytes | field |
//! |---|---|
//! | 4 | length of all that follows = 4 + header length + body length |
//! | 1 | header codec: 0 JSON, 1 ROCKETMQ (binary) |
//! | 3 | header length |
//! | … | header |
//! | … | body, to the end of the frame |

use bytes::{Buf, Bytes, BytesMut};

/// How a command's header is written (Apache's `SerializeType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Type 0: a JSON object, Apache's default.
    Json = 0,
    /// Type 1: Apache's binary form, named ROCKETMQ.
    Rocketmq = 1,
}

/// A whole frame; both parts share the buffer it was read into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// How `header` is written.
    pub codec: Codec,
    /// The header's bytes, not parsed yet: see [`Frame::head`].
    pub header: Bytes,
    /// Everything behind the header.
    pub body: Bytes,
}

/// The stream holds no frame here; nothing behind this point can be trusted, so the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length can't hold its own header length field.
    #[error("frame length {0}, expected at least 4")]
    Length(i32),
    /// The frame is longer than the connection allows.
    #[error("frame of {bytes} bytes, limit {bytes_max}")]
    TooLong {
        /// Length of the frame with its length field.
        bytes: usize,
        /// The limit it broke.
        bytes_max: usize,
    },
    /// The header codec is none of RocketMQ's.
    #[error("header codec {0}, expected 0 (JSON) or 1 (ROCKETMQ)")]
    Codec(u8),
    /// The header is longer than the frame it is in.
    #[error("header length {header}, but only {available} bytes in the frame")]
    HeaderLength {
        /// Length the header claims.
        header: usize,
        /// Bytes of the frame behind the two length fields.
        available: usize,
    },
}

/// Where the parts of a frame lie in the bytes that begin with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// How the header is written.
    pub codec: Codec,
    /// The header.
    pub header: std::ops::Range<usize>,
    /// The frame ends here, and its body with it.
    pub end: usize,
}

/// Takes one frame off the front of `buf`; `None` if it is not all there yet. Reserves nothing for what a
/// frame claims.
pub fn split(buf: &mut BytesMut, bytes_max: usize) -> Result<Option<Frame>, FrameError> {
    let Some(cut) = cut(buf, bytes_max)? else {
        return Ok(None);
    };
    buf.advance(cut.header.start);
    let mut header = buf.split_to(cut.end - cut.header.start).freeze();
    let body = header.split_off(cut.header.len());
    Ok(Some(Frame {
        codec: cut.codec,
        header,
        body,
    }))
}

/// Finds the frame at the front of `bytes`; `None` if it is not all there yet. Looks at the lengths as soon as
/// they arrive.
pub fn cut(bytes: &[u8], bytes_max: usize) -> Result<Option<Cut>, FrameError> {
    let Some(length) = int(bytes, 0) else {
        return Ok(None);
    };
    let end = match usize::try_from(length) {
        Ok(rest) if rest >= 4 => rest + 4,
        _ => return Err(FrameError::Length(length)),
    };
    if end > bytes_max {
        return Err(FrameError::TooLong {
            bytes: end,
            bytes_max,
        });
    }
    let Some(mark) = int(bytes, 4) else {
        return Ok(None);
    };
    let codec = match mark.to_be_bytes()[0] {
        0 => Codec::Json,
        1 => Codec::Rocketmq,
        other => return Err(FrameError::Codec(other)),
    };
    let header = (mark & 0xff_ffff) as usize;
    if header > end - 8 {
        return Err(FrameError::HeaderLength {
            header,
            available: end - 8,
        });
    }
    Ok((bytes.len() >= end).then_some(Cut {
        codec,
        header: 8..8 + header,
        end,
    }))
}

fn int(bytes: &[u8], at: usize) -> Option<i32> {
    let int = bytes.get(at..at + 4)?;
    Some(i32::from_be_bytes(int.try_into().ok()?))
}

#[cfg(test)]
mod tests;
