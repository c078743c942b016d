//! Our own requests on a connection that wait for their answer, by opaque.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use protocol::command::EncodeError;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::peer::Peer;
use crate::request::Reply;

/// Why a call has no answer. The other side may still have carried it out, except when it was
/// `Refused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The connection closed before the answer came, or was closed already.
    #[error("the connection is closed")]
    Closed,
    /// Too many calls on this connection wait for an answer; nothing was sent.
    #[error("{0} calls are waiting for an answer already")]
    Refused(usize),
    /// No frame can hold it; nothing was sent.
    #[error(transparent)]
    TooLarge(EncodeError),
}

#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    waiting: FxHashMap<i32, oneshot::Sender<Reply>>,
    opaque: i32,
    closed: bool,
}

impl Calls {
    pub(crate) fn opaque(&self) -> i32 {
        let mut table = self.0.lock();
        table.opaque = table.opaque.wrapping_add(1);
        table.opaque
    }

    pub(crate) fn open(
        &self,
        calls_max: usize,
    ) -> Result<(i32, oneshot::Receiver<Reply>), CallError> {
        let mut table = self.0.lock();
        if table.closed {
            return Err(CallError::Closed);
        }
        if table.waiting.len() >= calls_max {
            return Err(CallError::Refused(calls_max));
        }
        let (answer, receiver) = oneshot::channel();
        table.opaque = table.opaque.wrapping_add(1);
        let opaque = table.opaque;
        // An opaque comes round after 2^32 calls; whoever still waits under it loses.
        table.waiting.insert(opaque, answer);
        Ok((opaque, receiver))
    }

    /// Hands an answer to its caller; false if nobody waits for it, as after a timeout.
    pub(crate) fn complete(&self, opaque: i32, reply: Reply) -> bool {
        let answer = self.0.lock().waiting.remove(&opaque);
        answer.is_some_and(|answer| answer.send(reply).is_ok())
    }

    pub(crate) fn forget(&self, opaque: i32) {
        self.0.lock().waiting.remove(&opaque);
    }

    /// Fails every call, now and later.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut table = self.0.lock();
            table.closed = true;
            std::mem::take(&mut table.waiting)
        };
        drop(waiting);
    }
}

/// A call under way; dropping it forgets it.
#[derive(Debug)]
#[must_use = "the answer is lost if nobody awaits it"]
pub struct Call {
    pub(crate) peer: Arc<Peer>,
    pub(crate) sent: Result<(i32, oneshot::Receiver<Reply>), CallError>,
    pub(crate) timeout: Duration,
    pub(crate) deadline: Pin<Box<Sleep>>,
}

impl Future for Call {
    type Output = Result<Reply, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (_, answer) = match &mut this.sent {
            Ok(sent) => sent,
            Err(error) => return Poll::Ready(Err(*error)),
        };
        if let Poll::Ready(answer) = Pin::new(answer).poll(cx) {
            return Poll::Ready(answer.map_err(|_| CallError::Closed));
        }
        this.deadline
            .as_mut()
            .poll(cx)
            .map(|()| Err(CallError::Timeout(this.timeout)))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Ok((opaque, _)) = &self.sent {
            self.peer.calls.forget(*opaque);
        }
    }
}
