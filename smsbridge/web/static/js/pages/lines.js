/** The lines: how each is doing, a test text, its commands, and USSD (#/lines/LABEL/ussd). */
import { get, post } from "../api.js";
import { loadList } from "../inbox/conversations.js";
import { Banner, Button, Dialog, Empty, Field, format, Icon, MenuButton, Meter, Page, Spinner, Switch, toast, useLoad } from "../kit/index.js";
import { html, useEffect, useState } from "../lib/preact.js";
import { go, link } from "../router.js";
import { mayDo, session, shared, useStore } from "../state.js";
import { copy } from "./contact-dialog.js";
import { seen, Signal, stateOf } from "./line-words.js";
import { UssdPage } from "./ussd.js";

const LOOK_AGAIN_MS = 60_000;

/** The page at #/lines. */
export default function LinesPage({ route }) {
  const [all, setAll] = useState(false);
  const admin = useStore(session, (value) => !!value.me?.admin);
  const live = useStore(shared, (value) => value.lines);
  const [testing, setTesting] = useState(null);
  const [, tick] = useState(0);
  const { data, error, loading, again } = useLoad((signal) => get("/lines", { all: all ? "true" : "" }, { signal }), [all]);
  useEffect(() => {
    const timer = setInterval(() => tick((now) => now + 1), LOOK_AGAIN_MS); // "5 min ago" grows old
    return () => clearInterval(timer);
  }, []);
  const fresh = new Map((live ?? []).map((line) => [line.id, line]));
  const lines = (data?.data ?? []).map((line) => fresh.get(line.id) ?? line);

  if (route.path[1] && route.path[2] === "ussd") {
    return html`<${UssdPage} key=${route.path[1]} label=${route.path[1]} line=${lines.find((line) => line.id === route.path[1])} known=${!!data} />`;
  }
  const down = lines.filter((line) => stateOf(line.attributes).tone === "bad");
  return html`<${Page} title="Lines" subtitle=${lines.length ? (down.length ? `${down.length} of ${lines.length} not working` : format.count(lines.length, "line, working", "lines, all working")) : ""}
      actions=${html`<${Button} kind="text" icon="refresh" label="Refresh" busy=${loading && !!data} onClick=${again} />`}>
    ${admin && html`<div class="list-tools"><${Switch} label="Show every line of the bridge, not only mine" checked=${all} onChange=${setAll} /></div>`}
    ${error && html`<${Banner} tone="bad" actions=${html`<${Button} kind="text" label="Try again" onClick=${again} />`}>${error.message}<//>`}
    ${loading && !data && html`<${Spinner} label="Loading lines" />`}
    ${data && !lines.length && html`<${Empty} icon="lines" title="No line is yours yet">
      <p>A line is a phone number of the bridge. The operator gives you one with <code>lines =</code> in your section of the configuration.</p><//>`}
    <ul class="cards">${lines.map((line) => html`<${Card} key=${line.id} line=${line} onTest=${() => setTesting(line)} />`)}</ul>
    ${testing && html`<${TestDialog} line=${testing} onClose=${() => setTesting(null)} />`}
  <//>`;
}

function Card({ line, onTest }) {
  const about = line.attributes;
  const state = stateOf(about);
  const may_send = mayDo("send");
  const commands = Object.entries(about.commands ?? {});
  const facts = [
    ["Network", about.operator],
    ["Gateway", about.gateway],
    ["Device", about.model],
    ["IMEI", about.imei],
    ["Last seen", seen(about.last_seen_at)],
  ].filter(([, value]) => value);
  const items = [
    { label: "Texts of this line", icon: "messages", onSelect: () => { loadList({ folder: "inbox", line: line.id }); go("#/"); } },
    { label: "Calls of this line", icon: "calls", onSelect: () => go(link(["calls"], { line: line.id })) },
    about.number && { label: "Copy the number", icon: "copy", onSelect: () => copy(about.number) },
    about.imei && { label: "Copy the IMEI", icon: "copy", onSelect: () => copy(about.imei) },
  ].filter(Boolean);
  return html`<li class="card" aria-label=${`Line ${line.id}`}>
    <header class="card-top"><div class="card-titles"><h2>${line.id}</h2><p class="quiet">${about.number ? format.number(about.number) : "number not known yet"}</p></div>
      <${Signal} bars=${about.signal} dbm=${about.signal_dbm} /><${MenuButton} icon="more" label=${`More about line ${line.id}`} items=${items} /></header>
    <p class=${"state state-" + state.tone}><span class="dot" aria-hidden="true"></span>${state.words}</p>
    <dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    <div class="today"><p>${about.daily_cap ? `${about.sent_today.toLocaleString()} of ${format.count(about.daily_cap, "text", "texts")} today` : `${format.count(about.sent_today, "text", "texts")} sent today`}
        ${about.daily_cap && about.sent_today >= about.daily_cap ? html`<strong class="bad-words"> · the cap is reached, more wait until tomorrow</strong>` : null}</p>
      ${about.daily_cap ? html`<${Meter} value=${about.sent_today} max=${about.daily_cap} label=${`Texts of today, of ${about.daily_cap}`} />` : null}</div>
    ${commands.length > 0 && html`<details class="commands"><summary>${format.count(commands.length, "command", "commands")} of this line</summary>
      <p class="quiet">Sent from a chat program, to the bridge's own address.</p>
      <dl>${commands.map(([name, command]) => html`<div key=${name}><dt><code>${name}${command.arguments ? " " + command.arguments : ""}</code></dt><dd>${command.help}</dd></div>`)}</dl></details>`}
    ${may_send && html`<footer class="card-actions">
      <${Button} icon="test" label="Test text" aria-label=${`Test text on line ${line.id}`} disabled=${!about.enabled} onClick=${onTest} />
      ${about.ussd && html`<a class="button button-tonal" href=${link(["lines", line.id, "ussd"])} aria-label=${`USSD on line ${line.id}`}><${Icon} name="ussd" size=${20} /><span>USSD</span></a>`}
    </footer>`}
  </li>`;
}

function TestDialog({ line, onClose }) {
  const [to, setTo] = useState("");
  const [body, setBody] = useState(`Test of line ${line.id}, ${format.clock(new Date().toISOString())}`);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState("");
  const [preview, setPreview] = useState(null);
  const ask = async (test) => {
    if (!to.trim()) return setProblem({ to: "Type the number that gets the text, yours perhaps." });
    setBusy(test ? "test" : "send");
    setProblem(null);
    try {
      const answer = await post("/messages", "message", { to: to.trim(), line: line.id, body }, { query: { test: test ? "true" : "" } });
      if (test) return setPreview(answer.data.attributes);
      onClose();
      toast("The test text is on its way.", { action: "Look", onAction: () => go(link(["c", answer.data.attributes.conversation])) });
    } catch (error) {
      const found = { to: error.about?.("to"), body: error.about?.("body") };
      setProblem(found.to || found.body ? found : { all: error.message });
    } finally {
      setBusy("");
    }
  };
  return html`<${Dialog} title=${`Test text on ${line.id}`} onClose=${onClose} onSubmit=${() => ask(false)}
      actions=${html`<${Button} kind="text" label="Only show what would be sent" busy=${busy === "test"} onClick=${() => ask(true)} />
        <${Button} kind="filled" type="submit" icon="send" label="Send" busy=${busy === "send"} />`}>
    ${problem?.all && html`<p class="form-problem" role="alert"><${Icon} name="alert" size=${18} /> ${problem.all}</p>`}
    <${Field} label="To" type="tel" inputmode="tel" autocomplete="tel" placeholder="(202) 555-0123" value=${to} error=${problem?.to} autofocus onInput=${setTo} />
    <${Field} label="Text" multiline value=${body} error=${problem?.body} onInput=${setBody} />
    ${preview && html`<div class="preview" role="status"><h3>This would be sent</h3>
      <p>From ${format.number(preview.from)} to ${preview.recipients.map((party) => format.name(party)).join(", ")}, ${format.count(preview.texts, "text", "texts")} (${preview.encoding === "gsm" ? "GSM" : "Unicode"}, ${format.count(preview.characters, "character", "characters")}).</p>
      <p class="preview-body">${preview.body}</p>${preview.warnings.map((warning, at) => html`<p key=${at} class="quiet">${warning}</p>`)}</div>`}
  <//>`;
}
