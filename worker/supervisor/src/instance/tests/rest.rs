//! What has ended for good, and what grows too old.

use dsbus_schema::event::Notice;
use dsbus_schema::placement::{Rest, RestState};
use dsbus_schema::program::Kind;

use super::*;

fn oneshot(change: impl FnOnce(&mut Placement)) -> Placement {
    placement(1, |p| {
        p.spec.kind = Kind::Oneshot;
        p.spec.startsecs = Span::from_secs(0);
        p.spec.autorestart = AutoRestart::Never;
        change(p);
    })
}

fn rests(state: RestState) -> Rest {
    let since = Timestamp::from_unix_nanos(7_000_000_000);
    Rest { state, exit: Some(Exit::code(5)), reason: Some("as it was".to_owned()), since }
}

const BEGUN: [&str; 3] = ["spawn e1", "STOPPED -> STARTING", "STARTING -> RUNNING"];
const AGAIN: [&str; 3] = ["spawn e1", "EXITED -> STARTING", "STARTING -> RUNNING"];

#[test]
fn a_oneshot_runs_to_its_end_and_again_when_it_is_started() {
    let p = oneshot(|_| {});
    let mut s = Scene::new(&p);
    assert_eq!(s.put(&p, 0), BEGUN);
    assert!(!s.status().rests);
    assert_eq!(s.end(Exit::code(0), 10), ["RUNNING -> EXITED"]);
    assert_eq!((s.status().rests, s.status().reason.as_deref()), (true, None));
    assert_eq!(s.instance.deadline(), None);
    assert!(s.feed(Input::Tick, 100_000).is_empty());
    assert_eq!(s.put(&oneshot(|p| p.wanted.starts = 1), 200_000), AGAIN);
    // One that fails rests, too, and says why.
    assert_eq!(s.end(Exit::code(3), 200_010), ["RUNNING -> EXITED"]);
    let status = s.status();
    assert!(status.rests && status.reason.as_ref().unwrap().contains("exit code 3"), "{status:?}");
    assert_eq!(s.put(&oneshot(|p| p.wanted.starts = 2), 300_000), AGAIN);
}

#[test]
fn a_oneshot_that_has_ended_stays_so_when_it_is_stopped() {
    let p = oneshot(|_| {});
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    s.end(Exit::code(0), 10);
    let stop = oneshot(|p| p.wanted.run = false);
    assert!(s.put(&stop, 20).is_empty());
    let status = s.status();
    assert_eq!((status.state, status.rests, status.wanted.run), (State::Exited, true, false));
    assert_eq!(s.put(&oneshot(|p| p.wanted.starts = 1), 30), AGAIN);
    // While it runs, a stop is one.
    assert_eq!(s.put(&stop, 40), ["signal TERM", "RUNNING -> STOPPING"]);
    assert_eq!(s.end(Exit::signal(15), 50), ["STOPPING -> STOPPED"]);
    assert!(!s.status().rests);
}

#[test]
fn a_oneshot_that_is_to_be_tried_again_does_not_rest_meanwhile() {
    let p = oneshot(|p| p.spec.autorestart = AutoRestart::Unexpected);
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    assert_eq!(s.end(Exit::code(1), 10), ["RUNNING -> EXITED", AGAIN[0], AGAIN[1], AGAIN[2]]);
    s.end(Exit::code(0), 20);
    assert!(s.status().rests);
}

#[test]
fn what_rests_is_shown_as_it_was_and_starts_nothing() {
    for (how, state) in [(RestState::Exited, State::Exited), (RestState::Fatal, State::Fatal)] {
        for run in [true, false] {
            let p = oneshot(|p| {
                p.rest = Some(rests(how));
                p.wanted = Wanted { run, starts: 4, restarts: 2, reloads: 1 };
                p.revision = 6;
            });
            let mut s = Scene::new(&p);
            assert!(s.put_after(&p, 17, 60_000).is_empty(), "no event: nothing has changed");
            let status = s.status().clone();
            assert_eq!((status.state, status.rests, status.pid), (state, true, None));
            assert_eq!(
                (status.exit, status.reason.as_deref()),
                (Some(Exit::code(5)), Some("as it was"))
            );
            assert_eq!(status.since, Timestamp::from_unix_nanos(7_000_000_000));
            assert_eq!((status.wanted, status.revision, status.seq), (p.wanted, 6, 17));
            assert_eq!(Rest::told(&p, &status), p.rest, "what it tells is what it was told");
            assert_eq!(s.instance.deadline(), None);
            assert!(s.feed(Input::Tick, 100_000).is_empty());
            // The same again, or a change that reaches no child.
            assert!(s.put_after(&p, 17, 110_000).is_empty());
            assert!(s.feed(Input::Shutdown { fence: false }, 120_000).is_empty());
        }
    }
}

#[test]
fn what_rests_is_started_when_more_is_wanted() {
    let more: [fn(&mut Placement); 4] = [
        |p| p.wanted.starts += 1,
        |p| p.wanted.restarts += 1,
        |p| (p.revision, p.spec.command) = (2, Command::Line("y".into())),
        |p| p.wanted.run = true,
    ];
    for (number, more) in more.into_iter().enumerate() {
        let base = |p: &mut Placement| p.wanted.run = number != 3;
        let p = oneshot(|p| {
            base(p);
            p.rest = Some(rests(RestState::Exited));
        });
        let mut s = Scene::new(&p);
        assert!(s.put_after(&p, 9, 0).is_empty());
        let next = oneshot(|p| {
            base(p);
            more(p);
        });
        assert_eq!(s.put_after(&next, 9, 10), AGAIN, "{number}");
        assert_eq!((s.last, s.status().rests), ((1, 11), false), "events go on after the last");
        assert_eq!(s.end(Exit::code(0), 20), ["RUNNING -> EXITED"]);
        assert_eq!(s.status().exit, Some(Exit::code(0)));
    }
    // What failed may be mended by any change.
    let p = oneshot(|p| p.rest = Some(rests(RestState::Fatal)));
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    let mended = oneshot(|p| (p.revision, p.spec.startretries) = (2, Retries::Count(1)));
    assert_eq!(s.put(&mended, 10), ["spawn e1", "FATAL -> STARTING", "STARTING -> RUNNING"]);
}

#[test]
fn what_is_known_here_heeds_no_rest() {
    let p = oneshot(|_| {});
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    s.end(Exit::code(0), 10);
    let before = s.status().clone();
    assert!(s.put(&oneshot(|p| p.rest = Some(rests(RestState::Exited))), 20).is_empty());
    assert_eq!(*s.status(), before, "and tells nothing");
    // Nor does what runs.
    s.put(&oneshot(|p| p.wanted.starts = 1), 30);
    let late = oneshot(|p| (p.wanted.starts, p.rest) = (1, Some(rests(RestState::Fatal))));
    assert!(s.put(&late, 40).is_empty());
    assert_eq!(s.status().state, State::Running);
}

#[test]
fn what_comes_here_to_rest_ends_what_ran_here_before() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    let moved = placement(5, |p| p.rest = Some(rests(RestState::Fatal)));
    assert_eq!(s.put(&moved, 3000), ["signal TERM", "RUNNING -> STOPPING"]);
    assert_eq!(s.end(Exit::code(0), 3010), ["STOPPING -> STOPPED"]);
    let status = s.status();
    assert_eq!((status.state, status.epoch, status.restarts), (State::Fatal, Epoch(5), 0));
    assert_eq!(status.exit, Some(Exit::code(5)));
    assert_eq!(s.feed(Input::Unplace { lost: false }, 3020), ["gone"]);
}

fn aging(index: u32) -> (Placement, Scene) {
    let p = placement(1, |p| p.spec.max_age = Some(Span::from_secs(100)));
    let mut s = Scene::new(&p);
    s.instance.name.index = index;
    s.put(&p, 0);
    s.feed(Input::Tick, 1000);
    (p, s)
}

#[test]
fn a_child_that_is_too_old_is_started_anew_and_nothing_is_counted() {
    let (_, mut s) = aging(0);
    s.instance.placed.spec = Arc::new(ProgramSpec {
        restart_limit: 1,
        restart_window: Span::from_secs(100_000),
        ..(*s.instance.placed.spec).clone()
    });
    for n in 1..4 {
        // From its start, and not from RUNNING: that is what its age is.
        let born = (n - 1) * 100_000;
        assert_eq!(s.instance.deadline(), Some(at(born + 100_000).boot));
        assert!(s.feed(Input::Tick, born + 99_999).is_empty());
        let told = s.feed(Input::Tick, born + 100_000);
        assert_eq!(told, ["Recycled", "signal TERM", "RUNNING -> STOPPING"]);
        assert_eq!(s.notice().change, Notice::Recycled);
        assert!(s.notice().reason.contains("max_age is 1m 40s"), "{}", s.notice().reason);
        let told = s.end(Exit::signal(15), born + 100_000);
        assert_eq!(told, ["STOPPING -> STOPPED", "spawn e1", "STOPPED -> STARTING"]);
        assert_eq!(s.feed(Input::Tick, born + 101_000), ["STARTING -> RUNNING"]);
        assert_eq!(s.status().restarts, n);
    }
}

#[test]
fn copies_grow_too_old_one_after_the_other_in_the_last_tenth() {
    let ends: Vec<u64> = (0..10)
        .map(|index| aging(index).1.instance.deadline().unwrap().since(at(0).boot))
        .map(|age| u64::try_from(age.as_millis()).unwrap())
        .collect();
    assert_eq!(ends[0], 100_000);
    assert!(ends.iter().all(|age| (90_000..=100_000).contains(age)), "{ends:?}");
    let mut sorted = ends.clone();
    sorted.sort_unstable();
    let apart = sorted.windows(2).map(|two| two[1] - two[0]).min();
    assert!(apart > Some(300), "{ends:?}");
    let again: Vec<_> = (0..10).map(|index| aging(index).1.instance.deadline()).collect();
    assert_eq!(again.iter().flatten().count(), 10);
    // Programs that were declared together do not stop together.
    let (_, mut other) = aging(0);
    other.instance.placed.id = ProgramId(Uuid::from_u128(0x8000_0000));
    assert_eq!(other.instance.deadline().map(|at| at.since(BootTime(START)).as_secs()), Some(95));
}

#[test]
fn an_age_that_is_declared_later_counts_from_the_start_of_the_child() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    assert_eq!(s.instance.deadline(), None);
    let aging = placement(1, |p| (p.revision, p.spec.max_age) = (2, Some(Span::from_secs(10))));
    assert!(s.put(&aging, 5000).is_empty());
    assert_eq!(s.instance.deadline(), Some(at(999 + 10_000).boot));
    // Older than that already: at once.
    let shorter = placement(1, |p| (p.revision, p.spec.max_age) = (3, Some(Span::from_secs(1))));
    s.put(&shorter, 6000);
    assert_eq!(s.feed(Input::Tick, 6000)[0], "Recycled");
}

#[test]
fn a_reload_is_not_disturbed_by_age() {
    let (_, mut s) = aging(0);
    let reload = placement(1, |p| {
        p.spec.max_age = Some(Span::from_secs(100));
        p.wanted.reloads = 1;
    });
    assert_eq!(s.put(&reload, 99_500), ["ReloadStarted", "spawn e1"]);
    assert!(s.feed(Input::Tick, 100_200).is_empty(), "the old child ends soon anyway");
    assert_eq!(s.feed(Input::Tick, 100_500), ["ReloadSwitched", "signal TERM"]);
    assert_eq!(s.instance.deadline(), Some(at(110_500).boot), "the old child's stopwaitsecs");
    s.end_of(101, Exit::code(0), 100_600);
    assert_eq!(s.instance.deadline(), Some(at(199_500).boot));
}

#[test]
fn an_old_child_that_is_stopped_is_stopped_for_that() {
    let (_, mut s) = aging(0);
    let stop = placement(1, |p| {
        p.spec.max_age = Some(Span::from_secs(100));
        p.wanted.run = false;
    });
    assert_eq!(s.put(&stop, 100_000), ["signal TERM", "RUNNING -> STOPPING"]);
    assert_eq!(s.status().reason.as_deref(), Some("stop was requested"));
    assert_eq!(s.end(Exit::code(0), 100_010), ["STOPPING -> STOPPED"]);
}
