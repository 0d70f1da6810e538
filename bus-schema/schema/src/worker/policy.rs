//! What a worker's owner allows there, as far as it can be known before an instance is placed.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::program::ProgramSpec;

/// Name and number of the user that may do everything.
const ROOT: [&str; 2] = ["root", "0"];

/// Part of a worker's policy (`[policy]` in its file). The rest of it (paths, hashes, limits) only
/// the worker itself can judge; it refuses what it is given then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyFacts {
    /// Another policy, or a worker with other rights, has another digest.
    pub digest: String,
    /// Whom programs run as that name no user: a name, or a number where it has none.
    pub user: String,
    /// Users that programs may run as; `None` is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// Whether programs may run as root.
    pub root: bool,
}

/// Why a policy does not allow a program, and which key of it says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// `users` or `root`.
    pub key: &'static str,
    /// Why, for people.
    pub why: String,
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (policy.{})", self.why, self.key)
    }
}

impl PolicyFacts {
    /// Why a program may not run there, if that is known already.
    pub fn bars(&self, spec: &ProgramSpec) -> Option<Bar> {
        let (user, group) = self.runs_as(spec);
        let shown = spec.user.as_ref().map_or_else(
            || format!("user is not said, and would be {user}"),
            |user| format!("user is {user}"),
        );
        let bar = |key, why: String| Some(Bar { key, why });
        if !self.root && ROOT.contains(&user) {
            return bar("root", format!("{shown}, and root is not allowed"));
        }
        if !self.root && group.is_some_and(|group| ROOT.contains(&group)) {
            return bar("root", format!("{shown}, and group root is not allowed"));
        }
        let users = self.users.as_ref()?;
        let allowed = users.iter().any(|one| one == user);
        // A number may be that of an allowed name: only the machine knows.
        let unknown = user.parse::<u32>().is_ok() && !users.is_empty();
        if allowed || unknown {
            return None;
        }
        bar("users", format!("{shown}, and allowed are {}", list(users)))
    }

    /// The user, and the group where one is named.
    fn runs_as<'a>(&'a self, spec: &'a ProgramSpec) -> (&'a str, Option<&'a str>) {
        let text = spec.user.as_deref().unwrap_or(&self.user);
        match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        }
    }
}

fn list(all: &[String]) -> String {
    if all.is_empty() { "nobody".to_owned() } else { all.join(", ") }
}

/// "This worker does not run this": it was told to, and started nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PolicyRefusal")]
pub struct Refusal {
    /// [`PolicyFacts::digest`] of the policy that refuses; empty where the worker has none to tell.
    pub policy: String,
    /// Everything that is wrong, for people.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {}", self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_before_bars_a_program() {
        let facts = |users: Option<&[&str]>, root| PolicyFacts {
            digest: "d".to_owned(),
            user: "root".to_owned(),
            users: users.map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
            root,
        };
        let spec = |user: Option<&str>| ProgramSpec {
            user: user.map(str::to_owned),
            ..ProgramSpec::default()
        };
        let app: Option<&[&str]> = Some(&["app", "web"]);
        for (policy, user, said) in [
            (facts(None, true), None, None),
            (facts(None, true), Some("root"), None),
            (facts(None, false), Some("app"), None),
            (facts(None, false), None, Some("policy.root")),
            (facts(None, false), Some("root"), Some("policy.root")),
            (facts(None, false), Some("0:app"), Some("policy.root")),
            (facts(None, false), Some("app:0"), Some("group root")),
            (facts(app, true), Some("app"), None),
            (facts(app, true), Some("app:adm"), None),
            (facts(app, true), Some("ann"), Some("allowed are app, web (policy.users)")),
            (facts(app, true), None, Some("user is not said, and would be root")),
            // Whose number that is only the machine knows.
            (facts(app, true), Some("33"), None),
            (facts(Some(&[]), true), Some("33"), Some("allowed are nobody")),
        ] {
            let found = policy.bars(&spec(user)).map(|bar| bar.to_string());
            match said {
                None => assert_eq!(found, None, "{user:?}"),
                Some(said) => assert!(found.clone().is_some_and(|f| f.contains(said)), "{found:?}"),
            }
        }
    }
}
