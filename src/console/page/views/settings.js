// Settings that change while the service runs: what is in force, where it comes from, who changed it.

import { useState } from "../vendor/hooks.js";
import { patch, usePoll } from "../api.js";
import { count, who, words } from "../format.js";
import { address } from "../router.js";
import { Badge, Button, Card, Choice, Empty, Field, Heading, Icon, Loaded, Time, html, reasoned, toast } from "../ui.js";

const SOURCES = { default: "Default", file: "File", environment: "Environment", live: "Live" };
const TTL = "reservation.ttl_seconds";

export default function Settings() {
  const settings = usePoll("/admin/settings", {}, 5_000);
  return html`
    <${Heading} title="Settings" about="A change rules every replica within two seconds. Everything else needs a restart, and is in the files.">
      <a class="button plain" href=${address("/audit", { action: "settings.change" })}>Who changed what</a>
    </${Heading}>
    <${Loaded} of=${settings} rows=${10}>${({ details, precedence, restart = [], refused, moving_holds, version }) => html`
      ${refused && html`<div class="notice warn" role="alert"><${Icon} name="triangle-alert" /><span class="grow">
        Refused <${Time} at=${refused.at} relative />, so what was before stands: ${refused.reason}</span></div>`}
      ${restart.length > 0 && html`<div class="notice"><${Icon} name="rotate-ccw" /><span class="grow">Changed in a file or variable, and waiting for a restart: <span class="mono">${restart.join(", ")}</span></span></div>`}
      ${moving_holds && html`<div class="notice"><${Icon} name="loader-circle" spin /><span class="grow">Running holds are on their way to the changed hold time.</span></div>`}
      <p class="muted">What comes later counts: ${precedence.join(", then ")}.</p>
      ${groups(details).map(([section, all]) => html`<${Card} class="flush" title=${words(section)} key=${section}>
        ${all.map((one) => html`<${Setting} key=${one.name} setting=${one} version=${version} reload=${settings.reload} />`)}</${Card}>`)}
      ${!details.length && html`<${Card}><${Empty} icon="settings" title="Nothing can be changed here" /></${Card}>`}`}</${Loaded}>`;
}

function groups(details) {
  const all = new Map();
  // The hold time comes first: it is what one comes here for.
  for (const one of [...details].sort((one, other) => (other.name === TTL) - (one.name === TTL))) {
    const section = one.name.split(".")[0];
    all.set(section, [...(all.get(section) ?? []), one]);
  }
  // What a sale day is about comes first.
  return [...all].sort(([one], [other]) => (other === "reservation") - (one === "reservation"));
}

const shown = (value) => (Array.isArray(value) ? value.join(", ") : value === null || value === undefined ? "" : String(value));

/** What was typed, as the API takes it. What it is not, the API says. */
function parsed(text, kind) {
  if (kind === "boolean") return text === "true";
  if (kind === "integer" && /^-?\d+$/.test(text.trim())) return Number(text);
  if (kind === "list") return text.split(",").map((one) => one.trim()).filter(Boolean);
  return text;
}

function Setting({ setting, version, reload }) {
  const { name, value, kind, unit, description, source, origin, before, changed_by, changed_at, minimum, maximum } = setting;
  // Nothing, until somebody types: what others change meanwhile is shown, and overwrites nothing that was typed.
  const [typed, setText] = useState(null);
  const [seen, setSeen] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const [running, setRunning] = useState(false);
  const text = typed ?? shown(value);
  const dirty = text !== shown(value);
  const type = (event) => {
    if (!dirty) setSeen(shown(value));
    setText(event.target.value);
  };
  async function change(to, more = {}) {
    setBusy(true);
    setError(null);
    try {
      await patch("/admin/settings", { [name]: to, ...more });
      const undo = () => patch("/admin/settings", { [name]: source === "live" ? value : null }).then(reload, (refusal) => toast(refusal.message, { tone: "bad" }));
      toast(to === null ? `${title(name)} is as before.` : `${title(name)} was changed.`, { undo });
      setRunning(false);
      setText(null);
      reload();
    } catch (refusal) {
      setError(refusal.fields?.[name] ?? refusal.message);
    } finally {
      setBusy(false);
    }
  }
  const submit = (event) => {
    event.preventDefault();
    const reason = new FormData(event.target).get("reason");
    change(parsed(text, kind), reasoned({ reason }, name === TTL && running ? { version, running_holds: true } : { version }));
  };
  const range = [minimum !== undefined && minimum !== null && `from ${bound(minimum)}`, maximum !== undefined && maximum !== null && `to ${bound(maximum)}`].filter(Boolean).join(" ");
  return html`<div class="setting">
    <div>
      <h3>${title(name)} <${Badge} status=${source === "live" ? "live" : ""}>${SOURCES[source] ?? source}</${Badge}></h3>
      <p class="muted">${description}</p>
      <p class="hint"><span class="mono" title=${origin}>${name}</span>${source === "live" && html` · without the change <strong>${shown(before)}</strong>`}
        ${changed_by && html` · by <span title=${changed_by}>${who(changed_by)}</span>, <${Time} at=${changed_at} relative />`}</p>
    </div>
    <form onSubmit=${submit} novalidate>
      <div class="setting-edit">
        <${Field} label=${html`<span class="unseen">${title(name)}</span>${words([UNITS[unit] ?? unit, range].filter(Boolean).join(", ") || (KINDS[kind] ?? kind))}`} name=${name} error=${error}
          hint=${dirty && seen !== shown(value) && `Changed meanwhile to ${shown(value) || "nothing"}.`}>${(tied) => kind === "boolean"
          ? html`<${Choice} ...${tied} options=${[["true", "On"], ["false", "Off"]]} value=${text} onChange=${type} />`
          : html`<input type="text" inputmode=${kind === "integer" ? "numeric" : undefined} ...${tied} value=${text} onInput=${type} />`}</${Field}>
      </div>
      ${dirty && html`<div class="setting-reason"><${Field} label="Reason (optional)" name="reason" /></div>`}
      ${dirty && name === TTL && html`<fieldset class="choices"><legend class="unseen">Which holds</legend>
        <label class="check"><input type="radio" name="which" checked=${!running} onChange=${() => setRunning(false)} />New holds only</label>
        <label class="check"><input type="radio" name="which" checked=${running} onChange=${() => setRunning(true)} />Also running holds</label>
      </fieldset>`}
      <div class="actions setting-actions">
        ${dirty && html`<${Button} type="submit" kind="primary" busy=${busy}>Save</${Button}><${Button} onClick=${() => (setText(null), setError(null))}>Cancel</${Button}>`}
        ${!dirty && source === "live" && html`<${Button} icon="rotate-ccw" busy=${busy} onClick=${() => change(null)}>Take the change away</${Button}>`}
      </div>
    </form>
  </div>`;
}

const KINDS = { boolean: "on or off", list: "separated by commas", duration: "such as 30s or 10m" };
const UNITS = { s: "seconds", ms: "milliseconds" };
const bound = (value) => (typeof value === "number" ? count(value) : value);
const title = (name) => words(name.split(".").slice(1).join(" ")).replace(/\bttl\b/i, "TTL").replace(/ ms$/, "");
