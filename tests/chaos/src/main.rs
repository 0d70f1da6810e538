//! Real fleets under faults: `./run chaos`.
//!
//! - `chaos` injects faults at random (a seed gives the same plan again) into a fleet whose hosts
//!   are network namespaces, and judges what independent eyes saw: witnesses who are the children,
//!   a listener that is no client of dsbus, and people who remember what was acknowledged.
//! - `chaos case NAME` plays one failure that was thought of.
//!
//! Invariants:
//! - What is judged is what was seen; nothing is taken from the daemons that are judged, but for
//!   what they acknowledged and where they say that they placed something.
//! - A number that was not measured is not told.

mod calm;
mod cases;
mod chaos;
mod clients;
mod clock;
mod daemon;
mod docs;
mod ear;
mod fleet;
mod hosts;
mod inject;
mod judge;
mod kind;
mod lives;
mod machine;
mod monitor;
mod plan;
mod process;
mod programs;
mod report;
mod say;
mod statuses;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use dsbus_schema::moment::Timestamp;

use crate::fleet::Fleet;
use crate::hosts::Hosts;
use crate::kind::{KINDS, Kind};
use crate::say::say;

/// What something gives, or why it does not.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Real fleets under faults, judged by witnesses.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// How many faults
    #[arg(long, default_value_t = 1000)]
    faults: usize,
    /// How often each kind comes alone, to be measured
    #[arg(long, default_value_t = 4)]
    alone: usize,
    /// End after so many minutes, however many faults there were
    #[arg(long)]
    minutes: Option<u64>,
    /// The same seed plans the same faults; made up unless set
    #[arg(long)]
    seed: Option<u64>,
    /// Only these kinds, with commas; `chaos kinds` lists them
    #[arg(long, value_delimiter = ',', value_parser = a_kind)]
    kinds: Vec<&'static Kind>,
    /// Each fault lasts so many seconds, whatever the seed says
    #[arg(long, value_name = "SECONDS")]
    hold: Option<u64>,
    /// Declare exclusive programs as ordinary ones, to see that the judge finds it
    #[arg(long, hide = true)]
    unfenced: bool,
    /// No network namespaces: nothing is cut
    #[arg(long)]
    no_network: bool,
    /// Folder for the report, and for the logs of a run that failed
    #[arg(long, global = true, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the logs of a run that did not fail, too
    #[arg(long, global = true)]
    keep: bool,
    /// Write what was measured into docs/what-breaks.json, and docs/what-breaks.md from that
    #[arg(long, global = true)]
    write_docs: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the kinds of faults
    Kinds,
    /// Play one failure that was thought of
    Case {
        /// Which
        #[arg(value_enum)]
        case: cases::Case,
        /// Few rounds and short outages: half a minute
        #[arg(long)]
        short: bool,
    },
    /// Print docs/what-breaks.md as what was kept gives it
    Docs {
        /// docs/what-breaks.json
        kept: PathBuf,
    },
}

fn a_kind(name: &str) -> Result<&'static Kind, String> {
    kind::named(name).ok_or_else(|| format!("there is no kind {name}: see chaos kinds"))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match &args.verb {
        Some(Verb::Kinds) => {
            for kind in KINDS {
                say(&format!("{:<18} {}", kind.name, kind.what));
            }
            Ok(true)
        }
        Some(Verb::Docs { kept }) => docs::read(kept).map(|kept| {
            say(docs::document(&kept).trim_end());
            true
        }),
        Some(Verb::Case { case, short }) => play(&args, *case, *short),
        None => run(&args),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            say(&format!("FAILED: {why}"));
            ExitCode::FAILURE
        }
    }
}

/// The random run; whether all is 0 that must be.
fn run(args: &Args) -> Outcome<bool> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000));
    say(&format!("seed {seed}"));
    let directory = tempfile::Builder::new().prefix("dschaos-").tempdir()?;
    let hosts = Hosts::build(&fleet::host_names(chaos::SIZE), !args.no_network)?;
    let no_network = hosts.no_network.clone();
    if let Some(why) = &no_network {
        say(&format!("SKIPPED: cuts, loss and slow links: no network namespaces: {why}"));
    }
    let all: Vec<&'static Kind> = KINDS.iter().collect();
    let mut kinds = if args.kinds.is_empty() { all } else { args.kinds.clone() };
    kinds.retain(|kind| no_network.is_none() || !kind.needs_network());
    let options = chaos::Options {
        faults: args.faults,
        alone: args.alone,
        minutes: args.minutes,
        seed,
        kinds,
        hold: args.hold.map(std::time::Duration::from_secs),
        unfenced: args.unfenced,
    };
    let place = directory.path().to_owned();
    let judged = in_runtime(async {
        let fleet = Arc::new(Fleet::start(hosts, place, chaos::SIZE).await?);
        let all_seen = chaos::run(&fleet, &options).await?;
        let mut report = judge::judge(&all_seen, &options);
        let told = |e: daemon::Ended| format!("{} at {}: {}", e.name, e.at, e.how);
        report.ended_by_themselves = fleet.ended().into_iter().map(told).collect();
        fleet.end().await?;
        Ok((report, all_seen))
    });
    let out = out(args)?;
    let good = judged.as_ref().is_ok_and(|(report, _)| report.good());
    if !good || args.keep {
        let kept = out.join(format!("logs-{seed}"));
        copy(&directory.path().join("logs"), &kept)?;
        if let Ok((_, all_seen)) = &judged {
            std::fs::write(
                kept.join("faults.json"),
                serde_json::to_string_pretty(&all_seen.faults)?,
            )?;
        }
        say(&format!("logs: {}", kept.display()));
    }
    let (mut report, _) = judged?;
    report.machine = machine::described();
    report.no_network = no_network;
    report.date = today()?;
    say(&report.text());
    let json = serde_json::to_string_pretty(&report)? + "\n";
    let file = out.join(format!("chaos-{seed}.json"));
    std::fs::write(&file, &json)?;
    say(&file.display().to_string());
    if args.write_docs {
        docs::write(|kept| kept.run = Some(report.clone()))?;
    }
    Ok(report.good())
}

/// One failure that was thought of; whether all was well.
fn play(args: &Args, case: cases::Case, short: bool) -> Outcome<bool> {
    let directory = tempfile::Builder::new().prefix("dschaos-").tempdir()?;
    let hosts = case.hosts()?;
    let place = directory.path().to_owned();
    let played = in_runtime(case.play(hosts, place, short));
    if played.is_err() || args.keep {
        let kept = out(args)?.join(format!("logs-{case:?}"));
        copy(&directory.path().join("logs"), &kept)?;
        say(&format!("logs: {}", kept.display()));
    }
    let lines = played?;
    for line in &lines {
        say(line);
    }
    if args.write_docs {
        docs::write(|kept| drop(kept.cases.insert(format!("{case:?}"), lines)))?;
    }
    Ok(true)
}

fn in_runtime<T>(what: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let ended = local.block_on(&runtime, async {
        let mut interrupt =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            ended = what => ended,
            _ = interrupt.recv() => Err("interrupted".into()),
            _ = term.recv() => Err("told to stop".into()),
        }
    });
    runtime.shutdown_background();
    ended
}

/// Where reports go: target/chaos.
fn out(args: &Args) -> Outcome<PathBuf> {
    let me = std::env::current_exe()?;
    let target = me.ancestors().nth(2).ok_or("this binary is in no folder")?;
    let out = args.out.clone().unwrap_or_else(|| target.join("chaos"));
    std::fs::create_dir_all(&out)?;
    Ok(out)
}

fn copy(from: &Path, to: &Path) -> Outcome<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)?.flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn today() -> Outcome<String> {
    let wall = i128::from(clock::now()) + clock::wall_offset();
    let text = Timestamp::from_unix_nanos(wall).to_string();
    Ok(text.get(..10).ok_or("a date")?.to_owned())
}

/// A binary of the same build.
pub(crate) fn beside(name: &str) -> Outcome<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    Err(format!("{} is not built: start this by ./run chaos", path.display()).into())
}
