//! What each request means: a file per subject.

pub(crate) mod client;
pub(crate) mod group;
pub(crate) mod lock;
pub(crate) mod offset;
pub(crate) mod pull;
pub(crate) mod query;
pub(crate) mod relay;
pub(crate) mod reply;
pub(crate) mod reset;
pub(crate) mod send;
pub(crate) mod send_back;
pub(crate) mod topic;
pub(crate) mod transaction;

use protocol::codes::response;
use protocol::command::{Header, NoHeader};
use protocol::fastjson;
use remoting::{Body, Request};
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;

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
