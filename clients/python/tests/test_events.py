"""Events: live ones, and a durable listener that is killed."""

from __future__ import annotations

import uuid
from typing import List

import dsbus
import pytest
from conftest import Dev
from dsbus._events import subjects
from dsbus.types import Event
from test_fleet import DEADLINE, alone


def test_types_and_programs_become_subjects() -> None:
    for types, programs, wanted in [
        ((), (), ["*.*.*.*"]),
        (("FATAL",), (), ["*.*.*.FATAL"]),
        (("worker.LOST", "process"), (), ["worker.*.*.LOST", "process.*.*.*"]),
        (("process",), ("a", "b"), ["process.a.*.*", "process.b.*.*"]),
    ]:
        made = subjects("default", types, programs)
        assert made == [f"dsbus.default.event.*.{tail}" for tail in wanted]


@alone
async def test_live_events_are_those_from_now_on() -> None:
    async with dsbus.connect() as fleet:
        await fleet.create("seen", command="sleep 1000", startsecs=0, wait=DEADLINE)
        states: List[str] = []
        async with fleet.events("process", programs=["seen"]) as events:
            await fleet.restart("seen")
            async for event in events:
                # The kind says which fact it is: the type checker knows that it has a name.
                if event["data"]["kind"] == "process":
                    assert event["data"]["name"] == "seen:0"
                states.append(event["type"].split(".")[-2])
                if states[-1] == "running":
                    break
        assert states == ["stopping", "stopped", "starting", "running"]
        await fleet.remove("seen", wait=DEADLINE)


@alone
async def test_who_reads_too_slowly_is_told(monkeypatch: pytest.MonkeyPatch, dev: Dev) -> None:
    monkeypatch.setattr("dsbus._events.WAITING_MAX", 2)
    async with dsbus.connect() as fleet:
        async with fleet.events("user.FLOOD") as events:
            for number in range(4):
                dev.run("emit", "FLOOD", f"n{number}")
            await fleet.bus.flush()
            with pytest.raises(dsbus.TooSlow) as slow:
                await events.__anext__()
            assert str(slow.value).startswith("2 events are lost")
            assert [text(await events.__anext__()) for _ in range(2)] == ["n0", "n1"]


def text(event: Event) -> str:
    return event["data"]["text"] if event["data"]["kind"] == "user" else ""


def test_a_durable_listener_goes_on_where_it_was(dev: Dev) -> None:
    name, kind = f"listener-{uuid.uuid4().hex}", f"T{uuid.uuid4().hex[:8].upper()}"

    async def some(fleet: dsbus.Fleet, count: int) -> List[str]:
        heard: List[str] = []
        async with fleet.events(f"user.{kind}", durable=name) as events:
            async for event in events:
                heard.append(text(event))
                if len(heard) == count:
                    break
        return heard

    @alone
    async def listen() -> None:
        async with dsbus.connect() as fleet:
            assert await some(fleet, 2) == ["n1", "n2"], "it begins with what was before it"
            with pytest.raises(ZeroDivisionError):
                async with fleet.events(f"user.{kind}", durable=name) as events:
                    async for event in events:
                        assert text(event) == "n3"
                        raise ZeroDivisionError
            # What is no event is left out.
            await fleet.bus.publish(f"dsbus.default.event._user.user._._.{kind}", b"{}")
            dev.run("emit", kind, "n5")
        async with dsbus.connect() as fleet:
            assert await some(fleet, 3) == ["n3", "n4", "n5"], "it goes on with the one that failed"
            await fleet.bus.jetstream().delete_consumer(fleet.stream, name)

    for number in (1, 2, 3, 4):
        dev.run("emit", kind, f"n{number}")
    listen()
