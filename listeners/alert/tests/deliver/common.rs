//! A rule, one target, and a letter to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dsbus_alert::spec::{Around, Found, read};
use dsbus_alert::texts::Texts;
use dsbus_alert::{Fate, Sender, letters};
use dsbus_schema::alert::{Letter, RuleName, TargetName};
use dsbus_schema::ids::FleetName;
use dsbus_schema::moment::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// 2026-09-21T14:13:20Z.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_nanos(1_790_000_000_000_000_000)
}

/// Reads a target named `t`, whose paths are taken as they are.
pub(crate) fn found(target: &Value) -> Found {
    let table = |value: Value| -> Map<String, Value> { value.as_object().unwrap().clone() };
    let rule = table(json!({ "name": "r", "events": "FATAL", "send": "t" }));
    let around = Around {
        variable: &|name| (name == "PASSWORD").then(|| "secret".to_owned()),
        path: &|text| Ok(PathBuf::from(text)),
        host: "here.example.org".to_owned(),
    };
    read(&[rule], &[("t".to_owned(), table(target.clone()))], &around)
}

/// A target, ready to be sent to.
pub(crate) fn sender(target: &Value) -> Sender {
    let Found { spec, problems, .. } = found(target);
    assert_eq!(problems, []);
    let spec = Arc::new(spec);
    let texts = Arc::new(Texts::default());
    Sender::new(&FleetName::default(), &spec, &texts, &spec.targets[0]).unwrap()
}

/// A letter to it.
pub(crate) fn letter() -> Letter {
    let rule = RuleName::parse("r").unwrap();
    let letter = letters::sample(&FleetName::default(), &rule, now()).unwrap();
    Letter { target: TargetName::parse("t").unwrap(), ..letter }
}

/// Sends a letter once.
pub(crate) async fn send(target: &Value) -> Fate {
    sender(target).send(&letter(), now()).await
}

/// Why it may arrive later.
pub(crate) fn later(fate: Fate) -> String {
    match fate {
        Fate::Later { why, .. } => why,
        Fate::Delivered | Fate::Never { .. } => panic!("{fate:?}"),
    }
}

/// Why it never arrives.
pub(crate) fn never(fate: Fate) -> String {
    match fate {
        Fate::Never { why } => why,
        Fate::Delivered | Fate::Later { .. } => panic!("{fate:?}"),
    }
}

/// An authority of the test's own, and a certificate of it for localhost.
pub(crate) struct Authority {
    directory: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let directory = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let of_server = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&of_server, &issuer).unwrap();
        let write = |name: &str, text: String| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        write("ca.pem", authority.pem());
        write("server.pem", certificate.pem());
        write("server.key", of_server.serialize_pem());
        Authority { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn ca(&self) -> String {
        self.path("ca.pem").display().to_string()
    }

    /// What the server uses.
    pub(crate) fn pair(&self) -> (PathBuf, PathBuf) {
        (self.path("server.pem"), self.path("server.key"))
    }
}

/// A file that holds this.
pub(crate) fn file(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}
