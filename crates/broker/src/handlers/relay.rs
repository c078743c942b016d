//! What tools ask of a group's clients through the broker: GET_CONSUMER_RUNNING_INFO 307, CONSUME_MESSAGE_DIRECTLY 309, and
//! INVOKE_BROKER_TO_GET_CONSUMER_STATUS 223, which asks with GET_CONSUMER_STATUS_FROM_CLIENT 221.
//!
//! The connection that asks waits; there is no limit to such requests besides the one to all it has under way.

use std::sync::Arc;

use protocol::bodies::ConsumerStatus;
use protocol::codes::{request, response};
use protocol::command::{FieldSink, Fields, Header, HeaderError, NoHeader};
use protocol::fastjson;
use protocol::headers::calls::{ConsumeMessageDirectly, ConsumerRunningInfo, ConsumerStatusOf};
use protocol::message_id::MessageId;
use protocol::text::Text;
use remoting::{Body, Call, CallError, Peer, ReplyTo, Request};

use super::visible_record;
use crate::broker::Broker;
use crate::clients::Member;
use crate::limits;
use crate::refusal::Refusal;

#[cfg(test)]
mod tests;

/// The first version (V3_0_7_SNAPSHOT) that has 220 and 221.
const OFFSETS_VERSION_MIN: i32 = 28;
/// The first version (V3_1_8_SNAPSHOT) that has 307 and 309.
const RELAY_VERSION_MIN: i32 = 62;

/// Refuses to ask a client for its offsets, or to set them, that is too old for it.
pub(super) fn check_offsets_version(member: &Member<Arc<Peer>>) -> Result<(), Refusal> {
    match member.version {
        OFFSETS_VERSION_MIN.. => Ok(()),
        version => Err(Refusal::system(format!(
            "the client does not support this feature. version={version}, client={}",
            member.client_id
        ))),
    }
}

/// 307: what a consumer is doing, by itself.
pub(crate) fn running_info(broker: &Broker, request: Request) {
    let asked = ask_running_info(broker, &request);
    pass_on(broker, request, asked);
}

fn ask_running_info(broker: &Broker, request: &Request) -> Result<Asked, Refusal> {
    let header: ConsumerRunningInfo<'_> = request.header()?;
    let (group, client) = (header.consumer_group.to_str(), header.client_id.to_str());
    let body = request.body().clone();
    let code = request::GET_CONSUMER_RUNNING_INFO;
    let fields: Fields<'_> = request.header()?;
    Asked::ask(broker, &group, &client, code, &fields, body)
}

/// 309: has a consumer consume a stored message at once.
pub(crate) fn consume_directly(broker: &Broker, request: Request) {
    let asked = ask_to_consume(broker, &request);
    pass_on(broker, request, asked);
}

fn ask_to_consume(broker: &Broker, request: &Request) -> Result<Asked, Refusal> {
    let header: ConsumeMessageDirectly<'_> = request.header()?;
    let text = |text: Option<Text<'_>>| text.map_or_else(String::new, |text| text.to_str().into());
    let (group, client) = (header.consumer_group.to_str(), text(header.client_id));
    let id = text(header.msg_id);
    let place = MessageId::decode(&id)
        .map_err(|error| Refusal::system(format!("msgId \"{id}\": {error}")))?;
    let record = visible_record(broker, place.offset);
    let record = record.map_err(|error| {
        tracing::error!(%error, "can't read the log");
        Refusal::system(error.to_string())
    })?;
    let record = record
        .ok_or_else(|| Refusal::system(format!("can not find message by the msgId, {id}")))?;
    let flagged = Flagged {
        fields: request.header()?,
        broker_name: &broker.identity.broker,
        topic_sys_flag: broker
            .topic(&text(header.topic))
            .map(|config| config.topic_sys_flag),
        group_sys_flag: broker
            .groups
            .state
            .read()
            .find(&group)
            .map(|config| config.group_sys_flag),
    };
    let code = request::CONSUME_MESSAGE_DIRECTLY;
    Asked::ask(broker, &group, &client, code, &flagged, record)
}

/// The fields of a request with what the broker adds.
struct Flagged<'a> {
    fields: Fields<'a>,
    broker_name: &'a str,
    topic_sys_flag: Option<i32>,
    group_sys_flag: Option<i32>,
}

impl<'a> Header<'a> for Flagged<'a> {
    fn decode(_: Fields<'a>) -> Result<Self, HeaderError> {
        unreachable!("it is sent, never received")
    }

    fn encode(&self, out: &mut FieldSink<'_>) {
        let flags = [
            ("topicSysFlag", self.topic_sys_flag),
            ("groupSysFlag", self.group_sys_flag),
        ];
        let flags = flags.map(|(name, flag)| Some((name, flag?.to_string())));
        let known = |name: Text<'_>| flags.iter().flatten().any(|(known, _)| name == *known);
        for (name, value) in self.fields.iter() {
            if name != "brokerName" && !known(name) {
                out.echo(name, value);
            }
        }
        out.text("brokerName", Text::plain(self.broker_name));
        for (name, flag) in flags.iter().flatten() {
            out.text(name, Text::plain(flag));
        }
    }
}

/// A client that was asked.
struct Asked {
    /// Group and client, for remarks.
    who: String,
    call: Call,
}

impl Asked {
    fn ask<'h>(
        broker: &Broker,
        group: &str,
        client: &str,
        code: i32,
        header: &impl Header<'h>,
        body: impl Into<Body>,
    ) -> Result<Asked, Refusal> {
        let member = broker.clients.lock().consumer(group, client).cloned();
        let member = member.ok_or_else(|| {
            Refusal::system(format!("The Consumer <{group}> <{client}> not online"))
        })?;
        if member.version < RELAY_VERSION_MIN {
            return Err(Refusal::system(format!(
                "The Consumer <{client}> Version <{}> too low to finish, please upgrade it to V3_1_8_SNAPSHOT",
                member.version
            )));
        }
        let timeout = broker.config.client_call_timeout;
        Ok(Asked {
            who: format!("<{group}> <{client}>"),
            call: member.peer.call(code, header, body, timeout),
        })
    }

    /// Answers as the client does.
    async fn answer(self, reply: ReplyTo) {
        let who = self.who;
        let (code, remark) = match self.call.await {
            Ok(said) => match said.header::<Fields<'_>>() {
                Ok(fields) => {
                    let (remark, body) = (said.remark.as_deref(), said.body().clone());
                    return reply.send(said.code, remark, &fields, body);
                }
                Err(error) => (
                    response::SYSTEM_ERROR,
                    format!("invoke consumer {who} Exception: {error}"),
                ),
            },
            Err(error @ CallError::Timeout(_)) => (
                response::CONSUME_MSG_TIMEOUT,
                format!("consumer {who} Timeout: {error}"),
            ),
            Err(error) => (
                response::SYSTEM_ERROR,
                format!("invoke consumer {who} Exception: {error}"),
            ),
        };
        reply.send(code, Some(&remark), &NoHeader, Body::None);
    }
}

fn pass_on(broker: &Broker, request: Request, asked: Result<Asked, Refusal>) {
    match asked {
        Ok(asked) => broker.tasks.spawn(asked.answer(request.into_reply())),
        Err(refusal) => request.refuse(refusal.code, &refusal.remark),
    }
}

/// 223: what the clients of a group know of their offsets in a topic.
pub(crate) fn status(broker: &Broker, request: Request) {
    match ask_status(broker, &request) {
        Ok(asked) => broker
            .tasks
            .spawn(answer_status(asked, request.into_reply())),
        Err(refusal) => request.refuse(refusal.code, &refusal.remark),
    }
}

/// Asks all of them at once; returns each with its id. (Apache asks one after the other.)
fn ask_status(broker: &Broker, request: &Request) -> Result<Vec<(String, Call)>, Refusal> {
    let header: ConsumerStatusOf<'_> = request.header()?;
    let group = header.group.to_str();
    let only = header.client_addr.map(|id| id.to_str());
    let only = only.filter(|id| !id.trim().is_empty());
    let clients = broker.clients.lock();
    let members: Vec<_> = match clients.group(&group) {
        None => {
            let remark = format!("No Any Consumer online in the consumer group: [{group}]");
            return Err(Refusal::system(remark));
        }
        Some(members) => members
            .members()
            .filter(|member| only.as_ref().is_none_or(|only| *only == member.client_id))
            .cloned()
            .collect(),
    };
    drop(clients);
    for member in &members {
        check_offsets_version(member)?;
    }
    let header = ConsumerStatusOf {
        client_addr: None,
        ..header
    };
    let code = request::GET_CONSUMER_STATUS_FROM_CLIENT;
    let timeout = broker
        .config
        .client_call_timeout
        .min(limits::CLIENT_STATUS_MAX);
    let ask = |member: Member<Arc<Peer>>| {
        let call = member.peer.call(code, &header, Body::None, timeout);
        (member.client_id, call)
    };
    Ok(members.into_iter().map(ask).collect())
}

/// Those that did not answer, or not with offsets, are left out, as in Apache.
async fn answer_status(asked: Vec<(String, Call)>, reply: ReplyTo) {
    let mut status = ConsumerStatus::default();
    for (client_id, call) in asked {
        let Ok(said) = call.await else { continue };
        if said.code != response::SUCCESS {
            continue;
        }
        let Ok(known) = fastjson::from_slice::<ConsumerStatus>(said.body()) else {
            continue;
        };
        status
            .consumer_table
            .insert(client_id, known.message_queue_table);
    }
    let body = fastjson::to_vec(&status);
    reply.send(response::SUCCESS, None, &NoHeader, body);
}
