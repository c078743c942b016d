//! The life of a connection: one task that reads, hands requests on, writes what was answered and
//! watches the deadlines.
//!
//! One wake-up goes once around: take what has arrived (up to a batch of whole frames), hand it to
//! the service, send what is ready in one vectored write, and again until nothing moves; then sleep
//! until the socket, somebody with a reply, or the timer has something to say.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use protocol::command::HeadError;
use protocol::frame::{self, FrameError};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Sleep;

use crate::Service;
use crate::budget::{Budget, Share};
use crate::chain::Chain;
use crate::clock::{self, Instant};
use crate::limits::{
    BATCH_FRAMES_MIN, LIGHT_FRAMES, LINGER, Limits, READ_BYTES_MAX, READ_BYTES_MIN, SLICES_MAX,
    TICK, TURN_BYTES, TURN_FRAMES, WAITING_BYTES_SPARED,
};
use crate::net::Stream;
use crate::peer::{Load, Peer, Phase};
use crate::request::{Incoming, Request};
use crate::turns::Place;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed by the other side")]
    Eof,
    #[error("closed by the other side inside a frame, {0} bytes of it read")]
    Truncated(usize),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(
        "it starts a TLS handshake, which this port does not speak: switch TLS off in the client (-Dtls.enable=false)"
    )]
    Tls,
    #[error("no frame: {0}")]
    Frame(#[from] FrameError),
    #[error("no command: {0}")]
    Head(#[from] HeadError),
    #[error("sent only {bytes} bytes of a frame in {after:?}")]
    SlowFrame { bytes: u64, after: Duration },
    #[error("did not read any of the {bytes} bytes waiting for it in {after:?}")]
    SlowReader { bytes: usize, after: Duration },
    #[error("does not read: {0} bytes wait for it")]
    Overflow(usize),
    #[error("nothing moved for {0:?}")]
    Idle(Duration),
    #[error("closed by us")]
    Drained,
    #[error("closed by us with {0} requests unanswered")]
    Aborted(usize),
}

impl End {
    /// Somebody should know: the other side broke the rules or was cut.
    fn is_fault(&self) -> bool {
        !matches!(
            self,
            End::Eof | End::Io(_) | End::Idle(_) | End::Drained | End::Aborted(_)
        )
    }
}

/// What a look for requests came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Received {
    /// Something was handed on; there may be more.
    Some,
    /// Nothing has arrived.
    None,
    /// At a limit: not looked for.
    Paused,
    /// There is no room for more: not looked for.
    NoRoom,
    /// It is the turn of others: not looked for.
    NoTurn,
}

struct Driver {
    stream: Stream,
    peer: Arc<Peer>,
    service: Arc<dyn Service>,
    budget: Arc<Budget>,
    /// What this connection was last charged with.
    charged: Share,
    /// As last seen under the lock.
    load: Load,
    input: BytesMut,
    /// Bytes to make room for before the next read; grows while reads fill it.
    read_bytes: usize,
    /// Requests in the last batch: about as many will be in the next.
    batch_frames: usize,
    /// Frames that may be in the next batch. Starts small, doubles with every full batch, and
    /// starts again when answers pile up: a few dozen pulls in one read may be answered with
    /// megabytes each, which must not all wait at once for a peer that reads as fast as it can.
    batch_frames_max: usize,
    turn: Turn,
    /// There was none the last time.
    no_room: bool,
    /// Something is wrong with the input; what came before it is still answered.
    failed: Option<End>,
    writing: Chain,
    timer: Pin<Box<Sleep>>,
    watch: Watch,
}

/// What was handed on in this turn, see [`crate::turns`].
#[derive(Default)]
struct Turn {
    place: Place,
    frames: usize,
    bytes: usize,
    /// There was more to hand on, the last time, than without a turn one may: there will be again.
    heavy: bool,
}

impl Turn {
    /// Requests that may still be handed on.
    fn frames_left(&self) -> usize {
        let (frames, bytes) = match self.place {
            Place::AtWork => (TURN_FRAMES, TURN_BYTES),
            _ if self.heavy => (0, 0),
            _ => (LIGHT_FRAMES, TURN_BYTES),
        };
        match self.bytes < bytes {
            true => frames.saturating_sub(self.frames),
            false => 0,
        }
    }

    fn begin(&mut self) {
        (self.frames, self.bytes) = (0, 0);
    }

    /// All that came was handed on.
    fn rest(&mut self) {
        self.heavy = self.frames > LIGHT_FRAMES;
        self.begin();
    }
}

/// What the deadlines go by. Looked at once per tick, so that the busy path need not ask for the
/// time.
struct Watch {
    /// The timer runs in ticks; else nothing is under way and it runs to the idle deadline.
    ticking: bool,
    /// A byte moved since the last tick.
    active: bool,
    last_active: Instant,
    /// Bytes ever read.
    read: u64,
    /// The unfinished frame at the front of the input: watched since, and `read` then.
    frame: Option<(Instant, u64)>,
    /// Bytes were written since the last tick.
    wrote: bool,
    /// Bytes wait to be sent and none has been since.
    unread: Option<Instant>,
    closing: Option<Instant>,
}

/// Serves the connection until it ends.
pub(crate) async fn run(stream: Stream, peer: Arc<Peer>, service: Arc<dyn Service>) {
    let budget = Arc::clone(&peer.budget);
    let now = clock::monotonic();
    let mut driver = Driver {
        stream,
        load: Load {
            frames: 0,
            bytes: 0,
            outbound: 0,
            phase: Phase::Open,
        },
        service,
        charged: Share::default(),
        input: BytesMut::new(),
        read_bytes: READ_BYTES_MIN,
        batch_frames: 0,
        batch_frames_max: BATCH_FRAMES_MIN,
        turn: Turn::default(),
        no_room: false,
        failed: None,
        writing: Chain::default(),
        timer: Box::pin(tokio::time::sleep_until(now + budget.limits.idle)),
        watch: Watch {
            ticking: false,
            active: false,
            last_active: now,
            read: 0,
            frame: None,
            wrote: false,
            unread: None,
            closing: None,
        },
        peer,
        budget,
    };
    let end = poll_fn(|cx| driver.poll(cx)).await;
    driver.leave();
    driver.log(&end);
    if matches!(end, End::Drained) {
        driver.linger().await;
    }
}

impl Drop for Driver {
    /// Here, so that it happens however the task ends.
    fn drop(&mut self) {
        self.leave();
        self.peer.closed();
        let closed = || self.service.closed(&self.peer);
        if catch_unwind(AssertUnwindSafe(closed)).is_err() {
            tracing::error!(peer = %self.peer.remote_addr(), "panic while told about a closed connection");
        }
    }
}

impl Driver {
    fn limits(&self) -> &Limits {
        &self.budget.limits
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let received = match self.poll_receive(cx) {
                Ok(received) => received,
                Err(end) => return Poll::Ready(end),
            };
            if let Err(error) = self.poll_send(cx) {
                return Poll::Ready(error.into());
            }
            if let Some(end) = self.failed.take().or_else(|| self.ended()) {
                return Poll::Ready(end);
            }
            self.settle();
            let resumed = match received {
                Received::Some => true,
                Received::Paused => !self.is_paused(),
                // What was answered or sent meanwhile may have made it one of those who may go on.
                Received::NoRoom => self.poll_room(cx),
                Received::NoTurn | Received::None => false,
            };
            if resumed {
                continue;
            }
            self.let_others(received);
            if self.timer.as_mut().poll(cx).is_ready() {
                if let Some(end) = self.tick() {
                    return Poll::Ready(end);
                }
                continue;
            }
            if self.peer.sleep(&self.load, cx) {
                return Poll::Pending;
            }
        }
    }

    /// Hands on one batch of what has arrived.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Result<Received, End> {
        if self.is_paused() {
            return Ok(Received::Paused);
        }
        if !self.poll_room(cx) {
            return Ok(Received::NoRoom);
        }
        if !self.poll_turn(cx) {
            return Ok(Received::NoTurn);
        }
        if self.hand_on() {
            return Ok(Received::Some);
        }
        self.input.reserve(self.read_bytes);
        let read = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
        match read {
            Poll::Pending => {
                if self.input.is_empty() && !self.watch.ticking {
                    // Nothing since the last batch gave it back: don't keep a buffer just for
                    // having looked.
                    self.input = BytesMut::new();
                }
                return Ok(Received::None);
            }
            Poll::Ready(Ok(0)) if self.input.is_empty() => return Err(End::Eof),
            Poll::Ready(Ok(0)) => return Err(End::Truncated(self.input.len())),
            Poll::Ready(Err(error)) => return Err(error.into()),
            Poll::Ready(Ok(read)) => {
                self.watch.read += read as u64;
                if read >= self.read_bytes {
                    self.read_bytes = (self.read_bytes * 4).min(READ_BYTES_MAX);
                }
                self.touch();
            }
        }
        self.hand_on();
        Ok(Received::Some)
    }

    /// Whether it is this connection's turn; else its task is woken when it is.
    fn poll_turn(&mut self, cx: &Context<'_>) -> bool {
        let (turn, turns) = (&mut self.turn, &self.budget.turns);
        if turn.place.is_in_line() {
            if turns.has_come(&mut turn.place) {
                turn.begin();
                // Who had the turn before has woken it, and it runs right behind that one, as the next would behind it.
                // First come those whose sockets have something new, and who is ready to run.
                cx.waker().wake_by_ref();
            }
            return false;
        }
        if turn.frames_left() > 0 {
            return true;
        }
        turn.heavy = true;
        turns.queue_up(&mut turn.place, cx.waker());
        false
    }

    /// Keeps no turn and no place in line while something else is waited for.
    fn let_others(&mut self, received: Received) {
        if received == Received::None {
            self.turn.rest();
        }
        if received != Received::NoTurn {
            self.budget.turns.leave(&mut self.turn.place);
        }
    }

    /// Whether there is room for more of this connection's requests; else its task is woken when
    /// there is. A frame that makes no progress meanwhile is cut, or halves of frames could fill
    /// all the room there is and wait for each other; but not while answers are due that will make
    /// room.
    fn poll_room(&mut self, cx: &Context<'_>) -> bool {
        let (id, mid_frame) = (self.peer.id(), !self.input.is_empty());
        let room = self.budget.poll_room(id, self.charged, mid_frame, cx);
        self.no_room = room.is_pending();
        room.is_ready()
    }

    /// What has arrived waits because of us, not of the other side.
    fn is_ours_to_move(&self) -> bool {
        let answers_due = self.charged.waiting >= WAITING_BYTES_SPARED;
        self.is_paused() || self.turn.place.is_in_line() || (self.no_room && answers_due)
    }

    /// Hands whole frames of the input on; false if there is none.
    fn hand_on(&mut self) -> bool {
        let mut requests = Vec::new();
        let (mut frames, mut bytes) = (0, 0);
        let batch_max = self.batch_frames_max.min(self.limits().batch_frames_max);
        let frames_max = batch_max.min(self.turn.frames_left());
        let bytes_max = match self.budget.is_crowded() {
            true => WAITING_BYTES_SPARED.saturating_sub(self.load.bytes).max(1),
            false => usize::MAX,
        };
        while frames < frames_max && bytes < bytes_max && self.failed.is_none() {
            match self.next_command() {
                Ok(None) => break,
                Ok(Some(Incoming::Request(request))) => {
                    if requests.capacity() == 0 {
                        requests.reserve(self.batch_frames);
                    }
                    bytes += request.bytes();
                    requests.push(request);
                }
                Ok(Some(Incoming::Reply(opaque, reply))) => {
                    if !self.peer.calls.complete(opaque, reply) {
                        tracing::debug!(peer = %self.peer.remote_addr(), opaque, "nobody waits for this answer");
                    }
                }
                Err(end) => self.failed = Some(end),
            }
            frames += 1;
        }
        if frames > 0 {
            self.watch.frame = None;
        }
        if frames == batch_max {
            self.batch_frames_max = batch_max * 2;
        }
        self.turn.frames += frames;
        self.turn.bytes += bytes;
        if !requests.is_empty() {
            self.batch_frames = requests.len();
            self.peer.take_in(requests.len(), bytes);
            self.serve(requests);
        }
        frames > 0
    }

    fn next_command(&mut self) -> Result<Option<Incoming>, End> {
        // A frame of 16 MiB starts with 1, a TLS handshake record with 0x16.
        if self.input.first() == Some(&0x16) {
            return Err(End::Tls);
        }
        let bytes_max = self.limits().frame_bytes_max;
        match frame::split(&mut self.input, bytes_max)? {
            Some(frame) => Ok(Some(Incoming::parse(frame, &self.peer)?)),
            None => Ok(None),
        }
    }

    fn serve(&self, requests: Vec<Request>) {
        let codes = requests.first().map(|first| first.code);
        let handle = || self.service.handle(&self.peer, requests);
        // Its requests are answered with code 1 as the panic drops them; the connection and
        // everybody else go on.
        if catch_unwind(AssertUnwindSafe(handle)).is_err() {
            tracing::error!(peer = %self.peer.remote_addr(), first_code = codes, "panic in a handler");
        }
    }

    /// Writes what waits to be sent until it is gone or the socket is full.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            if self.writing.is_empty() {
                self.load = self.peer.take_outbound(&mut self.writing);
                if self.load.outbound >= self.limits().outbound_bytes_soft {
                    self.batch_frames_max = BATCH_FRAMES_MIN;
                }
                if self.writing.is_empty() {
                    return Ok(());
                }
            }
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = self.writing.slices(&mut slices);
            match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..filled]) {
                Poll::Pending => {
                    self.load = self.peer.note_writing(self.writing.len());
                    self.keep_ticking();
                    return Ok(());
                }
                Poll::Ready(written) => match written? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    written => self.writing.advance(written),
                },
            }
            self.watch.wrote = true;
            self.touch();
        }
    }

    /// At a limit of this connection: whatever answers, sends or closes brings it back.
    fn is_paused(&self) -> bool {
        let (load, limits) = (&self.load, self.limits());
        load.phase != Phase::Open
            || load.frames >= limits.connection_frames_max
            || load.bytes + self.input.len()
                >= limits.connection_bytes_max.max(limits.frame_bytes_max)
            || load.outbound >= limits.outbound_bytes_soft
    }

    fn ended(&mut self) -> Option<End> {
        match self.load.phase {
            Phase::Open => None,
            Phase::Closing if self.load.frames == 0 && self.load.outbound == 0 => {
                Some(End::Drained)
            }
            Phase::Closing => {
                self.keep_ticking();
                None
            }
            Phase::Overflow => Some(End::Overflow(self.load.outbound)),
            Phase::Aborted | Phase::Closed => Some(End::Aborted(self.load.frames)),
        }
    }

    fn settle(&mut self) {
        let bytes = self.load.bytes + self.input.len();
        let now = Share {
            frames: self.load.frames,
            bytes,
            waiting: self.load.bytes,
            outbound: self.load.outbound,
        };
        self.budget.settle(&mut self.charged, now);
    }

    /// A byte moved.
    fn touch(&mut self) {
        self.watch.active = true;
        self.keep_ticking();
    }

    fn keep_ticking(&mut self) {
        if !self.watch.ticking {
            self.watch.ticking = true;
            self.timer
                .as_mut()
                .reset(clock::monotonic() + tick_of(&self.budget.limits));
        }
    }

    /// Looks after the deadlines and the memory.
    fn tick(&mut self) -> Option<End> {
        let now = clock::monotonic();
        let quiet = !self.watch.active;
        if !quiet {
            self.watch.active = false;
            self.watch.last_active = now;
        }
        if let Some(end) = self.overdue(now) {
            return Some(end);
        }
        if quiet && self.input.is_empty() {
            self.input = BytesMut::new();
            self.read_bytes = READ_BYTES_MIN;
        }
        if quiet && self.writing.is_empty() {
            self.writing.release();
            self.peer.release_outbound();
        }
        let idle = quiet
            && self.input.is_empty()
            && self.load.outbound == 0
            && self.load.phase == Phase::Open;
        self.watch.ticking = !idle;
        let next = if idle {
            self.watch.last_active + self.limits().idle
        } else {
            now + tick_of(self.limits())
        };
        self.timer.as_mut().reset(next);
        None
    }

    fn overdue(&mut self, now: Instant) -> Option<End> {
        let Limits {
            idle,
            stall,
            stall_bytes_min,
            drain,
            ..
        } = self.budget.limits;
        let watch = &mut self.watch;
        if self.load.outbound == 0 || std::mem::take(&mut watch.wrote) {
            watch.unread = None;
        }
        if self.load.outbound > 0 && now - *watch.unread.get_or_insert(now) >= stall {
            return Some(End::SlowReader {
                bytes: self.load.outbound,
                after: stall,
            });
        }
        let closing = self.load.phase == Phase::Closing;
        if closing && now - *watch.closing.get_or_insert(now) >= drain {
            return Some(End::Aborted(self.load.frames));
        }
        if self.input.is_empty() || self.is_ours_to_move() {
            // Whoever waits for us is not slow.
            self.watch.frame = None;
        } else {
            let (since, read) = *self.watch.frame.get_or_insert((now, self.watch.read));
            let progress = self.watch.read - read;
            if now - since >= stall {
                if progress < stall_bytes_min as u64 {
                    return Some(End::SlowFrame {
                        bytes: progress,
                        after: stall,
                    });
                }
                self.watch.frame = Some((now, self.watch.read));
            }
        }
        (now - self.watch.last_active >= idle).then_some(End::Idle(idle))
    }

    /// Keeps no room and no turn from others.
    fn leave(&mut self) {
        self.budget.leave(self.peer.id(), &mut self.charged);
        self.budget.turns.leave(&mut self.turn.place);
    }

    fn log(&self, end: &End) {
        let peer = self.peer.remote_addr();
        if !end.is_fault() {
            tracing::debug!(%peer, "connection ended: {end}");
        } else if let Some(withheld) = self.budget.log_limit.allow() {
            tracing::warn!(%peer, withheld, "connection cut: {end}");
        }
    }

    /// Lets the last replies arrive: closing a socket that holds unread input resets the
    /// connection, and the reset overtakes them.
    async fn linger(&mut self) {
        let leave = async {
            self.stream.shutdown().await?;
            self.input.clear();
            self.input.reserve(READ_BYTES_MIN);
            while self.stream.read_buf(&mut self.input).await? > 0 {
                self.input.clear();
            }
            Ok::<(), io::Error>(())
        };
        // However this goes, the connection is over.
        let _ = tokio::time::timeout(LINGER, leave).await;
    }
}

/// Often enough to be exact to a quarter of the shortest deadline.
fn tick_of(limits: &Limits) -> Duration {
    TICK.min(limits.stall / 4)
        .min(limits.idle / 4)
        .min(limits.drain / 4)
}
