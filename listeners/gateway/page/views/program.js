// One program: its copies, its declaration, what was declared before, and the change that goes on.

import { act, declaration, scale } from "../actions.js";
import { get, part } from "../api.js";
import { button, h, put, setText } from "../dom.js";
import { clock, count, whole } from "../format.js";
import { card, crumbs, facts, menu, missing } from "../parts.js";
import { Rows, columns, stateBar } from "../rows.js";
import { canStart, canStop } from "../states.js";
import { store } from "../store.js";
import { Course } from "./rollouts.js";

export function program({ main, params: [name] }) {
  const rows = new Rows({ scroller: main, flat: true, label: `Instances of ${name}` });
  const bar = h("div", { class: "bar fleet" });
  const sum = h("span", { class: "dim" });
  const body = h("div", { class: "page" });
  const known = facts();
  const past = h("div", {});
  const course = new Course(name);
  const mine = () => [...store.rows.values()].filter((row) => row.program === name).sort((a, b) => a.index - b.index);
  const does = (verb, drawing, label, css = "") => button(drawing, label, { class: `operator ${css}`, onclick: () => act(verb, [name], "program") });
  const [start, restart, stop] = [does("start", "play", "Start", "solid"), does("restart", "restart", "Restart"), does("stop", "stop", "Stop")];
  let shown = null;
  put(main, body);

  function build() {
    put(body, crumbs(["Instances", "/"], [name]),
      h("header", { class: "title" }, h("div", { class: "who" }, h("h1", {}, name), sum),
        h("div", { class: "does" }, start, restart, stop,
          button("scale", "Scale", { class: "operator", onclick: () => scale(name, store.programs.get(name)?.numprocs ?? mine().length) }),
          menu("More", [["reload", "Reload", () => act("reload", [name], "program")],
            ["check", "Enable", () => act("enable", [name], "program")], ["ban", "Disable", () => act("disable", [name], "program"), "danger"],
            ["trash", "Remove", () => act("remove", [name], "program"), "danger"]]))),
      bar, course.root,
      h("section", { class: "card flush" }, h("header", {}, h("h2", {}, "Instances")), columns(), rows.root, rows.bulk.root),
      h("div", { class: "halves" }, card("Revisions", past), card("Declaration", known)));
  }

  function show() {
    const all = mine();
    if (all.length === 0 && !store.programs.has(name)) {
      if (store.loaded && shown !== "missing") put(body, missing(`There is no program ${name}`, "It was removed, or never declared.", "/", "All instances"));
      if (store.loaded) shown = "missing";
      return;
    }
    if (shown !== "all") { build(); shown = "all"; }
    const ok = all.filter((row) => row.ok).length;
    const group = store.programs.get(name)?.group;
    setText(sum, `${ok === all.length ? count(all.length, "instance") : `${ok} of ${count(all.length, "instance")} ok`}${group ? ` · group ${group}` : ""}`);
    stateBar(bar, all);
    start.hidden = !all.some(canStart);
    restart.hidden = stop.hidden = !all.some(canStop);
    rows.set(all);
  }

  const SHOWN = ["environment"];
  async function declared() {
    try {
      const spec = await declaration(name);
      known.set(Object.entries(spec.spec).filter(([key, value]) => !SHOWN.includes(key) && !["name", "id"].includes(key) && value !== null && value !== false && JSON.stringify(value) !== "{}" && JSON.stringify(value) !== "[]")
        .map(([key, value]) => [key, h("code", {}, typeof value === "string" ? value : JSON.stringify(value))]));
    } catch (error) { known.set([["", error.message]]); }
    try {
      const all = (await get(`/programs/${part(name)}/history`)).reverse();
      put(past, h("ol", { class: "revisions" }, all.map((one) => h("li", { class: one.current ? "current" : null },
        h("b", {}, `#${one.revision}`), h("div", {}, one.changed.length > 0 ? one.changed.join(", ") : "declared",
          h("p", { class: "dim" }, [one.by && `by ${one.by}`, one.reason].filter(Boolean).join(" · "))),
        h("time", { class: "dim", title: whole(one.at) }, clock(one.at))))));
      if (all.length === 0) put(past, h("p", { class: "dim" }, "No revision is kept."));
    } catch (error) { put(past, h("p", { class: "dim" }, error.message)); }
  }

  const ends = [store.watch(["rows", "programs"], (topics) => { show(); if (topics.has("programs")) declared(); course.ask(); }),
    store.hear((event) => { if (event.data.kind === "rollout" && event.subject === name) course.ask(); })];
  show();
  declared();
  course.ask();
  return {
    title: name,
    nav: "instances",
    key(event) {
      if (event.key === "Escape" && rows.selected.size === 0) { window.dsbus.back("/"); return true; }
      return rows.key(event);
    },
    end() { for (const end of ends) end(); rows.end(); course.end(); },
  };
}
