//! "Did you mean".

/// Keys of Supervisor's `[program:x]` that dsbus does not have, and what to say about each.
const SUPERVISORS: &[(&str, &str)] = &[
    ("killasgroup", "dsbus always signals the whole process group; leave it out"),
    ("stopasgroup", "dsbus always signals the whole process group; leave it out"),
    ("stdout_logfile", "each worker keeps the output itself; read it with dsbus logs"),
    ("stderr_logfile", "each worker keeps the output itself; read it with dsbus logs --stderr"),
    ("process_name", "instances are named web:0, web:1; leave it out"),
    ("numprocs_start", "instances are counted from 0; leave it out"),
    ("user", "Supervisor has this key, dsbus not yet"),
    ("umask", "Supervisor has this key, dsbus not yet"),
    ("priority", "Supervisor has this key, dsbus not yet"),
    ("stdout_capture_maxbytes", "Supervisor has this key, dsbus not yet"),
    ("stdout_events_enabled", "Supervisor has this key, dsbus not yet"),
    ("stdout_syslog", "Supervisor has this key, dsbus not yet"),
    ("stderr_capture_maxbytes", "Supervisor has this key, dsbus not yet"),
    ("stderr_events_enabled", "Supervisor has this key, dsbus not yet"),
    ("stderr_syslog", "Supervisor has this key, dsbus not yet"),
    ("serverurl", "Supervisor has this key, dsbus not yet"),
];

/// How alike two words must be to suggest one for the other, of 1.
const LIKENESS_MIN: f64 = 0.8;

/// What to say about a word that is not one of `known`.
pub(super) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    if let Some((_, hint)) = SUPERVISORS.iter().find(|(key, _)| *key == word) {
        return Some((*hint).to_owned());
    }
    nearest(word, known).map(|near| format!("did you mean {near:?}?"))
}

/// The word of `known` that was probably meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
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
            ("colour", None),
            ("zzz", None),
        ] {
            assert_eq!(near(slip), meant, "{slip}");
        }
        assert!(hint("killasgroup", []).is_some_and(|h| h.contains("whole process group")));
    }
}
