//! Every bound of this crate, in one place. At a limit a connection is no longer read (so the
//! sender's TCP window fills) rather than refused; a peer that holds what it was given and does not
//! move is cut.

use std::time::Duration;

/// The bounds of a server, or of one connection made by `connect`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A longer frame closes its connection. Apache's `com.rocketmq.remoting.frameMaxLength`.
    pub frame_bytes_max: usize,
    /// More connections than this are closed as they come.
    pub connections_max: usize,
    /// Connections the kernel keeps until they are accepted. Apache's `serverSocketBacklog`.
    pub backlog: u32,
    /// Requests given to `Service::handle` at once, on a connection that keeps them coming and whose
    /// answers leave; limits are looked at between two batches.
    pub batch_frames_max: usize,
    /// Unanswered requests of one connection, held ones not counted.
    pub connection_frames_max: usize,
    /// Bytes of these, with what was read of the next frame.
    pub connection_bytes_max: usize,
    /// Unanswered requests of all connections.
    pub frames_max: usize,
    /// Bytes of these. A frame half read is still finished until twice this, or else the halves
    /// would block each other.
    pub bytes_max: usize,
    /// Bytes of unanswered requests of all connections, from where on those with more than 16 KiB of
    /// them are no longer read. What takes long to answer is what waits for the disk: with more of
    /// it each sync only takes longer, for everybody.
    pub waiting_bytes_soft: usize,
    /// Bytes waiting to be sent to one peer, from where on its requests are no longer read. Does not
    /// hold for connections we make.
    pub outbound_bytes_soft: usize,
    /// From where on the peer is cut at once.
    pub outbound_bytes_max: usize,
    /// Bytes waiting to be sent to all peers, from where on those with more than 64 KiB waiting are
    /// no longer read.
    pub outbound_bytes_total: usize,
    /// Our own calls on one connection that wait for an answer.
    pub calls_max: usize,
    /// A connection on which nothing moves for so long is closed. Apache's
    /// `serverChannelMaxIdleTimeSeconds`.
    pub idle: Duration,
    /// A peer that does not take a byte of what waits for it for so long is cut; so is one that
    /// sends less than `stall_bytes_min` of an unfinished frame in that time.
    pub stall: Duration,
    /// See `stall`: 64 KiB in 15 s lets a slow line pass (4.3 KiB/s) and cuts those that keep us
    /// waiting on purpose.
    pub stall_bytes_min: usize,
    /// How long a closing connection may take to get its last replies out.
    pub drain: Duration,
    /// How long `connect` tries. Apache's `connectTimeoutMillis`.
    pub connect: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            frame_bytes_max: 16 << 20,
            connections_max: 65_536,
            backlog: 1024,
            batch_frames_max: 128,
            connection_frames_max: 4096,
            connection_bytes_max: 64 << 20,
            frames_max: 131_072,
            bytes_max: 256 << 20,
            waiting_bytes_soft: 1 << 20,
            outbound_bytes_soft: 1 << 20,
            outbound_bytes_max: 128 << 20,
            outbound_bytes_total: 512 << 20,
            calls_max: 4096,
            idle: Duration::from_secs(120),
            stall: Duration::from_secs(15),
            stall_bytes_min: 64 << 10,
            drain: Duration::from_secs(10),
            connect: Duration::from_secs(3),
        }
    }
}

/// The share of `waiting_bytes_soft` that a connection may always have: some 40 small sends.
pub(crate) const WAITING_BYTES_SPARED: usize = 16 << 10;
/// Requests that a connection hands on before it stands in line with others that ask much. One that
/// had more in its last turn stands in line from the start.
pub(crate) const LIGHT_FRAMES: usize = 32;
/// Requests handed on in one turn of those.
pub(crate) const TURN_FRAMES: usize = 128;
/// Bytes of requests after which a turn is over too, at the next batch.
pub(crate) const TURN_BYTES: usize = 256 << 10;
/// The share of `outbound_bytes_total` that a peer may always have.
pub(crate) const OUTBOUND_BYTES_SPARED: usize = 64 << 10;
/// Frames in a connection's first batch, and in each while answers pile up. As many answers of
/// `frame_bytes_max` stay below `outbound_bytes_max`.
pub(crate) const BATCH_FRAMES_MIN: usize = 4;
/// Read buffer of a connection that sends little.
pub(crate) const READ_BYTES_MIN: usize = 4 << 10;
/// Read buffer of a connection that keeps filling it.
pub(crate) const READ_BYTES_MAX: usize = 64 << 10;
/// A body up to this size is copied behind its header: cheaper than a slice of its own in the
/// write.
pub(crate) const COPIED_BODY_BYTES_MAX: usize = 512;
/// Slices in one vectored write.
pub(crate) const SLICES_MAX: usize = 64;
/// How often a connection with something under way looks after its deadlines.
pub(crate) const TICK: Duration = Duration::from_secs(1);
/// After the last reply: how long the peer is given to close its side, so that what it sent late
/// does not reset the connection under our reply.
pub(crate) const LINGER: Duration = Duration::from_millis(500);
/// Lines about closed connections per second; the rest is counted.
pub(crate) const LOGGED_CLOSES_MAX: u32 = 10;
/// How often a port that is in use is tried again at the start.
pub(crate) const PORT_TRIES: usize = 100;
/// How long after the last time.
pub(crate) const PORT_WAIT: Duration = Duration::from_millis(10);
