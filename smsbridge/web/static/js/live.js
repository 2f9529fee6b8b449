/**
 * What happens on the server, told to the parts of the page: one stream for all tabs in a
 * SharedWorker, or an own one where there is none.
 */
import { BASE } from "./api.js";
import { connection, session } from "./state.js";
import { stream } from "./live-stream.js";

const ADDRESS = BASE + "/events";
const begin_with = (kind) => ({ kind, address: ADDRESS, person: session.get().me?.person ?? "" });
const listeners = new Map(); // type -> Set
let source = null; // {nudge, restart, stop}
let opened = false;

/**
 * Listen to an event: "message", "conversation", "contacts", "lines", "hello", "reset" (reload what
 * you show), "open" (the stream is there, again) or "first" (for the first time on this page).
 * @returns {() => void} stops listening
 */
export function on(type, listener) {
  if (!listeners.has(type)) listeners.set(type, new Set());
  listeners.get(type).add(listener);
  return () => listeners.get(type).delete(listener);
}

/** Tell the listeners of a type, as if the server had. */
export function emit(type, data) {
  for (const listener of [...(listeners.get(type) ?? [])]) {
    try {
      listener(data);
    } catch (error) {
      // One part that stumbles must not keep the news from the others.
      console.error(error);
    }
  }
}

function onState(state) {
  const before = connection.get();
  if (state === "refused") {
    // The next request asks for a new log in; here nothing is shown twice.
    if (session.get().phase === "in") session.set({ phase: "expired" });
    state = "lost";
  }
  if (before.stream === state) return;
  const lost_at = state === "open" ? 0 : state === "lost" && !before.lost_at ? Date.now() : before.lost_at;
  connection.set({ stream: state, lost_at });
  if (state !== "open") return;
  emit("open", null);
  // What was loaded before the stream began may miss what happened between.
  if (!opened) emit("first", null);
  opened = true;
}

/** Open the stream, or join the one of the other tabs. */
export async function start() {
  if (source) return source.restart();
  source = (await shared()) ?? own();
}

/** Close the stream (logged out). */
export function stop() {
  source?.stop();
  source = null;
  opened = false;
  connection.set({ stream: "idle", lost_at: 0 });
}

// Resolves to null where SharedWorkers are missing or do not start (then the page has its own).
function shared() {
  if (typeof SharedWorker === "undefined") return Promise.resolve(null);
  return new Promise((resolve) => {
    let worker;
    try {
      worker = new SharedWorker(new URL("./live-worker.js", import.meta.url), { type: "module", name: "smsbridge" });
    } catch {
      resolve(null);
      return;
    }
    const give_up = setTimeout(() => resolve(null), 3000);
    worker.onerror = () => {
      clearTimeout(give_up);
      resolve(null);
    };
    const { port } = worker;
    port.onmessage = ({ data: { type, data } }) => {
      if (type === ":ready") {
        clearTimeout(give_up);
        port.postMessage(begin_with("start"));
        addEventListener("pagehide", () => port.postMessage({ kind: "bye" }));
        addEventListener("pageshow", (event) => event.persisted && port.postMessage(begin_with("start")));
        resolve({
          nudge: () => port.postMessage({ kind: "nudge" }),
          restart: () => port.postMessage(begin_with("restart")),
          stop: () => port.postMessage({ kind: "bye" }),
        });
      } else if (type === ":state") onState(data);
      else emit(type, data);
    };
    port.start();
  });
}

function own() {
  let running = null;
  const begin = (last_id) => { running = stream(ADDRESS, { onEvent: emit, onState }, last_id); };
  begin("");
  return {
    nudge: () => connection.get().stream !== "open" && running.nudge(),
    restart() {
      begin(running.stop());
    },
    stop: () => void running.stop(),
  };
}

addEventListener("online", () => {
  connection.set({ online: true });
  source?.nudge();
});
addEventListener("offline", () => connection.set({ online: false }));
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && source?.nudge());
