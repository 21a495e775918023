// A shop owner's work: products, goods in and out, suppliers.

import { PASSWORD, api, demand, open, until } from "./world.mjs";

const CHANGED = "changed meanwhile to";
const read = (shop, id) => api("GET", `/api/products/${id}`, shop.admin);

export async function making({ page, shop, press, besides, heading, toasted }) {
  await open(page, "/products");
  await page.getByRole("link", { name: "New product" }).click();
  const field = (name) => page.getByRole("textbox", { name, exact: true });
  await press("Make product");
  await besides(field("Name"), "missing");
  const novel = "Gärtner 🪴 <table> ".repeat(240).slice(0, 4_096);
  await field("Name").fill(novel);
  await field("Stock").fill("12");
  await press("Make product");
  await besides(field("Name"), "1 to 200 characters", novel);
  await field("Name").fill("Garden table");
  await field("Stock").fill("a dozen");
  await press("Make product");
  await besides(field("Stock"), "a whole number", "a dozen");
  await field("Stock").fill("12");
  await field("SKU").fill(shop.ticket.sku);
  await press("Make product");
  await besides(field("SKU"), "another product has or had this SKU", shop.ticket.sku);
  await field("SKU").fill(`TABLE${shop.tail}`);
  await field("Price").fill("-3");
  await press("Make product");
  await besides(field("Price"), "expected a decimal amount", "-3");
  await field("Price").fill("120.50");
  await press("Make product");
  await toasted("Garden table was made.");
  await heading("Garden table").waitFor();
  const made = await read(shop, page.url().split("/").at(-1));
  demand(`it is what was typed: ${JSON.stringify(made)}`, made.sku === `TABLE${shop.tail}` && made.price === "120.50" && made.total_stock === 12);
  return made;
}

/** Two people edit one product; nobody's words are lost, and nobody's are overwritten unseen. */
export async function editing({ page, shop, press, besides, toasted, heading }) {
  const made = await shop.product(shop.admin, "CHAIR", "Garden chair", 5, { price: "20.00", category: "garden" });
  await open(page, `/products/${made.id}`);
  const field = (label) => page.getByLabel(label, { exact: true });
  await field("Price").fill("25.00");
  await field("At most per buyer").fill("4");
  await api("PATCH", `/api/products/${made.id}`, shop.admin, { price: "22.00", category: "outdoors", version: made.version });
  await press("Save");
  await page.getByText("the product was edited meanwhile").waitFor();
  await besides(field("Price"), `${CHANGED} 22.00`, "25.00");
  demand("what was left alone shows what stands", (await field("Category").inputValue()) === "outdoors");
  demand("and is not called wrong", (await field("Category").getAttribute("aria-invalid")) === null);
  const meanwhile = await read(shop, made.id);
  demand(`nothing was overwritten: ${meanwhile.price}`, meanwhile.price === "22.00");
  await press("Save");
  await toasted("Saved.");
  const now = await read(shop, made.id);
  demand(`both changes stand: ${JSON.stringify(now)}`, now.price === "25.00" && now.max_per_buyer === 4 && now.category === "outdoors");
  await field("Sale ends").pressSequentially("0102");
  await press("Save");
  await besides(field("Sale ends"), "expected a whole date and time");
  await field("Sale ends").fill("");
  await field("Name").fill("Garden chair, folding");
  await page.getByLabel("Published").uncheck();
  await press("Save");
  await heading("Garden chair, folding").waitFor();
  demand("it is hidden", (await read(shop, made.id)).published === false);
}

export async function deleting({ page, shop, press, answer, dialog, toasted, gone }) {
  const made = await shop.product(shop.admin, "STOOL", "Stool", 5);
  const hold = await shop.hold(`steve${shop.tail}`, made);
  await open(page, `/products/${made.id}`);
  await press("Delete");
  await answer("Delete");
  await dialog.getByText("somebody holds the product").waitFor();
  await press("Cancel", dialog);
  await gone();
  await api("DELETE", `/api/reservations/${hold.reservation_id}`, shop.storefront);
  await press("Delete");
  await answer("Delete");
  await toasted("Stool was deleted.");
  await page.getByRole("link", { name: "New product" }).waitFor();
  const after = await read(shop, made.id).catch(({ message }) => message);
  demand(`it is gone: ${JSON.stringify(after)}`, String(after).includes("404"));
}

export async function moving({ page, shop, press, answer, besides, dialog, toasted, rows, gone }) {
  const made = await shop.product(shop.admin, "BENCH", "Bench", 5);
  await shop.hold(`bea${shop.tail}`, made, 2);
  const stock = () => api("GET", `/api/products/${made.id}/status`, shop.admin);
  await open(page, `/products/${made.id}`);
  await press("Goods in");
  await answer("Book in", { Units: "0" });
  await besides(dialog.getByLabel("Units"), "from 1 to 1000000", "0");
  await answer("Book in", { Units: "10", "Note (optional)": "two <b>crates</b> & a box" });
  await gone();
  await toasted("10 units booked in; 15 on hand.");
  await rows("Movements").getByText("two <b>crates</b> & a box").waitFor();
  await press("Goods out");
  await answer("Book out", { Units: "14" });
  await besides(dialog.getByLabel("Units"), "not enough stock", "14");
  await answer("Book out", { Units: "13" });
  await gone();
  await toasted("13 units booked out; 2 on hand.");
  const now = await stock();
  demand(`what is held stands: ${JSON.stringify(now)}`, now.total_stock === 2 && now.reserved_stock === 2 && now.available_stock === 0);
  // The same rows in the list of all movements, of one product.
  await open(page, "/movements");
  await page.getByLabel("Product number").fill("bench");
  await press("Search");
  await besides(page.getByLabel("Product number"), "expected a whole number", "bench");
  await page.getByLabel("Product number").fill(String(made.id));
  await press("Search");
  await until("three movements", async () => (await rows("Movements").count()) === 3);
  await open(page, "/movements?from=never");
  await besides(page.getByLabel("From"), "expected a time");
}

export async function supplying({ page, shop, press, answer, besides, dialog, toasted, rows, gone }) {
  const name = `Timber & sons${shop.tail}`;
  const named = async () => (await api("GET", "/api/suppliers?limit=200", shop.admin)).items.find((one) => one.name === name);
  await open(page, "/suppliers");
  await press("New supplier");
  await answer("Add");
  await besides(dialog.getByLabel("Name"), "missing");
  await answer("Add", { Name: name, "E-mail (optional)": "nonsense" });
  await besides(dialog.getByLabel("E-mail (optional)"), "e-mail address", "nonsense");
  await answer("Add", { "E-mail (optional)": "timber@example.org" });
  await gone();
  await toasted(`${name} was added.`);
  await press(`Edit ${name}`);
  await answer("Save", { "Phone (optional)": "+49 40 1234" });
  await gone();
  await rows("Suppliers").filter({ hasText: name }).getByText("+49 40 1234").waitFor();
  const made = await named();
  demand(`it is what was typed: ${JSON.stringify(made)}`, made.phone === "+49 40 1234" && made.email === "timber@example.org");
  // It delivers to whoever made it, and to nobody else.
  const supplier = page.getByLabel("Supplier", { exact: true });
  await open(page, `/products/${(await shop.product(shop.admin, "BEAM", "Beam", 5)).id}`);
  await supplier.selectOption(name);
  await press("Save");
  await besides(supplier, "supplier", String(made.id));
  const { access } = await api("POST", "/api/auth/login", null, { username: `ada${shop.tail}`, password: PASSWORD });
  const item = await shop.product(access, "PLANK", "Plank", 5);
  await open(page, `/products/${item.id}`);
  await supplier.selectOption(name);
  await press("Save");
  await toasted("Saved.");
  demand("the product knows where it comes from", (await read(shop, item.id)).supplier_id === made.id);
  await open(page, "/suppliers");
  await press(`Delete ${name}`);
  await answer("Delete");
  await gone();
  await toasted(`${name} was deleted.`);
  demand("it is gone", (await named()) === undefined);
  await press("Undo");
  await rows("Suppliers").filter({ hasText: name }).first().waitFor();
  demand("it is back as it was", (await named()).phone === "+49 40 1234");
}
