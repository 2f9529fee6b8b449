/**
 * The page's side of the service worker: registers it, offers its new version, goes where a clicked
 * notification points, and turns web push on and off. What the worker itself does is in sw.js.
 */
import { del, post, request } from "./api.js";
import { confirm, toast } from "./kit/index.js";
import { go, route } from "./router.js";
import { connection, createStore, forgetPerson, session, shared } from "./state.js";

/**
 * kept_at: when the answers that are shown without the network came, "" while all is fresh.
 * install: the browser's offer to install the page as an app, or null.
 */
export const worker = createStore({ kept_at: "", install: null });

const CHECK_EVERY_MS = 60 * 60_000;
const READY_WITHIN_MS = 10_000;

/** Register the worker and follow it; called once by the app. */
export function startWorker() {
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault(); // offered in the settings, not by a bar over the texts
    worker.set({ install: event });
  });
  addEventListener("appinstalled", () => worker.set({ install: null }));
  connection.subscribe((now) => now.stream === "open" && worker.set({ kept_at: "" }));
  shared.subscribe(({ unread }) => badge(unread));
  route.subscribe(closeShown);
  if (!("serviceWorker" in navigator)) return;
  navigator.serviceWorker.addEventListener("message", ({ data }) => {
    if (data?.kind === "kept-answer") worker.set({ kept_at: data.kept_at });
    if (data?.kind === "open") go(data.fragment);
  });
  navigator.serviceWorker.register("/sw.js").then(follow, () => {
    // A private window or an address without TLS: the page works, only not offline.
  });
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

/** Look for a new version of the page now; the server said that it is another one. */
export async function lookForUpdate() {
  const registration = await navigator.serviceWorker?.getRegistration();
  await registration?.update().catch(() => {});
}

function badge(unread) {
  if (!navigator.setAppBadge) return;
  (unread > 0 ? navigator.setAppBadge(unread) : navigator.clearAppBadge()).catch(() => {});
}

// A notification of the conversation that was just opened has done its work.
async function closeShown({ path }) {
  if (path[0] !== "c" || !path[1] || !navigator.serviceWorker?.controller) return;
  const registration = await navigator.serviceWorker.getRegistration();
  const shown = (await registration?.getNotifications?.({ tag: path[1] })) ?? [];
  for (const notification of shown) notification.close();
}

/** Tell what this browser can do: "off", "on", "denied" by its reader, or "missing" with a reason. */
export async function pushState() {
  if (!window.isSecureContext) return { state: "missing", reason: "Notifications need an address that starts with https://." };
  if (!("serviceWorker" in navigator) || !("PushManager" in window) || !("Notification" in window)) {
    const apple = /iPhone|iPad/.test(navigator.userAgent);
    return {
      state: "missing",
      reason: apple
        ? "On this device, add smsbridge to the home screen first, then open it from there."
        : "This browser cannot show notifications of a closed page.",
    };
  }
  if (!session.get().me?.push_key) return { state: "missing", reason: "The operator has not set up web push on this bridge." };
  if (Notification.permission === "denied") return { state: "denied" };
  const registration = await navigator.serviceWorker.getRegistration();
  const subscription = await registration?.pushManager.getSubscription();
  return { state: subscription ? "on" : "off" };
}

/** Ask for permission and subscribe this browser. @throws {Error} with a sentence for people */
export async function turnPushOn() {
  if ((await Notification.requestPermission()) !== "granted") {
    throw new Error("The browser was told not to show notifications. Allow them in its settings for this site.");
  }
  const registration = await ready();
  let subscription;
  try {
    subscription = await registration.pushManager.subscribe({
      userVisibleOnly: true,
      applicationServerKey: bytes(session.get().me.push_key),
    });
  } catch {
    throw new Error("The browser's push service refused. Check that the device is online and try again.");
  }
  const { endpoint, keys } = subscription.toJSON();
  try {
    await post("/push", "push", { endpoint, keys });
  } catch (error) {
    await subscription.unsubscribe().catch(() => {});
    throw error;
  }
}

/** Unsubscribe this browser, here and on the server. */
export async function turnPushOff() {
  const registration = await navigator.serviceWorker?.getRegistration();
  const subscription = await registration?.pushManager?.getSubscription();
  if (!subscription) return;
  const { endpoint } = subscription;
  await subscription.unsubscribe().catch(() => {});
  await request("DELETE", "/push", { body: { data: { type: "push", attributes: { endpoint } } }, anonymous: true });
}

/** Show a notification of our own through the worker, as a pushed one would look. */
export async function testNotification() {
  if ((await Notification.requestPermission()) !== "granted") {
    throw new Error("The browser was told not to show notifications. Allow them in its settings for this site.");
  }
  const registration = await ready();
  await registration.showNotification("smsbridge", {
    body: "Notifications work in this browser.",
    tag: "smsbridge-test",
    icon: "/static/icons/icon-192.png",
    badge: "/static/icons/badge-96.png",
    data: {},
  });
}

/** End the session and forget what this browser holds of the person, notifications included. */
export async function logOut() {
  await turnPushOff().catch(() => {}); // a server that does not answer must not keep anybody logged in here
  try {
    await del("/session", { anonymous: true });
  } catch (error) {
    if (error.status !== 401) {
      const leave = await confirm({
        title: "The bridge does not answer",
        text: "This browser can forget what it holds, but the session stays open until the bridge hears of it.",
        action: "Forget here",
      });
      if (!leave) return;
    }
  }
  navigator.serviceWorker?.controller?.postMessage({ kind: "forget" });
  forgetPerson();
  badge(0);
  session.set({ phase: "out", me: null, problem: "" });
}

function ready() {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error("The page's worker did not start. Load the page again and try once more.")), READY_WITHIN_MS);
  });
  return Promise.race([navigator.serviceWorker.ready, late]);
}

function bytes(base64url) {
  const text = atob(base64url.replace(/-/g, "+").replace(/_/g, "/") + "=".repeat((4 - (base64url.length % 4)) % 4));
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}
