// Pictures of every view, for people to look at: light and dark, on a desk and on a phone.

import { accessible, browse, open, shot, until } from "./browser.mjs";

const VIEWS = {
  instances: ["/", () => document.querySelectorAll(".line.row").length > 5],
  instance: ["/instances/web:0", () => document.querySelectorAll(".log .l").length > 5 && document.querySelectorAll(".past b").length > 0],
  fatal: ["/instances/cart:0", () => document.querySelectorAll(".past b").length > 0],
  pending: ["/instances/gpu:0", () => document.querySelectorAll(".verdicts li").length > 0],
  program: ["/programs/web", () => document.querySelectorAll(".revisions li").length > 0],
  workers: ["/workers", () => document.querySelectorAll(".line.worker .name").length === 3],
  worker: ["/workers/w1", () => document.querySelectorAll(".line.row").length > 0],
  rollouts: ["/rollouts", () => document.querySelector(".rollout") !== null],
  events: ["/events", () => document.querySelectorAll(".line.event").length > 10],
  login: ["/login", () => true],
};
const DEVICES = { desktop: { viewport: { width: 1280, height: 860 } }, phone: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true } };

await browse(async (browser) => {
  for (const [device, options] of Object.entries(DEVICES)) {
    for (const colorScheme of ["light", "dark"]) {
      const context = await browser.newContext({ ...options, colorScheme, reducedMotion: "reduce" });
      for (const [name, [path, ready]] of Object.entries(VIEWS)) {
        const page = await open(browser, path, { context });
        await until(page, `${name} to be there`, ready);
        if (device === "phone") {
          await page.setViewportSize({ width: 360, height: 740 });
          await accessible(page);
          await page.setViewportSize(options.viewport);
        }
        await shot(page, `${name}-${device}-${colorScheme}`);
        page.complaints();
        await page.close();
      }
      await context.close();
    }
  }
});
