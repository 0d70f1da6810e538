//! The child of all that is measured: it says first that it runs, and since when, so that every
//! side is seen by the same eye. `bench-witness SOCKET TAG [COMMAND...]`; without a command it
//! rests until it is killed.

use std::error::Error;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};

fn main() -> Result<(), Box<dyn Error>> {
    // Before anything else: the time of its saying is not part of what is measured.
    let at = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    // It outlives nobody who was killed by a bench that failed.
    set_pdeathsig(Signal::SIGKILL)?;
    let mut words = std::env::args_os().skip(1);
    let (Some(socket), Some(tag)) = (words.next(), words.next()) else {
        return Err("usage: bench-witness SOCKET TAG [COMMAND...]".into());
    };
    let said = format!("{} {} {}", tag.display(), std::process::id(), at.as_nanos());
    UnixDatagram::unbound()?.send_to(said.as_bytes(), socket)?;
    match words.next() {
        Some(program) => Err(Command::new(program).args(words).exec().into()),
        None => loop {
            nix::unistd::pause();
        },
    }
}
