/**
 * The service worker: the page opens without the network, with the conversations that this browser
 * saw last, and notifications come while no tab is open. It never answers a request that changes
 * something, and keeps no answer of a person who logged out.
 */
"use strict";

// The server replaces this line by the files of the page and a hash of their content; without that
// (a plain file server) files are taken from the network first and kept on the way.
const SHELL = { version: "", files: [] };

const SHELL_CACHE = "shell-" + SHELL.version;
const ANSWERS_CACHE = "answers-1";
const API = "/api/v2.2";
// Enough for the list and the last threads; the oldest answer goes first.
const MAX_ANSWERS = 60;
const MAX_ANSWER_BYTES = 1_000_000;
const KEPT = [
  /^\/me$/,
  /^\/conversations$/,
  /^\/conversations\/[^/]+$/,
  /^\/conversations\/[^/]+\/messages$/,
  /^\/contacts$/,
  /^\/groups$/,
  /^\/lines$/,
  /^\/calls$/,
];
const THREAD = /^\/conversations\/[^/]+\/messages$/;

// Raised at every log in and log out: an answer that was asked for before is not kept after it.
let epoch = 0;

self.addEventListener("install", (event) => {
  if (!SHELL.version) {
    self.skipWaiting();
    return;
  }
  event.waitUntil(
    (async () => {
      const cache = await caches.open(SHELL_CACHE);
      // "no-cache" asks the server whether the browser's copy is still right.
      await cache.addAll(SHELL.files.map((path) => new Request(path, { cache: "no-cache" })));
    })()
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) {
        if (name !== SHELL_CACHE && name !== ANSWERS_CACHE) await caches.delete(name);
      }
      await self.clients.claim();
    })()
  );
});

self.addEventListener("message", (event) => {
  const kind = event.data && event.data.kind;
  if (kind === "update") self.skipWaiting();
  if (kind === "forget") event.waitUntil(forget());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const address = new URL(request.url);
  if (address.origin !== self.location.origin) return;
  if (address.pathname.startsWith(API + "/")) {
    const path = address.pathname.slice(API.length);
    if (path === "/session") {
      event.respondWith(changeSession(request));
    } else if (request.method === "GET" && KEPT.some((pattern) => pattern.test(path))) {
      event.respondWith(answer(event, request, address, path));
    }
    return; // everything else, the event stream too, goes straight to the server
  }
  if (request.method !== "GET") return;
  if (request.mode === "navigate" && address.pathname === "/") {
    event.respondWith(shell(event, new Request("/")));
  } else if (address.pathname.startsWith("/static/") || address.pathname === "/manifest.webmanifest") {
    event.respondWith(shell(event, request));
  }
});

async function shell(event, request) {
  const cache = await caches.open(SHELL_CACHE);
  if (SHELL.version) return (await cache.match(request, { ignoreSearch: true })) || fetch(request);
  try {
    const fresh = await fetch(request);
    if (fresh.ok) event.waitUntil(cache.put(request, fresh.clone()));
    return fresh;
  } catch (error) {
    const kept = await cache.match(request, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}

// Answers of the API: the network's, and only without it the last one that was seen.
async function answer(event, request, address, path) {
  const asked_in = epoch;
  let fresh;
  try {
    fresh = await fetch(request);
  } catch (error) {
    const kept = await lastAnswer(address, path);
    if (kept) return marked(event, kept);
    throw error;
  }
  if (fresh.status === 401 && path === "/me") event.waitUntil(forget());
  if ([502, 503, 504].includes(fresh.status)) {
    const kept = await lastAnswer(address, path);
    if (kept) return marked(event, kept);
  }
  if (fresh.status === 200 && asked_in === epoch) event.waitUntil(keep(request, fresh.clone(), asked_in));
  return fresh;
}

async function keep(request, fresh, asked_in) {
  const body = await fresh.blob();
  if (body.size > MAX_ANSWER_BYTES) return;
  const headers = new Headers();
  headers.set("Content-Type", fresh.headers.get("Content-Type") || "application/json");
  headers.set("X-Kept-At", new Date().toISOString());
  const cache = await caches.open(ANSWERS_CACHE);
  if (asked_in !== epoch) return;
  await cache.delete(request.url); // put again, it stands last
  await cache.put(request.url, new Response(body, { status: 200, headers }));
  const keys = await cache.keys();
  const spare = keys.filter((key) => new URL(key.url).pathname !== API + "/me");
  for (const key of spare.slice(0, Math.max(0, keys.length - MAX_ANSWERS))) await cache.delete(key);
  if (asked_in !== epoch) await caches.delete(ANSWERS_CACHE);
}

async function lastAnswer(address, path) {
  const cache = await caches.open(ANSWERS_CACHE);
  const kept = await cache.match(address.href);
  if (kept || !THREAD.test(path)) return kept;
  // A thread opens at its first unread text, so its address is seldom the same twice. Any newest
  // page of it will do; an older or newer one than asked for would repeat itself for ever.
  if (address.searchParams.has("before") || address.searchParams.has("after")) return undefined;
  const same = (await cache.keys()).filter((key) => {
    const other = new URL(key.url);
    return other.pathname === address.pathname
      && !other.searchParams.has("before") && !other.searchParams.has("after");
  });
  return same.length ? cache.match(same[same.length - 1]) : undefined;
}

async function marked(event, kept) {
  const kept_at = kept.headers.get("X-Kept-At") || "";
  const client = event.clientId ? await self.clients.get(event.clientId) : null;
  if (client) client.postMessage({ kind: "kept-answer", kept_at });
  return kept;
}

async function changeSession(request) {
  await forget();
  try {
    return await fetch(request);
  } finally {
    // What other tabs asked for meanwhile was asked for in the name of who was logged in before.
    epoch += 1;
    await caches.delete(ANSWERS_CACHE);
  }
}

// Whoever uses this browser next finds neither answers nor notifications.
async function forget() {
  epoch += 1;
  await caches.delete(ANSWERS_CACHE);
  for (const one of await self.registration.getNotifications()) one.close();
}

// --- notifications -------------------------------------------------------------------------------

self.addEventListener("push", (event) => {
  event.waitUntil(notify(event.data));
});

async function notify(data) {
  let said = {};
  try {
    said = data ? data.json() : {};
  } catch (error) {
    // Not ours; a browser insists that every push shows something.
  }
  if (typeof said.unread === "number" && self.navigator.setAppBadge) {
    if (said.unread > 0) await self.navigator.setAppBadge(said.unread).catch(() => {});
    else await self.navigator.clearAppBadge().catch(() => {});
  }
  const windows = await self.clients.matchAll({ type: "window" });
  if (windows.some((client) => client.focused && client.visibilityState === "visible")) return;
  await self.registration.showNotification(said.title || "smsbridge", {
    body: said.body || "A new text is waiting.",
    tag: said.conversation || "smsbridge",
    renotify: true,
    icon: "/static/icons/icon-192.png",
    badge: "/static/icons/badge-96.png",
    data: { conversation: said.conversation || "", message: said.message || "" },
  });
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const { conversation } = event.notification.data || {};
  const fragment = conversation ? "#/c/" + encodeURIComponent(conversation) : "#/";
  event.waitUntil(open(fragment));
});

async function open(fragment) {
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = windows.find((client) => new URL(client.url).pathname === "/");
  if (!page) return self.clients.openWindow("/" + fragment);
  page.postMessage({ kind: "open", fragment });
  return page.focus();
}

// A push service replaced the subscription; the server has to hear the new one.
self.addEventListener("pushsubscriptionchange", (event) => {
  const options = event.oldSubscription && event.oldSubscription.options;
  if (!options) return;
  event.waitUntil(
    (async () => {
      const subscription = await self.registration.pushManager.subscribe(options);
      const { endpoint, keys } = subscription.toJSON();
      await fetch(API + "/push", {
        method: "POST",
        credentials: "same-origin",
        headers: { "Content-Type": "application/vnd.api+json", "X-Requested-With": "smsbridge" },
        body: JSON.stringify({ data: { type: "push", attributes: { endpoint, keys } } }),
      });
    })()
  );
});
