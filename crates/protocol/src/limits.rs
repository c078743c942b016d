//! Every limit that belongs to the bytes themselves. (Frames: see the connection's own limits.)

/// A compressed registration may tell of so many topics.
pub const REGISTERED_TOPICS_MAX: u64 = 500_000;
/// A compressed registration may unpack to so many bytes, of which a topic at a time is kept.
pub const INFLATED_BYTES_MAX: u64 = 64 << 20;
