// Who is behind the page can be away: it says so, and is right again by itself.

import { spawn } from "node:child_process";

import { accessible, assert, browse, dsbus, open, shot, stateIs, until, url } from "./browser.mjs";

const banner = (page, part) => until(page, `the banner to say ${part}`, (wanted) => {
  const node = document.getElementById("banner");
  return wanted === "" ? node.hidden : !node.hidden && node.textContent.includes(wanted);
}, part);
const scheduler = Number(process.env.DSBUS_SCHEDULER_PID);
let again = null;

try {
  await browse(async (browser) => {
    const page = await open(browser, "/", { allowed: (text) => /ERR_(CONNECTION|INCOMPLETE|EMPTY|NETWORK)|50[23]/.test(text) });
    await stateIs(page, "web:0", "Running");

    // No scheduler answers.
    process.kill(scheduler, "SIGSTOP");
    const asking = setInterval(() => dsbus("emit", "hello", "there").catch(() => {}), 500);
    await banner(page, "No scheduler answers");
    clearInterval(asking);
    await accessible(page);
    await shot(page, "silent");
    process.kill(scheduler, "SIGCONT");
    await banner(page, "");

    // The gateway is gone, and comes back: what was missed meanwhile is there.
    process.kill(Number(process.env.DSBUS_GATEWAY_PID), "SIGKILL");
    await banner(page, "The gateway does not answer");
    assert.equal(await page.textContent("#link"), "Reconnecting");
    await shot(page, "lost");
    await dsbus("stop", "web:0");
    const words = ["--nats", process.env.DSBUS_NATS, "gateway", "--listen", url.replace("http://", "")];
    again = spawn(process.env.DSBUS_BIN, words, { stdio: "ignore" });
    await stateIs(page, "web:0", "Stopped");
    await banner(page, "");
    await dsbus("start", "web:0");
    await stateIs(page, "web:0", "Running");
    page.complaints();
  });
} finally {
  process.kill(scheduler, "SIGCONT");
  again?.kill("SIGKILL");
}
