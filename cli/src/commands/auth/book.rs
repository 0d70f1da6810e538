//! `auth.toml`: all that was decided about users. No secret stands in it; the rest is written from it.

use std::path::{Path, PathBuf};

use dsbus_schema::filter::Filter;
use dsbus_schema::ids::{FleetName, ProgramName, UserName, WorkerName};
use dsbus_schema::permit::{Deed, Permissions, Role, permissions};
use serde::{Deserialize, Serialize};

use super::files;
use crate::failure::Failure;
use crate::role::article;

/// The file.
pub(super) const FILE: &str = "auth.toml";
/// What stands at its top.
const HEAD: &str = "\
# Who may do what on the bus of this fleet. Written by dsbus auth: add, rotate and revoke change it,
# and write nats/users.conf and what is in users/ from it. There is no secret in it.
";
/// Most users: a server reads all of their permissions at each reload.
const USERS_MAX: usize = 10_000;

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Book {
    /// The fleet.
    pub(super) fleet: FleetName,
    /// Where clients find the servers.
    pub(super) servers: Vec<String>,
    /// Hosts of the nodes of a cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) nodes: Vec<String>,
    /// Clients trust who vouches in `tls/ca.pem`; else whom their machines trust.
    pub(super) ca: bool,
    /// Users.
    #[serde(default, rename = "user")]
    pub(super) users: Vec<User>,
    /// Who was one.
    #[serde(default, rename = "revoked", skip_serializing_if = "Vec::is_empty")]
    pub(super) revoked: Vec<Revoked>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    /// Its name.
    pub(super) name: UserName,
    /// One word.
    pub(super) role: String,
    /// Its public key.
    pub(super) key: String,
    /// The one from before a rotation; it holds, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) old_key: Option<String>,
    /// Of a worker: programs that are event listeners may run there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) listeners: bool,
    /// Of an operator: what it may do; everything, unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) verbs: Option<Vec<String>>,
    /// Of a listener: which events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hears: Option<Filter>,
}

/// A key that holds no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoked {
    /// Whose it was.
    pub(super) name: UserName,
    /// Public key.
    pub(super) key: String,
}

impl User {
    /// A user of this role.
    pub(super) fn new(name: UserName, role: &Role, key: String) -> User {
        let mut user = User {
            name,
            role: role.name().to_owned(),
            key,
            old_key: None,
            listeners: false,
            verbs: None,
            hears: None,
        };
        match role {
            Role::Operator(deeds) if *deeds != Deed::all() => {
                user.verbs = Some(deeds.iter().map(ToString::to_string).collect());
            }
            Role::Worker { listeners, .. } => user.listeners = *listeners,
            Role::Listener(filter) => user.hears = Some(filter.clone()),
            Role::Operator(_) | Role::Scheduler | Role::Gateway | Role::Viewer | Role::Alert(_) => {
            }
        }
        user
    }

    /// What it is.
    ///
    /// # Errors
    /// When that means nothing.
    pub(super) fn role(&self) -> Result<Role, String> {
        let name = self.name.as_str();
        match self.role.as_str() {
            "scheduler" => Ok(Role::Scheduler),
            "gateway" => Ok(Role::Gateway),
            "viewer" => Ok(Role::Viewer),
            "operator" => {
                let Some(verbs) = &self.verbs else { return Ok(Role::Operator(Deed::all())) };
                let read = |verb: &String| {
                    Deed::parse(verb).ok_or_else(|| format!("verbs: {verb:?} is no verb"))
                };
                verbs.iter().map(read).collect::<Result<_, _>>().map(Role::Operator)
            }
            "worker" => {
                let worker = WorkerName::parse(name).map_err(|e| e.to_string())?;
                Ok(Role::Worker { worker, listeners: self.listeners })
            }
            "listener" => Ok(Role::Listener(self.hears.clone().unwrap_or_default())),
            "alert" => Ok(Role::Alert(ProgramName::parse(name).map_err(|e| e.to_string())?)),
            other => Err(format!("role: {other:?} is none")),
        }
    }

    /// The keys that hold, the newest first.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        [Some(&self.key), self.old_key.as_ref()].into_iter().flatten().map(String::as_str)
    }
}

impl Book {
    /// Reads what was decided.
    ///
    /// # Errors
    /// When there is none, it cannot be read, or means nothing.
    pub(super) fn read(directory: &Path) -> Result<Book, Failure> {
        let path = directory.join(FILE);
        let text = files::read(&path).map_err(|e| {
            Failure::failed(format!("cannot read {}: {e}", path.display()))
                .hint("dsbus auth init makes such a directory; --dir names it")
        })?;
        let wrong = |why: String| Failure::failed(format!("{}: {why}", path.display()));
        let book: Book = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        for user in &book.users {
            user.role().map_err(|why| wrong(format!("user {}: {why}", user.name)))?;
            if user.keys().any(|key| nkeys::KeyPair::from_public_key(key).is_err()) {
                return Err(wrong(format!("user {}: holds a key that is none", user.name)));
            }
        }
        Ok(book)
    }

    /// As text.
    ///
    /// # Errors
    /// When it cannot be written as TOML.
    pub(super) fn text(&self) -> Result<String, Failure> {
        let text = toml::to_string(self).map_err(|e| Failure::failed(format!("{FILE}: {e}")))?;
        Ok(format!("{HEAD}\n{text}"))
    }

    /// Adds a user.
    ///
    /// # Errors
    /// When there is one of the name, or no room.
    pub(super) fn add(&mut self, user: User) -> Result<(), Failure> {
        if let Some(there) = self.users.iter().find(|there| there.name == user.name) {
            let (a, role, name) = (article(&there.role), &there.role, &there.name);
            let message = format!("there is {a} {role} of the name {name} already");
            return Err(Failure::failed(message)
                .hint("dsbus auth rotate gives it another key; dsbus auth revoke removes it"));
        }
        let durable = |user: &User| user.role().ok().and_then(|r| r.durable(user.name.as_str()));
        if let Some(own) = durable(&user)
            && let Some(there) =
                self.users.iter().find(|there| durable(there).as_ref() == Some(&own))
        {
            let message =
                format!("the {} {} reads events by the name {own}", there.role, there.name);
            return Err(Failure::failed(message).hint("give it another name"));
        }
        if self.users.len() >= USERS_MAX {
            return Err(Failure::failed(format!("there are {USERS_MAX} users already")));
        }
        self.users.push(user);
        Ok(())
    }

    /// The user of a name.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn user(&mut self, name: &UserName) -> Result<&mut User, Failure> {
        let known: Vec<String> = self.users.iter().map(|user| user.name.to_string()).collect();
        self.users.iter_mut().find(|user| user.name == *name).ok_or_else(|| {
            Failure::failed(format!("there is no user {name}"))
                .hint(format!("there are {}", known.join(", ")))
        })
    }

    /// What nobody does any more once a user is revoked; `None` where somebody else does all that it
    /// may.
    pub(super) fn lost_with(&self, user: &User) -> Option<&'static str> {
        let rest = self.users.iter().filter(|other| other.name != user.name);
        let mut peers = rest.filter(|other| other.role == user.role);
        match user.role.as_str() {
            "scheduler" if peers.next().is_none() => Some(
                "the last scheduler: without one no command is answered, nothing is placed, and \
                 nothing is moved off a worker that is lost",
            ),
            "operator" if user.verbs.is_none() && peers.all(|other| other.verbs.is_some()) => Some(
                "the last operator that may do everything: without one nobody changes the fleet",
            ),
            _ => None,
        }
    }

    /// What a user may do.
    pub(super) fn permissions(&self, user: &User) -> Permissions {
        let role = |user: &User| user.role().unwrap_or(Role::Viewer);
        let durable = |other: &User| {
            let own = role(other).durable(other.name.as_str());
            own.filter(|_| other.name != user.name)
        };
        let durables: Vec<String> = self.users.iter().filter_map(durable).collect();
        permissions(&self.fleet, user.name.as_str(), &role(user), &durables)
    }

    /// Keys of schedulers: what they sign is believed.
    pub(super) fn signers(&self) -> impl Iterator<Item = (&UserName, &str)> {
        let schedulers = self.users.iter().filter(|user| user.role == "scheduler");
        schedulers.flat_map(|user| user.keys().map(|key| (&user.name, key)))
    }
}

/// Where a user's folder is.
pub(super) fn folder(directory: &Path, name: &UserName) -> PathBuf {
    directory.join("users").join(name.as_str())
}
