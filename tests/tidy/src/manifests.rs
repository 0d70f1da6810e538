//! Which crate may use which, read from the Cargo.toml files.

use toml::{Table, Value};

use crate::tree::Tree;

/// Who may import whom: a crate, and the crates of this house that it may use. Arrows point down
/// only; `planner`, `supervisor` and `client` never import each other.
pub const ARROWS: &[(&str, &[&str])] = &[
    ("dsbus-schema", &[]),
    ("dsbus-starter", &[]),
    ("dsbus-client", &["dsbus-schema"]),
    ("dsbus-planner", &["dsbus-schema"]),
    ("dsbus-supervisor", &["dsbus-schema", "dsbus-starter"]),
    ("dsbus-scheduler", &["dsbus-planner", "dsbus-client", "dsbus-schema", "dsbus-starter"]),
    ("dsbus-agent", &["dsbus-supervisor", "dsbus-client", "dsbus-schema"]),
    ("dsbus-bridge", &["dsbus-client", "dsbus-schema"]),
    ("dsbus-listener", &["dsbus-client", "dsbus-schema"]),
    ("dsbus-alert", &["dsbus-client", "dsbus-schema", "dsbus-starter"]),
    ("dsbus-gateway", &["dsbus-client", "dsbus-schema", "dsbus-starter"]),
    (
        "dsbus",
        &[
            "dsbus-alert",
            "dsbus-bridge",
            "dsbus-gateway",
            "dsbus-scheduler",
            "dsbus-agent",
            "dsbus-supervisor",
            "dsbus-client",
            "dsbus-schema",
            "dsbus-starter",
        ],
    ),
    ("dsbus-harness", &[]),
    ("dsbus-chaos", &["dsbus-harness", "dsbus-client", "dsbus-schema"]),
    (
        "dsbus-bench",
        &["dsbus-harness", "dsbus-client", "dsbus-planner", "dsbus-supervisor", "dsbus-schema"],
    ),
    (
        "dsbus-simulation",
        &[
            "dsbus-scheduler",
            "dsbus-planner",
            "dsbus-agent",
            "dsbus-supervisor",
            "dsbus-client",
            "dsbus-schema",
        ],
    ),
    ("dsbus-tidy", &["dsbus-schema"]),
];

/// What every crate may use in its tests besides.
pub const IN_TESTS: &[&str] = &["dsbus-harness"];

/// Crates from elsewhere that only some may use, and why.
pub const KEPT_TO: &[(&str, &[&str], &str)] = &[(
    "async-nats",
    // The chaos run hears events by a consumer that shares no code with the client it judges.
    &["dsbus-client", "dsbus-chaos"],
    "the client is the one way to speak on the bus",
)];

/// Crates from elsewhere that some may not use, not even in tests, and why.
pub const KEPT_FROM: &[(&str, &[&str], &str)] = &[
    ("tokio", &["dsbus-schema", "dsbus-planner"], "it decides, and waits for nothing"),
    ("tokio", &["dsbus-supervisor"], "it is one loop over poll(2), with no network"),
    ("futures", &["dsbus-schema", "dsbus-planner", "dsbus-supervisor"], "it waits for nothing"),
    ("nix", &["dsbus-schema", "dsbus-planner"], "it makes no system calls: no clock, no files"),
    ("libc", &["dsbus-schema", "dsbus-planner"], "it makes no system calls: no clock, no files"),
    ("rustix", &["dsbus-schema", "dsbus-planner"], "it makes no system calls: no clock, no files"),
];

/// A workspace of its own: what only it needs is in no crate that people run.
const APART: &str = "fuzz/Cargo.toml";

/// What pip calls the module and the wheels that have it.
const PYTHON: &str = "clients/python/pyproject.toml";

struct Member {
    path: String,
    name: String,
    manifest: Table,
}

struct Dependency<'a> {
    name: &'a str,
    value: &'a Value,
    test: bool,
}

impl Member {
    fn dependencies(&self) -> Vec<Dependency<'_>> {
        let targets = self.manifest.get("target").and_then(Value::as_table);
        let tables = targets
            .into_iter()
            .flat_map(|t| t.values())
            .filter_map(Value::as_table)
            .chain([&self.manifest]);
        let kinds =
            [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)];
        tables
            .flat_map(|table| kinds.map(|(kind, test)| (table.get(kind), test)))
            .filter_map(|(found, test)| Some((found?.as_table()?, test)))
            .flat_map(|(found, test)| {
                found.iter().map(move |(name, value)| Dependency { name, value, test })
            })
            .collect()
    }
}

fn members(tree: &Tree) -> (Vec<Member>, Vec<String>) {
    let (mut members, mut problems) = (Vec::new(), Vec::new());
    let manifests = tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    for file in manifests.filter(|file| file.path != APART) {
        match file.text.parse::<Table>() {
            Ok(manifest) => {
                let package = manifest.get("package").and_then(|package| package.get("name"));
                let name = package.and_then(Value::as_str).unwrap_or_default().to_owned();
                members.push(Member { path: file.path.clone(), name, manifest });
            }
            Err(error) => problems.push(format!("{}: {error}", file.path)),
        }
    }
    (members, problems)
}

/// Arrows between the crates of this house point down only.
pub fn directions(tree: &Tree) -> Vec<String> {
    let (members, mut problems) = members(tree);
    for member in &members {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == member.name) else {
            problems.push(format!(
                "{}: {} is not in ARROWS (tests/tidy/src/manifests.rs): say what it may import",
                member.path, member.name
            ));
            continue;
        };
        for dependency in member.dependencies() {
            let ours = ARROWS.iter().any(|(name, _)| *name == dependency.name);
            let in_tests = dependency.test && IN_TESTS.contains(&dependency.name);
            if ours && !in_tests && !allowed.contains(&dependency.name) {
                problems.push(format!(
                    "{}: {} may not import {}: move what is shared down, to dsbus-schema",
                    member.path, member.name, dependency.name
                ));
            }
        }
    }
    problems
}

/// Some crates from elsewhere are for some rooms only.
pub fn outside_crates(tree: &Tree) -> Vec<String> {
    let (members, mut problems) = members(tree);
    for member in &members {
        for dependency in member.dependencies() {
            let refused = KEPT_TO
                .iter()
                .filter(|(name, to, _)| *name == dependency.name && !to.contains(&&*member.name))
                .chain(KEPT_FROM.iter().filter(|(name, from, _)| {
                    *name == dependency.name && from.contains(&&*member.name)
                }));
            problems.extend(refused.map(|(name, _, why)| {
                format!("{}: {} may not use {name}: {why}", member.path, member.name)
            }));
        }
    }
    problems
}

/// Every crate is a member, takes the workspace's lints, and names no version of its own.
pub fn inheritance(tree: &Tree) -> Vec<String> {
    let (members, mut problems) = members(tree);
    let root = tree.text("Cargo.toml").and_then(|text| text.parse::<Table>().ok());
    let listed = root
        .as_ref()
        .and_then(|root| root.get("workspace")?.get("members")?.as_array())
        .map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>())
        .unwrap_or_default();
    for member in &members {
        let folder = member.path.trim_end_matches("/Cargo.toml");
        if !listed.contains(&folder) {
            problems.push(format!("{folder}: add it to `members` in Cargo.toml"));
        }
        let inherits = |value: Option<&Value>| {
            value.and_then(|value| value.get("workspace")?.as_bool()) == Some(true)
        };
        if !inherits(member.manifest.get("lints")) {
            problems.push(format!("{}: add `[lints] workspace = true`", member.path));
        }
        let version = member.manifest.get("package").and_then(|package| package.get("version"));
        if version.is_some() && !inherits(version) {
            problems.push(format!(
                "{}: write `version.workspace = true`; all crates have one version",
                member.path
            ));
        }
        for dependency in member.dependencies().into_iter().filter(|d| !inherits(Some(d.value))) {
            problems.push(format!(
                "{}: write `{}.workspace = true`; versions are in the root Cargo.toml only",
                member.path, dependency.name
            ));
        }
    }
    problems
}

/// Crates of this house that are published ask for each other in this very version, and for none that
/// is not.
pub fn published(tree: &Tree) -> Vec<String> {
    let (members, mut problems) = members(tree);
    let root = tree.text("Cargo.toml").and_then(|text| text.parse::<Table>().ok());
    let workspace = root.as_ref().and_then(|root| root.get("workspace")?.as_table());
    let version = workspace.and_then(|found| found.get("package")?.get("version")?.as_str());
    let asked = |name: &str| {
        workspace?.get("dependencies")?.get(name)?.get("version")?.as_str().map(str::to_owned)
    };
    let exact = format!("={}", version.unwrap_or_default());
    let is_published = |member: &&Member| {
        let says = member.manifest.get("package").and_then(|package| package.get("publish"));
        says.and_then(Value::as_bool) != Some(false)
    };
    for member in members.iter().filter(is_published) {
        for dependency in member.dependencies().into_iter().filter(|d| !d.test) {
            let Some(ours) = members.iter().find(|member| member.name == dependency.name) else {
                continue;
            };
            if !is_published(&ours) {
                problems.push(format!("{}: {} is not published", member.path, ours.name));
            } else if asked(&ours.name).as_ref() != Some(&exact) {
                problems.push(format!("Cargo.toml: {}: write `version = \"{exact}\"`", ours.name));
            }
        }
    }
    problems.sort();
    problems.dedup();
    problems
}

/// The project for Python has the name and the version that everything else has.
pub fn python(tree: &Tree) -> Vec<String> {
    let read = |path: &str, at: &[&str]| {
        let table = tree.text(path)?.parse::<Table>().ok()?;
        let (last, tables) = at.split_last()?;
        let found = tables.iter().try_fold(&table, |table, key| table.get(*key)?.as_table())?;
        found.get(*last)?.as_str().map(str::to_owned)
    };
    let version = read("Cargo.toml", &["workspace", "package", "version"]).unwrap_or_default();
    [("name", "dsbus"), ("version", &*version)]
        .iter()
        .filter(|(key, value)| read(PYTHON, &["project", key]).as_deref() != Some(value))
        .map(|(key, value)| format!("{PYTHON}: write `{key} = \"{value}\"`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, rest: &str) -> Tree {
        let text = format!("[package]\nname = \"{name}\"\n{rest}");
        Tree::of(&[("Cargo.toml", "[workspace]\nmembers = [\"a\"]"), ("a/Cargo.toml", &text)])
    }

    #[test]
    fn an_arrow_up_or_across_is_found() {
        for (name, rest) in [
            ("dsbus-schema", "[dependencies]\ndsbus-client.workspace = true"),
            ("dsbus-planner", "[dependencies]\ndsbus-client.workspace = true"),
            ("dsbus-supervisor", "[dev-dependencies]\ndsbus-client.workspace = true"),
            ("dsbus-client", "[target.'cfg(unix)'.dependencies]\ndsbus-planner.workspace = true"),
            ("dsbus-agent", "[dependencies]\ndsbus-harness.workspace = true"),
            ("dsbus-unheard-of", ""),
        ] {
            assert_eq!(directions(&member(name, rest)).len(), 1, "{name}: {rest}");
        }
        let fine = "[dependencies]\ndsbus-schema.workspace = true\nserde.workspace = true\n\
                    [dev-dependencies]\ndsbus-harness.workspace = true";
        assert_eq!(directions(&member("dsbus-client", fine)), [""; 0]);
    }

    #[test]
    fn a_crate_in_the_wrong_room_is_found() {
        let nats = "[dependencies]\nasync-nats.workspace = true";
        assert_eq!(outside_crates(&member("dsbus-agent", nats)).len(), 1);
        assert_eq!(outside_crates(&member("dsbus-client", nats)), [""; 0]);
        let tokio = "[dev-dependencies]\ntokio.workspace = true";
        assert_eq!(outside_crates(&member("dsbus-planner", tokio)).len(), 1);
        assert_eq!(outside_crates(&member("dsbus-supervisor", tokio)).len(), 1);
    }

    #[test]
    fn what_is_not_inherited_is_found() {
        let lints = "[lints]\nworkspace = true\n";
        let version = format!("{lints}[dependencies]\nserde = \"1\"");
        assert_eq!(inheritance(&member("dsbus", "")).len(), 1);
        assert_eq!(inheritance(&member("dsbus", &version)).len(), 1);
        assert_eq!(inheritance(&member("dsbus", lints)), [""; 0]);
        let own = format!("version = \"0.2.0\"\n{lints}");
        assert_eq!(inheritance(&member("dsbus", &own)).len(), 1);
        let shared = format!("version.workspace = true\n{lints}");
        assert_eq!(inheritance(&member("dsbus", &shared)), [""; 0]);
        let stray = Tree::of(&[("b/Cargo.toml", "[lints]\nworkspace = true")]);
        assert_eq!(inheritance(&stray).len(), 1);
    }

    #[test]
    fn another_version_for_python_is_found() {
        let of = |text: &str| {
            let manifest = "[workspace.package]\nversion = \"1.2.3\"";
            python(&Tree::of(&[("Cargo.toml", manifest), (PYTHON, text)]))
        };
        assert_eq!(of("[project]\nname = \"dsbus\"\nversion = \"1.2.3\""), [""; 0]);
        let other = of("[project]\nname = \"dsbus-client\"\nversion = \"1.2.3\"");
        assert_eq!(other, [format!("{PYTHON}: write `name = \"dsbus\"`")]);
        let old = of("[project]\nname = \"dsbus\"\nversion = \"1.2.2\"");
        assert_eq!(old, [format!("{PYTHON}: write `version = \"1.2.3\"`")]);
        assert_eq!(of("").len(), 2);
    }

    #[test]
    fn a_dependency_that_cannot_be_had_is_found() {
        let of = |asked: &str, publish: &str| {
            let root = format!(
                "[workspace]\nmembers = []\n[workspace.package]\nversion = \"1.2.3\"\n\
                 [workspace.dependencies]\nb = {{ path = \"b\"{asked} }}"
            );
            let b = format!("[package]\nname = \"b\"\n{publish}");
            let a = "[package]\nname = \"a\"\n[dependencies]\nb.workspace = true";
            let tree = [("Cargo.toml", &*root), ("a/Cargo.toml", a), ("b/Cargo.toml", &*b)];
            published(&Tree::of(&tree))
        };
        assert_eq!(of(", version = \"=1.2.3\"", ""), [""; 0]);
        let exact = ["Cargo.toml: b: write `version = \"=1.2.3\"`"];
        assert_eq!(of("", ""), exact);
        assert_eq!(of(", version = \"=1.2.2\"", ""), exact);
        assert_eq!(of("", "publish = false"), ["a/Cargo.toml: b is not published"]);
    }
}
