//! `dsbus explain NAME`

use dsbus_schema::command::{Explanation, Verb, WorkerVerdict};

use crate::args::{About, Format, Width};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::table::{Column, Text, Tone};
use crate::{describe, output};

const COLUMNS: [Column; 4] = [
    Column { title: "WORKER", leaves: 0, optional: false },
    Column { title: "STATE", leaves: 0, optional: false },
    Column { title: "", leaves: 0, optional: false },
    Column { title: "WHY", leaves: 0, optional: true },
];

/// Shows why instances are where they are, or wait.
///
/// # Errors
/// When a name does not exist, or nobody answers.
pub(super) async fn run(config: &Config, args: &About) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let last = |explanation: &Explanation| explanation.name.clone();
    let all = connection.all(Verb::Explain, &args.names, last).await?;
    let wide = match args.output {
        Format::Data(data) => {
            output::data(data, &all)?;
            return Ok(Code::Done);
        }
        Format::Text(wide) => wide,
    };
    for (n, explanation) in all.iter().enumerate() {
        if n > 0 {
            output::line("")?;
        }
        show(explanation, wide)?;
    }
    Ok(Code::Done)
}

fn show(explanation: &Explanation, wide: Width) -> Result<(), Failure> {
    let Explanation { name, state, worker, because, workers } = explanation;
    let place = worker.as_ref().map(|worker| format!(" on {worker}")).unwrap_or_default();
    output::paragraph(&format!("{name} is {state}{place}: {because}"))?;
    if workers.is_empty() {
        return Ok(());
    }
    let cells: Vec<Vec<Text>> = workers.iter().map(|verdict| cells(verdict, explanation)).collect();
    Ok(output::table(wide, &COLUMNS, &cells)?)
}

fn cells(verdict: &WorkerVerdict, explanation: &Explanation) -> Vec<Text> {
    let here = explanation.worker.as_ref() == Some(&verdict.name);
    let (word, tone) = match (&verdict.refusal, here) {
        (None, true) => ("is here", Tone::Good),
        (Some(_), true) => ("is here", Tone::Moving),
        (None, false) => ("could take it", Tone::Plain),
        (Some(_), false) => ("cannot", Tone::Quiet),
    };
    let why = verdict.refusal.clone().or_else(|| verdict.score.clone()).unwrap_or_default();
    vec![
        verdict.name.to_string().into(),
        describe::worker_cell(verdict.state),
        Text { text: word.to_owned(), tone },
        why.into(),
    ]
}
