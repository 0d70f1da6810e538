//! Command lines of verbs that lay hands on what runs.

use clap::Args as Group;
use dsbus_schema::ids::{ProgramName, Target};
use dsbus_schema::lenient::Span;
use dsbus_schema::program::Signal;
use serde_json::{Map, Value};

use super::Format;
use crate::file;

/// Below the help of `stdin`.
pub(super) const STDIN: &str = "\
Only a program with stdin = true has an input; the others read /dev/null. With --eof and
without TEXT in a terminal, what you type is sent until Ctrl-D; `dsbus stdin --eof web:0
</dev/null` only closes it.";

/// Below the help of `attach`.
pub(super) const ATTACH: &str = "\
Ctrl-C detaches, and the instance goes on; so does Ctrl-D, but with --eof it closes the
instance's input. The end of a file or of a pipe changes nothing.
`dsbus signal INT web:0` is a Ctrl-C for the instance.";

/// Below the help of `run`.
pub(super) const RUN: &str = "\
It runs once, on one worker, with its output and input here, and is forgotten afterwards.
If its worker is lost it runs again on another one, unless some of its input was used up.
Ctrl-C asks it to stop (by --stopsignal), a second one kills it. Everything
that comes on standard input is read: in a loop of a shell, give </dev/null.

With --detach it stays, and is read later: dsbus wait --for stopped NAME, dsbus status
NAME -o json (exit), dsbus logs NAME; then dsbus remove NAME.

Exit codes: the command's own; 128 + N when signal N ended it; 127 when there is no such
command on the worker, 126 when it cannot be executed, 125 when dsbus itself failed: no
bus, no worker that may take it within --timeout, a name that is taken.";

/// What is so for `run` unless it is said otherwise: it runs once, and stops as by Ctrl-C in a terminal, which
/// everything in the foreground hears. `stdin` is so without --detach.
pub(crate) const RUN_DEFAULTS: [(&str, &str); 7] = [
    ("autorestart", "false"),
    ("kind", "oneshot"),
    ("max_fail_count", "1"),
    ("startretries", "0"),
    ("stdin", "true"),
    ("stopasgroup", "true"),
    ("stopsignal", "INT"),
];

/// `dsbus signal`.
#[derive(Debug, Group)]
pub(crate) struct SendSignal {
    /// The signal, by name with or without SIG, or by number
    #[arg(value_name = "SIGNAL", value_parser = signal)]
    pub(crate) signal: Signal,
    /// Programs, groups or instances; all is every program
    #[arg(required = true, value_name = "NAME", value_parser = Target::parse)]
    pub(crate) names: Vec<Target>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus stdin`.
#[derive(Debug, Group)]
pub(crate) struct Stdin {
    /// One instance
    #[arg(value_name = "NAME", value_parser = Target::parse)]
    pub(crate) name: Target,
    /// What to send, with a newline behind it; without it, all of standard input as it is
    #[arg(value_name = "TEXT")]
    pub(crate) text: Vec<String>,
    /// Close its standard input afterwards
    #[arg(long)]
    pub(crate) eof: bool,
}

/// `dsbus attach`.
#[derive(Debug, Group)]
pub(crate) struct Attach {
    /// One instance
    #[arg(value_name = "NAME", value_parser = Target::parse)]
    pub(crate) name: Target,
    /// How many lines to begin with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub(crate) lines: u32,
    /// The end of our standard input (Ctrl-D) is the end of its
    #[arg(long)]
    pub(crate) eof: bool,
}

/// `dsbus run`. It also has the keys of a program as options: see [`super::parse`].
#[derive(Debug, Group)]
pub(crate) struct Run {
    /// What to call it; a name is made up unless set
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<ProgramName>,
    /// Print its name and leave it alone; it has no input then
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Do not forget it afterwards
    #[arg(long)]
    pub(crate) keep: bool,
    /// How long it may take until it is started
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub(crate) timeout: Span,
    /// What to run
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
    /// Keys of the program.
    #[arg(skip)]
    pub(crate) keys: Map<String, Value>,
}

fn signal(text: &str) -> Result<Signal, String> {
    text.parse().map_err(|why| {
        let names: Vec<String> = Signal::names().map(str::to_ascii_lowercase).collect();
        let word = text.trim().to_ascii_lowercase();
        let bare = word.strip_prefix("sig").unwrap_or(&word);
        match file::did_you_mean(bare, names.iter().map(String::as_str)) {
            Some(near) => format!("{why}; {near}"),
            None => why,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for text in ["HUP", "sighup", "SIGHUP", "1", " hup "] {
            assert_eq!(signal(text).unwrap().name(), "HUP", "{text}");
        }
        for (slip, meant) in [("TREM", "\"term\""), ("SIGUSR3", "\"usr"), ("SIGKIL", "\"kill\"")] {
            let said = signal(slip).unwrap_err();
            assert!(said.contains("did you mean") && said.contains(meant), "{said}");
        }
        for strange in ["0", "-9", "99", "", "HUP INT"] {
            assert!(signal(strange).unwrap_err().starts_with("expected a signal"), "{strange}");
        }
    }
}
