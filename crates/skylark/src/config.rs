//! Configuration: Java properties files and what the command line says, for the keys that broker and nameserver declare.

use std::path::Path;

use anyhow::{Context, bail};
use protocol::options::{self, Entry, Note, Oddity, OptionSet};
use store::Disk;

mod apache_keys;
pub(crate) mod document;

/// Keys that would promise something that isn't there: with these values the start is refused.
const REFUSED: [(&str, &str, &str); 2] = [
    ("authenticationEnabled", "true", "authentication"),
    ("authorizationEnabled", "true", "authorization"),
];

/// Whose keys a file may hold.
#[derive(Clone, Copy)]
pub(crate) enum Program {
    Broker,
    Namesrv,
}

impl Program {
    /// The keys of Apache's program of this name, with or without effect here.
    fn keys(self) -> Vec<&'static str> {
        match self {
            Program::Broker => apache_keys::of_broker().collect(),
            Program::Namesrv => apache_keys::of_namesrv().collect(),
        }
    }
}

/// Reads a properties file into `options`; what is odd about it is told and does not stop the start.
pub(crate) fn load(
    file: &Path,
    program: Program,
    options: &mut dyn OptionSet,
) -> anyhow::Result<Vec<Note>> {
    let name = file.display().to_string();
    let bytes = Disk::Os
        .read(file)
        .context("can't read the configuration")?;
    let entries = options::parse(&bytes).with_context(|| name.clone())?;
    refuse(&name, &entries)?;
    Ok(options::apply(
        &name,
        &entries,
        &mut [options],
        &program.keys(),
    )?)
}

fn refuse(file: &str, entries: &[Entry]) -> anyhow::Result<()> {
    for Entry { key, value, line } in entries {
        for (refused, to, what) in REFUSED {
            if key.trim().eq_ignore_ascii_case(refused) && value.trim().eq_ignore_ascii_case(to) {
                bail!(
                    "{file}:{line}: {refused}={to}: {what} is not there yet, and the broker would serve everybody; leave the key out to start without"
                );
            }
        }
    }
    Ok(())
}

/// Sets one option from a command line argument.
pub(crate) fn set(
    options: &mut dyn OptionSet,
    key: &str,
    value: &str,
    argument: &str,
) -> anyhow::Result<()> {
    let declared = options.declared();
    let found = declared
        .iter()
        .enumerate()
        .find(|(_, option)| option.key == key);
    let (index, option) = found.context("no such option")?;
    let set = options.set(index, value.trim());
    set.map(drop)
        .with_context(|| format!("{argument}={value}: expected {}", (option.kind)()))
}

/// Says what was odd: an unknown key may be a setting that isn't made, the rest is for information.
pub(crate) fn log(notes: &[Note]) {
    for note in notes {
        match note.oddity {
            Oddity::Unknown { .. } | Oddity::Again { .. } => tracing::warn!("{note}"),
            _ => tracing::info!("{note}"),
        }
    }
}

/// All options as a properties file has them, or the important ones.
pub(crate) fn print(options: &dyn OptionSet, important_only: bool) -> String {
    let mut out = String::new();
    for (index, option) in options.declared().iter().enumerate() {
        if !important_only || apache_keys::is_important(option.key) {
            out.push_str(&format!("{}={}\n", option.key, options.show(index)));
        }
    }
    out
}

#[cfg(test)]
mod tests;
