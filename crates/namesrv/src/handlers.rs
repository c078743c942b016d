//! What each request does, a file per subject.

mod broker;
mod config;
mod kv;
mod route;
mod topic;

pub(crate) use kv::make_changes;
