//! The broker's state in one value, and the lookups that make what is missing: topics and groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use protocol::QueueOffset;
use protocol::bodies::{MessageQueue, SubscriptionGroup, TopicConfig};
use protocol::codes::request;
use protocol::headers::client::NotifyConsumerIdsChanged;
use protocol::headers::send::SendMessageV2;
use protocol::text::Text;
use remoting::clock::Clock;
use remoting::{Body, Peer};
use store::{AppendError, Appended, Store};

use crate::address::Advertised;
use crate::assignment::{RequestModes, Routes};
use crate::clients::Clients;
use crate::cold::ColdReads;
use crate::config::Config;
use crate::delay::Delays;
use crate::filter::compiled::Compiled;
use crate::filter::expressions::Expressions;
use crate::groups::Groups;
use crate::handlers::send::checks::Own;
use crate::holds::Holds;
use crate::lateness::{Lateness, LatenessReport};
use crate::locks::Locks;
use crate::metadata::MetadataFile;
use crate::offsets::Offsets;
use crate::pop::Pops;
use crate::pulled::Pulled;
use crate::registration::Registration;
use crate::said::Said;
use crate::tasks::Tasks;
use crate::threads::Bell;
use crate::timer::TimerState;
use crate::topics::{NotCreated, RETRY_PREFIX, Topics, UNIT, UNIT_SUBSCRIBED};
use crate::transactions::Transactions;
use crate::unique_key::UniqueKeys;

/// A running broker: built by [`crate::start`], shared by every connection, thread and task.
/// No lock is held while another is taken, except where a file's turn is (metadata.rs).
pub struct Broker {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) identity: Arc<Identity>,
    pub(crate) store: Arc<Store>,
    pub(crate) topics: Saved<Topics>,
    pub(crate) groups: Saved<Groups>,
    pub(crate) offsets: Saved<Offsets>,
    pub(crate) pulled: Pulled,
    pub(crate) delays: Saved<Delays>,
    pub(crate) delay_lateness: Lateness,
    pub(crate) expressions: Arc<Saved<Expressions>>,
    pub(crate) compiled: Compiled,
    pub(crate) clients: Mutex<Clients<Arc<Peer>>>,
    /// Times that a client's subscriptions were others than those of its group.
    pub(crate) mismatches: AtomicU64,
    pub(crate) said: Said,
    pub(crate) locks: Mutex<Locks>,
    pub(crate) pops: Pops,
    pub(crate) request_modes: Saved<RequestModes>,
    pub(crate) routes: Routes,
    pub(crate) holds: Holds,
    pub(crate) transactions: Transactions,
    pub(crate) unique_keys: UniqueKeys,
    /// Appends refused because the disk did not keep up.
    pub(crate) busy: AtomicU64,
    /// The last append failed: said once, and once more when one succeeds.
    pub(crate) append_failing: AtomicBool,
    pub(crate) registration: Arc<Registration>,
    /// Rung after appends that wait for a flush.
    pub(crate) flush_bell: Arc<Bell>,
    /// Rung after topics or groups changed.
    pub(crate) save_bell: Arc<Bell>,
    /// Rung after offsets were set by an operator.
    pub(crate) offsets_bell: Arc<Bell>,
    /// Rung after delayed messages were delivered.
    pub(crate) delay_bell: Arc<Bell>,
    /// Rung after appends.
    pub(crate) index_bell: Arc<Bell>,
    pub(crate) timer: TimerState,
    pub(crate) tasks: Tasks,
    /// The last flush was over within [`crate::limits::FLUSH_HERE_MAX`].
    pub(crate) quick_disk: AtomicBool,
    pub(crate) cold_reads: ColdReads,
    pub(crate) turn: AtomicU32,
}

/// What the broker is called.
pub(crate) struct Identity {
    pub(crate) cluster: String,
    pub(crate) broker: String,
    pub(crate) broker_id: i64,
    pub(crate) advertised: Advertised,
    /// Where slaves would connect, `host:port`.
    pub(crate) ha_address: String,
    pub(crate) region: String,
    pub(crate) trace_on: bool,
}

impl Identity {
    /// The advertised host, for remarks.
    pub(crate) fn host(&self) -> String {
        self.advertised.socket.ip().to_string()
    }

    /// What it puts into every message.
    pub(crate) fn own(&self) -> Own<'_> {
        Own {
            region: &self.region,
            trace_on: self.trace_on,
            cluster: &self.cluster,
        }
    }
}

/// State with the file that keeps it over a restart.
pub(crate) struct Saved<T> {
    pub(crate) state: RwLock<T>,
    pub(crate) file: MetadataFile,
}

impl Broker {
    pub(crate) fn topic(&self, topic: &str) -> Option<Arc<TopicConfig>> {
        self.topics.state.read().find(topic).cloned()
    }

    /// The topic of a send that is not there: a new one in the image of the one the client names.
    pub(crate) fn make_topic(
        &self,
        topic: &str,
        header: &SendMessageV2<'_>,
    ) -> Result<Arc<TopicConfig>, NotCreated> {
        let retry = topic.starts_with(RETRY_PREFIX);
        let sys_flag = match (header.unit_mode.unwrap_or(false), retry) {
            (false, _) => 0,
            (true, false) => UNIT,
            (true, true) => UNIT_SUBSCRIBED,
        };
        let template = header.default_topic.to_str();
        let queues = header.default_topic_queue_nums;
        let now_ms = self.clock.now_ms();
        let mut topics = self.topics.state.write();
        let made = match topics.create_like(topic, &template, queues, sys_flag, now_ms) {
            Err(NotCreated::NoTemplate) if retry => {
                topics.create(topic, 1, false, sys_flag, now_ms)
            }
            made => made,
        };
        drop(topics);
        if let Ok(config) = &made {
            tracing::info!(
                topic,
                queues = config.write_queue_nums,
                "made a topic by sending to it"
            );
            self.topics_changed();
        }
        made
    }

    /// A topic the broker itself needs: made, or marked as (not) ordered, if it is not there like that.
    pub(crate) fn own_topic(
        &self,
        topic: &str,
        queues: i32,
        order: bool,
        sys_flag: i32,
    ) -> Result<(), NotCreated> {
        let known = self.topic(topic);
        if known.is_some_and(|config| config.order == order) {
            return Ok(());
        }
        let now_ms = self.clock.now_ms();
        let mut topics = self.topics.state.write();
        topics.create(topic, queues, order, sys_flag, now_ms)?;
        drop(topics);
        tracing::info!(topic, queues, "made a topic for a consumer group");
        self.topics_changed();
        Ok(())
    }

    /// To be saved, and told to nameservers; not by the caller, who has no time for that.
    pub(crate) fn topics_changed(&self) {
        self.save_bell.ring();
        self.registration.topics_changed();
    }

    /// The group's settings; a new group gets the default ones if that is allowed.
    pub(crate) fn group(&self, group: &str) -> Option<Arc<SubscriptionGroup>> {
        if let Some(known) = self.groups.state.read().find(group) {
            return Some(known.clone());
        }
        let made = self
            .groups
            .state
            .write()
            .create(group, self.clock.now_ms())?;
        tracing::info!(group, "made a subscription group");
        self.save_bell.ring();
        Some(made)
    }

    /// Tells the members of a group to share its queues anew.
    pub(crate) fn tell_members(&self, group: &str) {
        let wanted = self
            .groups
            .state
            .read()
            .find(group)
            .is_none_or(|config| config.notify_consumer_ids_changed_enable);
        if !wanted || !self.config.notify_members {
            return;
        }
        let members = self.clients.lock().sharing(group);
        let header = NotifyConsumerIdsChanged {
            consumer_group: Text::plain(group),
        };
        for member in members {
            // One whose connection is gone will leave the group by itself.
            let _ = member.notify(request::NOTIFY_CONSUMER_IDS_CHANGED, &header, Body::None);
        }
    }

    /// A queue of this broker, as bodies name it.
    pub(crate) fn message_queue(&self, topic: &str, queue_id: i32) -> MessageQueue {
        MessageQueue {
            broker_name: self.identity.broker.clone(),
            queue_id,
            topic: topic.to_owned(),
        }
    }

    /// How often a member came to a consumer group, or changed its mind, whose subscriptions are not those of the others.
    pub fn subscription_mismatches(&self) -> u64 {
        self.mismatches.load(Ordering::Relaxed)
    }

    /// Pulls that wait for a message right now.
    pub fn holding(&self) -> usize {
        self.holds.count()
    }

    /// The group will go on there; false, and it will not, if it was reset and no pull has told it yet.
    pub(crate) fn commit_offset(
        &self,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: QueueOffset,
    ) -> bool {
        let mut offsets = self.offsets.state.write();
        offsets.commit(group, topic, queue_id, offset, self.clock.now_ms())
    }

    /// Where an operator set the group, for the first pull (or pop) since; from then on its commits count again.
    pub(crate) fn take_reset(
        &self,
        group: &str,
        topic: &str,
        queue_id: i32,
    ) -> Option<QueueOffset> {
        if !self.offsets.state.read().has_resets() {
            return None;
        }
        let mut offsets = self.offsets.state.write();
        offsets.take_reset(group, topic, queue_id)
    }

    /// Logs when appends begin to fail and when they succeed again. What is wrong with a single message is no failure.
    pub(crate) fn report_append(&self, appended: &Result<Appended, AppendError>) {
        let failing = &self.append_failing;
        match appended {
            Ok(_) if failing.load(Ordering::Relaxed) => {
                if failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("messages are taken again");
                }
            }
            Ok(_) | Err(AppendError::TooLarge { .. }) => {}
            Err(error) => {
                let busy = matches!(error, AppendError::Busy { .. });
                if busy {
                    self.busy.fetch_add(1, Ordering::Relaxed);
                }
                if failing.swap(true, Ordering::Relaxed) {
                    return;
                }
                if busy {
                    tracing::warn!(%error, "sends are refused");
                } else {
                    tracing::error!(%error, "sends are refused");
                }
            }
        }
    }

    /// There is something new in the log: to be flushed if somebody waits for that, and to be indexed.
    pub(crate) fn appended(&self) {
        if self.config.store.sync_flush {
            self.flush_bell.ring();
        }
        self.index_bell.ring();
    }

    /// Appends that were refused because the disk did not keep up.
    pub fn refused_busy(&self) -> u64 {
        self.busy.load(Ordering::Relaxed)
    }

    /// How late the background features are, by name.
    pub fn lateness(&self) -> Vec<(&'static str, LatenessReport)> {
        vec![
            ("delay", self.delay_lateness.report()),
            ("timer", self.timer.lateness.report()),
            ("transactions", self.transactions.lateness.report()),
            ("revive", self.pops.lateness.report()),
        ]
    }

    /// A number to choose a queue by: each call the next one, so that queues fill evenly.
    pub(crate) fn next_turn(&self) -> u32 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}
