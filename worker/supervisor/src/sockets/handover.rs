//! Sockets at a change of the worker's version: they stay open, and no connection is refused.

use std::os::fd::RawFd;

use dsbus_schema::ids::{InstanceId, ProgramName};
use dsbus_schema::program::SocketAddress;
use serde::{Deserialize, Serialize};

use super::bind::{Listener, Rights};
use super::place::Bound;
use super::{Given, Sockets};
use crate::handover::{Passing, Taking};

/// All sockets, as they are left.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct SocketsLeft {
    open: Vec<ListenerLeft>,
    given: Vec<(InstanceId, Given)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ListenerLeft {
    program: ProgramName,
    address: SocketAddress,
    socket: RawFd,
    path: Option<Bound>,
    rights: Rights,
}

impl Sockets {
    pub(crate) fn hand_over(&self, passing: &mut Passing) -> SocketsLeft {
        let open = self.open.iter().map(|((program, address), listener)| ListenerLeft {
            program: program.clone(),
            address: address.clone(),
            socket: passing.pass(listener),
            path: listener.path.clone(),
            rights: listener.rights,
        });
        let open = open.collect();
        let given = self.given.iter().map(|(name, given)| (name.clone(), given.clone())).collect();
        SocketsLeft { open, given }
    }

    pub(crate) fn take_over(left: SocketsLeft, taking: &mut Taking) -> Result<Sockets, String> {
        let mut sockets = Sockets { given: left.given.into_iter().collect(), ..Sockets::default() };
        for ListenerLeft { program, address, socket, path, rights } in left.open {
            let listener = Listener { socket: taking.take(socket)?, path, rights };
            sockets.open.insert((program, address), listener);
        }
        Ok(sockets)
    }
}
