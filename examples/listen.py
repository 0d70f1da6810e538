"""A listener: prints what went wrong, and never misses any of it. Started again, it goes on where it ended.
Run beside `dsbus dev`:  pip install nats-py && python3 examples/listen.py
In a fleet with users (docs/security.md) it is told who it is by the environment: NATS_URL, NATS_NKEY (file
of the seed; pip install 'nats-py[nkeys]'), NATS_CA, NATS_INBOX_PREFIX, LISTENER (its name), LISTENER_SUBJECT."""
import asyncio, collections, json, os, pathlib, signal, ssl, sys
import nats
from nats.errors import Error, TimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

STREAM, NAME = "DSBUS_EVENTS", os.environ.get("LISTENER", "listen-py")
WRONG = ["process.*.*.BACKOFF", "process.*.*.FATAL", "process.*.*.EXITED", "worker.*.*.LOST"]
# A user that is a listener may read one subject only: dsbus auth add listener tells which.
SUBJECT = os.environ.get("LISTENER_SUBJECT")
WHICH = {"filter_subject": SUBJECT} if SUBJECT else {"filter_subjects": [f"dsbus.default.event.*.{w}" for w in WRONG]}

def access():
    """Who one is, and who the server is, as far as the environment says it."""
    options, env = {}, os.environ
    if "NATS_NKEY" in env:
        options["nkeys_seed"] = env["NATS_NKEY"]
    if "NATS_CA" in env:
        options["tls"] = ssl.create_default_context(cafile=env["NATS_CA"])
    if "NATS_INBOX_PREFIX" in env:
        options["inbox_prefix"] = env["NATS_INBOX_PREFIX"]
    return options

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
        name=NAME, durable_name=NAME,  # NATS remembers under this name how far it got
        deliver_policy=DeliverPolicy.ALL,  # when it is made: from the first event that is kept
        ack_policy=AckPolicy.EXPLICIT,
        max_ack_pending=1,  # one at a time, so that nothing overtakes an event that comes again
        ack_wait=10,  # seconds; an event that this process died with comes again after them
        **WHICH,
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
    connecting = asyncio.create_task(nats.connect(url, name=NAME, max_reconnect_attempts=-1, error_cb=trouble, **access()))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([connecting, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not connecting.done():  # told to stop before there was a bus
        return connecting.cancel()
    bus = connecting.result()
    while not stop.is_set():
        try:
            await listen(bus, stop)
        except (Error, TimeoutError) as why:  # a server or the consumer was lost: begin anew
            await trouble(why)
            await asyncio.sleep(1)
    await bus.close()

asyncio.run(main())
