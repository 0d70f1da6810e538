//! The edge of a scheduler: what `scheduler/daemon/src/run.rs` does with a bus and a clock, done
//! with simulated ones. What decides is the daemon's own: [`Core`], [`Pulse`], [`Turns`], `writes`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use dsbus_client::{Error, Item};
use dsbus_planner::{Action, Now};
use dsbus_scheduler::core::{Core, LeaseKey};
use dsbus_scheduler::pulse::Pulse;
use dsbus_scheduler::tell::queue::Queue;
use dsbus_scheduler::turn::Turns;
use dsbus_scheduler::writes::{Group, Writer, groups, hold_key};
use dsbus_schema::ids::{FleetName, WorkerName};
use dsbus_schema::moment::BootTime;
use dsbus_schema::storage::{Bucket, scheduler_key};
use dsbus_schema::touch::{PRESENCE_SECONDS, SchedulerTouch};
use uuid::Uuid;

use crate::adapter;
use crate::commands::Commanded;
use crate::dice::MS;
use crate::event::{Answer, Answered, Event, Op, Run, Tick, Who};
use crate::jobs::Enacting;
use crate::planted::{self, Planted};
use crate::telling::{Audit, Sent};
use crate::world::World;

/// The daemon judges every 50 ms; here some of these moments are left out, which only delays.
const JUDGE_MS: u64 = 100;
const TOUCH_PATIENCE: Duration = Duration::from_millis(500);
const RETRY_MS: u64 = 150;
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// The longest rest after a plan.
const REST_MS: u64 = 50;

/// What a call of a scheduler is about.
#[derive(Debug)]
pub(crate) enum Pending {
    Touch { sent: BootTime },
    Ask(WorkerName),
    Last(Bucket),
    Job(usize),
    Command(u64),
    Told(usize),
    Audit(u64),
}

/// A scheduler.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Scheduler {
    pub(crate) id: String,
    pub(crate) core: Core,
    pub(crate) pulse: Pulse,
    news: bool,
    /// It is to be woken up to plan.
    planning: bool,
    rests_until: BootTime,
    pub(crate) held: BTreeMap<String, (BootTime, Action)>,
    pub(crate) turns: Turns,
    /// Into how small batches moves away from a lost worker are split.
    pub(crate) split: BTreeMap<LeaseKey, usize>,
    pub(crate) fleet_awaited: Option<u64>,
    own: VecDeque<(BootTime, BootTime)>,
    answers: VecDeque<WorkerName>,
    heard: VecDeque<(Bucket, Item)>,
    judge_due: bool,
    pub(crate) enacting: Option<Enacting>,
    pub(crate) calls: BTreeMap<u64, Pending>,
    pub(crate) commands: BTreeMap<u64, Commanded>,
    attempt: u64,
    pub(crate) served: bool,
    run: Uuid,
    pub(crate) outbox: Queue,
    /// Events on their way.
    pub(crate) sent: Vec<Sent>,
    /// Some of them were not stored: it is waited for a moment.
    pub(crate) pausing: bool,
    pub(crate) audits: BTreeMap<u64, Audit>,
}

/// The name of a scheduler.
pub(crate) fn id(n: usize) -> String {
    format!("s{}", n + 1)
}

impl Scheduler {
    fn new(id: String, run: Uuid, planted: Option<Planted>) -> Scheduler {
        let mut core = Core::new(FleetName::default(), &id);
        core.judge.omit(planted::judge(planted));
        Scheduler {
            id,
            core,
            pulse: Pulse::default(),
            news: true,
            planning: false,
            rests_until: BootTime(0),
            held: BTreeMap::new(),
            turns: Turns::default(),
            split: BTreeMap::new(),
            fleet_awaited: None,
            own: VecDeque::new(),
            answers: VecDeque::new(),
            heard: VecDeque::new(),
            judge_due: false,
            enacting: None,
            calls: BTreeMap::new(),
            commands: BTreeMap::new(),
            attempt: 0,
            served: false,
            run,
            outbox: Queue::default(),
            sent: Vec::new(),
            pausing: false,
            audits: BTreeMap::new(),
        }
    }

    /// How it stands, for a trace.
    pub(crate) fn shown(&self) -> String {
        let Scheduler { id, news, held, split, fleet_awaited, enacting, .. } = self;
        let ready = self.core.ready();
        format!(
            "{id}: ready {ready}, news {news}, {held:?} {split:?} {fleet_awaited:?} {enacting:?}"
        )
    }

    /// Whether nothing waits to be done.
    pub(crate) fn idle(&self) -> bool {
        let told = self.outbox.untold() == 0;
        self.enacting.is_none() && self.heard.is_empty() && self.held.is_empty() && told
    }

    pub(crate) fn touch(&self, attempt: u64) -> SchedulerTouch {
        SchedulerTouch {
            host: self.id.clone(),
            pid: 1,
            attempt,
            run: self.run,
            ready: self.served,
            leaving: false,
            untold: self.outbox.untold() as u64,
        }
    }

    pub(crate) fn writer(&self) -> Writer<'_> {
        Writer { id: &self.id, touch: self.touch(0) }
    }
}

impl World {
    /// A scheduler starts.
    pub(crate) fn start_scheduler(&mut self, n: usize) {
        let run = self.begin(Who::Scheduler(n));
        let number = self.uuid();
        self.schedulers[n] = Some(Scheduler::new(id(n), number, self.setup.planted));
        for bucket in Bucket::STATE {
            self.watch(run, bucket, ">");
        }
        let pause = self.dice.ms(1, 50);
        self.reconnect(run, pause);
        let now = self.agenda.now();
        let first = self.dice.ms(1, JUDGE_MS);
        self.agenda.at(now + first, Event::Timer { to: run, tick: Tick::Judge, number: 0 });
        self.agenda.at(now + MS, Event::Timer { to: run, tick: Tick::Touch, number: 0 });
    }

    /// Something happens to a scheduler.
    pub(crate) fn wake_scheduler(&mut self, n: usize, event: Event) {
        let Some(run) = event.to() else { return };
        let now = self.clock(run.who);
        match event {
            Event::Timer { tick: Tick::Judge, .. } => {
                let next = self.agenda.now() + JUDGE_MS * MS;
                self.agenda.at(next, Event::Timer { to: run, tick: Tick::Judge, number: 0 });
                if let Some(s) = &mut self.schedulers[n] {
                    s.pulse.beat(now);
                    s.judge_due = true;
                }
            }
            Event::Timer { tick: Tick::Plan, .. } => {
                if let Some(s) = &mut self.schedulers[n] {
                    s.planning = false;
                }
            }
            Event::Timer { tick: Tick::Touch, .. } => self.touch_scheduler(n, run),
            Event::Timer { tick: Tick::Again(number), .. } => self.command_again(n, run, number),
            Event::Timer { tick: Tick::Tell, .. } => {
                if let Some(s) = &mut self.schedulers[n] {
                    s.pausing = false;
                }
            }
            Event::Answered { token, result, .. } => self.scheduler_answered(n, run, token, result),
            Event::Deliver { watch, generation, item, .. } => {
                let bucket = self.watches[watch].bucket;
                if self.delivered(watch, generation, &item)
                    && let Some(s) = &mut self.schedulers[n]
                {
                    s.heard.push_back((bucket, item));
                }
            }
            Event::Command { from, token, command, .. } => {
                self.begin_command(n, run, from, token, *command);
            }
            _ => {}
        }
        self.scheduler_loop(n, run);
        self.tell(n, run);
    }

    fn touch_scheduler(&mut self, n: usize, run: Run) {
        let sent = self.clock(run.who);
        let Some(s) = &mut self.schedulers[n] else { return };
        s.attempt += 1;
        let (key, touch) = (scheduler_key(&s.id), s.touch(s.attempt));
        let Ok(write) = dsbus_client::Write::put(key, &touch) else { return };
        let writes = vec![write.ttl(PRESENCE_SECONDS)];
        let token = self.call(run, Op::Write { bucket: Bucket::Fleet, writes }, TOUCH_PATIENCE);
        if let Some(s) = &mut self.schedulers[n] {
            s.calls.insert(token, Pending::Touch { sent });
        }
    }

    fn scheduler_answered(&mut self, n: usize, run: Run, token: u64, result: Answered) {
        let now = self.clock(run.who);
        let Some(s) = &mut self.schedulers[n] else { return };
        match s.calls.remove(&token) {
            None => {}
            Some(Pending::Touch { sent }) => {
                let pause = if result.is_ok() {
                    s.own.push_back((sent, now));
                    s.core.shortest_lease() * 1_000 / 4
                } else {
                    RETRY_MS
                };
                let at = self.agenda.now() + pause * MS;
                self.agenda.at(at, Event::Timer { to: run, tick: Tick::Touch, number: 0 });
            }
            Some(Pending::Ask(worker)) if result.is_ok() => {
                s.answers.push_back(worker.clone());
                self.witness.answered.insert(worker, self.agenda.now());
            }
            Some(Pending::Ask(_)) => {}
            Some(Pending::Last(bucket)) => self.last_read(n, run, bucket, result),
            Some(Pending::Job(job)) => self.job_answered(n, run, job, result),
            Some(Pending::Command(number)) => self.command_answered(n, run, number, result),
            Some(Pending::Told(number)) => self.told_answered(n, run, number, &result),
            Some(Pending::Audit(number)) => self.audited(n, run, number, &result),
        }
    }

    /// One or more turns of the daemon's loop. While it enacts it folds nothing.
    pub(crate) fn scheduler_loop(&mut self, n: usize, run: Run) {
        loop {
            let now = self.clock(run.who);
            let Some(s) = &mut self.schedulers[n] else { return };
            if s.enacting.is_some() {
                return;
            }
            while let Some((sent, acked)) = s.own.pop_front() {
                s.core.judge.own_touch(sent, acked);
            }
            while let Some(worker) = s.answers.pop_front() {
                s.core.answered(&worker);
                s.news = true;
            }
            if std::mem::take(&mut s.judge_due) && s.core.ready() {
                self.judge(n, run, now);
            }
            self.fold_heard(n, now);
            let Some(s) = &mut self.schedulers[n] else { return };
            s.served |= s.core.ready();
            if !s.served || !self.plan_if_due(n, run, now) {
                return;
            }
        }
    }

    fn fold_heard(&mut self, n: usize, now: BootTime) {
        let Some(s) = &mut self.schedulers[n] else { return };
        while let Some((bucket, item)) = s.heard.pop_front() {
            match item {
                Item::Entry(entry) => {
                    s.core.heard(bucket, entry.seq);
                    // What cannot be read is left out; here everything can.
                    let _ = s.core.fold(bucket, &entry, now);
                }
                Item::CaughtUp => {
                    s.core.caught_up(bucket);
                    s.news = true;
                }
                Item::Reset => s.core.reset(bucket),
            }
        }
    }

    fn judge(&mut self, n: usize, run: Run, now: BootTime) {
        let Some(s) = &mut self.schedulers[n] else { return };
        let (lost, ask, changed) = s.core.judge_all(now);
        s.news |= changed;
        s.core.take_awaited();
        let workers: BTreeSet<WorkerName> = ask.into_iter().map(|(worker, _)| worker).collect();
        for worker in workers {
            let Some(machine) = self.machine_of(&worker) else { continue };
            self.note(|| format!("s{}: asks {worker}", n + 1));
            let token = self.call(run, Op::Ping(machine), ANSWER_PATIENCE);
            if let Some(s) = &mut self.schedulers[n] {
                s.calls.insert(token, Pending::Ask(worker));
            }
        }
        for key in lost {
            self.note(|| format!("s{}: {} is lost ({} s)", n + 1, key.0, key.1));
            self.witness_lost(n, &key);
            self.meddle(&key.0);
        }
    }

    /// Plans, if it is time to; says whether to go round again.
    fn plan_if_due(&mut self, n: usize, run: Run, now: BootTime) -> bool {
        let wall = self.wall();
        let Some(s) = &mut self.schedulers[n] else { return false };
        let moment = Now { boot: now, wall };
        // What was held back is planned for again, and what time has come for.
        let over: Vec<String> =
            s.held.iter().filter(|(_, (until, _))| *until <= now).map(|(k, _)| k.clone()).collect();
        for what in over {
            if let Some((_, action)) = s.held.remove(&what) {
                adapter::again(&mut s.core, &action);
            }
        }
        s.news |= adapter::has_news(&s.core, moment);
        if s.news && now < s.rests_until && !s.planning {
            s.planning = true;
            let at = self.agenda.now()
                + u64::try_from(s.rests_until.since(now).as_nanos()).unwrap_or(MS);
            self.agenda.at(at, Event::Timer { to: run, tick: Tick::Plan, number: 0 });
        }
        if !s.news || now < s.rests_until {
            return false;
        }
        s.news = false;
        let all = adapter::planned(&mut s.core, self.setup.planted, moment);
        let rest = self.dice.ms(1, REST_MS);
        let turn = self.setup.planted != Some(Planted::NoTurn);
        let Some(s) = &mut self.schedulers[n] else { return false };
        s.rests_until = now + Duration::from_nanos(rest);
        let due = s.due(all, turn, now);
        if due.is_empty() {
            return false;
        }
        let split = s.split.clone();
        let most = |worker: &WorkerName, seconds: u64| {
            split.get(&(worker.clone(), seconds)).copied().unwrap_or(usize::MAX)
        };
        let groups = groups(due, most);
        self.enact(n, run, groups);
        true
    }
}

impl Scheduler {
    /// What of a plan is to be done now; what is another scheduler's turn is held back.
    fn due(&mut self, all: Group, turn: bool, now: BootTime) -> Group {
        let mut due = Group::new();
        for (action, id) in all {
            let what = hold_key(&action);
            if self.held.contains_key(&what) {
                continue;
            }
            let patience = action.program().map(|program| self.core.patience(&self.id, program));
            let patience = patience.filter(|_| turn).unwrap_or_default();
            match self.turns.wait(&what, patience, now) {
                Some(at) => drop(self.held.insert(what, (at, action))),
                None => due.push((action, id)),
            }
        }
        due
    }

    /// Something changed that was not heard.
    pub(crate) fn renew(&mut self) {
        self.news = true;
    }
}

/// Whether a write was refused because somebody else was first.
pub(crate) fn lost_race(result: &Answered) -> bool {
    matches!(result, Err(Error::LostRace { .. }))
}

/// The sequence that a write got.
pub(crate) fn seq(result: Answered) -> Result<u64, Error> {
    match result {
        Ok(Answer::Seq(seq)) => Ok(seq),
        Ok(_) => Err(Error::Timeout),
        Err(e) => Err(e),
    }
}
