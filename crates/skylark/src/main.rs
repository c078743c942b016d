//! The skylark binary: arguments, properties files, logging, signals.
fn main() {}
