//! What holds whatever happens.

use proptest::prelude::*;

use dsbus_schema::placement::{Rest, RestState};

use super::*;

/// Shorter than most waits add up to.
const AGE: Span = Span::from_secs(8);

#[derive(Debug, Clone)]
enum Happening {
    Place { epoch: u64, run: bool, counts: [u64; 3], revision: u64, rest: u8 },
    Unplace,
    End(usize, i32),
    Hook(bool),
    Answer(bool),
    Word(bool),
    Turn,
    Lease(u64),
    Wait(u64),
    SpawnFails(bool),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (1..4u64, any::<bool>(), any::<[u64; 3]>(), 1..4u64, 0..4u8).prop_map(
            |(epoch, run, counts, revision, rest)| Happening::Place {
                epoch,
                run,
                counts: counts.map(|count| count % 3),
                revision,
                rest
            }
        ),
        Just(Happening::Unplace),
        (0..2usize, 0..3i32).prop_map(|(which, code)| Happening::End(which, code)),
        any::<bool>().prop_map(Happening::Hook),
        any::<bool>().prop_map(Happening::Answer),
        any::<bool>().prop_map(Happening::Word),
        Just(Happening::Turn),
        Just(Happening::Turn),
        (0..9000u64).prop_map(Happening::Lease),
        (0..5000u64).prop_map(Happening::Wait),
        any::<bool>().prop_map(Happening::SpawnFails),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    /// The scene asserts at every step: one child at most but for a reload, none started without a
    /// lease, events without gap or repeat, signals only to children that live, no hook twice. Here
    /// besides: it never wants to be woken up in the past, a child whose lease has ended was killed,
    /// none grows too old, and what was placed to rest does so until more is wanted.
    #[test]
    fn whatever_happens(
        exclusive in any::<bool>(),
        adorned in any::<bool>(),
        slow in any::<bool>(),
        aging in any::<bool>(),
        happenings in proptest::collection::vec(happening(), 1..80),
    ) {
        let declared = |epoch: u64, revision: u64| placement(epoch, |p| {
            p.spec.exclusive = exclusive;
            p.spec.touch_timeout = Some(Span::from_secs(9));
            p.spec.command = Command::Line(format!("x{}", revision / 2));
            p.revision = revision;
            if adorned {
                adorn(&mut p.spec);
            }
            p.spec.max_age = aging.then_some(AGE);
        });
        let mut s = Scene::new(&declared(1, 1));
        s.slow = slow;
        s.put(&declared(1, 1), 0);
        let (mut now, mut epoch) = (0, 1);
        // Placed under this epoch, to rest.
        let mut resting = None;
        for h in happenings {
            match h {
                Happening::Place { epoch: more, run, counts, revision, rest } => {
                    epoch += more - 1;
                    let mut p = declared(epoch, revision);
                    let [starts, restarts, reloads] = counts;
                    p.wanted = Wanted { run, starts, restarts, reloads };
                    p.rest = [Some(RestState::Exited), Some(RestState::Fatal), None, None]
                        [usize::from(rest)]
                        .map(|state| Rest { state, exit: None, reason: None, since: at(0).wall });
                    resting = (more > 1 && p.rest.is_some()).then(|| format!("spawn e{epoch}"));
                    s.put(&p, now);
                }
                Happening::Unplace => { s.feed(Input::Unplace { lost: false }, now); }
                Happening::End(which, code) => {
                    if let Some(pid) = s.alive.get(which).copied() {
                        s.end_of(pid, Exit::code(code), now);
                    }
                }
                Happening::Turn => s.turn(now),
                Happening::Hook(well) => if let Some(id) = s.hooks.first().copied() {
                    let outcome = if well { HookOutcome::Done } else { HookOutcome::TimedOut };
                    s.hook_ends(id.point, outcome, now);
                },
                Happening::Answer(well) => if let Some(pid) = s.alive.last().copied() {
                    let trouble = (!well).then(|| "no".to_owned());
                    let question = if well { Question::Readiness } else { Question::Liveness };
                    s.feed(Input::Probed { pid, question, trouble }, now);
                },
                Happening::Word(ready) => if let Some(pid) = s.alive.last().copied() {
                    let word = if ready { Word::Ready } else { Word::Alive };
                    s.feed(Input::Notified { pid, word }, now);
                },
                Happening::Lease(more) => {
                    let until = at(now + more).boot.max(s.instance.lease);
                    s.feed(Input::Lease { until }, now);
                }
                Happening::Wait(millis) => {
                    now += millis;
                    // One wake-up may lead to another at the same moment, but not for ever.
                    for _ in 0..4 {
                        s.feed(Input::Tick, now);
                    }
                    prop_assert!(s.instance.deadline().is_none_or(|t| t > at(now).boot), "it spins");
                    let old = s.instance.main().filter(|_| s.instance.state() == State::Running)
                        .filter(|_| matches!(s.instance.reload, Reload::No))
                        .is_some_and(|child| at(now).boot.since(child.since) >= AGE.0);
                    prop_assert!(!(aging && old), "it grows too old");
                }
                Happening::SpawnFails(fails) => s.spawn_fails = fails,
            }
            if s.instance.gone {
                prop_assert!(s.alive.is_empty());
                return Ok(());
            }
            if let Some(spawn) = &resting {
                prop_assert!(!s.told.contains(spawn), "it was to rest");
            }
            let busy = !s.alive.is_empty() || !s.hooks.is_empty() || s.instance.spawning;
            prop_assert_eq!(s.instance.busy(), busy);
            // It ends when all that it waits for ends: nothing of it is forgotten.
            let known = s.alive.iter().all(|pid| s.instance.knows(*pid));
            prop_assert!(known, "a child is forgotten");
            if let Some((pid, _)) = s.instance.child() {
                prop_assert!(s.alive.contains(&pid));
            }
        }
    }
}

/// Everything that can be waited for.
fn adorn(spec: &mut ProgramSpec) {
    let json = serde_json::json!({
        "command": "x", "pre_start": "a", "post_start": "b", "pre_stop": "c", "post_stop": "d",
        "notify": true, "watchdog": 3, "start_timeout": 4,
        "readiness": {"exec": "r"}, "liveness": {"exec": "l", "failures": 2},
        "stopsignal": ["INT:1s", "TERM"], "restart_limit": 4,
    });
    let adorned: ProgramSpec = serde_json::from_value(json).unwrap();
    let (command, exclusive) = (spec.command.clone(), spec.exclusive);
    *spec = ProgramSpec { command, exclusive, touch_timeout: spec.touch_timeout, ..adorned };
}
