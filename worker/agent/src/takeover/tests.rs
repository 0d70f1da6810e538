use dsbus_schema::ids::Incarnation;
use uuid::Uuid;

use super::*;

fn at(ms: u64) -> BootTime {
    BootTime(1_000_000_000_000 + ms * 1_000_000)
}

fn me() -> Identity {
    Identity {
        machine: "m".into(),
        boot: Uuid::from_u128(1),
        directory: "/d".into(),
        host: "h".into(),
        incarnation: Incarnation(Uuid::from_u128(7)),
        began: at(0),
    }
}

fn of(incarnation: u128, directory: &str) -> Identity {
    let incarnation = Incarnation(Uuid::from_u128(incarnation));
    Identity { incarnation, directory: directory.into(), ..me() }
}

fn live(seq: u64, who: &Identity) -> Seen {
    Seen { seq, touch: Some(who.touch(seq, at(0))) }
}

const EXPIRED: Seen = Seen { seq: 50, touch: None };

fn claim(found: &[(u64, Seen)]) -> Takeover {
    Takeover::new(me(), &found.iter().cloned().collect())
}

fn taken(by: &str) -> Verdict {
    Verdict::Taken { by: by.to_owned() }
}

#[test]
fn a_free_name_and_one_of_our_own_are_granted() {
    assert_eq!(claim(&[]).decide(at(0)), Verdict::Granted);
    assert_eq!(claim(&[(5, EXPIRED)]).decide(at(0)), Verdict::Granted);
    assert_eq!(claim(&[(5, live(1, &me())), (9, EXPIRED)]).decide(at(0)), Verdict::Granted);
}

#[test]
fn a_silent_predecessor_in_our_place_is_taken_over_at_once() {
    let mut c = claim(&[(5, live(1, &of(8, "/d"))), (9, live(2, &of(8, "/d")))]);
    assert_eq!(c.decide(at(0)), Verdict::Ask);
    assert_eq!(c.decide(at(1)), Verdict::Wait, "one ask at a time");
    assert_eq!(c.answered(None, at(2)), Verdict::Granted);
}

#[test]
fn an_answer_of_our_own_last_agent_is_no_answer() {
    let mut c = claim(&[(5, live(1, &of(8, "/d")))]);
    assert_eq!(c.decide(at(0)), Verdict::Ask);
    assert_eq!(c.answered(Some(&me().pong(3)), at(2)), Verdict::Granted);
}

#[test]
fn somebody_who_goes_on_answering_in_our_place_holds_the_name() {
    // Two containers with the same paths: the lock is not shared.
    let mut c = claim(&[(5, live(1, &of(8, "/d")))]);
    assert_eq!(c.decide(at(0)), Verdict::Ask);
    let pong = of(8, "/d").pong(42);
    assert_eq!(c.answered(Some(&pong), at(1)), Verdict::Wait);
    assert_eq!(c.deadline(), Some(at(201)));
    assert_eq!(c.decide(at(201)), Verdict::Ask);
    assert_eq!(c.answered(Some(&pong), at(300)), Verdict::Wait);
    assert_eq!(c.decide(at(2000)), Verdict::Ask);
    assert_eq!(c.answered(Some(&pong), at(2001)), taken("pid 42 on h, directory /d"));
}

#[test]
fn last_words_of_a_predecessor_do_not_hold_the_name() {
    let mut c = claim(&[(5, live(1, &of(8, "/d")))]);
    assert_eq!(c.decide(at(0)), Verdict::Ask);
    assert_eq!(c.answered(Some(&of(8, "/d").pong(42)), at(1)), Verdict::Wait);
    assert_eq!(c.seen(5, live(2, &of(8, "/d")), at(2)), Verdict::Wait, "its last touch");
    assert_eq!(c.decide(at(300)), Verdict::Ask);
    assert_eq!(c.answered(None, at(301)), Verdict::Granted);
}

#[test]
fn another_worker_that_answers_holds_the_name() {
    let mut c = claim(&[(5, live(1, &of(8, "/e")))]);
    assert_eq!(c.holder().as_deref(), Some("a worker on h, directory /e"));
    assert_eq!(c.decide(at(0)), Verdict::Ask);
    let pong = of(8, "/e").pong(42);
    assert_eq!(c.answered(Some(&pong), at(1)), taken("pid 42 on h, directory /e"));
}

#[test]
fn a_silent_lease_of_another_worker_is_waited_for() {
    let foreign = of(8, "/e");
    let mut c = claim(&[(5, live(1, &foreign)), (15, live(2, &foreign))]);
    assert_eq!(c.decide(at(0)), Verdict::Ask);
    assert_eq!(c.answered(None, at(1)), Verdict::Wait);
    assert_eq!(c.seen(5, EXPIRED, at(5000)), Verdict::Ask, "the other one still lives");
    assert_eq!(c.answered(None, at(5001)), Verdict::Wait);
    assert_eq!(c.seen(15, EXPIRED, at(5500)), Verdict::Granted);
}

#[test]
fn a_lease_that_is_renewed_holds_the_name() {
    let foreign = of(8, "/e");
    let mut c = claim(&[(5, live(1, &foreign))]);
    assert_eq!(c.decide(at(0)), Verdict::Ask);
    assert_eq!(c.answered(None, at(1)), Verdict::Wait);
    assert_eq!(c.seen(5, live(1, &foreign), at(2)), Verdict::Wait, "delivered twice");
    assert_eq!(c.seen(5, live(3, &foreign), at(3)), taken("a worker on h, directory /e"));
}

#[test]
fn another_boot_or_machine_is_another_place() {
    for who in [
        Identity { boot: Uuid::from_u128(2), ..of(8, "/d") },
        Identity { machine: "n".into(), ..of(8, "/d") },
    ] {
        let mut c = claim(&[(5, live(1, &who))]);
        assert_eq!(c.decide(at(0)), Verdict::Ask);
        assert_eq!(c.answered(None, at(1)), Verdict::Wait);
    }
}
