// Goods in and out, sales and returns, with the balance after each.

import { post, whole } from "../api.js";
import { count, who } from "../format.js";
import { address, go } from "../router.js";
import { Badge, Button, Card, Empty, Field, Heading, List, Time, ask, html, toast, usePages } from "../ui.js";

const KINDS = { IN: ["Goods in", "open"], OUT: ["Goods out", "paused"], SALE: ["Sale", "held"], RETURN: ["Return", "quiet"] };

export const columns = (withProduct) => [
  ["When", (row) => html`<${Time} at=${row.created_at} />`],
  ...(withProduct ? [["Product", (row) => html`<a href=${address(`/products/${row.product_id}`)}>${row.product_id}</a>`]] : []),
  ["Kind", (row) => html`<${Badge} status=${KINDS[row.movement_type]?.[1]}>${KINDS[row.movement_type]?.[0] ?? row.movement_type}</${Badge}>`],
  ["Units", (row) => `${["OUT", "SALE"].includes(row.movement_type) ? "−" : "+"}${count(row.quantity)}`, "number"],
  ["On hand after", (row) => count(row.stock_after), "number"],
  ["Note", (row) => row.note ?? "–"],
  ["By", (row) => html`<span class="nowrap" title=${row.actor}>${who(row.actor)}</span>`],
];

/** Asks for goods in or out of a product. */
export async function move(product, movement_type, done) {
  const into = movement_type === "IN";
  const moved = await ask({
    title: into ? `Goods in: ${product.name}` : `Goods out: ${product.name}`,
    text: into ? "Buyers can have them at once." : "Only what is neither held nor sold can go.",
    action: into ? "Book in" : "Book out",
    fields: [
      { name: "quantity", label: "Units", inputmode: "numeric", value: "1" },
      { name: "note", label: "Note (optional)", optional: true },
    ],
    work: ({ quantity, note }) => post("/stock", { product_id: product.id, movement_type, quantity: whole(quantity), ...(note.trim() && { note: note.trim() }) }),
  });
  if (moved) toast(`${count(moved.quantity)} units booked ${into ? "in" : "out"}; ${count(moved.stock_after)} on hand.`);
  done();
}

/** The beginning or the end of a day here; what is no day goes as it is, and the API says so. */
function instant(text, end) {
  const at = new Date(`${text}T${end ? "23:59:59.999" : "00:00:00"}`);
  return text && !Number.isNaN(at.getTime()) ? at.toISOString() : text;
}

export default function Movements({ query }) {
  const asked = { product_id: query.product_id, from: instant(query.from), to: instant(query.to, true) };
  const moves = usePages("/stock", asked);
  const wrong = moves.error?.fields ?? {};
  const search = (event) => {
    event.preventDefault();
    go("/movements", Object.fromEntries([...new FormData(event.target)].map(([name, value]) => [name, value.trim()])));
  };
  return html`
    <${Heading} title="Movements" about="Every unit that came, went, was sold or came back." />
    <${Card}><form class="search" role="search" onSubmit=${search} key=${JSON.stringify(query)}>
      <${Field} label="Product number" name="product_id" inputmode="numeric" value=${query.product_id ?? ""} error=${wrong.product_id} />
      <${Field} label="From" name="from" type="date" value=${query.from ?? ""} error=${wrong.from} />
      <${Field} label="To" name="to" type="date" value=${query.to ?? ""} error=${wrong.to} />
      <${Button} type="submit" icon="search">Search</${Button}>
    </form></${Card}>
    <${Card} class="flush"><${List} of=${moves} label="Movements" id=${(row) => row.id} columns=${columns(true)}
      empty=${html`<${Empty} icon="boxes" title="Nothing has moved">Book goods in or out on the page of a product.</${Empty}>`} /></${Card}>`;
}
