//! Starting and stopping: the one place where a broker is put together.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use protocol::QueueOffset;
use remoting::clock::Clock;
use remoting::{BindError, Limits, Server};
use store::{Blocking, CloseError, Disk, OpenError, Recovery, Store};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::address::{self, AddressError};
use crate::assignment::{RequestModes, Routes};
use crate::background::Background;
use crate::broker::{Broker, Identity, Saved};
use crate::clients::Clients;
use crate::cold::{ColdReads, in_place};
use crate::config::{Config, Role};
use crate::delay::{self, Delays};
use crate::dispatch::Gate;
use crate::filter::bloom::Bloom;
use crate::filter::compiled::Compiled;
use crate::filter::expressions::Expressions;
use crate::groups::Groups;
use crate::holds::Holds;
use crate::lateness::Lateness;
use crate::limits;
use crate::locks::Locks;
use crate::metadata::{MetadataError, MetadataFile};
use crate::offsets::Offsets;
use crate::pop::order::Orders;
use crate::pop::{Pops, revive};
use crate::pulled::Pulled;
use crate::registration::{self, Registration};
use crate::said::Said;
use crate::tasks::Tasks;
use crate::threads::Threads;
use crate::timer::{self, TimerState};
use crate::topics::{Boot, Topics};
use crate::transactions::{Transactions, owner};
use crate::unique_key::UniqueKeys;

#[cfg(test)]
mod tests;

/// Why a broker did not start; each is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Replication is not there yet.
    #[error(
        "brokerRole=SLAVE: this build does not replicate yet, so it can't be a slave; a later release will"
    )]
    Slave,
    /// Nor are acknowledgements of replicas.
    #[error(
        "inSyncReplicas={0}: this build does not replicate yet, so no message could ever be acknowledged; leave the key out or set it to 1"
    )]
    Replicas(i32),
    /// The advertised address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The store directory.
    #[error("store {root}: {source}", root = root.display())]
    Store {
        /// storePathRootDir.
        root: std::path::PathBuf,
        /// What is wrong with it.
        source: OpenError,
    },
    /// A file under config/.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The store directory can't take the config directory, or a thread could not be started.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// A broker that serves until [`Running::shutdown`].
pub struct Running {
    broker: Arc<Broker>,
    addrs: Vec<SocketAddr>,
    /// First the nameservers are left, then connections are closed.
    leave: watch::Sender<bool>,
    close: watch::Sender<bool>,
    registrations: Vec<JoinHandle<()>>,
    server: JoinHandle<()>,
    background: Background,
    threads: Threads,
    failure: watch::Receiver<Option<String>>,
}

impl Broker {
    /// Binds the port, opens the store, reads the metadata and serves. Nameservers that are down do not matter.
    pub async fn start(config: Config, disk: Disk, clock: Clock) -> Result<Running, StartError> {
        check(&config)?;
        let server = Server::bind(&config.listen_addrs(), Limits::default())?;
        let addrs = server.local_addrs().to_vec();
        let port = addrs.first().map_or(config.listen_port, SocketAddr::port);
        let identity = identity(&config, port).await?;
        let broker = Arc::new(assemble(config, disk, clock, identity)?);
        broker.restore_pops().map_err(|error| error.0)?;

        let (failed, failure) = watch::channel(None);
        let threads = threads(&broker, failed.clone())?;
        let background = background(&broker, failed)?;
        let (leave, close) = (watch::Sender::new(false), watch::Sender::new(false));
        let registrations = (0..broker.config.nameservers.len())
            .map(|index| tokio::spawn(registration::run(broker.clone(), index, raised(&leave))))
            .collect();
        let server = tokio::spawn(server.run(Arc::new(Gate(broker.clone())), raised(&close)));
        Ok(Running {
            broker,
            addrs,
            leave,
            close,
            registrations,
            server,
            background,
            threads,
            failure,
        })
    }
}

/// Completes once the flag is raised, or its owner gone.
fn raised(flag: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut flag = flag.subscribe();
    async move {
        let _ = flag.wait_for(|raised| *raised).await;
    }
}

fn check(config: &Config) -> Result<(), StartError> {
    if config.role == Role::Slave {
        return Err(StartError::Slave);
    }
    if config.in_sync_replicas > 1 {
        return Err(StartError::Replicas(config.in_sync_replicas));
    }
    if let Some(doubt) = config.doubt() {
        tracing::warn!("{doubt}");
    }
    Ok(())
}

/// The id under which producers look for a master: Apache gives it to every one whatever its file says.
const MASTER_ID: i64 = 0;

async fn identity(config: &Config, port: u16) -> Result<Identity, AddressError> {
    let advertised = address::advertised(config.advertised_host.as_deref(), port).await?;
    if let Some(doubt) = address::doubt(&advertised, &config.nameservers) {
        tracing::warn!("{doubt}");
    }
    if config.broker_id != MASTER_ID {
        let given = config.broker_id;
        tracing::warn!("brokerId={given}: this broker is a master, and its id is {MASTER_ID}");
    }
    let ha_host = config
        .ha_host
        .clone()
        .unwrap_or_else(|| advertised.socket.ip().to_string());
    Ok(Identity {
        cluster: config.cluster.clone(),
        broker: config.broker_name.clone(),
        broker_id: MASTER_ID,
        ha_address: format!(
            "{ha_host}:{}",
            config.ha_listen_port.unwrap_or(port.wrapping_add(1))
        ),
        advertised,
        region: config.region.clone(),
        trace_on: config.trace_on,
    })
}

/// Says what opening the store found, loudly only if something is missing.
fn report(recovery: &Recovery) {
    let (from, end) = (recovery.scanned_from.0, recovery.end.0);
    match (recovery.cut || !recovery.bad.is_empty(), recovery.clean) {
        (true, _) => tracing::warn!(
            cut = recovery.cut,
            bad = ?recovery.bad,
            from,
            end,
            "the log was damaged: what could not be read is left out"
        ),
        (false, true) => tracing::debug!(from, end, "the store had been closed in order"),
        (false, false) => tracing::info!(
            from,
            end,
            "the store had not been closed in order; nothing is missing"
        ),
    }
}

/// Groups go on at most where their queues end now. With async flush a power cut may have taken messages whose consumption was
/// saved already; what is stored in their place would be skipped.
fn lower(offsets: &mut Offsets, topics: &Topics, store: &Store) {
    let lowered = offsets.lower(|topic, queue_id| {
        topics.find(topic)?;
        let queue = store.queue(topic, queue_id);
        Some(queue.map_or(QueueOffset(0), |queue| queue.max_visible()))
    });
    if lowered > 0 {
        tracing::warn!(
            lowered,
            "committed offsets were beyond the end of their queues: the messages are lost, and the groups go on at the end"
        );
    }
}

fn assemble(
    config: Config,
    disk: Disk,
    clock: Clock,
    identity: Identity,
) -> Result<Broker, StartError> {
    let now_ms = clock.now_ms();
    let metadata = config.store.root.join("config");
    disk.create_dir_all(&metadata)?;
    let file = |name: &str| MetadataFile::new(&disk, metadata.join(name));
    let (topics_file, groups_file) = (file("topics.json"), file("subscriptionGroup.json"));
    let (offsets_file, delays_file) = (file("consumerOffset.json"), file("delayOffset.json"));
    let filters_file = file("consumerFilter.json");

    let mut topics = Topics::boot(&Boot {
        cluster: &config.cluster,
        broker: &config.broker_name,
        default_queues: config.default_topic_queues,
        revive_queues: config.pop.revive_queues,
        auto_create: config.auto_create_topics,
        trace_topic: config.trace_topic.as_deref(),
    });
    if let Some(table) = topics_file.load()? {
        topics.load(table);
    }
    let mut groups = Groups::boot(config.auto_create_groups);
    if let Some(table) = groups_file.load()? {
        groups.load(table);
    }
    let orders_file = file("consumerOrderInfo.json");
    let orders = orders_file
        .load()?
        .map_or_else(Orders::default, |file| Orders::load(file, now_ms));
    let modes_file = file("messageRequestMode.json");
    let modes = modes_file
        .load()?
        .map_or_else(RequestModes::default, RequestModes::load);
    let mut offsets = offsets_file
        .load()?
        .map_or_else(Offsets::default, Offsets::load);
    let mut delays = delays_file
        .load()?
        .map_or_else(Delays::default, Delays::load);
    let compiled = Compiled::default();
    let bloom = Bloom::new(config.filter_error_rate, config.filter_groups);
    let mut expressions = Expressions::new(bloom, config.filter_dead_ms_max);
    if let Some(table) = filters_file.load()? {
        expressions.load(table, &compiled, now_ms);
    }

    for file in [&config.store.checkpoint_path, &config.store.abort_path] {
        file.parent()
            .map_or(Ok(()), |dir| disk.create_dir_all(dir))?;
    }
    let store = store::Config {
        blocking: Blocking(in_place),
        ..config.store.clone()
    };
    let opened = Store::open(store, disk.clone());
    let (store, recovery) = opened.map_err(|source| StartError::Store {
        root: config.store.root.clone(),
        source,
    })?;
    report(&recovery);
    if !recovery.clean {
        lower(&mut offsets, &topics, &store);
    }
    delays.correct(&store);

    let unique_keys = UniqueKeys::new(
        identity.advertised.socket.ip(),
        std::process::id(),
        now_ms as u32,
    );
    let orders = Saved {
        state: RwLock::new(orders),
        file: orders_file,
    };
    Ok(Broker {
        pops: Pops::new(&config.cluster, orders, now_ms),
        request_modes: Saved {
            state: RwLock::new(modes),
            file: modes_file,
        },
        routes: Routes::default(),
        registration: Arc::new(Registration::new(&config.nameservers)),
        identity: Arc::new(identity),
        store: Arc::new(store),
        topics: Saved {
            state: RwLock::new(topics),
            file: topics_file,
        },
        groups: Saved {
            state: RwLock::new(groups),
            file: groups_file,
        },
        offsets: Saved {
            state: RwLock::new(offsets),
            file: offsets_file,
        },
        pulled: Pulled::default(),
        delays: Saved {
            state: RwLock::new(delays),
            file: delays_file,
        },
        delay_lateness: Lateness::default(),
        expressions: Arc::new(Saved {
            state: RwLock::new(expressions),
            file: filters_file,
        }),
        compiled,
        clients: Mutex::new(Clients::default()),
        mismatches: AtomicU64::new(0),
        said: Said::default(),
        locks: Mutex::new(Locks::default()),
        holds: Holds::default(),
        transactions: Transactions::new(file("transactionMetrics")),
        unique_keys,
        busy: AtomicU64::new(0),
        append_failing: AtomicBool::new(false),
        flush_bell: Arc::default(),
        save_bell: Arc::default(),
        offsets_bell: Arc::default(),
        delay_bell: Arc::default(),
        index_bell: Arc::default(),
        timer: TimerState::default(),
        tasks: Tasks::default(),
        quick_disk: AtomicBool::new(true),
        cold_reads: ColdReads::default(),
        turn: AtomicU32::new(now_ms as u32),
        config,
        clock,
    })
}

/// Time between two writes of consume queues.
const WRITE_BEHIND_PERIOD: Duration = Duration::from_secs(1);
/// A worker of the runtime that the disk holds up may be the one that looks after sockets and timers, while the others sleep
/// until a task comes: then one does, this often, and whoever it wakes looks after them.
const LOOK_OUT_PERIOD: Duration = Duration::from_millis(100);
/// Time between two looks for clients that went silent.
const EXPIRE_PERIOD: Duration = Duration::from_secs(10);

fn threads(
    broker: &Arc<Broker>,
    failed: watch::Sender<Option<String>>,
) -> std::io::Result<Threads> {
    let mut threads = Threads::new(failed);
    let config = &broker.config;
    let flush_period = (!config.store.sync_flush).then_some(config.flush_interval);
    let flushing = broker.clone();
    threads.on_bell("flush", &broker.flush_bell, flush_period, move || {
        flushing.flush()
    })?;
    let indexing = broker.clone();
    let mut failing = false;
    threads.on_bell("index", &broker.index_bell, None, move || {
        indexing.index(&mut failing)
    })?;
    // What was appended before the last stop may not be indexed yet.
    broker.index_bell.ring();
    let writing = broker.clone();
    let mut failing = false;
    threads.every("write-behind", WRITE_BEHIND_PERIOD, move || {
        writing.write_behind(&mut failing);
    })?;
    let cleaning = broker.clone();
    let mut failing = false;
    threads.every("clean", config.clean_interval, move || {
        cleaning.clean(&mut failing)
    })?;
    let saving = broker.clone();
    threads.on_bell("save-topics", &broker.save_bell, None, move || {
        saving.save_topics_and_groups()
    })?;
    let saving = broker.clone();
    threads.every("save-offsets", config.offsets_interval, move || {
        saving.save_metadata()
    })?;
    let saving = broker.clone();
    threads.on_bell("save-resets", &broker.offsets_bell, None, move || {
        saving.save_metadata()
    })?;
    let saving = broker.clone();
    threads.on_bell("save-delays", &broker.delay_bell, None, move || {
        saving
            .delay_bell
            .pause(saving.config.delay_offsets_interval);
        saving.save_delays();
    })?;
    let (reading, stopped, runtime) = (broker.clone(), broker.clone(), Handle::current());
    threads.several(
        "cold-read",
        limits::COLD_READS_MAX,
        move || stopped.cold_reads.stop(),
        move || {
            // What is answered may go on to wait in a task.
            let _entered = runtime.enter();
            reading.read_what_is_cold();
        },
    )?;
    let runtime = Handle::current();
    threads.every("look-out", LOOK_OUT_PERIOD, move || {
        runtime.spawn(async {});
    })?;
    let expiring = broker.clone();
    threads.every("expire-clients", EXPIRE_PERIOD, move || {
        expiring.expire_clients()
    })?;
    Ok(threads)
}

/// The features that go on without a request.
fn background(
    broker: &Arc<Broker>,
    failed: watch::Sender<Option<String>>,
) -> std::io::Result<Background> {
    let mut background = Background::new(failed);
    // Before anything that may store timed messages: it tells how slots are cut.
    let enabled = broker.config.timer.enabled;
    let timer = enabled
        .then(|| timer::owner::Owner::open(broker))
        .transpose()?;
    for level in 1..=broker.config.store.delay_levels_ms.len() as i32 {
        background.start("delay", |stopped| {
            delay::deliver::run(broker.clone(), level, stopped)
        });
    }
    background.start("transactions", |stopped| {
        owner::run(broker.clone(), stopped)
    });
    background.start("revive", |stopped| revive::run(broker.clone(), stopped));
    if let Some(timer) = timer {
        background.start("timer", |stopped| timer.run(stopped));
    }
    Ok(background)
}

impl Running {
    /// Where it listens; the first address is the one it advertises the port of.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// What clients and nameservers are told to connect to.
    pub fn advertised(&self) -> &str {
        &self.broker.identity.advertised.text
    }

    /// The state, for tools that run in the same process.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Completes when every nameserver has been told of the broker, or could not be.
    pub async fn registered(&self) {
        self.broker.registration.tried().await;
    }

    /// Completes when the broker can't go on, with the reason.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.clone();
        match failure.wait_for(Option::is_some).await {
            Ok(failure) => failure.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Leaves the nameservers, answers what is under way, closes connections, saves and closes the store.
    pub async fn shutdown(self) -> Result<(), CloseError> {
        self.leave.send_replace(true);
        for registration in self.registrations {
            join("registration", registration).await;
        }
        self.broker.holds.stop().await;
        self.background.stop().await;
        self.close.send_replace(true);
        join("server", self.server).await;
        self.broker.tasks.join().await;
        let (broker, threads) = (self.broker, self.threads);
        let closing = tokio::task::spawn_blocking(move || {
            threads.join();
            broker.save_metadata();
            broker.store.close()
        });
        match closing.await {
            Ok(closed) => closed,
            Err(error) => std::panic::resume_unwind(Box::new(error)),
        }
    }
}

async fn join(name: &str, task: JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(%error, "the {name} task failed");
    }
}
