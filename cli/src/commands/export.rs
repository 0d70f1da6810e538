//! `dsbus export [NAME...]`

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;

use dsbus_client::Entry;
use dsbus_schema::ids::ProgramName;
use dsbus_schema::program::{Program, ProgramSpec};
use dsbus_schema::status::{DISABLED, InstanceRow};
use dsbus_schema::storage::Bucket;
use futures::{StreamExt, TryStreamExt, stream};

use crate::args;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file;
use crate::output;

/// Programs that are asked for at once: enough to hide the way to the server and back.
const ASKED_AT_ONCE: usize = 32;

/// Prints or writes the declarations of programs as a TOML file, which `dsbus apply` takes.
///
/// # Errors
/// When a name does not exist, nothing is declared, nobody answers, or the file cannot be written.
pub(super) async fn run(config: &Config, args: &args::Export) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let rows = connection.status(&args.names).await?;
    let names: BTreeSet<ProgramName> = rows.iter().map(|row| row.program.clone()).collect();
    let declared = declared(&connection, names).await?.into_iter();
    let programs: BTreeMap<_, _> = declared.map(|program| (program.name, program.spec)).collect();
    let resting = resting(&rows, &programs);
    if programs.is_empty() {
        // Whoever keeps the output every night keeps the last one that says something.
        return Err(Failure::failed("no program is declared: there is nothing to export")
            .hint("if there were some, the bus has lost them: dsbus recover --dry-run"));
    }
    let text = text(&programs, &resting);
    match &args.file {
        None => output::line(text.trim_end())?,
        Some(path) => replace(path, &text)
            .map_err(|e| Failure::failed(format!("cannot write {}: {e}", path.display())))?,
    }
    Ok(Code::Done)
}

/// The whole file.
fn text(programs: &BTreeMap<ProgramName, ProgramSpec>, resting: &[String]) -> String {
    let mut text = file::as_toml(programs).trim_end().to_owned();
    text.push('\n');
    if !resting.is_empty() {
        text.push_str(
            "\n# What was stopped or disabled is started when this is applied. To stop it again:\n",
        );
    }
    for command in resting {
        let _ = writeln!(text, "# {command}");
    }
    text
}

/// Replaces a file whole, and keeps whose it is and who may read it: when anything fails before that, the
/// one that is there stays as it is.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let there = match path.canonicalize() {
        // Of a link, what it leads to.
        Ok(there) => Some(there),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    if there.is_none()
        && let Ok(leads) = path.read_link()
    {
        let leads = leads.display();
        return Err(io::Error::other(format!("it is a link to {leads}, which is not there")));
    }
    let old = there.as_ref().map(|there| there.metadata()).transpose()?;
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        // Root would put a file in the place of a device.
        return Err(io::Error::other("it is not a file"));
    }
    let path = there.as_deref().unwrap_or(path);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    // What is left where this is killed can be known by its name.
    let mut fresh = tempfile::Builder::new().prefix(&prefix).tempfile_in(parent)?;
    if let Some(old) = old {
        give(fresh.as_file(), &old)?;
        fresh.as_file().set_permissions(old.permissions())?;
    }
    fresh.write_all(text.as_bytes())?;
    fresh.as_file().sync_all()?;
    fresh.persist(path)?;
    // A directory that may not be read, or cannot be written out, is left to the kernel.
    match File::open(parent).and_then(|directory| directory.sync_all()) {
        Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput) => {
            Ok(())
        }
        synced => synced,
    }
}

/// Gives a new file to whom the old one belongs.
fn give(fresh: &File, old: &Metadata) -> io::Result<()> {
    let (new, to) = (fresh.metadata()?, (old.uid(), old.gid()));
    if (new.uid(), new.gid()) == to {
        return Ok(());
    }
    fchown(fresh, Some(to.0), Some(to.1)).map_err(|e| {
        let (user, group) = to;
        let text = format!("it belongs to user {user} and group {group}, to whom a new one");
        io::Error::new(e.kind(), format!("{text} cannot be given: {e}"))
    })
}

/// The commands that stop what is stopped, and would be started: of a program where all of it is, else of
/// instances.
fn resting(rows: &[InstanceRow], programs: &BTreeMap<ProgramName, ProgramSpec>) -> Vec<String> {
    let mut by_program: BTreeMap<&ProgramName, Vec<&InstanceRow>> = BTreeMap::new();
    for row in rows {
        by_program.entry(&row.program).or_default().push(row);
    }
    let starts = |row: &InstanceRow| {
        let spec = programs.get(&row.program);
        spec.is_some_and(|spec| spec.autostart && spec.schedule.is_none())
    };
    let verb = |row: &InstanceRow| match (row.wanted.run, row.reason.as_deref()) {
        (true, _) => None,
        (false, Some(DISABLED)) => Some("disable"),
        (false, _) => starts(row).then_some("stop"),
    };
    let mut commands = Vec::new();
    for (program, rows) in by_program {
        let verbs: BTreeSet<_> = rows.iter().map(|row| verb(row)).collect();
        match verbs.first() {
            Some(Some(verb)) if verbs.len() == 1 => {
                commands.push(format!("dsbus {verb} {program}"));
            }
            _ => {
                let each = rows.iter().filter_map(|row| Some((verb(row)?, &row.name)));
                commands.extend(each.map(|(verb, name)| format!("dsbus {verb} {name}")));
            }
        }
    }
    commands
}

/// The records of programs; of one that is being removed there is none.
///
/// # Errors
/// When nobody answers, or they may not be read.
pub(super) async fn declared(
    connection: &Connection,
    names: BTreeSet<ProgramName>,
) -> Result<Vec<Program>, Failure> {
    let found: Vec<_> = stream::iter(names)
        .map(|name| async move {
            let entry = connection.bus.get(Bucket::Programs, name.as_str()).await;
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => return Err(connection.explain(e).await),
            };
            let program = entry.as_ref().map(Entry::json::<Program>);
            let program = program.transpose().map_err(|e| Failure::failed(e.to_string()))?;
            Ok(program.flatten().filter(|program| !program.removing))
        })
        .buffered(ASKED_AT_ONCE)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_file_that_is_replaced_stays_whose_it_is() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let (file, link) = (place.path().join("web.toml"), place.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::chown(&file, Some(1234), Some(2345)).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        symlink("web.toml", &link).unwrap();
        for (path, text) in [(&file, "new"), (&link, "newer")] {
            replace(path, text).unwrap();
            let found = file.metadata().unwrap();
            assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (1234, 2345, 0o640));
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 2, "nothing is left behind");
    }

    #[test]
    fn a_link_to_nowhere_stays_one() {
        let place = tempfile::tempdir().unwrap();
        let link = place.path().join("link");
        symlink("nowhere", &link).unwrap();
        let said = replace(&link, "new").unwrap_err().to_string();
        assert_eq!(said, "it is a link to nowhere, which is not there");
        assert!(link.is_symlink() && std::fs::read_dir(place.path()).unwrap().count() == 1);
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(replace(place.path(), "new").unwrap_err().to_string(), "it is not a file");
        let fresh = place.path().join("fresh");
        replace(&fresh, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&fresh).unwrap(), "new");
    }
}
