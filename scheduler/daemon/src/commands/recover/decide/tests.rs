use super::*;
use dsbus_schema::command::Recovery::{Ended, Known, Left, Rebuilt};
use dsbus_schema::placement::Placement;
use serde_json::json;
use uuid::Uuid;

const OURS: ProgramId = ProgramId(Uuid::from_u128(1));
const OTHER: ProgramId = ProgramId(Uuid::from_u128(2));

fn worker(name: &str) -> WorkerName {
    WorkerName::parse(name).unwrap()
}

fn holding(epoch: u64, hold: Hold) -> Holding {
    let spec = serde_json::from_value(json!({ "command": "x" })).unwrap();
    let wanted = Wanted { run: true, ..Wanted::default() };
    Holding {
        name: "web:0".parse().unwrap(),
        hold,
        epoch: Epoch(epoch),
        pid: None,
        placement: Placement::new(OURS, 3, Epoch(epoch), wanted, spec),
    }
}

/// Copies as `w1:7` (adrift), `w1:7p` (placed), `w1:7g` (let go), `w1:7o` (of another program).
fn decide(copies: &str, placed: Option<(&str, u64)>, force: bool, silent: &[&str]) -> Decision {
    let copies: Vec<(WorkerName, Holding)> = copies
        .split_whitespace()
        .map(|text| {
            let (at, rest) = text.split_once(':').unwrap();
            let digits = rest.trim_end_matches(|c: char| c.is_alphabetic());
            let hold = match rest.strip_prefix(digits).unwrap() {
                "p" => Hold::Placed,
                "g" => Hold::LetGo,
                "r" => Hold::Refused,
                _ => Hold::Adrift,
            };
            let mut one = holding(digits.parse().unwrap(), hold);
            if rest.ends_with('o') {
                one.placement.id = OTHER;
            }
            (worker(at), one)
        })
        .collect();
    let copies: Vec<Copy<'_>> = copies.iter().map(|(at, held)| (at, held)).collect();
    let placed = placed.map(|(at, epoch)| (worker(at), Epoch(epoch)));
    let silent: Vec<WorkerName> = silent.iter().map(|name| worker(name)).collect();
    instance(OURS, &copies, &Stands { placed, removed: Epoch(0) }, Terms { force, silent: &silent })
}

fn place(at: &str, epoch: u64) -> (WorkerName, Epoch) {
    (worker(at), Epoch(epoch))
}

fn recoveries(decision: &Decision) -> Vec<Recovery> {
    decision.rows.iter().map(|(_, recovery, _)| *recovery).collect()
}

#[test]
fn what_one_worker_has_and_the_bus_has_not_is_placed_there_under_its_epoch() {
    let decision = decide("w1:57", None, false, &[]);
    assert_eq!(
        (decision.place.clone(), recoveries(&decision)),
        (Some(place("w1", 57)), vec![Rebuilt])
    );
    assert!(decision.end.is_empty());
}

#[test]
fn what_was_let_go_is_placed_anew_under_a_greater_epoch() {
    let decision = decide("w1:57g", None, false, &[]);
    assert_eq!((decision.place.clone(), recoveries(&decision)), (None, vec![Rebuilt]));
    assert_eq!(decision.end, [(worker("w1"), Epoch(57))], "so that all know the epoch");
    // A bus that went back in time has it elsewhere, where nobody starts it.
    let back = decide("w1:57g", Some(("w2", 40)), false, &[]);
    assert_eq!((back.place, back.end), (None, vec![(worker("w2"), Epoch(57))]));
    // Once it is placed anew there is nothing to do.
    let done = decide("w1:57g", Some(("w2", 58)), true, &[]);
    assert_eq!((recoveries(&done), done.place, done.end), (vec![], None, Vec::new()));
}

#[test]
fn what_the_bus_knows_stays() {
    for copies in ["w1:57p", "w1:57", "w1:40"] {
        let decision = decide(copies, Some(("w1", 57)), true, &[]);
        assert_eq!((decision.place.clone(), recoveries(&decision)), (None, vec![Known]));
    }
    // A copy elsewhere is left, or ended by force.
    let decision = decide("w1:57p w2:40", Some(("w1", 57)), false, &[]);
    assert_eq!(recoveries(&decision), [Known, Left]);
    assert!(decision.end.is_empty());
    let decision = decide("w1:57p w2:40", Some(("w1", 57)), true, &[]);
    assert_eq!((recoveries(&decision), decision.place), (vec![Known, Ended], None));
    assert_eq!(decision.end, [(worker("w2"), Epoch(40))]);
}

#[test]
fn a_bus_that_went_back_in_time_is_told_what_is_later() {
    // On the same worker, and on another one than the bus says, which does not have it.
    assert_eq!(decide("w1:57", Some(("w1", 40)), false, &[]).place, Some(place("w1", 57)));
    let moved = decide("w2:57", Some(("w1", 40)), false, &[]);
    assert_eq!((moved.place, moved.end), (Some(place("w2", 57)), vec![(worker("w1"), Epoch(40))]));
    // Not while the other one has it, too, or may have it.
    let both = decide("w1:40p w2:57", Some(("w1", 40)), false, &[]);
    assert_eq!((both.place.clone(), recoveries(&both)), (None, vec![Left, Left]));
    assert_eq!(decide("w2:57", Some(("w1", 40)), false, &["w1"]).place, None);
    let forced = decide("w1:40p w2:57", Some(("w1", 40)), true, &[]);
    assert_eq!((recoveries(&forced), forced.place), (vec![Ended, Rebuilt], Some(place("w2", 57))));
    assert_eq!(forced.end, [(worker("w1"), Epoch(40))]);
}

#[test]
fn what_a_worker_refuses_is_placed_anew_unless_another_one_has_it() {
    let decision = decide("w1:57r", Some(("w1", 40)), false, &[]);
    assert_eq!((decision.place, decision.end), (None, vec![(worker("w1"), Epoch(57))]));
    let decision = decide("w1:41r w2:57", Some(("w1", 40)), false, &[]);
    assert_eq!((recoveries(&decision), decision.place), (vec![Rebuilt], Some(place("w2", 57))));
    assert_eq!(decision.end, [(worker("w1"), Epoch(40))]);
}

#[test]
fn two_workers_that_have_it_need_a_word_of_force() {
    let decision = decide("w1:57 w2:60", None, false, &[]);
    assert_eq!((decision.place.clone(), recoveries(&decision)), (None, vec![Left, Left]));
    let decision = decide("w1:57 w2:60", None, true, &[]);
    assert_eq!(
        (recoveries(&decision), decision.place),
        (vec![Ended, Rebuilt], Some(place("w2", 60)))
    );
    assert_eq!(decision.end, [(worker("w1"), Epoch(57))]);
}

#[test]
fn nothing_is_placed_while_a_worker_is_silent_that_may_have_it() {
    assert_eq!(recoveries(&decide("w1:57", None, false, &["w3"])), [Left]);
    assert_eq!(decide("w1:57", None, true, &["w3"]).place, Some(place("w1", 57)));
}

#[test]
fn what_was_taken_away_since_stays_away() {
    let held = holding(57, Hold::Adrift);
    let (at, removed) = (worker("w1"), Epoch(58));
    let stands = Stands { placed: None, removed };
    let left = instance(OURS, &[(&at, &held)], &stands, Terms::default());
    assert_eq!((recoveries(&left), left.place), (vec![Left], None));
    let force = Terms { force: true, silent: &[] };
    let ended = instance(OURS, &[(&at, &held)], &stands, force);
    assert_eq!((recoveries(&ended), ended.end), (vec![Ended], vec![(at, Epoch(57))]));
}

#[test]
fn a_copy_of_another_program_of_that_name_is_never_placed() {
    let left = decide("w1:57o", None, false, &[]);
    assert_eq!((recoveries(&left), left.place), (vec![Left], None));
    let ended = decide("w1:57o", None, true, &[]);
    assert_eq!((recoveries(&ended), ended.place), (vec![Ended], None));
    let other = decide("w1:57o w2:40", None, false, &[]);
    assert_eq!(other.place, None, "whoever has something of that name must be looked at");
}

#[test]
fn goals_want_exactly_what_was_wanted() {
    use dsbus_planner::View;
    let mut held = Vec::new();
    for (index, run, starts) in [(0, true, 3), (1, false, 2), (2, true, 2)] {
        let mut one = holding(9, Hold::Adrift);
        one.name.index = index;
        one.placement.wanted = Wanted { run, starts, restarts: 4, reloads: u64::from(index) };
        held.push(one);
    }
    held[0].placement.arguments = vec!["-v".to_owned()];
    let by_name = held.iter().map(|held| (held.name.clone(), held)).collect();
    let goals = goals(&by_name);
    let spec = held[0].placement.spec.clone();
    let program = Program::new(OURS, "web".parse().unwrap(), spec);
    assert_eq!(goals[&Some(0)].arguments.as_ref().unwrap().words, ["-v"]);
    let mut view = View::default();
    for (index, goal) in goals {
        view.set_goal(&program.name, index, Some(goal));
    }
    for one in &held {
        assert_eq!(view.wanted(&program, one.name.index), one.placement.wanted);
    }
}
