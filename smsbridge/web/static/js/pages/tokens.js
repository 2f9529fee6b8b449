/** Tokens for programs: made with scopes and lines, shown once, removed at any time. */
import { del, get, post } from "../api.js";
import { Banner, Button, confirm, Dialog, Field, format, Icon, toast, useLoad } from "../kit/index.js";
import { html, useState } from "../lib/preact.js";
import { copy } from "./contact-dialog.js";
import { seen } from "./line-words.js";
import { Loaded } from "./loaded.js";

const SCOPES = [
  ["read", "Read texts, contacts and lines"],
  ["send", "Send texts"],
  ["manage", "Change contacts, blocks and tokens"],
  ["admin", "Everything an operator may"],
];
const LIVES = [["", "Never"], ["30", "In 30 days"], ["90", "In 90 days"], ["365", "In a year"]];

/** The section of the settings. `lines` and `scopes` are the person's own. */
export function Tokens({ lines, scopes }) {
  const tokens = useLoad((signal) => get("/me/tokens", {}, { signal }), []);
  const [adding, setAdding] = useState(false);
  const remove = async (token) => {
    const yes = await confirm({ title: `Remove the token ${token.id}?`, text: "The program that uses it is locked out at once.", action: "Remove", danger: true });
    if (!yes) return;
    try {
      await del("/me/tokens/" + encodeURIComponent(token.id));
      tokens.again();
      toast(`The token ${token.id} is removed.`);
    } catch (error) {
      toast(error.message, { tone: "bad" });
    }
  };
  return html`<section class="block" aria-labelledby="settings-tokens"><h2 id="settings-tokens">Tokens for programs</h2>
    <p class="quiet">A program logs in with a token instead of your password, and may do only what you tick.</p>
    <${Loaded} of=${tokens} label="Loading tokens">${({ data }) => data.length > 0 && html`<ul class="rows">${data.map((token) => {
      const about = token.attributes;
      const over = about.expires_at && new Date(about.expires_at) < new Date();
      return html`<li key=${token.id} class="row"><div class="row-main row-still"><span class="row-words">
          <span class="row-title">${token.id} ${about.scopes.map((scope) => html`<span key=${scope} class="tag">${scope}</span> `)}</span>
          <span class="row-text">${[
            about.lines?.length ? "lines " + about.lines.join(", ") : "all your lines",
            about.used_at ? `last used ${seen(about.used_at)}` : "never used",
            about.expires_at && (over ? "ended" : `ends ${format.when(about.expires_at, { short: true })}`),
          ].filter(Boolean).join(" · ")}</span></span></div>
        <${Button} kind="text" label="Remove" aria-label=${`Remove the token ${token.id}`} onClick=${() => remove(token)} /></li>`;
    })}</ul>`}<//>
    <div><${Button} icon="token" label="Add a token" onClick=${() => setAdding(true)} /></div>
    ${adding && html`<${AddToken} lines=${lines} scopes=${scopes} onClose=${() => setAdding(false)} onDone=${tokens.again} />`}
  </section>`;
}

function AddToken({ lines, scopes, onClose, onDone }) {
  const [name, setName] = useState("");
  const [wanted, setWanted] = useState(new Set(["read"]));
  const [some, setSome] = useState(new Set());
  const [days, setDays] = useState("");
  const [problem, setProblem] = useState({});
  const [busy, setBusy] = useState(false);
  const [made, setMade] = useState(null);
  const flip = (set, put) => (id) => {
    const next = new Set(set);
    if (!next.delete(id)) next.add(id);
    put(next);
    setProblem({});
  };
  const save = async () => {
    if (!name.trim()) return setProblem({ name: "Give the token a name, such as that of the program." });
    if (!wanted.size) return setProblem({ scopes: "Tick at least one." });
    setBusy(true);
    const attributes = { name: name.trim(), scopes: [...wanted], lines: [...some] };
    if (days) attributes.expires_at = new Date(Date.now() + Number(days) * 86_400_000).toISOString();
    try {
      const { data } = await post("/me/tokens", "token", attributes);
      setMade(data);
      onDone();
    } catch (error) {
      const found = Object.fromEntries(["name", "scopes", "lines", "expires_at"].map((field) => [field, error.about?.(field)]).filter(([, words]) => words));
      setProblem(Object.keys(found).length ? found : { all: error.message });
    } finally {
      setBusy(false);
    }
  };
  if (made) {
    return html`<${Dialog} title=${`The token ${made.id}`} actions=${html`<${Button} kind="filled" label="I have copied it" onClick=${onClose} />`}>
      <${Banner} tone="warn">It is shown only now. Copy it into your program's settings.<//>
      <p class="secret" tabindex="0" aria-label="The token">${made.attributes.token}</p>
      <div><${Button} icon="copy" label="Copy" onClick=${() => copy(made.attributes.token)} /></div>
      <p class="quiet">As a bearer token, or as the password of basic authentication with the user name <strong>${made.id}</strong>.</p>
    <//>`;
  }
  return html`<${Dialog} title="Add a token" onClose=${onClose} onSubmit=${save}
      actions=${html`<${Button} kind="text" label="Cancel" onClick=${onClose} /><${Button} kind="filled" type="submit" label="Add" busy=${busy} />`}>
    ${problem.all && html`<p class="form-problem" role="alert"><${Icon} name="alert" size=${18} /> ${problem.all}</p>`}
    <${Field} label="Name" placeholder="backup" maxlength="60" autocomplete="off" value=${name} error=${problem.name} autofocus onInput=${(value) => { setName(value); setProblem({}); }} />
    <fieldset><legend class="field-label">The program may</legend>
      ${SCOPES.filter(([id]) => scopes.includes(id)).map(([id, words]) => html`<label key=${id} class="check"><input type="checkbox" checked=${wanted.has(id)} onChange=${() => flip(wanted, setWanted)(id)} /> ${words}</label>`)}
      ${problem.scopes && html`<p class="field-error" role="alert"><${Icon} name="alert" size=${16} /> ${problem.scopes}</p>`}</fieldset>
    ${lines.length > 1 && html`<fieldset><legend class="field-label">On these lines (none ticked: all of yours)</legend>
      ${lines.map((line) => html`<label key=${line.label} class="check"><input type="checkbox" checked=${some.has(line.label)} onChange=${() => flip(some, setSome)(line.label)} /> ${line.label}</label>`)}</fieldset>`}
    <${Field} label="Ends" error=${problem.expires_at}>${(wired) => html`<select class="input" ...${wired} onChange=${(event) => setDays(event.target.value)}>
      ${LIVES.map(([value, words]) => html`<option key=${value} value=${value} selected=${value === days}>${words}</option>`)}</select>`}<//>
  <//>`;
}
