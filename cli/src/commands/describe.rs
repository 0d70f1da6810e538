//! `dsbus describe NAME...`

mod pairs;

use std::collections::{BTreeMap, BTreeSet};

use dsbus_schema::command::{Explanation, RevisionRow, RolloutRow, Verb};
use dsbus_schema::event::Event;
use dsbus_schema::ids::{InstanceId, ProgramName, Target};
use dsbus_schema::program::{Program, ProgramSpec};
use dsbus_schema::status::InstanceRow;
use serde::Serialize;
use serde_json::{Value, json};

use super::{events, export, history, status};
use crate::args::{self, Format, Shape, Width};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::wait::rollout;
use crate::{clock, file, output};

/// What stands for a value that may be a secret.
const HIDDEN: &str = "...";
/// How many revisions are shown; `dsbus history` shows all.
const REVISIONS: usize = 5;

/// Everything about one program, or about some of its instances.
#[derive(Debug)]
struct About {
    name: ProgramName,
    /// `None` when it may not be read, or is gone.
    program: Option<Program>,
    /// All of its instances are meant.
    whole: bool,
    instances: Vec<InstanceRow>,
    because: BTreeMap<InstanceId, String>,
    rollout: Option<RolloutRow>,
    history: Vec<RevisionRow>,
    events: Vec<(u64, Event)>,
}

/// Shows everything about what is named.
///
/// # Errors
/// When a name does not exist, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Describe) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let rows = connection.status(&args.names).await?;
    let mut instances: BTreeMap<ProgramName, Vec<InstanceRow>> = BTreeMap::new();
    for row in rows {
        instances.entry(row.program.clone()).or_default().push(row);
    }
    let names: BTreeSet<ProgramName> = instances.keys().cloned().collect();
    if names.is_empty() {
        output::note("no programs");
        return Ok(Code::Done);
    }
    let programs = match export::declared(&connection, names).await {
        Ok(programs) => programs,
        Err(failure) => {
            // Not everybody may read declarations; the schedulers tell the rest.
            output::note(format_args!("declarations are left out: {}", failure.message));
            Vec::new()
        }
    };
    let mut programs: BTreeMap<ProgramName, Program> =
        programs.into_iter().map(|program| (program.name.clone(), program)).collect();
    let mut all = Vec::new();
    for (name, instances) in instances {
        let program = programs.remove(&name);
        all.push(gather(&connection, name, program, instances, args.events).await?);
    }
    if let Format::Data(data) = args.output {
        output::data(data, &all.iter().map(About::as_json).collect::<Vec<_>>())?;
        return Ok(Code::Done);
    }
    let wide = if args.output == Format::Text(Width::Whole) { Width::Whole } else { Width::Fitted };
    for (number, about) in all.iter().enumerate() {
        if number > 0 {
            output::line("")?;
        }
        about.show(wide)?;
    }
    Ok(Code::Done)
}

async fn gather(
    connection: &Connection,
    name: ProgramName,
    program: Option<Program>,
    instances: Vec<InstanceRow>,
    lines: u32,
) -> Result<About, Failure> {
    let target = [Target::Program(name.clone())];
    let all = connection.status(&target).await?.len();
    let whole = instances.len() >= all;
    let named: Vec<Target> =
        instances.iter().map(|row| Target::Instance(row.name.clone())).collect();
    let asked = if whole { &target[..] } else { &named[..] };
    let last = |explanation: &Explanation| explanation.name.clone();
    let reasons = connection.all(Verb::Explain, asked, last).await?;
    let mut events: Vec<(u64, Event)> = Vec::new();
    if lines > 0 {
        let about: Vec<String> = if whole {
            vec![name.to_string()]
        } else {
            instances.iter().map(|row| row.name.to_string()).collect()
        };
        for about in about {
            events.extend(events::last_about(connection, &about, lines).await?);
        }
        events.sort_by_key(|(seq, _)| *seq);
        let excess = events.len().saturating_sub(lines as usize);
        events.drain(..excess);
    }
    let (mut history, mut rollout) = (Vec::new(), None);
    if whole {
        let last = |row: &RevisionRow| InstanceId::new(row.program.clone(), 0);
        history = connection.all(Verb::History, &target, last).await?;
        let rows = rollout::rows(connection, &target).await?;
        rollout = rows.into_iter().find(|row| row.state.is_some());
    }
    let because = reasons.into_iter().map(|e| (e.name, e.because)).collect();
    Ok(About { name, program, whole, instances, because, rollout, history, events })
}

impl About {
    fn show(&self, wide: Width) -> Result<(), Failure> {
        let now = clock::now();
        if self.whole {
            output::title(self.name.as_str())?;
            let (program, rollout) = (self.program.as_ref(), self.rollout.as_ref());
            output::list(&pairs::of_program(program, &self.instances, rollout, now))?;
            if let Some(program) = &self.program {
                section("Declaration")?;
                let one = BTreeMap::from([(self.name.clone(), shown(&program.spec))]);
                // The name of the section is known already.
                let text = file::as_toml(&one);
                for line in text.trim().lines().skip(1) {
                    output::line(format_args!("  {line}"))?;
                }
            }
        }
        match self.instances.as_slice() {
            [] => {}
            several @ [_, _, ..] if self.whole => {
                section("Instances")?;
                status::table(several, wide)?;
            }
            each => {
                for (number, row) in each.iter().enumerate() {
                    if self.whole || number > 0 {
                        output::line("")?;
                    }
                    output::title(&row.name.to_string())?;
                    let because = self.because.get(&row.name).map(String::as_str);
                    output::list(&pairs::of_instance(row, because, now, output::is_terminal()))?;
                }
            }
        }
        if !self.history.is_empty() {
            section("History")?;
            let first = self.history.len().saturating_sub(REVISIONS);
            history::table(&self.history[first..], wide)?;
        }
        if !self.events.is_empty() {
            section("Events")?;
            let shape = if wide == Width::Whole { Shape::Wide } else { Shape::Table };
            events::print(&self.events, shape)?;
        }
        Ok(())
    }

    fn as_json(&self) -> Value {
        let program = self.program.as_ref().filter(|_| self.whole).map(|program| {
            json!({
                "id": program.id, "revision": program.revision, "declared": program.declared,
                "changed": program.changed, "by": program.by, "reason": program.reason,
                "spec": shown(&program.spec),
            })
        });
        let instances: Vec<Explained<'_>> = self
            .instances
            .iter()
            .map(|row| Explained { row, because: self.because.get(&row.name).map(String::as_str) })
            .collect();
        let events: Vec<&Event> = self.events.iter().map(|(_, event)| event).collect();
        json!({
            "name": self.name, "program": program, "instances": instances,
            "rollout": self.rollout, "history": self.history, "events": events,
        })
    }
}

/// A row of `dsbus status`, and why it is so.
#[derive(Serialize)]
struct Explained<'a> {
    #[serde(flatten)]
    row: &'a InstanceRow,
    because: Option<&'a str>,
}

fn section(title: &str) -> Result<(), Failure> {
    output::line("")?;
    Ok(output::title(title)?)
}

/// A declaration without what may be secret: who wants the values asks for them by `dsbus export`.
fn shown(spec: &ProgramSpec) -> ProgramSpec {
    let mut spec = spec.clone();
    for value in spec.environment.values_mut() {
        // Where a value stands is no secret.
        if value.text().is_some() {
            *value = HIDDEN.into();
        }
    }
    spec
}
