//! `dsbus listen -- CMD`

mod name;
mod places;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::{NonZeroU8, NonZeroU16};
use std::time::Duration;

use dsbus_bridge::frame::{self, Tokens};
use dsbus_bridge::pool::{Ended, Rules};
use dsbus_bridge::{BusSource, Control, End, Options, Program, Subscription};
use dsbus_client::{Begin, Bus, DurableOptions, Share};
use dsbus_schema::ids::{ProgramId, ProgramName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::program;
use dsbus_schema::storage::{Bucket, listener_consumer};
use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::{self, Config};
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::{args, clock, connection, role};

/// Most events on their way where nobody says how many: enough that a listener that takes 20,000 a
/// second never waits for the bus, and few enough that others of its name get their share.
const WINDOW: NonZeroU16 = NonZeroU16::new(512).unwrap();
/// Clocks of schedulers and of NATS servers may differ by so much; a program that is declared hears
/// rather a little of what was before it than nothing of what came at once.
const CLOCKS_DIFFER: Duration = Duration::from_secs(5);
/// A shell's rule for whoever was ended by a signal.
const SIGNAL_CODE: i32 = 128;
/// Signals that wait; a person sends one or two.
const SIGNALS_MAX: usize = 16;
/// What superlance and others look for before they begin.
const SERVER_URL: &str = "SUPERVISOR_SERVER_URL";

/// Runs a listener until it is told to stop; or looks after where listeners stand.
///
/// # Errors
/// When the command cannot be started, or the bus refuses.
pub(super) fn run(config: &Config, args: args::Listen) -> Result<Code, Failure> {
    if args.list {
        return connection::run(places::list(config, args.output));
    }
    if let Some(name) = &args.forget {
        return connection::run(places::forget(config, name));
    }
    // A worker runs listeners that are programs by its own key.
    role::must_be(config, &["listener", "worker"], "listener")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let supervised = args.supervised.is_some();
    let ended = runtime.block_on(listen(config, args));
    runtime.shutdown_background();
    match ended? {
        End::Stopped => Ok(Code::Done),
        End::Over(ended) => Ok(code(&ended)),
        End::NotStarted(why) => {
            let failure = Failure::failed(format!("the listener cannot be started: {why}"));
            Err(if supervised {
                failure
            } else {
                failure.hint("behind -- stands a program that is on PATH here, or its whole path")
            })
        }
        End::Refused(why) => Err(Failure::new(Code::Unreachable, why)),
    }
}

async fn listen(config: &Config, args: args::Listen) -> Result<End, Failure> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name::made_of(&args.command, &args.events).map_err(Failure::usage)?,
    };
    let mut control = signals(args.supervised.is_some())?;
    let options = options(config, &args, name.as_str());
    let durable = DurableOptions {
        name: durable_name(&args, &name),
        subjects: options.subscription.subjects(&config.fleet),
        begin: begin(&args),
        share: if args.share { Share::Many } else { Share::One },
        window: options.window(),
    };
    let connect = config.connect(&format!("dsbus listen {name}"), true);
    let bus = tokio::select! {
        bus = Bus::connect(connect) => bus.map_err(|e| {
            Failure::new(Code::Unreachable, format!("cannot use the bus at {}: {e}", config.shown()))
        })?,
        // Told to stop before there was a bus.
        Some(Control::Stop(_)) = control.recv() => return Ok(End::Stopped),
    };
    let place = durable.name.clone();
    // Copies of a program are told by the worker how they share, also while that changes.
    if args.supervised.is_none() {
        tokio::select! {
            alike = places::read_alike(&bus, &name, durable.share) => alike?,
            Some(Control::Stop(_)) = control.recv() => return Ok(End::Stopped),
        }
    }
    let reader = bus.durable(durable);
    let events: Vec<&str> = args.events.iter().map(|event| event.as_str()).collect();
    let (opened, events, fleet) = (reader.opened(), events.join(","), config.fleet.clone());
    let begun =
        format!("{name} listens to {events} of the fleet {fleet}, by the durable consumer {place}");
    tokio::spawn(async move {
        opened.await;
        tracing::info!("{begun}");
    });
    let source = BusSource::new(bus.clone(), reader, name.clone(), clock::now);
    let end = dsbus_bridge::run(source, options, &mut control).await;
    if let Some(id) = args.supervised {
        forget(&bus, &name, ProgramId(id), &place).await;
    }
    Ok(end)
}

/// A program that is being removed needs its place in the events no more. When that cannot be seen,
/// the place stays, which costs next to nothing.
async fn forget(bus: &Bus, name: &ProgramName, id: ProgramId, place: &str) {
    let gone = match bus.get(Bucket::Programs, name.as_str()).await {
        Ok(None) => true,
        Ok(Some(entry)) => match entry.json::<program::Program>() {
            Ok(None) => true,
            Ok(Some(program)) => program.removing || program.id != id,
            Err(_) => false,
        },
        Err(_) => false,
    };
    if gone && let Err(e) = bus.forget_durable(place).await {
        tracing::warn!("the durable consumer {place} stays, although its program is removed: {e}");
    }
}

/// What NATS calls it.
fn durable_name(args: &args::Listen, name: &ProgramName) -> String {
    match args.supervised {
        None => name.to_string(),
        Some(id) => listener_consumer(name, ProgramId(id)),
    }
}

/// Where it begins. A program begins with its declaration: whatever is declared together with it is
/// started before it can listen.
fn begin(args: &args::Listen) -> Begin {
    let declared = args.supervised.and_then(|id| id.get_timestamp()).map(|time| {
        let (seconds, nanos) = time.to_unix();
        let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let slack = i128::try_from(CLOCKS_DIFFER.as_nanos()).unwrap_or(0);
        Begin::Time(Timestamp::from_unix_nanos(nanos - slack))
    });
    match (args.since, args.from_seq) {
        (Some(moment), _) => Begin::Time(moment.resolve(clock::now())),
        (None, Some(0 | 1)) => Begin::All,
        (None, Some(seq)) => Begin::Sequence(seq),
        (None, None) => declared.unwrap_or(Begin::New),
    }
}

fn options(config: &Config, args: &args::Listen, name: &str) -> Options {
    let pool = usize::from(args.pool);
    let server = args.identifier.clone().unwrap_or_else(|| config.fleet.to_string());
    let len = match args.len {
        args::Len::Chars => frame::Len::Chars,
        args::Len::Bytes => frame::Len::Bytes,
    };
    let listeners = 0..pool;
    Options {
        program: Program {
            argv: args.command.clone(),
            environment: listeners.map(|member| environment(args, name, member)).collect(),
        },
        subscription: Subscription::new(args.events.clone()),
        tokens: Tokens { server, pool: name.to_owned(), len },
        extra_tokens: args.extra_tokens,
        rules: Rules {
            size: pool,
            startsecs: args.startsecs.0,
            stopwaitsecs: args.stopwaitsecs.0,
            restart: args.supervised.is_none(),
        },
        window: args.buffer_size.and_then(NonZeroU16::new).unwrap_or(WINDOW),
        shared: args.share,
        stop_signal: Signal::SIGTERM,
        hint: hint(config, args),
    }
}

/// superlance says in one line what it misses, and ends well; not everything else says it.
fn hint(config: &Config, args: &args::Listen) -> Option<String> {
    let missing = args.server_url.is_none() && config.around.variable(SERVER_URL).is_none();
    let give = match args.supervised {
        Some(_) => "serverurl = \"http://127.0.0.1:9001\" in its declaration",
        None => "--server-url http://127.0.0.1:9001",
    };
    missing.then(|| {
        format!(
            "{SERVER_URL} is not set; listeners such as superlance's end without it: give {give}"
        )
    })
}

/// What a listener has in its environment beside the bridge's own; a worker has given it already.
fn environment(
    args: &args::Listen,
    name: &str,
    member: usize,
) -> BTreeMap<String, Option<OsString>> {
    let ours = [config::PARENT_URL, config::PARENT_ACCESS];
    let mut all = BTreeMap::from(ours.map(|name| (name.to_owned(), None)));
    let mut set = |name: &str, value: &str| {
        all.insert(name.to_owned(), Some(OsString::from(value)));
    };
    if args.supervised.is_none() {
        set("SUPERVISOR_ENABLED", "1");
        set("SUPERVISOR_GROUP_NAME", name);
        let several = format!("{name}_{member:02}");
        set("SUPERVISOR_PROCESS_NAME", if args.pool > 1 { &several } else { name });
    }
    if let Some(url) = &args.server_url {
        set(SERVER_URL, url);
    }
    all
}

/// What this process is told by signals. A worker that runs it passes on what a person wants of the
/// listener; without one, the end of a terminal is an end, and Ctrl-C ends the listener as a stop
/// does.
fn signals(supervised: bool) -> Result<mpsc::Receiver<Control>, Failure> {
    let (told, control) = mpsc::channel(SIGNALS_MAX);
    for (kind, number, stops) in [
        (SignalKind::terminate(), Signal::SIGTERM, true),
        (SignalKind::interrupt(), Signal::SIGINT, true),
        (SignalKind::quit(), Signal::SIGQUIT, true),
        (SignalKind::hangup(), Signal::SIGHUP, !supervised),
        (SignalKind::user_defined1(), Signal::SIGUSR1, false),
        (SignalKind::user_defined2(), Signal::SIGUSR2, false),
    ] {
        let mut heard = signal(kind)?;
        let told = told.clone();
        let say = match (stops, supervised) {
            (true, true) => Control::Stop(number),
            (true, false) => Control::Stop(Signal::SIGTERM),
            (false, _) => Control::Pass(number),
        };
        tokio::spawn(async move {
            while heard.recv().await.is_some() && told.send(say).await.is_ok() {}
        });
    }
    Ok(control)
}

/// What a worker is told: the listener's own end.
fn code(ended: &Ended) -> Code {
    let code = match ended {
        Ended::Code(code) => *code,
        Ended::Signal(signal) => SIGNAL_CODE + signal,
        Ended::LeftProtocol | Ended::NotStarted(_) => return Code::Failed,
    };
    match u8::try_from(code).ok().map(NonZeroU8::new) {
        Some(None) => Code::Done,
        Some(Some(code)) => Code::Program(code),
        None => Code::Failed,
    }
}
