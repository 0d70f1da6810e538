//! The states, each with the data that exists only then.

use std::sync::Arc;

use dsbus_schema::moment::BootTime;
use dsbus_schema::program::{Probe, ProgramSpec};
use dsbus_schema::state::State;
use serde::{Deserialize, Serialize};

/// A process that was started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Child {
    pub(super) pid: i32,
    #[serde(with = "crate::handover::specs")]
    pub(super) spec: Arc<ProgramSpec>,
    /// When it was started.
    pub(super) since: BootTime,
}

/// What a start waits for before it is RUNNING.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Start {
    /// `startsecs` have passed then.
    pub(super) until: BootTime,
    /// It has failed then, unless it is ready.
    pub(super) late_at: Option<BootTime>,
    pub(super) said_ready: bool,
    pub(super) answered_well: bool,
    pub(super) adopted: bool,
    pub(super) asks: Asks,
}

impl Start {
    pub(super) fn begin(spec: &ProgramSpec, now: BootTime) -> Start {
        Start {
            until: now + spec.startsecs.0,
            late_at: spec
                .waits_to_be_ready()
                .then(|| now + spec.start_timeout.0.max(spec.startsecs.0)),
            said_ready: false,
            answered_well: false,
            adopted: false,
            asks: Asks::begin(spec.readiness.as_ref(), now),
        }
    }

    /// What the declaration says of time has changed.
    pub(super) fn adjust(&mut self, spec: &ProgramSpec, since: BootTime) {
        let anew = Start::begin(spec, since);
        (self.until, self.late_at) = (anew.until, anew.late_at);
    }

    /// Whether all is there but time.
    pub(super) fn ready(&self, spec: &ProgramSpec) -> bool {
        (!spec.notify || self.said_ready)
            && (spec.readiness.is_none() || self.answered_well)
            && (!spec.daemon || self.adopted)
    }

    /// What it still waits for, for people.
    pub(super) fn lacks(&self, spec: &ProgramSpec) -> String {
        let mut lacks = Vec::new();
        if spec.daemon && !self.adopted {
            lacks.push(match &spec.pidfile {
                Some(path) => format!("no process is named in {path}"),
                None => "its first process has not ended".to_owned(),
            });
        }
        if spec.notify && !self.said_ready {
            lacks.push("it did not say READY=1".to_owned());
        }
        if spec.readiness.is_some() && !self.answered_well {
            let why = self.asks.trouble.as_deref().unwrap_or("it was not answered");
            lacks.push(format!("readiness: {why}"));
        }
        lacks.join("; ")
    }

    pub(super) fn deadline(&self, spec: &ProgramSpec) -> Option<BootTime> {
        let until = self.ready(spec).then_some(self.until);
        let late = if self.ready(spec) { None } else { self.late_at };
        [until, late, self.asks.next_at].into_iter().flatten().min()
    }
}

/// A question that is asked again and again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Asks {
    /// When it is asked next; not while an answer is awaited.
    pub(super) next_at: Option<BootTime>,
    /// Bad answers in a row.
    pub(super) bad: u32,
    /// Why the last answer was bad.
    pub(super) trouble: Option<String>,
}

impl Asks {
    pub(super) fn begin(probe: Option<&Probe>, now: BootTime) -> Asks {
        Asks { next_at: probe.map(|probe| now + probe.delay.0), ..Asks::default() }
    }
}

/// How a child that is RUNNING is watched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Watch {
    pub(super) asks: Asks,
    /// Until when it must say again that it lives.
    pub(super) fed_until: Option<BootTime>,
}

impl Watch {
    pub(super) fn begin(spec: &ProgramSpec, now: BootTime) -> Watch {
        Watch {
            asks: Asks::begin(spec.liveness.as_ref(), now),
            fed_until: spec.watchdog.map(|span| now + span.0),
        }
    }

    pub(super) fn deadline(&self) -> Option<BootTime> {
        self.asks.next_at.into_iter().chain(self.fed_until).min()
    }
}

/// How far a child has been asked to stop.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Stop {
    /// Its `pre_stop` hook runs.
    Hook,
    /// The signal of this step was sent; the next thing is due then.
    Asked { step: usize, until: BootTime },
    /// SIGKILL was sent; again then. How often.
    Killed { again_at: BootTime, times: u32 },
}

impl Stop {
    pub(super) fn deadline(&self) -> Option<BootTime> {
        match self {
            Stop::Hook => None,
            Stop::Asked { until, .. } => Some(*until),
            Stop::Killed { again_at, .. } => Some(*again_at),
        }
    }

    pub(super) fn killed(&self) -> bool {
        matches!(self, Stop::Killed { .. })
    }
}

/// What follows when a child that was asked to stop has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum After {
    /// It is stopped; if it should run, it is started again.
    Stopped,
    /// It was unwell: the same, and it counts as a restart.
    Unwell,
    /// Its start has failed, for this reason.
    Failed(String),
}

/// A new child that is to take the place of one that runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Reload {
    /// There is none.
    No,
    /// Its `pre_start` hook runs.
    Preparing,
    /// It was asked for.
    Asked,
    /// It starts.
    Trying { child: Child, start: Start },
    /// It has failed, for this reason, and is being stopped.
    Failing { child: Child, stop: Stop, why: String },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Phase {
    Stopped,
    /// The `pre_start` hook runs.
    Preparing {
        #[serde(with = "crate::handover::specs")]
        spec: Arc<ProgramSpec>,
    },
    Starting {
        child: Child,
        start: Start,
    },
    Running {
        child: Child,
        watch: Watch,
    },
    Backoff {
        until: BootTime,
    },
    Stopping {
        child: Child,
        stop: Stop,
        after: After,
    },
    /// It was asked to stop, and its child is gone, but not yet its hook or an older child.
    Leaving {
        pid: Option<i32>,
    },
    Exited {
        restart_at: Option<BootTime>,
    },
    Fatal,
}

impl Phase {
    pub(super) fn state(&self) -> State {
        match self {
            Phase::Stopped => State::Stopped,
            Phase::Preparing { .. } | Phase::Starting { .. } => State::Starting,
            Phase::Running { .. } => State::Running,
            Phase::Backoff { .. } => State::Backoff,
            Phase::Stopping { .. } | Phase::Leaving { .. } => State::Stopping,
            Phase::Exited { .. } => State::Exited,
            Phase::Fatal => State::Fatal,
        }
    }
}
