/**
 * What the parts of the page share: small stores that components subscribe to, and the settings
 * that this browser remembers. No store knows the server; `api.js` and `live.js` feed them.
 */
import { useEffect, useReducer, useRef } from "./lib/preact.js";

/**
 * Make a store: one immutable object, replaced by `set`, watched by `subscribe`.
 * @template T
 * @param {T} initial
 */
export function createStore(initial) {
  let value = initial;
  const watchers = new Set();
  return {
    get: () => value,
    /** Merge a patch, or what a function of the present value returns. */
    set(patch) {
      const next = typeof patch === "function" ? patch(value) : patch;
      if (next === value || next == null) return;
      value = { ...value, ...next };
      for (const watcher of [...watchers]) watcher(value);
    },
    subscribe(watcher) {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
  };
}

/**
 * Use a part of a store in a component; it renders again only when that part is another one.
 * @param store what createStore made
 * @param {(value: any) => any} select returns the part (keep it cheap and stable)
 */
export function useStore(store, select = (value) => value) {
  const [, again] = useReducer((count) => count + 1, 0);
  const selected = select(store.get());
  const last = useRef(selected);
  last.current = selected;
  const chosen = useRef(select);
  chosen.current = select;
  useEffect(() => {
    const look = () => {
      if (!Object.is(chosen.current(store.get()), last.current)) again();
    };
    look(); // it may have changed between the render and this effect
    return store.subscribe(look);
  }, [store]);
  return selected;
}

/**
 * Who is logged in. phase: "starting", "out" (log in page), "in", "expired" (asked again in a
 * dialog, nothing on the page is lost), "unreachable" (the first request found no server).
 */
export const session = createStore({ phase: "starting", me: null, problem: "" });

/** The event stream: "idle", "connecting", "open" or "lost"; `online` is the browser's word. */
export const connection = createStore({
  stream: "idle",
  lost_at: 0,
  online: navigator.onLine !== false,
});

/** What more than one part shows: all unread conversations and the newest state of the lines. */
export const shared = createStore({ unread: 0, lines: null, contacts_version: 0 });

/** Return the lines that the person may use (from GET /me). */
export const linesOf = (value = session.get()) => value.me?.lines ?? [];

/** Tell whether the person has a scope. */
export const mayDo = (scope) => (session.get().me?.scopes ?? []).includes(scope);

const PREFIX = "smsbridge.";

/** Read what this browser remembers under a name; `fallback` when nothing or storage is closed. */
export function remembered(name, fallback = null) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return fallback;
  }
}

/** Remember a value (JSON) under a name in this browser; null forgets it. */
export function remember(name, value) {
  try {
    if (value === null || value === undefined) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Storage may be full or forbidden; what is remembered is a convenience.
  }
}

/**
 * Forget what belongs to the person (drafts, what was used last, unsent texts); settings stay.
 * @param {boolean} [unsent] whether unsent texts go too; they know whose they are
 */
export function forgetPerson(unsent = true) {
  try {
    for (const key of Object.keys(localStorage)) {
      if (/^smsbridge\.(draft|recent|ussd)/.test(key) || (unsent && key === PREFIX + "outbox")) localStorage.removeItem(key);
    }
  } catch {
    // Nothing was remembered then.
  }
}

const DEFAULTS = { enter_sends: true, sound: false, notify: true };

/** Settings of this browser; `saveSettings` changes and remembers them. */
export const settings = createStore({
  theme: readTheme(),
  ...DEFAULTS,
  ...remembered("settings", {}),
});

/** Change settings of this browser, e.g. {theme: "dark"} or {enter_sends: false}. */
export function saveSettings(patch) {
  settings.set(patch);
  const { theme, ...rest } = settings.get();
  remember("settings", rest);
  try {
    if (theme === "auto") localStorage.removeItem(PREFIX + "theme");
    else localStorage.setItem(PREFIX + "theme", theme); // plain text: theme.js reads it
  } catch {
    // As in `remember`.
  }
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function readTheme() {
  try {
    const theme = localStorage.getItem(PREFIX + "theme");
    return theme === "light" || theme === "dark" ? theme : "auto";
  } catch {
    return "auto";
  }
}
