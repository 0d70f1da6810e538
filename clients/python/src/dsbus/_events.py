"""Events as an asynchronous iterator: live, or durable."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
from types import TracebackType
from typing import TYPE_CHECKING, AsyncIterator, Deque, List, Optional, Sequence, Type, cast

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from ._errors import Error, TooSlow
from .types import Event

if TYPE_CHECKING:
    from ._fleet import Fleet

# Most live events that wait to be read; more are lost, and whoever reads is told.
WAITING_MAX = 10_000
# Ids that are known again: NATS may bring an event twice.
IDS_KEPT = 1_000
# Seconds after which an event that its reader died with comes again.
ACK_WAIT = 30
# Seconds that one question for an event waits.
FETCH = 5.0
# Seconds before the next attempt when the server or the consumer was lost.
PAUSE = 1.0


def subjects(fleet: str, types: Sequence[str], programs: Sequence[str]) -> List[str]:
    """Subjects of the events of these types: `FATAL`, `worker.LOST`, `worker` (all of a kind)."""
    found = []
    for text in types or ("*",):
        kind, dot, change = text.partition(".")
        if not dot:
            # Kinds are written small, and types in capitals.
            kind, change = ("*", text) if text.isupper() else (text, "*")
        for program in programs or ("*",):
            found.append(f"dsbus.{fleet}.event.*.{kind}.{program}.*.{change}")
    return list(dict.fromkeys(found))


def read(message: Msg) -> Event:
    """Raises for what is none: anybody may publish anything."""
    event = json.loads(message.data)
    for key in ("id", "type", "subject", "time", "data"):
        event[key]
    return cast(Event, event)


class Events:
    """Events, from `Fleet.events`.

    async with fleet.events("FATAL", "worker.LOST") as events:
        async for event in events:
            ...
    """

    def __init__(
        self, fleet: Fleet, subjects: Sequence[str], durable: Optional[str], new: bool
    ) -> None:
        self._fleet = fleet
        self._subjects = list(subjects)
        self._durable = durable
        self._new = new
        self._live: List[Subscription] = []
        self._queue: asyncio.Queue[Msg] = asyncio.Queue(WAITING_MAX)
        self._lost = 0
        self._pull: Optional[JetStreamContext.PullSubscription] = None
        self._held: Optional[Msg] = None
        self._held_id = ""
        self._done: Deque[str] = collections.deque(maxlen=IDS_KEPT)

    async def __aenter__(self) -> Events:
        if self._durable is not None:
            await self._bind()
            return self

        async def take(message: Msg) -> None:
            try:
                self._queue.put_nowait(message)
            except asyncio.QueueFull:
                self._lost += 1

        for subject in self._subjects:
            self._live.append(await self._fleet.bus.subscribe(subject, cb=take))
        # What happens from now on is heard.
        await self._fleet.bus.flush()
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        why: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        # The last event is done, unless its reader raised.
        if kind is None:
            await self._settle()
        elif self._held is not None:
            message, self._held = self._held, None
            with contextlib.suppress(nats.errors.Error):  # else it comes after ACK_WAIT
                await message.nak()
        for one in self._live:
            await one.unsubscribe()
        if self._pull is not None:
            await self._pull.unsubscribe()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._durable is not None:
            await self._settle()
        while True:
            message = await (self._next_live() if self._durable is None else self._next_kept())
            try:
                event = read(message)
            except (ValueError, KeyError, TypeError):
                if self._durable is not None:  # it would come for ever, and nothing after it
                    await message.term()
                continue
            if event["id"] in self._done:
                if self._durable is not None:
                    await message.ack()
                continue
            if self._durable is None:
                self._done.append(event["id"])
            else:
                self._held, self._held_id = message, event["id"]
            return event

    async def _next_live(self) -> Msg:
        if self._lost:
            lost, self._lost = self._lost, 0
            raise TooSlow(f"{lost} events are lost: read faster, or name a durable listener")
        return await self._queue.get()

    async def _next_kept(self) -> Msg:
        while True:
            try:
                if self._pull is None:
                    await self._bind()
                    assert self._pull is not None
                [message] = await self._pull.fetch(1, timeout=FETCH)
                return message
            except (nats.errors.TimeoutError, asyncio.TimeoutError):
                continue  # nothing happened
            except (nats.errors.Error, Error):  # the server or the consumer was lost: begin anew
                self._pull = None
                await asyncio.sleep(PAUSE)

    async def _bind(self) -> None:
        """Makes the consumer if it is not there, and leaves it as it is if it is."""
        assert self._durable is not None
        several = len(self._subjects) > 1
        config = ConsumerConfig(
            name=self._durable,
            durable_name=self._durable,
            filter_subject=None if several else self._subjects[0],
            filter_subjects=self._subjects if several else None,
            deliver_policy=DeliverPolicy.NEW if self._new else DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT,
            max_ack_pending=1,  # nothing overtakes an event that comes again
        )
        stream = self._fleet.stream
        try:
            await self._fleet.bus.jetstream().add_consumer(stream, config)
        except nats.js.errors.APIError as why:
            raise Error(f"{self._durable}: no such listener can be made: {why.description}") from why
        self._pull = await self._fleet.bus.jetstream().pull_subscribe_bind(
            self._durable, stream=stream
        )

    async def _settle(self) -> None:
        """The event that was read last is done."""
        if self._held is None:
            return
        message, self._held = self._held, None
        self._done.append(self._held_id)
        with contextlib.suppress(nats.errors.Error):  # else it comes again, and is known
            await message.ack_sync()
