// Orders: found by buyer, state or id; fulfilled, cancelled, refunded; told again.

import { post, usePoll } from "../api.js";
import { count, money, short } from "../format.js";
import { address, go } from "../router.js";
import { isAdmin } from "../session.js";
import { Badge, Button, Card, Choice, Empty, Field, Heading, List, Loaded, Time, ask, attempt, html, toast, usePages } from "../ui.js";

const STATUSES = [["", "All"], ["pending_payment", "Pending payment"], ["paid", "Paid"], ["fulfilled", "Fulfilled"], ["cancelled", "Cancelled"], ["refunded", "Refunded"]];

export default function Orders({ rest, query }) {
  return rest ? html`<${Order} key=${rest} id=${rest} />` : html`<${Search} query=${query} />`;
}

function Search({ query }) {
  const admin = isAdmin();
  const orders = usePages("/orders", { status: query.status, user_id: admin ? query.user_id : undefined });
  const wrong = orders.error?.fields ?? {};
  const search = (event) => {
    event.preventDefault();
    const { id, ...given } = Object.fromEntries([...new FormData(event.target)].map(([name, value]) => [name, value.trim()]));
    if (id) go(`/orders/${encodeURIComponent(id)}`);
    else go("/orders", given);
  };
  return html`
    <${Heading} title="Orders" about=${admin ? "What holds became." : "Orders with your products in them."} />
    <${Card}><form class="search" role="search" onSubmit=${search} key=${JSON.stringify(query)}>
      ${admin && html`<${Field} label="Buyer" name="user_id" value=${query.user_id ?? ""} error=${wrong.user_id} />`}
      <${Field} label="Order id" name="id" placeholder="The whole id" />
      <${Field} label="State" name="status">${(tied) => html`<${Choice} ...${tied} options=${STATUSES} value=${query.status ?? ""} />`}</${Field}>
      <${Button} type="submit" icon="search" kind="primary">Search</${Button}>
    </form></${Card}>
    <${Card} class="flush"><${List} of=${orders} label="Orders" id=${(order) => order.id} href=${(order) => address(`/orders/${order.id}`)}
      empty=${html`<${Empty} icon="receipt" title="No orders">Nothing was ordered that fits.</${Empty}>`}
      columns=${[
        ["Order", (order) => html`<span class="mono" title=${order.id}>${short(order.id)}</span>`],
        ["Buyer", (order) => order.user_id],
        ["Items", (order) => order.items.map((item) => html`<div class="nowrap" key=${item.sku}>${item.quantity} × <span class="mono">${item.sku}</span></div>`)],
        ["Total", (order) => money(order.total_amount, order.currency), "number"],
        ["State", (order) => html`<${Badge} status=${order.status} />`],
        ["Made", (order) => html`<${Time} at=${order.created_at} />`],
      ]} /></${Card}>`;
}

function Order({ id }) {
  const poll = usePoll(`/orders/${encodeURIComponent(id)}`, {}, 5_000);
  return html`
    <${Heading} title="Order" back=${{ href: address("/orders"), text: "All orders" }} about=${html`<span class="mono">${id}</span>`}>
      ${poll.data && html`<${Actions} order=${poll.data} reload=${poll.reload} />`}
    </${Heading}>
    <${Loaded} of=${poll} rows=${8}>${(order) => html`<div class="columns">
      <${Card} class="flush" title="Items"><${Items} order=${order} /></${Card}>
      <div class="stack">
        <${Card} title="The order"><dl class="facts">
          <div><dt>State</dt><dd><${Badge} status=${order.status} /></dd></div>
          <div><dt>Total</dt><dd>${money(order.total_amount, order.currency)}</dd></div>
          <div><dt>Buyer</dt><dd>${isAdmin() ? html`<a href=${address("/orders", { user_id: order.user_id })}>${order.user_id}</a>` : order.user_id}</dd></div>
          <div><dt>Made</dt><dd><${Time} at=${order.created_at} /></dd></div>
          ${isAdmin() && order.reservation_id && html`<div><dt>Hold</dt><dd><a href=${address(`/holds/${order.reservation_id}`)}>${short(order.reservation_id)}</a></dd></div>`}
        </dl></${Card}>
        <${Card} title="Payment"><${Paid} payment=${order.payment} /></${Card}>
      </div>
    </div>`}</${Loaded}>`;
}

function Items({ order }) {
  return html`<div class="table" role="region" aria-label="Items" tabindex="0"><table>
    <thead><tr><th scope="col">Product</th><th scope="col">SKU</th><th scope="col" class="number">Price</th><th scope="col" class="number">Units</th><th scope="col" class="number">Sum</th></tr></thead>
    <tbody>${order.items.map((item) => html`<tr key=${item.sku}>
      <td data-title="">${item.name}</td><td data-title="SKU"><span class="mono">${item.sku}</span></td>
      <td data-title="Price" class="number">${money(item.unit_price, order.currency)}</td><td data-title="Units" class="number">${count(item.quantity)}</td>
      <td data-title="Sum" class="number">${money(item.line_total, order.currency)}</td></tr>`)}</tbody>
  </table></div>`;
}

function Paid({ payment }) {
  if (!payment) return html`<p class="muted">The storefront took the money.</p>`;
  return html`<dl class="facts">
    <div><dt>Provider</dt><dd>${payment.provider === "bkash" ? "bKash" : "Stripe"}</dd></div>
    <div><dt>State</dt><dd><${Badge} status=${payment.status} /></dd></div>
    <div><dt>Amount</dt><dd>${money(payment.amount, payment.currency)}</dd></div>
    ${isAdmin() && html`<div><dt>Details</dt><dd><a href=${address(`/payments/${payment.id}`)}>Raw exchange</a></dd></div>`}
  </dl>`;
}

function Actions({ order, reload }) {
  const act = (verb, question, done) => async () => {
    const { fields = [], body = () => ({}) } = question;
    if (await ask({ ...question, fields, work: (values) => post(`/orders/${order.id}/${verb}`, body(values)) })) toast(done);
    reload();
  };
  const cancel = act("cancel", { title: "Cancel this order?", text: "It is not paid yet. Its units go back on sale.", action: "Cancel order", danger: true }, "The order was cancelled.");
  const refund = act("refund", {
    title: "Refund this order?",
    text: `${money(order.total_amount, order.currency)} go back to ${order.user_id}, and cannot be taken again.`,
    action: "Refund",
    danger: true,
    fields: [{ name: "restock", label: "Units", value: "yes", options: [["yes", "Back on sale"], ["no", "Stay away"]] }],
    body: ({ restock }) => ({ restock: restock === "yes" }),
  }, "The order was refunded.");
  const fulfil = () => attempt(() => post(`/orders/${order.id}/fulfil`, {}), "The order is fulfilled.").then(reload);
  const resend = (what) => () => attempt(() => post(`/admin/orders/${order.id}/resend`, { what }), what === "mail" ? "The e-mail is on its way again." : "The webhooks are on their way again.");
  const admin = isAdmin();
  return html`
    ${order.status === "paid" && html`<${Button} icon="truck" kind="primary" onClick=${fulfil}>Fulfil</${Button}>`}
    ${admin && html`<${Button} icon="mail" onClick=${resend("mail")}>Resend e-mail</${Button}>
      <${Button} icon="webhook" onClick=${resend("webhook")}>Resend webhook</${Button}>`}
    ${admin && order.status === "pending_payment" && html`<${Button} icon="ban" kind="danger-quiet" onClick=${cancel}>Cancel order</${Button}>`}
    ${admin && ["paid", "fulfilled"].includes(order.status) && html`<${Button} icon="undo-2" kind="danger-quiet" onClick=${refund}>Refund</${Button}>`}`;
}
