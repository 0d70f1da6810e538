//! What holds whatever happens.

use proptest::prelude::*;

use super::*;

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
                    p.wanted = Wanted { run, starts, restarts, reloads: 0 };
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
