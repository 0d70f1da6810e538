//! Which events are shown, and what to say when there are none.

use dsbus_schema::event::Event;
use dsbus_schema::filter::{Filter, FilterError, ProgramPattern};
use dsbus_schema::ids::Target;

use crate::args::{self, Named};
use crate::commands::workers;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;

/// Which events are shown.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) filter: Filter,
    /// What was named, and whether an event about it was shown.
    names: Vec<(ProgramPattern, bool)>,
    any: bool,
}

impl Choice {
    pub(super) async fn make(
        connection: &Connection,
        args: &args::Events,
    ) -> Result<Choice, Failure> {
        let mut names = Vec::new();
        for name in &args.names {
            match name {
                Named::Pattern(pattern) => names.push(pattern.clone()),
                Named::Id(id) => {
                    for row in connection.status(&[Target::Id(*id)]).await? {
                        let name = row.name.program.as_str().parse();
                        names.push(name.map_err(|e: FilterError| Failure::failed(e.to_string()))?);
                    }
                }
            }
        }
        let everything = args.types.is_empty() && names.is_empty() && args.workers.is_empty();
        let filter = if everything {
            Ok(Filter::all_but_ticks())
        } else {
            Filter::new(args.types.clone(), names.clone(), args.workers.clone())
        };
        match filter {
            Ok(filter) => {
                let names = names.into_iter().map(|name| (name, false)).collect();
                Ok(Choice { filter, names, any: false })
            }
            Err(FilterError { message, hint }) => {
                let failure = Failure::usage(message);
                Err(match hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                })
            }
        }
    }

    /// An event is shown.
    pub(super) fn heard(&mut self, event: &Event) {
        self.any = true;
        for (name, heard) in self.names.iter_mut().filter(|(_, heard)| !heard) {
            *heard = name.fits(&event.data);
        }
    }

    /// Tells what has no events. A name that does not exist either is a slip, unless it is followed:
    /// then it may be declared yet. Without schedulers nobody knows.
    pub(super) async fn explain_silence(
        &self,
        connection: &Connection,
        args: &args::Events,
    ) -> Result<(), Failure> {
        let such = if args.types.is_empty() && args.since.is_none() && args.until.is_none() {
            "events"
        } else {
            "such events"
        };
        let silent = self.names.iter().filter(|(_, heard)| !heard);
        for (name, _) in silent {
            let known = match target(name) {
                Some(target) => connection.status(&[target]).await.map(|_| ()),
                None => Ok(()),
            };
            match known {
                Err(failure) if failure.code == Code::Failed && !args.follow => {
                    return Err(failure);
                }
                Err(failure) if failure.code == Code::Failed => output::note(failure.message),
                Ok(()) | Err(_) if !args.follow => {
                    output::note(format_args!("no {such} of {name}"));
                }
                Ok(()) | Err(_) => {}
            }
        }
        if self.any || args.follow {
            return Ok(());
        }
        for worker in args.workers.iter().filter_map(|worker| worker.name()) {
            must_exist(connection, worker).await?;
        }
        if self.names.is_empty() {
            let said = if such == "events" && args.workers.is_empty() {
                "nothing happened yet"
            } else {
                "nothing of that happened"
            };
            output::note(said);
        }
        Ok(())
    }
}

/// What may turn out not to exist.
fn target(name: &ProgramPattern) -> Option<Target> {
    let text = match name {
        ProgramPattern::All => return None,
        ProgramPattern::Name(_) | ProgramPattern::Instance(..) => name.to_string(),
        ProgramPattern::Members(_) => name.to_string().trim_end_matches(":*").to_owned(),
    };
    Target::parse(&text).ok()
}

/// A worker of which nothing is known may be a slip. Without schedulers nobody knows.
async fn must_exist(connection: &Connection, worker: &str) -> Result<(), Failure> {
    let Ok(rows) = workers::all(connection).await else { return Ok(()) };
    if rows.iter().any(|row| row.name.as_str() == worker) {
        return Ok(());
    }
    let failure = Failure::failed(format!("no worker is named {worker:?}"));
    let known = rows.iter().map(|row| row.name.as_str());
    Err(match crate::file::did_you_mean(worker, known) {
        Some(near) => failure.hint(near),
        None => failure,
    })
}
