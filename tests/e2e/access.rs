//! A server that asks who one is: verbs and whole fleets are let in by every kind of credentials, and
//! no secret stands where everybody can read it.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dsbus_harness::{NatsServer, Terminal, wait_until};
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer};
use serde_json::{Value, json};

use crate::fleet::{DEADLINE, DSBUS, said};

/// What must not be seen.
const SECRET: &str = "hunter2-and-more";

/// A server, a directory, and what people say there; all that was started ends with it.
pub(crate) struct Place {
    pub(crate) nats: NatsServer,
    directory: tempfile::TempDir,
    variables: Vec<(String, String)>,
    children: Vec<Child>,
}

impl Place {
    pub(crate) fn new(server: &str) -> Place {
        let directory = tempfile::tempdir().unwrap();
        let nats = NatsServer::start_with(server);
        Place { nats, directory, variables: Vec::new(), children: Vec::new() }
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Place {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A verb or daemon that knows nothing but what was said here.
    pub(crate) fn dsbus(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(DSBUS);
        command
            .args(args)
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .env("NO_COLOR", "1")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[impl AsRef<OsStr>]) -> Output {
        self.dsbus(args).output().unwrap()
    }

    pub(crate) fn start(&mut self, args: &[impl AsRef<OsStr>]) {
        let name = format!("log{}", self.children.len());
        let log = fs::File::create(self.path(&name)).unwrap();
        let mut daemon = self.dsbus(args);
        daemon.stdout(log.try_clone().unwrap()).stderr(log);
        self.children.push(daemon.spawn().unwrap());
    }

    /// Starts a fleet, lets it run a program, and looks at what can be seen of its processes.
    fn fleet_works(&mut self, options: &[&str]) {
        let with = |more: &[&str]| -> Vec<String> {
            options.iter().chain(more).map(|word| (*word).to_owned()).collect()
        };
        let directory = self.path("w1").to_str().unwrap().to_owned();
        self.start(&with(&["scheduler", "--id", "s1"]));
        self.start(&with(&["worker", "--insecure", "--name", "w1", "--dir", &directory]));
        let verb = |place: &Place, more: &[&str]| place.run(&with(more));
        let row = || -> Result<Value, String> {
            let output = verb(self, &["workers", "-o", "json"]);
            let rows: Value = serde_json::from_slice(&output.stdout).map_err(|_| said(&output))?;
            let ready = rows[0]["state"] == "ready";
            if ready { Ok(rows[0].clone()) } else { Err(self.logs()) }
        };
        wait_until("the worker to be ready", DEADLINE, row);
        self.file("web.toml", "[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
        let applied = verb(self, &["apply", "web.toml"]);
        assert!(applied.status.success(), "{}\n{}", said(&applied), self.logs());
        // One that is slow is replaced.
        let agent = wait_until("an agent that lives", DEADLINE, || {
            let line = fs::read(format!("/proc/{}/cmdline", row()?["agent_pid"]));
            line.ok().filter(|line| !line.is_empty()).ok_or_else(|| self.logs())
        });
        let agent = String::from_utf8(agent).unwrap();
        assert!(agent.contains("agent") && !agent.contains(SECRET), "{agent}");
        let status: Value = wait_until("the status", DEADLINE, || {
            let output = verb(self, &["status", "-o", "json"]);
            serde_json::from_slice(&output.stdout).map_err(|_| said(&output))
        });
        let child = fs::read(format!("/proc/{}/environ", status[0]["pid"])).unwrap();
        let child = String::from_utf8(child).unwrap();
        assert!(child.contains("DSBUS_EPOCH") && !child.contains(SECRET), "{child}");
        let shown = said(&verb(self, &["config"]));
        assert!(shown.contains("nats ") && !shown.contains(SECRET), "{shown}");
    }

    /// Tells the daemon that was started first to stop, and waits until it has.
    pub(crate) fn stop_first(&mut self) -> std::process::ExitStatus {
        let child = &mut self.children[0];
        let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        child.wait().unwrap()
    }

    pub(crate) fn logs(&self) -> String {
        let all = (0..self.children.len()).map(|n| self.path(&format!("log{n}")));
        all.map(|log| fs::read_to_string(log).unwrap_or_default()).collect()
    }

    /// That a verb is not let in without what was said, and says so. A server that is slow to answer is
    /// asked again.
    fn is_refused(&self, args: &[&str], parts: &[&str]) {
        wait_until("the reason", DEADLINE, || {
            let output = self.run(args);
            let said = said(&output);
            assert_eq!(output.status.code(), Some(4), "{said}");
            if parts.iter().all(|part| said.contains(part)) { Ok(()) } else { Err(said) }
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn users_with_passwords() {
    let mut place = Place::new(&format!("authorization {{ user: ann, password: \"{SECRET}\" }}"));
    let url = place.nats.url();
    place.is_refused(&["--nats", &url, "status"], &["authorization violation", "--creds"]);
    place = place.set("NATS_URL", &url).set("NATS_USER", "ann").set("NATS_PASSWORD", SECRET);
    // Whoever names another bus does not send the password there.
    place.is_refused(&["--nats", &url, "status"], &["NATS_USER", "not used"]);
    place.fleet_works(&[]);
}

#[test]
fn tokens_in_a_file_of_settings() {
    let mut place = Place::new(&format!("authorization {{ token: \"{SECRET}\" }}"));
    let address = place.nats.url().replace("//", &format!("//{SECRET}@"));
    place.file("dsbus.toml", &format!("nats = \"{address}\"\n"));
    place.fleet_works(&[]);
}

#[test]
fn an_nkey_by_an_option() {
    let pair = KeyPair::new_user();
    let mut place =
        Place::new(&format!("authorization {{ users: [{{ nkey: {} }}] }}", pair.public_key()));
    let seed = place.file("ann.nk", &pair.seed().unwrap());
    let url = place.nats.url();
    place.fleet_works(&["--nats", &url, "--nkey", &seed]);
    wait_until("the status", DEADLINE, || {
        let status = place.run(&["--nkey", &seed, "supervisorctl", "-s", &url, "status"]);
        if status.status.success() { Ok(()) } else { Err(said(&status)) }
    });
    fs::write(&seed, "nonsense").unwrap();
    place.is_refused(&["--nats", &url, "--nkey", &seed, "status"], &["ann.nk", "no seed"]);
}

/// A token as NATS takes them, signed by `issuer`.
fn jwt(issuer: &KeyPair, subject: &str, name: &str, nats: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let claims = part(&json!({
        "jti": name, "iat": 1, "iss": issuer.public_key(), "sub": subject, "name": name,
        "nats": nats,
    }));
    let text = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}

#[test]
fn a_context_with_credentials_of_an_operator() {
    let (operator, account, system) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let user = KeyPair::new_user();
    let of_operator = jwt(
        &operator,
        &operator.public_key(),
        "O",
        &json!({ "type": "operator", "version": 2, "system_account": system.public_key() }),
    );
    let of_account = |pair: &KeyPair, name: &str, storage: i64| {
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1, "mem_storage": storage, "disk_storage": storage,
            "streams": storage, "consumer": storage,
        });
        let nats = json!({ "type": "account", "version": 2, "limits": limits });
        jwt(&operator, &pair.public_key(), name, &nats)
    };
    let mut place = Place::new(&format!(
        "operator: {of_operator}\nresolver: MEMORY\nresolver_preload: {{\n{}: {}\n{}: {}\n}}",
        account.public_key(),
        of_account(&account, "A", -1),
        system.public_key(),
        of_account(&system, "SYS", 0),
    ));
    let of_user = jwt(
        &account,
        &user.public_key(),
        "ann",
        &json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 }),
    );
    let seed = user.seed().unwrap();
    place.file(
        "ann.creds",
        &format!(
            "-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        ),
    );
    let context = json!({
        "description": "", "url": place.nats.url(), "creds": "~/ann.creds", "color_scheme": "",
    });
    place.file(".config/nats/context/prod.json", &context.to_string());
    place.file(".config/nats/context.txt", "prod");
    // Where nats works, dsbus does: it is the selected one.
    place.fleet_works(&[]);
    let shown = said(&place.run(&["config"]));
    assert!(shown.contains("NATS context prod (selected)"), "{shown}");
}

#[test]
fn tls_with_an_authority_and_a_certificate_of_ones_own() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = write("ca.pem", authority.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(authority, key);
    let made = |name: &str, purpose| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        let cert = params.signed_by(&key, &issuer).unwrap().pem();
        (write(&format!("{name}.pem"), cert), write(&format!("{name}.key"), key.serialize_pem()))
    };
    let (server_cert, server_key) = made("server", ExtendedKeyUsagePurpose::ServerAuth);
    let (cert, key) = made("ann", ExtendedKeyUsagePurpose::ClientAuth);
    let mut place = Place::new(&format!(
        "tls {{ cert_file: \"{server_cert}\", key_file: \"{server_key}\", ca_file: \"{ca}\", \
         verify: true, handshake_first: auto }}"
    ));
    let url = place.nats.url();
    // Who the server is; and who one is.
    place.is_refused(&["--nats", &url, "status"], &["ertificate"]);
    place.is_refused(&["--nats", &url, "--tls-ca", &ca, "status"], &[]);
    let settings = format!(
        "nats = \"{}\"\ntls_ca = \"{ca}\"\ntls_cert = \"{cert}\"\ntls_key = \"{key}\"\n\
         tls_first = true\n",
        url.replace("nats:", "tls:")
    );
    place.file("dsbus.toml", &settings);
    place.fleet_works(&[]);
}

#[test]
fn a_user_who_may_hear_answers_of_his_own_only() {
    let deny = "{ subscribe: { deny: [\"_INBOX.>\"] } }";
    let place = Place::new(&format!(
        "authorization {{ users: [ {{ user: ann, password: \"{SECRET}\", permissions: {deny} }} ] }}"
    ));
    let address = place.nats.url().replace("//", &format!("//ann:{SECRET}@"));
    let mut place = place.set("NATS_URL", &address).set("DSBUS_INBOX_PREFIX", "_ann");
    place.fleet_works(&[]);
}

#[test]
fn credentials_that_were_replaced_hold_from_the_next_connection_on() {
    let (old, new) = (KeyPair::new_user(), KeyPair::new_user());
    let allowed =
        |pair: &KeyPair| format!("authorization {{ users: [{{ nkey: {} }}] }}", pair.public_key());
    let mut place = Place::new(&allowed(&old));
    let (url, seed) = (place.nats.url(), place.file("ann.nk", &old.seed().unwrap()));
    let options = ["--nats", &url, "--nkey", &seed];
    place.fleet_works(&options);
    let path = place.nats.directory().join("nats.conf");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replace(&old.public_key(), &new.public_key())).unwrap();
    fs::write(&seed, new.seed().unwrap()).unwrap();
    place.nats.restart();
    wait_until("the same daemons to be back", DEADLINE, || {
        let output = place.run(&["--nats", &url, "--nkey", &seed, "workers", "-o", "json"]);
        let rows: Value = serde_json::from_slice(&output.stdout).map_err(|_| said(&output))?;
        if rows[0]["state"] == "ready" { Ok(()) } else { Err(rows.to_string() + &place.logs()) }
    });
    assert!(place.children.iter_mut().all(|child| child.try_wait().unwrap().is_none()));
}

#[test]
fn a_person_who_has_not_said_who_he_is_is_asked_once() {
    let place = Place::new(&format!("authorization {{ user: bob, password: {SECRET} }}"));
    let url = place.nats.url();
    let typing = |args: &[&str]| {
        let mut command = place.dsbus(&[&["--nats", &url], args].concat());
        command.env("TERM", "xterm");
        Terminal::start(command, 100, 30)
    };
    let log_in = |terminal: &mut Terminal, password: &str| {
        terminal.wait_for("wants to know who you are");
        terminal.wait_for("user:");
        terminal.press("bob\r");
        terminal.wait_for("password:");
        terminal.press(&format!("{password}\r"));
    };
    let mut wrong = typing(&["status"]);
    log_in(&mut wrong, "nothing");
    let shown = wrong.wait_for("cannot reach the bus");
    assert!(!shown.contains("nothing"), "{shown}");
    assert_eq!(wrong.ended().code(), Some(4));
    let mut right = typing(&["status"]);
    log_in(&mut right, SECRET);
    let shown = right.wait_for("there is no dsbus fleet on the bus");
    assert!(!shown.contains(SECRET), "{shown}");
    assert_eq!(right.ended().code(), Some(4));
    let mut shell = typing(&["shell"]);
    log_in(&mut shell, SECRET);
    shell.wait_for("Ctrl-D leaves");
    for _ in 0..2 {
        shell.press("status\r");
        shell.wait_for("there is no dsbus fleet on the bus");
        shell.press("\x0c");
        shell.wait_until("an empty screen", |shown| !shown.contains("there is no"));
    }
    assert!(!shell.shown().contains("user:"), "{}", shell.shown());
    shell.press("\x04");
    shell.ended();
    // Nobody is asked who is not there.
    place.is_refused(&["--nats", &url, "status"], &["authorization", "say who you are"]);
}
