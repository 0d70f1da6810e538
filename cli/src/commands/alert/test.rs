//! `dsbus alert test FILE RULE`

use std::sync::Arc;

use dsbus_alert::spec::{Rule, Target};
use dsbus_alert::texts::Texts;
use dsbus_alert::{Fate, Sender};
use dsbus_schema::alert::{Letter, TargetName};

use crate::args::AlertTest;
use crate::config::Config;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file::did_you_mean;
use crate::{clock, output};

/// Tries the targets of a rule, one after the other; a line for each.
///
/// # Errors
/// When there is no such rule or target, or one of them could not be reached.
pub(super) async fn run(config: &Config, args: &AlertTest) -> Result<Code, Failure> {
    let file = super::read(&args.file, &config.around, "nothing was sent")?;
    let spec = Arc::new(file.spec);
    let rule = spec.rule(&args.rule).ok_or_else(|| {
        let known = spec.rules.iter().map(|rule| rule.name.as_str());
        unknown("rule", args.rule.as_str(), known)
    })?;
    let texts = Arc::new(Texts::default());
    let made = dsbus_alert::letters::sample(&config.fleet, &rule.name, clock::now());
    let made = made.ok_or_else(|| Failure::failed("no event can be made up"))?;
    let mut code = Code::Done;
    for target in wanted(&spec.targets, rule, &args.targets)? {
        let sender = Sender::new(&config.fleet, &spec, &texts, target)
            .map_err(|why| Failure::failed(format!("target.{}: {why}", target.name)))?;
        let to = |to| Letter { target: target.name.clone(), to, ..made.clone() };
        if args.print {
            print(&sender, &to(None))?;
            continue;
        }
        for recipient in target.recipients() {
            if !send(&sender, &to(recipient)).await? {
                code = Code::Failed;
            }
        }
    }
    Ok(code)
}

/// Whether it arrived.
async fn send(sender: &Sender, letter: &Letter) -> Result<bool, Failure> {
    let to = letter.to.as_ref().map_or(String::new(), |to| format!(" ({to})"));
    let name = format!("{}{to}", letter.target);
    match sender.send(letter, clock::now()).await {
        Fate::Delivered => {
            output::line(format_args!("{name}: told"))?;
            return Ok(true);
        }
        Fate::Later { why, .. } => output::failure(&Failure::failed(format!("{name}: {why}"))),
        Fate::Never { why } => {
            let hint = "it would be a dead letter: trying it again is in vain";
            output::failure(&Failure::failed(format!("{name}: {why}")).hint(hint));
        }
    }
    Ok(false)
}

/// The targets of the rule; those of them that are named.
fn wanted<'a>(
    targets: &'a [Target],
    rule: &Rule,
    names: &[TargetName],
) -> Result<Vec<&'a Target>, Failure> {
    if let Some(name) = names.iter().find(|name| !rule.send.contains(name)) {
        let known = rule.send.iter().map(TargetName::as_str);
        return Err(unknown("target of this rule", name.as_str(), known));
    }
    let is = |target: &&Target| {
        rule.send.contains(&target.name) && (names.is_empty() || names.contains(&target.name))
    };
    Ok(targets.iter().filter(is).collect())
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Failure {
    let failure = Failure::failed(format!("there is no {what} named {name}"));
    let all = format!("known: {}", known.clone().collect::<Vec<_>>().join(", "));
    failure.hint(did_you_mean(name, known).unwrap_or(all))
}

fn print(sender: &Sender, letter: &Letter) -> Result<(), Failure> {
    let said = sender.say(letter).map_err(Failure::failed)?;
    output::line(format_args!("# to {}: {}", letter.target, said.subject))?;
    output::line(said.body.as_ref().map_or(said.text.as_str(), |(body, _)| body.as_str()))?;
    Ok(())
}
