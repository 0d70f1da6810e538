// A small plot of one value over time: a line, what is below it, and what it was where one points.

import { h, put, setText, svg } from "./dom.js";
import { clock } from "./format.js";

const WIDTH = 600;
const HEIGHT = 120;
/** Samples that are this much further apart than the usual are not joined. */
const GAP = 4;

/** The next "nice" number that is at least this: 1, 2 or 5, and zeros; of bytes, powers of two. */
export function ceiling(value, binary) {
  if (!(value > 0)) return 1;
  const base = binary ? 2 : 10;
  const unit = base ** Math.floor(Math.log(value) / Math.log(base));
  const steps = binary ? [1, 1.25, 1.5, 1.75, 2] : [1, 2, 5, 10];
  return steps.map((step) => step * unit).find((step) => step >= value * 1.000001) ?? base * unit;
}

/** A plot. `show([[milliseconds, value or null], ...])`. */
export function plot({ title, format, binary = false, colour }) {
  const now = h("b", { class: "now" }, "–");
  const point = h("span", { class: "dim at" });
  const area = svg("path", { class: "area" });
  const line = svg("path", { class: "curve" });
  const cross = svg("line", { class: "cross", y1: 0, y2: HEIGHT, x1: -9, x2: -9 });
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title} over time` },
    svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: 0.5, y2: 0.5 }), svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT / 2, y2: HEIGHT / 2 }),
    area, line, cross);
  const high = h("span", { class: "high" });
  const from = h("span");
  const to = h("span");
  const none = h("p", { class: "none" }, "No samples yet");
  const root = h("section", { class: `card plot ${colour}` },
    h("header", {}, h("h2", {}, title), now, point),
    h("div", { class: "picture" }, picture, high, none), h("footer", { class: "dim" }, from, to));
  let samples = [];
  let place = () => 0;

  picture.addEventListener("pointermove", (event) => {
    if (samples.length === 0) return;
    const box = picture.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    let best = samples[0];
    for (const one of samples) if (Math.abs(place(one[0]) - x) < Math.abs(place(best[0]) - x)) best = one;
    cross.setAttribute("x1", place(best[0]));
    cross.setAttribute("x2", place(best[0]));
    setText(point, `${format(best[1])} at ${clock(new Date(best[0]).toISOString())}`);
  });
  picture.addEventListener("pointerleave", () => {
    cross.setAttribute("x1", -9);
    cross.setAttribute("x2", -9);
    setText(point, "");
  });

  function show(all) {
    samples = all.filter(([, value]) => value !== null && value !== undefined);
    none.hidden = samples.length > 0;
    picture.classList.toggle("faint", samples.length === 0);
    if (samples.length === 0) return;
    const [first, last] = [samples[0][0], samples.at(-1)[0]];
    const top = ceiling(Math.max(...samples.map(([, value]) => value)), binary);
    const width = Math.max(last - first, 1);
    place = (at) => ((at - first) / width) * WIDTH;
    const y = (value) => HEIGHT - (value / top) * (HEIGHT - 2);
    const usual = width / Math.max(samples.length - 1, 1);
    const runs = [];
    let before = -Infinity;
    for (const [at, value] of samples) {
      if (at - before > usual * GAP) runs.push([]);
      runs.at(-1).push([place(at), y(value)]);
      before = at;
    }
    const path = (run) => run.map(([px, py], n) => `${n ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join("");
    line.setAttribute("d", runs.map((run) => (run.length === 1 ? `${path(run)}h0.1` : path(run))).join(""));
    area.setAttribute("d", runs.map((run) => `${path(run)}L${run.at(-1)[0].toFixed(1)} ${HEIGHT}L${run[0][0].toFixed(1)} ${HEIGHT}Z`).join(""));
    setText(now, format(samples.at(-1)[1]));
    setText(high, format(top));
    setText(from, clock(new Date(first).toISOString()));
    setText(to, clock(new Date(last).toISOString()));
  }
  return { root, show };
}

/** A strip of the states that an instance has been in, up to now. */
export function strip(spans) {
  const [first, last] = [spans[0]?.from ?? 0, spans.at(-1)?.to ?? 1];
  const root = h("div", { class: "strip", role: "img", "aria-label": "States over time" });
  put(root, spans.map(({ from, to, state, title }) => {
    const bit = h("i", { class: `bg ${state}`, title });
    bit.style.flexGrow = Math.max((to - from) / Math.max(last - first, 1), 0.004);
    return bit;
  }));
  return root;
}
