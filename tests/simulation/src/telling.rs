//! Schedulers tell: what `scheduler/daemon/src/tell/outbox.rs` and `commands.rs` do with a bus, done
//! with a simulated one. Which events, and who tells them, is the daemon's own.

use std::time::Duration;

use dsbus_scheduler::tell::derive::command_words;
use dsbus_scheduler::tell::{Check, Told};
use dsbus_schema::event::{CommandFact, Event as Published, Fact, Source, Verdict};
use dsbus_schema::ids::{FleetName, UserName};
use uuid::Uuid;

use crate::dice::MS;
use crate::event::{Answer, Answered, Command, Event, Op, Run, Tick};
use crate::planted::Planted;
use crate::scheduler::Pending;
use crate::world::World;

/// As in the daemon.
const AGAIN_MS: u64 = 200;
/// As in the daemon.
const FIRST_WITHIN: Duration = Duration::from_millis(250);
/// How long the bus may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// One event that is on its way.
#[derive(Debug)]
pub(crate) struct Sent {
    told: Told,
    /// Whether it was stored, once that is known.
    stored: Option<bool>,
}

/// A command that is told before it is answered.
#[derive(Debug)]
pub(crate) struct Audit {
    told: Told,
    from: Run,
    token: u64,
}

fn published(told: &Told) -> Op {
    let (fleet, fact) = (FleetName::default(), told.fact.clone());
    Op::Publish(Box::new(Published::new(&fleet, &Source::Fleet, told.id, told.time, fact)))
}

impl World {
    /// What a scheduler has folded is told.
    pub(crate) fn tell(&mut self, n: usize, run: Run) {
        let now = self.clock(run.who);
        let alone = self.setup.planted == Some(Planted::NobodyStandsIn);
        let Some(s) = &mut self.schedulers[n] else { return };
        s.core.judge_schedulers(now);
        if s.core.ready() && !alone {
            s.core.take_past(now);
        }
        let mut due = s.core.take_told();
        if alone {
            due.retain(|told| match &told.fact {
                Fact::Placement(fact) => fact.scheduler == s.id,
                _ => true,
            });
        }
        s.outbox.push(due);
        if s.sent.is_empty() && !s.pausing {
            self.send_window(n, run);
        }
    }

    fn send_window(&mut self, n: usize, run: Run) {
        let Some(s) = &mut self.schedulers[n] else { return };
        let window = s.outbox.take();
        let ops: Vec<Op> = window
            .iter()
            .map(|told| match (told.check, &told.fact) {
                (Check::Instance, _) => Op::IsTold(told.id),
                _ => published(told),
            })
            .collect();
        s.sent = window.into_iter().map(|told| Sent { told, stored: None }).collect();
        for (number, op) in ops.into_iter().enumerate() {
            let token = self.call(run, op, PATIENCE);
            if let Some(s) = &mut self.schedulers[n] {
                s.calls.insert(token, Pending::Told(number));
            }
        }
    }

    /// An event was stored, or looked for, or not.
    pub(crate) fn told_answered(&mut self, n: usize, run: Run, number: usize, result: &Answered) {
        let Some(s) = &mut self.schedulers[n] else { return };
        let Some(Sent { told, stored }) = s.sent.get_mut(number) else { return };
        if matches!(result, Ok(Answer::Told(false))) {
            // It was looked for, and is not told yet.
            let op = published(told);
            let token = self.call(run, op, PATIENCE);
            if let Some(s) = &mut self.schedulers[n] {
                s.calls.insert(token, Pending::Told(number));
            }
            return;
        }
        *stored = Some(result.is_ok());
        if s.sent.iter().any(|sent| sent.stored.is_none()) {
            return;
        }
        let left: Vec<Told> = std::mem::take(&mut s.sent)
            .into_iter()
            .filter(|sent| sent.stored == Some(false))
            .map(|sent| sent.told)
            .collect();
        let failing = !left.is_empty();
        s.outbox.sent(left);
        s.pausing = failing;
        if failing {
            let at = self.agenda.now() + AGAIN_MS * MS;
            self.agenda.at(at, Event::Timer { to: run, tick: Tick::Tell, number: 0 });
        } else if s.outbox.untold() > 0 {
            self.send_window(n, run);
        }
    }

    /// A command was done: it is told, and then answered.
    pub(crate) fn audit(&mut self, n: usize, run: Run, command: &Command, to: (Run, u64)) {
        let time = self.wall();
        let number = self.tokens + 1;
        self.tokens += 1;
        let Some(s) = &mut self.schedulers[n] else { return };
        let fact = CommandFact {
            by: UserName::default(),
            verb: String::new(),
            verdict: Verdict::Accepted,
            names: vec![command.program.to_string()],
            count: 1,
            command: Some(command.id),
            code: None,
            reason: None,
            scheduler: s.id.clone(),
        };
        let words = command_words(command.id, Verdict::Accepted);
        let told = Told::new(&FleetName::default(), &words, time, Fact::Command(fact));
        let (from, token) = to;
        if s.outbox.is_failing() {
            s.outbox.push([told]);
            return self.reply(run, from, token, Ok(Answer::Done));
        }
        let op = published(&told);
        s.audits.insert(number, Audit { told, from, token });
        let token = self.call(run, op, FIRST_WITHIN);
        if let Some(s) = &mut self.schedulers[n] {
            s.calls.insert(token, Pending::Audit(number));
        }
    }

    /// The event of a command was stored, or not.
    pub(crate) fn audited(&mut self, n: usize, run: Run, number: u64, result: &Answered) {
        let Some(s) = &mut self.schedulers[n] else { return };
        let Some(Audit { told, from, token }) = s.audits.remove(&number) else { return };
        if result.is_err() {
            s.outbox.push([told]);
        }
        self.reply(run, from, token, Ok(Answer::Done));
    }

    /// Something of schedulers was told.
    pub(crate) fn witness_told(&mut self, id: Uuid, fact: &Fact) {
        let now = self.agenda.now();
        match fact {
            Fact::Placement(fact) if fact.to.is_some() => {
                self.note(|| format!("event: {} {} placed", fact.name, fact.epoch));
                let of = (fact.name.clone(), fact.epoch);
                let before = self.witness.places_told.insert(of, id);
                if before.is_some_and(|before| before != id) {
                    let what = format!("{} {} was told twice", fact.name, fact.epoch);
                    self.fail(crate::Invariant::EventsTold, what);
                }
            }
            Fact::Command(fact) => {
                self.note(|| format!("event: {:?} accepted at {now}", fact.command));
                self.witness.commands_told.extend(fact.command);
            }
            _ => {}
        }
    }

    /// What was placed or commanded, and is not told.
    pub(crate) fn untold(&self) -> Option<String> {
        let w = &self.witness;
        let place = w.placed.iter().find(|place| !w.places_told.contains_key(*place));
        let place = place.map(|(name, epoch)| format!("{name} was placed under epoch {epoch}"));
        // One that changed nothing is in the log alone, and lost with a scheduler that cannot tell it.
        let mut commands = w.acknowledged.iter().filter(|command| w.has_acted(command.id));
        let command = commands.find(|command| !w.commands_told.contains(&command.id));
        place.or_else(|| command.map(|c| format!("the command {} was acknowledged", c.id)))
    }
}
