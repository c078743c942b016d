//! The suite `steady`: minutes at half of the peak rate.
use anyhow::{Result, bail};

use super::Options;

pub(super) fn measure(_: &Options) -> Result<()> {
    bail!("not written yet")
}
