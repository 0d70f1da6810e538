"""What is said on the bus, as types.

Made from dsbus's own types by `./run schemas`: do not edit. A message is the `dict` that its JSON
is; unknown keys may come with a newer fleet. What each key means is also in docs/bus.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Literal, Optional, TypedDict, Union

if TYPE_CHECKING:
    from typing_extensions import NotRequired


class Act(TypedDict):
    """Start, stop, restart, reload or remove."""

    # For `start` and `restart`: words after those of the declared command, for this start only.
    arguments: NotRequired[List[str]]
    # Id of the command: sent again with the same id, it acts once. Made up when missing.
    id: NotRequired[Optional[str]]
    # What to act on.
    names: List[Target]
    # For `restart`: one after the other, as the programs' `update` says.
    rolling: NotRequired[bool]
    # Major version of the message.
    version: NotRequired[Optional[int]]


class Acted(TypedDict):
    """Answer to `Act`."""

    # By name.
    instances: List[ActedInstance]


class ActedInstance(TypedDict):
    """One instance of an `Acted`: what is wanted of it now. The command is done when the
    instance's `acted` is at least this and its state is the one wanted."""

    # Identity of its program.
    id: ProgramId
    # The instance.
    name: InstanceId
    # What is wanted of it now.
    wanted: Wanted


class Applied(TypedDict):
    """Answer to `Apply` and `Create`."""

    # By name.
    programs: List[AppliedProgram]
    # What would be done at once, in words: the answer to a dry run.
    steps: NotRequired[List[str]]


class AppliedProgram(TypedDict):
    """One program of an `Applied`."""

    # What was done.
    change: Change
    # The keys that changed; values are left out, since they may be secrets.
    changed: NotRequired[List[str]]
    # Identity.
    id: ProgramId
    # Name.
    name: ProgramName
    # How many instances it has now.
    numprocs: int
    # Revision now.
    revision: int
    # The change needs new children, and is rolled out.
    rolls: NotRequired[bool]
    # What is worth saying about the declaration.
    warnings: NotRequired[List[Problem]]


class Apply(TypedDict):
    """Declare programs: all of them or, if anything is wrong with one, none."""

    # Only say what would be done.
    dry_run: NotRequired[bool]
    # Id of the command: sent again with the same id, it acts once. Made up when missing.
    id: NotRequired[Optional[str]]
    # Programs by name; each a table of the keys of `ProgramSpec`.
    programs: Dict[str, ProgramSpec]
    # Major version of the message.
    version: NotRequired[Optional[int]]


class Ask(TypedDict):
    """Ask for states."""

    # Only rows after this instance, or of programs (and groups) after its program. Ask again
    # after the last row of an answer, as long as one to `status` has the header `HEADER_NEXT`;
    # others hold at most `ANSWER_BYTES_MAX`, and the last one is empty.
    after: NotRequired[Optional[InstanceId]]
    # Id of the command: sent again with the same id, it acts once. Made up when missing.
    id: NotRequired[Optional[str]]
    # About what; everything when empty.
    names: NotRequired[List[Target]]
    # Major version of the message.
    version: NotRequired[Optional[int]]


AutoRestart = Literal[True, False, "unexpected"]

Capability = Literal[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
]


class Capacity(TypedDict):
    """How much the instances of a worker may declare in all. Each part is 0 where it is not
    known: by a worker that is older than this record."""

    # Processors, in cores.
    cpu: NotRequired[float]
    # Memory, in bytes.
    memory: NotRequired[int]


# What an `apply` or `create` did with a program.
Change = Literal["created", "changed", "unchanged"]

# Which output.
Channel = Literal["stdout", "stderr"]


class Clear(TypedDict):
    """Ask to truncate the log files of an instance, and to remove its rotated ones."""

    # Nothing now: its directory on the worker, with the logs in it, is removed when it is taken
    # away from there.
    forget: NotRequired[bool]
    # Whose.
    name: InstanceId


class Cleared(TypedDict):
    """The log files are empty."""

    # Whose.
    name: InstanceId


# The command as it was declared.
Command = Union[str, List[str]]


class CommandFact(TypedDict):
    """A command that changes something, and how it ended: the audit log."""

    # Who sent it: the user token of its subject.
    by: UserName
    # Why it was refused: a code of `code`.
    code: NotRequired[Optional[int]]
    # Id of the command: a command that is sent again has the same.
    command: NotRequired[Optional[str]]
    # How many names there were in all.
    count: int
    kind: Literal["command"]
    # What it was about: names of programs, instances, groups or workers as they were given. Cut
    # after `COMMAND_NAMES_MAX`.
    names: NotRequired[List[str]]
    # Why it was refused, for people.
    reason: NotRequired[Optional[str]]
    # Who answered.
    scheduler: str
    # Its verb.
    verb: str
    # How it ended.
    verdict: Verdict


class Create(TypedDict):
    """Declare one program that does not exist, or is stopped."""

    # Id of the command: sent again with the same id, it acts once. Made up when missing.
    id: NotRequired[Optional[str]]
    # Name.
    name: ProgramName
    # The keys of `ProgramSpec`.
    program: ProgramSpec
    # Major version of the message.
    version: NotRequired[Optional[int]]


# names of programs, or a table of names and the state that is waited for
DependsOn = Union[str, List[str], Dict[str, Literal["started", "running", "healthy", "done"]]]


class Disk(TypedDict):
    """A file system."""

    # What users other than root can still write, in bytes.
    available: NotRequired[int]
    # A directory in it.
    path: NotRequired[str]
    # Size, in bytes.
    total: NotRequired[int]


# Events that nobody will hear of.
Dropped = TypedDict(
    "Dropped",
    {
        # How many.
        "events": "int",
        # When the first of them happened, where that is known.
        "from": "NotRequired[Optional[Timestamp]]",
        # How many of each kind; `unreadable` are those that the worker's disk did not give
        # back.
        "kinds": "Dict[str, int]",
        # When the last of them happened, where that is known.
        "to": "NotRequired[Optional[Timestamp]]",
    },
)

# The value of a variable.
EnvironmentValue = Union[str, "EnvironmentValueFile", "EnvironmentValueSecret"]


class EnvironmentValueFile(TypedDict):
    """What a file on the worker holds; read at each start, without the new line at its end."""

    # Its path, absolute. No link, and at most 64 KiB.
    file: str


class EnvironmentValueSecret(TypedDict):
    """A secret that the worker has; see `dsbus secret`."""

    # Its name.
    secret: SecretName


# A number that grows each time an instance is placed anew: the fencing token that a child gets
# as `DSBUS_EPOCH`. A store that refuses an epoch lower than one it saw cannot be written by an
# outdated copy.
Epoch = int


class Event(TypedDict):
    """A CloudEvent. Any CloudEvents tool reads it."""

    # The fact.
    data: Fact
    # `application/json`.
    datacontenttype: str
    # Id; the same event published twice has the same. Also the `Nats-Msg-Id`.
    id: str
    # `/dsbus/<fleet>/<worker, _fleet, _user or _listener>`.
    source: str
    # Version of CloudEvents: `1.0`.
    specversion: str
    # What it is about: `web:0`, `web`, or a worker.
    subject: str
    # When it happened, by the clock of whoever saw it.
    time: Timestamp
    # `io.dsbus.<kind>.<type>.v1`, lower case.
    type: str


class EventListener(TypedDict):
    r"""What an event listener of Supervisor's kind is given on its standard input: the events
    of the whole fleet, from its first declaration on, each until it has answered `RESULT
    2\nOK`. All copies share them. An event that it fails, or that it dies with, comes
    again."""

    # How many events may be on their way to it at once, over all copies. The others wait on the
    # bus, and none is ever dropped. Unset: as many as keep a fast listener busy.
    buffer_size: NotRequired[Optional[int]]
    # Supervisor's names of the events, such as `PROCESS_STATE` (all below it),
    # `PROCESS_STATE_EXITED`, `TICK_60`. Required.
    events: List[EventName]
    # Without effect: a result of `OK` accepts an event, and every other one rejects it.
    result_handler: NotRequired[str]


# Supervisor's name of an event, or of all that are below it.
EventName = Literal[
    "EVENT",
    "PROCESS_STATE",
    "PROCESS_STATE_STARTING",
    "PROCESS_STATE_RUNNING",
    "PROCESS_STATE_BACKOFF",
    "PROCESS_STATE_STOPPING",
    "PROCESS_STATE_EXITED",
    "PROCESS_STATE_STOPPED",
    "PROCESS_STATE_FATAL",
    "PROCESS_STATE_UNKNOWN",
    "PROCESS_COMMUNICATION",
    "PROCESS_COMMUNICATION_STDOUT",
    "PROCESS_COMMUNICATION_STDERR",
    "PROCESS_LOG",
    "PROCESS_LOG_STDOUT",
    "PROCESS_LOG_STDERR",
    "REMOTE_COMMUNICATION",
    "SUPERVISOR_STATE_CHANGE",
    "SUPERVISOR_STATE_CHANGE_RUNNING",
    "SUPERVISOR_STATE_CHANGE_STOPPING",
    "TICK",
    "TICK_5",
    "TICK_60",
    "TICK_3600",
    "PROCESS_GROUP",
    "PROCESS_GROUP_ADDED",
    "PROCESS_GROUP_REMOVED",
]

EventType = str


class Exit(TypedDict):
    """How a child ended: exactly one of `code` and `signal` is set."""

    # Exit code.
    code: NotRequired[Optional[int]]
    # It left a core dump.
    core: NotRequired[bool]
    # Number of the signal that ended it.
    signal: NotRequired[Optional[int]]


class Explanation(TypedDict):
    """Why an instance is where it is: an element of the answer to `explain`."""

    # In a sentence: why it is there, or what it waits for.
    because: str
    # The instance.
    name: InstanceId
    # Its state.
    state: State
    # Where it is.
    worker: NotRequired[Optional[WorkerName]]
    # Every worker, as this instance sees it: those that could take it first, best first.
    workers: List[WorkerVerdict]


# an absolute path; /path:r (the default), :w, :a or :rw
ExtraFile = str

# What happened.
Fact = Union[
    "ProcessFact",
    "PlacementFact",
    "WorkerFact",
    "NoticeFact",
    "OutputFact",
    "RolloutFact",
    "ProgramFact",
    "GroupFact",
    "CommandFact",
    "SchedulerFact",
    "TickFact",
    "UserFact",
    "ListenerFact",
]


class Facts(TypedDict):
    """What was measured on a worker's machine; for people, and for the choice between
    workers that could all take an instance. Values that could not be read are 0 or empty."""

    # Addresses of its network interfaces, without loopback and link-local ones.
    addresses: NotRequired[List[str]]
    # Hardware architecture (`uname -m`).
    arch: NotRequired[str]
    # When it was measured, by that machine's clock; `None` when it never was.
    at: NotRequired[Optional[Timestamp]]
    # Processors of the machine that are online.
    cores: NotRequired[int]
    # How busy all processors together were since the time before, 0 to 100. Time that a virtual
    # machine waited for its host counts as busy.
    cpu_percent: NotRequired[float]
    # The file systems that matter to the worker: of its state directory, and of `/` where that
    # is another one.
    disks: NotRequired[List[Disk]]
    # Release of the kernel (`uname -r`).
    kernel: NotRequired[str]
    # Load averages of 1, 5 and 15 minutes (`/proc/loadavg`).
    load: NotRequired[List[float]]
    # Memory that new processes could have without swapping, in bytes (`MemAvailable`).
    memory_available: NotRequired[int]
    # Memory of the machine, in bytes (`MemTotal`).
    memory_total: NotRequired[int]
    # Name of the distribution (`PRETTY_NAME` of os-release(5)).
    os: NotRequired[str]
    # Swap space that is not used, in bytes (`SwapFree`).
    swap_free: NotRequired[int]
    # Swap space, in bytes (`SwapTotal`).
    swap_total: NotRequired[int]
    # Since the machine was started, in seconds.
    uptime_seconds: NotRequired[int]


# What happened to a group.
GroupChange = Literal["ADDED", "REMOVED", "OK", "DEGRADED", "FAILED"]


class GroupFact(TypedDict):
    """Something that happened to a group. What was told last is kept under `_group.<group>`."""

    # What.
    change: GroupChange
    # The instances that have failed; at most `GROUP_FAILED_MAX`.
    failed: NotRequired[List[str]]
    # The group.
    group: ProgramName
    kind: Literal["group"]


class GroupRow(TypedDict):
    """One group as people see it."""

    # The programs that have failed.
    failed: List[ProgramName]
    # All of its instances.
    instances: int
    # A required member has failed.
    major_failure: bool
    # An optional member has failed.
    minor_failure: bool
    # Its name.
    name: ProgramName
    # Instances that are as they should be.
    ok: int
    # Its programs.
    programs: List[ProgramName]
    # Its state.
    state: GroupState


# State of a group.
GroupState = Literal["STOPPED", "STARTING", "RUNNING", "STOPPING"]


class Hand(TypedDict):
    """What a scheduler has a worker do at once, in the name of who sent it: the worker alone
    could not tell who may."""

    # What it is asked; `by` in it is who sends the command, whatever it says.
    ask: StdinAsk
    # Id of the command: sent again with the same id, it acts once. Made up when missing.
    id: NotRequired[Optional[str]]
    # Major version of the message.
    version: NotRequired[Optional[int]]
    # Which worker.
    worker: WorkerName


# a command, or a table of command, shell and timeout
Hook = Union["Command", "HookCommand"]


class HookCommand(TypedDict):
    # What to run. Required.
    command: Command
    # Give the command line to `/bin/sh -c`.
    shell: NotRequired[bool]
    # How long it may take before it is killed, and has failed.
    timeout: NotRequired[Span]


# When a hook runs.
HookPoint = Literal["pre_start", "post_start", "pre_stop", "post_stop"]

Incarnation = str

InstanceId = str


class InstanceRow(TypedDict):
    """One instance as people see it: a row of `dsbus status -o json`."""

    # What was last acted on, by its worker or by schedulers.
    acted: Wanted
    # Words after those of the command, given with its last start.
    arguments: NotRequired[List[str]]
    # Epoch of the placement; 0 when it has none.
    epoch: Epoch
    # How the last child ended.
    exit: NotRequired[Optional[Exit]]
    # Identity of the program.
    id: ProgramId
    # Which copy.
    index: int
    # The program's `meta`.
    meta: NotRequired[Dict[str, Any]]
    # `web:0`.
    name: InstanceId
    # What the child says of itself (`STATUS=` of `sd_notify(3)`).
    note: NotRequired[Optional[str]]
    # Whether it is as it should be: it runs, is on its way to, has ended as expected, or was
    # stopped by a request.
    ok: bool
    # Process id, while there is a child.
    pid: NotRequired[Optional[int]]
    # Program.
    program: ProgramName
    # Why it is in this state.
    reason: NotRequired[Optional[str]]
    # How often it was started again under this epoch.
    restarts: int
    # Revision of the spec that was last acted on.
    revision: int
    # Since when it is in this state.
    since: NotRequired[Optional[Timestamp]]
    # Why the last spawn failed.
    spawnerr: NotRequired[Optional[str]]
    # State.
    state: State
    # Supervisor's number of the state.
    statecode: int
    # Last line of standard error, where a failure is to be explained.
    stderr_line: NotRequired[Optional[str]]
    # File of standard error, on the worker.
    stderr_logfile: NotRequired[Optional[str]]
    # File of standard output, on the worker.
    stdout_logfile: NotRequired[Optional[str]]
    # What the last child used.
    usage: NotRequired[Optional[Usage]]
    # What people want of it.
    wanted: Wanted
    # Where it is placed.
    worker: NotRequired[Optional[WorkerName]]


# What a program is for.
Kind = Literal["service", "oneshot"]

# such as zone = eu, zone != eu, zone in (eu, us), gpu, !gpu
LabelRule = str


class Limits(TypedDict):
    """Limits of a child with all its descendants, kept by a cgroup (version 2). A worker
    that has no such controller does not get the instance."""

    # Processors, such as 0.5 or 2 (`cpu.max`).
    cpu: NotRequired[Optional[float]]
    # Memory; beyond it the kernel kills (`memory.max`), and an event says so.
    memory: NotRequired[Optional[Size]]
    # Processes and threads (`pids.max`).
    pids: NotRequired[Optional[int]]


# What happened to a listener.
ListenerChange = Literal["UNKNOWN", "DIED", "REJECTED", "ACCEPTED", "DEAD_LETTER", "DROPPED"]


class ListenerFact(TypedDict):
    """Something that happened to a listener, or to what it had to deliver."""

    # What.
    change: ListenerChange
    # How many events, or tries.
    count: NotRequired[Optional[int]]
    # The event it was about.
    event: NotRequired[Optional[str]]
    kind: Literal["listener"]
    # Its name: that of its durable consumer.
    listener: ProgramName
    # Why, for people.
    reason: str
    # Where to it could not be delivered.
    target: NotRequired[Optional[str]]


# AUTO, NONE, an absolute path, /dev/stdout, /dev/stderr, syslog; or several
LogTargets = Union[str, List[str]]

# What becomes of due times that passed while no scheduler lived.
MissedRun = Literal["skip", "run"]

# octal digits, such as "022"
Mode = Union[str, int]

# What happened to an instance beside its changes of state.
Notice = Literal[
    "HOOK_DONE",
    "HOOK_FAILED",
    "HOOK_TIMED_OUT",
    "PROBE_FAILED",
    "OOM_KILL",
    "RELOADED",
    "RELOAD_STARTED",
    "RELOAD_SWITCHED",
    "RELOAD_FAILED",
    "BINARY_CHANGED",
    "RECYCLED",
    "OUTPUT_LOST",
    "OUTPUT_WRITTEN_AGAIN",
    "DOES_NOT_DIE",
    "SIGNALLED",
    "STDIN_CLOSED",
]


class NoticeFact(TypedDict):
    """Something that happened to an instance, and is no change of its state."""

    # Who did it, as they named themselves, where a person did.
    by: NotRequired[Optional[UserName]]
    # What.
    change: Notice
    # Epoch of the placement.
    epoch: Epoch
    # How the process ended.
    exit: NotRequired[Optional[Exit]]
    # Which hook.
    hook: NotRequired[Optional[HookPoint]]
    # Identity of the program.
    id: ProgramId
    kind: Literal["notice"]
    # The instance.
    name: InstanceId
    # The process this is about.
    pid: NotRequired[Optional[int]]
    # Why, for people.
    reason: str
    # Which signal, for `SIGNALLED`.
    signal: NotRequired[Optional[Signal]]
    # Where.
    worker: WorkerName


# What its worker does when an instance ends for good.
OnFatal = Literal["nothing", "exit"]

# What becomes of an instance whose worker is lost.
OnWorkerLoss = Literal["move", "stay", "stop"]


class OutputFact(TypedDict):
    """Something that a child said."""

    # Where it said it.
    channel: Channel
    # Epoch of the placement.
    epoch: Epoch
    # The group of the program, where it has one.
    group: NotRequired[Optional[ProgramName]]
    # Identity of the program.
    id: ProgramId
    kind: Literal["output"]
    # The instance.
    name: InstanceId
    # How this became an event.
    output: OutputKind
    # The child.
    pid: int
    # Name of the copy, where the program gives its copies names: `web_00`.
    process: NotRequired[Optional[str]]
    # What it said; bytes that are not UTF-8 are shown as U+FFFD.
    text: str
    # Where.
    worker: WorkerName


# How output became an event.
OutputKind = Literal["log", "communication"]

# The periods of ticks.
Period = Literal["TICK_5", "TICK_60", "TICK_3600"]

# What a scheduler did with a placement.
PlacementChange = Literal["PLACED", "MOVED", "REMOVED"]

# A change of where an instance runs.
PlacementFact = TypedDict(
    "PlacementFact",
    {
        # What was done.
        "change": "PlacementChange",
        # Epoch now; of the placement that was taken away, for REMOVED.
        "epoch": "Epoch",
        # Where it was.
        "from": "NotRequired[Optional[WorkerName]]",
        # Identity of the program.
        "id": "ProgramId",
        "kind": 'Literal["placement"]',
        # The instance.
        "name": "InstanceId",
        # Why.
        "reason": "str",
        # Who did it.
        "scheduler": "str",
        # Where it is now.
        "to": "NotRequired[Optional[WorkerName]]",
    },
)

# An instance that is (to be) moved.
PlannedMove = TypedDict(
    "PlannedMove",
    {
        # From where.
        "from": "WorkerName",
        # The instance.
        "name": "InstanceId",
        # Where it would go if nothing else changed.
        "to": "WorkerName",
    },
)


class Probe(TypedDict):
    """A question that is asked of a child again and again. Exactly one of `exec`, `http` and
    `tcp` is set. While the worker has no agent, `http` and `tcp` are not asked, and
    nothing is counted."""

    # How long after the start (of the child, for readiness; of RUNNING, for liveness) it is
    # first asked.
    delay: NotRequired[Span]
    # A command that ends with code 0 when all is well; run as the child's user, in its
    # directory and environment.
    exec: NotRequired[Optional[Command]]
    # How many bad answers in a row make the child unwell. Readiness has no such limit: it is
    # asked until `start_timeout`.
    failures: NotRequired[int]
    # An `http://` address that answers a GET with a status of 200 to 399 when all is well.
    http: NotRequired[Optional[str]]
    # From one answer to the next question.
    interval: NotRequired[Span]
    # `host:port` that accepts a connection when all is well.
    tcp: NotRequired[Optional[str]]
    # How long an answer may take.
    timeout: NotRequired[Span]


class Problem(TypedDict):
    """One thing that is wrong with a declaration, or worth saying about it."""

    # What to do about it.
    hint: NotRequired[Optional[str]]
    # The key it is about.
    key: str
    # What is wrong, as a sentence without the key.
    message: str


# A change of state of an instance. Ordered by (`epoch`, `seq`), without gaps.
ProcessFact = TypedDict(
    "ProcessFact",
    {
        # Which try to start this is, from 1, while starting or backing off.
        "attempt": "NotRequired[Optional[int]]",
        # Epoch of the placement.
        "epoch": "Epoch",
        # How it ended, when it ended.
        "exit": "NotRequired[Optional[Exit]]",
        # Whether that was expected.
        "expected": "NotRequired[Optional[bool]]",
        # The state before.
        "from": "State",
        # The group of the program, where it has one.
        "group": "NotRequired[Optional[ProgramName]]",
        # Identity of the program.
        "id": "ProgramId",
        "kind": 'Literal["process"]',
        # The instance.
        "name": "InstanceId",
        # The child this is about.
        "pid": "NotRequired[Optional[int]]",
        # Name of the copy, where the program gives its copies names: `web_00`.
        "process": "NotRequired[Optional[str]]",
        # Why, for people.
        "reason": "NotRequired[Optional[str]]",
        # Revision of the spec.
        "revision": "int",
        # Number of this event under the epoch, from 1; 0 for an event of the fleet.
        "seq": "int",
        # Why the spawn failed.
        "spawnerr": "NotRequired[Optional[str]]",
        # The state now.
        "state": "State",
        # Last line of standard error, where a failure is to be explained.
        "stderr_line": "NotRequired[Optional[str]]",
        # What it used, when it ended.
        "usage": "NotRequired[Optional[Usage]]",
        # Where.
        "worker": "NotRequired[Optional[WorkerName]]",
    },
)

# What was done with a declaration.
ProgramChange = Literal["ADDED", "CHANGED", "REMOVED"]


class ProgramFact(TypedDict):
    """A change of a declaration."""

    # Who asked for it, where that is known.
    by: NotRequired[Optional[UserName]]
    # What.
    change: ProgramChange
    # The keys that changed; values are left out, since they may be secrets.
    changed: NotRequired[List[str]]
    # The group it is in.
    group: NotRequired[Optional[ProgramName]]
    # Its identity.
    id: ProgramId
    kind: Literal["program"]
    # The program.
    program: ProgramName
    # Its revision now; the last one, for REMOVED.
    revision: int


ProgramId = str

ProgramName = str


class ProgramSpec(TypedDict):
    """What a person declared."""

    # Programs that it never shares a worker with; its own name keeps its copies apart.
    anti_affinity: NotRequired[List[ProgramName]]
    # Start it again when it ends by itself. Unset: `"unexpected"`, and `false` for a oneshot.
    autorestart: NotRequired[AutoRestart]
    # Start it once it is declared.
    autostart: NotRequired[bool]
    # By what the pause grows with each failed start, from `restart_pause` (1 s when unset) on.
    backoff_factor: NotRequired[Optional[float]]
    # Longest pause.
    backoff_max: NotRequired[Span]
    # Linux capabilities that it keeps although `user` is not root, such as `NET_BIND_SERVICE`.
    capabilities: NotRequired[List[Capability]]
    # What to run. Required.
    command: Command
    # The child forks, and its first process ends: the process named in `pidfile`, or else the
    # one that is left, is supervised instead.
    daemon: NotRequired[bool]
    # Programs that must be up before it is started, and that stop after it: `["db"]`, or a
    # table of the state that is waited for, `{ db = "healthy", migrate = "done" }`: `started`,
    # `running` (the default), `healthy` (running for its `min_healthy`), `done` (ended as
    # expected).
    depends_on: NotRequired[DependsOn]
    # Working directory of the child; its worker's state directory of the instance unless set.
    directory: NotRequired[Optional[str]]
    # Files of `NAME=value` lines on the worker, read at each start; `environment` wins over
    # them.
    env_file: NotRequired[List[str]]
    # Added to the child's environment. A value is text, or stands elsewhere: `{ file =
    # "/run/secrets/db" }` is what that file on the worker holds, read at each start, and `{
    # secret = "db-password" }` what `dsbus secret set` gave the worker.
    environment: NotRequired[Dict[str, EnvironmentValue]]
    # It is an event listener of Supervisor's kind: a table of what it is given, `{ events =
    # "PROCESS_STATE,TICK_60" }`. In a file, the section `[eventlistener.NAME]` has these keys
    # beside those of a program.
    eventlistener: NotRequired[Optional[EventListener]]
    # Never two live copies of one instance, at the price of stopping when the bus is lost.
    exclusive: NotRequired[bool]
    # Exit codes that are expected.
    exitcodes: NotRequired[List[int]]
    # Files that the child finds open, on the descriptors after those of `listen`: `/path`,
    # `/path:r`, `:w`, `:a`, `:rw`.
    extra_files: NotRequired[List[ExtraFile]]
    # The group it belongs to, in the same namespace as programs; also `%(group_name)s`. Unset:
    # one of its own.
    group: NotRequired[Optional[ProgramName]]
    # Without effect: SIGKILL always ends everything that the child started. Unset: as
    # `stopasgroup`.
    killasgroup: NotRequired[Optional[bool]]
    # How long after a SIGKILL it is killed again, and told that it does not die.
    killwaitsecs: NotRequired[Span]
    # `"service"` runs until it is stopped. `"oneshot"` runs to its end, and then rests: EXITED,
    # wherever its worker goes, until it is started again. Unset: `"service"`, and `"oneshot"`
    # with a `schedule`.
    kind: NotRequired[Kind]
    # Rules on labels of the workers it may run on; all must hold: `zone = eu`, `disk != hdd`,
    # `zone in (eu, us)`, `gpu` (it has that label), `!gpu`.
    labels: NotRequired[List[LabelRule]]
    # Limits of the child with all its descendants, kept by a cgroup: `{ memory = "512MB", cpu =
    # 0.5, pids = 100 }`.
    limits: NotRequired[Limits]
    # The worker listens here, and the child finds the sockets from descriptor 3 on, as systemd
    # passes them (`LISTEN_FDS`); they stay open over its restarts.
    listen: NotRequired[List[SocketAddress]]
    # While it is RUNNING: after so many bad answers in a row it is restarted.
    liveness: NotRequired[Optional[Probe]]
    # Compress rotated files (gzip).
    log_compress: NotRequired[bool]
    # Remove rotated files that are older; looked at when a file is opened or rotated.
    log_max_age: NotRequired[Optional[Span]]
    # Begin each line of a log file with the time it was read.
    log_timestamps: NotRequired[bool]
    # Workers it may run on; all when empty.
    machines: NotRequired[List[WorkerName]]
    # A child of a service that is RUNNING, and was started so long ago, is stopped and started
    # again; that counts for no limit. Each copy has an age of its own, from nine tenths of this
    # to all of it, that follows from the program's id and the copy's number: not all of them
    # stop in one moment.
    max_age: NotRequired[Optional[Span]]
    # On how many workers an instance may end FATAL before it is given up.
    max_fail_count: NotRequired[int]
    # Anything of yours; kept, and returned untouched.
    meta: NotRequired[Dict[str, Any]]
    # Scheduling priority, -20 (most) to 19 (least).
    nice: NotRequired[Optional[int]]
    # It says by `sd_notify(3)` when it is ready (`READY=1`); RUNNING comes only then.
    notify: NotRequired[bool]
    # How many copies.
    numprocs: NotRequired[int]
    # What `%(process_num)` is for the first copy.
    numprocs_start: NotRequired[int]
    # `"exit"`: when it ends FATAL, or by itself for good, its worker stops, with its exit code.
    # With 2 the worker's systemd unit does not start it again: that means a mistake in the
    # worker's files.
    on_fatal: NotRequired[OnFatal]
    # What becomes of an instance whose worker is lost: `move` it to another one, let it `stay`
    # until the worker is back, or `stop` it for good.
    on_worker_loss: NotRequired[OnWorkerLoss]
    # How readily the kernel kills it when memory runs out, -1000 (never) to 1000.
    oom_score_adj: NotRequired[Optional[int]]
    # Where a `daemon` writes its process id.
    pidfile: NotRequired[Optional[str]]
    # Run when the child is RUNNING.
    post_start: NotRequired[Optional[Hook]]
    # Run after the child has ended, however it ended.
    post_stop: NotRequired[Optional[Hook]]
    # Run before the child is started; when it fails, the start has failed.
    pre_start: NotRequired[Optional[Hook]]
    # Run before the child is asked to stop.
    pre_stop: NotRequired[Optional[Hook]]
    # Lower ones are started first and stopped last.
    priority: NotRequired[int]
    # Name of each copy; with several copies it holds `%(process_num)`. Unset:
    # `%(program_name)s`, and `%(program_name)s_%(process_num)02d` with several copies. An alias
    # of the index: `web:web_00`, also in `SUPERVISOR_PROCESS_NAME`, in syslog, and for event
    # listeners of Supervisor's kind.
    process_name: NotRequired[Optional[str]]
    # RUNNING comes only when this is answered well.
    readiness: NotRequired[Optional[Probe]]
    # Write its standard error to where its standard output goes.
    redirect_stderr: NotRequired[bool]
    # Signal by which `reload` makes it read its configuration anew. Unset: `reload` starts a
    # new child, and stops the old one when that is RUNNING.
    reload_signal: NotRequired[Optional[Signal]]
    # Its group has failed when it fails (a major failure); else the group only limps (a minor
    # one).
    required: NotRequired[bool]
    # What an instance takes of a worker's capacity: `{ cpu = 0.5, memory = "512MB" }`. A worker
    # takes no instance beyond its capacity. It limits nothing: see `limits`.
    resources: NotRequired[Resources]
    # After so many restarts within `restart_window` a child that was RUNNING is given up:
    # FATAL. 0 is never.
    restart_limit: NotRequired[int]
    # Pause before each start that follows a failed one. Unset: 1 s after the first, 2 s after
    # the second, and so on (Supervisor's rule).
    restart_pause: NotRequired[Optional[Span]]
    # Restart it when its executable file changes.
    restart_when_binary_changed: NotRequired[bool]
    # See `restart_limit`.
    restart_window: NotRequired[Span]
    # Limits of setrlimit(2): `{ nofile = 4096, core = "unlimited", nproc = "100:200" }`.
    rlimits: NotRequired[Dict[str, Rlimit]]
    # When a oneshot runs: `"*/5 * * * *"`, or `{ cron = "0 3 * * mon-fri", timezone =
    # "Europe/Berlin", missed = "run" }`. It does not run while its last run goes on. A time
    # that the clock leaves out counts as the first moment after it, one that comes twice counts
    # once; a schedule of every hour follows the time that passes instead.
    schedule: NotRequired[Optional[Schedule]]
    # What `SUPERVISOR_SERVER_URL` tells the child; the worker's `serverurl` unless set.
    serverurl: NotRequired[Optional[str]]
    # Give the command line to `/bin/sh -c`.
    shell: NotRequired[bool]
    # The worker listens here, and all copies on that worker find the socket as standard input
    # (`FastCGI`).
    socket: NotRequired[Optional[SocketAddress]]
    # How many connections may wait at a `socket` or `listen`; the system's most unless set.
    socket_backlog: NotRequired[Optional[int]]
    # Permission bits of a unix `socket` or `listen`.
    socket_mode: NotRequired[Mode]
    # `user` or `user:group` that owns a unix `socket` or `listen`; `user` unless set.
    socket_owner: NotRequired[Optional[str]]
    # Spread copies over the values of this label first, such as `zone`.
    spread_by: NotRequired[Optional[str]]
    # How long a start may take that waits for `notify`, `readiness` or a `daemon`, before it
    # has failed.
    start_timeout: NotRequired[Span]
    # How often a start that failed is tried again, before FATAL; a number or `"infinite"`.
    startretries: NotRequired[Retries]
    # How long a child must live to count as RUNNING. Unset: 1 s, and 0 for a oneshot.
    startsecs: NotRequired[Span]
    # See `stdout_capture_maxbytes`.
    stderr_capture_maxbytes: NotRequired[Size]
    # Make an event of everything that standard error says.
    stderr_events_enabled: NotRequired[bool]
    # Where standard error goes; see `stdout_logfile`.
    stderr_logfile: NotRequired[LogTargets]
    # How many rotated files of standard error are kept.
    stderr_logfile_backups: NotRequired[int]
    # Size at which the standard error's file is rotated; 0 is never.
    stderr_logfile_maxbytes: NotRequired[Size]
    # Send standard error to syslog, too.
    stderr_syslog: NotRequired[bool]
    # Its standard input is a pipe, which `dsbus stdin`, `attach` and `run` write to. Else it is
    # `/dev/null`: what reads from a pipe that nobody writes to would wait for ever, and each
    # pipe takes a descriptor of its worker.
    stdin: NotRequired[bool]
    # Most bytes that are kept of what standard output says between `<!--XSUPERVISOR:BEGIN-->`
    # and `<!--XSUPERVISOR:END-->`, which becomes an event; 0 is off.
    stdout_capture_maxbytes: NotRequired[Size]
    # Make an event of everything that standard output says.
    stdout_events_enabled: NotRequired[bool]
    # Where standard output goes: AUTO (a file in the worker's state directory), NONE, an
    # absolute path, `/dev/stdout`, `/dev/stderr` (the worker's own), `syslog`; or several of
    # them. Directories of a path that are missing are made.
    stdout_logfile: NotRequired[LogTargets]
    # How many rotated files of standard output are kept.
    stdout_logfile_backups: NotRequired[int]
    # Size at which the standard output's file is rotated; 0 is never.
    stdout_logfile_maxbytes: NotRequired[Size]
    # Send standard output to syslog, too.
    stdout_syslog: NotRequired[bool]
    # Send the stop signals to its whole process group, and wait for all of that to end.
    stopasgroup: NotRequired[bool]
    # The signal that asks it to stop, or several, one after the other: `["TERM", "INT:5s"]`.
    stopsignal: NotRequired[StopSignals]
    # How long it may take to stop after each signal before the next one, or SIGKILL.
    stopwaitsecs: NotRequired[Span]
    # Which of the workers that may take an instance does: `spread` (fewest copies of the
    # program, then fewest instances), `pack` (most instances), `ordered` (first of `machines`),
    # `least_loaded`, `most_loaded` (by what is declared and what is measured).
    strategy: NotRequired[Strategy]
    # Leave terminal escapes out of log files.
    strip_ansi: NotRequired[bool]
    # One copy on each worker that may take it, `numprocs` notwithstanding.
    system: NotRequired[bool]
    # How long its worker may be silent before it runs elsewhere; whole seconds. Unset: 5 s, and
    # 15 s when exclusive.
    touch_timeout: NotRequired[Optional[Span]]
    # Permission bits that files of the child do not get; the worker's unless set.
    umask: NotRequired[Optional[Mode]]
    # How a change that needs new children is rolled out.
    update: NotRequired[Update]
    # `user` or `user:group`: whom the child runs as, with all groups of that user, and with
    # HOME, USER and LOGNAME of that user. The worker's own unless set.
    user: NotRequired[Optional[str]]
    # It says by `sd_notify(3)` at least so often that it lives (`WATCHDOG=1`), or it is
    # restarted.
    watchdog: NotRequired[Optional[Span]]


class Rebalance(TypedDict):
    """Move instances so that workers are loaded evenly: answered with a list of
    `PlannedMove`."""

    # Only say what would be moved.
    dry_run: NotRequired[bool]
    # Id of the command: sent again with the same id, it acts once. Made up when missing.
    id: NotRequired[Optional[str]]
    # Major version of the message.
    version: NotRequired[Optional[int]]


class Recover(TypedDict):
    """Rebuild programs, goals and placements from what workers have: answered with
    `Recovered`. What is on the bus stays as it is; sent again, it finds nothing to do."""

    # Only instances after this one: see `Recovered.next`.
    after: NotRequired[Optional[InstanceId]]
    # Only say what would be rebuilt.
    dry_run: NotRequired[bool]
    # Also where workers contradict each other, are silent, or are all that vouches for a
    # declaration: see `RecoveredInstance.reason`.
    force: NotRequired[bool]
    # Id of the command: sent again with the same id, it acts once. Made up when missing.
    id: NotRequired[Optional[str]]
    # Declarations by name, which are taken instead of those that workers have; each a table of
    # the keys of `ProgramSpec`.
    programs: NotRequired[Dict[str, ProgramSpec]]
    # Major version of the message.
    version: NotRequired[Optional[int]]


class Recovered(TypedDict):
    """Answer to `Recover`."""

    # Instances, by name.
    instances: List[RecoveredInstance]
    # There are more: ask again after this one.
    next: NotRequired[Optional[InstanceId]]
    # Programs, by name.
    programs: List[RecoveredProgram]
    # Workers that did not answer, or not as workers do, and are not lost.
    silent: NotRequired[List[WorkerName]]


class RecoveredInstance(TypedDict):
    """An instance, on one worker."""

    # The epoch that it has there.
    epoch: Epoch
    # Name.
    name: InstanceId
    # Process id of its child, if it has one.
    pid: NotRequired[Optional[int]]
    # Why, for people.
    reason: NotRequired[Optional[str]]
    # What became of it.
    recovery: Recovery
    # Where.
    worker: WorkerName


class RecoveredProgram(TypedDict):
    """A program."""

    # Identity.
    id: ProgramId
    # Name.
    name: ProgramName
    # Why, for people.
    reason: NotRequired[Optional[str]]
    # What became of it.
    recovery: Recovery
    # Revision.
    revision: int


# What became of a program, or of an instance.
Recovery = Literal["known", "rebuilt", "left", "ended"]


class Refused(TypedDict):
    """The body of an answer that is a refusal. Its headers `Nats-Service-Error-Code` and
    `Nats-Service-Error` say the same, as NATS micro services do (ADR-32)."""

    # One of `code`.
    code: int
    # Why, for people.
    error: str
    # What is wrong with which key of which program, where that is known.
    problems: NotRequired[List[Problem]]


class Resources(TypedDict):
    """What an instance takes of a worker's capacity."""

    # Processors, such as 0.5 or 2.
    cpu: NotRequired[Optional[float]]
    # Memory.
    memory: NotRequired[Optional[Size]]


Retries = Union[int, Literal["infinite"]]


class RevisionRow(TypedDict):
    """A revision of a program as people see it: a row of `dsbus history`."""

    # When it was declared.
    at: Timestamp
    # By whom, where that is known.
    by: NotRequired[Optional[UserName]]
    # The keys that it changed; values are left out, since they may be secrets.
    changed: List[str]
    # It is the one that is declared now.
    current: bool
    # Its identity.
    id: ProgramId
    # Program.
    program: ProgramName
    # Why, where there is more to say than that it was declared.
    reason: NotRequired[Optional[str]]
    # The revision.
    revision: int


# a number, "SOFT:HARD", or "unlimited"
Rlimit = Union[int, str]


class RolloutAct(TypedDict):
    """Steer rollouts: answered with the `RolloutRow` of each."""

    # Id of the command: sent again with the same id, it acts once. Made up when missing.
    id: NotRequired[Optional[str]]
    # Which programs.
    names: List[Target]
    # What to do.
    step: RolloutStep
    # For `undo`: the revision to go back to; the one before when not given.
    to: NotRequired[Optional[int]]
    # Major version of the message.
    version: NotRequired[Optional[int]]


# A step of a rollout, as an event tells it.
RolloutChange = Literal[
    "STARTED",
    "PAUSED",
    "RESUMED",
    "PROMOTED",
    "FAILED",
    "REVERTED",
    "DONE",
]


class RolloutFact(TypedDict):
    """A step of a rollout."""

    # Who asked for it; nobody, when a scheduler decided.
    by: NotRequired[Optional[UserName]]
    # What.
    change: RolloutChange
    # Its identity.
    id: ProgramId
    kind: Literal["rollout"]
    # The program.
    program: ProgramName
    # Why, for people.
    reason: str
    # The revision that is rolled out.
    revision: int


class RolloutRow(TypedDict):
    """One program's rollout as people see it."""

    # The canaries are good as far as can be told, and the rest waits until they are promoted.
    awaits_promotion: NotRequired[bool]
    # Instances that have the new revision and are up.
    done: List[InstanceId]
    # Its identity.
    id: ProgramId
    # Instances that are being changed now, or are not healthy yet.
    moving: List[InstanceId]
    # Program.
    program: ProgramName
    # What it waits for, or why it stopped.
    reason: NotRequired[Optional[str]]
    # The revision that is rolled out.
    revision: int
    # When it began.
    since: NotRequired[Optional[Timestamp]]
    # The revision before; `None` when no rollout is going on.
    stable: NotRequired[Optional[int]]
    # How far it may go; `None` when no rollout is going on.
    state: NotRequired[Optional[RolloutState]]
    # Instances that wait for their turn.
    waiting: List[InstanceId]


# How far a rollout may go.
RolloutState = Literal["rolling", "paused", "failed"]

# What to do with a rollout.
RolloutStep = Literal["pause", "resume", "promote", "undo"]


class Scale(TypedDict):
    """Change how many copies programs have."""

    # Id of the command: sent again with the same id, it acts once. Made up when missing.
    id: NotRequired[Optional[str]]
    # `numprocs` by program.
    programs: Dict[str, int]
    # Major version of the message.
    version: NotRequired[Optional[int]]


# a line of cron, or a table of cron, timezone and missed
Schedule = Union[str, "ScheduleCron"]


class ScheduleCron(TypedDict):
    # Minute, hour, day of the month, month, day of the week; or six, with seconds first; or
    # @hourly, @daily, @weekly, @monthly, @yearly. Required.
    cron: str
    # What becomes of due times that passed while no scheduler lived: `skip` them, or `run` once
    # for all of them.
    missed: NotRequired[MissedRun]
    # Name of the IANA database, such as `Europe/Berlin`.
    timezone: NotRequired[str]


# What happened to a scheduler.
SchedulerChange = Literal["JOINED", "LEFT", "LOST", "EVENTS_DROPPED"]


class SchedulerFact(TypedDict):
    """Something that happened to a scheduler."""

    # What.
    change: SchedulerChange
    # How many events were dropped.
    count: NotRequired[Optional[int]]
    kind: Literal["scheduler"]
    # Which one.
    scheduler: str
    # How many schedulers are left, or there are now, as far as the teller knows.
    schedulers: int


SecretName = str

Signal = Literal[
    "HUP",
    "INT",
    "QUIT",
    "ABRT",
    "KILL",
    "USR1",
    "SEGV",
    "USR2",
    "PIPE",
    "ALRM",
    "TERM",
    "CHLD",
    "CONT",
    "STOP",
    "TSTP",
    "TTIN",
    "TTOU",
    "URG",
    "VTALRM",
    "PROF",
    "WINCH",
    "IO",
    "PWR",
    "SYS",
    "ILL",
    "TRAP",
    "BUS",
    "FPE",
    "STKFLT",
    "XCPU",
    "XFSZ",
]


class SignalAsk(TypedDict):
    """Send a signal to the main process of an instance, once. A child that was started after
    the one that is meant never gets it."""

    # Who wants it; the event tells it.
    by: UserName
    # Epoch of the child that is meant.
    epoch: Epoch
    # Whose.
    name: InstanceId
    # Its process id.
    pid: int
    # Which signal.
    signal: Signal


class SignalSent(TypedDict):
    """The signal was sent."""

    # To whom.
    name: InstanceId
    # Its process.
    pid: int
    # Which.
    signal: Signal


# bytes, or text with a unit of 1024 such as "50MB"
Size = Union[str, int]

# unix:///path or tcp://host:port
SocketAddress = str

# seconds, or text with a unit such as "5s" or "1m 30s"
Span = Union[str, float]

# State of an instance. Names and numbers are Supervisor's (its manual, "Process States"), and
# PENDING.
State = Literal[
    "STOPPED",
    "PENDING",
    "STARTING",
    "RUNNING",
    "BACKOFF",
    "STOPPING",
    "EXITED",
    "FATAL",
    "UNKNOWN",
]


class StdinAsk(TypedDict):
    """Write to the standard input of a child, or close it. What does not fit into its pipe
    now is not taken, and to be offered again. Without bytes and `eof` it only asks
    whether it has an input."""

    # The bytes as base64, at most `STDIN_BYTES_MAX` of them.
    base64: NotRequired[str]
    # Who wants it; the event of the closing tells it.
    by: UserName
    # Close it behind these bytes.
    eof: NotRequired[bool]
    # Epoch of the child that is meant.
    epoch: Epoch
    # Whose.
    name: InstanceId
    # How many bytes this writer has written before these.
    offset: int
    # Its process id.
    pid: int
    # Who writes: one id for all that belongs together. A request that comes twice is written
    # once.
    writer: str


class StdinTaken(TypedDict):
    """How far it was written."""

    # It is closed.
    closed: NotRequired[bool]
    # To whom.
    name: InstanceId
    # How many bytes of this writer were taken in all; the next request begins there.
    through: int


# a signal, or several one after the other, each with its own wait
StopSignals = Union[str, int, List[str]]

# Which of the workers that may take an instance does.
Strategy = Literal["spread", "pack", "ordered", "least_loaded", "most_loaded"]

# all, a program or a group, an instance (web:0, web:web_00), a pattern (web*, shop:*), or a
# program's UUID
Target = str


class TickFact(TypedDict):
    """Time went by. Once per period and fleet: all schedulers tell it under the same id."""

    kind: Literal["tick"]
    # Which period.
    tick: Period
    # When the period began: seconds since 1970, a multiple of its length (Supervisor's `when`).
    when: int


Timestamp = str


class Update(TypedDict):
    """How a change that needs new children reaches the instances."""

    # Go back to the declaration before when a changed instance ends FATAL; else the rollout
    # stops there.
    auto_revert: NotRequired[bool]
    # The first so many instances are changed, and the rest when that is promoted. At the first
    # start, the rest is started when these are healthy.
    canary: NotRequired[int]
    # So many extra instances are run meanwhile, on indexes after the last one.
    max_surge: NotRequired[int]
    # So many instances may be down at once, for a rollout, a drain or a rolling restart.
    max_unavailable: NotRequired[int]
    # How long a changed instance must be RUNNING before the next one is changed.
    min_healthy: NotRequired[Span]


class Usage(TypedDict):
    """What a child used, with all its descendants that it waited for (wait4(2))."""

    # Processor time, user and system, in milliseconds.
    cpu_ms: int
    # Most memory that it held at once, in bytes; 0 when that is not known. Of all its processes
    # together, with what the kernel keeps of files for them, where they have a cgroup that
    # counts memory; else of the greatest single process (resident), which is not known while
    # that was no greater than the worker itself.
    memory_peak: int


class UserFact(TypedDict):
    """What a person or a program said on the bus (`dsbus emit`); Supervisor's
    `sendRemoteCommEvent`."""

    # Who said it.
    by: UserName
    kind: Literal["user"]
    # What was said; JSON or any other text. At most `USER_TEXT_MAX` bytes.
    text: NotRequired[str]
    # Its TYPE, of whoever said it.
    type: EventType


UserName = str

# How a command ended.
Verdict = Literal["ACCEPTED", "REFUSED"]


class Wanted(TypedDict):
    """What an instance should do, as its placement carries it and as its status echoes it."""

    # How many reloads were asked for: a greater number reloads the child, where there is one. A
    # status echoes it when the reload has ended; see `RELOAD_FAILED`.
    reloads: NotRequired[int]
    # How many restarts were asked for: a greater number stops and starts the child.
    restarts: NotRequired[int]
    # Run, or stay stopped.
    run: bool
    # How many starts were asked for: a greater number starts an instance that does not run, and
    # leaves one that does alone.
    starts: NotRequired[int]


class WorkerAct(TypedDict):
    """Cordon, uncordon, drain, undrain or forget workers: answered with the `WorkerActed` of
    each."""

    # Id of the command: sent again with the same id, it acts once. Made up when missing.
    id: NotRequired[Optional[str]]
    # Which workers.
    names: List[WorkerName]
    # Major version of the message.
    version: NotRequired[Optional[int]]


class WorkerActed(TypedDict):
    """What is wanted of a worker now."""

    # It takes no new instances.
    cordoned: bool
    # It gives away those that it has.
    draining: bool
    # How many it has.
    instances: int
    # The worker.
    name: WorkerName


# What happened to a worker.
WorkerChange = Literal[
    "STARTED",
    "AGENT_STARTED",
    "STOPPING",
    "STOPPED",
    "LOST",
    "AWAITED",
    "BACK",
    "FENCED",
    "NAME_TAKEN",
    "EVENTS_DROPPED",
    "EVENTS_UNSAVED",
    "REFUSED",
    "CORDONED",
    "DRAINING",
    "DRAINED",
    "UNCORDONED",
    "SECRET_CHANGED",
    "UPGRADED",
    "UPGRADE_FAILED",
]


class WorkerFact(TypedDict):
    """Something that happened to a worker."""

    # What.
    change: WorkerChange
    # What was dropped, for `EVENTS_DROPPED`.
    dropped: NotRequired[Optional[Dropped]]
    # The supervisor's run, where it is known.
    incarnation: NotRequired[Optional[Incarnation]]
    kind: Literal["worker"]
    # Why, for people.
    reason: NotRequired[Optional[str]]
    # The worker.
    worker: WorkerName


WorkerName = str


class WorkerRow(TypedDict):
    """One worker as people see it: a row of `dsbus workers -o json`."""

    # Process id of the agent, on its machine.
    agent_pid: int
    # How much its instances may declare in all.
    capacity: NotRequired[Capacity]
    # What it can do for a child; see `Facility`.
    facilities: NotRequired[List[str]]
    # What its machine is, has left, and is busy with, as it last told.
    facts: NotRequired[Facts]
    # Host name.
    host: str
    # How many instances are placed on it.
    instances: int
    # What its people say of it; see `label`.
    labels: NotRequired[Dict[str, str]]
    # When it last touched.
    last_touch: NotRequired[Optional[Timestamp]]
    # Name.
    name: WorkerName
    # What it does not run of what is written for it; see `Worker.refuses`.
    refuses: NotRequired[Optional[str]]
    # State.
    state: WorkerState
    # Process id of the supervisor, on its machine.
    supervisor_pid: int
    # dsbus version.
    version: str


# State of a worker, as schedulers see it.
WorkerState = Literal["ready", "cordoned", "draining", "suspect", "lost", "stopping", "stopped"]


class WorkerVerdict(TypedDict):
    """A worker, as an instance sees it."""

    # The worker.
    name: WorkerName
    # Why it cannot take the instance, or `None`.
    refusal: NotRequired[Optional[str]]
    # What it is compared by among those that could, in words.
    score: NotRequired[Optional[str]]
    # Its state.
    state: WorkerState
