//! Everything that schedulers tell, however many they are: each of it once.

use super::*;

const SHOP: &str = "[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\ngroup = \"shop\"\nstartsecs = 0\n\
     [program.api]\ncommand = \"sleep 1000\"\ngroup = \"shop\"\nrequired = false\nstartsecs = 0\n";

/// A fleet in which everything happens that schedulers tell, but for losses.
fn a_life(schedulers: usize) -> Fleet {
    let fleet = Fleet::start(schedulers, 2);
    let group = |change: &'static str| {
        let is = move |e: &Value| text(e, "group") == "shop" && type_of(e) == change;
        fleet.wait_event(&format!("the group is {change}"), is);
    };
    fleet.apply(SHOP);
    group("OK");
    fleet.apply(&SHOP.replace("\"sleep 1000\"\nnumprocs = 2", "\"sleep 2000\"\nnumprocs = 2"));
    let done = |e: &Value| text(e, "kind") == "rollout" && type_of(e) == "DONE";
    fleet.wait_event("the rollout is done", done);
    fleet.ok(&["scale", "web=3"]);
    fleet.ok(&["restart", "api"]);
    fleet.ok(&["cordon", "w2"]);
    fleet.ok(&["uncordon", "w2"]);
    fleet.ok(&["drain", "w1"]);
    fleet.wait_event("w1 is drained", |e| type_of(e) == "DRAINED");
    fleet.ok(&["undrain", "w1"]);
    let lost = "[program.lost]\ncommand = \"sleep 1\"\nmachines = [\"w9\"]\ngroup = \"shop\"\n";
    fleet.ok(&["apply", &fleet.file("nowhere.toml", lost), "--no-wait"]);
    let pending = |e: &Value| e["subject"] == "lost:0" && type_of(e) == "PENDING";
    fleet.wait_event("lost:0 is PENDING", pending);
    group("FAILED");
    fleet.ok(&["remove", "web", "api", "lost"]);
    group("REMOVED");
    for name in ["web:0", "web:1", "web:2", "api:0"] {
        let removed = |e: &Value| e["subject"] == name && type_of(e) == "REMOVED";
        fleet.wait_event(&format!("{name} has no place"), removed);
    }
    fleet
}

/// What was not told as often as it should be.
fn wrong(events: &[Value], schedulers: usize) -> Vec<String> {
    let mut wrong = repeats(events);
    let mut told = |what: &str, told: &BTreeMap<String, usize>, all: &[(&str, usize)]| {
        if *told != counted(all) {
            wrong.push(format!("{what}: {told:?}, not {all:?}"));
        }
    };
    let web = [("ADDED", 1), ("CHANGED", 2), ("REMOVED", 1)];
    told("web", &count(events, "program", "web"), &web);
    told("api", &count(events, "program", "api"), &[("ADDED", 1), ("REMOVED", 1)]);
    told("the rollout", &count(events, "rollout", "web"), &[("STARTED", 1), ("DONE", 1)]);
    let group = [("ADDED", 1), ("REMOVED", 1), ("FAILED", 1)];
    let mut shop = count(events, "group", "shop");
    shop.retain(|change, _| group.iter().any(|(name, _)| name == change));
    told("shop", &shop, &group);
    let w1 = [("DRAINING", 1), ("DRAINED", 1), ("UNCORDONED", 1)];
    let w2 = [("CORDONED", 1), ("UNCORDONED", 1)];
    for (worker, all) in [("w1", &w1[..]), ("w2", &w2[..])] {
        let mut steered = count(events, "worker", worker);
        steered.remove("STARTED");
        told(worker, &steered, all);
    }
    let mut commands = BTreeMap::new();
    for event in events.iter().filter(|e| text(e, "kind") == "command") {
        let what = format!("{} {}", type_of(event), text(event, "verb"));
        *commands.entry(what).or_insert(0) += 1;
    }
    let once = ["cordon", "drain", "remove", "restart", "scale", "uncordon", "undrain"];
    let once = once.map(|verb| format!("ACCEPTED {verb}"));
    let mut all: Vec<(&str, usize)> = once.iter().map(|verb| (verb.as_str(), 1)).collect();
    all.push(("ACCEPTED apply", 3));
    told("commands", &commands, &all);
    let joined = |e: &&Value| text(e, "kind") == "scheduler" && type_of(e) == "JOINED";
    let joined = counted(&[("JOINED", events.iter().filter(joined).count())]);
    told("schedulers", &joined, &[("JOINED", schedulers)]);
    wrong
}

/// Each of it was told once. Each scheduler tells what it does for itself, in a moment.
fn assert_told_once(schedulers: usize) {
    let fleet = a_life(schedulers);
    let events = wait_until("all of it to be told", DEADLINE, || {
        let events = fleet.events();
        let wrong = wrong(&events, schedulers);
        if wrong.is_empty() { Ok(events) } else { Err(wrong) }
    });
    // In any order: the rollout, and the scale.
    let is = |e: &&Value| type_of(e) == "CHANGED" && e["data"]["changed"] == json!(["command"]);
    let changed = &events.iter().find(is).unwrap()["data"];
    assert_eq!((&changed["kind"], &changed["by"]), (&json!("program"), &json!("anonymous")));
    assert_eq!(changed["group"], "shop");
}

#[test]
fn one_scheduler_tells_each_event_once() {
    assert_told_once(1);
}

#[test]
fn three_schedulers_tell_each_event_once() {
    assert_told_once(3);
}
