//! Placements that no scheduler wrote, on a real server with permissions: nothing is started and nothing
//! is stopped for them, it is told, and they are written over. And who may command what.

mod told;

use std::fs;

use dsbus_harness::wait_until;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::access::Place;
use crate::fleet::{DEADLINE, said};
use crate::raw::{Raw, Stored};

/// What a worker's user may do, as far as forging goes.
const WORKER_MAY: &str = r#"{ publish: ["$KV.dsbus_fleet.w1._touch.*", "$JS.API.STREAM.INFO.*",
  "$JS.API.DIRECT.GET.KV_dsbus_fleet.$KV.dsbus_fleet.w1.>"], subscribe: ["_INBOX_w1.>"] }"#;

/// A fleet whose placements are signed: a scheduler, two workers, and more users.
struct Fleet {
    place: Place,
    scheduler: KeyPair,
    url: String,
    seed: String,
}

impl Fleet {
    fn new(grants: Option<&str>) -> Fleet {
        Fleet::listing(grants, |_| "signers")
    }

    /// The same, whose workers have files of signers of these names.
    fn listing(grants: Option<&str>, lists: fn(&str) -> &'static str) -> Fleet {
        let scheduler = KeyPair::new_user();
        let mut place = Place::new(&format!(
            "authorization {{ users: [ {{ nkey: {} }}, {{ user: admin, password: a }},\n\
             {{ user: w1, password: w, permissions: {WORKER_MAY} }} ] }}",
            scheduler.public_key()
        ));
        let seed = place.file("scheduler.nk", &scheduler.seed().unwrap());
        let url = place.nats.url();
        let signers = place.file("signers", &format!("# ours\n{}\n", scheduler.public_key()));
        place.file("others", &format!("{}\n", KeyPair::new_user().public_key()));
        let scheduler_args = ["--nats", &url, "--nkey", &seed, "scheduler", "--id", "s1"];
        let mut args: Vec<&str> = scheduler_args.into();
        args.extend(["--signers", &signers]);
        let path = grants.map(|text| place.file("grants.toml", text));
        args.extend(path.iter().flat_map(|path| ["--grants", path]));
        place.start(&args);
        for worker in ["w1", "w2"] {
            let dir = place.path(worker).to_str().unwrap().to_owned();
            let list = format!("signers_file = \"../{}\"\n", lists(worker));
            place.file(&format!("{worker}/worker.toml"), &list);
            place.start(&[
                "--nats", &url, "--nkey", &seed, "worker", "--name", worker, "--dir", &dir,
            ]);
        }
        Fleet { place, scheduler, url, seed }
    }

    fn ask(&self, args: &[&str]) -> std::process::Output {
        let with = [&["--nats", self.url.as_str(), "--nkey", self.seed.as_str()], args].concat();
        self.place.run(&with)
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.ask(args);
        assert!(output.status.success(), "{}\n{}", said(&output), self.place.logs());
        String::from_utf8(output.stdout).unwrap()
    }

    fn declare(&self, text: &str) {
        self.place.file("fleet.toml", text);
        wait_until("two workers", DEADLINE, || {
            let output = self.ask(&["workers", "-o", "json"]);
            let rows: Value = serde_json::from_slice(&output.stdout).map_err(|_| said(&output))?;
            let ready = |row: &Value| row["state"] == "ready";
            let all = rows.as_array().is_some_and(|rows| rows.len() == 2 && rows.iter().all(ready));
            if all { Ok(()) } else { Err(rows.to_string() + &self.place.logs()) }
        });
        self.ok(&["apply", "fleet.toml"]);
    }

    fn row(&self, name: &str) -> Value {
        let rows: Value = serde_json::from_str(&self.ok(&["status", name, "-o", "json"])).unwrap();
        rows[0].clone()
    }

    fn events(&self, typed: &str) -> Vec<Value> {
        let text = self.ok(&["events", "--type", typed, "-n", "100000", "-o", "json"]);
        serde_json::from_str(&text).unwrap()
    }

    fn wait_refusals(&self, worker: &str, more_than: usize) -> usize {
        wait_until("a refused placement to be told", DEADLINE, || {
            let all = self.refusals(worker);
            if all.len() > more_than {
                Ok(all.len())
            } else {
                Err(all.join("\n") + &self.place.logs())
            }
        })
    }

    fn refusals(&self, worker: &str) -> Vec<String> {
        let mine = |e: &Value| e["data"]["worker"] == worker && e["data"]["change"] == "REFUSED";
        let events = self.events("*");
        events.iter().filter(|e| mine(e)).map(|e| e["data"]["reason"].to_string()).collect()
    }

    /// Has something forged under a key until its worker tells that it refuses it; what a scheduler wrote
    /// over it. `forge` gives a sequence before that. A scheduler may write before the worker has seen what
    /// was forged: then it is forged again.
    fn forge(&self, worker: &str, key: &str, mut forge: impl FnMut() -> u64) -> Stored {
        let told = self.refusals(worker).len();
        let (mut stored, mut looks) = (None, 0);
        wait_until("a forged placement to be refused", DEADLINE, || {
            if looks % 50 == 0 {
                let before = forge();
                stored = Some(self.wait_signed(key, before));
            }
            looks += 1;
            let all = self.refusals(worker);
            let refused = stored.take_if(|_| all.len() > told);
            refused.ok_or_else(|| all.join("\n") + &self.place.logs())
        })
    }

    /// A connection past every client, as that user.
    fn raw(&self, user: &str, password: &str) -> Raw {
        Raw::connect(self.place.nats.port(), user, password)
    }

    /// Waits until something stands under a key that was written after `after`, and that a scheduler
    /// signed; or nothing that counts.
    fn wait_signed(&self, key: &str, after: u64) -> Stored {
        wait_until("a forged entry to be written over", DEADLINE, || {
            let stored = self.raw("admin", "a").last(key);
            let signed = stored.headers.contains("Dsbus-Signature: ");
            let ours = signed && stored.headers.contains(&self.scheduler.public_key());
            if ours && stored.seq > after { Ok(stored) } else { Err(format!("{stored:?}")) }
        })
    }
}

/// The headers by which a signed placement is one, without those by which the server takes it.
fn as_captured(stored: &Stored) -> String {
    let ours = stored.headers.lines().filter(|line| line.starts_with("Dsbus-"));
    format!("NATS/1.0\r\n{}\r\n\r\n", ours.collect::<Vec<_>>().join("\r\n"))
}

const WEB: &str = "[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\nmachines = [\"w2\"]\n";

#[test]
fn replies_aimed_at_another_worker_s_placement_change_nothing() {
    let fleet = Fleet::new(None);
    fleet.declare(WEB);
    let before = fleet.row("web:0");
    let (key, of_w1) = ("$KV.dsbus_fleet.w2.web.0", "$KV.dsbus_fleet.w1._touch.9");
    let mut w1 = fleet.raw("w1", "w");
    let direct = format!("$JS.API.DIRECT.GET.KV_dsbus_fleet.{of_w1}");
    let forged = String::from_utf8(fleet.raw("admin", "a").last("w2.web.0").body).unwrap();
    for (subject, body) in [
        // Its answer is about the stream; then an acknowledgement; then a text of the worker's own.
        ("$JS.API.STREAM.INFO.KV_dsbus_fleet", ""),
        (of_w1, forged.as_str()),
        (direct.as_str(), ""),
    ] {
        fleet.forge("w2", "w2.web.0", || {
            let after = fleet.raw("admin", "a").last("w2.web.0").seq;
            w1.ask_for(subject, key, body);
            // It was forged, and then written again.
            after + 1
        });
        let row = fleet.row("web:0");
        assert_eq!((&row["pid"], &row["epoch"]), (&before["pid"], &before["epoch"]), "{subject}");
    }
    // It obeys as before.
    fleet.ok(&["restart", "web"]);
    assert_ne!(fleet.row("web:0")["pid"], before["pid"]);
}

#[test]
fn what_was_signed_once_counts_nowhere_else_and_not_again() {
    let fleet = Fleet::new(None);
    fleet.declare(WEB);
    let mut admin = fleet.raw("admin", "a");
    let old = admin.last("w2.web.0");
    fleet.ok(&["stop", "web"]);
    let stopped = admin.last("w2.web.0");
    fleet.ok(&["start", "web"]);
    let before = fleet.row("web:0");
    let evil = json!({
        "id": "01890a5d-ac96-774b-bcce-b302099a8057", "revision": 1, "epoch": 9,
        "wanted": { "run": true }, "spec": { "command": "touch evil" },
    });
    let evil = Stored { seq: 0, headers: String::new(), body: evil.to_string().into_bytes() };
    for (worker, key, stored) in [
        // An older word about the same placement, of the same epoch: to stop it, too.
        ("w2", "w2.web.0", &old),
        ("w2", "w2.web.0", &stopped),
        // Another worker's, and another instance's.
        ("w1", "w1.web.0", &stopped),
        ("w2", "w2.web.1", &old),
        // What nobody signed.
        ("w1", "w1.evil.0", &evil),
    ] {
        let to = format!("$KV.dsbus_fleet.{key}");
        let now =
            fleet.forge(worker, key, || admin.publish(&to, &as_captured(stored), &stored.body));
        let deleted = now.headers.contains("KV-Operation: DEL");
        assert_eq!(deleted, key != "w2.web.0", "{key}: {now:?}");
        let row = fleet.row("web:0");
        assert_eq!(row["pid"], before["pid"], "{key}");
        assert_eq!(row["worker"], "w2");
    }
    let started = |e: &Value| e["data"]["kind"] == "process" && e.to_string().contains("evil");
    assert!(!fleet.events("*").iter().any(started));
}

#[test]
fn keys_are_rotated_without_a_stop() {
    let mut fleet = Fleet::new(None);
    fleet.declare(WEB);
    let before = fleet.row("web:0");
    // Both count; a second scheduler signs with the new key; then the old one counts no more.
    let new = KeyPair::new_user();
    let conf = fleet.place.nats.directory().join("nats.conf");
    let old = fleet.scheduler.public_key();
    let text = fs::read_to_string(&conf).unwrap();
    let both = format!("{{ nkey: {old} }}, {{ nkey: {} }}", new.public_key());
    fs::write(&conf, text.replace(&format!("{{ nkey: {old} }}"), &both)).unwrap();
    let pid = nix::unistd::Pid::from_raw(fleet.place.nats.pid().unwrap().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    fleet.place.file("signers", &format!("{old}\n{}\n", new.public_key()));
    let seed = fleet.place.file("new.nk", &new.seed().unwrap());
    let signers = fleet.place.path("signers").to_str().unwrap().to_owned();
    let url = fleet.url.clone();
    wait_until("the new key to be let in", DEADLINE, || {
        let output = fleet.place.run(&["--nats", &url, "--nkey", &seed, "status"]);
        if output.status.success() { Ok(()) } else { Err(said(&output)) }
    });
    let first = fleet.place.stop_first();
    assert!(first.success(), "{first:?}");
    fleet.place.start(&[
        "--nats",
        &url,
        "--nkey",
        &seed,
        "scheduler",
        "--id",
        "s2",
        "--signers",
        &signers,
    ]);
    fleet.seed = seed;
    wait_until("the new scheduler", DEADLINE, || {
        let output = fleet.ask(&["restart", "web"]);
        if output.status.success() { Ok(()) } else { Err(said(&output)) }
    });
    let restarted = fleet.row("web:0");
    assert_ne!(restarted["pid"], before["pid"]);
    fleet.scheduler = new;
    let stored = fleet.wait_signed("w2.web.0", 0);
    fleet.place.file("signers", &format!("{}\n", fleet.scheduler.public_key()));
    assert_eq!(fleet.refusals("w2"), Vec::<String>::new());
    assert_eq!(fleet.wait_signed("w2.web.0", 0).seq, stored.seq, "it is signed already");
    assert_eq!(fleet.row("web:0")["pid"], restarted["pid"]);
}

#[test]
fn a_worker_asks_whom_it_may_trust() {
    let place = Place::new("authorization { user: ann, password: secret }");
    let url = place.nats.url().replace("//", "//ann:secret@");
    let dir = place.path("w1").to_str().unwrap().to_owned();
    let worker = ["worker", "--name", "w1", "--dir", &dir];
    for (nats, file, why, what) in [
        (url.as_str(), "", "it has credentials", "signers_file in worker.toml; or give --insecure"),
        (url.as_str(), "signers_file = \"nobody\"\n", "signers_file cannot be used", "one a line"),
        (
            "nats://localhost:1,nats://10.1.2.3:4222",
            "",
            "10.1.2.3:4222 is not this machine",
            "tls://",
        ),
    ] {
        place.file("w1/worker.toml", file);
        let output = place.run(&[&["--nats", nats][..], &worker[..]].concat());
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(why) && text.contains(what) && !text.contains("secret@"), "{text}");
    }
}

const GRANTS: &str =
    "[user.ann]\nverbs = [\"start\", \"stop\", \"restart\", \"signal\"]\nprograms = [\"web*\"]\n";

#[test]
fn users_command_what_they_are_granted_and_all_of_it_is_in_the_log() {
    let fleet = Fleet::new(Some(GRANTS));
    fleet.declare(&format!("{WEB}[program.db]\ncommand = \"sleep 1000\"\nstartsecs = 0\n"));
    let as_ann = |args: &[&str]| fleet.ask(&[&["--as", "ann"], args].concat());
    assert!(as_ann(&["restart", "web"]).status.success());
    assert!(as_ann(&["signal", "CONT", "web"]).status.success());
    let before = (fleet.row("web:0")["pid"].clone(), fleet.row("db:0")["pid"].clone());
    for (args, why) in [
        (
            &["stop", "web", "db"][..],
            "ann may not stop db: granted are start, stop, restart, signal, of",
        ),
        (&["stop", "all"][..], "ann may not stop db"),
        (&["remove", "web"][..], "ann may not remove"),
        (&["apply", "fleet.toml"][..], "ann may not apply"),
        (&["scale", "web=2"][..], "ann may not scale"),
        (&["cordon", "w1"][..], "ann may not cordon"),
        (&["rebalance"][..], "ann may not rebalance"),
        (&["signal", "KILL", "db"][..], "ann may not signal db"),
        (&["clear", "web"][..], "ann may not clear"),
    ] {
        let output = as_ann(args);
        assert!(
            !output.status.success() && said(&output).contains(why),
            "{args:?}: {}",
            said(&output)
        );
    }
    let after = (fleet.row("web:0")["pid"].clone(), fleet.row("db:0")["pid"].clone());
    assert_eq!(before, after, "refused whole");
    let refused = |e: &&Value| e["data"]["verdict"] == "REFUSED" && e["data"]["by"] == "ann";
    let signalled =
        |e: &&Value| e["data"]["verdict"] == "ACCEPTED" && e["data"]["verb"] == "signal";
    // Mostly they are in the log before they are answered, and else a moment later.
    let told = wait_until("all of it to be told", DEADLINE, || {
        let told = fleet.events("*");
        let counts = [told.iter().filter(refused).count(), told.iter().filter(signalled).count()];
        if counts[0] >= 9 && counts[1] >= 1 { Ok(told) } else { Err(format!("{told:#?}")) }
    });
    let codes: Vec<&Value> = told.iter().filter(refused).map(|e| &e["data"]["code"]).collect();
    assert_eq!(codes.len(), 9, "{told:#?}");
    let who: Vec<_> =
        told.iter().filter(signalled).map(|e| (&e["data"]["by"], &e["data"]["names"])).collect();
    assert_eq!(who, [(&json!("ann"), &json!(["web:0"]))]);
    assert!(codes.iter().all(|code| **code == 403), "{codes:?}");
    // What cannot be read is in the log, too.
    let mut admin = fleet.raw("admin", "a");
    admin.ask_for("dsbus.default.cmd.eve.stop", "nobody", "{ nonsense");
    wait_until("the nonsense to be told", DEADLINE, || {
        let told = fleet.events("*");
        let is = |e: &Value| e["data"]["by"] == "eve" && e["data"]["code"] == 400;
        if told.iter().any(is) { Ok(()) } else { Err(fleet.place.logs()) }
    });
    // It holds from the moment on at which the file changes.
    fleet.place.file("grants.toml", &GRANTS.replace("web*", "*"));
    assert!(as_ann(&["stop", "web", "db"]).status.success());
}

#[test]
fn a_flood_of_refused_commands_fills_no_log_and_starves_nobody() {
    let fleet = Fleet::new(Some("[user.bad]\nverbs = []\n"));
    fleet.declare(WEB);
    let mut admin = fleet.raw("admin", "a");
    let body = json!({ "names": ["web"] }).to_string();
    for _ in 0..40 {
        for _ in 0..50 {
            let head = format!("PUB dsbus.default.cmd.bad.stop nobody {}\r\n", body.len());
            admin.send(format!("{head}{body}\r\n").as_bytes());
        }
        admin.settled();
    }
    // Nor does one command that means everything very often.
    for names in [vec!["all"; 10_000], vec!["web"; 10_001]] {
        let body = json!({ "names": names }).to_string();
        admin.ask_for("dsbus.default.cmd.eve.start", "nobody", &body);
    }
    fleet.ok(&["restart", "web"]);
    let by_bad = wait_until("some of it to be told", DEADLINE, || {
        let told = fleet.events("*");
        let by_bad = told.iter().filter(|e| e["data"]["by"] == "bad").count();
        if by_bad > 0 { Ok(by_bad) } else { Err("none") }
    });
    assert!(by_bad <= 120, "{by_bad} of 2,000 are told");
    assert_eq!(fleet.row("web:0")["state"], "RUNNING");
}
