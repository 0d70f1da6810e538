//! The bus goes back in time: what it tells of the past changes nothing, and what was told in its order is
//! always obeyed.

use dsbus_supervisor::protocol::{EPOCHS_KEPT_MAX, EPOCHS_TOLD_MAX};

use super::*;

/// What is placed, as one epoch goes on.
fn later(from: &Placement, edit: impl Fn(&mut Placement)) -> Placement {
    let mut next = from.clone();
    edit(&mut next);
    next
}

#[test]
fn an_earlier_word_under_the_same_epoch_changes_nothing_and_is_told() {
    type Edit = fn(&mut Placement);
    let earlier: [(Edit, Edit, &str); 7] = [
        (|_| {}, |p| p.revision += 1, "revision 1, after 2"),
        (|_| {}, |p| p.wanted.restarts += 1, "restarts 0, after 1"),
        (|p| p.wanted.run = false, |p| (p.wanted.run, p.wanted.starts) = (true, 1), "starts 0"),
        (|_| {}, |p| p.wanted.reloads += 1, "reloads 0, after 1"),
        (|_| {}, |p| p.wanted.run = false, "it was stopped since"),
        (|_| {}, |p| p.rest = Some(rest()), "it has ended since"),
        (
            |p| p.wanted.restarts = 5,
            |p| (p.revision, p.wanted.restarts) = (9, 4),
            "restarts 4, after 5",
        ),
    ];
    for (number, (first, then, why)) in earlier.into_iter().enumerate() {
        let copy = later(&placement(7, 5), first);
        let here = later(&copy, then);
        // In the order in which it was told; the last row could not be.
        let mut p = Placements::new(worker());
        assert!(p.take(put("w1.web.0", 1, &copy)).is_some());
        let obeyed = p.take(put("w1.web.0", 2, &here)) == Some(Change::Placed(name(0)));
        assert_eq!(obeyed, number < 6, "{number}");
        // By the agent that was there, and by the next one.
        let (held, copy) = if number < 6 { (here, copy) } else { (copy, here) };
        let mut next = Placements::new(worker());
        next.held(name(0), held.clone());
        assert_eq!(p.take(Item::Reset), Some(Change::Reset));
        for mut p in [p, next] {
            let change = p.take(put("w1.web.0", 1, &copy));
            assert!(
                matches!(&change, Some(Change::Behind { why: told, .. }) if told.contains(why)),
                "{number}: {change:?}"
            );
            assert_eq!(p.take(Item::CaughtUp), Some(Change::CaughtUp));
            assert_eq!(p.placed()[&name(0)], held, "{number}");
            assert!(p.knows_more() && p.adrift().is_empty());
            assert_eq!(p.inventory(None, |_| None).instances[0].hold, Hold::Adrift);
            // Told what is here, it is as it should be; and what comes then counts.
            assert_eq!(p.take(put("w1.web.0", 5, &held)), None);
            assert_eq!(p.inventory(None, |_| None).instances[0].hold, Hold::Placed);
            let more = later(&held, |p| p.wanted.restarts += 1);
            assert_eq!(p.take(put("w1.web.0", 6, &more)), Some(Change::Placed(name(0))));
        }
    }
}

#[test]
fn an_exclusive_instance_that_is_named_as_it_was_earlier_stays() {
    let mut copy = placement(7, 5);
    copy.spec.exclusive = true;
    let here = later(&copy, |p| p.revision = 2);
    let mut p = Placements::new(worker());
    assert!(p.take(put("w1.web.0", 1, &here)).is_some());
    assert_eq!(p.take(Item::Reset), Some(Change::Reset));
    assert!(matches!(p.take(put("w1.web.0", 1, &copy)), Some(Change::Behind { .. })));
    assert_eq!(p.take(Item::CaughtUp), Some(Change::CaughtUp));
    assert_eq!(p.placed()[&name(0)], here);
    assert!(p.names_let_go().is_empty(), "the bus names it here, under its epoch");
    assert_eq!(p.take(item("w1.web.0", 9, Value::Deleted)), Some(Change::Unplaced(name(0))));
}

/// It has ended.
fn rest() -> Rest {
    let since = Timestamp::from_unix_nanos(0);
    Rest { state: RestState::Exited, exit: None, reason: None, since }
}

#[test]
fn an_exclusive_instance_that_rests_has_nothing_to_stop_when_its_placement_is_lost() {
    let mut here = placement(7, 5);
    (here.spec.exclusive, here.rest) = (true, Some(rest()));
    let mut p = Placements::new(worker());
    assert!(p.take(put("w1.web.0", 1, &here)).is_some());
    assert_eq!(p.take(Item::Reset), Some(Change::Reset));
    let mut next = Placements::new(worker());
    next.held(name(0), here.clone());
    for mut p in [p, next] {
        assert_eq!(p.take(Item::CaughtUp), Some(Change::CaughtUp));
        assert_eq!((p.names_let_go(), p.unknown()), ([].into(), [name(0)].into()));
        // It is rebuilt with its rest.
        let held = p.inventory(None, |_| None).instances;
        assert_eq!((held[0].hold, &held[0].placement), (Hold::Adrift, &here));
    }
}

#[test]
fn what_was_let_go_is_told_to_the_next_agent_and_forgotten_by_a_word() {
    let mut exclusive = placement(9, 5);
    exclusive.spec.exclusive = true;
    let mut p = Placements::new(worker());
    p.let_go(name(0), exclusive.clone());
    // A tombstone of before it is no word about it.
    assert!(matches!(p.take(item("w1.web.0", 5, Value::Deleted)), Some(Change::Odd { .. })));
    assert_eq!(p.take(Item::CaughtUp), Some(Change::CaughtUp));
    let held = p.inventory(None, |_| None).instances;
    assert_eq!((held[0].hold, held[0].epoch, held.len()), (Hold::LetGo, Epoch(9), 1));
    assert!(p.adrift().is_empty() && p.unknown().is_empty());
    assert_eq!(p.names_let_go(), [name(0)].into());
    // The supervisor is told, so that it forgets it.
    assert_eq!(p.take(item("w1.web.0", 12, Value::Deleted)), Some(Change::Unplaced(name(0))));
    assert!(p.names_let_go().is_empty());
    assert!(matches!(p.take(put("w1.web.0", 13, &exclusive)), Some(Change::Odd { .. })));
}

#[test]
fn epochs_that_are_over_are_known_to_the_next_agent() {
    let mut p = Placements::new(worker()).known(vec![(name(0), Epoch(41))]);
    assert!(!p.knows_more());
    assert!(matches!(p.take(put("w1.web.0", 3, &placement(40, 5))), Some(Change::Odd { .. })));
    assert_eq!(p.take(Item::CaughtUp), Some(Change::CaughtUp));
    assert!(p.placed().is_empty() && p.knows_more());
    let held = p.inventory(None, |_| None).instances;
    assert_eq!((held[0].hold, held[0].epoch), (Hold::Refused, Epoch(41)));
    assert_eq!(p.take(put("w1.web.0", 58, &placement(58, 5))), Some(Change::Placed(name(0))));
}

#[test]
fn of_many_that_were_taken_away_the_latest_epochs_are_known() {
    let mut p = Placements::new(worker()).known(vec![(name(u32::MAX), Epoch(9))]);
    for index in 0..u32::try_from(EPOCHS_KEPT_MAX).unwrap() {
        let key = format!("w1.web.{index}");
        assert!(p.take(put(&key, 1, &placement(1, 5))).is_some());
        assert!(p.take(item(&key, 2, Value::Deleted)).is_some());
    }
    assert_eq!(p.highest.len(), EPOCHS_TOLD_MAX);
    let last = format!("w1.web.{}", EPOCHS_KEPT_MAX - 1);
    assert!(matches!(p.take(put(&last, 3, &placement(1, 5))), Some(Change::Odd { .. })));
    assert!(!p.highest.contains_key(&name(u32::MAX)), "the oldest is forgotten");
}

/// A step of a scheduler, by the planner's rules: what is counted grows, a start is counted, and what is
/// placed anew has a greater epoch. What rests does so until more is wanted, or it is stopped.
fn step(from: &Placement, dice: u8) -> Placement {
    later(from, |p| match dice % 9 {
        0 => p.revision += 1,
        1 => (p.wanted.restarts, p.rest) = (p.wanted.restarts + 1, None),
        2 => p.wanted.reloads += 1,
        3 => p.wanted.run = false,
        4 => (p.wanted.run, p.wanted.starts, p.rest) = (true, p.wanted.starts + 1, None),
        5 => (p.wanted.run, p.epoch, p.rest) = (true, Epoch(p.epoch.0 + 1), None),
        6 => p.rest = Some(rest()),
        // It is to leave.
        7 => (p.wanted.run, p.rest) = (false, None),
        _ => p.arguments = vec![dice.to_string()],
    })
}

proptest! {
    /// Each word that schedulers write is obeyed in its order, by an agent that heard the one before and by
    /// one that did not; and after any of them no copy of an earlier one takes anything back.
    #[test]
    fn what_is_told_in_order_is_obeyed_and_no_copy_takes_it_back(
        dice in prop::collection::vec(any::<u8>(), 1..20),
        (at, to) in (0usize..20, 0usize..20),
    ) {
        let mut words = vec![placement(7, 5)];
        for dice in dice {
            words.push(step(&words[words.len() - 1], dice));
        }
        let mut p = Placements::new(worker());
        for (seq, word) in words.iter().enumerate() {
            let change = p.take(put("w1.web.0", seq as u64 + 10, word));
            let obeyed = !matches!(change, Some(Change::Behind { .. } | Change::Odd { .. }));
            prop_assert!(obeyed, "{:?}", change);
            prop_assert_eq!(&p.placed()[&name(0)], word);
        }
        // One that begins late finds a later word than its supervisor has; or an earlier one.
        let (held, stands) = (&words[at % words.len()], &words[to % words.len()]);
        let mut next = Placements::new(worker());
        next.held(name(0), held.clone());
        let change = next.take(put("w1.web.0", 50, stands));
        next.take(Item::CaughtUp);
        let here = next.placed().get(&name(0)).or_else(|| next.adrift().get(&name(0))).unwrap();
        if at % words.len() <= to % words.len() {
            prop_assert_eq!(here, stands);
            prop_assert!(!next.knows_more());
        } else {
            prop_assert!(here.epoch == held.epoch && here.revision == held.revision, "{:?}", change);
            prop_assert_eq!(here.wanted, held.wanted);
            prop_assert!(!here.wanted.run || here.rest.is_some() || held.rest.is_none());
        }
    }
}
