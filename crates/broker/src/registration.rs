//! Nameservers: every one is told of this broker and its topics, at once when topics change and every so often anyway.
//!
//! A registration (103) names all topics, and takes the nameserver a while where there are many. So while its connection
//! lasts, a nameserver that has had one of more than [`limits::TOPICS_TOLD_WHOLE`] topics is told like this:
//!
//! | when | what | as stock brokers with |
//! |---|---|---|
//! | topics change | each of them (217), which costs as much as they do; all of them if the nameserver refuses that | enableSingleTopicRegister |
//! | every period | the version of the topics (322), a sign of life too; all of them if the nameserver has another | forceRegister=false |
//! | now and then | all of them, so that what was lost or changed in the nameserver comes back | - |

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use protocol::bodies::{
    DataVersion, KvTable, QueueData, RegisterBrokerBody, TopicConfig, TopicConfigTable,
    TopicConfigWrapper, TopicRoute,
};
use protocol::codes::{request, response};
use protocol::command::Header;
use protocol::fastjson;
use protocol::headers::nameserver::{
    QueryDataVersion, QueryDataVersionResponse, RegisterBroker, RegisterTopic, UnregisterBroker,
};
use protocol::record::crc31;
use protocol::text::Text;
use remoting::clock::monotonic;
use remoting::{Body, CallError, Connection, Limits, NoRequests, Reply};
use tokio::sync::watch;

use crate::broker::Broker;
use crate::limits;
use crate::topics::perm;

#[cfg(test)]
mod tests;

/// How registration with every nameserver stands.
pub(crate) struct Registration {
    /// Counts changes of topics.
    version: watch::Sender<u64>,
    nameservers: Vec<Nameserver>,
}

struct Nameserver {
    address: String,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not tried yet.
    New,
    /// Knows the topics as of this version.
    Told(u64),
    /// Out of reach: nobody waits for it.
    Down,
}

/// Why a nameserver does not know this broker.
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{0}")]
    Other(String),
    #[error(
        "the registration of {topics} topics takes {bytes} bytes compressed, and a frame holds {limit}: clients will not find this \
         broker until topics are deleted"
    )]
    TooLarge {
        topics: usize,
        bytes: usize,
        limit: usize,
    },
}

impl Cause {
    fn other(error: impl ToString) -> Cause {
        Cause::Other(error.to_string())
    }
}

impl Registration {
    pub(crate) fn new(addresses: &[String]) -> Registration {
        let nameserver = |address: &String| Nameserver {
            address: address.clone(),
            state: watch::Sender::new(State::New),
        };
        Registration {
            version: watch::Sender::new(0),
            nameservers: addresses.iter().map(nameserver).collect(),
        }
    }

    /// Topics changed: to be told as soon as possible, several changes at once if they come faster than that.
    pub(crate) fn topics_changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// Completes when every nameserver within reach knows the topics as they are now, or after [`limits::TOLD_MAX`].
    pub(crate) async fn told(&self) {
        let wanted = *self.version.borrow();
        let all = self.all(|state| match state {
            State::New => false,
            State::Told(version) => version >= wanted,
            State::Down => true,
        });
        if tokio::time::timeout(limits::TOLD_MAX, all).await.is_err() {
            tracing::warn!("a nameserver took too long to learn of a new topic");
        }
    }

    /// Completes when the first attempt with every nameserver is over.
    pub(crate) async fn tried(&self) {
        self.all(|state| state != State::New).await;
    }

    async fn all(&self, reached: impl Fn(State) -> bool) {
        for nameserver in &self.nameservers {
            let mut state = nameserver.state.subscribe();
            // An error can't be: the sender is in `self`.
            let _ = state.wait_for(|state| reached(*state)).await;
        }
    }
}

/// Keeps one nameserver informed until `shutdown`, then says good-bye.
pub(crate) async fn run(broker: Arc<Broker>, index: usize, shutdown: impl Future<Output = ()>) {
    let nameserver = &broker.registration.nameservers[index];
    let mut version = broker.registration.version.subscribe();
    let mut link = Link::new(&nameserver.address);
    let keep_telling = async {
        let mut due = monotonic();
        loop {
            let telling = *version.borrow_and_update();
            let now = monotonic();
            let told = match now >= due {
                true => link.beat(&broker).await,
                false => link.tell_changes(&broker).await,
            };
            if now >= due || told.is_err() {
                due = monotonic() + broker.config.register_period;
            }
            note(nameserver, told, telling);
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                // The registration keeps its own sender.
                _ = version.changed() => {}
            }
        }
    };
    tokio::select! {
        () = keep_telling => {}
        () = shutdown => {}
    }
    if *nameserver.state.borrow() != State::Down {
        link.unregister(&broker).await;
    }
    link.close().await;
}

/// Logs a nameserver's coming and going once each.
fn note(nameserver: &Nameserver, told: Result<(), Cause>, version: u64) {
    let address = &nameserver.address;
    let before = *nameserver.state.borrow();
    match (&told, before) {
        (Ok(()), State::Told(_)) | (Err(_), State::Down) => {}
        (Ok(()), _) => tracing::info!(nameserver = address, "registered"),
        (Err(cause @ Cause::TooLarge { .. }), _) => {
            tracing::error!(nameserver = address, "not registered: {cause}")
        }
        (Err(cause), _) => tracing::warn!(
            nameserver = address,
            "not registered, will keep trying: {cause}"
        ),
    }
    nameserver.state.send_replace(if told.is_ok() {
        State::Told(version)
    } else {
        State::Down
    });
}

/// The connection to one nameserver, made anew when it was lost.
struct Link<'a> {
    address: &'a str,
    connection: Option<Connection>,
    /// What was told over this connection; `None`: the whole has to be told.
    known: Option<Known>,
    /// It was told of single topics over this connection, and would not have it.
    refuses_single: bool,
}

/// What a nameserver knows of the topics.
struct Known {
    /// All changes up to here.
    changes: u64,
    /// The version it was given with all topics.
    version: DataVersion,
    /// Signs of life since then.
    beats: u32,
}

/// Every so many signs of life all topics are told.
const BEATS_WITHOUT_TOPICS: u32 = 10;

impl Link<'_> {
    fn new(address: &str) -> Link<'_> {
        Link {
            address,
            connection: None,
            known: None,
            refuses_single: false,
        }
    }

    async fn connect(&mut self) -> Result<&Connection, Cause> {
        let connection = match self
            .connection
            .take()
            .filter(|connection| !connection.is_closed())
        {
            Some(connection) => connection,
            None => {
                self.known = None;
                self.refuses_single = false;
                let limits = Limits::default();
                remoting::connect(self.address, Arc::new(NoRequests), &limits)
                    .await
                    .map_err(Cause::other)?
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// Lets the nameserver know that the broker is there, and what it may have missed.
    async fn beat(&mut self, broker: &Arc<Broker>) -> Result<(), Cause> {
        self.connect().await?;
        let (count, version) = {
            let topics = broker.topics.state.read();
            (topics.len(), topics.version())
        };
        match &mut self.known {
            Some(known)
                if count > limits::TOPICS_TOLD_WHOLE
                    && known.version == version
                    && known.beats < BEATS_WITHOUT_TOPICS =>
            {
                known.beats += 1;
            }
            _ => return self.register(broker).await,
        }
        let identity = &broker.identity;
        let header = QueryDataVersion {
            broker_name: Text::plain(&identity.broker),
            broker_addr: Text::plain(&identity.advertised.text),
            cluster_name: Text::plain(&identity.cluster),
            broker_id: identity.broker_id,
        };
        let body = fastjson::to_vec(&version);
        let reply = self
            .call(broker, request::QUERY_DATA_VERSION, &header, body)
            .await?;
        let answer = reply.header::<QueryDataVersionResponse>();
        match answer.map_err(Cause::other)?.changed {
            true => self.register(broker).await,
            false => Ok(()),
        }
    }

    /// Tells of the topics that have changed; of all if it is not known which, if all are few, or if the nameserver takes
    /// nothing else.
    async fn tell_changes(&mut self, broker: &Arc<Broker>) -> Result<(), Cause> {
        self.connect().await?;
        let known = self.known.as_ref().filter(|_| !self.refuses_single);
        let changed = known.and_then(|known| {
            let topics = broker.topics.state.read();
            let changed = topics.changed_since(known.changes)?;
            (topics.len() > limits::TOPICS_TOLD_WHOLE).then(|| (topics.changes(), changed))
        });
        let (Some((changes, changed)), Some(connection)) = (changed, &self.connection) else {
            return self.register(broker).await;
        };
        let timeout = broker.config.register_timeout;
        let calls: Vec<_> = changed
            .iter()
            .map(|config| {
                let topic = Text::plain(&config.topic_name);
                let body = fastjson::to_vec(&route(broker, config));
                let header = RegisterTopic { topic };
                connection.call(request::REGISTER_TOPIC_IN_NAMESRV, &header, body, timeout)
            })
            .collect();
        for call in calls {
            match call.await {
                Ok(reply) if reply.code != response::SUCCESS => {
                    let (nameserver, code) = (self.address, reply.code);
                    tracing::info!(
                        nameserver,
                        code,
                        remark = reply.remark,
                        "takes no single topics"
                    );
                    self.refuses_single = true;
                    return self.register(broker).await;
                }
                answer => self.good(answer)?,
            };
        }
        if let Some(known) = &mut self.known {
            known.changes = changes;
        }
        Ok(())
    }

    /// Tells of the broker and all its topics.
    async fn register(&mut self, broker: &Arc<Broker>) -> Result<(), Cause> {
        let told = broker.clone();
        let encoding = move || {
            let (changes, body) = body(&told);
            let version = body.topic_config_serialize_wrapper.data_version;
            let known = Known {
                changes,
                version,
                beats: 0,
            };
            encode(&body, limits::REGISTRATION_BYTES_MAX).map(|encoded| (known, encoded))
        };
        let encoded = tokio::task::spawn_blocking(encoding).await;
        let (known, Encoded { body, compressed }) = encoded.map_err(Cause::other)??;
        let identity = &broker.identity;
        let header = RegisterBroker {
            broker_name: Text::plain(&identity.broker),
            broker_addr: Text::plain(&identity.advertised.text),
            cluster_name: Text::plain(&identity.cluster),
            ha_server_addr: Text::plain(&identity.ha_address),
            broker_id: identity.broker_id,
            heartbeat_timeout_millis: None,
            enable_acting_master: Some(false),
            compressed,
            body_crc32: crc31(&body) as i32,
            zone_name: None,
        };
        let reply = self
            .call(broker, request::REGISTER_BROKER, &header, body)
            .await?;
        // On this connection, be it a new one.
        self.known = Some(known);
        take_ordered_topics(broker, reply.body());
        Ok(())
    }

    /// Asks, and takes only a success for an answer.
    async fn call<'h>(
        &mut self,
        broker: &Broker,
        code: i32,
        header: &impl Header<'h>,
        body: Vec<u8>,
    ) -> Result<Reply, Cause> {
        let timeout = broker.config.register_timeout;
        let call = self.connect().await?.call(code, header, body, timeout);
        let answer = call.await;
        self.good(answer)
    }

    /// After anything else the nameserver is told all, over another connection if this one may be at fault.
    fn good(&mut self, answer: Result<Reply, CallError>) -> Result<Reply, Cause> {
        match answer {
            Ok(reply) if reply.code == response::SUCCESS => Ok(reply),
            Ok(reply) => {
                self.known = None;
                let remark = reply.remark.as_deref().unwrap_or("no remark");
                Err(Cause::Other(format!("code {}, {remark}", reply.code)))
            }
            Err(error) => {
                self.known = None;
                self.connection = None;
                Err(Cause::other(error))
            }
        }
    }

    /// Best effort: a nameserver that does not hear it forgets the broker by itself, later.
    async fn unregister(&mut self, broker: &Broker) {
        let identity = &broker.identity;
        let header = UnregisterBroker {
            broker_name: Text::plain(&identity.broker),
            broker_addr: Text::plain(&identity.advertised.text),
            cluster_name: Text::plain(&identity.cluster),
            broker_id: identity.broker_id,
        };
        let Ok(connection) = self.connect().await else {
            return;
        };
        if let Err(error) = connection
            .call(
                request::UNREGISTER_BROKER,
                &header,
                Body::None,
                UNREGISTER_TIMEOUT,
            )
            .await
        {
            tracing::warn!(nameserver = self.address, %error, "could not unregister");
        }
    }

    async fn close(self) {
        if let Some(connection) = self.connection {
            connection.close().await;
        }
    }
}

const UNREGISTER_TIMEOUT: Duration = Duration::from_secs(3);

/// A registration's body.
struct Encoded {
    body: Vec<u8>,
    compressed: bool,
}

/// What a topic takes in a plain registration at least.
const PLAIN_TOPIC_BYTES_MIN: usize = 140;

/// Plain, as stock brokers send it, while it is small: the compressed form says less of each topic.
fn encode(registration: &RegisterBrokerBody, limit: usize) -> Result<Encoded, Cause> {
    let wrapper = &registration.topic_config_serialize_wrapper;
    let bytes_min = wrapper.topic_config_table.len() * PLAIN_TOPIC_BYTES_MIN;
    if bytes_min <= limits::REGISTRATION_PLAIN_BYTES_MAX {
        let body = registration.encode();
        if body.len() <= limits::REGISTRATION_PLAIN_BYTES_MAX {
            return Ok(Encoded {
                body,
                compressed: false,
            });
        }
    }
    let body = registration.encode_compressed().map_err(Cause::other)?;
    if body.len() > limit {
        let topics = &registration
            .topic_config_serialize_wrapper
            .topic_config_table;
        return Err(Cause::TooLarge {
            topics: topics.len(),
            bytes: body.len(),
            limit,
        });
    }
    Ok(Encoded {
        body,
        compressed: true,
    })
}

/// The permissions of a topic as nameservers are told: no more than the broker has.
fn allowed_perm(broker: &Broker, perm: i32) -> i32 {
    let allowed = broker.config.broker_permission;
    match allowed & perm::READ == 0 || allowed & perm::WRITE == 0 {
        true => perm & allowed,
        false => perm,
    }
}

/// What nameservers are told of one topic.
fn route(broker: &Broker, config: &TopicConfig) -> TopicRoute {
    TopicRoute {
        queue_datas: vec![QueueData {
            broker_name: broker.identity.broker.clone(),
            perm: allowed_perm(broker, config.perm),
            read_queue_nums: config.read_queue_nums,
            topic_sys_flag: config.topic_sys_flag,
            write_queue_nums: config.write_queue_nums,
        }],
        ..TopicRoute::default()
    }
}

/// What nameservers are told of all topics, and the changes that are in it.
fn body(broker: &Broker) -> (u64, RegisterBrokerBody) {
    let (changes, topics) = {
        let topics = broker.topics.state.read();
        (topics.changes(), topics.snapshot())
    };
    let mut topics = topics.to_table();
    for config in topics.topic_config_table.values_mut() {
        config.perm = allowed_perm(broker, config.perm);
    }
    let body = registration(topics);
    (changes, body)
}

fn registration(topics: TopicConfigTable) -> RegisterBrokerBody {
    RegisterBrokerBody {
        topic_config_serialize_wrapper: TopicConfigWrapper {
            data_version: topics.data_version,
            topic_config_table: topics.topic_config_table,
            ..TopicConfigWrapper::default()
        },
        ..RegisterBrokerBody::default()
    }
}

/// Nameservers know which topics are ordered.
fn take_ordered_topics(broker: &Broker, body: &[u8]) {
    if body.is_empty() {
        return;
    }
    match fastjson::from_slice::<KvTable>(body) {
        Ok(ordered) => {
            let topics = ordered.table.keys().map(String::as_str);
            let changed = broker
                .topics
                .state
                .write()
                .mark_ordered(topics, broker.clock.now_ms());
            if changed {
                broker.topics_changed();
            }
        }
        Err(error) => tracing::warn!(%error, "a nameserver's list of ordered topics can't be read"),
    }
}
