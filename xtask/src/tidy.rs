//! `cargo xtask tidy`: what neither the compiler nor judgement keeps.
//! Each check is a function from what it looks at to a list of complaints.
mod documents;
mod layers;
mod manifests;
mod sources;
mod tree;

use crate::shell::root;
use anyhow::{Result, bail};

pub(crate) fn execute() -> Result<()> {
    let files = tree::read(root())?;
    let mut complaints = layers::check(&layers::metadata()?);
    for file in &files {
        complaints.extend(sources::check(file));
        complaints.extend(manifests::check(file));
        complaints.extend(documents::links(file, |path| root().join(path).exists()));
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("{} to tidy", complaints.len());
    }
    println!("{} files are tidy", files.len());
    Ok(())
}
