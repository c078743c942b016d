//! RocketMQ's bytes as values: frames, headers, bodies, the stored record.
