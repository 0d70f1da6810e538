"""Waiting until instances have come to what was asked. The schedulers answer a command when it is
written down; what the workers do about it is seen in their states."""

from __future__ import annotations

import asyncio
from typing import Awaitable, Callable, Dict, List, Mapping, Optional, Tuple

from ._errors import Failed, TimedOut
from .types import InstanceRow, State, Wanted

# How often the schedulers are asked, in seconds: each time costs them a look at every instance.
ASK_EVERY = 0.3
# How long, in seconds, FATAL and EXITED must stand before they count as the end: a scheduler may
# place the instance elsewhere, and a worker may start it again.
SETTLE = 1.0

# States without a child.
RESTING = ("STOPPED", "PENDING", "EXITED", "FATAL", "BACKOFF")

# Whether an instance has come to it. None: it may yet. False: it will not, by itself.
Verdict = Optional[bool]
Judge = Callable[[Optional[InstanceRow]], Verdict]
Status = Callable[[], Awaitable[List[InstanceRow]]]


def runs(wanted: Wanted) -> Judge:
    """It runs, or has ended as expected, after this was acted on."""
    return lambda row: None if row is None or not _reached(wanted, row) else running(row)


def stops(wanted: Wanted) -> Judge:
    """It has no child, after this was acted on."""

    def judge(row: Optional[InstanceRow]) -> Verdict:
        if row is None or not _reached(wanted, row) or row.get("pid"):
            return None
        return True if row["state"] in RESTING else None

    return judge


def revision(number: int) -> Judge:
    """It runs as it was declared then, if it is to run at all."""

    def judge(row: Optional[InstanceRow]) -> Verdict:
        if row is None:
            return None
        if not row["wanted"]["run"] and row["state"] in RESTING:
            return True
        return running(row) if row["revision"] >= number else None

    return judge


def gone(row: Optional[InstanceRow]) -> Verdict:
    """Nothing is known of it any more."""
    return True if row is None else None


def running(row: InstanceRow) -> Verdict:
    """It runs, or has ended as expected; False is final once it has stood for a while."""
    if row["state"] == "RUNNING" or (row["state"] == "EXITED" and row["ok"]):
        return True
    return False if row["state"] in ("EXITED", "FATAL") else None


def _reached(asked: Wanted, row: InstanceRow) -> bool:
    acted = row["acted"]
    counters = acted.get("starts", 0) >= asked.get("starts", 0) and acted.get(
        "restarts", 0
    ) >= asked.get("restarts", 0)
    return acted["run"] == asked["run"] and counters


async def wait(judges: Mapping[str, Judge], status: Status, seconds: float) -> None:
    """Returns when all have come to it. Raises Failed, or TimedOut after so many seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    standing: Dict[str, Tuple[State, float]] = {}
    while True:
        rows = {row["name"]: row for row in await status()}
        now = loop.time()
        for name, row in rows.items():
            if name not in standing or standing[name][0] != row["state"]:
                standing[name] = (row["state"], now)
        verdicts = {name: judge(rows.get(name)) for name, judge in judges.items()}
        failed = [
            rows[name]
            for name, verdict in verdicts.items()
            if verdict is False and now - standing[name][1] >= SETTLE
        ]
        if failed:
            raise Failed(_told(failed), failed)
        left = [name for name, verdict in verdicts.items() if not verdict]
        if not left:
            return
        if now >= end:
            known = [rows[name] for name in left if name in rows]
            text = _told(known) or ", ".join(left)
            raise TimedOut(f"not yet so after {seconds:g} s: {text}", known)
        await asyncio.sleep(min(ASK_EVERY, max(end - now, 0.001)))


def _told(rows: List[InstanceRow]) -> str:
    def one(row: InstanceRow) -> str:
        why = row.get("spawnerr") or row.get("reason") or row.get("stderr_line")
        return f"{row['name']} is {row['state']}" + (f" ({why})" if why else "")

    return "; ".join(map(one, rows))
