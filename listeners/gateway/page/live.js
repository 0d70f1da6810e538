// The live stream: what changes is heard once, and everything is asked anew only where something was
// missed.

import { get, stream } from "./api.js";
import { store } from "./store.js";

/** How long a first stream may take to open before everything is asked for without it. */
const OPEN_MS = 400;
/** A page that nobody looks at closes its stream after so long: browsers allow six at once. */
const HIDDEN_MS = 30_000;
/** How long it waits before it tries again, when the gateway is gone. */
const AGAIN_MS = 1_000;

let source = null;
let hiding = 0;
let again = 0;
let loading = null;
let missed = [];

/** Asks for everything. What is heard meanwhile is applied afterwards. */
function load() {
  loading ??= (async () => {
    missed = [];
    try {
      const [me, rows, programs, workers] = await Promise.all([
        get("/me").then((me) => { store.setMe(me); return me; }),
        get("/instances"), get("/programs"), get("/workers"),
      ]);
      store.setPrograms(programs);
      store.setRows(rows);
      store.setWorkers(workers);
      loading = null;
      for (const apply of missed.splice(0)) apply();
      return me;
    } catch (error) {
      loading = null;
      if (error.code !== 401) setTimeout(load, AGAIN_MS);
      return null;
    }
  })();
  return loading;
}

const heard = (apply) => { if (loading) missed.push(apply); else apply(); };

let asking = 0;
function programs() {
  // Many may change at once.
  asking ||= setTimeout(async () => {
    asking = 0;
    try { store.setPrograms(await get("/programs")); } catch { /* the next change asks again */ }
  }, 100);
}

function open() {
  source = new EventSource(stream("/stream"));
  const on = (name, act) => source.addEventListener(name, (message) => {
    const value = JSON.parse(message.data);
    heard(() => act(value));
  });
  let opened = false;
  const late = setTimeout(() => { if (!opened && !store.loaded) load(); }, OPEN_MS);
  source.addEventListener("open", () => {
    opened = true;
    clearTimeout(late);
    store.setLink("live");
    // What was asked for before the stream was open may be older than what it tells first.
    if (loading) loading.then(load); else load();
  });
  source.addEventListener("error", () => {
    store.setLink("lost");
    // It tries again by itself, unless it was refused: then it is asked why.
    if (source?.readyState === EventSource.CLOSED) {
      close();
      again = setTimeout(async () => { open(); try { store.setMe(await get("/me")); } catch { /* it said so */ } }, AGAIN_MS);
    }
  });
  on("rows", ({ changed, gone }) => store.changeRows(changed, gone));
  on("workers", (workers) => store.setWorkers(workers));
  on("programs", programs);
  on("event", (event) => store.event(event));
  on("silent", ({ silent }) => store.setSilent(silent));
  on("reset", load);
}

function close() {
  source?.close();
  source = null;
  clearTimeout(again);
}

/** Begins, and goes on for ever. */
export function live() {
  open();
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) {
      hiding = setTimeout(() => { close(); store.setLink("opening"); }, HIDDEN_MS);
    } else if (!source) open();
  });
  // A page that leaves says so, and one that comes out of the browser's cache begins anew.
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted && !source) open(); });
}
