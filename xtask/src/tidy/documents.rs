//! Documents: relative links lead somewhere.
use super::tree::File;

/// Complains of relative links to what isn't there; `exists` takes a path from the root.
pub(super) fn links(file: &File, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    if file.extension() != "md" {
        return complaints;
    }
    let mut in_fence = false;
    for (number, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        if in_fence {
            continue;
        }
        for target in line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', ' ']).next())
        {
            let path = target.split('#').next().unwrap_or_default();
            let outside = target.contains("://") || target.starts_with("mailto:");
            if outside || path.is_empty() || exists(&resolve(&file.path, path)) {
                continue;
            }
            complaints.push(format!(
                "{}:{}: the link to {target} leads nowhere",
                file.path,
                number + 1
            ));
        }
    }
    complaints
}

/// The path from the root of a link in a file, `..` taken away.
fn resolve(file: &str, link: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    if link.starts_with('/') {
        parts.clear();
    }
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        ".".to_owned()
    } else {
        parts.join("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(text: &str) -> usize {
        let file = File {
            path: "docs/adr/1.md".to_owned(),
            text: text.to_owned(),
        };
        links(&file, |path| {
            ["docs/adr/2.md", "README.md", "docs"].contains(&path)
        })
        .len()
    }

    #[test]
    fn links_lead_somewhere() {
        assert_eq!(
            dead("see [two](2.md#why), [all](../), [it](../../README.md \"title\")"),
            0
        );
        assert_eq!(dead("see [web](https://example.org/x), [here](#below)"), 0);
        assert_eq!(dead("see [three](3.md) and [up](../README.md)"), 2);
    }

    #[test]
    fn fenced_text_is_no_link() {
        assert_eq!(dead("```\n[x](gone.md)\n```\n"), 0);
    }
}
