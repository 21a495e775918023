// What happens to people: a session ends while they type, another tab is open, the service restarts, names are odd, there
// is no mouse, the window is small.

import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { hands } from "./hands.mjs";
import { api, base, browser, demand, open, signIn, until } from "./world.mjs";

const { HOLDFAST_BIN } = process.env;

/** The session of a browser ends, whatever it shows. */
async function endSession(context) {
  const cookies = await context.cookies(`${base}/admin/session`);
  await api("POST", "/api/auth/logout", null, { refresh: cookies.find(({ name }) => name === "holdfast_refresh").value });
  await context.clearCookies({ name: "holdfast_access" });
}

export async function typing({ page, context, shop, press, toasted, dialog, heading, gone }) {
  const item = await shop.product(shop.admin, "LADDER", "Ladder", 5);
  const signInAgain = page.getByRole("heading", { name: "Sign in again" });
  await open(page, `/products/${item.id}`);
  await page.getByLabel("Category").fill("tools");
  await endSession(context);
  await press("Save");
  await signInAgain.waitFor();
  await signIn(page, `ada${shop.tail}`);
  await heading("Ladder").waitFor();
  demand("what was typed is still there", (await page.getByLabel("Category").inputValue()) === "tools");
  await press("Save");
  await toasted("Saved.");
  // The same in a dialog, which lies above everything.
  await press("Goods in");
  await dialog.getByLabel("Units").fill("7");
  await dialog.getByLabel("Note (optional)").fill("half a sentence");
  await endSession(context);
  await press("Book in", dialog);
  await signInAgain.waitFor();
  demand("nothing lies above the way in", !(await dialog.isVisible()));
  await signIn(page, `ada${shop.tail}`);
  await dialog.waitFor();
  demand("what was typed is still there", (await dialog.getByLabel("Note (optional)").inputValue()) === "half a sentence");
  await press("Book in", dialog);
  await gone();
  await toasted("7 units booked in; 12 on hand.");
}

/** An answer is lost on its way; whoever does it again in the same place does it once. */
export async function doingAgain({ page, shop, press, answer, dialog, toasted, gone, rows }) {
  const item = await shop.product(shop.admin, "BRICK", "Brick", 5);
  await open(page, `/products/${item.id}`);
  await press("Goods in");
  let lost = 0;
  await page.route("**/api/stock", async (route) => {
    if (route.request().method() !== "POST" || lost++) return route.continue();
    await route.fetch();
    return route.abort();
  });
  await answer("Book in", { Units: "3" });
  await dialog.getByText("Whether it was done is not known.").waitFor();
  await answer("Book in");
  await gone();
  await toasted("3 units booked in; 8 on hand.");
  await page.unroute("**/api/stock");
  const { total_stock } = await api("GET", `/api/products/${item.id}/status`, shop.admin);
  demand(`the bricks came once: ${total_stock}`, lost === 2 && total_stock === 8);
  await until("and stand there once", async () => (await rows("Movements").count()) === 2);
}

/** What cannot be searched for is told beside the field, in the API's words. */
export async function searching({ page, press, besides, heading }) {
  const wrong = [
    ["/sale", "Find a product", "ab", "at least 3 letters"],
    ["/holds", "Buyer", "two words", "without blank"],
    ["/holds", "SKU", "NO-SUCH-SKU", "there is no such product"],
    ["/holds", "Reservation id", "4711", "expected a UUID"],
    ["/orders", "Buyer", "a/b", "without blank"],
    ["/payments", "Order id", "4711", "expected a UUID"],
    ["/products", "Name", "ab", "at least 3 letters"],
    ["/movements", "Product number", "281474976710655", "no such product"],
  ];
  for (const [path, label, text, message] of wrong) {
    await open(page, path);
    const field = page.getByLabel(label, { exact: true });
    await field.fill(text);
    await press("Search");
    await besides(field, message, text);
  }
  await open(page, "/orders");
  await page.getByLabel("Order id").fill("4711");
  await press("Search");
  await heading("Order").waitFor();
  await page.getByRole("alert").getByText(/nothing here|not found/i).first().waitFor();
}

/** Two tabs share a session: who leaves or comes in one does so in the other. */
export async function tabs({ page, context, shop, heading }) {
  await open(page, "/orders");
  await heading("Orders").waitFor();
  const other = await context.newPage();
  const there = hands(other);
  await open(other, "/holds");
  await there.heading("Holds").waitFor();
  await there.press("Sign out");
  await page.getByRole("heading", { name: "Sign in again" }).waitFor();
  await signIn(other, `mina${shop.tail}`);
  await other.getByText("There is no such view").waitFor();
  // Somebody else is in: this tab is theirs now.
  await heading("Orders").waitFor();
  await page.getByText("Orders with your products in them.").waitFor();
  await there.press("Sign out");
  await page.getByRole("heading", { name: "Sign in again" }).waitFor();
  await signIn(page, `ada${shop.tail}`);
  await page.getByText("What holds became.").waitFor();
  await other.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "Settings" }).waitFor();
  await other.close();
}

const free = () => new Promise((done) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => done(String(port)));
  });
});

/** A second replica, of which the page comes, is stopped and started again. */
export async function restarting({ shop }) {
  const [port, management] = [await free(), await free()];
  const [url, started] = [`http://127.0.0.1:${port}`, []];
  const start = async () => {
    const environment = { ...process.env, PORT: port, HOLDFAST__SERVER__MANAGEMENT_BIND: `127.0.0.1:${management}` };
    started.push(spawn(HOLDFAST_BIN, ["serve"], { stdio: "ignore", env: environment }));
    await until("the replica is ready", () => fetch(`${url}/readyz`).then(({ ok }) => ok, () => false));
  };
  const stop = async () => {
    const replica = started.pop();
    const ended = new Promise((done) => replica.once("exit", done));
    replica.kill("SIGTERM");
    await ended;
  };
  await start();
  const { page, faults, close } = await browser();
  const { heading, toasted } = hands(page);
  try {
    await page.goto(`${url}/admin/products/new`);
    await signIn(page, `ada${shop.tail}`);
    await heading("New product").waitFor();
    await page.getByLabel("Name", { exact: true }).fill("typed before the restart");
    await stop();
    await page.getByRole("button", { name: "Make product" }).click();
    await page.getByText("Whether it was done is not known").waitFor();
    await page.getByText("What you see may be old").waitFor();
    await page.getByRole("link", { name: "Health" }).click();
    await page.getByText("This view did not load").waitFor();
    await page.goBack();
    await heading("New product").waitFor();
    await page.getByRole("link", { name: "Health" }).click();
    await start();
    await heading("Health").waitFor({ timeout: 60_000 });
    await page.getByText("The service cannot be reached.").first().waitFor({ state: "detached", timeout: 60_000 });
    await page.getByText(url.replace("http://", "")).first().waitFor();
    demand(`nothing went wrong in the page: ${faults.join("\n")}`, faults.length === 0);
  } finally {
    await close();
    if (started.length) await stop();
  }
}

const ODD = [
  ["HTML", `<img src=x onerror="document.title='owned'"><b>bold</b> &amp; "quoted"`],
  ["LONG", "W".repeat(200)],
  ["TURN", "\u202Eמחיר مرحبا 👩‍👩‍👧‍👦 ".repeat(9).trim()],
];

/** What sticks out the farthest, and has nothing in it that does as well. */
const widest = () => {
  const right = (one) => one.getBoundingClientRect().right;
  const out = [...document.body.querySelectorAll("*")].filter((one) => right(one) > innerWidth + 1);
  const last = out.filter((one) => !out.some((other) => other !== one && one.contains(other)));
  return last.slice(0, 3).map((one) => one.outerHTML.slice(0, 160)).join(" | ");
};

/** Names that nobody would choose; narrow windows, also those of 200 and 400 per cent. */
export async function oddNames({ shop }) {
  const made = [];
  for (const [sku, name] of ODD) {
    const long = `${sku}${"-9".repeat(20)}${shop.tail}`;
    made.push(await api("POST", "/api/products", shop.admin, { sku: long, name, total_stock: 1_000_000, price: "99999999.99", category: "C".repeat(64) }));
  }
  const buyer = `${"b".repeat(120)}${shop.tail}`.slice(-128);
  const hold = await api("POST", "/api/reserve", shop.storefront, { user_id: buyer, items: made.map(({ sku }) => ({ sku, quantity: 999 })) });
  const other = await api("POST", "/api/reserve", shop.storefront, { user_id: `${buyer.slice(0, 120)}o`, items: made.map(({ sku }) => ({ sku, quantity: 999 })) });
  const order = await api("POST", "/api/checkout", shop.storefront, { reservation_id: other.reservation_id });
  const wrong = [];
  for (const width of [375, 640]) {
    const { page, faults, close } = await browser({ viewport: { width, height: 720 }, reducedMotion: "reduce" });
    const { heading } = hands(page);
    try {
      await open(page, "/sale");
      await signIn(page, `ada${shop.tail}`);
      await heading("Sale").waitFor();
      const views = ["/sale", "/products", `/holds?user_id=${buyer}`, `/holds/${hold.reservation_id}`, `/orders?user_id=${other.user_id}`, `/orders/${order.id}`,
        "/movements", `/audit`, ...made.flatMap(({ id }) => [`/sale/${id}`, `/products/${id}`])];
      for (const path of views) {
        await open(page, path);
        await page.locator("h1").first().waitFor();
        await page.locator(".skeleton").first().waitFor({ state: "detached" });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (wide > 0) wrong.push(`${path} is ${wide} wider than ${width} pixels: ${await page.evaluate(widest)}`);
        const endless = await page.evaluate(() => document.getAnimations().filter((one) => one.effect.getComputedTiming().iterations === Infinity).length);
        if (endless) wrong.push(`something moves in ${path} for whoever wants it still`);
      }
      await open(page, `/products/${made[0].id}`);
      await heading(ODD[0][1]).waitFor();
      await page.getByRole("button", { name: "Delete", exact: true }).click();
      const box = await page.getByRole("dialog").boundingBox();
      demand(`a question fits too: ${JSON.stringify(box)}`, box.x >= 0 && box.x + box.width <= width);
      demand(`nothing went wrong in the page: ${faults.join("\n")}`, faults.length === 0);
    } finally {
      await close();
    }
  }
  demand(`everything fits:\n${wrong.join("\n")}`, wrong.length === 0);
}

/** Without a mouse. */
export async function byKeyboard({ page, shop, heading, dialog, toasted, gone }) {
  const [, , , hold] = shop.held;
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent);
  const tabTo = async (wanted) => {
    for (let presses = 0; presses < 60; presses++) {
      if ((await focused())?.trim() === wanted) return;
      await page.keyboard.press("Tab");
    }
    throw new Error(`Tab never comes to ${wanted}`);
  };
  await open(page, `/holds?user_id=${hold.user_id}`);
  await heading("Holds").waitFor();
  const release = `Release the hold of ${hold.user_id}`;
  await page.getByRole("button", { name: release }).waitFor();
  await page.keyboard.press("Tab");
  demand(`the first stop leads past the views: ${await focused()}`, (await focused()) === "Skip to content");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  demand("it does", await page.evaluate(() => document.querySelector("main").contains(document.activeElement)));
  await tabTo(release);
  await page.keyboard.press("Enter");
  await dialog.waitFor();
  demand("the question has the focus", await page.evaluate(() => document.querySelector("dialog").contains(document.activeElement)));
  await page.keyboard.press("Escape");
  await gone();
  demand(`one is where one was: ${await focused()}`, (await focused()) === release);
  await page.keyboard.press("Enter");
  await dialog.waitFor();
  await dialog.getByLabel("Reason (optional)").focus();
  await page.keyboard.type("no mouse");
  await page.keyboard.press("Enter");
  await gone();
  await toasted("The hold was released.");
  const now = await api("GET", `/api/reservations/${hold.reservation_id}`, shop.storefront);
  demand(`it is released: ${now.status}`, now.status === "cancelled");
}

/** The menu of a phone, by keys. */
export async function menu({ shop }) {
  const { page, close } = await browser({ viewport: { width: 375, height: 720 } });
  const { heading } = hands(page);
  const label = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent.trim());
  try {
    await open(page, "/orders");
    await signIn(page, `ada${shop.tail}`);
    await heading("Orders").waitFor();
    await page.getByRole("button", { name: "Menu" }).focus();
    await page.keyboard.press("Enter");
    await until("the menu has the focus", async () => (await label()) === "Sale");
    await page.keyboard.press("Escape");
    await until("the focus is back", async () => (await label()) === "Menu");
    await page.keyboard.press("Enter");
    await page.getByRole("link", { name: "Products" }).click();
    await heading("Products").waitFor();
    demand("the menu is gone", !(await page.getByRole("link", { name: "Suppliers" }).isVisible()));
  } finally {
    await close();
  }
}
