"""What can go wrong, told apart by what the caller does next."""

from __future__ import annotations

from typing import List, Sequence

from .types import InstanceRow, Problem


class Error(Exception):
    """Any of those below."""


class NoBus(Error):
    """No NATS server could be reached."""


class Disconnected(Error):
    """The connection is down, and nothing was sent; it comes back by itself."""


class NoScheduler(Error):
    """No scheduler runs in this fleet; nothing was done."""


class TimedOut(Error):
    """It took too long. What was asked may have been done, or may yet be.

    `rows` are the instances that were waited for in vain, if an answer had come.
    """

    def __init__(self, text: str, rows: Sequence[InstanceRow] = ()) -> None:
        super().__init__(text)
        self.rows: List[InstanceRow] = list(rows)


class Refused(Error):
    """A scheduler said no; nothing was done.

    `code`: 400 the request is wrong (`problems` say which key), 404 there is nothing of this name,
    409 it exists or changed meanwhile, 503 the bus did not take it (try again).
    """

    def __init__(self, code: int, text: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(text)
        self.code = code
        self.problems: List[Problem] = list(problems)


class Failed(Error):
    """What was asked was taken, and an instance did not come to it; `rows` are those."""

    def __init__(self, text: str, rows: Sequence[InstanceRow]) -> None:
        super().__init__(text)
        self.rows: List[InstanceRow] = list(rows)


class TooSlow(Error):
    """Events came faster than they were read, and some are lost: ask for the state anew.

    A durable listener (`durable=NAME`) loses none.
    """
