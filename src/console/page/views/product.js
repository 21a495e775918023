// One product: its terms, its stock, goods in and out.

import { useState } from "../vendor/hooks.js";
import { Problem, get, patch, post, remove, under, useKey, usePoll, whole } from "../api.js";
import { address, go } from "../router.js";
import { isAdmin } from "../session.js";
import { Button, Card, Empty, Field, Heading, List, Loaded, Refused, ask, html, toast, usePages } from "../ui.js";
import { Bar } from "./sale.js";
import { columns, move } from "./movements.js";

/** `[name, label, how it is written, hint]` */
const FIELDS = [
  ["name", "Name", { required: true, wide: true }],
  ["sku", "SKU", { once: true }, "Cannot be changed, and is never used again. Left empty, one is made."],
  ["category", "Category", {}],
  ["price", "Price", { inputmode: "decimal" }],
  ["currency", "Currency", { once: true }, "Left empty, the shop's own."],
  ["total_stock", "Stock", { inputmode: "numeric", once: true, required: true }, "Later it changes by goods in and out."],
  ["low_stock_threshold", "Low below", { inputmode: "numeric" }, "You are told when fewer are left."],
  ["hold_ttl_seconds", "Hold time in seconds", { inputmode: "numeric" }, "Left empty, the setting of the service."],
  ["max_per_buyer", "At most per buyer", { inputmode: "numeric" }],
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

/** What stands in each field, as it is written there. */
const written = (product, name) => (MOMENTS.includes(name) ? local(product?.[name]) : String(product?.[name] ?? ""));

/** What a form says, as the API takes it: of a product that there is only what differs from it, and null for what was emptied. */
function body(form, product) {
  const said = {};
  for (const name of [...FIELDS.map(([name]) => name), "description"]) {
    const text = form.get(name)?.trim();
    if (text === undefined || text === written(product, name).trim()) continue;
    if (text === "") said[name] = name === "description" ? "" : null;
    else said[name] = NUMBERS.includes(name) ? whole(text) : MOMENTS.includes(name) ? new Date(text).toISOString() : text;
  }
  const published = form.get("published") === "on";
  if (published !== product?.published) said.published = published;
  if (product) said.version = product.version;
  return said;
}

export default function Product({ id }) {
  return id === "new" ? html`<${Heading} title="New product" back=${{ href: address("/products"), text: "All products" }} />
    <${Form} />` : html`<${Existing} id=${id} />`;
}

function Existing({ id }) {
  const product = usePoll(`/products/${encodeURIComponent(id)}`);
  const [saved, setSaved] = useState(null);
  const known = saved ?? product.data;
  const back = { href: address("/products"), text: "All products" };
  const owned = product.data && "version" in product.data && "low_stock_threshold" in product.data;
  if (product.data && !owned) {
    return html`<${Heading} title="Product" back=${back} /><${Card}><${Empty} icon="search" title="Nothing here">There is no such product, or it is not yours to see.</${Empty}></${Card}>`;
  }
  return html`
    <${Heading} title=${known?.name ?? "Product"} back=${back} about=${product.data && html`<span class="mono">${product.data.sku}</span>`}>
      ${product.data && html`
        ${isAdmin() && html`<a class="button plain" href=${address(`/sale/${id}`)}>Watch the sale</a>`}
        <${Button} icon="trash-2" kind="danger-quiet" onClick=${() => destroy(known)}>Delete</${Button}>`}
    </${Heading}>
    <${Loaded} of=${product} rows=${9}>${(found) => html`
      <${Stock} product=${found} />
      <${Form} key=${saved?.version} product=${saved ?? found} saved=${setSaved} />`}</${Loaded}>`;
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

/** What somebody else changed meanwhile, of the fields that were typed in here too. */
function differing(was, now, form) {
  const typed = (name) => form.has(name) && ![written(was, name), written(now, name)].includes(form.get(name).trim());
  const names = [...FIELDS.map(([name]) => name), "description"];
  const changed = names.filter((name) => typed(name) && written(was, name) !== written(now, name));
  return Object.fromEntries(changed.map((name) => [name, `changed meanwhile to ${written(now, name) || "nothing"}`]));
}

/** Fields that nobody touched follow the product; what was typed stays until it is saved. */
function Form({ product: given, saved }) {
  const [product, setProduct] = useState(given);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const keyOf = useKey();
  const suppliers = usePoll("/suppliers", { limit: 200 });
  const wrong = problem ? { ...problem.fields, ...problem.differing } : {};
  const known = FIELDS.map(([name]) => name).concat("description", "published");
  const unplaced = problem && !known.some((name) => wrong[name]);
  async function submit(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    const said = body(form, product);
    const unfinished = MOMENTS.filter((name) => event.target.elements[name].validity.badInput);
    if (unfinished.length) {
      // Half a moment reads as none, which would take it away.
      const errors = unfinished.map((field) => ({ field, message: "expected a whole date and time, or nothing" }));
      setProblem(new Problem(422, { errors }));
      return;
    }
    setBusy(true);
    setProblem(null);
    try {
      if (product) {
        const now = await patch(`/products/${product.id}`, said);
        toast("Saved.");
        saved(now);
      } else {
        const made = await under(keyOf(said), () => post("/products", said));
        toast(`${made.name} was made.`);
        go(`/products/${made.id}`);
      }
    } catch (refusal) {
      if (refusal.code === "version_conflict") {
        const now = await get(`/products/${product.id}`).catch(() => product);
        refusal.differing = differing(product, now, form);
        setProduct(now);
      }
      setProblem(refusal);
    } finally {
      setBusy(false);
    }
  }
  const options = [["", "None"], ...(suppliers.data?.items ?? []).map(({ id, name }) => [String(id), name])];
  const chosen = product?.supplier_id ? String(product.supplier_id) : "";
  if (chosen && !options.some(([key]) => key === chosen)) options.push([chosen, `Supplier ${chosen}`]);
  return html`<${Card} title=${product ? "Terms" : ""}><form class="form" onSubmit=${submit} novalidate>
    ${FIELDS.map(([name, label, { once, choice, ...how }, hint]) => choice
      ? html`<${Field} key=${name} label=${label} name=${name} error=${wrong[name]}>${(tied) => html`<select ...${tied}>
          ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === chosen}>${text}</option>`)}</select>`}</${Field}>`
      : !(product && once) && html`<${Field} key=${name} label=${label} name=${name} hint=${hint} error=${wrong[name]} value=${written(product, name)} ...${how} />`)}
    <${Field} label="Description" name="description" wide error=${wrong.description}>${(tied) => html`<textarea ...${tied} rows="3" defaultValue=${product?.description ?? ""}></textarea>`}</${Field}>
    <label class="check wide"><input type="checkbox" name="published" defaultChecked=${product?.published ?? true} />Published: buyers see it and can hold it</label>
    ${(unplaced || problem?.differing) && html`<div class="wide"><${Refused} error=${problem} />
      ${problem.differing && html`<p class="hint">Fields that you left alone show what stands now. Save again to put yours in the place of the others.</p>`}</div>`}
    <div class="form-foot">
      <${Button} type="submit" kind="primary" icon="check" busy=${busy}>${product ? "Save" : "Make product"}</${Button}>
    </div>
  </form></${Card}>`;
}
