//! In which order things start and stop: dependencies, priorities within one command, and the first
//! copies before the rest. What others wait for is summed up per program, so that a change of one
//! program concerns only those that are tied to it.

use std::time::Duration;

use dsbus_schema::ids::ProgramName;
use dsbus_schema::moment::BootTime;
use dsbus_schema::program::{Condition, Program};
use dsbus_schema::state::State;
use dsbus_schema::status::Status;

use crate::view::{Entry, Instance, Now, View};

/// What others wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question that others ask")]
pub(crate) struct Summary {
    /// An instance is wanted, was not started yet, and can be.
    pub(crate) unstarted: bool,
    /// Every wanted instance was started.
    pub(crate) started: bool,
    /// Every wanted instance is RUNNING, or has ended as expected.
    pub(crate) running: bool,
    /// Since when.
    pub(crate) since: Option<BootTime>,
    /// For how long until they are healthy.
    pub(crate) min_healthy: Duration,
    /// Every wanted instance has ended as expected.
    pub(crate) done: bool,
    /// A child may live that nobody wants to run.
    pub(crate) stopping: bool,
}

/// Why something waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    /// For people.
    pub(crate) reason: String,
    /// When time alone may end it.
    pub(crate) until: Option<BootTime>,
    /// It may take so long that the instance is PENDING meanwhile.
    pub(crate) tell: bool,
}

/// Whether a child ended as its program expects.
pub(crate) fn ended_well(program: &Program, status: &Status) -> bool {
    let code = status.exit.and_then(|exit| exit.code).and_then(|code| u8::try_from(code).ok());
    status.state == State::Exited && code.is_some_and(|c| program.spec.exitcodes.contains(&c))
}

/// Whether a child of an instance may live, as far as is known.
pub(crate) fn may_live(view: &View, instance: &Instance) -> bool {
    instance.placements.iter().any(|placed| {
        !view.is_cut_off(placed)
            && instance
                .acted(placed)
                .is_none_or(|s| s.state.may_have_child() || s.state == State::Backoff)
            && (placed.wanted.run || instance.status(placed).is_some())
    })
}

/// Sums a program up.
pub(crate) fn summary(view: &View, entry: &Entry) -> Summary {
    let program = entry.program.as_ref().map(|seen| &seen.value).filter(|p| !p.removing);
    let mut sum = Summary { started: true, running: true, done: true, ..Summary::default() };
    sum.min_healthy = program.map_or(Duration::ZERO, |p| p.spec.update.min_healthy.0);
    let mut wanted_any = false;
    for (index, instance) in &entry.instances {
        let wanted = program.is_some_and(|program| {
            entry.is_declared(program, *index) && entry.wanted(program, *index).run
        });
        sum.stopping |= !wanted && may_live(view, instance);
    }
    let Some(program) = program else {
        return Summary { stopping: sum.stopping, ..Summary::default() };
    };
    for index in entry.declared(program) {
        if !entry.wanted(program, index).run {
            continue;
        }
        wanted_any = true;
        let instance = entry.instance(index);
        let placed = instance.and_then(Instance::placed);
        let status = instance.zip(placed).and_then(|(instance, placed)| instance.acted(placed));
        let started = status.is_some_and(|status| status.state != State::Stopped);
        let runs = status.is_some_and(|status| status.state == State::Running);
        let ended = status.is_some_and(|status| ended_well(program, status));
        let hopeless = placed.map_or_else(
            || instance.is_some_and(|i| i.said.is_some()),
            |placed| view.is_cut_off(placed),
        );
        sum.unstarted |= !started && !hopeless;
        sum.started &= started;
        sum.running &= runs || ended;
        sum.done &= ended;
        if runs {
            sum.since = sum.since.max(instance.and_then(|i| i.well).map(|well| well.since));
        }
    }
    if !wanted_any {
        return Summary { stopping: sum.stopping, ..Summary::default() };
    }
    sum
}

/// What a program waits for before an instance of it may be started.
pub(crate) fn before_start(view: &View, program: &Program, now: Now) -> Option<Wait> {
    unmet(view, program, now).or_else(|| lower_priority(view, program, now))
}

/// A program that it depends on, and that is not as it should be.
fn unmet(view: &View, program: &Program, now: Now) -> Option<Wait> {
    let wait = |reason| Wait { reason, until: None, tell: true };
    for (on, condition) in &program.spec.depends_on.0 {
        let entry = view.programs.get(on);
        if view.program(on).is_none_or(|other| other.removing) {
            return Some(wait(format!("waits for {on}, which is not declared")));
        }
        let sum = entry.map(|entry| entry.summary).unwrap_or_default();
        let healthy_at = sum.since.map(|since| since + sum.min_healthy);
        let met = match condition {
            Condition::Started => sum.started,
            Condition::Running => sum.running,
            Condition::Healthy => sum.running && healthy_at.is_none_or(|at| at <= now.boot),
            Condition::Done => sum.done,
        };
        if !met {
            let until = healthy_at.filter(|_| sum.running && *condition == Condition::Healthy);
            let reason = format!("waits for {on} to be {}", condition.name());
            return Some(Wait { until, ..wait(reason) });
        }
    }
    None
}

/// What the same command is to start before it. Whoever waits for a dependency holds up nobody, so
/// that priorities and dependencies never wait for each other.
fn lower_priority(view: &View, program: &Program, now: Now) -> Option<Wait> {
    let (priority, peer) = view.index.peers(&program.name).find(|(priority, peer)| {
        *priority < program.spec.priority
            && view.programs.get(peer).is_some_and(|entry| entry.summary.unstarted)
            && view.program(peer).is_none_or(|peer| unmet(view, peer, now).is_none())
    })?;
    let reason = format!("waits for {peer} (priority {priority}) to be started first");
    Some(Wait { reason, until: None, tell: false })
}

/// What must end before an instance of a program is stopped: what depends on it, and what has a
/// greater priority, if that is being stopped, too.
pub(crate) fn before_stop(view: &View, name: &ProgramName, priority: i32) -> Option<String> {
    if let Some(other) = stopping_dependent(view, name) {
        return Some(format!("waits for {other}, which depends on it, to end"));
    }
    // As at a start, whoever waits for what depends on it holds up nobody.
    let peer = view.index.peers(name).find(|(other, peer)| {
        *other > priority && is_stopping(view, peer) && stopping_dependent(view, peer).is_none()
    })?;
    Some(format!("waits for {} (priority {}) to end first", peer.1, peer.0))
}

fn is_stopping(view: &View, name: &ProgramName) -> bool {
    view.programs.get(name).is_some_and(|entry| entry.summary.stopping)
}

/// A program that depends on this one, and is being stopped.
fn stopping_dependent<'a>(view: &'a View, name: &ProgramName) -> Option<&'a ProgramName> {
    view.index.dependents(name).find(|other| *other != name && is_stopping(view, other))
}
