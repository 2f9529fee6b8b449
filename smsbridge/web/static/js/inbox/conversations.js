/**
 * The conversations that this page knows: one list (folder, line, words) in pages, kept in order by
 * what the event stream tells. Nothing here draws.
 */
import { del, get, patch, post } from "../api.js";
import { toast } from "../kit/toast.js";
import { on } from "../live.js";
import { createStore, remember, remembered, session, shared } from "../state.js";

const PAGE = 50;

/**
 * byId: resources, changed in place (copying ten thousand for every text would be felt); ids: what the
 * left pane shows, newest first.
 */
export const book = createStore({
  byId: {},
  filter: { folder: "inbox", line: remembered("line_filter", "") },
  ids: [],
  next: null,
  loading: false,
  loaded: false,
  error: null,
});

let turn = 0; // answers to an older question are not taken
let told = new Map(); // what the stream said since the list was asked for: the answer may be older

/** Load the first page of a list; what was shown stays until the answer comes. */
export async function loadList(filter = book.get().filter) {
  const mine = ++turn;
  told = new Map();
  const same = filter === book.get().filter;
  remember("line_filter", filter.line || null);
  book.set({ filter, loading: true, error: null, ...(same ? {} : { loaded: false, ids: [], next: null }) });
  try {
    const answer = await get("/conversations", { folder: filter.folder, line: filter.line, limit: PAGE });
    if (mine !== turn) return;
    keep(answer.data, { ids: answer.data.map((one) => one.id), next: answer.links?.next ?? null, loading: false, loaded: true });
    for (const one of told.values()) took(one);
    if (answer.meta?.unread !== undefined) shared.set({ unread: answer.meta.unread });
  } catch (error) {
    if (mine === turn) book.set({ loading: false, error });
  }
}

/** Load the next page of the list, if there is one. */
export async function loadMore() {
  const { next, loading } = book.get();
  if (!next || loading) return;
  const mine = turn;
  book.set({ loading: true });
  try {
    const answer = await get(next);
    if (mine !== turn) return;
    const known = new Set(book.get().ids);
    const more = answer.data.map((one) => one.id).filter((id) => !known.has(id));
    keep(answer.data, { ids: [...book.get().ids, ...more], next: answer.links?.next ?? null, loading: false });
    for (const { id } of answer.data) if (told.has(id)) took(told.get(id));
  } catch (error) {
    if (mine === turn) book.set({ loading: false, error });
  }
}

function keep(resources, rest = {}) {
  const { byId } = book.get();
  for (const one of resources) byId[one.id] = one;
  book.set({ byId, ...rest });
}

/** Return a conversation, from memory or from the server. */
export async function conversation(id, { fresh = false } = {}) {
  const known = book.get().byId[id];
  if (known && !fresh) return known;
  const answer = await get(`/conversations/${encodeURIComponent(id)}`);
  keep([answer.data]);
  return answer.data;
}

/** Find the conversation that a text to these would be in (it may be empty yet). */
export async function conversationWith(to, line, signal) {
  const answer = await post("/conversations", "conversation", { to, ...(line ? { line } : {}) }, { signal });
  keep([answer.data]);
  return answer.data;
}

const sortTime = (one) => one.attributes.last_message?.attributes?.created_at ?? one.attributes.updated_at ?? "";

function belongs(one, { folder, line }) {
  const { archived, blocked, unread, last_message } = one.attributes;
  if (line && one.attributes.line !== line) return false;
  if (!last_message) return false;
  if (folder === "inbox") return !archived && !blocked;
  if (folder === "unread") return unread > 0 && !blocked;
  if (folder === "archived") return archived;
  if (folder === "blocked") return blocked;
  return true;
}

/** Take a conversation as it is now, and put it where it belongs in the list. */
export function took(one) {
  const { byId, ids, filter, next } = book.get();
  const before = byId[one.id]?.attributes.unread ?? -1;
  byId[one.id] = one;
  const rest = ids.filter((id) => id !== one.id);
  if (belongs(one, filter)) {
    const time = sortTime(one);
    let at = rest.findIndex((id) => sortTime(byId[id]) < time);
    if (at < 0) at = rest.length;
    // Older than all that is loaded: its page will bring it.
    if (at < rest.length || !next) rest.splice(at, 0, one.id);
  }
  book.set({ ids: rest });
  if (before > 0 !== one.attributes.unread > 0 || before < 0) countUnread();
}

let counting = 0;

/** Ask for the count of unread conversations, soon and once. */
export function countUnread() {
  clearTimeout(counting);
  counting = setTimeout(async () => {
    try {
      const answer = await get("/conversations", { folder: "unread", limit: 1 });
      if (answer.meta?.unread !== undefined) shared.set({ unread: answer.meta.unread });
    } catch {
      // The count comes with the next list; a badge is no reason for a message.
    }
  }, 400);
}

/**
 * Change what a person may set ({archived, muted, draft, read_to}); shown at once, taken back on an
 * error. `unread` is only shown: the server counts itself.
 */
export async function change(id, attributes) {
  const { unread: _shown, ...sent } = attributes;
  const before = book.get().byId[id];
  if (before) {
    const { read_to, ...seen } = attributes;
    took({ ...before, attributes: { ...before.attributes, ...seen, ...(read_to !== undefined ? { read_to } : {}) } });
  }
  try {
    const answer = await patch(`/conversations/${encodeURIComponent(id)}`, "conversation", sent);
    if (answer?.data) took(answer.data);
  } catch (error) {
    if (before) took(before);
    throw error;
  }
}

/** Archive or take back from the archive, with undo. */
export async function archive(id, archived) {
  try {
    await change(id, { archived });
    toast(archived ? "Conversation archived" : "Conversation is in the inbox again", {
      action: "Undo",
      onAction: () => change(id, { archived: !archived }).catch((error) => toast(error.message, { tone: "bad" })),
    });
  } catch (error) {
    toast(error.message, { tone: "bad" });
  }
}

/** Mute or unmute: no notifications, the texts still come. */
export async function mute(id, muted) {
  try {
    await change(id, { muted });
    toast(muted ? "Muted: no notifications from this conversation" : "Not muted any more");
  } catch (error) {
    toast(error.message, { tone: "bad" });
  }
}

/** Delete a conversation, with undo. Returns whether it is gone. */
export async function remove(id) {
  try {
    const answer = await del(`/conversations/${encodeURIComponent(id)}`);
    const undo = answer?.meta?.undo;
    const gone = book.get().byId[id];
    forget(id);
    toast("Conversation deleted", {
      action: "Undo",
      onAction: async () => {
        try {
          const back = await post(`/conversations/${encodeURIComponent(id)}/restore`, "conversation", { undo });
          took(back?.data ?? gone);
        } catch (error) {
          toast(error.message, { tone: "bad" });
        }
      },
    });
    return true;
  } catch (error) {
    toast(error.message, { tone: "bad" });
    return false;
  }
}

function forget(id) {
  const { byId, ids } = book.get();
  delete byId[id];
  book.set({ ids: ids.filter((one) => one !== id) });
  countUnread();
}

// Many events in one moment (a burst of texts) are one drawing.
let waiting = new Map();
let planned = false;

on("conversation", (one) => {
  if (!one?.id) return;
  waiting.set(one.id, one);
  if (planned) return;
  planned = true;
  setTimeout(() => {
    planned = false;
    const batch = waiting;
    waiting = new Map();
    for (const each of batch.values()) {
      if (each.attributes.last_message === null && !book.get().byId[each.id]) continue;
      told.set(each.id, each);
      took(each);
    }
  }, 30);
});

on("reset", () => loadList());
on("first", () => (book.get().loaded || book.get().loading) && loadList());
on("contacts", () => loadList()); // names may be others now

session.subscribe(({ phase }) => {
  if (phase === "out") book.set({ byId: {}, ids: [], next: null, loaded: false, error: null });
});
