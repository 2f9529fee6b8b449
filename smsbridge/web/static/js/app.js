/**
 * The page: who is logged in, the frame around the pages, and which page an address shows. The
 * pages themselves live in `inbox/` and `pages/`.
 */
import { html, render, useEffect, useErrorBoundary, useState } from "./lib/preact.js";
import { request } from "./api.js";
import { badge, watchTitle } from "./badge.js";
import { InboxPage } from "./inbox/inbox.js";
import { watchOutbox } from "./inbox/outbox.js";
import { Banner, Button, Dialog, DialogHost, Empty, Icon, keysShown, MenuHost, Spinner, ToastHost, useKeys } from "./kit/index.js";
import * as live from "./live.js";
import * as pwa from "./pwa.js";
import { LoginAgain, LoginPage } from "./login.js";
import { useRoute } from "./router.js";
import { connection, forgetPerson, remember, remembered, session, shared, useStore } from "./state.js";

/** First part of the address -> the module of the page; loaded when it is opened. */
const ROUTES = {
  contacts: () => import("./pages/contacts.js"),
  calls: () => import("./pages/calls.js"),
  lines: () => import("./pages/lines.js"),
  operator: () => import("./pages/operator.js"),
  settings: () => import("./pages/settings.js"),
};

const PLACES = [
  { id: "", label: "Messages", icon: "messages" },
  { id: "contacts", label: "Contacts", icon: "contacts" },
  { id: "calls", label: "Calls", icon: "calls" },
  { id: "lines", label: "Lines", icon: "lines" },
  { id: "operator", label: "Operator", icon: "operator", admin: true },
  { id: "settings", label: "Settings", icon: "settings" },
];

/** Ask who is logged in; called at the start and when the reader tries again. */
async function begin() {
  session.set({ phase: "starting", problem: "" });
  try {
    const { data } = await request("GET", "/me", { anonymous: true });
    session.set({ phase: "in", me: { ...data.attributes, person: data.id } });
  } catch (error) {
    if (error.status === 401) session.set({ phase: "out", me: null });
    else session.set({ phase: "unreachable", problem: error.message });
  }
}

function App() {
  const { phase, problem } = useStore(session);
  let page;
  if (phase === "starting") page = html`<main class="boot"><${Spinner} label="Opening smsbridge" /></main>`;
  else if (phase === "out") page = html`<${LoginPage} />`;
  else if (phase === "unreachable") {
    page = html`<main class="boot"><${Empty} icon="alert" title="No connection">
      <p>${problem}</p><${Button} kind="filled" label="Try again" onClick=${begin} /><//></main>`;
  } else page = html`<${Shell} />`;
  return html`${page}${phase === "expired" && html`<${LoginAgain} />`}<${DialogHost} /><${MenuHost} /><${ToastHost} />`;
}

function Shell() {
  const route = useRoute();
  const unread = useStore(shared, (value) => value.unread);
  const admin = useStore(session, (value) => !!value.me?.admin);
  const [help, setHelp] = useState(false);
  const place = route.path[0] in ROUTES ? route.path[0] : "";
  useKeys({ "?": () => setHelp(true) });
  useEffect(() => {
    const open = () => setHelp(true);
    addEventListener("smsbridge:keys", open);
    return () => removeEventListener("smsbridge:keys", open);
  }, []);
  // On phones the bar stands below lists only; a thread has the whole screen.
  const deep = route.path[0] === "c" || route.path[0] === "new";
  return html`<div class=${"shell " + (deep ? "shell-deep" : "")}>
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.querySelector("#main h1, #main [tabindex]")?.focus(); }}>Skip to content</a>
    <div class="shell-banners"><${Connection} /><${pwa.KeptNotice} /></div>
    <nav class="rail" aria-label="Pages">
      <span class="rail-mark"><${Icon} name="messages" size=${30} /></span>
      ${PLACES.filter((entry) => !entry.admin || admin).map((entry) => html`
        ${entry.id === "settings" && html`<span key="space" class="rail-space"></span>`}
        <a key=${entry.id} class="rail-link" href=${"#/" + entry.id} aria-current=${entry.id === place ? "page" : null}
          aria-label=${entry.id === "" && unread ? `Messages, ${unread} unread` : null}>
          <span class="rail-pill"><${Icon} name=${entry.icon} />${entry.id === "" && unread ? html`<span class="badge" aria-hidden="true">${unread > 99 ? "99+" : unread}</span>` : null}</span>
          <span>${entry.label}</span></a>`)}
    </nav>
    <main class="shell-main" id="main"><${Guard} key=${place}>
      ${place ? html`<${Later} name=${place} route=${route} />` : html`<${InboxPage} route=${route} />`}
    <//></main>
    ${help && html`<${KeysHelp} onClose=${() => setHelp(false)} />`}
  </div>`;
}

/** Shows a page whose module is loaded on the way. */
function Later({ name, route }) {
  const [loaded, setLoaded] = useState({ name: "", page: null, error: null });
  const load = () => ROUTES[name]().then(
    (module) => setLoaded({ name, page: module.default, error: null }),
    (error) => setLoaded({ name, page: null, error }),
  );
  useEffect(() => void load(), [name]);
  if (loaded.name !== name) return html`<div class="page"><${Spinner} /></div>`;
  if (loaded.error) {
    return html`<div class="page"><${Empty} icon="alert" title="This page did not load">
      <p>Check the connection and load the page again.</p>
      <${Button} label="Load again" onClick=${() => location.reload()} /><//></div>`;
  }
  const Page = loaded.page;
  return html`<${Page} route=${route} />`;
}

/** Keeps the rail alive when a page stumbles over a bug of ours. */
function Guard({ children }) {
  const [error, again] = useErrorBoundary((reason) => console.error(reason));
  if (!error) return children;
  return html`<div class="page"><${Empty} icon="alert" title="Something went wrong on this page">
    <p>What you typed is kept. Open the page again.</p>
    <${Button} kind="filled" label="Open again" onClick=${again} /><//></div>`;
}

/** Says that the page does not hear the server; not for the short breaks that nobody notices. */
function Connection() {
  const { stream, lost_at, online } = useStore(connection);
  const [, look] = useState(0);
  const [shown, setShown] = useState(false);
  useEffect(() => {
    if (stream === "open" || !lost_at) return setShown(false);
    const timer = setTimeout(() => setShown(true), Math.max(0, 3000 - (Date.now() - lost_at)));
    return () => clearTimeout(timer);
  }, [stream, lost_at, look]);
  if (!online) {
    return html`<${Banner} tone="warn">You are offline. You can read and write; texts are sent when the connection is back.<//>`;
  }
  if (!shown) return null;
  return html`<${Banner} tone="warn">No connection to smsbridge. Trying again; texts that you write now wait here.<//>`;
}

function KeysHelp({ onClose }) {
  return html`<${Dialog} title="Keys" onClose=${onClose}>
    <dl class="keys-table">${keysShown.map(([keys, what]) => html`<dt><kbd>${keys}</kbd></dt><dd>${what}</dd>`)}</dl>
  <//>`;
}

// What runs as long as somebody is logged in.
let before = "starting";
session.subscribe(({ phase }) => {
  if (phase === before) return;
  before = phase;
  if (phase === "in") {
    const { person } = session.get().me;
    // Somebody else at this browser: the drafts of the one before are none of their business.
    if (remembered("person", person) !== person) forgetPerson(false);
    remember("person", person);
    live.start(); // after a log in again this is a new stream with the new session
    watchOutbox();
  } else if (phase === "out") {
    live.stop();
    badge(0);
  }
});

/** Ask again what the person may do: the operator may have changed it. */
async function refresh() {
  try {
    const { data } = await request("GET", "/me", { anonymous: true });
    const { phase, me } = session.get();
    if (me && data.id !== me.person) location.reload(); // somebody else logged in elsewhere in this browser
    else if (phase === "in") session.set({ me: { ...data.attributes, person: data.id } });
  } catch {
    // The next request says what is wrong.
  }
}

let known_once = false;
live.on("open", () => {
  if (known_once) refresh();
  known_once = true;
});
live.on("lines", (lines) => {
  shared.set({ lines });
  const names = (list) => list.map((line) => line.id ?? line.label).sort().join(" ");
  const { me } = session.get();
  if (me && !me.admin && names(lines ?? []) !== names(me.lines)) refresh();
});
live.on("contacts", () => shared.set((now) => ({ contacts_version: now.contacts_version + 1 })));
live.on("hello", ({ version } = {}) => {
  const known = session.get().me?.version;
  if (known && version && version !== known) pwa.newVersion();
});

watchTitle();
pwa.start();
begin();
render(html`<${App} />`, document.getElementById("app"));
