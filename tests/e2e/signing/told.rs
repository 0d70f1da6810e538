//! Where signatures and grants are not as they were meant, people are told, before they look for it.

use dsbus_harness::wait_until;
use serde_json::Value;

use super::Fleet;
use crate::fleet::{DEADLINE, said};

const EVERYWHERE: &str = "[program.web]\ncommand = \"sleep 1000\"\nsystem = true\nstartsecs = 0\n";

#[test]
fn a_worker_that_does_not_know_the_scheduler_says_whom_it_refuses() {
    let fleet = Fleet::listing(None, |worker| if worker == "w2" { "others" } else { "signers" });
    fleet.place.file("fleet.toml", EVERYWHERE);
    wait_until("two workers", DEADLINE, || {
        let rows: Value = serde_json::from_slice(&fleet.ask(&["workers", "-o", "json"]).stdout)
            .map_err(|e| e.to_string() + &fleet.place.logs())?;
        let all = rows.as_array().is_some_and(|rows| rows.len() == 2);
        if all { Ok(()) } else { Err(rows.to_string() + &fleet.place.logs()) }
    });
    fleet.ok(&["apply", "--no-wait", "fleet.toml"]);
    let key = fleet.scheduler.public_key();
    let why = format!("its signer {key} is none of ours");
    wait_until("the doctor to name the worker", DEADLINE, || {
        let text = said(&fleet.ask(&["doctor"]));
        let told = text.contains("w2 refuses what s1 writes of web:") && text.contains(&why);
        if told { Ok(()) } else { Err(text + &fleet.place.logs()) }
    });
    assert!(!said(&fleet.ask(&["doctor"])).contains("w1 refuses"), "w1 knows it");
    assert!(fleet.ok(&["workers", "w2"]).contains(&why));
    assert!(!fleet.ok(&["workers", "w1"]).contains("refuses"));
    let rows: Vec<Value> =
        serde_json::from_str(&fleet.ok(&["status", "web", "-o", "json"])).unwrap();
    let there = rows.iter().find(|row| row["worker"] == "w2").unwrap();
    assert!(there["reason"].as_str().unwrap_or_default().contains(&why), "{there}");
    let text = fleet.ok(&["explain", there["name"].as_str().unwrap(), "-o", "json"]);
    let explained: Value = serde_json::from_str::<Value>(&text).unwrap()[0].take();
    let because = explained["because"].as_str().unwrap_or_default();
    assert!(because.contains("w2 refuses what s1 writes") && because.contains(&why), "{text}");
    assert!(fleet.wait_refusals("w2", 0) > 0);

    // A file that cannot be used is told, too; and once the key is in it, all is well.
    fleet.place.file("others", "nobody\n");
    wait_until("the file to be told", DEADLINE, || {
        let text = fleet.ok(&["workers", "w2"]);
        if text.contains("line 1 is no public NKey") { Ok(()) } else { Err(text) }
    });
    fleet.place.file("others", &format!("{key}\n"));
    wait_until("the worker to obey", DEADLINE, || {
        let text = fleet.ok(&["status", "web"]) + &fleet.ok(&["workers", "w2"]);
        let well = text.matches("RUNNING").count() == 2 && !text.contains("refuses");
        if well { Ok(()) } else { Err(text + &fleet.place.logs()) }
    });
    assert!(!said(&fleet.ask(&["doctor"])).contains("refuses"));
}

#[test]
fn slips_in_a_file_of_grants_are_told_although_nobody_commands_anything() {
    let fleet = Fleet::new(Some("[user.ann]\nverbs = [\"start\"]\nprograms = [\"wbe*\"]\n"));
    let wait_told = |what: &str| {
        wait_until(what, DEADLINE, || {
            let logs = fleet.place.logs();
            if logs.contains(what) { Ok(()) } else { Err(logs) }
        });
    };
    wait_told("user.ann: programs: no program is named \"wbe*\"");
    fleet.place.file("grants.toml", "[user.ann]\nverbs = [\"strat\"]\nprograms = [\"web*\"]\n");
    wait_told("holds as it was: user.ann: verbs: there is no verb \"strat\"; did you mean start?");
    fleet.place.file("grants.toml", "[user.ann]\nverbs = [\"drain\"]\n");
    wait_told("user.ann: names neither programs nor workers for its verbs");
}
