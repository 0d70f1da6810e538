//! A scheduler enacts what it planned: first it makes sure that it has heard what is on the bus,
//! then it writes, some at once.

use std::collections::VecDeque;
use std::time::Duration;

use dsbus_client::{Entry, Error, Write};
use dsbus_planner::Action;
use dsbus_scheduler::writes::{
    Goals, Group, Writes, goal_after, goal_of, goal_pattern, hold_key, lease_of, said,
};
use dsbus_schema::goal::Goal;
use dsbus_schema::ids::FleetName;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::storage::{Bucket, fleet_status_key, goal_key};

use crate::adapter;
use crate::event::{Answer, Answered, Op, Run};
use crate::scheduler::{Pending, Scheduler, lost_race, seq};
use crate::world::World;

/// Writes at once, as in the daemon.
const WRITES_AT_ONCE: usize = 64;
/// As in the daemon.
const HOLD_AFTER_REFUSAL: Duration = Duration::from_millis(250);
/// As in the daemon: a batch that was refused is tried again in parts, once the watch has shown
/// what there is to show.
const HOLD_AFTER_SPLIT: Duration = Duration::from_millis(50);
/// How long the bus may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// One group of actions that is being enacted.
#[derive(Debug)]
struct Doing {
    group: Group,
    writes: Option<Writes>,
    /// What was read so far, of goals.
    read: Vec<Option<Entry>>,
    done: Option<Result<(), Error>>,
}

/// What a scheduler is enacting.
#[derive(Debug)]
pub(crate) struct Enacting {
    waiting: VecDeque<Group>,
    last: Vec<(Bucket, u64)>,
    /// Buckets whose last sequence is being read.
    reading: usize,
    unread: bool,
    jobs: Vec<Doing>,
}

impl World {
    /// Begins to enact.
    pub(crate) fn enact(&mut self, n: usize, run: Run, groups: Vec<Group>) {
        let Some(s) = &mut self.schedulers[n] else { return };
        let mut enacting = Enacting {
            waiting: groups.into(),
            last: Vec::new(),
            reading: 0,
            unread: false,
            jobs: Vec::new(),
        };
        let mut read = vec![Bucket::Programs, Bucket::Goals, Bucket::Workers];
        match s.fleet_awaited {
            Some(seq) => enacting.last.push((Bucket::Fleet, seq)),
            None => read.push(Bucket::Fleet),
        }
        enacting.reading = read.len();
        s.enacting = Some(enacting);
        for bucket in read {
            let op = Op::Get { bucket, pattern: ">".to_owned() };
            let token = self.call(run, op, PATIENCE);
            if let Some(s) = &mut self.schedulers[n] {
                s.calls.insert(token, Pending::Last(bucket));
            }
        }
    }

    /// The last sequence of a bucket was read, or not.
    pub(crate) fn last_read(&mut self, n: usize, run: Run, bucket: Bucket, result: Answered) {
        let Some(s) = &mut self.schedulers[n] else { return };
        let Some(enacting) = &mut s.enacting else { return };
        enacting.reading -= 1;
        match result {
            Ok(Answer::Entry(entry)) => {
                enacting.last.extend(entry.map(|entry| (bucket, entry.seq)));
            }
            _ => enacting.unread = true,
        }
        if enacting.reading > 0 {
            return;
        }
        let (unread, last) = (enacting.unread, std::mem::take(&mut enacting.last));
        let current = !unread && s.core.has_heard(&last);
        if !unread {
            let fleet = last.iter().find(|(bucket, _)| *bucket == Bucket::Fleet);
            s.fleet_awaited = if current { None } else { fleet.map(|(_, seq)| *seq) };
        }
        if current {
            s.renew();
            self.next_jobs(n, run);
        } else {
            // What is missing is on its way, and wakes the loop up.
            s.give_up();
        }
    }

    fn next_jobs(&mut self, n: usize, run: Run) {
        let Some(s) = &mut self.schedulers[n] else { return };
        let Some(enacting) = &mut s.enacting else { return };
        let some = enacting.waiting.len().min(WRITES_AT_ONCE);
        let groups: Vec<Group> = enacting.waiting.drain(..some).collect();
        if groups.is_empty() {
            s.enacting = None;
            return;
        }
        let job = |group| Doing { group, writes: None, read: Vec::new(), done: None };
        enacting.jobs = groups.into_iter().map(job).collect();
        for job in 0..some {
            self.begin_job(n, run, job);
        }
    }

    fn job_call(&mut self, n: usize, run: Run, job: usize, op: Op) {
        let token = self.call(run, op, PATIENCE);
        if let Some(s) = &mut self.schedulers[n] {
            s.calls.insert(token, Pending::Job(job));
        }
    }

    fn begin_job(&mut self, n: usize, run: Run, number: usize) {
        let (planted, wall) = (self.setup.planted, self.wall());
        let event = self.uuid();
        let Some(s) = &mut self.schedulers[n] else { return };
        let Some(mut enacting) = s.enacting.take() else { return };
        let mut op = None;
        if let Some(job) = enacting.jobs.get_mut(number) {
            op = job.begin(&s.writer(), planted, (event, wall));
        }
        s.enacting = Some(enacting);
        match op {
            Some(op) => self.job_call(n, run, number, op),
            None => self.job_done(n, run, number, Err(Error::Timeout)),
        }
    }

    /// A step of a job is answered.
    pub(crate) fn job_answered(&mut self, n: usize, run: Run, number: usize, result: Answered) {
        let Some(s) = &mut self.schedulers[n] else { return };
        let Some(enacting) = &mut s.enacting else { return };
        let Some(job) = enacting.jobs.get_mut(number) else { return };
        match result {
            Ok(Answer::Entry(entry)) => {
                job.read.push(entry.map(|entry| *entry));
                match job.next() {
                    Some(op) => self.job_call(n, run, number, op),
                    // It is counted already.
                    None => self.job_done(n, run, number, Ok(0)),
                }
            }
            other => {
                if lost_race(&other) {
                    self.counts.lost_races += 1;
                }
                self.job_done(n, run, number, seq(other));
            }
        }
    }

    fn job_done(&mut self, n: usize, run: Run, number: usize, result: Result<u64, Error>) {
        let (now, wall) = (self.clock(run.who), self.wall());
        let Some(s) = &mut self.schedulers[n] else { return };
        let Some(mut enacting) = s.enacting.take() else { return };
        if let Some(job) = enacting.jobs.get_mut(number) {
            let folded = match (&result, &job.writes) {
                (Ok(last), Some(writes)) => writes.entries(*last, wall, &s.id),
                _ => Vec::new(),
            };
            let many = job.group.len() > 1;
            if let Some((worker, lease)) = lease_of(&job.group) {
                let key = (worker, lease.seconds);
                if result.is_ok() {
                    s.split.remove(&key);
                } else if many {
                    s.split.insert(key, job.group.len() / 2);
                }
            }
            if folded.is_empty() {
                let hold = if many { HOLD_AFTER_SPLIT } else { HOLD_AFTER_REFUSAL };
                let back =
                    |(action, _): &(Action, _)| (hold_key(action), (now + hold, action.clone()));
                s.held.extend(job.group.iter().map(back));
            }
            for (bucket, entry) in folded {
                let _ = s.core.fold(bucket, &entry, now);
            }
            job.done = Some(result.map(|_| ()));
        }
        let all = enacting.jobs.iter().all(|job| job.done.is_some());
        let trouble = |job: &Doing| match &job.done {
            Some(Err(Error::LostRace { .. }) | Ok(())) | None => false,
            Some(Err(_)) => true,
        };
        let troubled = enacting.jobs.iter().any(trouble);
        s.enacting = Some(enacting);
        if all && troubled {
            s.give_up();
        } else if all {
            self.next_jobs(n, run);
        }
    }
}

impl Scheduler {
    /// What is left is planned again.
    fn give_up(&mut self) {
        let Some(enacting) = self.enacting.take() else { return };
        for (action, _) in enacting.waiting.into_iter().flatten() {
            adapter::again(&mut self.core, &action);
        }
    }
}

impl Doing {
    fn begin(
        &mut self,
        writer: &dsbus_scheduler::writes::Writer<'_>,
        planted: Option<crate::planted::Planted>,
        (event, wall): (uuid::Uuid, Timestamp),
    ) -> Option<Op> {
        self.writes = match self.group.first()? {
            (Action::SetFleetStatus { name, state, reason, guard }, id) => {
                let status = said(*id, (*state, reason), event, wall);
                let write = Write::put(fleet_status_key(name), &status).ok()?.expect(*guard);
                Some(Writes { bucket: Bucket::Status, writes: vec![write] })
            }
            (action, _) if goal_of(action).is_some() => {
                let (program, _) = goal_of(action)?;
                return Some(Op::Get { bucket: Bucket::Goals, pattern: goal_pattern(program) });
            }
            _ => adapter::written(&self.group, writer, planted),
        };
        let Writes { bucket, writes } = self.writes.clone()?;
        Some(Op::Write { bucket, writes })
    }

    /// The next step of writing a goal; `None` when there is nothing to write.
    fn next(&mut self) -> Option<Op> {
        let (action, _) = self.group.first()?;
        let (program, index) = goal_of(action)?;
        let get = |index| Op::Get { bucket: Bucket::Goals, pattern: goal_key(program, index) };
        let goal = |at: usize| -> Option<Goal> {
            self.read.get(at)?.as_ref().and_then(|entry| entry.json().ok().flatten())
        };
        match self.read.len() {
            1 => Some(get(index)),
            2 => Some(get(None)),
            _ => {
                let last = self.read.first()?.as_ref().map_or(0, |entry| entry.seq);
                let goals = Goals { own: goal(1), all: goal(2), last };
                let goal = goal_after(action, &FleetName::default(), &goals)?;
                let write = Write::put(goal_key(program, index), &goal).ok()?;
                let write = write.guard(&goal_pattern(program), last);
                Some(Op::Write { bucket: Bucket::Goals, writes: vec![write] })
            }
        }
    }
}
