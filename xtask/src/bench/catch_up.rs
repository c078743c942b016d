//! The suite `catch-up`: reading what is cold beside live traffic.
use anyhow::{Result, bail};

use super::Options;

pub(super) fn measure(_: &Options) -> Result<()> {
    bail!("not written yet")
}
