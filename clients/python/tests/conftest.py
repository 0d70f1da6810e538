"""A fleet of `dsbus dev` for all tests: `dsbus` and `nats-server` must be on PATH, or `DSBUS` name
the first. `python3 -m pytest clients/python`, or `./run test` with everything else."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import time
import urllib.request
from typing import Iterator, NamedTuple

import pytest

# Seconds: a busy machine with two cores runs several fleets at once.
DEADLINE = 60


class Dev(NamedTuple):
    """A fleet of one worker, two schedulers and a gateway."""

    bus: str
    gateway: str
    directory: pathlib.Path

    def run(self, *words: str) -> str:
        """What the command line says."""
        done = subprocess.run(
            [binary(), *words],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=True,
        )
        return done.stdout


def binary() -> str:
    found = os.environ.get("DSBUS") or shutil.which("dsbus")
    assert found, "dsbus is not on PATH: build it, or say DSBUS=path/to/dsbus"
    return found


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    directory = tmp_path_factory.mktemp("fleet")
    log = directory / "dev.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [binary(), "dev", "--workers", "1"], cwd=directory, stdout=out, stderr=out
        )
    try:
        end = time.monotonic() + DEADLINE
        while "Ctrl-C" not in log.read_text():
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        page = next(word for word in log.read_text().split() if word.startswith("http://"))
        bus = (directory / ".dsbus" / "url").read_text().strip()
        # A gateway that has just begun says that it does not know the fleet yet.
        while b'"code":200' not in urllib.request.urlopen(f"{page}/status").read():
            assert time.monotonic() < end
            time.sleep(0.05)
        yield Dev(bus, page, directory)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)


@pytest.fixture(autouse=True)
def here(dev: Dev, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the person who runs the tests has set for dsbus leads elsewhere."""
    for name in ("DSBUS_NATS", "DSBUS_FLEET", "DSBUS_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NATS_URL", dev.bus)
    monkeypatch.setenv("DSBUS_GATEWAY", dev.gateway)
    monkeypatch.chdir(dev.directory)
