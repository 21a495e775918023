// The stores compared, and put right.

import { sql } from "./outside.mjs";
import { api, demand, open, until } from "./world.mjs";

export async function reconciling({ page, shop, press, answer, dialog, rows, gone }) {
  const hold = await shop.hold(`nora${shop.tail}`, shop.ticket);
  const { payment } = await shop.paying(hold);
  const compare = async (way) => {
    await press("Reconcile");
    await dialog.getByLabel("What differs").selectOption(way);
    await answer("Compare");
    await gone();
  };
  await open(page, "/health");
  await compare("Only show it");
  await page.getByText("Nothing differs", { exact: true }).waitFor();
  // A payment that nobody will look at again, long after its time.
  sql(`update payments set next_check_at = null, pay_deadline = now() - interval '5 minutes' where payment_id = '${payment.id}'`);
  const row = rows("Findings").filter({ hasText: payment.id });
  await compare("Only show it");
  await row.getByText("Differs").waitFor();
  demand("a look changes nothing", (await api("GET", `/api/payments/${payment.id}`, shop.admin)).status === "pending");
  await compare("Heal it");
  await row.getByText("Healed").waitFor();
  await until("the payment is over", async () => (await api("GET", `/api/payments/${payment.id}`, shop.admin)).status === "expired");
  await compare("Heal it");
  await page.getByText("Nothing differs", { exact: true }).waitFor();
  await open(page, "/audit?action=reconcile");
  await rows("Audit log").first().getByText("Findings").waitFor();
}
