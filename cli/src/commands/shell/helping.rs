//! `help` of the shell: its verbs, each on a line. What they are the command line says.

use crate::args;
use crate::table::folded;

/// Between a verb and what it does.
const GAP: usize = 2;
/// Least columns for what it does.
const TEXT_MIN: usize = 20;

/// Its lines, on a terminal of so many columns.
pub(super) fn lines(width: Option<usize>) -> Vec<String> {
    let command = args::command();
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut verbs: Vec<(String, String)> = shown
        .filter(|verb| verb.get_name() != "shell")
        .map(|verb| {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            (verb.get_name().to_owned(), about)
        })
        .collect();
    verbs.push(("exit".to_owned(), "Leave, as quit and Ctrl-D do".to_owned()));
    let indent = verbs.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + GAP;
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(indent).max(TEXT_MIN));
    let mut lines = Vec::new();
    for (name, about) in &verbs {
        for (number, part) in folded(about, room).into_iter().enumerate() {
            let name = if number == 0 { name } else { "" };
            lines.push(format!("{name:<indent$}{part}"));
        }
    }
    lines.push(String::new());
    lines.push("help VERB tells all about one.".to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_there_and_fits() {
        let all = lines(None);
        for verb in args::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let name = verb.get_name();
            let there = all.iter().filter(|line| line.starts_with(&format!("{name} "))).count();
            assert_eq!(there, usize::from(name != "shell"), "{name}: {all:#?}");
        }
        assert!(
            !all.iter().any(|line| line.starts_with("agent") || line.contains("--")),
            "{all:#?}"
        );
        let narrow = lines(Some(60));
        assert!(narrow.iter().all(|line| line.chars().count() <= 60), "{narrow:#?}");
    }
}
