//! The environment of a child, and what can be expanded in the values of its declaration.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use dsbus_schema::program::expand::{Variables, expand};
use dsbus_schema::program::{EnvironmentValue, ProgramSpec};
use zeroize::Zeroize;

use super::{Who, env_file, secret_file};
use crate::process::{leftovers, tree};
use crate::users::Account;

/// Variables by name; a worker may have inherited some that are no UTF-8. Values may be secret: they
/// are wiped when they are not needed any more.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    pub(super) fn set(&mut self, name: &str, value: &OsStr) {
        if let Some(old) = self.0.insert(name.into(), value.into()) {
            wipe(old);
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(old) = self.0.remove(OsStr::new(name)) {
            wipe(old);
        }
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<T: IntoIterator<Item = (OsString, OsString)>>(all: T) -> Environment {
        Environment(all.into_iter().collect())
    }
}

/// Names only.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        std::mem::take(&mut self.0).into_values().for_each(wipe);
    }
}

fn wipe(value: OsString) {
    value.into_encoded_bytes().zeroize();
}

/// What can be expanded in the values of a program: its own facts, and as `ENV_X` the environment
/// of the worker, what its owner gives to all children, and what the program gives to this one.
///
/// # Errors
/// When a value of an environment asks for what is not there.
pub(crate) fn variables(spec: &ProgramSpec, who: &Who<'_>) -> Result<Variables, String> {
    let mut known = spec.variables(who.name, who.worker, &who.machine.host);
    known.extend(who.machine.inherited.values.iter().map(|(n, v)| (n.clone(), v.clone())));
    // The program's values see those of the owner, but not each other: whoever writes
    // PATH = "/x:%(ENV_PATH)s" means the PATH from before.
    let owner = who.settings.environment.iter();
    learn(&mut known, owner.map(|(name, value)| (name, value.as_str())))?;
    let texts = spec.environment.iter().map(|(name, value)| (name, value.text()));
    learn(&mut known, texts.clone().filter_map(|(name, text)| Some((name, text?))))?;
    // What only the child may see is expanded nowhere; what it hides is not meant.
    for (name, _) in texts.filter(|(_, text)| text.is_none()) {
        known.remove(&format!("ENV_{name}"));
    }
    Ok(known)
}

fn learn<'a>(
    known: &mut Variables,
    given: impl Iterator<Item = (&'a String, &'a str)>,
) -> Result<(), String> {
    let value =
        |(name, value): (&String, &str)| Ok((format!("ENV_{name}"), expanded(name, value, known)?));
    let values: Vec<_> = given.map(value).collect::<Result<_, String>>()?;
    known.extend(values);
    Ok(())
}

fn expanded(name: &str, value: &str, known: &Variables) -> Result<String, String> {
    expand(value, known).map_err(|why| format!("environment {name}: {why}"))
}

/// The environment of a child of `spec`, but for what names descriptors and pids. Later ones win.
pub(super) fn environment(
    spec: &ProgramSpec,
    who: &Who<'_>,
    known: &Variables,
    account: Option<&Account>,
) -> Result<Environment, String> {
    let mut all = who.machine.inherited.environment.clone();
    let mut set = |name: &str, value: &OsStr| all.set(name, value);
    set("SUPERVISOR_ENABLED", "1".as_ref());
    let group = spec.group.as_ref().unwrap_or(&who.name.program);
    set("SUPERVISOR_GROUP_NAME", group.as_str().as_ref());
    set("SUPERVISOR_PROCESS_NAME", spec.process_name(&who.name.program, known)?.as_ref());
    if let Some(url) = spec.serverurl.as_ref().or(who.settings.serverurl.as_ref()) {
        let url = expand(url, known).map_err(|why| format!("serverurl: {why}"))?;
        set("SUPERVISOR_SERVER_URL", url.as_ref());
    }
    if let Some(Account { name: Some(name), home, .. }) = account {
        set("USER", name.as_ref());
        set("LOGNAME", name.as_ref());
        set("HOME", home.as_deref().unwrap_or("/".as_ref()));
    }
    // `known` has the owner's values as they are expanded, unless the program's hide them, which
    // win anyway.
    let value = |name: &String| known.get(&format!("ENV_{name}")).map(String::as_str);
    for name in who.settings.environment.keys() {
        set(name, value(name).unwrap_or_default().as_ref());
    }
    for path in &spec.env_file {
        let path = expand(path, known).map_err(|why| format!("env_file {path}: {why}"))?;
        for (name, value) in env_file::read(Path::new(&path))? {
            if let Some(violation) = who.settings.policy.variable("env_file", &name) {
                return Err(violation.to_string());
            }
            set(&name, value.as_ref());
        }
    }
    for (name, given) in &spec.environment {
        let failed = |why: String| format!("environment {name}: {why}");
        match given {
            EnvironmentValue::Text(_) => set(name, value(name).unwrap_or_default().as_ref()),
            EnvironmentValue::File { file } => {
                let path = expand(file, known).map_err(failed)?;
                let value = secret_file::read(Path::new(&path)).map_err(failed)?;
                set(name, OsStr::from_bytes(value.expose()));
            }
            EnvironmentValue::Secret { secret } => {
                let value = who.secrets.get(secret).map_err(failed)?;
                set(name, OsStr::from_bytes(value.expose()));
            }
        }
    }
    for (name, value) in identity(who) {
        set(name, value.as_ref());
    }
    Ok(all)
}

/// What tells a child who it is.
fn identity(who: &Who<'_>) -> [(&'static str, String); 7] {
    [
        (tree::MARK, leftovers::mark(&who.incarnation.to_string(), who.number)),
        ("DSBUS_EPOCH", who.epoch.to_string()),
        ("DSBUS_FLEET", who.fleet.to_string()),
        ("DSBUS_INDEX", who.name.index.to_string()),
        ("DSBUS_INSTANCE", who.name.to_string()),
        ("DSBUS_PROGRAM", who.name.program.to_string()),
        ("DSBUS_WORKER", who.worker.to_string()),
    ]
}

/// What children have of the worker's own environment, which does not change while it runs: all
/// but what was meant for the worker.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    environment: Environment,
    /// As they can be asked for in values: `ENV_X`, where both are UTF-8.
    values: Variables,
}

impl Inherited {
    pub(crate) fn find() -> Inherited {
        let meant_for_children = |(name, value): &(OsString, OsString)| {
            let name = name.as_encoded_bytes();
            let prefixes = ["DSBUS_", "LISTEN_", "WATCHDOG_", "MEMORY_PRESSURE_"];
            // And what systemd tells a service about itself.
            let of_service: [&[u8]; 6] = [
                b"NOTIFY_SOCKET",
                b"CREDENTIALS_DIRECTORY",
                b"INVOCATION_ID",
                b"JOURNAL_STREAM",
                b"STATE_DIRECTORY",
                b"SYSTEMD_EXEC_PID",
            ];
            // What lets the worker onto the bus lets nobody else there.
            let secrets: [&[u8]; 3] = [b"NATS_USER", b"NATS_PASSWORD", b"NATS_TOKEN"];
            let secret = name == b"NATS_URL" && value.as_encoded_bytes().contains(&b'@');
            !secret
                && !of_service.contains(&name)
                && !secrets.contains(&name)
                && !prefixes.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
        };
        let environment: Environment = std::env::vars_os().filter(meant_for_children).collect();
        let text = environment.iter().filter_map(|(name, value)| {
            Some((format!("ENV_{}", name.to_str()?), value.to_str()?.to_owned()))
        });
        Inherited { values: text.collect(), environment }
    }
}
