//! Why a worker cannot take an instance.

use std::fmt;

use dsbus_schema::goal::REFUSED_MAX;
use dsbus_schema::ids::ProgramName;
use dsbus_schema::program::Facility;
use dsbus_schema::state::WorkerState;

/// Why a worker cannot take an instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    NotNamed,
    State(WorkerState),
    Label(String),
    Lacks(Vec<Facility>),
    SawFatal,
    /// By what its owner allows there: why.
    Forbids(String),
    /// It was told to run it, and refused: why.
    Refused(String),
    /// So many workers have refused it that no other is asked.
    RefusedByMany,
    Beside(ProgramName),
    HasCopy,
    Cpu {
        left: u64,
        asked: u64,
    },
    Memory {
        left: u64,
        asked: u64,
    },
}

impl Refusal {
    /// In words that follow the name of one worker, or of several.
    pub(super) fn words(&self, several: bool) -> String {
        let verb = |one: &str, many: &str| if several { many.to_owned() } else { one.to_owned() };
        match self {
            Refusal::NotNamed => format!("{} not among its machines", verb("is", "are")),
            Refusal::State(state) => format!("{} {state}", verb("is", "are")),
            Refusal::Label(rule) => format!("{} not pass {rule}", verb("does", "do")),
            Refusal::Lacks(all) => format!("{} {}", verb("lacks", "lack"), all.join(", ")),
            Refusal::SawFatal => format!("{} seen it end FATAL", verb("has", "have")),
            Refusal::Forbids(why) => format!("{} it: {why}", verb("refuses", "refuse")),
            Refusal::Refused(why) => format!("{} it: {why}", verb("has refused", "have refused")),
            Refusal::RefusedByMany => {
                format!("{} not asked after {REFUSED_MAX} others refused it", verb("is", "are"))
            }
            Refusal::Beside(name) => {
                format!("{} {name}, which it keeps apart from", verb("runs", "run"))
            }
            Refusal::HasCopy => format!("{} a copy already", verb("has", "have")),
            Refusal::Cpu { left, asked } => format!(
                "{} {} processors left, and it needs {}",
                verb("has", "have"),
                cores(*left),
                cores(*asked)
            ),
            Refusal::Memory { left, asked } => format!(
                "{} {} MB of memory left, and it needs {}",
                verb("has", "have"),
                left >> 20,
                asked >> 20
            ),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words(false))
    }
}

fn cores(millis: u64) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
