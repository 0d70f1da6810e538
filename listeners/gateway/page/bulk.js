// The bar that comes up when something is selected.

import { button, h, setText } from "./dom.js";
import { store } from "./store.js";

const NARROW = matchMedia("(max-width: 720px)");

/** What can be done to all that are selected. On a phone a button shows its drawing only, and is still named. */
export function bulkBar(rows) {
  const words = h("span", { class: "words", role: "status" });
  const act = (verb, name, label, css = "") => button(name, label, { class: css, "aria-label": label, onclick: () => rows.act(verb) });
  const root = h("div", { class: "bulk", role: "toolbar", "aria-label": "Selected instances", hidden: true }, words,
    act("start", "play", "Start"), act("restart", "restart", "Restart"), act("stop", "stop", "Stop", "danger"),
    act("enable", "check", "Enable"), act("disable", "ban", "Disable", "danger"),
    button("close", "Clear selection", { class: "bare", "aria-label": "Clear selection", onclick: () => rows.selectAll(false) }));
  return {
    root,
    show() {
      const n = rows.selected.size;
      root.hidden = n === 0 || !store.mayAct();
      setText(words, NARROW.matches ? String(n) : `${n.toLocaleString("en")} selected`);
    },
  };
}
