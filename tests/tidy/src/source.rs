//! Rules for Rust files, and for every text.

use crate::tree::{File, Line, Tree};

/// Longest Rust file, in lines. A longer one is two nouns in one room.
pub const FILE_LINES_MAX: usize = 400;

/// Files that may be longer, with their limit and the reason.
pub const LONGER: &[(&str, usize, &str)] = &[];

/// Names on the bus are built and read in one file: the text of a literal, and where it may stand.
const NAMES_ON_THE_BUS: &[(&str, &str)] = &[
    ("\"dsbus.", "bus-schema/schema/src/subject.rs"),
    ("$KV.", "bus-schema/schema/src/storage.rs"),
    ("\"DSBUS_EVENTS", "bus-schema/schema/src/storage.rs"),
];

/// The name of a file, which is none on the bus.
const SETTINGS: &str = "\"dsbus.toml\"";

/// The only file that writes to the terminal.
const PRINTS: &str = "cli/src/output.rs";

const PRINTING: &[&str] = &["println!(", "eprintln!(", "print!(", "eprint!("];

/// What is not left behind, and what to do instead.
const LEFTOVERS: &[(&str, &str)] = &[
    ("todo!(", "do it, or open an issue"),
    ("unimplemented!(", "do it, or open an issue"),
    ("dbg!(", "use tracing"),
    ("#[allow(", "write `#[expect(lint, reason = \"...\")]`"),
    ("#![allow(", "write `#![expect(lint, reason = \"...\")]`"),
    ("#[ignore", "make it quick enough to run, or delete it"),
];

/// Where `unsafe` may be, and for what.
const UNSAFE: &[(&str, &str)] = &[
    ("worker/supervisor/src/", "fork, exec and the timers of the kernel"),
    (
        "tests/harness/src/terminal.rs",
        "a terminal becomes the controlling one between fork and exec",
    ),
    ("cli/src/", "the socket that the supervisor hands to the agent is a number"),
];

/// Where tests may sleep, and why.
const SLEEPS: &[(&str, &str)] = &[
    ("tests/harness/src/wait.rs", "the loops that wait for a condition look again every few ms"),
    ("bus-schema/client/tests/bus/watch.rs", "a fault lasts for a time, and a load has a pace"),
    ("tests/chaos/src/clock.rs", "a fault lasts for a time"),
];

/// Words of others for what we have our own words for, where a name would make them ours.
const FOREIGN_WORDS: &[&str] = &["Task", "Job", "Node", "Pod", "Replica"];

/// The tidy rules hold as data the very texts that they look for.
const TIDY: &str = "tests/tidy/";

fn at(file: &File, line: Line<'_>, what: &str) -> String {
    format!("{}:{}: {what}", file.path, line.number)
}

fn find(tree: &Tree, mut wrong: impl FnMut(&File, Line<'_>) -> Option<String>) -> Vec<String> {
    let mut problems = Vec::new();
    for file in tree.rust().filter(|file| !file.path.starts_with(TIDY)) {
        problems.extend(file.code().filter_map(|line| Some(at(file, line, &wrong(file, line)?))));
    }
    problems
}

/// Files are short enough to be read at a sitting.
pub fn lengths(tree: &Tree) -> Vec<String> {
    let limit = |path: &str| {
        LONGER
            .iter()
            .find(|(long, ..)| *long == path)
            .map_or(FILE_LINES_MAX, |(_, limit, _)| *limit)
    };
    tree.rust()
        .map(|file| (file, file.text.lines().count()))
        .filter(|(file, lines)| *lines > limit(&file.path))
        .map(|(file, lines)| {
            format!(
                "{}: {lines} lines, more than {}: split it by noun",
                file.path,
                limit(&file.path)
            )
        })
        .collect()
}

/// Subjects and buckets are named in one file each.
pub fn names_on_the_bus(tree: &Tree) -> Vec<String> {
    find(tree, |file, line| {
        let words = line.text.replace(SETTINGS, "");
        let (text, home) = NAMES_ON_THE_BUS
            .iter()
            .find(|(text, home)| !line.test && words.contains(text) && file.path != *home)?;
        Some(format!("`{text}` belongs to {home}: add a function there and call it"))
    })
}

/// One file prints.
pub fn printing(tree: &Tree) -> Vec<String> {
    find(tree, |file, line| {
        let example = file.path.contains("/examples/") || file.path.starts_with("examples/");
        let prints = PRINTING.iter().any(|print| has_word(line.text, print));
        (prints && !line.test && !example && file.path != PRINTS)
            .then(|| format!("only {PRINTS} prints; daemons use tracing"))
    })
}

/// Whether `word` stands in `text` and is not the end of a longer word.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word)
        .any(|(place, _)| !text[..place].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Nothing is left to do later, and no lint is silenced without a reason.
pub fn leftovers(tree: &Tree) -> Vec<String> {
    find(tree, |_, line| {
        let (text, instead) = LEFTOVERS.iter().find(|(text, _)| has_word(line.text, text))?;
        Some(format!("`{text}`: {instead}"))
    })
}

/// Code that the compiler cannot check stays in few rooms.
pub fn unsafe_code(tree: &Tree) -> Vec<String> {
    find(tree, |file, line| {
        let home = UNSAFE.iter().any(|(home, _)| file.path.starts_with(home));
        let opened = line.text.contains("unsafe {") || line.text.contains("unsafe fn");
        (opened && !line.test && !home)
            .then(|| "`unsafe` is for the rooms listed in tests/tidy/src/source.rs".to_owned())
    })
}

/// Tests wait for a condition, never for a time.
pub fn sleeps(tree: &Tree) -> Vec<String> {
    find(tree, |file, line| {
        let home = SLEEPS.iter().any(|(home, _)| file.path == *home);
        let sleeps = ["thread::sleep(", "time::sleep("].iter().any(|s| line.text.contains(s));
        (sleeps && line.test && !home)
            .then(|| "a test waits for a condition: use the harness' wait functions".to_owned())
    })
}

/// Our words are in the glossary; those of others are not made ours by naming a type so.
pub fn words(tree: &Tree) -> Vec<String> {
    find(tree, |_, line| {
        let declared = ["struct ", "enum ", "trait "].iter().find_map(|kind| {
            let (before, after) = line.text.split_once(kind)?;
            matches!(before.trim(), "" | "pub" | "pub(crate)" | "pub(super)").then_some(after)
        })?;
        let name: &str = declared.split(|c: char| !c.is_alphanumeric()).next()?;
        let word = FOREIGN_WORDS.iter().find(|word| name.contains(**word))?;
        Some(format!("`{name}`: {word} is not a word of the glossary in ARCHITECTURE.md"))
    })
}

/// The tree can be built anywhere: it names no folder of the machine it was written on.
pub fn paths(tree: &Tree) -> Vec<String> {
    let machine = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let mut problems = Vec::new();
    for file in &tree.files {
        for (index, text) in file.text.lines().enumerate() {
            if let Some(found) = machine.iter().find(|path| text.contains(**path)) {
                problems.push(format!(
                    "{}:{}: `{found}` is a folder of one machine: use a path from the root",
                    file.path,
                    index + 1
                ));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many problems a rule finds in one file.
    fn found(rule: fn(&Tree) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(found(lengths, "a/src/lib.rs", &"\n".repeat(FILE_LINES_MAX + 1)), 1);
        assert_eq!(found(lengths, "a/src/lib.rs", &"\n".repeat(FILE_LINES_MAX)), 0);
    }

    #[test]
    fn a_subject_elsewhere_is_found() {
        let literal = "let s = format!(\"dsbus.{fleet}.cmd\");";
        assert_eq!(found(names_on_the_bus, "cli/src/main.rs", literal), 1);
        assert_eq!(found(names_on_the_bus, "cli/src/main.rs", "let s = \"$KV.dsbus_goals\";"), 1);
        assert_eq!(found(names_on_the_bus, "bus-schema/schema/src/subject.rs", literal), 0);
        assert_eq!(found(names_on_the_bus, "tests/e2e/main.rs", literal), 0);
        assert_eq!(found(names_on_the_bus, "cli/src/main.rs", "let s = \"dsbus.toml\";"), 0);
        assert_eq!(found(names_on_the_bus, "cli/src/main.rs", "// as in \"dsbus.x\""), 0);
    }

    #[test]
    fn a_print_elsewhere_is_found() {
        assert_eq!(found(printing, "worker/agent/src/run.rs", "println!(\"x\");"), 1);
        assert_eq!(found(printing, "worker/agent/src/run.rs", "    eprintln!(\"x\");"), 1);
        assert_eq!(found(printing, PRINTS, "println!(\"x\");"), 0);
        assert_eq!(found(printing, "a/src/b.rs", "#[cfg(test)]\nprintln!(\"x\");"), 0);
    }

    #[test]
    fn leftovers_are_found() {
        for text in ["todo!()", "#[allow(dead_code)]", "#![allow(x)]", "dbg!(x)", "#[ignore]"] {
            assert_eq!(found(leftovers, "a/src/b.rs", text), 1, "{text}");
        }
        assert_eq!(found(leftovers, "a/src/b.rs", "#[expect(dead_code, reason = \"x\")]"), 0);
    }

    #[test]
    fn unsafe_elsewhere_is_found() {
        let text = "let x = unsafe { y() };";
        assert_eq!(found(unsafe_code, "scheduler/planner/src/plan.rs", text), 1);
        assert_eq!(found(unsafe_code, "worker/supervisor/src/spawn.rs", text), 0);
    }

    #[test]
    fn a_sleep_in_a_test_is_found() {
        assert_eq!(found(sleeps, "tests/e2e/main.rs", "thread::sleep(x);"), 1);
        assert_eq!(found(sleeps, "a/src/b.rs", "#[cfg(test)]\ntokio::time::sleep(x).await;"), 1);
        assert_eq!(found(sleeps, "a/src/b.rs", "tokio::time::sleep(x).await;"), 0);
    }

    #[test]
    fn a_foreign_word_is_found() {
        assert_eq!(found(words, "a/src/b.rs", "pub struct JobId(u64);"), 1);
        assert_eq!(found(words, "a/src/b.rs", "pub(crate) enum TaskState {"), 1);
        assert_eq!(found(words, "a/src/b.rs", "pub struct InstanceId {"), 0);
    }

    #[test]
    fn a_path_of_a_machine_is_found() {
        let text = concat!("see /wo", "rk/main");
        assert_eq!(found(paths, "README.md", text), 1);
        assert_eq!(found(paths, "README.md", "see worker/agent"), 0);
    }
}
