//! `dsbus auth init DIR --hand-out INTO`: to each machine what it needs, and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dsbus_schema::ids::UserName;

use super::book::{Book, folder};
use super::folders::MONITOR;
use super::{cannot, files};
use crate::failure::Failure;
use crate::output;

/// Files of one machine that are copied at most: a server of a cluster of 64 nodes has 68.
const FILES_MAX: usize = 256;

/// What a directory in INTO is for.
enum For {
    /// The servers: their configurations and their certificate, but not the authority's key.
    Servers,
    /// Who scrapes the gateway.
    Monitor,
    User(UserName),
}

/// Copies to each directory that is in `into` what is for it; what is there of these files is replaced.
///
/// # Errors
/// When one is for nobody, or something cannot be read or written.
pub(super) fn run(at: &Path, into: &Path) -> Result<(), Failure> {
    let book = Book::read(at)?;
    let mut names = names(into)?;
    names.sort();
    let all: Result<Vec<(String, For)>, Failure> =
        names.into_iter().map(|name| meant(&book, &name).map(|of| (name, of))).collect();
    for (name, of) in all? {
        let place = into.join(&name);
        match of {
            For::Servers => {
                for part in ["nats", "tls"] {
                    let place = place.join(part);
                    if !place.is_dir() {
                        files::directory(&place).map_err(cannot(&place))?;
                    }
                    copy_all(&at.join(part), &place)?;
                }
            }
            For::Monitor => copy(&at.join("users/gateway").join(MONITOR), &place)?,
            For::User(user) => copy_all(&folder(at, &user), &place)?,
        }
        output::success(format_args!("{}: what {name} needs", place.display()))?;
    }
    Ok(())
}

fn meant(book: &Book, name: &str) -> Result<For, Failure> {
    match name {
        "nats" => return Ok(For::Servers),
        "monitor" => return Ok(For::Monitor),
        _ => {}
    }
    let user = book.users.iter().find(|user| user.name.as_str() == name);
    user.map(|user| For::User(user.name.clone())).ok_or_else(|| {
        let known: Vec<&str> = book.users.iter().map(|user| user.name.as_str()).collect();
        Failure::failed(format!("there is no user {name} to hand anything out to"))
            .hint(format!("there are {}; and nats, and monitor", known.join(", ")))
    })
}

/// Names of the directories in `into`.
fn names(into: &Path) -> Result<Vec<String>, Failure> {
    let unread = |e| Failure::failed(format!("cannot read {}: {e}", into.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(into).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn copy_all(from: &Path, place: &Path) -> Result<(), Failure> {
    let unread = |e| Failure::failed(format!("cannot read {}: {e}", from.display()));
    let all: Result<Vec<PathBuf>, _> =
        fs::read_dir(from).map_err(unread)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let all = all.map_err(unread)?;
    if all.len() > FILES_MAX {
        return Err(Failure::failed(format!("{} has more than {FILES_MAX} files", from.display())));
    }
    // The authority's key goes to no machine; and what servers store beside their configuration stays.
    let mut handed = all.iter().filter(|path| path.is_file() && !path.ends_with("tls/ca.key"));
    handed.try_for_each(|path| copy(path, place))
}

fn copy(from: &Path, place: &Path) -> Result<(), Failure> {
    let unread = |e| Failure::failed(format!("cannot read {}: {e}", from.display()));
    let text = files::read(from).map_err(unread)?;
    let mode = fs::symlink_metadata(from).map_err(unread)?.permissions().mode();
    let to = place.join(from.file_name().unwrap_or_default());
    files::replace(&to, &text, mode & files::OPEN).map_err(cannot(&to))
}
