//! Request-reply: SEND_REPLY_MESSAGE 324 and 325 bring the answer to a request; PUSH_REPLY_MESSAGE_TO_CLIENT 326 hands it to the
//! client that asked, over the connection on which it is a producer. The sender hears whether that client took it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use protocol::codes::{request, response};
use protocol::headers::reply::ReplyMessage;
use protocol::headers::send::{SendMessage, SendMessageResponse, SendMessageV2};
use protocol::message_id::MessageId;
use protocol::properties;
use protocol::record::sys_flag;
use protocol::text::Text;
use protocol::{LogOffset, QueueOffset};
use remoting::{Body, Call, ReplyTo, Request};

use super::send::{self, checks};
use crate::broker::Broker;
use crate::message::Message;
use crate::refusal::Refusal;

#[cfg(test)]
mod tests;

/// 324 and 325.
pub(crate) fn reply(broker: &Arc<Broker>, request: Request) {
    let pushed = match push(broker, &request) {
        Ok(pushed) => pushed,
        // As with sends, what Apache can't even read is answered without the fields.
        Err(refusal) if refusal.code == response::SYSTEM_ERROR => {
            return request.refuse(refusal.code, &refusal.remark);
        }
        Err(refusal) => return send::refuse(&broker.identity, request.into_reply(), &refusal),
    };
    let (storing, reply) = (broker.clone(), request.into_reply());
    broker
        .tasks
        .spawn(async move { pushed.answer(&storing, reply).await });
}

/// A reply on its way to whoever waits for it.
struct Pushed {
    /// Or why there is nobody.
    call: Result<(String, Call), String>,
    message: Message,
}

fn push(broker: &Broker, request: &Request) -> Result<Pushed, Refusal> {
    let header: SendMessageV2<'_> = match request.code {
        request::SEND_REPLY_MESSAGE => request.header::<SendMessage<'_>>()?.into(),
        _ => request.header()?,
    };
    let message = Message {
        topic: header.topic.to_str().into_owned(),
        queue_id: queue(broker, request, &header)?,
        flag: header.flag,
        // Apache forgets that the body is compressed; of the rest, nothing is true of a reply.
        sys_flag: header.sys_flag & !sys_flag::TRANSACTION,
        born_timestamp: header.born_timestamp,
        born_host: request.peer().remote_addr(),
        reconsume_times: header.reconsume_times.unwrap_or(0),
        prepared_transaction_offset: 0,
        body: Bytes::copy_from_slice(request.body()),
        properties: header.properties.map_or_else(Vec::new, |text| {
            let mut properties = Vec::new();
            text.append_to(&mut properties);
            properties
        }),
    };
    let call = match message.property(properties::REPLY_TO_CLIENT) {
        None => Err(format!(
            "reply message properties[{}] is null",
            properties::REPLY_TO_CLIENT
        )),
        Some(client) => {
            let peer = broker.clients.lock().producer(client).cloned();
            match peer {
                None => Err(format!(
                    "push reply message fail, channel of <{client}> not found."
                )),
                Some(peer) => {
                    let call = tell(broker, &header, &message, &peer);
                    Ok((client.to_owned(), call))
                }
            }
        }
    };
    Ok(Pushed { call, message })
}

/// The checks of a send, without those of its body.
fn queue(broker: &Broker, request: &Request, header: &SendMessageV2<'_>) -> Result<i32, Refusal> {
    let topic = header.topic.to_str();
    checks::topic(&topic)?;
    let config = match broker.topic(&topic) {
        Some(config) => config,
        None => broker
            .make_topic(&topic, header)
            .map_err(|error| send::topic_refusal(&topic, &error))?,
    };
    let producer = || request.peer().remote_addr().to_string();
    let queue_id = checks::queue(header.queue_id, &config, || broker.next_turn(), producer)?;
    Ok(queue_id)
}

fn tell(
    broker: &Broker,
    header: &SendMessageV2<'_>,
    message: &Message,
    peer: &Arc<remoting::Peer>,
) -> Call {
    let now_ms = broker.clock.now_ms();
    let mut told = message.properties.clone();
    properties::set(&mut told, properties::PUSH_REPLY_TIME, &now_ms.to_string());
    let told = String::from_utf8_lossy(&told);
    let (born_host, store_host) = (
        host(message.born_host),
        host(broker.identity.advertised.socket),
    );
    let pushed = ReplyMessage {
        producer_group: header.producer_group,
        topic: header.topic,
        default_topic: header.default_topic,
        default_topic_queue_nums: header.default_topic_queue_nums,
        queue_id: header.queue_id,
        sys_flag: header.sys_flag,
        born_timestamp: header.born_timestamp,
        flag: header.flag,
        properties: Some(Text::plain(&told)),
        reconsume_times: header.reconsume_times,
        unit_mode: header.unit_mode.unwrap_or(false),
        born_host: Text::plain(&born_host),
        store_host: Text::plain(&store_host),
        store_timestamp: now_ms,
    };
    let code = request::PUSH_REPLY_MESSAGE_TO_CLIENT;
    let timeout = broker.config.client_call_timeout;
    peer.call(code, &pushed, message.body.clone(), timeout)
}

/// As Java clients take it apart, at the last colon: an IPv6 address has no brackets.
fn host(address: SocketAddr) -> String {
    format!("{}:{}", address.ip(), address.port())
}

impl Pushed {
    async fn answer(self, broker: &Broker, reply: ReplyTo) {
        let queue_id = self.message.queue_id;
        let failed = match self.call {
            Err(remark) => Some(remark),
            Ok((client, call)) => match call.await {
                Ok(taken) if taken.code == response::SUCCESS => None,
                // Without a blank, as Apache has it.
                _ => Some(format!("push reply message to {client}fail.")),
            },
        };
        let stored = match broker.config.store_replies {
            true => store(broker, self.message).await,
            false => None,
        };
        if let (Some(remark), None) = (&failed, stored) {
            let refusal = Refusal::system(remark.clone());
            return send::refuse(&broker.identity, reply, &refusal);
        }
        // Clients fail without an id.
        let id = stored.map_or_else(
            || "0".to_owned(),
            |(offset, _)| {
                let host = broker.identity.advertised.socket;
                MessageId { host, offset }.encode()
            },
        );
        let header = SendMessageResponse {
            msg_id: Text::plain(&id),
            queue_id,
            queue_offset: stored.map_or(QueueOffset(0), |(_, offset)| offset),
            transaction_id: None,
            batch_uniq_id: None,
            recall_handle: None,
            region: Some(Text::plain(&broker.identity.region)),
            trace_on: Some(broker.identity.trace_on),
        };
        let code = match failed {
            None => response::SUCCESS,
            Some(_) => response::SYSTEM_ERROR,
        };
        reply.send(code, failed.as_deref(), &header, Body::None);
    }
}

/// Stores the reply beside, for the record; that it can't be stored is not the sender's concern.
async fn store(broker: &Broker, message: Message) -> Option<(LogOffset, QueueOffset)> {
    let (body, properties) = (message.body.len(), message.properties.len());
    let bytes_max = broker.config.message_bytes_max;
    let record_max = broker.config.record_bytes_max();
    checks::lengths(body, properties, bytes_max).ok()?;
    checks::record(&message.topic, body, properties, record_max).ok()?;
    let stored = broker.put_durably(vec![message]);
    let timeout = broker.config.sync_flush_timeout;
    match tokio::time::timeout(timeout, stored).await {
        Ok(Ok(appended)) => appended.entries.first().copied(),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a reply is not stored");
            None
        }
        Err(_) => None,
    }
}
