// What the page knows of the fleet. Whoever shows some of it is told once per frame what has changed,
// however much was heard meanwhile.

import { natural } from "./format.js";

const watchers = new Set();
const hearers = new Set();
const dirty = new Set();
let frame = 0;

function flush() {
  frame = 0;
  const topics = new Set(dirty);
  dirty.clear();
  for (const { wanted, tell } of [...watchers]) {
    if (wanted.some((topic) => topics.has(topic))) tell(topics);
  }
}

function touch(topic) {
  dirty.add(topic);
  frame ||= requestAnimationFrame(flush);
}

export const store = {
  me: null,
  silent: null,
  /** "opening", "live" or "lost". */
  link: "opening",
  loaded: false,
  rows: new Map(),
  workers: new Map(),
  programs: new Map(),
  /** Grows when rows come or go, or change their group: what is sorted is sorted anew. */
  members: 0,

  /** Calls `tell` in a frame after one of these topics has changed; returns how to end that. */
  watch(wanted, tell) {
    const watcher = { wanted, tell };
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  },

  /** Calls `hear` with each event, at once. */
  hear(hear) {
    hearers.add(hear);
    return () => hearers.delete(hear);
  },

  setMe(me) {
    this.me = me;
    document.documentElement.classList.toggle("viewer", me.role !== "operator");
    this.setSilent(me.silent);
    touch("me");
  },

  mayAct() { return this.me?.role === "operator"; },

  setSilent(why) {
    if (this.silent === why) return;
    this.silent = why;
    touch("link");
  },

  setLink(link) {
    if (this.link === link) return;
    this.link = link;
    touch("link");
  },

  setRows(all) {
    this.rows = new Map(all.map((row) => [row.name, row]));
    this.loaded = true;
    this.members += 1;
    touch("rows");
  },

  changeRows(changed, gone) {
    for (const row of changed) {
      if (!this.rows.has(row.name)) this.members += 1;
      this.rows.set(row.name, row);
    }
    for (const name of gone) if (this.rows.delete(name)) this.members += 1;
    touch("rows");
  },

  setWorkers(all) {
    this.workers = new Map(all.map((row) => [row.name, row]));
    touch("workers");
  },

  setPrograms(all) {
    // What has no group is a group of its own name, with nothing else in it.
    const sizes = new Map();
    for (const { group } of all) sizes.set(group, (sizes.get(group) ?? 0) + 1);
    const alone = ({ name, group }) => group === name && sizes.get(group) === 1;
    this.programs = new Map(all.map((program) => [program.name, alone(program) ? { ...program, group: null } : program]));
    this.members += 1;
    touch("programs");
  },

  event(event) { for (const hear of [...hearers]) hear(event); },

  groupOf(row) { return this.programs.get(row.program)?.group ?? null; },

  /** All rows by group, program and index; what has no group comes last. */
  sorted() {
    if (this.sortedOf !== this.members) {
      const key = (row) => this.groupOf(row) ?? "\uffff";
      const groups = new Map();
      for (const row of this.rows.values()) {
        const group = key(row);
        let programs = groups.get(group);
        if (!programs) groups.set(group, programs = new Map());
        let rows = programs.get(row.program);
        if (!rows) programs.set(row.program, rows = []);
        rows.push(row);
      }
      const byName = ([a], [b]) => (a === "\uffff") - (b === "\uffff") || natural(a, b);
      this.order = [...groups].sort(byName).flatMap(([, programs]) =>
        [...programs].sort(byName).flatMap(([, rows]) =>
          rows.sort((a, b) => a.index - b.index).map((row) => row.name)));
      this.sortedOf = this.members;
    }
    const all = [];
    for (const name of this.order) {
      const row = this.rows.get(name);
      if (row) all.push(row);
    }
    return all;
  },
};

// Whoever tests the page, or measures it, looks here.
window.dsbus = { store };
