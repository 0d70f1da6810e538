//! What a worker is: the command line, then its file, then what the machine says.

use std::path::{Path, PathBuf};

use dsbus_schema::ids::{NAME_LEN_MAX, WorkerName};
use dsbus_schema::worker::Labels;
use dsbus_schema::worker::label::LABELS_MAX;
use dsbus_supervisor::known_as;

use crate::args;
use crate::config::Surroundings;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file::Diagnostic;
use crate::file::worker::{self, Keys, WorkerFile};
use crate::output;

/// Where a worker's file is looked for that was given neither a file nor a directory.
pub(super) const FILE_DEFAULT: &str = "/etc/dsbus/worker.toml";
/// Name of the file in a state directory that was given.
const FILE_NAME: &str = "worker.toml";

/// A worker, before it starts.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    /// Its name.
    pub(super) worker: WorkerName,
    /// Nobody says the name: it is that of the worker which ran in its directory before.
    pub(super) known: bool,
    /// Its state directory.
    pub(super) directory: PathBuf,
    /// Whether it gives away what it runs before it stops.
    pub(super) drain: bool,
    /// Its labels.
    pub(super) labels: Labels,
    /// Its file.
    pub(super) file: WorkerFile,
}

/// Why there is none.
#[derive(Debug, Clone)]
pub(super) enum Wrong {
    /// The file has these mistakes.
    File(Vec<Diagnostic>),
    /// Something else.
    Other(Failure),
}

impl Wrong {
    /// As it is told to a person; `so` says what comes of mistakes in the file.
    pub(super) fn told(self, so: &str) -> Failure {
        match self {
            Wrong::File(found) => {
                output::diagnostics(&found, so);
                Failure::told(Code::Usage)
            }
            Wrong::Other(failure) => failure,
        }
    }
}

impl Choice {
    /// Reads the file, and adds what it leaves open.
    pub(super) fn make(args: &args::Worker, around: &Surroundings) -> Result<Choice, Wrong> {
        Choice::of(args, around, read(args, around).map_err(Wrong::File)?)
    }

    /// The same for whoever only looks for one that runs: what is wrong with the file is given, and is
    /// no matter as long as it can be told where the worker is.
    pub(super) fn place(
        args: &args::Worker,
        around: &Surroundings,
    ) -> Result<(Choice, Vec<Diagnostic>), Wrong> {
        let (file, mistakes) = match path(args, around) {
            Some(path) => worker::read_anyway(&path, around),
            None => (WorkerFile::default(), Vec::new()),
        };
        let Keys { name, identifier, dir, .. } = &file.keys;
        let named = args.name.is_some() || name.is_some() || identifier.is_some();
        if !mistakes.is_empty() && !named && args.dir.is_none() && dir.is_none() {
            return Err(Wrong::File(mistakes));
        }
        Ok((Choice::of(args, around, file)?, mistakes))
    }

    fn of(args: &args::Worker, around: &Surroundings, file: WorkerFile) -> Result<Choice, Wrong> {
        let keys = &file.keys;
        let named = args.name.as_ref().or(keys.name.as_ref()).or(keys.identifier.as_ref());
        let given = args.dir.as_ref().map(|dir| around.directory.join(dir)).or(keys.dir.clone());
        let before = given.as_deref().and_then(known_as).map(|(_, worker)| worker);
        let known = named.is_none() && before.is_some();
        let worker = match named.cloned().or(before) {
            Some(name) => name,
            None => host_name().map_err(Wrong::Other)?,
        };
        let directory = match given {
            Some(directory) => directory,
            None => default_directory(around, &worker, nix::unistd::geteuid().is_root())
                .map_err(Wrong::Other)?,
        };
        let labels = labels(args, keys);
        if labels.len() > LABELS_MAX {
            let why = format!("a worker has at most {LABELS_MAX} labels");
            return Err(Wrong::Other(Failure::usage(why)));
        }
        Ok(Choice { worker, known, directory, drain: args.drain || keys.drain, labels, file })
    }
}

/// The labels of the file, and those of the command line, which win.
pub(super) fn labels(args: &args::Worker, keys: &Keys) -> Labels {
    let mut labels = keys.labels.clone();
    labels.extend(args.labels.iter().cloned());
    labels
}

/// Reads the worker's file, if it has one.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn read(
    args: &args::Worker,
    around: &Surroundings,
) -> Result<WorkerFile, Vec<Diagnostic>> {
    match path(args, around) {
        Some(path) => worker::read(&path, around),
        None => Ok(WorkerFile::default()),
    }
}

/// Where the worker's file is, if it has one.
fn path(args: &args::Worker, around: &Surroundings) -> Option<PathBuf> {
    if let Some(path) = &args.config {
        return Some(path.clone());
    }
    // A worker whose directory was given has that directory's file, and never that of another
    // worker on the machine.
    let path = match &args.dir {
        Some(dir) => around.directory.join(dir).join(FILE_NAME),
        None => PathBuf::from(FILE_DEFAULT),
    };
    exists(&path).then_some(path)
}

/// Whether there is a file, also one that cannot be read: that is a mistake to be told.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn host_name() -> Result<WorkerName, Failure> {
    let host = nix::unistd::gethostname().map_err(std::io::Error::from)?;
    WorkerName::parse(&legal(&host.to_string_lossy())).map_err(|e| {
        Failure::usage(format!("the host's name cannot be a worker's: {e}"))
            .hint("give one: --name, or name in the worker's file")
    })
}

/// A host's name as a worker's: what is before the first dot, other characters as `-`.
fn legal(host: &str) -> String {
    let first = host.split('.').next().unwrap_or_default();
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    first.trim_start_matches('_').chars().map(legal).take(NAME_LEN_MAX).collect()
}

fn default_directory(
    around: &Surroundings,
    worker: &WorkerName,
    root: bool,
) -> Result<PathBuf, Failure> {
    if root {
        return Ok(PathBuf::from("/var/lib/dsbus").join(worker.as_str()));
    }
    let home = around.variable("HOME").ok_or_else(|| {
        Failure::usage("there is no HOME for the worker's state").hint("give a directory: --dir")
    })?;
    Ok(PathBuf::from(home).join(".local/state/dsbus").join(worker.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_become_workers() {
        for (host, name) in
            [("db1", "db1"), ("db1.example.org", "db1"), ("_a b", "a-b"), ("größe", "gr--e")]
        {
            assert_eq!(legal(host), name);
        }
    }

    #[test]
    fn state_is_kept_where_the_user_may_write() {
        let name = WorkerName::parse("w1").unwrap();
        let around = Surroundings {
            variables: [("HOME".into(), "/home/ann".into())].into(),
            directory: "/".into(),
            machine: None,
        };
        let directory = |root| default_directory(&around, &name, root).unwrap();
        assert_eq!(directory(true), PathBuf::from("/var/lib/dsbus/w1"));
        assert_eq!(directory(false), PathBuf::from("/home/ann/.local/state/dsbus/w1"));
        assert!(default_directory(&Surroundings::default(), &name, false).is_err());
    }

    #[test]
    fn a_label_of_the_command_line_wins_over_that_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        std::fs::write(here.join("w.toml"), "name = \"w\"\n[labels]\na = 1\nb = 2\n").unwrap();
        let around = Surroundings { directory: here.into(), ..Surroundings::default() };
        let words =
            ["dsbus", "worker", "-c", "w.toml", "--dir", ".", "--label", "b=3", "--label", "c="];
        let args = match args::parse(words).unwrap().verb {
            args::Verb::Worker(args) => args.options,
            other => panic!("{other:?}"),
        };
        let labels = Choice::make(&args, &around).unwrap().labels;
        let pairs = [("a", "1"), ("b", "3"), ("c", "")];
        assert_eq!(labels, pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert!(args::parse(["dsbus", "worker", "--label", "zone"]).is_err());
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_the_machine() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        std::fs::write(here.join("worker.toml"), "name = \"f\"\ndir = \"state\"\n").unwrap();
        let around = Surroundings { directory: here.into(), ..Surroundings::default() };
        let make = |words: &str| {
            let args = match args::parse(words.split(' ')).unwrap().verb {
                args::Verb::Worker(args) => args.options,
                other => panic!("{other:?}"),
            };
            let choice = Choice::make(&args, &around).unwrap();
            (choice.worker.to_string(), choice.directory, choice.file.path.is_some())
        };
        let named = "dsbus worker --config worker.toml";
        assert_eq!(make(named), ("f".to_owned(), here.join("state"), true));
        assert_eq!(
            make(&format!("{named} --name x --dir y")),
            ("x".to_owned(), here.join("y"), true)
        );
        assert_eq!(
            make("dsbus worker --name x --dir ."),
            ("x".to_owned(), here.join("."), true),
            "a directory's own file"
        );
        assert!(!make("dsbus worker --name x --dir y").2, "and no other one");
    }
}
