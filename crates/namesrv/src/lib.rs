//! The nameserver: routes, broker registration and expiry, KV configuration.
