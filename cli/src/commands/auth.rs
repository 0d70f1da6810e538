//! `dsbus auth`

mod book;
mod certificates;
mod conf;
mod files;
mod folders;
mod given;
mod hand_out;
mod init;
mod show;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use dsbus_schema::ids::{FleetName, UserName};
use dsbus_schema::permit::{Role, listener_subject};
use nkeys::KeyPair;

use crate::args;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use book::{Book, Revoked, User, folder};

const RELOAD: &str = "the servers know it after nats-server --signal reload";

/// Makes users and what goes with them. `fleet` is the one that the command line names.
///
/// # Errors
/// When something is there already, means nothing, or cannot be written.
pub(super) fn run(args: &args::Auth, fleet: Option<&FleetName>) -> Result<Code, Failure> {
    match &args.verb {
        args::AuthVerb::Init(args) => init::run(args, fleet),
        args::AuthVerb::Add(args) => add(args),
        args::AuthVerb::Rotate(args) => rotate(args),
        args::AuthVerb::Revoke(args) => revoke(args),
        args::AuthVerb::List(args) => show::list(args),
        args::AuthVerb::Permissions(args) => show::permissions(args, fleet),
    }
}

/// Folders of the users that `dsbus auth` has made in a directory, as far as they are there.
pub(super) fn folders(at: &Path) -> Vec<PathBuf> {
    let users = at.join("users");
    files::names(&users).into_iter().map(|name| users.join(name)).collect()
}

/// Who can be a user of a command: users of `dsbus auth`, and those of the gateways that it has made;
/// `None` where that cannot be read.
pub(super) fn users(at: &Path) -> Option<BTreeSet<String>> {
    let book = Book::read(at).ok()?;
    let mut users: BTreeSet<String> = book.users.iter().map(|user| user.name.to_string()).collect();
    for gateway in book.users.iter().filter(|user| user.role == "gateway") {
        let Ok(text) = files::read(&folder(at, &gateway.name).join("gateway.toml")) else {
            continue;
        };
        let table: toml::Table = text.parse().ok()?;
        users.extend(table.get("user")?.as_table()?.keys().cloned());
    }
    Some(users)
}

fn cannot(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |e| Failure::failed(format!("cannot write {}: {e}", path.display()))
}

fn user_name(name: &str) -> Result<UserName, Failure> {
    UserName::parse(name).map_err(|e| Failure::usage(e.to_string()))
}

/// A key that was never there, and its seed.
fn key() -> Result<(String, String), Failure> {
    let pair = KeyPair::new_user();
    let seed = pair.seed().map_err(|e| Failure::failed(format!("cannot make a key: {e}")))?;
    Ok((pair.public_key(), seed))
}

/// Text that nobody guesses: the random part of a seed that is used for nothing else.
fn password() -> Result<String, Failure> {
    let (_, seed) = key()?;
    Ok(seed.chars().skip(4).take(32).collect())
}

/// The seed and nothing else: clients in other languages read the whole file.
fn seed_file(seed: &str) -> String {
    format!("{seed}\n")
}

/// Writes a user's folder, which is not there.
fn write_folder(
    at: &Path,
    book: &Book,
    user: &User,
    role: &Role,
    seed: &str,
) -> Result<(), Failure> {
    let users = at.join("users");
    let place = files::temporary(&users).map_err(cannot(&users))?;
    let ca = at.join("tls/ca.pem");
    let ca = book.ca.then(|| files::read(&ca)).transpose().map_err(|e| {
        Failure::failed(format!("cannot read {}: {e}", at.join("tls/ca.pem").display()))
    })?;
    let mut all = folders::files(book, user, role, ca.as_deref(), &[password()?, password()?]);
    all.push(("seed.nk", seed_file(seed), files::SECRET));
    if matches!(role, Role::Worker { .. } | Role::Scheduler) {
        all.push(("signers", folders::signers(book), files::OPEN));
    }
    for (name, text, mode) in all {
        let path = place.path().join(name);
        files::new(&path, &text, mode).map_err(cannot(&path))?;
    }
    let path = folder(at, &user.name);
    // An empty directory of that name is replaced, and any other one is an error.
    std::fs::rename(place.path(), &path).map_err(cannot(&path))
}

/// Writes what follows from the book, and the book itself first: it is what was decided.
fn save(at: &Path, book: &Book) -> Result<(), Failure> {
    let mut all =
        vec![(at.join(book::FILE), book.text()?), (at.join("nats/users.conf"), conf::users(book))];
    let signers = folders::signers(book);
    let reads = |user: &&User| matches!(user.role.as_str(), "worker" | "scheduler");
    for user in book.users.iter().filter(reads) {
        let path = folder(at, &user.name).join("signers");
        // A folder that was moved to its machine is no more here.
        let there = files::read(&path).unwrap_or_else(|_| signers.clone());
        if there != signers {
            all.push((path, signers.clone()));
        }
    }
    for (path, text) in all {
        files::replace(&path, &text, files::OPEN).map_err(cannot(&path))?;
    }
    Ok(())
}

fn locked(at: &Path) -> Result<impl Drop, Failure> {
    files::lock(at).map_err(|e| {
        Failure::failed(format!("cannot lock {}: {e}", at.display()))
            .hint("dsbus auth init makes such a directory; another dsbus auth may be at work")
    })
}

fn add(args: &args::AuthAdd) -> Result<Code, Failure> {
    let at = &args.at.directory;
    let (name, role) = args.role.role().map_err(Failure::usage)?;
    let name = user_name(&name)?;
    let _lock = locked(at)?;
    let mut book = Book::read(at)?;
    let (public, seed) = key()?;
    let user = User::new(name.clone(), &role, public);
    book.add(user.clone())?;
    write_folder(at, &book, &user, &role, &seed)?;
    save(at, &book)?;
    let path = folder(at, &name);
    output::success(format_args!("{name}: {}, in {}; {RELOAD}", role.name(), path.display()))?;
    if let Role::Listener(filter) = &role {
        let subject = listener_subject(&book.fleet, filter);
        output::note(format_args!("it reads the subject {subject}"));
        if filter.subjects(&book.fleet).len() > 1 {
            output::warning(format_args!(
                "the server can permit one subject only, and that is the narrowest one that holds all \
                 of what was asked for: {name} may read more than it asked for. One listener for each \
                 kind of event may not"
            ));
        }
    }
    if role == Role::Scheduler {
        output::note(
            "copy users/NAME/signers to each worker, too: they believe the new scheduler then",
        );
    }
    Ok(Code::Done)
}

fn rotate(args: &args::AuthUser) -> Result<Code, Failure> {
    let at = &args.at.directory;
    let _lock = locked(at)?;
    let mut book = Book::read(at)?;
    let (public, seed) = key()?;
    let name = &args.name;
    let user = book.user(name)?;
    if user.old_key.is_some() {
        let message = format!("{name} has two keys already");
        return Err(Failure::failed(message).hint(format!(
            "dsbus auth revoke {name} --old, when nobody uses the old one any more"
        )));
    }
    user.old_key = Some(std::mem::replace(&mut user.key, public));
    let scheduler = user.role == "scheduler";
    let path = folder(at, name);
    std::fs::create_dir_all(&path).map_err(cannot(&path))?;
    let path = path.join("seed.nk");
    // First what cannot be made again: a key that nobody knows would let nobody in.
    files::replace(&path, &seed_file(&seed), files::SECRET).map_err(cannot(&path))?;
    save(at, &book)?;
    output::success(format_args!("{name}: has another key, in {}; {RELOAD}", path.display()))?;
    if scheduler {
        output::note("copy users/NAME/signers to each worker before the new key is used");
    }
    output::note(format_args!(
        "copy it over the old one, and connect anew; then: dsbus auth revoke {name} --old"
    ));
    Ok(Code::Done)
}

fn revoke(args: &args::AuthRevoke) -> Result<Code, Failure> {
    let at = &args.at.directory;
    let name = &args.name;
    let _lock = locked(at)?;
    let mut book = Book::read(at)?;
    if args.old {
        return revoke_old(at, book, name);
    }
    let user = book.user(name)?.clone();
    let path = folder(at, name);
    let files = files::names(&path);
    if let (Some(lost), false) = (book.lost_with(&user), args.force) {
        let role = &user.role;
        return Err(Failure::failed(format!("{name} is {lost}; nothing was changed")).hint(format!(
            "first make another one: dsbus auth add {role} NAME; or say --force, which also deletes {}",
            contents(&path, &files)
        )));
    }
    book.users.retain(|user| user.name != *name);
    book.revoked.extend(user.keys().map(|key| Revoked { name: name.clone(), key: key.to_owned() }));
    save(at, &book)?;
    match std::fs::remove_dir_all(&path) {
        Ok(()) => output::note(format_args!("deleted {}", contents(&path, &files))),
        // It was moved to its machine.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(Failure::failed(format!("cannot remove {}: {e}", path.display()))),
    }
    output::success(format_args!("{name}: is let in no more; {RELOAD}"))?;
    Ok(Code::Done)
}

/// A folder, with what is in it.
fn contents(path: &Path, files: &[String]) -> String {
    match files {
        [] => path.display().to_string(),
        files => format!("{} ({})", path.display(), files.join(", ")),
    }
}

fn revoke_old(at: &Path, mut book: Book, name: &UserName) -> Result<Code, Failure> {
    let Some(key) = book.user(name)?.old_key.take() else {
        let message = format!("{name} has one key only");
        return Err(Failure::failed(message)
            .hint(format!("dsbus auth revoke {name} without --old lets it in no more")));
    };
    book.revoked.push(Revoked { name: name.clone(), key });
    save(at, &book)?;
    output::success(format_args!("{name}: the old key holds no more; {RELOAD}"))?;
    Ok(Code::Done)
}
