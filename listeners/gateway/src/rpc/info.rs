//! `getProcessInfo` and `getAllProcessInfo`. Written right into the answer: these are what tools ask
//! for all the time, of all processes. Pure.

use std::borrow::Cow;
use std::fmt::Write;

use dsbus_schema::moment::Timestamp;
use dsbus_schema::state::{Exit, State};
use jiff::tz::TimeZone;

use super::value::{Value, escape};
use crate::processes::Process;

/// Bytes of a process in an answer, more or less.
const BYTES: usize = 1100;

/// When this is said, and in which time zone.
#[derive(Debug)]
pub(super) struct Moment {
    /// When.
    pub(super) now: Timestamp,
    /// Where.
    pub(super) zone: TimeZone,
}

/// A process.
pub(super) fn one(process: &Process, moment: &Moment) -> Value {
    let mut xml = String::with_capacity(BYTES);
    write(process, moment, &mut xml);
    Value::Written(xml)
}

/// All of them.
pub(super) fn all<'a>(
    processes: impl ExactSizeIterator<Item = &'a Process>,
    moment: &Moment,
) -> Value {
    let mut xml = String::with_capacity(processes.len() * BYTES + 100);
    xml.push_str("<value><array><data>\n");
    for process in processes {
        write(process, moment, &mut xml);
        xml.push('\n');
    }
    xml.push_str("</data></array></value>");
    Value::Written(xml)
}

fn write(process: &Process, moment: &Moment, xml: &mut String) {
    let row = &process.row;
    let since = row.since.map_or(0, seconds);
    let (start, stop) = match row.state {
        State::Starting | State::Running | State::Stopping => (since, 0),
        // When it was started is not known any more; that it was is what tools look for.
        State::Backoff | State::Fatal => (since, since),
        State::Stopped | State::Exited | State::Unknown if row.exit.is_some() => (since, since),
        State::Pending | State::Stopped | State::Exited | State::Unknown => (0, 0),
    };
    let description = process.description(moment.now, &moment.zone);
    let exitstatus = if row.pid.is_some() { 0 } else { row.exit.map_or(0, exitstatus) };
    let spawnerr = match row.state {
        State::Backoff | State::Fatal if row.exit.is_some() || row.spawnerr.is_some() => {
            Cow::Borrowed(description.as_str())
        }
        // Supervisor says this of an exit code that is not among `exitcodes`.
        State::Exited if !row.ok => format!("Bad exit code {exitstatus}").into(),
        _ => Cow::Borrowed(""),
    };
    let stdout = row.stdout_logfile.as_deref().unwrap_or("");
    let stderr = row.stderr_logfile.as_deref().filter(|_| !process.redirected).unwrap_or("");
    xml.push_str("<value><struct>\n");
    text("name", &process.name, xml);
    text("group", &process.group, xml);
    number("start", start, xml);
    number("stop", stop, xml);
    number("now", seconds(moment.now), xml);
    number("state", row.state.code().into(), xml);
    text("statename", row.state.name(), xml);
    text("spawnerr", &spawnerr, xml);
    number("exitstatus", exitstatus, xml);
    text("logfile", stdout, xml);
    text("stdout_logfile", stdout, xml);
    text("stderr_logfile", stderr, xml);
    number("pid", row.pid.unwrap_or(0).into(), xml);
    text("description", &description, xml);
    xml.push_str("</struct></value>");
}

/// Supervisor's number: -1 for a signal.
fn exitstatus(exit: Exit) -> i64 {
    exit.code.map_or(-1, i64::from)
}

/// Whole seconds since 1970, as much as fits into an `int` of XML-RPC, which Supervisor caps, too.
fn seconds(at: Timestamp) -> i64 {
    let seconds = at.unix_nanos() / 1_000_000_000;
    i64::from(i32::try_from(seconds).unwrap_or(i32::MAX))
}

fn text(key: &str, value: &str, xml: &mut String) {
    xml.push_str("<member><name>");
    xml.push_str(key);
    xml.push_str("</name><value><string>");
    escape(value, xml);
    xml.push_str("</string></value></member>\n");
}

fn number(key: &str, value: i64, xml: &mut String) {
    // Writing to text does not fail.
    let _ = writeln!(xml, "<member><name>{key}</name><value><int>{value}</int></value></member>");
}
