//! Reports: what the agent publishes.

use dsbus_schema::call::Channel;
use dsbus_schema::event::{
    Dropped, Fact, Notice, NoticeFact, OutputFact, OutputKind, ProcessFact, WorkerChange,
    WorkerFact,
};
use dsbus_schema::ids::InstanceId;
use uuid::Uuid;

use super::{Driver, Ending, TURN};
use crate::clock::{self, Now};
use crate::instance::Instance;
use crate::output::Said;
use crate::protocol::{Reported, ToAgent};
use crate::report::Saving;
use crate::streams::{Speaker, Told};

/// Bytes that may wait for an agent to read when it is given more reports: as many as it reads at
/// once.
const UNSENT_FEW: usize = 64 * 1024;

impl Driver {
    pub(super) fn report(&mut self, what: Reported) {
        self.reports.push(what);
    }

    /// Writes the reports of this turn to disk.
    pub(super) fn save_reports(&mut self) {
        match self.reports.save(clock::now().boot) {
            None => {}
            Some(Saving::Fails(why)) => {
                let reason = format!("reports are kept in memory: {why}");
                tracing::error!("{reason}");
                self.worker_event(WorkerChange::EventsUnsaved, Some(reason));
            }
            Some(Saving::Works(kept)) => {
                tracing::info!("reports are on disk again; {kept} were kept in memory");
            }
        }
    }

    /// Gives the agent reports, as fast as it reads and publishes.
    pub(super) fn hand_out(&mut self) {
        let begin = clock::now().boot;
        loop {
            while self.reports.may_hand() && self.agent.unsent().is_some_and(|n| n < UNSENT_FEW) {
                self.reports.hand(begin, |line| self.agent.send_line(line));
            }
            let all = self.reports.all_handed() && self.agent.unsent().is_some();
            if all && matches!(self.ending, Ending::Bye(_)) && !self.bye_said {
                self.bye_said = true;
                self.agent.send(&ToAgent::Bye);
            }
            self.agent.flush();
            let reads = self.agent.unsent() == Some(0);
            if !reads || !self.reports.may_hand() || clock::now().boot.since(begin) > TURN {
                break;
            }
        }
        self.reports.release();
    }

    /// Whether reports are to be written or handed out in the next turn.
    pub(super) fn reports_busy(&self) -> bool {
        let reads = self.agent.unsent() == Some(0);
        self.reports.has_to_save() || (reads && self.reports.may_hand())
    }

    /// The bus has reports; if some were dropped meanwhile, that is told after them.
    pub(super) fn published(&mut self, through: u64) {
        if !self.reports.done(through) {
            return;
        }
        let now = clock::now();
        if let Some(dropped) = self.reports.tell_dropped(now.boot) {
            let reason = format!("{} events were dropped: more than may wait", dropped.events);
            tracing::error!("{reason}");
            self.tell_worker(WorkerChange::EventsDropped, Some(reason), Some(dropped));
        }
        if self.reports.take_stale() {
            let effects = self.table.tell_all();
            self.perform(effects, now);
        }
    }

    pub(super) fn worker_event(&mut self, change: WorkerChange, reason: Option<String>) {
        self.tell_worker(change, reason, None);
    }

    fn tell_worker(
        &mut self,
        change: WorkerChange,
        reason: Option<String>,
        dropped: Option<Dropped>,
    ) {
        let fact = WorkerFact {
            worker: self.config.worker.clone(),
            change,
            reason,
            incarnation: Some(self.incarnation),
            dropped,
        };
        let (id, time) = (Uuid::now_v7(), clock::now().wall);
        self.reports.push(Reported::Worker { id, time, fact });
    }

    /// Tells the end of a child of an earlier run.
    pub(super) fn tell_end(&mut self, end: ProcessFact, now: Now) {
        tracing::info!("{}: {}", end.name, end.reason.as_deref().unwrap_or_default());
        let fact = Box::new(Fact::Process(end));
        self.report(Reported::Event { id: Uuid::now_v7(), time: now.wall, fact });
    }

    pub(super) fn tell_notice(&mut self, fact: NoticeFact, now: Now) {
        let fact = Box::new(Fact::Notice(fact));
        self.report(Reported::Event { id: Uuid::now_v7(), time: now.wall, fact });
    }

    /// A child has ended, and something that it started does not die.
    pub(super) fn tell_immortal(&mut self, name: &InstanceId, pid: i32, now: Now) {
        let of = self.speaker(name, pid, Channel::Stdout);
        let reason =
            format!("process {pid} has ended, and what it started does not die of SIGKILL");
        self.tell_trouble(of, Notice::DoesNotDie, reason, now);
    }

    /// Output that becomes events, and what goes wrong with it.
    pub(super) fn tell_output(&mut self, told: Told, now: Now) {
        for (speaker, said) in told {
            match said {
                Said::Log(bytes) => self.tell_words(speaker, OutputKind::Log, &bytes, now),
                Said::Communication(bytes) => {
                    self.tell_words(speaker, OutputKind::Communication, &bytes, now);
                }
                Said::Lost(why) => {
                    let reason = format!("its output is lost: {why}");
                    self.tell_trouble(speaker, Notice::OutputLost, reason, now);
                }
                Said::WrittenAgain(bytes) => {
                    let reason = format!("its output is written again; {bytes} bytes were lost");
                    self.tell_trouble(speaker, Notice::OutputWrittenAgain, reason, now);
                }
            }
        }
    }

    fn tell_trouble(&mut self, of: Speaker, change: Notice, reason: String, now: Now) {
        tracing::warn!("{}: {reason}", of.name);
        let fact = self.notice(of, change, reason);
        self.tell_notice(fact, now);
    }

    /// Something that is no change of state, of a child.
    pub(super) fn notice(&self, of: Speaker, change: Notice, reason: String) -> NoticeFact {
        NoticeFact {
            name: of.name,
            id: of.id,
            worker: self.config.worker.clone(),
            epoch: of.epoch,
            change,
            pid: Some(of.pid),
            hook: None,
            exit: None,
            signal: None,
            by: None,
            reason,
        }
    }

    fn tell_words(&mut self, of: Speaker, output: OutputKind, bytes: &[u8], now: Now) {
        let worker = self.config.worker.clone();
        let spec = self.table.get(&of.name).map(Instance::spec);
        let fact = Box::new(Fact::Output(OutputFact {
            group: spec.and_then(|spec| spec.group.clone()),
            process: spec.and_then(|spec| spec.copy_name(&of.name, &worker)),
            name: of.name,
            id: of.id,
            worker,
            epoch: of.epoch,
            pid: of.pid,
            channel: of.channel,
            output,
            text: String::from_utf8_lossy(bytes).into_owned(),
        }));
        self.report(Reported::Event { id: Uuid::now_v7(), time: now.wall, fact });
    }
}
