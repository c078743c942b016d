//! RocketMQ's bytes as values: frames, headers, bodies, the stored record. No I/O, no clock, no tokio.

pub mod bodies;
pub mod codes;
pub mod command;
pub mod fastjson;
mod fields;
pub mod frame;
pub mod headers;
pub mod json;
pub mod limits;
pub mod message_id;
mod offset;
pub mod options;
pub mod properties;
pub mod recall_handle;
pub mod receipt;
pub mod record;
pub mod tags;
pub mod text;

pub use offset::{LogOffset, QueueOffset};
