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

/// The changelog has a place for what was done since the last release.
pub fn changelog(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    let text = required(tree, "CHANGELOG.md", &mut problems);
    if !text.contains("\n## [Unreleased]\n") {
        problems.push("CHANGELOG.md: add a heading `## [Unreleased]`".to_owned());
    }
    problems
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
        assert_eq!(changelog(&Tree::of(&[("CHANGELOG.md", "# Changes\n## 1.0\n")])).len(), 1);
        assert_eq!(changelog(&Tree::of(&[("CHANGELOG.md", "#\n## [Unreleased]\n")])).len(), 0);
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
