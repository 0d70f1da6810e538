//! The web page in a real browser. What is done and seen there is in `page/*.mjs`.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use dsbus_harness::Port;

use crate::fleet::{DSBUS, Fleet};
use crate::served::Gateway;

/// What a script needs that is not there, or nothing.
fn browser() -> Option<[(&'static str, OsString); 2]> {
    let need = |name: &'static str| std::env::var_os(name).map(|value| (name, value));
    let found = need("DSBUS_NODE_MODULES").zip(need("DSBUS_CHROMIUM"));
    if found.is_none() {
        // Past the capture of the test's output: whoever runs it must see it.
        let why = "SKIPPED: DSBUS_NODE_MODULES and DSBUS_CHROMIUM are not both set; \
            ./run test fetches what drives a browser, and finds Chromium\n";
        std::io::stderr().write_all(why.as_bytes()).unwrap();
    }
    found.map(|(modules, chromium)| [modules, chromium])
}

/// Plays a script against a gateway.
fn play(fleet: &Fleet, gateway: &Gateway, script: &str, more: &[(&str, &str)]) {
    let Some(browser) = browser() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = Path::new(DSBUS).ancestors().nth(2).unwrap();
    let output = Command::new("node")
        .arg(root.join("tests/gateway/page").join(script))
        .envs(browser)
        .env("DSBUS_PAGE", &gateway.url)
        .env("DSBUS_BIN", DSBUS)
        .env("DSBUS_NATS", fleet.nats.url())
        .env("DSBUS_SCREENSHOTS", target.join("screenshots"))
        .env_remove("NATS_URL")
        .envs(more.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{script}:\n{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::io::stderr().write_all(format!("{script}: {said}").as_bytes()).unwrap();
}

#[test]
fn what_a_page_is_made_of_is_kept_and_asked_for_well() {
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    let page = gateway.get("/", &[]);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let etag = page.header("etag").unwrap();
    assert_eq!(gateway.get("/", &[("if-none-match", etag)]).code, 304);
    // Every address of the page is it.
    for path in ["/instances/web:0", "/programs/web", "/workers", "/workers/w1", "/events"] {
        assert_eq!(gateway.get(path, &[]).body, page.body, "{path}");
    }
    let script = page.body.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
    let asset = gateway.get(script, &[]);
    assert_eq!(asset.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert!(asset.header("cache-control").unwrap().contains("immutable"));
    // A page of another version gets what there is, and does not keep it.
    let sum = script.split('/').nth(2).unwrap();
    let other = gateway.get(&script.replace(sum, "0123"), &[]);
    assert_eq!((other.code, other.header("cache-control")), (200, Some("no-cache")));
    assert_eq!(gateway.get(&format!("/assets/{sum}/../../etc/passwd"), &[]).code, 404);
    assert_eq!(gateway.get("/favicon.ico", &[]).header("content-type"), Some("image/svg+xml"));
}

#[test]
fn instances_are_listed_live_and_acted_on_by_mouse_and_keys() {
    let mut fleet = Fleet::start(1, 2);
    fleet.apply(
        r#"
        [defaults]
        command = "sleep 1000"
        startsecs = 0
        [program.api]
        group = "shop"
        numprocs = 3
        [program.web]
        group = "shop"
        numprocs = 2
        [program.cold]
        autostart = false
        "#,
    );
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    play(&fleet, &gateway, "list.mjs", &[]);
}

#[test]
fn an_instance_a_program_a_worker_rollouts_and_events_have_pages() {
    let mut fleet = Fleet::start(1, 2);
    let many = |command: &str| {
        format!(
            "[program.many]\ncommand = \"{command}\"\nnumprocs = 2\nstartsecs = 0\n\
             update = {{ canary = 1 }}\n"
        )
    };
    let talk = r#"
        [program.talk]
        command = "trap 'echo heard USR1' USR1; n=0; while :; do n=$((n+1)); echo out $n; echo err $n >&2; sleep 0.2; done"
        shell = true
        startsecs = 0
        [program.flaky]
        command = "exit 3"
        shell = true
        startretries = "infinite"
        backoff_max = "1h"
        "#;
    let file = fleet.file("all.toml", &format!("{}{talk}", many("sleep 1000")));
    fleet.ok(&["apply", "--no-wait", &file]);
    fleet.wait_state("talk:0", "RUNNING");
    fleet.wait_state("many:1", "RUNNING");
    let changed = many("sleep 1001").replace("numprocs = 2", "numprocs = 4");
    let changed = fleet.file("changed.toml", &changed);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    play(&fleet, &gateway, "one.mjs", &[("DSBUS_CHANGED", &changed)]);
}

#[test]
fn on_a_phone_rows_are_selected_and_a_bar_acts() {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply(
        "[defaults]\ncommand = \"sleep 1000\"\nstartsecs = 0\n\
         [program.api]\n[program.web]\nnumprocs = 2\n",
    );
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    play(&fleet, &gateway, "phone.mjs", &[]);
}

#[test]
fn a_page_asks_who_it_is_and_a_viewer_cannot_act() {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let users = fleet.file("gateway.toml", crate::admit::USERS);
    let gateway = Gateway::start(&mut fleet, "g1", &[&users]);
    play(&fleet, &gateway, "login.mjs", &[]);
}

#[test]
fn a_page_says_when_nobody_answers_and_is_right_again_by_itself() {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    // The script starts it again where it was: the port must stay free meanwhile.
    let (port, nats) = (Port::reserve(), fleet.nats.url());
    let listen = format!("127.0.0.1:{}", port.number());
    fleet.spawn("g1", &["--nats", &nats, "gateway", "--listen", &listen]);
    let gateway = Gateway::at(&format!("http://{listen}"));
    gateway.wait_served();
    let pids = ["s1", "g1"].map(|name| fleet.pid(name).to_string());
    let more = [("DSBUS_SCHEDULER_PID", &*pids[0]), ("DSBUS_GATEWAY_PID", &*pids[1])];
    play(&fleet, &gateway, "lost.mjs", &more);
}

#[test]
fn ten_thousand_rows_stay_usable() {
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    play(&fleet, &gateway, "many.mjs", &[]);
}

#[test]
fn every_view_has_its_picture() {
    let mut fleet = Fleet::start(1, 3);
    let shop = r#"
        [program.web]
        command = "n=0; while :; do n=$((n+1)); echo request $n served in $((n%9)) ms; [ $((n%7)) = 0 ] && echo request $n was slow >&2; sleep 0.1; done"
        shell = true
        numprocs = 4
        startsecs = 0
        group = "shop"
        [program.api]
        command = "sleep 1000"
        numprocs = 3
        startsecs = 0
        group = "shop"
        update = { canary = 1 }
        [program.cart]
        command = "echo 'cannot bind 0.0.0.0:8080: address already in use' >&2; exit 1"
        shell = true
        startretries = 0
        max_fail_count = 1
        group = "shop"
        [program.flaky]
        command = "exit 3"
        shell = true
        startretries = "infinite"
        backoff_max = "1h"
        [program.gpu]
        command = "sleep 1000"
        labels = ["gpu = yes"]
        [program.nightly]
        command = "true"
        kind = "oneshot"
        startsecs = 0
        [program.cold]
        command = "sleep 1000"
        autostart = false
        numprocs = 2
        "#;
    let file = fleet.file("shop.toml", shop);
    fleet.ok(&["apply", "--no-wait", &file]);
    for (name, state) in [("web:3", "RUNNING"), ("api:2", "RUNNING"), ("cart:0", "FATAL")] {
        fleet.wait_state(name, state);
    }
    let changed =
        shop.replace("sleep 1000\"\n        numprocs = 3", "sleep 999\"\n        numprocs = 3");
    let file = fleet.file("changed.toml", &changed);
    fleet.ok(&["apply", "--no-wait", &file]);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    play(&fleet, &gateway, "pictures.mjs", &[]);
}
