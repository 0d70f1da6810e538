//! What holds whatever happens.

use dsbus_schema::lenient::Span;
use dsbus_schema::state::State;
use proptest::prelude::*;

use crate::world::{self, World, worker};

#[derive(Debug, Clone)]
enum Happening {
    Declare { program: u8, numprocs: u32, machine: Option<u8>, timeout: u64, user: bool },
    Command { program: u8, run: bool },
    Lose(u8),
    Return(u8),
    Remove(u8),
    Equip { worker: u8, user: bool },
    Tell { program: u8, index: u32, state: State },
    Obey,
}

fn happening() -> impl Strategy<Value = Happening> {
    let state = prop_oneof![
        Just(State::Starting),
        Just(State::Running),
        Just(State::Backoff),
        Just(State::Fatal),
        Just(State::Exited),
        Just(State::Stopped),
    ];
    prop_oneof![
        (0..3u8, 1..4u32, proptest::option::of(1..5u8), 4..7u64, any::<bool>()).prop_map(
            |(program, numprocs, machine, timeout, user)| Happening::Declare {
                program,
                numprocs,
                machine,
                timeout,
                user
            }
        ),
        (1..5u8, any::<bool>()).prop_map(|(worker, user)| Happening::Equip { worker, user }),
        (0..3u8, any::<bool>()).prop_map(|(program, run)| Happening::Command { program, run }),
        (1..5u8).prop_map(Happening::Lose),
        (1..5u8).prop_map(Happening::Return),
        (0..3u8).prop_map(Happening::Remove),
        (0..3u8, 0..4u32, state).prop_map(|(program, index, state)| Happening::Tell {
            program,
            index,
            state
        }),
        Just(Happening::Obey),
    ]
}

fn happen(w: &mut World, happening: &Happening) {
    let name = |program: u8| format!("p{program}");
    let declared = |w: &World, program: u8| {
        w.view.program(&world::program(&name(program))).map(|p| p.removing)
    };
    match *happening {
        Happening::Declare { program, numprocs, machine, timeout, user } => {
            if declared(w, program) != Some(true) {
                w.declare(&name(program), |s| {
                    s.numprocs = numprocs;
                    s.user = user.then(|| "www-data".to_owned());
                    s.machines = machine.iter().map(|m| worker(&format!("w{m}"))).collect();
                    s.touch_timeout = Some(Span::from_secs(timeout));
                });
            }
        }
        Happening::Command { program, run } => {
            if declared(w, program).is_some() {
                w.command(&name(program), |g| {
                    g.run = run;
                    g.starts += u64::from(run);
                });
            }
        }
        Happening::Lose(n) => w.lose(&format!("w{n}")),
        Happening::Return(n) => w.join(&format!("w{n}")),
        Happening::Remove(program) => {
            if declared(w, program).is_some() {
                w.remove(&name(program));
            }
        }
        Happening::Tell { program, index, state } => {
            w.tell(&format!("{}:{index}", name(program)), state);
        }
        Happening::Equip { worker, user } => {
            w.equip(&format!("w{worker}"), if user { &["user"] } else { &[] });
        }
        Happening::Obey => w.obey(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens: planning again right after enacting gives nothing but what a count of
    /// failures or a removal brings on, there is at most one placement per instance (asserted by
    /// every step), every guard named is the right one, no epoch ever falls, and in the end all
    /// comes to rest where it may be.
    #[test]
    fn it_comes_to_rest(happenings in proptest::collection::vec(happening(), 1..40)) {
        let mut w = World::with_workers(3);
        for h in happenings {
            happen(&mut w, &h);
            let mut rounds = 0;
            while !w.step().is_empty() {
                rounds += 1;
                prop_assert!(rounds < 8, "it plans for ever without news");
            }
        }
        for n in 1..5 {
            w.join(&format!("w{n}"));
            w.equip(&format!("w{n}"), &["user"]);
        }
        w.settle();
        for (name, placed) in w.view.placements() {
            let program = w.view.program(&name.program).unwrap();
            let spec = &program.spec;
            // A rollout that failed leaves the rest as it was.
            let current = placed.revision == program.revision;
            prop_assert!(current || program.rollout.is_some());
            let machines = &spec.machines;
            prop_assert!(!current || machines.is_empty() || machines.contains(&placed.worker));
            prop_assert!(name.index < spec.numprocs);
        }
    }
}
