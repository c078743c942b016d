//! Every limit that belongs to the bytes themselves. (Frames: see the connection's own limits.)

/// A compressed registration may unpack to so many bytes: some hundred thousand topics.
pub const INFLATED_BYTES_MAX: u64 = 64 << 20;
