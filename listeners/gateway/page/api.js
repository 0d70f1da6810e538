// Asking the gateway.

import { store } from "./store.js";

const BASE = "/api/v1";

/** What the gateway refused, and why. */
export class Refused extends Error {
  constructor(code, text, problems) {
    super(text);
    this.code = code;
    this.problems = problems;
  }
}

/** A part of a path. */
export const part = (name) => encodeURIComponent(name).replaceAll("%3A", ":");

async function ask(method, path, body) {
  const headers = { accept: "application/json" };
  if (method !== "GET" && store.me?.token) headers["x-csrf-token"] = store.me.token;
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(BASE + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Refused(0, "the gateway does not answer", []);
  }
  if (response.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    throw new Refused(401, "say who you are", []);
  }
  const text = await response.text();
  let value = null;
  try { value = text === "" ? null : JSON.parse(text); } catch { /* it is a sentence */ }
  if (response.ok) return value;
  const problems = value?.problems ?? [];
  const more = problems.map((one) => one.message ?? "").filter(Boolean).join("; ");
  const said = value?.error ?? (text.trim() || `HTTP ${response.status}`);
  throw new Refused(response.status, more && !said.includes(more) ? `${said}: ${more}` : said, problems);
}

export const get = (path) => ask("GET", path);
export const post = (path, body = {}) => ask("POST", path, body);

/** The address of a stream. */
export const stream = (path) => BASE + path;

/** A text that grows: no JSON. */
export async function text(path) {
  const response = await fetch(BASE + path);
  if (!response.ok) throw new Refused(response.status, (await response.text()).trim(), []);
  return response.text();
}

/** Ends the session. */
export async function logout() {
  await fetch("/logout", { method: "POST", headers: store.me?.token ? { "x-csrf-token": store.me.token } : {} });
  location.assign("/login");
}
