"""Commands, against a real fleet; and what schedulers do that are frozen or of two minds, played by
a few lines on a fleet of another name."""

from __future__ import annotations

import asyncio
import functools
import json
import uuid
from typing import Any, Awaitable, Callable, Coroutine, Dict, List, Optional

import dsbus
import pytest
from dsbus.types import InstanceRow
from nats.aio.msg import Msg

# Seconds: a busy machine.
DEADLINE = 60.0


def alone(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """An asynchronous test, in an event loop of its own."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(asyncio.wait_for(test(**fixtures), 3 * DEADLINE))

    return run


async def soon(look: Callable[[], Awaitable[Any]], is_so: Callable[[Any], bool]) -> Any:
    """What is seen once it is so: two schedulers answer, and one may know it later than the other."""
    loop = asyncio.get_running_loop()
    end = loop.time() + DEADLINE
    while True:
        try:
            seen = await look()
            if is_so(seen) or loop.time() >= end:
                return seen
        except dsbus.TimedOut:
            if loop.time() >= end:
                raise
        await asyncio.sleep(0.05)


async def all_in(fleet: dsbus.Fleet, name: str, state: str) -> Dict[str, InstanceRow]:
    """The rows of two copies, once both are in this state."""

    def is_so(rows: List[InstanceRow]) -> bool:
        return [row["state"] for row in rows] == [state, state]

    return {row["name"]: row for row in await soon(lambda: fleet.status(name), is_so)}


@alone
async def test_a_program_from_its_declaration_to_its_removal() -> None:
    async with dsbus.connect() as fleet:
        applied = await fleet.create(
            "web", command="sleep 1000", numprocs=2, startsecs=0, wait=DEADLINE
        )
        assert [program["name"] for program in applied["programs"]] == ["web"]
        rows = await all_in(fleet, "web", "RUNNING")
        assert {name: row["state"] for name, row in rows.items()} == {
            "web:0": "RUNNING",
            "web:1": "RUNNING",
        }
        await fleet.restart("web:0", wait=DEADLINE)

        def again(row: InstanceRow) -> bool:
            return row["state"] == "RUNNING" and row.get("pid") != rows["web:0"].get("pid")

        assert again(await soon(lambda: fleet.get("web:0"), again))
        assert (await fleet.get("web:1")).get("pid") == rows["web:1"].get("pid")
        await fleet.stop("web", wait=DEADLINE)
        rows = await all_in(fleet, "web", "STOPPED")
        assert {row["state"] for row in rows.values()} == {"STOPPED"}
        await fleet.start("web:1", arguments=["5"], wait=DEADLINE)
        one = await soon(lambda: fleet.get("web:1"), lambda row: bool(row.get("arguments")))
        assert one.get("arguments") == ["5"]
        with pytest.raises(dsbus.Refused) as several:
            await fleet.get("web")
        assert "2 instances" in str(several.value)
        await fleet.remove("web", wait=DEADLINE)

        async def refusal() -> Optional[int]:
            try:
                await fleet.get("web:0")
            except dsbus.Refused as refused:
                return refused.code
            return None

        assert await soon(refusal, lambda code: code is not None) == 404


@alone
async def test_a_refusal_says_which_key_is_wrong_and_nothing_is_done() -> None:
    async with dsbus.connect() as fleet:
        with pytest.raises(dsbus.Refused) as refused:
            await fleet.apply({"good": {"command": "true"}, "bad": {"command": "x", "numprocs": 0}})
        assert refused.value.code == 400
        assert any("numprocs" in problem["key"] for problem in refused.value.problems)
        assert all(row["program"] != "good" for row in await fleet.status())


@alone
async def test_what_does_not_come_to_be_is_told() -> None:
    async with dsbus.connect() as fleet:
        with pytest.raises(dsbus.Failed) as failed:
            await fleet.create("bad", command="exit 7", shell=True, startretries=0, wait=DEADLINE)
        assert [row["state"] for row in failed.value.rows] == ["FATAL"]
        assert "bad:0 is FATAL" in str(failed.value)
        with pytest.raises(dsbus.TimedOut) as late:
            await fleet.create("nowhere", command="sleep 9", machines=["none"], wait=5)
        assert [row["state"] for row in late.value.rows] == ["PENDING"]
        await fleet.remove("bad", "nowhere", wait=DEADLINE)


@alone
async def test_a_command_sent_again_with_its_id_acts_once() -> None:
    async with dsbus.connect() as fleet:
        await fleet.create("once", command="sleep 1000", startsecs=0, wait=DEADLINE)
        body = {"id": str(uuid.uuid4()), "names": ["once"]}
        for _ in range(3):
            await fleet.command("restart", body)
        row = await soon(
            lambda: fleet.get("once:0"), lambda row: bool(row["wanted"].get("restarts"))
        )
        assert row["wanted"].get("restarts") == 1
        await fleet.remove("once", wait=DEADLINE)


@alone
async def test_without_a_bus_or_a_scheduler_one_is_told() -> None:
    with pytest.raises(dsbus.NoBus) as none:
        await dsbus.connect("nats://ann:secret@127.0.0.1:9")
    assert "127.0.0.1:9" in str(none.value) and "secret" not in str(none.value)
    async with dsbus.connect(fleet="nobody") as fleet:
        with pytest.raises(dsbus.NoScheduler):
            await fleet.status()


Play = Callable[[Msg], Awaitable[None]]


async def play(fleet: dsbus.Fleet, one: Play, every: Play) -> None:
    """Plays the schedulers: one that is asked alone, and all of them."""
    await fleet.bus.subscribe(f"dsbus.{fleet.name}.cmd.*.*", cb=one)
    await fleet.bus.subscribe(f"dsbus.{fleet.name}.cmdall.*.*", cb=every)
    await fleet.bus.flush()


async def say(message: Msg, body: Any, headers: Optional[Dict[str, str]] = None) -> None:
    asked = message._client
    await asked.publish(message.reply, json.dumps(body).encode(), headers=headers)


@alone
async def test_when_one_scheduler_is_silent_all_are_asked_under_the_same_id() -> None:
    ids: List[str] = []

    async def silent(message: Msg) -> None:
        ids.append(json.loads(message.data)["id"])

    async def answers(message: Msg) -> None:
        ids.append(json.loads(message.data)["id"])
        # One that knows less refuses first.
        refusal = {"Nats-Service-Error": "no such", "Nats-Service-Error-Code": "404"}
        await say(message, {"code": 404, "error": "no such"}, refusal)
        await say(message, {"instances": []})

    async with dsbus.connect(fleet="frozen") as fleet:
        await play(fleet, silent, answers)
        while True:
            try:
                assert await fleet.stop("web") == {"instances": []}
                break
            except dsbus.TimedOut:  # a busy machine may be slower than one waits
                ids.clear()
    assert len(ids) == 2 and ids[0] == ids[1]


@alone
async def test_when_all_are_silent_it_may_have_been_done() -> None:
    async def silent(message: Msg) -> None:
        pass

    async with dsbus.connect(fleet="frozen") as fleet:
        await play(fleet, silent, silent)
        with pytest.raises(dsbus.TimedOut):
            await fleet.stop("web")


@alone
async def test_an_answer_in_parts_is_one() -> None:
    async def parts(message: Msg) -> None:
        after = json.loads(message.data).get("after")
        if after is None:
            await say(message, [{"name": "a:0"}], {"Dsbus-Next": "a:0"})
        else:
            await say(message, [{"name": f"after {after}"}])

    async with dsbus.connect(fleet="large") as fleet:
        await play(fleet, parts, parts)
        assert [row["name"] for row in await fleet.status()] == ["a:0", "after a:0"]
