//! What stands in an alert file, read and checked.

mod keys;
mod making;
mod read;
mod secret;
mod target;
mod words;

use std::time::Duration;

use dsbus_schema::alert::{RuleName, TargetName};
use dsbus_schema::event::Kind;
use dsbus_schema::filter::{EventPattern, Filter, ProgramPattern, WorkerPattern};
use dsbus_schema::lenient::{self, Span};
use dsbus_schema::program::Problem;
use serde::{Deserialize, Serialize};

pub use read::{Around, Found, Place, Section, read};
pub use secret::{Hidden, Secret, SecretError};
pub use target::{Body, CommandTarget, MailTarget, Target, TargetKind, Tls, WebhookTarget};
pub use words::{ExitWord, Flap, Label, RateLimit};

/// Most rules, and most targets, of one file: a file with more is made by a program that should
/// make several.
pub const SECTIONS_MAX: usize = 200;
/// Longest `group_wait`, `quiet` and `within`: what waits for longer is no alert.
pub const WAIT_MAX: Duration = Duration::from_secs(7 * 86_400);

/// A rule: which events are told, to whom, and how often.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name.
    pub name: RuleName,
    /// Which events.
    pub filter: Filter,
    /// Only ends that were expected, or that were not.
    pub expected: Option<bool>,
    /// Only ends like these; any when empty.
    pub exit: Vec<ExitWord>,
    /// Events that have these in common are told together.
    pub group_by: Vec<Label>,
    /// How long the first event of a group waits for others.
    pub group_wait: Duration,
    /// After a group was told of, how long nothing more is told of it.
    pub quiet: Duration,
    /// How often the rule tells something.
    pub rate_limit: Option<RateLimit>,
    /// When events come so often that only their number is told.
    pub flap: Option<Flap>,
    /// To whom.
    pub send: Vec<TargetName>,
    /// Template of the subject, where it is not the usual one.
    pub subject: Option<String>,
    /// Template of the text, where it is not the usual one.
    pub text: Option<String>,
}

/// An alert file without mistakes.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// Rules, in the order of the file.
    pub rules: Vec<Rule>,
    /// Targets, by name.
    pub targets: Vec<Target>,
}

impl Spec {
    /// A rule by its name.
    pub fn rule(&self, name: &RuleName) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == *name)
    }

    /// A target by its name.
    pub fn target(&self, name: &TargetName) -> Option<&Target> {
        self.targets.iter().find(|target| target.name == *name)
    }
}

/// The keys of a rule, as they stand in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RuleKeys {
    pub(crate) name: Option<RuleName>,
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) events: Vec<EventPattern>,
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) programs: Vec<ProgramPattern>,
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) workers: Vec<WorkerPattern>,
    #[serde(deserialize_with = "lenient::some_boolean")]
    pub(crate) expected: Option<bool>,
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) exit: Vec<ExitWord>,
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) group_by: Vec<Label>,
    pub(crate) group_wait: Span,
    pub(crate) quiet: Span,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) flap: Option<Flap>,
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) send: Vec<TargetName>,
    pub(crate) subject: Option<String>,
    pub(crate) text: Option<String>,
}

impl Default for RuleKeys {
    fn default() -> RuleKeys {
        RuleKeys {
            name: None,
            events: Vec::new(),
            programs: Vec::new(),
            workers: Vec::new(),
            expected: None,
            exit: Vec::new(),
            group_by: vec![Label::Program],
            group_wait: Span::from_secs(5),
            quiet: Span::from_secs(300),
            rate_limit: None,
            flap: None,
            send: Vec::new(),
            subject: None,
            text: None,
        }
    }
}

impl RuleKeys {
    /// The rule, or everything that is wrong with it beyond single keys.
    pub(crate) fn rule(self) -> Result<Rule, Vec<Problem>> {
        let mut found = Vec::new();
        if self.name.is_none() {
            found.push(
                Problem::new("name", "is missing: every rule has one").hint("name = \"fatal\""),
            );
        }
        if self.events.is_empty() {
            let hint = "events = [\"FATAL\"], or [\"*\"] for all";
            found.push(Problem::new("events", "is missing: say which").hint(hint));
        }
        if self.send.is_empty() {
            let hint = "send = [\"ops\"], with a section [target.ops]";
            found.push(Problem::new("send", "is missing: say to whom").hint(hint));
        }
        let spans = [("group_wait", self.group_wait), ("quiet", self.quiet)];
        for (key, _) in spans.iter().filter(|(_, span)| span.0 > WAIT_MAX) {
            found.push(Problem::new(key, "is longer than a week: who waits so long hears nothing"));
        }
        let filter = Filter::new(but_ticks(self.events), self.programs, self.workers);
        let filter = filter.map_err(|e| {
            let problem = Problem::new("events", e.message);
            found.push(if let Some(hint) = e.hint { problem.hint(hint) } else { problem });
        });
        match (self.name, filter) {
            (Some(name), Ok(filter)) if found.is_empty() => Ok(Rule {
                name,
                filter,
                expected: self.expected,
                exit: self.exit,
                group_by: self.group_by,
                group_wait: self.group_wait.0,
                quiet: self.quiet.0,
                rate_limit: self.rate_limit,
                flap: self.flap,
                send: self.send,
                subject: self.subject,
                text: self.text,
            }),
            _ => Err(found),
        }
    }
}

/// `*` is everything but ticks: that time goes by is no alert, unless it is asked for by name.
fn but_ticks(events: Vec<EventPattern>) -> Vec<EventPattern> {
    if !events.contains(&EventPattern::All) {
        return events;
    }
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Tick);
    kinds.map(EventPattern::Kind).collect()
}
