// Whether everything works: each replica and its parts, the proof that no unit is lost, rebuilds.

import { useState } from "../vendor/hooks.js";
import { post, usePoll } from "../api.js";
import { count, duration, words } from "../format.js";
import { address } from "../router.js";
import { Badge, Button, Card, Empty, Heading, Icon, Loaded, Table, Time, ask, html, toast } from "../ui.js";

export default function Health() {
  const health = usePoll("/admin/health", {}, 2_000);
  const [compared, setCompared] = useState(null);
  const reconcile = async () => {
    const answer = await ask({
      title: "Compare the stores?",
      text: "Redis against Postgres, movements against stock, payments against orders. What differs can be healed at once.",
      action: "Compare",
      fields: [{ name: "dry_run", label: "What differs", value: "true", options: [["true", "Only show it"], ["false", "Heal it"]] }],
      work: ({ dry_run }) => post("/admin/reconcile", { dry_run: dry_run === "true" }),
    });
    if (!answer) return;
    setCompared(answer);
    const found = answer.findings.length;
    toast(found ? `${count(found)} findings${answer.dry_run ? "" : ", healed where that is possible"}.` : `Nothing differs: ${count(answer.checked.products)} products, ${count(answer.checked.holds)} holds, ${count(answer.checked.orders)} orders.`, { tone: found && answer.dry_run ? "bad" : "good" });
    health.reload();
  };
  return html`
    <${Heading} title="Health" about="Every replica and what it says of itself."><${Button} icon="refresh-cw" onClick=${reconcile}>Reconcile</${Button}></${Heading}>
    ${compared && html`<${Compared} of=${compared} />`}
    <${Loaded} of=${health} rows=${9}>${(data) => html`
      ${data.errors?.length > 0 && html`<div class="notice warn" role="alert"><${Icon} name="triangle-alert" /><span class="grow">${data.errors.join(" ")}</span></div>`}
      <dl class="figures">
        <div class="figure"><dt>State</dt><dd><${Badge} status=${data.status} /></dd></div>
        <div class="figure"><dt>Replicas</dt><dd>${count(data.replicas.length)}</dd></div>
        <div class="figure"><dt>Products with drift</dt><dd>${count(data.drift.filter((row) => !row.healed_at).length)}</dd></div>
        <div class="figure"><dt>Rebuilds</dt><dd>${count(data.rebuilds?.total)}</dd></div>
      </dl>
      <${Card} class="flush" title="Conservation" actions=${html`<span class="muted">${data.pass?.at ? html`${count(data.pass.products)} products proved <${Time} at=${data.pass.at} relative />` : "Not proved yet"}</span>`}>
        ${data.drift.length ? html`<${Table} label="Drift" rows=${data.drift} id=${(row) => row.product_id}
          href=${(row) => address(`/products/${row.product_id}`)} columns=${[
            ["SKU", (row) => html`<span class="mono">${row.sku}</span>`], ["Units", (row) => count(row.units), "number"],
            ["Rebuilds apart", (row) => count(row.epoch_gap), "number"], ["Found", (row) => html`<${Time} at=${row.found_at} relative />`],
            ["State", (row) => (row.healed_at ? html`<${Badge} status="ok">Put right</${Badge}>` : html`<${Badge} status="failed">Differs</${Badge}>`)],
          ]} />` : html`<${Empty} icon="circle-check" title="No unit is lost or made up">Available, held and sold add up for every product.</${Empty}>`}
      </${Card}>
      ${data.replicas.map((replica) => html`<${Replica} key=${replica.id} replica=${replica} />`)}
      <${Card} title="Queues and rebuilds"><dl class="facts">
        <div><dt>Rebuilds</dt><dd>${count(data.rebuilds?.total)}</dd></div>
        <div><dt>The last one</dt><dd>${data.rebuilds?.last_at ? html`<${Time} at=${data.rebuilds.last_at} relative />` : "None"}</dd></div>
        <div><dt>Waiting to be sent</dt><dd>${data.queue ? count(data.queue.waiting) : "–"}</dd></div>
        <div><dt>The oldest of it</dt><dd>${data.queue ? duration(data.queue.oldest_s) : "–"}</dd></div>
        <div><dt>Dead letters</dt><dd>${data.queue ? html`<a href=${address("/dead-letters")}>${count(data.queue.dead_letters)}</a>` : "–"}</dd></div>
      </dl></${Card}>`}</${Loaded}>`;
}

/** What a comparison of the stores found. */
function Compared({ of }) {
  const { findings, checked, dry_run, took_ms } = of;
  const all = Object.entries(checked).map(([name, units]) => `${count(units)} ${name}`).join(", ");
  return html`<${Card} class="flush" title="Comparison" actions=${html`<span class="muted">${all}, in ${count(took_ms)} ms</span>`}>
    ${findings.length ? html`<${Table} label="Findings" rows=${findings} id=${(row) => `${row.kind} ${row.subject}`} columns=${[
      ["What", (row) => words(row.kind)], ["Of", (row) => html`<span class="mono">${row.subject}</span>`], ["Expected", (row) => row.expected],
      ["Found", (row) => row.found],
      ["State", (row) => (row.healed ? html`<${Badge} status="ok">Healed</${Badge}>` : html`<${Badge} status="failed">${dry_run ? "Differs" : "Not healed"}</${Badge}>`)],
      ["Advice", (row) => row.advice ?? "–"],
    ]} />` : html`<${Empty} icon="circle-check" title="Nothing differs" />`}
  </${Card}>`;
}

function Replica({ replica }) {
  return html`<${Card} title=${html`<span class="mono">${replica.address ?? replica.id}</span>`} actions=${html`<div class="actions">
      <span class="muted">Version ${replica.version}, settings ${replica.settings_version ?? "–"}, up since <${Time} at=${replica.started_at} /></span>
      <${Badge} status=${replica.ready ? "ready" : "not_ready"} /></div>`}>
    <ul class="checks">${replica.checks.map((check) => html`<li key=${check.name} class=${check.ok ? "good" : "bad"}>
      <${Icon} name=${check.ok ? "circle-check" : "circle-alert"} label=${check.ok ? "Well" : "Not well"} /><strong>${words(check.name)}</strong><span class="muted">${check.detail}</span></li>`)}</ul>
  </${Card}>`;
}
