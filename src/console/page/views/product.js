// One product: its terms, its stock, goods in and out.

import { useState } from "../vendor/hooks.js";
import { patch, post, remove, usePoll } from "../api.js";
import { address, go } from "../router.js";
import { isAdmin } from "../session.js";
import { Button, Card, Empty, Field, Heading, List, Loaded, Refused, ask, html, toast, usePages } from "../ui.js";
import { Bar } from "./sale.js";
import { columns, move } from "./movements.js";

/** `[name, label, how it is written, hint]` */
const FIELDS = [
  ["name", "Name", { required: true, maxlength: 200, wide: true }],
  ["sku", "SKU", { maxlength: 64, once: true }, "Cannot be changed, and is never used again. Left empty, one is made."],
  ["category", "Category", { maxlength: 64 }],
  ["price", "Price", { inputmode: "decimal" }],
  ["currency", "Currency", { maxlength: 3, once: true }, "Left empty, the shop's own."],
  ["total_stock", "Stock", { type: "number", min: 0, once: true, required: true }, "Later it changes by goods in and out."],
  ["low_stock_threshold", "Low below", { type: "number", min: 0 }, "You are told when fewer are left."],
  ["hold_ttl_seconds", "Hold time in seconds", { type: "number", min: 1 }, "Left empty, the setting of the service."],
  ["max_per_buyer", "At most per buyer", { type: "number", min: 1 }],
  ["sale_starts_at", "Sale starts", { type: "datetime-local", step: 1 }],
  ["sale_ends_at", "Sale ends", { type: "datetime-local", step: 1 }],
  ["supplier_id", "Supplier", { choice: true }],
];
const NUMBERS = ["total_stock", "low_stock_threshold", "hold_ttl_seconds", "max_per_buyer", "supplier_id"];
const MOMENTS = ["sale_starts_at", "sale_ends_at"];

const two = (number) => String(number).padStart(2, "0");
/** A moment as the browser's field writes it, in local time. */
function local(text) {
  if (!text) return "";
  const at = new Date(text);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** What a form says, as the API takes it; what was left empty is null. */
function body(form, product) {
  const said = {};
  for (const [name, , how] of FIELDS) {
    if (product && how.once) continue;
    const text = String(form.get(name) ?? "").trim();
    if (text === "") {
      if (product) said[name] = null;
      continue;
    }
    said[name] = NUMBERS.includes(name) ? Number(text) : MOMENTS.includes(name) ? new Date(text).toISOString() : text;
  }
  const description = String(form.get("description") ?? "").trim();
  if (description || product) said.description = description || null;
  said.published = form.get("published") === "on";
  if (product) said.version = product.version;
  return said;
}

export default function Product({ id }) {
  return id === "new" ? html`<${Heading} title="New product" back=${{ href: address("/products"), text: "All products" }} />
    <${Form} />` : html`<${Existing} id=${id} />`;
}

function Existing({ id }) {
  const product = usePoll(`/products/${encodeURIComponent(id)}`);
  const back = { href: address("/products"), text: "All products" };
  const owned = product.data && "version" in product.data && "low_stock_threshold" in product.data;
  if (product.data && !owned) {
    return html`<${Heading} title="Product" back=${back} /><${Card}><${Empty} icon="search" title="Nothing here">There is no such product, or it is not yours to see.</${Empty}></${Card}>`;
  }
  return html`
    <${Heading} title=${product.data?.name ?? "Product"} back=${back} about=${product.data && html`<span class="mono">${product.data.sku}</span>`}>
      ${product.data && html`
        ${isAdmin() && html`<a class="button plain" href=${address(`/sale/${id}`)}>Watch the sale</a>`}
        <${Button} icon="trash-2" kind="danger-quiet" onClick=${() => destroy(product.data)}>Delete</${Button}>`}
    </${Heading}>
    <${Loaded} of=${product} rows=${9}>${(found) => html`
      <${Stock} product=${found} />
      <${Form} key=${found.version} product=${found} saved=${product.reload} />`}</${Loaded}>`;
}

async function destroy(product) {
  const done = await ask({
    title: `Delete ${product.name}?`,
    text: "It cannot be sold any more, and its SKU is never used again. Orders keep what they say.",
    action: "Delete",
    danger: true,
    work: async () => (await remove(`/products/${product.id}`), true),
  });
  if (!done) return;
  toast(`${product.name} was deleted.`);
  go("/products");
}

function Stock({ product }) {
  const stock = usePoll(`/products/${product.id}/status`, {}, 2_000);
  const moves = usePages("/stock", { product_id: product.id }, { limit: 10 });
  const moved = () => (stock.reload(), moves.reload());
  const shown = stock.data && { ...stock.data, paying_stock: 0 };
  return html`
    <${Card} title="Stock" actions=${html`<div class="actions">
      <${Button} icon="plus" onClick=${() => move(product, "IN", moved)}>Goods in</${Button}>
      <${Button} onClick=${() => move(product, "OUT", moved)}>Goods out</${Button}></div>`}>
      <${Loaded} of=${stock} rows=${2}>${() => html`<${Bar} sale=${shown} tall legend />`}</${Loaded}>
    </${Card}>
    <${Card} class="flush" title="Movements"><${List} of=${moves} label="Movements" id=${(row) => row.id} columns=${columns(false)}
      empty=${html`<${Empty} icon="boxes" title="Nothing has moved yet">Goods in and out, sales and returns stand here.</${Empty}>`} /></${Card}>`;
}

function Form({ product, saved }) {
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const suppliers = usePoll("/suppliers", { limit: 200 });
  const wrong = problem?.fields ?? {};
  const known = FIELDS.map(([name]) => name).concat("description", "published");
  const unplaced = problem && !known.some((name) => wrong[name]);
  async function submit(event) {
    event.preventDefault();
    const said = body(new FormData(event.target), product);
    setBusy(true);
    setProblem(null);
    try {
      if (product) {
        await patch(`/products/${product.id}`, said);
        toast("Saved.");
        saved();
      } else {
        const made = await post("/products", said);
        toast(`${made.name} was made.`);
        go(`/products/${made.id}`);
      }
    } catch (refusal) {
      setProblem(refusal);
    } finally {
      setBusy(false);
    }
  }
  const options = [["", "None"], ...(suppliers.data?.items ?? []).map(({ id, name }) => [String(id), name])];
  const chosen = product?.supplier_id ? String(product.supplier_id) : "";
  if (chosen && !options.some(([key]) => key === chosen)) options.push([chosen, `Supplier ${chosen}`]);
  const value = (name) => (MOMENTS.includes(name) ? local(product?.[name]) : (product?.[name] ?? ""));
  return html`<${Card} title=${product ? "Terms" : ""}><form class="form" onSubmit=${submit} novalidate>
    ${FIELDS.map(([name, label, { once, choice, ...how }, hint]) => choice
      ? html`<${Field} key=${name} label=${label} name=${name} error=${wrong[name]}>${(tied) => html`<select ...${tied}>
          ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === chosen}>${text}</option>`)}</select>`}</${Field}>`
      : !(product && once) && html`<${Field} key=${name} label=${label} name=${name} hint=${hint} error=${wrong[name]} value=${value(name)} ...${how} />`)}
    <${Field} label="Description" name="description" wide error=${wrong.description}>${(tied) => html`<textarea ...${tied} rows="3" maxlength="4000" defaultValue=${product?.description ?? ""}></textarea>`}</${Field}>
    <label class="check wide"><input type="checkbox" name="published" defaultChecked=${product?.published ?? true} />Published: buyers see it and can hold it</label>
    ${unplaced && html`<div class="wide"><${Refused} error=${problem} /></div>`}
    <div class="form-foot">
      <${Button} type="submit" kind="primary" icon="check" busy=${busy}>${product ? "Save" : "Make product"}</${Button}>
    </div>
  </form></${Card}>`;
}
