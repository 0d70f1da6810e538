"""What the type checker must refuse. `mypy --strict` finds a comment below that hides nothing."""

from __future__ import annotations

import dsbus
from dsbus.distsuper import create_process


async def wrong(fleet: dsbus.Fleet) -> None:
    await fleet.create("web")  # type: ignore[call-arg]
    await fleet.create("web", command="x", numproc=3)  # type: ignore[call-arg]
    await fleet.create("web", command="x", autorestart="sometimes")  # type: ignore[arg-type]
    await fleet.apply({"web": {"command": "x", "numprocs": "3"}})  # type: ignore[typeddict-item]
    row = await fleet.get("web:0")
    if row["state"] == "RUNING":  # type: ignore[comparison-overlap]
        pass
    create_process("web", "x", touch_timeout="5")  # type: ignore[arg-type]


async def right(fleet: dsbus.Fleet) -> int:
    async with fleet.events("process") as events:
        async for event in events:
            if event["data"]["kind"] == "process":
                return event["data"].get("pid") or 0
    return 0
