// A value that components watch.

import { useEffect, useState } from "./vendor/hooks.js";

export function store(value) {
  const watchers = new Set();
  return {
    get: () => value,
    set(next) {
      if (next === value) return;
      value = next;
      for (const watcher of [...watchers]) watcher();
    },
    watch(watcher) {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
  };
}

/** The store's value; the component is drawn again when it changes. */
export function useStore(watched) {
  const [, redraw] = useState(0);
  const value = watched.get();
  useEffect(() => {
    const watcher = () => redraw((n) => n + 1);
    // It may have changed between the drawing and this.
    if (watched.get() !== value) watcher();
    return watched.watch(watcher);
  }, [watched]);
  return value;
}
