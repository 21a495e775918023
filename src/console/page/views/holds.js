// Holds: found by buyer, SKU or id; the history of each; released or extended.

import { call, usePoll, whole } from "../api.js";
import { short, who } from "../format.js";
import { address, go } from "../router.js";
import { Badge, Button, Card, Choice, Countdown, Empty, Field, Heading, List, Loaded, Time, ask, html, reasoned, toast, usePages, withReason } from "../ui.js";

const STATUSES = [["", "Any"], ["held", "Held"], ["confirming", "Being paid"], ["confirmed", "Confirmed"], ["cancelled", "Cancelled"], ["expired", "Expired"]];

export default function Holds({ rest, query }) {
  return rest ? html`<${Hold} key=${rest} id=${rest} />` : html`<${Search} query=${query} />`;
}

const useFrozen = () => usePoll("/admin/expiry", {}, 5_000).data?.frozen;

function Search({ query }) {
  const frozen = useFrozen();
  const { user_id, sku, reservation_id, status } = query;
  const asked = Boolean(user_id || sku || reservation_id);
  const holds = usePages("/admin/holds", { user_id, sku, reservation_id, status }, { every: 5_000 });
  const search = (event) => {
    event.preventDefault();
    const given = Object.fromEntries([...new FormData(event.target)].map(([name, value]) => [name, value.trim()]));
    go("/holds", given);
  };
  const wrong = holds.error?.fields ?? {};
  return html`
    <${Heading} title="Holds" about=${asked ? "Units that buyers hold, and how long still." : "Some of what is held now. Name a buyer, a SKU or a reservation to see all of theirs."} />
    <${Card}><form class="search" role="search" onSubmit=${search} key=${JSON.stringify(query)}>
      <${Field} label="Buyer" name="user_id" value=${user_id ?? ""} error=${wrong.user_id} />
      <${Field} label="SKU" name="sku" value=${sku ?? ""} error=${wrong.sku} />
      <${Field} label="Reservation id" name="reservation_id" value=${reservation_id ?? ""} error=${wrong.reservation_id} />
      <${Field} label="Status" name="status" error=${wrong.status}>${(tied) => html`<${Choice} ...${tied} options=${STATUSES} value=${status ?? ""} />`}</${Field}>
      <${Button} type="submit" icon="search" kind="primary">Search</${Button}>
    </form></${Card}>
    <${Card} class="flush"><${List} of=${holds} label="Holds" id=${(hold) => hold.reservation_id}
      href=${(hold) => address(`/holds/${hold.reservation_id}`)}
      empty=${html`<${Empty} icon="hourglass" title="No holds">Nobody holds what you searched for.</${Empty}>`}
      columns=${[
        ["Hold", (hold) => html`<span class="mono" title=${hold.reservation_id}>${short(hold.reservation_id)}</span>`],
        ["Buyer", (hold) => hold.user_id],
        ["Items", (hold) => items(hold)],
        ["Status", (hold) => html`<${Badge} status=${hold.status} />`],
        ["Time left", (hold) => (hold.status === "held" ? html`<${Countdown} left=${hold.expires_in} frozen=${frozen} />` : "–"), "number"],
        ["Ended by", (hold) => html`<span class="nowrap" title=${hold.actor}>${who(hold.actor)}</span>`],
        ["", (hold) => hold.status === "held" && html`<${RowActions} hold=${hold} reload=${holds.reload} />`],
      ]} /></${Card}>`;
}

const items = (hold) => hold.items.map((item) => html`<div class="nowrap" key=${item.sku}>${item.quantity} × <span class="mono">${item.sku}</span></div>`);

function RowActions({ hold, reload }) {
  return html`<div class="row-actions">
    <${Button} onClick=${() => extend(hold, reload)} aria-label=${`Extend the hold of ${hold.user_id}`}>Extend</${Button}>
    <${Button} kind="danger-quiet" onClick=${() => release(hold, reload)} aria-label=${`Release the hold of ${hold.user_id}`}>Release</${Button}>
  </div>`;
}

async function release(hold, reload) {
  const done = await ask({
    title: "Release this hold?",
    text: `${hold.user_id} loses what is held, and the next buyer can have it at once. This cannot be taken back.`,
    action: "Release",
    danger: true,
    fields: withReason,
    work: (values) => call("DELETE", `/reservations/${hold.reservation_id}`, { query: reasoned(values) }),
  });
  if (done) toast("The hold was released.");
  reload();
}

async function extend(hold, reload) {
  const done = await ask({
    title: "Give this hold more time?",
    text: "A hold can be extended a few times, up to the longest time that it may last.",
    action: "Extend",
    fields: [{ name: "seconds", label: "Seconds", inputmode: "numeric", value: "120" }, ...withReason],
    work: (values) => call("POST", `/reservations/${hold.reservation_id}/extend`, { query: reasoned(values), body: { seconds: whole(values.seconds) } }),
  });
  if (done) toast("The hold was extended.");
  reload();
}

function Hold({ id }) {
  const poll = usePoll(`/admin/holds/${encodeURIComponent(id)}`, {}, 2_000);
  return html`
    <${Heading} title="Hold" back=${{ href: address("/holds"), text: "All holds" }} about=${html`<span class="mono">${id}</span>`}>
      ${poll.data?.status === "held" && html`
        <${Button} icon="timer-reset" onClick=${() => extend(poll.data, poll.reload)}>Extend</${Button}>
        <${Button} icon="ban" kind="danger-quiet" onClick=${() => release(poll.data, poll.reload)}>Release</${Button}>`}
    </${Heading}>
    <${Loaded} of=${poll} rows=${6}>${(hold) => html`<div class="columns">
      <div class="stack"><${Card} title="The hold"><${Facts} hold=${hold} /></${Card}></div>
      <${Card} title="History"><${History} of=${hold.history ?? []} /></${Card}>
    </div>`}</${Loaded}>`;
}

function Facts({ hold }) {
  const frozen = useFrozen();
  return html`<dl class="facts">
    <div><dt>Status</dt><dd><${Badge} status=${hold.status} />${hold.reason && html` <span class="muted">${hold.reason}</span>`}</dd></div>
    <div><dt>Buyer</dt><dd><a href=${address("/holds", { user_id: hold.user_id })}>${hold.user_id}</a></dd></div>
    <div><dt>Items</dt><dd>${items(hold)}</dd></div>
    <div><dt>Made</dt><dd><${Time} at=${hold.created_at} /></dd></div>
    <div><dt>Deadline</dt><dd><${Time} at=${hold.expires_at} /></dd></div>
    <div><dt>Time left</dt><dd>${hold.status === "held" ? html`<${Countdown} left=${hold.expires_in} frozen=${frozen} />` : "–"}</dd></div>
    ${hold.order_id && html`<div><dt>Order</dt><dd><a href=${address(`/orders/${hold.order_id}`)}>${short(hold.order_id)}</a></dd></div>`}
  </dl>`;
}

function History({ of }) {
  if (!of.length) return html`<p class="muted">Nothing is recorded yet.</p>`;
  return html`<ol class="timeline">${of.map((entry, at) => html`<li key=${at}>
    <strong>${entry.event.replaceAll("_", " ").replace(/^./, (c) => c.toUpperCase())}</strong>
    <div class="muted"><${Time} at=${entry.at} />${entry.actor && html` by <span title=${entry.actor}>${who(entry.actor)}</span>`}</div>
    ${entry.reason && html`<div>${entry.reason.replaceAll("_", " ")}</div>`}
  </li>`)}</ol>`;
}
