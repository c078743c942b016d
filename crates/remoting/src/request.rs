//! Commands as they arrive: requests, each of which is answered exactly once, and the replies to
//! our own calls.

use std::mem;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use protocol::codes::response;
use protocol::command::{CommandOut, HeadError, Header, HeaderError, Language, NoHeader, RESPONSE};
use protocol::frame::Frame;

use crate::chain::Body;
use crate::peer::Peer;

/// A frame whose head was parsed; the fields are read in place when they are asked for.
#[derive(Clone, Debug)]
struct Parsed {
    frame: Frame,
    /// Where the fields lie in the frame's header, which is shorter than 2^24 bytes.
    fields: (u32, u32),
}

impl Parsed {
    fn span(&self) -> Range<usize> {
        self.fields.0 as usize..self.fields.1 as usize
    }

    fn header<'a, H: Header<'a>>(&'a self) -> Result<H, HeaderError> {
        self.frame.header(self.span())
    }
}

/// What came in.
pub(crate) enum Incoming {
    Request(Request),
    /// The answer to our call with this opaque.
    Reply(i32, Reply),
}

impl Incoming {
    pub(crate) fn parse(frame: Frame, peer: &Arc<Peer>) -> Result<Incoming, HeadError> {
        let head = frame.head()?;
        let (code, version, language, opaque) =
            (head.code, head.version, head.language, head.opaque);
        let (is_response, oneway) = (head.is_response(), head.is_oneway());
        let remark = if is_response {
            head.remark.map(|remark| remark.to_str().into_owned())
        } else {
            None
        };
        let span = head.fields.span();
        let bytes = frame.header.len() + frame.body.len();
        let parsed = Parsed {
            frame,
            fields: (span.start as u32, span.end as u32),
        };
        if is_response {
            return Ok(Incoming::Reply(
                opaque,
                Reply {
                    code,
                    version,
                    remark,
                    parsed,
                },
            ));
        }
        let peer = Arc::clone(peer);
        let reply = ReplyTo {
            peer,
            code,
            opaque,
            oneway,
            answered: false,
            frames: 1,
            bytes: bytes as u32,
        };
        Ok(Incoming::Request(Request {
            code,
            version,
            language,
            parsed,
            reply,
        }))
    }
}

/// What the other side asks. Answer it with [`Request::reply`], or later through
/// [`Request::into_reply`]; dropped unanswered it is answered with code 1.
#[derive(Debug)]
pub struct Request {
    /// The request code: see `protocol::codes::request`.
    pub code: i32,
    /// The other side's version, `MQVersion` ordinal.
    pub version: i32,
    /// What the other side is written in.
    pub language: Language,
    parsed: Parsed,
    reply: ReplyTo,
}

impl Request {
    /// The typed header, borrowed from the frame.
    pub fn header<'a, H: Header<'a>>(&'a self) -> Result<H, HeaderError> {
        self.parsed.header()
    }

    /// Everything behind the header. A slice of the read buffer: copy what is kept for long.
    pub fn body(&self) -> &Bytes {
        &self.parsed.frame.body
    }

    /// Nobody waits for an answer; one that is given is dropped.
    pub fn is_oneway(&self) -> bool {
        self.reply.oneway
    }

    /// Who asks.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.reply.peer
    }

    /// Bytes this request counts with against the limits.
    pub(crate) fn bytes(&self) -> usize {
        self.reply.bytes as usize
    }

    /// Answers.
    pub fn reply<'h>(
        self,
        code: i32,
        remark: Option<&str>,
        header: &impl Header<'h>,
        body: impl Into<Body>,
    ) {
        self.reply.send(code, remark, header, body);
    }

    /// Answers with nothing but a code and words.
    pub fn refuse(self, code: i32, remark: &str) {
        self.reply.send(code, Some(remark), &NoHeader, Body::None);
    }

    /// Answers that nobody here knows this code, in Apache's words.
    pub fn refuse_unknown(self) {
        let remark = format!(" request type {} not supported", self.code);
        self.refuse(response::REQUEST_CODE_NOT_SUPPORTED, &remark);
    }

    /// What is needed to answer later; the frame is let go.
    pub fn into_reply(self) -> ReplyTo {
        self.reply
    }
}

/// The right, and the duty, to answer one request.
#[derive(Debug)]
pub struct ReplyTo {
    peer: Arc<Peer>,
    code: i32,
    opaque: i32,
    oneway: bool,
    answered: bool,
    /// What this request still counts with against the limits: one frame, or none when held.
    frames: u32,
    bytes: u32,
}

impl ReplyTo {
    /// Answers. The reply is encoded into the peer's outbound buffer before this returns, and
    /// leaves when the handler returns or, from elsewhere, as soon as the connection's task wakes.
    /// On a closed connection nothing happens.
    pub fn send<'h>(
        mut self,
        code: i32,
        remark: Option<&str>,
        header: &impl Header<'h>,
        body: impl Into<Body>,
    ) {
        self.answer(code, remark, header, body.into());
    }

    /// No longer counts against the limits: for a request that waits for something to happen, whose
    /// number its holder limits.
    pub fn hold(&mut self) {
        let (frames, bytes) = (mem::take(&mut self.frames), mem::take(&mut self.bytes));
        self.peer.release(frames, bytes);
    }

    /// Lets the request go unanswered, where RocketMQ does so.
    pub fn ignore(mut self) {
        self.answered = true;
        self.hold();
    }

    /// Nobody waits for an answer.
    pub fn is_oneway(&self) -> bool {
        self.oneway
    }

    /// Who asked.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    fn answer<'h>(
        &mut self,
        code: i32,
        remark: Option<&str>,
        header: &impl Header<'h>,
        body: Body,
    ) {
        self.answered = true;
        let (frames, bytes) = (mem::take(&mut self.frames), mem::take(&mut self.bytes));
        if self.oneway {
            return self.peer.release(frames, bytes);
        }
        let command = CommandOut {
            code,
            opaque: self.opaque,
            flag: RESPONSE,
            remark,
            ..CommandOut::default()
        };
        self.peer.answer(&command, header, body, (frames, bytes));
    }
}

impl Drop for ReplyTo {
    /// A handler that panicked, or lost the request, must not leave the other side waiting for its
    /// timeout.
    fn drop(&mut self) {
        if !self.answered {
            let remark = format!("request type {} was dropped unanswered", self.code);
            self.answer(response::SYSTEM_ERROR, Some(&remark), &NoHeader, Body::None);
        }
    }
}

/// The answer to one of our calls.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The response code: see `protocol::codes::response`.
    pub code: i32,
    /// The other side's version.
    pub version: i32,
    /// Words for people, mostly with an error.
    pub remark: Option<String>,
    parsed: Parsed,
}

impl Reply {
    /// The typed header, borrowed from the frame.
    pub fn header<'a, H: Header<'a>>(&'a self) -> Result<H, HeaderError> {
        self.parsed.header()
    }

    /// Everything behind the header.
    pub fn body(&self) -> &Bytes {
        &self.parsed.frame.body
    }
}
