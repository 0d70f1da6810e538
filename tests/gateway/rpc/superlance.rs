//! httpok and memmon of superlance 2.0.0, which ask and act by XML-RPC. (The other four listen only:
//! the suite `e2e` runs them.)

use dsbus_harness::wait_until;

use crate::fleet::{DEADLINE, Fleet, number};
use crate::served::Gateway;
use crate::supervisord::python_path;

#[test]
fn httpok_and_memmon_restart_what_is_not_well() {
    let mut fleet = Fleet::start(1, 1);
    // They ask at /RPC2 whatever they are told, and memmon looks at process ids of its own machine.
    let gateway = Gateway::start(&mut fleet, "g1", &["--worker", "w1"]);
    let (url, path) = (&gateway.url, python_path());
    let listener = |name: &str, words: &str| {
        format!(
            "[eventlistener.{name}]\nevents = [\"TICK_5\"]\nserverurl = \"{url}\"\n\
             command = [\"python3\", \"-m\", \"superlance.{name}\", {words}]\n\
             environment = {{ PYTHONPATH = \"{path}\" }}\n"
        )
    };
    let sleeper = |name: &str| {
        format!("[program.{name}]\ncommand = \"sleep 1000\"\ngroup = \"shop\"\nstartsecs = 0\n")
    };
    fleet.apply(&(sleeper("silent") + &sleeper("large") + &sleeper("well")));
    let pid = |name: &str| number(&fleet.row(name)["pid"]);
    let before = ["silent:0", "large:0", "well:0"].map(pid);
    // Nobody answers at port 9; a process of one kilobyte there is none.
    fleet.apply(
        &(listener("httpok", "\"-p\", \"shop:silent\", \"-t\", \"2\", \"http://127.0.0.1:9/\"")
            + &listener("memmon", "\"-p\", \"large=1KB\"")),
    );
    wait_until("both to be restarted", DEADLINE, || {
        let row = |name| fleet.try_json(&["status", name, "-o", "json"]);
        let rows = [row("silent:0")?[0].clone(), row("large:0")?[0].clone()];
        let anew = rows
            .iter()
            .zip(&before)
            .all(|(row, before)| row["state"] == "RUNNING" && number(&row["pid"]) != *before);
        if anew { Ok(()) } else { Err(format!("{rows:?}")) }
    });
    assert_eq!(pid("well:0"), before[2]);
    // They acted as whoever the gateway lets in, and on nothing else.
    fleet.wait_event("a stop", |e| e["data"]["kind"] == "command" && e["data"]["verb"] == "stop");
    let about: Vec<String> = fleet
        .events()
        .iter()
        .filter(|e| e["data"]["kind"] == "command" && e["data"]["verb"] == "stop")
        .map(|e| e["data"]["names"].to_string() + &e["data"]["targets"].to_string())
        .collect();
    assert!(!about.is_empty() && about.iter().all(|names| !names.contains("well")), "{about:?}");
}
