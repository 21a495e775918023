// Who did what.

import { address, go } from "../router.js";
import { who, words } from "../format.js";
import { Button, Card, Empty, Field, Heading, List, Time, html, usePages } from "../ui.js";

export default function Audit({ query }) {
  const { action, subject, actor } = query;
  const rows = usePages("/admin/audit", { action, subject, actor });
  const wrong = rows.error?.fields ?? {};
  const search = (event) => {
    event.preventDefault();
    go("/audit", Object.fromEntries([...new FormData(event.target)].map(([name, value]) => [name, value.trim()])));
  };
  return html`
    <${Heading} title="Audit" about="Who changed what, and why. Nothing here can be changed." />
    <${Card}><form class="search" role="search" onSubmit=${search} key=${JSON.stringify(query)}>
      <${Field} label="Action" name="action" value=${action ?? ""} error=${wrong.action} />
      <${Field} label="Subject" name="subject" value=${subject ?? ""} error=${wrong.subject} />
      <${Field} label="Actor" name="actor" value=${actor ?? ""} error=${wrong.actor} />
      <${Button} type="submit" icon="search" kind="primary">Search</${Button}>
    </form></${Card}>
    <${Card} class="flush"><${List} of=${rows} label="Audit log" id=${(row) => row.id}
      empty=${html`<${Empty} icon="scroll-text" title="Nothing is recorded">Changes to sales, settings, holds and payments come here.</${Empty}>`}
      columns=${[
        ["When", (row) => html`<${Time} at=${row.at} />`],
        ["Action", (row) => html`<strong>${words(row.action.replaceAll(".", " "))}</strong>`],
        ["Subject", (row) => html`<a href=${address("/audit", { subject: row.subject })}>${row.subject}</a>`],
        ["Actor", (row) => html`<a href=${address("/audit", { actor: row.actor })}title=${row.actor}>${who(row.actor)}</a>`],
        ["Detail", (row) => html`<${Detail} of=${row.detail ?? {}} />`],
      ]} /></${Card}>`;
}

const text = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value));

function Detail({ of }) {
  const pairs = Object.entries(of).filter(([, value]) => value !== null);
  if (!pairs.length) return "–";
  return html`<div>${pairs.map(([name, value]) => html`<div key=${name}><span class="muted">${words(name)}</span> ${text(value)}</div>`)}</div>`;
}
