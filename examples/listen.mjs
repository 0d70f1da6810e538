// A listener: prints what went wrong, and never misses any of it. Started again, it goes on where it ended.
// Run beside `dsbus dev`:  npm install @nats-io/transport-node @nats-io/jetstream && node examples/listen.mjs
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "@nats-io/transport-node";
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";

const [STREAM, NAME] = ["DSBUS_EVENTS", "listen-mjs"];
const WRONG = ["process.*.*.BACKOFF", "process.*.*.FATAL", "process.*.*.EXITED", "worker.*.*.LOST"];

/** What an event says. Throws for what is none: anybody may publish anything. */
function read(message) {
  const { id, type, time, subject, data } = message.json();
  return [id, time, subject, type.split(".").at(-2).toUpperCase(), data.reason ?? ""];
}

/** Takes an event. Throw, and it comes again. */
async function heard(when, about, what, why) {
  console.log(when, about, what, why);
}

async function listen(bus) {
  await (await jetstreamManager(bus)).consumers.add(STREAM, { // made if it is not there, and kept if it is
    durable_name: NAME, // NATS remembers under this name how far it got
    filter_subjects: WRONG.map((subject) => `dsbus.default.event.*.${subject}`),
    deliver_policy: DeliverPolicy.All, // when it is made: from the first event that is kept
    ack_policy: AckPolicy.Explicit,
    max_ack_pending: 1, // one at a time, so that nothing overtakes an event that comes again
    ack_wait: 10e9, // nanoseconds; an event that this process died with comes again after them
  });
  const consumer = await jetstream(bus).consumers.get(STREAM, NAME);
  const done = new Set(); // ids: an acknowledgement can be lost
  for await (const message of await consumer.consume({ max_messages: 1 })) {
    let id, event;
    try {
      [id, ...event] = read(message);
    } catch (why) { // it would come for ever, and nothing after it
      console.error(`${message.subject} has no event, and is left out: ${why}`);
      message.term();
      continue;
    }
    try {
      if (!done.has(id)) await heard(...event);
      done.add(id);
      if (done.size > 1000) done.delete(done.values().next().value);
      await message.ackAck();
    } catch (why) {
      console.error(`${message.subject} comes again: ${why}`);
      message.nak(1000);
    }
  }
}

const url = process.env.NATS_URL ?? readFileSync(".dsbus/url", "utf8").trim();
const bus = await connect({ servers: url, name: NAME, maxReconnectAttempts: -1 });
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => bus.drain());
while (!bus.isClosed()) {
  try {
    await listen(bus);
  } catch (why) { // a server or the consumer was lost: begin anew
    if (!bus.isClosed()) console.error(`the bus: ${why}`);
  }
  await sleep(1000);
}
