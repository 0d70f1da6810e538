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

const OF: Of = Of { id: OURS, revision: 3 };

fn placement(epoch: u64) -> Placement {
    let spec = serde_json::from_value(json!({ "command": "x" })).unwrap();
    let wanted = Wanted { run: true, ..Wanted::default() };
    Placement::new(OURS, 3, Epoch(epoch), wanted, spec)
}

fn holding(epoch: u64, hold: Hold) -> Holding {
    Holding {
        name: "web:0".parse().unwrap(),
        hold,
        epoch: Epoch(epoch),
        pid: None,
        placement: placement(epoch),
    }
}

/// Copies as `w1:7` (adrift), `w1:7p` (placed), `w1:7g` (let go), `w1:7r` (refused), `w1:7o` (of another
/// program), `w1:7x` (exclusive).
fn decide(copies: &str, placed: Option<(&str, u64)>, force: bool, silent: &[&str]) -> Decision {
    let copies: Vec<(WorkerName, Holding)> = copies
        .split_whitespace()
        .map(|text| {
            let (at, rest) = text.split_once(':').unwrap();
            let digits = rest.trim_end_matches(|c: char| c.is_alphabetic());
            let hold = match rest.strip_prefix(digits).unwrap().trim_end_matches('x') {
                "p" => Hold::Placed,
                "g" => Hold::LetGo,
                "r" => Hold::Refused,
                _ => Hold::Adrift,
            };
            let mut one = holding(digits.parse().unwrap(), hold);
            if rest.ends_with('o') {
                one.placement.id = OTHER;
            }
            one.placement.spec.exclusive = rest.ends_with('x');
            (worker(at), one)
        })
        .collect();
    let copies: Vec<Copy<'_>> = copies.iter().map(|(at, held)| (at, held)).collect();
    let placed = placed.map(|(at, epoch)| (worker(at), placement(epoch)));
    let silent: Vec<Silent> = silent.iter().map(|name| (worker(name), NO_ANSWER)).collect();
    instance(OF, &copies, &Stands { placed, removed: Epoch(0) }, Terms { force, silent: &silent })
}

fn place(at: &str) -> WorkerName {
    worker(at)
}

fn recoveries(decision: &Decision) -> Vec<Recovery> {
    decision.rows.iter().map(|(_, recovery, _)| *recovery).collect()
}

#[test]
fn what_one_worker_has_and_the_bus_has_not_is_placed_there_under_its_epoch() {
    let decision = decide("w1:57", None, false, &[]);
    assert_eq!((decision.place.clone(), recoveries(&decision)), (Some(place("w1")), vec![Rebuilt]));
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
    assert_eq!(decide("w1:57", Some(("w1", 40)), false, &[]).place, Some(place("w1")));
    let moved = decide("w2:57", Some(("w1", 40)), false, &[]);
    assert_eq!((moved.place, moved.end), (Some(place("w2")), vec![(worker("w1"), Epoch(40))]));
    // Not while the other one has it, too, or may have it.
    let both = decide("w1:40p w2:57", Some(("w1", 40)), false, &[]);
    assert_eq!((both.place.clone(), recoveries(&both)), (None, vec![Left, Left]));
    assert_eq!(decide("w2:57", Some(("w1", 40)), false, &["w1"]).place, None);
    let forced = decide("w1:40p w2:57", Some(("w1", 40)), true, &[]);
    assert_eq!((recoveries(&forced), forced.place), (vec![Ended, Rebuilt], Some(place("w2"))));
    assert_eq!(forced.end, [(worker("w1"), Epoch(40))]);
}

#[test]
fn what_a_worker_refuses_is_placed_anew_unless_another_one_has_it() {
    let decision = decide("w1:57r", Some(("w1", 40)), false, &[]);
    assert_eq!((decision.place, decision.end), (None, vec![(worker("w1"), Epoch(57))]));
    let decision = decide("w1:41r w2:57", Some(("w1", 40)), false, &[]);
    assert_eq!((recoveries(&decision), decision.place), (vec![Rebuilt], Some(place("w2"))));
    assert_eq!(decision.end, [(worker("w1"), Epoch(40))]);
}

#[test]
fn two_workers_that_have_it_need_a_word_of_force() {
    let decision = decide("w1:57 w2:60", None, false, &[]);
    assert_eq!((decision.place.clone(), recoveries(&decision)), (None, vec![Left, Left]));
    let decision = decide("w1:57 w2:60", None, true, &[]);
    assert_eq!((recoveries(&decision), decision.place), (vec![Ended, Rebuilt], Some(place("w2"))));
    assert_eq!(decision.end, [(worker("w1"), Epoch(57))]);
}

#[test]
fn nothing_is_placed_while_a_worker_is_silent_that_may_have_it() {
    assert_eq!(recoveries(&decide("w1:57", None, false, &["w3"])), [Left]);
    assert_eq!(decide("w1:57", None, true, &["w3"]).place, Some(place("w1")));
}

#[test]
fn what_was_taken_away_since_stays_away() {
    let held = holding(57, Hold::Adrift);
    let (at, removed) = (worker("w1"), Epoch(58));
    let stands = Stands { placed: None, removed };
    let left = instance(OF, &[(&at, &held)], &stands, Terms::default());
    assert_eq!((recoveries(&left), left.place), (vec![Left], None));
    let force = Terms { force: true, silent: &[] };
    let ended = instance(OF, &[(&at, &held)], &stands, force);
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

/// Whether the bus is told something, although it has a placement of that epoch.
fn told_of(change: impl FnOnce(&mut Placement)) -> Option<Placement> {
    let mut held = holding(57, Hold::Adrift);
    change(&mut held.placement);
    let at = worker("w1");
    let mut stood = placement(57);
    stood.wanted.reloads = 2;
    let stands = Stands { placed: Some((at.clone(), stood)), removed: Epoch(0) };
    let copies = [(&at, &held)];
    let decision = instance(Of { revision: 9, ..OF }, &copies, &stands, Terms::default());
    decision.place.map(|_| super::placement(&held.placement, &stands))
}

#[test]
fn a_bus_that_is_behind_under_the_same_epoch_is_told_what_is_later() {
    assert_eq!(told_of(|_| {}), None);
    assert_eq!(told_of(|held| held.revision = 2), None);
    assert_eq!(told_of(|held| held.revision = 4).unwrap().revision, 4);
    let told = told_of(|held| held.wanted.restarts = 1).unwrap();
    assert_eq!((told.wanted.restarts, told.wanted.reloads), (1, 2), "each counter only grows");
}

#[test]
fn what_is_of_a_later_revision_than_the_program_that_was_left_is_left() {
    let (at, held) = (worker("w1"), holding(57, Hold::Adrift));
    let of = Of { revision: 2, ..OF };
    let left = instance(of, &[(&at, &held)], &Stands::default(), Terms::default());
    assert_eq!((recoveries(&left), left.place), (vec![Left], None));
}

#[test]
fn an_epoch_that_another_worker_knows_never_goes_back() {
    // An exclusive one that an old copy names where it was started, although another worker had it since.
    let anew = decide("w1:40px w2:57gx", Some(("w1", 40)), false, &[]);
    assert_eq!((recoveries(&anew), anew.place), (vec![Ended, Rebuilt], None));
    assert_eq!(anew.end, [(worker("w1"), Epoch(57))]);
    let adrift = decide("w1:40x w2:57gx", None, false, &[]);
    assert_eq!((adrift.place, adrift.end), (None, vec![(worker("w1"), Epoch(57))]));
    // Another one is not stopped without a word.
    let left = decide("w1:40p w2:57g", Some(("w1", 40)), false, &[]);
    assert_eq!((recoveries(&left), left.end), (vec![Left], Vec::new()));
    let forced = decide("w1:40p w2:57g", Some(("w1", 40)), true, &[]);
    assert_eq!(forced.end, [(worker("w1"), Epoch(57))]);
    // Nor while a third one has it, too.
    let third = decide("w1:40px w2:57gx w3:39x", Some(("w1", 40)), false, &[]);
    assert_eq!(third.end, Vec::new());
}

#[test]
fn why_a_worker_is_silent_is_said() {
    let of = |silent: &[(&str, &'static str)]| {
        silence(&silent.iter().map(|(name, why)| (worker(name), *why)).collect::<Vec<_>>())
    };
    assert_eq!(of(&[("w1", NO_ANSWER)]), "w1 may have it, too, and does not answer");
    assert_eq!(
        of(&[("w1", NO_ANSWER), ("w2", "it is odd"), ("w3", NO_ANSWER)]),
        "w1, w3 may have it, too, and do not answer; w2 may have it, too: it is odd"
    );
    assert_eq!(of(&[("w2", "it is odd")]), "w2 may have it, too: it is odd");
}

#[test]
fn nothing_is_placed_anew_while_a_worker_is_silent() {
    let quiet = decide("w1:57g", None, false, &["w3"]);
    assert_eq!((recoveries(&quiet), quiet.end), (vec![Left], Vec::new()));
    let forced = decide("w1:57g", None, true, &["w3"]);
    assert_eq!((recoveries(&forced), forced.end), (vec![Rebuilt], vec![(worker("w1"), Epoch(57))]));
    let raised = decide("w1:40px w2:57gx", Some(("w1", 40)), false, &["w3"]);
    assert_eq!((recoveries(&raised), raised.end), (vec![Left, Left], Vec::new()));
}

#[test]
fn a_copy_of_another_program_is_not_ended_by_being_left() {
    assert_eq!(decide("w1:57o", None, false, &[]).end, Vec::new());
}

#[test]
fn numbers_that_cannot_be_are_not_believed() {
    let most = Epoch::TOLD_MAX.0;
    assert!(is_believed(&holding(most, Hold::Placed)));
    assert!(!is_believed(&holding(most + 1, Hold::Placed)));
    let mut held = holding(7, Hold::Placed);
    held.placement.wanted.restarts = u64::MAX;
    assert!(!is_believed(&held));
}

#[test]
fn copies_that_nobody_has_exceed_what_is_known_of_their_own_program() {
    let spec = serde_json::from_value(json!({ "command": "x", "numprocs": 3 })).unwrap();
    let program = Program::new(OURS, "web".parse().unwrap(), spec);
    let (at, held, mut other) =
        (worker("w1"), holding(57, Hold::Adrift), holding(900, Hold::Adrift));
    other.placement.id = OTHER;
    let copies = [(&at, &held), (&at, &other)];
    let floors = floors(&program, &copies);
    let floors: Vec<_> = floors.iter().map(|(name, epoch)| (name.index, epoch.0)).collect();
    assert_eq!(floors, [(1, 57), (2, 57)]);
}
