//! What dsbus costs and how fast it is, measured beside Supervisor and beside what the machine
//! itself can do. `./run bench [NAME...]`.
//!
//! A further bench is a file with a `run`, and a line in [`BENCHES`].
//!
//! Invariants:
//! - Ours, the peer and the floor take turns in one run, so that the noise of the machine hits all.
//! - A number that was not measured is not told: a bench fails, or says what is missing.

mod births;
mod bus;
mod chart;
mod clock;
mod cost;
mod crew;
mod ear;
mod failover;
mod fleet;
mod flood;
mod floor;
mod follow;
mod idle;
mod listen;
mod machine;
mod markers;
mod member;
mod output;
mod page;
mod planner;
mod proc;
mod queue;
mod report;
mod restart;
mod rpc;
mod sign;
mod spawn;
mod status;
mod supervisor;
mod teller;
mod told;
mod varz;

use std::error::Error;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use crate::report::Report;

/// What a measurement gives, or why there is none.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// How it is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Few rounds: whether it works at all. The numbers are worth nothing.
    pub(crate) short: bool,
    /// Whether Supervisor is measured, too.
    pub(crate) peer: bool,
}

impl Setting {
    /// So many rounds, or as few as a short run has.
    pub(crate) fn rounds(self, full: usize, short: usize) -> usize {
        if self.short { short } else { full }
    }
}

struct Bench {
    name: &'static str,
    title: &'static str,
    run: fn(Setting) -> Outcome<Report>,
}

const BENCHES: &[Bench] = &[
    Bench { name: "restart", title: "kill -9 of a child to its successor", run: restart::run },
    Bench { name: "spawn", title: "1,000 instances at once", run: spawn::run },
    Bench { name: "output", title: "output into a rotating log", run: output::run },
    Bench { name: "flood", title: "a restart beside a flood of output", run: flood::run },
    Bench { name: "logs", title: "a log that is followed over the bus", run: follow::run },
    Bench { name: "idle", title: "memory and wake-ups at rest", run: idle::run },
    Bench { name: "planner", title: "plans for a large fleet", run: planner::run },
    Bench { name: "sign", title: "placements signed and checked", run: sign::run },
    Bench { name: "cost", title: "a fleet at rest, at work, and without a worker", run: cost::run },
    Bench { name: "queue", title: "reports that wait for the bus", run: queue::run },
    Bench { name: "failover", title: "a worker is lost", run: failover::run },
    Bench { name: "told", title: "a child's end to its event", run: told::run },
    Bench { name: "boot", title: "the events of a boot, told to a listener", run: listen::boot },
    Bench { name: "drain", title: "a listener that was away", run: listen::drain },
    Bench { name: "status", title: "dsbus status", run: status::run },
    Bench { name: "page", title: "the web page: many browsers, and one", run: page::run },
    Bench { name: "rpc", title: "getAllProcessInfo of 1,000 processes", run: rpc::run },
    Bench { name: "bus", title: "messages while nothing happens", run: bus::instances },
    Bench { name: "crew", title: "1,000 workers on one server", run: bus::workers },
];

/// Measures dsbus beside Supervisor, and beside what the machine itself can do.
#[derive(Debug, Parser)]
struct Args {
    /// Which benches; all, when none is named.
    names: Vec<String>,
    /// Few rounds, to see whether it works: the numbers are worth nothing.
    #[arg(long)]
    short: bool,
    /// Leave Supervisor out.
    #[arg(long)]
    no_peer: bool,
    /// Folder for the JSON and the charts.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "tables are all that it is for")]
fn main() -> ExitCode {
    let args = Args::parse();
    let known: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
    if let Some(name) = args.names.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!("there is no bench {name}; there are {}", known.join(", "));
        return ExitCode::from(2);
    }
    let setting = Setting { short: args.short, peer: !args.no_peer };
    let wanted =
        |bench: &&Bench| args.names.is_empty() || args.names.iter().any(|name| name == bench.name);
    let mut code = ExitCode::SUCCESS;
    for bench in BENCHES.iter().filter(wanted) {
        println!("# {}: {}\n", bench.name, bench.title);
        let load = machine::load();
        // The harness panics when it cannot do its part; the other benches can still be run.
        let measured = catch_unwind(|| (bench.run)(setting).map_err(|e| e.to_string()))
            .unwrap_or_else(|_| Err("it panicked; see above".to_owned()));
        let wrote = match measured {
            Ok(report) => {
                println!("{}", report.table());
                written(bench, setting, &report, load.as_deref(), args.out.as_deref())
            }
            Err(why) => Err(format!("NOT MEASURED: {why}").into()),
        };
        match wrote {
            Ok(files) => println!("{files}\n"),
            Err(why) => {
                println!("{why}\n");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// Writes the JSON and the chart; where they are.
fn written(
    bench: &Bench,
    setting: Setting,
    report: &Report,
    load: Option<&str>,
    out: Option<&Path>,
) -> Outcome<String> {
    // target/<profile>/bench -> target/bench/
    let me = std::env::current_exe()?;
    let target = me.ancestors().nth(2).ok_or("this binary is in no folder")?;
    let out = out.map_or_else(|| target.join("bench"), Path::to_owned);
    std::fs::create_dir_all(&out)?;
    let told = json!({
        "bench": bench.name, "title": bench.title, "short": setting.short,
        "machine": machine::described(), "load_before": load, "load_after": machine::load(),
        "measured": report.json(),
    });
    let (data, picture) =
        (out.join(format!("{}.json", bench.name)), out.join(format!("{}.svg", bench.name)));
    std::fs::write(&data, serde_json::to_string_pretty(&told)? + "\n")?;
    let title = format!("{}: {}", bench.name, bench.title);
    std::fs::write(&picture, chart::chart(&title, report))?;
    Ok(format!("{}\n{}", data.display(), picture.display()))
}

/// A binary of the same build.
pub(crate) fn beside(name: &str) -> Outcome<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    Err(format!("{} is not built: start this by ./run bench", path.display()).into())
}

/// A count, as the numbers that it is compared with.
pub(crate) fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
