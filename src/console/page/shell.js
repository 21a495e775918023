// The frame around the views: navigation, who is signed in, whether the service answers.

import { useEffect, useErrorBoundary, useRef, useState } from "./vendor/hooks.js";
import { connection, look } from "./api.js";
import { address, go, usePlace } from "./router.js";
import { session, signOut } from "./session.js";
import { store, useStore } from "./store.js";
import { Button, Empty, Heading, Icon, Question, Skeleton, Toasts, html, toast, unask } from "./ui.js";

/** `[path, title, icon, module, who]`; a view below a path is of the same module. */
const GROUPS = [
  ["Selling", [
    ["/sale", "Sale", "gauge", "sales", "admin"],
    ["/holds", "Holds", "hourglass", "holds", "admin"],
    ["/orders", "Orders", "receipt", "orders"],
    ["/payments", "Payments", "credit-card", "payments", "admin"],
  ]],
  ["Stock", [
    ["/products", "Products", "package", "products"],
    ["/movements", "Movements", "boxes", "movements"],
    ["/suppliers", "Suppliers", "truck", "suppliers"],
  ]],
  ["Operating", [
    ["/dead-letters", "Dead letters", "mail", "letters", "admin"],
    ["/settings", "Settings", "settings", "settings", "admin"],
    ["/health", "Health", "heart-pulse", "health", "admin"],
    ["/audit", "Audit", "scroll-text", "audit", "admin"],
  ]],
];

const may = ([, , , , who]) => !who || session.get().user?.role === who;
const views = GROUPS.flatMap(([, views]) => views);

// Light or dark.

const THEME = "holdfast.theme";
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
export const theme = store("light");

export function applyTheme() {
  const chosen = localStorage.getItem(THEME);
  const now = chosen ?? (prefersDark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = now;
  theme.set(now);
}
prefersDark.addEventListener("change", applyTheme);

function switchTheme() {
  localStorage.setItem(THEME, theme.get() === "dark" ? "light" : "dark");
  applyTheme();
}

// Views are fetched when they are looked at.

const modules = store({});
async function load(name) {
  try {
    const module = await import(`./views/${name}.js`);
    modules.set({ ...modules.get(), [name]: module.default });
  } catch {
    // A replica of another version may have answered, or none; the page of the one that runs now will fit.
    modules.set({ ...modules.get(), [name]: null });
    look();
  }
}

function useModule(name) {
  const known = useStore(modules);
  useEffect(() => {
    if (name && !(name in known)) load(name);
  }, [name]);
  return name ? known[name] : undefined;
}

export function Shell() {
  const { state, user } = useStore(session);
  const Login = useModule(state === "out" || state === "expired" ? "login" : null);
  useEffect(unask, [user?.id]);
  if (state === "starting") return html`<main class="login"><div class="card"><${Skeleton} rows=${4} /></div></main>`;
  const login = (state === "out" || state === "expired") && Login && html`<${Login} expired=${state === "expired"} />`;
  return html`
    ${login}
    ${state !== "out" && html`<div hidden=${state !== "in"} key=${user.id}><${Frame} user=${user} /></div>`}
    <${Toasts} /><${Question} />`;
}

function Frame({ user }) {
  const { path, query } = usePlace();
  const [open, setOpen] = useState(false);
  const menu = useRef(null);
  useStore(theme);
  useEffect(() => setOpen(false), [path]);
  const close = () => (setOpen(false), menu.current?.focus());
  const below = path.replace(/^\/admin/, "");
  const view = views.find(([root]) => below === root || below.startsWith(`${root}/`));
  useEffect(() => {
    if (below === "") go(views.find(may)[0], {}, { replace: true });
  }, [below]);
  return html`
    <a class="skip" href="#content">Skip to content</a>
    <${Lost} />
    <div class="shell">
      <div class="top">
        <${Brand} />
        <button type="button" ref=${menu} class="quiet-icon" aria-label="Menu" aria-expanded=${open} aria-controls="side"
          onClick=${() => setOpen(true)}><${Icon} name="menu" /></button>
      </div>
      <${Side} user=${user} root=${view?.[0]} open=${open} close=${close} />
      <main id="content" tabindex="-1" inert=${open}><div class="view">
        ${view && may(view) ? html`<${View} key=${path} name=${view[3]} rest=${below.slice(view[0].length + 1)} query=${query} />`
          : below !== "" && html`<${Nothing} />`}
      </div></main>
    </div>`;
}

function Side({ user, root, open, close }) {
  const dark = theme.get() === "dark";
  useEffect(() => {
    if (open) document.querySelector("#side .nav a")?.focus();
  }, [open]);
  return html`<aside id="side" class=${open ? "side open" : "side"} onKeyDown=${(event) => event.key === "Escape" && close()}>
    <div class="card-head side-head">
      <${Brand} />
      ${open && html`<button type="button" class="quiet-icon" aria-label="Close menu" onClick=${close}><${Icon} name="x" /></button>`}
    </div>
    <nav class="nav" aria-label="Views">
      ${GROUPS.map(([title, all]) => [title, all.filter(may)]).filter(([, all]) => all.length).map(([title, all]) => html`
        <div class="nav-group" key=${title} role="group" aria-label=${title}><span class="nav-title" aria-hidden="true">${title}</span>
          ${all.map(([path, text, icon]) => html`<a key=${path} href=${address(path)}
            aria-current=${path === root ? "page" : undefined}><${Icon} name=${icon} />${text}</a>`)}
        </div>`)}
    </nav>
    <div class="who">
      <div><strong>${user.username ?? user.id}</strong><small>${user.role === "admin" ? "Administrator" : "Merchant"}</small></div>
      <button type="button" class="quiet-icon" aria-label=${dark ? "Light colours" : "Dark colours"} onClick=${switchTheme}>
        <${Icon} name=${dark ? "sun" : "moon"} /></button>
      <button type="button" class="quiet-icon" aria-label="Sign out" onClick=${signOut}><${Icon} name="log-out" /></button>
    </div>
  </aside>`;
}

function Brand() {
  return html`<a class="brand" href=${address("")}><span class="mark"><svg viewBox="0 0 24 24" aria-hidden="true">
    <path d="M7 5v14M17 5v14M7 12h10" /></svg></span>Holdfast</a>`;
}

function View({ name, rest, query }) {
  const Module = useModule(name);
  const { ok } = useStore(connection);
  const away = useRef(false);
  const [broken] = useErrorBoundary((error) => console.error(error));
  useEffect(() => {
    // What could not be fetched while the service was away is there when it is back.
    if (Module === null && ok && away.current) location.reload();
    away.current = !ok;
  }, [Module, ok]);
  if (Module === null || broken) {
    return html`<${Empty} icon=${broken ? "circle-alert" : "wifi-off"} title=${broken ? "This view broke" : "This view did not load"}>
      <${Button} icon="refresh-cw" onClick=${() => location.reload()}>Load the page again</${Button}></${Empty}>`;
  }
  return Module ? html`<${Module} rest=${rest} query=${query} />` : html`<${Skeleton} rows=${8} />`;
}

function Nothing() {
  return html`<${Heading} title="Nothing here" /><div class="card"><${Empty} icon="search" title="There is no such view">
    Or it is not yours to see. <a href=${address("")}>Back to the start</a></${Empty}></div>`;
}

/** Tells that the service is away, and that it is back. */
function Lost() {
  const { ok, reason } = useStore(connection);
  const [was, setWas] = useState(true);
  useEffect(() => {
    if (ok && !was) toast("Connected again.");
    setWas(ok);
  }, [ok]);
  return html`<div role="alert" class="away">${!ok && html`<p class="lost"><${Icon} name="wifi-off" />
    ${reason} What you see may be old; it is asked again by itself.</p>`}</div>`;
}
