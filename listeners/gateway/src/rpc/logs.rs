//! Reading logs by offset, as Supervisor does: of the file that is written now.

use std::time::Duration;

use dsbus_client::Error;
use dsbus_schema::call::{
    Channel, LOG_BYTES_MAX, LogPlace, LogWindow, WindowAsk, WindowFrom, WorkerVerb,
};
use dsbus_schema::command::code;
use dsbus_schema::ids::{InstanceId, WorkerName};

use super::call::{Desk, Params};
use super::fault::{Faults, Wrong};
use super::value::Value;
use crate::fleet::Fleet;
use crate::processes::Process;

/// Most bytes of a log in one answer: they are in memory several times, and each
/// [`LOG_BYTES_MAX`] of them are asked for apart.
const BYTES_MAX: u64 = 8 << 20;
/// How long a worker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A log.
#[derive(Debug)]
pub(super) struct Log {
    /// Where it is.
    pub(super) worker: WorkerName,
    /// Whose; nobody's is the worker's own.
    pub(super) name: Option<InstanceId>,
    /// Which.
    pub(super) channel: Channel,
    /// What it is called in a fault.
    path: Option<String>,
}

/// A part of a log.
#[derive(Debug)]
pub(super) struct Window {
    /// How long the file is.
    size: u64,
    /// The bytes.
    pub(super) bytes: Vec<u8>,
    /// Where output goes on.
    pub(super) next: LogPlace,
}

/// Why there is no part of a log.
#[derive(Debug)]
pub(super) enum Unread {
    /// There is no such file.
    NoFile,
    /// That is too much at once.
    TooMuch,
    /// Its worker did not answer well.
    Failed(Error),
}

impl Log {
    /// Of a process, if it can have one now.
    pub(super) fn of(process: &Process, channel: Channel) -> Option<Log> {
        let row = &process.row;
        let path = match channel {
            Channel::Stderr if process.redirected => return None,
            Channel::Stdout => row.stdout_logfile.clone(),
            Channel::Stderr => row.stderr_logfile.clone(),
        };
        let worker = row.worker.clone()?;
        Some(Log { worker, name: Some(row.name.clone()), channel, path })
    }

    /// A worker's own.
    pub(super) fn of_worker(worker: WorkerName) -> Log {
        Log { worker, name: None, channel: Channel::Stdout, path: None }
    }

    /// Reads so many bytes, in as many answers as it takes.
    ///
    /// # Errors
    /// See [`Unread`].
    pub(super) async fn read(
        &self,
        fleet: &Fleet,
        from: WindowFrom,
        bytes: u64,
    ) -> Result<Window, Unread> {
        let mut from = from;
        let (mut read, mut wanted) = (Vec::new(), bytes);
        loop {
            let ask = WindowAsk {
                name: self.name.clone(),
                channel: self.channel,
                from,
                bytes: wanted.min(LOG_BYTES_MAX as u64),
            };
            let verb = WorkerVerb::LogWindow;
            let answer: Result<LogWindow, Error> =
                fleet.bus().call_worker(&self.worker, verb, &ask, ANSWER_MAX).await;
            let LogWindow { offset, size, part } = match answer {
                Ok(window) => window,
                Err(Error::Refused { code: code::NOT_FOUND, .. }) => return Err(Unread::NoFile),
                Err(e) => return Err(Unread::Failed(e)),
            };
            if wanted.min(size - offset.min(size)) + read.len() as u64 > BYTES_MAX {
                return Err(Unread::TooMuch);
            }
            let next = part.next;
            let output = part.into_output();
            let (here, end) = (output.len() as u64, offset + output.len() as u64);
            read.extend(output);
            wanted = wanted.saturating_sub(here);
            if here == 0 || wanted == 0 || end >= size {
                return Ok(Window { size, bytes: read, next });
            }
            from = WindowFrom::Offset(end);
        }
    }
}

impl Unread {
    fn wrong(self, path: Option<&str>) -> Wrong {
        match (self, path) {
            (Unread::NoFile, Some(path)) => Faults::NoFile.about(path),
            (Unread::NoFile, None) => Faults::NoFile.bare(),
            (Unread::TooMuch, _) => Faults::Failed
                .about(format!("more than {} MiB at once; ask for parts", BYTES_MAX >> 20)),
            (Unread::Failed(e), _) => Faults::Failed.about(e),
        }
    }
}

/// Methods that read logs.
pub(super) async fn call(desk: &Desk, method: &str, params: &Params) -> Result<Value, Wrong> {
    match method {
        "readProcessLog" | "readProcessStdoutLog" => read(desk, params, Channel::Stdout).await,
        "readProcessStderrLog" => read(desk, params, Channel::Stderr).await,
        "tailProcessLog" | "tailProcessStdoutLog" => tail(desk, params, Channel::Stdout).await,
        "tailProcessStderrLog" => tail(desk, params, Channel::Stderr).await,
        "readLog" | "readMainLog" => {
            // A fleet has none: each daemon writes its own, on its machine.
            let log = desk.worker.clone().map(Log::of_worker);
            part(desk, log, params, 0).await
        }
        "clearLog" if desk.worker.is_none() => Err(Faults::NoFile.bare()),
        "clearLog" => Err(Faults::Failed.about("a worker's own log is not emptied from afar")),
        _ => Err(Faults::UnknownMethod.bare()),
    }
}

async fn read(desk: &Desk, params: &Params, channel: Channel) -> Result<Value, Wrong> {
    let one = desk.view()?.one(params.text(0)?)?;
    part(desk, Log::of(&one, channel), params, 1).await
}

/// A part of a log; its offset and length stand at this place among the arguments.
async fn part(desk: &Desk, log: Option<Log>, params: &Params, at: usize) -> Result<Value, Wrong> {
    let Some(log) = log else { return Err(Faults::NoFile.bare()) };
    let read = async |from, bytes| {
        let read = log.read(&desk.fleet, from, bytes).await;
        read.map_err(|unread| unread.wrong(log.path.as_deref()))
    };
    // Supervisor looks for the file before it looks at the numbers.
    let window = match asked(params.int(at)?, params.int(at + 1)?) {
        Some((from, bytes)) => read(from, bytes).await?,
        None => {
            read(WindowFrom::Last(0), 0).await?;
            return Err(Faults::BadArguments.bare());
        }
    };
    Ok(text(&window.bytes).into())
}

/// What an offset and a length mean; nothing where they mean nothing.
fn asked(offset: i64, length: i64) -> Option<(WindowFrom, u64)> {
    let magnitude = offset.unsigned_abs();
    match (offset < 0, length) {
        (true, 0) => Some((WindowFrom::Last(magnitude), magnitude)),
        (false, 0) => Some((WindowFrom::Offset(magnitude), u64::MAX)),
        (false, 1..) => Some((WindowFrom::Offset(magnitude), length.unsigned_abs())),
        (_, _) => None,
    }
}

async fn tail(desk: &Desk, params: &Params, channel: Channel) -> Result<Value, Wrong> {
    let one = desk.view()?.one(params.text(0)?)?;
    let (offset, length) = (params.int(1)?, params.int(2)?);
    let nothing = || Value::Array(vec!["".into(), 0.into(), false.into()]);
    let Some(log) = Log::of(&one, channel) else { return Ok(nothing()) };
    let bytes = u64::try_from(length).unwrap_or(0);
    let window = match log.read(&desk.fleet, WindowFrom::Last(bytes), bytes).await {
        Ok(window) => window,
        Err(Unread::NoFile) => return Ok(nothing()),
        Err(unread) => return Err(unread.wrong(log.path.as_deref())),
    };
    let size = i64::try_from(window.size).unwrap_or(i64::MAX);
    // As Supervisor: what is there from the offset on does not matter, but for whether there is any.
    let overflow = size > offset.saturating_add(length);
    let said = if overflow || offset < size { text(&window.bytes) } else { String::new() };
    Ok(Value::Array(vec![said.into(), size.into(), overflow.into()]))
}

/// Bytes as text. A window may begin or end within a character; Supervisor answers that with 500.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_offset_and_length_mean() {
        for (offset, length, meaning) in [
            (-5, 0, Some((WindowFrom::Last(5), 5))),
            (0, 0, Some((WindowFrom::Offset(0), u64::MAX))),
            (7, 0, Some((WindowFrom::Offset(7), u64::MAX))),
            (7, 3, Some((WindowFrom::Offset(7), 3))),
            (-5, 1, None),
            (-5, -1, None),
            (0, -1, None),
            (7, -1, None),
        ] {
            assert_eq!(asked(offset, length), meaning, "{offset} {length}");
        }
    }
}
