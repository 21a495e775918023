// Who is signed in. The tokens are in cookies that no script reads; all that is known here is whose they are and when they
// have to be renewed.

import { store } from "./store.js";

/** `state`: starting, in, expired (views stay, out of sight), out. */
export const session = store({ state: "starting", user: null });

/** Other tabs of this browser share the cookies: who signs in or out there does so here. */
addEventListener("storage", ({ key, newValue }) => {
  const { state, user } = session.get();
  if (key !== RENEWED || state === "starting") return;
  if (newValue === null) ended();
  else follow(state, user);
});

const HEADERS = { "X-Holdfast-Console": "1" };
/** When any tab of this browser last renewed the session. */
const RENEWED = "holdfast.renewed";
let timer;

async function call(method, path, body) {
  const init = { method, headers: { ...HEADERS }, credentials: "same-origin", cache: "no-store" };
  if (body) {
    init.headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  return fetch(path, init);
}

function begin({ user, expires_in }) {
  localStorage.setItem(RENEWED, String(Date.now()));
  session.set({ state: "in", user });
  plan(expires_in);
}

/** Renews when a fifth of its time is left; a sleeping machine catches up with its next call. */
function plan(seconds) {
  clearTimeout(timer);
  timer = setTimeout(() => renew(Date.now()), Math.max(5, seconds * 0.8) * 1000);
}

/** Signs in; the answer is a problem document, or nothing. */
export async function signIn(name, password) {
  const field = name.includes("@") ? "email" : "username";
  const response = await call("POST", "/admin/session", { [field]: name, password });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) return { ...body, status: response.status };
  begin(body);
  return null;
}

/** Whoever leaves has not lost the session: what views hear meanwhile means nothing. */
let leaving = false;

export async function signOut() {
  leaving = true;
  clearTimeout(timer);
  localStorage.removeItem(RENEWED);
  try {
    await call("DELETE", "/admin/session");
  } finally {
    leaving = false;
    session.set({ state: "out", user: null });
  }
}

let renewing;
/**
 * Renews the session, unless another tab has since `since`: a refresh token is good once, and a second use would end the
 * session for all tabs. Answers whether there is one.
 */
export function renew(since) {
  renewing ??= locked(async () => {
    if (Number(localStorage.getItem(RENEWED)) > since) {
      plan(60);
      if (session.get().state !== "starting") return true;
    }
    const response = await call("POST", "/admin/session/refresh");
    if (response.ok) {
      begin(await response.json());
      return true;
    }
    if (response.status === 401 || response.status === 403) {
      ended();
      return false;
    }
    plan(60);
    throw new TypeError(`renewing the session: ${response.status}`);
  }).finally(() => (renewing = undefined));
  return renewing;
}

/** What another tab did to the session rules this one too. */
async function follow(state, user) {
  try {
    const response = await call("GET", "/api/auth/me");
    if (!response.ok) return;
    const now = await response.json();
    // Whoever was in renews at the time planned; otherwise tabs would renew in answer to each other.
    if (state !== "in") plan(60);
    if (state !== "in" || now.id !== user?.id || now.role !== user?.role) session.set({ state: "in", user: now });
  } catch {
    // The service is away; the next call finds out.
  }
}

function locked(work) {
  return navigator.locks ? navigator.locks.request("holdfast.session", work) : work();
}

function ended() {
  if (leaving) return;
  clearTimeout(timer);
  const { state, user } = session.get();
  session.set(state === "in" ? { state: "expired", user } : { state: user ? state : "out", user });
}

/** Finds out who is signed in when the page opens. */
export async function resume() {
  if (!localStorage.getItem(RENEWED)) {
    session.set({ state: "out", user: null });
    return;
  }
  for (let pause = 500; ; pause = Math.min(pause * 2, 8_000)) {
    try {
      const response = await call("GET", "/api/auth/me");
      if (response.ok) {
        session.set({ state: "in", user: await response.json() });
        plan(60);
        return;
      }
      if (response.status === 401) {
        await renew(Date.now());
        return;
      }
    } catch {
      // The service is away; it is asked again.
    }
    await new Promise((done) => setTimeout(done, pause));
  }
}

export const isAdmin = () => session.get().user?.role === "admin";
