//! The record that commit logs hold and pulls return: one stored message.
//!
//! Big-endian. IPv4 hosts; an IPv6 host (its bit in the sys flag) takes 20 bytes instead of 8 and shifts the rest.
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 4 | size of the record |
//! | 4 | 4 | magic: [`MAGIC_V1`] or [`MAGIC_V2`] |
//! | 8 | 4 | crc of the body, 31 bits |
//! | 12 | 4 | queue id |
//! | 16 | 4 | flag of the application |
//! | 20 | 8 | queue offset |
//! | 28 | 8 | log offset |
//! | 36 | 4 | sys flag |
//! | 40 | 8 | born timestamp, ms since the epoch |
//! | 48 | 8 | born host: address, port as 4 bytes |
//! | 56 | 8 | store timestamp, ms since the epoch |
//! | 64 | 8 | store host |
//! | 72 | 4 | reconsume times |
//! | 76 | 8 | prepared transaction offset |
//! | 84 | 4 + n | body |
//! | | 1 + n | topic (magic v2: 2 + n) |
//! | | 2 + n | properties |

mod batch;

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, BytesMut};

use crate::{LogOffset, QueueOffset};

pub use batch::{BatchMessage, messages_of_batch};

/// Magic of a record whose topic length is one byte.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Magic of a record whose topic length is two bytes: for topics over 127 bytes.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Magic of the filler at the end of a log file: size, this, then anything.
pub const MAGIC_BLANK: u32 = 0xCBD4_3194;

/// Smallest record: IPv4 hosts, everything else empty.
pub const SIZE_MIN: usize = 91;
/// Longest properties a record can hold, bytes.
pub const PROPERTIES_MAX: usize = i16::MAX as usize;
/// Longest body, bytes: leaves room for everything else in a 31-bit size.
pub const BODY_MAX: usize = i32::MAX as usize - (1 << 17);
/// Longest topic of magic v1, bytes.
pub const TOPIC_V1_MAX: usize = i8::MAX as usize;

/// Bits of the sys flag (`MessageSysFlag`).
pub mod sys_flag {
    /// The body is compressed.
    pub const COMPRESSED: i32 = 0x1;
    /// Several tags.
    pub const MULTI_TAGS: i32 = 0x2;
    /// The two bits that say what a message is to a transaction.
    pub const TRANSACTION: i32 = 0xC;
    /// Half message.
    pub const TRANSACTION_PREPARED: i32 = 0x4;
    /// Committed message.
    pub const TRANSACTION_COMMIT: i32 = 0x8;
    /// Rolled back.
    pub const TRANSACTION_ROLLBACK: i32 = 0xC;
    /// The born host is an IPv6 address.
    pub const BORN_HOST_V6: i32 = 0x10;
    /// The store host is an IPv6 address.
    pub const STORE_HOST_V6: i32 = 0x20;
    /// The record holds a batch that consumers have to take apart.
    pub const INNER_BATCH: i32 = 0x80;
}

/// Bytes that are not the record expected here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end before the record does.
    #[error("record of {need} bytes, but only {have} there")]
    Truncated {
        /// Bytes needed to go on.
        need: usize,
        /// Bytes there are.
        have: usize,
    },
    /// No record begins here.
    #[error("magic {0:#010x}, expected {MAGIC_V1:#010x} or {MAGIC_V2:#010x}")]
    Magic(u32),
    /// The filler at the end of a log file.
    #[error("filler of {size} bytes at the end of the file")]
    Blank {
        /// Bytes to the end of the file, as written.
        size: i32,
    },
    /// A length that does not fit the record it is in.
    #[error("{field} has length {found} in a record of {size} bytes")]
    Length {
        /// What has the length.
        field: &'static str,
        /// The length.
        found: i64,
        /// The record's own size.
        size: i64,
    },
    /// The body is not the one that was written.
    #[error("body crc {found:#010x}, record says {expected:#010x}")]
    Crc {
        /// Of the body as it is.
        found: u32,
        /// As the record has it.
        expected: u32,
    },
    /// A port over 65535.
    #[error("port {0}, expected at most 65535")]
    Port(u32),
    /// The topic is not UTF-8.
    #[error("topic is not UTF-8")]
    Topic,
    /// To be encoded: longer than the format can say.
    #[error("{field} of {found} bytes, limit {limit}")]
    TooLong {
        /// What is too long.
        field: &'static str,
        /// Its length.
        found: usize,
        /// The most there can be.
        limit: usize,
    },
}

/// A stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Queue of the topic.
    pub queue_id: i32,
    /// The application's own number.
    pub flag: i32,
    /// Its number in the queue. Stamped by [`stamp`] when it is appended.
    pub queue_offset: QueueOffset,
    /// Where it begins in the commit log. Stamped.
    pub log_offset: LogOffset,
    /// Bits of [`sys_flag`]; those of the hosts are set by `encode` from the addresses.
    pub sys_flag: i32,
    /// When the producer made it, ms since the epoch.
    pub born_timestamp: i64,
    /// Address of the producer.
    pub born_host: SocketAddr,
    /// When the broker took it, ms since the epoch. Stamped.
    pub store_timestamp: i64,
    /// Advertised address of the broker that stored it first.
    pub store_host: SocketAddr,
    /// How often it was consumed without success.
    pub reconsume_times: i32,
    /// Log offset of the half message, of a committed one.
    pub prepared_transaction_offset: i64,
    /// As the producer sent it, still compressed.
    pub body: &'a [u8],
    /// Where it belongs.
    pub topic: &'a str,
    /// See [`crate::properties`].
    pub properties: &'a [u8],
}

/// A record as read, with what only the stored form has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The message.
    pub record: Record<'a>,
    /// Bytes it takes.
    pub size: usize,
    /// The crc it says its body has.
    pub body_crc: u32,
}

/// What the consume queue and the index need of a record, read without looking at the body or the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline<'a> {
    /// Bytes it takes.
    pub size: usize,
    /// The crc it says its body has.
    pub body_crc: u32,
    /// Queue of the topic.
    pub queue_id: i32,
    /// Its number there.
    pub queue_offset: QueueOffset,
    /// Where it begins in the commit log.
    pub log_offset: LogOffset,
    /// Bits of [`sys_flag`].
    pub sys_flag: i32,
    /// When the broker took it, ms since the epoch.
    pub store_timestamp: i64,
    /// The body, as sent.
    pub body: &'a [u8],
    /// Its topic.
    pub topic: &'a str,
    /// See [`crate::properties`].
    pub properties: &'a [u8],
}

/// The crc of a body or of a registration: CRC-32 without its highest bit, so that Java's int is not negative.
pub fn crc31(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes) & 0x7fff_ffff
}

impl<'a> Record<'a> {
    /// Appends the record; gives its size.
    pub fn encode(&self, out: &mut BytesMut) -> Result<usize, RecordError> {
        limit("topic", self.topic.len(), i16::MAX as usize)?;
        limit("properties", self.properties.len(), PROPERTIES_MAX)?;
        limit("body", self.body.len(), BODY_MAX)?;

        let v2 = self.topic.len() > TOPIC_V1_MAX;
        let size = SIZE_MIN
            + host_extra(self.born_host)
            + host_extra(self.store_host)
            + self.body.len()
            + self.topic.len()
            + usize::from(v2)
            + self.properties.len();
        let mut flags = self.sys_flag & !(sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6);
        if self.born_host.is_ipv6() {
            flags |= sys_flag::BORN_HOST_V6;
        }
        if self.store_host.is_ipv6() {
            flags |= sys_flag::STORE_HOST_V6;
        }

        out.reserve(size);
        out.put_u32(size as u32);
        out.put_u32(if v2 { MAGIC_V2 } else { MAGIC_V1 });
        out.put_u32(crc31(self.body));
        out.put_i32(self.queue_id);
        out.put_i32(self.flag);
        out.put_i64(self.queue_offset.0);
        out.put_i64(self.log_offset.0);
        out.put_i32(flags);
        out.put_i64(self.born_timestamp);
        put_host(out, self.born_host);
        out.put_i64(self.store_timestamp);
        put_host(out, self.store_host);
        out.put_i32(self.reconsume_times);
        out.put_i64(self.prepared_transaction_offset);
        out.put_u32(self.body.len() as u32);
        out.put_slice(self.body);
        if v2 {
            out.put_u16(self.topic.len() as u16);
        } else {
            out.put_u8(self.topic.len() as u8);
        }
        out.put_slice(self.topic.as_bytes());
        out.put_u16(self.properties.len() as u16);
        out.put_slice(self.properties);
        Ok(size)
    }

    /// Reads the record at the front of `bytes`; every length is checked against the record's size, which the
    /// parts must fill exactly.
    pub fn decode(bytes: &'a [u8], check_crc: bool) -> Result<Decoded<'a>, RecordError> {
        let outline = Outline::decode(bytes)?;
        if check_crc {
            let found = crc31(outline.body);
            if found != outline.body_crc {
                return Err(RecordError::Crc {
                    found,
                    expected: outline.body_crc,
                });
            }
        }
        let mut rest = Reader {
            bytes: &bytes[..outline.size],
            at: 16,
            size: outline.size,
        };
        let flag = rest.int()?;
        rest.at = 40;
        let born_timestamp = rest.long()?;
        let born_host = rest.host(outline.sys_flag & sys_flag::BORN_HOST_V6 != 0)?;
        rest.at += 8;
        let store_host = rest.host(outline.sys_flag & sys_flag::STORE_HOST_V6 != 0)?;
        Ok(Decoded {
            record: Record {
                queue_id: outline.queue_id,
                flag,
                queue_offset: outline.queue_offset,
                log_offset: outline.log_offset,
                sys_flag: outline.sys_flag,
                born_timestamp,
                born_host,
                store_timestamp: outline.store_timestamp,
                store_host,
                reconsume_times: rest.int()?,
                prepared_transaction_offset: rest.long()?,
                body: outline.body,
                topic: outline.topic,
                properties: outline.properties,
            },
            size: outline.size,
            body_crc: outline.body_crc,
        })
    }
}

impl<'a> Outline<'a> {
    /// Reads the record at the front of `bytes`, as [`Record::decode`] without the crc.
    pub fn decode(bytes: &'a [u8]) -> Result<Outline<'a>, RecordError> {
        let Some((front, _)) = bytes.split_first_chunk::<8>() else {
            return Err(RecordError::Truncated {
                need: 8,
                have: bytes.len(),
            });
        };
        let [s0, s1, s2, s3, m0, m1, m2, m3] = *front;
        let claimed = i32::from_be_bytes([s0, s1, s2, s3]);
        let magic = u32::from_be_bytes([m0, m1, m2, m3]);
        let v2 = match magic {
            MAGIC_V1 => false,
            MAGIC_V2 => true,
            MAGIC_BLANK => return Err(RecordError::Blank { size: claimed }),
            other => return Err(RecordError::Magic(other)),
        };
        let size = match usize::try_from(claimed) {
            Ok(size) if size >= SIZE_MIN => size,
            _ => {
                return Err(RecordError::Length {
                    field: "record",
                    found: i64::from(claimed),
                    size: i64::from(claimed),
                });
            }
        };
        if bytes.len() < size {
            return Err(RecordError::Truncated {
                need: size,
                have: bytes.len(),
            });
        }
        let mut rest = Reader {
            bytes: &bytes[..size],
            at: 8,
            size,
        };
        let body_crc = rest.int()? as u32;
        let queue_id = rest.int()?;
        rest.at += 4;
        let queue_offset = QueueOffset(rest.long()?);
        let log_offset = LogOffset(rest.long()?);
        let sys_flag = rest.int()?;
        rest.at += 8 + host_size(sys_flag & sys_flag::BORN_HOST_V6 != 0);
        let store_timestamp = rest.long()?;
        rest.at += host_size(sys_flag & sys_flag::STORE_HOST_V6 != 0) + 12;

        let length = i64::from(rest.int()?);
        let body = rest.part("body", length)?;
        let length = match v2 {
            true => i64::from(rest.short()?),
            false => i64::from(rest.array::<1>()?[0] as i8),
        };
        let topic = rest.part("topic", length)?;
        let topic = std::str::from_utf8(topic).map_err(|_| RecordError::Topic)?;
        let length = i64::from(rest.short()?);
        let properties = rest.part("properties", length)?;
        if rest.at != size {
            return Err(RecordError::Length {
                field: "all parts",
                found: rest.at as i64,
                size: size as i64,
            });
        }
        Ok(Outline {
            size,
            body_crc,
            queue_id,
            queue_offset,
            log_offset,
            sys_flag,
            store_timestamp,
            body,
            topic,
            properties,
        })
    }
}

/// Fills the holes of an encoded record: what is only known under the log lock.
pub fn stamp(
    record: &mut [u8],
    queue_offset: QueueOffset,
    log_offset: LogOffset,
    store_timestamp: i64,
) {
    let v6 = i32::from(record[39]) & sys_flag::BORN_HOST_V6 != 0;
    let store_timestamp_at = 48 + host_size(v6);
    record[20..28].copy_from_slice(&queue_offset.0.to_be_bytes());
    record[28..36].copy_from_slice(&log_offset.0.to_be_bytes());
    record[store_timestamp_at..store_timestamp_at + 8]
        .copy_from_slice(&store_timestamp.to_be_bytes());
}

fn limit(field: &'static str, found: usize, limit: usize) -> Result<(), RecordError> {
    match found <= limit {
        true => Ok(()),
        false => Err(RecordError::TooLong {
            field,
            found,
            limit,
        }),
    }
}

/// Bytes that an IPv6 host takes more than an IPv4 one.
fn host_extra(host: SocketAddr) -> usize {
    host_size(host.is_ipv6()) - 8
}

fn host_size(v6: bool) -> usize {
    if v6 { 20 } else { 8 }
}

fn put_host(out: &mut BytesMut, host: SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => out.put_slice(&ip.octets()),
        IpAddr::V6(ip) => out.put_slice(&ip.octets()),
    }
    out.put_u32(u32::from(host.port()));
}

/// A place in a record.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    size: usize,
}

impl<'a> Reader<'a> {
    fn part(&mut self, field: &'static str, length: i64) -> Result<&'a [u8], RecordError> {
        let part = usize::try_from(length)
            .ok()
            .and_then(|length| self.bytes.get(self.at..)?.get(..length))
            .ok_or(RecordError::Length {
                field,
                found: length,
                size: self.size as i64,
            })?;
        self.at += part.len();
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let bytes = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<N>);
        let bytes = *bytes.ok_or(RecordError::Length {
            field: "fixed part",
            found: (self.at + N) as i64,
            size: self.size as i64,
        })?;
        self.at += N;
        Ok(bytes)
    }

    fn short(&mut self) -> Result<i16, RecordError> {
        self.array().map(i16::from_be_bytes)
    }

    fn int(&mut self) -> Result<i32, RecordError> {
        self.array().map(i32::from_be_bytes)
    }

    fn long(&mut self) -> Result<i64, RecordError> {
        self.array().map(i64::from_be_bytes)
    }

    fn host(&mut self, v6: bool) -> Result<SocketAddr, RecordError> {
        let ip = match v6 {
            true => IpAddr::from(self.array::<16>()?),
            false => IpAddr::from(self.array::<4>()?),
        };
        let port = self.int()? as u32;
        let port = u16::try_from(port).map_err(|_| RecordError::Port(port))?;
        Ok(SocketAddr::new(ip, port))
    }
}

#[cfg(test)]
mod tests;
