//! The suite `scale`: what many topics, queues and connections cost.
use anyhow::Result;
use serde_json::json;

use super::server::Programs;
use super::{Options, machine};
use crate::shell::{root, target};

mod topics;
mod traffic;

pub(super) fn measure(options: &Options) -> Result<()> {
    let programs = Programs::build(&options.only)?;
    let scratch = tempfile::Builder::new()
        .prefix("scale-")
        .tempdir_in(target())?;
    let topics = topics::measure(&programs, scratch.path(), &options.only, options.short)?;
    let traffic = traffic::measure(&programs, scratch.path(), &options.only, options.short)?;
    let machine = machine::describe(root());
    if options.json {
        println!(
            "{:#}",
            json!({ "machine": machine, "topics": topics.json(), "traffic": traffic.json() })
        );
    } else {
        print!("\n{machine}\n\n{}\n{}", topics.text(), traffic.text());
    }
    Ok(())
}
