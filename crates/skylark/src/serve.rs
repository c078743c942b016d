//! Running servers: the runtime, signals, and what is said at the start.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use remoting::clock::{Clock, Instant, monotonic};
use store::Disk;

use crate::logging;

pub(crate) mod broker;
pub(crate) mod namesrv;
pub(crate) mod standalone;

/// When the process began, for the time a start takes.
#[derive(Clone, Copy)]
pub(crate) struct Started(Instant);

impl Started {
    pub(crate) fn now() -> Started {
        Started(monotonic())
    }

    fn ready(self) -> String {
        format!("ready in {} ms", self.0.elapsed().as_millis())
    }
}

/// The user's home, where Apache keeps what has no other place.
fn home() -> anyhow::Result<PathBuf> {
    std::env::home_dir().context(
        "there is no home directory; give storePathRootDir (broker) or kvConfigPath (nameserver)",
    )
}

/// Turns of tasks after which a busy thread looks which sockets have something new: a turn can take a third of a
/// millisecond, and the runtime's default is 61.
const SOCKETS_LOOKED_AT: u32 = 2;

/// Turns of tasks after which a worker looks at what other threads have woken: always, since these are answers to what a sync
/// has made durable, which come before new requests.
const OTHERS_LOOKED_AT: u32 = 1;

/// Starts logging and runs a server on as many threads as there are cores.
fn run(server: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    logging::start()?;
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(SOCKETS_LOOKED_AT)
        .global_queue_interval(OTHERS_LOOKED_AT)
        .build();
    runtime.context("can't start the runtime")?.block_on(server)
}

/// Connections and log files need descriptors, and the customary soft limit of 1024 is soon reached.
#[cfg(unix)]
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let before = std::mem::replace(&mut limit.current, limit.maximum);
        match setrlimit(Resource::Nofile, limit) {
            Ok(()) => {
                tracing::info!(?before, now = ?limit.maximum, "raised the limit of open files");
            }
            Err(error) => tracing::warn!(%error, "can't raise the limit of open files"),
        }
    }
}

#[cfg(not(unix))]
pub(crate) fn raise_file_limit() {}

/// How long a start waits for nameservers to take note of the broker. One that is down does not hold it up.
const REGISTRATION_WAIT: Duration = Duration::from_secs(1);

/// Starts a broker that clients can find, as far as nameservers are there.
async fn start_broker(config: ::broker::Config) -> anyhow::Result<::broker::Running> {
    let running = ::broker::Broker::start(config, Disk::Os, Clock::System).await?;
    if tokio::time::timeout(REGISTRATION_WAIT, running.registered())
        .await
        .is_err()
    {
        tracing::info!("serving, though not every nameserver has answered yet");
    }
    Ok(running)
}

/// Says that a server serves. It goes on doing so if nobody listens.
fn announce(text: &str) {
    if let Err(error) = crate::say(text) {
        tracing::debug!(%error, "nobody reads standard output");
    }
}

/// Waits for a signal or for a server to fail. From then on a signal ends the process at once, for those whom the orderly end
/// takes too long.
async fn stopped(
    mut signals: Signals,
    failed: impl Future<Output = String>,
) -> anyhow::Result<ExitCode> {
    let code = tokio::select! {
        signal = signals.next() => {
            tracing::info!("{signal}: shutting down");
            ExitCode::SUCCESS
        }
        reason = failed => {
            tracing::error!("{reason}: shutting down");
            ExitCode::FAILURE
        }
    };
    tokio::spawn(async move {
        let signal = signals.next().await;
        tracing::warn!("{signal} again: ending at once");
        std::process::exit(ABANDONED);
    });
    Ok(code)
}

/// Exit status after a second signal: 128 and the number of SIGINT.
const ABANDONED: i32 = 130;

/// Signals to end. Taken over once a server serves: a start may be broken off like a crash, and is recovered from like one.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> anyhow::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> anyhow::Result<Signals> {
        Ok(Signals)
    }

    async fn next(&mut self) -> &'static str {
        // Where it can't be listened for, it ends the process as it always does.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    }
}
