//! The audit log: every command that is to change something, and what became of it. It is told before
//! the command is answered, so that whoever was answered is in the log, whoever dies. A stream that
//! stores nothing holds no command up for longer than a moment.

use bytes::Bytes;
use dsbus_client::{Refusal, Request};
use dsbus_schema::command::Verb;
use dsbus_schema::event::{COMMAND_NAMES_MAX, CommandFact, Fact, Verdict};
use serde_json::Value;
use uuid::Uuid;

use super::Told;
use super::derive::command_words;
use crate::clock;

/// Longest name that is told, in characters: those of dsbus have at most 64, and one with its index
/// some more.
const NAME_MAX: usize = 80;
/// Longest reason that is told, in characters: an `apply` of many wrong programs has a long one.
const REASON_MAX: usize = 1_000;

/// A command, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Its id; a new one where the sender gave none.
    id: Uuid,
    /// The body, with the id in it.
    pub(crate) body: Bytes,
    names: Vec<String>,
    count: usize,
    /// It only asks what would be done.
    is_dry: bool,
}

impl Heard {
    /// Reads what can be read.
    pub(crate) fn of(verb: Verb, body: &Bytes, new: Uuid) -> Heard {
        let mut read: Value = serde_json::from_slice(body).unwrap_or_default();
        let given = read.get("id").filter(|id| !id.is_null()).cloned();
        let id = given.as_ref().and_then(|id| serde_json::from_value(id.clone()).ok());
        let mut body = body.clone();
        if given.is_none()
            && let Some(object) = read.as_object_mut()
        {
            object.insert("id".to_owned(), new.to_string().into());
            body = read.to_string().into();
        }
        let names = names(verb, &read);
        // Others know no such word, and act.
        let is_dry = matches!(verb, Verb::Apply | Verb::Rebalance | Verb::Recover)
            && read.get("dry_run") == Some(&Value::Bool(true));
        let cut = |name: &String| name.chars().take(NAME_MAX).collect();
        Heard {
            id: id.unwrap_or(new),
            body,
            count: names.len(),
            names: names.iter().take(COMMAND_NAMES_MAX).map(cut).collect(),
            is_dry,
        }
    }

    /// What is told of it. Nothing, when it was to change nothing, or was not answered.
    pub(crate) fn told<T>(
        &self,
        fleet: &dsbus_schema::ids::FleetName,
        request: &Request,
        answer: &Result<T, Refusal>,
        (scheduler, untold): (&str, u64),
    ) -> Option<Told> {
        let more = match untold {
            0 => String::new(),
            n => format!(" ({n} more of this user were refused before, and not told)"),
        };
        let (verdict, refusal) = match answer {
            Ok(_) => (Verdict::Accepted, None),
            Err(refusal) if refusal.code == 0 => return None,
            Err(refusal) => (Verdict::Refused, Some(refusal)),
        };
        // Input comes in many pieces; its events are those of its end.
        if self.is_dry || (request.verb == Verb::Stdin && verdict == Verdict::Accepted) {
            return None;
        }
        let fact = CommandFact {
            by: request.user.clone(),
            verb: request.verb.name().to_owned(),
            verdict,
            names: self.names.clone(),
            count: self.count,
            command: Some(self.id),
            code: refusal.map(|refusal| refusal.code),
            reason: refusal
                .map(|refusal| refusal.text.chars().take(REASON_MAX).chain(more.chars()).collect()),
            scheduler: scheduler.to_owned(),
        };
        let words = command_words(self.id, verdict);
        Some(Told::new(fleet, &words, clock::wall(), Fact::Command(fact)))
    }
}

/// The names in a request, where those of its verb stand. Other fields are not looked at: they could
/// say that it is about something else.
fn names(verb: Verb, read: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match verb {
        Verb::Apply | Verb::Scale | Verb::Recover => {
            let programs = read.get("programs").and_then(Value::as_object);
            programs.map_or(Vec::new(), |programs| programs.keys().cloned().collect())
        }
        Verb::Signal | Verb::Stdin | Verb::Clear => {
            read.get("ask").and_then(|ask| ask.get("name")).map(text).into_iter().collect()
        }
        Verb::Create => read.get("name").map(text).into_iter().collect(),
        _ => {
            let names = read.get("names").and_then(Value::as_array);
            names.map_or(Vec::new(), |names| names.iter().map(text).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsbus_schema::command::code;
    use dsbus_schema::ids::{FleetName, UserName};

    const NEW: Uuid = Uuid::from_u128(9);

    fn heard_by(verb: Verb, body: &str) -> Heard {
        Heard::of(verb, &Bytes::copy_from_slice(body.as_bytes()), NEW)
    }

    fn heard(body: &str) -> Heard {
        heard_by(Verb::Start, body)
    }

    fn fact(verb: Verb, body: &str, answer: &Result<(), Refusal>) -> Option<CommandFact> {
        let user = UserName::parse("ann").unwrap();
        let request = Request { user, verb, body: Bytes::new() };
        let told = heard_by(verb, body).told(&FleetName::default(), &request, answer, ("s1", 0))?;
        let Fact::Command(fact) = told.fact else { panic!("{told:?}") };
        Some(fact)
    }

    #[test]
    fn whom_it_is_about_is_read_off_any_command() {
        for (verb, body, names) in [
            (Verb::Stop, r#"{"names": ["web", "api:1"]}"#, "web api:1"),
            (Verb::Stop, r#"{"names": ["a.b", 7]}"#, "a.b 7"),
            (Verb::Apply, r#"{"programs": {"a": {"command": "x"}, "b": 3}}"#, "a b"),
            (Verb::Apply, r#"{"names": ["web"], "programs": {"evil": {}}}"#, "evil"),
            (Verb::Scale, r#"{"names": ["web"], "programs": {"evil": 1000}}"#, "evil"),
            (Verb::Create, r#"{"name": "web", "names": ["api"], "program": {}}"#, "web"),
            (Verb::Forget, r#"{"names": ["w1"], "programs": {"web": {}}}"#, "w1"),
            (
                Verb::Signal,
                r#"{"worker": "w1", "names": ["x"], "ask": {"name": "web:0"}}"#,
                "web:0",
            ),
            (Verb::Stop, r#"{"names": "web"}"#, ""),
            (Verb::Stop, "{}", ""),
            (Verb::Stop, "no JSON", ""),
            (Verb::Apply, "", ""),
        ] {
            assert_eq!(heard_by(verb, body).names.join(" "), names, "{body}");
        }
        let many = format!(r#"{{"names": ["{}"]}}"#, vec!["x"; 60].join(r#"",""#));
        assert_eq!((heard(&many).names.len(), heard(&many).count), (50, 60));
        let long = heard_by(Verb::Create, &format!(r#"{{"name": "{}"}}"#, "ü".repeat(200)));
        assert_eq!(long.names[0].chars().count(), NAME_MAX);
    }

    #[test]
    fn a_command_without_an_id_gets_one_that_it_is_carried_out_under() {
        let given = Uuid::from_u128(5);
        let body = format!(r#"{{"id": "{given}", "names": []}}"#);
        assert_eq!((heard(&body).id, heard(&body).body), (given, body.into()));
        for body in ["{}", r#"{"id": null}"#] {
            let heard = heard(body);
            let read: Value = serde_json::from_slice(&heard.body).unwrap();
            assert_eq!((heard.id, read["id"].as_str()), (NEW, Some(NEW.to_string().as_str())));
        }
        for unreadable in [r#"{"id": 5}"#, "[1]", "x"] {
            assert_eq!((heard(unreadable).id, heard(unreadable).body), (NEW, unreadable.into()));
        }
    }

    #[test]
    fn every_answer_to_a_command_that_changes_something_is_told() {
        let accepted = fact(Verb::Start, r#"{"names": ["web"]}"#, &Ok(())).unwrap();
        assert_eq!((accepted.verdict, accepted.command), (Verdict::Accepted, Some(NEW)));
        assert_eq!((accepted.by.as_str(), accepted.verb.as_str()), ("ann", "start"));
        let refusal = Refusal::new(code::NOT_FOUND, "x".repeat(2_000));
        let refused = fact(Verb::Start, "no JSON", &Err(refusal)).unwrap();
        assert_eq!((refused.verdict, refused.code), (Verdict::Refused, Some(404)));
        assert_eq!(refused.reason.unwrap().len(), REASON_MAX);
        assert_eq!(fact(Verb::Start, "{}", &Err(Refusal::silent())), None, "it was not answered");
        for verb in Verb::ALL {
            let only_asks =
                matches!(verb, Verb::Apply | Verb::Rebalance | Verb::Recover | Verb::Stdin);
            let told = fact(verb, r#"{"dry_run": true}"#, &Ok(())).is_some();
            assert_eq!(told, !only_asks, "{verb:?}");
            let told = fact(verb, r#"{"dry_run": false}"#, &Ok(())).is_some();
            assert_eq!(told, verb != Verb::Stdin, "{verb:?}");
        }
    }
}
