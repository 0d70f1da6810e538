// Changes that go through the instances of a program.

import { rollout } from "../actions.js";
import { get, part } from "../api.js";
import { button, h, icon, put } from "../dom.js";
import { ago, count, whole } from "../format.js";
import { LABEL } from "../states.js";
import { store } from "../store.js";

/** It is asked at most so often. */
const ASK_MS = 300;
/** Instances that are shown by name; of more only how many they are. */
const NAMES_MAX = 60;

const WORDS = { rolling: "Rolling out", paused: "Paused", failed: "Failed" };
const DRAWING = { rolling: "starting", paused: "pause", failed: "fatal" };

/** A rollout, as a card. */
function show(one) {
  const total = one.done.length + one.moving.length + one.waiting.length;
  const step = (verb, drawing, label, css = "") => button(drawing, label, { class: `operator ${css}`, onclick: () => rollout(one.program, verb) });
  const bit = (css, names) => { const node = h("i", { class: css }); node.style.flexGrow = names.length; node.hidden = names.length === 0; return node; };
  const all = [...one.done.map((name) => [name, "done"]), ...one.moving.map((name) => [name, "moving"]), ...one.waiting.map((name) => [name, "waiting"])];
  return h("section", { class: `card rollout ${one.state}` },
    h("header", {}, h("h2", {}, h("a", { href: `/programs/${part(one.program)}` }, one.program)),
      h("span", { class: "badge" }, icon(DRAWING[one.state] ?? "starting"), h("span", {}, WORDS[one.state] ?? one.state)),
      h("span", { class: "dim", title: whole(one.since) }, `revision ${one.stable ?? "–"} → ${one.revision} · began ${ago(one.since)}`),
      h("div", { class: "does" },
        one.awaits_promotion && step("promote", "check", "Promote", "solid"),
        one.state === "rolling" ? step("pause", "pause", "Pause") : step("resume", "play", "Resume"), step("undo", "undo", "Undo", "danger"))),
    one.reason && h("p", { class: "reason" }, one.reason),
    one.awaits_promotion && !one.reason && h("p", { class: "dim" }, "The canaries run. Promote them to go on."),
    h("div", { class: "progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": total, "aria-valuenow": one.done.length, "aria-label": `${one.done.length} of ${total} changed` },
      bit("done", one.done), bit("moving", one.moving), bit("waiting", one.waiting)),
    h("p", { class: "dim" }, `${one.done.length} of ${count(total, "instance")} changed`, one.moving.length > 0 && ` · ${one.moving.length} on the way`,
      one.waiting.length > 0 && ` · ${one.waiting.length} to come`),
    all.length <= NAMES_MAX && h("ul", { class: "pills" }, all.map(([name, how]) => {
      const state = store.rows.get(name)?.state;
      return h("li", {}, h("a", { class: `pill ${how}`, href: `/instances/${part(name)}`, title: state ? LABEL[state] : how },
        icon({ done: "check", moving: "starting", waiting: "pending" }[how]), name));
    })));
}

/** The rollouts that are not over, or that of one program. */
export class Course {
  constructor(program) {
    this.program = program;
    this.root = h("div", { class: "rollouts" });
    this.timer = 0;
    this.none = null;
  }

  ask() { this.timer ||= setTimeout(() => { this.timer = 0; this.load(); }, ASK_MS); }

  async load() {
    try {
      const all = (await get("/rollouts")).filter((one) => one.state !== null && (!this.program || one.program === this.program));
      const key = JSON.stringify(all);
      if (key === this.key) return;
      this.key = key;
      put(this.root, all.map(show));
      if (all.length === 0 && this.none) put(this.root, this.none);
      this.told?.(all.length);
    } catch (error) { if (!this.program) put(this.root, h("p", { class: "dim" }, error.message)); }
  }

  end() { clearTimeout(this.timer); }
}

export function rollouts({ main }) {
  const course = new Course(null);
  course.none = h("div", { class: "empty" }, icon("rollout"), h("h2", {}, "No change is being rolled out"),
    h("p", {}, "When a declaration changes, its instances are changed one after the other, and you can watch it here."));
  put(main, h("div", { class: "page" }, h("h1", {}, "Rollouts"), course.root));
  const ends = [store.watch(["rows", "programs"], () => course.ask()),
    store.hear((event) => { if (event.data.kind === "rollout") course.ask(); })];
  course.load();
  return {
    title: "Rollouts",
    nav: "rollouts",
    key: (event) => event.key === "Escape" && (window.dsbus.back("/"), true),
    end() { for (const end of ends) end(); course.end(); },
  };
}
