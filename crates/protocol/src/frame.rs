//! Frames: cuts a byte stream into header and body.
//!
//! | bytes | field |
//! |---|---|
//! | 4 | length of all that follows = 4 + header length + body length |
//! | 1 | header codec: 0 JSON, 1 ROCKETMQ (binary) |
//! | 3 | header length |
//! | … | header |
//! | … | body, to the end of the frame |

use bytes::{Bytes, BytesMut};

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

/// Takes one frame off the front of `buf`; `None` if it is not all there yet. Looks at the lengths as soon as
/// they arrive and reserves nothing for what a frame claims.
pub fn split(buf: &mut BytesMut, bytes_max: usize) -> Result<Option<Frame>, FrameError> {
    let Some(length) = int(buf, 0) else {
        return Ok(None);
    };
    let length = match usize::try_from(length) {
        Ok(rest) if rest >= 4 => rest + 4,
        _ => return Err(FrameError::Length(length)),
    };
    if length > bytes_max {
        return Err(FrameError::TooLong {
            bytes: length,
            bytes_max,
        });
    }
    let Some(mark) = int(buf, 4) else {
        return Ok(None);
    };
    let [codec, header @ ..] = mark.to_be_bytes();
    let codec = match codec {
        0 => Codec::Json,
        1 => Codec::Rocketmq,
        other => return Err(FrameError::Codec(other)),
    };
    let header =
        usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
    if header > length - 8 {
        return Err(FrameError::HeaderLength {
            header,
            available: length - 8,
        });
    }
    if buf.len() < length {
        return Ok(None);
    }
    let mut frame = buf.split_to(length).freeze();
    let body = frame.split_off(8 + header);
    let header = frame.split_off(8);
    Ok(Some(Frame {
        codec,
        header,
        body,
    }))
}

fn int(buf: &[u8], at: usize) -> Option<i32> {
    let bytes = buf.get(at..at + 4)?;
    Some(i32::from_be_bytes(bytes.try_into().ok()?))
}
