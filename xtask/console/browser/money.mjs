// Payments that a person decides about, and news that is sent once more.

import { TOO_LONG } from "./hands.mjs";
import { control, mailbox, pays, receiver } from "./outside.mjs";
import { api, demand, open, until } from "./world.mjs";

const read = (shop, id) => api("GET", `/api/orders/${id}`, shop.admin);

/** An order of 49.00 that somebody paid with another sum. */
async function inReview(shop, buyer) {
  const order = await shop.paying(await shop.hold(`${buyer}${shop.tail}`, shop.ticket));
  await pays(order.payment, 1_234);
  await until("the payment is in review", async () => (await api("GET", `/api/payments/${order.payment.id}`, shop.admin)).status === "review");
  return order;
}

export async function deciding({ page, shop, press, answer, besides, dialog, toasted, badge, rows, gone }) {
  const ways = [
    ["accept", "Accept", "The payment was accepted.", "Paid", "paid"],
    ["refund", "Refund", "The payment is being refunded.", "Refunded", "cancelled"],
    ["release", "Release units", "The units are on sale again.", "Cancelled", "cancelled"],
  ];
  for (const [buyer, button, told, shown, status] of ways) {
    const order = await inReview(shop, buyer);
    await open(page, "/payments");
    await page.getByRole("link", { name: "In review" }).click();
    const row = rows("Payments").filter({ hasText: `${buyer}${shop.tail}` });
    await row.getByText("Another amount was paid").waitFor();
    await row.getByRole("link").click();
    await page.getByText("Another amount was paid than was ordered.").waitFor();
    await press(button);
    const verb = button.split(" ")[0];
    await answer(verb, { "Reason (optional)": TOO_LONG });
    await besides(dialog.getByLabel("Reason (optional)"), "1 to 200 characters", TOO_LONG);
    if (button === "Accept") {
      // Its provider is away, and back.
      await control("faults", { call: "stripe_retrieve", fault: "drop", times: 8 });
      await answer(verb, { "Reason (optional)": "the bank agreed" });
      await dialog.getByText("the payment provider did not answer").waitFor();
      await fetch(`${process.env.HOLDFAST_SANDBOX_URL}/control/faults`, { method: "DELETE" });
    }
    await answer(verb, { "Reason (optional)": "the bank agreed" });
    await gone();
    await toasted(told);
    await badge(shown);
    await until(`the order is ${status}`, async () => (await read(shop, order.id)).status === status);
    await page.locator("details.exchange summary").first().click();
    await page.locator("details.exchange pre").first().getByText("{").first().waitFor();
  }
}

export async function resending({ page, shop, press, toasted }) {
  const post = await mailbox();
  try {
    const { reservation_id } = await shop.hold(`renate${shop.tail}`, shop.ticket);
    const order = await api("POST", "/api/checkout", shop.storefront, { reservation_id, email: "renate@example.org" });
    const letters = () => post.letters.filter((letter) => letter.includes(order.id)).length;
    await until("the first letter", async () => letters() === 1);
    await open(page, `/orders/${order.id}`);
    await press("Resend webhook");
    await toasted("no webhook endpoint wants to know");
    await press("Resend e-mail");
    await toasted("The e-mail is on its way again.");
    await until("the letter once more", async () => letters() === 2);
  } finally {
    post.close();
  }
}

export async function retrying({ page, shop, press, toasted, rows }) {
  const [order] = shop.orders;
  const storefront = await receiver();
  const endpoint = await api("POST", "/api/webhook-endpoints", shop.storefront, { url: storefront.url, events: ["order.refunded"] });
  const letters = rows("Dead letters").filter({ hasText: storefront.url });
  const told = () => storefront.taken.filter(({ data }) => data.order_id === order.id || data.id === order.id).length;
  try {
    await open(page, `/orders/${order.id}`);
    await press("Resend webhook");
    await toasted("The webhooks are on their way again.");
    await until("the storefront is told", async () => storefront.taken.length === 1);
    demand(`of this order: ${JSON.stringify(storefront.taken)}`, told() === 1);
    storefront.well = false;
    await press("Resend webhook");
    await until("it is given up", async () => (await api("GET", "/api/admin/dead-letters", shop.admin)).items.some(({ url }) => url === storefront.url), 120);
    await open(page, "/dead-letters");
    await letters.getByText("500").first().waitFor();
    storefront.well = true;
    await press("Send order.refunded again", letters);
    await toasted("It is on its way again.");
    await until("it arrives after all", async () => told() === 2);
    await until("nothing waits", async () => {
      await page.reload();
      await page.locator("table, .empty").first().waitFor();
      return (await letters.count()) === 0;
    });
  } finally {
    await api("DELETE", `/api/webhook-endpoints/${endpoint.id}`, shop.storefront);
    storefront.close();
  }
}
