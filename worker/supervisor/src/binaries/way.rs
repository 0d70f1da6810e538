//! The way to a file: each entry of a directory that one goes through, links followed.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Symbolic links that are followed on one way: as many as the kernel does (`MAXSYMLINKS`).
const LINKS_MAX: usize = 40;

/// What an entry on the way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A directory, or nothing yet.
    Directory,
    /// A symbolic link.
    Link,
    /// The file at the end, be it there or not.
    File,
}

/// Gives the entries by paths without links. `enter` is told of the directory of each before one
/// looks at it, so that what happens from then on can be noticed; and then again of what it is.
pub(super) fn way(file: &Path, mut enter: impl FnMut(&Path, Kind)) -> BTreeMap<PathBuf, Kind> {
    let mut found = BTreeMap::new();
    let mut at = PathBuf::from("/");
    let mut rest = parts(&std::path::absolute(file).unwrap_or_else(|_| file.to_owned()));
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let entry = at.join(&part);
        enter(&at, if rest.is_empty() { Kind::File } else { Kind::Directory });
        let target = std::fs::read_link(&entry).ok().filter(|_| links < LINKS_MAX);
        if let Some(target) = target {
            links += 1;
            enter(&at, Kind::Link);
            found.insert(entry, Kind::Link);
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            for part in parts(&target).into_iter().rev() {
                rest.push_front(part);
            }
            continue;
        }
        let kind = if rest.is_empty() { Kind::File } else { Kind::Directory };
        found.insert(entry.clone(), kind);
        at = entry;
    }
    found
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    parts.collect()
}
