"""How a command is sent: to one scheduler, and when that says nothing for a second, to all of them
under the same id, so that it acts once."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any, Dict, Mapping, Optional

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from ._errors import Disconnected, Error, NoScheduler, Refused, TimedOut

# One scheduler has this long; then all are asked. In seconds, as all times here.
ONE_ANSWER_MAX = 1.0
# All schedulers have this long.
ALL_ANSWER_MAX = 1.0
# When one of all schedulers refused, a better answer of another is awaited for this long.
BETTER_ANSWER_MAX = 0.3

NO_RESPONDERS = "503"


async def ask(bus: Client, fleet: str, user: str, verb: str, body: Mapping[str, Any]) -> Msg:
    """The answer to a command. A body without an `id` gets one.

    Raises Refused, NoScheduler, Disconnected, or TimedOut, after which it may have been done.
    """
    if not bus.is_connected:
        raise Disconnected("not connected to NATS")
    payload = json.dumps({"id": str(uuid.uuid4()), **body}).encode()
    to_one = f"dsbus.{fleet}.cmd.{user}.{verb}"
    to_all = f"dsbus.{fleet}.cmdall.{user}.{verb}"
    one = asyncio.ensure_future(
        bus.request(to_one, payload, timeout=ONE_ANSWER_MAX + ALL_ANSWER_MAX)
    )
    try:
        await asyncio.wait({one}, timeout=ONE_ANSWER_MAX)
        if one.done():
            try:
                return accepted(one.result())
            except nats.errors.NoRespondersError:
                return await _ask_all(bus, to_all, payload)
        # The first one may be slow only: its answer counts as well.
        return await _first(one, asyncio.ensure_future(_ask_all(bus, to_all, payload)))
    except nats.errors.TimeoutError:
        raise TimedOut(f"no answer to {verb} in time: it may have been done") from None
    except nats.errors.Error as why:
        raise Error(f"{verb}: {why!r}") from why
    finally:
        one.cancel()


async def _first(one: asyncio.Future[Msg], every: asyncio.Future[Msg]) -> Msg:
    try:
        await asyncio.wait({one, every}, return_when=asyncio.FIRST_COMPLETED)
        if one.done() and one.exception() is None:
            return accepted(one.result())
        return await every
    except NoScheduler:
        # Somebody does listen, and is frozen: it may still act.
        raise nats.errors.TimeoutError from None
    finally:
        every.cancel()


async def _ask_all(bus: Client, subject: str, payload: bytes) -> Msg:
    """The first answer that is not a refusal, or the first refusal."""
    inbox = bus.new_inbox()
    answers = await bus.subscribe(inbox)
    loop = asyncio.get_running_loop()
    end = loop.time() + ALL_ANSWER_MAX
    refusal: Optional[Refused] = None
    try:
        await bus.publish(subject, payload, reply=inbox)
        while True:
            try:
                message = await answers.next_msg(timeout=max(end - loop.time(), 0.001))
            except nats.errors.TimeoutError:
                raise refusal or nats.errors.TimeoutError() from None
            if (message.headers or {}).get("Status") == NO_RESPONDERS:
                raise NoScheduler("no scheduler answers: is `dsbus scheduler` running?")
            try:
                return accepted(message)
            except Refused as why:
                if refusal is None:
                    refusal = why
                    end = min(end, loop.time() + BETTER_ANSWER_MAX)
    finally:
        await answers.unsubscribe()


def accepted(message: Msg) -> Msg:
    """An answer; raises the refusal in its headers."""
    headers: Dict[str, str] = message.headers or {}
    text = headers.get("Nats-Service-Error")
    if text is None:
        return message
    try:
        body = json.loads(message.data)
    except ValueError:  # another implementation may refuse by the headers alone
        body = {}
    code = int(headers.get("Nats-Service-Error-Code", 0))
    raise Refused(code, body.get("error", text), body.get("problems", ()))
