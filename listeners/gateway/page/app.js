// The page: where one is, what is pressed, and what holds on every page.

import { logout } from "./api.js";
import { help } from "./dialog.js";
import { button, icon, isTyping, put, setAttribute, setText } from "./dom.js";
import { live } from "./live.js";
import { store } from "./store.js";
import { events } from "./views/events.js";
import { instance } from "./views/instance.js";
import { instances } from "./views/instances.js";
import { program } from "./views/program.js";
import { rollouts } from "./views/rollouts.js";
import { worker, workers } from "./views/workers.js";

const main = document.getElementById("main");
const ROUTES = [
  [/^\/$/, instances], [/^\/instances\/([^/]+)$/, instance], [/^\/programs\/([^/]+)$/, program],
  [/^\/workers$/, workers], [/^\/workers\/([^/]+)$/, worker], [/^\/rollouts$/, rollouts], [/^\/events$/, events],
];
/** How long the stream may be away before it is told: a reconnect is not worth a word. */
const LOST_MS = 1_500;

let view = null;

function show(back) {
  view?.end();
  const [found, make] = ROUTES.map(([pattern, one]) => [pattern.exec(location.pathname), one]).find(([match]) => match)
    ?? [["", ""], instances];
  main.className = "";
  main.scrollTop = 0;
  let params = found.slice(1);
  try { params = params.map(decodeURIComponent); } catch { /* it stays as it is */ }
  view = make({ main, params, query: location.search, hash: location.hash, back });
  main.dataset.view = make.name;
  title();
  for (const link of document.querySelectorAll("[data-nav]")) {
    setAttribute(link, "aria-current", link.dataset.nav === view.nav ? "page" : null);
  }
}

function title() {
  const fatal = [...store.rows.values()].filter((row) => row.state === "FATAL").length;
  document.title = `${fatal > 0 ? `(${fatal} fatal) ` : ""}${view.title} · ${store.me?.fleet && store.me.fleet !== "default" ? `${store.me.fleet} · ` : ""}dsbus`;
}

/** Goes to a page of this one. */
function go(path) {
  if (view?.keep) history.replaceState({ ...history.state, ...view.keep() }, "");
  history.pushState({ depth: (history.state?.depth ?? 0) + 1 }, "", path);
  show(null);
  main.focus({ preventScroll: true });
}

/** Back to where one came from, or to this. */
function back(path) {
  if ((history.state?.depth ?? 0) > 0) history.back(); else go(path);
}
Object.assign(window.dsbus, { go, back });

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.target || link.hasAttribute("download") || link.origin !== location.origin || link.pathname.startsWith("/api/")) return;
  if (link.getAttribute("href").startsWith("#")) return;
  event.preventDefault();
  go(link.pathname + link.search + link.hash);
});
addEventListener("popstate", (event) => show(event.state));

let leader = 0;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (document.querySelector("dialog[open]") || document.querySelector("[popover]:popover-open")) return;
  if (isTyping(event.target)) return;
  const onControl = event.target.closest?.("button, a, summary");
  if (onControl && (event.key === "Enter" || event.key === " ")) return;
  if (Date.now() - leader < 1_000) {
    leader = 0;
    const path = { i: "/", w: "/workers", r: "/rollouts", e: "/events" }[event.key];
    if (path) { event.preventDefault(); go(path); return; }
  }
  if (event.key === "g") { leader = Date.now(); return; }
  if (event.key === "?") { event.preventDefault(); help(); return; }
  if (event.key === "t") { turn(); return; }
  if (view.key(event)) event.preventDefault();
});

const THEMES = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };
const themer = document.getElementById("theme");
const theme = () => document.documentElement.dataset.theme ?? "auto";
function turn() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const order = dark ? ["auto", "light", "dark"] : ["auto", "dark", "light"];
  const next = order[(order.indexOf(theme()) + 1) % order.length];
  if (next === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = next;
  try { if (next === "auto") localStorage.removeItem("dsbus.theme"); else localStorage.setItem("dsbus.theme", next); } catch { /* it holds until the page is left */ }
  showTheme();
}
function showTheme() {
  put(themer, icon({ auto: "auto", light: "sun", dark: "moon" }[theme()]));
  themer.title = THEMES[theme()];
  themer.setAttribute("aria-label", THEMES[theme()]);
}
themer.addEventListener("click", turn);
showTheme();
document.getElementById("help").addEventListener("click", help);

let lostTimer = 0;
const banner = document.getElementById("banner");
const link = document.getElementById("link");
store.watch(["link"], () => {
  clearTimeout(lostTimer);
  const say = () => {
    const lost = store.link === "lost";
    link.className = `link ${lost ? "lost" : store.silent ? "silent" : store.link}`;
    setText(link.lastElementChild, lost ? "Reconnecting" : store.silent ? "Silent" : store.link === "live" ? "Live" : "Connecting");
    const text = lost ? "The gateway does not answer. What you see is how it was; this page tries again by itself."
      : store.silent ? `No scheduler answers: ${store.silent}. What you see may be old, and nothing can be changed.` : "";
    banner.hidden = text === "";
    put(banner, icon("backoff"), text);
  };
  if (store.link === "lost") lostTimer = setTimeout(say, LOST_MS); else say();
});
store.watch(["me"], () => {
  const me = document.getElementById("me");
  const { user, role, token, fleet, version } = store.me;
  setText(document.getElementById("fleet"), fleet === "default" ? "" : fleet);
  document.getElementById("brand").title = `dsbus ${version}`;
  put(me, role === "viewer" ? [icon("eye"), " "] : null, user, role === "viewer" ? " (looks only)" : "");
  const out = document.getElementById("out");
  out.hidden = token === null;
  if (out.childElementCount === 0) put(out, button("out", "Log out", { class: "bare", title: "Log out", onclick: logout }));
  title();
});
store.watch(["rows"], title);

show(history.state);
live();
