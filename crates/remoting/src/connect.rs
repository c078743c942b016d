//! The calling side: a connection we make. It takes requests from the other side just as a server's
//! does.

use std::io;
use std::ops::Deref;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::budget::Budget;
use crate::limits::Limits;
use crate::net::{self, ConnectError};
use crate::peer::Peer;
use crate::{Service, connection};

/// A connection we made, and the task that serves it. Dropped, it is cut.
#[derive(Debug)]
pub struct Connection {
    peer: Arc<Peer>,
    task: Option<JoinHandle<()>>,
}

/// Connects to `host:port`. `service` gets what the other side asks; [`crate::NoRequests`] if that
/// should be nothing.
pub async fn connect(
    addr: &str,
    service: Arc<dyn Service>,
    limits: &Limits,
) -> Result<Connection, ConnectError> {
    let stream = net::connect(addr, limits.connect).await?;
    let failed = |source: io::Error| ConnectError::Refused {
        addr: addr.to_owned(),
        source,
    };
    stream.set_nodelay().map_err(failed)?;
    let local = stream.local_addr().map_err(failed)?;
    let remote = stream.remote_addr().map_err(failed)?;
    let limits = Limits {
        // Never stops reading because of what we still have to say: two ends that both did so would
        // wait for each other.
        outbound_bytes_soft: limits.outbound_bytes_max,
        ..limits.clone()
    };
    let peer = Peer::new(remote, local, Budget::new(limits, 1));
    let task = tokio::spawn(connection::run(stream, Arc::clone(&peer), service));
    Ok(Connection {
        peer,
        task: Some(task),
    })
}

impl Connection {
    /// The other side.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Closes it once what it asked us has been answered and what waits has been sent; returns when
    /// the task is gone.
    pub async fn close(mut self) {
        self.peer.close();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!("a connection's task failed: {error}");
        }
    }
}

impl Deref for Connection {
    type Target = Arc<Peer>;

    fn deref(&self) -> &Arc<Peer> {
        &self.peer
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.task.is_some() {
            self.peer.abort();
        }
    }
}
