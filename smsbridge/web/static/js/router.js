/**
 * The address of what is shown, in the fragment: `#/c/ID`, `#/new`, `#/contacts`. One page, so the
 * server needs no rewriting and an installed app opens every address offline.
 */
import { createStore, useStore } from "./state.js";

/**
 * Cut an address into {path: ["c", "ID"], query: {..}, text: "/c/ID?.."}.
 * @param {string} fragment with or without "#"
 */
export function parse(fragment) {
  const text = fragment.replace(/^#/, "") || "/";
  const [before, after = ""] = text.split("?", 2);
  const path = before.split("/").filter(Boolean).map(decode);
  return { path, query: Object.fromEntries(new URLSearchParams(after)), text };
}

/** Build an address from parts: link(["c", id], {at: message}) is "#/c/ID?at=...". */
export function link(parts, query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== "" && value != null);
  const search = kept.length ? "?" + new URLSearchParams(kept) : "";
  return "#/" + parts.map(encodeURIComponent).join("/") + search;
}

export const route = createStore(parse(location.hash));

addEventListener("hashchange", () => route.set(parse(location.hash)));

/** Go to an address ("#/.." or parts); `replace` leaves no step in the history. */
export function go(target, { query, replace = false } = {}) {
  const address = Array.isArray(target) ? link(target, query) : target;
  if (replace) {
    history.replaceState(null, "", address);
    route.set(parse(address));
  } else {
    location.hash = address; // hashchange tells the store
  }
}

/** Use the present route in a component. */
export const useRoute = () => useStore(route);

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a bare percent sign somebody typed
  }
}
