/**
 * Web push in this browser, on and off, and the log out that forgets it. Notifications themselves
 * are shown by the service worker, sw.js.
 */
import { del, post, request } from "./api.js";
import { confirm } from "./kit/index.js";
import { forgetPerson, session } from "./state.js";

const READY_WITHIN_MS = 10_000;

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
  navigator.clearAppBadge?.().catch(() => {});
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
