//! Sockets that the worker listens on for its children. They stay open while an instance is placed
//! here, over all restarts of its child, so that no connection is refused meanwhile.

mod bind;
mod handover;
mod place;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};

use dsbus_schema::ids::{InstanceId, ProgramName};
use dsbus_schema::program::expand::{Variables, expand};
use dsbus_schema::program::{ProgramSpec, SocketAddress};
use serde::{Deserialize, Serialize};

use crate::users::Accounts;
use bind::{Listener, Rights};

pub(crate) use handover::SocketsLeft;

/// All sockets of this worker.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// By program, too: what two programs ask for is not shared, but in use.
    open: BTreeMap<(ProgramName, SocketAddress), Listener>,
    given: BTreeMap<InstanceId, Given>,
}

/// What one instance has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Given {
    stdin: Option<SocketAddress>,
    listen: Vec<SocketAddress>,
}

impl Given {
    fn all(&self) -> impl Iterator<Item = &SocketAddress> {
        self.stdin.iter().chain(&self.listen)
    }
}

/// A socket from descriptor 3 on, with its name in `LISTEN_FDNAMES`.
#[derive(Debug)]
pub(crate) struct Passed<'a> {
    pub(crate) name: String,
    pub(crate) socket: BorrowedFd<'a>,
}

impl Sockets {
    /// Opens what the instance asks for. What is open already gets the rights and the backlog that
    /// are declared now, if that is possible. Sockets that it no longer
    /// asks for are closed. To be called before each start of its child.
    ///
    /// # Errors
    /// A sentence that says which socket cannot be had, and why; what was open before stays open.
    pub(crate) fn acquire(
        &mut self,
        spec: &ProgramSpec,
        name: &InstanceId,
        variables: &Variables,
        accounts: &Accounts,
    ) -> Result<(), String> {
        if spec.socket.is_none() && spec.listen.is_empty() {
            self.release(name);
            return Ok(());
        }
        let address = |key: &str, declared: &SocketAddress| {
            expand(&declared.to_string(), variables)
                .and_then(|text| text.parse::<SocketAddress>())
                .map_err(|why| format!("{key} {declared}: {why}"))
        };
        let wanted = Given {
            stdin: spec.socket.as_ref().map(|declared| address("socket", declared)).transpose()?,
            listen: spec.listen.iter().map(|a| address("listen", a)).collect::<Result<_, _>>()?,
        };
        let owner = spec.socket_owner.as_ref().or(spec.user.as_ref());
        let owner = owner.map(|text| accounts.find(text)).transpose()?;
        for address in wanted.all() {
            let key = (name.program.clone(), address.clone());
            let rights = Rights::of(spec, owner.as_ref());
            if let Some(listener) = self.open.get_mut(&key) {
                if let Err(why) = listener.obey(rights) {
                    tracing::warn!("{name}: {address} stays as it was: {why}");
                }
                continue;
            }
            let listener = Listener::open(address, rights);
            let listener = listener.inspect_err(|_| self.close_unused())?;
            self.open.insert(key, listener);
        }
        self.given.insert(name.clone(), wanted);
        self.close_unused();
        Ok(())
    }

    /// The instance is gone from this worker; what nobody else has is closed.
    pub(crate) fn release(&mut self, name: &InstanceId) {
        if self.given.remove(name).is_some() {
            self.close_unused();
        }
    }

    fn close_unused(&mut self) {
        let given = &self.given;
        self.open.retain(|(program, address), _| {
            given.iter().any(|(name, has)| {
                name.program == *program && has.all().any(|used| used == address)
            })
        });
    }

    /// What the child finds as standard input.
    pub(crate) fn stdin(&self, name: &InstanceId) -> Option<BorrowedFd<'_>> {
        self.socket(name, self.given.get(name)?.stdin.as_ref()?)
    }

    /// What the child finds from descriptor 3 on.
    pub(crate) fn passed(&self, name: &InstanceId) -> Vec<Passed<'_>> {
        let listen = self.given.get(name).map(|given| given.listen.as_slice()).unwrap_or_default();
        let passed = |address: &SocketAddress| {
            Some(Passed { name: short(address), socket: self.socket(name, address)? })
        };
        listen.iter().filter_map(passed).collect()
    }

    fn socket(&self, name: &InstanceId, address: &SocketAddress) -> Option<BorrowedFd<'_>> {
        Some(self.open.get(&(name.program.clone(), address.clone()))?.as_fd())
    }
}

/// The last part of a path, or the port. A colon parts the names from each other, and no name may
/// be longer than 255 bytes (`sd_listen_fds_with_names(3)`); a path is never that long.
fn short(address: &SocketAddress) -> String {
    let last = match address {
        SocketAddress::Unix(path) => path.rsplit('/').next(),
        SocketAddress::Tcp(address) => address.rsplit(':').next(),
    };
    let fine = |c: char| if c.is_ascii_graphic() && c != ':' { c } else { '_' };
    last.unwrap_or_default().chars().map(fine).collect()
}

#[cfg(test)]
mod tests;
