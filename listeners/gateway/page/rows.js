// The grid of instances: by group, program and copy, with a cursor, a selection and keys. The page of
// all instances has one; so have those of a program and of a worker.

import { act } from "./actions.js";
import { bulkBar } from "./bulk.js";
import { button, h, icon, put, setAttribute, setIcon, setText } from "./dom.js";
import { part } from "./api.js";
import { count, millis, span, whole } from "./format.js";
import { List } from "./list.js";
import { LABEL, MEANS, STATES, canStart, canStop, isDisabled, isPending, ticks, why } from "./states.js";
import { store } from "./store.js";

export const NARROW = matchMedia("(max-width: 720px)");
const HEIGHT = { wide: 36, narrow: 64 };

/** Rows in their order -> what the list shows: groups, programs and instances. */
export function arrange(rows, folded, flat) {
  if (flat) return rows.map((row) => ({ kind: "row", key: row.name, row, depth: 0 }));
  const items = [];
  const grouped = rows.some((row) => store.groupOf(row) !== null);
  let group;
  let program;
  for (const row of rows) {
    const ofGroup = store.groupOf(row);
    if (grouped && (group === undefined || group.name !== ofGroup)) {
      group = { kind: "group", key: `group ${ofGroup ?? ""}`, name: ofGroup, rows: [], depth: 0 };
      items.push(group);
      program = undefined;
    }
    group?.rows.push(row);
    if (group && folded.has(group.key)) continue;
    if (program?.name !== row.program) {
      program = { kind: "program", key: `program ${row.program}`, name: row.program, rows: [], depth: grouped ? 1 : 0 };
      // A program of one instance is one line, not two.
      if ((store.programs.get(row.program)?.numprocs ?? 2) > 1) items.push(program);
    }
    program.rows.push(row);
    if (folded.has(program.key)) continue;
    const below = (store.programs.get(row.program)?.numprocs ?? 2) > 1;
    items.push({ kind: "row", key: row.name, row, depth: program.depth + (below ? 1 : 0) });
  }
  return items;
}

/** How many of these rows are in each state. */
export function tally(rows) {
  const counts = new Map();
  for (const row of rows) counts.set(row.state, (counts.get(row.state) ?? 0) + 1);
  return counts;
}

/** A bar of states, each as wide as it is frequent; its title says it in words. */
export function stateBar(node, rows) {
  const counts = tally(rows);
  const states = STATES.filter((state) => counts.has(state)).reverse();
  const words = states.map((state) => `${counts.get(state).toLocaleString("en")} ${LABEL[state].toLowerCase()}`).join(", ");
  if (node.dataset.words === words) return;
  node.dataset.words = words;
  setAttribute(node, "title", words);
  setAttribute(node, "role", "img");
  setAttribute(node, "aria-label", words);
  put(node, states.map((state) => {
    const bit = h("i", { class: `bg ${state}` });
    bit.style.flexGrow = counts.get(state);
    return bit;
  }));
}

function makeHead(kind) {
  const node = h("div", { class: `line head ${kind}`, role: "row" });
  node.check = h("input", { type: "checkbox", tabindex: -1, "data-do": "select" });
  node.fold = h("button", { type: "button", class: "fold", tabindex: -1, "data-do": "fold" }, icon("chevron"));
  node.name = h(kind === "program" ? "a" : "span", { class: "name", tabindex: -1 });
  node.sum = h("span", { class: "sum" });
  node.bar = h("span", { class: "bar" });
  node.acts = acts();
  node.append(h("label", { class: "check", role: "gridcell" }, node.check),
    h("span", { class: "title", role: "rowheader" }, node.fold, node.name), h("span", { class: "total", role: "gridcell" }, node.sum),
    h("span", { class: "parts", role: "gridcell" }, node.bar), node.acts);
  return node;
}

function acts() {
  const one = (verb, name, label) => button(name, label, { class: "bare", tabindex: -1, "data-do": verb, title: label });
  return h("span", { class: "acts", role: "gridcell" }, one("start", "play", "Start"), one("restart", "restart", "Restart"), one("stop", "stop", "Stop"));
}

function makeRow() {
  const node = h("div", { class: "line row", role: "row" });
  const cell = (name) => (node[name] = h("span", { class: name, role: "gridcell" }));
  node.check = h("input", { type: "checkbox", tabindex: -1, "data-do": "select" });
  node.icon = icon("running");
  node.word = h("span", { class: "word" });
  node.name = h("a", { class: "name", tabindex: -1 });
  node.worker = h("a", { tabindex: -1 });
  node.append(h("label", { class: "check", role: "gridcell" }, node.check),
    h("span", { class: "title", role: "rowheader" }, node.name),
    node.state = h("span", { class: "state", role: "gridcell" }, node.icon, node.word),
    h("span", { class: "worker", role: "gridcell" }, node.worker),
    cell("pid"), cell("up"), cell("restarts"), cell("why"), node.acts = acts());
  return node;
}

function showRow(node, item, now) {
  const { row } = item;
  setAttribute(node, "data-depth", item.depth);
  setAttribute(node, "data-name", row.name);
  node.state.className = `state fg ${row.state}${isPending(row) ? " pending" : ""}`;
  setAttribute(node.state, "title", isPending(row) ? `${MEANS[row.state]}; something else is wanted, and not done yet` : MEANS[row.state]);
  setIcon(node.icon, row.state.toLowerCase());
  setText(node.word, LABEL[row.state]);
  setText(node.name, row.name);
  setAttribute(node.name, "href", `/instances/${part(row.name)}`);
  setAttribute(node.check, "aria-label", `Select ${row.name}`);
  setText(node.worker, row.worker ?? "");
  setAttribute(node.worker, "href", row.worker && `/workers/${part(row.worker)}`);
  setText(node.pid, row.pid === null ? "" : String(row.pid));
  showSince(node, row, now);
  setText(node.restarts, row.restarts > 0 ? `↻ ${row.restarts}` : "");
  setAttribute(node.restarts, "title", row.restarts > 0 ? `started again ${row.restarts} times` : null);
  const reason = why(row);
  setText(node.why, reason);
  setAttribute(node.why, "title", reason || null);
  node.classList.toggle("bad", !row.ok);
  node.classList.toggle("off", isDisabled(row));
  const [start, restart, stop] = node.acts.children;
  start.hidden = !canStart(row);
  restart.hidden = !canStop(row);
  stop.hidden = !canStop(row);
}

function showSince(node, row, now) {
  setText(node.up, ticks(row) ? span((now - millis(row.since)) / 1000) : "");
  setAttribute(node.up, "title", row.since ? `${LABEL[row.state].toLowerCase()} since ${whole(row.since)}` : null);
}

export class Rows {
  /** `scroller` scrolls; `covered()` is how much of its top something else covers. */
  constructor({ scroller, covered = () => 0, flat = false, label = "Instances" }) {
    Object.assign(this, { scroller, covered, flat });
    this.folded = new Set();
    this.selected = new Set();
    this.items = [];
    this.rows = [];
    this.cursor = null;
    this.root = h("div", { class: "lines", role: "grid", tabindex: 0, "aria-label": label, "aria-multiselectable": "true" });
    this.bulk = bulkBar(this);
    this.list = new List({
      root: this.root, scroller, rowHeight: () => (NARROW.matches ? HEIGHT.narrow : HEIGHT.wide),
      key: (item) => item.key, kind: (item) => item.kind,
      make: (kind) => (kind === "row" ? makeRow() : makeHead(kind)),
      show: (node, item, index) => this.show(node, item, index),
    });
    this.root.addEventListener("click", (event) => this.click(event));
    this.root.addEventListener("focus", () => { this.cursor ??= this.items[0]?.key ?? null; this.list.refresh(); });
    this.timer = setInterval(() => this.tick(), 1000);
    this.endMe = store.watch(["me"], () => this.bulk.show());
    this.onNarrow = () => this.list.refresh();
    NARROW.addEventListener("change", this.onNarrow);
  }

  end() {
    clearInterval(this.timer);
    this.endMe();
    NARROW.removeEventListener("change", this.onNarrow);
    this.list.end();
  }

  /** Shows these rows, which are in order. */
  set(rows) {
    this.rows = rows;
    const before = this.selected.size;
    if (before > 0) for (const name of this.selected) if (!store.rows.has(name)) this.selected.delete(name);
    const at = this.items.findIndex((item) => item.key === this.cursor);
    this.items = arrange(rows, this.folded, this.flat);
    this.at = this.items.findIndex((item) => item.key === this.cursor);
    if (this.cursor !== null && this.at < 0) this.cursor = this.items[Math.min(Math.max(at, 0), this.items.length - 1)]?.key ?? null;
    setAttribute(this.root, "aria-rowcount", this.items.length);
    this.list.set(this.items);
    if (this.selected.size !== before) this.bulk.show();
  }

  tick() {
    const now = Date.now();
    for (const [key, node] of this.list.nodes) {
      const row = node.kind === "row" && store.rows.get(key);
      if (row) showSince(node, row, now);
    }
  }

  show(node, item, index) {
    setAttribute(node, "aria-rowindex", index + 1);
    const here = item.key === this.cursor;
    node.classList.toggle("cursor", here);
    if (here) setAttribute(this.root, "aria-activedescendant", node.id);
    const names = item.kind === "row" ? [item.row.name] : item.rows.map((row) => row.name);
    const some = names.filter((name) => this.selected.has(name)).length;
    node.check.checked = some === names.length;
    node.check.indeterminate = some > 0 && some < names.length;
    setAttribute(node, "aria-selected", some === names.length);
    if (item.kind === "row") return showRow(node, item, Date.now());
    const { rows } = item;
    const title = item.name ?? "No group";
    setAttribute(node, "data-depth", item.depth);
    setAttribute(node, "data-name", item.name);
    setText(node.name, title);
    if (item.kind === "program") setAttribute(node.name, "href", `/programs/${part(item.name)}`);
    setAttribute(node.check, "aria-label", `Select all of ${title}`);
    setAttribute(node.fold, "aria-expanded", !this.folded.has(item.key));
    setAttribute(node.fold, "aria-label", `${this.folded.has(item.key) ? "Unfold" : "Fold"} ${title}`);
    const ok = rows.filter((row) => row.ok).length;
    setText(node.sum, ok === rows.length ? count(rows.length, "instance") : `${ok} of ${rows.length} ok`);
    node.sum.classList.toggle("worse", ok < rows.length);
    stateBar(node.bar, rows);
    return undefined;
  }

  item(node) {
    const line = node.closest(".line");
    for (const [key, shown] of this.list.nodes) if (shown === line) return this.items.find((item) => item.key === key);
    return undefined;
  }

  click(event) {
    const item = this.item(event.target);
    if (!item) return;
    const what = event.target.closest("[data-do]")?.dataset.do;
    this.cursor = item.key;
    if (what === "select") this.select(item, event.target.checked, event.shiftKey);
    else if (what === "fold") this.fold(item);
    else if (what) this.act(what, item);
    else if (!event.target.closest("a, label")) {
      if (item.kind === "row" && NARROW.matches) this.open(item);
      else if (item.kind === "group") this.fold(item);
      else this.root.focus({ preventScroll: true });
    }
    this.list.refresh();
  }

  select(item, on, through = false) {
    const index = this.items.indexOf(item);
    const from = this.items.findIndex((one) => one.key === this.anchor);
    const all = through && from >= 0 ? this.items.slice(Math.min(from, index), Math.max(from, index) + 1) : [item];
    for (const one of all) {
      const rows = one.kind === "row" ? [one.row] : one.rows;
      for (const { name } of rows) if (on) this.selected.add(name); else this.selected.delete(name);
    }
    this.anchor = item.key;
    this.list.refresh();
    this.bulk.show();
  }

  selectAll(on = true) {
    this.selected = new Set(on ? this.rows.map((row) => row.name) : []);
    this.list.refresh();
    this.bulk.show();
  }

  fold(item, on = !this.folded.has(item.key)) {
    if (item.kind === "row") return;
    if (on) this.folded.add(item.key); else this.folded.delete(item.key);
    this.set(this.rows);
  }

  open(item) {
    if (item.kind === "group") this.fold(item);
    else window.dsbus.go(item.kind === "program" ? `/programs/${part(item.name)}` : `/instances/${part(item.row.name)}`);
  }

  /** What keys act on: what is selected, or else what the cursor is on. */
  meant() {
    if (this.selected.size > 0) return [...this.selected];
    const item = this.items.find((one) => one.key === this.cursor);
    if (!item) return [];
    return item.kind === "row" ? [item.row.name] : item.rows.map((row) => row.name);
  }

  async act(verb, item) {
    const names = item ? (item.kind === "row" ? [item.row.name] : item.rows.map((row) => row.name)) : this.meant();
    if (await act(verb, names) && !item) this.selectAll(false);
    this.root.focus({ preventScroll: true });
  }

  move(by, mark) {
    const at = this.items.findIndex((item) => item.key === this.cursor);
    const to = at < 0 ? 0 : Math.min(Math.max(at + by, 0), this.items.length - 1);
    if (mark && at >= 0) this.select(this.items[at], true);
    if (!this.items[to]) return;
    this.cursor = this.items[to].key;
    if (mark) this.select(this.items[to], true);
    this.list.reveal(to, this.covered());
  }

  /** One key; whether it meant something. */
  key(event) {
    const item = this.items.find((one) => one.key === this.cursor);
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.list.rowHeight()) - 3);
    const inside = this.root.contains(document.activeElement);
    switch (event.key) {
      case "j": case "ArrowDown": this.move(1, false); break;
      case "k": case "ArrowUp": this.move(-1, false); break;
      case "J": this.move(1, true); break;
      case "K": this.move(-1, true); break;
      case "PageDown": this.move(page, false); break;
      case "PageUp": this.move(-page, false); break;
      case "Home": this.move(-Infinity, false); break;
      case "End": this.move(Infinity, false); break;
      case "Enter": if (!item || (!inside && document.activeElement !== document.body)) return false; this.open(item); break;
      case " ": if (!item || (!inside && document.activeElement !== document.body)) return false;
        this.select(item, !this.meantAll(item)); break;
      case "ArrowLeft": if (!item) return false; this.fold(item, true); break;
      case "ArrowRight": if (!item) return false; this.fold(item, false); break;
      case "a": this.selectAll(this.selected.size < this.rows.length); break;
      case "s": this.act("start"); break;
      case "x": this.act("stop"); break;
      case "r": this.act("restart"); break;
      case "l": if (item?.kind !== "row") return false; window.dsbus.go(`/instances/${part(item.row.name)}#log`); break;
      case "Escape": if (this.selected.size === 0) return false; this.selectAll(false); break;
      default: return false;
    }
    this.root.focus({ preventScroll: true });
    return true;
  }

  meantAll(item) {
    const rows = item.kind === "row" ? [item.row] : item.rows;
    return rows.every((row) => this.selected.has(row.name));
  }
}

/** The names of the columns. */
export const columns = () => h("div", { class: "line columns", "aria-hidden": "true" },
  h("span", {}), h("span", { class: "title" }, "Instance"), h("span", {}, "State"), h("span", {}, "Worker"),
  h("span", { class: "pid" }, "Pid"), h("span", { class: "up" }, "Since"), h("span", { class: "restarts" }, "Restarts"),
  h("span", {}, "Why"), h("span", {}));

