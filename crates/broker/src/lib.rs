//! The broker: what each request code means.

mod address;
mod assignment;
mod background;
mod broker;
mod clients;
mod cold;
pub mod config;
mod delay;
mod dispatch;
mod filter;
mod groups;
mod handlers;
mod holds;
mod housekeeping;
mod lateness;
pub mod limits;
mod locks;
mod message;
mod metadata;
mod offsets;
mod pop;
mod pulled;
mod refusal;
mod registration;
mod said;
mod start;
mod tasks;
#[cfg(test)]
mod testing;
mod threads;
mod timer;
mod topics;
mod transactions;
mod unique_key;

pub use address::AddressError;
pub use broker::Broker;
pub use config::options::{Options, OptionsError};
pub use config::{Config, PopConfig, Role};
pub use filter::sql92::{Sql, SqlError};
pub use lateness::LatenessReport;
pub use metadata::MetadataError;
pub use start::{Running, StartError};
pub use timer::TimerSettings;
