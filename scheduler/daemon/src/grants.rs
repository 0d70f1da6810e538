//! Who may command what: a file that schedulers read. What permissions of the bus let through may be
//! narrowed here, to programs and verbs. Reading is not limited here: who may ask is said there.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use dsbus_client::{Error, read_limited_text};
use dsbus_schema::command::Verb;
use dsbus_schema::ids::{ProgramName, UserName, WorkerName};
use serde::Deserialize;

/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Names whoever is not named.
const OTHERS: &str = "*";

/// Whether the text of a `grants.toml` can be used.
///
/// # Errors
/// What is wrong with it, and where.
pub fn check(text: &str) -> Result<(), String> {
    Grants::parse(text).map(drop)
}

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
pub(crate) struct Grants {
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
    pub(crate) fn parse(text: &str) -> Result<Grants, String> {
        let grants: Grants = toml::from_str(text).map_err(|e| e.to_string().trim().to_owned())?;
        for (user, grant) in &grants.user {
            if user != OTHERS && UserName::parse(user).is_err() {
                return Err(format!(
                    "user.{user}: no user is named so; \"*\" is whoever is not named"
                ));
            }
            let known = |verb: &&String| *verb == "*" || Verb::parse(verb).is_some();
            if let Some(unknown) = grant.verbs.iter().find(|verb| !known(verb)) {
                return Err(format!("user.{user}: verbs: there is no verb {unknown:?}"));
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

/// The file, if there is one, and what it said last.
#[derive(Debug, Default)]
pub(crate) struct GrantsFile {
    path: Option<PathBuf>,
    now: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    grants: Grants,
    /// What it was like when it was read.
    stamp: Option<(SystemTime, u64)>,
}

impl GrantsFile {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Malformed`], when it cannot be used.
    pub(crate) fn open(path: Option<PathBuf>) -> Result<GrantsFile, Error> {
        let Some(path) = path else { return Ok(GrantsFile::default()) };
        let last = read(&path)
            .map_err(|why| Error::Malformed { what: path.display().to_string(), why })?;
        Ok(GrantsFile { path: Some(path), now: Mutex::new(last) })
    }

    /// Whether a user may do this, as the file says now. While it cannot be used, what it said last
    /// holds.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn judge(
        &self,
        user: &UserName,
        verb: Verb,
        touched: Touched<'_>,
    ) -> Result<(), String> {
        let mut now = self.lock();
        if let Some(path) = &self.path
            && now.stamp != stamp(path)
        {
            match read(path) {
                Ok(last) => {
                    tracing::info!("{} has changed", path.display());
                    *now = last;
                }
                Err(why) => {
                    tracing::error!(
                        "{} cannot be used, and holds as it was: {why}",
                        path.display()
                    );
                    now.stamp = stamp(path);
                }
            }
        }
        now.grants.judge(user, verb, touched)
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        // What is in it is replaced whole.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn read(path: &Path) -> Result<Last, String> {
    // Before it is read: one that changes meanwhile is read again.
    let stamp = stamp(path);
    let text = read_limited_text(path, FILE_BYTES_MAX).map_err(|e| match e.kind() {
        ErrorKind::FileTooLarge => format!("it {e}"),
        _ => format!("it cannot be read: {e}"),
    })?;
    Ok(Last { grants: Grants::parse(&text)?, stamp })
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
    fn a_file_is_read_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("grants.toml");
        let (ann, web) = (UserName::parse("ann").unwrap(), "web".parse().unwrap());
        assert!(GrantsFile::open(Some(path.clone())).is_err());
        std::fs::write(&path, "[user.ann]\nverbs = []\n").unwrap();
        let file = GrantsFile::open(Some(path.clone())).unwrap();
        let judge = || file.judge(&ann, Verb::Start, Touched::Programs(&[&web]));
        assert!(judge().is_err());
        std::fs::write(&path, "[user.ann]\nverbs = [\"start\"]\nprograms = [\"*\"]\n").unwrap();
        assert_eq!(judge(), Ok(()));
        std::fs::write(&path, "nonsense").unwrap();
        assert_eq!(judge(), Ok(()), "as it was");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(judge(), Ok(()), "as it was");
    }
}
