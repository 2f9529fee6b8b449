/**
 * The messages of the threads that were opened last: a window of at most 300 that moves through a
 * thread of any length, kept true by the event stream. Nothing here draws.
 */
import { del, get, post } from "../api.js";
import { announce, toast } from "../kit/toast.js";
import { on } from "../live.js";
import { session } from "../state.js";

const PAGE = 60;
const WINDOW = 300;
const KEPT = 6; // threads in memory

const threads = new Map(); // conversation id -> Thread, the one used last at the end

/** One thread's window. Watchers are told before the change is drawn. */
export class Thread {
  constructor(id) {
    this.id = id;
    this.messages = [];
    this.has_older = true;
    this.has_newer = false;
    this.loaded = false;
    this.loading = ""; // "start", "older", "newer"
    this.error = null;
    this.fresh = 0; // came while the reader was elsewhere in the thread
    this.stale = false;
    this.turn = 0;
    this.watchers = new Set();
  }

  watch(watcher) {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  tell() {
    for (const watcher of [...this.watchers]) watcher();
  }

  /** Drop what is in memory; the next load starts anew. */
  forget() {
    this.turn += 1;
    this.messages = [];
    this.loaded = false;
    this.loading = "";
    this.fresh = 0;
  }

  /** Load the newest messages, or those around one. */
  async load(around = "") {
    const mine = ++this.turn;
    this.loading = "start";
    this.error = null;
    this.tell();
    try {
      const answer = await get(this.path, { around, limit: PAGE });
      if (mine !== this.turn) return;
      this.messages = answer.data;
      this.has_older = !!answer.meta?.has_older;
      this.has_newer = !!answer.meta?.has_newer;
      this.loaded = true;
      this.stale = false;
      if (!this.has_newer) this.fresh = 0;
    } catch (error) {
      if (mine !== this.turn) return;
      this.error = error;
    }
    this.loading = "";
    this.tell();
  }

  get path() {
    return `/conversations/${encodeURIComponent(this.id)}/messages`;
  }

  /** Take what is newest without moving the window. */
  async refresh() {
    if (this.has_newer || (!this.loaded && !this.loading)) return;
    try {
      const { data } = await get(this.path, { limit: PAGE });
      for (const message of data) this.took(message);
    } catch {
      // The stream tells what comes from now on; the next opening loads the rest.
    }
  }

  async older() {
    if (this.loading || !this.has_older || !this.messages.length) return;
    await this.page("older", { before: this.messages[0].id }, (data, meta) => {
      this.messages = [...data, ...this.messages];
      this.has_older = !!meta?.has_older && data.length > 0;
      if (this.messages.length > WINDOW) {
        this.messages = this.messages.slice(0, WINDOW);
        this.has_newer = true;
      }
    });
  }

  async newer() {
    if (this.loading || !this.has_newer || !this.messages.length) return;
    await this.page("newer", { after: this.messages.at(-1).id }, (data, meta) => {
      this.messages = [...this.messages, ...data];
      this.has_newer = !!meta?.has_newer && data.length > 0;
      if (!this.has_newer) this.fresh = 0;
      if (this.messages.length > WINDOW) {
        this.messages = this.messages.slice(-WINDOW);
        this.has_older = true;
      }
    });
  }

  async page(name, query, take) {
    const mine = this.turn;
    this.loading = name;
    this.error = null;
    this.tell();
    try {
      const answer = await get(this.path, { ...query, limit: PAGE });
      if (mine !== this.turn) return;
      const known = new Set(this.messages.map((one) => one.id));
      take(answer.data.filter((one) => !known.has(one.id)), answer.meta);
    } catch (error) {
      if (mine !== this.turn) return;
      this.error = error;
    }
    this.loading = "";
    this.tell();
  }

  /** Take a message that is new or changed. */
  took(message) {
    const at = this.messages.findIndex((one) => one.id === message.id);
    if (at >= 0) {
      this.messages = this.messages.with(at, message);
      this.tell();
      return;
    }
    if (!this.loaded) return;
    const time = message.attributes.created_at;
    if (this.has_newer) {
      // The window is elsewhere; only its own times belong into it.
      if (time > this.messages.at(-1)?.attributes.created_at) {
        if (message.attributes.direction === "inbound") this.fresh += 1;
        this.tell();
        return;
      }
    }
    let place = this.messages.length;
    while (place > 0 && this.messages[place - 1].attributes.created_at > time) place -= 1;
    if (place === 0 && this.has_older) return; // older than the window
    this.messages = this.messages.toSpliced(place, 0, message);
    if (this.messages.length > WINDOW + PAGE) {
      this.messages = this.messages.slice(-WINDOW);
      this.has_older = true;
    }
    this.tell();
  }

  lost(id) {
    const before = this.messages.length;
    this.messages = this.messages.filter((one) => one.id !== id);
    if (this.messages.length !== before) this.tell();
  }
}

/** Return a thread's window; it is loaded by its view. */
export function thread(id) {
  const found = threads.get(id) ?? new Thread(id);
  threads.delete(id);
  threads.set(id, found);
  for (const [key, old] of threads) {
    if (threads.size <= KEPT) break;
    if (!old.watchers.size) threads.delete(key);
  }
  return found;
}

/** Take a message that the server answered or told. */
export function tookMessage(message) {
  threads.get(message.attributes.conversation)?.took(message);
}

let waiting = [];

on("message", (message) => {
  if (!message?.id) return;
  waiting.push(message);
  if (waiting.length > 1) return;
  // A burst is one drawing for each thread: the watchers draw in the next frame anyway.
  setTimeout(() => {
    const batch = waiting;
    waiting = [];
    for (const each of batch) {
      if (each.attributes.hidden || each.attributes.deleted) threads.get(each.attributes.conversation)?.lost(each.id);
      else tookMessage(each);
    }
  }, 20);
});

on("first", () => {
  for (const one of threads.values()) if (one.watchers.size) one.refresh();
});

on("reset", () => {
  for (const one of threads.values()) {
    one.stale = true;
    if (one.watchers.size) one.tell();
  }
});

session.subscribe(({ phase }) => {
  if (phase === "out") threads.clear();
});

/** Send a message again that did not go out. */
export async function retry(message) {
  const { attributes } = message;
  tookMessage({ ...message, attributes: { ...attributes, status: "queued", reason: "", detail: "" } });
  try {
    tookMessage((await post(`/messages/${encodeURIComponent(message.id)}/retry`, "message", {})).data);
    announce("Sending again");
  } catch (error) {
    tookMessage(message);
    toast(error.message, { tone: "bad" });
  }
}

/** Take back a message that still waits. */
export async function cancel(message) {
  try {
    const answer = await post(`/messages/${encodeURIComponent(message.id)}/cancel`, "message", {});
    if (answer?.data) tookMessage(answer.data);
    toast("Text canceled");
    return true;
  } catch (error) {
    toast(error.message, { tone: "bad" });
    return false;
  }
}

/** Delete a message for this person, with undo. */
export async function removeMessage(message) {
  const owner = threads.get(message.attributes.conversation);
  owner?.lost(message.id);
  try {
    await del(`/messages/${encodeURIComponent(message.id)}`);
    toast("Message deleted", {
      action: "Undo",
      onAction: async () => {
        try {
          const answer = await post(`/messages/${encodeURIComponent(message.id)}/restore`, "message", {});
          tookMessage(answer?.data ?? message);
        } catch (error) {
          toast(error.message, { tone: "bad" });
        }
      },
    });
  } catch (error) {
    owner?.took(message);
    toast(error.message, { tone: "bad" });
  }
}

/** Return a message with its history ("trace"). */
export const traced = async (id, signal) => (await get(`/messages/${encodeURIComponent(id)}`, {}, { signal })).data;
