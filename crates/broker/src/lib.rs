//! The broker: what each request code means.

mod address;
mod broker;
mod clients;
pub mod config;
mod dispatch;
mod groups;
mod handlers;
mod holds;
mod housekeeping;
pub mod limits;
mod locks;
mod metadata;
mod offsets;
mod refusal;
mod registration;
mod start;
mod tasks;
#[cfg(test)]
mod testing;
mod threads;
mod topics;
mod unique_key;

pub use address::AddressError;
pub use broker::Broker;
pub use config::options::{Options, OptionsError};
pub use config::{Config, Role};
pub use metadata::MetadataError;
pub use start::{Running, StartError};
