// A sale in an operator's hands: more time for all, drained, closed.

import { TOO_LONG } from "./hands.mjs";
import { pays } from "./outside.mjs";
import { api, demand, open, until } from "./world.mjs";

const at = (hold) => Date.parse(hold.expires_at);

/** A product that is nobody else's, with holds of these buyers. */
async function held(shop, name, ...buyers) {
  const item = await shop.product(shop.admin, name, `Sale of ${name.toLowerCase()}`, 10, { hold_ttl_seconds: 900 });
  const holds = [];
  for (const buyer of buyers) holds.push(await shop.hold(`${buyer}${shop.tail}`, item));
  return { item, holds };
}

const read = (shop, { reservation_id }) => api("GET", `/api/reservations/${reservation_id}`, shop.storefront);
const refusal = (shop, item, buyer) => shop.hold(`${buyer}${shop.tail}`, item).then(() => "", ({ message }) => message);

export async function extendingAll({ page, shop, press, answer, besides, dialog, gone, toasted }) {
  const { item, holds } = await held(shop, "WAVE", "wanda", "will");
  await open(page, `/sale/${item.id}`);
  await press("Extend all holds");
  const seconds = dialog.getByLabel("Seconds");
  for (const wrong of ["0", "soon", ""]) {
    await answer("Extend", { Seconds: wrong });
    await besides(seconds, wrong === "0" ? "from 1 to 86400" : "expected", wrong);
  }
  await answer("Extend", { Seconds: "120", "Reason (optional)": TOO_LONG });
  await besides(dialog.getByLabel("Reason (optional)"), "1 to 200 characters", TOO_LONG);
  await answer("Extend", { "Reason (optional)": "the payment page is slow" });
  await gone();
  await toasted("2 holds extended.");
  for (const hold of holds) {
    const now = await read(shop, hold);
    demand(`${hold.user_id} has two minutes more: ${hold.expires_at}, ${now.expires_at}`, at(now) - at(hold) === 120_000);
  }
  await open(page, `/holds/${holds[0].reservation_id}`);
  await page.locator(".timeline").getByText("the payment page is slow").waitFor();
}

export async function draining({ page, shop, press, answer, toasted, badge, gone }) {
  const { item, holds: [kept, left] } = await held(shop, "DRAIN", "dora", "dan");
  await open(page, `/sale/${item.id}`);
  await press("Drain");
  await answer("Drain", { "Reason (optional)": "enough was sold" });
  await gone();
  await toasted("The sale is draining.");
  await badge("Draining");
  await until("nobody new can hold", async () => (await refusal(shop, item, "late")).includes("sale_closed"));
  // Those who hold may still buy, and when the last hold is gone the sale is closed.
  await api("POST", "/api/checkout", shop.storefront, { reservation_id: kept.reservation_id });
  demand("the other hold stands", (await read(shop, left)).status === "held");
  await api("DELETE", `/api/reservations/${left.reservation_id}`, shop.storefront);
  await badge("Closed");
}

export async function closing({ page, shop, press, answer, toasted, badge, gone }) {
  const { item, holds: [free, paying] } = await held(shop, "CLOSE", "cleo", "cyrus");
  const { payment } = await shop.paying(paying);
  await open(page, `/sale/${item.id}`);
  await press("Close");
  await answer("Close", { "Reason (optional)": "a recall" });
  await gone();
  await toasted("The sale is closed.");
  await badge("Closed");
  const now = await read(shop, free);
  demand(`whoever does not pay yet has lost it: ${now.status}, ${now.reason}`, now.status === "cancelled" && now.reason === "sale_closed");
  demand("whoever is paying keeps it", (await read(shop, paying)).status === "confirming");
  await page.locator(".figure", { hasText: "Paying" }).getByText("1", { exact: true }).waitFor();
  await until("nobody can hold", async () => (await refusal(shop, item, "late")).includes("sale_closed"));
  await pays(payment);
  await until("what was being paid is sold", async () => (await read(shop, paying)).status === "confirmed");
  await open(page, `/holds/${free.reservation_id}`);
  await page.locator(".timeline").getByText("a recall").waitFor();
  await page.goBack();
  await press("Open");
  await answer("Open");
  await gone();
  await badge("Open");
  await until("buyers can hold again", async () => (await refusal(shop, item, "early")) === "");
}
