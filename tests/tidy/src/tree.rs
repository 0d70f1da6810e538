//! The repository's own text files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// A file.
#[derive(Debug, Clone)]
pub struct File {
    /// Path from the root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// All of them, by path.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The files.
    pub files: Vec<File>,
}

/// What nobody wrote: build output, installed tools, a running fleet's data.
const SKIPPED: &[&str] = &[".git", "target", ".tools", ".dsbus"];

/// The root of this repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(PathBuf::from).unwrap_or_default()
}

impl Tree {
    /// Reads the tree under `root`: what git knows or would add; without git, everything that is
    /// not skipped. Files that are not text are left out.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn read(root: &Path) -> io::Result<Tree> {
        let mut paths = match listed_by_git(root) {
            Some(paths) => paths,
            None => walk(root, Path::new(""))?,
        };
        paths.sort();
        let read = |path: String| {
            let text = fs::read_to_string(root.join(&path)).ok()?;
            Some(File { path, text })
        };
        Ok(Tree { files: paths.into_iter().filter_map(read).collect() })
    }

    /// A made-up tree, for showing that a rule can fail.
    pub fn of(files: &[(&str, &str)]) -> Tree {
        let file = |&(path, text): &(&str, &str)| File { path: path.into(), text: text.into() };
        Tree { files: files.iter().map(file).collect() }
    }

    /// The text of one file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    /// Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| has_extension(&file.path, "rs"))
    }
}

/// Whether the path ends in this extension.
pub fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<String> =
        text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    // An unpacked archive inside somebody else's repository has no files of that repository.
    paths.iter().any(|path| path == "Cargo.toml").then_some(paths)
}

fn walk(root: &Path, below: &Path) -> io::Result<Vec<String>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = entry.file_name();
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        let path = below.join(&name);
        if entry.file_type()?.is_dir() {
            paths.extend(walk(root, &path)?);
        } else {
            paths.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(paths)
}

/// A line of a Rust file that is not a comment.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Which, from 1.
    pub number: usize,
    /// Its text.
    pub text: &'a str,
    /// It is built for tests only.
    pub test: bool,
}

impl File {
    /// The lines of code. What follows `#[cfg(test)]` at the left margin is test code, since tests
    /// come last in a file.
    pub fn code(&self) -> impl Iterator<Item = Line<'_>> {
        let mut test = self.is_test();
        self.text.lines().enumerate().filter_map(move |(index, text)| {
            test |= text.starts_with("#[cfg(test)]");
            let comment = text.trim_start().starts_with("//");
            (!comment).then_some(Line { number: index + 1, text, test })
        })
    }

    /// The whole file is test code.
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_git_the_tree_is_walked() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a/b.rs", "target/c.rs", ".tools/d.rs", "e.md"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let tree = Tree::read(folder.path()).unwrap();
        let paths: Vec<_> = tree.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a/b.rs", "e.md"]);
    }

    #[test]
    fn tests_come_last() {
        let tree = Tree::of(&[("a.rs", "fn a() {}\n// note\n#[cfg(test)]\nmod tests {}")]);
        let lines: Vec<_> = tree.files[0].code().map(|line| (line.number, line.test)).collect();
        assert_eq!(lines, [(1, false), (3, true), (4, true)]);
    }
}
