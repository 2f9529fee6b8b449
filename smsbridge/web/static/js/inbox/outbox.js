/**
 * Texts on their way from this browser to the server. They are kept in the browser until the server
 * has them, so that nothing is lost by a reload or a dead network; the Idempotency-Key makes a
 * second attempt harmless.
 */
import { request } from "../api.js";
import { announce, toast } from "../kit/toast.js";
import { on } from "../live.js";
import { connection, createStore, remember, remembered, session } from "../state.js";
import { tookMessage } from "./messages.js";

/**
 * entries: [{key, conversation, attributes (as POST /messages takes), media (for showing), at (ISO),
 * state: "sending"|"waiting"|"refused", error, person}]
 */
export const outbox = createStore({ entries: [] });

const mine = (entry) => entry.person === session.get().me?.person;
const sent_listeners = new Map(); // key -> {resolve, reject, entry}

let held = null; // the entries, where the browser's storage is full or forbidden

const stored = () => held ?? remembered("outbox", []);

function load() {
  outbox.set({ entries: stored().filter(mine) });
}

function save(change) {
  const next = change(stored());
  if (!held) {
    remember("outbox", next.length ? next : null);
    if (remembered("outbox", []).length !== next.length) held = next;
  } else held = next;
  outbox.set({ entries: next.filter(mine) });
}

const update = (key, patch) => save((all) => all.map((entry) => (entry.key === key ? { ...entry, ...patch } : entry)));

/** Take an entry away; the reader discards or edits it. */
export const discard = (key) => save((all) => all.filter((entry) => entry.key !== key));

/**
 * Send a text; it is shown at once and kept until the server has it.
 * @returns {Promise<object|null>} the message; null when it waits for the connection
 * @throws {import("../api.js").ApiError} when the server refuses it; `error.entry` is kept as "refused"
 *   until it is discarded
 */
export function send({ conversation, attributes, media = [] }) {
  const entry = {
    key: crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
    conversation,
    attributes,
    media,
    at: new Date().toISOString(),
    state: "sending",
    error: "",
    person: session.get().me?.person,
  };
  save((all) => [...all, entry]);
  const result = new Promise((resolve, reject) => sent_listeners.set(entry.key, { resolve, reject, entry }));
  flush();
  return result;
}

/** Try an entry again now. */
export function sendNow(key) {
  update(key, { state: "sending", error: "" });
  flush();
}

let flushing = false;
let wanted = false;

/** Send what waits, in order; one page at a time does it. */
export async function flush() {
  wanted = true;
  if (flushing) return;
  flushing = true;
  try {
    while (wanted) {
      wanted = false;
      // Another tab may be at it: it takes ours too, and a doubled try is harmless.
      if (navigator.locks) await navigator.locks.request("smsbridge.outbox", pass);
      else await pass();
    }
  } finally {
    flushing = false;
  }
}

async function pass() {
  const kept = stored().filter((one) => mine(one) && one.state !== "refused");
  const keys = new Set(stored().map((one) => one.key));
  // Another tab may have sent ours: the same key asks what became of it.
  const taken = [...sent_listeners.values()].map((one) => one.entry).filter((one) => !keys.has(one.key));
  for (const entry of [...kept, ...taken]) {
    const listener = sent_listeners.get(entry.key);
    try {
      const answer = await request("POST", "/messages", {
        body: { data: { type: "message", attributes: entry.attributes } },
        headers: { "Idempotency-Key": entry.key },
        timeout_ms: 60_000,
      });
      // First the message, then without the waiting one: the thread does not flicker.
      if (answer?.data) tookMessage(answer.data);
      discard(entry.key);
      sent_listeners.delete(entry.key);
      listener?.resolve(answer?.data ?? null);
    } catch (error) {
      if (error.temporary) {
        update(entry.key, { state: "waiting", error: error.message });
        sent_listeners.delete(entry.key);
        listener?.resolve(null);
        again(error.retry_after_s);
        return;
      }
      sent_listeners.delete(entry.key);
      update(entry.key, { state: "refused", error: error.message ?? "" });
      if (listener) {
        error.entry = entry; // who wrote it takes it back into the field, or leaves it in the thread
        listener.reject(error);
      } else {
        announce("A text was not sent: " + error.message);
        toast("A text was not sent: " + error.message, { tone: "bad" });
      }
    }
  }
}

let timer = 0;
let pause_s = 3;

function again(after_s = 0) {
  clearTimeout(timer);
  timer = setTimeout(flush, Math.max(after_s, pause_s) * 1000);
  pause_s = Math.min(60, pause_s * 2);
}

let watching = false;

/** Start to send what an earlier page left; called when somebody logged in. */
export function watchOutbox() {
  load();
  if (outbox.get().entries.length) flush();
  if (watching) return;
  watching = true;
  addEventListener("online", () => outbox.get().entries.length && flush());
  addEventListener("storage", (event) => event.key === "smsbridge.outbox" && load());
  on("open", () => {
    pause_s = 3;
    if (outbox.get().entries.some((entry) => entry.state === "waiting")) flush();
  });
  connection.subscribe(({ online }) => online && outbox.get().entries.some((entry) => entry.state === "waiting") && flush());
}
