//! What is asked about before it is done. Pure.

use dsbus_schema::ids::Target;

use crate::args::{Act, Scale, SecretVerb, Verb};

/// What a verb destroys, or does to everything, in words that follow "Really"; `None` of others.
pub(super) fn destroys(verb: &Verb) -> Option<String> {
    let listed =
        |names: &[Target]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let many = |word: &str, act: &Act| {
        // A pattern may mean more than one thinks.
        let wide = |name: &Target| match name {
            Target::All => true,
            Target::Copies(copies) => !copies.is_name(),
            Target::Program(_) | Target::Instance(_) | Target::Id(_) => false,
        };
        act.names.iter().any(wide).then(|| format!("{word} {}", listed(&act.names)))
    };
    match verb {
        Verb::Remove(act) => Some(format!("remove {}", listed(&act.names))),
        Verb::Clear(clear) => Some(format!("empty the logs of {}", listed(&clear.names))),
        Verb::Stop(act) => many("stop", act),
        Verb::Restart(restart) => many("restart", &restart.act),
        Verb::Reload(act) => many("reload", act),
        Verb::Disable(act) => many("disable", act),
        Verb::Secret(args) => secret(&args.verb),
        Verb::Drain(drain) => Some(format!("drain {}", workers(&drain.which.names))),
        Verb::Forget(act) => Some(format!("forget {}", workers(&act.names))),
        Verb::Scale(args) => scale(args),
        Verb::Init(_)
        | Verb::Auth(_)
        | Verb::Apply(_)
        | Verb::Import(_)
        | Verb::Export(_)
        | Verb::Create(_)
        | Verb::Run(_)
        | Verb::Start(_)
        | Verb::Signal(_)
        | Verb::Enable(_)
        | Verb::Rollout(_)
        | Verb::History(_)
        | Verb::Status(_)
        | Verb::Describe(_)
        | Verb::Pid(_)
        | Verb::Wait(_)
        | Verb::Explain(_)
        | Verb::Groups(_)
        | Verb::Workers(_)
        | Verb::Undrain(_)
        | Verb::Cordon(_)
        | Verb::Uncordon(_)
        | Verb::Rebalance(_)
        | Verb::Recover(_)
        | Verb::Logs(_)
        | Verb::Attach(_)
        | Verb::Stdin(_)
        | Verb::Events(_)
        | Verb::Emit(_)
        | Verb::Top(_)
        | Verb::Shell
        | Verb::Supervisorctl(_)
        | Verb::Listen(_)
        | Verb::Alert(_)
        | Verb::Gateway(_)
        | Verb::Dev(_)
        | Verb::Scheduler(_)
        | Verb::Worker(_)
        | Verb::Config(_)
        | Verb::Version(_)
        | Verb::Doctor(_)
        | Verb::Healthy(_)
        | Verb::Completion(_)
        | Verb::Man(_)
        | Verb::Agent(_)
        | Verb::Tied(_)
        | Verb::Gzip
        | Verb::Other(_) => None,
    }
}

fn secret(verb: &SecretVerb) -> Option<String> {
    match verb {
        SecretVerb::Remove(args) => Some(format!("remove the secret {}", args.name)),
        SecretVerb::Set(_) | SecretVerb::List(_) => None,
    }
}

fn scale(scale: &Scale) -> Option<String> {
    let gone = scale.programs.iter().filter(|(_, copies)| *copies == 0);
    let gone: Vec<String> = gone.map(|(name, _)| name.to_string()).collect();
    (!gone.is_empty()).then(|| format!("leave no copy of {}", gone.join(", ")))
}

fn workers(names: &[dsbus_schema::ids::WorkerName]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether an answer is a yes; anything else is none.
pub(super) fn agrees(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_destroys_is_asked_about() {
        for (line, asked) in [
            ("remove web api", Some("remove web, api")),
            ("clear web", Some("empty the logs of web")),
            ("stop all", Some("stop all")),
            ("stop web*", Some("stop web*")),
            ("stop shop:*", Some("stop shop:*")),
            ("stop web", None),
            ("stop web:0 web:web_01", None),
            ("restart all", Some("restart all")),
            ("reload all", Some("reload all")),
            ("disable all", Some("disable all")),
            ("drain w1", Some("drain w1")),
            ("forget w1 w2", Some("forget w1, w2")),
            ("secret remove db", Some("remove the secret db")),
            ("secret list", None),
            ("scale web=0 api=2", Some("leave no copy of web")),
            ("scale web=3", None),
            ("start all", None),
            ("status", None),
        ] {
            let words = ["dsbus"].into_iter().chain(line.split(' '));
            let verb = crate::args::parse(words).unwrap().verb;
            assert_eq!(destroys(&verb).as_deref(), asked, "{line}");
        }
    }

    #[test]
    fn no_is_the_default() {
        assert!(agrees("y") && agrees(" YES "));
        assert!(!agrees("") && !agrees("n") && !agrees("yonder"));
    }
}
