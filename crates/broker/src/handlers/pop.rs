//! QUERY_ASSIGNMENT 400, SET_MESSAGE_REQUEST_MODE 401, POP 200050, ACK 200051, BATCH_ACK 200151, CHANGE_INVISIBLE_TIME 200053, NOTIFICATION 200054: their headers and bodies
//! to and from what [`crate::pop`] does.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use protocol::bodies::{BatchAckMessage, QueryAssignmentResponse};
use protocol::codes::response;
use protocol::command::{Header, NoHeader};
use protocol::fastjson;
use protocol::headers::pop::{
    AckMessage, ChangeInvisibleTime, ChangeInvisibleTimeResponse, Notification,
    NotificationResponse, PopMessage, PopMessageResponse,
};
use protocol::properties;
use protocol::receipt::{Handle, Info, ORDER_REVIVE_QUEUE, Retry};
use protocol::record::Record;
use protocol::text::Text;
use remoting::{Body, ReplyTo, Request};

use crate::broker::Broker;
use crate::handlers::{self, later};
use crate::pop::{Acked, Change, Claim, NotificationRequest, Outcome, PopRequest, Popped};
use crate::refusal::Refusal;

/// 200050.
pub(crate) fn pop(broker: &Arc<Broker>, request: Request) {
    let wanted = match read_pop(broker, &request) {
        Ok(wanted) => wanted,
        Err(refusal) => return request.refuse(refusal.code, &refusal.remark),
    };
    let topic = wanted.topic.clone();
    let popped = broker.clone().pop(wanted);
    let answering = broker.clone();
    later(broker, request, popped, REFUSED, move |reply, popped| {
        answer_pop(&answering, reply, &topic, popped);
    });
}

fn read_pop(broker: &Broker, request: &Request) -> Result<PopRequest, Refusal> {
    let header: PopMessage<'_> = request.header()?;
    let text = |text: Option<Text<'_>>| text.map(|text| text.to_str().into_owned());
    Ok(PopRequest {
        group: header.consumer_group.to_str().into(),
        topic: header.topic.to_str().into(),
        queue_id: header.queue_id,
        messages_max: header.max_msg_nums,
        invisible_ms: header.invisible_time,
        poll_ms: header.poll_time,
        born_ms: born(broker, header.born_time),
        from_newest: header.init_mode != 0,
        expression_type: text(header.exp_type).unwrap_or_default(),
        expression: text(header.exp).unwrap_or_default(),
        order: header.order,
        attempt_id: text(header.attempt_id),
        consumer: request.peer().remote_addr().to_string(),
    })
}

/// Clients that do not say when they asked ask now.
fn born(broker: &Broker, born_ms: i64) -> i64 {
    match born_ms {
        0 => broker.clock.now_ms(),
        born_ms => born_ms,
    }
}

fn answer_pop(broker: &Broker, reply: ReplyTo, topic: &str, popped: Popped) {
    let (code, remark) = match popped.outcome {
        Outcome::Found => (response::SUCCESS, "FOUND"),
        Outcome::Timeout => (response::POLLING_TIMEOUT, "NO_MESSAGE_IN_QUEUE"),
        Outcome::Full => (response::POLLING_FULL, "NO_MESSAGE_IN_QUEUE"),
    };
    let (mut starts, mut offsets, mut counts) = (Info::default(), Info::default(), Info::default());
    for claim in &popped.claims {
        starts.add(claim.retry, claim.queue_id, claim.start);
        offsets.add_offsets(claim.retry, claim.queue_id, &claim.offsets);
        add_counts(&mut counts, claim);
    }
    let header = PopMessageResponse {
        pop_time: popped.pop_ms,
        invisible_time: popped.invisible_ms,
        revive_qid: popped.revive_queue,
        rest_num: popped.rest,
        start_offset_info: Some(Text::plain(starts.as_str())),
        msg_offset_info: Some(Text::plain(offsets.as_str())),
        order_count_info: (popped.revive_queue == ORDER_REVIVE_QUEUE)
            .then(|| Text::plain(counts.as_str())),
    };
    let mut records = Vec::new();
    for claim in &popped.claims {
        let handle = Handle {
            start_offset: claim.start,
            pop_time: popped.pop_ms,
            invisible_time: popped.invisible_ms,
            revive_queue: popped.revive_queue,
            broker: broker.identity.broker.clone(),
        };
        let as_stored = claim.retry == Retry::No || broker.config.pop.show_retry_topic;
        records.extend(
            claim
                .records
                .iter()
                .zip(&claim.offsets)
                .map(|(record, offset)| match as_stored {
                    true => record.clone(),
                    false => {
                        let handle = handle.write(claim.retry, claim.queue_id, *offset);
                        of_topic(record, topic, &handle)
                    }
                }),
        );
    }
    reply.send(code, Some(remark), &header, records);
}

/// How often ordered messages were taken before; for the whole queue what is true of all of them, as old clients read it.
fn add_counts(info: &mut Info, claim: &Claim) {
    let Some(least) = claim.counts.iter().min() else {
        return;
    };
    for (offset, count) in claim.offsets.iter().zip(&claim.counts) {
        if *count > 0 {
            info.add_message_count(claim.retry, claim.queue_id, *offset, *count);
        }
    }
    info.add(claim.retry, claim.queue_id, least);
}

/// A message of a retry topic as one of the consumer's topic, with its handle in it. One whose properties have no room for
/// the handle stays as it is: clients understand that too.
fn of_topic(record: &Bytes, topic: &str, handle: &str) -> Bytes {
    let Ok(decoded) = Record::decode(record, false) else {
        return record.clone();
    };
    let mut text = decoded.record.properties.to_vec();
    if properties::find(&text, properties::POP_CK).is_none() {
        properties::append(&mut text, properties::POP_CK, handle);
    }
    let shown = Record {
        topic,
        properties: &text,
        ..decoded.record
    };
    let mut bytes = BytesMut::with_capacity(record.len() + handle.len() + 16);
    match shown.encode(&mut bytes) {
        Ok(_) => bytes.freeze(),
        Err(_) => record.clone(),
    }
}

/// 200051.
pub(crate) fn ack(broker: &Arc<Broker>, request: Request) {
    let read = || -> Result<Acked, Refusal> {
        let header: AckMessage<'_> = request.header()?;
        Ok(Acked {
            group: header.consumer_group.to_str().into(),
            topic: header.topic.to_str().into(),
            queue_id: header.queue_id,
            offset: header.offset.0,
            handle: header.extra_info.to_str().into_owned(),
            consumer: request.peer().remote_addr().to_string(),
        })
    };
    match read() {
        Ok(acked) => {
            let acked = broker.clone().ack(acked);
            later(broker, request, acked, NoHeader, |reply, ()| {
                done(reply, None, &NoHeader);
            });
        }
        Err(refusal) => request.refuse(refusal.code, &refusal.remark),
    }
}

/// 200151.
pub(crate) fn batch_ack(broker: &Arc<Broker>, request: Request) {
    let body: BatchAckMessage = match request.body().is_empty() {
        true => BatchAckMessage::default(),
        false => match handlers::body(&request) {
            Ok(body) => body,
            Err(refusal) => return request.refuse(refusal.code, &refusal.remark),
        },
    };
    let consumer = request.peer().remote_addr().to_string();
    let (acking, BatchAckMessage { acks, broker_name }) = (broker.clone(), body);
    let acked = async move { acking.ack_batch(acks, &broker_name, &consumer).await };
    later(broker, request, acked, NoHeader, |reply, ()| {
        done(reply, None, &NoHeader);
    });
}

/// 200053.
pub(crate) fn change_invisible(broker: &Arc<Broker>, request: Request) {
    let read = || -> Result<Change, Refusal> {
        let header: ChangeInvisibleTime<'_> = request.header()?;
        Ok(Change {
            message: Acked {
                group: header.consumer_group.to_str().into(),
                topic: header.topic.to_str().into(),
                queue_id: header.queue_id,
                offset: header.offset.0,
                handle: header.extra_info.to_str().into_owned(),
                consumer: request.peer().remote_addr().to_string(),
            },
            invisible_ms: header.invisible_time,
        })
    };
    match read() {
        Ok(change) => {
            let changed = broker.clone().change_invisible(change);
            later(broker, request, changed, UNCHANGED, |reply, changed| {
                let header = ChangeInvisibleTimeResponse {
                    pop_time: changed.pop_ms,
                    invisible_time: changed.invisible_ms,
                    revive_qid: changed.revive_queue,
                };
                done(reply, UNSET, &header);
            });
        }
        Err(refusal) => request.refuse(refusal.code, &refusal.remark),
    }
}

/// 200054.
pub(crate) fn notification(broker: &Arc<Broker>, request: Request) {
    let read = || -> Result<NotificationRequest, Refusal> {
        let header: Notification<'_> = request.header()?;
        Ok(NotificationRequest {
            group: header.consumer_group.to_str().into(),
            topic: header.topic.to_str().into(),
            queue_id: header.queue_id,
            poll_ms: header.poll_time,
            born_ms: born(broker, header.born_time),
            order: header.order,
            attempt_id: header.attempt_id.map(|text| text.to_str().into_owned()),
            consumer: request.peer().remote_addr().to_string(),
        })
    };
    match read() {
        Ok(wanted) => {
            let noticed = broker.clone().notification(wanted);
            later(broker, request, noticed, UNNOTICED, |reply, notice| {
                let header = NotificationResponse {
                    has_msg: notice.has_message,
                    polling_full: notice.full,
                };
                done(reply, UNSET, &header);
            });
        }
        Err(refusal) => request.refuse(refusal.code, &refusal.remark),
    }
}

/// What Apache says with the answers of which it sets the code only.
const UNSET: Option<&str> = Some("not set any response code");

/// Apache's answers have the numbers of a header that nobody filled in.
const REFUSED: PopMessageResponse<'static> = PopMessageResponse {
    pop_time: 0,
    invisible_time: 0,
    revive_qid: 0,
    rest_num: 0,
    start_offset_info: None,
    msg_offset_info: None,
    order_count_info: None,
};
const UNCHANGED: ChangeInvisibleTimeResponse = ChangeInvisibleTimeResponse {
    pop_time: 0,
    invisible_time: 0,
    revive_qid: 0,
};
const UNNOTICED: NotificationResponse = NotificationResponse {
    has_msg: false,
    polling_full: false,
};

fn done<'h>(reply: ReplyTo, remark: Option<&str>, header: &impl Header<'h>) {
    reply.send(response::SUCCESS, remark, header, Body::None);
}

/// 400.
pub(crate) fn assignment(broker: &Arc<Broker>, request: Request) {
    match handlers::body(&request) {
        Ok(wanted) => {
            let assigned = broker.clone().assignment(wanted);
            later(
                broker,
                request,
                assigned,
                NoHeader,
                |reply, message_queue_assignments| {
                    let body = QueryAssignmentResponse {
                        message_queue_assignments,
                    };
                    let body = fastjson::to_vec(&body);
                    reply.send(response::SUCCESS, None, &NoHeader, body);
                },
            );
        }
        Err(refusal) => request.refuse(refusal.code, &refusal.remark),
    }
}

/// 401.
pub(crate) fn set_mode(broker: &Arc<Broker>, request: Request) {
    match handlers::body(&request) {
        Ok(mode) => {
            let set = broker.clone().set_request_mode(mode);
            later(broker, request, set, NoHeader, |reply, ()| {
                done(reply, None, &NoHeader);
            });
        }
        Err(refusal) => request.refuse(refusal.code, &refusal.remark),
    }
}
