//! Which word wins, and that no credential goes where it does not belong.

mod documents;

use std::fs;
use std::path::{Path, PathBuf};

use dsbus_client::{Credentials, Secret};

use super::file::ours;
use super::resolve::URL_DEFAULT;
use super::{Key, Layer, Origin, Settled, Wrong, settle};
use crate::config::{PARENT_ACCESS, PARENT_URL, Surroundings, URL_FILE};
use crate::file::Diagnostic;

/// A home, and a directory two levels below another one.
struct Place {
    root: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
    given: Layer,
}

impl Place {
    fn new() -> Place {
        let root = tempfile::tempdir().unwrap();
        for directory in ["a/b", "home/dsbus", "home/nats/context"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let home = root.path().join("home").display().to_string();
        let variables = vec![("XDG_CONFIG_HOME", home.clone()), ("HOME", home)];
        Place { root, variables, given: Layer::default() }
    }

    fn file(self, path: &str, text: &str) -> Place {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn set(mut self, name: &'static str, value: &str) -> Place {
        self.variables.push((name, value.to_owned()));
        self
    }

    fn flag(mut self, key: Key, name: &'static str, text: &str) -> Place {
        self.given.flag(key, name, Some(text), Path::new("/here"));
        self
    }

    fn around(&self) -> Surroundings {
        let variables = self.variables.iter().map(|(k, v)| (k.into(), v.into())).collect();
        let machine = Some(self.path("etc/dsbus.toml"));
        Surroundings { variables, directory: self.path("a/b"), machine }
    }

    fn settled(&self) -> Settled {
        settle(self.given.clone(), &self.around()).unwrap()
    }

    fn wrong(&self) -> String {
        match settle(self.given.clone(), &self.around()).unwrap_err() {
            Wrong::Other(failure) => format!("{} {:?}", failure.message, failure.hint),
            Wrong::File(found) => {
                found.iter().map(Diagnostic::one_line).collect::<Vec<_>>().join("\n")
            }
        }
    }

    fn bus(&self) -> (String, String) {
        let settled = self.settled();
        (settled.urls.join(","), settled.origin.place())
    }
}

fn is(url: &str, place: &str) -> (String, String) {
    (url.to_owned(), place.to_owned())
}

#[test]
fn the_nearest_word_wins() {
    let mut place = Place::new();
    assert_eq!(place.bus(), is(URL_DEFAULT, "default"));
    place = place.file("etc/dsbus.toml", "nats = \"nats://machine:1\"\n");
    let machine = place.path("etc/dsbus.toml").display().to_string();
    assert_eq!(place.bus(), is("nats://machine:1", &format!("{machine}:1")));
    place = place.file("home/nats/context/lab.json", r#"{"url": "nats://lab:1"}"#);
    place = place.file("home/nats/context.txt", "lab\n");
    assert_eq!(place.bus(), is("nats://lab:1", "NATS context lab (selected)"));
    place = place.file("home/dsbus/config.toml", "# mine\nnats = \"nats://home:1\"\n");
    let home = place.path("home/dsbus/config.toml").display().to_string();
    assert_eq!(place.bus(), is("nats://home:1", &format!("{home}:2")));
    place = place.file("dsbus.toml", "nats = [\"nats://n1:1\", \"nats://n2:1\"]\n");
    let parent = place.path("dsbus.toml").display().to_string();
    assert_eq!(place.bus(), is("nats://n1:1,nats://n2:1", &format!("{parent}:1")));
    place = place.file(URL_FILE, "nats://dev:1\n");
    assert_eq!(place.bus().0, "nats://dev:1", "a fleet that was started in the same directory");
    place = place.file("a/dsbus.toml", "nats = \"nats://nearer:1\"\n");
    assert_eq!(place.bus().0, "nats://nearer:1");
    place = place.set("NATS_URL", "");
    assert_eq!(place.bus().0, "nats://nearer:1", "an empty variable is none");
    place.variables.pop();
    place = place.set("NATS_URL", "nats://a:1, nats://b:2");
    assert_eq!(place.bus(), is("nats://a:1,nats://b:2", "NATS_URL"));
    place = place.set("DSBUS_NATS", "nats://c:1");
    assert_eq!(place.bus(), is("nats://c:1", "DSBUS_NATS"));
    let parent = "the process that started this one";
    place = place.set(PARENT_URL, "nats://w:1").file("a/dsbus.toml", "broken");
    assert_eq!(place.bus(), is("nats://w:1", parent), "and it reads no files");
    place = place.flag(Key::Nats, "--nats", "nats://flag:1");
    assert_eq!(place.bus(), is("nats://flag:1", "--nats"));
}

#[test]
fn what_the_machine_says_comes_last() {
    let place = Place::new()
        .file("etc/dsbus.toml", "nats = \"nats://machine:1\"\ncreds = \"its\"\nfleet = \"lab\"\n");
    assert_eq!(place.settled().fleet.as_str(), "lab");
    let creds = Credentials::File(place.path("etc/its"));
    assert_eq!(place.settled().access.credentials, creds);
    // Its credentials go to its bus only.
    let place = place.file("home/dsbus/config.toml", "nats = \"nats://home:1\"\n");
    assert_eq!(place.settled().access.credentials, Credentials::Address);
    assert_eq!(place.settled().fleet.as_str(), "lab");
    let place = place.set("DSBUS_CONFIG", "named.toml").file("a/b/named.toml", "");
    assert_eq!(place.settled().fleet.as_str(), "default", "whoever names a file wants that one");

    let place = Place::new()
        .file("etc/dsbus.toml", "nats = \"nats://machine:1\"\ncreds = \"its\"\n")
        .file("home/nats/context/lab.json", r#"{"url": "nats://lab:1"}"#)
        .file("home/nats/context.txt", "lab\n");
    assert_eq!(place.bus().0, "nats://lab:1", "what a person has selected is nearer");
    assert_eq!(place.settled().access.credentials, Credentials::Address);
    let wrong = Place::new().file("etc/dsbus.toml", "natz = 1\n").wrong();
    assert!(wrong.contains("natz"), "{wrong}");
    // Root reads every file.
    if !nix::unistd::geteuid().is_root() {
        let place = Place::new().file("etc/dsbus.toml", "natz = 1\n");
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        fs::set_permissions(place.path("etc/dsbus.toml"), closed).unwrap();
        assert_eq!(place.bus(), is(URL_DEFAULT, "default"));
    }
}

#[test]
fn each_setting_is_looked_for_by_itself() {
    let place = Place::new()
        .file("dsbus.toml", "fleet = \"lab\"\noutput = \"json\"\ntimeout = \"5m\"\n")
        .file("home/dsbus/config.toml", "user = \"ann\"\nfleet = \"other\"\ncolor = \"never\"\n")
        .set("DSBUS_OUTPUT", "yaml");
    let settled = place.settled();
    let rows: Vec<_> = settled.rows.iter().map(|row| (row.key, row.value.as_str())).collect();
    let expected = [
        ("nats", URL_DEFAULT),
        ("fleet", "lab"),
        ("user", "ann"),
        ("output", "yaml"),
        ("color", "never"),
        ("quiet", "false"),
        ("timeout", "5m"),
    ];
    assert_eq!(rows, expected);
    assert_eq!(settled.rows[3].from, "DSBUS_OUTPUT");
    assert_eq!(settled.rows[5].from, "default");
}

#[test]
fn credentials_go_only_to_the_bus_beside_which_they_were_named() {
    let place = Place::new().file("dsbus.toml", "nats = \"nats://n1:1\"\ncreds = \"ann.creds\"\n");
    let ann = place.path("ann.creds");
    assert_eq!(place.settled().access.credentials, Credentials::File(ann.clone()));

    let place = place.flag(Key::Nats, "--nats", "nats://elsewhere:1");
    let settled = place.settled();
    assert_eq!(settled.access.credentials, Credentials::Address);
    let unused: Vec<_> = settled.rows.iter().filter(|row| !row.used).map(|row| row.key).collect();
    assert_eq!(unused, ["creds"]);

    let place = place.flag(Key::Nkey, "--nkey", "ann.nk");
    let given = Credentials::Nkey("/here/ann.nk".into());
    assert_eq!(place.settled().access.credentials, given, "they are named anew");
}

#[test]
fn the_fleet_of_dev_gets_the_credentials_of_options_only() {
    let place = Place::new()
        .file(URL_FILE, "nats://dev:1")
        .set("NATS_CREDS", "/ann.creds")
        .set("NATS_CA", "/ca.pem");
    assert_eq!(place.settled().access, dsbus_client::Access::default());
    let place = place.flag(Key::Creds, "--creds", "/bob.creds");
    assert_eq!(place.settled().access.credentials, Credentials::File("/bob.creds".into()));
    assert_eq!(place.settled().access.tls.ca, None);
}

#[test]
fn what_is_nearer_than_the_bus_is_for_it() {
    let place = Place::new()
        .file("dsbus.toml", "nats = \"tls://n1:1\"\ntls_ca = \"ca.pem\"\ncreds = \"ann.creds\"\n")
        .set("NATS_USER", "bob")
        .set("NATS_PASSWORD", "secret");
    let access = place.settled().access;
    let bob = Credentials::Password { user: "bob".into(), password: Secret::new("secret") };
    assert_eq!(access.credentials, bob);
    assert_eq!(access.tls.ca, Some(place.path("ca.pem")), "and the rest stays");
    let shown = format!("{:?}", place.settled());
    assert!(!shown.contains("secret"), "{shown}");

    let place = place.set("DSBUS_NATS", "nats://other:1");
    let access = place.settled().access;
    assert_eq!(access, dsbus_client::Access::default(), "NATS_USER may be of NATS_URL");
}

#[test]
fn a_context_is_a_bus_with_credentials() {
    let place = Place::new().file(
        "home/nats/context/prod.json",
        r#"{"description": "x", "url": "tls://p1:1,tls://p2:1", "creds": "~/ann.creds",
            "ca": "$CERTS/ca.pem", "cert": "${CERTS}/c.pem", "key": "k.pem", "inbox_prefix": "_ann",
            "tls_first": true, "color_scheme": "", "new_key": 1, "user": "", "password": ""}"#,
    );
    let place = place.set("CERTS", "/certs").flag(Key::Context, "--context", "prod");
    let settled = place.settled();
    assert_eq!(settled.urls, ["tls://p1:1", "tls://p2:1"]);
    assert_eq!(settled.origin.place(), "NATS context prod (--context)");
    let access = settled.access;
    assert_eq!(access.credentials, Credentials::File(place.path("home/ann.creds")));
    assert_eq!(access.tls.ca, Some("/certs/ca.pem".into()));
    assert_eq!(access.tls.own, Some(("/certs/c.pem".into(), place.path("a/b/k.pem"))));
    assert!(access.tls.first);
    assert_eq!(access.inbox_prefix.as_deref(), Some("_ann"));

    let place = place.flag(Key::Nats, "--nats", "nats://other:1");
    assert!(place.wrong().contains("--nats and --context each name a bus"), "{}", place.wrong());
}

#[test]
fn contexts_have_every_kind_of_credentials() {
    let of = |text: &str| {
        let place = Place::new().file("home/nats/context/x.json", text).set("NATS_CONTEXT", "x");
        settle(Layer::default(), &place.around()).map(|settled| settled.access.credentials)
    };
    let secret = |text: &str| Secret::new(text);
    let ann = Credentials::Password { user: "ann".into(), password: secret("pw") };
    assert_eq!(of(r#"{"user": "ann", "password": "pw", "creds": "x"}"#).unwrap(), ann);
    assert_eq!(of(r#"{"token": "t"}"#).unwrap(), Credentials::Token(secret("t")));
    assert_eq!(of(r#"{"nkey": "/n"}"#).unwrap(), Credentials::Nkey("/n".into()));
    let jwt = Credentials::Jwt { jwt: secret("j"), seed: secret("S") };
    assert_eq!(of(r#"{"user_jwt": "j", "user_seed": "S"}"#).unwrap(), jwt);
    assert_eq!(of(r#"{"creds": "file:///c"}"#).unwrap(), Credentials::File("/c".into()));
    for (foreign, said) in [
        (r#"{"nsc": "nsc://o/a/u"}"#, "nsc is not understood"),
        (r#"{"socks_proxy": "socks5://h"}"#, "socks_proxy"),
        (r#"{"jetstream_domain": "hub"}"#, "jetstream_domain"),
        (r#"{"creds": "op://vault/x"}"#, "op:"),
        (r#"{"user_jwt": "j"}"#, "user_seed"),
        (r#"{"cert": "c"}"#, "one without the other"),
        (r#"{"url": "http://h"}"#, "http://"),
        ("{", "breaks off"),
    ] {
        let wrong = of(foreign).unwrap_err();
        let text = format!("{wrong:?}");
        assert!(text.contains(said) && text.contains("x.json"), "{text}");
    }
}

#[test]
fn a_context_that_is_not_there_is_said() {
    let place = Place::new().file("home/nats/context/prod.json", "{}").flag(
        Key::Context,
        "--context",
        "prood",
    );
    let said = place.wrong();
    assert!(said.contains("no NATS context prood (from --context)"), "{said}");
    assert!(said.contains("prod"), "did you mean: {said}");
    let place = Place::new().flag(Key::Context, "--context", "../x");
    assert!(place.wrong().contains("no name"), "{}", place.wrong());
    let place = Place::new().file("home/nats/context.txt", "gone");
    assert!(place.wrong().contains("gone (selected in the nats tool)"), "{}", place.wrong());
}

#[test]
fn what_is_wrong_in_a_file_is_told_where_it_stands() {
    let of = |text: &str| Place::new().file("dsbus.toml", text).wrong();
    for (text, line, said) in [
        ("\nflet = \"x\"\n", 2, "did you mean \"fleet\"?"),
        ("fleet = \"a.b\"\n", 1, "fleet: "),
        ("output = \"xml\"\n", 1, "one of table, wide, json, yaml, name"),
        ("color = true\n", 1, "one of auto, always, never"),
        ("timeout = \"soon\"\n", 1, "timeout: "),
        ("nats = \"http://h\"\n", 1, "a scheme is one of nats, tls"),
        ("nats = []\n", 1, "not empty"),
        ("tls_first = \"maybe\"\n", 1, "true or false"),
        ("nats = \"h\"\ncontext = \"x\"\n", 2, "a file names one"),
        ("nats = \n", 1, "not valid TOML"),
        (
            "# mine\n[program.web]\ncommand = \"x\"\n",
            2,
            "programs are declared in files of their own",
        ),
    ] {
        let found = of(text);
        assert!(found.contains(&format!("dsbus.toml:{line}")) && found.contains(said), "{found}");
    }
}

#[test]
fn two_of_a_kind_in_one_place_are_one_too_many() {
    for (variables, said) in [
        (
            [("NATS_CREDS", "a"), ("NATS_USER", "b")],
            "NATS_CREDS and NATS_USER each say who you are",
        ),
        ([("NATS_URL", "h"), ("NATS_CONTEXT", "b")], "NATS_URL and NATS_CONTEXT each name a bus"),
        ([("NATS_PASSWORD", "h"), ("NATS_CA", "b")], "NATS_PASSWORD is a password of nobody"),
        ([("NATS_CERT", "h"), ("NATS_CA", "b")], "NATS_CERT is one of two"),
        ([("DSBUS_FLEET", "a.b"), ("X", "")], "from DSBUS_FLEET"),
        ([("DSBUS_NATS", ","), ("X", "")], "no address"),
    ] {
        let place = variables.iter().fold(Place::new(), |place, (k, v)| place.set(k, v));
        assert!(place.wrong().contains(said), "{}", place.wrong());
    }
    let token = Place::new().set("NATS_USER", "t0ken").settled().access.credentials;
    assert_eq!(token, Credentials::Token(Secret::new("t0ken")), "as the nats tool has it");
}

#[test]
fn what_is_passed_on_arrives() {
    let place = Place::new()
        .set("NATS_URL", "nats://n1:1")
        .set("NATS_NKEY", "ann.nk")
        .set("NATS_CA", "/ca.pem");
    let settled = place.settled();
    let access = serde_json::to_string(&settled.access).unwrap();
    let child = Place::new()
        .set(PARENT_URL, &settled.urls.join(","))
        .set(PARENT_ACCESS, &access)
        .set("NATS_URL", "nats://other:1")
        .set("NATS_CREDS", "/other");
    assert_eq!(child.settled().access, settled.access);
    assert_eq!(child.settled().origin, Origin::Parent);
    let child = Place::new().set(PARENT_URL, "nats://n1:1").set(PARENT_ACCESS, "x");
    assert!(child.wrong().contains(PARENT_ACCESS), "{}", child.wrong());
}

#[test]
fn a_stranger_does_not_choose_the_bus() {
    for (owner, us, sudo, trusted) in [
        (1000, 1000, None, true),
        (0, 1000, None, true),
        (1001, 1000, None, false),
        (1000, 0, None, false),
        (1000, 0, Some(1000), true),
        (1000, 1001, Some(1000), false),
    ] {
        assert_eq!(ours(owner, us, sudo), trusted, "{owner} {us} {sudo:?}");
    }
}

#[test]
fn a_file_can_be_named() {
    let place = Place::new()
        .file("dsbus.toml", "broken")
        .file("else.toml", "fleet = \"lab\"\n")
        .set("DSBUS_CONFIG", "../../else.toml");
    assert_eq!(place.settled().fleet.as_str(), "lab");
    let place = Place::new().set("DSBUS_CONFIG", "gone.toml");
    assert!(place.wrong().contains("gone.toml"), "{}", place.wrong());
}

#[test]
fn passwords_are_not_shown() {
    for (url, shown) in [
        ("nats://h:1", "nats://h:1"),
        ("nats://ann:p@ss@h:1,nats://h2", "nats://ann:...@h:1,nats://h2"),
        ("token@h", "...@h"),
    ] {
        assert_eq!(Key::Nats.shown(url), shown);
    }
    assert_eq!(Key::NatsPassword.shown("x"), "...");
}
