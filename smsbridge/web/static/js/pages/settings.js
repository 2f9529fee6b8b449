/** The settings: of this browser (look, keys, notifications) and of the account (password, sessions, tokens, blocks). */
import { del, get, post } from "../api.js";
import { Banner, Button, Field, format, Icon, Page, Segmented, Switch, toast, useLoad } from "../kit/index.js";
import { html, useEffect, useState } from "../lib/preact.js";
import { logOut, pushState, testNotification, turnPushOff, turnPushOn } from "../push.js";
import { worker } from "../pwa.js";
import { saveSettings, session, settings, shared, useStore } from "../state.js";
import { unblock } from "./blocks.js";
import { seen } from "./line-words.js";
import { Loaded } from "./loaded.js";
import { Tokens } from "./tokens.js";

/** The page at #/settings. */
export default function SettingsPage() {
  const me = useStore(session, (value) => value.me);
  if (!me) return null;
  return html`<${Page} title="Settings" subtitle=${`Logged in as ${me.person}`} class="settings" actions=${html`<${LogOut} />`}>
    <${Look} /><${Notifications} /><${Install} /><${Password} person=${me.person} /><${Sessions} />
    <${Tokens} lines=${me.lines} scopes=${me.scopes} /><${Blocks} /><${About} me=${me} />
  <//>`;
}

function Section({ id, title, intro, children }) {
  return html`<section class="block" aria-labelledby=${"settings-" + id}><h2 id=${"settings-" + id}>${title}</h2>${intro && html`<p class="quiet">${intro}</p>`}${children}</section>`;
}

function Look() {
  const { theme, enter_sends, sound } = useStore(settings);
  return html`<${Section} id="look" title="This browser">
    <${Segmented} label="Colors" value=${theme} onChange=${(value) => saveSettings({ theme: value })}
      options=${[{ value: "auto", label: "System", icon: "system" }, { value: "light", label: "Light", icon: "light" }, { value: "dark", label: "Dark", icon: "dark" }]} />
    <${Switch} label="Enter sends the text" hint=${enter_sends ? "Shift + Enter makes a new line." : "Ctrl + Enter sends; Enter makes a new line."} checked=${enter_sends} onChange=${(value) => saveSettings({ enter_sends: value })} />
    <${Switch} label="Sound for new texts" checked=${sound} onChange=${(value) => saveSettings({ sound: value })} />
  <//>`;
}

function Notifications() {
  const { notify } = useStore(settings);
  const [push, setPush] = useState(null);
  const [busy, setBusy] = useState("");
  const look = () => pushState().then(setPush, () => setPush({ state: "missing", reason: "This browser did not say whether it can." }));
  useEffect(() => void look(), []);
  const permission = "Notification" in window ? Notification.permission : "missing";
  const run = (name, work) => async (...given) => {
    setBusy(name);
    try {
      await work(...given);
    } catch (error) {
      toast(error.message, { tone: "bad" });
    } finally {
      setBusy("");
      look();
    }
  };
  const setNotify = run("notify", async (yes) => {
    if (yes && (await Notification.requestPermission()) !== "granted") {
      throw new Error("The browser was told not to show notifications. Allow them in its settings for this site.");
    }
    saveSettings({ notify: yes });
  });
  const setClosed = run("push", async (yes) => (yes ? turnPushOn() : turnPushOff()));
  const test = run("test", testNotification);
  const blocked = permission === "denied";
  return html`<${Section} id="notifications" title="Notifications">
    ${blocked && html`<${Banner} tone="warn">This browser blocks notifications of this site. Allow them behind the lock beside the address, then load the page again.<//>`}
    <${Switch} label="While smsbridge is open in a tab that is not seen" checked=${notify && permission === "granted"} disabled=${blocked || permission === "missing" || busy !== ""} onChange=${setNotify} />
    <${Switch} label="Also while it is closed" checked=${push?.state === "on"} disabled=${!push || blocked || push.state === "missing" || busy !== ""}
      hint=${push?.state === "missing" ? push.reason : "The browser's maker carries the notification, encrypted; turn this on in each browser that should ring."} onChange=${setClosed} />
    <div><${Button} icon="bell" label="Show a test notification" disabled=${blocked || permission === "missing"} busy=${busy === "test"} onClick=${test} /></div>
  <//>`;
}

function Install() {
  const offer = useStore(worker, (value) => value.install);
  if (!offer) return null;
  const install = async () => {
    await offer.prompt();
    worker.set({ install: null });
  };
  return html`<${Section} id="install" title="As an app" intro="Installed, smsbridge has its own window and icon with the count of unread texts, and opens without the network.">
    <div><${Button} icon="download" label="Install" onClick=${install} /></div><//>`;
}

function Password({ person }) {
  const [fields, setFields] = useState({ current: "", new: "", again: "" });
  const [problem, setProblem] = useState({});
  const [busy, setBusy] = useState(false);
  const [shown, setShown] = useState(false);
  const change = (part) => {
    setFields((now) => ({ ...now, ...part }));
    setProblem({});
  };
  const save = async () => {
    if (!fields.current) return setProblem({ current: "Type the password that you log in with now." });
    if (!fields.new) return setProblem({ new: "Type the new password." });
    if (fields.new !== fields.again) return setProblem({ again: "The two new passwords are not the same." });
    setBusy(true);
    try {
      await post("/me/password", "password", { current: fields.current, new: fields.new });
      setFields({ current: "", new: "", again: "" });
      toast("The new password holds from now on.", { tone: "good" });
    } catch (error) {
      const found = { current: error.about?.("current"), new: error.about?.("new") };
      setProblem(found.current || found.new ? found : { all: error.message });
    } finally {
      setBusy(false);
    }
  };
  const type = shown ? "text" : "password";
  return html`<${Section} id="password" title="Password">
    <form class="form" onSubmit=${(event) => { event.preventDefault(); save(); }}>
      <input class="unseen" type="text" name="username" autocomplete="username" value=${person} readonly tabindex="-1" aria-hidden="true" />
      ${problem.all && html`<p class="form-problem" role="alert"><${Icon} name="alert" size=${18} /> ${problem.all}</p>`}
      <${Field} label="Present password" type=${type} autocomplete="current-password" value=${fields.current} error=${problem.current} onInput=${(value) => change({ current: value })} />
      <${Field} label="New password" hint="At least ten characters." type=${type} autocomplete="new-password" value=${fields.new} error=${problem.new} onInput=${(value) => change({ new: value })} />
      <${Field} label="New password again" type=${type} autocomplete="new-password" value=${fields.again} error=${problem.again} onInput=${(value) => change({ again: value })} />
      <label class="check"><input type="checkbox" checked=${shown} onChange=${(event) => setShown(event.target.checked)} /> Show the passwords</label>
      <div><${Button} type="submit" label="Change the password" busy=${busy} /></div>
    </form><//>`;
}

/** Name a browser by what it says of itself: "Firefox on Linux". */
export function agentOf(agent) {
  const browser = [["Edg/", "Edge"], ["OPR/", "Opera"], ["Firefox/", "Firefox"], ["Chrome/", "Chrome"], ["Safari/", "Safari"], ["curl/", "curl"]].find(([mark]) => agent.includes(mark));
  const system = [["Android", "Android"], ["iPhone", "iPhone"], ["iPad", "iPad"], ["Windows", "Windows"], ["Mac OS", "macOS"], ["CrOS", "ChromeOS"], ["Linux", "Linux"]].find(([mark]) => agent.includes(mark));
  if (!browser && !system) return agent.slice(0, 60) || "Unknown program";
  return [browser?.[1] ?? "A browser", system && "on " + system[1]].filter(Boolean).join(" ");
}

function Sessions() {
  const sessions = useLoad((signal) => get("/me/sessions", {}, { signal }), []);
  const [busy, setBusy] = useState("");
  const end = async (entry) => {
    setBusy(entry.id);
    try {
      await del("/me/sessions/" + encodeURIComponent(entry.id));
      sessions.again();
      toast("That session has ended.");
    } catch (error) {
      toast(error.message, { tone: "bad" });
    } finally {
      setBusy("");
    }
  };
  return html`<${Section} id="sessions" title="Where you are logged in" intro="End what you do not know, and change the password then.">
    <${Loaded} of=${sessions} label="Loading sessions">${({ data }) => html`<ul class="rows">${[...data].sort((a, b) => b.attributes.current - a.attributes.current).map((entry) => {
      const { agent, address, created_at, seen_at, current } = entry.attributes;
      const words = agentOf(agent ?? "");
      return html`<li key=${entry.id} class="row"><div class="row-main row-still"><span class="row-words">
          <span class="row-title">${words} ${current && html`<span class="tag">this one</span>`}</span>
          <span class="row-text">${[address, `since ${format.when(created_at, { short: true })}`, !current && `last used ${seen(seen_at)}`].filter(Boolean).join(" · ")}</span></span></div>
        ${!current && html`<${Button} kind="text" label="End" aria-label=${`End the session of ${words}`} busy=${busy === entry.id} onClick=${() => end(entry)} />`}</li>`;
    })}</ul>`}<//><//>`;
}

function Blocks() {
  const version = useStore(shared, (value) => value.contacts_version);
  const blocks = useLoad((signal) => get("/blocks", {}, { signal }), [version]);
  return html`<${Section} id="blocks" title="Blocked numbers" intro="Their texts are kept under “Blocked” but do not reach you.">
    <${Loaded} of=${blocks} label="Loading">${({ data }) => data.length ? html`<ul class="rows">${data.map((entry) => {
      const { name, blocked_at } = entry.attributes;
      return html`<li key=${entry.id} class="row"><div class="row-main row-still"><span class="row-words"><span class="row-title">${name || format.number(entry.id)}</span>
          <span class="row-text">${[name && format.number(entry.id), `since ${format.when(blocked_at, { short: true })}`].filter(Boolean).join(" · ")}</span></span></div>
        <${Button} kind="text" label="Unblock" aria-label=${`Unblock ${name || format.number(entry.id)}`} onClick=${() => unblock([entry.id], name || format.number(entry.id))} /></li>`;
    })}</ul>` : html`<p class="quiet">Nobody is blocked. Block a number from its conversation or from the contacts.</p>`}<//><//>`;
}

function LogOut() {
  const [leaving, setLeaving] = useState(false);
  const leave = async () => {
    setLeaving(true);
    await logOut();
    setLeaving(false);
  };
  return html`<${Button} kind="text" icon="logout" label="Log out" busy=${leaving} onClick=${leave} />`;
}

function About({ me }) {
  return html`<${Section} id="about" title="About">
    <p>smsbridge ${me.version}. Your lines: ${me.lines.length ? me.lines.map((line) => line.label).join(", ") : "none yet"}.</p>
    <div class="about-actions">
      <${Button} icon="keyboard" label="Keys" onClick=${() => dispatchEvent(new Event("smsbridge:keys"))} />
      <a class="button button-tonal" href="/api/" target="_blank" rel="noopener"><${Icon} name="open" size=${20} /><span>The API for programs</span></a>
    </div><//>`;
}
