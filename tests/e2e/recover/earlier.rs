//! Agents are replaced, and then the bus is lost or goes back in time: their successors know what they knew.

use super::*;
use crate::exclusive::{assert_apart, assert_never_two, wait_lives};
use crate::proxy::Proxy;

/// The agent of a worker, whatever the bus knows of it.
fn agent_of(fleet: &Fleet, worker: &str) -> Option<i32> {
    let supervisor = fleet.pid(worker);
    let children = format!("/proc/{supervisor}/task/{supervisor}/children");
    let children = std::fs::read_to_string(children).unwrap();
    let pids = children.split_whitespace().map(|pid| pid.parse::<i32>().unwrap());
    let is_agent = |pid: &i32| {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split('\0').any(|word| word == "agent")
    };
    pids.filter(is_agent).find(|pid| alive(*pid))
}

/// Waits until a worker has another agent, which the schedulers know.
fn replace_agent(fleet: &Fleet, worker: &str) {
    let agent = agent_of(fleet, worker).unwrap();
    kill(Pid::from_raw(agent), Signal::SIGKILL).unwrap();
    wait_until("a new agent", DEADLINE, || {
        let next = agent_of(fleet, worker).filter(|pid| *pid != agent).ok_or("none")?;
        let row = fleet.worker_row(worker);
        if number(&row["agent_pid"]) == next { Ok(()) } else { Err("it is not known") }
    });
}

/// Waits until a verb is refused, and says why.
fn wait_refused(fleet: &Fleet, args: &[&str], why: &str) {
    wait_until(&format!("{args:?} to be refused"), DEADLINE, || {
        let output = fleet.run(args);
        let said = crate::fleet::said(&output);
        if !output.status.success() && said.contains(why) { Ok(()) } else { Err(said) }
    });
}

#[test]
fn agents_that_begin_before_the_bus_is_lost_tell_of_all_that_runs_and_after_it_of_what_was_let_go()
{
    let mut fleet = Fleet::start(2, 2);
    fleet.apply(SHOP);
    let before = children(&fleet);
    let (one, one_epoch) = before["one:0"];
    let go_on: BTreeMap<_, _> =
        before.clone().into_iter().filter(|(name, _)| GO_ON.contains(&name.as_str())).collect();
    let live = || assert!(go_on.values().all(|(pid, _)| alive(*pid)), "a child was stopped");
    // They are told nothing by children that are quiet from now on.
    for worker in ["w1", "w2"] {
        replace_agent(&fleet, worker);
    }
    fleet.wait_ready(2);

    fleet.nats.lose();
    fleet.nats.restart();
    fleet.wait_ready(2);
    let web = fleet.file("web.toml", "[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 3\n");
    let db = fleet.file("db.toml", "[program.db]\ncommand = \"sleep 1000\"\n");
    for file in [&web, &db] {
        wait_refused(&fleet, &["apply", "--dry-run", file], "dsbus recover");
    }
    crate::fleet::wait_dead(one);
    wait_adrift(&fleet, &["one:0"]);
    // The next agents meet a bus that knows nothing, and know themselves what their supervisors have, and
    // what these have let go.
    for worker in ["w1", "w2"] {
        replace_agent(&fleet, worker);
    }
    fleet.wait_ready(2);
    wait_adrift(&fleet, &["web:0", "web:1", "web:2", "db:0", "one:0"]);
    live();
    let done = recovered(&fleet, &[]);
    assert!(done.values().all(|what| what == "rebuilt"), "{done:?}");
    wait_children(&fleet, &go_on);
    live();
    fleet.wait_row("one:0", "running anew", |row| {
        row["state"] == "RUNNING" && row["epoch"].as_u64().unwrap() > one_epoch
    });
}

/// Each child writes its name when it begins.
fn program(name: &str, more: &str) -> String {
    let command = r#"["sh", "-c", "echo $DSBUS_INSTANCE >> $STARTS; exec sleep 1000"]"#;
    format!("[program.{name}]\ncommand = {command}\nstartsecs = 0\n{more}\n")
}

#[test]
fn an_old_copy_takes_back_no_deploy_no_stop_and_no_start() {
    let mut fleet = Fleet::start(2, 2);
    let starts = fleet.path().join("starts");
    let environment =
        |x: u32| format!("environment = {{ STARTS = \"{}\", X = \"{x}\" }}", starts.display());
    let shop = |x| {
        let named = [("web", "numprocs = 3\n"), ("db", "exclusive = true\ntouch_timeout = 60\n")];
        named.map(|(name, more)| program(name, &format!("{more}{}", environment(x)))).concat()
    };
    let others = ["stopped", "begun", "restarted"];
    let others = others.map(|name| program(name, &environment(1))).concat();
    fleet.apply(&format!("{}{others}", shop(1)));
    // A child runs before it has written anything: it is not stopped before it has.
    let begun = || std::fs::read_to_string(&starts).unwrap_or_default().lines().count();
    let wait_begun = |count: usize| {
        wait_until("every child to have begun", DEADLINE, || {
            if begun() == count { Ok(()) } else { Err(begun()) }
        });
    };
    wait_begun(7);
    fleet.ok(&["stop", "begun"]);
    let backup = back_up(&mut fleet);
    fleet.wait_ready(2);
    // What has happened since, under the same epochs.
    fleet.apply(&format!("{}{others}", shop(2)));
    fleet.ok(&["stop", "stopped"]);
    fleet.ok(&["start", "begun"]);
    fleet.ok(&["restart", "restarted"]);
    // The agent of one worker was told of it all, that of the other one was not.
    replace_agent(&fleet, "w1");
    fleet.wait_ready(2);
    let names = ["web:0", "web:1", "web:2", "db:0", "begun:0", "restarted:0"];
    let before = children(&fleet);
    assert!(names.iter().all(|name| before.contains_key(*name)) && before.len() == 6, "{before:?}");
    // Four were deployed, one was started, and one restarted.
    wait_begun(13);
    let as_before = || {
        assert!(before.values().all(|(pid, _)| alive(*pid)), "a child was stopped");
        assert_eq!(begun(), 13, "a child was started");
    };

    put_back(&mut fleet, &backup);
    fleet.wait_ready(2);
    let told = |name: &str| {
        let name = format!("the placement of {name} does not count");
        fleet.wait_event(&format!("about {name}"), |event| {
            let reason = event["data"]["reason"].as_str().unwrap_or_default();
            reason.starts_with(&name) && reason.contains("went back in time")
        });
    };
    for name in &names {
        told(name);
    }
    told("stopped:0");
    as_before();
    // Nor do agents that begin now, and know what is here from their supervisors only.
    for worker in ["w1", "w2"] {
        replace_agent(&fleet, worker);
    }
    fleet.wait_ready(2);
    as_before();
    // A command of a bus that is behind is not obeyed, and is no harm.
    let output = fleet.run(&["stop", "web:0", "--timeout", "1s"]);
    assert!(!output.status.success(), "{}", crate::fleet::said(&output));
    as_before();

    // Recovery brings the bus up to what is here; then it is obeyed, also what was asked meanwhile.
    recovered(&fleet, &[]);
    crate::fleet::wait_dead(before["web:0"].0);
    fleet.ok(&["stop", "web:1"]);
    crate::fleet::wait_dead(before["web:1"].0);
    fleet.wait_state("stopped:0", "STOPPED");
    for name in ["web:2", "db:0", "begun:0", "restarted:0"] {
        assert!(alive(before[name].0), "{name} was stopped");
        assert_eq!(fleet.wait_state(name, "RUNNING")["pid"], before[name].0, "{name}");
    }
    assert_eq!(begun(), 13, "a child was started");
}

#[test]
fn agents_that_begin_do_not_forget_which_epochs_are_over() {
    let mut fleet = Fleet::start(2, 2);
    let lives = tempfile::tempdir().unwrap();
    fleet.apply(&witness(lives.path(), 3));
    wait_lives(lives.path(), 1);
    let backup = back_up(&mut fleet);
    fleet.wait_ready(2);
    let at = fleet.wait_state("one:0", "RUNNING")["worker"].as_str().unwrap().to_owned();
    fleet.ok(&["drain", &at]);
    fleet.ok(&["undrain", &at]);
    fleet.wait_state("one:0", "RUNNING");
    wait_lives(lives.path(), 2);
    let (one, one_epoch) = children(&fleet)["one:0"];
    for worker in ["w1", "w2"] {
        replace_agent(&fleet, worker);
    }
    fleet.wait_ready(2);
    // The copy names it where it was, under the epoch that it had there.
    put_back(&mut fleet, &backup);
    crate::fleet::wait_dead(one);
    for worker in ["w1", "w2"] {
        replace_agent(&fleet, worker);
    }
    fleet.wait_ready(2);
    wait_adrift(&fleet, &["one:0"]);
    recovered(&fleet, &[]);
    fleet.wait_row("one:0", "running anew", |row| {
        row["state"] == "RUNNING" && row["epoch"].as_u64().unwrap() > one_epoch
    });
    assert_never_two(lives.path(), 3);
}

/// Waits until a worker runs the exclusive witness; gives its process.
fn wait_runs(fleet: &Fleet, worker: &str) -> i32 {
    let runs = |row: &Value| {
        let here = row["state"] == "RUNNING" && row["worker"] == worker;
        here && alive(number(&row["pid"]))
    };
    number(&fleet.wait_row("one:0", &format!("running on {worker}"), runs)["pid"])
}

#[test]
fn what_was_fenced_on_its_worker_waits_there_for_whoever_has_it_although_an_old_copy_names_it() {
    let mut fleet = Fleet::start(1, 0);
    let [first, second] = [(); 2].map(|()| Proxy::start(fleet.nats.port()));
    fleet.worker_at("w1", &first.url());
    fleet.wait_ready(1);
    let lives = tempfile::tempdir().unwrap();
    fleet.apply(&witness(lives.path(), 9));
    wait_lives(lives.path(), 1);
    let backup = back_up(&mut fleet);
    fleet.worker_at("w2", &second.url());
    fleet.wait_ready(2);
    // It is moved, and its first worker does not hear of that.
    first.cut();
    let child = wait_runs(&fleet, "w2");
    wait_lives(lives.path(), 2);
    // Its second one does not hear of the copy, and stops it when its lease is over.
    second.cut();
    put_back(&mut fleet, &backup);
    first.heal();
    assert!(alive(child), "the copy is there while it lives");
    wait_runs(&fleet, "w1");
    assert_apart(lives.path(), 3);
}

#[test]
fn what_has_ended_since_an_old_copy_does_not_run_again_although_it_is_exclusive() {
    let mut fleet = Fleet::start(1, 1);
    let [starts, end] = ["starts", "end"].map(|name| fleet.path().join(name));
    fleet.apply(&format!(
        r#"
        [program.one]
        command = ["sh", "-c", "echo x >> {}; while [ ! -e {} ]; do sleep 0.1; done"]
        kind = "oneshot"
        startsecs = 0
        stopwaitsecs = 1
        exclusive = true
        touch_timeout = 6
        [program.other]
        command = "sleep 1000"
        startsecs = 0
        stopwaitsecs = 1
        exclusive = true
        touch_timeout = 6
        "#,
        starts.display(),
        end.display()
    ));
    fleet.wait_state("one:0", "RUNNING");
    let (other, _) = children(&fleet)["other:0"];
    let backup = back_up(&mut fleet);
    fleet.wait_ready(1);
    std::fs::write(&end, "").unwrap();
    fleet.wait_state("one:0", "EXITED");
    let begun = || std::fs::read_to_string(&starts).unwrap().lines().count();
    let begun_before = begun();

    fleet.nats.lose();
    copy(&backup, &fleet.nats.store());
    // Their lease ends, and what runs ends with it.
    crate::fleet::wait_dead(other);
    fleet.nats.restart();
    fleet.wait_ready(1);
    fleet.wait_row("other:0", "running anew after it has waited", |row| {
        row["state"] == "RUNNING" && row["pid"] != other
    });
    fleet.wait_state("one:0", "EXITED");
    assert_eq!(begun(), begun_before, "it was run again");
}
