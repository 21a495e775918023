// Calls to the API, and whether it answers at all.

import { useCallback, useEffect, useRef, useState } from "./vendor/hooks.js";
import { renew, session } from "./session.js";
import { store } from "./store.js";

/** Whether the service answers: `ok`, or since when not, why, and when it is asked again. */
export const connection = store({ ok: true });

/** The fields that a refusal may be about, where the API names none. */
const ABOUT = { sku_taken: ["sku"], unknown_product: ["sku", "product_id"], insufficient_stock: ["quantity"] };

/** A refusal in the API's own words. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? `the service answered ${status}`);
    Object.assign(this, { status, code: body.code ?? "unknown", title: body.title, body });
  }

  /** Messages by field. */
  get fields() {
    const { errors = (ABOUT[this.code] ?? []).map((field) => ({ field, message: this.message })) } = this.body;
    return Object.fromEntries(errors.map(({ field, message }) => [field, message]));
  }
}

/** The service did not answer, or could not. */
export class Away extends Error {}

function lost(reason) {
  const { ok, since } = connection.get();
  connection.set({ ok: false, since: ok ? Date.now() : since, reason });
  probe();
}

/** How long to wait after so many failures, a little different for each console. */
const backoff = (failures) => Math.min(15_000, 1_000 * 2 ** (failures - 1)) * (0.8 + Math.random() * 0.4);

let probing = false;
/** Asks whether the service is back, so that views which ask nothing by themselves learn of it too. */
async function probe() {
  if (probing) return;
  probing = true;
  for (let failures = 1; !connection.get().ok; failures++) {
    await new Promise((done) => setTimeout(done, backoff(failures)));
    try {
      if (!document.hidden && (await fetch("/healthz", { cache: "no-store" })).ok) connection.set({ ok: true });
    } catch {
      // It is not.
    }
  }
  probing = false;
}

/** Finds out whether the service is away after something else failed. */
export async function look() {
  try {
    await once("GET", "/healthz");
  } catch {
    // It is known now.
  }
}

/** A number as it was typed; what is none goes as it is, and the API says so. */
export const whole = (text) => (/^\s*[-+]?\d+\s*$/.test(text) ? Number(text) : text);

async function once(method, path, body, key, signal) {
  const headers = { "X-Holdfast-Console": "1", Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      signal,
      credentials: "same-origin",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    lost("The service cannot be reached.");
    const unknown = method === "GET" ? "" : " Whether it was done is not known.";
    throw new Away(`The service cannot be reached.${unknown}`);
  }
  if ([502, 504].includes(response.status)) {
    lost("The service does not answer.");
    throw new Away("The service does not answer.");
  }
  if (!connection.get().ok) connection.set({ ok: true });
  return response;
}

/** `/orders` with `{status: "paid"}` is `/api/orders?status=paid`; empty members are left out. */
export function url(path, query = {}) {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(pairs).toString();
  return `/api${path}${text ? `?${text}` : ""}`;
}

let given;
/** Does work whose first POST has this key: with the same key once more it is the same deed, whether or not it was answered. */
export function under(key, work) {
  given = key;
  try {
    return work();
  } finally {
    given = undefined;
  }
}

/** A key for what one means to do, the same for as long as that does not change. */
export function useKey() {
  const kept = useRef({});
  return (what) => {
    const text = JSON.stringify(what);
    if (kept.current.text !== text) kept.current = { text, key: crypto.randomUUID() };
    return kept.current.key;
  };
}

/** One call. An ended session is renewed once; what is asked for again has the same key, and happens once. */
export async function call(method, path, { query, body, signal } = {}) {
  const address = url(path, query);
  const key = method === "POST" ? (given ?? crypto.randomUUID()) : undefined;
  const began = Date.now();
  let response = await once(method, address, body, key, signal);
  if (response.status === 401 && session.get().state === "in" && (await renew(began))) {
    response = await once(method, address, body, key, signal);
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(response.status, answer);
  return answer;
}

export const get = (path, query, signal) => call("GET", path, { query, signal });
export const post = (path, body) => call("POST", path, { body });
export const patch = (path, body) => call("PATCH", path, { body });
export const put = (path, body) => call("PUT", path, { body });
export const remove = (path) => call("DELETE", path);

/**
 * Asks again every `every` ms while the page is looked at and somebody is signed in; later and later while the service
 * is away. `every` of 0 asks once.
 */
export function usePoll(path, query, every = 0) {
  const [state, setState] = useState({ data: null, error: null });
  const again = useRef(() => {});
  const key = path && url(path, query);
  useEffect(() => {
    if (!key) return undefined;
    let [timer, failures, stopped, running] = [0, 0, false, false];
    const control = new AbortController();
    setState((known) => (known.key === key ? known : { data: null, error: null, key }));
    const ready = () => !document.hidden && session.get().state === "in";
    async function ask() {
      clearTimeout(timer);
      if (stopped || running || !ready()) return;
      running = true;
      let next = every;
      try {
        const data = await get(path, query, control.signal);
        failures = 0;
        if (!stopped) setState({ data, error: null, key });
      } catch (error) {
        if (error.name === "AbortError") return;
        const away = error instanceof Away || error.status === 503 || error.status === 429;
        if (away) next = backoff(++failures);
        // What is refused once is refused again, until it is asked differently.
        else if (error instanceof Problem && error.status < 500 && error.status !== 401) next = 0;
        if (!stopped) setState((known) => ({ ...known, error }));
      } finally {
        running = false;
      }
      if (next && !stopped) timer = setTimeout(ask, next);
    }
    again.current = ask;
    const wake = () => ready() && ask();
    document.addEventListener("visibilitychange", wake);
    const unwatch = [session.watch(wake), connection.watch(() => connection.get().ok && wake())];
    ask();
    return () => {
      stopped = true;
      clearTimeout(timer);
      control.abort();
      document.removeEventListener("visibilitychange", wake);
      unwatch.forEach((end) => end());
    };
  }, [key, every]);
  const current = state.key === key ? state : { data: null, error: null };
  return { ...current, loading: !current.data && !current.error, reload: useCallback(() => again.current(), []) };
}
