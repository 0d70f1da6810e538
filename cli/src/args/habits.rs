//! Options that other tools have, and tips of the parser that would lead nowhere.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Verbs that take words which may begin with `-` behind `--`: those of a command, or of a text.
const FREE: [&str; 6] = ["create", "emit", "restart", "run", "start", "stdin"];
/// More letters that differ are no slip.
const SLIPS_MAX: usize = 2;

/// The same error without what misleads: `--version` for `--verbose`, or `-- --json` where no name can
/// be so.
pub(crate) fn without_misleading_tips(mut e: clap::Error, words: &[OsString]) -> clap::Error {
    if e.kind() != ErrorKind::UnknownArgument {
        return e;
    }
    let verb = asked(words);
    if !FREE.contains(&verb.get_name()) {
        e.remove(ContextKind::Suggested);
    }
    let (given, near) = (e.get(ContextKind::InvalidArg), e.get(ContextKind::SuggestedArg));
    if let (Some(ContextValue::String(given)), Some(ContextValue::String(near))) = (given, near)
        && strsim::osa_distance(given, near) > SLIPS_MAX
    {
        e.remove(ContextKind::SuggestedArg);
        // It shows the option that was suggested.
        let usage = ContextValue::StyledStr(verb.clone().render_usage());
        e.insert(ContextKind::Usage, usage);
    }
    e
}

/// What to write instead of an option that another tool has.
pub(super) fn habit(words: &[OsString], e: &clap::Error) -> Option<String> {
    if let Some(ContextValue::String(given)) = e.get(ContextKind::InvalidSubcommand) {
        return act(asked(words).get_name(), given);
    }
    let Some(ContextValue::String(given)) = e.get(ContextKind::InvalidArg) else { return None };
    if e.kind() != ErrorKind::UnknownArgument || e.get(ContextKind::SuggestedArg).is_some() {
        return None;
    }
    let verb = asked(words);
    let has = |id: &str| verb.get_arguments().any(|arg| arg.get_id() == id);
    let bare = given.trim_start_matches('-');
    let prints = || {
        let output = verb.get_arguments().find(|arg| arg.get_id() == "output");
        output.is_some_and(|arg| arg.get_possible_values().iter().any(|v| v.matches(bare, false)))
    };
    Some(match given.as_str() {
        "--json" | "--yaml" | "--wide" if prints() => format!("did you mean -o {bare}?"),
        "--all" | "-a" | "-A" if has("names") => {
            format!("all is a name: dsbus {} all", verb.get_name())
        }
        "-f" | "--file" | "--filename" if has("files") || has("file") => {
            format!("a file needs no option: dsbus {} FILE", verb.get_name())
        }
        "--tail" if has("lines") => "did you mean -n?".to_owned(),
        "--wait" if has("no_wait") => "it waits, unless there is --no-wait".to_owned(),
        "-v" | "--verbose" | "--debug" => {
            "DSBUS_LOG=debug in the environment tells more".to_owned()
        }
        _ => return None,
    })
}

/// What to do instead of something that only others of its kind do.
fn act(verb: &str, given: &str) -> Option<String> {
    let instead = match (verb, given) {
        ("scheduler", "reload") => {
            "a scheduler reads its files again when they change; for another version of dsbus there \
             is dsbus scheduler restart"
        }
        ("healthy", "gateway") => {
            "a gateway is asked by its address: dsbus healthy http http://127.0.0.1:9001/readyz"
        }
        ("healthy", "nats" | "nats-server") => {
            "a nats-server is asked by its address: dsbus healthy http http://127.0.0.1:8222/healthz"
        }
        _ => return None,
    };
    Some(instead.to_owned())
}

/// The innermost verb that words name.
fn asked(words: &[OsString]) -> Command {
    let mut all = super::command();
    all.build();
    let mut verb = &all;
    for word in words.iter().skip(1) {
        // Behind it are the words of a command.
        if word == "--" {
            break;
        }
        verb = verb.find_subcommand(word).unwrap_or(verb);
    }
    verb.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> String {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let e = without_misleading_tips(super::super::parse(words.clone()).unwrap_err(), &words);
        let habit = habit(&words, &e).unwrap_or_default();
        format!("{}\n{habit}", e.render())
    }

    #[test]
    fn tips_that_lead_nowhere_are_left_out() {
        for (line, not) in [
            ("dsbus --verbose status", "--version"),
            ("dsbus top --filter x", "--fleet"),
            ("dsbus stop web --now", "-- --now"),
            ("dsbus status --json", "-- --json"),
        ] {
            let said = said(line);
            assert!(!said.contains(not) && !said.contains("tip:"), "{line}: {said}");
            assert!(said.contains("Usage: dsbus"), "{line}: {said}");
        }
        for (line, tip) in [
            ("dsbus status --outptu json", "tip: a similar argument exists: '--output'"),
            ("dsbus restart --roling web", "tip: a similar argument exists: '--rolling'"),
            ("dsbus start web --port", "use '-- --port'"),
            ("dsbus rollout staus", "'status'"),
        ] {
            let said = said(line);
            assert!(said.contains(tip), "{line}: {said}");
        }
    }

    #[test]
    fn what_only_others_do_is_answered() {
        for (line, answer) in [
            ("dsbus scheduler reload", "dsbus scheduler restart"),
            ("dsbus healthy gateway", "dsbus healthy http http://127.0.0.1:9001/readyz"),
            ("dsbus healthy nats", "8222/healthz"),
        ] {
            let said = said(line);
            assert!(said.contains(answer), "{line}: {said}");
            assert!(!said.contains("similar"), "{line}: {said}");
        }
    }

    #[test]
    fn options_of_other_tools_are_answered() {
        for (line, answer) in [
            ("dsbus status --json", "did you mean -o json?"),
            ("dsbus workers --wide", "did you mean -o wide?"),
            ("dsbus stop --all", "all is a name: dsbus stop all"),
            ("dsbus apply -f web.toml", "a file needs no option: dsbus apply FILE"),
            ("dsbus logs web --tail 5", "did you mean -n?"),
            ("dsbus stop web --wait", "it waits, unless there is --no-wait"),
            ("dsbus --verbose status", "DSBUS_LOG=debug"),
            ("dsbus init --wide", ""),
        ] {
            let said = said(line);
            let last = said.rsplit('\n').next().unwrap_or_default();
            assert!(last.starts_with(answer), "{line}: {said}");
            assert_eq!(answer.is_empty(), last.is_empty(), "{line}: {said}");
        }
    }
}
