//! `dsbus status -w`: on a terminal a table that stays current, elsewhere a line for each change.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use dsbus_schema::ids::InstanceId;
use dsbus_schema::state::State;
use dsbus_schema::status::InstanceRow;
use tokio::time::Instant;

use super::{COLUMNS, all_cells};
use crate::args::{self, Data, Format, Width};
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::table::Text;
use crate::wait::{feed, pause};
use crate::{clock, describe, output, table};

/// Ages on a terminal are this much behind at most.
const AGES: Duration = Duration::from_secs(1);

/// Title of the column that is cut.
const DETAIL: &str = "DETAIL";
/// What is tried of it where it has no room beside the others; 0 is none.
const DETAIL_WIDTHS: [usize; 4] = [20, 14, 8, 0];

/// Shows states, and what becomes of them, until nobody reads it.
///
/// # Errors
/// When a name does not exist, or nobody answers at first.
pub(super) async fn run(connection: &Connection, args: &args::Status) -> Result<Code, Failure> {
    if args.output == Format::Data(Data::Yaml) {
        return Err(Failure::usage("-w goes with table, wide, json and name, not with yaml"));
    }
    // Before the first look, so that what changes right after it is heard of.
    let mut feed = feed(connection).await;
    let mut rows = connection.status(&args.names).await?;
    let mut known = BTreeMap::new();
    let mut trouble: Option<String> = None;
    let mut live = None;
    match args.output {
        Format::Text(wide) if output::is_terminal() => live = Some(wide),
        Format::Text(wide) => {
            super::table(&rows, wide)?;
            known = by_name(&rows);
        }
        Format::Data(_) => {}
    }
    loop {
        match live {
            Some(wide) => draw(connection, &rows, trouble.as_deref(), wide)?,
            None => {
                let now = by_name(&rows);
                tell(&changes(&known, &now), args.output)?;
                known = now;
            }
        }
        pause(&mut feed, Instant::now() + AGES).await;
        if output::reader_gone() {
            return Ok(Code::Done);
        }
        let before = trouble.take();
        match connection.status(&args.names).await {
            Ok(found) => rows = found,
            // All that was named may have been removed.
            Err(failure) if failure.code == Code::Failed && !args.names.is_empty() => rows.clear(),
            Err(failure) => {
                if live.is_none() && before.as_ref() != Some(&failure.message) {
                    output::note(format_args!("{} (still watching)", failure.message));
                }
                trouble = Some(failure.message);
            }
        }
    }
}

fn draw(
    connection: &Connection,
    rows: &[InstanceRow],
    trouble: Option<&str>,
    wide: Width,
) -> Result<(), Failure> {
    let well = rows.iter().filter(|row| row.ok).count();
    let (all, at) = (rows.len(), describe::exact(clock::now()));
    let fleet = connection.bus.fleet();
    let title = match trouble {
        None => format!("{fleet}: {well} of {all} as they should be   {at}   Ctrl-C ends this"),
        Some(trouble) => format!("{trouble}; this is what was known before"),
    };
    let mut cells = all_cells(rows, wide);
    if wide == Width::Fitted {
        let (width, height) = ratatui::crossterm::terminal::size().unwrap_or((80, 24));
        // The title, and what is left out.
        one_line_each(&mut cells, width, usize::from(height).saturating_sub(3));
    }
    Ok(output::screen(&title, wide, &COLUMNS, &cells)?)
}

/// Where not every line has room, details are cut so that each row is one line.
fn one_line_each(cells: &mut [Vec<Text>], width: u16, room: usize) {
    let lines = table::render(&COLUMNS, cells, Some(width));
    if lines.len() <= room || cells.is_empty() {
        return;
    }
    let header = anstream::adapter::strip_str(&lines[0]).to_string();
    let beside = header.find(DETAIL).map(|at| usize::from(width).saturating_sub(at));
    // Beside the others where it is there, or where less of it fits; else there is none.
    for most in beside.into_iter().chain(DETAIL_WIDTHS) {
        let mut cut = cells.to_vec();
        for detail in cut.iter_mut().filter_map(|row| row.last_mut()) {
            detail.text = shortened(&detail.text, most);
        }
        if table::render(&COLUMNS, &cut, Some(width)).len() == cells.len() + 1 {
            cells.clone_from_slice(&cut);
            return;
        }
    }
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept = text.chars().take(most.saturating_sub(1));
    kept.chain((most > 0).then_some('…')).collect()
}

type Known = BTreeMap<InstanceId, InstanceRow>;

fn by_name(rows: &[InstanceRow]) -> Known {
    rows.iter().map(|row| (row.name.clone(), row.clone())).collect()
}

/// What became of one instance.
#[derive(Debug, PartialEq)]
enum Change<'a> {
    Is(&'a InstanceRow),
    Gone(&'a InstanceId),
}

/// What is other than before: what is gone, then the rest by name.
fn changes<'a>(before: &'a Known, now: &'a Known) -> Vec<Change<'a>> {
    let told = |row: &InstanceRow| {
        let place = (row.worker.clone(), row.pid, row.epoch);
        (row.state, row.ok, row.since, place, describe::detail(row))
    };
    let gone = before.keys().filter(|name| !now.contains_key(*name)).map(Change::Gone);
    let same = |row: &&InstanceRow| before.get(&row.name).map(told) == Some(told(row));
    let other = now.values().filter(|row| !same(row)).map(Change::Is);
    gone.chain(other).collect()
}

fn tell(changes: &[Change<'_>], format: Format) -> Result<(), Failure> {
    let at = clock::now();
    for change in changes {
        let line = match (change, format) {
            (Change::Is(row), Format::Data(Data::Json | Data::Yaml)) => {
                serde_json::to_string(row).map_err(io::Error::from)?
            }
            (Change::Gone(name), Format::Data(Data::Json | Data::Yaml)) => {
                serde_json::json!({ "name": name, "gone": true }).to_string()
            }
            (Change::Is(row), Format::Data(Data::Name)) => row.name.to_string(),
            (Change::Gone(name), Format::Data(Data::Name)) => name.to_string(),
            (Change::Is(row), Format::Text(_)) => format!("{at}  {}", words(row)),
            (Change::Gone(name), Format::Text(_)) => format!("{at}  {name}: removed"),
        };
        output::line(line)?;
    }
    Ok(())
}

fn words(row: &InstanceRow) -> String {
    let state = describe::state(row);
    match row.state {
        State::Pending | State::Stopped => format!("{}: {state}", row.name),
        State::Starting
        | State::Running
        | State::Backoff
        | State::Stopping
        | State::Exited
        | State::Fatal
        | State::Unknown => format!("{}: {state} ({})", row.name, describe::place(row)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(name: &str, state: &str, pid: Option<i32>) -> InstanceRow {
        let (program, index) = name.split_once(':').unwrap();
        let index: u32 = index.parse().unwrap();
        serde_json::from_value(json!({
            "name": name, "id": "00000000-0000-0000-0000-000000000001", "program": program,
            "index": index, "state": state, "statecode": 0, "worker": "w1", "pid": pid,
            "epoch": 1, "revision": 2, "since": null, "restarts": 0, "exit": null,
            "reason": null, "spawnerr": null, "stderr_line": null, "stdout_logfile": null,
            "stderr_logfile": null, "wanted": {"run": true}, "acted": {"run": true}, "ok": true,
        }))
        .unwrap()
    }

    #[test]
    fn details_are_cut_where_they_would_hide_others() {
        let all = || {
            let rows = (0..10).map(|n| {
                let mut row = row(&format!("bad:{n}"), "FATAL", None);
                row.ok = false;
                row.spawnerr = Some("a long story of why it does not start at all ".repeat(4));
                row
            });
            all_cells(&rows.collect::<Vec<_>>(), Width::Fitted)
        };
        let shown = |cells: &[Vec<Text>], width| {
            let lines = table::render(&COLUMNS, cells, Some(width));
            let plain = lines.iter().map(|line| anstream::adapter::strip_str(line).to_string());
            plain.collect::<Vec<_>>()
        };
        for width in [40_u16, 50, 60, 80, 120] {
            let mut cells = all();
            one_line_each(&mut cells, width, 21);
            let lines = shown(&cells, width);
            assert_eq!(lines.len(), 11, "{width}: {lines:#?}");
            assert!(lines.iter().all(|line| line.chars().count() <= width.into()), "{lines:#?}");
            assert!(lines[10].starts_with("bad:9"), "{lines:#?}");
            assert!(lines[10].contains('…'), "{lines:#?}");
        }
        let mut cells = all();
        one_line_each(&mut cells, 80, 100);
        assert_eq!(cells, all(), "there is room for all of it");
    }

    #[test]
    fn only_what_is_other_than_before_is_told() {
        let before = by_name(&[
            row("a:0", "RUNNING", Some(1)),
            row("a:1", "RUNNING", Some(2)),
            row("b:0", "STOPPED", None),
        ]);
        let now = by_name(&[
            row("a:0", "RUNNING", Some(1)),
            row("a:1", "RUNNING", Some(3)),
            row("c:0", "STARTING", Some(4)),
        ]);
        let told: Vec<String> = changes(&before, &now)
            .into_iter()
            .map(|change| match change {
                Change::Is(row) => words(row),
                Change::Gone(name) => format!("{name} is gone"),
            })
            .collect();
        let expected = ["b:0 is gone", "a:1: RUNNING (w1, pid 3)", "c:0: STARTING (w1, pid 4)"];
        assert_eq!(told, expected);
        assert_eq!(changes(&now, &now), []);
    }
}
