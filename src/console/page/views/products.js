// Products: a merchant's own, an admin's all.

import { address, go } from "../router.js";
import { isAdmin } from "../session.js";
import { count, duration, money } from "../format.js";
import { Badge, Button, Card, Choice, Empty, Field, Heading, Icon, List, html, usePages } from "../ui.js";
import Product from "./product.js";

const ORDERS = [["-created_at", "Newest"], ["name", "Name"], ["price", "Price, low first"], ["-price", "Price, high first"]];

export default function Products({ rest, query }) {
  return rest ? html`<${Product} key=${rest} id=${rest} />` : html`<${Overview} query=${query} />`;
}

function Overview({ query }) {
  const mine = !isAdmin() || query.owner === "me" ? "me" : undefined;
  const asked = { q: query.q, category: query.category, ordering: query.ordering, low_stock: query.low_stock === "true" ? "true" : undefined, owner: mine };
  const products = usePages("/products", asked);
  const wrong = products.error?.fields ?? {};
  const search = (event) => {
    event.preventDefault();
    const given = Object.fromEntries([...new FormData(event.target)].map(([name, value]) => [name, value.trim()]));
    go("/products", given);
  };
  return html`
    <${Heading} title="Products" about=${isAdmin() ? "Everything that can be sold here." : "What you sell."}>
      <a class="button primary" href=${address("/products/new")}><${Icon} name="plus" />New product</a>
    </${Heading}>
    <${Card}><form class="search" role="search" onSubmit=${search} key=${JSON.stringify(query)}>
      <${Field} label="Name" name="q" type="search" value=${query.q ?? ""} error=${wrong.q} placeholder="At least three letters" />
      <${Field} label="Category" name="category" value=${query.category ?? ""} error=${wrong.category} />
      <${Field} label="Order" name="ordering">${(tied) => html`<${Choice} ...${tied} options=${ORDERS} value=${query.ordering ?? "-created_at"} />`}</${Field}>
      <${Field} label="Show" name="low_stock">${(tied) => html`<${Choice} ...${tied} options=${[["", "All"], ["true", isAdmin() ? "My own, low on stock" : "Low on stock"]]} value=${query.low_stock ?? ""} />`}</${Field}>
      <${Button} type="submit" icon="search">Search</${Button}>
    </form></${Card}>
    <${Card} class="flush"><${List} of=${products} label="Products" id=${(product) => product.id}
      href=${(product) => address(`/products/${product.id}`)}
      empty=${html`<${Empty} icon="package" title=${query.low_stock ? "Nothing is low on stock" : "No products"}>
        <a href=${address("/products/new")}>Make the first one</a></${Empty}>`}
      columns=${[
        ["Name", (product) => product.name],
        ["SKU", (product) => html`<span class="mono">${product.sku}</span>`],
        ["Category", (product) => product.category ?? "–"],
        ["Price", (product) => money(product.price, product.currency), "number"],
        ["Stock", (product) => count(product.total_stock), "number"],
        ["Hold time", (product) => (product.hold_ttl_seconds ? duration(product.hold_ttl_seconds) : "Standard"), "number"],
        ["State", (product) => html`<${Badge} status=${product.published ? "open" : "hidden"}>${product.published ? "Published" : "Hidden"}</${Badge}>`],
      ]} /></${Card}>`;
}
