// What happens, and what happened.

import { get, part } from "../api.js";
import { button, h, icon, put, setAttribute, setText } from "../dom.js";
import { clock, exit, whole } from "../format.js";
import { NARROW } from "../rows.js";
import { List } from "../list.js";
import { LABEL } from "../states.js";
import { store } from "../store.js";

/** Events that are kept here; the oldest go, and can be asked for again. */
const EVENTS_MAX = 10_000;
/** Events that are asked for at once. */
const PAGE = 200;
/** So near the end older ones are asked for, in pixels. */
const NEAR = 800;

export const KINDS = {
  process: "PENDING STARTING RUNNING BACKOFF STOPPING STOPPED EXITED FATAL UNKNOWN",
  placement: "PLACED MOVED REMOVED",
  worker: "STARTED AGENT_STARTED STOPPING STOPPED LOST AWAITED BACK FENCED NAME_TAKEN EVENTS_DROPPED EVENTS_UNSAVED REFUSED CORDONED DRAINING DRAINED UNCORDONED",
  notice: "HOOK_DONE HOOK_FAILED HOOK_TIMED_OUT PROBE_FAILED OOM_KILL RELOADED RELOAD_STARTED RELOAD_SWITCHED RELOAD_FAILED BINARY_CHANGED RECYCLED OUTPUT_LOST OUTPUT_WRITTEN_AGAIN DOES_NOT_DIE SIGNALLED STDIN_CLOSED",
  output: "LOG_STDOUT LOG_STDERR COMMUNICATION_STDOUT COMMUNICATION_STDERR",
  rollout: "STARTED PAUSED RESUMED PROMOTED FAILED REVERTED DONE",
  program: "ADDED CHANGED REMOVED", group: "ADDED REMOVED OK DEGRADED FAILED", command: "ACCEPTED REFUSED",
  scheduler: "JOINED LEFT LOST EVENTS_DROPPED", tick: "TICK_5 TICK_60 TICK_3600", user: "",
  listener: "UNKNOWN DIED REJECTED ACCEPTED DEAD_LETTER DROPPED",
};
const BAD = new Set("FATAL BACKOFF UNKNOWN LOST FENCED OOM_KILL HOOK_FAILED HOOK_TIMED_OUT PROBE_FAILED RELOAD_FAILED FAILED DEAD_LETTER EVENTS_DROPPED DROPPED DOES_NOT_DIE REFUSED DIED OUTPUT_LOST".split(" "));
const DRAWING = { placement: "move", worker: "worker", notice: "info", output: "text", rollout: "rollout", program: "box", group: "box", command: "person", scheduler: "clock", tick: "clock", user: "person", listener: "info" };

/** The TYPE of an event: the part of its type before the version. */
export const typeOf = (event) => event.type.split(".").at(-2).toUpperCase();

/** What an event says, in one line. */
export function detail(event) {
  const { data } = event;
  const says = [];
  switch (data.kind) {
    case "process":
      says.push(`${LABEL[data.from] ?? data.from} → ${LABEL[data.state] ?? data.state}`, data.worker && `on ${data.worker}`, data.pid && `pid ${data.pid}`, data.attempt && `try ${data.attempt}`, exit(data.exit), data.reason, data.spawnerr, data.stderr_line);
      break;
    case "placement": says.push(data.from && `from ${data.from}`, data.to && `to ${data.to}`, data.reason); break;
    case "command": says.push(data.by && `by ${data.by}`, data.names?.join(" "), data.error ?? data.reason); break;
    default: says.push(data.by && `by ${data.by}`, data.text, data.reason, data.detail, data.worker && data.worker !== event.subject && `on ${data.worker}`);
  }
  return says.filter((one, n) => one && says.indexOf(one) === n).join(" · ");
}

export function events({ main, query }) {
  const params = new URLSearchParams(query);
  const filter = { kind: params.get("kind") ?? "", type: params.get("type") ?? "", q: params.get("q") ?? "" };
  const kinds = h("select", { class: "choice", "aria-label": "Kind" }, h("option", { value: "" }, "All kinds"), Object.keys(KINDS).map((kind) => h("option", { value: kind }, kind)));
  const types = h("select", { class: "choice", "aria-label": "Type" });
  const search = h("input", { type: "search", class: "search", placeholder: "Search: name, worker, reason …", "aria-label": "Search events", value: filter.q, autocomplete: "off", spellcheck: "false" });
  const state = h("span", { class: "dim shown", role: "status" });
  const later = button("up", "New events", { class: "solid latest", hidden: true, onclick: () => { main.scrollTop = 0; } });
  let all = [];
  const seen = new Set();
  let oldest = null;
  let ended = false;
  let busy = false;
  let over = false;

  const make = () => {
    const node = h("button", { type: "button", class: "line event" });
    node.icon = h("span", { class: "mark" });
    node.cells = Object.fromEntries(["time", "kind", "type", "subject", "detail"].map((name) => [name, h("span", { class: name })]));
    const { time, kind, type, subject, detail: says } = node.cells;
    node.append(time, node.icon, type, kind, subject, says);
    node.addEventListener("click", () => look(node.event));
    return node;
  };
  const show = (node, event) => {
    if (node.event === event) return;
    node.event = event;
    const type = typeOf(event);
    const { kind } = event.data;
    setText(node.cells.time, clock(event.time));
    setAttribute(node.cells.time, "title", whole(event.time));
    put(node.icon, icon(kind === "process" ? type.toLowerCase() : DRAWING[kind] ?? "info"));
    node.className = `line event ${kind === "process" ? `k ${type}` : ""} ${BAD.has(type) ? "bad" : ""}`;
    node.icon.className = `mark ${kind === "process" ? `fg ${type}` : ""}`;
    setText(node.cells.kind, kind);
    setText(node.cells.type, kind === "user" ? event.data.name ?? type : type);
    setText(node.cells.subject, event.subject);
    setText(node.cells.detail, detail(event));
    setAttribute(node.cells.detail, "title", detail(event));
  };
  const root = h("div", { class: "lines", "aria-label": "Events", role: "list" });
  const empty = h("div", { class: "empty", hidden: true }, icon("search"), h("h2", {}, "No such event"), h("p", {}, "None of those that are kept matches."));
  const top = h("div", { class: "top" }, h("div", { class: "tools" }, h("h1", { class: "unseen" }, "Events"),
    h("label", { class: "searchbox" }, icon("search"), search, h("kbd", { class: "hint" }, "/")), kinds, types, state));
  put(main, top, root, empty, later);
  main.classList.add("listing");
  const list = new List({ root, scroller: main, rowHeight: () => (NARROW.matches ? 60 : 32), key: (event) => event.id, kind: () => "event", make, show });

  function matches(event) {
    if (filter.kind && event.data.kind !== filter.kind) return false;
    if (!filter.kind && !filter.type && event.data.kind === "tick") return false;
    if (filter.type && typeOf(event) !== filter.type) return false;
    const words = filter.q.toLowerCase().split(/\s+/).filter(Boolean);
    const text = words.length > 0 ? `${event.subject} ${event.type} ${detail(event)}`.toLowerCase() : "";
    return words.every((word) => text.includes(word));
  }

  function draw() {
    const shown = all.filter(matches);
    list.set(shown);
    empty.hidden = shown.length > 0 || busy || !ended;
    setText(state, busy ? "loading" : `${shown.length.toLocaleString("en")}${ended ? "" : "+"} events`);
    more();
  }

  async function load() {
    if (busy || ended || over) return;
    busy = true;
    const round = filter.round;
    const ask = new URLSearchParams({ limit: PAGE });
    if (filter.kind) ask.set("kind", filter.kind);
    if (filter.type) ask.set("type", filter.type);
    // A whole name is looked up by the gateway; parts of names here.
    if (store.rows.has(filter.q) || store.programs.has(filter.q) || store.workers.has(filter.q)) ask.set("about", filter.q);
    if (oldest !== null) ask.set("before", oldest);
    try {
      const { events: found } = await get(`/events?${ask}`);
      if (round !== filter.round || over) return;
      for (const { seq, event } of found) {
        oldest = oldest === null ? seq : Math.min(oldest, seq);
        if (!seen.has(event.id)) { seen.add(event.id); all.push(event); }
      }
      ended = found.length < PAGE || all.length >= EVENTS_MAX;
    } catch (error) {
      ended = true;
      setText(state, error.message);
    } finally {
      if (round === filter.round) { busy = false; if (!over) draw(); }
    }
  }

  const more = () => {
    later.hidden = main.scrollTop < 200;
    if (main.scrollHeight - main.scrollTop - main.clientHeight < NEAR) load();
  };

  function again() {
    filter.round = (filter.round ?? 0) + 1;
    Object.assign(filter, { kind: kinds.value, type: types.value, q: search.value.trim() });
    const set = new URLSearchParams();
    for (const key of ["kind", "type", "q"]) if (filter[key]) set.set(key, filter[key]);
    history.replaceState(history.state, "", location.pathname + (set.size > 0 ? `?${set}` : ""));
    all = [];
    seen.clear();
    oldest = null;
    ended = busy = false;
    main.scrollTop = 0;
    load();
  }

  function typesOf() {
    const names = filter.kind || kinds.value ? (KINDS[kinds.value] ?? "").split(" ").filter(Boolean) : [...new Set(Object.values(KINDS).join(" ").split(" "))].filter(Boolean).sort();
    const before = types.value || filter.type;
    put(types, h("option", { value: "" }, "All types"), names.map((name) => h("option", { value: name }, name)));
    types.value = names.includes(before) ? before : "";
  }

  let waits = 0;
  kinds.value = filter.kind;
  typesOf();
  kinds.addEventListener("change", () => { typesOf(); again(); });
  types.addEventListener("change", again);
  search.addEventListener("input", () => { clearTimeout(waits); waits = setTimeout(again, 150); });
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    if (search.value) { search.value = ""; again(); } else search.blur();
  });
  main.addEventListener("scroll", more, { passive: true });
  let frame = 0;
  const end = store.hear((event) => {
    if (seen.has(event.id)) return;
    seen.add(event.id);
    all.unshift(event);
    if (all.length > EVENTS_MAX) for (const gone of all.splice(EVENTS_MAX)) seen.delete(gone.id);
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      // Whoever reads older ones stays where they are.
      const before = list.items.length;
      const at = main.scrollTop;
      draw();
      if (at > 40) main.scrollTop = at + (list.items.length - before) * list.rowHeight();
    });
  });
  again();
  return {
    title: "Events", nav: "events",
    key(event) {
      if (event.key === "/") { search.focus(); search.select(); return true; }
      if (event.key === "Escape") { window.dsbus.back("/"); return true; }
      return false;
    },
    end() { over = true; end(); cancelAnimationFrame(frame); clearTimeout(waits); main.removeEventListener("scroll", more); list.end(); main.classList.remove("listing"); },
  };
}

/** A whole event. */
function look(event) {
  const about = event.subject.includes(":") ? h("a", { class: "button", href: `/instances/${part(event.subject)}` }, icon("box"), event.subject) : null;
  const dialog = h("dialog", { class: "ask wide", "aria-labelledby": "event-title" }, h("form", { method: "dialog" },
    h("h2", { id: "event-title" }, `${event.data.kind} ${typeOf(event)}`), h("p", { class: "dim" }, `${event.subject} · ${whole(event.time)}`),
    h("pre", { tabindex: 0 }, JSON.stringify(event, null, 2)),
    h("div", { class: "buttons" }, about, button(null, "Close", { class: "solid", type: "submit" }))));
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (click) => { if (click.target === dialog || click.target.closest("a")) dialog.close(); });
  document.body.append(dialog);
  dialog.showModal();
}
