"""A server that goes and comes back."""

from __future__ import annotations

import asyncio
import os
import pathlib
import socket
import subprocess
from typing import List

import dsbus
import nats.errors
import pytest
from test_fleet import DEADLINE, alone

SUBJECT = "dsbus.default.event._user.user._._.X"


def event(number: int) -> bytes:
    return (
        '{"id": "%d", "type": "io.dsbus.user.x.v1", "subject": "x", "time": "2026-11-27T10:00:00Z",'
        ' "data": {"kind": "user", "text": "n%d"}}' % (number, number)
    ).encode()


class Server:
    def __init__(self, directory: pathlib.Path) -> None:
        # Bound, and not listened on: the server can bind beside it, and nobody else is given the port.
        self.reserved = socket.socket()
        self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.reserved.bind(("127.0.0.1", 0))
        self.port = self.reserved.getsockname()[1]
        self.directory = directory
        self.start()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        binary = os.environ.get("DSBUS_NATS_SERVER", "nats-server")
        words = ["-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.directory)]
        self.process = subprocess.Popen([binary, *words], stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


async def connect(server: Server) -> dsbus.Fleet:
    while True:
        try:
            return await dsbus.connect(server.url)
        except dsbus.NoBus:  # it is just starting
            await asyncio.sleep(0.05)


async def tell(fleet: dsbus.Fleet, number: int) -> None:
    while True:
        try:
            await fleet.bus.jetstream().publish(SUBJECT, event(number), timeout=1)
            return
        except nats.errors.Error:  # it is just coming back
            await asyncio.sleep(0.05)


@alone
async def test_commands_are_refused_meanwhile_and_a_durable_listener_goes_on(
    tmp_path: pathlib.Path,
) -> None:
    server = Server(tmp_path)
    try:
        fleet = await connect(server)
        await fleet.bus.jetstream().add_stream(
            name=fleet.stream, subjects=["dsbus.default.event.>"]
        )
        await tell(fleet, 1)
        heard: List[str] = []
        async with fleet.events("user.X", durable="mine") as events:
            heard.append((await events.__anext__())["id"])
            server.kill()
            while fleet.bus.is_connected:
                await asyncio.sleep(0.01)
            with pytest.raises(dsbus.Disconnected):
                await fleet.status()
            server.start()
            await tell(fleet, 2)
            heard.append((await asyncio.wait_for(events.__anext__(), DEADLINE))["id"])
        assert heard == ["1", "2"]
        await fleet.close()
    finally:
        server.kill()
        server.reserved.close()
