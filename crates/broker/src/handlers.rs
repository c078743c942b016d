//! What each request means: a file per subject.

pub(crate) mod client;
pub(crate) mod group;
pub(crate) mod lock;
pub(crate) mod offset;
pub(crate) mod pop;
pub(crate) mod pull;
pub(crate) mod query;
pub(crate) mod recall;
pub(crate) mod relay;
pub(crate) mod reply;
pub(crate) mod reset;
pub(crate) mod send;
pub(crate) mod send_back;
pub(crate) mod topic;
pub(crate) mod transaction;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use protocol::LogOffset;
use protocol::codes::response;
use protocol::command::{Header, NoHeader};
use protocol::fastjson;
use protocol::record::Record;
use remoting::{Body, ReplyTo, Request};
use serde::de::DeserializeOwned;
use store::ReadError;

use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::topics;

/// What a client gets that asked for something at hand.
pub(crate) struct Answer<H> {
    pub(crate) code: i32,
    pub(crate) remark: Option<&'static str>,
    pub(crate) header: H,
    pub(crate) body: Body,
}

impl<H> Answer<H> {
    /// Success, told by a header.
    pub(crate) fn header(header: H) -> Answer<H> {
        Answer {
            code: response::SUCCESS,
            remark: None,
            header,
            body: Body::None,
        }
    }
}

impl Answer<NoHeader> {
    /// Success, and nothing to tell.
    pub(crate) fn done() -> Answer<NoHeader> {
        Answer::header(NoHeader)
    }

    /// Success, told by a body.
    pub(crate) fn body(body: impl Into<Body>) -> Answer<NoHeader> {
        Answer {
            body: body.into(),
            ..Answer::done()
        }
    }
}

/// The record at a place in the log that a client names, if one is there that consumers may see. Apache gives any, and so shows
/// half messages and messages that are not due to whoever guesses their place.
pub(crate) fn visible_record(broker: &Broker, at: LogOffset) -> Result<Option<Bytes>, ReadError> {
    let is_visible = |bytes: &Bytes| {
        let decoded = Record::decode(bytes, false);
        decoded.is_ok_and(|decoded| !topics::is_hidden(decoded.record.topic))
    };
    Ok(broker.store.record_at(at)?.filter(is_visible))
}

/// The request's JSON body.
pub(crate) fn body<T: DeserializeOwned>(request: &Request) -> Result<T, Refusal> {
    let name = protocol::codes::request::name(request.code).unwrap_or("request");
    fastjson::from_slice(request.body())
        .map_err(|error| Refusal::system(format!("{name} body: {error}")))
}

/// Answers with what `handler` makes of the request.
pub(crate) fn answer<H: for<'h> Header<'h>>(
    request: Request,
    handler: impl FnOnce(&Request) -> Result<Answer<H>, Refusal>,
) {
    match handler(&request) {
        Ok(answer) => request.reply(answer.code, answer.remark, &answer.header, answer.body),
        Err(refusal) => request.refuse(refusal.code, &refusal.remark),
    }
}

/// The same for a handler that reads the log, which may wait for the disk.
pub(crate) fn answer_cold<H: for<'h> Header<'h>>(
    broker: &Broker,
    request: Request,
    handler: impl FnOnce(&Broker, &Request) -> Result<Answer<H>, Refusal> + Send + 'static,
) {
    broker.read_cold(move |broker| answer(request, |request| handler(broker, request)));
}

/// Answers with what a future gives: at once if it has it, or from a task that ends with the client's connection. A refusal
/// has the header `refused`, but for what Apache could not even read.
pub(crate) fn later<T: 'static, R: Header<'static> + Send + 'static>(
    broker: &Broker,
    request: Request,
    future: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    refused: R,
    answer: impl FnOnce(ReplyTo, T) + Send + 'static,
) {
    let mut reply = request.into_reply();
    let answer = move |reply: ReplyTo, result: Result<T, Refusal>| match result {
        Ok(value) => answer(reply, value),
        Err(refusal) if refusal.code == response::SYSTEM_ERROR => {
            reply.send(refusal.code, Some(&refusal.remark), &NoHeader, Body::None);
        }
        Err(refusal) => reply.send(refusal.code, Some(&refusal.remark), &refused, Body::None),
    };
    let mut future: Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send>> = Box::pin(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
        return answer(reply, result);
    }
    let peer = reply.peer().id();
    let Some(place) = broker.holds.place(peer) else {
        let remark = "too many requests of this connection wait";
        return reply.send(response::POLLING_FULL, Some(remark), &NoHeader, Body::None);
    };
    reply.hold();
    broker.holds.start(peer, async move {
        let _place = place;
        answer(
            reply,
            poll_fn(|context| future.as_mut().poll(context)).await,
        );
    });
}
