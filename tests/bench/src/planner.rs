//! What the planner costs in a large fleet: 1,000 workers, 1,000 programs of 100 instances.
//!
//! What a scheduler is told is told to it as JSON, and read entry by entry as its core does; the
//! texts are made one at a time, so that memory is what the view takes and not what is told. It is
//! processor time: a planner waits for nothing, and what else the machine does is not its cost.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_planner::view::{Life, Seen, View};
use dsbus_planner::{Action, Now, plan};
use dsbus_schema::goal::Goal;
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId, ProgramId, ProgramName, WorkerName};
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::placement::Placement;
use dsbus_schema::program::{Program, ProgramSpec};
use dsbus_schema::status::Status;
use dsbus_schema::storage::{goal_key, instance_key};
use dsbus_schema::touch::PRESENCE_SECONDS;
use dsbus_schema::worker::Worker;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use uuid::Uuid;

use crate::clock::{busy, millis};
use crate::report::{Limit, Report, Who};
use crate::{Outcome, Setting, float, proc};

/// A fleet for a short run, and the one that is measured.
const SHORT: Size = Size { workers: 50, programs: 50, copies: 100 };
const LARGE: Size = Size { workers: 1_000, programs: 1_000, copies: 100 };
const FACT_MS_MAX: f64 = 1.0;
const LOSS_MS_MAX: f64 = 10.0;
const START_S_MAX: f64 = 5.0;
const RESIDENT_MB_MAX: f64 = 500.0;
/// How often each kind of fact is folded and planned for, and how many workers are lost.
const FACTS: usize = 1_000;
const LOSSES: usize = 50;

#[derive(Clone, Copy)]
struct Size {
    workers: usize,
    programs: usize,
    copies: usize,
}

/// What a scheduler holds: the view, and which entry of each key it has folded.
struct Told {
    size: Size,
    view: View,
    seqs: BTreeMap<String, u64>,
    seq: u64,
    boot: Duration,
    reading: Duration,
}

pub(crate) fn run(setting: Setting) -> Outcome<Report> {
    let size = if setting.short { SHORT } else { LARGE };
    let me = i32::try_from(std::process::id())?;
    let before = f64::from(proc::pss(me)?);
    let mut told = Told {
        size,
        view: View::default(),
        seqs: BTreeMap::new(),
        seq: 0,
        boot: Duration::ZERO,
        reading: Duration::ZERO,
    };
    let mut report = Report::default();
    told.snapshot()?;
    let fold = told.reading;
    let (first, nothing) = told.plan();
    if !nothing.is_empty() {
        return Err(format!("a fleet at rest was planned for: {:?}", nothing.first()).into());
    }
    let resident = (f64::from(proc::pss(me)?) - before) * 1.024e-3;
    let instances = size.programs * size.copies;
    let all = format!("{} workers, {instances} instances", size.workers);
    report.row(
        Who::Ours,
        &format!("a snapshot read and folded, {all}"),
        "s",
        vec![fold.as_secs_f64()],
    );
    report.row(Who::Ours, "the first plan", "s", vec![first.as_secs_f64()]);
    report.row(Who::Ours, "memory of the view", "MB", vec![resident]);

    let rounds = setting.rounds(FACTS, 50);
    let states = told.facts(rounds, Told::restarted)?;
    let p50 = report.row(Who::Ours, "an instance was started again", "ms", states);
    let goals = told.facts(rounds, Told::commanded)?;
    report.row(Who::Ours, "an instance is to stop, or to run", "ms", goals);
    let records = told.facts(rounds, Told::measured)?;
    report.row(Who::Ours, "a worker told what it measured", "ms", records);
    let losses = told.losses(setting.rounds(LOSSES, 5))?;
    let held = instances / size.workers;
    let loss = report.row(Who::Ours, &format!("a worker with {held} instances lost"), "ms", losses);

    let mut goal = |what: &str, measured, most| {
        report.goal(what, measured, Some(Limit::AtMost(most)));
    };
    goal("s from nothing to the first plan", (fold + first).as_secs_f64(), START_S_MAX);
    goal("MB for all of it", resident, RESIDENT_MB_MAX);
    if let Some(p50) = p50 {
        goal("ms to plan for one fact, p50", p50.median(), FACT_MS_MAX);
    }
    if let Some(loss) = loss {
        goal("ms to plan for the loss of a worker, p99", loss.percentile(99), LOSS_MS_MAX);
    }
    Ok(report)
}

impl Told {
    fn next(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// How long a plan takes, and what is planned.
    fn plan(&mut self) -> (Duration, Vec<Action>) {
        self.boot += Duration::from_millis(1);
        let boot = BootTime::default() + Duration::from_secs(1_000_000) + self.boot;
        let now = Now { boot, wall: wall() };
        let begun = busy();
        let actions = plan(&mut self.view, now);
        (busy().saturating_sub(begun), actions)
    }

    fn now(&self) -> BootTime {
        BootTime::default() + Duration::from_secs(1_000_000) + self.boot
    }

    /// What is told under a key is read; the time for that counts, and the making of it does not.
    fn read<T: Serialize + DeserializeOwned>(
        &mut self,
        key: String,
        value: &T,
        fold: impl FnOnce(&mut View, u64, T),
    ) -> Outcome<()> {
        let text = serde_json::to_vec(value)?;
        let seq = self.next();
        let begun = busy();
        self.seqs.insert(key, seq);
        fold(&mut self.view, seq, serde_json::from_slice(&text)?);
        self.reading += busy().saturating_sub(begun);
        Ok(())
    }

    fn snapshot(&mut self) -> Outcome<()> {
        let size = self.size;
        for number in 0..size.workers {
            let name = worker(number)?;
            let record = record(&name)?;
            self.read(name.to_string(), &record, |view, seq, value| {
                view.set_worker(&name, Some(Seen { seq, value }));
            })?;
            self.touch(&name);
        }
        for number in 0..size.programs {
            let program = program(number, size.copies)?;
            let name = program.name.clone();
            self.read(name.to_string(), &program, |view, seq, value| {
                view.set_program(&name, Some(Seen { seq, value }));
            })?;
            let goal = Goal { run: true, stamp: 1, starts: 1, ..Goal::default() };
            self.read(goal_key(&name, None), &goal, |view, _, goal| {
                view.set_goal(&name, None, Some(goal));
            })?;
            for copy in 0..size.copies {
                let worker = worker((number * size.copies + copy) % size.workers)?;
                self.instance(&program, u32::try_from(copy)?, &worker)?;
            }
        }
        Ok(())
    }

    fn instance(&mut self, program: &Program, index: u32, worker: &WorkerName) -> Outcome<()> {
        let name = InstanceId::new(program.name.clone(), index);
        let mut wanted = self.view.wanted(program, index);
        wanted.run = true;
        let mut placement =
            Placement::new(program.id, 1, Epoch(self.seq), wanted, program.spec.clone());
        placement.reason = Some("best of those that may take it (0 copies, 99 instances)".into());
        let key = instance_key(worker, &name);
        self.read(key.clone(), &placement, |view, seq, placement| {
            view.set_placement(worker, &name, seq, Some(placement));
        })?;
        let status = status(&placement)?;
        let now = self.now();
        self.read(format!("status/{key}"), &status, |view, seq, value| {
            view.set_status(worker, &name, Some(Seen { seq, value }), now);
        })
    }

    fn touch(&mut self, worker: &WorkerName) {
        let seq = self.next();
        let run = Some(Incarnation(Uuid::nil()));
        self.view.touched(worker, PRESENCE_SECONDS, seq, run, wall());
        self.view.set_life(worker, PRESENCE_SECONDS, Life::Live);
    }

    /// Folds facts, each about something else, and says how long each took to fold and plan for.
    fn facts(
        &mut self,
        rounds: usize,
        fact: fn(&mut Told, usize) -> Outcome<()>,
    ) -> Outcome<Vec<f64>> {
        let mut took = Vec::new();
        for round in 0..rounds {
            self.reading = Duration::ZERO;
            fact(self, round.wrapping_mul(7_919))?;
            took.push(millis(self.reading + self.plan().0));
        }
        Ok(took)
    }

    /// An instance among all, by a number.
    fn pick(&self, number: usize) -> Outcome<(Program, InstanceId)> {
        let program = program(number % self.size.programs, self.size.copies)?;
        let index = u32::try_from(number / self.size.programs % self.size.copies)?;
        let name = InstanceId::new(program.name.clone(), index);
        Ok((program, name))
    }

    fn restarted(&mut self, number: usize) -> Outcome<()> {
        let (_, name) = self.pick(number)?;
        let placed = self.view.placed(&name).ok_or("it has no place")?.clone();
        let mut status = status(&placed.placement())?;
        (status.pid, status.restarts) = (Some(4_712), 1);
        let (key, now) = (instance_key(&placed.worker, &name), self.now());
        self.read(format!("status/{key}"), &status, |view, seq, value| {
            view.set_status(&placed.worker, &name, Some(Seen { seq, value }), now);
        })
    }

    fn commanded(&mut self, number: usize) -> Outcome<()> {
        let (_, name) = self.pick(number)?;
        let goal = Goal { run: number.is_multiple_of(2), stamp: 2, ..Goal::default() };
        self.read(goal_key(&name.program, Some(name.index)), &goal, |view, _, goal| {
            view.set_goal(&name.program, Some(name.index), Some(goal));
        })
    }

    fn measured(&mut self, number: usize) -> Outcome<()> {
        let name = worker(number % self.size.workers)?;
        let mut record = record(&name)?;
        record.facts.load[0] += 1.0;
        self.read(name.to_string(), &record, |view, seq, value| {
            view.set_worker(&name, Some(Seen { seq, value }));
        })
    }

    /// Workers that are lost one after the other, and are back before the next one is.
    fn losses(&mut self, rounds: usize) -> Outcome<Vec<f64>> {
        let mut took = Vec::new();
        for round in 0..rounds {
            let name = worker(round * 17 % self.size.workers)?;
            let seq = self.next();
            let begun = busy();
            self.view.expired(&name, PRESENCE_SECONDS, seq);
            self.view.set_life(&name, PRESENCE_SECONDS, Life::Lost);
            let fold = busy().saturating_sub(begun);
            let (planned, actions) = self.plan();
            let moves = actions.iter().filter(|a| matches!(a, Action::Move { .. })).count();
            if moves == 0 || moves > self.view.load(&name) {
                return Err(format!("{moves} moves were planned for the loss of {name}").into());
            }
            took.push(millis(fold + planned));
            self.touch(&name);
            self.plan();
        }
        Ok(took)
    }
}

fn wall() -> Timestamp {
    Timestamp::from_unix_nanos(1_777_593_600_000_000_000)
}

fn worker(number: usize) -> Outcome<WorkerName> {
    Ok(WorkerName::parse(&format!("worker-{number:04}"))?)
}

fn record(name: &WorkerName) -> Outcome<Worker> {
    let zone = ["eu", "us", "ap"][name.as_str().len() % 3];
    Ok(serde_json::from_value(json!({
        "name": name, "machine": "0123456789abcdef0123456789abcdef", "boot": Uuid::nil(),
        "directory": "/var/lib/dsbus", "host": name, "incarnation": Uuid::nil(),
        "agent_pid": 4711, "supervisor_pid": 4710, "version": "0.1.0", "started": wall(),
        "facilities": ["cgroup", "limits.memory", "user"], "labels": { "zone": zone },
        "capacity": { "cpu": 64.0, "memory": 256_u64 << 30 },
        "facts": { "cores": 64, "memory_total": 256_u64 << 30, "memory_available": 128_u64 << 30 },
    }))?)
}

fn program(number: usize, copies: usize) -> Outcome<Program> {
    let spec: ProgramSpec = serde_json::from_value(json!({
        "command": ["/usr/bin/service", "--port", "80%(process_num)02d", "--config", "/etc/service.toml"],
        "numprocs": copies, "directory": "/srv/service",
        "environment": { "LANG": "C.UTF-8", "SERVICE_ROLE": "worker", "SERVICE_LOG": "info" },
        "resources": { "cpu": 0.25, "memory": "256MB" },
    }))?;
    let name = ProgramName::parse(&format!("service-{number:04}"))?;
    Ok(Program::new(ProgramId(Uuid::from_u128(float(number).to_bits().into())), name, spec))
}

/// What a worker tells of an instance that runs.
fn status(placement: &Placement) -> Outcome<Status> {
    Ok(serde_json::from_value(json!({
        "id": placement.id, "epoch": placement.epoch, "revision": placement.revision,
        "wanted": placement.wanted, "state": "RUNNING", "since": wall(), "pid": 4711, "exit": null,
        "reason": null, "spawnerr": null, "seq": 2, "event": Uuid::nil(),
        "stdout_logfile": "/var/lib/dsbus/log/service-0000:0.out",
        "stderr_logfile": "/var/lib/dsbus/log/service-0000:0.err",
        "incarnation": Uuid::nil(),
    }))?)
}
