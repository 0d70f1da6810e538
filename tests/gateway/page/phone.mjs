// On a phone rows have no buttons of their own: they are selected, and the bar acts.

import { accessible, assert, browse, line, open, says, shot, stateIs, until } from "./browser.mjs";

/** What a thumb hits, in px. */
const THUMB = 44;

await browse(async (browser) => {
  const device = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };
  const page = await open(browser, "/", device);
  await stateIs(page, "api:0", "Running");
  await stateIs(page, "web:0", "Running");
  const bar = page.locator(".bulk");
  assert.equal(await bar.isVisible(), false);
  await line(page, "web:0").locator(".check").tap();
  await bar.waitFor();
  await says(page, ".bulk .words", "1");
  // All of them fit, and each can be hit.
  const buttons = await bar.locator("button").all();
  assert.equal(buttons.length, 6);
  for (const button of buttons) {
    const { x, y, width, height } = await button.boundingBox();
    const what = `${await button.innerHTML()}: ${x} ${y} ${width} ${height}`;
    assert.ok(width >= THUMB && height >= THUMB && x >= 0 && x + width <= 360 && y + height <= 740, what);
  }
  await accessible(page);
  await shot(page, "phone-selected");
  await bar.getByRole("button", { name: "Stop", exact: true }).tap();
  await shot(page, "phone-asks");
  await page.locator("dialog[open] button[value=yes]").tap();
  await stateIs(page, "web:0", "Stopped");
  await stateIs(page, "api:0", "Running");
  await until(page, "nothing to be selected", () => document.querySelector(".bulk").hidden);
  // A whole program by its head.
  await page.locator('.line.program[data-name="web"] .check').tap();
  await says(page, ".bulk .words", "2");
  await bar.getByRole("button", { name: "Start", exact: true }).tap();
  await stateIs(page, "web:0", "Running");
  page.complaints();
});
