//! What was measured: samples, goals, and the table and the JSON made of them.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

/// The percentiles that are told.
const PERCENTILES: [usize; 4] = [50, 90, 99, 100];

/// Whose numbers they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Ours,
    Peer,
    Floor,
}

impl Who {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Who::Ours => "dsbus",
            Who::Peer => "Supervisor",
            Who::Floor => "floor",
        }
    }
}

/// Numbers of one kind, in rising order; never none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// `None` when nothing was measured.
    pub(crate) fn new(mut numbers: Vec<f64>) -> Option<Samples> {
        numbers.sort_by(f64::total_cmp);
        (!numbers.is_empty()).then_some(Samples(numbers))
    }

    /// The smallest sample that so many of a hundred do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0[rank - 1]
    }

    pub(crate) fn median(&self) -> f64 {
        self.percentile(50)
    }
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) who: Who,
    pub(crate) unit: &'static str,
    pub(crate) samples: Samples,
}

/// What is wanted of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// A number, and what is wanted of it.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) measured: f64,
    /// A number that is only told has none.
    pub(crate) limit: Option<Limit>,
}

impl Goal {
    fn met(&self) -> Option<bool> {
        self.limit.map(|limit| match limit {
            Limit::AtMost(most) => self.measured <= most,
            Limit::AtLeast(least) => self.measured >= least,
        })
    }

    fn wanted(&self) -> String {
        match self.limit {
            Some(Limit::AtMost(most)) => format!("<= {}", figure(most)),
            Some(Limit::AtLeast(least)) => format!(">= {}", figure(least)),
            None => "-".to_owned(),
        }
    }
}

/// All of one bench.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) goals: Vec<Goal>,
    /// What could not be measured, and why.
    pub(crate) missing: Vec<String>,
}

impl Report {
    /// Adds a line. Says its samples again, for the ratios; nothing measured is told as such.
    pub(crate) fn row(
        &mut self,
        who: Who,
        what: &str,
        unit: &'static str,
        numbers: Vec<f64>,
    ) -> Option<Samples> {
        let Some(samples) = Samples::new(numbers) else {
            self.missing.push(format!("{what}, {}: nothing was measured", who.name()));
            return None;
        };
        let row = Row { what: what.to_owned(), who, unit, samples: samples.clone() };
        self.rows.push(row);
        Some(samples)
    }

    /// Compares two numbers that were both measured.
    pub(crate) fn ratio(
        &mut self,
        what: &str,
        (one, other): (Option<f64>, Option<f64>),
        limit: Option<Limit>,
    ) {
        match (one, other) {
            (Some(one), Some(other)) if other > 0.0 => self.goal(what, one / other, limit),
            _ => self.missing.push(format!("{what}: one of the two was not measured")),
        }
    }

    pub(crate) fn goal(&mut self, what: &str, measured: f64, limit: Option<Limit>) {
        self.goals.push(Goal { what: what.to_owned(), measured, limit });
    }

    pub(crate) fn table(&self) -> String {
        let mut rows = plain(&["what", "who", "n", "p50", "p90", "p99", "max", "unit"]);
        for row in &self.rows {
            let mut cells = vec![row.what.clone(), row.who.name().to_owned()];
            cells.push(row.samples.0.len().to_string());
            cells.extend(PERCENTILES.map(|p| figure(row.samples.percentile(p))));
            cells.push(row.unit.to_owned());
            rows.add_row(cells);
        }
        for column in 2..7 {
            if let Some(column) = rows.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = format!("{rows}\n");
        if !self.goals.is_empty() {
            let mut goals = plain(&["compared", "measured", "wanted", ""]);
            for goal in &self.goals {
                let met = match goal.met() {
                    Some(true) => "met",
                    Some(false) => "MISSED",
                    None => "",
                };
                goals.add_row([&*goal.what, &figure(goal.measured), &goal.wanted(), met]);
            }
            let _ = writeln!(text, "\n{goals}");
        }
        for missing in &self.missing {
            let _ = writeln!(text, "NOT MEASURED: {missing}");
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let percentiles: serde_json::Map<String, Value> = PERCENTILES
                .iter()
                .map(|p| (format!("p{p}"), Value::from(row.samples.percentile(*p))))
                .collect();
            json!({
                "what": row.what, "who": row.who.name(), "unit": row.unit,
                "n": row.samples.0.len(), "percentiles": percentiles, "samples": row.samples.0,
            })
        });
        let goals = self.goals.iter().map(|goal| {
            json!({
                "what": goal.what, "measured": goal.measured,
                "wanted": goal.wanted(), "met": goal.met(),
            })
        });
        json!({
            "rows": rows.collect::<Vec<_>>(),
            "goals": goals.collect::<Vec<_>>(),
            "missing": self.missing,
        })
    }
}

fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(header.to_vec());
    table
}

/// Three digits that count, as people write them.
pub(crate) fn figure(number: f64) -> String {
    let size = number.abs();
    if size >= 100.0 {
        format!("{number:.0}")
    } else if size >= 10.0 {
        format!("{number:.1}")
    } else if size >= 1.0 {
        format!("{number:.2}")
    } else {
        format!("{number:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_sample() {
        let samples = Samples::new((1..=10).rev().map(f64::from).collect()).unwrap();
        let read = [1, 50, 90, 91, 99, 100].map(|p| figure(samples.percentile(p)));
        assert_eq!(read, ["1.00", "5.00", "9.00", "10.0", "10.0", "10.0"]);
        assert_eq!(Samples::new(Vec::new()), None);
    }

    #[test]
    fn what_was_not_measured_is_told_and_not_compared() {
        let mut report = Report::default();
        let peer = report.row(Who::Peer, "x", "ms", Vec::new());
        report.ratio("x by y", (Some(1.0), peer.map(|s| s.median())), Some(Limit::AtMost(2.0)));
        assert_eq!((report.rows.len(), report.goals.len(), report.missing.len()), (0, 0, 2));
        assert!(report.table().contains("NOT MEASURED: x, Supervisor"));
    }

    #[test]
    fn a_goal_is_met_or_missed() {
        let goal = |measured, limit| Goal { what: String::new(), measured, limit }.met();
        assert_eq!(goal(2.0, Some(Limit::AtMost(2.0))), Some(true));
        assert_eq!(goal(2.1, Some(Limit::AtMost(2.0))), Some(false));
        assert_eq!(goal(0.5, Some(Limit::AtLeast(0.6))), Some(false));
        assert_eq!(goal(0.5, None), None);
    }
}
