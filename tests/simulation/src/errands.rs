//! What an agent does on the bus and tries until it works: reports, its record, questions.

use std::time::Duration;

use dsbus_agent::bus_side::LastEvents;
use dsbus_agent::publish::{Delivery, Entry as Stand, Outcome};
use dsbus_agent::report::{newer, tells};
use dsbus_client::{Entry, Error, Value, Write};
use dsbus_schema::event::{Event as Fact, Fact as Said, Source, WorkerChange, WorkerFact};
use dsbus_schema::ids::{FleetName, InstanceId};
use dsbus_schema::status::Status;
use dsbus_schema::storage::{Bucket, instance_key};
use dsbus_schema::worker::Facts;
use dsbus_supervisor::protocol::LastEvent;

use crate::Invariant;
use crate::agent::Pending;
use crate::dice::MS;
use crate::event::{Answer, Answered, Event, Op, Run, Tick};
use crate::scheduler::lost_race;
use crate::world::World;

const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE_MS: u64 = 150;

/// Something that is tried until it works.
#[derive(Debug)]
pub(crate) enum Errand {
    /// A report: its event, then its status entry.
    Report { delivery: Box<Delivery>, step: Step },
    /// An event of the agent's own.
    Tell(Box<Fact>),
    /// The worker's record.
    Record,
    /// Who holds the name?
    Ask,
    /// The last events of these instances, one after the other.
    LookUp { names: Vec<InstanceId>, found: LastEvents, told: Told },
}

/// What the last event about an instance says, once it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Unread,
    Read(Option<LastEvent>),
}

/// How far a report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The event.
    Event,
    /// The status, expecting this sequence.
    Write(u64),
    /// What stands there, after a lost race.
    Look,
    /// The status once more, over what stands there.
    WriteOver(u64),
    /// What stands there, before it is removed.
    LookToRemove,
    /// Its removal.
    Remove(u64),
}

impl Errand {
    pub(crate) fn look_up(names: Vec<InstanceId>) -> Errand {
        Errand::LookUp { names, found: LastEvents::new(), told: Told::Unread }
    }
}

/// What comes of an answer.
enum Next {
    /// The next step, at once.
    Go,
    /// The same step again, after a pause.
    Again,
    /// It is done, and the status entry stands under this sequence.
    Done(Option<u64>),
    LookedUp(LastEvents),
}

impl World {
    /// Publishes what may be published.
    pub(crate) fn agent_publishes(&mut self, n: usize, run: Run) {
        loop {
            let Some(a) = &mut self.agents[n] else { return };
            let Some(delivery) = a.publisher.begin() else { return };
            let step = if delivery.event.is_some() { Step::Event } else { stand(&delivery) };
            self.tokens += 1;
            let errand = Errand::Report { delivery: Box::new(delivery), step };
            self.begin_errand(n, run, self.tokens, errand);
        }
    }

    pub(crate) fn begin_errand(&mut self, n: usize, run: Run, number: u64, errand: Errand) {
        if let Some(a) = &mut self.agents[n] {
            a.errands.insert(number, errand);
        }
        self.errand_step(n, run, number);
    }

    /// An agent tells of its worker.
    pub(crate) fn agent_tells(&mut self, n: usize, run: Run, fact: WorkerFact) {
        if fact.change == WorkerChange::Refused {
            // Nothing here is signed, and the bus never goes back in time.
            let why = fact.reason.clone().unwrap_or_default();
            self.fail(Invariant::EpochGrows, format!("w{} refuses an order: {why}", n + 1));
        }
        let (id, wall, source) = (self.uuid(), self.wall(), Source::Worker(self.worker(n)));
        let event = Fact::new(&FleetName::default(), &source, id, wall, Said::Worker(fact));
        self.tokens += 1;
        self.begin_errand(n, run, self.tokens, Errand::Tell(Box::new(event)));
    }

    /// Does the step that is due.
    pub(crate) fn errand_step(&mut self, n: usize, run: Run, number: u64) {
        let worker = self.worker(n);
        let Some(a) = &mut self.agents[n] else { return };
        let pid = i32::try_from(run.number).unwrap_or(0);
        let record = a.side().record(pid, Facts::default());
        let Some(errand) = a.errands.get_mut(&number) else { return };
        let op = match errand {
            Errand::Report { delivery, step } => delivery.op(&worker, *step),
            Errand::Tell(event) => Some(Op::Publish(event.clone())),
            Errand::Record => Write::put(worker.as_str(), &record)
                .ok()
                .map(|write| Op::Write { bucket: Bucket::Workers, writes: vec![write] }),
            Errand::Ask => Some(Op::Ping(n)),
            Errand::LookUp { names, told, .. } => names.last().map(|name| match told {
                Told::Unread => Op::LastEvent { worker: worker.clone(), name: name.clone() },
                Told::Read(_) => {
                    Op::Get { bucket: Bucket::Status, pattern: instance_key(&worker, name) }
                }
            }),
        };
        match op {
            Some(op) => {
                let token = self.call(run, op, PATIENCE);
                self.pend(n, token, Pending::Errand(number));
            }
            None => self.errand_done(n, number, None),
        }
    }

    /// A step was answered.
    pub(crate) fn errand_answered(&mut self, n: usize, run: Run, number: u64, result: Answered) {
        let now = self.clock(run.who);
        let Some(a) = &mut self.agents[n] else { return };
        let Some(errand) = a.errands.get_mut(&number) else { return };
        if let Errand::Ask = errand {
            match result {
                Ok(Answer::Pong(pong)) => a.side().asked(Some(&pong), now),
                Err(Error::Timeout | Error::NoResponders) => a.side().asked(None, now),
                _ => return self.try_again(run, number),
            }
            return self.errand_done(n, number, None);
        }
        match errand.answered(result) {
            Next::Go => self.errand_step(n, run, number),
            Next::Again => self.try_again(run, number),
            Next::Done(seq) => self.errand_done(n, number, seq),
            Next::LookedUp(last) => {
                a.side().looked_up(last);
                self.errand_done(n, number, None);
            }
        }
    }

    fn try_again(&mut self, run: Run, number: u64) {
        let at = self.agenda.now() + PAUSE_MS * MS;
        self.agenda.at(at, Event::Timer { to: run, tick: Tick::Again(number), number: 0 });
    }

    fn errand_done(&mut self, n: usize, number: u64, seq: Option<u64>) {
        let Some(a) = &mut self.agents[n] else { return };
        if let Some(Errand::Report { delivery, .. }) = a.errands.remove(&number) {
            let Delivery { number, name, .. } = *delivery;
            a.publisher.done(&Outcome { number, name, seq });
        }
    }
}

impl Errand {
    fn answered(&mut self, result: Answered) -> Next {
        match self {
            Errand::Report { delivery, step } => answered(delivery, step, result),
            Errand::Tell(_) | Errand::Record | Errand::Ask => {
                if result.is_ok() {
                    Next::Done(None)
                } else {
                    Next::Again
                }
            }
            Errand::LookUp { names, found, told } => match (result, &*told) {
                (Ok(Answer::Last(last)), Told::Unread) => {
                    *told = Told::Read(last);
                    Next::Go
                }
                (Ok(Answer::Entry(entry)), Told::Read(last)) => {
                    let stands = entry.as_deref().and_then(status);
                    let stands = stands.as_ref().map(LastEvent::of_status);
                    let last = LastEvent::later(last.clone(), stands);
                    if let (Some(name), Some(last)) = (names.pop(), last) {
                        found.insert(name, last);
                    }
                    *told = Told::Unread;
                    if names.is_empty() { Next::LookedUp(std::mem::take(found)) } else { Next::Go }
                }
                _ => Next::Again,
            },
        }
    }
}

fn status(entry: &Entry) -> Option<Status> {
    entry.json::<Status>().ok().flatten()
}

/// The step after the event.
fn stand(delivery: &Delivery) -> Step {
    match &delivery.entry {
        Some(Stand::Write { seq, .. }) => Step::Write(*seq),
        Some(Stand::Lacking { .. }) => Step::Look,
        Some(Stand::Remove { .. }) | None => Step::LookToRemove,
    }
}

trait Carried {
    fn op(&self, worker: &dsbus_schema::ids::WorkerName, step: Step) -> Option<Op>;
}

impl Carried for Delivery {
    fn op(&self, worker: &dsbus_schema::ids::WorkerName, step: Step) -> Option<Op> {
        if step == Step::Event {
            return self.event.clone().map(|event| Op::Publish(Box::new(event)));
        }
        let key = instance_key(worker, self.name.as_ref()?);
        let get = || Some(Op::Get { bucket: Bucket::Status, pattern: key.clone() });
        let write = |write: Write| Some(Op::Write { bucket: Bucket::Status, writes: vec![write] });
        match (self.entry.as_ref()?, step) {
            (
                Stand::Write { status, .. } | Stand::Lacking { status },
                Step::Write(seq) | Step::WriteOver(seq),
            ) => write(Write::put(key.as_str(), &**status).ok()?.expect(seq)),
            (Stand::Remove { .. }, Step::Remove(seq)) => {
                write(Write::delete(key.as_str()).expect(seq))
            }
            _ => get(),
        }
    }
}

fn answered(delivery: &Delivery, step: &mut Step, result: Answered) -> Next {
    match (*step, result) {
        (Step::Event, Ok(_)) => {
            *step = stand(delivery);
            if delivery.entry.is_some() { Next::Go } else { Next::Done(None) }
        }
        (Step::Write(_) | Step::WriteOver(_), Ok(Answer::Seq(seq))) => Next::Done(Some(seq)),
        (Step::Remove(_), Ok(_)) => Next::Done(None),
        (Step::Write(_), result) if lost_race(&result) => {
            *step = Step::Look;
            Next::Go
        }
        (Step::Look, Ok(Answer::Entry(entry))) => {
            let seq = entry.as_ref().map_or(0, |entry| entry.seq);
            let there = entry.as_deref().and_then(status);
            let told = match &delivery.entry {
                Some(Stand::Write { status: mine, .. }) => there.is_some_and(|s| newer(&s, mine)),
                Some(Stand::Lacking { status: mine }) => there.is_some_and(|s| tells(&s, mine)),
                Some(Stand::Remove { .. }) | None => return Next::Done(None),
            };
            if told {
                return Next::Done(Some(seq));
            }
            *step = Step::WriteOver(seq);
            Next::Go
        }
        (Step::WriteOver(_), result) if lost_race(&result) => {
            *step = Step::Look;
            Next::Again
        }
        (Step::LookToRemove, Ok(Answer::Entry(entry))) => {
            let Some(Stand::Remove { epoch }) = &delivery.entry else { return Next::Done(None) };
            let Some(entry) = entry else { return Next::Done(None) };
            let later = status(&entry).is_some_and(|there| there.epoch > *epoch);
            if later || !matches!(entry.value, Value::Put(_)) {
                return Next::Done(None);
            }
            *step = Step::Remove(entry.seq);
            Next::Go
        }
        (Step::Remove(_), _) => {
            *step = Step::LookToRemove;
            Next::Again
        }
        _ => Next::Again,
    }
}
