//! RocketMQ's protocol over sockets: connections, accept loop, request/response client.
//!
//! Both ends of a connection are alike: each may ask, tell (one-way) and answer, many at a time.
//! [`Server`] accepts connections, [`connect`] makes one; either way requests go to a [`Service`],
//! and a [`Peer`] is the other side.

pub mod clock;
pub mod net;

mod budget;
mod calls;
mod chain;
mod connect;
mod connection;
mod limits;
mod log_limit;
mod peer;
mod request;
mod server;
mod turns;

use std::sync::Arc;

pub use calls::{Call, CallError};
pub use chain::Body;
pub use connect::{Connection, connect};
pub use limits::Limits;
pub use log_limit::LogLimit;
pub use net::{BindError, ConnectError};
pub use peer::Peer;
pub use request::{Reply, ReplyTo, Request};
pub use server::Server;

/// What requests mean. Called on the connection's task: whatever takes longer than a moment is
/// given to somebody else together with the request's [`ReplyTo`].
pub trait Service: Send + Sync + 'static {
    /// All requests found in one read, in order.
    fn handle(&self, peer: &Arc<Peer>, requests: Vec<Request>);

    /// The connection is gone. Called once, after the last `handle`.
    fn closed(&self, peer: &Arc<Peer>);
}

/// Knows no request: for connections on which only we ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRequests;

impl Service for NoRequests {
    fn handle(&self, _: &Arc<Peer>, requests: Vec<Request>) {
        requests.into_iter().for_each(Request::refuse_unknown);
    }

    fn closed(&self, _: &Arc<Peer>) {}
}

#[cfg(test)]
mod tests;
