//! What people, scripts and daemons say most often, read without making the whole command line: that
//! takes longer than a scheduler takes to answer.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use super::{
    About, Act, Agent, Args, Events, Globals, Logs, Restart, SendSignal, Start, Status, Tied, Verb,
    Workers,
};

/// The whole command line but for most verbs, and help.
#[derive(Debug, Parser)]
#[command(name = "dsbus", disable_help_flag = true, disable_help_subcommand = true)]
struct Often {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: OftenVerb,
}

/// The same as in [`Verb`].
#[derive(Debug, Subcommand)]
enum OftenVerb {
    Start(Start),
    Stop(Act),
    Restart(Restart),
    Status(Status),
    Pid(About),
    Signal(SendSignal),
    Workers(Workers),
    Logs(Logs),
    Events(Events),
    Agent(Agent),
    Tied(Tied),
    Gzip,
}

/// Reads a command line that is one of these; `None` leaves it, and whatever is wrong with it, to the
/// whole one.
pub(super) fn parse(words: &[OsString]) -> Option<Args> {
    let Often { globals, verb } = Often::try_parse_from(words).ok()?;
    let verb = match verb {
        OftenVerb::Start(args) => Verb::Start(args),
        OftenVerb::Stop(args) => Verb::Stop(args),
        OftenVerb::Restart(args) => Verb::Restart(args),
        OftenVerb::Status(args) => Verb::Status(args),
        OftenVerb::Pid(args) => Verb::Pid(args),
        OftenVerb::Signal(args) => Verb::Signal(args),
        OftenVerb::Workers(args) => Verb::Workers(args),
        OftenVerb::Logs(args) => Verb::Logs(args),
        OftenVerb::Events(args) => Verb::Events(args),
        OftenVerb::Agent(args) => Verb::Agent(args),
        OftenVerb::Tied(args) => Verb::Tied(args),
        OftenVerb::Gzip => Verb::Gzip,
    };
    Some(Args { globals, verb })
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    #[test]
    fn what_is_read_quickly_means_the_same() {
        let mut quick = 0;
        let lines = super::super::examples::EXAMPLES.iter().flat_map(|(_, lines)| lines.lines());
        let more = [
            "dsbus --nats nats://x -q status -o json web:0 all",
            "dsbus status --fleet f --color never",
            "dsbus stop web --timeout 5m --as ann",
            "dsbus gzip",
            "dsbus status --nope",
            "dsbus status --help",
            "dsbus status -h",
            "dsbus statsu",
            "dsbus help status",
            "dsbus --version",
            "dsbus",
            "dsbus start",
            "dsbus restart web --rolling -- --flag 'a'",
        ];
        for line in lines.chain(more) {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let Some(read) = parse(&words) else { continue };
            quick += 1;
            let matches = super::super::command().try_get_matches_from(&words).expect(line);
            let whole = Args::from_arg_matches(&matches).expect(line);
            assert_eq!(format!("{read:?}"), format!("{whole:?}"), "{line}");
        }
        assert!(quick >= 15, "{quick}");
    }

    #[test]
    fn help_and_slips_are_left_to_the_whole_one() {
        for line in ["dsbus", "dsbus status --help", "dsbus -h", "dsbus start", "dsbus stop web -x"]
        {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert!(parse(&words).is_none(), "{line}");
        }
    }
}
