//! The table of kinds.

use super::Part::{Agent, Child, Daemon, Leader, Machine, Supervisor};
use super::Role::{Nats, Scheduler, Worker};
use super::{Act, Kind, Role};
use crate::hosts::Way;

const fn kind(
    name: &'static str,
    role: Role,
    act: Act,
    may_move: bool,
    (what, seen): (&'static str, &'static str),
) -> Kind {
    Kind { name, role, act, may_move, what, seen }
}

const NOTHING: &str = "Nothing: the other schedulers decide and answer.";
const BUS_SHORT: &str = "Programs run on, and start again locally. Commands wait until the streams that it led have another leader. An exclusive child whose deadline passes before that stops, and comes back on the same worker.";
const GONE: &str =
    "Its programs run elsewhere after touch_timeout and a moment, unless it is back sooner.";
const CUT: &str = "As for lost power, seen from outside: its instances run elsewhere. On the worker itself ordinary children run on and are stopped when it is back; exclusive ones stop before they can run elsewhere.";

/// All of them.
pub(crate) const KINDS: &[Kind] = &[
    kind(
        "child-kill",
        Worker,
        Act::Kill(Child),
        false,
        ("kill -9 of a child", "It is started again on the same worker, without asking anybody."),
    ),
    kind(
        "child-freeze",
        Worker,
        Act::Freeze(Child),
        false,
        (
            "SIGSTOP of a child, SIGCONT later",
            "It is useless until it is thawed: only `liveness` or `watchdog` notice. It does not move.",
        ),
    ),
    kind(
        "agent-kill",
        Worker,
        Act::Kill(Agent),
        false,
        (
            "kill -9 of a worker's agent",
            "Nothing: the supervisor starts another agent, children run on.",
        ),
    ),
    kind(
        "agent-freeze",
        Worker,
        Act::Freeze(Agent),
        false,
        (
            "SIGSTOP of a worker's agent, SIGCONT later",
            "Nothing: the supervisor replaces it after a second.",
        ),
    ),
    kind(
        "supervisor-kill",
        Worker,
        Act::Kill(Supervisor),
        true,
        (
            "kill -9 of a worker's supervisor",
            "Its children end with it, and start again with it; or elsewhere, when it stays away for touch_timeout.",
        ),
    ),
    kind(
        "supervisor-freeze",
        Worker,
        Act::Freeze(Supervisor),
        true,
        (
            "SIGSTOP of a worker's supervisor, SIGCONT later",
            "Children run on, and the worker is lost after touch_timeout: its instances run elsewhere, and the old copies are stopped when it is back. With exclusive children, the kernel ends the supervisor at their deadline, and all its children with it; whatever runs `dsbus worker` starts it again, and they start in place.",
        ),
    ),
    kind(
        "worker-kill",
        Worker,
        Act::Kill(Daemon),
        true,
        ("kill -9 of a worker's two processes", GONE),
    ),
    kind(
        "worker-freeze",
        Worker,
        Act::Freeze(Daemon),
        true,
        ("SIGSTOP of a worker's two processes, SIGCONT later", "As for a frozen supervisor."),
    ),
    kind(
        "machine-freeze",
        Worker,
        Act::Freeze(Machine),
        true,
        (
            "a worker's whole machine stands still, and goes on later",
            "Its instances run elsewhere after touch_timeout and a moment. Outdated copies live for a moment after the thaw, exclusive ones too: `DSBUS_EPOCH` is for that.",
        ),
    ),
    kind(
        "worker-term",
        Worker,
        Act::Term,
        true,
        (
            "a worker is told to stop, and started again",
            "Its children are stopped in order, and start again with it; or elsewhere, when it stays away for touch_timeout.",
        ),
    ),
    kind(
        "worker-cut",
        Worker,
        Act::Cut(Way::Both),
        true,
        ("a worker's machine is cut off, both ways", CUT),
    ),
    kind(
        "worker-cut-in",
        Worker,
        Act::Cut(Way::In),
        true,
        ("nothing reaches a worker's machine", CUT),
    ),
    kind(
        "worker-cut-out",
        Worker,
        Act::Cut(Way::Out),
        true,
        ("nothing leaves a worker's machine", CUT),
    ),
    kind(
        "worker-loss",
        Worker,
        Act::Lose,
        true,
        (
            "a fifth of a worker's packets is lost, each way",
            "Mostly nothing. A worker that cannot be heard for touch_timeout is lost like one that is cut off.",
        ),
    ),
    kind(
        "worker-slow",
        Worker,
        Act::Slow,
        false,
        (
            "a worker's link carries 64 kbit/s",
            "Logs and events come slowly. A worker that has more to say than the link carries may be late with its touches.",
        ),
    ),
    kind(
        "scheduler-kill",
        Scheduler,
        Act::Kill(Daemon),
        false,
        ("kill -9 of a scheduler", NOTHING),
    ),
    kind(
        "scheduler-freeze",
        Scheduler,
        Act::Freeze(Daemon),
        false,
        (
            "SIGSTOP of a scheduler, SIGCONT later",
            "A command that it had taken is sent again to all after a second.",
        ),
    ),
    kind(
        "scheduler-term",
        Scheduler,
        Act::Term,
        false,
        ("a scheduler is told to stop, and started again", NOTHING),
    ),
    kind(
        "scheduler-cut",
        Scheduler,
        Act::Cut(Way::Both),
        false,
        (
            "a scheduler's machine is cut off, both ways",
            "A command that was sent to it is sent again to all after a second.",
        ),
    ),
    kind(
        "scheduler-cut-in",
        Scheduler,
        Act::Cut(Way::In),
        false,
        (
            "nothing reaches a scheduler's machine",
            "A command that was sent to it is sent again to all after a second.",
        ),
    ),
    kind(
        "scheduler-cut-out",
        Scheduler,
        Act::Cut(Way::Out),
        false,
        (
            "nothing leaves a scheduler's machine",
            "A command that was sent to it is sent again to all after a second.",
        ),
    ),
    kind(
        "scheduler-loss",
        Scheduler,
        Act::Lose,
        false,
        (
            "a fifth of a scheduler's packets is lost, each way",
            "Some commands are answered by others, after a second.",
        ),
    ),
    kind(
        "scheduler-slow",
        Scheduler,
        Act::Slow,
        false,
        ("a scheduler's link carries 64 kbit/s", "Some commands are answered more slowly."),
    ),
    kind(
        "leader-kill",
        Nats,
        Act::Kill(Leader),
        false,
        ("kill -9 of the NATS server that leads the stream of placements", BUS_SHORT),
    ),
    kind(
        "leader-freeze",
        Nats,
        Act::Freeze(Leader),
        false,
        (
            "SIGSTOP of the NATS server that leads the stream of placements, SIGCONT later",
            BUS_SHORT,
        ),
    ),
    kind(
        "nats-kill",
        Nats,
        Act::Kill(Daemon),
        false,
        ("kill -9 of one of three NATS servers", BUS_SHORT),
    ),
    kind(
        "nats-freeze",
        Nats,
        Act::Freeze(Daemon),
        false,
        ("SIGSTOP of one of three NATS servers, SIGCONT later", BUS_SHORT),
    ),
    kind(
        "nats-term",
        Nats,
        Act::Term,
        false,
        (
            "one of three NATS servers is told to stop, and started again",
            "Its clients go to the others. Commands wait a moment.",
        ),
    ),
    kind(
        "nats-cut",
        Nats,
        Act::Cut(Way::Both),
        false,
        ("the machine of one of three NATS servers is cut off, both ways", BUS_SHORT),
    ),
    kind(
        "nats-cut-in",
        Nats,
        Act::Cut(Way::In),
        false,
        ("nothing reaches the machine of one of three NATS servers", BUS_SHORT),
    ),
    kind(
        "nats-cut-out",
        Nats,
        Act::Cut(Way::Out),
        false,
        ("nothing leaves the machine of one of three NATS servers", BUS_SHORT),
    ),
    kind(
        "nats-loss",
        Nats,
        Act::Lose,
        false,
        (
            "a fifth of the packets of one of three NATS servers is lost, each way",
            "Commands are slower; its clients may go to another server.",
        ),
    ),
    kind(
        "nats-slow",
        Nats,
        Act::Slow,
        false,
        ("the link of one of three NATS servers carries 64 kbit/s", "Commands are slower."),
    ),
];
