//! Offset message ids: where a message is stored, as upper-case hex.
//!
//! | bytes | field |
//! |---|---|
//! | 4 or 16 | address of the broker |
//! | 4 | its port |
//! | 8 | log offset |

use std::net::{IpAddr, SocketAddr};

use crate::LogOffset;

/// Broker and log offset of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId {
    /// The broker's advertised address.
    pub host: SocketAddr,
    /// Where its record begins.
    pub offset: LogOffset,
}

/// Text that is no offset message id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageIdError {
    /// Neither 32 (IPv4) nor 56 (IPv6) characters.
    #[error("message id of {0} characters, expected 32 or 56")]
    Length(usize),
    /// Not hex.
    #[error("message id has {0:?}, expected a hex digit")]
    Digit(char),
    /// No port.
    #[error("message id has port {0}, expected at most 65535")]
    Port(u32),
}

impl MessageId {
    /// The id as text.
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(56);
        self.append_to(&mut out);
        out
    }

    /// Appends the id.
    pub fn append_to(&self, out: &mut String) {
        match self.host.ip() {
            IpAddr::V4(ip) => put_hex(out, &ip.octets()),
            IpAddr::V6(ip) => put_hex(out, &ip.octets()),
        }
        put_hex(out, &u32::from(self.host.port()).to_be_bytes());
        put_hex(out, &self.offset.0.to_be_bytes());
    }

    /// Reads an id; both cases of hex digits are fine.
    pub fn decode(text: &str) -> Result<MessageId, MessageIdError> {
        let host = match text.len() {
            32 => 4,
            56 => 16,
            other => return Err(MessageIdError::Length(other)),
        };
        let mut bytes = [0_u8; 28];
        for (at, digit) in text.chars().enumerate() {
            let value = digit.to_digit(16).ok_or(MessageIdError::Digit(digit))?;
            bytes[at / 2] = bytes[at / 2] << 4 | value as u8;
        }
        let mut rest = [0_u8; 12];
        rest.copy_from_slice(&bytes[host..host + 12]);
        let [p0, p1, p2, p3, offset @ ..] = rest;
        let port = u32::from_be_bytes([p0, p1, p2, p3]);
        let port = u16::try_from(port).map_err(|_| MessageIdError::Port(port))?;
        let mut v6 = [0_u8; 16];
        v6.copy_from_slice(&bytes[..16]);
        let ip = match host {
            4 => IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]),
            _ => IpAddr::from(v6),
        };
        Ok(MessageId {
            host: SocketAddr::new(ip, port),
            offset: LogOffset(i64::from_be_bytes(offset)),
        })
    }
}

fn put_hex(out: &mut String, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests;
