//! The accepting side: listens, starts a task per connection, and brings them all to an end.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::task::{Id, JoinError, JoinSet};

use crate::budget::Budget;
use crate::limits::Limits;
use crate::log_limit::LogLimit;
use crate::net::{self, BindError, Listener, Stream};
use crate::peer::Peer;
use crate::{Service, connection};

/// How long accepting rests after an error such as "too many open files".
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bound sockets that wait for connections.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    addrs: Vec<SocketAddr>,
    budget: Arc<Budget>,
}

/// The connections of a running server.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    peers: FxHashMap<Id, Arc<Peer>>,
}

impl Server {
    /// Listens on all of `addrs` (port 0: any free one). Connections queue from now on and are
    /// served by [`Server::run`]. Needs a tokio runtime around it.
    pub fn bind(addrs: &[SocketAddr], limits: Limits) -> Result<Server, BindError> {
        // As many as can run at once: with fewer a core would idle.
        let turns = tokio::runtime::Handle::current().metrics().num_workers();
        let mut server = Server {
            listeners: Vec::new(),
            addrs: Vec::new(),
            budget: Budget::new(limits, turns),
        };
        for &addr in addrs {
            let listener = net::listen(addr, server.budget.limits.backlog)?;
            server.addrs.push(
                listener
                    .local_addr()
                    .map_err(|source| BindError { addr, source })?,
            );
            server.listeners.push(listener);
        }
        Ok(server)
    }

    /// The bound addresses, in the order asked for.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Serves until `shutdown` completes; then takes no more connections and requests, lets what is
    /// being answered leave, within the limits' `drain`, and returns when every connection is
    /// closed.
    pub async fn run(self, service: Arc<dyn Service>, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut connections = Connections::default();
        let accept_log = LogLimit::new(1);
        let mut first = 0;
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(ended) = connections.tasks.join_next_with_id() => connections.forget(ended),
                accepted = accept(&self.listeners, &mut first) => match accepted {
                    Ok((stream, remote)) => connections.start(stream, remote, &self.budget, &service),
                    Err(error) => {
                        if let Some(withheld) = accept_log.allow() {
                            tracing::warn!(withheld, "can't accept a connection: {error}");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listeners);
        connections.finish(self.budget.limits.drain).await;
    }
}

/// The next connection of any listener. `first` is asked first and moves on, so that a crowd at one
/// does not shut the others out.
async fn accept(listeners: &[Listener], first: &mut usize) -> io::Result<(Stream, SocketAddr)> {
    poll_fn(|cx| {
        for offset in 0..listeners.len() {
            let index = (*first + offset) % listeners.len();
            if let Poll::Ready(accepted) = listeners[index].poll_accept(cx) {
                *first = index + 1;
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

impl Connections {
    fn start(
        &mut self,
        stream: Stream,
        remote: SocketAddr,
        budget: &Arc<Budget>,
        service: &Arc<dyn Service>,
    ) {
        let connections_max = budget.limits.connections_max;
        if self.peers.len() >= connections_max {
            if let Some(withheld) = budget.log_limit.allow() {
                tracing::warn!(peer = %remote, withheld, "connection refused: there are {connections_max} already");
            }
            return;
        }
        // Fails when the other side is gone already.
        let (Ok(()), Ok(local)) = (stream.set_nodelay(), stream.local_addr()) else {
            return;
        };
        let peer = Peer::new(remote, local, Arc::clone(budget));
        let task = self.tasks.spawn(connection::run(
            stream,
            Arc::clone(&peer),
            Arc::clone(service),
        ));
        self.peers.insert(task.id(), peer);
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!("a connection's task failed: {error}");
                error.id()
            }
        };
        self.peers.remove(&id);
    }

    async fn finish(mut self, drain: Duration) {
        self.peers.values().for_each(|peer| peer.close());
        // The connections keep to `drain` themselves; this is for one whose handler is stuck.
        if tokio::time::timeout(drain * 2, self.join()).await.is_err() {
            tracing::warn!(
                connections = self.peers.len(),
                "connections did not end in time and are cut"
            );
            self.peers.values().for_each(|peer| peer.abort());
            if tokio::time::timeout(drain, self.join()).await.is_err() {
                tracing::error!(
                    connections = self.peers.len(),
                    "connections are stuck in their handlers and left behind"
                );
            }
        }
    }

    async fn join(&mut self) {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.forget(ended);
        }
    }
}

#[cfg(test)]
mod tests;
