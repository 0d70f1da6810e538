//! Reports outlive their worker.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dsbus_schema::event::{Fact, ProcessFact, WorkerChange};
use dsbus_schema::ids::Epoch;
use dsbus_schema::program::{AutoRestart, Kind};
use dsbus_schema::state::State::{self, Exited, Fatal, Running, Starting, Stopped};
use dsbus_supervisor::protocol::{Order, REPORTS_WINDOW, Report, Reported, ToAgent, ToSupervisor};
use nix::sys::signal::Signal;
use uuid::Uuid;

use crate::stage::{Stage, alive, last, order, signal_one, sleeper, stopped};

fn reports(heard: &[ToAgent]) -> Vec<Report> {
    let report = |message: &ToAgent| match message {
        ToAgent::Report(report) => Some(report.clone()),
        _ => None,
    };
    heard.iter().filter_map(report).collect()
}

/// The event that a report tells of an instance's state.
fn event(report: &Report) -> Option<(Uuid, ProcessFact)> {
    match &report.what {
        Reported::Instance { event: Some(event), .. } => Some((event.id, event.fact.clone())),
        Reported::Event { id, fact, .. } => match &**fact {
            Fact::Process(fact) => Some((*id, fact.clone())),
            _ => None,
        },
        _ => None,
    }
}

fn events(heard: &[ToAgent]) -> Vec<(Uuid, ProcessFact)> {
    reports(heard).iter().filter_map(event).collect()
}

/// Epoch, number and state of each event of the program.
fn told(events: &[(Uuid, ProcessFact)], name: &str) -> Vec<(u64, u64, State)> {
    let of = events.iter().filter(|(_, fact)| fact.name.program.as_str() == name);
    of.map(|(_, fact)| (fact.epoch.0, fact.seq, fact.state)).collect()
}

/// Kills the child, and waits until the next one runs.
fn crash(stage: &mut Stage, name: &str, pid: i32) -> i32 {
    signal_one(pid, Signal::SIGKILL);
    stage.change(name, Running).0.pid.unwrap()
}

/// SIGKILL to the supervisor, and the next run in its directory.
fn killed(mut stage: Stage) -> Stage {
    stage.signal(Signal::SIGKILL);
    stage.ended();
    let agent = stage.agent_pid();
    stage.wait_for("the end of its agent", || !alive(agent));
    Stage::open_in(stage.directory(), &[], &[])
}

/// Waits until so many events were heard of the program.
fn heard(stage: &Stage, name: &str, count: usize) -> Vec<(Uuid, ProcessFact)> {
    events(&stage.all_heard("events", |heard| told(&events(heard), name).len() >= count))
}

#[test]
fn what_was_not_published_is_told_by_the_next_run_first_under_its_old_ids() {
    let mut stage = Stage::open();
    stage.bus_away(true);
    let order = sleeper("web");
    let mut pid = stage.run(&order);
    for _ in 0..3 {
        pid = crash(&mut stage, "web", pid);
    }
    let before = events(&stage.heard());
    assert_eq!(before.len(), 11);

    let next = killed(stage);
    // Nobody has told it of a placement yet.
    assert_eq!(heard(&next, "web", 11), before);
    next.place(&order);
    let after = heard(&next, "web", 14);
    let expected = [(1, 12, Exited), (1, 13, Starting), (1, 14, Running)];
    assert_eq!(told(&after, "web")[11..], expected);
    let (_, end) = &after[11];
    assert_eq!((end.from, end.pid, end.exit), (Running, Some(pid), None));
    assert_eq!((end.expected, end.worker.is_some()), (Some(false), true));
    let numbers: Vec<u64> = reports(&next.heard()).iter().map(|report| report.number).collect();
    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "{numbers:?}");
}

#[test]
fn what_was_published_is_not_told_again_and_numbers_go_on() {
    let mut stage = Stage::open();
    stage.run(&sleeper("web"));
    // The answer to its last report is on its way before this one is told.
    stage.run(&sleeper("other"));
    let next = killed(stage);
    next.place(&sleeper("web"));
    let after = heard(&next, "web", 3);
    assert_eq!(told(&after, "web"), [(1, 3, Exited), (1, 4, Starting), (1, 5, Running)]);
}

#[test]
fn the_end_of_what_is_no_longer_placed_here_is_told() {
    let mut stage = Stage::open();
    stage.run(&sleeper("web"));
    let moved = sleeper("moved");
    stage.run(&moved);
    let rests = order("rests", &["true"], |spec| {
        spec.kind = Kind::Oneshot;
        spec.autorestart = AutoRestart::Never;
    });
    stage.place(&rests);
    stage.change("rests", Exited);
    let mut next = killed(stage);
    next.say(&ToSupervisor::Sync {
        orders: vec![sleeper("web")],
        keep: BTreeSet::new(),
        let_go: None,
    });
    next.change("web", Running);
    let after = heard(&next, "moved", 1);
    assert_eq!(told(&after, "moved"), [(1, 3, Exited)]);
    // The last one, once more, where its worker did not hear of it; and no end.
    assert!(told(&after, "rests").iter().all(|(_, seq, _)| *seq <= 3), "{after:?}");
    // Placed here once more, later: that is another epoch.
    let mut again = moved.clone();
    again.placement.epoch = Epoch(9);
    next.place(&again);
    let after = heard(&next, "moved", 3);
    assert_eq!(told(&after, "moved")[1..], [(9, 1, Starting), (9, 2, Running)]);
}

#[test]
fn a_worker_without_its_directory_goes_on_from_what_the_bus_knows() {
    for (on_bus, expected) in [
        (last(1, 7, Running), vec![(1, 8, Exited), (1, 9, Starting), (1, 10, Running)]),
        (last(1, 7, Stopped), vec![(1, 8, Starting), (1, 9, Running)]),
    ] {
        let mut stage = Stage::open();
        let order = Order { last: Some(on_bus), ..sleeper("web") };
        stage.run(&order);
        assert_eq!(told(&events(&stage.heard()), "web"), expected);
    }
}

#[test]
fn what_it_told_itself_is_not_told_to_have_ended() {
    let mut stage = Stage::open();
    let order = sleeper("web");
    stage.run(&order);
    stage.say(&ToSupervisor::Unplace { name: order.name.clone() });
    stage.hear("it is gone", |message| match message {
        ToAgent::Report(Report { what: Reported::Gone { .. }, .. }) => Some(()),
        _ => None,
    });
    let mut again = order.clone();
    again.placement.epoch = Epoch(2);
    stage.run(&again);
    signal_one(stage.agent_pid(), Signal::SIGKILL);
    stage.hello(2);
    // What an agent looked up, and the supervisor knows better.
    again.last = Some(last(2, 2, Running));
    stage.say(&ToSupervisor::Sync {
        orders: vec![again.clone()],
        keep: BTreeSet::new(),
        let_go: None,
    });
    stage.place(&stopped(&again));
    stage.change("web", Stopped);
    let states: Vec<State> =
        told(&events(&stage.heard()), "web").into_iter().map(|(_, _, state)| state).collect();
    assert!(!states.contains(&Exited), "{states:?}");
}

#[test]
fn an_agent_is_given_so_many_reports_and_the_rest_when_the_bus_takes_them() {
    let stage = Stage::open();
    stage.bus_away(true);
    let jobs = REPORTS_WINDOW / 3 + 100;
    for n in 0..jobs {
        stage.place(&order(&format!("job{n}"), &["sh", "-c", "echo > done"], |spec| {
            spec.kind = Kind::Oneshot;
            spec.autorestart = AutoRestart::Never;
        }));
    }
    for n in 0..jobs {
        stage.read(&stage.file(&format!("job{n}"), "done"));
    }
    stage.all_heard("a full window", |heard| reports(heard).len() >= REPORTS_WINDOW);
    // It is repaired, and asked, as if nothing was the matter.
    stage.lease(5, std::time::Duration::from_secs(5));
    assert_eq!(reports(&stage.heard()).len(), REPORTS_WINDOW);
    stage.bus_away(false);
    let through = reports(&stage.heard()).last().unwrap().number;
    stage.say(&ToSupervisor::Done { through });
    stage.all_heard("all events", |heard| events(heard).len() == jobs * 3);
    let numbers: Vec<u64> = reports(&stage.heard()).iter().map(|report| report.number).collect();
    assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "in order, and each once");
}

#[test]
fn a_disk_that_takes_no_reports_stops_nobody_and_is_told_once() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    fs::create_dir_all(directory.path().join("state")).unwrap();
    fs::write(directory.path().join("state/reports"), "a file").unwrap();
    let mut stage = Stage::open_in(directory, &[], &[]);
    let told_first = stage.worker_fact(WorkerChange::EventsUnsaved);
    assert!(told_first.reason.unwrap().contains("state/reports"));
    stage.bus_away(true);
    let pid = stage.run(&sleeper("web"));
    let pid = crash(&mut stage, "web", pid);
    signal_one(stage.agent_pid(), Signal::SIGKILL);
    stage.hello(2);
    stage.bus_away(false);
    signal_one(pid, Signal::SIGKILL);
    let hello = |m: &ToAgent| matches!(m, ToAgent::Hello(hello) if hello.generation == 2);
    let after = |heard: &[ToAgent]| {
        let after = &heard[heard.iter().position(hello).unwrap()..];
        told(&events(after), "web").iter().map(|(_, seq, _)| *seq).collect::<Vec<_>>()
    };
    let heard = stage.all_heard("its third child", |heard| after(heard).len() >= 8);
    assert_eq!(after(&heard), (1..=8).collect::<Vec<_>>());
    let unsaved = |report: &&Report| match &report.what {
        Reported::Worker { fact, .. } => fact.change == WorkerChange::EventsUnsaved,
        _ => false,
    };
    assert_eq!(reports(&heard).iter().filter(unsaved).count(), 1);
}

#[test]
fn what_a_child_says_pushes_out_nothing_else_and_is_counted() {
    let mut stage = Stage::open();
    stage.bus_away(true);
    let text = "head -c 30000000 /dev/zero | tr '\\0' x; echo > done; exec sleep 1000";
    stage.place(&crate::stage::script("loud", text, |spec| {
        spec.stdout_events_enabled = true;
    }));
    stage.read(&stage.file("loud", "done"));
    stage.place(&order("bad", &["/nonexistent"], |spec| {
        spec.startretries = dsbus_schema::program::Retries::Count(0);
    }));
    let name = "bad:0".parse().unwrap();
    let path = stage.file("bad", "");
    stage.wait_for("its directory", || Path::new(&path).exists());
    // All that is known of it is behind more output than an agent is given at once.
    stage.bus_away(false);
    let through = reports(&stage.heard()).last().unwrap().number;
    stage.say(&ToSupervisor::Done { through });
    let (fatal, _) = stage.change("bad", Fatal);
    assert_eq!(fatal.name, name);
    let fact = stage.worker_fact(WorkerChange::EventsDropped);
    let dropped = fact.dropped.unwrap();
    assert_eq!(dropped.kinds.keys().collect::<Vec<_>>(), ["output"], "{dropped:?}");
    assert!(dropped.events > 100 && dropped.from <= dropped.to, "{dropped:?}");
}

#[test]
fn reports_that_cannot_be_read_back_for_a_while_are_told_when_they_can() {
    let stage = Stage::open();
    stage.bus_away(true);
    let jobs = REPORTS_WINDOW / 3 + 100;
    for n in 0..jobs {
        stage.place(&order(&format!("job{n}"), &["sh", "-c", "echo > done"], |spec| {
            spec.kind = Kind::Oneshot;
            spec.autorestart = AutoRestart::Never;
        }));
    }
    for n in 0..jobs {
        stage.read(&stage.file(&format!("job{n}"), "done"));
    }
    stage.all_heard("a full window", |heard| reports(heard).len() >= REPORTS_WINDOW);
    // It is there, and opening it fails.
    let file = last_records(&stage.directory().path().join("state/reports")).unwrap();
    let hidden = file.with_file_name("hidden");
    fs::rename(&file, &hidden).unwrap();
    std::os::unix::fs::symlink(&file, &file).unwrap();
    stage.bus_away(false);
    let through = reports(&stage.heard()).last().unwrap().number;
    stage.say(&ToSupervisor::Done { through });
    // Two answers, one after the other: between them it has had the time to hand them out.
    for number in [1, 2] {
        stage.say(&ToSupervisor::Ping { number });
        stage.all_heard("an answer", |heard| heard.contains(&ToAgent::Pong { number }));
    }
    // At once: a file that is not there is lost.
    fs::rename(&hidden, &file).unwrap();
    stage.all_heard("all events", |heard| events(heard).len() == jobs * 3);
    let numbers: Vec<u64> = reports(&stage.heard()).iter().map(|report| report.number).collect();
    assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "in order, and each once");
}

#[test]
fn a_disk_that_could_not_be_opened_at_the_start_is_used_when_it_can() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let reports = directory.path().join("state/reports");
    fs::create_dir_all(reports.parent().unwrap()).unwrap();
    fs::write(&reports, "a file").unwrap();
    let mut stage = Stage::open_in(directory, &[], &[]);
    stage.worker_fact(WorkerChange::EventsUnsaved);
    stage.bus_away(true);
    stage.run(&sleeper("web"));
    fs::remove_file(&reports).unwrap();
    stage.wait_for("what it told, on disk", || {
        let written = reports.is_dir().then(|| fs::read(last_records(&reports)?).ok()).flatten();
        String::from_utf8_lossy(&written.unwrap_or_default()).contains("RUNNING")
    });
    let before = events(&stage.heard());
    let next = killed(stage);
    assert_eq!(heard(&next, "web", 2), before);
}

/// The file that was written to last, of all that there are.
fn last_records(directory: &Path) -> Option<PathBuf> {
    let worker = fs::read_dir(directory).ok()?.next()?.ok()?.path();
    let files = fs::read_dir(worker).ok()?.map(|entry| entry.unwrap().path());
    let of = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("state.");
    files.filter(of).max()
}
