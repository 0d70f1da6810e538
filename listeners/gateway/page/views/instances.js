// All instances.

import { button, h, icon, put, setAttribute, setText } from "../dom.js";
import { apply, read, write } from "../filter.js";
import { count, natural } from "../format.js";
import { Rows, columns, stateBar } from "../rows.js";
import { LABEL, MEANS, STATES } from "../states.js";
import { store } from "../store.js";

/** How many placeholders are shown until anything is known. */
const SKELETONS = 12;

export function instances({ main, query, back }) {
  const filter = read(query);
  const search = h("input", {
    type: "search", id: "search", class: "search", placeholder: "Search: name, worker, reason, state:fatal …",
    "aria-label": "Search instances", autocomplete: "off", spellcheck: "false", value: filter.q,
  });
  const chips = h("div", { class: "chips", role: "group", "aria-label": "States" });
  const choice = (label) => h("select", { "aria-label": label, class: "choice" });
  const worker = choice("Worker");
  const group = choice("Group");
  const bar = h("div", { class: "bar fleet" });
  const empty = h("div", { class: "empty", hidden: true });
  const shownCount = h("span", { class: "dim shown", role: "status" });
  const top = h("div", { class: "top" },
    h("div", { class: "tools" },
      h("label", { class: "searchbox" }, icon("search"), search, h("kbd", { class: "hint" }, "/")), worker, group, shownCount),
    chips, bar, columns());
  const rows = new Rows({ scroller: main, covered: () => top.offsetHeight });
  const skeleton = h("div", { class: "skeleton", "aria-hidden": "true" }, Array.from({ length: SKELETONS }, () => h("i")));
  const heading = h("h1", { class: "unseen" }, "Instances");
  put(main, heading, top, rows.root, skeleton, empty, rows.bulk.root);
  main.classList.add("listing");

  const made = new Map();
  function chip(state) {
    const node = h("button", { type: "button", class: `chip fg ${state}`, title: MEANS[state] },
      icon(state.toLowerCase()), h("span", {}, LABEL[state]), h("b"));
    node.addEventListener("click", () => {
      if (filter.states.has(state)) filter.states.delete(state); else filter.states.add(state);
      changed();
    });
    return node;
  }

  function choices(select, all, names, chosen) {
    const wanted = [["", all], ...names];
    const key = JSON.stringify(wanted);
    if (select.dataset.key !== key) {
      select.dataset.key = key;
      put(select, wanted.map(([value, text]) => h("option", { value }, text)));
    }
    select.value = chosen;
    select.hidden = names.length < 2 && !chosen;
    select.classList.toggle("on", chosen !== "");
  }

  function show() {
    if (!store.loaded) return;
    skeleton.hidden = true;
    const { shown, counts } = apply(filter, store.sorted());
    for (const state of STATES) {
      const n = counts.get(state) ?? 0;
      const on = filter.states.has(state);
      let node = made.get(state);
      if (!node) made.set(state, node = chip(state));
      node.hidden = n === 0 && !on;
      setText(node.lastElementChild, n.toLocaleString("en"));
      setAttribute(node, "aria-pressed", on);
    }
    if (chips.childElementCount === 0) put(chips, [...made.values()]);
    choices(worker, "All workers", [...store.workers.keys()].sort(natural).map((name) => [name, name]), filter.worker);
    const groups = new Set([...store.programs.values()].map((program) => program.group ?? null));
    const named = [...groups].filter((name) => name !== null).sort(natural).map((name) => [name, name]);
    choices(group, "All groups", named.length > 0 && groups.has(null) ? [...named, ["-", "No group"]] : named, filter.group);
    stateBar(bar, shown);
    const all = store.rows.size;
    setText(shownCount, shown.length === all ? count(all, "instance") : `${shown.length.toLocaleString("en")} of ${count(all, "instance")}`);
    rows.set(shown);
    empty.hidden = shown.length > 0;
    if (shown.length > 0) return;
    const none = all === 0;
    put(empty, icon(none ? "box" : "search"),
      h("h2", {}, none ? "No program is declared yet" : "Nothing matches"),
      none ? h("p", {}, "Declare one: ", h("code", {}, "dsbus create hello -- sleep 1000"))
        : h("p", {}, button(null, "Clear search and filters", { onclick: clear })));
  }

  function changed() {
    history.replaceState(history.state, "", location.pathname + write(filter));
    show();
    if (main.scrollTop > 0 && rows.list.top() < main.scrollTop) main.scrollTop = 0;
    rows.list.refresh();
  }
  function clear() {
    Object.assign(filter, { q: "", worker: "", group: "", states: new Set() });
    search.value = "";
    changed();
    search.focus();
  }

  search.addEventListener("input", () => { filter.q = search.value; changed(); });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if (search.value) { search.value = ""; filter.q = ""; changed(); } else rows.root.focus({ preventScroll: true });
      event.stopPropagation();
      event.preventDefault();
    } else if (event.key === "Enter" || event.key === "ArrowDown") {
      event.preventDefault();
      rows.root.focus({ preventScroll: true });
    }
  });
  worker.addEventListener("change", () => { filter.worker = worker.value; changed(); });
  group.addEventListener("change", () => { filter.group = group.value; changed(); });
  const end = store.watch(["rows", "programs", "workers"], show);
  show();
  if (back?.top) { main.scrollTop = back.top; rows.list.refresh(); }

  return {
    title: "Instances",
    nav: "instances",
    key: (event) => {
      if (event.key === "/") { search.focus(); search.select(); return true; }
      if (event.key === "Escape" && rows.selected.size === 0 && write(filter) !== "") { clear(); rows.root.focus({ preventScroll: true }); return true; }
      return rows.key(event);
    },
    keep: () => ({ top: main.scrollTop }),
    end() { end(); rows.end(); main.classList.remove("listing"); },
  };
}
