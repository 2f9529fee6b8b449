/** The operators' pages: what waits, links, people, errors and the state of the daemon (#/operator/TAB). */
import { get, post, put } from "../api.js";
import { Banner, Button, Dialog, Empty, Field, format, Icon, Meter, Page, Switch, Tabs, toast, useLoad } from "../kit/index.js";
import { html, useEffect, useState } from "../lib/preact.js";
import { go } from "../router.js";
import { session, useStore } from "../state.js";
import { Loaded } from "./loaded.js";
import { QueueTab } from "./queue.js";
import { seen } from "./line-words.js";

const TABS = [
  { id: "status", label: "Status" },
  { id: "queue", label: "Queue" },
  { id: "links", label: "Links" },
  { id: "people", label: "People" },
  { id: "log", label: "Errors" },
];
const PANELS = { status: StatusTab, queue: QueueTab, links: LinksTab, people: PeopleTab, log: LogTab };

/** The page at #/operator. */
export default function OperatorPage({ route }) {
  const admin = useStore(session, (value) => !!value.me?.admin);
  const tab = route.path[1] in PANELS ? route.path[1] : "status";
  const Panel = PANELS[tab];
  useEffect(() => {
    document.querySelector(".tabs [aria-selected=true]")?.scrollIntoView({ inline: "nearest", block: "nearest" });
  }, [tab]);
  if (!admin) {
    return html`<${Page} title="Operator"><${Empty} icon="lock" title="For operators only">
      <p>These pages show everybody's texts in the queue, so only people with <code>admin = yes</code> in the configuration see them.</p>
      <${Button} label="To my messages" onClick=${() => go("#/")} /><//><//>`;
  }
  return html`<${Page} title="Operator">
    <${Tabs} label="Operator pages" tabs=${TABS} value=${tab} onChange=${(id) => go(["operator", id], { replace: true })} />
    <div class="tab-panel" role="tabpanel" aria-label=${TABS.find((entry) => entry.id === tab).label}><${Panel} key=${tab} /></div>
  <//>`;
}

const Refresh = ({ of }) => html`<${Button} kind="text" icon="refresh" label="Refresh" busy=${of.loading && !!of.data} onClick=${of.again} />`;

function StatusTab() {
  const status = useLoad((signal) => get("/status", {}, { signal }), []);
  useEffect(() => {
    const timer = setInterval(() => document.visibilityState === "visible" && status.again(), 15_000);
    return () => clearInterval(timer);
  }, [status.again]);
  return html`<${Loaded} of=${status} label="Asking the daemon">${({ data }) => {
    const { version, started_at, ready, unready = [], node, database, depths = [], media } = data.attributes;
    return html`
      <${Banner} tone=${ready ? "good" : "bad"} icon=${ready ? "check" : "alert"}>${ready ? "The bridge is working." : `The bridge is not ready: ${unready.join("; ") || "see the errors"}.`}<//>
      <dl class="facts facts-wide">
        <div><dt>Version</dt><dd>${version}</dd></div>
        <div><dt>Running since</dt><dd>${format.when(started_at, { short: true })}</dd></div>
        <div><dt>Node</dt><dd>${node}</dd></div>
        <div><dt>Database</dt><dd>${database}</dd></div>
      </dl>
      <section class="block"><h2>Waiting texts</h2>
        ${depths.length ? html`<div class="table-box" tabindex="0" role="region" aria-label="Waiting texts"><table class="table"><thead><tr><th scope="col">Gateway</th><th scope="col">Status</th><th scope="col" class="number">Texts</th><th scope="col">Oldest</th></tr></thead>
          <tbody>${depths.map((row) => html`<tr key=${row.gateway + row.status}><td>${row.gateway}</td><td>${row.status}</td><td class="number">${row.count.toLocaleString()}</td><td>${row.oldest_at ? seen(row.oldest_at) : ""}</td></tr>`)}</tbody></table></div>
          <${Button} kind="text" icon="queue" label="Open the queue" onClick=${() => go(["operator", "queue"])} />`
        : html`<p class="quiet">Nothing waits.</p>`}</section>
      ${media && html`<section class="block"><h2>Pictures and files</h2>
        <p>${format.count(media.files, "file", "files")}, ${format.size(media.bytes)}${media.cap ? ` of ${format.size(media.cap)}` : ""}.</p>
        ${media.cap ? html`<${Meter} value=${media.bytes} max=${media.cap} label="Space of pictures and files" />` : null}
        ${media.alarm && html`<p class="bad-words">${media.alarm}</p>`}</section>`}
      <${Reload} />`;
  }}<//>`;
}

function Reload() {
  const [busy, setBusy] = useState(false);
  const [result, setResult] = useState(null);
  const reload = async () => {
    setBusy(true);
    setResult(null);
    try {
      const { meta } = await post("/reload", "reload", {});
      setResult({ good: true, lines: meta?.changes ?? [], warnings: meta?.warnings ?? [] });
    } catch (error) {
      setResult({ good: false, lines: error.errors?.length ? error.errors.map((entry) => entry.detail || entry.title) : [error.message], warnings: [] });
    } finally {
      setBusy(false);
    }
  };
  return html`<section class="block"><h2>Configuration</h2>
    <p class="quiet">After a change of the configuration files: what changed is applied without dropping other links; a wrong file changes nothing.</p>
    <${Button} icon="refresh" label="Load the configuration again" busy=${busy} onClick=${reload} />
    <div role="status">${result && html`<div class=${"note " + (result.good ? "note-good" : "note-bad")}>
      <p><strong>${!result.good ? "Nothing was changed." : result.lines.length ? "Applied." : "Nothing has changed in the files."}</strong></p>
      <ul>${result.lines.map((line, at) => html`<li key=${at}>${line}</li>`)}${result.warnings.map((line, at) => html`<li key=${"w" + at}>Warning: ${line}</li>`)}</ul></div>`}</div></section>`;
}

function LinksTab() {
  const links = useLoad((signal) => get("/links", {}, { signal }), []);
  return html`<div class="tab-tools"><${Refresh} of=${links} /></div>
    <${Loaded} of=${links} label="Loading links">${({ data }) => data.length ? html`<ul class="rows">${data.map((entry) => {
      const { kind, up, state, since } = entry.attributes;
      return html`<li key=${entry.id} class="row"><div class="row-main row-still">
        <span class=${"state-mark " + (up ? "mark-good" : "mark-bad")}><${Icon} name=${up ? "check" : "alert"} size=${20} /></span>
        <span class="row-words"><span class="row-title">${entry.id} <span class="tag">${kind}</span></span>
          <span class="row-text">${up ? "Up" : "Down"}${state && state.toLowerCase() !== (up ? "up" : "down") ? ": " + state : ""}${since ? `, since ${seen(since)}` : ""}</span></span></div></li>`;
    })}</ul>` : html`<${Empty} icon="link" title="No gateway yet"><p>Gateways of the configuration and whether their peers answer are listed here.</p><//>`}<//>`;
}

function PeopleTab() {
  const people = useLoad((signal) => get("/people", {}, { signal }), []);
  const [setting, setSetting] = useState(null);
  return html`<p class="quiet tab-intro">People and their lines stand in the configuration. Here you set the password with which somebody logs in.</p>
    <${Loaded} of=${people} label="Loading people">${({ data }) => html`<ul class="rows">${data.map((entry) => {
      const { lines, addresses, admin, has_password, last_login_at } = entry.attributes;
      return html`<li key=${entry.id} class="row person-row"><div class="row-main row-still">
        <span class="row-words"><span class="row-title">${entry.id} ${admin && html`<span class="tag">operator</span>`}</span>
          <span class="row-text">${lines.length ? "Lines: " + lines.join(", ") : "No line"}</span>
          ${addresses.length > 0 && html`<span class="row-text">${addresses.map(({ kind, address }) => `${kind} ${address}`).join(", ")}</span>`}
          <span class="row-text">${has_password ? (last_login_at ? `Last log in ${seen(last_login_at)}` : "Never logged in") : "Cannot log in: no password"}</span></span></div>
        <${Button} icon="lock" label=${has_password ? "New password" : "Set a password"} aria-label=${`${has_password ? "New password" : "Set a password"} for ${entry.id}`} onClick=${() => setSetting(entry)} /></li>`;
    })}</ul>`}<//>
    ${setting && html`<${PasswordOf} person=${setting} onClose=${() => setSetting(null)} onDone=${people.again} />`}`;
}

function PasswordOf({ person, onClose, onDone }) {
  const [password, setPassword] = useState("");
  const [shown, setShown] = useState(false);
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const suggest = () => {
    // Letters and digits that nobody mistakes for one another; 16 of 31 are about 79 bits.
    const letters = "abcdefghjkmnpqrstuvwxyz23456789";
    const bytes = [];
    while (bytes.length < 16) bytes.push(...crypto.getRandomValues(new Uint8Array(32)).filter((byte) => byte < 248));
    setPassword(bytes.slice(0, 16).map((byte) => letters[byte % 31]).join("").replace(/(.{4})(?=.)/g, "$1-"));
    setShown(true);
  };
  const save = async () => {
    if (!password) return setProblem("Type a password.");
    setBusy(true);
    try {
      await put(`/people/${encodeURIComponent(person.id)}/password`, "password", { password });
      toast(`${person.id} logs in with the new password from now on.`, { tone: "good" });
      onDone();
      onClose();
    } catch (error) {
      setProblem(error.about?.("password") || error.message);
      setBusy(false);
    }
  };
  return html`<${Dialog} title=${`Password of ${person.id}`} onClose=${onClose} onSubmit=${save}
      actions=${html`<${Button} kind="text" label="Suggest one" onClick=${suggest} /><${Button} kind="filled" type="submit" label="Save" busy=${busy} />`}>
    ${person.attributes.has_password && html`<p>The present password ends. Tell ${person.id} the new one; it can be changed in the settings.</p>`}
    <${Field} label="New password" type=${shown ? "text" : "password"} autocomplete="new-password" value=${password} error=${problem} autofocus onInput=${(value) => { setPassword(value); setProblem(""); }} />
    <label class="check"><input type="checkbox" checked=${shown} onChange=${(event) => setShown(event.target.checked)} /> Show the password</label>
  <//>`;
}

function LogTab() {
  const log = useLoad((signal) => get("/log", {}, { signal }), []);
  const [only_errors, setOnlyErrors] = useState(false);
  return html`<div class="tab-tools"><${Switch} label="Only errors, no warnings" checked=${only_errors} onChange=${setOnlyErrors} /><${Refresh} of=${log} /></div>
    <${Loaded} of=${log} label="Loading the log">${({ data }) => {
      const rows = data.filter((entry) => !only_errors || !/^warn/.test(entry.attributes.level));
      return rows.length ? html`<ol class="rows log">${rows.map((entry) => {
        const { at, level, area, text, times = 1 } = entry.attributes;
        const warning = /^warn/.test(level);
        return html`<li key=${entry.id} class="row"><div class="row-main row-still">
          <span class=${"state-mark " + (warning ? "mark-warn" : "mark-bad")}><${Icon} name=${warning ? "info" : "alert"} size=${20} /><span class="unseen">${warning ? "Warning" : "Error"}</span></span>
          <span class="row-words"><span class="log-text">${text}</span><span class="row-text"><time datetime=${at} title=${format.when(at)}>${format.when(at, { short: true })}</time> · ${area}${times > 1 ? ` · ${times} times` : ""}</span></span></div></li>`;
      })}</ol>` : html`<${Empty} icon="check" title="Nothing went wrong"><p>Warnings and errors since the start of the daemon appear here, the last 200 of them.</p><//>`;
    }}<//>`;
}
