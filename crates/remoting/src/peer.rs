//! The other side of a connection, as handlers and callers see it: where replies and calls are put
//! for the connection's task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use protocol::codes::response;
use protocol::command::{CommandOut, Header, NoHeader, ONEWAY, encode_command};
use protocol::frame::Codec;

use crate::budget::Budget;
use crate::calls::{Call, CallError, Calls};
use crate::chain::{Body, Chain};

/// The other side of a connection; the same for connections it made and for those we made.
#[derive(Debug)]
pub struct Peer {
    id: u64,
    remote: SocketAddr,
    local: SocketAddr,
    pub(crate) budget: Arc<Budget>,
    pub(crate) calls: Calls,
    state: Mutex<State>,
}

/// What the connection's task shares with everybody else. Locked for a moment only; taken last, see
/// docs/lock_order.md.
#[derive(Debug, Default)]
struct State {
    outbound: Chain,
    /// Bytes the task has taken out of `outbound` and not sent yet.
    writing: usize,
    /// Requests not answered, and their bytes.
    frames: usize,
    bytes: usize,
    phase: Phase,
    /// The sleeping task; `None` while it runs or has been woken, so that a batch of replies wakes
    /// it once.
    sleeper: Option<Waker>,
}

/// How far a connection is on its way to the end. Only ever moves forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Open,
    /// Reads no more requests; ends when all are answered and the answers have left.
    Closing,
    /// Ends at once: too much waits for a peer that does not read.
    Overflow,
    /// Ends at once: told to.
    Aborted,
    /// The task is gone.
    Closed,
}

/// A look at the state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
    pub(crate) outbound: usize,
    pub(crate) phase: Phase,
}

impl State {
    fn load(&self) -> Load {
        let outbound = self.outbound.len() + self.writing;
        Load {
            frames: self.frames,
            bytes: self.bytes,
            outbound,
            phase: self.phase,
        }
    }
}

/// Numbers connections in this process; nothing depends on the values.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Peer {
    pub(crate) fn new(remote: SocketAddr, local: SocketAddr, budget: Arc<Budget>) -> Arc<Peer> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let (calls, state) = (Calls::default(), Mutex::default());
        Arc::new(Peer {
            id,
            remote,
            local,
            budget,
            calls,
            state,
        })
    }

    /// Tells connections apart within this process; never used twice.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Their end of the connection.
    pub fn remote_addr(&self) -> SocketAddr {
        self.remote
    }

    /// Our end of the connection.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Asks the other side and waits for its answer. The request is on its way before the future is
    /// first polled.
    pub fn call<'h>(
        self: &Arc<Self>,
        code: i32,
        header: &impl Header<'h>,
        body: impl Into<Body>,
        timeout: Duration,
    ) -> Call {
        let sent = self
            .calls
            .open(self.budget.limits.calls_max)
            .and_then(|(opaque, answer)| {
                let command = CommandOut {
                    code,
                    opaque,
                    ..CommandOut::default()
                };
                match self.push(&command, header, body.into(), (0, 0)) {
                    Ok(()) => Ok((opaque, answer)),
                    Err(error) => {
                        self.calls.forget(opaque);
                        Err(error)
                    }
                }
            });
        Call {
            peer: Arc::clone(self),
            sent,
            timeout,
            deadline: Box::pin(tokio::time::sleep(timeout)),
        }
    }

    /// Tells the other side something without waiting for an answer. `Ok` says that it is on its
    /// way, not that it arrived.
    pub fn notify<'h>(
        &self,
        code: i32,
        header: &impl Header<'h>,
        body: impl Into<Body>,
    ) -> Result<(), CallError> {
        let command = CommandOut {
            code,
            opaque: self.calls.opaque(),
            flag: ONEWAY,
            ..CommandOut::default()
        };
        self.push(&command, header, body.into(), (0, 0))
    }

    /// Closes the connection once what was read has been answered and what waits has been sent,
    /// within the limits' `drain`.
    pub fn close(&self) {
        self.enter(Phase::Closing);
    }

    /// Whether the connection is closed or about to be.
    pub fn is_closed(&self) -> bool {
        self.state.lock().phase > Phase::Open
    }

    /// Whether nothing more is sent on the connection: it is closed, not only about to be once all is answered.
    pub fn is_gone(&self) -> bool {
        self.state.lock().phase > Phase::Closing
    }

    pub(crate) fn abort(&self) {
        self.enter(Phase::Aborted);
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.state.lock();
        state.phase = state.phase.max(phase);
        let sleeper = state.sleeper.take();
        drop(state);
        wake(sleeper);
    }

    /// Appends a reply, and releases the request it answers.
    pub(crate) fn answer<'h>(
        &self,
        command: &CommandOut<'_>,
        header: &impl Header<'h>,
        body: Body,
        released: (u32, u32),
    ) {
        if let Err(CallError::TooLarge(error)) = self.push(command, header, body, released) {
            let remark = error.to_string();
            let command = CommandOut {
                code: response::SYSTEM_ERROR,
                remark: Some(&remark),
                ..*command
            };
            // A head without header and body always fits; on a closed connection nobody waits for
            // it.
            let _ = self.push(&command, &NoHeader, Body::None, (0, 0));
        }
    }

    /// Appends a command, and releases so many frames and bytes of requests.
    fn push<'h>(
        &self,
        command: &CommandOut<'_>,
        header: &impl Header<'h>,
        body: Body,
        (frames, bytes): (u32, u32),
    ) -> Result<(), CallError> {
        let mut state = self.state.lock();
        state.frames -= frames as usize;
        state.bytes -= bytes as usize;
        if state.phase > Phase::Closing {
            return Err(CallError::Closed);
        }
        let encoded = encode_command(
            &mut state.outbound.heads,
            Codec::Json,
            command,
            header,
            body.len(),
        );
        if encoded.is_ok() {
            state.outbound.push_body(body);
        }
        if state.load().outbound > self.budget.limits.outbound_bytes_max {
            state.phase = state.phase.max(Phase::Overflow);
        }
        let sleeper = state.sleeper.take();
        drop(state);
        wake(sleeper);
        encoded.map_err(CallError::TooLarge)
    }

    /// Requests that no longer count.
    pub(crate) fn release(&self, frames: u32, bytes: u32) {
        if frames == 0 && bytes == 0 {
            return;
        }
        let mut state = self.state.lock();
        state.frames -= frames as usize;
        state.bytes -= bytes as usize;
        let sleeper = state.sleeper.take();
        drop(state);
        wake(sleeper);
    }

    /// The task is about to hand on requests; it needs no waking until it sleeps again.
    pub(crate) fn take_in(&self, frames: usize, bytes: usize) {
        let mut state = self.state.lock();
        state.frames += frames;
        state.bytes += bytes;
        state.sleeper = None;
    }

    /// Moves what waits to be sent into `writing`, which has been sent.
    pub(crate) fn take_outbound(&self, writing: &mut Chain) -> Load {
        assert!(
            writing.is_empty(),
            "what is left of it would be sent after what comes now"
        );
        let mut state = self.state.lock();
        std::mem::swap(&mut state.outbound, writing);
        state.writing = writing.len();
        state.load()
    }

    /// Brings the count of unsent bytes up to date.
    pub(crate) fn note_writing(&self, writing: usize) -> Load {
        let mut state = self.state.lock();
        state.writing = writing;
        state.load()
    }

    /// Leaves the waker for whoever changes something, if nothing has changed since `seen`.
    pub(crate) fn sleep(&self, seen: &Load, cx: &Context<'_>) -> bool {
        let mut state = self.state.lock();
        let now = state.load();
        let changed = now.phase != seen.phase
            || now.outbound != seen.outbound
            || now.frames != seen.frames
            || now.bytes != seen.bytes;
        if !changed {
            state.sleeper = Some(cx.waker().clone());
        }
        !changed
    }

    /// Gives the empty outbound buffer back.
    pub(crate) fn release_outbound(&self) {
        let mut state = self.state.lock();
        if state.outbound.is_empty() {
            state.outbound.release();
        }
    }

    /// The task is gone: nothing is accepted any more, waiting calls fail.
    pub(crate) fn closed(&self) {
        let mut state = self.state.lock();
        state.phase = Phase::Closed;
        state.writing = 0;
        let unsent = std::mem::take(&mut state.outbound);
        drop(state);
        drop(unsent);
        self.calls.close();
    }
}

pub(crate) fn wake(sleeper: Option<Waker>) {
    if let Some(sleeper) = sleeper {
        sleeper.wake();
    }
}
