"""The connection to a fleet, and its commands."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    Generator,
    List,
    Mapping,
    Optional,
    Sequence,
    Type,
    cast,
)

import nats.errors
from nats.aio.client import Client

from ._asking import ask
from ._errors import NoBus, Refused
from ._events import Events, subjects
from ._waiting import Judge, gone, revision, runs, stops, wait
from .types import Acted, Applied, InstanceRow, ProgramSpec

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Code of a refusal: there is nothing of this name.
NOT_FOUND = 404
# Seconds between two attempts to connect again.
RECONNECT_EVERY = 1
# Seconds after which there is no server.
CONNECT_MAX = 3.0


class connect:
    """Connects to a fleet: `async with dsbus.connect() as fleet`, or `fleet = await dsbus.connect()`.

    `url` is that of the bus; else it is `DSBUS_NATS`, `NATS_URL`, what `dsbus dev` wrote to
    `.dsbus/url` in this directory, or `nats://127.0.0.1:4222`. `fleet` is `DSBUS_FLEET` or
    `default`, `user`, as whom commands are sent, `DSBUS_USER` or `anonymous`. Everything else goes
    to `nats.connect`: `nkeys_seed` (which takes `pip install 'dsbus[nkeys]'`), `user_credentials`, `tls`,
    `inbox_prefix`.

    Raises NoBus when no server is reached. Later the connection comes back by itself.
    """

    def __init__(
        self,
        url: Optional[str] = None,
        *,
        fleet: Optional[str] = None,
        user: Optional[str] = None,
        **options: Any,
    ) -> None:
        self._url = url or _found_url()
        # A variable that is empty is none.
        self._name = fleet or os.environ.get("DSBUS_FLEET") or "default"
        self._user = user or os.environ.get("DSBUS_USER") or "anonymous"
        self._options: Dict[str, Any] = {
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": RECONNECT_EVERY,
            "error_cb": _ignore,
            **options,
        }
        self._fleet: Optional[Fleet] = None

    def __await__(self) -> Generator[Any, None, Fleet]:
        return self._connect().__await__()

    async def __aenter__(self) -> Fleet:
        self._fleet = await self._connect()
        return self._fleet

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        why: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if self._fleet is not None:
            await self._fleet.close()

    async def _connect(self) -> Fleet:
        bus = Client()
        servers = [part.strip() for part in self._url.split(",")]
        said: List[Exception] = []
        tried = asyncio.Event()
        later = self._options["error_cb"]

        async def hear(why: Exception) -> None:
            if not tried.is_set():
                said.append(why)
                if len(said) >= len(servers):
                    tried.set()
            await later(why)

        # nats-py that may connect again for ever also tries the first time for ever.
        first = asyncio.ensure_future(bus.connect(servers, **{**self._options, "error_cb": hear}))
        given_up = asyncio.ensure_future(tried.wait())
        await asyncio.wait(
            {first, given_up}, timeout=CONNECT_MAX, return_when=asyncio.FIRST_COMPLETED
        )
        given_up.cancel()
        tried.set()
        try:
            if first.done():
                first.result()
            else:
                first.cancel()
                raise said[-1] if said else nats.errors.TimeoutError()
        except (OSError, nats.errors.Error) as why:
            raise NoBus(f"no NATS server at {_shown(self._url)}: {str(why) or repr(why)}") from why
        return Fleet(bus, self._name, self._user)


class Fleet:
    """A connection to one fleet. Names are those of the command line: `web`, `web:0`, a group,
    `'web*'`, `all`.

    Commands return when they are written down. With `wait=SECONDS` they return when it is so, and
    raise Failed or TimedOut when it does not come to that.
    """

    def __init__(self, bus: Client, name: str = "default", user: str = "anonymous") -> None:
        self.bus = bus
        """The NATS connection, for whatever is not here."""
        self.name = name
        self.user = user

    @property
    def stream(self) -> str:
        """The stream that keeps the events of the fleet."""
        return "DSBUS_EVENTS" if self.name == "default" else f"DSBUS_EVENTS_{self.name}"

    async def close(self) -> None:
        """Ends the connection."""
        await self.bus.close()

    async def command(self, verb: str, body: Mapping[str, Any]) -> Any:
        """Any command of docs/bus.md by itself; its answer."""
        answer = await ask(self.bus, self.name, self.user, verb, body)
        return json.loads(answer.data)

    async def create(self, name: str, *, wait: float = 0, **keys: Unpack[ProgramSpec]) -> Applied:
        """Declares a program that does not exist, or is stopped."""
        return await self._declare("create", {"name": name, "program": keys}, wait)

    async def apply(self, programs: Mapping[str, ProgramSpec], *, wait: float = 0) -> Applied:
        """Declares programs: all of them or, if anything is wrong with one, none."""
        return await self._declare("apply", {"programs": programs}, wait)

    async def start(
        self, *names: str, arguments: Sequence[str] = (), wait: float = 0
    ) -> Acted:
        """Wants instances to run; those that do are left alone. `arguments` follow the words of the
        command, for this start only."""
        return await self._act("start", names, wait, arguments=list(arguments))

    async def stop(self, *names: str, wait: float = 0) -> Acted:
        """Wants instances stopped."""
        return await self._act("stop", names, wait)

    async def restart(self, *names: str, rolling: bool = False, wait: float = 0) -> Acted:
        """Wants new children; `rolling`: one after the other, as the program's `update` says."""
        return await self._act("restart", names, wait, rolling=rolling)

    async def remove(self, *names: str, wait: float = 0) -> Acted:
        """Stops programs and forgets their declarations."""
        return await self._act("remove", names, wait)

    async def status(self, *names: str) -> List[InstanceRow]:
        """Instances with their last known states; all of them, when none is named."""
        rows: List[InstanceRow] = []
        body: Dict[str, Any] = {"names": list(names)}
        while True:
            answer = await ask(self.bus, self.name, self.user, "status", body)
            rows.extend(json.loads(answer.data))
            after = (answer.headers or {}).get("Dsbus-Next")
            if after is None:
                return rows
            body["after"] = after

    async def get(self, name: str) -> InstanceRow:
        """One instance: `web:0`, or `web` where that has one copy. Raises Refused (404) when there
        is none of the name, or several."""
        rows = await self.status(name)
        if len(rows) != 1:
            names = ", ".join(row["name"] for row in rows[:3])
            raise Refused(NOT_FOUND, f"{name} is {len(rows)} instances, not one: {names}")
        return rows[0]

    def events(
        self,
        *types: str,
        programs: Sequence[str] = (),
        durable: Optional[str] = None,
        new: bool = False,
    ) -> Events:
        """Events of these types: `FATAL`, `worker.LOST`, or all of a kind: `process`.

        Live: what happens from now on. `durable=NAME`: none is missed. NATS remembers under that
        name how far it got; an event is done when the next one is asked for, and comes again when
        its reader raised or died. The first time it begins with the oldest that is kept (7 days),
        or, with `new`, with the next.
        """
        return Events(self, subjects(self.name, types, programs), durable, new)

    async def _declare(self, verb: str, body: Mapping[str, Any], seconds: float) -> Applied:
        applied = cast(Applied, await self.command(verb, body))
        if seconds:
            judges: Dict[str, Judge] = {}
            for program in applied["programs"]:
                for row in await self.status(program["name"]):
                    judges[row["name"]] = revision(program["revision"])
            await self._wait(judges, seconds)
        return applied

    async def _act(self, verb: str, names: Sequence[str], seconds: float, **more: Any) -> Acted:
        body = {"names": list(names), **{key: said for key, said in more.items() if said}}
        acted = cast(Acted, await self.command(verb, body))
        if seconds:
            judges: Dict[str, Judge] = {}
            for one in acted["instances"]:
                wanted = one["wanted"]
                judge = runs(wanted) if wanted["run"] else stops(wanted)
                judges[one["name"]] = gone if verb == "remove" else judge
            await self._wait(judges, seconds)
        return acted

    async def _wait(self, judges: Mapping[str, Judge], seconds: float) -> None:
        programs = sorted({name.partition(":")[0] for name in judges})

        async def rows() -> List[InstanceRow]:
            # One by one: asked for several, of which one is gone, a scheduler refuses all.
            found: List[InstanceRow] = []
            for program in programs:
                try:
                    found.extend(await self.status(program))
                except Refused as why:
                    if why.code != NOT_FOUND:
                        raise
            return found

        await wait(judges, rows, seconds)


async def _ignore(_: Exception) -> None:
    """The connection comes back by itself; whoever asks meanwhile is told."""


def _found_url() -> str:
    for name in ("DSBUS_NATS", "NATS_URL"):
        if os.environ.get(name):
            return os.environ[name]
    written = pathlib.Path(".dsbus/url")
    return written.read_text().strip() if written.is_file() else "nats://127.0.0.1:4222"


def _shown(url: str) -> str:
    """Without a password."""
    return ",".join(part.rpartition("@")[2] if "@" in part else part for part in url.split(","))
