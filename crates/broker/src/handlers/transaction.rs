//! END_TRANSACTION 37 and RESUME_CHECK_HALF_MESSAGE 323: what producers and operators say about half messages.

use std::sync::Arc;

use protocol::codes::response;
use protocol::command::{HeaderError, NoHeader};
use protocol::headers::transaction::{EndTransaction, ResumeCheckHalfMessage};
use protocol::message_id::MessageId;
use protocol::properties;
use protocol::record::{Record, sys_flag};
use protocol::{LogOffset, QueueOffset};
use remoting::{Body, ReplyTo, Request};

use super::later;
use super::send::may_begin;
use crate::broker::Broker;
use crate::limits;
use crate::message::Message;
use crate::refusal::Refusal;
use crate::topics;
use crate::transactions::End;
use crate::transactions::half::Facts;

#[cfg(test)]
mod tests;

/// Why a transaction is not ended. Apache's words, and then what was found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Wrong {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("commitOrRollback field wrong: {0}, expected 0, 8 or 12")]
    Decision(i32),
    #[error("Find prepared transaction message failed: no half message at {0}")]
    Missing(LogOffset),
    #[error("Find prepared transaction message failed: {0}")]
    Unreadable(#[from] store::ReadError),
    #[error(
        "{now_ms} is after {until_ms}, when the time was up in which the message may be ended without a check"
    )]
    Late { until_ms: i64, now_ms: i64 },
    #[error("The producer group wrong: {said}, not that of the half message")]
    Group { said: String },
    #[error("The transaction state table offset wrong: {said}, the half message is at {is}")]
    QueueOffset { said: QueueOffset, is: QueueOffset },
    #[error("The transaction id wrong: {said}, not that of the half message")]
    Id { said: String },
}

impl From<&Wrong> for Refusal {
    fn from(wrong: &Wrong) -> Refusal {
        let code = match wrong {
            Wrong::Late { .. } => response::ILLEGAL_OPERATION,
            _ => response::SYSTEM_ERROR,
        };
        Refusal::new(code, wrong.to_string())
    }
}

/// What an end means.
struct Decision {
    at: i64,
    origin: i64,
    log_offset: LogOffset,
    unique_key: Option<String>,
    commit: bool,
}

/// 37: a producer commits or rolls back. One that does not know yet gets no answer, as from Apache.
pub(crate) fn end(broker: &Broker, request: Request) {
    let decision = match read(broker, &request) {
        Ok(Some(decision)) => decision,
        Ok(None) => return request.into_reply().ignore(),
        Err(wrong) => {
            let peer = request.peer().remote_addr();
            let cause = std::mem::discriminant(&wrong);
            if broker.said.is_news((peer.ip(), "ends", cause)) {
                tracing::warn!(%peer, %wrong, "a transaction is not ended; said once per client and cause");
            }
            let refusal = Refusal::from(&wrong);
            return request.refuse(refusal.code, &refusal.remark);
        }
    };
    let end = End {
        at: decision.at,
        origin: decision.origin,
        log_offset: decision.log_offset,
        unique_key: decision.unique_key,
        commit: decision.commit,
        reply: request.into_reply(),
    };
    if let Err(end) = broker.transactions.submit(end) {
        let remark = format!(
            "[OVERLOAD]system busy, start flow control for a while: {} transactions to end already, or the broker is about to stop",
            limits::ENDS_MAX
        );
        end.reply
            .send(response::SYSTEM_BUSY, Some(&remark), &NoHeader, Body::None);
    }
}

/// Checks an end against the half message it names; `None` if it decides nothing.
fn read(broker: &Broker, request: &Request) -> Result<Option<Decision>, Wrong> {
    let header: EndTransaction<'_> = request.header()?;
    let commit = match header.commit_or_rollback {
        0 => return Ok(None),
        sys_flag::TRANSACTION_COMMIT => true,
        sys_flag::TRANSACTION_ROLLBACK => false,
        other => return Err(Wrong::Decision(other)),
    };
    let log_offset = header.commit_log_offset;
    let missing = || Wrong::Missing(log_offset);
    let bytes = broker.store.record_at(log_offset)?.ok_or_else(missing)?;
    let half = Record::decode(&bytes, false).map_err(|_| missing())?.record;
    if half.topic != topics::HALF {
        return Err(missing());
    }
    let facts = Facts::of(half.properties);
    if !header.from_transaction_check.unwrap_or(false) {
        let rules = broker.config.transaction_rules();
        let now_ms = broker.clock.now_ms();
        match facts.endable_until_ms(&rules, half.born_timestamp) {
            Some(until_ms) if now_ms > until_ms => return Err(Wrong::Late { until_ms, now_ms }),
            _ => {}
        }
    }
    if facts
        .group
        .is_none_or(|group| header.producer_group != *group)
    {
        let said = header.producer_group.to_str().into_owned();
        return Err(Wrong::Group { said });
    }
    let said = header.tran_state_table_offset;
    if said != half.queue_offset {
        let is = half.queue_offset;
        return Err(Wrong::QueueOffset { said, is });
    }
    // After a power cut another half message may be where the one was that is meant. Apache does not look.
    if let (Some(said), Some(key)) = (header.transaction_id, facts.unique_key)
        && !said.is_empty()
        && said != *key
    {
        let said = said.to_str().into_owned();
        return Err(Wrong::Id { said });
    }
    Ok(Some(Decision {
        at: half.queue_offset.0,
        origin: facts.origin.unwrap_or(half.queue_offset.0),
        log_offset,
        unique_key: facts.unique_key.map(str::to_owned),
        commit,
    }))
}

/// 323: a message that was put aside because nobody ended it becomes a half message again.
pub(crate) fn resume(broker: &Arc<Broker>, request: Request) {
    let mut half = match put_aside(broker, &request) {
        Ok(half) => half,
        Err(refusal) => return request.refuse(refusal.code, &refusal.remark),
    };
    let origin = half.property(properties::TRAN_PREPARED_QUEUE_OFFSET);
    let origin = origin.and_then(|origin| origin.parse::<i64>().ok());
    half.remove(properties::TRAN_PREPARED_QUEUE_OFFSET);
    half.set(properties::TRANSACTION_CHECK_TIMES, "0");
    let shared = broker.clone();
    let put = async move {
        // From now on it is this half message that is committed.
        let take = |origin| Some((origin, shared.transactions.aside.lock().take(origin)?));
        let taken = origin.and_then(take);
        let put = shared.put_durably(vec![half]).await;
        if let (Err(_), Some((origin, place))) = (&put, taken) {
            shared.transactions.aside.lock().insert(origin, place);
        }
        put.map(|_| ()).map_err(Refusal::from)
    };
    let done = |reply: ReplyTo, ()| {
        reply.send(response::SUCCESS, None, &NoHeader, Body::None);
    };
    later(broker, request, put, NoHeader, done);
}

/// The message of a request to resume it, as a half message.
fn put_aside(broker: &Broker, request: &Request) -> Result<Message, Refusal> {
    may_begin(broker)?;
    let header: ResumeCheckHalfMessage<'_> = request.header()?;
    let text = header.msg_id.map(|id| id.to_str()).unwrap_or_default();
    let failed = |why: String| {
        Refusal::system(format!(
            "Put message back to RMQ_SYS_TRANS_HALF_TOPIC failed: msgId {text}: {why}"
        ))
    };
    let id = MessageId::decode(&text).map_err(|error| failed(error.to_string()))?;
    let bytes = broker.store.record_at(id.offset);
    let bytes = bytes.map_err(|error| failed(error.to_string()))?;
    let record = bytes
        .as_ref()
        .and_then(|bytes| Some(Record::decode(bytes, false).ok()?.record))
        .filter(|record| record.topic == topics::CHECKED_TOO_OFTEN)
        .ok_or_else(|| failed(format!("no message of {} there", topics::CHECKED_TOO_OFTEN)))?;
    Ok(Message {
        topic: topics::HALF.to_owned(),
        queue_id: 0,
        ..Message::of(&record)
    })
}
