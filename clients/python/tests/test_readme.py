"""Every example of the README does what it says, in its order."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
from typing import List

import dsbus
from conftest import DEADLINE, Dev

README = pathlib.Path(__file__).parent.parent / "README.md"
# What each prints, as a pattern.
PRINTED = [
    r"web:0 RUNNING w1\nweb:1 RUNNING w1\n",
    r"job:0 STARTING\n(job:0 RUNNING\n)?job:0 EXITED\n",
    r"\d{4}-\S+ \S+ io\.dsbus\.process\.(exited|fatal)\.v1\n",
    r"20\n",
]


def examples() -> List[str]:
    return re.findall(r"^```python\n(.*?)^```", README.read_text(), re.S | re.M)


def test_the_examples_do_what_they_say(dev: Dev) -> None:
    found = examples()
    assert len(found) == len(PRINTED)
    for text, printed in zip(found, PRINTED):
        done = subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True, timeout=DEADLINE
        )
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        assert re.fullmatch(printed, done.stdout), f"{text}\n{done.stdout}"


def test_what_is_public_is_documented() -> None:
    for name in dsbus.__all__:
        assert getattr(dsbus, name).__doc__, name
