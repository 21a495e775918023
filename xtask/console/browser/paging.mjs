// A product with many holds, looked at page by page.

import { api, demand, many, open, until } from "./world.mjs";

const HOLDS = 5_000;
/** Rows of a page. */
const ROWS = 50;

export async function paging({ page, shop, press, answer, toasted, rows, gone }) {
  const item = await shop.product(shop.admin, "MANY", "Wanted by many", HOLDS * 2, { hold_ttl_seconds: 900 });
  many(item.sku, HOLDS);
  const all = rows("Holds");
  const ids = () => all.locator("td:first-child .mono").evaluateAll((cells) => cells.map(({ title }) => title));
  const at = (number) => page.locator(".pager").getByText(`Page ${number}`, { exact: true }).waitFor();
  await open(page, `/holds?sku=${item.sku}`);
  await at(1);
  const seen = [await ids()];
  for (let number = 2; number <= 5; number++) {
    await press("Next");
    await at(number);
    seen.push(await ids());
  }
  demand("each page is full, and no longer", seen.every(({ length }) => length === ROWS));
  demand("no hold comes twice", new Set(seen.flat()).size === ROWS * seen.length);
  // Whoever presses faster than the service answers is not lost.
  await press("Previous");
  await at(4);
  demand("the page before is the same", JSON.stringify(await ids()) === JSON.stringify(seen[3]));
  const [first, second] = seen[3];
  const read = (id) => api("GET", `/api/reservations/${id}`, shop.storefront);
  const row = (id) => all.filter({ has: page.locator(`[title="${id}"]`) });
  const was = await read(first);
  await row(first).getByRole("button", { name: /^Extend/ }).click();
  await answer("Extend", { Seconds: "60" });
  await gone();
  await toasted("The hold was extended.");
  const now = await read(first);
  demand(`it has a minute more: ${was.expires_at}, ${now.expires_at}`, Date.parse(now.expires_at) - Date.parse(was.expires_at) === 60_000);
  await row(second).getByRole("button", { name: /^Release/ }).click();
  await answer("Release");
  await gone();
  await toasted("The hold was released.");
  await row(second).waitFor({ state: "detached" });
  demand("it is given back", (await read(second)).status === "cancelled");
  await page.locator(".pager").getByText("Page 4", { exact: true }).waitFor();
  await until("the page is full again", async () => (await all.count()) === ROWS);
  await open(page, `/sale/${item.id}`);
  await page.locator(".figure", { hasText: "Live holds" }).getByText((HOLDS - 1).toLocaleString("en"), { exact: true }).waitFor();
}
