//! RECALL 370: a timed message is called off.

use bytes::Bytes;
use protocol::LogOffset;
use protocol::codes::response;
use protocol::headers::recall::{RecallMessage, RecallMessageResponse};
use protocol::properties;
use protocol::recall_handle::RecallHandle;
use protocol::text::Text;
use remoting::{Body, Request};

use crate::broker::Broker;
use crate::message::{Message, PutError};
use crate::refusal::Refusal;
use crate::topics::perm;

#[cfg(test)]
mod tests;

/// Tag of what is stored to call another message off.
const TAG: &str = "_RECALL_TAG_";
/// What Apache's answers of this kind say before there is one, and after success too.
const UNSET: Option<&str> = Some("not set any response code");

/// 370: stores a message that is due with the other one and calls it off.
pub(crate) fn recall(broker: &Broker, request: Request) {
    let done = match request.header::<RecallMessage<'_>>() {
        Ok(header) => call_off(broker, &request, &header),
        Err(error) => {
            let refusal = Refusal::from(error);
            return request.refuse(refusal.code, &refusal.remark);
        }
    };
    let (reply, identity) = (request.into_reply(), broker.identity.clone());
    let answer = move |done: Result<String, Refusal>| {
        let (code, remark, key) = match &done {
            Ok(key) => (response::SUCCESS, UNSET, Some(key)),
            Err(refusal) => (refusal.code, Some(&*refusal.remark), None),
        };
        let header = RecallMessageResponse {
            msg_id: key.map(|key| Text::plain(key)),
            region: Some(Text::plain(&identity.region)),
        };
        reply.send(code, remark, &header, Body::None);
    };
    let (unique_key, end) = match done {
        Ok(done) if broker.config.store.sync_flush => done,
        done => return answer(done.map(|(unique_key, _)| unique_key)),
    };
    let store = broker.store.clone();
    broker.tasks.spawn(async move {
        // Apache says success after a while all the same, and a power cut then takes back what it said.
        let durable = store.durable().reached(end.0).await;
        let refused = |sealed| Refusal::from(PutError::from(sealed));
        answer(durable.map(|()| unique_key).map_err(refused));
    });
}

/// The message's unique key, and where the log ends with what calls it off.
fn call_off(
    broker: &Broker,
    request: &Request,
    header: &RecallMessage<'_>,
) -> Result<(String, LogOffset), Refusal> {
    let settings = &broker.config.timer;
    if !settings.recall_enabled {
        let remark = "recall failed, operation is forbidden";
        return Err(Refusal::new(response::NO_PERMISSION, remark));
    }
    if broker.config.broker_permission & perm::WRITE == 0 && !settings.recall_when_not_writeable {
        let remark = "recall failed, broker service not available";
        return Err(Refusal::new(response::SERVICE_NOT_AVAILABLE, remark));
    }
    let topic = header.topic.to_str();
    if broker.topic(&topic).is_none() {
        let remark = format!("recall failed, the topic[{topic}] not exist");
        return Err(Refusal::new(response::TOPIC_NOT_EXIST, remark));
    }
    let illegal = |remark: &'static str| Refusal::new(response::ILLEGAL_OPERATION, remark);
    let handle = RecallHandle::decode(&header.recall_handle.to_str())
        .ok_or_else(|| illegal("recall handle is invalid"))?;
    if handle.topic != topic {
        return Err(illegal("recall failed, topic not match"));
    }
    if handle.broker != broker.identity.broker {
        return Err(illegal("recall failed, broker service not available"));
    }
    let now_ms = broker.clock.now_ms();
    let due_ms = handle.time.parse::<i64>().unwrap_or(-1);
    let left_ms = due_ms.saturating_sub(now_ms);
    if left_ms <= 0 || left_ms >= settings.delay_ms_max {
        return Err(illegal("recall failed, timestamp invalid"));
    }
    let message = message(&handle, header.producer_group, request, now_ms);
    match broker.put(vec![message]) {
        Ok(appended) => Ok((handle.unique_key, appended.end)),
        Err(error) => Err(Refusal::system(format!(
            "recall failed, execute error: {error}"
        ))),
    }
}

fn message(
    handle: &RecallHandle,
    group: Option<Text<'_>>,
    request: &Request,
    now_ms: i64,
) -> Message {
    let mut message = Message {
        topic: handle.topic.clone(),
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: now_ms,
        born_host: request.peer().remote_addr(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: Bytes::from_static(b"0"),
        properties: Vec::new(),
    };
    let target = format!("{}+{}", handle.topic, handle.unique_key);
    message.set(properties::TAGS, TAG);
    message.set(properties::TIMER_DEL_UNIQKEY, &target);
    message.set(properties::UNIQ_KEY, &handle.unique_key);
    message.set(properties::TIMER_DELIVER_MS, &handle.time);
    message.set(properties::BORN_TIMESTAMP, &now_ms.to_string());
    if let Some(group) = group {
        message.set(properties::PGROUP, &group.to_str());
    }
    message
}
