#!/usr/bin/env python3
"""Stands in for the `nats` tool where that is not installed: `req`, `sub`, `kv get`, `consumer add` and
`consumer next`, with the flags that the manual and the examples use. Another flag is an error, as it is there."""
import argparse
import asyncio
import contextlib
import os
import sys

import nats
from nats.errors import NoRespondersError, TimeoutError
from nats.js.api import AckPolicy, ConsumerConfig


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
kv = verbs.add_parser("kv").add_subparsers(dest="act", required=True).add_parser("get")
kv.add_argument("bucket")
kv.add_argument("key")
consumer = verbs.add_parser("consumer").add_subparsers(dest="act", required=True)
add, following = consumer.add_parser("add"), consumer.add_parser("next")
for verb in (add, following):
    verb.add_argument("stream")
    verb.add_argument("name")
for flag in ("--pull", "--defaults"):
    add.add_argument(flag, action="store_true", required=True)
add.add_argument("--ack", choices=["explicit"], required=True)
add.add_argument("--deliver", choices=["all"], required=True)
add.add_argument("--filter")
following.add_argument("--count", type=int, default=1)
asked = parser.parse_args()


def show(message):
    if not getattr(asked, "raw", False):
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
    elif asked.verb == "kv":
        print((await (await bus.jetstream().key_value(asked.bucket)).get(asked.key)).value.decode())
    elif asked.verb == "consumer" and asked.act == "add":
        config = ConsumerConfig(
            durable_name=asked.name, filter_subject=asked.filter, ack_policy=AckPolicy.EXPLICIT
        )
        await bus.jetstream().add_consumer(asked.stream, config)
    elif asked.verb == "consumer":
        pull = await bus.jetstream().pull_subscribe_bind(asked.name, stream=asked.stream)
        for _ in range(asked.count):
            [message] = await pull.fetch(1)
            show(message)
            await message.ack()
    else:
        heard = await bus.subscribe(asked.subject)
        await bus.flush()
        if "DSBUS_BEGINS" in os.environ:
            # Another one may have begun, too.
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.environ["DSBUS_BEGINS"])
        count = 0
        async for message in heard.messages:
            show(message)
            count += 1
            if count == asked.count:
                break
    await bus.close()


asyncio.run(main())
