//! The task that owns the open half messages: reads them, ends them, asks after them. A bounded amount of work a turn.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protocol::codes::{request, response};
use protocol::command::NoHeader;
use protocol::headers::transaction::CheckTransactionState;
use protocol::message_id::MessageId;
use protocol::record::{Outline, Record};
use protocol::text::Text;
use protocol::{LogOffset, QueueOffset};
use remoting::{Body, ReplyTo};
use store::disk::Wait;
use store::{AppendError, Appended, Queue, QueueNameError, ReadError, ReadLimits};

use super::half::{self, Facts, Rules};
use super::table::{Move, Place, Read, Table};
use super::{End, GROUP, ops};
use crate::background::Stopped;
use crate::broker::Broker;
use crate::limits;
use crate::message::{Message, PutError};
use crate::refusal::Refusal;
use crate::topics;

/// Half messages read, checked or moved in one turn.
const HALVES_TURN: usize = 256;
/// Ends worked off in one turn.
const ENDS_TURN: usize = 2_048;
/// Bodies put into the log with one append.
const PUT_BYTES: usize = 1 << 20;
/// What could not be done is tried again after this.
const RETRY_MS: i64 = 1_000;
/// Time between two turns of which the first failed.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

pub(super) const READ_LIMITS: ReadLimits = ReadLimits {
    messages_max: HALVES_TURN,
    bytes_max: 4 << 20,
    hot_window_bytes: i64::MAX,
    hot_bytes_max: 4 << 20,
    hot_messages_max: HALVES_TURN,
    cold_bytes_max: 4 << 20,
    cold_messages_max: HALVES_TURN,
    scan_bytes_max: 0,
    wait: Wait::ForDisk,
};

/// See the module's first line.
pub(crate) struct Owner {
    pub(super) broker: Arc<Broker>,
    pub(super) rules: Rules,
    pub(super) halves: Arc<Queue>,
    pub(super) ops: Arc<Queue>,
    pub(super) table: Table,
    pub(super) written: ops::Written,
    pub(super) topics: HashMap<Box<str>, Arc<str>>,
    /// Ends of half messages that have not been read yet.
    waiting: Vec<End>,
    /// Whom to ask next.
    turn: usize,
    /// End of what was written last.
    end: LogOffset,
    /// What is committed once the log is durable up to a place.
    committing: Option<Commit>,
    pub(super) committed: (i64, i64),
    /// Something could not be read or written in the last turn.
    failed: bool,
}

/// Where the queues have to be read from, if everything before `end` is durable.
#[derive(Clone, Copy, Debug)]
struct Commit {
    offsets: (i64, i64),
    end: LogOffset,
}

/// An end that is to be written.
struct Decided {
    what: What,
    /// What it delivers.
    message: Option<Message>,
    reply: ReplyTo,
}

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The half message at a queue offset.
    Open(i64),
    /// The one with this origin that was put aside there.
    Aside(i64, LogOffset),
}

/// What is to happen to a half message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Copy(Move),
    PutAside,
}

/// Serves transactions until the broker stops.
pub(crate) async fn run(broker: Arc<Broker>, mut stopped: Stopped) {
    let mut owner = match Owner::new(broker.clone()) {
        Ok(owner) => owner,
        Err(error) => {
            tracing::error!(%error, "no transactions");
            return broker.transactions.close();
        }
    };
    tokio::select! {
        () = owner.rebuild_until_it_works() => {}
        () = stopped.wait() => return broker.transactions.close(),
    }
    let mut busy = true;
    loop {
        tokio::select! {
            biased;
            () = stopped.wait() => break,
            () = owner.event(busy) => {}
        }
        busy = owner.turn();
    }
    // What was handed in before is done; what comes now is refused.
    broker.transactions.close();
    while !broker.transactions.is_idle() {
        owner.turn();
    }
    owner.refuse_waiting();
}

impl Owner {
    pub(super) fn new(broker: Arc<Broker>) -> Result<Owner, QueueNameError> {
        Ok(Owner {
            rules: broker.config.transaction_rules(),
            halves: broker.store.queue_or_create(topics::HALF, 0)?,
            ops: broker.store.queue_or_create(topics::HALF_DONE, 0)?,
            table: Table::default(),
            written: ops::Written::default(),
            topics: HashMap::new(),
            waiting: Vec::new(),
            turn: 0,
            end: LogOffset(0),
            committing: None,
            committed: (-1, -1),
            failed: false,
            broker,
        })
    }

    /// Completes when there is something to do.
    fn event(&self, busy: bool) -> impl Future<Output = ()> + Send + use<> {
        let (broker, halves) = (self.broker.clone(), self.halves.clone());
        let next = QueueOffset(self.table.next());
        let wake_ms = self.table.wake_ms();
        let (committing, failed) = (self.committing, self.failed);
        async move {
            if failed {
                // The same again would fail as well; ends are answered meanwhile.
                tokio::select! {
                    () = broker.transactions.bell.notified() => {}
                    () = tokio::time::sleep(FAILED_PAUSE) => {}
                }
                return;
            }
            if busy {
                return tokio::task::yield_now().await;
            }
            tokio::select! {
                () = broker.transactions.bell.notified() => {}
                () = halves.arrival(next) => {}
                () = broker.clock.reached(wake_ms.unwrap_or(0)), if wake_ms.is_some() => {}
                () = durable(&broker, committing), if committing.is_some() => {}
            }
        }
    }

    /// A bounded amount of what there is to do; returns whether there is more.
    pub(super) fn turn(&mut self) -> bool {
        self.failed = false;
        let mut more = self.read();
        more |= self.end();
        more |= self.look_after();
        let open = &self.broker.transactions.open;
        open.store(self.table.len(), Ordering::Relaxed);
        self.commit();
        more
    }

    /// Reads what has come into the queue of half messages.
    fn read(&mut self) -> bool {
        let next = QueueOffset(self.table.next());
        if next >= self.halves.max_visible() {
            return false;
        }
        let read = self
            .broker
            .store
            .read(&self.halves, next, &READ_LIMITS, |_| true);
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                self.unreadable(&error);
                self.failed = true;
                return false;
            }
        };
        for record in read.records.iter() {
            self.take(&record);
        }
        self.table.set_next(read.next.0);
        read.next > next
    }

    /// A half message as it lies in its queue.
    fn take(&mut self, bytes: &Bytes) {
        // What the store gives out it has checked.
        let Ok(decoded) = Record::decode(bytes, false) else {
            return;
        };
        let record = decoded.record;
        let facts = Facts::of(record.properties);
        match self.enter(&record, &facts, facts.origin) {
            Read::Ask => self.ask(&record, &facts),
            Read::New => self.count(record.queue_offset.0, 1),
            Read::Copy => {}
        }
    }

    /// Puts it into the table.
    pub(super) fn enter(
        &mut self,
        record: &Record<'_>,
        facts: &Facts<'_>,
        origin: Option<i64>,
    ) -> Read {
        let topic = self.name(facts.topic.unwrap_or_default());
        let at = record.queue_offset.0;
        self.table.read(
            at,
            record.log_offset.0,
            origin.unwrap_or(at),
            facts.due_ms(&self.rules, record.born_timestamp, record.store_timestamp),
            record.store_timestamp,
            topic,
        )
    }

    /// The topic's name, kept once.
    fn name(&mut self, topic: &str) -> Arc<str> {
        if let Some(known) = self.topics.get(topic) {
            return known.clone();
        }
        let name: Arc<str> = topic.into();
        self.topics.insert(topic.into(), name.clone());
        name
    }

    /// Works off what producers said.
    fn end(&mut self) -> bool {
        let mut ends = std::mem::take(&mut self.waiting);
        ends.extend(self.broker.transactions.take(ENDS_TURN));
        let mut decided = Vec::new();
        let mut bytes = 0;
        let mut taken = HashSet::new();
        let mut again = false;
        for end in ends {
            let what = match self.table.find(end.at, end.origin) {
                Place::Ahead if self.waiting.len() >= limits::ENDS_MAX => {
                    let remark = format!(
                        "{} ends wait for their half messages to be read",
                        limits::ENDS_MAX
                    );
                    refuse(end.reply, &Refusal::new(response::SYSTEM_BUSY, remark));
                    continue;
                }
                Place::Ahead => {
                    self.waiting.push(end);
                    continue;
                }
                Place::Open(at) => What::Open(at),
                Place::Gone => {
                    let place = self.broker.transactions.aside.lock().take(end.origin);
                    match place {
                        Some(place) => What::Aside(end.origin, place),
                        // The end that took it may be just about to be written.
                        None if taken.contains(&end.origin) => What::Open(end.origin),
                        None => {
                            self.answer_late(end);
                            continue;
                        }
                    }
                }
            };
            let (What::Open(at) | What::Aside(at, _)) = what;
            // What the first one comes to is known when it is written.
            if !taken.insert(at) {
                self.undecided(what);
                self.waiting.push(end);
                again = true;
                continue;
            }
            let message = match end.commit {
                true => match self.committed_message(&end, what) {
                    Ok(message) => Some(message),
                    Err(refusal) => {
                        self.undecided(what);
                        refuse(end.reply, &refusal);
                        continue;
                    }
                },
                false => None,
            };
            bytes += message.as_ref().map_or(0, |message| message.body.len());
            decided.push(Decided {
                what,
                message,
                reply: end.reply,
            });
            if bytes > PUT_BYTES {
                bytes = 0;
                self.put_ends(std::mem::take(&mut decided));
            }
        }
        if !decided.is_empty() {
            self.put_ends(decided);
        }
        again || !self.broker.transactions.is_idle()
    }

    /// Answers an end of what is not open any more. Apache commits again, and what was rolled back too.
    fn answer_late(&self, end: End) {
        if end.commit && self.broker.transactions.aside.lock().forgot_some() {
            let refusal = Refusal::new(
                response::ILLEGAL_OPERATION,
                format!(
                    "the half message at {} has been ended before, or it was put aside long ago: see {}, nothing was done",
                    end.log_offset,
                    topics::CHECKED_TOO_OFTEN
                ),
            );
            return refuse(end.reply, &refusal);
        }
        let remark = "it has been ended before, nothing was done";
        self.answer(vec![end.reply], Some(remark));
    }

    /// The message to deliver, made of the newest copy of the half message: what was named is only what a client says.
    fn committed_message(&self, end: &End, what: What) -> Result<Message, Refusal> {
        let (place, at) = match what {
            What::Open(at) => (
                self.table.get(at).map(|half| LogOffset(half.log_offset)),
                at,
            ),
            What::Aside(origin, place) => (Some(place), origin),
        };
        let gone = || {
            Refusal::system(format!(
                "Find prepared transaction message failed: the half message {at} is not in the log any more"
            ))
        };
        let place = place.ok_or_else(gone)?;
        let record = self.broker.store.record_at(place);
        let record = record.map_err(|error| Refusal::system(error.to_string()))?;
        let record = record.ok_or_else(gone)?;
        let record = Record::decode(&record, false).map_err(|_| gone())?.record;
        let key = Facts::of(record.properties).unique_key;
        if key != end.unique_key.as_deref() {
            return Err(Refusal::system(format!(
                "Find prepared transaction message failed: what is at {} is not the half message {at}",
                end.log_offset
            )));
        }
        let made_of = match what {
            What::Open(_) => record.log_offset.0,
            What::Aside(..) => record.prepared_transaction_offset,
        };
        half::committed(&record, made_of)
            .ok_or_else(|| Refusal::system("the half message does not say for which topic it is"))
    }

    /// Writes what was decided, and answers.
    fn put_ends(&mut self, decided: Vec<Decided>) {
        let messages = decided.iter().filter_map(|one| one.message.clone());
        let ended = decided.iter().filter_map(|one| match one.what {
            What::Open(at) => Some(at),
            What::Aside(..) => None,
        });
        let ended: Vec<i64> = ended.collect();
        match self.put(messages.collect(), &ended) {
            Ok(_) => {
                ended.iter().for_each(|at| self.ended(*at));
                let replies = decided.into_iter().map(|one| one.reply);
                self.answer(replies.collect(), None);
            }
            // Find out whose fault it is.
            Err(error) if decided.len() > 1 && is_about_one(&error) => {
                for one in decided {
                    self.put_ends(vec![one]);
                }
            }
            Err(error) => {
                let refusal = Refusal::from(error);
                for one in decided {
                    self.undecided(one.what);
                    refuse(one.reply, &refusal);
                }
            }
        }
    }

    /// The end that was to be written was not.
    fn undecided(&self, what: What) {
        if let What::Aside(origin, place) = what {
            self.broker.transactions.aside.lock().insert(origin, place);
        }
    }

    /// Appends messages and the word that these half messages are done with.
    pub(super) fn put(
        &mut self,
        mut messages: Vec<Message>,
        ended: &[i64],
    ) -> Result<Appended, PutError> {
        let others = messages.len();
        let broker = &self.broker;
        let host = broker.identity.advertised.socket;
        let bytes_max = broker.config.transaction_op_bytes_max;
        let ops = ops::messages(ended, bytes_max, host, broker.clock.now_ms());
        let mut highest = Vec::with_capacity(ops.len());
        for (message, offset) in ops {
            messages.push(message);
            highest.push(offset);
        }
        let appended = broker.put(messages)?;
        for ((_, at), highest) in appended.entries[others..].iter().zip(highest) {
            self.written.push(at.0, highest);
        }
        self.end = appended.end;
        Ok(appended)
    }

    pub(super) fn ended(&mut self, at: i64) {
        self.count(at, -1);
        self.table.end(at);
    }

    /// One more half message of its topic, or one less.
    pub(super) fn count(&self, at: i64, change: i64) {
        if let Some(half) = self.table.get(at) {
            let now_ms = self.broker.clock.now_ms();
            self.broker.transactions.count(&half.topic, change, now_ms);
        }
    }

    /// Answers those who wait for one, when their decision is as safe as the flush mode says.
    fn answer(&self, mut replies: Vec<ReplyTo>, remark: Option<&'static str>) {
        let done = move |reply: ReplyTo| {
            reply.send(response::SUCCESS, remark, &NoHeader, Body::None);
        };
        if !self.broker.config.store.sync_flush {
            return replies.into_iter().for_each(done);
        }
        for oneway in replies.extract_if(.., |reply| reply.is_oneway()) {
            done(oneway);
        }
        if replies.is_empty() {
            return;
        }
        let (store, end) = (self.broker.store.clone(), self.end);
        let timeout = self.broker.config.sync_flush_timeout;
        self.broker.tasks.spawn(async move {
            let flushed = tokio::time::timeout(timeout, store.durable().reached(end.0)).await;
            match flushed {
                Ok(Err(sealed)) => {
                    let refusal = Refusal::new(response::SERVICE_NOT_AVAILABLE, sealed.to_string());
                    replies
                        .into_iter()
                        .for_each(|reply| refuse(reply, &refusal));
                }
                // What takes too long to flush may yet be lost: then the half message is open again, and asked after.
                _ => replies.into_iter().for_each(done),
            }
        });
    }

    /// Looks after half messages whose time has come, or which lie too far back.
    fn look_after(&mut self) -> bool {
        let now_ms = self.broker.clock.now_ms();
        let due = self.table.due(now_ms, HALVES_TURN);
        let far = match due.is_empty() {
            true => self.table.stragglers(HALVES_TURN),
            false => Vec::new(),
        };
        if due.is_empty() && far.is_empty() {
            return false;
        }
        let mut planned = Vec::new();
        let mut bytes = 0;
        for (at, is_due) in due
            .into_iter()
            .map(|at| (at, true))
            .chain(far.into_iter().map(|at| (at, false)))
        {
            if let Some((plan, message)) = self.plan(at, is_due, now_ms) {
                bytes += message.body.len();
                planned.push((at, plan, message));
                if bytes > PUT_BYTES {
                    break;
                }
            }
        }
        if !planned.is_empty() {
            self.put_planned(planned, now_ms);
        }
        true
    }

    fn plan(&mut self, at: i64, is_due: bool, now_ms: i64) -> Option<(Plan, Message)> {
        let half = self.table.get(at)?.clone();
        let bytes = match self.broker.store.record_at(LogOffset(half.log_offset)) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                self.lost(at, &half.topic);
                return None;
            }
            Err(error) => {
                self.unreadable(&error);
                self.table.postpone(at, now_ms + RETRY_MS);
                return None;
            }
        };
        let Ok(decoded) = Record::decode(&bytes, false) else {
            self.lost(at, &half.topic);
            return None;
        };
        let record = decoded.record;
        let facts = Facts::of(record.properties);
        let is_due = is_due && half.due_ms <= now_ms;
        let too_old = now_ms.saturating_sub(record.born_timestamp) > self.rules.age_ms_max;
        let too_often = facts
            .checks
            .is_some_and(|checks| checks >= self.rules.checks_max);
        Some(match is_due {
            true if too_old || too_often => (Plan::PutAside, half::put_aside(&record, half.origin)),
            true => {
                let copy = half::copy(&record, half.origin, true);
                (Plan::Copy(Move::Ask), copy)
            }
            false => {
                let copy = half::copy(&record, half.origin, false);
                (Plan::Copy(Move::Along), copy)
            }
        })
    }

    fn put_planned(&mut self, planned: Vec<(i64, Plan, Message)>, now_ms: i64) {
        if planned.iter().any(|(_, plan, _)| *plan == Plan::PutAside) {
            let made = self
                .broker
                .own_topic(topics::CHECKED_TOO_OFTEN, 1, false, 0);
            if made.is_err() {
                tracing::warn!("no room for the topic of transactions that nobody ends");
            }
        }
        let messages = planned.iter().map(|(_, _, message)| message.clone());
        let left: Vec<i64> = planned.iter().map(|(at, ..)| *at).collect();
        match self.put(messages.collect(), &left) {
            Ok(appended) => {
                for ((at, plan, message), (place, _)) in planned.into_iter().zip(appended.entries) {
                    self.planned(at, plan, &message, place, now_ms);
                }
            }
            Err(error) if planned.len() > 1 && is_about_one(&error) => {
                for one in planned {
                    self.put_planned(vec![one], now_ms);
                }
            }
            Err(error) => {
                if is_about_one(&error) {
                    tracing::warn!(%error, offset = ?left, "can't ask after a half message");
                }
                self.failed = true;
                // What it was not asked for in time is asked for later; a full disk is logged where it is noticed.
                for at in left {
                    self.table.postpone(at, now_ms + RETRY_MS);
                }
            }
        }
    }

    /// What was planned is in the log.
    fn planned(&mut self, at: i64, plan: Plan, message: &Message, place: LogOffset, now_ms: i64) {
        let due_ms = self.table.get(at).map_or(now_ms, |half| half.due_ms);
        match plan {
            Plan::Copy(why) => self.table.moving(at, why),
            Plan::PutAside => {
                let facts = Facts::of(&message.properties);
                let origin = self.table.get(at).map_or(at, |half| half.origin);
                let mut aside = self.broker.transactions.aside.lock();
                aside.insert(origin, place);
                drop(aside);
                self.put_aside(at, &facts);
            }
        }
        if plan != Plan::Copy(Move::Along) {
            self.broker.transactions.lateness.note(now_ms - due_ms);
        }
    }

    fn put_aside(&mut self, at: i64, facts: &Facts<'_>) {
        let (topic, group) = (facts.topic, facts.group);
        if self.broker.said.is_news(("put aside", group)) {
            tracing::warn!(
                group,
                topic,
                unique_key = facts.unique_key,
                into = topics::CHECKED_TOO_OFTEN,
                "nobody ended a half message: put aside, as others of the group will be without a word"
            );
        }
        self.ended(at);
    }

    /// Retention or damage took its record.
    fn lost(&mut self, at: i64, topic: &str) {
        tracing::error!(
            offset = at,
            topic,
            "a half message without an end is gone from the log"
        );
        if self.put(Vec::new(), &[at]).is_ok() {
            self.ended(at);
        } else {
            self.failed = true;
            let later_ms = self.broker.clock.now_ms() + RETRY_MS;
            self.table.postpone(at, later_ms);
        }
    }

    fn unreadable(&mut self, error: &ReadError) {
        if self.broker.said.is_news("half messages") {
            tracing::error!(%error, "can't read half messages; will keep trying");
        }
    }

    /// Asks one of the group's producers, one after the other.
    fn ask(&mut self, record: &Record<'_>, facts: &Facts<'_>) {
        let group = facts.group.unwrap_or_default();
        self.turn = self.turn.wrapping_add(1);
        let is_open = |peer: &Arc<remoting::Peer>| !peer.is_closed();
        let peer = self
            .broker
            .clients
            .lock()
            .producing(group, self.turn, is_open);
        let Some(peer) = peer else {
            if self.broker.said.is_news(("nobody to ask", group)) {
                tracing::warn!(
                    group,
                    "half messages wait for an end, and no producer of the group is there to be asked"
                );
            }
            return;
        };
        let asked = Record {
            topic: facts.topic.unwrap_or_default(),
            queue_id: facts.queue_id,
            ..*record
        };
        let mut body = BytesMut::new();
        if asked.encode(&mut body).is_err() {
            return;
        }
        let id = MessageId {
            host: record.store_host,
            offset: record.log_offset,
        };
        let id = id.encode();
        let header = CheckTransactionState {
            topic: Some(Text::plain(topics::HALF)),
            tran_state_table_offset: record.queue_offset,
            commit_log_offset: record.log_offset,
            msg_id: facts.unique_key.map(Text::plain),
            transaction_id: facts.unique_key.map(Text::plain),
            offset_msg_id: Some(Text::plain(&id)),
            broker_name: Some(Text::plain(&self.broker.identity.broker)),
        };
        // One whose connection has just ended will be asked again, or another.
        let _ = peer.notify(request::CHECK_TRANSACTION_STATE, &header, body.freeze());
    }

    /// Says where the queues have to be read from after a restart, as soon as what that relies on is durable.
    fn commit(&mut self) {
        let durable = LogOffset(self.broker.store.durable().at());
        if let Some(commit) = self.committing {
            if durable < commit.end {
                return;
            }
            self.committing = None;
            self.commit_offsets(commit.offsets);
        }
        let low = self.table.low();
        let offsets = (low, self.written.needed_from(low));
        if offsets == self.committed {
            return;
        }
        if durable >= self.end {
            self.commit_offsets(offsets);
        } else {
            let end = self.end;
            self.committing = Some(Commit { offsets, end });
        }
    }

    fn commit_offsets(&mut self, offsets: (i64, i64)) {
        let (halves, ops) = offsets;
        self.committed = offsets;
        for (topic, offset) in [(topics::HALF, halves), (topics::HALF_DONE, ops)] {
            self.broker
                .commit_offset(GROUP, topic, 0, QueueOffset(offset));
        }
    }

    fn refuse_waiting(&mut self) {
        let refusal = Refusal::new(
            response::SERVICE_NOT_AVAILABLE,
            "the broker is about to stop",
        );
        for end in self.waiting.drain(..) {
            refuse(end.reply, &refusal);
        }
    }
}

/// Completes when the log is durable up to there; never if that can't be any more.
async fn durable(broker: &Broker, commit: Option<Commit>) {
    let reached = match commit {
        Some(commit) => broker.store.durable().reached(commit.end.0).await,
        None => Ok(()),
    };
    if reached.is_err() {
        std::future::pending().await
    }
}

fn refuse(reply: ReplyTo, refusal: &Refusal) {
    reply.send(refusal.code, Some(&refusal.remark), &NoHeader, Body::None);
}

/// Whether the same messages without one of them might have been stored.
fn is_about_one(error: &PutError) -> bool {
    match error {
        PutError::Push(_) | PutError::NotTimed(_) => true,
        PutError::Append(error) => matches!(error, AppendError::TooLarge { .. }),
        PutError::Sealed(_) => false,
    }
}

/// The queue offsets that an op message names.
pub(super) fn named(op: &Bytes) -> Option<(i64, Vec<i64>)> {
    let outline = Outline::decode(op).ok()?;
    Some((outline.queue_offset.0, ops::offsets(&outline).collect()))
}
