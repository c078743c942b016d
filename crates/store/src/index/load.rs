//! Finds the index files at start, and puts in order what a crash left.

use std::io;
use std::path::Path;
use std::sync::Arc;

use protocol::LogOffset;
use tracing::{info, warn};

use super::active::{Active, read_header};
use super::layout::Layout;
use super::{ClosedFile, LastExit};
use crate::disk::Disk;

/// Files from the first on that can't be trusted, oldest first.
#[derive(Debug)]
pub(super) struct Unrecovered(Vec<ClosedFile>);

/// What became of them.
pub(super) struct Recovered {
    pub(super) files: Vec<ClosedFile>,
    pub(super) active: Option<Active>,
}

/// The files to trust, and the rest.
pub(super) fn find(
    disk: &Disk,
    dir: &Path,
    layout: Layout,
    log_end: LogOffset,
    last_exit: LastExit,
) -> io::Result<(Vec<ClosedFile>, Option<Unrecovered>)> {
    let mut files = Vec::new();
    for entry in disk.list(dir)? {
        let path = dir.join(&entry.name);
        match entry.name.parse::<u64>() {
            Ok(name) if !entry.is_dir && entry.len == layout.file_bytes() => {
                let header = read_header(disk, &path)?;
                files.push(ClosedFile {
                    name,
                    path: Arc::new(path),
                    header,
                });
            }
            // Created by a power cut's victim, which had not yet given it its length.
            Ok(_) if !entry.is_dir && entry.len == 0 => disk.remove_file(&path)?,
            _ => {
                let expected = layout.file_bytes();
                warn!(path = %path.display(), len = entry.len, expected, "not an index file of the configured size, left alone");
            }
        }
    }
    files.sort_by_key(|file| file.name);
    let doubtful = |file: &ClosedFile| {
        // Slots are written when a file is full or the store closes.
        let open = match last_exit {
            LastExit::Clean => false,
            LastExit::Crash { index_ms } => {
                file.header.end_timestamp > index_ms || !file.header.is_full(layout)
            }
        };
        open || file.header.next > layout.entries_max || file.header.end_log_offset >= log_end
    };
    let trusted = files.iter().position(doubtful).unwrap_or(files.len());
    let rest = files.split_off(trusted);
    Ok((files, (!rest.is_empty()).then_some(Unrecovered(rest))))
}

impl Unrecovered {
    /// Names of the files and the number of the next entry of each.
    #[cfg(test)]
    pub(super) fn counted(&self) -> Vec<(u64, u32)> {
        self.0
            .iter()
            .map(|file| (file.name, file.header.next))
            .collect()
    }

    /// Keeps what is whole. The first file that is not full becomes the one to fill; those after it
    /// go, as they would leave a gap.
    pub(super) fn recover(
        &self,
        disk: &Disk,
        dir: &Path,
        layout: Layout,
        log_end: LogOffset,
    ) -> io::Result<Recovered> {
        let mut recovered = Recovered {
            files: Vec::new(),
            active: None,
        };
        for (nth, file) in self.0.iter().enumerate() {
            let mut active = Active::rebuild(disk, file, layout, log_end)?;
            info!(
                path = %file.path.display(),
                counted = file.header.next - 1,
                kept = active.header.next - 1,
                "index file checked after a crash"
            );
            if active.header.next <= 1 {
                remove(disk, dir, &self.0[nth..])?;
                break;
            }
            // Entries first, so that the header counts none that only the page cache has.
            active.handle.sync_data()?;
            if !active.is_full() {
                remove(disk, dir, &self.0[nth + 1..])?;
                active.write_header()?;
                recovered.active = Some(active);
                break;
            }
            active.write_slots()?;
            active.write_header()?;
            recovered.files.push(active.file());
        }
        Ok(recovered)
    }
}

/// Newest first, so that a crash meanwhile leaves no gap.
fn remove(disk: &Disk, dir: &Path, files: &[ClosedFile]) -> io::Result<()> {
    for file in files.iter().rev() {
        info!(path = %file.path.display(), "index file removed after a crash, its records are indexed again");
        disk.remove_file(&file.path)?;
        disk.sync_dir(dir)?;
    }
    Ok(())
}
