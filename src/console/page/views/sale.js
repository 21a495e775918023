// One sale: its figures once a second, the last quarter of an hour, and what can be done about it.

import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { connection, get, post, usePoll, whole } from "../api.js";
import { Chart } from "../chart.js";
import { count, duration, rate } from "../format.js";
import { address } from "../router.js";
import { useStore } from "../store.js";
import { Badge, Button, Card, Heading, Loaded, Skeleton, ask, html, reasoned, toast, withReason } from "../ui.js";

const SHARES = [
  ["sold", "Sold", (sale) => sale.sold_stock],
  ["paying", "Paying", (sale) => sale.paying_stock],
  ["held", "Held", (sale) => sale.reserved_stock - sale.paying_stock],
  ["available", "Available", (sale) => sale.available_stock],
];
const COLOURS = { sold: "--bar-sold", paying: "--bar-paying", held: "--bar-held", available: "--bar-available" };

/** How the stock of a sale is shared out. */
export function Bar({ sale, tall, legend }) {
  const parts = SHARES.map(([key, text, of]) => [key, text, Math.max(0, of(sale))]);
  const told = parts.map(([, text, units]) => `${text} ${count(units)}`).join(", ");
  return html`<div>
    <div class=${tall ? "bar tall" : "bar"} role="img" aria-label=${`${told} of ${count(sale.total_stock)}`}>
      ${parts.filter(([, , units]) => units > 0).map(([key, , units]) => html`<span key=${key} class=${key} style=${{ flexGrow: units }}></span>`)}
    </div>
    ${legend && html`<div class="legend" aria-hidden="true">${parts.map(([key, text, units]) => html`
      <span key=${key}><i class=${`dot ${key}`}></i>${text} ${count(units)}</span>`)}</div>`}
  </div>`;
}

const WINDOW = 15 * 60;

/** The last quarter of an hour: asked for once, and carried on with what comes every second. */
function useHistory(id, sale) {
  const [points, setPoints] = useState(null);
  const last = useRef(0);
  useEffect(() => {
    const control = new AbortController();
    get(`/admin/sales/${id}/history`, {}, control.signal).then(
      (history) => setPoints(history.points.map((point) => ({ ...point, at: new Date(point.at) / 1_000 }))),
      (error) => error.name !== "AbortError" && setPoints([]),
    );
    return () => control.abort();
  }, [id]);
  useEffect(() => {
    if (!sale || !points) return;
    const at = new Date(sale.as_of) / 1_000;
    if (at - last.current < 1) return;
    last.current = at;
    const now = {
      at,
      available: sale.available_stock,
      held: sale.reserved_stock - sale.paying_stock,
      paying: sale.paying_stock,
      sold: sale.sold_stock,
      reserved_per_s: sale.rates?.reserved_per_s,
      refused_per_s: sale.rates?.refused_per_s,
    };
    setPoints((known) => [...known.filter((point) => point.at > at - WINDOW && point.at < at), now]);
  }, [sale?.as_of, points === null]);
  return points;
}

export default function Sale({ id }) {
  const poll = usePoll(`/admin/sales/${encodeURIComponent(id)}`, {}, 1_000);
  const points = useHistory(id, poll.data);
  const { ok } = useStore(connection);
  const sale = poll.data;
  const back = { href: address("/sale"), text: "All sales" };
  if (!sale) return html`<${Heading} title="Sale" back=${back} /><${Card}><${Loaded} of=${poll} rows=${8}>${() => null}</${Loaded}></${Card}>`;
  return html`
    <${Heading} title=${sale.name} back=${back} about=${html`<span class="mono">${sale.sku}</span>`}>
      <span class=${`badge ${ok ? "good" : "warn"}`}>${ok ? "Live" : "Waiting for the service"}</span>
      <${Badge} status=${sale.state} />
    </${Heading}>
    <${Controls} sale=${sale} reload=${poll.reload} />
    <${Card}><${Bar} sale=${sale} tall /></${Card}>
    <${Figures} sale=${sale} />
    <${Card} title="The last 15 minutes" actions=${html`<${Legend} />`}>
      ${points ? html`<${Chart} stacked label=${`Stock of ${sale.sku} over the last 15 minutes: now ${count(sale.available_stock)} available, ${count(sale.reserved_stock)} held, ${count(sale.sold_stock)} sold`}
        times=${points.map((point) => point.at)}
        series=${SHARES.map(([key, label]) => ({ label, colour: COLOURS[key], values: points.map((point) => point[key]) }))} />`
        : html`<${Skeleton} rows=${5} />`}
    </${Card}>
    <${Card} title="Requests per second" actions=${html`<div class="legend"><span><i class="dot held"></i>Held</span><span><i class="dot paying"></i>Refused</span></div>`}>
      ${points ? html`<${Chart} height=${150} label=${`Requests: ${rate(sale.rates?.reserved_per_s)} held, ${rate(sale.rates?.refused_per_s)} refused`}
        times=${points.map((point) => point.at)}
        series=${[
          { label: "Held", colour: "--bar-held", values: points.map((point) => point.reserved_per_s) },
          { label: "Refused", colour: "--bar-paying", values: points.map((point) => point.refused_per_s) },
        ]} />` : html`<${Skeleton} rows=${3} />`}
    </${Card}>`;
}

function Legend() {
  return html`<div class="legend">${SHARES.map(([key, text]) => html`<span key=${key}><i class=${`dot ${key}`}></i>${text}</span>`)}</div>`;
}

function Figures({ sale }) {
  const figure = (title, value, dot) => html`<div class="figure"><dt>${dot && html`<i class=${`dot ${dot}`}></i>`}${title}</dt><dd>${value}</dd></div>`;
  return html`<dl class="figures twelve">
    ${SHARES.map(([key, text, of]) => figure(text, count(Math.max(0, of(sale))), key)).reverse()}
    ${figure("In all", count(sale.total_stock))}
    ${figure("Live holds", html`<a href=${address("/holds", { sku: sale.sku })}>${count(sale.live_holds)}</a>`)}
    ${figure("Hold rate", rate(sale.rates?.reserved_per_s))}
    ${figure("Refusal rate", rate(sale.rates?.refused_per_s))}
    ${figure("Sale rate", rate(sale.rates?.sold_per_s))}
    ${figure("Sold out in", sale.available_stock === 0 ? "Sold out" : duration(sale.sold_out_in_s))}
    ${figure("Restore lag", sale.restore_lag_ms === null || sale.restore_lag_ms === undefined ? "–" : `${count(Math.round(sale.restore_lag_ms))} ms`)}
    ${figure("Hold time", duration(sale.hold_ttl_seconds))}
  </dl>`;
}

const VERBS = {
  open: { text: "Open", icon: "circle-play", done: "The sale is open.", title: "Open this sale?", about: "Buyers can hold units again." },
  pause: { text: "Pause", icon: "circle-pause", done: "The sale is paused.", title: "Pause this sale?", about: "Nobody can hold units until you open it again. Running holds go on, and can be paid." },
  drain: { text: "Drain", icon: "hourglass", done: "The sale is draining.", title: "Drain this sale?", about: "No new holds. Running holds can be paid until their deadlines; when none is left, the sale is closed." },
  close: { text: "Close", icon: "circle-stop", danger: true, done: "The sale is closed.", title: "Close this sale?", about: "No new holds, and every hold that is not being paid is released at once. Buyers lose what they hold." },
};
/** What makes sense in each state. */
const OFFERED = {
  open: ["pause", "drain", "close"], scheduled: ["open", "pause", "close"], paused: ["open", "drain", "close"],
  draining: ["open", "close"], closed: ["open"], hidden: ["close"],
};

function Controls({ sale, reload }) {
  const change = (verb) => async () => {
    const { title, about, text, danger, done } = VERBS[verb];
    const path = (one) => `/admin/sales/${sale.product_id}/${one}`;
    const fields = withReason;
    if (!(await ask({ title, text: about, action: text, danger, fields, work: (values) => post(path(verb), reasoned(values)) }))) return;
    const undo = verb === "close" || !["open", "paused"].includes(sale.state) ? undefined
      : () => post(path(sale.state === "open" ? "open" : "pause"), {}).then(reload, (error) => toast(error.message, { tone: "bad" }));
    toast(done, { undo });
    reload();
  };
  const extend = async () => {
    const answer = await ask({
      title: "Give every hold of this sale more time?",
      text: "Each live hold is extended, up to the longest time that a hold may last.",
      action: "Extend",
      fields: [{ name: "seconds", label: "Seconds", inputmode: "numeric", value: "120" }, ...withReason],
      work: (values) => post(`/admin/sales/${sale.product_id}/extend-holds`, reasoned(values, { seconds: whole(values.seconds) })),
    });
    if (answer) toast(`${count(answer.extended)} holds extended${answer.skipped ? `, ${count(answer.skipped)} could not be` : ""}.`);
    reload();
  };
  return html`<div class="actions" role="group" aria-label="The sale">
    ${(OFFERED[sale.state] ?? Object.keys(VERBS)).map((verb) => html`<${Button} key=${verb} icon=${VERBS[verb].icon}
      kind=${VERBS[verb].danger ? "danger-quiet" : verb === "open" ? "primary" : "plain"} onClick=${change(verb)}>${VERBS[verb].text}</${Button}>`)}
    <${Button} icon="timer-reset" onClick=${extend}>Extend all holds</${Button}>
    <a class="button plain" href=${address(`/products/${sale.product_id}`)}>Edit product</a>
  </div>`;
}
