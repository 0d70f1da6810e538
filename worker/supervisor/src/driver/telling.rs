//! Reports: what the agent publishes.

use dsbus_schema::call::Channel;
use dsbus_schema::event::{
    Fact, Notice, NoticeFact, OutputFact, OutputKind, WorkerChange, WorkerFact,
};
use dsbus_schema::ids::InstanceId;

use uuid::Uuid;

use super::Driver;
use crate::clock::{self, Now};
use crate::instance::Instance;
use crate::output::Said;
use crate::protocol::Reported;
use crate::streams::{Speaker, Told};

/// Bytes of waiting reports beyond which events of output are dropped, and counted: a child that
/// floods its log must not push out what is told of others.
const OUTPUT_WAITING_MAX: usize = 16 << 20;

impl Driver {
    pub(super) fn report(&mut self, what: Reported) {
        self.agent.send_line(self.reports.push(what));
    }

    /// The bus has reports again; if some were dropped meanwhile, that is told after them.
    pub(super) fn published(&mut self, through: u64) {
        self.reports.done(through);
        let dropped = if self.reports.is_empty() { self.reports.take_dropped() } else { 0 };
        if dropped > 0 {
            let reason = format!("the bus was away for too long: {dropped} reports were dropped");
            tracing::error!("{reason}");
            self.worker_event(WorkerChange::EventsDropped, Some(reason));
        }
    }

    pub(super) fn worker_event(&mut self, change: WorkerChange, reason: Option<String>) {
        let fact = WorkerFact {
            worker: self.config.worker.clone(),
            change,
            reason,
            incarnation: Some(self.incarnation),
        };
        let (id, time) = (Uuid::now_v7(), clock::now().wall);
        self.report(Reported::Worker { id, time, fact });
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
        let fact = NoticeFact {
            name: of.name,
            id: of.id,
            worker: self.config.worker.clone(),
            epoch: of.epoch,
            change,
            pid: Some(of.pid),
            hook: None,
            exit: None,
            reason,
        };
        self.tell_notice(fact, now);
    }

    fn tell_words(&mut self, of: Speaker, output: OutputKind, bytes: &[u8], now: Now) {
        if self.reports.bytes() > OUTPUT_WAITING_MAX {
            return self.reports.drop_one();
        }
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
