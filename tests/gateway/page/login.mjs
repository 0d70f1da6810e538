// Who is let in, and what he may do.

import { accessible, assert, browse, dsbus, open, shot, stateIs, until, url } from "./browser.mjs";

const login = async (page, user, password) => {
  await page.fill("#user", user);
  await page.fill("#password", password);
  await page.keyboard.press("Enter");
};
const posts = (page, headers) => page.evaluate(async (given) =>
  (await fetch("/api/v1/act", { method: "POST", headers: { "content-type": "application/json", ...given }, body: JSON.stringify({ verb: "stop", names: ["web"] }) })).status, headers);

await browse(async (browser) => {
  const context = () => browser.newContext({ viewport: { width: 1280, height: 860 } });
  const refused = (text) => /40[13]/.test(text);

  // A page that is asked for by its address waits behind the login.
  const ann = await open(browser, "/instances/web:0", { context: await context(), allowed: refused });
  await ann.waitForURL(/\/login\?next=/);
  await accessible(ann);
  await login(ann, "ann", "wrong");
  await until(ann, "it to say that it was wrong", () => !document.getElementById("wrong").hidden);
  await shot(ann, "login-wrong");
  await login(ann, "ann", "thepassword");
  await until(ann, "the page that was asked for", () => location.pathname === "/instances/web:0" && document.querySelector(".title .badge")?.textContent === "Running");

  // She acts with her page's token; without it, or with another's, nothing happens.
  await ann.goto(`${url}/`);
  await stateIs(ann, "web:0", "Running");
  const token = await ann.evaluate(() => window.dsbus.store.me.token);
  assert.equal(await posts(ann, {}), 403);
  assert.equal(await posts(ann, { "x-csrf-token": `${token}x` }), 403);
  assert.equal(await ann.textContent('.line.row[data-name="web:0"] .word'), "Running");
  await ann.locator('.line.row[data-name="web:0"]').hover();
  await ann.locator('.line.row[data-name="web:0"] .acts button[title=Stop]').click();
  await ann.locator("dialog[open] button[value=yes]").click();
  await stateIs(ann, "web:0", "Stopped");

  // He looks, and cannot act: neither by what he sees nor behind its back.
  const bob = await open(browser, "/", { context: await context(), allowed: refused });
  await login(bob, "bob", "guest");
  await stateIs(bob, "web:0", "Stopped");
  await accessible(bob);
  await until(bob, "his role", () => document.getElementById("me").textContent.includes("looks only"));
  assert.equal(await bob.locator(".acts button:visible, .bulk:visible, .check input:visible").count(), 0);
  await bob.keyboard.press("j");
  await bob.keyboard.press("s");
  await until(bob, "it to say why not", () => document.querySelector(".toast")?.textContent.includes("not act"));
  const his = await bob.evaluate(() => window.dsbus.store.me.token);
  assert.equal(await posts(bob, { "x-csrf-token": his }), 403);
  await bob.goto(`${url}/instances/web:0`);
  await until(bob, "the instance", () => document.querySelector(".title .badge")?.textContent === "Stopped");
  assert.equal(await bob.locator(".does .button:visible, .log .danger:visible").count(), 0);
  await bob.goto(`${url}/workers`);
  await bob.waitForSelector(".line.worker .name");
  assert.equal(await bob.locator(".acts .button:visible").count(), 0);
  await shot(bob, "viewer");
  // What others do is seen by him, too.
  await bob.goto(`${url}/`);
  await dsbus("start", "web:0");
  await stateIs(bob, "web:0", "Running");

  // Who leaves is outside.
  await ann.locator("#out button").click();
  await ann.waitForURL("**/login");
  await ann.goto(`${url}/workers`);
  await ann.waitForURL(/\/login\?next=\/workers/);
  ann.complaints();
  bob.complaints();
});
