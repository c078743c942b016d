//! The timer's owner task: brings what arrives in the timer queue into the wheel, and delivers what is due.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::QueueOffset;
use protocol::properties;
use protocol::record::{Outline, Record};
use protocol::tags::java_hash;
use remoting::clock::{Instant, monotonic};
use store::timer::{Due, Enqueued, Flush, Timer, TimerConfig, TimerFlushError, TimerMessage};
use store::{Appended, Batch, Queue, ReadLimits};
use tokio::task::JoinHandle;

use crate::background::Stopped;
use crate::broker::Broker;
use crate::limits;
use crate::message::{Message, PutError};
use crate::topics;

/// Time before something that failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// The year 9999.
const SLOT_MS_MAX: i64 = 253_402_300_799_000;

/// See the module's first line.
pub(crate) struct Owner {
    broker: Arc<Broker>,
    timer: Timer,
    queue: Arc<Queue>,
    /// `topic+uniqueKey` of messages called off, by slot.
    called_off: BTreeMap<i64, HashSet<String>>,
    /// What is being worked off; none between two.
    goal: Option<Goal>,
    job: Option<Job>,
    flush_at: Instant,
    /// Something fails; logged once.
    failing: bool,
    /// The same of flushes.
    flush_failing: bool,
    pause_until: Option<Instant>,
}

/// All that was in the queue by a time comes into the wheel, then all that was due by then is delivered: it may be called off
/// by what came before. What comes later waits for the next goal, or nothing would be delivered while more comes.
#[derive(Clone, Copy)]
struct Goal {
    now_ms: i64,
    queue_end: QueueOffset,
}

/// A flush under way.
enum Job {
    Files(JoinHandle<(Flush, Result<(), Flushing>)>),
    Checkpoint(JoinHandle<Result<(), TimerFlushError>>),
}

enum Flushing {
    Sealed,
    Failed(TimerFlushError),
}

/// What is left to do after a turn.
#[derive(PartialEq, Eq)]
enum Turn {
    More,
    Nothing,
    /// The clock was set back.
    Rewind,
}

impl Owner {
    /// With the files as the last run left them.
    pub(crate) fn open(broker: &Arc<Broker>) -> io::Result<Owner> {
        let settings = &broker.config.timer;
        let config = TimerConfig {
            log_file_bytes: settings.log_file_bytes,
            precision_ms: settings.precision_ms,
            roll_window_slots: settings.roll_window_slots,
            ..TimerConfig::new(&broker.config.store.root)
        };
        let timer = Timer::open(config, &broker.store, topics::TIMER)?;
        broker.timer.cut_into(timer.precision_ms());
        let queue = broker.store.queue_or_create(topics::TIMER, 0);
        if settings.slot_messages_max < i32::MAX {
            broker.timer.count(timer.slot_counts());
        }
        Ok(Owner {
            queue: queue.map_err(io::Error::other)?,
            timer,
            called_off: BTreeMap::new(),
            goal: None,
            job: None,
            flush_at: monotonic() + settings.flush_interval,
            failing: false,
            flush_failing: false,
            pause_until: None,
            broker: broker.clone(),
        })
    }

    pub(crate) async fn run(mut self, mut stopped: Stopped) {
        loop {
            let paused = self.pause_until.is_some_and(|until| monotonic() < until);
            let turn = if paused {
                Ok(Turn::Nothing)
            } else {
                self.turn()
            };
            match turn {
                Ok(Turn::More) => {
                    self.flush();
                    tokio::select! {
                        biased;
                        () = stopped.wait() => break,
                        () = self.flushed() => {}
                        () = tokio::task::yield_now() => {}
                    }
                    continue;
                }
                Ok(Turn::Rewind) => {
                    self = self.rewind().await;
                    continue;
                }
                Ok(Turn::Nothing) if !paused => self.note(Ok(())),
                Ok(Turn::Nothing) => {}
                Err(error) => self.note(Err(error)),
            }
            self.flush();
            if self.wait(&mut stopped).await {
                break;
            }
        }
        self.close().await;
    }

    /// Logs when something begins to fail, and when it works again; a failure is followed by a pause.
    fn note(&mut self, done: io::Result<()>) {
        self.pause_until = done.is_err().then(|| monotonic() + PAUSE);
        match done {
            Err(error) if !self.failing => {
                tracing::error!(%error, "timed messages wait: the timer can't go on; will keep trying");
            }
            Ok(()) if self.failing => tracing::info!("the timer goes on"),
            _ => {}
        }
        self.failing = self.pause_until.is_some();
    }

    /// A bounded piece of work towards the goal.
    fn turn(&mut self) -> io::Result<Turn> {
        let (broker, now_ms) = (self.broker.clone(), self.broker.clock.now_ms());
        let settings = &broker.config.timer;
        let goal = *self.goal.get_or_insert_with(|| Goal {
            now_ms,
            queue_end: self.queue.max_visible(),
        });
        if !settings.stop_enqueue && self.timer.queue_offset() < goal.queue_end {
            return self.enqueue(now_ms);
        }
        if settings.stop_dequeue {
            self.goal = None;
            return Ok(Turn::Nothing);
        }
        // The clock may have been set back since.
        let now_ms = goal.now_ms.min(now_ms);
        let loaded = self.timer.load(now_ms, limits::TIMER_LOAD_UNITS)?;
        self.call_off()?;
        let due = self.timer.take_due(now_ms, limits::TIMER_DELIVER_MESSAGES);
        if !due.is_empty() {
            self.deliver(due)?;
            return Ok(Turn::More);
        }
        if !loaded {
            return Ok(Turn::More);
        }
        self.goal = None;
        let past_ms = self.timer.forget_past(now_ms);
        self.called_off = self.called_off.split_off(&past_ms);
        if settings.slot_messages_max < i32::MAX {
            broker.timer.forget_before(past_ms);
        }
        Ok(Turn::Nothing)
    }

    fn enqueue(&mut self, now_ms: i64) -> io::Result<Turn> {
        let from = self.timer.queue_offset();
        let limits = ReadLimits {
            messages_max: limits::TIMER_ENQUEUE_MESSAGES,
            bytes_max: limits::TIMER_BATCH_BYTES,
            hot_bytes_max: limits::TIMER_BATCH_BYTES,
            hot_messages_max: limits::TIMER_ENQUEUE_MESSAGES,
            cold_bytes_max: limits::TIMER_BATCH_BYTES,
            cold_messages_max: limits::TIMER_ENQUEUE_MESSAGES,
            ..ReadLimits::default()
        };
        let read = self.broker.store.read(&self.queue, from, &limits, |_| true);
        let read = read.map_err(|error| error.0)?;
        let messages: Vec<TimerMessage> = read
            .records
            .iter()
            .filter_map(|record| message_of(&Outline::decode(&record).ok()?))
            .collect();
        if self.timer.enqueue(&messages, now_ms)? == Enqueued::ClockBack {
            return Ok(Turn::Rewind);
        }
        // Also over what can't be read any more.
        self.timer.skip_to(read.next);
        if self.broker.config.timer.slot_messages_max < i32::MAX {
            let counts = messages.iter().map(|message| message.slot_ms);
            let counts = counts.map(|slot_ms| (slot_ms, self.timer.slot_count(slot_ms)));
            self.broker.timer.count(counts);
        }
        Ok(Turn::More)
    }

    /// Remembers what calls other messages off.
    fn call_off(&mut self) -> io::Result<()> {
        let mut deletes = self.timer.take_deletes().into_iter();
        while let Some(delete) = deletes.next() {
            let record = match self.broker.store.record_at(delete.log_offset) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error) => {
                    self.timer.put_back_deletes(deletes.chain([delete]));
                    return Err(error.0);
                }
            };
            let outline = Outline::decode(&record).ok();
            let key = outline.as_ref().and_then(|outline| {
                properties::find(outline.properties, properties::TIMER_DEL_UNIQKEY)
            });
            if let Some(key) = key {
                let keys = self.called_off.entry(delete.slot_ms).or_default();
                keys.insert(key.to_owned());
            }
        }
        Ok(())
    }

    /// Puts what is due with as few appends as its bytes allow. What was not put when something fails is due again.
    fn deliver(&mut self, mut due: Vec<Due>) -> io::Result<()> {
        let mut at_once = due.len();
        while !due.is_empty() {
            let rest = match self.put(&due[..at_once.min(due.len())]) {
                Ok(0) => {
                    // One of them is wrong, and must not hold up the others.
                    at_once = 1;
                    continue;
                }
                Ok(count) => due.split_off(count),
                Err(error) => {
                    self.timer.put_back(due);
                    return Err(error);
                }
            };
            let now_ms = self.broker.clock.now_ms();
            for due in due.iter().filter(|due| !due.roll) {
                self.broker.timer.lateness.note(now_ms - due.due_ms);
            }
            let noted = self.timer.delivered(&due, self.broker.store.log_end());
            due = rest;
            if let Err(error) = noted {
                self.timer.put_back(due);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Puts the first of these with one append and returns how many; none if one of several can't be stored at all.
    fn put(&self, due: &[Due]) -> io::Result<usize> {
        let mut messages = Vec::with_capacity(due.len());
        let (mut bytes, mut count) = (0, 0);
        for due in due {
            if let Some(message) = self.message(due)? {
                bytes += message.body.len() + message.properties.len();
                if bytes > limits::TIMER_BATCH_BYTES && !messages.is_empty() {
                    break;
                }
                messages.push(message);
            }
            count += 1;
        }
        if messages.is_empty() {
            return Ok(count);
        }
        match self.append(&messages) {
            Ok(_) => Ok(count),
            Err(error) if !error.is_about_one() => Err(io::Error::other(error)),
            Err(_) if count > 1 => Ok(0),
            Err(error) => {
                // As Apache: what can't be stored at all is left out.
                let log_offset = due.first().map(|due| due.log_offset.0);
                tracing::warn!(%error, log_offset, "timed message dropped");
                Ok(count)
            }
        }
    }

    fn append(&self, messages: &[Message]) -> Result<Appended, PutError> {
        let mut batch = Batch::default();
        for message in messages {
            self.broker.push_as_is(&mut batch, message)?;
        }
        self.broker.append(&mut batch)
    }

    /// What is put for a message that is due: itself, back in the queue, or nothing if it was called off.
    fn message(&self, due: &Due) -> io::Result<Option<Message>> {
        let record = self.broker.store.record_at(due.log_offset);
        let Some(record) = record.map_err(|error| error.0)? else {
            return Ok(None);
        };
        let Ok(decoded) = Record::decode(&record, false) else {
            return Ok(None);
        };
        let mut message = Message::of(&decoded.record);
        let long = |name| {
            message
                .property(name)
                .and_then(|value| value.parse::<i64>().ok())
        };
        let slot_ms = long(properties::TIMER_OUT_MS).unwrap_or(0);
        let stale = message.topic != topics::TIMER || !due.roll && slot_ms >= due.due_ms;
        if stale || !due.roll && message.property(properties::TIMER_DEL_UNIQKEY).is_some() {
            return Ok(None);
        }
        let enqueued_ms = match slot_ms < due.enqueued_ms && !due.roll {
            // Apache's sign for a message that came too late for the wheel.
            true => i64::MAX,
            false => due.enqueued_ms,
        };
        note(&mut message, properties::TIMER_ENQUEUE_MS, enqueued_ms);
        let now_ms = self.broker.clock.now_ms();
        if due.roll {
            let turns = message.property(properties::TIMER_ROLL_TIMES);
            let turns = turns
                .and_then(|turns| turns.parse::<i32>().ok())
                .unwrap_or(0);
            let turns = i64::from(turns.saturating_add(1));
            note(&mut message, properties::TIMER_ROLL_TIMES, turns);
            note(&mut message, properties::TIMER_DEQUEUE_MS, now_ms);
            return Ok(Some(message));
        }
        let topic = message
            .property(properties::REAL_TOPIC)
            .unwrap_or_default()
            .to_owned();
        if self.is_called_off(due, &topic, &message) {
            return Ok(None);
        }
        let queue_id = message.property(properties::REAL_QID);
        let Some(queue_id) = queue_id.and_then(|queue_id| queue_id.parse().ok()) else {
            let log_offset = due.log_offset.0;
            tracing::warn!(log_offset, "timed message without its queue dropped");
            return Ok(None);
        };
        if topics::is_hidden(&topic) {
            let log_offset = due.log_offset.0;
            tracing::warn!(
                log_offset,
                topic,
                "timed message for a topic of the broker's dropped"
            );
            return Ok(None);
        }
        note(&mut message, properties::TIMER_DEQUEUE_MS, now_ms);
        // Apache means to take REAL_TOPIC and REAL_QID out, and does not.
        message.topic = topic;
        message.queue_id = queue_id;
        Ok(Some(message))
    }

    fn is_called_off(&self, due: &Due, topic: &str, message: &Message) -> bool {
        let Some(keys) = self.called_off.get(&due.slot_ms()) else {
            return false;
        };
        let key = message.property(properties::UNIQ_KEY);
        key.is_some_and(|key| keys.contains(&format!("{topic}+{key}")))
    }

    /// Begins a flush if it is time for one and there is something to flush.
    fn flush(&mut self) {
        if self.job.is_some() || monotonic() < self.flush_at {
            return;
        }
        self.flush_at = monotonic() + self.broker.config.timer.flush_interval;
        let now_ms = self.broker.clock.now_ms();
        let flush = match self.timer.start_flush(&self.broker.store, now_ms) {
            Ok(Some(flush)) => flush,
            Ok(None) => return,
            Err(error) => return self.flush_failed(TimerFlushError::Write(error)),
        };
        let store = self.broker.store.clone();
        self.job = Some(Job::Files(tokio::spawn(async move {
            if store.durable().reached(flush.log_end.0).await.is_err() {
                return (flush, Err(Flushing::Sealed));
            }
            let run = move || {
                let done = flush.run().map_err(Flushing::Failed);
                (flush, done)
            };
            match tokio::task::spawn_blocking(run).await {
                Ok(done) => done,
                Err(error) => std::panic::resume_unwind(Box::new(error)),
            }
        })));
    }

    /// Waits for the flush under way, if there is one, to come a step further.
    async fn flushed(&mut self) {
        match self.job.as_mut() {
            None => std::future::pending().await,
            Some(Job::Files(job)) => {
                let done = job.await;
                self.job = None;
                match done {
                    Ok((flush, Ok(()))) => self.checkpoint(flush),
                    Ok((_, Err(Flushing::Sealed))) => {}
                    Ok((_, Err(Flushing::Failed(error)))) => self.flush_failed(error),
                    Err(error) => std::panic::resume_unwind(Box::new(error)),
                }
            }
            Some(Job::Checkpoint(job)) => {
                let done = job.await;
                self.job = None;
                match done {
                    Ok(Ok(())) => {
                        if std::mem::take(&mut self.flush_failing) {
                            tracing::info!("the timer's files are flushed again");
                        }
                    }
                    Ok(Err(error)) => self.flush_failed(error),
                    Err(error) => std::panic::resume_unwind(Box::new(error)),
                }
            }
        }
    }

    fn checkpoint(&mut self, flush: Flush) {
        let now_ms = self.broker.clock.now_ms();
        match self.timer.flushed(&flush, now_ms) {
            Ok(()) => {
                let finish = move || flush.finish();
                self.job = Some(Job::Checkpoint(tokio::task::spawn_blocking(finish)));
            }
            Err(error) => self.flush_failed(TimerFlushError::Write(error)),
        }
        if let Err(error) = self.timer.expire(self.broker.store.log_min()) {
            tracing::warn!(%error, "old files of the timer log stay");
        }
    }

    fn flush_failed(&mut self, error: TimerFlushError) {
        if !std::mem::replace(&mut self.flush_failing, true) {
            tracing::error!(%error, "the timer's files can't be flushed; will keep trying");
        }
        self.timer.flush_failed(&error);
    }

    /// Waits for something to do; true when it is time to stop.
    async fn wait(&mut self, stopped: &mut Stopped) -> bool {
        let broker = self.broker.clone();
        let settings = &broker.config.timer;
        let arrival = self.queue.arrival(self.timer.queue_offset());
        let wake_ms = match settings.stop_dequeue {
            true => None,
            false => self.timer.wake_ms(),
        };
        let (pause_until, flush_at) = (self.pause_until, self.flush_at);
        let may_flush = self.job.is_none() && self.timer.has_changed();
        tokio::select! {
            biased;
            () = stopped.wait() => return true,
            () = self.flushed() => {}
            () = tokio::time::sleep_until(flush_at), if may_flush => {}
            () = async { tokio::time::sleep_until(pause_until.unwrap_or(flush_at)).await },
                if pause_until.is_some() => {}
            () = broker.clock.reached(wake_ms.unwrap_or(i64::MAX)),
                if pause_until.is_none() && wake_ms.is_some() => {}
            _ = arrival, if pause_until.is_none() && !settings.stop_enqueue => {}
        }
        false
    }

    /// Waits for the flush under way.
    async fn quiet(&mut self) {
        while self.job.is_some() {
            self.flushed().await;
        }
    }

    async fn rewind(mut self) -> Owner {
        self.quiet().await;
        if !self.failing {
            tracing::warn!("the clock was set back: timed messages wait for it");
        }
        let run = move || {
            let now_ms = self.broker.clock.now_ms();
            self.called_off.clear();
            self.goal = None;
            let done = self.timer.rewind(&self.broker.store, now_ms);
            (self, done)
        };
        match tokio::task::spawn_blocking(run).await {
            Ok((mut owner, done)) => {
                owner.note(done);
                owner
            }
            Err(error) => std::panic::resume_unwind(Box::new(error)),
        }
    }

    async fn close(mut self) {
        // So that the flush under way ends, well or not. A sealed log leaves the files as they are: what they say is safe.
        let store = self.broker.store.clone();
        let flushed = tokio::task::spawn_blocking(move || store.flush());
        match flushed.await {
            Ok(flushed) => {
                self.quiet().await;
                if flushed.is_err() {
                    return;
                }
            }
            Err(error) => std::panic::resume_unwind(Box::new(error)),
        }
        let close = move || {
            let now_ms = self.broker.clock.now_ms();
            self.timer.close(&self.broker.store, now_ms)
        };
        match tokio::task::spawn_blocking(close).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the timer's files could not be closed"),
            Err(error) => std::panic::resume_unwind(Box::new(error)),
        }
    }
}

/// Notes something with the message, if there is room: sends leave it, but other brokers' stores and commits may not.
fn note(message: &mut Message, name: &str, value: i64) {
    let before = message.properties.clone();
    message.set(name, &value.to_string());
    if message.properties.len() > limits::PROPERTIES_BYTES_MAX {
        message.properties = before;
    }
}

/// What the wheel must know of a message of the timer queue. One that does not say its time is due at once, and then found
/// to be for nowhere.
fn message_of(outline: &Outline<'_>) -> Option<TimerMessage> {
    let find = |name| properties::find(outline.properties, name);
    let slot_ms = find(properties::TIMER_OUT_MS).and_then(|slot_ms| slot_ms.parse::<i64>().ok());
    let rolled = find(properties::TIMER_ROLL_TIMES).is_some();
    let asked = super::asked(outline.properties);
    let due_ms = asked.and_then(|(property, value)| {
        let relative = property != properties::TIMER_DELIVER_MS;
        // The record was stored a moment after its time was counted from.
        (!(relative && rolled)).then(|| super::due_ms(property, value, outline.store_timestamp))?
    });
    Some(TimerMessage {
        queue_offset: outline.queue_offset,
        log_offset: outline.log_offset,
        size: i32::try_from(outline.size).ok()?,
        // Nothing later is meant, and sums with it do not overflow.
        slot_ms: slot_ms.unwrap_or(0).clamp(0, SLOT_MS_MAX),
        due_ms,
        delete: find(properties::TIMER_DEL_UNIQKEY).is_some(),
        topic_hash: find(properties::REAL_TOPIC).map_or(0, java_hash),
    })
}
