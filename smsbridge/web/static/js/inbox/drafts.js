/** What was typed and not sent: in this browser at once, on the server a little later. */
import { remember, remembered } from "../state.js";
import { change } from "./conversations.js";

const timers = new Map();

/**
 * Return the draft of a conversation ("new" for a new one): {text, attachments, scheduled_at, ...};
 * `server` is the text that another device may have left.
 */
export function draftOf(key, server = "") {
  const kept = remembered("draft." + key);
  // The page may have been left before the server heard of it.
  if (kept && key !== "new" && kept.text !== server) keepDraft(key, kept);
  return kept ?? { text: server, attachments: [] };
}

/** Keep a draft; an empty one is forgotten. */
export function keepDraft(key, draft) {
  const empty = !draft.text && !draft.attachments?.length && !draft.to?.length && !draft.scheduled_at;
  remember("draft." + key, empty ? null : draft);
  if (key === "new") return;
  clearTimeout(timers.get(key));
  timers.set(key, setTimeout(() => {
    timers.delete(key);
    change(key, { draft: draft.text }).catch(() => {}); // it is kept here in any case
  }, 1500));
}

/** Forget a draft: it was sent (the server forgets its own by then). */
export function dropDraft(key) {
  remember("draft." + key, null);
  clearTimeout(timers.get(key));
  timers.delete(key);
}
