//! The suite `scale`: what many topics, queues and connections cost.
use anyhow::{Result, bail};

use super::Options;

pub(super) fn measure(_: &Options) -> Result<()> {
    bail!("not written yet")
}
