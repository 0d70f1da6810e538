//! What every verb prints, on success and on failure, word by word: a change of it is seen by whoever
//! reviews it. Times, process ids, identities and paths are replaced by words.
//!
//! To take what is printed now: `INSTA_UPDATE=always ./run test -p dsbus --test e2e said`.

mod daemons;
mod tools;
mod transcript;

use crate::fleet::{Fleet, SHOP};
use transcript::Transcript;

const JOB: &str = r#"
[program.job]
command = "echo done"
shell = true
kind = "oneshot"
"#;

#[test]
fn verbs_that_declare() {
    let fleet = Fleet::start(1, 1);
    let file = fleet.file("shop.toml", SHOP);
    let changed = fleet.file(
        "changed.toml",
        &SHOP.replace("1000", "999").replace("= 2", "= 2\nupdate = { canary = 1 }"),
    );
    let wrong = fleet.file("wrong.toml", "[program.web]\ncommnad = \"sleep\"\nnumprocs = -1\n");
    let conf = fleet.file("supervisord.conf", "[program:old]\ncommand=sleep 1000\nserverurl=x\n");
    Transcript::of(&fleet)
        .run(&format!("apply --dry-run {file}"))
        .run(&format!("apply {file}"))
        .run(&format!("apply {file}"))
        .run(&format!("apply {wrong}"))
        .run("apply missing.toml")
        .run(&format!("apply --dry-run {changed}"))
        .run(&format!("apply {changed}"))
        .run("rollout status nothing")
        .run("rollout status web")
        .run("rollout pause web")
        .run("rollout resume web --no-wait")
        .run("rollout promote web")
        .run("rollout pause web")
        .run("rollout resume web")
        .run("rollout promote nothing")
        .run("export web")
        .run("export nothing")
        .run("rollout undo web")
        .run("rollout undo nothing")
        .run(&format!("import {conf}"))
        .run("import missing.conf")
        .run("create hello --startsecs 0 -- sleep 1000")
        .run("create hello -- sleep 1000")
        .run("create x")
        .run("scale hello=2")
        .run("scale hello=many")
        .run("history hello")
        .run("history nothing")
        .run("remove hello")
        .run("remove hello")
        .is("declare");
}

#[test]
fn verbs_that_give_secrets() {
    let fleet = Fleet::start(1, 2);
    let file = fleet.file("token", "t0ken\n");
    Transcript::of(&fleet)
        .run("secret list")
        .typed("secret set db-password", "hunter2\n")
        .run(&format!("--as ann secret set token --workers w1 --file {file}"))
        .run("secret list")
        .run("secret list -o json")
        .run("secret list -o xml")
        .run("secret set token --file missing")
        .run("secret set token --workers w9")
        .run("secret set token")
        .run("secret set a.b")
        .run("secret set")
        .run("secret")
        .run("secret remove token --workers w2")
        .run("secret remove token")
        .run("secret remove token")
        .is("secret");
}

#[test]
fn verbs_that_act() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(&[SHOP, JOB].concat());
    Transcript::of(&fleet)
        .run("start web")
        .run("start web:0 -- --flag")
        .run("stop web:1")
        .run("stop web:1")
        .run("start web:1 -o json")
        .run("restart web:0")
        .run("restart web:0 -o name")
        .run("reload web:0 --no-wait")
        .run("disable job")
        .run("start job")
        .run("enable job")
        .run("enable nothing")
        .run("disable nothing")
        .run("restart nothing")
        .run("reload nothing")
        .run("clear nothing")
        .run("start web:7")
        .run("start wbe")
        .run("stop")
        .run("wait web")
        .run("wait job --for stopped --timeout 10s")
        .run("wait web --for stopped --timeout 1s")
        .run("clear web:0")
        .run("stop shop:*")
        .run("stop all")
        .run("remove all")
        .run("wait web --for gone")
        .is("act");
}

#[test]
fn verbs_that_lay_hands_on_what_runs() {
    let fleet = Fleet::start(1, 1);
    let cat = "[program.cat]\ncommand = \"cat\"\nstdin = true\nstartsecs = 0\n";
    fleet.apply(&format!("{SHOP}{JOB}{cat}"));
    Transcript::of(&fleet)
        .run("signal WINCH shop:*")
        .run("signal SIGWINCH cat -o json")
        .run("signal WINSH web")
        .run("signal HUP job")
        .run("signal HUP nothing")
        .run("signal HUP")
        .interrupted("attach cat", "hello\n", |said| {
            said.contains("hello\n") && said.contains("attached")
        })
        .run("stdin cat a word")
        .run("stdin cat --eof")
        .run("stdin web word")
        .run("stdin web:0 word")
        .run("attach web")
        .run("attach nothing")
        .run("run -- echo done")
        .run("run -- false")
        .run("run -- /no/such/command")
        .run("run --name web -- true")
        .run("run --numproc 2 -- true")
        .run("run --kind service -- true")
        .run("run")
        .is("hands");
}

#[test]
fn verbs_that_show() {
    let fleet = Fleet::start(1, 1);
    // Who places and who starts tell it each for itself: here nothing runs before its place is told.
    let gate = fleet.path().join("gate");
    let readiness = format!(
        "startsecs = 0\nreadiness = {{ exec = \"test -e {}\", interval = \"200ms\" }}",
        gate.display()
    );
    let shop = SHOP.replace("startsecs = 0", &readiness);
    let file = fleet.file("shop.toml", &format!("{shop}{JOB}"));
    fleet.ok(&["apply", "--no-wait", &file]);
    for name in ["job:0", "web:0", "web:1"] {
        fleet.wait_event("of its placement", |event| {
            event["data"]["name"] == name && event["data"]["change"] == "PLACED"
        });
    }
    fleet.file("gate", "");
    for (name, state) in [("job:0", "EXITED"), ("web:0", "RUNNING"), ("web:1", "RUNNING")] {
        fleet.wait_state(name, state);
    }
    Transcript::of(&fleet)
        .run("status")
        .run("status web:0 -o json")
        .run("status web:0 -o yaml")
        .run("status -o name")
        .run("status nothing")
        .run("pid web")
        .run("pid web:9")
        .run("pid job")
        .run("describe web:0 -n 1")
        .run("describe nothing")
        .run("explain web:0")
        .run("explain nothing")
        .run("groups")
        .run("groups -o json")
        .run("groups nothing")
        .run("workers -o name")
        .run("workers w9")
        // Schedulers and workers tell theirs without waiting for each other.
        .run("events job --type process")
        .run("events job --type placement")
        .run("events nothing")
        .run("events --type NOTHING")
        .run("logs job")
        .run("logs nothing")
        .run("rollout status")
        .is("show");
}

#[test]
fn verbs_about_workers_and_events() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(&[SHOP, JOB].concat());
    Transcript::of(&fleet)
        .run("cordon w1")
        .run("cordon w1 -o json")
        .run("uncordon w1")
        .run("drain w1 --timeout 1s")
        .run("drain w9")
        .run("undrain w1")
        .run("undrain w9")
        .run("cordon w9")
        .run("uncordon w9")
        .run("forget w1")
        .run("rebalance")
        .run("rebalance --dry-run -o json")
        .run("rebalance w1")
        .calm("recover", |said| said.matches(" known").count() == 5)
        .calm("recover --dry-run -o json", |said| said.contains("\"silent\": []"))
        .run("recover --from missing.toml")
        .run("recover w1")
        .run("emit deployed hello")
        .run("emit")
        .run("listen --list")
        .run("listen --forget nobody")
        .run("statsu")
        .run("start --what web")
        .is("workers");
}

#[test]
fn without_a_fleet() {
    let fleet = Fleet::bare();
    Transcript::of(&fleet).run("status").run("workers").run("events").run("start web").is("nobody");
}
