//! `dsbus auth init DIR`

use std::path::{Path, PathBuf};

use dsbus_client::read_limited_text;
use dsbus_schema::ids::{FleetName, ProgramName, WorkerName};
use dsbus_schema::permit::{Deed, Role};

use super::book::{self, Book, User};
use super::{
    cannot, certificates, conf, files, given, hand_out, key, password, user_name, write_folder,
};
use crate::args;
use crate::clock;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use crate::settings::Key;

/// Most nodes of a cluster, and servers that are named.
const SERVERS_MAX: usize = 64;
/// By these a server is reached from its own machine.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const URL: &str = "tls://127.0.0.1:4222";

/// Makes the directory, unless it is there and may be, and hands out what is in it.
pub(super) fn run(args: &args::AuthInit, fleet: Option<&FleetName>) -> Result<Code, Failure> {
    if args.once && args.directory.join(book::FILE).exists() {
        output::success(format_args!("{} is there already", args.directory.display()))?;
    } else {
        make(args, fleet)?;
    }
    if let Some(into) = &args.hand_out {
        hand_out::run(&args.directory, into)?;
    }
    Ok(Code::Done)
}

/// Makes the directory, whole or not at all.
fn make(args: &args::AuthInit, fleet: Option<&FleetName>) -> Result<(), Failure> {
    let fleet = fleet.cloned().unwrap_or_default();
    let servers = servers(args)?;
    let whole = std::path::absolute(&args.directory).map_err(cannot(&args.directory))?;
    let parent = whole.parent().unwrap_or(Path::new("/"));
    refuse_what_is_there(&whole)?;
    let users = users(args)?;
    let mut book = Book {
        fleet,
        servers,
        nodes: args.nodes.clone(),
        ca: args.server_cert.is_none() || args.server_ca.is_some(),
        users: Vec::new(),
        revoked: Vec::new(),
    };
    std::fs::create_dir_all(parent).map_err(cannot(parent))?;
    let place = files::temporary(parent).map_err(cannot(parent))?;
    let at = place.path();
    for name in ["tls", "nats", "users"] {
        files::directory(&at.join(name)).map_err(cannot(&at.join(name)))?;
    }
    certify(at, args, &book)?;
    let mut seeds = Vec::new();
    for (name, role) in users {
        let (public, seed) = key()?;
        let user = User::new(user_name(&name)?, &role, public);
        book.add(user.clone())?;
        seeds.push((user, role, seed));
    }
    for (user, role, seed) in &seeds {
        write_folder(at, &book, user, role, seed)?;
    }
    configure(at, args, &whole, &book)?;
    let path = at.join(book::FILE);
    files::new(&path, &book.text()?, files::OPEN).map_err(cannot(&path))?;
    // An empty directory of that name is replaced, and any other one is an error.
    std::fs::rename(at, &whole).map_err(cannot(&whole))?;
    tell(&args.directory, &book)
}

fn refuse_what_is_there(directory: &Path) -> Result<(), Failure> {
    let there = match std::fs::symlink_metadata(directory) {
        Err(_) => false,
        Ok(of) if of.is_dir() => {
            std::fs::read_dir(directory).is_ok_and(|mut all| all.next().is_some())
        }
        Ok(_) => true,
    };
    if there {
        let message = format!("{} is there already; nothing was written", directory.display());
        return Err(Failure::failed(message)
            .hint("dsbus auth add makes another user of it; or name another directory"));
    }
    Ok(())
}

fn servers(args: &args::AuthInit) -> Result<Vec<String>, Failure> {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    let hosts = args.nodes.iter().chain(&args.hosts);
    if let Some(bad) = hosts.into_iter().find(|host| host.is_empty() || !host.chars().all(fits)) {
        return Err(Failure::usage(format!("{bad:?} is no name or address of a host")));
    }
    let mut servers = args.servers.clone();
    if servers.is_empty() {
        servers = args.nodes.iter().map(|node| format!("tls://{node}:4222")).collect();
    }
    if servers.is_empty() {
        servers = vec![URL.to_owned()];
    }
    if servers.len().max(args.nodes.len()) > SERVERS_MAX {
        return Err(Failure::usage(format!("more than {SERVERS_MAX} servers")));
    }
    for server in &servers {
        Key::Nats.check(server).map_err(|e| Failure::usage(format!("--servers: {e}")))?;
        if server.contains(['@', '"', '\\']) || server.chars().any(char::is_control) {
            return Err(Failure::usage(format!("--servers: {server:?} is no address alone")));
        }
    }
    Ok(servers)
}

fn users(args: &args::AuthInit) -> Result<Vec<(String, Role)>, Failure> {
    let alert = ProgramName::parse("alert").map_err(|e| Failure::failed(e.to_string()))?;
    for (at, name) in args.workers.iter().enumerate() {
        if args.workers[..at].contains(name) {
            let failure = Failure::usage(format!("--workers names {name} twice"));
            return Err(failure.hint("each worker has a name of its own, also two on one machine"));
        }
    }
    let mut users: Vec<(String, Role)> = vec![
        ("scheduler".to_owned(), Role::Scheduler),
        ("gateway".to_owned(), Role::Gateway),
        ("viewer".to_owned(), Role::Viewer),
        ("admin".to_owned(), Role::Operator(Deed::all())),
        ("alert".to_owned(), Role::Alert(alert)),
    ];
    users.extend(args.workers.iter().map(|name: &WorkerName| {
        let role = Role::Worker { worker: name.clone(), listeners: args.listeners };
        (name.to_string(), role)
    }));
    Ok(users)
}

/// Makes or copies certificates.
fn certify(at: &Path, args: &args::AuthInit, book: &Book) -> Result<(), Failure> {
    let write = |name: &str, text: &str, mode| {
        let path = at.join("tls").join(name);
        files::new(&path, text, mode).map_err(cannot(&path))
    };
    let read = |path: &PathBuf| {
        read_limited_text(path, files::BYTES_MAX)
            .map_err(|e| Failure::failed(format!("cannot read {}: {e}", path.display())))
    };
    if let (Some(cert), Some(key)) = (&args.server_cert, &args.server_key) {
        let text = read(cert)?;
        let hosts: Vec<&str> = book.servers.iter().map(|url| conf::host(url)).collect();
        for trouble in given::check(&text, &hosts, clock::now())
            .map_err(|why| Failure::failed(format!("{}: {why}", cert.display())))?
        {
            output::warning(format_args!("{}: {trouble}", cert.display()));
        }
        write("server.pem", &text, files::OPEN)?;
        write("server.key", &read(key)?, files::SECRET)?;
        return match &args.server_ca {
            Some(ca) => write("ca.pem", &read(ca)?, files::OPEN),
            None => Ok(()),
        };
    }
    let mut hosts: Vec<String> =
        book.servers.iter().map(|url| conf::host(url).to_owned()).collect();
    hosts.extend(args.nodes.iter().chain(&args.hosts).cloned());
    hosts.extend(LOCAL.map(str::to_owned));
    hosts.sort();
    hosts.dedup();
    let made = certificates::make(book.fleet.as_str(), &hosts, clock::now()).map_err(|e| {
        Failure::failed(format!("cannot make a certificate for {}: {e}", hosts.join(", ")))
    })?;
    write("ca.pem", &made.ca, files::OPEN)?;
    write("ca.key", &made.ca_key, files::SECRET)?;
    write("server.pem", &made.cert, files::OPEN)?;
    write("server.key", &made.key, files::SECRET)
}

/// Writes the configuration of the servers.
fn configure(at: &Path, args: &args::AuthInit, whole: &Path, book: &Book) -> Result<(), Failure> {
    let there = args.at.as_deref().unwrap_or(whole);
    let store = args.store.clone().unwrap_or_else(|| there.join("nats/data"));
    let secret = password()?;
    let server = conf::Server { at: there, store: &store, secret: &secret, monitor: args.monitor };
    let mut all = vec![("users".to_owned(), conf::users(book), files::OPEN)];
    if book.nodes.is_empty() {
        all.push(("nats".to_owned(), server.conf(book, None), files::SECRET));
    }
    for node in &book.nodes {
        all.push((node.clone(), server.conf(book, Some(node)), files::SECRET));
    }
    for (name, text, mode) in all {
        let path = at.join("nats").join(format!("{name}.conf"));
        files::new(&path, &text, mode).map_err(cannot(&path))?;
    }
    Ok(())
}

fn tell(directory: &Path, book: &Book) -> Result<(), Failure> {
    let shown = directory.display();
    let names = if book.nodes.is_empty() { vec!["nats".to_owned()] } else { book.nodes.clone() };
    for name in names {
        output::line(format_args!("{shown}/nats/{name}.conf: nats-server -c nats/{name}.conf"))?;
    }
    for user in &book.users {
        let how = match user.role.as_str() {
            "scheduler" => "dsbus scheduler",
            "gateway" => "dsbus gateway gateway.toml",
            "worker" => "dsbus worker --config worker.toml",
            "alert" => "dsbus alert FILE",
            _ => "dsbus status",
        };
        output::line(format_args!("{shown}/users/{}: {}; in it: {how}", user.name, user.role))?;
    }
    if directory.join("tls/ca.key").exists() {
        output::note("tls/ca.key makes certificates: keep it where no machine of the fleet is");
    }
    Ok(())
}
