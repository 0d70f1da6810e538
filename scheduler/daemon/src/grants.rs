//! Who may command what: a file that schedulers read. What permissions of the bus let through may be
//! narrowed here, to programs and verbs. Reading is not limited here: who may ask is said there.

mod file;

use std::collections::{BTreeMap, BTreeSet};

use dsbus_schema::command::Verb;
use dsbus_schema::ids::{ProgramName, UserName, WorkerName};
use serde::Deserialize;

use crate::commands::resolve::did_you_mean;

pub use file::GRANTS_BYTES_MAX;
pub(crate) use file::GrantsFile;

/// Names whoever is not named.
const OTHERS: &str = "*";

/// What a command is about, once its names are understood.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Touched<'a> {
    /// These programs.
    Programs(&'a [&'a ProgramName]),
    /// These workers.
    Workers(&'a [WorkerName]),
    /// Whatever there is.
    Everything,
}

/// What each user may do who is named; whoever is not may do everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    #[serde(default)]
    user: BTreeMap<String, Grant>,
}

/// What one of them may do. In names of programs and workers, `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    verbs: Vec<String>,
    #[serde(default)]
    programs: Vec<String>,
    #[serde(default)]
    workers: Vec<String>,
}

impl Grants {
    /// Reads a file's text.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Grants, String> {
        let grants: Grants = toml::from_str(text).map_err(|e| e.to_string().trim().to_owned())?;
        for (user, grant) in &grants.user {
            if user != OTHERS && UserName::parse(user).is_err() {
                return Err(format!(
                    "user.{user}: no user is named so; \"*\" is whoever is not named"
                ));
            }
            let known = |verb: &&String| *verb == "*" || Verb::parse(verb).is_some();
            if let Some(unknown) = grant.verbs.iter().find(|verb| !known(verb)) {
                let near = did_you_mean(unknown, Verb::ALL.into_iter().map(Verb::name));
                return Err(format!("user.{user}: verbs: there is no verb {unknown:?}{near}"));
            }
            for (key, patterns) in [("programs", &grant.programs), ("workers", &grant.workers)] {
                let legal = |c: char| c.is_ascii_alphanumeric() || "_-*".contains(c);
                let wrong = patterns.iter().find(|p| p.is_empty() || !p.chars().all(legal));
                if let Some(wrong) = wrong {
                    return Err(format!("user.{user}: {key}: {wrong:?} can be nobody's name"));
                }
            }
        }
        Ok(grants)
    }

    /// Who is named.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.user.keys().map(String::as_str).filter(|user| *user != OTHERS)
    }

    /// What grants nothing in a fleet of these programs and workers, for people: likely a slip.
    pub fn idle(
        &self,
        programs: &BTreeSet<ProgramName>,
        workers: &BTreeSet<WorkerName>,
    ) -> Vec<String> {
        let (programs, workers): (Vec<&str>, Vec<&str>) = (
            programs.iter().map(ProgramName::as_str).collect(),
            workers.iter().map(WorkerName::as_str).collect(),
        );
        let mut idle = Vec::new();
        for (user, grant) in &self.user {
            let nothing = grant.programs.is_empty() && grant.workers.is_empty();
            if nothing && !grant.verbs.is_empty() {
                idle.push(format!("user.{user}: names neither programs nor workers for its verbs"));
            }
            for (key, what, patterns, known) in [
                ("programs", "program", &grant.programs, &programs),
                ("workers", "worker", &grant.workers, &workers),
            ] {
                let matched = |p: &str| p == OTHERS || known.iter().any(|name| matches(p, name));
                for pattern in patterns.iter().filter(|pattern| !matched(pattern)) {
                    let near = did_you_mean(pattern, known.iter().copied());
                    let text = format!("user.{user}: {key}: no {what} is named {pattern:?}{near}");
                    idle.push(text);
                }
            }
        }
        idle
    }

    /// Whether a user may do this; of several things all are needed.
    ///
    /// # Errors
    /// Why not, which names the first thing that is not granted.
    pub(crate) fn judge(
        &self,
        user: &UserName,
        verb: Verb,
        touched: Touched<'_>,
    ) -> Result<(), String> {
        let grant = self.user.get(user.as_str()).or_else(|| self.user.get(OTHERS));
        let Some(grant) = grant else { return Ok(()) };
        let verb = verb.name();
        if !grant.verbs.iter().any(|granted| granted == "*" || granted == verb) {
            return Err(format!("{user} may not {verb}: {}", grant.shown()));
        }
        let any = |patterns: &[String], name: &str| patterns.iter().any(|p| matches(p, name));
        let missing = match touched {
            Touched::Programs(names) => names
                .iter()
                .find(|name| !any(&grant.programs, name.as_str()))
                .map(ToString::to_string),
            Touched::Workers(names) => {
                let missing = names.iter().find(|name| !any(&grant.workers, name.as_str()));
                missing.map(|name| format!("worker {name}"))
            }
            Touched::Everything => {
                let all = grant.programs.iter().any(|pattern| pattern == "*");
                (!all).then(|| "all programs".to_owned())
            }
        };
        match missing {
            Some(missing) => Err(format!("{user} may not {verb} {missing}: {}", grant.shown())),
            None => Ok(()),
        }
    }
}

impl Grant {
    /// What is granted, for people.
    fn shown(&self) -> String {
        let listed = |what: &[String]| what.join(", ");
        let mut parts = vec![format!("granted are {}", listed(&self.verbs))];
        if !self.programs.is_empty() {
            parts.push(format!("of the programs {}", listed(&self.programs)));
        }
        if !self.workers.is_empty() {
            parts.push(format!("of the workers {}", listed(&self.workers)));
        }
        parts.join(", ")
    }
}

/// Whether a name is one of a pattern's. Takes time by the product of both lengths at most.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [user.ann]
        verbs = ["start", "stop", "restart"]
        programs = ["web*", "db"]

        [user.op]
        verbs = ["cordon", "drain"]
        workers = ["w*"]

        [user.boss]
        verbs = ["*"]
        programs = ["*"]
        workers = ["*"]

        [user."*"]
        verbs = []
    "#;

    fn judge(text: &str, user: &str, verb: Verb, names: &[&str]) -> Result<(), String> {
        let names: Vec<ProgramName> = names.iter().map(|name| name.parse().unwrap()).collect();
        let names: Vec<&ProgramName> = names.iter().collect();
        let user = UserName::parse(user).unwrap();
        Grants::parse(text).unwrap().judge(&user, verb, Touched::Programs(&names))
    }

    #[test]
    fn programs_and_verbs_are_granted_together() {
        for (user, verb, names, refusal) in [
            ("ann", Verb::Start, vec!["web"], None),
            ("ann", Verb::Restart, vec!["web", "web2", "db"], None),
            ("ann", Verb::Start, vec![], None),
            (
                "ann",
                Verb::Start,
                vec!["web", "db2", "evil"],
                Some("ann may not start db2: granted"),
            ),
            ("ann", Verb::Remove, vec!["web"], Some("ann may not remove: granted are start, stop")),
            ("ann", Verb::Apply, vec!["web"], Some("ann may not apply")),
            ("boss", Verb::Remove, vec!["anything"], None),
            ("op", Verb::Drain, vec!["web"], Some("op may not drain web")),
            ("bob", Verb::Start, vec!["web"], Some("bob may not start")),
        ] {
            let judged = judge(FILE, user, verb, &names).err();
            let said = judged.clone().unwrap_or_default();
            assert_eq!(judged.is_some(), refusal.is_some(), "{user} {verb:?} {names:?}: {said}");
            assert!(said.starts_with(refusal.unwrap_or_default()), "{said}");
        }
        assert_eq!(judge("", "bob", Verb::Remove, &["web"]), Ok(()), "nobody is limited");
        let ann_only = "[user.ann]\nverbs = []\n";
        assert_eq!(judge(ann_only, "bob", Verb::Remove, &["web"]), Ok(()), "he is not named");
        assert!(judge(ann_only, "ann", Verb::Start, &["web"]).is_err());
    }

    #[test]
    fn workers_and_everything_are_granted_apart() {
        let grants = Grants::parse(FILE).unwrap();
        let of = |user: &str, verb, touched: Touched<'_>| {
            grants.judge(&UserName::parse(user).unwrap(), verb, touched)
        };
        let workers = ["w1", "w2"].map(|name| WorkerName::parse(name).unwrap());
        let other = ["w1", "x1"].map(|name| WorkerName::parse(name).unwrap());
        assert_eq!(of("op", Verb::Drain, Touched::Workers(&workers)), Ok(()));
        let said = of("op", Verb::Drain, Touched::Workers(&other)).unwrap_err();
        assert_eq!(
            said,
            "op may not drain worker x1: granted are cordon, drain, of the workers w*"
        );
        assert!(of("ann", Verb::Drain, Touched::Workers(&workers)).is_err());
        assert!(of("op", Verb::Rebalance, Touched::Everything).is_err());
        assert_eq!(of("boss", Verb::Rebalance, Touched::Everything), Ok(()));
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, yes, no) in [
            ("web", vec!["web"], vec!["web2", "aweb", ""]),
            ("web*", vec!["web", "web-2"], vec!["aweb"]),
            ("*-dev", vec!["a-dev", "-dev"], vec!["a-dev2"]),
            ("a*b*c", vec!["abc", "axbxc", "abbc"], vec!["ab", "acb", "abcd"]),
            ("a*a", vec!["aa", "aba"], vec!["a"]),
            ("*", vec!["", "x"], vec![]),
            ("**", vec!["x"], vec![]),
        ] {
            assert!(yes.iter().all(|name| matches(pattern, name)), "{pattern}");
            assert!(!no.iter().any(|name| matches(pattern, name)), "{pattern}");
        }
    }

    #[test]
    fn a_file_with_a_mistake_is_not_used() {
        for (text, why) in [
            ("[user.ann]\nprograms = [\"web\"]", "verbs"),
            ("[user.ann]\nverbs = [\"fly\"]", "no verb \"fly\""),
            ("[user.ann]\nverbs = [\"strat\"]", "no verb \"strat\"; did you mean start?"),
            ("[user.ann]\nverb = []", "verb"),
            ("[users.ann]\nverbs = []", "users"),
            ("[user.ann]\nverbs = [\"*\"]\nprograms = [\"we?\"]", "we?"),
            ("[user.\"a b\"]\nverbs = []", "a b"),
            ("user", ""),
        ] {
            let said = Grants::parse(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn what_grants_nothing_is_likely_a_slip() {
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let workers = |names: &[&str]| {
            names.iter().map(|name| WorkerName::parse(name).unwrap()).collect::<BTreeSet<_>>()
        };
        let text = "[user.ann]\nverbs = [\"start\"]\nprograms = [\"wbe\", \"db*\", \"*\"]\n\
                    [user.bob]\nverbs = [\"drain\"]\nworkers = [\"w1\", \"x*\"]\n\
                    [user.eve]\nverbs = [\"stop\"]\n[user.\"*\"]\nverbs = []\n";
        let grants = Grants::parse(text).unwrap();
        assert_eq!(grants.users().collect::<Vec<_>>(), ["ann", "bob", "eve"]);
        assert_eq!(
            grants.idle(&names(&["web", "db2"]), &workers(&["w1", "w2"])),
            [
                "user.ann: programs: no program is named \"wbe\"; did you mean web?",
                "user.bob: workers: no worker is named \"x*\"",
                "user.eve: names neither programs nor workers for its verbs",
            ]
        );
    }
}
