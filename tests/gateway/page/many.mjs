// 10,000 rows stay usable: only what is seen exists, and a flood of changes costs frames, not minutes.

import { accessible, assert, browse, lists, open, says, shot, until } from "./browser.mjs";

const ROWS = 10_000;
const STATES = ["RUNNING", "RUNNING", "RUNNING", "RUNNING", "RUNNING", "RUNNING", "STARTING", "BACKOFF", "FATAL", "STOPPED"];

const wanted = { run: true, starts: 0, restarts: 0, reloads: 0 };
const row = (n) => {
  const program = `service-${String(Math.floor(n / 50)).padStart(3, "0")}`;
  const state = STATES[Math.floor(n / 7) % STATES.length];
  return {
    name: `${program}:${n % 50}`, id: "01978f5e-7c00-7a10-8000-0123456789ab", program, index: n % 50, state, statecode: 0,
    worker: `w${n % 40}`, pid: state === "RUNNING" ? 1000 + n : null, epoch: 1, revision: 1, since: new Date(Date.now() - n * 1000).toISOString(),
    restarts: n % 3, exit: null, reason: state === "FATAL" ? "failed to start 3 times" : null, spawnerr: null, stderr_line: null,
    stdout_logfile: null, stderr_logfile: null, wanted, acted: wanted, ok: state !== "FATAL" && state !== "BACKOFF",
  };
};
const rows = Array.from({ length: ROWS }, (_, n) => row(n));
const programs = Array.from({ length: ROWS / 50 }, (_, n) => ({
  name: `service-${String(n).padStart(3, "0")}`, id: "01978f5e-7c00-7a10-8000-0123456789ab", revision: 1, group: `group-${n % 12}`, numprocs: 50, command: "serve",
  autostart: true, removing: false, rollout: null,
}));

const given = (value) => (route) => route.fulfill({ contentType: "application/json", body: JSON.stringify(value) });

await browse(async (browser) => {
  for (const [device, options] of [
    ["desktop", { viewport: { width: 1280, height: 860 } }],
    ["phone", { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, colorScheme: "dark" }],
  ]) {
    const context = await browser.newContext(options);
    await context.route("**/api/v1/instances", given(rows));
    await context.route("**/api/v1/programs", given(programs));
    const page = await open(browser, "/", { context });
    await until(page, "all of them", (n) => window.dsbus.store.rows.size === n && document.querySelectorAll(".line.row").length > 0, ROWS);
    const nodes = () => page.locator(".line").count();
    assert.ok(await nodes() < 120, `${await nodes()} lines exist`);
    await accessible(page);
    await shot(page, `many-${device}`);

    // To the end, and back to the middle: there is always something to see.
    for (const share of [1, 0.5, 0.25]) {
      await page.$eval("main", (main, part) => { main.scrollTop = main.scrollHeight * part; }, share);
      await until(page, "rows there", () => {
        const box = document.querySelector("main").getBoundingClientRect();
        const middle = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
        return middle?.closest(".line") !== null;
      });
      assert.ok(await nodes() < 160, `${await nodes()} lines exist`);
    }
    // Half a second of changes, 500 rows in each frame: how long the frames were is told, not judged.
    const frames = await page.evaluate(() => new Promise((resolve) => {
      const { store } = window.dsbus;
      const all = [...store.rows.values()];
      const times = [];
      let last = performance.now();
      let at = 0;
      const step = () => {
        const now = performance.now();
        times.push(now - last);
        last = now;
        if (times.length > 30) { resolve(times.slice(1).sort((a, b) => a - b)); return; }
        const some = Array.from({ length: 500 }, () => ({ ...all[(at += 7) % all.length], state: at % 2 ? "STARTING" : "RUNNING", since: new Date().toISOString() }));
        store.changeRows(some, []);
        requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
    }));
    console.log(`${device}: 500 of ${ROWS} rows change in each frame: ${frames[15].toFixed(1)} ms a frame (median), ${frames.at(-1).toFixed(1)} at most`);
    await page.$eval("main", (main) => { main.scrollTop = 0; });
    await page.fill("#search", "service-199:4");
    await lists(page, ["service-199:4", ...Array.from({ length: 10 }, (_, n) => `service-199:4${n}`)]);
    await page.fill("#search", "");
    if (device === "desktop") {
      await page.keyboard.press("Escape");
      await page.keyboard.press("End");
      await until(page, "the last row", () => document.querySelector(".line.cursor .name")?.textContent.endsWith(":49"));
      await page.keyboard.press("a");
      await says(page, ".bulk .words", "10,000 selected");
    }
    page.complaints();
    await context.close();
  }
});
