//! Nameservers: every one is told of this broker and its topics, at once when topics change and every so often anyway.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use protocol::bodies::{KvTable, RegisterBrokerBody, TopicConfigWrapper};
use protocol::codes::{request, response};
use protocol::fastjson;
use protocol::headers::nameserver::{RegisterBroker, UnregisterBroker};
use protocol::record::crc31;
use protocol::text::Text;
use remoting::clock::monotonic;
use remoting::{Body, Connection, Limits, NoRequests};
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
    let mut link = Link {
        address: &nameserver.address,
        connection: None,
    };
    let keep_telling = async {
        loop {
            let telling = *version.borrow_and_update();
            let told = link.register(&broker).await;
            note(nameserver, told, telling);
            let pause = monotonic() + broker.config.register_period;
            tokio::select! {
                () = tokio::time::sleep_until(pause) => {}
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
}

impl Link<'_> {
    async fn connect(&mut self) -> Result<&Connection, Cause> {
        let connection = match self
            .connection
            .take()
            .filter(|connection| !connection.is_closed())
        {
            Some(connection) => connection,
            None => {
                let limits = Limits::default();
                remoting::connect(self.address, Arc::new(NoRequests), &limits)
                    .await
                    .map_err(Cause::other)?
            }
        };
        Ok(self.connection.insert(connection))
    }

    async fn register(&mut self, broker: &Arc<Broker>) -> Result<(), Cause> {
        let told = broker.clone();
        let encoding = move || encode(&body(&told), limits::REGISTRATION_BYTES_MAX);
        let encoded = tokio::task::spawn_blocking(encoding).await;
        let Encoded { body, compressed } = encoded.map_err(Cause::other)??;
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
        let timeout = broker.config.register_timeout;
        let call = self
            .connect()
            .await?
            .call(request::REGISTER_BROKER, &header, body, timeout);
        let reply = match call.await {
            Ok(reply) => reply,
            Err(error) => {
                self.connection = None;
                return Err(Cause::other(error));
            }
        };
        if reply.code != response::SUCCESS {
            let remark = reply.remark.as_deref().unwrap_or("no remark");
            return Err(Cause::Other(format!("code {}, {remark}", reply.code)));
        }
        take_ordered_topics(broker, reply.body());
        Ok(())
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

/// Plain, as stock brokers send it, while it is small: the compressed form says less of each topic.
fn encode(registration: &RegisterBrokerBody, limit: usize) -> Result<Encoded, Cause> {
    let body = registration.encode();
    if body.len() <= limits::REGISTRATION_PLAIN_BYTES_MAX {
        return Ok(Encoded {
            body,
            compressed: false,
        });
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

/// What nameservers are told: all topics, with no more permissions than the broker has.
fn body(broker: &Broker) -> RegisterBrokerBody {
    let mut topics = broker.topics.state.read().to_table();
    let allowed = broker.config.broker_permission;
    if allowed & perm::READ == 0 || allowed & perm::WRITE == 0 {
        topics
            .topic_config_table
            .values_mut()
            .for_each(|config| config.perm &= allowed);
    }
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
