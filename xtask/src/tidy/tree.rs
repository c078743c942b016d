//! The text files of the working tree, built and downloaded ones left out.
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// One file: its path from the root, with `/`, and its text.
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

impl File {
    pub(super) fn extension(&self) -> &str {
        self.path
            .rsplit('/')
            .next()
            .and_then(|name| name.rsplit_once('.'))
            .map_or("", |(_, extension)| extension)
    }
}

const SKIPPED_DIRECTORIES: [&str; 5] = [".git", "target", "artifacts", "corpus", "skylark-data"];
const EXTENSIONS: [&str; 9] = [
    ".rs",
    ".md",
    ".toml",
    ".java",
    ".xml",
    ".yml",
    ".sh",
    ".properties",
    ".conf",
];

pub(super) fn read(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    descend(root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn descend(directory: &Path, prefix: &str, files: &mut Vec<File>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            if !SKIPPED_DIRECTORIES.contains(&name.as_str()) {
                descend(&entry.path(), &format!("{path}/"), files)?;
            }
        } else if EXTENSIONS.iter().any(|extension| name.ends_with(extension)) {
            let text = fs::read_to_string(entry.path()).with_context(|| path.clone())?;
            files.push(File { path, text });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_found_and_build_output_is_not() {
        let files = read(crate::shell::root()).unwrap();
        assert!(
            files
                .iter()
                .any(|file| file.path == "xtask/src/tidy/tree.rs")
        );
        assert!(files.iter().all(|file| !file.path.contains("target/")));
    }
}
