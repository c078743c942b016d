//! What the targets check is what protocol's random tests check.
#[path = "../../crates/protocol/tests/random/checks.rs"]
pub mod checks;
