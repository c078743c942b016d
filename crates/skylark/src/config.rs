//! Configuration: Java properties files and what the command line says, for the keys that broker and nameserver declare.

use std::path::Path;

use anyhow::{Context, bail};
use protocol::options::{self, Entry, Note, Oddity, OptionSet};
use store::Disk;

mod apache_keys;
pub(crate) mod document;
mod promises;

/// Whose keys a file may hold.
#[derive(Clone, Copy)]
pub(crate) enum Program {
    Broker,
    Namesrv,
    /// Whoever looks into a broker's store. That serves nobody, so no key promises anything.
    Store,
}

impl Program {
    /// The keys of Apache's program of this name, with or without effect here.
    fn keys(self) -> Vec<&'static str> {
        match self {
            Program::Broker | Program::Store => apache_keys::of_broker().collect(),
            Program::Namesrv => apache_keys::of_namesrv().collect(),
        }
    }
}

/// What is said about a line of a file that is taken.
#[derive(Debug)]
pub(crate) struct Remark {
    line: usize,
    text: String,
    is_warning: bool,
}

impl From<Note> for Remark {
    /// An unknown key may be a setting that isn't made, the rest is for information.
    fn from(note: Note) -> Remark {
        Remark {
            line: note.line,
            is_warning: matches!(note.oddity, Oddity::Unknown { .. } | Oddity::Again { .. }),
            text: note.to_string(),
        }
    }
}

/// Reads a properties file into `options`; what is odd about it is told and does not stop the start.
pub(crate) fn load(
    file: &Path,
    program: Program,
    options: &mut dyn OptionSet,
) -> anyhow::Result<Vec<Remark>> {
    let name = file.display().to_string();
    let bytes = Disk::Os
        .read(file)
        .context("can't read the configuration")?;
    let entries = options::parse(&bytes).with_context(|| name.clone())?;
    let undone = match program {
        Program::Broker | Program::Namesrv => check_promises(&name, &entries)?,
        Program::Store => Vec::new(),
    };
    let notes = options::apply(&name, &entries, &mut [options], &program.keys())?;
    // That a key has no effect need not be said twice.
    let is_new = |note: &Note| !undone.iter().any(|remark| remark.line == note.line);
    let notes: Vec<_> = notes.into_iter().filter(is_new).map(Remark::from).collect();
    Ok(undone.into_iter().chain(notes).collect())
}

/// Refuses what must not be started without, and warns of what is not done.
fn check_promises(file: &str, entries: &[Entry]) -> anyhow::Result<Vec<Remark>> {
    let mut undone = Vec::new();
    for Entry { key, value, line } in entries {
        let value = value.trim();
        let Some(promise) = promises::of(key.trim(), value) else {
            continue;
        };
        let (key, missing) = (promise.key, promise.missing);
        let text = format!("{file}:{line}: {key}={value}: {missing}");
        if promise.is_vital {
            bail!("{text}; leave the key out to start without");
        }
        undone.push(Remark {
            line: *line,
            text,
            is_warning: true,
        });
    }
    Ok(undone)
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

/// Says what was odd.
pub(crate) fn log(remarks: &[Remark]) {
    for Remark {
        text, is_warning, ..
    } in remarks
    {
        match is_warning {
            true => tracing::warn!("{text}"),
            false => tracing::info!("{text}"),
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
