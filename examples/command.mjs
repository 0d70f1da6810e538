// Stops and starts a program by plain requests, and prints its events meanwhile. Any NATS client can do it.
// Run beside `dsbus dev examples/hello.toml`:  npm install @nats-io/transport-node && node examples/command.mjs
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "@nats-io/transport-node";

const url = process.env.NATS_URL ?? readFileSync(".dsbus/url", "utf8").trim();
const bus = await connect({ servers: url });
bus.subscribe("dsbus.default.event.*.process.hello.>", {
  callback: (_, message) => {
    const { time, subject, data } = message.json();
    console.log(time, subject, message.subject.split(".").at(-1), data.pid ?? "");
  },
});
for (const verb of ["stop", "start"]) {
  const answer = await bus.request(`dsbus.default.cmd.anonymous.${verb}`, '{"names": ["hello"]}', { timeout: 2000 });
  const refused = answer.headers?.get("Nats-Service-Error");
  if (refused) {
    console.error(`${verb}: ${refused}`);
    process.exit(1);
  }
  console.log(verb, "accepted");
  await sleep(3000);
}
await bus.close();
