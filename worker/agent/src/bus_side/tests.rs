//! A bus that is put back from a copy, as the agent of one worker meets it.

use dsbus_client::{Entry, Value};
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Epoch, Incarnation, ProgramId};
use dsbus_schema::lenient::Span;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::placement::{Rest, RestState};
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::worker::{Capacity, Labels};
use dsbus_supervisor::protocol::Memory;
use uuid::Uuid;

use super::*;

/// An agent, and a bus that acknowledges and delivers each touch at once.
struct Scene {
    side: BusSide,
    now: BootTime,
    seq: u64,
    said: Vec<ToSupervisor>,
}

fn at(millis: u64) -> BootTime {
    BootTime(0) + Duration::from_millis(millis)
}

fn one() -> InstanceId {
    "one:0".parse().unwrap()
}

fn hello() -> Hello {
    Hello {
        worker: WorkerName::parse("w1").unwrap(),
        incarnation: Incarnation(Uuid::nil()),
        generation: 1,
        started: Timestamp::from_unix_nanos(0),
        supervisor_pid: 42,
        directory: "?".to_owned(),
        stopping: false,
        draining: false,
        children: Vec::new(),
        facilities: Vec::new(),
        policy: None,
        labels: Labels::new(),
        capacity: Capacity::default(),
        seal_key: None,
        leases: Vec::new(),
        held: 0,
        memory: Some(Memory::default()),
    }
}

/// Exclusive, for three seconds.
fn placement(epoch: u64) -> Placement {
    let spec = ProgramSpec {
        exclusive: true,
        touch_timeout: Some(Span::from_secs(3)),
        stopwaitsecs: Span::from_secs(1),
        ..ProgramSpec::default()
    };
    let wanted = Wanted { run: true, ..Wanted::default() };
    Placement::new(ProgramId(Uuid::nil()), 1, Epoch(epoch), wanted, spec)
}

fn entry(key: &str, seq: u64, body: &impl serde::Serialize) -> Item {
    Item::Entry(Entry {
        key: key.to_owned(),
        seq,
        value: Value::Put(serde_json::to_vec(body).unwrap().into()),
        time: Timestamp::from_unix_nanos(0),
        by: None,
        note: bytes::Bytes::new(),
        seal: None,
    })
}

impl Scene {
    fn new(hello: Hello, millis: u64) -> Scene {
        let side = BusSide::new(hello, Identity::nobody(), at(millis));
        Scene { side, now: at(millis), seq: 100, said: Vec::new() }
    }

    /// The watch delivers these, and that this is all; gives the sync that follows.
    fn learns(&mut self, items: Vec<Item>) -> (Vec<InstanceId>, Vec<InstanceId>) {
        self.said.clear();
        for item in items.into_iter().chain([Item::CaughtUp]) {
            self.side.watched(item, self.now);
        }
        self.tick(0);
        self.synced()
    }

    /// The orders of the last sync, and what it lets go.
    fn synced(&self) -> (Vec<InstanceId>, Vec<InstanceId>) {
        let sync = self.said.iter().rev().find_map(|said| match said {
            ToSupervisor::Sync { orders, keep, let_go } => {
                assert!(keep.is_empty(), "an extension would start it");
                let orders = orders.iter().map(|order| order.name.clone()).collect();
                Some((orders, let_go.clone().unwrap().into_iter().collect()))
            }
            _ => None,
        });
        sync.unwrap_or_else(|| panic!("no sync in {:?}", self.said))
    }

    /// The bus is away for so long, and then another one, or the same from a copy, that holds these.
    fn begins_anew(&mut self, millis: u64, items: Vec<Item>) -> (Vec<InstanceId>, Vec<InstanceId>) {
        self.side.connection(false, self.now);
        self.now = self.now + Duration::from_millis(millis);
        self.side.watched(Item::Reset, self.now);
        self.side.connection(true, self.now);
        self.learns(items)
    }

    /// Time passes, and all is done that is due.
    fn tick(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.side.supervisor_answered(self.now, self.now);
        self.side.tick(true, self.now);
        while let Some(deed) = self.side.next_deed() {
            match deed {
                Deed::Touch { seconds, touch, .. } => {
                    self.seq += 1;
                    let (attempt, key) = (touch.attempt, format!("w1._touch.{seconds}"));
                    self.side.touched(seconds, attempt, Ok(self.seq), self.now);
                    self.side.watched(entry(&key, self.seq, &touch), self.now);
                }
                Deed::LookUp(_) => self.side.looked_up(LastEvents::new()),
                Deed::Say(said) => self.said.push(said),
                _ => {}
            }
            self.side.tick(true, self.now);
        }
    }

    /// Those that are placed one by one within this time.
    fn placed_within(&mut self, seconds: u64) -> Vec<InstanceId> {
        self.said.clear();
        for _ in 0..seconds * 10 {
            self.tick(100);
        }
        let placed = self.said.iter().filter_map(|said| match said {
            ToSupervisor::Place { order } => Some(order.name.clone()),
            _ => None,
        });
        placed.collect()
    }
}

fn one_stands() -> Vec<Item> {
    vec![entry("w1.one.0", 7, &placement(7))]
}

/// One that runs the instance.
fn scene() -> Scene {
    let mut scene = Scene::new(hello(), 1000);
    scene.side.learn();
    assert_eq!(scene.learns(one_stands()), (vec![one()], vec![]));
    assert_eq!(scene.placed_within(1), []);
    scene
}

#[test]
fn what_could_live_here_when_the_bus_began_anew_goes_on() {
    let mut scene = scene();
    assert_eq!(scene.begins_anew(500, one_stands()), (vec![one()], vec![]));
}

#[test]
fn what_was_fenced_here_before_the_bus_began_anew_waits_for_whoever_has_it_by_now() {
    let mut scene = scene();
    // It was cut off, and may have been moved; the copy is of before that.
    let (orders, _) = scene.begins_anew(10_000, one_stands());
    assert_eq!(orders, []);
    assert_eq!(scene.placed_within(3), [], "another worker may still stop it");
    assert_eq!(scene.placed_within(2), [one()]);
}

#[test]
fn the_next_agent_knows_by_which_leases_instances_could_live() {
    // The copy has it as it was earlier, so that the bus is known to have gone back in time.
    let newer = Placement { revision: 2, ..placement(7) };
    for (until, lives) in [(4_000, true), (2_000, false)] {
        let told = Hello { generation: 2, held: 1, leases: vec![(3, at(until))], ..hello() };
        let mut scene = Scene::new(told, 3_000);
        scene.side.held(one(), newer.clone());
        scene.side.learn();
        let (orders, _) = scene.learns(one_stands());
        assert_eq!(orders.contains(&one()), lives, "its lease was to end at {until}");
        assert_eq!(scene.placed_within(5).contains(&one()), !lives);
    }
}

#[test]
fn what_was_named_between_two_beginnings_did_not_live_here() {
    let mut scene = Scene::new(hello(), 1000);
    scene.side.learn();
    let other = || vec![entry("w1.two.0", 6, &placement(6))];
    assert_eq!(
        scene.learns(other()).0.len(),
        1,
        "its lease lives, by which the other one would, too"
    );
    // The first copy names it, and is replaced before the supervisor is told anything.
    scene.side.watched(Item::Reset, scene.now);
    for item in one_stands() {
        scene.side.watched(item, scene.now);
    }
    let items = [one_stands(), other()].concat();
    let (orders, _) = scene.begins_anew(100, items);
    assert!(!orders.contains(&one()), "{orders:?}");
}

#[test]
fn what_waits_is_let_go_and_may_be_placed_under_its_epoch_later() {
    let mut scene = scene();
    // The bus is empty, and then a copy is there at once: its child may still be stopping.
    assert_eq!(scene.begins_anew(200, vec![]), (vec![], vec![one()]));
    assert_eq!(scene.begins_anew(200, one_stands()), (vec![], vec![one()]));
    // It is told once more, should it have been dropped.
    scene.said.clear();
    scene.side.dropped();
    scene.tick(100);
    assert_eq!(scene.synced().1, [one()]);
    assert_eq!(scene.placed_within(5), [one()]);
    // So is what was fenced here: the lease that is extended next is not to start it.
    assert_eq!(scene.begins_anew(10_000, one_stands()), (vec![], vec![one()]));
    assert_eq!(scene.placed_within(5), [one()]);
}

#[test]
fn what_was_taken_away_is_not_remembered_as_handed() {
    let mut scene = scene();
    assert!(scene.side.handed.contains_key(&one()));
    scene.side.watched(
        match entry("w1.one.0", 9, &()) {
            Item::Entry(entry) => Item::Entry(Entry { value: Value::Deleted, ..entry }),
            other => other,
        },
        scene.now,
    );
    assert!(scene.side.handed.is_empty());
}

#[test]
fn what_has_ended_does_not_run_again_although_the_copy_is_of_before() {
    for state in [RestState::Exited, RestState::Fatal] {
        let mut scene = scene();
        let (exit, reason, since) = (None, None, Timestamp::from_unix_nanos(0));
        let rest = Some(Rest { state, exit, reason, since });
        let rests = Placement { rest, ..placement(7) };
        scene.side.watched(entry("w1.one.0", 8, &rests), scene.now);
        assert_eq!(scene.placed_within(1), [one()]);
        assert_eq!(scene.begins_anew(10_000, one_stands()), (vec![one()], vec![]));
        assert_eq!(scene.side.placements.placed()[&one()], rests);
        assert_eq!(scene.placed_within(5), []);
    }
}

#[test]
fn what_rests_here_waits_when_it_is_started_after_the_bus_began_anew() {
    let mut scene = scene();
    let (exit, reason, since) = (None, None, Timestamp::from_unix_nanos(0));
    let rest = Some(Rest { state: RestState::Exited, exit, reason, since });
    let rests = || vec![entry("w1.one.0", 8, &Placement { rest: rest.clone(), ..placement(7) })];
    assert_eq!(scene.begins_anew(10_000, rests()), (vec![one()], vec![]));
    let mut more = placement(7);
    more.wanted.starts = 1;
    scene.side.watched(entry("w1.one.0", 9, &more), scene.now);
    assert_eq!(scene.placed_within(3), [], "another worker may still have it");
    assert_eq!(scene.placed_within(2), [one()]);
}

#[test]
fn what_has_waited_never_waits_again_though_its_time_to_stop_grows() {
    let mut scene = scene();
    assert_eq!(scene.begins_anew(10_000, one_stands()), (vec![], vec![one()]));
    assert_eq!(scene.placed_within(5), [one()]);
    let anew = scene.said.iter().rev().find_map(|said| match said {
        ToSupervisor::Anew(anew) => Some(anew.clone()),
        _ => None,
    });
    let mut patient = Placement { revision: 2, ..placement(7) };
    patient.spec.stopwaitsecs = Span::from_secs(600);
    let item = || entry("w1.one.0", 8, &patient);
    scene.side.watched(item(), scene.now);
    assert_eq!(scene.placed_within(1), [one()], "it runs, and is told");
    scene.said.clear();
    scene.side.dropped();
    scene.tick(100);
    assert_eq!(scene.synced(), (vec![one()], vec![]));
    // The next agent knows it from its supervisor.
    let memory = Some(Memory { anew, ..Memory::default() });
    let told = Hello { generation: 2, held: 1, memory, ..hello() };
    let mut next = Scene::new(told, 18_000);
    next.side.held(one(), placement(7));
    next.side.learn();
    assert_eq!(next.learns(vec![item()]), (vec![one()], vec![]));
}
