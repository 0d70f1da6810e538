// One instance.

import { act, clearLog, signal } from "../actions.js";
import { get, part } from "../api.js";
import { button, h, icon, put, setAttribute, setText } from "../dom.js";
import { ago, bytes, clock, command, cores, exit, millis, span, whole } from "../format.js";
import { Log } from "../log.js";
import { badge, card, crumbs, facts, menu, missing } from "../parts.js";
import { plot, strip } from "../plot.js";
import { LABEL, MEANS, canStart, canStop, isDisabled, isPending, why } from "../states.js";
import { store } from "../store.js";

/** How often the samples are asked for. */
const USAGE_MS = 5_000;
/** Changes of state that are shown. */
const HISTORY_MAX = 100;

export function instance({ main, params: [name], hash }) {
  const state = badge("STOPPED");
  const title = h("h1", {}, name);
  const reason = h("p", { class: "reason" });
  const pending = h("span", { class: "dim" });
  const does = (verb, drawing, label, css = "") => button(drawing, label, { class: `operator ${css}`, onclick: () => act(verb, [name]) });
  const start = does("start", "play", "Start", "solid");
  const restart = does("restart", "restart", "Restart");
  const stop = does("stop", "stop", "Stop");
  const more = menu("More", [
    ["reload", "Reload", () => act("reload", [name])], ["signal", "Send signal…", () => signal(name)],
    ["check", "Enable", () => act("enable", [name])], ["ban", "Disable", () => act("disable", [name]), "danger"],
    ["trash", "Clear log", () => clearLog(name), "danger"],
  ]);
  const tile = (label) => { const value = h("b", {}, "–"); const node = h("div", { class: "tile" }, h("span", {}, label), value); node.set = (text, tip) => { setText(value, text); setAttribute(value, "title", tip); }; return node; };
  const [up, restarts, pid, worker] = [tile("In this state"), tile("Restarts"), tile("Pid"), tile("Worker")];
  const cpu = plot({ title: "CPU", format: cores, colour: "one" });
  const memory = plot({ title: "Memory", format: bytes, binary: true, colour: "two" });
  const known = facts();
  const why_ = h("div", { class: "explain" }, h("p", { class: "dim" }, "…"));
  const past = h("ol", { class: "past" });
  const bar = h("div");
  const log = new Log(name);
  const body = h("div", { class: "page" });
  const ends = [];
  let events = [];
  let shown = null;
  let begun = false;

  put(main, body);

  function build() {
    const [program] = name.split(":");
    put(body, crumbs(["Instances", "/"], [program, `/programs/${part(program)}`], [name]),
      h("header", { class: "title" }, h("div", { class: "who" }, title, state, pending),
        h("div", { class: "does" }, start, restart, stop, more), reason),
      h("div", { class: "tiles" }, up, restarts, pid, worker),
      h("div", { class: "plots" }, cpu.root, memory.root),
      h("div", { class: "columns2" }, log.root,
        h("div", { class: "side" },
          card("State history", bar, past), card("Why it is where it is", why_), card("Facts", known))));
    if (begun) return;
    begun = true;
    log.begin();
    history();
    explain();
    usage();
    if (hash === "#log") { log.root.scrollIntoView({ block: "start" }); log.view.focus(); }
  }

  function show() {
    const row = store.rows.get(name);
    if (!row) {
      if (store.loaded && shown !== "missing") {
        put(body, missing(`There is no instance ${name}`, "It was removed, scaled away, or never was.", "/", "All instances"));
        shown = "missing";
      }
      return;
    }
    if (shown !== "row") { build(); shown = "row"; }
    state.set(row.state);
    setAttribute(state, "title", MEANS[row.state]);
    setText(pending, isPending(row) ? "· something else is wanted, and on its way" : "");
    setText(reason, why(row));
    reason.hidden = why(row) === "";
    reason.classList.toggle("bad", !row.ok);
    start.hidden = !canStart(row) || isDisabled(row);
    stop.hidden = restart.hidden = !canStop(row);
    tick();
    restarts.set(String(row.restarts), "since it was placed here");
    pid.set(row.pid === null ? "–" : String(row.pid));
    const link = worker.lastElementChild;
    if (link.dataset.worker !== String(row.worker)) {
      link.dataset.worker = row.worker;
      put(link, row.worker ? h("a", { href: `/workers/${part(row.worker)}` }, row.worker) : "–");
    }
    const program = store.programs.get(row.program);
    known.set([
      ["Program", h("a", { href: `/programs/${part(row.program)}` }, row.program)], ["Group", program?.group ?? null],
      ["Command", program?.command ? h("code", {}, command(program.command)) : null],
      ["More words", row.arguments?.length ? h("code", {}, row.arguments.join(" ")) : null],
      ["Revision", String(row.revision)], ["Epoch", String(row.epoch)], ["Since", row.since && whole(row.since)],
      ["Wanted", row.wanted.run ? "to run" : isDisabled(row) ? "disabled" : "to stay stopped"],
      ["Last end", exit(row.exit)],
      ["It had used", row.usage ? `${span(row.usage.cpu_ms / 1000)} of CPU${row.usage.memory_peak ? `, ${bytes(row.usage.memory_peak)} at most` : ""}` : null],
      ["Says of itself", row.note], ["Standard output", row.stdout_logfile], ["Standard error", row.stderr_logfile],
      ...Object.entries(row.meta ?? {}).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]),
    ]);
  }

  function tick() {
    const row = store.rows.get(name);
    if (row?.since) up.set(span((Date.now() - millis(row.since)) / 1000), whole(row.since));
    for (const node of past.querySelectorAll("time")) setText(node, ago(node.dateTime));
  }

  function showPast() {
    const changes = events.filter((event) => event.data.kind === "process");
    const shownNow = changes.slice(0, HISTORY_MAX);
    put(past, shownNow.map((event) => {
      const { data } = event;
      const text = [data.reason, data.spawnerr, exit(data.exit), data.stderr_line].filter((one, n, all) => one && all.indexOf(one) === n).join(" · ");
      return h("li", {}, h("span", { class: `fg ${data.state}` }, icon(data.state.toLowerCase())),
        h("div", {}, h("b", {}, LABEL[data.state] ?? data.state), data.worker && h("span", { class: "dim" }, ` on ${data.worker}`),
          text && h("p", { class: "dim" }, text)),
        h("time", { class: "dim", datetime: event.time, title: whole(event.time) }, ago(event.time)));
    }));
    if (shownNow.length === 0) put(past, h("li", { class: "dim" }, "No change of its state is known."));
    const spans = shownNow.map((event, n) => ({
      from: millis(event.time), to: n === 0 ? Date.now() : millis(shownNow[n - 1].time), state: event.data.state,
      title: `${LABEL[event.data.state]} from ${clock(event.time)}`,
    })).reverse();
    put(bar, spans.length > 1 ? strip(spans.slice(-60)) : null);
  }

  async function usage() {
    try {
      const { samples } = await get(`/instances/${part(name)}/usage`);
      cpu.show(samples.map((one) => [millis(one.at), one.cpu]));
      memory.show(samples.map((one) => [millis(one.at), one.memory]));
    } catch (error) {
      cpu.show([]);
      memory.show([]);
      if (error.code === 404) clearInterval(sampling);
    }
  }

  let explaining = 0;
  async function explain() {
    clearTimeout(explaining);
    try {
      const { because, workers } = await get(`/instances/${part(name)}/explain`);
      put(why_, h("p", {}, because), workers.length > 0 && h("ul", { class: "verdicts" }, workers.map((one) =>
        h("li", {}, icon(one.refusal ? "ban" : "check"), h("a", { href: `/workers/${part(one.name)}` }, one.name),
          h("span", { class: "dim" }, one.refusal ?? one.score ?? one.state)))));
    } catch (error) { put(why_, h("p", { class: "dim" }, error.message)); }
  }

  async function history() {
    try {
      const all = await get(`/instances/${part(name)}/events?limit=${HISTORY_MAX}`);
      const seen = new Set(all.map((event) => event.id));
      events = [...events.filter((event) => !seen.has(event.id)), ...all];
    } catch { /* what happens from now on is heard */ }
    showPast();
  }

  ends.push(store.watch(["rows", "programs"], show), store.hear((event) => {
    if (event.subject !== name) return;
    events = [event, ...events.filter((one) => one.id !== event.id)].slice(0, HISTORY_MAX);
    showPast();
    explaining ||= setTimeout(() => { explaining = 0; explain(); }, 500);
  }));
  const ticking = setInterval(tick, 1000);
  const sampling = setInterval(() => { if (begun && !document.hidden) usage(); }, USAGE_MS);
  cpu.show([]);
  memory.show([]);
  show();

  return {
    title: name,
    nav: "instances",
    key(event) {
      switch (event.key) {
        case "s": act("start", [name]); return true;
        case "x": act("stop", [name]); return true;
        case "r": act("restart", [name]); return true;
        case "l": log.root.scrollIntoView({ block: "start", behavior: "smooth" }); log.view.focus({ preventScroll: true }); return true;
        case "p": log.setPaused(!log.paused); return true;
        case "/": log.search.focus(); log.search.select(); return true;
        case "Escape": window.dsbus.back("/"); return true;
        default: return false;
      }
    },
    end() { for (const end of ends) end(); clearInterval(ticking); clearInterval(sampling); clearTimeout(explaining); log.end(); },
  };
}
