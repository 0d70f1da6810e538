// What asks, and what tells: dialogs and toasts.

import { button, h, icon } from "./dom.js";

const TOAST_MS = 5_000;
/** Toasts at once; the oldest goes. */
const TOASTS_MAX = 4;

/** Asks whether something that destroys is meant. Resolves to what was said: true or false. */
export function confirm({ title, text, names = [], act, danger = true }) {
  return new Promise((resolve) => {
    const yes = button(null, act, { class: danger ? "danger solid" : "solid", value: "yes", type: "submit" });
    const no = button(null, "Cancel", { value: "no", type: "submit" });
    const shown = names.slice(0, 8);
    const rest = names.length - shown.length;
    const dialog = h("dialog", { class: "ask", "aria-labelledby": "ask-title" },
      h("form", { method: "dialog" },
        h("h2", { id: "ask-title" }, title),
        text && h("p", {}, text),
        names.length > 0 && h("ul", { class: "names" }, shown.map((name) => h("li", {}, name)),
          rest > 0 && h("li", { class: "dim" }, `and ${rest.toLocaleString("en")} more`)),
        h("div", { class: "buttons" }, no, yes)));
    dialog.addEventListener("close", () => { resolve(dialog.returnValue === "yes"); dialog.remove(); });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close("no"); });
    document.body.append(dialog);
    dialog.showModal();
    yes.focus();
  });
}

/** Asks for a value, by one field. Resolves to it, or to null. */
export function ask({ title, text, field, act, danger = false }) {
  return new Promise((resolve) => {
    const yes = button(null, act, { class: danger ? "danger solid" : "solid", value: "yes", type: "submit" });
    const no = button(null, "Cancel", { type: "button" });
    const dialog = h("dialog", { class: "ask", "aria-labelledby": "ask-title" },
      h("form", { method: "dialog" }, h("h2", { id: "ask-title" }, title), text && h("p", {}, text),
        h("label", { class: "field" }, h("span", {}, field.title), field.input),
        h("div", { class: "buttons" }, no, yes)));
    no.addEventListener("click", () => dialog.close("no"));
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes" ? field.input.value : null);
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
    field.input.focus();
    field.input.select?.();
  });
}

/** Says something for a moment: "ok", "bad" or "note". */
export function toast(kind, text) {
  const room = document.getElementById("toasts");
  const drawing = { ok: "check", bad: "fatal", note: "info" }[kind];
  const node = h("div", { class: `toast ${kind}` }, icon(drawing), h("span", {}, text));
  const close = button("close", "Dismiss", { class: "bare", onclick: () => node.remove() });
  node.append(close);
  room.append(node);
  while (room.children.length > TOASTS_MAX) room.firstElementChild.remove();
  setTimeout(() => node.remove(), kind === "bad" ? TOAST_MS * 2 : TOAST_MS);
}

const HELP = [
  ["Anywhere", [["/", "search"], ["g then i, w, r, e", "go to instances, workers, rollouts, events"],
    ["t", "light or dark"], ["?", "this help"], ["Esc", "close, clear, go back"]]],
  ["In a list", [["j k or ↓ ↑", "next, previous"], ["Enter", "open"], ["← →", "fold, unfold"],
    ["Space", "select"], ["Shift j k", "select on the way"], ["a", "select all that is listed"]]],
  ["On what is selected, or under the cursor", [["s", "start"], ["x", "stop (asks)"], ["r", "restart (asks)"],
    ["l", "its log"]]],
];

/** Shows the keys. */
export function help() {
  if (document.querySelector("dialog.help")) return;
  const dialog = h("dialog", { class: "ask help", "aria-labelledby": "help-title" },
    h("form", { method: "dialog" }, h("h2", { id: "help-title" }, "Keyboard")));
  const form = dialog.firstElementChild;
  for (const [title, keys] of HELP) {
    form.append(h("h3", {}, title), h("dl", {}, keys.flatMap(([key, does]) => [
      h("dt", {}, key.split(/( or | then |, | )/).map((word) =>
        /^( or | then |, | )$/.test(word) ? word : h("kbd", {}, word))), h("dd", {}, does)])));
  }
  form.append(h("div", { class: "buttons" }, button(null, "Close", { class: "solid", type: "submit", autofocus: true })));
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);
  dialog.showModal();
}
