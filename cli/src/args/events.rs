//! What one says to events: those that happened, and one's own.

use std::fmt::Write;
use std::str::FromStr;

use clap::{Args as Group, ValueEnum};
use dsbus_schema::event::Kind;
use dsbus_schema::filter::{EventPattern, FilterError, ProgramPattern, WorkerPattern};
use dsbus_schema::ids::{EventType, ProgramId, Target};

use super::Format;
use super::moment::Moment;

/// `dsbus events`.
#[derive(Debug, Group)]
#[command(after_long_help = words())]
pub(crate) struct Events {
    /// Programs, instances (web:0), groups with their members (api:*), patterns (web*);
    /// everything without one
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<Named>,
    /// Only these: kinds (process), TYPEs (FATAL), or both (worker.LOST); several with commas.
    /// Ticks are shown only when they are asked for
    #[arg(short, long = "type", value_name = "WORDS", value_delimiter = ',')]
    pub(crate) types: Vec<EventPattern>,
    /// Only what happened on these workers, or to them; several with commas
    #[arg(long = "worker", value_name = "WORKER", value_delimiter = ',')]
    pub(crate) workers: Vec<WorkerPattern>,
    /// From then on, by the clock of the bus: 2h (ago), 10:00, 2026-11-26T10:00Z. UTC, where no
    /// zone is named
    #[arg(long, value_name = "TIME", conflicts_with = "from_seq")]
    pub(crate) since: Option<Moment>,
    /// Until then
    #[arg(long, value_name = "TIME", conflicts_with = "follow")]
    pub(crate) until: Option<Moment>,
    /// From this sequence on; -o wide and -o json show those of events
    #[arg(long, value_name = "SEQ")]
    pub(crate) from_seq: Option<u64>,
    /// At most so many, the last ones; 50 unless --since or --from-seq says where to begin
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<u32>,
    /// Go on with what happens
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Print a table; a wide one, with sequences and all of every text; or JSON: one array, or one
    /// event a line with -f
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Shape,
}

impl Events {
    /// The last `lines` events about one thing.
    ///
    /// # Errors
    /// When the name is none.
    pub(crate) fn about(name: &str, lines: u32) -> Result<Events, FilterError> {
        Ok(Events {
            names: vec![name.parse()?],
            types: Vec::new(),
            workers: Vec::new(),
            since: None,
            until: None,
            from_seq: None,
            lines: Some(lines),
            follow: false,
            output: Shape::Table,
        })
    }
}

/// How events are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// For people.
    #[default]
    Table,
    /// For people, with everything.
    Wide,
    /// For programs.
    Json,
}

/// What events are about, as it is named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// A program, by its UUID.
    Id(ProgramId),
    /// By its name.
    Pattern(ProgramPattern),
}

impl FromStr for Named {
    type Err = FilterError;
    fn from_str(text: &str) -> Result<Named, FilterError> {
        match Target::parse(text) {
            Ok(Target::Id(id)) => Ok(Named::Id(id)),
            Ok(_) | Err(_) => text.parse().map(Named::Pattern),
        }
    }
}

/// Every word that `--type` knows.
fn words() -> String {
    let mut text = "Kinds of events, and their TYPEs:".to_owned();
    for kind in Kind::ALL {
        let types: Vec<&str> = kind.types().iter().map(|info| info.name).collect();
        let types =
            if types.is_empty() { "your own: user.NAME".to_owned() } else { types.join(" ") };
        // Writing to text cannot fail.
        let _ = write!(text, "\n  {:10} {types}", kind.name());
    }
    text
}

/// `dsbus emit`.
#[derive(Debug, Group)]
pub(crate) struct Emit {
    /// The TYPE of the event: letters, digits, - and _, such as deployed
    #[arg(value_name = "TYPE")]
    pub(crate) name: EventType,
    /// What to say; - reads standard input
    #[arg(value_name = "TEXT", default_value = "")]
    pub(crate) text: String,
    /// Refuse a text that is not JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print a sentence, or JSON: id and sequence of the event
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}
