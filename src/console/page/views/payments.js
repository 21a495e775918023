// Payments: what was said to and by the providers, and those that a person has to decide about.

import { post, usePoll } from "../api.js";
import { money, short, words } from "../format.js";
import { address, go } from "../router.js";
import { Badge, Button, Card, Choice, Empty, Field, Heading, Icon, List, Loaded, Time, ask, html, reasoned, toast, usePages, withReason } from "../ui.js";

const STATUSES = [["", "All"], ["review", "In review"], ["initiated", "Initiated"], ["pending", "Pending"], ["paid", "Paid"], ["failed", "Failed"], ["cancelled", "Cancelled"], ["expired", "Expired"], ["late", "Late"], ["refunding", "Refunding"], ["refunded", "Refunded"]];
const PROVIDERS = [["", "All"], ["stripe", "Stripe"], ["bkash", "bKash"]];
const provider = (payment) => PROVIDERS.find(([key]) => key === payment.provider)?.[1] ?? payment.provider;

/** Why a person has to decide, in the words of the one who does. */
const WHY = {
  amount: "Another amount was paid than was ordered.", currency: "It was paid in another currency.",
  reference: "The provider names another order.", livemode: "It was paid with test money, or with real money in a test.",
};

/** How a payment whose money does not fit its order can end. */
const OUTCOMES = {
  accept: { title: "Accept this payment?", text: "The order is paid as if everything had agreed.", action: "Accept", done: "The payment was accepted." },
  refund: { title: "Refund this payment?", text: "The money goes back to the buyer, the units back on sale.", action: "Refund", danger: true, done: "The payment is being refunded." },
  release: { title: "Release the units?", text: "The units go back on sale. No money is moved: settle that with the provider.", action: "Release", danger: true, done: "The units are on sale again." },
};

export default function Payments({ rest, query }) {
  return rest ? html`<${Payment} key=${rest} id=${rest} />` : html`<${Search} query=${query} />`;
}

function Search({ query }) {
  const { status, provider: asked, user_id, order_id } = query;
  const payments = usePages("/admin/payments", { status, provider: asked, user_id, order_id });
  const wrong = payments.error?.fields ?? {};
  const search = (event) => {
    event.preventDefault();
    go("/payments", Object.fromEntries([...new FormData(event.target)].map(([name, value]) => [name, value.trim()])));
  };
  return html`
    <${Heading} title="Payments" about="Money through Stripe and bKash.">
      <a class="button plain" href=${address("/payments", { status: "review" })}><${Icon} name="eye" />In review</a>
    </${Heading}>
    <${Card}><form class="search" role="search" onSubmit=${search} key=${JSON.stringify(query)}>
      <${Field} label="Buyer" name="user_id" value=${user_id ?? ""} error=${wrong.user_id} />
      <${Field} label="Order id" name="order_id" value=${order_id ?? ""} error=${wrong.order_id} />
      <${Field} label="State" name="status">${(tied) => html`<${Choice} ...${tied} options=${STATUSES} value=${status ?? ""} />`}</${Field}>
      <${Field} label="Provider" name="provider">${(tied) => html`<${Choice} ...${tied} options=${PROVIDERS} value=${asked ?? ""} />`}</${Field}>
      <${Button} type="submit" icon="search" kind="primary">Search</${Button}>
    </form></${Card}>
    <${Card} class="flush"><${List} of=${payments} label="Payments" id=${(payment) => payment.id} href=${(payment) => address(`/payments/${payment.id}`)}
      empty=${html`<${Empty} icon="credit-card" title=${status === "review" ? "Nothing to decide" : "No payments"}>
        ${status === "review" ? "Payments whose amount or reference differ from their order come here." : "Nobody has paid here yet."}</${Empty}>`}
      columns=${[
        ["Payment", (payment) => html`<span class="mono" title=${payment.id}>${short(payment.id)}</span>`],
        ["Buyer", (payment) => payment.user_id ?? "–"],
        ["Provider", provider],
        ["Amount", (payment) => money(payment.amount, payment.currency), "number"],
        ["State", (payment) => html`<${Badge} status=${payment.status} />`],
        ["What is wrong", (payment) => why(payment) ?? "–"],
        ["Made", (payment) => html`<${Time} at=${payment.created_at} />`],
      ]} /></${Card}>`;
}

const why = ({ failure }) => failure && (WHY[failure] ?? words(failure));

/** What does not fit, above the buttons that decide about it. */
function Doubt({ payment }) {
  const list = usePoll("/admin/payments", { status: "review", order_id: payment.order_id });
  const told = list.data && why(list.data.items.find(({ id }) => id === payment.id) ?? {});
  return told && html`<div class="notice warn"><${Icon} name="triangle-alert" /><span class="grow">${told} Compare with the provider's own page, then decide.</span></div>`;
}

function Payment({ id }) {
  const poll = usePoll(`/payments/${encodeURIComponent(id)}`, {}, 5_000);
  const payment = poll.data;
  const resolve = (outcome) => async () => {
    const { done, ...question } = OUTCOMES[outcome];
    const work = (values) => post(`/admin/payments/${encodeURIComponent(id)}/resolve`, reasoned(values, { outcome }));
    const resolved = await ask({ ...question, fields: withReason, work });
    if (resolved?.status === "review") toast("The provider gives nothing back, so it stays in review.", { tone: "bad" });
    else if (resolved) toast(done);
    poll.reload();
  };
  return html`
    <${Heading} title="Payment" back=${{ href: address("/payments"), text: "All payments" }} about=${html`<span class="mono">${id}</span>`}>
      ${payment?.status === "review" && html`
        <${Button} icon="check" kind="primary" onClick=${resolve("accept")}>Accept</${Button}>
        <${Button} icon="undo-2" kind="danger-quiet" onClick=${resolve("refund")}>Refund</${Button}>
        <${Button} icon="ban" kind="danger-quiet" onClick=${resolve("release")}>Release units</${Button}>`}
    </${Heading}>
    ${payment?.status === "review" && html`<${Doubt} payment=${payment} />`}
    <${Loaded} of=${poll} rows=${7}>${() => html`
      <${Card} title="The payment"><dl class="facts">
        <div><dt>State</dt><dd><${Badge} status=${payment.status} /></dd></div>
        <div><dt>Amount</dt><dd>${money(payment.amount, payment.currency)}</dd></div>
        <div><dt>Provider</dt><dd>${provider(payment)}</dd></div>
        <div><dt>Order</dt><dd>${payment.order_id ? html`<a href=${address(`/orders/${payment.order_id}`)}>${short(payment.order_id)}</a>` : "–"}</dd></div>
        <div><dt>At the provider</dt><dd class="mono">${payment.provider_payment_id ?? "–"}</dd></div>
        <div><dt>Transaction</dt><dd class="mono">${payment.transaction_id ?? "–"}</dd></div>
        <div><dt>Made</dt><dd><${Time} at=${payment.created_at} /></dd></div>
        <div><dt>Deadline</dt><dd><${Time} at=${payment.deadline} /></dd></div>
      </dl></${Card}>
      <${Card} title="What was said"><${Exchanges} of=${payment.exchanges ?? []} /></${Card}>`}</${Loaded}>`;
}

function Exchanges({ of }) {
  if (!of.length) return html`<p class="muted">Nothing was said to or by the provider yet.</p>`;
  return of.map((one, at) => html`<details class="exchange" key=${one.created_at + at}>
    <summary>${words(one.source)}: ${one.operation}${one.http_status && ` · ${one.http_status}`}${one.duration_ms !== null && one.duration_ms !== undefined && ` · ${one.duration_ms} ms`}
      ${" "}<span class="muted"><${Time} at=${one.created_at} /></span></summary>
    <pre tabindex="0">${JSON.stringify(one.raw, null, 2)}</pre>
  </details>`);
}
