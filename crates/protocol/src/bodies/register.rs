//! REGISTER_BROKER 103: a broker's topics, as JSON or compressed.
//!
//! The compressed form is a zlib stream of parts, each an `i32` length and as many bytes:
//!
//! | part | content |
//! |---|---|
//! | data version | JSON |
//! | | `i32` number of topics, then for each a part: [`TopicConfig::to_line`] |
//! | filter servers | JSON array |
//! | | from version 5.0.0 on: `i32` number of static topics, then for each a part: JSON |

use std::collections::BTreeMap;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};

use super::topic::{DataVersion, TopicConfig};
use crate::fastjson;
use crate::limits::{INFLATED_BYTES_MAX, REGISTERED_TOPICS_MAX};

/// Broker version (`MQVersion` ordinal) from which on the compressed form ends with static topics: V5_0_0.
const STATIC_TOPICS_SINCE: i32 = 413;

/// Body of REGISTER_BROKER (`RegisterBrokerBody`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisterBrokerBody {
    /// Addresses of filter servers; long gone.
    pub filter_server_list: Vec<String>,
    /// The topics.
    pub topic_config_serialize_wrapper: TopicConfigWrapper,
}

/// A broker's topics (`TopicConfigAndMappingSerializeWrapper`). Static topics are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigWrapper {
    /// Version of the topics.
    pub data_version: DataVersion,
    /// Version of the static topics.
    pub mapping_data_version: DataVersion,
    /// The topics by name.
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    /// Static topics: always empty.
    #[serde(deserialize_with = "dropped")]
    pub topic_queue_mapping_detail_map: BTreeMap<String, ()>,
    /// Static topics: always empty.
    #[serde(deserialize_with = "dropped")]
    pub topic_queue_mapping_info_map: BTreeMap<String, ()>,
}

fn dropped<'de, D: serde::Deserializer<'de>>(value: D) -> Result<BTreeMap<String, ()>, D::Error> {
    serde::de::IgnoredAny::deserialize(value).map(|_| BTreeMap::new())
}

/// A registration that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum RegisterBrokerError {
    /// Its JSON, or that of a part.
    #[error("registration, {0}")]
    Json(#[from] fastjson::Error),
    /// The compressed stream is broken or ends early.
    #[error("compressed registration: {0}")]
    Stream(#[from] std::io::Error),
    /// A part claims a length it can't have.
    #[error("compressed registration: length {found}, expected 0 to {limit}")]
    Length {
        /// The length.
        found: i32,
        /// Bytes that may still come.
        limit: u64,
    },
    /// More topics than anybody has.
    #[error("compressed registration: {0} topics, limit {REGISTERED_TOPICS_MAX}")]
    TooManyTopics(u64),
    /// A topic's line.
    #[error("compressed registration: topic {0:?}, expected `name read write perm filterType`")]
    Topic(String),
}

impl RegisterBrokerBody {
    /// Writes it as JSON.
    pub fn encode(&self) -> Vec<u8> {
        fastjson::to_vec(self)
    }

    /// Writes it compressed.
    pub fn encode_compressed(&self) -> std::io::Result<Vec<u8>> {
        let mut out = ZlibEncoder::new(Vec::new(), Compression::default());
        let wrapper = &self.topic_config_serialize_wrapper;
        put_part(&mut out, &fastjson::to_vec(&wrapper.data_version))?;
        let topics = &wrapper.topic_config_table;
        out.write_all(&(topics.len() as i32).to_be_bytes())?;
        for topic in topics.values() {
            put_part(&mut out, topic.to_line().as_bytes())?;
        }
        put_part(&mut out, &fastjson::to_vec(&self.filter_server_list))?;
        out.write_all(&0_i32.to_be_bytes())?;
        out.finish()
    }

    /// Reads JSON.
    pub fn decode(body: &[u8]) -> Result<RegisterBrokerBody, RegisterBrokerError> {
        Ok(fastjson::from_slice(body)?)
    }

    /// Reads the compressed form, as brokers of `version` write it.
    pub fn decode_compressed(
        body: &[u8],
        version: i32,
    ) -> Result<RegisterBrokerBody, RegisterBrokerError> {
        let mut parts = Parts {
            stream: ZlibDecoder::new(body).take(INFLATED_BYTES_MAX),
        };
        let mut registration = RegisterBrokerBody::default();
        let wrapper = &mut registration.topic_config_serialize_wrapper;
        wrapper.data_version = fastjson::from_slice(&parts.part()?)?;
        let topics = parts.length()?;
        if topics > REGISTERED_TOPICS_MAX {
            return Err(RegisterBrokerError::TooManyTopics(topics));
        }
        for _ in 0..topics {
            let line = parts.part()?;
            let line = String::from_utf8_lossy(&line);
            let topic = TopicConfig::from_line(&line)
                .ok_or_else(|| RegisterBrokerError::Topic(line.chars().take(200).collect()))?;
            wrapper
                .topic_config_table
                .insert(topic.topic_name.clone(), topic);
        }
        registration.filter_server_list = fastjson::from_slice(&parts.part()?)?;
        if version >= STATIC_TOPICS_SINCE {
            for _ in 0..parts.length()? {
                parts.part()?;
            }
        }
        Ok(registration)
    }
}

fn put_part(out: &mut impl Write, part: &[u8]) -> std::io::Result<()> {
    out.write_all(&(part.len() as i32).to_be_bytes())?;
    out.write_all(part)
}

/// The parts of a compressed registration, of which no more than the limit is ever unpacked.
struct Parts<'b> {
    stream: std::io::Take<ZlibDecoder<&'b [u8]>>,
}

impl Parts<'_> {
    fn length(&mut self) -> Result<u64, RegisterBrokerError> {
        let mut bytes = [0; 4];
        self.stream.read_exact(&mut bytes)?;
        let found = i32::from_be_bytes(bytes);
        let limit = self.stream.limit();
        match u64::try_from(found) {
            Ok(length) if length <= limit => Ok(length),
            _ => Err(RegisterBrokerError::Length { found, limit }),
        }
    }

    fn part(&mut self) -> Result<Vec<u8>, RegisterBrokerError> {
        let length = self.length()?;
        let mut part = Vec::new();
        let read = (&mut self.stream).take(length).read_to_end(&mut part)?;
        if (read as u64) < length {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        Ok(part)
    }
}
