// How soon a page is seen: node page.mjs URL INSTANCES ROUNDS. Prints JSON.
//
// Ours is compared with a static page that has the same instances in a table, with everything that is
// known of each, so that both have about as many bytes. Each is opened in a browser that keeps nothing.

import { createServer } from "node:http";
import { createRequire } from "node:module";

const { chromium } = createRequire(`${process.env.DSBUS_NODE_MODULES}/`)("playwright-core");
const [url, size, rounds] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];

const rows = await (await fetch(`${url}/api/v1/instances`)).json();
if (rows.length !== size) throw new Error(`${rows.length} of ${size} instances`);
const escape = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const cell = ([key, value]) => `<td>${key} ${escape(value !== null && typeof value === "object" ? JSON.stringify(value) : value)}</td>`;
const line = (row) => `<tr>${Object.entries(row).map(cell).join("")}</tr>`;
const floor = `<!doctype html><html lang="en"><meta charset="utf-8"><title>static</title>
<style>body{font:14px sans-serif}td{padding:4px 8px;border-bottom:1px solid #ddd;white-space:nowrap}</style>
<table>${rows.map(line).join("\n")}</table></html>`;
const server = createServer((request, answer) => {
  if (request.url !== "/") { answer.writeHead(204).end(); return; }
  answer.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(floor);
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const other = `http://127.0.0.1:${server.address().port}/`;

const browser = await chromium.launch({
  executablePath: process.env.DSBUS_CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

/** The first paint, and the frame after the first instance is there. */
async function open(address) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  const page = await context.newPage();
  let bytes = 0;
  const session = await context.newCDPSession(page);
  await session.send("Network.enable");
  session.on("Network.dataReceived", ({ dataLength }) => { bytes += dataLength; });
  await page.addInitScript(() => {
    window.seen = new Promise((resolve) => {
      const look = () => {
        // In the frame after the one in which it is there, it has been painted.
        if (document.querySelector(".line.row, tr")) requestAnimationFrame(() => resolve(performance.now()));
        else requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    });
  });
  await page.goto(address, { waitUntil: "commit" });
  const seen = await page.evaluate(() => window.seen);
  const first = await page.evaluate(() => new Promise((resolve) => {
    new PerformanceObserver((list) => {
      const paint = list.getEntriesByName("first-contentful-paint")[0];
      if (paint) resolve(paint.startTime);
    }).observe({ type: "paint", buffered: true });
  }));
  if (address === other) await page.waitForLoadState("load");
  await context.close();
  return { seen, first, bytes };
}

const told = { rows: [], first: [], floor: [], page_bytes: 0, floor_bytes: 0 };
// The first round warms up whatever both stand on.
for (let round = -1; round < rounds; round += 1) {
  const ours = await open(`${url}/`);
  const theirs = await open(other);
  if (round < 0) continue;
  told.rows.push(ours.seen);
  told.first.push(ours.first);
  told.floor.push(theirs.first);
  told.page_bytes = ours.bytes;
  told.floor_bytes = theirs.bytes;
}
await browser.close();
server.close();
process.stdout.write(JSON.stringify(told));
