/** USSD of one line as a dialogue: a code, what the network answers, a choice. Codes are remembered in this browser. */
import { post } from "../api.js";
import { Banner, Button, Empty, Icon, IconButton, Page, Spinner } from "../kit/index.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib/preact.js";
import { mayDo, remember, remembered } from "../state.js";
import { stateOf } from "./line-words.js";

const MAX_CODES = 8;
const TIMEOUT_MS = 120_000; // networks take up to a minute and a half

// What was said stays while the page is open, also when another page was shown in between.
const spoken = new Map();

/** The page at #/lines/LABEL/ussd. `known`: the lines have been loaded. */
export function UssdPage({ label, line, known }) {
  const [said, setSaid] = useState(spoken.get(label) ?? []);
  const [typed, setTyped] = useState("");
  const [waiting, setWaiting] = useState(0); // seconds, 0: not waiting
  const [codes, setCodes] = useState(remembered("ussd." + label, []));
  const log = useRef(null);
  const field = useRef(null);
  const mounted = useRef(true);
  useEffect(() => () => { mounted.current = false; }, []);
  useLayoutEffect(() => {
    log.current?.lastElementChild?.scrollIntoView({ block: "end" });
  }, [said, waiting > 0]);
  useEffect(() => {
    if (!waiting) return undefined;
    const timer = setTimeout(() => setWaiting((now) => (now ? now + 1 : 0)), 1000);
    return () => clearTimeout(timer);
  }, [waiting]);

  const add = (entry) => {
    const next = [...(spoken.get(label) ?? []), { ...entry, at: Date.now() }].slice(-200);
    spoken.set(label, next);
    if (mounted.current) setSaid(next);
  };
  const send = async (code) => {
    const text = code.trim();
    if (!text || waiting) return;
    add({ mine: true, text });
    setTyped("");
    setWaiting(1);
    if (/^[*#]/.test(text)) {
      const kept = [text, ...codes.filter((other) => other !== text)].slice(0, MAX_CODES);
      setCodes(kept);
      remember("ussd." + label, kept);
    }
    try {
      const answer = await post(`/lines/${encodeURIComponent(label)}/ussd`, "ussd", { code: text }, { timeout_ms: TIMEOUT_MS });
      add({ text: answer.data.attributes.text || "(the network answered nothing)" });
    } catch (error) {
      add({ text: error.message, bad: true });
      if (error.status === 422 && mounted.current) setTyped(text);
    } finally {
      if (mounted.current) {
        setWaiting(0);
        field.current?.focus();
      }
    }
  };
  const forget = (code) => {
    const kept = codes.filter((other) => other !== code);
    setCodes(kept);
    remember("ussd." + label, kept);
  };

  if (!known) return html`<${Page} title=${`USSD on ${label}`} back="#/lines" back_always><${Spinner} label="Loading" /><//>`;
  if (!line || !line.attributes.ussd || !mayDo("send")) {
    return html`<${Page} title="USSD" back="#/lines" back_always><${Empty} icon="ussd" title="No USSD here">
      <p>${line ? "This line has no USSD, or you may not send on it." : `There is no line ${label} of yours.`}</p>
      <${Button} label="To the lines" onClick=${() => { location.hash = "#/lines"; }} /><//><//>`;
  }
  const state = stateOf(line.attributes);
  return html`<${Page} title=${`USSD on ${label}`} subtitle=${[line.attributes.operator, state.words].filter(Boolean).join(" · ")} back="#/lines" back_always class="ussd">
    ${state.tone === "bad" && html`<${Banner} tone="warn">This line is not up: ${state.words.toLowerCase()}. A code may go unanswered.<//>`}
    <div class="ussd-log" role="log" aria-label="Dialogue with the network" ref=${log}>
      ${!said.length && html`<${Empty} icon="ussd" title="Talk to the network"><p>Codes such as *100# ask for the balance or switch services of the SIM card. What the network answers, a menu perhaps, appears here; answer it with its number.</p><//>`}
      ${said.map((entry, at) => html`<p key=${at} class=${"ussd-said " + (entry.mine ? "ussd-mine" : "") + (entry.bad ? " ussd-bad" : "")}>
        <span class="unseen">${entry.mine ? "You: " : entry.bad ? "Problem: " : "Network: "}</span>${entry.text}</p>`)}
      ${waiting > 0 && html`<p class="ussd-said ussd-wait" role="status"><span class="spinner spinner-small" aria-hidden="true"></span> The network is asked…${waiting > 2 ? ` ${waiting} s` : ""}</p>`}
    </div>
    <form class="ussd-form" onSubmit=${(event) => { event.preventDefault(); send(typed); }}>
      ${codes.length > 0 && html`<div class="chips" role="group" aria-label="Codes used before">${codes.map((code) => html`<span key=${code} class="chip chip-held">
        <button type="button" class="chip-use" disabled=${waiting > 0} onClick=${() => send(code)}>${code}</button>
        <button type="button" class="chip-remove" aria-label=${`Forget ${code}`} onClick=${() => forget(code)}><${Icon} name="close" size=${16} /></button></span>`)}</div>`}
      <div class="ussd-row"><input ref=${field} class="input" type="text" inputmode="tel" autocomplete="off" aria-label="Code or answer" placeholder="*100#" value=${typed} maxlength="160" autofocus
          onInput=${(event) => setTyped(event.target.value)} />
        <${IconButton} icon="send" label="Send" type="submit" disabled=${waiting > 0 || !typed.trim()} class="ussd-send" /></div>
    </form>
  <//>`;
}
