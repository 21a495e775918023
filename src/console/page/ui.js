// What views are made of.

import htm from "./vendor/htm.js";
import icons from "./vendor/icons.js";
import { Fragment, h } from "./vendor/preact.js";
import { useCallback, useEffect, useId, useRef, useState } from "./vendor/hooks.js";
import { Away, connection, get, under, url, useKey } from "./api.js";
import * as format from "./format.js";
import { session } from "./session.js";
import { store, useStore } from "./store.js";

export const html = htm.bind(h);
export { Fragment };

export function Icon({ name, label, spin }) {
  const parts = (icons[name] ?? []).map(([tag, attributes]) => h(tag, attributes));
  return html`<svg class=${spin ? "icon spin" : "icon"} viewBox="0 0 24 24" aria-hidden=${label ? undefined : "true"}
    role=${label ? "img" : undefined} aria-label=${label} focusable="false">${parts}</svg>`;
}

export function Button({ icon, kind = "plain", busy, children, ...rest }) {
  return html`<button type="button" ...${rest} class=${`button ${kind} ${rest.class ?? ""}`} disabled=${rest.disabled || busy}
    aria-busy=${busy ? "true" : undefined}>
    ${(busy || icon) && html`<${Icon} name=${busy ? "loader-circle" : icon} spin=${busy} />`}${children}
  </button>`;
}

const TONES = {
  good: ["open", "paid", "confirmed", "fulfilled", "accepted", "ready", "ok", "available"],
  warn: ["paused", "draining", "scheduled", "pending_payment", "pending", "initiated", "confirming", "review", "refunding", "low"],
  bad: ["failed", "degraded", "expired", "closed", "cancelled", "sold_out", "late", "not_ready"],
  info: ["held", "refunded", "live"],
};

export function Badge({ status, children }) {
  const tone = Object.keys(TONES).find((tone) => TONES[tone].includes(status)) ?? "quiet";
  return html`<span class=${`badge ${tone}`}>${children ?? format.words(status)}</span>`;
}

export function Time({ at, relative }) {
  if (!at) return "–";
  return html`<time datetime=${at} title=${format.fullTime(at)}>${relative ? format.ago(at) : format.time(at)}</time>`;
}

/** Counts down to a moment, by the clock of the service: `left` seconds were left when the row came. While expiry is frozen it stands. */
export function Countdown({ left, frozen }) {
  const [end, setEnd] = useState(Date.now() + left * 1_000);
  const [, tick] = useState(0);
  useEffect(() => setEnd(Date.now() + left * 1_000), [left, frozen]);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 1_000);
    return () => clearInterval(timer);
  }, []);
  if (frozen) return html`<span class="countdown">${format.duration(left, true)}</span> <${Badge} status="paused">Frozen</${Badge}>`;
  const seconds = Math.max(0, (end - Date.now()) / 1_000);
  return html`<span class=${seconds < 30 ? "countdown soon" : "countdown"}>${format.duration(Math.ceil(seconds), true)}</span>`;
}

export function Heading({ title, about, children, back }) {
  useEffect(() => {
    document.title = `${title} · Holdfast`;
  }, [title]);
  return html`<header class="heading">
    <div>
      ${back && html`<a class="back" href=${back.href}><${Icon} name="arrow-left" />${back.text}</a>`}
      <h1>${title}</h1>
      ${about && html`<p class="about">${about}</p>`}
    </div>
    ${children && html`<div class="actions">${children}</div>`}
  </header>`;
}

export function Card({ title, actions, children, class: more = "" }) {
  return html`<section class=${`card ${more}`}>
    ${title && html`<div class="card-head"><h2>${title}</h2>${actions}</div>`}
    ${children}
  </section>`;
}

export function Empty({ icon = "inbox", title, children }) {
  return html`<div class="empty"><span class="empty-icon"><${Icon} name=${icon} /></span><p class="empty-title">${title}</p>
    ${children && html`<p>${children}</p>`}</div>`;
}

export function Skeleton({ rows = 5 }) {
  return html`<div class="skeleton" role="status"><span class="unseen">Loading</span>
    ${Array.from({ length: rows }, (_, at) => html`<span key=${at} class=${`bone w${at % 3}`}></span>`)}</div>`;
}

/** A refusal, in the API's words. */
export function Refused({ error, again }) {
  if (!error) return null;
  return html`<div class="refused" role="alert"><${Icon} name="circle-alert" />
    <div><strong>${error instanceof Away ? "No answer" : (error.title ?? "It did not work")}</strong><p>${error.message}</p></div>
    ${again && html`<${Button} icon="refresh-cw" onClick=${again}>Try again</${Button}>`}
  </div>`;
}

/** What is loading, what was refused, or what there is. */
export function Loaded({ of, rows, children }) {
  if (of.data) return html`${of.error && !(of.error instanceof Away) && html`<${Refused} error=${of.error} />`}${children(of.data)}`;
  if (of.error) return html`<${Refused} error=${of.error} again=${of.reload} />`;
  return html`<${Skeleton} rows=${rows} />`;
}

/**
 * A field with its label, what it is for, and what the API says is wrong with it. `children` is a function of the
 * attributes that tie the control to them. What was typed stays when the view is drawn again.
 */
export function Field({ label, hint, error, name, children, value, ...rest }) {
  const id = useId();
  const told = [hint && `${id}h`, error && `${id}e`].filter(Boolean).join(" ") || undefined;
  const tied = { id, name, "aria-describedby": told, "aria-invalid": error ? "true" : undefined };
  return html`<div class=${`field ${rest.wide ? "wide" : ""}`}>
    <label for=${id}>${label}</label>
    ${typeof children === "function" ? children(tied) : html`<input type="text" ...${without(rest, "wide")} ...${tied} defaultValue=${value} />`}
    ${hint && html`<p class="hint" id=${`${id}h`}>${hint}</p>`}
    ${error && html`<p class="error" id=${`${id}e`}>${error}</p>`}
  </div>`;
}

const without = (object, name) => Object.fromEntries(Object.entries(object).filter(([key]) => key !== name));

/** Where nobody listens to it, what was chosen stays when the view is drawn again. */
export function Choice({ options, value, ...rest }) {
  return html`<select ...${rest} ...${rest.onChange ? { value } : {}}>
    ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
  </select>`;
}

/** Rows with a head; `columns` are `[title, row => cell, class]`. A row with an address is a link by its first cell. */
export function Table({ label, columns, rows, id, href }) {
  return html`<div class="table" role="region" aria-label=${label} tabindex="0"><table>
    <caption class="unseen">${label}</caption>
    <thead><tr>${columns.map(([title, , kind]) => html`<th key=${title} scope="col" class=${kind}>${title}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${id(row)}>${columns.map(([title, cell, kind], at) => html`
      <td key=${title} class=${kind} data-title=${title}>${
        at === 0 && href ? html`<a class="row-link" href=${href(row)}>${cell(row)}</a>` : cell(row)
      }</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

/** Pages of a list, each asked of the server; one page is kept at a time, however long the list is. */
export function usePages(path, query, { every = 0, limit = 50 } = {}) {
  const key = path && url(path, query);
  const [state, setState] = useState({});
  const [cursors, setCursors] = useState([null]);
  const number = useRef(0);
  const busy = useRef(0);
  const load = useCallback(
    async (to) => {
      if (!key) return;
      const mine = ++number.current;
      busy.current++;
      try {
        const data = await get(path, { ...query, limit, cursor: to.at(-1) });
        if (mine !== number.current) return;
        setState({ key, data });
        setCursors(to);
      } catch (error) {
        if (mine === number.current) setState((known) => ({ key, data: known.key === key ? known.data : null, error }));
      } finally {
        busy.current--;
      }
    },
    [key],
  );
  useEffect(() => {
    load([null]);
    return () => number.current++;
  }, [key]);
  useEffect(() => {
    if (!every) return undefined;
    // What is on its way, such as the next page, is not overtaken by the page that stands.
    const timer = setInterval(() => !document.hidden && session.get().state === "in" && !busy.current && load(cursors), every);
    return () => clearInterval(timer);
  }, [every, load, cursors]);
  const unanswered = state.error?.status === 401 || state.error instanceof Away;
  useEffect(() => {
    if (!unanswered) return undefined;
    // What could not be asked is asked when somebody is signed in again, or the service is back.
    const again = () => session.get().state === "in" && connection.get().ok && load(cursors);
    const unwatch = [session.watch(again), connection.watch(again)];
    return () => unwatch.forEach((stop) => stop());
  }, [unanswered, load, cursors]);
  const current = state.key === key ? state : {};
  return {
    data: current.data,
    error: current.error,
    reload: () => load(cursors),
    page: cursors.length,
    previous: cursors.length > 1 ? () => load(cursors.slice(0, -1)) : null,
    next: current.data?.next_cursor ? () => load([...cursors, current.data.next_cursor]) : null,
  };
}

export function Pager({ of }) {
  if (!of.previous && !of.next) return null;
  return html`<nav class="pager" aria-label="Pages">
    <${Button} icon="chevron-left" disabled=${!of.previous} onClick=${of.previous}>Previous</${Button}>
    <span aria-current="page">Page ${of.page}</span>
    <${Button} disabled=${!of.next} onClick=${of.next}>Next <${Icon} name="chevron-right" /></${Button}>
  </nav>`;
}

/** A list with its pages. */
export function List({ of, empty, ...table }) {
  return html`<${Loaded} of=${of} rows=${8}>${(data) =>
    html`${data.items.length ? html`<${Table} ...${table} rows=${data.items} />` : empty}<${Pager} of=${of} />`}</${Loaded}>`;
}

// Toasts.

const toasts = store([]);
let toastNumber = 0;

/** Tells in a corner what happened; `undo` takes it back. */
export function toast(text, { tone = "good", undo } = {}) {
  const one = { id: ++toastNumber, text, tone, undo };
  toasts.set([...toasts.get().slice(-3), one]);
  setTimeout(() => dismiss(one.id), undo ? 12_000 : 6_000);
}

const dismiss = (id) => toasts.set(toasts.get().filter((one) => one.id !== id));

export function Toasts() {
  const all = useStore(toasts);
  return html`<div class="toasts" role="status" aria-live="polite">${all.map(
    ({ id, text, tone, undo }) => html`<div key=${id} class=${`toast ${tone}`}>
      <${Icon} name=${tone === "bad" ? "circle-alert" : "circle-check"} /><span>${text}</span>
      ${undo && html`<button type="button" class="link" onClick=${() => (dismiss(id), undo())}>Undo</button>`}
      <button type="button" class="quiet-icon" aria-label="Dismiss" onClick=${() => dismiss(id)}><${Icon} name="x" /></button>
    </div>`,
  )}</div>`;
}

/** Does something and tells how it went; a refusal is told in the API's words. */
export async function attempt(work, done) {
  try {
    const result = await work();
    if (done) toast(typeof done === "function" ? done(result) : done);
    return result;
  } catch (error) {
    toast(error.message, { tone: "bad" });
    return undefined;
  }
}

// Questions.

const question = store(null);

/**
 * Asks before something is done. `work` gets what was filled in, and its refusal is shown in the dialog; answers what it
 * answers, or nothing if the question was put away. `fields` are `{name, label, type?, hint?, value?, optional?}`.
 */
export const ask = (asked) => new Promise((answer) => question.set({ ...asked, answer }));
/** Puts away what is asked, for whoever comes next. */
export const unask = () => question.set(null);

const REASON = { name: "reason", label: "Reason (optional)", hint: "Kept in the audit log.", optional: true };
export const withReason = [REASON];

export function Question() {
  const asked = useStore(question);
  return asked && html`<${Dialog} key=${asked.title} ...${asked} />`;
}

function Dialog({ title, text, action, danger, fields = [], work, answer }) {
  const dialog = useRef(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const heading = useId();
  const [values, setValues] = useState(Object.fromEntries(fields.map((field) => [field.name, field.value ?? ""])));
  const keyOf = useKey();
  const { state } = useStore(session);
  // Whoever has to sign in again finds it as it was.
  useEffect(() => {
    if (state === "in" && !dialog.current.open) dialog.current.showModal();
    if (state !== "in") dialog.current.close();
  }, [state]);
  const close = (result) => {
    dialog.current?.close();
    question.set(null);
    answer(result);
  };
  async function submit(event) {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      close((await under(keyOf(values), () => work(values))) ?? true);
    } catch (refusal) {
      setError(refusal.status === 401 ? null : refusal);
      setBusy(false);
    }
  }
  const named = error?.fields ?? {};
  const unplaced = error && !fields.some((field) => named[field.name]);
  return html`<dialog ref=${dialog} aria-labelledby=${heading} onCancel=${(event) => (event.preventDefault(), close())}>
    <form onSubmit=${submit} novalidate>
      <h2 id=${heading}>${title}</h2>
      ${text && html`<p>${text}</p>`}
      ${fields.map(({ name, label, hint, optional, options, ...rest }) => html`
        <${Field} key=${name} label=${label} hint=${hint} error=${named[name]} name=${name}>${(tied) =>
          options
            ? html`<${Choice} ...${tied} options=${options} value=${values[name]}
                onChange=${(event) => setValues({ ...values, [name]: event.target.value })} />`
            : html`<input type="text" ...${rest} ...${tied} required=${!optional} value=${values[name]}
                onInput=${(event) => setValues({ ...values, [name]: event.target.value })} />`}</${Field}>`)}
      ${unplaced && html`<${Refused} error=${error} />`}
      ${error instanceof Away && html`<p class="hint">Do it again here when the service is back: it happens once.</p>`}
      <div class="dialog-actions">
        <${Button} onClick=${() => close()}>Cancel</${Button}>
        <${Button} type="submit" kind=${danger ? "danger" : "primary"} busy=${busy}>${action}</${Button}>
      </div>
    </form>
  </dialog>`;
}

/** A reason that was given, as a body takes it. */
export const reasoned = ({ reason }, more = {}) => (reason?.trim() ? { ...more, reason: reason.trim() } : more);
