//! Prints lines at a pace: `bench-pacer MB_PER_SECOND`, in steps of 5 ms, until it is killed. A write
//! that comes late is followed by more, so that the pace is kept on a busy machine.

use std::error::Error;
use std::io::{Write, stdout};
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};

const STEP: Duration = Duration::from_millis(5);
const LINE: &[u8] = b"2026-01-01 00:00:00 INFO a line of a log, of the length that lines have\n";

fn main() -> Result<(), Box<dyn Error>> {
    set_pdeathsig(Signal::SIGKILL)?;
    let pace: u32 = std::env::args().nth(1).ok_or("usage: bench-pacer MB_PER_SECOND")?.parse()?;
    let step: Vec<u8> = LINE.repeat(usize::try_from(pace)? * 1_000_000 / 200 / LINE.len());
    let now = || clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    let mut due = now()?;
    loop {
        due += STEP;
        while let Some(left) = due.checked_sub(now()?).filter(|left| !left.is_zero()) {
            std::thread::park_timeout(left);
        }
        stdout().write_all(&step)?;
    }
}
