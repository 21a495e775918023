// Addresses: every view has one, and what is searched for stands in it.

import { store, useStore } from "./store.js";

const read = () => ({
  path: location.pathname.replace(/\/+$/, ""),
  query: Object.fromEntries(new URLSearchParams(location.search)),
});

export const place = store(read());
addEventListener("popstate", () => place.set(read()));

export const usePlace = () => useStore(place);

/** `/holds` with `{sku: "A"}` is `/admin/holds?sku=A`. */
export function address(path, query = {}) {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(pairs).toString();
  return `/admin${path}${text ? `?${text}` : ""}`;
}

export function go(path, query, { replace = false } = {}) {
  const to = address(path, query);
  history[replace ? "replaceState" : "pushState"](null, "", to);
  place.set(read());
  if (!replace) scrollTo(0, 0);
}

/** Links of the page change the view; with a key or another button they are the browser's. */
export function followLinks(event) {
  const link = event.target.closest?.("a[href]");
  const ours = link?.getAttribute("href").startsWith("/admin");
  if (!ours || link.target || event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  place.set(read());
  scrollTo(0, 0);
  document.getElementById("content")?.focus({ preventScroll: true });
}
