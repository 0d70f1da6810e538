//! Whether a child is ready, and whether it is well: what it is asked, and what it says itself.

use std::sync::Arc;
use std::time::Duration;

use dsbus_schema::event::Notice;
use dsbus_schema::moment::BootTime;

use super::phase::{After, Asks, Child, Phase, Reload, Start};
use super::{Effect, Instance, Question, Word};
use crate::clock::Now;

/// Between two tellings of what a child says of itself: each is a write on the bus, and a child may
/// say something new a thousand times a second.
const NOTE_PAUSE: Duration = Duration::from_secs(1);

impl Asks {
    /// Asks, if it is time.
    pub(super) fn ask(
        asks: &mut Asks,
        question: Question,
        child: &Child,
        now: BootTime,
        out: &mut Vec<Effect>,
    ) {
        let probe = match question {
            Question::Readiness => &child.spec.readiness,
            Question::Liveness => &child.spec.liveness,
        };
        let Some(probe) = probe else { return };
        if asks.next_at.is_some_and(|at| now >= at) {
            asks.next_at = None;
            let probe = Box::new(probe.clone());
            out.push(Effect::Ask {
                pid: child.pid,
                question,
                probe,
                spec: Arc::clone(&child.spec),
            });
        }
    }
}

impl Instance {
    /// What a child that starts waits for, be it the only one or one that replaces another.
    fn starting(&mut self, pid: i32) -> Option<(&Child, &mut Start)> {
        match (&mut self.phase, &mut self.reload) {
            (Phase::Starting { child, start }, _) if child.pid == pid => Some((child, start)),
            (_, Reload::Trying { child, start }) if child.pid == pid => Some((child, start)),
            _ => None,
        }
    }

    pub(super) fn probed(
        &mut self,
        pid: i32,
        question: Question,
        trouble: Option<String>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        match question {
            Question::Readiness => self.readiness_answered(pid, trouble, now, out),
            Question::Liveness => self.liveness_answered(pid, trouble, now, out),
        }
    }

    fn readiness_answered(
        &mut self,
        pid: i32,
        trouble: Option<String>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Some((child, start)) = self.starting(pid) else { return };
        let Some(probe) = &child.spec.readiness else { return };
        let Some(why) = trouble else {
            start.answered_well = true;
            start.asks = Asks::default();
            return;
        };
        start.asks.next_at = Some(now.boot + probe.interval.0);
        let told = format!("not ready yet: {why}");
        start.asks.trouble = Some(why);
        let is_main = self.main().is_some_and(|child| child.pid == pid);
        if is_main && self.reason.as_ref() != Some(&told) {
            self.reason = Some(told);
            self.report(None, out);
        }
    }

    fn liveness_answered(
        &mut self,
        pid: i32,
        trouble: Option<String>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Phase::Running { child, watch } = &mut self.phase else { return };
        let Some(probe) = child.spec.liveness.as_ref().filter(|_| child.pid == pid) else { return };
        watch.asks.next_at = Some(now.boot + probe.interval.0);
        let Some(why) = trouble else {
            watch.asks.bad = 0;
            return;
        };
        watch.asks.bad += 1;
        let (bad, most, child) = (watch.asks.bad, probe.failures, child.clone());
        let reason = format!("liveness, {bad} of {most}: {why}");
        self.notice(Notice::ProbeFailed, (Some(pid), None, None), &reason, out);
        if bad >= most {
            let reason = format!("unwell: {why} ({bad} times in a row)");
            self.stop(child, &reason, After::Unwell, now, out);
        }
    }

    pub(super) fn notified(&mut self, pid: i32, word: Word, now: Now, out: &mut Vec<Effect>) {
        match word {
            Word::Ready => {
                if let Some((_, start)) = self.starting(pid) {
                    start.said_ready = true;
                }
            }
            Word::Alive => {
                if let Phase::Running { child, watch } = &mut self.phase
                    && child.pid == pid
                {
                    watch.fed_until = child.spec.watchdog.map(|span| now.boot + span.0);
                }
            }
            Word::Unwell => {
                if let Phase::Running { child, .. } = &self.phase
                    && child.pid == pid
                {
                    let child = child.clone();
                    self.stop(child, "unwell: it said WATCHDOG=trigger", After::Unwell, now, out);
                }
            }
            Word::Status(text) => {
                if self.main().is_some_and(|child| child.pid == pid) {
                    self.note = Some(text).filter(|text| !text.is_empty());
                    self.note_due.get_or_insert(now.boot.max(self.note_told + NOTE_PAUSE));
                }
            }
        }
    }
}
