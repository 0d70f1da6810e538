//! What Tab offers: what other shells are offered, too.

use std::ffi::OsString;

use clap_complete::engine;
use rustyline::completion::{Completer, Pair};
use rustyline::{Context, Helper, Highlighter, Hinter, Result, Validator};

use crate::args;

/// Words of the shell's own.
const OWN: [&str; 2] = ["exit", "quit"];

/// Completes verbs, options, and names of the fleet.
#[derive(Helper, Highlighter, Hinter, Validator)]
pub(super) struct Completing;

impl Completer for Completing {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        Ok(offered(&line[..at]))
    }
}

/// Where the word that is typed begins, and what it may become.
fn offered(typed: &str) -> (usize, Vec<Pair>) {
    let begin = typed.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let (before, word) = typed.split_at(begin);
    let before = shell_words::split(before).unwrap_or_default();
    let first = before.is_empty();
    let mut words: Vec<OsString> = vec!["dsbus".into()];
    words.extend(before.into_iter().map(OsString::from));
    words.push(word.into());
    let at = words.len() - 1;
    let found = engine::complete(&mut args::completed(), words, at, None).unwrap_or_default();
    let shown = found.iter().filter(|one| !one.is_hide_set());
    let mut texts: Vec<String> =
        shown.map(|one| one.get_value().to_string_lossy().into_owned()).collect();
    if first {
        texts.extend(OWN.iter().filter(|own| own.starts_with(word)).map(|own| (*own).to_owned()));
    }
    let pairs = texts.into_iter().map(|text| {
        let ended = if text.ends_with(['/', '=']) { text.clone() } else { format!("{text} ") };
        Pair { display: text, replacement: ended }
    });
    (begin, pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(typed: &str) -> Vec<String> {
        offered(typed).1.into_iter().map(|pair| pair.display).collect()
    }

    #[test]
    fn verbs_and_options_are_offered() {
        assert_eq!(texts("sta"), ["start", "status"]);
        assert_eq!(texts("ex"), ["export", "explain", "exit"]);
        assert!(texts("status --out").contains(&"--output".to_owned()));
        assert!(texts("status -o j").contains(&"json".to_owned()));
        let (begin, pairs) = offered("status -o j");
        assert_eq!((begin, pairs[0].replacement.as_str()), ("status -o ".len(), "json "));
    }
}
