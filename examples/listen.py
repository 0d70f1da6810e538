"""A listener: prints what went wrong, and never misses any of it. Started again, it goes on where it ended.
Run beside `dsbus dev`:  pip install nats-py && python3 examples/listen.py"""
import asyncio, collections, json, os, pathlib, signal, sys
import nats
from nats.errors import Error, TimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

STREAM, NAME = "DSBUS_EVENTS", "listen-py"
WRONG = ["process.*.*.BACKOFF", "process.*.*.FATAL", "process.*.*.EXITED", "worker.*.*.LOST"]

def read(message):
    """What an event says. Raises for what is none: anybody may publish anything."""
    event = json.loads(message.data)
    what = event["type"].split(".")[-2].upper()
    return event["id"], (event["time"], event["subject"], what, event["data"].get("reason") or "")

async def heard(when, about, what, why):
    """Takes an event. Raise, and it comes again."""
    print(when, about, what, why, flush=True)

async def listen(bus, stop):
    js = bus.jetstream()
    config = ConsumerConfig(
        durable_name=NAME,  # NATS remembers under this name how far it got
        filter_subjects=[f"dsbus.default.event.*.{subject}" for subject in WRONG],
        deliver_policy=DeliverPolicy.ALL,  # when it is made: from the first event that is kept
        ack_policy=AckPolicy.EXPLICIT,
        max_ack_pending=1,  # one at a time, so that nothing overtakes an event that comes again
        ack_wait=10,  # seconds; an event that this process died with comes again after them
    )
    await js.add_consumer(STREAM, config)  # made if it is not there, and left as it is if it is
    events = await js.pull_subscribe_bind(NAME, stream=STREAM)
    done = collections.deque(maxlen=1000)  # ids: an acknowledgement can be lost
    while not stop.is_set():
        try:
            [message] = await events.fetch(1, timeout=5)
        except TimeoutError:
            continue  # nothing happened
        try:
            id, event = read(message)
        except Exception as why:  # it would come for ever, and nothing after it
            print(f"{message.subject} has no event, and is left out: {why!r}", file=sys.stderr)
            await message.term()
            continue
        try:
            if id not in done:
                await heard(*event)
                done.append(id)
            await message.ack_sync()
        except Exception as why:
            print(f"{message.subject} comes again: {why!r}", file=sys.stderr)
            await message.nak(delay=1)

async def trouble(why):
    print(f"the bus: {why!r}", file=sys.stderr)

async def main():
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    url = os.environ.get("NATS_URL") or pathlib.Path(".dsbus/url").read_text().strip()
    bus = await nats.connect(url, name=NAME, max_reconnect_attempts=-1, error_cb=trouble)
    while not stop.is_set():
        try:
            await listen(bus, stop)
        except (Error, TimeoutError) as why:  # a server or the consumer was lost: begin anew
            await trouble(why)
            await asyncio.sleep(1)
    await bus.close()

asyncio.run(main())
