// A browser, and a shop to look at: accounts, products, holds and orders, made over the API.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { HOLDFAST_URL, HOLDFAST_BIN, HOLDFAST_SANDBOX_URL, CONSOLE_MODULES, CONSOLE_CHROMIUM } = process.env;
const require = createRequire(join(CONSOLE_MODULES, "index.js"));
const { chromium } = require("playwright-core");

export const axe = require.resolve("axe-core/axe.min.js");
export const base = HOLDFAST_URL;
export const PASSWORD = "correct horse battery";

const holdfast = (...words) => execFileSync(HOLDFAST_BIN, words, { encoding: "utf8", stdio: ["pipe", "pipe", "pipe"] });
export const token = (role, sub) => holdfast("token", "--role", role, "--sub", sub, "--ttl", "2h").trim().split("\n").at(-1);

export async function api(method, path, bearer, body) {
  const headers = { ...(bearer && { Authorization: `Bearer ${bearer}` }), ...(body && { "Content-Type": "application/json" }) };
  let response;
  for (let attempt = 0; attempt < 20; attempt++) {
    response = await fetch(`${base}${path}`, { method, headers, body: body && JSON.stringify(body) });
    // Asked for on a busy machine; what is sent again happens once.
    if (response.status !== 503) break;
    await new Promise((done) => setTimeout(done, 500));
  }
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

/** What the views show. */
export async function makeShop() {
  // On stores that have such a shop already, another one.
  const tail = process.env.CONSOLE_AGAIN ? `-${Date.now().toString(36)}` : "";
  const [admin, storefront] = [token("admin", "root"), token("service", "storefront")];
  execFileSync(HOLDFAST_BIN, ["create-admin", "--username", `ada${tail}`, "--email", `ada${tail}@example.org`, "--password-stdin"], { input: `${PASSWORD}\n` });
  const merchant = await api("POST", "/api/auth/register", null, {
    username: `mina${tail}`, email: `mina${tail}@example.org`, password: PASSWORD, role: "merchant",
  });
  await api("POST", "/api/auth/register", null, { username: `carl${tail}`, email: `carl${tail}@example.org`, password: PASSWORD });
  const product = (bearer, sku, name, total_stock, more = {}) =>
    api("POST", "/api/products", bearer, { sku: `${sku}${tail}`, name, total_stock, price: "49.00", ...more });
  const crowd = await product(admin, "SNEAKER", "Limited sneaker", 2_000, { category: "shoes", price: "129.00" });
  const ticket = await product(admin, "TICKET", "Concert ticket", 500, { category: "tickets", max_per_buyer: 6, low_stock_threshold: 50, hold_ttl_seconds: 1_700 });
  const lamp = await product(merchant.access, "LAMP", "Desk lamp", 40, { category: "lamps", low_stock_threshold: 50 });
  await api("POST", "/api/suppliers", merchant.access, { name: "Lamp makers", email: "sales@lamps.example", phone: "+49 30 123456" });
  const hold = (user_id, item, quantity = 1) => api("POST", "/api/reserve", storefront, { user_id, sku: item.sku, quantity });
  const order = async (user_id, item, quantity) => {
    const { reservation_id } = await hold(user_id, item, quantity);
    return api("POST", "/api/checkout", storefront, { reservation_id });
  };
  /** The order of a hold whose buyer has yet to pay in the sandbox. */
  const paying = ({ reservation_id }) => api("POST", "/api/checkout", storefront, {
    reservation_id, payment: { provider: "stripe", success_url: `${HOLDFAST_SANDBOX_URL}/shop/paid`, cancel_url: `${HOLDFAST_SANDBOX_URL}/shop/cancelled` },
  });
  const orders = [];
  for (const [user, item, quantity] of [["olga", ticket, 2], ["pavel", ticket, 4], ["quentin", lamp, 1]]) {
    orders.push(await order(`${user}${tail}`, item, quantity));
  }
  const held = [];
  for (const user of ["rosa", "sami", "tara", "uma"]) held.push(await hold(`${user}${tail}`, ticket, 2));
  return { tail, admin, storefront, merchant, crowd, ticket, lamp, orders, held, hold, product, paying };
}

/** So many holds of a product, each for another buyer. */
export function many(sku, holds) {
  const words = ["loadtest", "--url", base, "--sku", sku, "--mix", "reserve=1", "--requests", String(holds), "--duration", "5m", "--warmup", "0s"];
  holdfast(...words, "--connections", "8");
}

/** A crowd for a product, for so many seconds. */
export function crowd(sku, seconds) {
  const words = ["loadtest", "--sku", sku, "--duration", `${seconds}s`, "--warmup", "0s", "--rate", "60", "--connections", "8"];
  return spawn(HOLDFAST_BIN, words, { stdio: "ignore" });
}

/** A fresh browser; what goes wrong in the page is noted. */
export async function browser({ colorScheme = "light", viewport = { width: 1360, height: 860 }, reducedMotion = "no-preference" } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-browser-"));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: CONSOLE_CHROMIUM,
    headless: true,
    colorScheme,
    viewport,
    reducedMotion,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  context.setDefaultTimeout(45_000);
  const page = context.pages()[0] ?? (await context.newPage());
  const faults = [];
  page.on("pageerror", (error) => faults.push(`an error in the page: ${error.stack}`));
  page.on("console", (message) => {
    // What the policy of the page forbids is told here; refusals of the API are too, and are no fault.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) faults.push(message.text());
  });
  const close = async () => {
    await context.close();
    rmSync(folder, { recursive: true, force: true });
  };
  return { context, page, faults, close };
}

export async function signIn(page, name, password = PASSWORD) {
  await page.getByLabel("Username or e-mail").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
}

export const open = (page, path) => page.goto(`${base}/admin${path}`);

/** Asks again until it is so. */
export async function until(what, wanted, seconds = 60) {
  const end = Date.now() + seconds * 1_000;
  let last;
  while (Date.now() < end) {
    last = await wanted();
    if (last) return last;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`waited in vain: ${what}`);
}

export function demand(what, is) {
  if (!is) throw new Error(what);
}
