//! "Did you mean".

/// How alike two words must be to suggest one for the other, of 1.
const LIKENESS_MIN: f64 = 0.8;

/// What to say about a word that is not one of `known`.
pub(crate) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, known).map(|near| format!("did you mean {near:?}?"))
}

/// The word of `known` that was probably meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| (likeness(&word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Of 1. Two letters that changed places are one slip, which short words show little of otherwise.
fn likeness(word: &str, candidate: &str) -> f64 {
    let slip = candidate.len() > 2 && strsim::osa_distance(word, candidate) == 1;
    strsim::jaro_winkler(word, candidate).max(if slip { LIKENESS_MIN } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let keys = dsbus_schema::program::ProgramSpec::keys();
        let near = |word| nearest(word, keys.iter().map(String::as_str));
        for (slip, meant) in [
            ("numproc", Some("numprocs")),
            ("comand", Some("command")),
            ("start_retries", Some("startretries")),
            ("auto-restart", Some("autorestart")),
            ("ENVIRONMENT", Some("environment")),
            ("touchtimeout", Some("touch_timeout")),
            ("knid", Some("kind")),
            ("colour", None),
            ("zzz", None),
        ] {
            assert_eq!(near(slip), meant, "{slip}");
        }
        assert_eq!(hint("zzz", []), None);
    }
}
