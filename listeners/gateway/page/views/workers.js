// All workers, and one.

import { worker as actOn } from "../actions.js";
import { part } from "../api.js";
import { button, h, icon, put, setAttribute, setIcon, setText } from "../dom.js";
import { ago, bytes, count, natural, span, whole } from "../format.js";
import { List } from "../list.js";
import { badge, card, crumbs, facts, meter, missing } from "../parts.js";
import { NARROW, Rows, columns, stateBar } from "../rows.js";
import { WORKER_MEANS } from "../states.js";
import { store } from "../store.js";

const used = (facts) => (facts.memory_total > 0 ? 1 - facts.memory_available / facts.memory_total : 0);
const memoryWords = (facts) => (facts.memory_total > 0 ? `${bytes(facts.memory_total - facts.memory_available)} of ${bytes(facts.memory_total)}` : "–");
const cpuWords = (facts) => (facts.cores > 0 ? `${facts.cpu_percent.toFixed(0)} % of ${count(facts.cores, "core")}` : "–");
const Word = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** What can be done to a worker as it is. */
function steps(row) {
  const all = [];
  if (row.state === "draining") all.push(["undrain", "undo", "Undrain"]);
  else if (["ready", "cordoned", "suspect"].includes(row.state)) all.push(["drain", "drain", "Drain"]);
  if (row.state === "cordoned") all.push(["uncordon", "check", "Uncordon"]);
  else if (row.state === "ready") all.push(["cordon", "ban", "Cordon"]);
  return all;
}

function showSteps(node, row, css) {
  const key = `${row.name} ${row.state}`;
  if (node.key === key) return;
  node.key = key;
  put(node, steps(row).map(([verb, drawing, label]) => button(drawing, label, {
    class: `operator ${css}`, title: label, onclick: () => actOn(row.name, verb),
  })));
}

export function workers({ main }) {
  const make = () => {
    const node = h("div", { class: "line worker", role: "row" });
    node.icon = icon("ready");
    node.word = h("span", { class: "word" });
    node.cpu = meter("Processors");
    node.memory = meter("Memory");
    const cell = (name, ...children) => (node[name] = h("span", { class: name, role: "gridcell" }, children));
    node.name = h("a", { class: "name" });
    node.append(h("span", { class: "title", role: "rowheader" }, node.name), node.state = h("span", { class: "state", role: "gridcell" }, node.icon, node.word),
      cell("instances"), h("span", { class: "cpu", role: "gridcell" }, node.cpu), h("span", { class: "memory", role: "gridcell" }, node.memory),
      cell("load"), cell("touch"), cell("labels"), node.acts = h("span", { class: "acts", role: "gridcell" }));
    return node;
  };
  const show = (node, row) => {
    node.state.className = `state fg w-${row.state}`;
    setAttribute(node.state, "title", WORKER_MEANS[row.state]);
    setIcon(node.icon, row.state);
    setText(node.word, Word(row.state));
    setText(node.name, row.name);
    setAttribute(node.name, "href", `/workers/${part(row.name)}`);
    setText(node.instances, count(row.instances, "instance"));
    node.cpu.set(row.facts.cpu_percent / 100, cpuWords(row.facts));
    node.memory.set(used(row.facts), memoryWords(row.facts));
    setText(node.load, row.facts.load.map((one) => one.toFixed(2)).join(" "));
    setText(node.touch, ago(row.last_touch));
    const labels = Object.entries(row.labels).map(([key, value]) => `${key}=${value}`).join(" ");
    setText(node.labels, labels || row.host);
    setAttribute(node.labels, "title", `${row.host} ${labels}`);
    showSteps(node.acts, row, "bare");
  };
  const root = h("div", { class: "lines", role: "grid", "aria-label": "Workers" });
  const list = new List({ root, scroller: main, rowHeight: () => (NARROW.matches ? 96 : 44), key: (row) => row.name, kind: () => "worker", make, show });
  const sum = h("span", { class: "dim" });
  const empty = h("div", { class: "empty", hidden: true }, icon("worker"), h("h2", {}, "No worker is here"), h("p", {}, "Start one on each machine: ", h("code", {}, "dsbus worker")));
  put(main, h("div", { class: "top" }, h("header", { class: "title" }, h("div", { class: "who" }, h("h1", {}, "Workers"), sum)),
    h("div", { class: "line worker columns", "aria-hidden": "true" }, ["Worker", "State", "Instances", "Processors", "Memory", "Load", "Last touch", "Labels, host", ""].map((one) => h("span", {}, one)))), root, empty);
  main.classList.add("listing");
  const draw = () => {
    const all = [...store.workers.values()].sort((a, b) => natural(a.name, b.name));
    const ready = all.filter((row) => row.state === "ready").length;
    if (store.loaded) setText(sum, ready === all.length ? `${count(all.length, "worker")}, all ready` : `${ready} of ${all.length} ready`);
    empty.hidden = !store.loaded || all.length > 0;
    list.set(all);
  };
  const end = store.watch(["workers"], draw);
  const timer = setInterval(() => list.refresh(), 1000);
  draw();
  return {
    title: "Workers", nav: "workers",
    key: (event) => event.key === "Escape" && (window.dsbus.back("/"), true),
    end() { end(); clearInterval(timer); list.end(); main.classList.remove("listing"); },
  };
}

export function worker({ main, params: [name] }) {
  const rows = new Rows({ scroller: main, label: `Instances on ${name}` });
  const body = h("div", { class: "page" });
  const state = badge("ready");
  const does = h("div", { class: "does" });
  const host = h("span", { class: "dim" });
  const [cpu, memory, swap] = [meter("Processors"), meter("Memory"), meter("Swap")];
  const disks = h("div", { class: "disks" });
  const machine = facts();
  const itself = facts();
  const bar = h("div", { class: "bar fleet" });
  const gauge = (label, node) => h("div", { class: "tile gauge" }, h("span", {}, label), node);
  const swapTile = gauge("Swap", swap);
  let shown = null;
  put(main, body);

  function build() {
    put(body, crumbs(["Workers", "/workers"], [name]),
      h("header", { class: "title" }, h("div", { class: "who" }, h("h1", {}, name), state, host), does),
      h("div", { class: "tiles" }, gauge("Processors", cpu), gauge("Memory", memory), swapTile, disks), bar,
      h("section", { class: "card flush" }, h("header", {}, h("h2", {}, "Instances")), columns(), rows.root, rows.bulk.root),
      h("div", { class: "halves" }, card("Machine", machine), card("Worker", itself)));
  }

  function draw() {
    const row = store.workers.get(name);
    if (!row) {
      if (store.loaded && shown !== "missing") put(body, missing(`There is no worker ${name}`, "It was forgotten, or never was.", "/workers", "All workers"));
      if (store.loaded) shown = "missing";
      return;
    }
    if (shown !== "all") { build(); shown = "all"; }
    const about = row.facts;
    state.className = `badge fg w-${row.state}`;
    setIcon(state.firstElementChild, row.state);
    setText(state.lastElementChild, Word(row.state));
    setText(host, row.host);
    setAttribute(state, "title", WORKER_MEANS[row.state]);
    showSteps(does, row, "");
    cpu.set(about.cpu_percent / 100, cpuWords(about));
    memory.set(used(about), memoryWords(about));
    swapTile.hidden = about.swap_total === 0;
    swap.set(about.swap_total > 0 ? 1 - about.swap_free / about.swap_total : 0, `${bytes(about.swap_total - about.swap_free)} of ${bytes(about.swap_total)}`);
    const key = JSON.stringify(about.disks);
    if (disks.dataset.key !== key) {
      disks.dataset.key = key;
      put(disks, about.disks.map((disk) => { const one = meter(disk.path); one.set(1 - disk.available / disk.total, `${bytes(disk.available)} free of ${bytes(disk.total)}`); return gauge(`Disk ${disk.path}`, one); }));
    }
    machine.set([["Host", row.host], ["System", about.os], ["Kernel", about.kernel && `${about.kernel} (${about.arch})`], ["Up for", about.uptime_seconds ? span(about.uptime_seconds) : null],
      ["Load", about.load.map((one) => one.toFixed(2)).join("  ")], ["Addresses", about.addresses.join(", ")], ["Measured", about.at && whole(about.at)]]);
    itself.set([["Version", row.version], ["Last touch", row.last_touch && whole(row.last_touch)], ["Agent", `pid ${row.agent_pid}`], ["Supervisor", `pid ${row.supervisor_pid}`],
      ["Takes", row.capacity.cpu ? `${row.capacity.cpu} cores, ${bytes(row.capacity.memory)}` : null],
      ["Labels", Object.entries(row.labels).map(([one, value]) => `${one}=${value}`).join(", ")],
      ["Can", row.facilities.map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join(", ")]]);
    const mine = store.sorted().filter((one) => one.worker === name);
    stateBar(bar, mine);
    rows.set(mine);
  }

  const end = store.watch(["rows", "workers", "programs"], draw);
  draw();
  return {
    title: name, nav: "workers",
    key(event) {
      if (event.key === "Escape" && rows.selected.size === 0) { window.dsbus.back("/workers"); return true; }
      return rows.key(event);
    },
    end() { end(); rows.end(); },
  };
}
