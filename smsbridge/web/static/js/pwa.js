/**
 * The page's side of the service worker: registers it, offers its new version, goes where a clicked
 * notification points. What the worker itself does is in sw.js; web push is in push.js.
 */
import { Banner, format, toast } from "./kit/index.js";
import { html } from "./lib/preact.js";
import * as live from "./live.js";
import { go, route } from "./router.js";
import { connection, createStore, shared, useStore } from "./state.js";

/**
 * kept_at: when the answers that are shown without the network came, "" while all is fresh.
 * install: the browser's offer to install the page as an app, or null.
 */
export const worker = createStore({ kept_at: "", install: null });

const CHECK_EVERY_MS = 60 * 60_000;
const LOOK_AGAIN_MS = 5000;

/** Register the worker and follow it; called once by the app. */
export function start() {
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault(); // offered in the settings, not by a bar over the texts
    worker.set({ install: event });
  });
  addEventListener("appinstalled", () => worker.set({ install: null }));
  connection.subscribe((now) => now.stream === "open" && fresh());
  route.subscribe(closeShown);
  if (!("serviceWorker" in navigator)) return;
  navigator.serviceWorker.addEventListener("message", ({ data }) => {
    if (data?.kind === "kept-answer") {
      worker.set({ kept_at: data.kept_at });
      // One answer that failed while news still come: the next ones are fresh.
      if (connection.get().stream === "open") setTimeout(fresh, LOOK_AGAIN_MS);
    }
    if (data?.kind === "open") go(data.fragment);
  });
  navigator.serviceWorker.register("/sw.js").then((registration) => registration && follow(registration), () => {
    // A private window or an address without TLS: the page works, only not offline.
  });
}

// The server answers again: what is shown from before is loaded anew.
function fresh() {
  if (!worker.get().kept_at) return;
  worker.set({ kept_at: "" });
  live.emit("reset", null);
  shared.set((now) => ({ contacts_version: now.contacts_version + 1 }));
}

function follow(registration) {
  const offer = () => {
    if (!registration.waiting || !navigator.serviceWorker.controller) return;
    toast("A new version of smsbridge is ready.", {
      action: "Reload",
      onAction: () => registration.waiting?.postMessage({ kind: "update" }),
      ms: 60 * 60_000,
    });
  };
  let reloading = !navigator.serviceWorker.controller; // the first worker takes over without a reload
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    if (!reloading) location.reload();
    reloading = true;
    setTimeout(() => { reloading = false; }, 1000);
  });
  registration.addEventListener("updatefound", () => {
    const coming = registration.installing;
    coming?.addEventListener("statechange", () => coming.state === "installed" && offer());
  });
  offer();
  setInterval(() => registration.update().catch(() => {}), CHECK_EVERY_MS);
}

/** Get the new version of the page: the server said that it is another one. */
export async function newVersion() {
  const registration = navigator.serviceWorker?.controller && (await navigator.serviceWorker.getRegistration());
  if (registration) {
    // The worker tells when it has the new files; a reload before that would show the old ones.
    await registration.update().catch(() => {});
  } else {
    toast("A new version of smsbridge is there.", { action: "Reload", onAction: () => location.reload(), ms: 60_000 });
  }
}

/** Says that what is seen came earlier, and when. */
export function KeptNotice() {
  const kept_at = useStore(worker, (value) => value.kept_at);
  if (!kept_at) return null;
  return html`<${Banner} tone="warn">You see what this browser saw last, ${format.when(kept_at, { short: true })}.<//>`;
}

// A notification of the conversation that was just opened has done its work.
async function closeShown({ path }) {
  if (path[0] !== "c" || !path[1] || !navigator.serviceWorker?.controller) return;
  const registration = await navigator.serviceWorker.getRegistration();
  const shown = (await registration?.getNotifications?.({ tag: path[1] })) ?? [];
  for (const notification of shown) notification.close();
}
