//! Who may use a gateway, and the file that says so.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use dsbus_schema::ids::UserName;
use dsbus_schema::reading;
use ring::digest::{Digest, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use serde::Deserialize;

use crate::{Door, Listen};

/// What a password begins with that is given by its SHA-1, in hexadecimal, as Supervisor has it.
const SHA: &str = "{SHA}";

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Look, and act.
    Operator,
}

impl Role {
    /// `viewer` or `operator`.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
        }
    }
}

/// A password, as it was said.
#[derive(Clone, PartialEq, Eq)]
enum Password {
    Plain(String),
    Sha1([u8; 20]),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    fn parse(text: &str) -> Result<Password, String> {
        let Some(sum) = text.strip_prefix(SHA) else {
            let scheme = text.strip_prefix('{').and_then(|rest| rest.split_once('}'));
            return if let Some((scheme, _)) = scheme {
                Err(format!("{{{scheme}}} is not known: {SHA} and a SHA-1, or a plain password"))
            } else if text.is_empty() {
                Err("a password must not be empty".to_owned())
            } else {
                Ok(Password::Plain(text.to_owned()))
            };
        };
        let bytes =
            |at: usize| sum.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        let all: Option<Vec<u8>> = (0..sum.len()).step_by(2).map(bytes).collect();
        let whole = all.and_then(|all| <[u8; 20]>::try_from(all).ok());
        whole.map(Password::Sha1).ok_or_else(|| {
            "after {SHA} come the 40 hexadecimal digits of a SHA-1, as sha1sum prints them"
                .to_owned()
        })
    }

    /// Whether it is this one. Takes as long for a wrong one as for the right one.
    fn fits(&self, given: &str) -> bool {
        let sums = match self {
            Password::Plain(text) => {
                (digest(&SHA256, text.as_bytes()), digest(&SHA256, given.as_bytes()))
            }
            Password::Sha1(sum) => {
                let given = digest(&SHA1_FOR_LEGACY_USE_ONLY, given.as_bytes());
                (digest(&SHA256, sum), digest(&SHA256, given.as_ref()))
            }
        };
        // Of two digests of digests nothing can be learned by the time that comparing them takes.
        sums.0.as_ref() == sums.1.as_ref()
    }
}

/// Who may use a gateway.
#[derive(Debug, Clone, Default)]
pub struct Users {
    users: BTreeMap<UserName, (Password, Role)>,
}

impl Users {
    /// Whether everybody may do everything.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// What somebody may do who names himself so and knows this password.
    pub fn role(&self, name: &str, password: &str) -> Option<(UserName, Role)> {
        let (known, (right, role)) = self.users.iter().find(|(known, _)| known.as_str() == name)?;
        right.fits(password).then(|| (known.clone(), *role))
    }

    /// What changes with the password of a user, and tells nothing of it.
    pub(crate) fn stamp(&self, name: &str) -> Option<Digest> {
        let (_, (password, _)) = self.users.iter().find(|(known, _)| known.as_str() == name)?;
        Some(match password {
            Password::Plain(text) => digest(&SHA256, text.as_bytes()),
            Password::Sha1(sum) => digest(&SHA256, sum),
        })
    }

    /// What somebody may do who has shown before who he is.
    pub fn known(&self, name: &str) -> Option<(UserName, Role)> {
        let (known, (_, role)) = self.users.iter().find(|(known, _)| known.as_str() == name)?;
        Some((known.clone(), *role))
    }
}

/// What the file of a gateway says.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Where it listens.
    pub listen: Vec<Listen>,
    /// Who may open its sockets in the file system.
    pub door: Door,
    /// What seals cookies, for several gateways behind one address.
    pub secret: Option<Vec<u8>>,
    /// Who may use it.
    pub users: Users,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(default)]
    listen: Vec<String>,
    chmod: Option<String>,
    chown: Option<String>,
    secret_file: Option<PathBuf>,
    #[serde(default)]
    user: BTreeMap<String, User>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    password: Option<String>,
    password_file: Option<PathBuf>,
    role: Role,
}

/// Least bytes of a secret that nobody guesses.
const SECRET_BYTES_MIN: usize = 16;

/// Reads the keys of a file; what is wrong is told by line and key.
fn parsed(text: &str) -> Result<Said, String> {
    let line = |span: Option<std::ops::Range<usize>>| {
        let before = span.and_then(|span| text.get(..span.start)).unwrap_or_default();
        before.matches('\n').count() + 1
    };
    let read = toml::Deserializer::parse(text)
        .map_err(|e| format!("line {}: not valid TOML: {}", line(e.span()), e.message()))?;
    serde_path_to_error::deserialize(read).map_err(|e| {
        let wrong = reading::wrong(&e.path().to_string(), e.inner().message());
        format!("line {}: {wrong}", line(e.inner().span()))
    })
}

impl Settings {
    /// Reads what a file says; `read` reads the files that it names, relative to its directory.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(
        text: &str,
        read: impl Fn(&Path) -> std::io::Result<String>,
    ) -> Result<Settings, String> {
        let said = parsed(text)?;
        let read = |what: &str, path: &Path| {
            read(path).map_err(|e| format!("{what}: {} cannot be read: {e}", path.display()))
        };
        let listen = said.listen.iter().map(|at| Listen::parse(at)).collect::<Result<_, _>>();
        let listen = listen.map_err(|e| format!("listen: {e}"))?;
        let door = Door::parse(said.chmod.as_deref(), said.chown.as_deref())?;
        let secret = match said.secret_file {
            None => None,
            Some(path) => {
                let secret = read("secret_file", &path)?.trim().as_bytes().to_vec();
                if secret.len() < SECRET_BYTES_MIN {
                    return Err(format!(
                        "secret_file: {} has {} bytes; a secret has {SECRET_BYTES_MIN} at least",
                        path.display(),
                        secret.len()
                    ));
                }
                Some(secret)
            }
        };
        let mut users = Users::default();
        for (name, user) in said.user {
            let at = format!("user.{name}");
            let known = UserName::parse(&name).map_err(|e| format!("{at}: {e}"))?;
            let password = match (user.password, user.password_file) {
                (Some(text), None) => text,
                (None, Some(path)) => {
                    let text = read(&format!("{at}.password_file"), &path)?;
                    text.trim_end_matches(['\r', '\n']).to_owned()
                }
                (Some(_), Some(_)) => {
                    return Err(format!("{at}: either password or password_file, not both"));
                }
                (None, None) => return Err(format!("{at}: it needs password or password_file")),
            };
            let password = Password::parse(&password).map_err(|e| format!("{at}.password: {e}"))?;
            users.users.insert(known, (password, user.role));
        }
        Ok(Settings { listen, door, secret, users })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> std::io::Result<String> {
        match path.to_str().unwrap() {
            "pw" => Ok("from a file\n".to_owned()),
            "secret" => Ok("0123456789abcdef\n".to_owned()),
            "short" => Ok("short".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    #[test]
    fn who_may_do_what() {
        let settings = Settings::parse(
            r#"
            listen = ["127.0.0.1:9001", "unix:/run/gateway.sock"]
            secret_file = "secret"
            [user.ann]
            password = "{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"
            role = "operator"
            [user.bob]
            password_file = "pw"
            role = "viewer"
            "#,
            read,
        )
        .unwrap();
        assert_eq!(settings.listen.len(), 2);
        assert_eq!(settings.secret.as_deref(), Some(&b"0123456789abcdef"[..]));
        let role = |name, password| settings.users.role(name, password).map(|(_, role)| role);
        // Supervisor's manual has this sum of `thepassword`.
        assert_eq!(role("ann", "thepassword"), Some(Role::Operator));
        assert_eq!(role("bob", "from a file"), Some(Role::Viewer));
        for (name, password) in [
            ("ann", "82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"),
            ("ann", "{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"),
            ("ann", ""),
            ("ann", "from a file"),
            ("bob", "from a file\n"),
            ("bob", ""),
            ("eve", "thepassword"),
            ("", ""),
        ] {
            assert_eq!(role(name, password), None, "{name} {password}");
        }
        assert_eq!(format!("{:?}", settings.users.users.values().next().unwrap().0), "Password");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("listen = [\"nowhere\"]", "listen: "),
            (
                "lisen = []",
                "line 1: lisen: unknown key; known: listen, chmod, chown, secret_file, user",
            ),
            ("chmod = \"rwx\"", "chmod: expected a mode in octal such as \"0770\", found \"rwx\""),
            ("chown = \"ann:\"", "chown: expected USER"),
            ("secret_file = \"short\"", "16 at least"),
            ("secret_file = \"none\"", "none cannot be read"),
            ("[user.ann]\nrole = \"operator\"", "user.ann: it needs password"),
            ("[user.ann]\npassword = \"x\"", "line 1: user.ann.role: is missing"),
            (
                "[user.ann]\npassword = \"x\"\nrole = \"root\"",
                "line 3: user.ann.role: expected viewer or operator, found \"root\"",
            ),
            ("[user.ann]\npassword = \"\"\nrole = \"viewer\"", "must not be empty"),
            ("[user.ann]\npassword = \"{MD5}12\"\nrole = \"viewer\"", "{MD5} is not known"),
            ("[user.ann]\npassword = \"{SHA}12\"\nrole = \"viewer\"", "40 hexadecimal"),
            ("[user.ann]\npassword = \"x\"\npassword_file = \"pw\"\nrole = \"viewer\"", "not both"),
            ("[user.\"a b\"]\npassword = \"x\"\nrole = \"viewer\"", "user.a b: "),
        ] {
            let said = Settings::parse(text, read).unwrap_err();
            assert!(said.contains(says), "{text:?}: {said}");
        }
    }
}
