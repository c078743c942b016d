//! The body of SEND_BATCH_MESSAGE: several messages of one topic and queue.
//!
//! Big-endian, for each message:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | size of the message; as in Apache, what counts are the lengths below |
//! | 4 | magic: 0 |
//! | 4 | crc: 0 |
//! | 4 | flag of the application |
//! | 4 + n | body |
//! | 2 + n | properties |

use bytes::{BufMut, BytesMut};

use super::{BODY_MAX, PROPERTIES_MAX, Reader, RecordError, limit};

/// Smallest message of a batch.
const BATCH_MESSAGE_MIN: usize = 22;

/// One message of a SEND_BATCH_MESSAGE body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMessage<'a> {
    /// The application's own number.
    pub flag: i32,
    /// Its body.
    pub body: &'a [u8],
    /// Its properties.
    pub properties: &'a [u8],
}

impl BatchMessage<'_> {
    /// Appends it to a batch's body.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), RecordError> {
        limit("properties", self.properties.len(), PROPERTIES_MAX)?;
        limit("body", self.body.len(), BODY_MAX)?;
        out.put_u32((BATCH_MESSAGE_MIN + self.body.len() + self.properties.len()) as u32);
        out.put_u64(0);
        out.put_i32(self.flag);
        out.put_u32(self.body.len() as u32);
        out.put_slice(self.body);
        out.put_u16(self.properties.len() as u16);
        out.put_slice(self.properties);
        Ok(())
    }
}

/// The messages of a batch's body; ends after the first error.
pub fn messages_of_batch(
    body: &[u8],
) -> impl Iterator<Item = Result<BatchMessage<'_>, RecordError>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let message = batch_message(rest).map(|(message, size)| {
            rest = &rest[size..];
            message
        });
        if message.is_err() {
            rest = &[];
        }
        Some(message)
    })
}

fn batch_message(bytes: &[u8]) -> Result<(BatchMessage<'_>, usize), RecordError> {
    let mut rest = Reader {
        bytes,
        at: 12,
        size: bytes.len(),
    };
    let flag = rest.int()?;
    let length = i64::from(rest.int()?);
    let body = rest.part("body", length)?;
    let length = i64::from(rest.short()?);
    let properties = rest.part("properties", length)?;
    let message = BatchMessage {
        flag,
        body,
        properties,
    };
    Ok((message, rest.at))
}
