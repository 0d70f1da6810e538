"""Start, stop and watch the programs of a dsbus fleet.

    async with dsbus.connect() as fleet:
        await fleet.create("web", command="/usr/bin/web --port 8080", numprocs=3, wait=30)

`dsbus.distsuper` has the functions of `distsuper.api.server`.
"""

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from ._events import Events
    from ._fleet import Fleet, connect
else:
    # What needs nats-py is loaded when it is first used: dsbus.distsuper does without.
    _LATER = {"Events": "_events", "Fleet": "_fleet", "connect": "_fleet"}

    def __getattr__(name):
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        found = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
        globals()[name] = found
        return found


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
