//! What a declaration alone does not tell: who a number is, where links lead, what is in a file.

use std::fs;
use std::fs::File;
use std::path::{Component, Path, PathBuf};

use super::{Executable, Hashed, Hashes, Policy, Violation, matches};
use crate::facilities::Machine;
use crate::users::Account;

/// The paths of a declaration, as they are expanded: the key of each, and the path.
pub(crate) type Paths = Vec<(String, PathBuf)>;

/// Everything about a user and its paths that is not allowed. `home` is the instance's own directory.
pub(crate) fn look(
    policy: &Policy,
    machine: &Machine,
    user: Option<&str>,
    home: &[&Path],
    paths: &Paths,
) -> Vec<Violation> {
    let mut found = Vec::new();
    if policy.users.is_some() || !policy.root {
        found.extend(account(policy, machine, user));
    }
    let guarded = policy.keeps_root_out(machine.uid);
    if guarded || policy.directories.is_some() {
        let directories = policy.directories.iter().flatten().map(PathBuf::as_path);
        let allowed = directories.chain(home.iter().copied());
        let allowed: Vec<PathBuf> =
            allowed.filter_map(|path| fs::canonicalize(path).ok()).collect();
        for (key, path) in paths.iter().filter(|(key, _)| !guarded || key != "directory") {
            let Err(why) = within(path, &allowed) else { continue };
            found.push(if guarded {
                let by = if policy.root { "users" } else { "root" };
                let rule = "the worker would open it as root, which no program here may be: name its \
                            directory in policy.directories";
                policy.violation(key, path.display(), rule.to_owned(), by)
            } else {
                policy.violation(key, path.display(), why, "directories")
            });
        }
    }
    found
}

/// Who a user is on this machine: a name may be another one of root, and a number that of a name.
fn account(policy: &Policy, machine: &Machine, user: Option<&str>) -> Option<Violation> {
    let text = user?;
    // One that does not exist here fails the start, which says so.
    let whole = machine.accounts.find(text).ok()?;
    let shown = |who: &Account| who.name.clone().unwrap_or_else(|| who.uid.to_string());
    let no = |rule: String, by| Some(policy.violation("user", text, rule, by));
    if !policy.root && whole.uid == 0 {
        return no("it is root here, and root is not allowed".to_owned(), "root");
    }
    if let Some(users) = &policy.users {
        let number = whole.uid.to_string();
        let is = |one: &String| Some(one) == whole.name.as_ref() || *one == number;
        if !users.iter().any(is) {
            let rule = format!("it is {} here; allowed are {}", shown(&whole), users.join(", "));
            return no(rule, "users");
        }
    }
    // A group of somebody else's may be as good as another user.
    let (name, group) = text.split_once(':')?;
    let own = machine.accounts.find(name).map(|own| own.groups).unwrap_or_default();
    let by = if policy.users.is_some() { "users" } else { "root" };
    if whole.uid != 0 && !own.contains(&whole.gid) {
        return no(format!("{} is no member of group {group}", shown(&whole)), by);
    }
    None
}

/// Whether a path leads into one of these directories, wherever its links lead. What does not exist
/// yet is where the part of it that exists leads.
fn within(path: &Path, allowed: &[PathBuf]) -> Result<(), String> {
    let shown = || "it is in none of the allowed directories".to_owned();
    if !path.is_absolute() {
        return Err("it is not absolute".to_owned());
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("it may have no .. in it".to_owned());
    }
    for ancestor in path.ancestors() {
        match fs::canonicalize(ancestor) {
            Ok(real) => {
                let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
                let real = real.join(rest);
                return if allowed.iter().any(|directory| real.starts_with(directory)) {
                    Ok(())
                } else if real == path {
                    Err(shown())
                } else {
                    Err(format!("{}: it leads to {}", shown(), real.display()))
                };
            }
            // A link that leads nowhere yet would be followed when it leads somewhere.
            Err(_) if ancestor.is_symlink() => {
                return Err(format!("the link {} leads nowhere", ancestor.display()));
            }
            Err(_) => {}
        }
    }
    Err(shown())
}

/// Whether a file may be executed. Where its content decides, it is given open: that descriptor is
/// what is to be executed.
///
/// # Errors
/// What is not allowed. `key` is what names the file.
pub(crate) fn executable(
    policy: &Policy,
    hashes: &Hashes,
    key: &str,
    path: &Path,
) -> Result<Option<File>, Violation> {
    let Some(rules) = &policy.executables else { return Ok(None) };
    let no = |why: String| policy.violation(key, path.display(), why, "executables");
    let real =
        fs::canonicalize(path).map_err(|e| no(format!("the worker cannot look at it: {e}")))?;
    let Some(text) = real.to_str() else { return Err(no("it is no UTF-8".to_owned())) };
    let is = |rule: &&Executable| {
        matches(rule.path(), text) || fs::canonicalize(rule.path()).is_ok_and(|path| path == real)
    };
    let rules: Vec<&Executable> = rules.iter().filter(is).collect();
    if rules.is_empty() {
        let leads = if real == path { String::new() } else { format!(" (it is {text})") };
        return Err(no(format!("it is not among the executables that are allowed{leads}")));
    }
    if rules.iter().any(|rule| matches!(rule, Executable::Path(_))) {
        return Ok(None);
    }
    let (file, hash) =
        hashes.open(&real).map_err(|why| no(format!("sha256 is required: {why}")))?;
    let same = |rule: &&Executable| match rule {
        Executable::Hashed(Hashed { sha256, .. }) => sha256.eq_ignore_ascii_case(&hash),
        Executable::Path(_) => true,
    };
    if rules.iter().any(same) {
        return Ok(Some(file));
    }
    Err(no(format!("its sha256 is {hash}, which is not allowed")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::*;

    #[test]
    fn paths_cannot_escape() {
        let home = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(home.path()).unwrap();
        let srv = real.join("srv");
        fs::create_dir_all(srv.join("a")).unwrap();
        symlink("/etc", srv.join("out")).unwrap();
        symlink("a", srv.join("in")).unwrap();
        symlink(real.join("none"), srv.join("dangling")).unwrap();
        symlink(&srv, real.join("alias")).unwrap();
        let allowed = [srv.clone()];
        for fine in ["", "a", "a/b/c.log", "in/x.log", "new.log"] {
            assert_eq!(within(&srv.join(fine), &allowed), Ok(()), "{fine}");
        }
        assert_eq!(within(&real.join("alias/x"), &allowed), Ok(()));
        for bad in ["out/x.log", "out", "a/../../x", "dangling", "dangling/x"] {
            assert!(within(&srv.join(bad), &allowed).is_err(), "{bad}");
        }
        for bad in ["/etc/passwd", "/proc/self/cwd/x", "/proc/self/fd/1", "relative", "/srv2"] {
            assert!(within(Path::new(bad), &allowed).is_err(), "{bad}");
        }
        let near = real.join("srv2");
        fs::create_dir(&near).unwrap();
        assert!(within(&near, &allowed).is_err(), "only a whole name counts");
    }

    #[test]
    fn who_may_not_be_root_has_no_file_opened_by_root() {
        let mut machine = Machine::without_cgroups();
        let home = tempfile::tempdir().unwrap();
        let paths: Paths = [
            ("directory", PathBuf::from("/srv")),
            ("stdout_logfile", home.path().join("stdout.log")),
            ("environment", PathBuf::from("/etc/shadow")),
        ]
        .map(|(key, path)| (key.to_owned(), path))
        .into();
        let mut refused = |policy: serde_json::Value, uid| {
            machine.uid = uid;
            let policy: Policy = serde_json::from_value(policy).unwrap();
            let found = look(&policy, &machine, None, &[home.path()], &paths);
            let keys = |one: &Violation| format!("{} by {}", one.key, one.by);
            found.iter().map(keys).collect::<Vec<_>>()
        };
        let nothing = Vec::<String>::new();
        for (policy, by) in
            [(json!({ "root": false }), "root"), (json!({ "users": ["app"] }), "users")]
        {
            let told = format!("environment by policy.{by}");
            assert_eq!(refused(policy.clone(), 0), [told], "{policy}");
            assert_eq!(
                refused(policy, 1000),
                nothing,
                "a worker that is not root opens what it may"
            );
        }
        for policy in [json!({}), json!({ "users": ["app", "root"] })] {
            assert_eq!(refused(policy.clone(), 0), nothing, "{policy}");
        }
        assert_eq!(refused(json!({ "root": false, "directories": ["/etc", "/srv"] }), 0), nothing);
        let told = ["directory", "environment"].map(|key| format!("{key} by policy.directories"));
        assert_eq!(refused(json!({ "root": false, "directories": [] }), 0), told);
    }

    #[test]
    fn users_are_who_they_are_here() {
        let machine = Machine::without_cgroups();
        let policy = |users: Option<&[&str]>, root| Policy {
            users: users.map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
            root,
            ..Policy::default()
        };
        let said = |policy: &Policy, user| account(policy, &machine, Some(user));
        let nobody: Option<&[&str]> = Some(&["nobody"]);
        assert!(said(&policy(None, false), "0:7").is_some());
        assert!(said(&policy(nobody, true), "nobody").is_none());
        assert!(said(&policy(nobody, true), "65534").is_none(), "its number");
        assert!(said(&policy(nobody, true), "1").is_some());
        let why = said(&policy(nobody, true), "nobody:root").unwrap().to_string();
        assert_eq!(why, "user nobody:root: nobody is no member of group root (policy.users)");
    }

    #[test]
    fn executables_are_found_by_path_glob_and_content() {
        let home = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(home.path()).unwrap();
        let path = real.join("tool");
        fs::copy("/bin/true", &path).unwrap();
        symlink(&path, real.join("link")).unwrap();
        let hashes = Hashes::default();
        let (_, hash) = hashes.open(&path).unwrap();
        let try_with = |rules: serde_json::Value, path: &Path| {
            let policy = serde_json::json!({ "executables": rules });
            let policy: Policy = serde_json::from_value(policy).unwrap();
            executable(&policy, &hashes, "command", path).map(|file| file.is_some())
        };
        let here = real.display().to_string();
        let json = |path: String| serde_json::json!([path]);
        let held_to = |hash: &str| serde_json::json!([{ "path": path, "sha256": hash }]);
        assert_eq!(try_with(json(path.display().to_string()), &path), Ok(false));
        assert_eq!(try_with(json(format!("{here}/*")), &real.join("link")), Ok(false));
        assert_eq!(try_with(json(format!("{here}/link")), &path), Ok(false), "a rule is a link");
        assert_eq!(try_with(held_to(&hash.to_uppercase()), &path), Ok(true));
        let why = try_with(held_to(&"0".repeat(64)), &path).unwrap_err().to_string();
        assert!(why.contains(&hash) && why.contains("policy.executables"), "{why}");
        let above = real.parent().unwrap().display().to_string();
        assert!(try_with(json(format!("{above}/*")), &path).is_err(), "* is one name");
        assert_eq!(try_with(json(format!("{above}/**/tool")), &path), Ok(false));
        assert!(try_with(serde_json::json!([]), Path::new("/bin/sh")).is_err());
    }
}
