//! The nameserver: routes, broker registration and expiry, KV configuration.
//!
//! Nameservers don't know each other: a broker registers with every one, a client asks any one.

mod config;
mod dispatch;
mod handlers;
mod kv;
mod limits;
mod routes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use remoting::clock::Clock;
use remoting::{BindError, ConnectError, LogLimit, Request, Server, net};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use config::Config;
pub use kv::{KvFile, OpenError, Replace};

use crate::handlers::make_changes;
use crate::kv::Kv;
use crate::limits::{KV_CHANGES_MAX, LOGGED_MAX};
use crate::routes::Routes;

/// Why a nameserver does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `bindAddress` is no address.
    #[error("bindAddress: {0}")]
    Address(#[from] ConnectError),
    /// The port can't be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// What is in `kvConfigPath` can't be read.
    #[error(transparent)]
    KvConfig(#[from] OpenError),
}

/// A running nameserver.
#[derive(Debug)]
pub struct Nameserver {
    addrs: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 3],
}

/// What its requests work on.
struct Shared {
    config: Config,
    clock: Clock,
    started_ms: i64,
    routes: RwLock<Routes>,
    kv: Arc<Kv>,
    kv_changes: mpsc::Sender<Request>,
    /// For lines about what admins do.
    log: LogLimit,
}

impl Nameserver {
    /// Starts to listen and to serve.
    pub async fn start(
        config: Config,
        kv_file: KvFile,
        clock: Clock,
    ) -> Result<Nameserver, StartError> {
        let kv = Arc::new(Kv::open(kv_file)?);
        let addrs =
            net::resolve(&format!("{}:{}", config.bind_address, config.listen_port)).await?;
        let server = Server::bind(&addrs, config.limits())?;
        let addrs = server.local_addrs().to_vec();
        let scan_every = config.scan_every();
        let started_ms = clock.now_ms();
        let (kv_changes, asked) = mpsc::channel(KV_CHANGES_MAX);
        let changing = tokio::spawn(make_changes(Arc::clone(&kv), asked));
        let shared = Arc::new(Shared {
            config,
            clock,
            started_ms,
            routes: RwLock::new(Routes::new()),
            kv,
            kv_changes,
            log: LogLimit::new(LOGGED_MAX),
        });

        let (stop, stopped) = watch::channel(false);
        let expiry = tokio::spawn(expire(Arc::clone(&shared), scan_every, stopped.clone()));
        let serving = tokio::spawn(server.run(shared, told_to_stop(stopped)));
        Ok(Nameserver {
            addrs,
            stop,
            // The last one ends when the others have let go of `shared`.
            tasks: [expiry, serving, changing],
        })
    }

    /// Where it listens.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Lets what is being answered leave, and ends.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!("a nameserver task failed: {error}");
            }
        }
    }
}

async fn told_to_stop(mut stopped: watch::Receiver<bool>) {
    // An error means that the nameserver was dropped, which stops it as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Forgets brokers that are no longer heard of.
async fn expire(shared: Arc<Shared>, every: Duration, stopped: watch::Receiver<bool>) {
    let mut stopped = std::pin::pin!(told_to_stop(stopped));
    loop {
        tokio::select! {
            () = &mut stopped => return,
            () = tokio::time::sleep(every) => {}
        }
        let expired = shared.routes.write().expire(shared.clock.now_ms());
        expired.iter().for_each(|peer| peer.close());
    }
}

#[cfg(test)]
mod tests;
