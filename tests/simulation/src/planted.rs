//! Faults that are planted into dsbus itself: each rule of DESIGN.md section 5 taken out, to show
//! that the simulation finds what it is for.

use dsbus_agent::touch::Omitted as OmittedTouch;
use dsbus_planner::judge::Omitted as OmittedJudge;

use crate::Invariant;

/// What is wrong with dsbus in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Planted {
    /// Rule 1: touches have no TTL (as by the KV API of async-nats).
    NoTtl,
    /// Rule 1: a touch that failed is tried again only when the next one is due.
    NoRetry,
    /// Rule 2: an own touch that is found stored is not adopted.
    NoAdoption,
    /// Rule 3: an agent speaks for a supervisor that does not answer.
    SilentSupervisor,
    /// Rule 4: a loss is judged by the markers of NATS alone.
    NatsClock,
    /// Rule 5: nobody asks whether the bus was there.
    NoOwnTouch,
    /// Rule 6: the worker is not asked.
    NoAsk,
    /// Rule 7: many that expire at once are no reason to wait.
    NotMany,
    /// Rule 8: a move does not stand on the lost worker's touch.
    NoLeaseGuard,
    /// Rule 8: an update is guarded by its own key only, beside the wildcard guards of moves.
    LiteralGuard,
    /// Rule 9: a restart is written into the placement.
    CommandInPlacement,
    /// Rule 10: an epoch is one more than that of the placement that is there.
    LowEpoch,
    /// Rule 11: every scheduler acts at once.
    NoTurn,
    /// Rule 12: an exclusive instance is moved before it has stopped.
    NoStopFirst,
    /// Rule 13: every acknowledged touch counts.
    EveryTouchCounts,
    /// Rule 13: a lease is counted from its acknowledgement, without a margin.
    NoMargin,
    /// Rule 14: only the supervisor kills at the deadline.
    OneEnforcer,
    /// Rule 15: a lease is extended before everything older was delivered.
    NoBarrier,
    /// Rule 16: what a child started is left alone.
    Tree,
    /// No scheduler tells what another one wrote that died before it could.
    NobodyStandsIn,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 20] = [
        Planted::NoTtl,
        Planted::NoRetry,
        Planted::NoAdoption,
        Planted::SilentSupervisor,
        Planted::NatsClock,
        Planted::NoOwnTouch,
        Planted::NoAsk,
        Planted::NotMany,
        Planted::NoLeaseGuard,
        Planted::LiteralGuard,
        Planted::CommandInPlacement,
        Planted::LowEpoch,
        Planted::NoTurn,
        Planted::NoStopFirst,
        Planted::EveryTouchCounts,
        Planted::NoMargin,
        Planted::OneEnforcer,
        Planted::NoBarrier,
        Planted::Tree,
        Planted::NobodyStandsIn,
    ];

    /// Within how many seeds some invariant does not hold any more, and which; `None` for what is an
    /// optimisation only, or too rare to look for each time.
    pub fn found(self) -> Option<(u64, &'static [Invariant])> {
        use Invariant::{
            AsWanted, CommandsKept, EpochGrows, EventsTold, KilledAfterThaw, LeaseCovers,
            LeaseKept, ManyWait, NoNeedlessLoss, NoNeedlessMove, OneChild, OnePlacement,
            StopsWithCause,
        };
        let found: (u64, &'static [Invariant]) = match self {
            Planted::NoTtl => (200, &[AsWanted]),
            // Rare, and not found in 30,000 seeds since schedulers hold back whatever a living worker tells
            // of: a touch is lost, and the next one comes too late.
            Planted::NoRetry => return None,
            Planted::NoAdoption => (200, &[LeaseKept, StopsWithCause, ManyWait, NoNeedlessLoss]),
            Planted::SilentSupervisor => (2_000, &[AsWanted]),
            Planted::NatsClock => (2_000, &[OneChild, ManyWait, NoNeedlessLoss]),
            Planted::NoOwnTouch => (2_000, &[NoNeedlessLoss, NoNeedlessMove, ManyWait]),
            Planted::NoAsk => (500, &[NoNeedlessLoss, NoNeedlessMove]),
            Planted::NotMany => (500, &[ManyWait]),
            Planted::NoLeaseGuard => (2_000, &[OneChild, NoNeedlessMove]),
            Planted::LiteralGuard => (2_000, &[OnePlacement, EpochGrows]),
            // A command that is lost with its placement is counted back, which workers refuse.
            Planted::CommandInPlacement => (200, &[AsWanted, CommandsKept, EpochGrows]),
            Planted::LowEpoch => (200, &[EpochGrows]),
            Planted::NoTurn => return None,
            // Where a living worker tells a child, nothing exclusive is placed: that hides it mostly. And
            // without the stop nobody has time to tell what a dead scheduler placed.
            Planted::NoStopFirst => (10_000, &[OneChild, EventsTold]),
            Planted::EveryTouchCounts => (10_000, &[LeaseCovers]),
            Planted::NoMargin => (500, &[OneChild, LeaseCovers]),
            Planted::OneEnforcer => (200, &[OneChild, KilledAfterThaw]),
            Planted::NoBarrier => (2_000, &[OneChild, KilledAfterThaw]),
            Planted::Tree => (200, &[OneChild, KilledAfterThaw]),
            Planted::NobodyStandsIn => (200, &[EventsTold]),
        };
        Some(found)
    }

    /// The one of this name, as [`std::fmt::Debug`] writes it.
    pub fn parse(name: &str) -> Option<Planted> {
        Planted::ALL.into_iter().find(|p| format!("{p:?}").eq_ignore_ascii_case(name))
    }
}

/// What an agent leaves out.
pub(crate) fn touch(planted: Option<Planted>) -> OmittedTouch {
    OmittedTouch {
        retries: planted == Some(Planted::NoRetry),
        adoption: planted == Some(Planted::NoAdoption),
        supervisor: planted == Some(Planted::SilentSupervisor),
        counting: planted == Some(Planted::EveryTouchCounts),
        margin: planted == Some(Planted::NoMargin),
        barrier: planted == Some(Planted::NoBarrier),
    }
}

/// What a scheduler's judge leaves out.
pub(crate) fn judge(planted: Option<Planted>) -> OmittedJudge {
    OmittedJudge {
        own_clock: planted == Some(Planted::NatsClock),
        own_touch: planted == Some(Planted::NoOwnTouch),
        asking: planted == Some(Planted::NoAsk),
        many: planted == Some(Planted::NotMany),
    }
}
