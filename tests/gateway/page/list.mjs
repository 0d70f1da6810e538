// The page of all instances: live changes, search and filters, bulk actions, keys.

import { accessible, assert, browse, contrast, dsbus, line, lists, open, says, shot, stateIs, until } from "./browser.mjs";

const ALL = ["api:0", "api:1", "api:2", "cold:0", "web:0", "web:1"];
const focused = (page) => page.$eval(".line.cursor", (one) => one.dataset.name);
const cursor = (page, name) => until(page, `the cursor to be at ${name}`, (wanted) => document.querySelector(".line.cursor")?.dataset.name === wanted, name);
const yes = (page) => page.locator("dialog[open] button[value=yes]").click();

await browse(async (browser) => {
  const page = await open(browser, "/");
  await lists(page, ALL);
  await stateIs(page, "web:0", "Running");
  await stateIs(page, "cold:0", "Stopped");
  await says(page, "#link", "Live");
  await accessible(page);

  // A change is seen without a reload. How soon is measured by the page, and told.
  await page.evaluate(() => { window.here = true; });
  await dsbus("stop", "web:0");
  const seen = await page.evaluate(() => new Promise((resolve) => {
    const look = () => {
      const word = document.querySelector('.line.row[data-name="web:0"] .word').textContent;
      if (word === "Stopped") resolve(Date.now() - Date.parse(window.dsbus.store.rows.get("web:0").since));
      else requestAnimationFrame(look);
    };
    look();
  }));
  console.log(`a stop was seen ${seen} ms after it was so, or when it was looked for`);
  await page.evaluate(() => {
    window.seen = null;
    new MutationObserver((_, observer) => {
      const row = window.dsbus.store.rows.get("web:0");
      if (document.querySelector('.line.row[data-name="web:0"] .word').textContent !== "Running") return;
      window.seen = Date.now() - Date.parse(row.since);
      observer.disconnect();
    }).observe(document.querySelector(".lines"), { subtree: true, childList: true, characterData: true });
  });
  await dsbus("start", "web:0");
  await until(page, "the start to be seen", () => window.seen !== null);
  console.log(`a start was seen ${await page.evaluate(() => window.seen)} ms after it was so`);
  assert.equal(await page.evaluate(() => window.here), true);

  // What runs counts its seconds.
  const up = await line(page, "web:0").locator(".up").textContent();
  await until(page, "the time to go on", (before) => document.querySelector('.line.row[data-name="web:0"] .up').textContent !== before, up);

  // What is declared and removed comes and goes.
  await dsbus("create", "new", "--startsecs", "0", "--", "sleep", "1000");
  await lists(page, [...ALL, "new:0"]);
  await dsbus("remove", "new");
  await lists(page, ALL);

  // Search and filters; the address says them.
  await page.keyboard.press("/");
  await page.keyboard.type("api");
  await lists(page, ["api:0", "api:1", "api:2"]);
  await page.waitForURL(/\?q=api$/);
  await page.keyboard.type(":1");
  await lists(page, ["api:1"]);
  await page.fill("#search", "state:stopped");
  await lists(page, ["cold:0"]);
  await page.fill("#search", "-api -cold");
  await lists(page, ["web:0", "web:1"]);
  await page.fill("#search", "nothing-like-this");
  await page.locator(".empty button").click();
  await lists(page, ALL);
  await page.locator(".chip.STOPPED").click();
  await lists(page, ["cold:0"]);
  await page.waitForURL(/\?state=STOPPED$/);
  await page.locator(".chip.STOPPED").click();
  await says(page, ".chip.RUNNING b", "5");
  await page.selectOption("select[aria-label=Group]", "shop");
  await lists(page, ["api:0", "api:1", "api:2", "web:0", "web:1"]);
  await page.selectOption("select[aria-label=Group]", "");
  const worker = await line(page, "web:1").locator(".worker").textContent();
  await page.selectOption("select[aria-label=Worker]", worker);
  await until(page, "only that worker", (wanted) =>
    [...document.querySelectorAll(".line.row .worker")].every((one) => one.textContent === wanted), worker);
  await page.reload();
  await page.waitForSelector(".line.row");
  await until(page, "the worker to be chosen again", (wanted) => document.querySelector("select[aria-label=Worker]")?.value === wanted, worker);
  await page.selectOption("select[aria-label=Worker]", "");
  await lists(page, ALL);

  // Folding: a program takes its instances away.
  await page.locator('.line.program[data-name="api"] .fold').click();
  await lists(page, ["cold:0", "web:0", "web:1"]);
  await page.locator('.line.program[data-name="api"] .fold').click();
  await lists(page, ALL);

  // Bulk: a program by its head, and one more.
  await page.locator('.line.program[data-name="api"] .check input').check();
  await line(page, "web:1").locator(".check input").check();
  await says(page, ".bulk .words", "4 selected");
  await shot(page, "list-selected");
  await page.locator(".bulk button", { hasText: "Stop" }).click();
  assert.match(await page.textContent("dialog h2"), /Stop 4 instances\?/);
  await accessible(page);
  await shot(page, "list-asks");
  await page.locator("dialog[open] button[value=no]").click();
  await page.waitForSelector("dialog", { state: "detached" });
  assert.equal(await line(page, "web:1").locator(".word").textContent(), "Running");
  await page.locator(".bulk button", { hasText: "Stop" }).click();
  await yes(page);
  for (const name of ["api:0", "api:1", "api:2", "web:1"]) await stateIs(page, name, "Stopped");
  assert.equal(await line(page, "web:0").locator(".word").textContent(), "Running");
  await until(page, "nothing to be selected", () => document.querySelector(".bulk").hidden);
  await page.locator('.line.program[data-name="api"] .check input').check();
  await page.locator(".bulk button", { hasText: "Disable" }).click();
  await yes(page);
  await until(page, "api:1 to be disabled", () => document.querySelector('.line.row[data-name="api:1"]').classList.contains("off"));
  await page.locator('.line.program[data-name="api"] .check input').check();
  await page.locator(".bulk button", { hasText: "Enable" }).click();
  await until(page, "api:1 to be enabled", () => !document.querySelector('.line.row[data-name="api:1"]').classList.contains("off"));

  // Keys alone: find it, start it, restart it, stop it, open it, come back.
  await page.keyboard.press("Escape");
  await page.keyboard.press("/");
  await page.keyboard.type("web:1");
  await lists(page, ["web:1"]);
  await page.keyboard.press("Enter");
  await page.keyboard.press("End");
  await cursor(page, "web:1");
  await page.keyboard.press("s");
  await stateIs(page, "web:1", "Running");
  const pid = await line(page, "web:1").locator(".pid").textContent();
  await page.keyboard.press("r");
  await page.waitForSelector("dialog[open]");
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog", { state: "detached" });
  assert.equal(await line(page, "web:1").locator(".pid").textContent(), pid);
  await page.keyboard.press("r");
  await page.waitForSelector("dialog[open]");
  await page.keyboard.press("Enter");
  await until(page, "another pid", (before) => {
    const now = document.querySelector('.line.row[data-name="web:1"]');
    return now.querySelector(".word").textContent === "Running" && now.querySelector(".pid").textContent !== before;
  }, pid);
  await page.keyboard.press("x");
  await page.waitForSelector("dialog[open]");
  await page.keyboard.press("Enter");
  await stateIs(page, "web:1", "Stopped");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/instances/web:1");
  await page.keyboard.press("Escape");
  await page.waitForURL("**/?q=web:1");
  await lists(page, ["web:1"]);
  await page.keyboard.press("Escape");
  await lists(page, ALL);
  await page.keyboard.press("Home");
  await until(page, "the cursor to be at the first line", () => document.querySelector(".line.cursor")?.getAttribute("aria-rowindex") === "1");
  const first = await focused(page);
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await until(page, "the cursor to go down", (before) => {
    const now = document.querySelector(".line.cursor");
    return now !== null && now.dataset.name !== before;
  }, first);
  await page.keyboard.press("k");
  await page.keyboard.press("k");
  await cursor(page, first);
  const ring = await page.$eval(".line.cursor", (one) => getComputedStyle(one).outlineStyle);
  assert.equal(ring, "solid", "the cursor is seen");
  await page.keyboard.press("a");
  await says(page, ".bulk .words", `${ALL.length} selected`);
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  await page.waitForSelector("dialog.help[open]");
  await accessible(page);
  await shot(page, "help");
  await page.keyboard.press("Escape");
  for (const [key, path] of [["w", "/workers"], ["r", "/rollouts"], ["e", "/events"], ["i", "/"]]) {
    await page.keyboard.press("g");
    await page.keyboard.press(key);
    await until(page, `to be at ${path}`, (wanted) => location.pathname === wanted, path);
  }
  await lists(page, ALL);

  // Both themes can be read, and the switch is remembered.
  for (const wanted of ["dark", "light"]) {
    // Without transitions: a colour that is on its way is neither.
    await page.emulateMedia({ colorScheme: wanted, reducedMotion: "reduce" });
    for (const selector of [".line.row .name", ".line.row .worker", ".shown", ".chip", ".columns span:nth-child(2)", ".tabs a:not([aria-current])"]) {
      const found = await contrast(page, selector);
      assert.ok(found >= 4.5, `${selector}, ${wanted}: a contrast of ${found.toFixed(1)}`);
    }
  }
  await page.keyboard.press("t");
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
  await page.reload();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
  page.complaints();
});
