//! Messages that the broker itself stores: retries, dead letters, what became due, committed transactions.

use std::net::SocketAddr;

use bytes::Bytes;
use protocol::codes::response;
use protocol::properties;
use protocol::record::Record;
use protocol::tags::tags_code;
use protocol::{LogOffset, QueueOffset};
use store::{AppendError, Appended, Batch, EntryTag, PushError, Sealed};

use crate::broker::Broker;
use crate::delay::Detour;
use crate::refusal::Refusal;
use crate::timer::NotTimed;

#[cfg(test)]
mod tests;

/// A message on its way into the log. Its body still shares the memory of where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) queue_id: i32,
    pub(crate) flag: i32,
    pub(crate) sys_flag: i32,
    pub(crate) born_timestamp: i64,
    pub(crate) born_host: SocketAddr,
    pub(crate) reconsume_times: i32,
    pub(crate) prepared_transaction_offset: i64,
    pub(crate) body: Bytes,
    pub(crate) properties: Vec<u8>,
}

/// Why the broker could not store a message of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PutError {
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    NotTimed(#[from] NotTimed),
    #[error(transparent)]
    Sealed(#[from] Sealed),
}

impl PutError {
    /// Whether one of the messages is at fault, and others can be stored.
    pub(crate) fn is_about_one(&self) -> bool {
        match self {
            PutError::Push(_) | PutError::NotTimed(_) => true,
            PutError::Append(error) => matches!(error, AppendError::TooLarge { .. }),
            PutError::Sealed(_) => false,
        }
    }
}

impl Message {
    /// A stored message, to be stored again.
    pub(crate) fn of(record: &Record<'_>) -> Message {
        Message {
            topic: record.topic.to_owned(),
            queue_id: record.queue_id,
            flag: record.flag,
            sys_flag: record.sys_flag,
            born_timestamp: record.born_timestamp,
            born_host: record.born_host,
            reconsume_times: record.reconsume_times,
            prepared_transaction_offset: record.prepared_transaction_offset,
            body: Bytes::copy_from_slice(record.body),
            properties: record.properties.to_vec(),
        }
    }

    pub(crate) fn property(&self, name: &str) -> Option<&str> {
        properties::find(&self.properties, name)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        properties::set(&mut self.properties, name, value);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        properties::remove(&mut self.properties, name);
    }
}

impl Broker {
    /// Stores messages with one append, those to be delivered later where such messages wait. With async flush consumers
    /// see them when this returns.
    pub(crate) fn put(&self, messages: Vec<Message>) -> Result<Appended, PutError> {
        let mut batch = Batch::default();
        for message in messages {
            self.push(&mut batch, message)?;
        }
        self.append(&mut batch)
    }

    /// Stores what was pushed.
    pub(crate) fn append(&self, batch: &mut Batch) -> Result<Appended, PutError> {
        let appended = self.store.append(batch, self.clock.now_ms());
        self.report_append(&appended);
        let appended = appended?;
        self.appended();
        Ok(appended)
    }

    /// The same, and as safe as an acknowledged message when this completes.
    pub(crate) async fn put_durably(&self, messages: Vec<Message>) -> Result<Appended, PutError> {
        let appended = self.put(messages)?;
        if self.config.store.sync_flush {
            self.store.durable().reached(appended.end.0).await?;
        }
        Ok(appended)
    }

    /// Adds a message to what is appended next, to be delivered later if it says so.
    pub(crate) fn push(&self, batch: &mut Batch, mut message: Message) -> Result<(), PutError> {
        let (topic, queue_id) = (&*message.topic, message.queue_id);
        match self.divert(topic, queue_id, &mut message.properties)? {
            Some(Detour {
                topic,
                queue_id,
                tag,
            }) => self.push_to(batch, topic, queue_id, tag, &message),
            None => self.push_as_is(batch, &message),
        }
    }

    /// The same for a message whose time has come: what its properties say of a delay is over.
    pub(crate) fn push_as_is(&self, batch: &mut Batch, message: &Message) -> Result<(), PutError> {
        let tags = properties::find(&message.properties, properties::TAGS);
        let tag = EntryTag::Code(tags.map_or(0, tags_code));
        self.push_to(batch, &message.topic, message.queue_id, tag, message)
    }

    fn push_to(
        &self,
        batch: &mut Batch,
        topic: &str,
        queue_id: i32,
        tag: EntryTag,
        message: &Message,
    ) -> Result<(), PutError> {
        let record = Record {
            queue_id,
            flag: message.flag,
            queue_offset: QueueOffset(0),
            log_offset: LogOffset(0),
            sys_flag: message.sys_flag,
            born_timestamp: message.born_timestamp,
            born_host: message.born_host,
            store_timestamp: 0,
            store_host: self.identity.advertised.socket,
            reconsume_times: message.reconsume_times,
            prepared_transaction_offset: message.prepared_transaction_offset,
            body: &message.body,
            topic,
            properties: &message.properties,
        };
        Ok(batch.push(&self.store, &record, tag)?)
    }
}

/// What a client is told whose request needed the message.
impl From<PutError> for Refusal {
    fn from(error: PutError) -> Refusal {
        match error {
            PutError::Push(_) => Refusal::new(response::MESSAGE_ILLEGAL, error.to_string()),
            PutError::Sealed(sealed) => {
                Refusal::new(response::SERVICE_NOT_AVAILABLE, sealed.to_string())
            }
            PutError::Append(error) => Refusal::from(error),
            PutError::NotTimed(error) => Refusal::from(error),
        }
    }
}
