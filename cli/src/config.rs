//! Which bus, which fleet, who: resolved once from the command line, the environment and the
//! directory. No other file reads the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use dsbus_client::ConnectOptions;
use dsbus_schema::ids::{FleetName, UserName};

use crate::args::Globals;
use crate::failure::Failure;
use crate::file::worker::LogLevel;

/// The bus unless anything names another one.
const URL_DEFAULT: &str = "nats://127.0.0.1:4222";
/// Schemes of addresses that the client connects to.
const SCHEMES: [&str; 4] = ["nats", "tls", "ws", "wss"];
/// Where `dsbus dev` writes its bus, below the directory it was started in.
pub(crate) const URL_FILE: &str = ".dsbus/url";
/// What is logged unless said otherwise.
const LOG_DEFAULT: &str = LogLevel::Info.filter();
/// Where a worker tells what it starts to run an event listener which bus is its own. Not
/// `NATS_URL`, which is the listener's business, and not an argument, which everybody can see.
pub(crate) const WORKER_URL: &str = "DSBUS_NATS_URL";

/// Where the address of the bus comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `--nats`.
    Flag,
    /// `NATS_URL`.
    Environment,
    /// The worker that started this process.
    Worker,
    /// A file that `dsbus dev` wrote.
    File(PathBuf),
    /// Nothing named one.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("from --nats"),
            Origin::Environment => f.write_str("from NATS_URL"),
            Origin::Worker => f.write_str("from its worker"),
            Origin::File(path) => write!(f, "from {}", path.display()),
            Origin::Default => f.write_str("the default"),
        }
    }
}

/// What the process finds around it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// Environment variables.
    pub(crate) variables: BTreeMap<OsString, OsString>,
    /// Current directory.
    pub(crate) directory: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub(crate) fn here() -> Surroundings {
        Surroundings {
            variables: std::env::vars_os().collect(),
            directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        }
    }

    /// A variable that is set, is text, and is not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        let text = self.variables.get(std::ffi::OsStr::new(name))?.to_str()?;
        (!text.is_empty()).then_some(text)
    }

    /// The nearest file of this relative path, here or in a parent directory.
    pub(crate) fn upward(&self, relative: &str) -> Option<PathBuf> {
        self.directory.ancestors().map(|dir| dir.join(relative)).find(|path| path.is_file())
    }

    /// Directories in which programs are looked for.
    pub(crate) fn path(&self) -> Vec<PathBuf> {
        self.variables
            .get(std::ffi::OsStr::new("PATH"))
            .map(|path| std::env::split_paths(path).collect())
            .unwrap_or_default()
    }

    /// What to log: `DSBUS_LOG`, else `RUST_LOG`; `None` when neither is set.
    pub(crate) fn log(&self) -> Option<&str> {
        self.variable("DSBUS_LOG").or_else(|| self.variable("RUST_LOG"))
    }

    /// What a daemon logs, where the environment does not say it.
    pub(crate) fn daemon_log<'a>(&'a self, otherwise: Option<&'a str>) -> &'a str {
        self.log().or(otherwise).unwrap_or(LOG_DEFAULT)
    }
}

/// Everything a verb needs to know before it connects.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Servers of the bus.
    pub(crate) urls: Vec<String>,
    /// Where they are from.
    pub(crate) origin: Origin,
    /// Fleet.
    pub(crate) fleet: FleetName,
    /// Who asks.
    pub(crate) user: UserName,
    /// The rest of the surroundings.
    pub(crate) around: Surroundings,
}

impl Config {
    /// Resolves the configuration.
    ///
    /// # Errors
    /// When a fleet or a URL is given that cannot be one.
    pub(crate) fn resolve(globals: &Globals, around: Surroundings) -> Result<Config, Failure> {
        let (text, origin) = address(globals, &around)?;
        let urls: Vec<String> =
            text.split(',').map(str::trim).filter(|u| !u.is_empty()).map(str::to_owned).collect();
        if urls.is_empty() {
            return Err(Failure::usage(format!("no address of a bus in {text:?} ({origin})")));
        }
        if let Some(scheme) = urls.iter().find_map(|url| strange_scheme(url)) {
            let known = SCHEMES.join(", ");
            return Err(Failure::usage(format!(
                "{scheme}:// is no address of a bus ({origin}); a scheme is one of {known}"
            )));
        }
        let fleet = match (&globals.fleet, around.variable("DSBUS_FLEET")) {
            (Some(fleet), _) => fleet.clone(),
            (None, Some(text)) => {
                FleetName::parse(text).map_err(|e| Failure::usage(format!("DSBUS_FLEET: {e}")))?
            }
            (None, None) => FleetName::default(),
        };
        let user = globals.user.clone().unwrap_or_default();
        Ok(Config { urls, origin, fleet, user, around })
    }

    /// How to connect; `label` is what the server lists the connection as.
    pub(crate) fn connect(&self, label: &str, wait: bool) -> ConnectOptions {
        ConnectOptions {
            urls: self.urls.clone(),
            fleet: self.fleet.clone(),
            user: self.user.clone(),
            label: label.to_owned(),
            wait,
        }
    }

    /// The servers as text without passwords.
    pub(crate) fn shown(&self) -> String {
        self.urls.iter().map(|url| without_secret(url)).collect::<Vec<_>>().join(",")
    }

    /// ` --fleet NAME` for a command that is suggested, where it is needed.
    pub(crate) fn fleet_option(&self) -> String {
        if self.fleet.is_default() { String::new() } else { format!(" --fleet {}", self.fleet) }
    }

    /// The options by which another `dsbus` process finds the same fleet.
    pub(crate) fn as_arguments(&self) -> Vec<OsString> {
        let words = [
            "--nats",
            &self.urls.join(","),
            "--fleet",
            self.fleet.as_str(),
            "--as",
            self.user.as_str(),
        ];
        words.iter().map(OsString::from).collect()
    }
}

fn address(globals: &Globals, around: &Surroundings) -> Result<(String, Origin), Failure> {
    if let Some(url) = &globals.nats {
        return Ok((url.clone(), Origin::Flag));
    }
    if let Some(url) = around.variable(WORKER_URL) {
        return Ok((url.to_owned(), Origin::Worker));
    }
    if let Some(url) = around.variable("NATS_URL") {
        return Ok((url.to_owned(), Origin::Environment));
    }
    match around.upward(URL_FILE) {
        Some(path) => {
            let text = fs::read_to_string(&path)
                .map_err(|e| Failure::failed(format!("failed to read {}: {e}", path.display())))?;
            Ok((text.trim().to_owned(), Origin::File(nearer(&path, &around.directory))))
        }
        None => Ok((URL_DEFAULT.to_owned(), Origin::Default)),
    }
}

/// The path as seen from `directory`, when it is below it.
fn nearer(path: &Path, directory: &Path) -> PathBuf {
    path.strip_prefix(directory).unwrap_or(path).to_owned()
}

/// The scheme of an address, if it is none that NATS knows. Without one it is `nats`.
fn strange_scheme(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once("://")?;
    (!SCHEMES.contains(&scheme)).then_some(scheme)
}

/// `nats://ann:secret@host` is shown as `nats://ann:...@host`.
fn without_secret(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let Some((who, host)) = rest.rsplit_once('@') else { return url.to_owned() };
    let who = who.split_once(':').map_or("...".to_owned(), |(user, _)| format!("{user}:..."));
    if scheme.is_empty() { format!("{who}@{host}") } else { format!("{scheme}://{who}@{host}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(directory: &Path, variables: &[(&str, &str)]) -> Surroundings {
        let variables = variables.iter().map(|(k, v)| (k.into(), v.into())).collect();
        Surroundings { variables, directory: directory.to_owned() }
    }

    fn resolved(globals: &Globals, around: Surroundings) -> (String, Origin) {
        let config = Config::resolve(globals, around).unwrap();
        (config.urls.join(","), config.origin)
    }

    #[test]
    fn the_nearest_word_wins() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        let none = Globals::default();
        assert_eq!(resolved(&none, around(&below, &[])), (URL_DEFAULT.to_owned(), Origin::Default));

        let file = dir.path().join(URL_FILE);
        fs::create_dir(dir.path().join(".dsbus")).unwrap();
        fs::write(&file, "nats://file:1\n").unwrap();
        assert_eq!(
            resolved(&none, around(&below, &[])),
            ("nats://file:1".to_owned(), Origin::File(file.clone())),
            "a parent's file, by its whole path"
        );
        assert_eq!(
            resolved(&none, around(dir.path(), &[("NATS_URL", "")])).1,
            Origin::File(URL_FILE.into()),
            "an empty variable is none"
        );
        assert_eq!(
            resolved(&none, around(&below, &[("NATS_URL", "nats://a:1, nats://b:2")])),
            ("nats://a:1,nats://b:2".to_owned(), Origin::Environment)
        );
        let both = [("NATS_URL", "nats://a:1"), (WORKER_URL, "nats://w:1")];
        assert_eq!(
            resolved(&none, around(&below, &both)),
            ("nats://w:1".to_owned(), Origin::Worker)
        );
        let flag = Globals { nats: Some("nats://flag:1".to_owned()), ..Globals::default() };
        assert_eq!(
            resolved(&flag, around(&below, &[("NATS_URL", "nats://a:1")])),
            ("nats://flag:1".to_owned(), Origin::Flag)
        );
    }

    #[test]
    fn the_fleet_is_checked() {
        let said =
            Config::resolve(&Globals::default(), around(Path::new("/"), &[("DSBUS_FLEET", "a.b")]))
                .unwrap_err();
        assert!(said.message.contains("DSBUS_FLEET"), "{said:?}");
    }

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("nats://h:1", "nats://h:1"),
            ("nats://ann:p@ss@h:1", "nats://ann:...@h:1"),
            ("token@h", "...@h"),
        ] {
            assert_eq!(without_secret(url), shown);
        }
    }
}
