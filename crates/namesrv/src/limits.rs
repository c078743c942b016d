//! Every bound of this crate. (Registrations are bounded by the frame and by what protocol unpacks.)

/// Bytes of `kvConfig.json`, which is written whole with every change.
pub(crate) const KV_BYTES_MAX: usize = 16 << 20;
/// Changes of it that wait for the disk.
pub(crate) const KV_CHANGES_MAX: usize = 1024;
