// A headless browser, and what every script here needs. A script is given its gateway by DSBUS_PAGE,
// the binary by DSBUS_BIN, and the bus by DSBUS_NATS.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { promisify } from "node:util";

const { chromium } = createRequire(`${process.env.DSBUS_NODE_MODULES}/`)("playwright-core");

/** Generous: a busy machine with two cores runs several browsers at once. */
export const DEADLINE = 60_000;
export const url = process.env.DSBUS_PAGE;
const SHOTS = process.env.DSBUS_SCREENSHOTS;
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

/** Runs a verb of dsbus; what it prints. Fails as it does. */
export const dsbus = async (...words) =>
  (await promisify(execFile)(process.env.DSBUS_BIN, ["--nats", process.env.DSBUS_NATS, ...words])).stdout;

/** Opens a browser, and closes it after `use`, whatever comes of it. */
export async function browse(use) {
  const browser = await chromium.launch({ executablePath: process.env.DSBUS_CHROMIUM, args: FLAGS });
  try {
    await use(browser);
  } finally {
    await browser.close();
  }
}

/** A page at a path, which must not complain about anything: `complaints()` at its end. */
export async function open(browser, path, options = {}) {
  const context = options.context ?? await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE);
  const found = [];
  const allowed = options.allowed ?? (() => false);
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    const text = `${message.type()}: ${message.text()} (${message.location().url})`;
    if (!allowed(text)) found.push(text);
  });
  page.on("pageerror", (error) => found.push(`exception: ${error.stack}`));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  page.complaints = () => assert.deepEqual(found, []);
  await page.goto(url + path);
  return page;
}

/** Waits until something holds in the page. */
export const until = (page, what, test, arg) =>
  page.waitForFunction(test, arg, { timeout: DEADLINE }).catch(async (error) => {
    const text = await page.locator("body").innerText().catch(() => "");
    throw new Error(`${what}: ${error.message}\n${text.slice(0, 4000)}`);
  });

/** Waits until something says this and no more: what is shown follows what is done in a later frame. */
export const says = (page, selector, text) => until(page, `${selector} to say ${text}`, ([where, wanted]) =>
  document.querySelector(where)?.textContent === wanted, [selector, text]);

/** The line of an instance. */
export const line = (page, name) => page.locator(`.line.row[data-name="${name}"]`);

/** Waits until an instance's line says this state. */
export const stateIs = (page, name, word) => until(page, `${name} to be ${word}`, ([one, wanted]) =>
  document.querySelector(`.line.row[data-name="${one}"] .word`)?.textContent === wanted, [name, word]);

/** Waits until exactly these instances are listed. */
export const lists = (page, names) => until(page, `to list ${names}`, (wanted) =>
  JSON.stringify([...document.querySelectorAll(".line.row")].map((one) => one.dataset.name).sort()) === wanted, JSON.stringify([...names].sort()));

/** A picture, for people. */
export async function shot(page, name) {
  if (!SHOTS) return;
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: `${SHOTS}/${name}.png` });
}

/** What somebody who cannot see, or has no mouse, would miss. */
export async function accessible(page) {
  const missing = await page.evaluate(() => {
    const found = [];
    const seen = (node) => node.checkVisibility();
    const named = (node) => (node.getAttribute("aria-label") ?? "").trim() || node.getAttribute("title")?.trim()
      || node.textContent.trim() || [...(node.labels ?? [])].some((label) => label.textContent.trim());
    for (const node of document.querySelectorAll("button, a[href], input:not([type=hidden]), select, textarea, [role=img], [role=grid], [role=log], [role=progressbar], dialog")) {
      if (seen(node) && !named(node) && !node.getAttribute("aria-labelledby")) found.push(`no name: ${node.outerHTML.slice(0, 200)}`);
    }
    for (const node of document.querySelectorAll("svg")) {
      if (seen(node) && node.getAttribute("aria-hidden") !== "true" && node.getAttribute("role") !== "img") found.push(`a drawing that is read: ${node.outerHTML.slice(0, 120)}`);
    }
    const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
    for (const id of new Set(ids.filter((one, n) => ids.indexOf(one) !== n))) found.push(`two of id ${id}`);
    for (const node of document.querySelectorAll("[role=row]")) {
      if (!node.parentElement.closest("[role=grid]")) found.push("a row outside of a grid");
    }
    if (!document.documentElement.lang) found.push("no language");
    if (document.querySelectorAll("main").length !== 1) found.push("not one main");
    if ([...document.querySelectorAll("h1")].filter((one) => one.textContent.trim()).length !== 1) found.push("not one h1");
    if (document.documentElement.scrollWidth > innerWidth) found.push(`${document.documentElement.scrollWidth - innerWidth} px wider than the screen`);
    return found;
  });
  assert.deepEqual(missing, []);
}

/** Contrast of a text with what it stands on, as WCAG counts it. */
export const contrast = (page, selector) => page.$eval(selector, (node) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let below = node;
  while (below && rgb(getComputedStyle(below).backgroundColor)[3] === 0) below = below.parentElement;
  const [one, other] = [light(rgb(getComputedStyle(node).color)), light(rgb(getComputedStyle(below ?? document.body).backgroundColor))];
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
});

export { assert };
