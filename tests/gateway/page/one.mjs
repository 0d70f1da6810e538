// The pages of an instance, a program, a worker; rollouts and events.

import { accessible, assert, browse, dsbus, open, shot, until } from "./browser.mjs";

const yes = (page) => page.locator("dialog[open] button[value=yes]").click();
const button = (page, name) => page.locator(".title .button", { hasText: name }).first();
const state = (page, word) => until(page, `the state ${word}`, (wanted) => document.querySelector(".title .badge")?.textContent === wanted, word);
const menu = async (page, name) => {
  await button(page, "More").click();
  await page.locator(".menu:popover-open .item", { hasText: name }).click();
};
const says = (page, part) => until(page, `the log to say ${part}`, (wanted) => document.querySelector(".log .text").textContent.includes(wanted), part);

await browse(async (browser) => {
  // An address of its own: it is opened as it is.
  const page = await open(browser, "/instances/talk:0");
  await state(page, "Running");
  await accessible(page);

  // Both streams, live.
  await says(page, "out ");
  await says(page, "err ");
  const last = () => page.$$eval(".log .l.stdout", (all) => Number(all.at(-1).textContent.split(" ")[1]));
  const before = await last();
  await until(page, "more output", (n) => Number([...document.querySelectorAll(".log .l.stdout")].at(-1).textContent.split(" ")[1]) > n, before);
  await page.selectOption(".log .choice", "stderr");
  await until(page, "only what is said to standard error", () => document.querySelectorAll(".log .l.stdout").length === 0
    && document.querySelector(".log .text").textContent.includes("err "));
  await page.selectOption(".log .choice", "both");
  await says(page, "out ");
  // Paused, nothing moves; then nothing is missing.
  await page.locator(".log .button", { hasText: "Pause" }).click();
  await until(page, "something to be held", () => document.querySelector(".log header .dim").textContent.includes("new"));
  const held = await last();
  await page.locator(".log .button", { hasText: "Resume" }).click();
  await until(page, "what was held", (n) => Number([...document.querySelectorAll(".log .l.stdout")].at(-1).textContent.split(" ")[1]) > n, held);
  const numbers = await page.$$eval(".log .l.stdout", (all) => all.map((one) => Number(one.textContent.split(" ")[1])));
  numbers.forEach((n, at) => assert.ok(at === 0 || n === numbers[at - 1] + 1, `${numbers[at - 1]}, then ${n}`));
  await page.locator(".log .search").fill("err ");
  await until(page, "something to be found", () => / of /.test(document.querySelector(".log .found").textContent));
  await until(page, "what was found to be shown", () => document.querySelectorAll(".log .l.hit.stderr").length === 1
    && CSS.highlights.get("found")?.size > 0);
  await page.locator(".log .search").fill("");
  await page.locator(".log .button", { hasText: "Wrap" }).click();
  assert.equal(await page.$eval(".log .l", (one) => getComputedStyle(one).whiteSpace), "pre");
  await page.locator(".log .button", { hasText: "Wrap" }).click();
  // However much is said, the page holds so much of it, and no more.
  const most = await page.evaluate(async () => {
    const { Log } = await import(document.querySelector('link[href$="/log.js"]').href);
    const log = new Log("talk:0");
    for (let n = 0; n < 30; n += 1) log.take("stdout", "a line\n".repeat(1000));
    log.draw();
    log.end();
    return [log.lines.length, log.view.childElementCount];
  });
  assert.ok(most[0] <= 5000 && most[1] <= 5000, `${most}`);

  // Why it is there, what it went through, what it is.
  await until(page, "an explanation", () => document.querySelectorAll(".verdicts li").length > 0);
  await until(page, "a history", () => document.querySelectorAll(".past li b").length > 0);
  await until(page, "its state and its revision", () => /Running/.test(document.querySelector(".side").textContent)
    && /Revision1/.test(document.querySelector(".facts").textContent));

  // Everything that can be done to it.
  const pid = await page.textContent(".tiles .tile:nth-child(3) b");
  await button(page, "Restart").click();
  await yes(page);
  await until(page, "another pid", (old) => /^\d+$/.test(document.querySelector(".tiles .tile:nth-child(3) b").textContent)
    && document.querySelector(".tiles .tile:nth-child(3) b").textContent !== old, pid);
  await state(page, "Running");
  await menu(page, "Send signal");
  await page.selectOption("dialog select", "USR1");
  await yes(page);
  await says(page, "heard USR1");
  await menu(page, "Clear log");
  await yes(page);
  await until(page, "an empty log", () => [...document.querySelectorAll(".toast")].some((one) => one.textContent.includes("is empty")));
  await button(page, "Stop").click();
  await yes(page);
  await state(page, "Stopped");
  await button(page, "Start").click();
  await state(page, "Running");
  await menu(page, "Disable");
  await yes(page);
  await until(page, "to be disabled", () => document.querySelector(".title .reason").textContent === "disabled");
  await menu(page, "Enable");
  await until(page, "to be enabled", () => document.querySelector(".title .reason").textContent !== "disabled");
  await button(page, "Start").click();
  await state(page, "Running");

  // What fails again and again can be told to stop, and to try again.
  await page.evaluate(() => window.dsbus.go("/instances/flaky:0"));
  await state(page, "Backoff");
  await shot(page, "instance-backoff");
  await button(page, "Stop").click();
  await yes(page);
  await state(page, "Stopped");
  await button(page, "Start").click();
  await state(page, "Backoff");
  await menu(page, "Clear log");
  await yes(page);
  await page.evaluate(() => window.dsbus.go("/instances/nobody:7"));
  await until(page, "it to say so", () => document.querySelector(".empty h2")?.textContent === "There is no instance nobody:7");

  // A program: its copies, and what it was before.
  await page.evaluate(() => window.dsbus.go("/programs/many"));
  await until(page, "two copies", () => document.querySelectorAll(".line.row").length === 2);
  await accessible(page);
  await button(page, "Scale").click();
  await page.fill("dialog input", "4");
  await yes(page);
  await until(page, "four copies", () => document.querySelectorAll(".line.row").length === 4);
  await until(page, "a second revision", () => document.querySelectorAll(".revisions li").length === 2);
  assert.match(await page.textContent(".revisions .current"), /#2.*numprocs/s);

  // A rollout that waits for a person.
  await dsbus("apply", "--no-wait", process.env.DSBUS_CHANGED);
  await until(page, "the rollout to wait", () => [...document.querySelectorAll(".rollout .button")].some((one) => one.textContent === "Promote"));
  await accessible(page);
  await shot(page, "program-rollout");
  await page.evaluate(() => window.dsbus.go("/rollouts"));
  const step = (name) => page.locator(".rollout .button", { hasText: name });
  await step("Pause").click();
  await until(page, "it to pause", () => document.querySelector(".rollout.paused") !== null);
  await shot(page, "rollout-paused");
  await step("Resume").click();
  await until(page, "it to go on", () => document.querySelector(".rollout.rolling") !== null);
  await step("Promote").click();
  await until(page, "it to be over", () => document.querySelector(".rollout") === null && document.querySelector(".empty") !== null);

  // A worker: what its machine is, and emptying it.
  await page.evaluate(() => window.dsbus.go("/workers"));
  await until(page, "two workers", () => document.querySelectorAll(".line.worker .name").length === 2);
  await accessible(page);
  await page.locator(".line.worker .name", { hasText: "w2" }).click();
  await page.waitForURL("**/workers/w2");
  await until(page, "its memory", () => / of .*iB/.test(document.querySelector(".tiles").textContent));
  await accessible(page);
  await button(page, "Cordon").click();
  await state(page, "Cordoned");
  await button(page, "Uncordon").click();
  await state(page, "Ready");
  await until(page, "its instances", () => document.querySelectorAll(".line.row").length > 0);
  await button(page, "Drain").click();
  await yes(page);
  await state(page, "Draining");
  await until(page, "it to be empty", () => document.querySelectorAll(".line.row").length === 0);
  await button(page, "Undrain").click();
  await state(page, "Ready");

  // Events: those before, those now, filters.
  await page.evaluate(() => window.dsbus.go("/events"));
  await until(page, "older ones", () => [...document.querySelectorAll(".line.event")].some((one) => one.textContent.includes("DRAINING")));
  await accessible(page);
  await dsbus("emit", "hello", "is anybody there");
  await until(page, "a new one", () => [...document.querySelectorAll(".line.event")].some((one) => one.textContent.includes("is anybody there")));
  await page.selectOption("select[aria-label=Kind]", "rollout");
  await until(page, "only rollouts", () => document.querySelectorAll(".line.event").length > 0
    && [...document.querySelectorAll(".line.event .kind")].every((one) => one.textContent === "rollout"));
  await page.selectOption("select[aria-label=Type]", "PAUSED");
  await until(page, "one pause", () => document.querySelectorAll(".line.event").length === 1);
  await page.waitForURL(/kind=rollout&type=PAUSED$/);
  await page.reload();
  await until(page, "one pause again", () => document.querySelectorAll(".line.event").length === 1);
  await page.locator(".line.event").click();
  await page.waitForSelector("dialog[open] pre");
  await accessible(page);
  await page.keyboard.press("Escape");
  await page.selectOption("select[aria-label=Kind]", "");
  await page.selectOption("select[aria-label=Type]", "");
  await page.fill(".search", "flaky:0");
  await until(page, "only flaky:0", () => document.querySelectorAll(".line.event").length > 0
    && [...document.querySelectorAll(".line.event .subject")].every((one) => one.textContent === "flaky:0"));
  page.complaints();

  // What it uses is drawn; where there are no samples yet, it says so.
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  let samples = [];
  await context.route("**/usage", (route) => route.fulfill({ contentType: "application/json", body: JSON.stringify({ samples }) }));
  const drawn = await open(browser, "/instances/talk:0", { context });
  await until(drawn, "no samples", () => document.querySelectorAll(".plot .none").length === 2 && document.querySelector(".plot .none").checkVisibility());
  const at = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();
  samples = [[30, 0.5, 1 << 20], [20, 1.5, 3 << 20], [10, null, 3 << 20], [0, 0.25, 2 << 20]].map(([ago, cpu, memory]) => ({ at: at(ago), cpu, memory }));
  await until(drawn, "both plots", () => [...document.querySelectorAll(".plot .now")].map((one) => one.textContent).join() === "0.25 cores,2.0 MiB");
  assert.equal(await drawn.$$eval(".plot .curve", (all) => all.filter((one) => /^M[\d.]+ [\d.]+L/.test(one.getAttribute("d"))).length), 2);
  await drawn.locator(".plot svg").first().hover({ position: { x: 5, y: 20 } });
  await until(drawn, "what there was then", () => /^0.50 cores at /.test(document.querySelector(".plot .at").textContent));
  await accessible(drawn);
  drawn.complaints();
});
