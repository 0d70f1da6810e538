// What a person can do to the fleet, and the questions that come before it.

import { get, part, post } from "./api.js";
import { ask, confirm, toast } from "./dialog.js";
import { h } from "./dom.js";
import { count } from "./format.js";
import { store } from "./store.js";

const DONE = {
  start: "Starting", stop: "Stopping", restart: "Restarting", reload: "Reloading",
  enable: "Enabled", disable: "Disabled", remove: "Removed",
};
const ASKS = { stop: "Stop", restart: "Restart", disable: "Disable", remove: "Remove" };
const TEXT = {
  stop: "Their processes are asked to end, and stay stopped until somebody starts them.",
  restart: "Their processes end, and new ones are started.",
  disable: "They are stopped, and refuse to be started until they are enabled.",
  remove: "Their processes end, and the declaration goes. The history of it stays for a while.",
};

/** What is said of these names: one by its name, more by how many. */
const said = (names, what = "instance") => (names.length === 1 ? names[0] : count(names.length, what));

async function tell(work, done) {
  if (!store.mayAct()) {
    toast("note", "You may look here, and not act.");
    return false;
  }
  try {
    const answer = await work();
    if (done) toast("ok", typeof done === "function" ? done(answer) : done);
    return true;
  } catch (error) {
    toast("bad", error.message);
    return false;
  }
}

/** Whole programs by their name, where all of their instances are meant: a shorter command. */
export function shorten(names) {
  const by = new Map();
  for (const name of names) {
    const row = store.rows.get(name);
    const program = row ? row.program : name;
    by.set(program, [...(by.get(program) ?? []), name]);
  }
  const all = new Map();
  for (const row of store.rows.values()) all.set(row.program, (all.get(row.program) ?? 0) + 1);
  return [...by].flatMap(([program, some]) =>
    some.length > 1 && some.length === all.get(program) ? [program] : some);
}

/** Start, stop, restart, reload, enable, disable: instances or programs. */
export async function act(verb, names, what = "instance") {
  if (names.length === 0) return false;
  if (!store.mayAct()) return tell(() => null);
  if (ASKS[verb]) {
    const title = `${ASKS[verb]} ${said(names, what)}?`;
    const text = names.length === 1 && what === "instance" ? TEXT[verb].replace("Their processes end,", "Its process ends,")
      .replace("Their processes are", "Its process is").replace("stay stopped", "stays stopped").replace("starts them", "starts it")
      .replace("They are stopped, and refuse", "It is stopped, and refuses").replace("they are enabled", "it is enabled")
      .replace("new ones are", "a new one is") : TEXT[verb];
    if (!await confirm({ title, text, names: names.length > 1 ? names : [], act: ASKS[verb], danger: verb !== "restart" })) return false;
  }
  return tell(() => post("/act", { verb, names: what === "instance" ? shorten(names) : names }),
    `${DONE[verb]} ${said(names, what)}`);
}

const SIGNALS = ["HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "CONT", "STOP", "WINCH", "KILL"];

export async function signal(name) {
  const input = h("select", { name: "signal" }, SIGNALS.map((one) => h("option", { value: one }, `SIG${one}`)));
  const chosen = await ask({ title: `Send a signal to ${name}`, act: "Send", field: { title: "Signal", input } });
  if (!chosen) return;
  await tell(() => post(`/instances/${part(name)}/signal`, { signal: chosen }), `SIG${chosen} is sent to ${name}`);
}

export async function clearLog(name) {
  const sure = await confirm({
    title: `Clear the log of ${name}?`, act: "Clear log",
    text: "Both files on its worker are emptied, and their older ones removed.",
  });
  return sure && tell(() => post(`/instances/${part(name)}/clear`), `The log of ${name} is empty`);
}

export async function scale(program, now) {
  const input = h("input", { type: "number", min: 1, max: 100000, value: now, name: "numprocs", required: true });
  const given = await ask({ title: `Scale ${program}`, act: "Scale", field: { title: "Copies (numprocs)", input } });
  const wanted = Number(given);
  if (given === null || !Number.isInteger(wanted) || wanted === now) return;
  if (wanted < now && !await confirm({
    title: `Stop ${count(now - wanted, "copy").replace("copys", "copies")} of ${program}?`, act: "Scale down",
    text: `It has ${now} now, and ${wanted} afterwards.`,
  })) return;
  await tell(() => post(`/programs/${part(program)}/scale`, { numprocs: wanted }), `${program} has ${count(wanted, "copy").replace("copys", "copies")}`);
}

const STEP = { pause: "Paused", resume: "Resumed", promote: "Promoted", undo: "Undoing" };

export async function rollout(program, step) {
  if (step === "undo" && !await confirm({
    title: `Undo the rollout of ${program}?`, act: "Undo",
    text: "Instances that were changed go back to the declaration before.",
  })) return false;
  return tell(() => post(`/programs/${part(program)}/rollout`, { step }), `${STEP[step]} ${program}`);
}

const WORKER = { drain: "Draining", undrain: "No longer draining", cordon: "Cordoned", uncordon: "Uncordoned" };

export async function worker(name, verb) {
  if (verb === "drain") {
    const row = store.workers.get(name);
    if (!await confirm({
      title: `Drain ${name}?`, act: "Drain",
      text: `Its ${count(row?.instances ?? 0, "instance")} ${row?.instances === 1 ? "is" : "are"} moved to other workers, one after the other, and it takes no new ones.`,
    })) return false;
  }
  return tell(() => post(`/workers/${part(name)}/${verb}`), `${WORKER[verb]}: ${name}`);
}

/** The whole declaration. */
export const declaration = (program) => get(`/programs/${part(program)}`);
