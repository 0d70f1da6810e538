//! Rules for the documents that people read first.

use std::collections::BTreeSet;

use crate::tree::{Tree, has_extension};

/// Longest a document may be, in lines.
const LINES_MAX: &[(&str, usize)] = &[("ARCHITECTURE.md", 200), ("CONTRIBUTING.md", 150)];

/// One word per thing: each has a row in the glossary of ARCHITECTURE.md.
const GLOSSARY: &[&str] = &[
    "program",
    "instance",
    "child",
    "worker",
    "agent",
    "supervisor",
    "scheduler",
    "placement",
    "goal",
    "epoch",
    "touch",
    "event",
    "listener",
    "command",
];

/// How many invariants the design has: each is marked `**Invariant 1.**` and so on.
const INVARIANTS: usize = 5;

/// What a newcomer types, and what CI runs.
const COMMANDS: &[(&str, &str)] =
    &[("README.md", "\n./run\n"), ("README.md", "\n./run test\n"), (".ci/run", "./run test")];

fn required<'a>(tree: &'a Tree, path: &str, problems: &mut Vec<String>) -> &'a str {
    tree.text(path).unwrap_or_else(|| {
        problems.push(format!("{path}: is missing"));
        ""
    })
}

/// Documents are short enough to be read.
pub fn lengths(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, limit) in LINES_MAX {
        let lines = required(tree, path, &mut problems).lines().count();
        if lines > *limit {
            problems.push(format!("{path}: {lines} lines, more than {limit}: say less"));
        }
    }
    problems
}

/// ARCHITECTURE.md has every word, every invariant and every crate.
pub fn architecture(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    let text = required(tree, "ARCHITECTURE.md", &mut problems);
    let mut lacks = |what: String| problems.push(format!("ARCHITECTURE.md: add {what}"));
    for word in GLOSSARY.iter().filter(|word| !text.contains(&format!("\n| {word} |"))) {
        lacks(format!("a row `| {word} |` to the glossary"));
    }
    for number in (1..=INVARIANTS).filter(|n| !text.contains(&format!("**Invariant {n}.**"))) {
        lacks(format!("`**Invariant {number}.**`"));
    }
    let manifests = tree.files.iter().filter_map(|file| file.path.strip_suffix("/Cargo.toml"));
    for folder in manifests.filter(|folder| !text.contains(&format!("`{folder}/"))) {
        lacks(format!("`{folder}/` to the code map"));
    }
    problems
}

/// The changelog has a place for what was done since the last release, and releases from the newest one
/// on, of which none is newer than this source.
pub fn changelog(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    let text = required(tree, "CHANGELOG.md", &mut problems);
    if !text.contains("\n## [Unreleased]\n") {
        problems.push("CHANGELOG.md: add a heading `## [Unreleased]`".to_owned());
    }
    let manifest = required(tree, "Cargo.toml", &mut problems).parse::<toml::Table>();
    let ours = manifest.ok().and_then(|manifest| {
        let version = manifest.get("workspace")?.get("package")?.get("version")?;
        number(version.as_str()?)
    });
    let mut newer = ours;
    for line in
        text.lines().filter(|line| line.starts_with("## [") && !line.ends_with("[Unreleased]"))
    {
        let found = line.strip_prefix("## [").and_then(|rest| rest.split_once("] - "));
        let version = found.filter(|(_, date)| date.len() == "2026-01-31".len());
        match version.and_then(|(version, _)| number(version)) {
            None => problems.push(format!("CHANGELOG.md: `{line}` is not `## [1.2.3] - 2026-01-31`")),
            Some(version) if newer.is_some_and(|newer| version > newer) => problems.push(format!(
                "CHANGELOG.md: `{line}` is newer than the version of Cargo.toml, or than one above it"
            )),
            Some(version) => newer = Some(version),
        }
    }
    problems
}

/// `1.2.3`, to be compared.
fn number(version: &str) -> Option<[u32; 3]> {
    let parts: Vec<u32> =
        version.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    parts.try_into().ok()
}

/// The two commands of the README are there, and CI runs the same.
pub fn commands(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, command) in COMMANDS {
        if !required(tree, path, &mut problems).contains(command) {
            problems.push(format!("{path}: name the command `{}`", command.trim()));
        }
    }
    problems
}

/// Links between documents lead to files that exist.
pub fn links(tree: &Tree) -> Vec<String> {
    let known: BTreeSet<&str> = tree.files.iter().map(|file| file.path.as_str()).collect();
    let exists = |path: &str| {
        let folder = format!("{}/", path.trim_end_matches('/'));
        known.contains(path) || known.iter().any(|file| file.starts_with(&folder))
    };
    let mut problems = Vec::new();
    for file in tree.files.iter().filter(|file| has_extension(&file.path, "md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let targets = file.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let path = target.split('#').next().unwrap_or_default();
            if !exists(&resolved(folder, path)) {
                problems.push(format!("{}: the link to {target} leads nowhere", file.path));
            }
        }
    }
    problems
}

fn resolved(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_document_is_found() {
        let long = "\n".repeat(201);
        let tree = Tree::of(&[("ARCHITECTURE.md", &long), ("CONTRIBUTING.md", "")]);
        assert_eq!(lengths(&tree).len(), 1);
        assert_eq!(lengths(&Tree::of(&[])).len(), 2, "missing ones too");
    }

    #[test]
    fn what_is_missing_in_the_architecture_is_found() {
        let everything = GLOSSARY.len() + INVARIANTS + 1;
        let tree = |text: &str| Tree::of(&[("ARCHITECTURE.md", text), ("cli/Cargo.toml", "")]);
        assert_eq!(architecture(&tree("")).len(), everything);
        let some = "\n| epoch | a number |\n**Invariant 3.** ...\n`cli/src/` the binary";
        assert_eq!(architecture(&tree(some)).len(), everything - 3);
    }

    #[test]
    fn a_changelog_without_a_place_is_found() {
        let tree = |text: &str| {
            let manifest = "[workspace.package]\nversion = \"1.10.0\"\n";
            changelog(&Tree::of(&[("CHANGELOG.md", text), ("Cargo.toml", manifest)])).len()
        };
        assert_eq!(tree("# Changes\n## 1.0\n"), 1);
        let place = "#\n## [Unreleased]\n";
        assert_eq!(tree(place), 0);
        let of = |versions: &[&str]| {
            let line = |version: &&str| format!("## [{version}] - 2026-11-27\n");
            tree(&(place.to_owned() + &versions.iter().map(line).collect::<String>()))
        };
        assert_eq!(of(&["1.10.0", "1.9.3"]), 0);
        assert_eq!(of(&["1.9.3"]), 0, "the next one is being worked on");
        assert_eq!(of(&["1.11.0"]), 1, "Cargo.toml was forgotten");
        assert_eq!(of(&["1.9.3", "1.10.0"]), 1, "in the wrong order");
        assert_eq!(of(&["1.10"]), 1);
        assert_eq!(tree(&format!("{place}## [1.10.0]\n")), 1, "without its day");
    }

    #[test]
    fn a_missing_command_is_found() {
        let tree = Tree::of(&[("README.md", "\n./run\n"), (".ci/run", "cargo test")]);
        assert_eq!(commands(&tree).len(), 2);
    }

    #[test]
    fn a_link_to_nowhere_is_found() {
        let text = "[a](../README.md) [b](x/) [c](gone.md#part) [d](https://x.y/z) [e](#here)";
        let tree = Tree::of(&[("README.md", ""), ("docs/x/y", ""), ("docs/a.md", text)]);
        assert_eq!(links(&tree), ["docs/a.md: the link to gone.md#part leads nowhere"]);
    }
}
