//! Every subject. No other file builds or reads one.

use crate::alert::AlertName;
use crate::call::WorkerVerb;
use crate::command::Verb;
use crate::event::{Fact, Source};
use crate::ids::{FleetName, InstanceId, ProgramName, UserName, WorkerName};

/// Name of the schedulers' micro service.
pub const SERVICE: &str = "dsbus";
/// Name of the workers' micro service.
pub const SERVICE_WORKER: &str = "dsbus-worker";
/// Queue group of the schedulers.
pub const QUEUE: &str = "dsbus";

/// Where every instance of every micro service is asked who it is.
pub const SERVICES: &str = "$SRV.INFO";

/// Where every instance of a micro service is asked what it counts of itself (ADR-32).
pub fn stats(service: &str) -> String {
    format!("$SRV.STATS.{service}")
}

/// Where a person sends a command: one scheduler answers.
pub fn command(fleet: &FleetName, user: &UserName, verb: Verb) -> String {
    format!("dsbus.{fleet}.cmd.{user}.{}", verb.name())
}

/// What schedulers listen on, in one queue group, for commands.
pub fn command_any_user(fleet: &FleetName, verb: Verb) -> String {
    format!("dsbus.{fleet}.cmd.*.{}", verb.name())
}

/// Where a command goes that nobody answered in time: every scheduler hears it.
pub fn command_all(fleet: &FleetName, user: &UserName, verb: Verb) -> String {
    format!("dsbus.{fleet}.cmdall.{user}.{}", verb.name())
}

/// Where anybody's commands of one verb go that nobody answered in time.
pub fn command_all_of_any_user(fleet: &FleetName, verb: Verb) -> String {
    format!("dsbus.{fleet}.cmdall.*.{}", verb.name())
}

/// What every scheduler listens on for itself.
pub fn command_all_any_user(fleet: &FleetName) -> String {
    format!("dsbus.{fleet}.cmdall.*.*")
}

/// The user and the verb of a command's subject.
pub fn parse_command(subject: &str) -> Option<(UserName, Verb)> {
    let mut tokens = subject.split('.').skip(3);
    let user = UserName::parse(tokens.next()?).ok()?;
    let verb = Verb::parse(tokens.next()?)?;
    Some((user, verb))
}

/// A call to one worker.
pub fn worker(fleet: &FleetName, worker: &WorkerName, verb: WorkerVerb) -> String {
    format!("dsbus.{fleet}.worker.{worker}.{}", verb.name())
}

/// Calls of one verb to any worker.
pub fn worker_any(fleet: &FleetName, verb: WorkerVerb) -> String {
    format!("dsbus.{fleet}.worker.*.{}", verb.name())
}

/// Name of the consumer of events of a set of rules for alerts.
pub fn alert_consumer(name: &AlertName) -> String {
    format!("alert-{name}")
}

/// The subject of an event. Where it is about no instance but from a user, the user's name stands
/// for the index: who may say something is then one wildcard.
pub fn event(fleet: &FleetName, source: &Source, fact: &Fact) -> String {
    event_from(fleet.as_str(), source.token(), fact)
}

pub(crate) fn event_from(fleet: &str, source: &str, fact: &Fact) -> String {
    let program = fact.program();
    let program = program.as_ref().map_or("_", ProgramName::as_str);
    let index = match (fact.instance(), fact.user()) {
        (Some(name), _) => name.index.to_string(),
        (None, Some(user)) => user.to_string(),
        (None, None) => "_".to_owned(),
    };
    event_tokens(fleet, source, fact.kind(), program, &index, fact.type_name())
}

/// Fleet and source of the subject of an event.
pub(crate) fn event_source(subject: &str) -> Option<(&str, &str)> {
    let (fleet, rest) = subject.strip_prefix("dsbus.")?.split_once('.')?;
    let (source, _) = rest.strip_prefix("event.")?.split_once('.')?;
    Some((fleet, source))
}

/// The subject of an event, of any tokens: this is the one place that knows their order.
pub(crate) fn event_tokens(
    fleet: &str,
    source: &str,
    kind: &str,
    program: &str,
    index: &str,
    name: &str,
) -> String {
    format!("dsbus.{fleet}.event.{source}.{kind}.{program}.{index}.{name}")
}

/// All events of a fleet.
pub fn events(fleet: &FleetName) -> String {
    format!("dsbus.{fleet}.event.>")
}

/// All events about one program or instance, whoever tells them.
pub fn events_about(fleet: &FleetName, program: &ProgramName, index: Option<u32>) -> String {
    let index = index.map_or_else(|| "*".to_owned(), |i| i.to_string());
    format!("dsbus.{fleet}.event.*.*.{program}.{index}.*")
}

/// All events that one source tells.
pub fn events_from(fleet: &FleetName, source: &Source) -> String {
    format!("dsbus.{fleet}.event.{}.>", source.token())
}

/// What schedulers told of one kind.
pub fn fleet_events(fleet: &FleetName, kind: &str) -> String {
    format!("dsbus.{fleet}.event.{}.{kind}.>", Source::Fleet.token())
}

/// What schedulers told of where one instance is placed.
pub fn placement_events(fleet: &FleetName, instance: &InstanceId) -> String {
    let InstanceId { program, index } = instance;
    format!("dsbus.{fleet}.event.{}.placement.{program}.{index}.*", Source::Fleet.token())
}

/// The process events that one worker told about one instance.
pub fn process_events(fleet: &FleetName, worker: &WorkerName, instance: &InstanceId) -> String {
    let InstanceId { program, index } = instance;
    format!("dsbus.{fleet}.event.{worker}.process.{program}.{index}.*")
}

/// The fleet that a subject of dsbus belongs to.
pub fn parse_fleet(subject: &str) -> Option<FleetName> {
    let mut tokens = subject.split('.');
    (tokens.next() == Some("dsbus")).then_some(())?;
    FleetName::parse(tokens.next()?).ok()
}

/// One subject that holds all of these: the tokens that they have in common. Wildcards at the end
/// become one, because the server knows that one to be all that the stream has.
pub fn wide(subjects: &[String]) -> String {
    let all: Vec<Vec<&str>> = subjects.iter().map(|subject| subject.split('.').collect()).collect();
    let Some((first, others)) = all.split_first() else { return ">".to_owned() };
    if others.is_empty() {
        return first.join(".");
    }
    // As many tokens as all have; what follows is one wildcard, which holds at least one token.
    let same = others.iter().all(|tokens| tokens.len() == first.len());
    let least = all.iter().map(Vec::len).min().unwrap_or_default() - usize::from(!same);
    let mut tokens: Vec<&str> = Vec::new();
    for (at, token) in first.iter().take(least).enumerate() {
        if others.iter().all(|other| other.get(at) == Some(token)) {
            tokens.push(token);
        } else if all.iter().any(|other| other.get(at) == Some(&">")) {
            break;
        } else {
            tokens.push("*");
        }
    }
    let open = tokens.len() < first.len() || !same || matches!(tokens.last(), Some(&("*" | ">")));
    while open && matches!(tokens.last(), Some(&("*" | ">"))) {
        tokens.pop();
    }
    tokens.extend(open.then_some(">"));
    tokens.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_subject_holds_several() {
        for (several, one) in [
            (vec!["d.f.event.>"], "d.f.event.>"),
            (vec!["e.*.process.*.*.FATAL"], "e.*.process.*.*.FATAL"),
            (vec!["e.w1.>", "e.w2.>"], "e.>"),
            (vec!["e.*.process.*.*.FATAL", "e.*.process.*.*.EXITED"], "e.*.process.>"),
            (vec!["e.*.process.a.*.FATAL", "e.*.worker._._.LOST"], "e.>"),
            (vec!["e.*.process.a.0.FATAL", "e.*.process.b.0.FATAL"], "e.*.process.*.0.FATAL"),
            (vec!["e.a.b", "e.a.>"], "e.a.>"),
            (vec!["e.>", "e.a.>"], "e.>"),
            (vec!["e.>", "e.>"], "e.>"),
            (vec!["e.a.>", "e.a.b.c"], "e.a.>"),
            (vec!["e.a", "e.a.b"], "e.>"),
            (vec!["e.a", "f.b"], ">"),
            (vec!["e.a", "e.a"], "e.a"),
        ] {
            let several: Vec<String> = several.into_iter().map(str::to_owned).collect();
            let found = wide(&several);
            assert_eq!(found, one, "{several:?}");
        }
    }

    #[test]
    fn commands_are_read_back() {
        let fleet = FleetName::default();
        let user = UserName::parse("ann").unwrap();
        for verb in Verb::ALL {
            assert_eq!(parse_command(&command(&fleet, &user, verb)), Some((user.clone(), verb)));
            assert_eq!(
                parse_command(&command_all(&fleet, &user, verb)),
                Some((user.clone(), verb))
            );
        }
        assert_eq!(parse_command("dsbus.default.cmd.ann.fly"), None);
        assert_eq!(parse_command("dsbus.default.cmd"), None);
    }
}
