"""Stops and starts a program by plain requests, and prints its events meanwhile. Any NATS client can do it.
Run beside `dsbus dev examples/hello.toml`:  pip install nats-py && python3 examples/command.py"""
import asyncio, json, os, pathlib, sys, nats

async def main():
    url = os.environ.get("NATS_URL") or pathlib.Path(".dsbus/url").read_text().strip()
    bus = await nats.connect(url)
    async def show(message):
        event = json.loads(message.data)
        print(event["time"], event["subject"], message.subject.split(".")[-1], event["data"].get("pid"))
    await bus.subscribe("dsbus.default.event.*.process.hello.>", cb=show)
    for verb in ("stop", "start"):
        answer = await bus.request(f"dsbus.default.cmd.anonymous.{verb}", b'{"names": ["hello"]}', timeout=2)
        refused = (answer.headers or {}).get("Nats-Service-Error")
        if refused:
            sys.exit(f"{verb}: {refused}")
        print(verb, "accepted")
        await asyncio.sleep(5)

asyncio.run(main())
