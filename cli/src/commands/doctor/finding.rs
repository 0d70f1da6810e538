//! One thing that was looked at.

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::table::folded;

/// Columns before the text.
const INDENT: usize = 14;
/// Least columns for the text.
const TEXT_MIN: usize = 30;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Good,
    /// It works, and may not for long, or is likely not meant.
    Warning,
    /// It does not work.
    Wrong,
}

impl Verdict {
    fn sign(self) -> (char, Style) {
        match self {
            Verdict::Good => ('✓', AnsiColor::Green.on_default()),
            Verdict::Warning => ('!', AnsiColor::Yellow.on_default().bold()),
            Verdict::Wrong => ('✗', AnsiColor::Red.on_default().bold()),
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What: a word that stays.
    pub(super) check: &'static str,
    /// How it is.
    pub(super) verdict: Verdict,
    /// That in words.
    pub(super) text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Finding {
    /// All is well.
    pub(super) fn good(check: &'static str, text: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Good, text: text.into(), fix: None }
    }

    /// Something to look at.
    pub(super) fn warning(
        check: &'static str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        let (verdict, fix) = (Verdict::Warning, Some(fix.into()));
        Finding { check, verdict, text: text.into(), fix }
    }

    /// Something to do.
    pub(super) fn wrong(
        check: &'static str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        Finding { verdict: Verdict::Wrong, ..Finding::warning(check, text, fix) }
    }

    /// As it is printed on a terminal of so many columns.
    pub(super) fn lines(&self, width: Option<usize>) -> Vec<String> {
        let room = width.map_or(usize::MAX, |width| width.saturating_sub(INDENT).max(TEXT_MIN));
        let fold = |text: &str| match width {
            Some(_) => folded(text, room),
            None => vec![text.to_owned()],
        };
        let (sign, style) = self.verdict.sign();
        let mut lines = Vec::new();
        for (number, text) in fold(&self.text).into_iter().enumerate() {
            lines.push(match number {
                0 => format!(
                    "{style}{sign}{style:#} {:<width$}{text}",
                    self.check,
                    width = INDENT - 2
                ),
                _ => format!("{:INDENT$}{text}", ""),
            });
        }
        let green = AnsiColor::Green.on_default();
        let fix = self.fix.iter().flat_map(|fix| fold(fix));
        lines.extend(fix.map(|text| format!("{:INDENT$}{green}{text}{green:#}", "")));
        lines
    }
}
