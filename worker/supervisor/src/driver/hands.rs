//! What people do to a child that lives: they send it a signal, or write to its standard input. Only the
//! child that they mean hears of it: a request that comes late does not reach its successor.

use dsbus_schema::call::{Channel, SignalAsk, SignalSent, StdinAsk, StdinTaken};
use dsbus_schema::event::{Notice, NoticeFact};
use dsbus_schema::ids::{Epoch, InstanceId, UserName};
use dsbus_schema::program::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::Driver;
use crate::children::{Life, Living};
use crate::clock::Now;
use crate::protocol::{Handed, NotHanded};

/// A deed of a person that is told.
struct Deed<'a> {
    name: &'a InstanceId,
    pid: i32,
    change: Notice,
    signal: Option<Signal>,
    by: UserName,
    reason: String,
}

impl Driver {
    /// Sends a signal to the main process of a child.
    pub(super) fn signal_child(&mut self, ask: SignalAsk, now: Now) -> Result<Handed, NotHanded> {
        let SignalAsk { name, epoch, pid, signal, by } = ask;
        self.meant(&name, epoch, pid)?;
        // Its number is not given to another process before it is reaped, which is done by this thread.
        if let Err(e) = kill(Pid::from_raw(pid), None) {
            let why = format!("{name} (pid {pid}) may not be signalled: {e}");
            return Err(NotHanded::Refused(why));
        }
        let others = self.others();
        self.children.signal(&name, pid, signal.number(), false, &others);
        let reason = format!("{signal} sent by {by}");
        let (change, some) = (Notice::Signalled, Some(signal));
        self.tell_deed(Deed { name: &name, pid, change, signal: some, by, reason }, now);
        Ok(Handed::Sent(SignalSent { name, pid, signal }))
    }

    /// Writes to the standard input of a child, or closes it.
    pub(super) fn write_stdin(&mut self, ask: StdinAsk, now: Now) -> Result<Handed, NotHanded> {
        let bytes = ask.bytes().map_err(NotHanded::Refused)?;
        let StdinAsk { name, epoch, pid, writer, offset, eof, by, .. } = ask;
        let living = self.meant(&name, epoch, pid)?;
        let Some(stdin) = &mut living.stdin else {
            let why = format!(
                "{name} has no standard input: its program does not say stdin = true (a change takes a restart)"
            );
            return Err(NotHanded::Refused(why));
        };
        let was_closed = stdin.is_closed();
        let through = stdin.write(writer, offset, &bytes, eof);
        let closed = stdin.is_closed();
        let through = through.map_err(|why| {
            NotHanded::Refused(format!("the standard input of {name} (pid {pid}) {why}"))
        })?;
        if closed && !was_closed {
            let reason = format!("its standard input was closed by {by}");
            let change = Notice::StdinClosed;
            self.tell_deed(Deed { name: &name, pid, change, signal: None, by, reason }, now);
        }
        Ok(Handed::Taken(StdinTaken { name, through, closed }))
    }

    /// The child that is meant, if it lives.
    fn meant(
        &mut self,
        name: &InstanceId,
        epoch: Epoch,
        pid: i32,
    ) -> Result<&mut Living, NotHanded> {
        let is = |living: &&mut Living| {
            let lives = matches!(living.life, Life::Living | Life::Forking);
            living.child.name == *name && living.child.epoch == epoch && lives
        };
        let gone = || NotHanded::Gone(format!("{name} has no process {pid} (any more)"));
        self.children.by_pid(pid).filter(is).ok_or_else(gone)
    }

    fn tell_deed(&mut self, deed: Deed<'_>, now: Now) {
        let Deed { name, pid, change, signal, by, reason } = deed;
        tracing::info!("{name} (pid {pid}): {reason}");
        let of = self.speaker(name, pid, Channel::Stdout);
        let fact = NoticeFact { signal, by: Some(by), ..self.notice(of, change, reason) };
        self.tell_notice(fact, now);
    }
}
