//! Entry before and after, and the events that stand on it.

use dsbus_planner::View;
use dsbus_schema::event::WorkerFact;
use dsbus_schema::goal::Sender;
use dsbus_schema::ids::{Epoch, ProgramId};
use dsbus_schema::program::Program;
use dsbus_schema::rollout::{Rollout, RolloutState, Stable};
use serde_json::json;

use super::*;

fn fleet() -> FleetName {
    FleetName::default()
}

fn at(fleet: &FleetName, seq: u64) -> At<'_> {
    At { fleet, seq, time: Timestamp::from_unix_nanos(0), by: "s1" }
}

fn user() -> UserName {
    UserName::parse("ann").unwrap()
}

fn ann(by: &UserName) -> Sender<'_> {
    Sender { by, at: 1_000 }
}

fn worker(name: &str) -> WorkerName {
    WorkerName::parse(name).unwrap()
}

fn web() -> InstanceId {
    "web:0".parse().unwrap()
}

/// Kind, TYPE and the rest in a word.
fn shown(told: &[Told]) -> Vec<String> {
    let word = |told: &Told| match &told.fact {
        Fact::Program(fact) => {
            let by = fact.by.as_ref().map_or("-", UserName::as_str);
            format!("r{} {by} {}", fact.revision, fact.changed.join(","))
        }
        Fact::Rollout(fact) => {
            let by = fact.by.as_ref().map_or("-", UserName::as_str);
            format!("r{} {by}: {}", fact.revision, fact.reason)
        }
        Fact::Command(fact) => format!("{} {} by {}", fact.verb, fact.names.join(","), fact.by),
        Fact::Placement(fact) => {
            let place = |worker: &Option<WorkerName>| {
                worker.as_ref().map_or("-", WorkerName::as_str).to_owned()
            };
            format!("{} {} {}: {}", place(&fact.from), place(&fact.to), fact.epoch, fact.reason)
        }
        Fact::Worker(WorkerFact { reason, .. }) => reason.clone().unwrap_or_default(),
        Fact::Group(fact) => fact.failed.join(","),
        Fact::Scheduler(fact) => fact.scheduler.clone(),
        Fact::Process(fact) => format!("from {} {:?}", fact.from, fact.reason),
        other => other.kind().to_owned(),
    };
    told.iter()
        .map(|told| format!("{} {}", told.fact.type_name(), word(told)).trim_end().to_owned())
        .collect()
}

fn declared(revision: u64) -> Program {
    let keys = json!({"command": format!("x{revision}"), "group": "shop"});
    let spec = dsbus_schema::program::ProgramSpec::read(keys.as_object().unwrap()).unwrap();
    let name = ProgramName::parse("web").unwrap();
    let by = Some(user());
    Program { revision, by, ..Program::new(ProgramId(Uuid::from_u128(1)), name, spec) }
}

fn rolling(before: &Program, state: RolloutState) -> Box<Rollout> {
    Box::new(Rollout {
        stable: Stable { revision: before.revision, spec: before.spec.clone() },
        state,
        promoted: false,
        reverts: None,
        reason: Some("web:0 ended FATAL".to_owned()),
        since: Timestamp::from_unix_nanos(0),
    })
}

fn commanded(mut program: Program, number: u128, verb: &str) -> Program {
    program.commands.remember(Uuid::from_u128(number), verb, Some(ann(&user())));
    program
}

#[test]
fn what_is_declared() {
    let fleet = fleet();
    let told =
        |before: Option<&Program>, after: &Program| shown(&program(at(&fleet, 3), before, after));
    let first = commanded(declared(1), 1, "apply");
    assert_eq!(told(None, &first), ["ADDED r1 ann", "ACCEPTED apply web by ann"]);
    assert_eq!(told(Some(&first), &first), [""; 0], "written again");
    let mut second =
        commanded(Program { commands: first.commands.clone(), ..declared(2) }, 2, "apply");
    assert_eq!(
        told(Some(&first), &second),
        ["CHANGED r2 ann command", "ACCEPTED apply web by ann"],
        "nothing of it runs that would be changed step by step"
    );
    second.rollout = Some(rolling(&first, RolloutState::Rolling));
    assert_eq!(
        told(Some(&first), &second),
        [
            "CHANGED r2 ann command",
            "STARTED r2 ann: revision 2 needs new children",
            "ACCEPTED apply web by ann"
        ]
    );
    let gone = commanded(Program { removing: true, ..second.clone() }, 3, "remove");
    assert_eq!(told(Some(&second), &gone), ["REMOVED r2 ann", "ACCEPTED remove web by ann"]);
    let anew = Program { id: ProgramId(Uuid::from_u128(2)), ..declared(1) };
    assert_eq!(told(Some(&gone), &anew), ["ADDED r1 ann"], "a successor of its name");
    assert_eq!(
        told(None, &gone)[..2],
        ["ADDED r2 ann", "REMOVED r2 ann"],
        "what was between was not seen"
    );
}

#[test]
fn steps_of_a_rollout() {
    use RolloutState::{Failed, Paused, Rolling};
    let fleet = fleet();
    let stable = declared(1);
    let state = |state| Box::new(Program { rollout: Some(rolling(&stable, state)), ..declared(2) });
    let told = |before: &Program, after: &Program| {
        let told = program(at(&fleet, 3), Some(before), after);
        let steps: Vec<Told> =
            told.into_iter().filter(|told| matches!(told.fact, Fact::Rollout(_))).collect();
        shown(&steps)
    };
    let asked = |program: Box<Program>| Box::new(commanded(*program, 9, "rollout"));
    for (before, after, step) in [
        (state(Rolling), asked(state(Paused)), "PAUSED r2 ann: asked by ann"),
        (state(Paused), asked(state(Rolling)), "RESUMED r2 ann: asked by ann"),
        (state(Failed), asked(state(Rolling)), "RESUMED r2 ann: asked by ann"),
        (state(Rolling), state(Failed), "FAILED r2 -: web:0 ended FATAL"),
        (state(Rolling), Box::new(declared(2)), "DONE r2 -: every instance is changed"),
    ] {
        assert_eq!(told(&before, &after), [step]);
    }
    let mut promoted = asked(state(Rolling));
    promoted.rollout.as_mut().unwrap().promoted = true;
    assert_eq!(told(&state(Rolling), &promoted), ["PROMOTED r2 ann: asked by ann"]);
    for quiet in [state(Rolling), state(Paused), state(Failed)] {
        assert_eq!(told(&quiet, &quiet), [""; 0]);
    }
    let undo = Some("undo to revision 1".to_owned());
    let back = asked(Box::new(Program { reason: undo, ..declared(3) }));
    assert_eq!(told(&state(Rolling), &back), ["REVERTED r3 ann: undo to revision 1"]);
    let mut failed = Program { rollout: Some(rolling(&stable, Rolling)), ..declared(3) };
    assert_eq!(told(&state(Rolling), &failed), [""; 0], "nobody asked, and nothing failed");
    failed.rollout.as_mut().unwrap().reverts = Some(2);
    assert_eq!(told(&state(Rolling), &failed), ["REVERTED r3 -: web:0 ended FATAL"]);
}

#[test]
fn commands_that_acted_on_a_goal() {
    let fleet = fleet();
    let mut before = Goal::default();
    before.commands.remember(Uuid::from_u128(1), "start", Some(ann(&user())));
    let mut after = before.clone();
    after.commands.remember(Uuid::from_u128(2), "stop", Some(ann(&user())));
    after.commands.remember(Uuid::from_u128(3), "start", None);
    let told = goal(at(&fleet, 3), "web:0", Some(&before), &after);
    assert_eq!(shown(&told), ["ACCEPTED stop web:0 by ann"], "one is no person's");
    assert_eq!(
        told[0].id,
        Told::new(
            &fleet,
            &command_words(Uuid::from_u128(2), Verdict::Accepted),
            told[0].time,
            told[0].fact.clone()
        )
        .id
    );
    assert_eq!(goal(at(&fleet, 3), "web:0", Some(&after), &after), []);
    let late = |since| recent(at(&fleet, 3), "web:0", &after.commands, since).len();
    assert_eq!((late(1_000), late(1_001)), (2, 0), "where it is not known what was before");
}

#[test]
fn what_is_wanted_of_a_worker() {
    let fleet = fleet();
    let goal = |(cordoned, draining, drained), number: u128, verb: &str| {
        let mut goal =
            WorkerGoal { cordoned, draining, drained, by: Some(user()), ..WorkerGoal::default() };
        goal.commands.remember(Uuid::from_u128(number), verb, Some(ann(&user())));
        goal
    };
    let told = |before: Option<&WorkerGoal>, after: &WorkerGoal| {
        shown(&worker_goal(at(&fleet, 3), &worker("w1"), before, after))
    };
    let none = WorkerGoal::default();
    let cordoned = goal((true, false, false), 1, "cordon");
    let draining = goal((false, true, false), 2, "drain");
    let drained = WorkerGoal { drained: true, ..draining.clone() };
    let free = goal((false, false, false), 3, "undrain");
    for (before, after, first) in [
        (&none, &cordoned, "CORDONED cordon was asked by ann"),
        (&cordoned, &draining, "DRAINING drain was asked by ann"),
        (&draining, &drained, "DRAINED it is draining, and has no instance any more"),
        (&drained, &free, "UNCORDONED undrain was asked by ann"),
    ] {
        assert_eq!(told(Some(before), after)[0], first);
        assert_eq!(told(None, after), [first], "the entry alone says it");
    }
    assert_eq!(told(Some(&drained), &drained), [""; 0]);
    let both = goal((true, true, true), 4, "cordon");
    assert_eq!(told(Some(&drained), &both)[0], "CORDONED cordon was asked by ann");
    assert_eq!(told(Some(&none), &cordoned)[1], "ACCEPTED cordon w1 by ann");
}

fn placed(epoch: u64, from: Option<&str>) -> Placement {
    let value = json!({
        "id": Uuid::nil(), "revision": 1, "epoch": epoch, "wanted": {"run": true},
        "spec": {"command": "x"}, "from": from, "reason": "why"
    });
    serde_json::from_value(value).unwrap()
}

#[test]
fn where_an_instance_is_placed() {
    let fleet = fleet();
    let mut view = View::default();
    view.set_placement(&worker("w2"), &web(), 3, Some(placed(5, Some("w1"))));
    let here = view.placed(&web());
    let told = |before, after: &Placement| {
        let told = placement(at(&fleet, 3), (&worker("w2"), &web()), before, after);
        shown(&told.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(told(None, &placed(5, None)), ["PLACED - w2 5: why"]);
    assert_eq!(told(None, &placed(5, Some("w1"))), ["MOVED w1 w2 5: why"]);
    assert_eq!(told(here, &placed(5, Some("w1"))), [""; 0], "changed where it is");
    assert_eq!(told(here, &placed(6, Some("w1"))), ["PLACED - w2 6: why"], "anew, where it was");
    let words = Removal { id: ProgramId(Uuid::nil()), epoch: Epoch(5), reason: "why".to_owned() };
    let gone = removal(at(&fleet, 4), &worker("w2"), &web(), &words);
    assert_eq!(shown(&[gone]), ["REMOVED w2 - 5: why"]);
}

#[test]
fn what_only_schedulers_know_of_an_instance() {
    let fleet = fleet();
    let status = |event: u128, state: State| {
        crate::writes::said(
            None,
            (state, "no worker"),
            Uuid::from_u128(event),
            Timestamp::from_unix_nanos(0),
        )
    };
    let pending = status(1, State::Pending);
    let told = said(at(&fleet, 3), &web(), None, None, &pending).unwrap();
    assert_eq!(told.id, Uuid::from_u128(1), "the entry says it");
    assert_eq!(shown(&[told]), ["PENDING from STOPPED Some(\"no worker\")"]);
    assert_eq!(said(at(&fleet, 3), &web(), None, Some(&pending), &pending), None);
    let again = said(at(&fleet, 4), &web(), None, Some(&pending), &status(2, State::Fatal));
    assert_eq!(shown(&[again.unwrap()]), ["FATAL from PENDING Some(\"no worker\")"]);
}

#[test]
fn what_was_told_of_a_group() {
    let fleet = fleet();
    let name = ProgramName::parse("shop").unwrap();
    let failed = vec!["web:0".to_owned()];
    let fact = GroupFact { group: name.clone(), change: GroupChange::Failed, failed };
    assert_eq!(shown(&[group(at(&fleet, 3), &name, Some(fact))]), ["FAILED web:0"]);
    assert_eq!(shown(&[group(at(&fleet, 4), &name, None)]), ["REMOVED"]);
}

#[test]
fn ids_stand_on_the_entry_and_not_on_who_tells() {
    let fleet = fleet();
    let ids = |seq, by| {
        let at = At { by, ..at(&fleet, seq) };
        let told = program(at, Some(&declared(1)), &commanded(declared(2), 1, "apply"));
        told.into_iter().map(|told| told.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(3, "s1"), ids(3, "s2"));
    let other = FleetName::parse("lab").unwrap();
    let here =
        scheduler((&fleet, at(&fleet, 1).time), ("s", Uuid::nil()), SchedulerChange::Lost, 1, 0);
    let there =
        scheduler((&other, at(&fleet, 1).time), ("s", Uuid::nil()), SchedulerChange::Lost, 1, 0);
    assert_ne!(here.id, there.id);
}
