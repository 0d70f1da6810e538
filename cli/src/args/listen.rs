//! Command line of `dsbus listen`.

use std::ffi::OsString;

use clap::{Args as Group, ValueEnum};
use dsbus_schema::ids::ProgramName;
use dsbus_schema::lenient::Span;
use dsbus_schema::program::{BUFFER_SIZE_MAX, EventName};
use uuid::Uuid;

use super::Format;
use super::moment::Moment;

/// Most listeners of one pool.
const POOL_MAX: i64 = 1_000;

/// What comes after the options.
pub(super) const LISTEN: &str = "\
EVENTS are Supervisor's; a name stands for all that is below it:
  EVENT
    PROCESS_STATE          _STARTING _RUNNING _BACKOFF _STOPPING _EXITED
                           _STOPPED _FATAL _UNKNOWN
    PROCESS_LOG            _STDOUT _STDERR (programs with stdout_events_enabled)
    PROCESS_COMMUNICATION  _STDOUT _STDERR (with stdout_capture_maxbytes)
    PROCESS_GROUP          _ADDED _REMOVED
    REMOTE_COMMUNICATION   what dsbus emit says
    TICK                   _5 _60 _3600
    SUPERVISOR_STATE_CHANGE  _RUNNING _STOPPING (workers)

The command says READY on standard output, reads an event on standard input, and
answers RESULT 2, a line end, OK. Then the event is done; any other answer, or the
end of the command, makes it come again, first and with the same serial, to
whichever member of the pool is free. Nothing is lost while no listener runs: the
events wait on the bus, for as long as the fleet keeps events.
What leaves the protocol is ended and started anew; that is logged, and is an event
(dsbus events -t listener).

  dsbus listen -e PROCESS_STATE_EXITED -- python3 alert.py
  dsbus listen -e PROCESS_STATE,TICK_60 --server-url http://127.0.0.1:9001 \\
      -- crashmailbatch -t ops@example.com -f dsbus@example.com
  dsbus listen --list
  dsbus listen --forget alert-a1b2c3

To have it run by the fleet, and go on when its worker is lost, declare it as
[eventlistener.NAME] with these keys: events, command (dsbus apply).

Exit codes: 0 stopped by SIGTERM, SIGINT, SIGQUIT or SIGHUP, after the events in
hand were answered or handed back; 1 the command cannot be started, or a listener of
its name runs with --share and it without, or the other way round; 2 usage; 4 the
bus refuses. USR1 and USR2 are passed on to the command.";

/// `dsbus listen`.
#[derive(Debug, Group)]
pub(crate) struct Listen {
    /// Which events; several with commas
    #[arg(
        short,
        long,
        value_name = "EVENTS",
        value_delimiter = ',',
        default_value = "PROCESS_STATE",
        value_parser = event
    )]
    pub(crate) events: Vec<EventName>,
    /// How many processes of the command; each event goes to one that is free
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=POOL_MAX))]
    pub(crate) pool: u16,
    /// Its name: where it stands in the events is kept under it. Made of the command and EVENTS
    /// unless set
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<ProgramName>,
    /// Share the events with all that listen under the same name and --share, each event to one of
    /// them, in no order between them. Without it one of them hears everything, in order, and the
    /// others stand by
    #[arg(long)]
    pub(crate) share: bool,
    /// Begin at this time, or so long ago: 2h, 10:00, 2026-11-26T10:00Z. Only when nobody has listened
    /// under this name yet, else it goes on where that ended. Unset: from now on
    #[arg(long, value_name = "WHEN", conflicts_with = "from_seq")]
    pub(crate) since: Option<Moment>,
    /// Begin with this sequence; 1 is everything that is kept. As --since
    #[arg(long, value_name = "N")]
    pub(crate) from_seq: Option<u64>,
    /// Most events that are on their way to the command at once; the others wait on the bus
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(BUFFER_SIZE_MAX)))]
    pub(crate) buffer_size: Option<u16>,
    /// How long a process must live before it is given events
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub(crate) startsecs: Span,
    /// How long a stop may take: half of it for answers that are due, then SIGTERM, at last SIGKILL
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(crate) stopwaitsecs: Span,
    /// What the `server` token of each event says; the name of the fleet unless set
    #[arg(long, value_name = "NAME", value_parser = token)]
    pub(crate) identifier: Option<String>,
    /// `SUPERVISOR_SERVER_URL` of the command, which superlance refuses to start without. Nobody
    /// answers there by itself: dsbus has no XML-RPC gateway yet
    #[arg(long, value_name = "URL")]
    pub(crate) server_url: Option<String>,
    /// What the `len` token counts
    #[arg(long, value_enum, default_value_t)]
    pub(crate) len: Len,
    /// Add what Supervisor does not know after its own tokens of a payload: worker, epoch, exitcode,
    /// signal
    #[arg(long)]
    pub(crate) extra_tokens: bool,
    /// Show who listens, whatever by: where each stands in the events, and whether somebody reads
    #[arg(long, conflicts_with_all = ["command", "forget"])]
    pub(crate) list: bool,
    /// Forget where a listener stands that does not run any more, by its name in --list: the next one
    /// of its name begins anew. What is removed as a program is forgotten by itself
    #[arg(long, value_name = "LISTENER", conflicts_with = "command", value_parser = ProgramName::parse)]
    pub(crate) forget: Option<ProgramName>,
    /// How the list is printed
    #[arg(short, long, value_enum, default_value_t, requires = "list")]
    pub(crate) output: Format,
    /// As a worker runs it: for the program of this identity; it ends when its command does
    #[arg(long, value_name = "UUID", hide = true)]
    pub(crate) supervised: Option<Uuid>,
    /// The listener, after --
    #[arg(last = true, required_unless_present_any = ["list", "forget"], value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// What `len` counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Len {
    /// Characters, as Supervisor does: for whoever reads text, such as Python 3. Line ends are \n.
    #[default]
    Chars,
    /// Bytes, as Supervisor's manual says: for whoever reads bytes.
    Bytes,
}

fn event(text: &str) -> Result<EventName, String> {
    text.parse::<EventName>().map_err(|unknown| unknown.to_string())
}

/// A value of a token: Supervisor's listeners split at blanks and colons.
fn token(text: &str) -> Result<String, String> {
    let fits = |c: char| !c.is_whitespace() && c != ':' && !c.is_control();
    if text.is_empty() || !text.chars().all(fits) {
        return Err("must not be empty, and has no blank and no colon".to_owned());
    }
    Ok(text.to_owned())
}
