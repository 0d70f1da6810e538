// Which instances are shown. Pure, but for the groups, which the declarations say.

import { store } from "./store.js";

/** Of the address: ?q=api&state=FATAL,BACKOFF&worker=w1&group=shop. */
export function read(query) {
  const params = new URLSearchParams(query);
  const states = (params.get("state") ?? "").split(",").filter(Boolean);
  return { q: params.get("q") ?? "", states: new Set(states), worker: params.get("worker") ?? "", group: params.get("group") ?? "" };
}

/** And back. */
export function write(filter) {
  const params = new URLSearchParams();
  if (filter.q) params.set("q", filter.q);
  if (filter.states.size > 0) params.set("state", [...filter.states].join(","));
  if (filter.worker) params.set("worker", filter.worker);
  if (filter.group) params.set("group", filter.group);
  const text = params.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
  return text === "" ? "" : `?${text}`;
}

const KEYS = {
  state: (row, word) => row.state.toLowerCase().startsWith(word),
  worker: (row, word) => (row.worker ?? "").toLowerCase() === word,
  group: (row, word) => (store.groupOf(row) ?? "").toLowerCase() === word,
  program: (row, word) => row.program.toLowerCase() === word,
  pid: (row, word) => String(row.pid) === word,
};

/** Words, all of which must be found: of a name, a worker, a group, a reason; or state:fatal. */
export function matcher(text) {
  const tests = text.toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
    const not = word.length > 1 && word.startsWith("-");
    const bare = not ? word.slice(1) : word;
    const [, key, value] = /^(state|worker|group|program|pid):(.+)$/.exec(bare) ?? [];
    const has = key ? (row) => KEYS[key](row, value) : (row) =>
      row.name.includes(bare) || row.name.toLowerCase().includes(bare) || row.state.toLowerCase() === bare
      || (row.worker ?? "").toLowerCase().includes(bare) || (store.groupOf(row) ?? "").toLowerCase().includes(bare)
      || String(row.pid) === bare || (row.reason ?? "").toLowerCase().includes(bare)
      || (row.note ?? "").toLowerCase().includes(bare) || (row.stderr_line ?? "").toLowerCase().includes(bare);
    return not ? (row) => !has(row) : has;
  });
  return (row) => tests.every((test) => test(row));
}

/** What is shown, and how many there would be of each state. */
export function apply(filter, rows) {
  const matches = filter.q.trim() ? matcher(filter.q) : () => true;
  const counts = new Map();
  const shown = [];
  for (const row of rows) {
    if (filter.worker && row.worker !== filter.worker) continue;
    if (filter.group && (store.groupOf(row) ?? "-") !== filter.group) continue;
    if (!matches(row)) continue;
    counts.set(row.state, (counts.get(row.state) ?? 0) + 1);
    if (filter.states.size === 0 || filter.states.has(row.state)) shown.push(row);
  }
  return { shown, counts };
}
