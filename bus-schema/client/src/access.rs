//! By what right one is on the bus, and how one is sure that it is the right one: credentials and
//! TLS. Files are read anew for each connection, so that a credential that was replaced holds from
//! the next one on.

use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use async_nats::{Auth, AuthError, ServerAddr};
use nkeys::KeyPair;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::limited::read_limited_text;

/// Longest file of credentials that is read, in bytes: one holds a token and a key.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// What stands around the two parts of a file of credentials.
const JWT_MARK: &str = "NATS USER JWT";
const SEED_MARK: &str = "USER NKEY SEED";

/// Text that nobody is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for whoever needs it to connect.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// Credentials. Paths are best whole: a daemon may go to another directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// Those in the address, where it has some.
    #[default]
    Address,
    /// A file of a user's JWT and seed, as `nsc` writes it.
    File(PathBuf),
    /// A file that holds the seed of an nkey.
    Nkey(PathBuf),
    /// User and password.
    Password {
        /// User.
        user: String,
        /// Password.
        password: Secret,
    },
    /// Token.
    Token(Secret),
    /// A user's JWT, and the seed that it belongs to.
    Jwt {
        /// JWT.
        jwt: Secret,
        /// Seed.
        seed: Secret,
    },
}

/// Certificates, as paths of PEM files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// Who vouches for servers; what the machine trusts, unless set.
    pub ca: Option<PathBuf>,
    /// Our own certificate, and its key.
    pub own: Option<(PathBuf, PathBuf)>,
    /// The server speaks TLS from the first byte on (`handshake_first`).
    pub first: bool,
}

/// Credentials and TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Access {
    /// Who we are.
    pub credentials: Credentials,
    /// Who the server is, and how it knows us.
    pub tls: Tls,
    /// What answers come to; `_INBOX` unless set. For users who may not subscribe to that.
    pub inbox_prefix: Option<String>,
}

impl Access {
    /// Every file that it names.
    pub fn files(&self) -> Vec<&Path> {
        let credentials = match &self.credentials {
            Credentials::File(path) | Credentials::Nkey(path) => Some(path.as_path()),
            Credentials::Address
            | Credentials::Password { .. }
            | Credentials::Token(_)
            | Credentials::Jwt { .. } => None,
        };
        let own = self.tls.own.iter().flat_map(|(cert, key)| [cert.as_path(), key.as_path()]);
        credentials.into_iter().chain(self.tls.ca.as_deref()).chain(own).collect()
    }

    /// Files of secrets that everybody on this machine can read.
    pub fn exposed(&self) -> Vec<&Path> {
        let public = |path: &&Path| {
            Some(*path) == self.tls.ca.as_deref()
                || self.tls.own.as_ref().is_some_and(|(cert, _)| cert == path)
        };
        let open = |path: &&Path| {
            std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
        };
        self.files().into_iter().filter(|path| !public(path)).filter(open).collect()
    }

    /// Looks whether its files can be used.
    ///
    /// # Errors
    /// [`Error::Malformed`] about the first one that cannot.
    pub fn check(&self) -> Result<(), Error> {
        for path in self.files() {
            read(path).map_err(|why| Error::malformed(path.display().to_string(), why))?;
        }
        let (Credentials::File(path) | Credentials::Nkey(path)) = &self.credentials else {
            return Ok(());
        };
        let signed = self.credentials.prove(b"nonce");
        // It begins with the path.
        let what = || path.display().to_string();
        signed.map(drop).map_err(|why| {
            let why = why.strip_prefix(&format!("{}: ", what())).unwrap_or(&why);
            Error::malformed(what(), why)
        })
    }

    /// Options of a connection to these servers.
    pub(crate) fn options(&self, urls: &[String]) -> async_nats::ConnectOptions {
        let credentials = match &self.credentials {
            Credentials::Address => in_address(urls),
            given => Some(given.clone()),
        };
        let mut options = match credentials {
            None => async_nats::ConnectOptions::new(),
            Some(credentials) => async_nats::ConnectOptions::with_auth_callback(move |nonce| {
                let proved = credentials.prove(&nonce).map_err(AuthError::new);
                async move { proved }
            }),
        };
        if let Some(ca) = &self.tls.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((cert, key)) = &self.tls.own {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        // Servers that others name, where it connects anew, have no scheme.
        if urls.iter().any(|url| self.encrypts(url)) {
            options = options.require_tls(true);
        }
        if self.tls.first {
            options = options.tls_first();
        }
        if let Some(prefix) = &self.inbox_prefix {
            options = options.custom_inbox_prefix(prefix);
        }
        options
    }
}

impl Credentials {
    /// The pair of keys whose seed they hold, if they do.
    ///
    /// # Errors
    /// [`Error::Malformed`] about a file that cannot be used.
    pub(crate) fn seed(&self) -> Result<Option<KeyPair>, Error> {
        let pair = match self {
            Credentials::Address | Credentials::Password { .. } | Credentials::Token(_) => {
                return Ok(None);
            }
            Credentials::Nkey(path) => at(path, read(path).and_then(|text| bare_seed(&text))),
            Credentials::File(path) => {
                let seed = |text: String| part(&text, SEED_MARK).map(str::to_owned);
                let missing = || format!("has no {SEED_MARK} part");
                let seed = read(path).and_then(|text| seed(text).ok_or_else(missing));
                at(path, seed.and_then(|seed| key_pair(&seed)))
            }
            Credentials::Jwt { seed, .. } => key_pair(&seed.0),
        };
        pair.map(Some).map_err(|why| Error::malformed("credentials", why))
    }

    /// What the server is told, and the signature under what it sent.
    fn prove(&self, nonce: &[u8]) -> Result<Auth, String> {
        let mut auth = Auth::new();
        match self {
            Credentials::Address => {}
            Credentials::Password { user, password } => {
                auth.username = Some(user.clone());
                auth.password = Some(password.0.clone());
            }
            Credentials::Token(token) => auth.token = Some(token.0.clone()),
            Credentials::Nkey(path) => {
                let text = at(path, read(path))?;
                let pair = at(path, bare_seed(&text))?;
                auth.signature = Some(pair.sign(nonce).map_err(|e| e.to_string())?);
                auth.nkey = Some(pair.public_key());
            }
            Credentials::File(path) => {
                let text = at(path, read(path))?;
                let part = |mark| part(&text, mark).ok_or_else(|| format!("has no {mark} part"));
                let jwt = at(path, part(JWT_MARK))?;
                let pair = at(path, part(SEED_MARK).and_then(key_pair))?;
                auth.signature = Some(pair.sign(nonce).map_err(|e| e.to_string())?);
                auth.jwt = Some(jwt.to_owned());
            }
            Credentials::Jwt { jwt, seed } => {
                auth.signature = Some(key_pair(&seed.0)?.sign(nonce).map_err(|e| e.to_string())?);
                auth.jwt = Some(jwt.0.clone());
            }
        }
        Ok(auth)
    }
}

fn at<T>(path: &Path, found: Result<T, String>) -> Result<T, String> {
    found.map_err(|why| format!("{}: {why}", path.display()))
}

fn key_pair(seed: &str) -> Result<KeyPair, String> {
    KeyPair::from_seed(seed).map_err(|_| "holds no seed of an nkey".to_owned())
}

/// The line between `-----BEGIN mark-----` and the next line of dashes.
fn part<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let dashes = |line: &str| line.starts_with("---") && line.ends_with("---");
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| dashes(line) && line.contains(&format!("BEGIN {mark}")))?;
    lines.take_while(|line| !dashes(line)).find(|line| !line.is_empty())
}

/// The first seed in a text.
fn bare_seed(text: &str) -> Result<KeyPair, String> {
    let seed = text.lines().map(str::trim).find(|line| line.starts_with('S'));
    key_pair(seed.unwrap_or_default())
}

/// Reads a small file of text.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    read_limited_text(path, FILE_BYTES_MAX).map_err(|e| match e.kind() {
        ErrorKind::FileTooLarge => format!("{e}, and no file of credentials or certificates"),
        _ => format!("cannot be read: {e}"),
    })
}

/// What stands before the `@` of the first address that has something there; async-nats itself does
/// not look. A user without a password is a token, as everywhere with NATS.
fn in_address(urls: &[String]) -> Option<Credentials> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    urls.iter().find_map(|url| {
        let address: ServerAddr = url.parse().ok()?;
        let user = decoded(address.username()?);
        Some(match address.password() {
            Some(password) => {
                Credentials::Password { user, password: Secret::new(decoded(password)) }
            }
            None => Credentials::Token(Secret::new(user)),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_file(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn addresses_have_users_or_tokens() {
        let of = |url: &str| in_address(&["h0:1".to_owned(), url.to_owned()]);
        assert_eq!(of("nats://h:1"), None);
        let ann = Credentials::Password { user: "ann".into(), password: Secret::new("p@ss") };
        assert_eq!(of("nats://ann:p%40ss@h:1"), Some(ann));
        assert_eq!(of("tls://s3cret@h:1"), Some(Credentials::Token(Secret::new("s3cret"))));
    }

    #[test]
    fn a_file_is_read_anew_each_time() {
        let (directory, one, two) =
            (tempfile::tempdir().unwrap(), KeyPair::new_user(), KeyPair::new_user());
        let text = |pair: &KeyPair| format!("# mine\n{}\n", pair.seed().unwrap());
        let path = at_file(&directory, "ann.nk", &text(&one));
        let credentials = Credentials::Nkey(path.clone());
        assert_eq!(credentials.prove(b"x").unwrap().nkey, Some(one.public_key()));
        std::fs::write(&path, text(&two)).unwrap();
        let proved = credentials.prove(b"x").unwrap();
        assert_eq!(proved.nkey, Some(two.public_key()));
        two.verify(b"x", &proved.signature.unwrap()).unwrap();
    }

    #[test]
    fn files_of_credentials_have_two_parts() {
        let (directory, pair) = (tempfile::tempdir().unwrap(), KeyPair::new_user());
        let seed = pair.seed().unwrap();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0.e30.x\n------END NATS USER JWT------\n\n\
             ***** IMPORTANT *****\n\n-----BEGIN USER NKEY SEED-----\r\n{seed}\r\n\
             ------END USER NKEY SEED------\n"
        );
        let path = at_file(&directory, "ann.creds", &text);
        let access = Access { credentials: Credentials::File(path.clone()), ..Access::default() };
        access.check().unwrap();
        let proved = access.credentials.prove(b"n").unwrap();
        assert_eq!(proved.jwt.as_deref(), Some("eyJ0.e30.x"));
        pair.verify(b"n", &proved.signature.unwrap()).unwrap();
        for (bad, why) in [("", "NATS USER JWT"), (&text[..60], "USER NKEY SEED")] {
            std::fs::write(&path, bad).unwrap();
            let said = access.check().unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
            assert_eq!(said.matches("ann.creds").count(), 1, "{said}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(access.check().unwrap_err().to_string().contains("No such file"));
    }

    #[test]
    fn what_everybody_can_read_is_told_but_certificates() {
        let directory = tempfile::tempdir().unwrap();
        let (seed, ca) = (at_file(&directory, "a.nk", ""), at_file(&directory, "ca.pem", ""));
        let tls = Tls { ca: Some(ca), ..Tls::default() };
        let access =
            Access { credentials: Credentials::Nkey(seed.clone()), tls, inbox_prefix: None };
        let set = |mode| std::fs::set_permissions(&seed, std::fs::Permissions::from_mode(mode));
        set(0o644).unwrap();
        assert_eq!(access.exposed(), [seed.as_path()]);
        set(0o640).unwrap();
        assert_eq!(access.exposed(), Vec::<&Path>::new());
    }

    #[test]
    fn secrets_are_hidden_and_files_are_not() {
        let access = Access {
            credentials: Credentials::Jwt { jwt: Secret::new("aaa"), seed: Secret::new("bbb") },
            ..Access::default()
        };
        let shown = format!("{access:?}");
        assert!(!shown.contains("aaa") && !shown.contains("bbb"), "{shown}");
        let text = serde_json::to_string(&access).unwrap();
        assert_eq!(serde_json::from_str::<Access>(&text).unwrap(), access, "as it is passed on");
    }
}
