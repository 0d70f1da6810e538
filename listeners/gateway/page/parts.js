// Pieces that several pages have.

import { button, h, icon, put, setIcon, setText } from "./dom.js";
import { LABEL } from "./states.js";

/** The way back. */
export const crumbs = (...steps) => h("nav", { class: "crumbs", "aria-label": "Where you are" },
  steps.flatMap(([text, href], n) => [n > 0 && h("span", { class: "dim", "aria-hidden": "true" }, "/"),
    href ? h("a", { href }, text) : h("span", { "aria-current": "page" }, text)]));

/** A state, by colour, drawing and word. */
export function badge(state, label = LABEL[state] ?? state) {
  const node = h("span", { class: `badge fg ${state}` }, icon(state.toLowerCase()), h("span", {}, label));
  node.set = (now, text = LABEL[now] ?? now) => {
    node.className = `badge fg ${now}`;
    setIcon(node.firstElementChild, now.toLowerCase());
    setText(node.lastElementChild, text);
  };
  return node;
}

/** Names and values. A value may be a text or nodes; what is null is not shown. */
export function facts(pairs) {
  const list = h("dl", { class: "facts" });
  list.set = (all) => {
    const shown = all.filter(([, value]) => value !== null && value !== undefined && value !== "");
    const key = JSON.stringify(shown.map(([name, value]) => [name, value instanceof Node ? value.textContent : value]));
    if (list.key === key) return;
    list.key = key;
    put(list, shown.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  };
  if (pairs) list.set(pairs);
  return list;
}

/** A card with a title. */
export const card = (title, ...children) => h("section", { class: "card" }, h("header", {}, h("h2", {}, title)), children);

/** A share as a bar, with words. */
export function meter(label) {
  const fill = h("i");
  const words = h("span", { class: "words" });
  const root = h("div", { class: "meter" }, h("span", { class: "track", "aria-hidden": "true" }, fill), words);
  root.set = (share, text) => {
    const part = Math.min(Math.max(share || 0, 0), 1);
    fill.style.transform = `scaleX(${part.toFixed(3)})`;
    root.classList.toggle("high", part > 0.9);
    setText(words, text);
    root.title = `${label}: ${text}`;
  };
  return root;
}

/** A menu that opens below a button: [[drawing, label, act, css], ...]. */
export function menu(label, entries) {
  const list = h("div", { class: "menu", role: "menu", popover: "auto" });
  const opener = button("more", label, { class: "operator", "aria-haspopup": "menu", "aria-expanded": "false" });
  list.append(...entries.map(([name, text, act, css]) => {
    const node = button(name, text, { class: `item ${css ?? ""}`, role: "menuitem" });
    node.addEventListener("click", () => { list.hidePopover(); act(); });
    return node;
  }));
  opener.addEventListener("click", () => {
    const box = opener.getBoundingClientRect();
    list.togglePopover();
    list.style.top = `${box.bottom + 4}px`;
    list.style.left = `${Math.max(8, Math.min(box.left, innerWidth - list.offsetWidth - 8))}px`;
  });
  list.addEventListener("toggle", (event) => {
    opener.setAttribute("aria-expanded", event.newState === "open");
    if (event.newState === "open") list.firstElementChild.focus();
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...list.children];
    all[(all.indexOf(document.activeElement) + step + all.length) % all.length].focus();
  });
  return h("span", { class: "menus" }, opener, list);
}

/** What is shown where there is nothing of this name. */
export const missing = (title, text, href, back) => h("div", { class: "empty" }, icon("search"), h("h2", {}, title), h("p", {}, text),
  h("p", {}, h("a", { class: "button", href }, back)));
