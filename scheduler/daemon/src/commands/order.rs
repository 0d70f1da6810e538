//! Whether programs can be started in an order, and whether their names and those of groups are
//! apart. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dsbus_schema::ids::ProgramName;
use dsbus_schema::program::{Problem, ProgramSpec};

use super::resolve::nearest;

/// Declarations by name: those that are stored, and over them those that are applied.
pub(super) type Specs<'a> = BTreeMap<&'a ProgramName, &'a ProgramSpec>;

/// What is wrong between the programs that are applied and all of them, with the program that it
/// is about.
pub(super) fn problems<'a>(
    all: &Specs<'a>,
    applied: &[&'a ProgramName],
) -> Vec<(&'a ProgramName, Problem)> {
    let mut found = cycles(all, applied);
    found.extend(groups(all, applied));
    found
}

/// What is allowed between a program and the others, and is perhaps not meant.
pub(super) fn warnings(all: &Specs<'_>, spec: &ProgramSpec) -> Vec<Problem> {
    let unknown = spec.depends_on.0.keys().filter(|name| !all.contains_key(name));
    let warning = |name: &ProgramName| {
        let near = nearest(name.as_str(), all.keys().map(|known| known.as_str()));
        Problem {
            key: "depends_on".to_owned(),
            message: format!("no program is named {name} yet; it waits until there is one"),
            hint: near.map(|near| format!("did you mean {near}?")),
        }
    };
    unknown.map(warning).collect()
}

/// Programs that wait for themselves: each cycle once.
fn cycles<'a>(all: &Specs<'a>, applied: &[&'a ProgramName]) -> Vec<(&'a ProgramName, Problem)> {
    let mut told: BTreeSet<&ProgramName> = BTreeSet::new();
    let mut found = Vec::new();
    for name in applied.iter().copied() {
        if told.contains(name) {
            continue;
        }
        let Some(path) = cycle(all, name) else { continue };
        let words: Vec<&str> = path.iter().map(|name| name.as_str()).collect();
        let message = format!("waits for itself: {}", words.join(" -> "));
        found.push((name, Problem::new("depends_on", message)));
        told.extend(path);
    }
    found
}

/// The shortest way from a program along `depends_on` back to it, itself at both ends.
fn cycle<'a>(all: &Specs<'a>, from: &'a ProgramName) -> Option<Vec<&'a ProgramName>> {
    let mut came: BTreeMap<&ProgramName, &ProgramName> = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(name) = queue.pop_front() {
        let Some(spec) = all.get(name) else { continue };
        for next in spec.depends_on.0.keys() {
            if next == from {
                let mut path = vec![from, name];
                while let Some(before) = path.last().and_then(|name| came.get(name)) {
                    path.push(before);
                }
                // From the start to the one before it came back; a program alone is there twice.
                path.remove(0);
                path.reverse();
                path.push(from);
                return Some(path);
            }
            if !came.contains_key(next) {
                came.insert(next, name);
                queue.push_back(next);
            }
        }
    }
    None
}

/// Groups that are named like a program that is not in them.
fn groups<'a>(all: &Specs<'a>, applied: &[&'a ProgramName]) -> Vec<(&'a ProgramName, Problem)> {
    let mut found = Vec::new();
    for (name, spec) in all {
        let Some(group) = &spec.group else { continue };
        let Some((&other, namesake)) = all.get_key_value(group) else { continue };
        if namesake.group.as_ref() == Some(group) {
            continue;
        }
        // The one that is applied is told; the other one may be stored, and right by itself.
        if applied.contains(name) {
            let message = format!("{group} is the name of a program that is not in this group");
            let hint =
                format!("name the group otherwise, or set group = \"{group}\" for {group}, too");
            found.push((*name, Problem::new("group", message).hint(hint)));
        } else if applied.contains(&other) {
            let message = format!("{other} is the name of a group already, which {name} is in");
            let hint =
                format!("name the program otherwise, or set group = \"{other}\" for it, too");
            found.push((other, Problem::new("group", message).hint(hint)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    type Owned = BTreeMap<ProgramName, ProgramSpec>;

    fn fleet(keys: &serde_json::Value) -> Owned {
        let mut specs = Owned::new();
        for (name, keys) in keys.as_object().unwrap() {
            let mut keys = keys.as_object().unwrap().clone();
            keys.insert("command".to_owned(), json!("true"));
            specs.insert(ProgramName::parse(name).unwrap(), ProgramSpec::read(&keys).unwrap());
        }
        specs
    }

    fn told(keys: &serde_json::Value, applied: &[&str]) -> Vec<String> {
        let owned = fleet(keys);
        let applied: Vec<ProgramName> =
            applied.iter().map(|name| ProgramName::parse(name).unwrap()).collect();
        problems(&owned.iter().collect(), &applied.iter().collect::<Vec<_>>())
            .into_iter()
            .map(|(name, problem)| format!("{name}.{problem}"))
            .collect()
    }

    #[test]
    fn cycles_are_told_with_their_path() {
        let on = |names: &[&str]| json!({ "depends_on": names });
        let fine = json!({"web": on(&["db", "cache"]), "cache": on(&["db"]), "db": {}});
        assert_eq!(told(&fine, &["web", "cache", "db"]), [""; 0]);
        assert_eq!(
            told(&json!({"web": on(&["web"])}), &["web"]),
            ["web.depends_on: waits for itself: web -> web"]
        );
        let two = json!({"web": on(&["db"]), "db": on(&["web"])});
        assert_eq!(
            told(&two, &["web", "db"]),
            ["web.depends_on: waits for itself: web -> db -> web"],
            "once"
        );
        assert_eq!(
            told(&two, &["db"]),
            ["db.depends_on: waits for itself: db -> web -> db"],
            "also through what is stored"
        );
        let long = json!({
            "a": on(&["b", "x"]), "b": on(&["c"]), "c": on(&["d"]), "d": on(&["b"]),
            "x": on(&["y"]), "y": on(&["x"]), "alone": on(&["a"]),
        });
        assert_eq!(told(&long, &["a", "alone"]), [""; 0], "what is applied is in no cycle");
        assert_eq!(
            told(&long, &["a", "c", "d", "y"]),
            [
                "c.depends_on: waits for itself: c -> d -> b -> c",
                "y.depends_on: waits for itself: y -> x -> y"
            ]
        );
    }

    #[test]
    fn groups_and_programs_share_their_names() {
        let fine =
            json!({"web": {"group": "front"}, "api": {"group": "api"}, "job": {"group": "api"}});
        assert_eq!(told(&fine, &["web", "api", "job"]), [""; 0]);
        let wrong = json!({"web": {"group": "api"}, "api": {}});
        assert_eq!(
            told(&wrong, &["web"]),
            ["web.group: api is the name of a program that is not in this group \
              (name the group otherwise, or set group = \"api\" for api, too)"]
        );
        let said = told(&wrong, &["api"]);
        assert!(said[0].starts_with("api.group: api is the name of a group already"), "{said:?}");
        assert_eq!(told(&wrong, &["other"]), [""; 0], "what is not touched is left alone");
        let other = json!({"web": {"group": "api"}, "api": {"group": "back"}});
        assert_eq!(told(&other, &["web", "api"]).len(), 1);
    }

    #[test]
    fn what_is_waited_for_in_vain_is_warned_of() {
        let owned = fleet(&json!({"web": {"depends_on": ["dbb", "cache"]}, "db": {}, "cache": {}}));
        let all: Specs<'_> = owned.iter().collect();
        let web = &owned[&ProgramName::parse("web").unwrap()];
        let said: Vec<String> = warnings(&all, web).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "depends_on: no program is named dbb yet; it waits until there is one (did you mean db?)"
            ]
        );
    }
}
