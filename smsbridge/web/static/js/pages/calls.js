/** The call log: who called whom and when; a text back is one press away. */
import { get } from "../api.js";
import { Avatar, Banner, Button, Chip, Empty, format, Icon, IconButton, MenuButton, Page, Spinner, useLoad } from "../kit/index.js";
import { html, useMemo, useState } from "../lib/preact.js";
import { go, link } from "../router.js";
import { linesOf, session, shared, useStore } from "../state.js";
import { ContactDialog, copy } from "./contact-dialog.js";

const PAGE = 100;
const MOST = 500; // the server keeps more, in its log

/** The page at #/calls, with ?line=LABEL of one line. */
export default function CallsPage({ route }) {
  const line = route.query.line ?? "";
  const lines = useStore(session, linesOf);
  const version = useStore(shared, (value) => value.contacts_version);
  const [adding, setAdding] = useState("");
  const [limit, setLimit] = useState(PAGE);
  const list = useLoad((signal) => get("/calls", { line, limit }, { signal }), [line, version, limit]);
  const calls = list.data?.data ?? [];
  const rest = calls.length >= limit && limit < MOST;

  const days = useMemo(() => {
    const found = [];
    for (const call of calls) {
      const day = format.dayKey(call.attributes.started_at);
      if (found.at(-1)?.day !== day) found.push({ day, calls: [] });
      found.at(-1).calls.push(call);
    }
    return found;
  }, [list.data]);

  return html`<${Page} title="Calls" actions=${html`<${Button} kind="text" icon="refresh" label="Refresh" busy=${list.loading && !!list.data} onClick=${list.again} />`}>
    ${lines.length > 1 && html`<div class="list-tools"><div class="chips" role="group" aria-label="Lines">
      <${Chip} label="All lines" selected=${!line} onClick=${() => go("#/calls", { replace: true })} />
      ${lines.map((entry) => html`<${Chip} key=${entry.label} label=${entry.label} selected=${entry.label === line} onClick=${() => go(["calls"], { query: { line: entry.label }, replace: true })} />`)}
    </div></div>`}
    ${list.error && html`<${Banner} tone="bad" actions=${html`<${Button} kind="text" label="Try again" onClick=${list.again} />`}>${list.error.message}<//>`}
    ${list.loading && !list.data && html`<${Spinner} label="Loading calls" />`}
    ${list.data && !calls.length && html`<${Empty} icon="calls" title="No calls yet"><p>Calls that a GSM box or another line reports are listed here, with a link to text back. smsbridge does not carry the calls themselves.</p><//>`}
    ${days.map(({ day, calls: of_day }) => html`<section key=${day} class="contact-section"><h2 class="letter">${format.day(of_day[0].attributes.started_at)}</h2>
      <ul class="rows">${of_day.map((call) => html`<${Row} key=${call.id} call=${call} many=${lines.length > 1} onAdd=${setAdding} />`)}</ul></section>`)}
    ${rest && html`<div class="list-end"><${Button} kind="text" label="Show more" busy=${list.loading} onClick=${() => setLimit(MOST)} /></div>`}
    ${adding && html`<${ContactDialog} number=${adding} onClose=${() => setAdding("")} />`}
  <//>`;
}

function Row({ call, many, onAdd }) {
  const { line, incoming, number, name, started_at, duration_s, cause } = call.attributes;
  // Some boxes do not tell how long, or tell a missed call by its cause alone.
  const answered = duration_s === null ? !/no answer|busy|missed|cancel|reject/i.test(cause) : duration_s > 0;
  const missed = incoming && !answered;
  const what = missed ? "Missed" : incoming ? "Incoming" : answered ? "Outgoing" : "Outgoing, not answered";
  const who = name || (number ? format.number(number) : "No number shown");
  const reason = cause && !/^(normal|ok|answered)/i.test(cause) ? cause : "";
  const items = [
    { label: "Copy the number", icon: "copy", onSelect: () => copy(number) },
    !name && { label: "Add to contacts", icon: "contact_add", onSelect: () => onAdd(number) },
  ].filter(Boolean);
  return html`<li class="row"><div class="row-main row-still">
      <${Avatar} name=${name} number=${number} />
      <span class="row-words"><span class=${"row-title " + (missed ? "bad-words" : "")}>${who}</span>
        <span class="row-text"><${Icon} name=${!answered ? "phone_off" : incoming ? "call_in" : "call_out"} size=${16} />
          ${" "}${[what, duration_s ? format.duration(duration_s) : reason].filter(Boolean).join(" · ")}<span class="narrow-time"> · ${format.clock(started_at)}</span></span>
        ${(name || many) && html`<span class="row-text">${[name && format.number(number), many && `line ${line}`].filter(Boolean).join(" · ")}</span>`}</span>
      <time class="row-time" datetime=${started_at} title=${format.when(started_at)}>${format.clock(started_at)}</time></div>
    ${number && html`<${IconButton} icon="messages" label=${`Text ${who}`} onClick=${() => go(link(["new"], { to: number, line }))} />
      <${MenuButton} icon="more" label=${`More about ${who}`} items=${items} />`}
  </li>`;
}
