//! QUERY 12 by key or unique id, VIEW 33 by place in the log.

use protocol::codes::response;
use protocol::command::NoHeader;
use protocol::headers::message::{QueryMessage, QueryMessageResponse, ViewMessage};
use remoting::{Body, Request};
use store::ReadError;

use super::Answer;
use crate::broker::Broker;
use crate::limits;
use crate::refusal::Refusal;

#[cfg(test)]
mod tests;

/// 12: messages of a topic with a key, stored in a span of time.
pub(crate) fn query(
    broker: &Broker,
    request: &Request,
) -> Result<Answer<QueryMessageResponse>, Refusal> {
    let header: QueryMessage<'_> = request.header()?;
    let by_unique_key = header.unique_key_query.unwrap_or(false);
    let count = if by_unique_key {
        broker.config.query_messages_max
    } else {
        header.max_num.min(limits::QUERY_MAX)
    };
    let found = broker.store.query(
        &header.topic.to_str(),
        &header.key.to_str(),
        usize::try_from(count).unwrap_or(0),
        header.begin_timestamp,
        header.end_timestamp,
    );
    let found = found.map_err(unreadable)?;
    let header = QueryMessageResponse {
        index_last_update_timestamp: found.last_update_timestamp,
        index_last_update_phyoffset: found.last_update_log_offset,
    };
    if found.records.is_empty() {
        let remark = "can not find message, maybe time range not correct";
        return Ok(Answer {
            code: response::QUERY_NOT_FOUND,
            remark: Some(remark),
            header,
            body: Body::None,
        });
    }
    Ok(Answer {
        body: found.records.into(),
        ..Answer::header(header)
    })
}

/// 33: the message at a place in the log.
pub(crate) fn view(broker: &Broker, request: &Request) -> Result<Answer<NoHeader>, Refusal> {
    let header: ViewMessage<'_> = request.header()?;
    let record = broker.store.record_at(header.offset).map_err(unreadable)?;
    let record = record.ok_or_else(|| {
        Refusal::system(format!(
            "can not find message by the offset, {}",
            header.offset
        ))
    })?;
    Ok(Answer::body(record))
}

pub(super) fn unreadable(error: ReadError) -> Refusal {
    tracing::error!(%error, "can't read the log");
    Refusal::system(error.to_string())
}
