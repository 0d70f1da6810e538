"""Start, stop and watch the programs of a dsbus fleet.

    async with dsbus.connect() as fleet:
        await fleet.create("web", command="/usr/bin/web --port 8080", numprocs=3, wait=30)

`dsbus.distsuper` has the functions of `distsuper.api.server`.
"""

from ._errors import (
    Disconnected,
    Error,
    Failed,
    NoBus,
    NoScheduler,
    Refused,
    TimedOut,
    TooSlow,
)
from ._events import Events
from ._fleet import Fleet, connect

__all__ = [
    "Disconnected",
    "Error",
    "Events",
    "Failed",
    "Fleet",
    "NoBus",
    "NoScheduler",
    "Refused",
    "TimedOut",
    "TooSlow",
    "connect",
]
