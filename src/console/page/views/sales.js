// The sales that there are, each with its stock as it moves.

import { connection, post, usePoll } from "../api.js";
import { useStore } from "../store.js";
import { count, duration, rate } from "../format.js";
import { address, go } from "../router.js";
import { Badge, Button, Card, Empty, Field, Heading, Icon, Loaded, Time, ask, html, reasoned, toast, withReason } from "../ui.js";
import Sale, { Bar } from "./sale.js";

export default function Sales({ rest, query }) {
  return rest ? html`<${Sale} key=${rest} id=${rest} />` : html`<${Overview} query=${query} />`;
}

function Overview({ query }) {
  const sales = usePoll("/admin/sales", { q: query.q }, 2_000);
  const { ok } = useStore(connection);
  return html`
    <${Heading} title="Sale" about="What is on sale now, as it moves.">
      <${Live} ok=${ok} />
    </${Heading}>
    <${Expiry} />
    <${Card}><form class="search" role="search" onSubmit=${(event) => (event.preventDefault(), go("/sale", { q: new FormData(event.target).get("q") }))}>
      <${Field} label="Find a product" name="q" type="search" value=${query.q ?? ""} placeholder="At least three letters of its name or SKU" error=${sales.error?.fields?.q} />
      <${Button} type="submit" icon="search">Search</${Button}>
    </form></${Card}>
    <${Card} class="flush"><${Loaded} of=${sales} rows=${9}>${({ items, next_cursor }) => items.length
      ? html`<div>${items.map((sale) => html`<${Row} key=${sale.product_id} sale=${sale} />`)}</div>
          ${next_cursor && html`<p class="more">These are the newest ${count(items.length)}. Search for others.</p>`}`
      : html`<${Empty} icon="gauge" title=${query.q ? "No product is called that" : "Nothing is on sale"}>
          ${query.q ? "Search for another name or SKU." : html`A product makes a sale. <a href=${address("/products/new")}>Make one</a>.`}</${Empty}>`
    }</${Loaded}></${Card}>`;
}

export function Live({ ok }) {
  return html`<span class=${`badge ${ok ? "good" : "warn"}`}>${ok ? "Live" : "Waiting for the service"}</span>`;
}

function Row({ sale }) {
  return html`<a class="sale" href=${address(`/sale/${sale.product_id}`)}>
    <div class="sale-name"><strong>${sale.name}</strong><span class="mono muted">${sale.sku}</span><${Badge} status=${sale.state} /></div>
    <div class="sale-rates">
      <span>${rate(sale.rates?.reserved_per_s)} held</span><span>${rate(sale.rates?.refused_per_s)} refused</span>
      ${sale.sold_out_in_s !== null && sale.sold_out_in_s !== undefined && html`<span>sold out in ${duration(sale.sold_out_in_s)}</span>`}
    </div>
    <div class="wide"><${Bar} sale=${sale} legend /></div>
  </a>`;
}

/** Whether holds expire at all: stopped by hand while a payment provider is away. */
export function Expiry() {
  const expiry = usePoll("/admin/expiry", {}, 10_000);
  const frozen = expiry.data?.frozen;
  if (!expiry.data) return null;
  const change = (verb, question) => async () => {
    const done = await ask({ ...question, fields: withReason, work: (values) => post(`/admin/expiry/${verb}`, reasoned(values)) });
    if (!done) return;
    const back = verb === "freeze" ? "thaw" : "freeze";
    toast(verb === "freeze" ? "No hold expires now." : "Holds expire again, each with what it had left.", {
      undo: () => post(`/admin/expiry/${back}`, {}).then(expiry.reload, (error) => toast(error.message, { tone: "bad" })),
    });
    expiry.reload();
  };
  const freeze = change("freeze", {
    title: "Stop holds from expiring?",
    text: "For when buyers cannot pay through no fault of their own. Units stay held everywhere until you let holds expire again.",
    action: "Freeze expiry",
  });
  const thaw = change("thaw", {
    title: "Let holds expire again?",
    text: "Each hold goes on with the time that it had left when expiry was frozen.",
    action: "Thaw",
  });
  if (!frozen) {
    return html`<div class="notice"><${Icon} name="timer" /><span class="grow">Holds expire at their deadlines.</span>
      <${Button} icon="snowflake" onClick=${freeze}>Freeze expiry</${Button}></div>`;
  }
  const { since, by, reason } = expiry.data;
  return html`<div class="notice warn"><${Icon} name="snowflake" />
    <span class="grow">No hold expires since <${Time} at=${since} />${by && `, by ${by}`}${reason && `: ${reason}`}.</span>
    <${Button} icon="sun-snow" onClick=${thaw}>Thaw</${Button}></div>`;
}
