//! Where instances go.

use dsbus_planner::explain::explain;
use dsbus_planner::view::Life;
use dsbus_schema::lenient::Size;
use dsbus_schema::program::{OnWorkerLoss, ProgramSpec, Strategy};
use dsbus_schema::state::State;

use crate::world::{World, instance, nothing, program, worker};

const MB: u64 = 1 << 20;

fn capacity(w: &mut World, name: &str, cpu: f64, megabytes: u64) {
    w.edit_worker(name, |worker| {
        (worker.capacity.cpu, worker.capacity.memory) = (cpu, megabytes * MB);
    });
}

fn rules(spec: &mut ProgramSpec, rules: &[&str]) {
    spec.labels = rules.iter().map(|rule| rule.parse().unwrap()).collect();
}

/// Where the instances of a program are.
fn places(w: &World, name: &str, copies: u32) -> Vec<String> {
    (0..copies).map(|i| w.at(&format!("{name}:{i}")).unwrap_or_default()).collect()
}

#[test]
fn labels_decide_who_may_take_it() {
    for (rule, takes) in [
        ("zone = eu", "w1"),
        ("zone != eu", "w2"),
        ("zone in (ap, us)", "w2"),
        ("gpu", "w3"),
        ("!zone", "w3"),
    ] {
        let mut w = World::with_workers(3);
        w.label("w1", &[("zone", "eu")]);
        w.label("w2", &[("zone", "us")]);
        w.label("w3", &[("gpu", "")]);
        w.declare("web", |s| rules(s, &[rule]));
        assert_eq!(w.settle(), [format!("place web:0 {takes}")], "{rule}");
    }
}

#[test]
fn what_passes_no_rule_is_pending_and_placed_when_a_label_is_given() {
    let mut w = World::with_workers(2);
    w.declare("web", |s| rules(s, &["zone = eu", "gpu"]));
    assert_eq!(w.settle(), ["say web:0 PENDING"]);
    assert_eq!(w.reason("web:0"), "no worker can take it: w1, w2 do not pass zone = eu");
    w.label("w2", &[("zone", "eu")]);
    w.step();
    assert_eq!(w.state("web:0"), State::Pending);
    w.label("w2", &[("zone", "eu"), ("gpu", "a100")]);
    assert_eq!(w.settle(), ["place web:0 w2", "unsay web:0"]);
    // A child that lives is no concern of a label that is taken away.
    w.label("w2", &[]);
    assert_eq!(w.settle(), nothing());
}

#[test]
fn a_changed_rule_moves_what_no_longer_passes_one_after_the_other() {
    let mut w = World::with_workers(3);
    w.declare("web", |s| s.numprocs = 3);
    w.settle();
    w.label("w3", &[("zone", "eu")]);
    w.declare("web", |s| rules(s, &["zone = eu"]));
    let planned = w.settle();
    let stops: Vec<_> = planned.iter().filter(|p| p.contains("stop")).collect();
    assert_eq!(stops, ["update web:0 stop r1", "update web:1 stop r1"], "{planned:?}");
    let placed = planned.iter().position(|p| p == "place web:0 w3 r2");
    assert!(placed < planned.iter().position(|p| p == "update web:1 stop r1"), "{planned:?}");
    assert_eq!(places(&w, "web", 3), ["w3", "w3", "w3"]);
}

#[test]
fn declared_resources_are_never_more_than_the_capacity() {
    let mut w = World::with_workers(2);
    capacity(&mut w, "w1", 1.0, 1024);
    capacity(&mut w, "w2", 2.0, 512);
    w.declare("web", |s| {
        s.numprocs = 4;
        s.resources.cpu = Some(0.4);
        s.resources.memory = Some(Size(256 * MB));
    });
    w.step();
    // Two and two: the processors of w1 and the memory of w2 suffice for no third.
    assert_eq!(places(&w, "web", 4), ["w1", "w2", "w1", "w2"]);
    w.declare("api", |s| s.resources.cpu = Some(0.3));
    w.declare("big", |s| s.resources.memory = Some(Size(600 * MB)));
    assert_eq!(w.settle(), ["place api:0 w2", "say big:0 PENDING"]);
    assert_eq!(
        w.reason("big:0"),
        "no worker can take it: w2 has 0 MB of memory left, and it needs 600; \
         w1 has 512 MB of memory left, and it needs 600"
    );
    // What others give back is taken at once.
    w.declare("web", |s| s.resources.memory = Some(Size(100 * MB)));
    let planned = w.settle();
    assert!(planned.contains(&"place big:0 w1".to_owned()), "{planned:?}");
    w.declare("huge", |s| s.resources.cpu = Some(1.6));
    assert_eq!(w.settle(), ["say huge:0 PENDING"]);
    assert!(w.reason("huge:0").contains("w1 has 0.2 processors left, and it needs 1.6"));
    capacity(&mut w, "w1", 4.0, 1024);
    assert_eq!(w.settle(), ["place huge:0 w1", "unsay huge:0"]);
}

#[test]
fn a_worker_that_tells_no_capacity_is_an_older_one_and_takes_anything() {
    let mut w = World::with_workers(1);
    w.declare("web", |s| {
        s.numprocs = 3;
        s.resources.cpu = Some(500.0);
        s.resources.memory = Some(Size(1 << 50));
    });
    assert_eq!(w.settle(), ["place web:0 w1", "place web:1 w1", "place web:2 w1"]);
}

#[test]
fn each_strategy_chooses_in_its_own_way() {
    let loaded = || {
        let mut w = World::with_workers(3);
        for (name, cpu) in [("w1", 4.0), ("w2", 2.0), ("w3", 8.0)] {
            capacity(&mut w, name, cpu, 4096);
        }
        w.declare("a", |s| (s.machines, s.resources.cpu) = (vec![worker("w1")], Some(1.0)));
        w.declare("b", |s| {
            (s.machines, s.numprocs) = (vec![worker("w3")], 2);
            s.resources.cpu = Some(0.1);
        });
        w.settle();
        w
    };
    for (strategy, takes) in [
        (Strategy::Spread, ["w2", "w1", "w3"]),
        (Strategy::Pack, ["w3", "w3", "w3"]),
        (Strategy::Ordered, ["w1", "w1", "w1"]),
        // 25 % of w1, nothing of w2, 2 % of w3; then 25, 50 and 2; then 25, 50 and 15.
        (Strategy::LeastLoaded, ["w2", "w3", "w3"]),
        (Strategy::MostLoaded, ["w1", "w1", "w1"]),
    ] {
        let mut w = loaded();
        w.declare("web", |s| {
            (s.strategy, s.numprocs, s.resources.cpu) = (strategy, 3, Some(1.0));
        });
        w.settle();
        assert_eq!(places(&w, "web", 3), takes, "{strategy:?}");
    }
    let mut w = loaded();
    w.declare("web", |s| {
        s.strategy = Strategy::Ordered;
        s.machines = vec![worker("w9"), worker("w3"), worker("w1")];
    });
    w.settle();
    assert_eq!(places(&w, "web", 1), ["w3"], "in the order of its machines");
}

#[test]
fn what_was_measured_counts_where_more_is_used_than_declared() {
    let mut w = World::with_workers(2);
    w.edit_worker("w1", |worker| {
        (worker.facts.cores, worker.facts.load) = (4, [3.0, 0.0, 0.0]);
    });
    w.edit_worker("w2", |worker| {
        (worker.facts.memory_total, worker.facts.memory_available) = (100 * MB, 60 * MB);
    });
    w.declare("web", |s| s.strategy = Strategy::LeastLoaded);
    assert_eq!(w.settle(), ["place web:0 w2"]);
    let why = explain(&w.view, &instance("web:0"), w.now()).unwrap();
    let scores: Vec<_> = why.workers.iter().map(|v| v.score.clone().unwrap()).collect();
    assert_eq!(scores, ["about 40 % loaded", "about 70 % loaded"]);
}

#[test]
fn copies_are_spread_over_a_label_first() {
    let mut w = World::with_workers(5);
    for (name, zone) in [("w1", "eu"), ("w2", "eu"), ("w3", "eu"), ("w4", "us")] {
        w.label(name, &[("zone", zone)]);
    }
    w.declare("web", |s| (s.numprocs, s.spread_by) = (4, Some("zone".to_owned())));
    w.settle();
    // w5 has no zone: it is the last resort.
    assert_eq!(places(&w, "web", 4), ["w1", "w4", "w2", "w4"]);
}

#[test]
fn anti_affinity_holds_both_ways() {
    let mut w = World::with_workers(2);
    w.declare("noisy", |_| {});
    w.declare("quiet", |s| s.anti_affinity = [program("noisy")].into());
    assert_eq!(w.settle(), ["place noisy:0 w1", "place quiet:0 w2"]);
    w.declare("noisy", |s| s.numprocs = 3);
    assert!(w.settle().iter().all(|p| !p.ends_with("w2")));
    assert_eq!(places(&w, "noisy", 3), ["w1", "w1", "w1"]);
    // The one that keeps apart finds no place, and is told beside whom it would be.
    w.lose("w2");
    w.settle();
    assert_eq!(w.at("quiet:0").unwrap(), "w2");
    w.declare("shy", |s| s.anti_affinity = [program("noisy")].into());
    assert_eq!(w.settle(), ["say shy:0 PENDING"]);
    assert!(w.reason("shy:0").contains("w1 runs noisy, which it keeps apart from"));
    w.declare("shy", |s| s.anti_affinity.clear());
    assert_eq!(w.settle(), ["place shy:0 w1 r2", "unsay shy:0"]);
}

#[test]
fn who_no_longer_keeps_apart_from_it_makes_room() {
    let mut w = World::with_workers(1);
    w.declare("shy", |s| s.anti_affinity = [program("web")].into());
    w.settle();
    w.declare("web", |_| {});
    assert_eq!(w.settle(), ["say web:0 PENDING"]);
    w.declare("shy", |s| s.anti_affinity.clear());
    assert_eq!(w.settle(), ["update shy:0 run r2", "place web:0 w1", "unsay web:0"]);
}

#[test]
fn explain_says_what_each_worker_is_to_it() {
    let mut w = World::with_workers(4);
    w.equip("w2", &["user"]);
    w.equip("w3", &["user"]);
    w.want_worker("w3", |goal| goal.cordoned = true);
    w.lose("w4");
    w.declare("web", |s| s.user = Some("www-data".to_owned()));
    w.settle();
    let why = explain(&w.view, &instance("web:0"), w.now()).unwrap();
    assert_eq!(why.because, "best of those that may take it (0 copies, 0 instances)");
    let told: Vec<_> = why
        .workers
        .iter()
        .map(|v| format!("{}: {}", v.name, v.refusal.as_ref().or(v.score.as_ref()).unwrap()))
        .collect();
    assert_eq!(
        told,
        ["w2: 1 copy, 1 instance", "w1: lacks user", "w3: is cordoned", "w4: is lost"]
    );
    w.lose("w2");
    w.step();
    let why = explain(&w.view, &instance("web:0"), w.now()).unwrap();
    assert_eq!((why.state, why.worker.unwrap()), (State::Unknown, worker("w2")));
    assert!(why.because.ends_with("; its worker w2 is lost, and no other can take it"));
    assert_eq!(explain(&w.view, &instance("no:0"), w.now()), None);
    w.command("web", |g| g.run = false);
    let why = explain(&w.view, &instance("web:1"), w.now()).unwrap();
    assert!(why.because.starts_with("nobody wants it to run"), "{}", why.because);
}

#[test]
fn what_a_lost_worker_holds_moves_stays_or_stops() {
    for (policy, planned) in [
        (OnWorkerLoss::Move, vec!["move web:0 w1 w2 lost", "drop web:0 w1"]),
        (OnWorkerLoss::Stay, vec![]),
        (OnWorkerLoss::Stop, vec!["stop web:0", "remove web:0 w1", "drop web:0 w1"]),
    ] {
        let mut w = World::with_workers(2);
        w.declare("web", |s| s.on_worker_loss = policy);
        w.settle();
        w.lose("w1");
        assert_eq!(w.settle(), planned, "{policy:?}");
        let (state, reason) = (w.state("web:0"), w.reason("web:0"));
        match policy {
            OnWorkerLoss::Move => assert_eq!(state, State::Running),
            OnWorkerLoss::Stay => {
                assert_eq!(state, State::Unknown);
                assert_eq!(reason, "its worker w1 is lost; it waits for that to come back");
            }
            OnWorkerLoss::Stop => assert_eq!(state, State::Stopped),
        }
        w.join("w1");
        w.settle();
        let after = if policy == OnWorkerLoss::Stop { State::Stopped } else { State::Running };
        assert_eq!(w.state("web:0"), after, "{policy:?}");
    }
}

#[test]
fn what_has_come_to_rest_stays_so_when_its_worker_is_lost() {
    let mut w = World::with_workers(2);
    for name in ["done", "broken", "stopped"] {
        w.declare(name, |s| (s.strategy, s.max_fail_count) = (Strategy::Ordered, 1));
    }
    w.settle();
    w.end("done:0", 0);
    w.tell("broken:0", State::Fatal);
    w.command("stopped", |g| g.run = false);
    w.settle();
    w.lose("w1");
    assert_eq!(w.settle(), ["remove stopped:0 w1", "drop stopped:0 w1"], "nobody would tell of it");
    for (name, state) in
        [("done:0", State::Exited), ("broken:0", State::Fatal), ("stopped:0", State::Stopped)]
    {
        assert_eq!(w.state(name), state);
    }
    // It runs again when a person asks for it, and elsewhere.
    w.command("done", |g| (g.run, g.starts) = (true, 1));
    assert!(w.settle().contains(&"move done:0 w1 w2 lost".to_owned()));
}

#[test]
fn a_forgotten_worker_loses_what_is_placed_on_it() {
    let mut w = World::with_workers(2);
    w.declare("stays", |s| {
        (s.strategy, s.on_worker_loss) = (Strategy::Ordered, OnWorkerLoss::Stay);
    });
    w.declare("stops", |s| {
        (s.machines, s.on_worker_loss) = (vec![worker("w1")], OnWorkerLoss::Stop);
    });
    w.declare("bound", |s| s.machines = vec![worker("w1")]);
    w.declare("agent", |s| s.system = true);
    w.declare("done", |s| s.machines = vec![worker("w1")]);
    w.settle();
    w.end("done:0", 0);
    w.settle();
    let at = w.at("stays:0").unwrap();
    assert_eq!(at, "w1");
    w.lose("w1");
    w.settle();
    assert_eq!(w.at("stays:0").unwrap(), "w1");
    w.view.set_worker(&worker("w1"), None);
    w.settle();
    assert_eq!(w.at("stays:0").unwrap(), "w2");
    assert_eq!((w.at("bound:0"), w.state("bound:0")), (None, State::Pending));
    assert_eq!((w.at("stops:0"), w.state("stops:0")), (None, State::Stopped));
    assert_eq!(w.state("done:0"), State::Exited, "it has ended, and does not run again");
    let agents: Vec<_> =
        w.view.placements().filter(|(n, _)| n.program == program("agent")).collect();
    assert_eq!(agents.len(), 1);
    // It comes back as a new one.
    w.join("w1");
    w.settle();
    assert_eq!(w.at("bound:0").unwrap(), "w1");
}

#[test]
fn a_worker_that_is_not_judged_yet_keeps_its_placements_even_without_a_record() {
    let mut w = World::with_workers(2);
    w.declare("web", |_| {});
    w.settle();
    w.judge("w1", 5, Life::Silent);
    w.view.set_worker(&worker("w1"), None);
    assert_eq!(w.step(), nothing());
    assert_eq!(w.at("web:0").unwrap(), "w1");
}

#[test]
fn a_worker_that_stopped_in_order_is_forgotten_when_it_holds_nothing() {
    let mut w = World::with_workers(2);
    w.declare("web", |_| {});
    w.settle();
    w.edit_worker("w1", |worker| worker.stopping = true);
    assert_eq!(w.settle(), nothing());
    w.lose("w1");
    let planned = w.settle();
    assert_eq!(planned, ["move web:0 w1 w2 lost", "forget worker w1", "drop web:0 w1"]);
    // One that is only lost is missed.
    w.lose("w2");
    assert_eq!(w.settle(), nothing());
}
