//! `status`, `workers`, `rollouts`, `explain` and `groups`: answered from the view.

use std::collections::BTreeSet;

use dsbus_client::{Answer, Refusal};
use dsbus_planner::explain::explain;
use dsbus_planner::groups;
use dsbus_planner::rows;
use dsbus_schema::command::{
    ANSWER_BYTES_MAX, Ask, Explanation, GroupRow, RolloutRow, STATUS_ROWS_MIN, code,
};
use dsbus_schema::ids::{InstanceId, ProgramName, Target};
use dsbus_schema::status::{InstanceRow, WorkerRow};
use serde::Serialize;
use serde_json::Value;

use super::{Commander, Meant, did_you_mean, json};
use crate::clock;

/// A row without its texts, as JSON; and what a byte of a text takes more when it is escaped.
const BARE_ROW: usize = 700;
const ESCAPE: usize = 5;
/// Most bytes of an answer to `status`: a message holds 1 MiB.
const PAGE_BYTES_MAX: usize = 960 * 1024;
/// Most bytes of a row where [`STATUS_ROWS_MIN`] do not fit otherwise.
const ROW_BYTES: usize = PAGE_BYTES_MAX / STATUS_ROWS_MIN;
/// Bytes of a text of such a row: it has at most seven.
const TEXT_BYTES: usize = (ROW_BYTES - BARE_ROW) / 8;
/// What stands for the rest of a text.
const CUT: &str = "…";

/// As many rows as an answer holds, and at least one.
pub(super) fn fitting<T: Serialize>(rows: impl Iterator<Item = T>) -> Vec<T> {
    let mut bytes = 0;
    let mut fit = Vec::new();
    for row in rows {
        bytes += serde_json::to_vec(&row).map_or(0, |row| row.len());
        if bytes > ANSWER_BYTES_MAX && !fit.is_empty() {
            break;
        }
        fit.push(row);
    }
    fit
}

/// The rows of one answer: [`STATUS_ROWS_MIN`] of them, and more while they are short. Where so many do
/// not fit into a message, their longest texts are cut.
fn page(rows: impl Iterator<Item = InstanceRow>) -> Page {
    let (mut page, mut bytes, mut rows) = (Page::default(), 0, rows.peekable());
    while let Some(row) = rows.next() {
        bytes += weight(&row);
        let full = page.rows.len() + 1 >= STATUS_ROWS_MIN && bytes > ANSWER_BYTES_MAX;
        let more = full && rows.peek().is_some();
        page.next = more.then(|| row.name.clone());
        page.rows.push(row);
        if full {
            break;
        }
    }
    if bytes > PAGE_BYTES_MAX {
        page.rows.iter_mut().filter(|row| weight(row) > ROW_BYTES).for_each(cut);
    }
    page
}

/// An answer to `status`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    rows: Vec<InstanceRow>,
    /// The last of them, where more follow.
    next: Option<InstanceId>,
}

impl Page {
    /// As it is sent.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn answer(&self) -> Result<Answer, Refusal> {
        let next = self.next.as_ref().map(ToString::to_string);
        Ok(Answer { next, ..json(&self.rows)? })
    }
}

/// Cuts the texts of a row so that it takes [`ROW_BYTES`] at most.
fn cut(row: &mut InstanceRow) {
    let InstanceRow { note, reason, spawnerr, stderr_line, stdout_logfile, stderr_logfile, .. } =
        row;
    let texts = [note, reason, spawnerr, stderr_line, stdout_logfile, stderr_logfile];
    for text in texts.into_iter().flatten() {
        shorten(text);
    }
    if let Some(word) = row.arguments.first_mut() {
        shorten(word);
        if row.arguments.len() > 1 {
            row.arguments.truncate(1);
            row.arguments.push(CUT.to_owned());
        }
    }
    row.meta.clear();
}

/// The begin of a text that takes more than [`TEXT_BYTES`] as JSON.
fn shorten(text: &mut String) {
    let mut bytes = 0;
    let fits = text.char_indices().find(|(_, letter)| {
        bytes += escaped(letter.encode_utf8(&mut [0; 4]));
        bytes > TEXT_BYTES
    });
    if let Some((at, _)) = fits {
        text.truncate(at);
        text.push_str(CUT);
    }
}

/// No more than a text takes as JSON.
fn escaped(text: &str) -> usize {
    let long = |byte: &&u8| byte.is_ascii_control() || matches!(byte, b'"' | b'\\');
    text.len() + text.as_bytes().iter().filter(long).count() * ESCAPE
}

/// No less than a row takes as JSON, without making that.
fn weight(row: &InstanceRow) -> usize {
    let InstanceRow { note, reason, spawnerr, stderr_line, stdout_logfile, stderr_logfile, .. } =
        row;
    let texts = [note, reason, spawnerr, stderr_line, stdout_logfile, stderr_logfile];
    let texts = texts.into_iter().flatten().chain(&row.arguments).map(|text| escaped(text));
    let meta: usize =
        if row.meta.is_empty() { 0 } else { escaped(&Value::from(row.meta.clone()).to_string()) };
    BARE_ROW + texts.sum::<usize>() + meta
}

/// Whether a program or group comes after those that were answered already.
pub(super) fn is_after(name: &ProgramName, ask: &Ask) -> bool {
    ask.after.as_ref().is_none_or(|after| *name > after.program)
}

impl Commander {
    /// Instances by name and index, as many as an answer holds.
    pub(super) async fn status(&self, ask: Ask) -> Result<Page, Refusal> {
        let after = ask.after.as_ref();
        if ask.names.is_empty() {
            self.fresh().await?;
            let core = self.shared.lock();
            return Ok(page(rows::instances_after(&core.view, after)));
        }
        let meant = self.resolve(&ask.names).await?;
        let core = self.shared.lock();
        let of = |meant: &Meant| -> Box<dyn Iterator<Item = InstanceRow>> {
            let program = &meant.program.name;
            match meant.index {
                None => Box::new(rows::of_program_after(&core.view, program, after)),
                Some(index) => {
                    let name = InstanceId::new(program.clone(), index);
                    let comes = after.is_none_or(|after| name > *after);
                    Box::new(comes.then(|| rows::instance(&core.view, &name)).flatten().into_iter())
                }
            }
        };
        Ok(page(meant.iter().flat_map(of)))
    }

    /// Workers by name.
    pub(super) async fn workers(&self, _: &Ask) -> Result<Vec<WorkerRow>, Refusal> {
        self.fresh().await?;
        Ok(rows::workers(&self.shared.lock().view))
    }

    /// How far rollouts are, by program: of those that are named, or of all that are going on. As
    /// many as an answer holds.
    pub(super) async fn rollouts(&self, ask: &Ask) -> Result<Vec<RolloutRow>, Refusal> {
        let mut names: Vec<ProgramName> = if ask.names.is_empty() {
            self.fresh().await?;
            let core = self.shared.lock();
            let rolling = core.view.programs().filter(|program| program.rollout.is_some());
            rolling.map(|program| program.name.clone()).collect()
        } else {
            self.resolve(&ask.names).await?.into_iter().map(|m| m.program.name).collect()
        };
        names.dedup();
        let (core, now) = (self.shared.lock(), clock::both());
        let rest = names.iter().filter(|name| is_after(name, ask));
        Ok(fitting(rest.filter_map(|name| groups::rollout(&core.view, name, now))))
    }

    /// Why instances are where they are, by name and index, as many as an answer holds: whoever
    /// wants more asks for those after the last, until none is left.
    pub(super) async fn explain(&self, ask: &Ask) -> Result<Vec<Explanation>, Refusal> {
        if ask.names.is_empty() {
            return Err(Refusal::new(code::BAD_REQUEST, "names is empty: say what to explain"));
        }
        let meant = self.resolve(&ask.names).await?;
        let mut names: Vec<InstanceId> = {
            let core = self.shared.lock();
            meant.iter().flat_map(|meant| meant.instances(&core.view)).collect()
        };
        names.sort();
        let (core, now) = (self.shared.lock(), clock::both());
        let rest = names.iter().filter(|name| ask.after.as_ref().is_none_or(|a| *name > a));
        Ok(fitting(rest.filter_map(|name| explain(&core.view, name, now))))
    }

    /// Groups by name.
    pub(super) async fn groups(&self, ask: &Ask) -> Result<Vec<GroupRow>, Refusal> {
        self.fresh().await?;
        let rows = groups::groups(&self.shared.lock().view);
        let mut meant = BTreeSet::new();
        for name in ask.names.iter().filter(|_| !ask.names.contains(&Target::All)) {
            let text = name.to_string();
            if let Target::Copies(copies) = name
                && copies.all()
            {
                let names = rows.iter().map(|row| row.name.as_str());
                let fitting: Vec<_> = names.filter(|name| copies.fits(name)).collect();
                if !fitting.is_empty() {
                    meant.extend(fitting.into_iter().map(str::to_owned));
                    continue;
                }
            }
            if !rows.iter().any(|row| row.name.as_str() == text) {
                let hint = did_you_mean(&text, rows.iter().map(|row| row.name.as_str()));
                let text = format!("no group is named {text:?}{hint}");
                return Err(Refusal::new(code::NOT_FOUND, text));
            }
            meant.insert(text);
        }
        let is_meant = |row: &GroupRow| meant.is_empty() || meant.contains(row.name.as_str());
        Ok(fitting(rows.into_iter().filter(|row| is_meant(row) && is_after(&row.name, ask))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Most bytes of a message unless a server is told otherwise.
    const PAYLOAD_MAX: usize = 1 << 20;

    fn row(text: &str) -> InstanceRow {
        serde_json::from_value(json!({
            "name": "a-name-of-some-length:4999", "id": "01890a5d-ac96-774b-bcce-b302099a8057",
            "program": "a-name-of-some-length", "index": 4999, "state": "BACKOFF", "statecode": 30,
            "worker": "a-worker-of-some-length", "pid": 4_194_303, "epoch": 1_000_000, "revision": 64,
            "since": "2026-05-01T12:00:00.123Z", "restarts": 1_000,
            "exit": { "code": null, "signal": 11, "core": true },
            "usage": { "cpu_ms": 1_000_000_000, "memory_peak": 1_000_000_000_000_u64 },
            "reason": text, "spawnerr": null, "stderr_line": null, "stdout_logfile": null,
            "stderr_logfile": null, "ok": false,
            "wanted": { "run": true, "starts": 1_000, "restarts": 1_000, "reloads": 1_000 },
            "acted": { "run": true, "starts": 1_000, "restarts": 1_000, "reloads": 1_000 },
        }))
        .unwrap()
    }

    #[test]
    fn an_answer_to_status_fits_into_a_message_and_holds_many_rows() {
        for (text, least, most) in [
            ("", 700, 1_000),
            (&*"x".repeat(1_300), STATUS_ROWS_MIN, STATUS_ROWS_MIN),
            (&*"\u{1}".repeat(240), STATUS_ROWS_MIN, STATUS_ROWS_MIN),
        ] {
            let row = row(text);
            let bytes = serde_json::to_vec(&row).unwrap().len();
            assert!(weight(&row) >= bytes, "{} < {bytes}", weight(&row));
            let page = page(std::iter::repeat_n(row, 10_000));
            assert_eq!(page.next, page.rows.last().map(|row| row.name.clone()));
            let page = page.rows;
            assert!((least..=most).contains(&page.len()), "{} rows", page.len());
            let bytes = serde_json::to_vec(&page).unwrap().len();
            assert!(bytes < PAYLOAD_MAX, "{bytes} bytes");
        }
        for few in [0, 10, STATUS_ROWS_MIN] {
            let page = page(std::iter::repeat_n(row(""), few));
            assert_eq!((page.rows.len(), page.next), (few, None));
        }
    }

    #[test]
    fn long_texts_are_cut_only_where_many_would_not_fit() {
        let long = |size: usize| {
            let mut row = row(&"ä\u{1}".repeat(size));
            row.arguments = vec!["-x".repeat(size), "y".repeat(size)];
            row.meta.insert("team".to_owned(), Value::from("z".repeat(size)));
            row.stderr_line = Some("\"".repeat(size));
            row
        };
        for size in [10, 300, 1_000, 4_000] {
            let row = long(size);
            let page = page(std::iter::repeat_n(row.clone(), 5_000)).rows;
            assert!(page.len() >= STATUS_ROWS_MIN, "{} rows", page.len());
            let bytes = serde_json::to_vec(&page).unwrap().len();
            assert!(bytes < PAYLOAD_MAX, "{size}: {bytes} bytes");
            assert_eq!(page[0] == row, size == 10, "{size}");
        }
        assert_eq!(page(std::iter::once(long(4_000))).rows, [long(4_000)]);
    }

    #[test]
    fn an_answer_holds_some_rows_and_at_least_one() {
        let row = "x".repeat(100 * 1024);
        assert_eq!(fitting(std::iter::repeat_n(&row, 20)).len(), 5);
        assert_eq!(fitting(std::iter::once("x".repeat(ANSWER_BYTES_MAX * 2))).len(), 1);
        assert_eq!(fitting(std::iter::empty::<String>()), [""; 0]);
    }
}
