#!/usr/bin/env python3
"""Stands in for the `nats` tool where that is not installed: `req` and `sub`, with the flags that
the manual and the examples use. Another flag is an error, as it is there."""
import argparse
import asyncio
import os
import sys

import nats
from nats.errors import NoRespondersError, TimeoutError


def seconds(text):
    assert text.endswith("s"), "a time is written as in Go: 2s"
    return float(text[:-1])


parser = argparse.ArgumentParser(prog="nats")
parser.add_argument("--server", "-s", default=os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
verbs = parser.add_subparsers(dest="verb", required=True)
request = verbs.add_parser("request", aliases=["req"])
request.add_argument("subject")
request.add_argument("body")
listen = verbs.add_parser("subscribe", aliases=["sub"])
listen.add_argument("subject")
listen.add_argument("--count", type=int, default=0)
for verb in (request, listen):
    verb.add_argument("--raw", "-r", action="store_true")
    verb.add_argument("--timeout", type=seconds, default=5.0)
asked = parser.parse_args()


def show(message):
    if not asked.raw:
        print(f"Received on {message.subject!r}")
    print(message.data.decode(), flush=True)


async def main():
    bus = await nats.connect(asked.server)
    if asked.verb in ("request", "req"):
        try:
            answer = await bus.request(asked.subject, asked.body.encode(), timeout=asked.timeout)
        except (NoRespondersError, TimeoutError):
            print("No responders are available", file=sys.stderr)
        else:
            show(answer)
    else:
        heard = await bus.subscribe(asked.subject)
        count = 0
        async for message in heard.messages:
            show(message)
            count += 1
            if count == asked.count:
                break
    await bus.close()


asyncio.run(main())
