//! Words that are right, in an order that is not: which command was meant.

use std::ffi::OsString;

use dsbus_schema::ids::Target;
use dsbus_schema::program::Signal;

use super::habits;

/// The steps of `dsbus rollout`, which come before the names.
const ROLLOUT_STEPS: [&str; 5] = ["status", "pause", "resume", "promote", "undo"];

/// The daemons that can be in the background, and what is done about them.
const DAEMONS: [&str; 3] = ["gateway", "scheduler", "worker"];
const DAEMON_ACTS: [&str; 5] = ["start", "stop", "restart", "status", "reload"];

/// What to say to a command line that could not be read, where one can tell what was meant.
pub(crate) fn meant(words: &[OsString], e: &clap::Error) -> Option<String> {
    if !e.use_stderr() {
        return None;
    }
    swapped(words).or_else(|| daemon(words)).or_else(|| habits::habit(words, e))
}

/// What its words say in another order, if that makes sense.
fn swapped(words: &[OsString]) -> Option<String> {
    let words: Vec<&str> = words.iter().skip(1).map(|word| word.to_str()).collect::<Option<_>>()?;
    let verb = words.iter().position(|word| ["signal", "scale", "rollout"].contains(word))?;
    let (before, given) = (&words[..verb], &words[verb + 1..]);
    // What is an option's value, and what is not, only the parser knows.
    if given.iter().any(|word| word.starts_with('-')) || given.is_empty() {
        return None;
    }
    let meant = match words[verb] {
        "signal" => signal(given),
        "scale" => scale(given),
        _ => rollout(given),
    }?;
    let meant: Vec<String> = meant.iter().map(|word| quoted(word)).collect();
    let meant = format!("dsbus {} {}", words[verb], meant.join(" "));
    Some(match before {
        [] => format!("did you mean {meant}?"),
        _ => format!("did you mean {meant}, with the same options before it?"),
    })
}

/// `gateway gw.toml start`: what is to be done about a daemon comes before its options.
fn daemon(words: &[OsString]) -> Option<String> {
    let words: Vec<&str> = words.iter().skip(1).map(|word| word.to_str()).collect::<Option<_>>()?;
    let verb = words.iter().position(|word| DAEMONS.contains(word))?;
    let given = &words[verb + 1..];
    let at = given.iter().position(|word| DAEMON_ACTS.contains(word)).filter(|at| *at > 0)?;
    // It may be the value of an option.
    if given[at - 1].starts_with('-') && !given[at - 1].contains('=') {
        return None;
    }
    let (before, after) = (&given[..at], &given[at + 1..]);
    let meant = words[..=verb].iter().chain([&given[at]]).chain(before).chain(after);
    let meant: Vec<String> = meant.map(|word| quoted(word)).collect();
    Some(format!("did you mean dsbus {}?", meant.join(" ")))
}

fn is_name(word: &str) -> bool {
    Target::parse(word).is_ok()
}

/// `foo USR1`
fn signal(given: &[&str]) -> Option<Vec<String>> {
    let (last, names) = given.split_last()?;
    let signal: Signal = last.parse().ok()?;
    let first = names.first()?;
    // With a signal in front the order is not what is wrong.
    (first.parse::<Signal>().is_err() && names.iter().all(|name| is_name(name)))
        .then(|| [signal.name().to_owned()].into_iter().chain(names.iter().map(text)).collect())
}

/// `web 3`, `3 web`, `web:3`
fn scale(given: &[&str]) -> Option<Vec<String>> {
    let count = |word: &str| word.parse::<u32>().is_ok();
    match given {
        [one] => {
            let (name, n) = one.split_once(':')?;
            (count(n) && is_name(name)).then(|| vec![format!("{name}={n}")])
        }
        pairs => {
            let pairs = pairs.chunks(2).map(|pair| match pair {
                [name, n] | [n, name] if count(n) && !count(name) && is_name(name) => {
                    Some(format!("{name}={n}"))
                }
                _ => None,
            });
            pairs.collect()
        }
    }
}

/// `web pause`
fn rollout(given: &[&str]) -> Option<Vec<String>> {
    let (last, names) = given.split_last()?;
    let fits = ROLLOUT_STEPS.contains(last)
        && !names.is_empty()
        && !names.iter().any(|name| ROLLOUT_STEPS.contains(name));
    fits.then(|| [text(last)].into_iter().chain(names.iter().map(text)).collect())
}

/// A pattern is quoted, so that the shell leaves it alone.
fn quoted(word: &str) -> String {
    let pattern = word.contains(['*', '?', '[']);
    if pattern { shell_words::quote(word).into_owned() } else { word.to_owned() }
}

fn text(word: &&str) -> String {
    (*word).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(line: &str) -> Option<String> {
        swapped(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn words_in_another_order_are_put_right() {
        for (given, right) in [
            ("dsbus signal foo USR1", "dsbus signal USR1 foo"),
            ("dsbus signal foo:0 bar sigterm", "dsbus signal TERM foo:0 bar"),
            ("dsbus signal foo* HUP", "dsbus signal HUP 'foo*'"),
            ("dsbus signal foo 9", "dsbus signal KILL foo"),
            ("dsbus scale web 3", "dsbus scale web=3"),
            ("dsbus scale 3 web", "dsbus scale web=3"),
            ("dsbus scale web 3 api 0", "dsbus scale web=3 api=0"),
            ("dsbus scale web:3", "dsbus scale web=3"),
            ("dsbus rollout web pause", "dsbus rollout pause web"),
            ("dsbus rollout web api status", "dsbus rollout status web api"),
        ] {
            assert_eq!(guess(given), Some(format!("did you mean {right}?")), "{given}");
        }
        let before = guess("dsbus --fleet eu scale web 3").unwrap();
        assert!(before.starts_with("did you mean dsbus scale web=3, with the same"), "{before}");
    }

    #[test]
    fn what_is_done_about_a_daemon_comes_first() {
        let guess = |line: &str| daemon(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for (given, right) in [
            ("dsbus gateway gw.toml start", Some("dsbus gateway start gw.toml")),
            (
                "dsbus --fleet eu worker --dir w1 stop",
                Some("dsbus --fleet eu worker stop --dir w1"),
            ),
            ("dsbus worker -c start", None),
            ("dsbus worker start --bad", None),
            ("dsbus restart web", None),
        ] {
            let right = right.map(|right| format!("did you mean {right}?"));
            assert_eq!(guess(given), right, "{given}");
        }
    }

    #[test]
    fn nothing_is_guessed_where_the_order_is_not_what_is_wrong() {
        for given in [
            "dsbus",
            "dsbus start web",
            "dsbus signal",
            "dsbus signal foo",
            "dsbus signal USR3 foo",
            "dsbus signal HUP TERM",
            "dsbus signal -o json foo USR1",
            "dsbus scale web",
            "dsbus scale web three",
            "dsbus scale web 3 api",
            "dsbus scale 1 2",
            "dsbus rollout pause",
            "dsbus rollout wat web",
            "dsbus rollout pause status",
        ] {
            assert_eq!(guess(given), None, "{given}");
        }
    }
}
