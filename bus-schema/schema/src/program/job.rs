//! Programs that run to their end, and children that are not to grow old.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AutoRestart, Problem, ProgramSpec};
use crate::lenient::Span;

/// Shortest `max_age`, in seconds: the worker would do nothing but stop and start its child.
pub const MAX_AGE_MIN: u64 = 1;

/// What a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It runs until it is stopped.
    #[default]
    Service,
    /// It runs to its end, and rests until it is started again.
    Oneshot,
}

impl ProgramSpec {
    /// Puts in what keys that were not given are for a oneshot; one with a schedule is one.
    pub(super) fn defaults_of_kind(&mut self, given: &Map<String, Value>) {
        if given.contains_key("schedule") && !given.contains_key("kind") {
            self.kind = Kind::Oneshot;
        }
        if self.kind == Kind::Service {
            return;
        }
        if !given.contains_key("startsecs") {
            self.startsecs = Span::from_secs(0);
        }
        if !given.contains_key("autorestart") {
            self.autorestart = AutoRestart::Never;
        }
    }

    pub(super) fn job_problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        if self.schedule.is_some() && self.kind == Kind::Service {
            let message = "must be \"oneshot\" with a schedule: a service never ends, so it could \
                           not be run again";
            found.push(Problem::new("kind", message).hint("leave kind out, or leave schedule out"));
        }
        if self.kind == Kind::Oneshot && self.autorestart == AutoRestart::Always {
            let message = "true would start a oneshot again although it has ended well";
            found.push(
                Problem::new("autorestart", message)
                    .hint("\"unexpected\" starts it again when it has failed"),
            );
        }
        let Some(age) = self.max_age else { return found };
        if self.kind == Kind::Oneshot {
            let message = "is for a service: a oneshot ends by itself";
            found.push(Problem::new("max_age", message));
        } else if age.0.as_secs() < MAX_AGE_MIN {
            found.push(Problem::new("max_age", format!("must be at least {MAX_AGE_MIN}s")));
        }
        found
    }
}
