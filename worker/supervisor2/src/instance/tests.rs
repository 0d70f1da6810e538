//! Scenes: inputs in, what is told and done out; and what holds whatever happens.

use dsbus_schema::ids::ProgramId;
use dsbus_schema::lenient::Span;
use dsbus_schema::program::{AutoRestart, Command};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const START: u64 = 1_000_000_000_000;

fn at(millis: u64) -> Now {
    let boot = BootTime(START + millis * 1_000_000);
    Now { boot, wall: Timestamp::from_unix_nanos(i128::from(millis) * 1_000_000) }
}

fn placement(epoch: u64, change: impl FnOnce(&mut Placement)) -> Placement {
    let spec = ProgramSpec { command: Command::Line("x".into()), ..ProgramSpec::default() };
    let wanted = Wanted { run: true, starts: 0, restarts: 0 };
    let id = ProgramId(Uuid::nil());
    let mut p =
        Placement { id, revision: 1, epoch: Epoch(epoch), wanted, spec, signer: None, sig: None };
    change(&mut p);
    p
}

/// An instance and the driver's part: it spawns what it is asked to spawn.
struct Scene {
    instance: Instance,
    pids: i32,
    spawn_fails: bool,
    told: Vec<String>,
    status: Option<Status>,
    /// (epoch, seq) of the last event.
    last: (u64, u64),
    alive: Option<i32>,
}

impl Scene {
    fn new(p: &Placement) -> Scene {
        let files = Files { stdout: "out".into(), stderr: "err".into() };
        let worker = WorkerName::parse("w1").unwrap();
        let incarnation = Incarnation(Uuid::nil());
        let name: InstanceId = "web:0".parse().unwrap();
        Scene {
            instance: Instance::new(name, worker, incarnation, files, p.clone(), at(0)),
            pids: 100,
            spawn_fails: false,
            told: Vec::new(),
            status: None,
            last: (0, 0),
            alive: None,
        }
    }

    fn put(&mut self, p: &Placement, millis: u64) -> Vec<String> {
        self.put_after(p, 0, millis)
    }

    fn put_after(&mut self, p: &Placement, seq: u64, millis: u64) -> Vec<String> {
        self.feed(Input::Place { placement: Box::new(p.clone()), seq }, millis)
    }

    fn end(&mut self, exit: Exit, millis: u64) -> Vec<String> {
        self.alive = None;
        self.feed(Input::Ended { exit, stderr_line: Some("last words".into()) }, millis)
    }

    fn feed(&mut self, input: Input, millis: u64) -> Vec<String> {
        let mut inputs = vec![input];
        let before = self.told.len();
        while let Some(input) = inputs.pop() {
            for effect in self.instance.handle(input, at(millis)) {
                inputs.extend(self.perform(effect, millis));
            }
        }
        self.told[before..].to_vec()
    }

    fn perform(&mut self, effect: Effect, millis: u64) -> Option<Input> {
        match effect {
            Effect::Spawn { spec, epoch } => {
                assert_eq!(self.alive, None, "a second child");
                if spec.exclusive {
                    assert!(at(millis).boot < self.instance.lease, "started without a lease");
                }
                self.told.push(format!("spawn e{epoch}"));
                if self.spawn_fails {
                    return Some(Input::SpawnFailed { why: "no such file".into() });
                }
                self.pids += 1;
                self.alive = Some(self.pids);
                Some(Input::Spawned { pid: self.pids })
            }
            Effect::Signal { pid, signal } => {
                assert_eq!(self.alive, Some(pid));
                self.told.push(format!("signal {signal}"));
                None
            }
            Effect::Kill { pid } => {
                assert_eq!(self.alive, Some(pid));
                self.told.push("kill".to_owned());
                None
            }
            Effect::Report { status, fact } => {
                if let Some(fact) = fact {
                    let (epoch, seq) = self.last;
                    let next = (fact.epoch.0, fact.seq);
                    assert!(
                        next == (epoch, seq + 1) || next.0 > epoch,
                        "{next:?} after {:?}",
                        self.last
                    );
                    self.last = next;
                    assert_eq!((status.state, status.seq), (fact.state, fact.seq));
                    assert_ne!(fact.from, fact.state, "no change of state");
                    self.told.push(format!("{} -> {}", fact.from, fact.state));
                }
                assert_eq!(
                    status.pid.is_some(),
                    status.state.may_have_child() && status.pid.is_some()
                );
                self.status = Some(*status);
                None
            }
            Effect::Gone { .. } => {
                assert_eq!(self.alive, None);
                self.told.push("gone".to_owned());
                None
            }
            Effect::Worker { change, .. } => {
                self.told.push(format!("{change:?}"));
                None
            }
        }
    }

    fn status(&self) -> &Status {
        self.status.as_ref().unwrap()
    }
}

/// An instance that runs since `millis`.
fn running(p: &Placement, millis: u64) -> Scene {
    let mut scene = Scene::new(p);
    scene.put(p, millis - 1001);
    scene.feed(Input::Tick, millis);
    assert_eq!(scene.instance.state(), State::Running);
    scene
}

#[test]
fn it_runs_after_startsecs() {
    let p = placement(7, |_| {});
    let mut s = Scene::new(&p);
    assert_eq!(s.put(&p, 0), ["spawn e7", "STOPPED -> STARTING"]);
    assert_eq!(s.instance.deadline(), Some(at(1000).boot));
    assert!(s.feed(Input::Tick, 999).is_empty());
    assert_eq!(s.feed(Input::Tick, 1000), ["STARTING -> RUNNING"]);
    assert_eq!(s.instance.deadline(), None);
    let zero = placement(7, |p| p.spec.startsecs = Span::from_secs(0));
    let mut s = Scene::new(&zero);
    assert_eq!(s.put(&zero, 0), ["spawn e7", "STOPPED -> STARTING", "STARTING -> RUNNING"]);
}

#[test]
fn failed_starts_back_off_for_1_2_3_seconds_and_then_are_fatal() {
    let p = placement(1, |_| {});
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    let mut t = 100;
    for pause in 1..=3 {
        assert_eq!(s.end(Exit::code(3), t), ["STARTING -> BACKOFF"]);
        assert_eq!(s.status().stderr_line.as_deref(), Some("last words"));
        assert!(s.status().reason.as_ref().unwrap().contains("exit code 3"));
        assert_eq!(s.instance.deadline(), Some(at(t + pause * 1000).boot));
        assert!(s.feed(Input::Tick, t + pause * 1000 - 1).is_empty());
        assert_eq!(s.feed(Input::Tick, t + pause * 1000), ["spawn e1", "BACKOFF -> STARTING"]);
        t += pause * 1000 + 100;
    }
    assert_eq!(
        s.end(Exit::code(0), t),
        ["STARTING -> FATAL"],
        "code 0 is no success before startsecs"
    );
    assert!(s.feed(Input::Tick, t + 100_000).is_empty());
    // Only a request starts it again, and it counts anew.
    let asked = placement(1, |p| p.wanted.starts = 1);
    assert_eq!(s.put(&asked, t), ["spawn e1", "FATAL -> STARTING"]);
    assert_eq!(s.status().wanted.starts, 1);
    assert_eq!(s.end(Exit::code(3), t), ["STARTING -> BACKOFF"]);
}

#[test]
fn a_spawn_that_fails_says_why() {
    let p = placement(1, |p| p.spec.startretries = 0);
    let mut s = Scene::new(&p);
    s.spawn_fails = true;
    assert_eq!(s.put(&p, 0), ["spawn e1", "STOPPED -> STARTING", "STARTING -> FATAL"]);
    assert_eq!(s.status().spawnerr.as_deref(), Some("no such file"));
    // A declaration that may mend it is tried.
    s.spawn_fails = false;
    let mended = placement(1, |p| (p.revision, p.spec.startretries) = (2, 1));
    assert_eq!(s.put(&mended, 10), ["spawn e1", "FATAL -> STARTING"]);
    assert_eq!(s.status().spawnerr, None);
}

#[test]
fn autorestart() {
    let again = |autorestart, exit| {
        let p = placement(1, |p| p.spec.autorestart = autorestart);
        let mut s = running(&p, 2000);
        let told = s.end(exit, 9000);
        assert_eq!(told[0], "RUNNING -> EXITED");
        told.len() > 1
    };
    for (autorestart, ok, bad, signal) in [
        (AutoRestart::Never, false, false, false),
        (AutoRestart::Unexpected, false, true, true),
        (AutoRestart::Always, true, true, true),
    ] {
        assert_eq!(again(autorestart, Exit::code(0)), ok);
        assert_eq!(again(autorestart, Exit::code(1)), bad);
        assert_eq!(again(autorestart, Exit::signal(9)), signal);
    }
}

#[test]
fn quick_deaths_are_repaired_at_once_but_not_for_ever() {
    let p = placement(1, |p| {
        p.spec.startsecs = Span::from_secs(0);
        p.spec.autorestart = AutoRestart::Always;
    });
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    for n in 0..5 {
        assert_eq!(s.end(Exit::code(1), n).len(), 4, "exited, spawn, starting, running");
    }
    assert_eq!(s.end(Exit::code(1), 10), ["RUNNING -> EXITED"]);
    assert_eq!(s.instance.deadline(), Some(at(1010).boot));
    assert_eq!(s.feed(Input::Tick, 1010).len(), 3);
    assert_eq!(s.status().restarts, 6);
}

#[test]
fn stop_asks_then_kills() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    let stop = placement(1, |p| p.wanted.run = false);
    assert_eq!(s.put(&stop, 3000), ["signal TERM", "RUNNING -> STOPPING"]);
    assert!(s.status().wanted.run, "not acted on before it is done");
    assert!(s.put(&stop, 3500).is_empty(), "asked twice is asked once");
    assert_eq!(s.feed(Input::Tick, 13_000), ["kill"]);
    assert!(s.feed(Input::Tick, 14_000).is_empty());
    assert_eq!(s.end(Exit::signal(9), 14_001), ["STOPPING -> STOPPED"]);
    assert!(!s.status().wanted.run);
    assert_eq!(s.status().exit, Some(Exit::signal(9)));
}

#[test]
fn a_start_while_stopping_is_done_afterwards() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    s.put(&placement(1, |p| p.wanted.run = false), 3000);
    assert!(s.put(&placement(1, |p| p.wanted.starts = 1), 3100).is_empty());
    let told = s.end(Exit::code(0), 3200);
    assert_eq!(told, ["STOPPING -> STOPPED", "spawn e1", "STOPPED -> STARTING"]);
    assert_eq!(s.status().wanted.starts, 1);
}

#[test]
fn a_stop_while_backing_off_is_at_once() {
    let p = placement(1, |_| {});
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    s.end(Exit::code(1), 10);
    let stop = placement(1, |p| p.wanted.run = false);
    assert_eq!(s.put(&stop, 20), ["BACKOFF -> STOPPED"]);
    assert!(!s.status().wanted.run);
}

#[test]
fn restart_stops_and_starts_once() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    let restart = placement(1, |p| p.wanted.restarts = 1);
    assert_eq!(s.put(&restart, 3000), ["signal TERM", "RUNNING -> STOPPING"]);
    let told = s.end(Exit::code(0), 3010);
    assert_eq!(told, ["STOPPING -> STOPPED", "spawn e1", "STOPPED -> STARTING"]);
    assert_eq!(s.status().wanted.restarts, 1);
    assert!(s.put(&restart, 3020).is_empty());
}

#[test]
fn a_start_leaves_a_running_child_alone_and_is_acknowledged() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    assert!(s.put(&placement(1, |p| p.wanted.starts = 4), 3000).is_empty());
    assert_eq!(s.status().wanted.starts, 4);
}

#[test]
fn a_changed_declaration() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    let retries = placement(1, |p| (p.revision, p.spec.startretries) = (2, 9));
    assert!(s.put(&retries, 3000).is_empty());
    assert_eq!(s.status().revision, 2);
    let command = placement(1, |p| (p.revision, p.spec.command) = (3, Command::Line("y".into())));
    assert_eq!(s.put(&command, 3100), ["signal TERM", "RUNNING -> STOPPING"]);
    assert_eq!(s.status().revision, 2);
    assert_eq!(s.end(Exit::code(0), 3200).len(), 3);
    assert_eq!(s.status().revision, 3);
}

#[test]
fn a_new_epoch_ends_the_old_one_first() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    let next = placement(5, |_| {});
    assert_eq!(s.put(&next, 3000), ["signal TERM", "RUNNING -> STOPPING"]);
    let told = s.end(Exit::code(0), 3100);
    assert_eq!(told, ["STOPPING -> STOPPED", "spawn e5", "STOPPED -> STARTING"]);
    assert_eq!(s.last, (5, 1));
}

#[test]
fn events_go_on_after_those_of_an_earlier_incarnation() {
    let p = placement(4, |_| {});
    let mut s = Scene::new(&p);
    s.put_after(&p, 17, 0);
    assert_eq!(s.last, (4, 18));
}

#[test]
fn taken_away() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    assert_eq!(s.feed(Input::Unplace, 3000), ["signal TERM", "RUNNING -> STOPPING"]);
    assert_eq!(s.end(Exit::code(0), 3010), ["STOPPING -> STOPPED", "gone"]);
    assert!(s.feed(Input::Tick, 3020).is_empty());
}

#[test]
fn placed_but_not_wanted_is_told_as_stopped() {
    let p = placement(1, |p| p.wanted.run = false);
    let mut s = Scene::new(&p);
    assert!(s.put(&p, 0).is_empty());
    assert_eq!((s.status().state, s.status().epoch), (State::Stopped, Epoch(1)));
}

fn exclusive() -> Placement {
    placement(1, |p| {
        p.spec.exclusive = true;
        p.spec.touch_timeout = Some(Span::from_secs(15));
        p.spec.stopwaitsecs = Span::from_secs(2);
        p.spec.startsecs = Span::from_secs(0);
    })
}

fn lease(millis: u64) -> Input {
    Input::Lease { until: at(millis).boot }
}

#[test]
fn an_exclusive_child_waits_for_its_lease_and_dies_with_it() {
    let p = exclusive();
    let mut s = Scene::new(&p);
    assert!(s.put(&p, 0).is_empty());
    assert!(s.status().reason.as_ref().unwrap().contains("lease"));
    assert_eq!(s.instance.deadline(), None, "only a lease wakes it up");
    assert_eq!(s.feed(lease(10_000), 10).len(), 3);
    assert_eq!(s.instance.deadline(), Some(at(8000).boot));
    assert!(s.feed(lease(15_000), 5000).is_empty());
    let told = s.feed(Input::Tick, 13_000);
    assert_eq!(told, ["Fenced", "signal TERM", "RUNNING -> STOPPING"]);
    assert_eq!(
        s.feed(Input::Tick, 15_000),
        ["kill"],
        "at the deadline, and not after stopwaitsecs"
    );
    assert_eq!(s.end(Exit::signal(9), 15_001), ["STOPPING -> STOPPED"]);
    assert!(s.status().reason.as_ref().unwrap().contains("fenced"));
    // It is still wanted: a new lease starts it again.
    assert_eq!(s.feed(lease(30_000), 16_000).len(), 3);
}

#[test]
fn a_lease_that_ended_long_ago_kills_at_once() {
    let p = exclusive();
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    s.feed(lease(10_000), 10);
    let told = s.feed(Input::Tick, 60_000);
    assert_eq!(told, ["Fenced", "signal TERM", "RUNNING -> STOPPING", "kill"]);
}

#[test]
fn a_local_restart_needs_a_living_lease() {
    let p = exclusive();
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    s.feed(lease(10_000), 10);
    assert_eq!(s.end(Exit::signal(9), 7999).len(), 1, "too near to the end of the lease");
    assert_eq!(s.instance.deadline(), None, "it does not spin");
    assert_eq!(s.feed(lease(20_000), 8100).len(), 3);
}

#[test]
fn a_worker_that_stops_stops_its_children_and_starts_none() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    let told = s.feed(Input::Shutdown { fence: false }, 3000);
    assert_eq!(told, ["signal TERM", "RUNNING -> STOPPING"]);
    assert_eq!(s.end(Exit::code(0), 3010), ["STOPPING -> STOPPED"]);
    assert!(s.put(&placement(1, |p| p.wanted.restarts = 3), 3020).is_empty());
}

#[test]
fn whoever_loses_its_name_kills_exclusive_children_at_once() {
    let p = exclusive();
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    s.feed(lease(10_000), 10);
    let told = s.feed(Input::Shutdown { fence: true }, 100);
    assert!(told.contains(&"kill".to_owned()), "{told:?}");
}

#[derive(Debug, Clone)]
enum Happening {
    Place { epoch: u64, run: bool, starts: u64, restarts: u64, revision: u64 },
    Unplace,
    End(i32),
    Lease(u64),
    Wait(u64),
    SpawnFails(bool),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (1..4u64, any::<bool>(), 0..3u64, 0..3u64, 1..4u64).prop_map(
            |(epoch, run, starts, restarts, revision)| Happening::Place {
                epoch,
                run,
                starts,
                restarts,
                revision
            }
        ),
        Just(Happening::Unplace),
        (0..3i32).prop_map(Happening::End),
        (0..9000u64).prop_map(Happening::Lease),
        (0..5000u64).prop_map(Happening::Wait),
        any::<bool>().prop_map(Happening::SpawnFails),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// The scene asserts at every step: one child at most, none started without a lease, events
    /// without gap or repeat, signals only to the child that lives. Here besides: it never wants to
    /// be woken up in the past, and a child whose lease has ended was killed.
    #[test]
    fn whatever_happens(exclusive in any::<bool>(), happenings in proptest::collection::vec(happening(), 1..60)) {
        let declared = |epoch: u64, revision: u64| placement(epoch, |p| {
            p.spec.exclusive = exclusive;
            p.spec.touch_timeout = Some(Span::from_secs(9));
            p.spec.command = Command::Line(format!("x{}", revision / 2));
            p.revision = revision;
        });
        let mut s = Scene::new(&declared(1, 1));
        s.put(&declared(1, 1), 0);
        let (mut now, mut epoch) = (0, 1);
        for h in happenings {
            match h {
                Happening::Place { epoch: more, run, starts, restarts, revision } => {
                    epoch += more - 1;
                    let mut p = declared(epoch, revision);
                    p.wanted = Wanted { run, starts, restarts };
                    s.put(&p, now);
                }
                Happening::Unplace => { s.feed(Input::Unplace, now); }
                Happening::End(code) => if s.alive.is_some() { s.end(Exit::code(code), now); },
                Happening::Lease(more) => {
                    let until = at(now + more).boot.max(s.instance.lease);
                    s.feed(Input::Lease { until }, now);
                }
                Happening::Wait(millis) => {
                    now += millis;
                    s.feed(Input::Tick, now);
                    prop_assert!(s.instance.deadline().is_none_or(|t| t > at(now).boot), "it spins");
                }
                Happening::SpawnFails(fails) => s.spawn_fails = fails,
            }
            if s.instance.gone {
                prop_assert_eq!(s.alive, None);
                return Ok(());
            }
            let living = s.instance.child().map(|(pid, _)| pid);
            prop_assert_eq!(living, s.alive);
        }
    }
}
