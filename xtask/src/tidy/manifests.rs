//! Cargo manifests: the dependencies of a block are sorted; our own crates stand in the order of their layers.
use super::tree::File;

pub(super) fn check(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    if file.path != "Cargo.toml" && !file.path.ends_with("/Cargo.toml") {
        return complaints;
    }
    let mut in_dependencies = false;
    let mut previous = "";
    for (number, line) in file.text.lines().enumerate() {
        if line.starts_with('[') {
            in_dependencies = line.trim_end().ends_with("dependencies]");
        }
        // A blank line or a comment begins a new block; a line without `=` belongs to the one before.
        if line.starts_with('[') || line.trim().is_empty() || line.starts_with('#') {
            previous = "";
            continue;
        }
        let Some((name, _)) = line.split_once(['=', '.']) else {
            continue;
        };
        if !in_dependencies || name.starts_with(' ') || line.contains("path = ") {
            continue;
        }
        let name = name.trim();
        if name < previous {
            complaints.push(format!(
                "{}:{}: {name} belongs before {previous}",
                file.path,
                number + 1
            ));
        }
        previous = name;
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(text: &str) -> usize {
        check(&File {
            path: "crates/store/Cargo.toml".to_owned(),
            text: text.to_owned(),
        })
        .len()
    }

    #[test]
    fn dependencies_are_sorted() {
        assert_eq!(
            complaints("[dependencies]\nbytes.workspace = true\nanyhow = \"1\"\n"),
            1
        );
        assert_eq!(
            complaints(
                "[workspace.dependencies]\nb = { path = \"b\" }\na = { path = \"a\" }\nd = \"1\"\nc = \"1\"\n"
            ),
            1
        );
        assert_eq!(
            complaints("[dependencies]\nanyhow = \"1\"\nbytes.workspace = true\n"),
            0
        );
    }

    #[test]
    fn blocks_and_other_sections_stand_alone() {
        assert_eq!(
            complaints(
                "[dependencies]\nstore = \"1\"\n\nanyhow = \"1\"\n[package]\nb = 1\na = 1\n"
            ),
            0
        );
    }
}
