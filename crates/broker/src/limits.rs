//! Every bound of the broker: what a client can make us remember, and for how long we wait.

use std::time::Duration;

/// Pulls waiting for a message at once; one more is answered at once, as if it had not agreed to wait.
pub const HOLDS_MAX: usize = 100_000;
/// The same of one connection, so that it can't take all places.
pub const HOLDS_PER_CLIENT_MAX: usize = 10_000;
/// A client may ask to be held longer; it is answered after this (its own timeout is 30 s).
pub const HOLD_MS_MAX: i64 = 30_000;
/// A held pull whose filter skipped messages is answered within this, so that its offset moves on (Apache re-checks holds this often).
pub const HOLD_SKIPPED_MAX: Duration = Duration::from_secs(5);

/// Topics, made by hand or by sending: as many as one registration can tell nameservers of, whatever their names. Apache has
/// no bound, and is forgotten by its nameservers at about as many.
pub const TOPICS_MAX: usize = 110_000;
/// Changes of topics that are remembered one by one, so that nameservers need not be told of all topics again.
pub const TOPIC_CHANGES_KEPT: usize = 1_024;
/// A broker with more topics tells nameservers of those that changed; a stock broker's nameserver takes that as it is.
pub const TOPICS_TOLD_WHOLE: usize = 1_000;
/// A larger registration is compressed.
pub const REGISTRATION_PLAIN_BYTES_MAX: usize = 1 << 20;
/// No registration is larger, compressed: a nameserver reads frames of 16 MiB, header included.
pub const REGISTRATION_BYTES_MAX: usize = (16 << 20) - (64 << 10);
/// Subscription groups, made by hand or by consuming. Apache has no bound.
pub const GROUPS_MAX: usize = 1_000_000;
/// Queue locks held by all groups together.
pub const LOCKS_MAX: usize = 100_000;
/// Names in a lock, of the group, the client, the topic and the broker, may have so many bytes each.
pub const LOCK_NAME_MAX: usize = 255;
/// Groups one connection may be a member of.
pub const GROUPS_PER_CLIENT_MAX: usize = 10_000;
/// Bytes one connection's heartbeats may make us remember: names, subscriptions.
pub const CLIENT_BYTES_MAX: usize = 8 << 20;
/// Topics a group may subscribe to.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;

/// Bytes of a filter expression.
pub const EXPRESSION_BYTES_MAX: usize = 128 << 10;
/// How deep the parts of an expression may be nested: what Java's stack takes is more, and no person writes it.
pub const EXPRESSION_DEPTH_MAX: usize = 100;

/// Expressions of requests kept compiled, of each of two generations, and the bytes of their texts. Compiled they take some ten
/// times as much.
pub const COMPILED_MAX: usize = 200;
/// See [`COMPILED_MAX`].
pub const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Bytes of the expressions that groups subscribe with, those of groups that are gone included. These are compiled too.
pub const EXPRESSIONS_BYTES_MAX: usize = 8 << 20;

/// Causes of warnings that are remembered, so that they are given once.
pub const SAID_MAX: usize = 10_000;

/// Half messages without an end, of all producers together; more are refused until some have ended. Apache has no bound.
pub const OPEN_HALVES_MAX: usize = 1_000_000;
/// Ends of transactions that wait to be worked off (Apache's endTransactionPoolQueueCapacity).
pub const ENDS_MAX: usize = 100_000;
/// Half messages that a start has to read at least before an open one far back is moved to the end of the queue.
pub const HALVES_SPAN_MIN: i64 = 65_536;
/// An open half message is moved there after this too, so that no file of the log need be kept for its sake.
pub const HALF_STAYS_MS_MAX: i64 = 600_000;
/// Half messages of which is remembered that they were put aside; a later commit of another one is refused.
pub const ASIDE_MAX: usize = 100_000;
/// Room that a half message's properties must leave for what is noted there when its producer is asked.
pub const HALF_PROPERTIES_SPARE: usize = 128;

/// Messages one query by key returns at most (Apache's maxMsgsNumBatch).
pub const QUERY_MAX: i32 = 64;
/// Messages one pop takes at most, and a check point names.
pub const POP_MAX: i32 = 32;
/// Check points with messages that are not acknowledged; beyond, a pop is answered like one too many that waits. Apache has
/// no bound.
pub const CHECKPOINTS_MAX: usize = 500_000;
/// The same of one group, so that it can't take all places.
pub const CHECKPOINTS_PER_GROUP_MAX: usize = 100_000;
/// Bytes of the name that a consumer gives its try to pop in order.
pub const ATTEMPT_BYTES_MAX: usize = 256;
/// Acknowledgements whose check points Apache's timer still has.
pub const EARLY_ACKS_MAX: usize = 100_000;
/// A pop may ask for this long at most: what Apache's timer takes by default.
pub const INVISIBLE_MS_MAX: i64 = 3 * 86_400_000;
/// Queues of the revive topic that are read at a start, though fewer are configured.
pub const REVIVE_QUEUES_MAX: i32 = 65_536;
/// Check points whose messages come back in one turn of the reviver.
pub const REVIVE_CHECKPOINTS: usize = 64;
/// Bytes of messages that come back with one append.
pub const REVIVE_BATCH_BYTES: usize = 4 << 20;
/// Records of a revive queue after which an open check point is put again at its end, so that a restart need not read more.
pub const REVIVE_RECORDS: i64 = 100_000;
/// What a group took in order from a queue is remembered so long.
pub const ORDER_MS_MAX: i64 = 86_400_000;
/// Acknowledgements one batch holds at most.
pub const BATCH_ACKS_MAX: usize = 10_000;
/// Topics whose queues on other brokers are remembered.
pub const ROUTES_MAX: usize = 10_000;
/// Queues of a topic on another broker.
pub const ROUTE_QUEUES_MAX: i32 = 65_536;
/// Groups whose way of consuming a topic was set.
pub const REQUEST_MODES_MAX: usize = 100_000;

/// Queues of groups of which is remembered how far they were pulled.
pub const PULLED_MAX: usize = 200_000;
/// A lone send is flushed on a worker of the runtime only where the last flush took less: what a slow disk would hold up is more
/// than handing over to the thread that flushes costs.
pub const FLUSH_HERE_MAX: Duration = Duration::from_millis(2);
/// Reads that wait for the disk at the same time; others wait for their turn.
pub const COLD_READS_MAX: usize = 4;
/// Messages one pull returns at most, before the limits by bytes.
pub const PULL_MAX: i32 = 1_024;

/// Delay levels that can be configured. Each has a queue and a task.
pub const DELAY_LEVELS_MAX: usize = 64;
/// Due messages delivered with one append.
pub const DELIVERED_MAX: usize = 64;
/// Their bytes, unless one alone has more.
pub const DELIVERED_BYTES_MAX: usize = 1 << 20;

/// Group names may have this many characters.
pub const GROUP_NAME_MAX: usize = 255;
/// Topic names may have this many characters.
pub const TOPIC_NAME_MAX: usize = 127;
/// A record keeps its properties behind a signed 16-bit length.
pub const PROPERTIES_BYTES_MAX: usize = 32_767;

/// A queue lock not renewed for this long may be taken by another client.
pub const LOCK_MS_MAX: i64 = 60_000;
/// A client that sent no heartbeat for this long is forgotten and its connection closed.
pub const CLIENT_MS_MAX: i64 = 120_000;

/// Bodies of sends gathered for one append; a read buffer that holds more is appended in several.
pub const SEND_BATCH_BYTES: usize = 4 << 20;
/// The records of one batch request: each message gets the properties of the whole, so they may be many times the request.
pub const BATCH_RECORDS_BYTES_MAX: usize = 24 << 20;
/// What a record usually has besides its body.
pub const SEND_EXTRA_BYTES: usize = 320;
/// Messages of the timer queue that come into the wheel in one turn ...
pub const TIMER_ENQUEUE_MESSAGES: usize = 512;
/// ... and their bytes.
pub const TIMER_BATCH_BYTES: usize = 1 << 20;
/// Units of the timer log that are read in one turn.
pub const TIMER_LOAD_UNITS: usize = 4_096;
/// Timed messages delivered with one append.
pub const TIMER_DELIVER_MESSAGES: usize = 256;
/// Room that a timed message's properties must leave for what is noted there when it goes round and when it is delivered.
pub const TIMER_PROPERTIES_SPARE: usize = 128;
/// How long the first send to a new topic waits for nameservers to hear of the topic.
pub const TOLD_MAX: Duration = Duration::from_secs(1);

/// The clients of a group that are asked for their offsets may take so long to answer (others: Config::client_call_timeout).
pub const CLIENT_STATUS_MAX: Duration = Duration::from_secs(5);
