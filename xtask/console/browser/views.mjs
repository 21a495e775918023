// Looks at every view: accessibility by axe, and pictures for the documentation.

import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { hands } from "./hands.mjs";
import { axe, base, browser, crowd, demand, open, signIn } from "./world.mjs";

const { CONSOLE_PICTURES } = process.env;
const SOURCE = readFileSync(axe, "utf8");

const views = (shop) => [
  ["sales", "/sale"],
  ["sale", `/sale/${shop.crowd.id}`],
  ["holds", `/holds?sku=${shop.ticket.sku}`],
  ["hold", `/holds/${shop.held[0].reservation_id}`],
  ["orders", "/orders"],
  ["order", `/orders/${shop.orders[1].id}`],
  ["payments", "/payments"],
  ["products", "/products"],
  ["product", `/products/${shop.ticket.id}`],
  ["new-product", "/products/new"],
  ["movements", "/movements"],
  ["suppliers", "/suppliers"],
  ["dead-letters", "/dead-letters"],
  ["settings", "/settings"],
  ["health", "/health"],
  ["audit", "/audit"],
];
/** What the README and the manual show. */
const PICTURES = {
  light: ["sale", "holds", "settings"],
  dark: ["sale"],
  phone: ["sale"],
};
const LOOKS = {
  light: { colorScheme: "light", viewport: { width: 1280, height: 900 } },
  dark: { colorScheme: "dark", viewport: { width: 1280, height: 900 } },
  phone: { colorScheme: "light", viewport: { width: 390, height: 844 } },
};

/** What axe calls serious or critical; as it cannot be added to the page under its policy, it runs beside it. */
async function findings(page) {
  await page.evaluate(SOURCE);
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document));
  demand("axe looked at the page", passes.some(({ id }) => id === "color-contrast"));
  return violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, help, nodes }) => `${id}: ${help}\n    ${nodes.map(({ html, failureSummary }) => `${html}\n      ${failureSummary}`).slice(0, 3).join("\n    ")}`);
}

async function settled(page) {
  await page.locator("h1").first().waitFor();
  await page.locator(".skeleton").first().waitFor({ state: "detached" });
  await page.evaluate(() => document.fonts.ready);
  await page.evaluate(() => Promise.all(document.getAnimations().map((one) => one.finished.catch(() => {}))));
}

/** A question, and what the service refuses in it. */
async function questioned(page, shop) {
  const { press, answer, besides, dialog } = hands(page);
  await open(page, `/holds/${shop.held[0].reservation_id}`);
  await settled(page);
  await press("Extend");
  await answer("Extend", { Seconds: "0" });
  await besides(dialog.getByLabel("Seconds"), "a whole number", "0");
  await settled(page);
}

export async function lookAtAll(shop) {
  mkdirSync(CONSOLE_PICTURES, { recursive: true });
  const wrong = [];
  for (const [look, options] of Object.entries(LOOKS)) {
    const { page, faults, close } = await browser(options);
    const load = crowd(shop.crowd.sku, 25);
    try {
      await open(page, "/sale");
      await page.getByLabel("Password").waitFor();
      wrong.push(...(await findings(page)).map((one) => `sign-in, ${look}: ${one}`));
      await signIn(page, `ada${shop.tail}`);
      await page.locator(".shell").waitFor();
      for (const [name, path] of views(shop)) {
        await open(page, path);
        await settled(page);
        const refused = await page.locator(".refused").allInnerTexts();
        if (refused.length) wrong.push(`${name}, ${look}: it shows ${refused}`);
        wrong.push(...(await findings(page)).map((one) => `${name}, ${look}: ${one}`));
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (wide > 0) wrong.push(`${name}, ${look}: it is ${wide} pixels wider than the window`);
        if (process.env.CONSOLE_ALL_PICTURES) await page.screenshot({ path: join(CONSOLE_PICTURES, `${name}-${look}.png`) });
      }
      await questioned(page, shop);
      wrong.push(...(await findings(page)).map((one) => `a question, ${look}: ${one}`));
      for (const name of PICTURES[look]) {
        await open(page, views(shop).find(([one]) => one === name)[1]);
        await settled(page);
        if (name === "sale") await page.waitForTimeout(4_000);
        await page.screenshot({ path: join(CONSOLE_PICTURES, `${name}-${look}.png`) });
      }
      wrong.push(...faults.map((one) => `${look}: ${one}`));
    } finally {
      load.kill();
      await close();
    }
  }
  demand(`every view is as it must be:\n${wrong.join("\n")}`, wrong.length === 0);
}
