//! What holds whatever happens.

use dsbus_planner::rebalance::rebalance;
use dsbus_planner::rows;
use dsbus_planner::view::Life;
use dsbus_schema::goal::Arguments;
use dsbus_schema::lenient::Span;
use dsbus_schema::program::{
    Condition, Kind, MissedRun, OnWorkerLoss, ProgramSpec, Schedule, Strategy as Choice,
};
use dsbus_schema::rollout::RolloutState;
use dsbus_schema::state::State;
use proptest::prelude::*;

use crate::world::{self, World, worker};

/// Programs p0 to p4; the last one is a system program.
const PROGRAMS: u8 = 5;
/// Workers w1 to w4, of which the first three are there from the beginning.
const WORKERS: u8 = 4;
/// Longest `min_healthy`, in seconds.
const HEALTHY_MAX: u64 = 6;

#[derive(Debug, Clone)]
enum Happening {
    /// A declaration, drawn by bits.
    Declare {
        program: u8,
        bits: u64,
    },
    /// One command about two programs.
    Command {
        programs: [u8; 2],
        run: bool,
        restart: bool,
    },
    One {
        program: u8,
        index: u32,
        run: bool,
    },
    Disable {
        program: u8,
        is: bool,
    },
    Remove(u8),
    Steer {
        program: u8,
        step: Step,
    },
    Lose(u8),
    Silent(u8),
    Return(u8),
    Forget(u8),
    Stopping(u8),
    Want {
        worker: u8,
        cordoned: bool,
        draining: bool,
    },
    Rebuild {
        worker: u8,
        bits: u8,
    },
    Rebalance,
    Tell {
        program: u8,
        index: u32,
        state: State,
    },
    End {
        program: u8,
        index: u32,
        code: i32,
    },
    Pass(u64),
    Obey,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Pause,
    Resume,
    Promote,
    Undo,
}

fn happening() -> impl Strategy<Value = Happening> {
    let state = prop_oneof![
        1 => Just(State::Starting),
        4 => Just(State::Running),
        1 => Just(State::Backoff),
        1 => Just(State::Fatal),
        1 => Just(State::Stopping),
        1 => Just(State::Stopped),
    ];
    let step =
        prop_oneof![Just(Step::Pause), Just(Step::Resume), Just(Step::Promote), Just(Step::Undo)];
    let (program, worker) = (|| 0..PROGRAMS, || 1..=WORKERS);
    prop_oneof![
        4 => (program(), any::<u64>())
            .prop_map(|(program, bits)| Happening::Declare { program, bits }),
        2 => (program(), program(), any::<bool>(), any::<bool>()).prop_map(
            |(one, other, run, restart)| Happening::Command {
                programs: [one, other],
                run,
                restart
            }
        ),
        1 => (program(), 0..4u32, any::<bool>())
            .prop_map(|(program, index, run)| Happening::One { program, index, run }),
        1 => (program(), any::<bool>()).prop_map(|(program, is)| Happening::Disable { program, is }),
        1 => program().prop_map(Happening::Remove),
        2 => (program(), step).prop_map(|(program, step)| Happening::Steer { program, step }),
        2 => worker().prop_map(Happening::Lose),
        1 => worker().prop_map(Happening::Silent),
        2 => worker().prop_map(Happening::Return),
        1 => worker().prop_map(Happening::Forget),
        1 => worker().prop_map(Happening::Stopping),
        2 => (worker(), any::<bool>(), any::<bool>()).prop_map(
            |(worker, cordoned, draining)| Happening::Want { worker, cordoned, draining }
        ),
        2 => (worker(), any::<u8>())
            .prop_map(|(worker, bits)| Happening::Rebuild { worker, bits }),
        1 => Just(Happening::Rebalance),
        4 => (program(), 0..5u32, state).prop_map(|(program, index, state)| Happening::Tell {
            program,
            index,
            state
        }),
        2 => (program(), 0..5u32, 0..2i32)
            .prop_map(|(program, index, code)| Happening::End { program, index, code }),
        2 => (1..90u64).prop_map(Happening::Pass),
        6 => Just(Happening::Obey),
    ]
}

/// A number below `n`, of the bits that were drawn.
fn draw(bits: &mut u64, n: u64) -> u64 {
    let drawn = *bits % n;
    *bits = (*bits / n).rotate_right(3) ^ 0x9e37_79b9_7f4a_7c15;
    drawn
}

/// A declaration that `apply` would take.
fn declared(number: u8, s: &mut ProgramSpec, mut bits: u64) {
    let mut n = |n: u64| draw(&mut bits, n);
    let one_in = |drawn: u64| drawn == 0;
    s.system = number == PROGRAMS - 1;
    s.numprocs = if s.system { 1 } else { u32::try_from(1 + n(4)).unwrap() };
    s.shell = n(2) == 0;
    s.user = one_in(n(6)).then(|| "www-data".to_owned());
    s.machines = if one_in(n(4)) { vec![worker(&format!("w{}", 1 + n(5)))] } else { Vec::new() };
    let rules = ["zone = a", "zone != a", "!zone"];
    let rule = rules[usize::try_from(n(3)).unwrap()];
    s.labels = if one_in(n(5)) { vec![rule.parse().unwrap()] } else { Vec::new() };
    s.touch_timeout = Some(Span::from_secs(if one_in(n(6)) { 7 } else { 5 }));
    s.exclusive = one_in(n(6));
    s.priority = i32::try_from(n(3)).unwrap();
    s.resources.cpu = one_in(n(2)).then_some(0.7);
    s.spread_by = one_in(n(4)).then(|| "zone".to_owned());
    s.strategy =
        [Choice::Spread, Choice::Pack, Choice::Ordered, Choice::LeastLoaded, Choice::MostLoaded]
            [usize::try_from(n(5)).unwrap()];
    s.kind = if one_in(n(5)) { Kind::Oneshot } else { Kind::Service };
    let other = |n: u64| world::program(&format!("p{n}"));
    s.anti_affinity.clear();
    s.depends_on.0.clear();
    if number > 0 && one_in(n(4)) {
        s.anti_affinity.extend([other(n(u64::from(number)))]);
    }
    // No cycles: `apply` refuses them.
    if number > 0 && one_in(n(3)) {
        let conditions =
            [Condition::Started, Condition::Running, Condition::Healthy, Condition::Done];
        let condition = conditions[usize::try_from(n(4)).unwrap()];
        s.depends_on.0.insert(other(n(u64::from(number))), condition);
    }
    s.on_worker_loss =
        [OnWorkerLoss::Move, OnWorkerLoss::Move, OnWorkerLoss::Stay, OnWorkerLoss::Stop]
            [usize::try_from(n(4)).unwrap()];
    s.max_fail_count = u32::try_from(1 + n(3)).unwrap();
    s.update.max_unavailable = u32::try_from(n(3)).unwrap();
    s.update.max_surge = if s.exclusive { 0 } else { u32::try_from(n(3)).unwrap() };
    if s.update.max_surge == 0 {
        s.update.max_unavailable = s.update.max_unavailable.max(1);
    }
    s.update.canary = u32::try_from(n(u64::from(s.numprocs))).unwrap();
    s.update.min_healthy = Span::from_secs(n(2) * HEALTHY_MAX);
    s.update.auto_revert = n(2) == 0;
    s.schedule = (s.kind == Kind::Oneshot && !s.system && n(2) == 0)
        .then(|| Schedule::new("* * * * *", None, MissedRun::Skip).unwrap());
}

fn steer(w: &mut World, name: &str, step: Step) {
    let program = w.view.program(&world::program(name)).cloned();
    let Some(rollout) = program.filter(|p| !p.removing).and_then(|p| p.rollout) else { return };
    match step {
        Step::Pause if rollout.state == RolloutState::Failed => {}
        Step::Undo => w.declare(name, |s| *s = rollout.stable.spec),
        Step::Pause | Step::Resume | Step::Promote => w.edit(name, |p| {
            let Some(rollout) = &mut p.rollout else { return };
            match step {
                Step::Pause => rollout.state = RolloutState::Paused,
                Step::Resume => rollout.state = RolloutState::Rolling,
                Step::Promote | Step::Undo => rollout.promoted = true,
            }
        }),
    }
}

#[expect(clippy::too_many_lines, reason = "an arm for each thing that may happen")]
fn happen(w: &mut World, happening: &Happening) {
    let name = |program: u8| format!("p{program}");
    let stored = |w: &World, program: u8| w.view.program(&world::program(&name(program))).cloned();
    let is_there = |w: &World, program: u8| stored(w, program).is_some_and(|p| !p.removing);
    match *happening {
        Happening::Declare { program, bits } => {
            if stored(w, program).is_none_or(|p| !p.removing) {
                let now = w.now().wall;
                w.declare(&name(program), |s| declared(program, s, bits));
                w.edit(&name(program), |p| p.declared = p.declared.or(Some(now)));
            }
        }
        Happening::Command { programs, run, restart } => {
            let id = w.command_id();
            for program in programs.into_iter().filter(|p| is_there(w, *p)).collect::<Vec<_>>() {
                w.command(&name(program), |g| {
                    g.run = run && !g.disabled;
                    g.starts += u64::from(g.run);
                    g.restarts += u64::from(g.run && restart);
                    g.rolling = restart;
                    let given = Arguments { words: vec![id.to_string()], of: g.asked() };
                    g.arguments = (g.run && restart).then_some(given);
                    g.commands.remember(id, "tell", None);
                });
            }
        }
        Happening::One { program, index, run } => {
            if is_there(w, program) {
                w.command_one(&format!("{}:{index}", name(program)), |g| {
                    (g.run, g.starts) = (run, g.starts + u64::from(run));
                });
            }
        }
        Happening::Disable { program, is } => {
            if is_there(w, program) {
                w.command(&name(program), |g| (g.run, g.disabled) = (g.run && !is, is));
            }
        }
        Happening::Remove(program) => {
            if is_there(w, program) {
                w.remove(&name(program));
            }
        }
        Happening::Steer { program, step } => steer(w, &name(program), step),
        Happening::Lose(n) => w.lose(&format!("w{n}")),
        Happening::Silent(n) => {
            let name = format!("w{n}");
            let leases = w
                .view
                .leases()
                .filter(|((worker, _), lease)| worker.as_str() == name && lease.life == Life::Live);
            let all: Vec<u64> = leases.map(|((_, seconds), _)| seconds).collect();
            for seconds in all {
                w.judge(&name, seconds, Life::Silent);
            }
        }
        Happening::Return(n) => w.join(&format!("w{n}")),
        Happening::Forget(n) => {
            let name = worker(&format!("w{n}"));
            if w.view.is_lost(&name) {
                w.view.set_worker(&name, None);
            }
        }
        Happening::Stopping(n) => {
            let name = format!("w{n}");
            if w.view.worker(&worker(&name)).is_some() {
                w.edit_worker(&name, |worker| worker.stopping = !worker.stopping);
            }
        }
        Happening::Want { worker, cordoned, draining } => {
            w.want_worker(&format!("w{worker}"), |goal| {
                (goal.cordoned, goal.draining) = (cordoned, draining);
            });
        }
        Happening::Rebuild { worker: n, bits } => {
            let name = format!("w{n}");
            if w.view.worker(&worker(&name)).is_some() {
                let zone = ["a", "b"][usize::from(bits & 1)];
                let labels = [("zone", zone)];
                w.label(&name, if bits & 2 == 0 { &[] } else { &labels });
                w.equip(&name, if bits & 4 == 0 { &[] } else { &["user"] });
                w.edit_worker(&name, |worker| {
                    worker.capacity.cpu = [0.0, 1.0, 2.0, 4.0][usize::from(bits >> 3 & 3)];
                });
            }
        }
        Happening::Rebalance => {
            for planned in rebalance(&w.view) {
                let name = planned.name.to_string();
                let epoch = w.placed(&name).unwrap().epoch;
                w.mark_leaving(&name, epoch);
            }
        }
        Happening::Tell { program, index, state } => {
            let name = format!("{}:{index}", name(program));
            // What rests does nothing by itself.
            if w.placed(&name).is_some_and(|placed| placed.rest.is_none()) {
                w.tell(&name, state);
            }
        }
        Happening::End { program, index, code } => {
            w.end(&format!("{}:{index}", name(program)), code);
        }
        Happening::Pass(seconds) => w.seconds += seconds,
        Happening::Obey => w.obey(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens: planning again right after enacting gives nothing but the next step of what
    /// takes several, and in the end all comes to rest where it may be. Each step asserts more: see
    /// [`World::step`] and what is checked when it enacts.
    #[test]
    fn it_comes_to_rest(happenings in proptest::collection::vec(happening(), 1..40)) {
        let mut w = World::with_workers(3);
        for h in happenings {
            happen(&mut w, &h);
            let mut rounds = 0;
            while !w.step().is_empty() {
                rounds += 1;
                prop_assert!(rounds < 12, "it plans for ever without news");
            }
        }
        for n in 1..=WORKERS {
            let name = format!("w{n}");
            w.join(&name);
            w.edit_worker(&name, |worker| worker.stopping = false);
            w.want_worker(&name, |_| {});
            happen(&mut w, &Happening::Rebuild { worker: n, bits: 4 });
        }
        w.settle();
        for _ in 0..4 * HEALTHY_MAX {
            w.seconds += HEALTHY_MAX;
            w.settle();
        }
        for (name, placed) in w.view.placements() {
            let program = w.view.program(&name.program).unwrap();
            prop_assert!(w.view.is_declared(program, name.index) || program.rollout.is_some());
            // A rollout that is paused or has failed leaves the rest as it was; a oneshot
            // comes to its end; and where too many are down, none is taken down besides.
            let rows = rows::of_program(&w.view, &name.program);
            let waits = program.rollout.is_some()
                || program.spec.kind == Kind::Oneshot
                || rows.iter().any(|row| row.wanted.run && row.state != State::Running);
            let machines = &program.spec.machines;
            let fits = machines.is_empty() || machines.contains(&placed.worker);
            prop_assert!(waits || (placed.revision == program.revision && fits), "{name}");
        }
    }
}
