//! What is declared and wanted of programs together: `scale`, `enable`, `disable`, groups, order,
//! `restart --rolling`.

use crate::bus::answered;
use crate::fleet::{DEADLINE, Fleet, alive, assert_gapless, number};
use dsbus_client::{Bus, ConnectOptions};
use dsbus_harness::wait_until;
use dsbus_schema::command::{Act, Acted, Applied, Change, Envelope, Scale, Verb};
use dsbus_schema::ids::{FleetName, ProgramName, Target, UserName};
use serde_json::Value;

const TWO: &str = "[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\nstartsecs = 0\ngroup = \"front\"\n\
                   [program.api]\ncommand = \"sleep 1000\"\nstartsecs = 0\ngroup = \"front\"\n";

#[test]
fn scale_changes_several_programs_at_once_or_none() {
    let fleet = Fleet::start(2, 2);
    fleet.apply(TWO);
    let (web0, api0) = (fleet.row("web:0")["pid"].clone(), fleet.row("api:0")["pid"].clone());
    let said = fleet.ok(&["scale", "web=3", "api=2"]);
    assert!(said.contains("web: changed (3 instances): numprocs"), "{said}");
    assert_eq!(fleet.status().len(), 5);
    assert_eq!((&fleet.row("web:0")["pid"], &fleet.row("api:0")["pid"]), (&web0, &api0));
    let doomed = number(&fleet.row("web:2")["pid"]);
    let said = fleet.ok(&["scale", "web=1"]);
    assert!(said.contains("web:2: removed"), "{said}");
    assert!(!alive(doomed));
    assert_eq!(fleet.status().len(), 3);
    let said = fleet.fails(1, &["scale", "web=2", "api=0"]);
    assert!(said.contains("program.api.numprocs") && said.contains("must be 1 to"), "{said}");
    let said = fleet.fails(1, &["scale", "wep=2"]);
    assert!(said.contains("did you mean web"), "{said}");
    fleet.fails(2, &["scale", "web"]);
    assert_eq!(fleet.row("web:0")["revision"], 3, "what was refused did nothing");
    let history = fleet.json(&["history", "web", "-o", "json"]);
    assert_eq!(history[2]["reason"], "scaled to 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scale_sent_again_acts_once_and_answers_the_same() {
    let fleet = Fleet::start(2, 1);
    fleet.apply(TWO);
    let bus = connect(&fleet).await;
    let web = ProgramName::parse("web").unwrap();
    let scale = |n| Scale {
        envelope: Envelope { id: Some(uuid::Uuid::now_v7()), version: None },
        programs: [(web.clone(), n)].into(),
    };
    let three = scale(3);
    let first: Applied = answered(&bus, Verb::Scale, &three).await.unwrap();
    assert_eq!((first.programs[0].change, first.programs[0].revision), (Change::Changed, 2));
    let _: Applied = answered(&bus, Verb::Scale, &scale(4)).await.unwrap();
    for _ in 0..5 {
        let again: Applied = answered(&bus, Verb::Scale, &three).await.unwrap();
        assert_eq!(again, first, "to whichever scheduler it goes, and whatever came since");
    }
    let rows = fleet.json(&["history", "web", "-o", "json"]);
    assert_eq!(rows.as_array().unwrap().len(), 3);
    // Ten clients at once, each with another number: each has one answer, and a revision of its own.
    let all = futures::future::join_all((5..15).map(|n| {
        let (bus, scale) = (bus.clone(), scale(n));
        async move { answered::<Applied>(&bus, Verb::Scale, &scale).await.unwrap() }
    }));
    let mut revisions: Vec<u64> = all.await.iter().map(|a| a.programs[0].revision).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (4..14).collect::<Vec<_>>());
}

async fn connect(fleet: &Fleet) -> Bus {
    let options = ConnectOptions {
        urls: vec![fleet.nats.url()],
        fleet: FleetName::default(),
        user: UserName::default(),
        access: dsbus_client::Access::default(),
        label: "test".to_owned(),
        wait: true,
    };
    Bus::connect(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_starts_stops_and_scales_at_once_end_as_the_last_of_each_says() {
    let fleet = Fleet::start(2, 2);
    fleet.apply(TWO);
    let web = ProgramName::parse("web").unwrap();
    let envelope = || Envelope { id: Some(uuid::Uuid::now_v7()), version: None };
    let client = async |n: u32| {
        let bus = connect(&fleet).await;
        let names = vec![Target::Program(web.clone())];
        for round in 0..5 {
            let act = Act::new(envelope(), names.clone());
            match (n + round) % 3 {
                0 => drop(answered::<Acted>(&bus, Verb::Start, &act).await.unwrap()),
                1 => drop(answered::<Acted>(&bus, Verb::Stop, &act).await.unwrap()),
                _ => {
                    let programs = [(web.clone(), 2 + (n + round) % 4)].into();
                    let scale = Scale { envelope: envelope(), programs };
                    drop(answered::<Applied>(&bus, Verb::Scale, &scale).await.unwrap());
                }
            }
        }
    };
    futures::future::join_all((0..10).map(client)).await;
    let history = fleet.json(&["history", "web", "-o", "json"]);
    let reason = history.as_array().unwrap().last().unwrap()["reason"].as_str().unwrap().to_owned();
    let copies: usize = reason.strip_prefix("scaled to ").unwrap().parse().unwrap();
    let settled = || {
        let rows = fleet.try_json(&["status", "web", "-o", "json"])?.as_array().unwrap().clone();
        let state = if rows[0]["wanted"]["run"] == true { "RUNNING" } else { "STOPPED" };
        let all =
            rows.iter().all(|row| row["state"] == state && row["wanted"] == rows[0]["wanted"]);
        if all && rows.len() == copies { Ok(()) } else { Err(format!("{copies}: {rows:?}")) }
    };
    wait_until("all of it to be so", DEADLINE, settled);
    fleet.ok(&["start", "web"]);
    assert_eq!(fleet.status().iter().filter(|r| r["program"] == "web").count(), copies);
    assert_gapless(&fleet.events());
}

#[test]
fn what_is_disabled_is_not_started_until_it_is_enabled() {
    let fleet = Fleet::start(2, 1);
    fleet.apply(TWO);
    let pid = number(&fleet.row("web:0")["pid"]);
    let said = fleet.ok(&["disable", "web"]);
    assert!(said.contains("web:0: stopped, and disabled"), "{said}");
    assert!(!alive(pid));
    assert!(fleet.ok(&["status", "web"]).contains("disabled"));
    for verb in ["start", "restart"] {
        for name in ["web", "web:1"] {
            let said = fleet.fails(1, &[verb, name]);
            assert!(said.contains("web is disabled: dsbus enable web"), "{said}");
        }
    }
    // One of all, or of a group, that is disabled is left out.
    fleet.ok(&["stop", "api"]);
    let said = fleet.ok(&["start", "all"]);
    assert!(said.contains("api:0: started") && !said.contains("web"), "{said}");
    fleet.ok(&["restart", "front"]);
    fleet.apply(&TWO.replace("numprocs = 2", "numprocs = 3"));
    assert_eq!(fleet.row("web:0")["state"], "STOPPED", "an apply starts nothing that is disabled");
    let said = fleet.ok(&["enable", "web"]);
    assert!(said.contains("web:0: enabled, and stopped"), "{said}");
    assert_eq!(fleet.row("web:0")["state"], "STOPPED");
    fleet.ok(&["start", "web"]);

    fleet.ok(&["disable", "web:1"]);
    let said = fleet.fails(1, &["start", "web:1"]);
    assert!(said.contains("web:1 is disabled: dsbus enable web:1"), "{said}");
    let said = fleet.ok(&["restart", "web"]);
    assert!(said.contains("web:0: restarted") && !said.contains("web:1"), "{said}");
    assert_eq!(fleet.row("web:1")["state"], "STOPPED");
    fleet.ok(&["enable", "web"]);
    fleet.ok(&["start", "web:1"]);
}

#[test]
fn a_program_with_one_on_each_worker_is_waited_for_whole() {
    let fleet = Fleet::start(1, 3);
    let toml = "[program.node]\ncommand = \"sleep 1000\"\nsystem = true\nstartsecs = 0\n";
    fleet.apply(toml);
    fleet.wait_state("node:2", "RUNNING");
    fleet.apply(&toml.replace("1000", "2000"));
    let rows = fleet.status();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row["revision"] == 2 && row["state"] == "RUNNING"), "{rows:?}");
    fleet.apply(&toml.replace("1000", "2000"));
    fleet.ok(&["restart", "node"]);
    let said = fleet.fails(1, &["scale", "node=2"]);
    assert!(said.contains("one copy on each worker"), "{said}");
    fleet.ok(&["stop", "node"]);
    assert!(fleet.status().iter().all(|row| row["state"] == "STOPPED"));
}

#[test]
fn groups_are_names_and_have_a_state() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(TWO);
    let table = fleet.ok(&["groups"]);
    assert!(
        table.contains("front") && table.contains("3/3") && table.contains("api, web"),
        "{table}"
    );
    fleet.ok(&["stop", "front"]);
    let row = fleet.json(&["groups", "front", "-o", "json"])[0].clone();
    assert_eq!(row["state"], "STOPPED", "{row}");
    let said = fleet.fails(1, &["groups", "fornt"]);
    assert!(said.contains("did you mean front"), "{said}");

    let file = fleet.file(
        "p.toml",
        "[program.front]\ncommand = \"sleep 1\"\n[program.job]\ncommand = \"x\"\ngroup = \"lone\"\n\
         [program.lone]\ncommand = \"x\"\n",
    );
    let said = fleet.fails(1, &["apply", &file]);
    assert!(said.contains("program.front.group: front is the name of a group already"), "{said}");
    assert!(said.contains("program.job.group: lone is the name of a program"), "{said}");
    assert_eq!(fleet.status().len(), 3, "nothing was applied");
}

#[test]
fn programs_that_wait_for_themselves_are_refused_with_the_way() {
    let fleet = Fleet::start(1, 1);
    fleet.apply("[program.db]\ncommand = \"sleep 1000\"\nstartsecs = 0\n[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\ndepends_on = [\"db\"]\n");
    let cycle = "[program.db]\ncommand = \"sleep 1000\"\ndepends_on = { web = \"healthy\" }\n";
    let file = fleet.file("p.toml", cycle);
    let said = fleet.fails(1, &["apply", &file]);
    assert!(said.contains("program.db.depends_on: waits for itself: db -> web -> db"), "{said}");
    let file =
        fleet.file("q.toml", "[program.job]\ncommand = \"sleep 1000\"\ndepends_on = \"dbb\"\n");
    let out = fleet.run(&["apply", &file, "--no-wait"]);
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(
        said.contains("no program is named dbb yet") && said.contains("did you mean db?"),
        "{said}"
    );
    wait_until("what it waits for", DEADLINE, || {
        let said = fleet.ok(&["explain", "job"]);
        if said.contains("job:0 is PENDING") && said.contains("dbb") { Ok(()) } else { Err(said) }
    });
}

#[test]
fn a_rolling_restart_goes_from_one_to_the_next() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        "[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 3\nstartsecs = \"200ms\"\n\
         update = { max_unavailable = 1 }\n",
    );
    let before: Vec<i32> = fleet.status().iter().map(|row| number(&row["pid"])).collect();
    fleet.ok(&["restart", "--rolling", "web"]);
    let after: Vec<i32> = fleet.status().iter().map(|row| number(&row["pid"])).collect();
    assert!(before.iter().zip(&after).all(|(a, b)| a != b), "{before:?} {after:?}");
    // In the events never more than one of them is down at once.
    let mut down: Vec<String> = Vec::new();
    let mut restarts = false;
    for event in fleet.events().iter().filter(|e| e["data"]["kind"] == "process") {
        let name = event["data"]["name"].as_str().unwrap().to_owned();
        restarts |= event["data"]["state"] == "STOPPING";
        match event["data"]["state"].as_str() {
            Some("RUNNING") => down.retain(|other| *other != name),
            _ if restarts && !down.contains(&name) => down.push(name),
            _ => {}
        }
        assert!(!restarts || down.len() <= 1, "{down:?} are down at once");
    }
    let acted = fleet.json(&["restart", "web", "-o", "json"]);
    assert_eq!(acted[0]["result"], Value::from("done"));
}
