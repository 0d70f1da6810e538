//! Command lines of verbs about declarations over time, and about where things run.

use clap::{Args as Group, Subcommand, ValueEnum};
use dsbus_schema::ids::{ProgramName, Target, WorkerName};
use dsbus_schema::lenient::Span;

use super::{Act, Format, Wait};

/// `dsbus start`.
#[derive(Debug, Group)]
pub(crate) struct Start {
    #[command(flatten)]
    pub(crate) act: Act,
    /// Words after those of the command, for this start only; status shows them
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) arguments: Vec<String>,
}

/// `dsbus restart`.
#[derive(Debug, Group)]
pub(crate) struct Restart {
    #[command(flatten)]
    pub(crate) act: Act,
    /// One after the other, as the programs' `update` says
    #[arg(long)]
    pub(crate) rolling: bool,
    /// Words after those of the command, for this start only; status shows them
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) arguments: Vec<String>,
}

/// `dsbus scale`.
#[derive(Debug, Group)]
pub(crate) struct Scale {
    /// Programs, each with the number of copies it is to have: web=5
    #[arg(required = true, value_name = "NAME=N", value_parser = copies)]
    pub(crate) programs: Vec<(ProgramName, u32)>,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus rollout`.
#[derive(Debug, Group)]
pub(crate) struct Rollout {
    #[command(subcommand)]
    pub(crate) step: RolloutStep,
}

/// What to do about rollouts.
#[derive(Debug, Subcommand)]
pub(crate) enum RolloutStep {
    /// Show how far rollouts are; all that are going on without a NAME
    Status(RolloutStatus),
    /// Change no further instance
    Pause(RolloutNames),
    /// Go on with a rollout that was paused, or has failed
    Resume(RolloutAct),
    /// The canaries are good: change the rest
    Promote(RolloutAct),
    /// Go back to an earlier declaration: to what ran before the rollout, or to the one before
    Undo(RolloutUndo),
}

/// `dsbus rollout status`.
#[derive(Debug, Group)]
pub(crate) struct RolloutStatus {
    /// Programs
    #[arg(value_name = "NAME", value_parser = Target::parse)]
    pub(crate) names: Vec<Target>,
    /// Show it live until it is done, has failed, or waits for a person
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// How long to watch
    #[arg(long, value_name = "DURATION", default_value = "1h", requires = "watch")]
    pub(crate) timeout: Span,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus rollout pause`.
#[derive(Debug, Group)]
pub(crate) struct RolloutNames {
    /// Programs; all is every program that is being rolled out
    #[arg(required = true, value_name = "NAME", value_parser = Target::parse)]
    pub(crate) names: Vec<Target>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus rollout resume`, `promote`.
#[derive(Debug, Group)]
pub(crate) struct RolloutAct {
    #[command(flatten)]
    pub(crate) which: RolloutNames,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// `dsbus rollout undo`.
#[derive(Debug, Group)]
pub(crate) struct RolloutUndo {
    #[command(flatten)]
    pub(crate) which: RolloutNames,
    /// The revision to go back to; dsbus history NAME shows them
    #[arg(long, value_name = "N")]
    pub(crate) to: Option<u64>,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// `dsbus history`, `explain`, `enable`.
#[derive(Debug, Group)]
pub(crate) struct About {
    /// Programs, groups or instances
    #[arg(required = true, value_name = "NAME", value_parser = Target::parse)]
    pub(crate) names: Vec<Target>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus describe`.
#[derive(Debug, Group)]
pub(crate) struct Describe {
    /// Programs, groups or instances; all is every program
    #[arg(required = true, value_name = "NAME", value_parser = Target::parse)]
    pub(crate) names: Vec<Target>,
    /// How many events of each are shown
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub(crate) events: u32,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus groups`.
#[derive(Debug, Group)]
pub(crate) struct Groups {
    /// Groups; all of them without one
    #[arg(value_name = "NAME", value_parser = Target::parse)]
    pub(crate) names: Vec<Target>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus cordon`, `uncordon`, `undrain`, `forget`.
#[derive(Debug, Group)]
pub(crate) struct WorkerAct {
    /// Workers
    #[arg(required = true, value_name = "WORKER")]
    pub(crate) names: Vec<WorkerName>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus drain`.
#[derive(Debug, Group)]
pub(crate) struct Drain {
    #[command(flatten)]
    pub(crate) which: WorkerAct,
    /// Return once it is accepted, before anything has moved
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How long to wait until nothing is left there
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub(crate) timeout: Span,
}

/// `dsbus rebalance`.
#[derive(Debug, Group)]
pub(crate) struct Rebalance {
    /// Only show what would be moved
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus recover`.
#[derive(Debug, Group)]
pub(crate) struct Recover {
    /// Only show what would be rebuilt
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also where workers contradict each other: the copy placed last counts, and the others are stopped
    #[arg(long)]
    pub(crate) force: bool,
    /// Files whose declarations are taken instead of those that workers have, as of dsbus export
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) from: Vec<std::path::PathBuf>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `web=5`.
fn copies(text: &str) -> Result<(ProgramName, u32), String> {
    let (name, number) =
        text.split_once('=').ok_or("say how many copies, such as web=5".to_owned())?;
    let name = ProgramName::parse(name.trim()).map_err(|e| e.to_string())?;
    let number = number.trim();
    let n = number.parse().map_err(|_| format!("{number:?} is no number of copies"))?;
    Ok((name, n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_numbers() {
        let web = ProgramName::parse("web").unwrap();
        assert_eq!(copies("web=5"), Ok((web, 5)));
        for (text, why) in [
            ("web", "such as web=5"),
            ("web=", "no number"),
            ("web=-1", "no number"),
            ("web=many", "no number"),
            ("a.b=1", "may hold only"),
        ] {
            let said = copies(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}

/// `dsbus wait`.
#[derive(Debug, Group)]
pub(crate) struct WaitUntil {
    /// Programs, groups or instances; all is every program
    #[arg(required = true, value_name = "NAME", value_parser = Target::parse)]
    pub(crate) names: Vec<Target>,
    /// Until what
    #[arg(long = "for", value_enum, value_name = "WHAT", default_value = "running")]
    pub(crate) until: WaitFor,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub(crate) timeout: Span,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitFor {
    /// They run, or have ended as expected
    Running,
    /// None has a child
    Stopped,
    /// They are removed
    Gone,
}

/// `dsbus export`.
#[derive(Debug, Group)]
pub(crate) struct Export {
    /// Programs or groups; all of them without one
    #[arg(value_name = "NAME", value_parser = Target::parse)]
    pub(crate) names: Vec<Target>,
    /// Write it there instead, and replace a file that is there only when all of it is written. A new one
    /// is only its owner's to read
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<std::path::PathBuf>,
}
