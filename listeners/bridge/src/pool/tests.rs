use super::*;
use dsbus_schema::event::ListenerChange;

const STARTSECS: Duration = Duration::from_secs(1);

fn ms(milliseconds: u64) -> Time {
    Duration::from_millis(milliseconds)
}

/// A pool, and what it wants done.
struct Desk {
    pool: Pool<&'static str>,
    now: Time,
    out: Vec<Effect<&'static str>>,
}

impl Desk {
    fn new(size: usize, restart: bool) -> Desk {
        let rules =
            Rules { size, startsecs: STARTSECS, stopwaitsecs: Duration::from_secs(10), restart };
        let mut desk = Desk { pool: Pool::new(rules), now: ms(0), out: Vec::new() };
        desk.tick();
        desk
    }

    /// One whose listeners are READY and have lived long enough.
    fn ready(size: usize) -> Desk {
        let mut desk = Desk::new(size, true);
        for run in desk.starts() {
            desk.say(run, "READY\n");
        }
        desk.pass(STARTSECS + ms(1));
        desk
    }

    fn tick(&mut self) {
        self.pool.tick(self.now, &mut self.out);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.tick();
    }

    fn say(&mut self, run: Run, said: &str) {
        self.pool.heard(run, said.as_bytes(), self.now, &mut self.out);
    }

    fn offer(&mut self, key: &'static str) {
        let said = (EventName::Tick5, key.to_owned());
        self.pool.offer(key, (Uuid::nil(), 7), said, self.now, &mut self.out);
    }

    fn end(&mut self, run: Run) {
        self.pool.ended(run, Ended::Code(1), self.now, &mut self.out);
    }

    fn starts(&mut self) -> Vec<Run> {
        let started = |effect: &Effect<_>| match effect {
            Effect::Start(run) => Some(*run),
            _ => None,
        };
        let found = self.out.iter().filter_map(started).collect();
        self.out.clear();
        found
    }

    /// What was given to whom since the last look, and how often it was given before.
    fn given(&mut self) -> Vec<(&'static str, Run)> {
        let given = |effect: &Effect<_>| match effect {
            Effect::Give(run) => Some((self.pool.given(*run).unwrap().key, *run)),
            _ => None,
        };
        let found = self.out.iter().filter_map(given).collect();
        self.out.clear();
        found
    }

    fn done(&mut self) -> Vec<&'static str> {
        let done = |effect: &Effect<_>| match effect {
            Effect::Done(key) => Some(*key),
            _ => None,
        };
        self.out.iter().filter_map(done).collect()
    }

    fn told(&self) -> Vec<ListenerChange> {
        let told = |effect: &Effect<_>| match effect {
            Effect::Tell(tell) => tell.change,
            _ => None,
        };
        self.out.iter().filter_map(told).collect()
    }

    /// Goes on until something happens.
    fn wait(&mut self) {
        let at = self.pool.wake_at(self.now).expect("nothing is due");
        assert!(at > self.now, "it would spin");
        self.pass(at.saturating_sub(self.now));
    }
}

#[test]
fn nothing_is_given_before_startsecs_nor_before_ready() {
    let mut desk = Desk::new(1, true);
    let run = desk.starts()[0];
    desk.offer("a");
    desk.pass(STARTSECS * 5);
    assert_eq!(desk.given(), [], "it is not ready");
    assert_eq!(desk.pool.wake_at(desk.now), None);
    desk.say(run, "READY\n");
    assert_eq!(desk.given(), [("a", run)]);

    let mut desk = Desk::new(1, true);
    let run = desk.starts()[0];
    desk.say(run, "READY\n");
    desk.offer("a");
    desk.pass(STARTSECS);
    assert_eq!(desk.given(), [], "it must live for longer");
    desk.wait();
    assert_eq!(desk.given(), [("a", run)]);
}

#[test]
fn each_event_goes_to_one_listener_the_oldest_first() {
    let mut desk = Desk::ready(2);
    for key in ["a", "b", "c", "d"] {
        desk.offer(key);
    }
    let given = desk.given();
    let [("a", first), ("b", second)] = given[..] else { panic!("{given:?}") };
    assert_ne!(first.member, second.member);
    desk.say(second, "RESULT 2\nOKREADY\n");
    assert_eq!(desk.done(), ["b"]);
    assert_eq!(desk.given(), [("c", second)]);
    desk.say(first, "RESULT 2\nOK");
    assert_eq!(desk.done(), ["a"]);
    assert_eq!(desk.given(), [], "it has not said READY");
    desk.say(first, "READY\n");
    assert_eq!(desk.given(), [("d", first)]);
    assert_eq!(desk.pool.held(), 2);
}

#[test]
fn what_is_rejected_comes_again_first_with_its_numbers_after_a_growing_pause() {
    let mut desk = Desk::ready(1);
    desk.offer("a");
    desk.offer("b");
    let run = desk.given()[0].1;
    let numbers = desk.pool.given(run).unwrap().numbers;
    let mut pauses = Vec::new();
    for _ in 0..12 {
        desk.say(run, "RESULT 4\nFAILREADY\n");
        assert_eq!(desk.given(), [], "b does not overtake it");
        let before = desk.now;
        desk.wait();
        assert_eq!(desk.given(), [("a", run)]);
        assert_eq!(desk.pool.given(run).unwrap().numbers, numbers);
        pauses.push(desk.now.saturating_sub(before));
    }
    assert!(pauses.is_sorted() && pauses[0] == PAUSE_MIN && pauses[11] == PAUSE_MAX, "{pauses:?}");
    desk.say(run, "RESULT 2\nOKREADY\n");
    assert_eq!(desk.done(), ["a"]);
    let next = desk.given();
    assert_eq!(next, [("b", run)]);
    assert_eq!(desk.pool.given(run).unwrap().numbers.poolserial, numbers.poolserial + 1);
}

#[test]
fn one_that_fails_for_ever_is_told_but_not_for_ever() {
    let mut desk = Desk::ready(1);
    desk.offer("a");
    let run = desk.given()[0].1;
    let mut counts = Vec::new();
    for _ in 0..150 {
        desk.say(run, "RESULT 4\nFAILREADY\n");
        counts.extend(desk.out.iter().filter_map(|effect| match effect {
            Effect::Tell(Tell { count, change: Some(ListenerChange::Rejected), .. }) => *count,
            _ => None,
        }));
        desk.out.clear();
        desk.wait();
    }
    assert_eq!(counts, [3, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    desk.say(run, "RESULT 2\nOK");
    assert_eq!(desk.told(), [ListenerChange::Accepted]);
}

#[test]
fn what_a_listener_dies_with_goes_to_another_one_at_once() {
    let mut desk = Desk::ready(2);
    desk.offer("a");
    let run = desk.given()[0].1;
    desk.offer("b");
    let other = desk.given()[0].1;
    desk.end(run);
    assert_eq!(desk.told(), [ListenerChange::Died]);
    assert_eq!(desk.given(), []);
    desk.offer("c");
    desk.say(other, "RESULT 2\nOKREADY\n");
    assert_eq!(desk.given(), [("a", other)], "before what is younger");
    // Its late words mean nothing, and it is started anew.
    desk.say(run, "RESULT 2\nOK");
    assert_eq!(desk.done(), [""; 0]);
    desk.wait();
    assert_eq!(desk.starts()[0].member, run.member);
}

#[test]
fn one_that_leaves_the_protocol_is_ended_and_started_anew() {
    let mut desk = Desk::ready(1);
    desk.offer("a");
    let run = desk.given()[0].1;
    desk.say(run, "debug: working\n");
    assert_eq!(desk.told(), [ListenerChange::Unknown]);
    assert!(desk.out.contains(&Effect::Stop(run)));
    desk.out.clear();
    desk.wait();
    assert_eq!(desk.out, [Effect::Kill(run)], "it did not heed the request");
    desk.out.clear();
    desk.end(run);
    assert_eq!(desk.told(), [], "that it ends is no news");
    desk.wait();
    let next = desk.starts()[0];
    desk.say(next, "READY\n");
    desk.wait();
    assert_eq!(desk.given(), [("a", next)]);
}

#[test]
fn a_closed_pipe_is_a_way_to_leave() {
    let mut desk = Desk::ready(2);
    desk.offer("a");
    let run = desk.given()[0].1;
    // EPIPE: the next one gets it.
    desk.pool.broken(run, desk.now, &mut desk.out);
    let other = desk.given();
    assert!(matches!(other[..], [("a", next)] if next != run), "{other:?}");
    desk.wait();
    assert_eq!(desk.told(), [ListenerChange::Unknown], "it did not end");
    assert!(desk.out.contains(&Effect::Stop(run)));

    // The end of its output, and of itself: it died with its event.
    let run = other[0].1;
    desk.out.clear();
    desk.pool.silent(run, desk.now);
    desk.end(run);
    assert_eq!(desk.told(), [ListenerChange::Died]);
}

#[test]
fn restarts_wait_longer_while_nothing_is_accepted() {
    let mut desk = Desk::new(1, true);
    let mut run = desk.starts()[0];
    let mut pauses = Vec::new();
    for _ in 0..8 {
        desk.end(run);
        desk.out.clear();
        let before = desk.now;
        desk.wait();
        pauses.push(desk.now.saturating_sub(before).as_secs());
        run = desk.starts()[0];
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    desk.say(run, "READY\n");
    desk.pass(STARTSECS * 2);
    desk.offer("a");
    desk.say(run, "RESULT 2\nOK");
    desk.end(run);
    desk.out.clear();
    desk.tick();
    assert_eq!(desk.starts().len(), 1, "one that works is started again at once");
}

#[test]
fn a_stop_waits_for_answers_and_hands_the_rest_back() {
    let mut desk = Desk::ready(2);
    for key in ["a", "b", "c"] {
        desk.offer(key);
    }
    let [(_, first), (_, second)] = desk.given()[..] else { panic!() };
    desk.pool.stop(desk.now, &mut desk.out);
    assert_eq!(desk.out, [Effect::Back("c")]);
    desk.out.clear();
    desk.say(first, "RESULT 2\nOK");
    assert_eq!(desk.out, [Effect::Done("a"), Effect::Stop(first)]);
    desk.out.clear();
    desk.offer("d");
    assert_eq!(desk.out, [Effect::Back("d")]);
    desk.out.clear();
    desk.end(first);
    assert_eq!(desk.out, []);
    desk.wait();
    assert_eq!(desk.out, [Effect::Stop(second)], "it had its time to answer");
    desk.out.clear();
    desk.wait();
    assert_eq!(desk.out, [Effect::Kill(second)]);
    assert!(!desk.pool.is_over());
    desk.end(second);
    assert!(desk.out.contains(&Effect::Back("b")));
    assert_eq!(desk.told(), [], "it was asked to");
    assert!(desk.pool.is_over());
    assert_eq!(desk.pool.wake_at(desk.now), None);
}

#[test]
fn a_second_stop_kills() {
    let mut desk = Desk::ready(1);
    desk.offer("a");
    let run = desk.given()[0].1;
    desk.pool.stop(desk.now, &mut desk.out);
    desk.say(run, "RESULT 4\nFAIL");
    assert_eq!(desk.out, [Effect::Back("a"), Effect::Stop(run)], "another one may take it");
    desk.out.clear();
    desk.pool.stop(desk.now, &mut desk.out);
    assert_eq!(desk.out, [Effect::Kill(run)]);
}

#[test]
fn one_that_is_not_started_again_ends_the_pool() {
    let mut desk = Desk::new(1, false);
    let run = desk.starts()[0];
    desk.pool.ended(run, Ended::Signal(9), desk.now, &mut desk.out);
    assert_eq!(desk.out.last(), Some(&Effect::Over(Ended::Signal(9))));
    assert_eq!(desk.pool.wake_at(desk.now), None);

    let mut desk = Desk::new(1, false);
    let run = desk.starts()[0];
    desk.say(run, "hello\n");
    desk.end(run);
    assert_eq!(desk.out.last(), Some(&Effect::Over(Ended::LeftProtocol)));

    let mut desk = Desk::new(1, false);
    let run = desk.starts()[0];
    desk.pool.not_started(run, "no such file", desk.now, &mut desk.out);
    let why = Ended::NotStarted("no such file".to_owned());
    assert_eq!(desk.out.last(), Some(&Effect::Over(why)));
}
