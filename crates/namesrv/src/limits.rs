//! Every bound of this crate.

/// Topics of all brokers together, one that several have counted for each: some 250 bytes of memory
/// a piece. Tests are content with less.
pub(crate) const TOPICS_MAX: usize = if cfg!(test) { 1000 } else { 2_000_000 };
/// Broker processes.
pub(crate) const BROKERS_MAX: usize = if cfg!(test) { 10 } else { 65_536 };
/// Length of a topic's, broker's or cluster's name, or of an address.
pub(crate) const NAME_BYTES_MAX: usize = 512;
/// Lines a second about what brokers and admins do; the rest is counted, or a loop of requests could
/// fill the disk.
pub(crate) const LOGGED_MAX: u32 = 100;
/// Bytes of `kvConfig.json`, which is written whole with every change.
pub(crate) const KV_BYTES_MAX: usize = 16 << 20;
/// Changes of it that wait for the disk.
pub(crate) const KV_CHANGES_MAX: usize = 1024;
