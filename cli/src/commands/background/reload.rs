//! A worker takes over what is new: its file, and the version of dsbus at its path.

use std::path::Path;
use std::time::Duration;

use dsbus_client::read_limited_text;
use dsbus_schema::lenient::Span;
use dsbus_supervisor::RELOADED;
use rustix::process::Signal;

use super::Daemon;
use super::holder::Holder;
use super::launch::now;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;

/// Between two looks at what the worker says.
const LOOK: Duration = Duration::from_millis(50);
/// Longer is nothing that it says, in bytes.
const TEXT_BYTES_MAX: u64 = 64 << 10;

/// Sends HUP, and waits until the worker has said what became of it.
///
/// # Errors
/// When that is not what was asked for, or is not said in time.
pub(super) fn run(daemon: &Daemon, holder: &Holder, limit: Span) -> Result<Code, Failure> {
    let (what, pid) = (daemon.what, holder.pid);
    let path = daemon.pidfile.with_file_name(RELOADED);
    let see = || format!("see {}", daemon.log_of(pid).unwrap_or_default().display());
    let before = said(&path);
    holder.signal(Signal::HUP).map_err(|e| {
        Failure::failed(format!("the {what} (pid {pid}) cannot be told to reload: {e}"))
    })?;
    let until = now()? + limit.0;
    loop {
        let ended = holder.ended_within(LOOK)?;
        if let Some(said) = said(&path).filter(|said| Some(said) != before.as_ref()) {
            let (ok, how) = outcome(&said);
            if ok {
                output::success(format_args!("the {what} (pid {pid}) {how}"))?;
                return Ok(Code::Done);
            }
            return Err(Failure::failed(how.to_owned()).hint(see()));
        }
        if ended {
            return Err(Failure::failed(format!("the {what} (pid {pid}) has ended")).hint(see()));
        }
        if now()? >= until {
            let why = format!("the {what} (pid {pid}) has not said within {limit} what came of it");
            return Err(Failure::new(Code::TimedOut, why).hint(see()));
        }
    }
}

fn said(path: &Path) -> Option<String> {
    read_limited_text(path, TEXT_BYTES_MAX).ok()
}

/// Whether it went well, and what happened.
fn outcome(said: &str) -> (bool, &str) {
    let mut words = said.trim_end().splitn(3, ' ').skip(1);
    (words.next() == Some("ok"), words.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_it_is_read() {
        assert_eq!(outcome("7 ok took over from 1\n"), (true, "took over from 1"));
        assert_eq!(outcome("8 failed no file\n"), (false, "no file"));
        assert_eq!(outcome(""), (false, ""));
    }
}
