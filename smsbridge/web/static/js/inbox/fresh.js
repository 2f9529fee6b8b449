/** A new text: to whom, over which line, as a group or each alone; the thread that exists is shown below. */
import { html, useEffect, useRef, useState } from "../lib/preact.js";
import { Empty, format, Icon, IconButton, Segmented, toast, useKeys } from "../kit/index.js";
import { go } from "../router.js";
import { linesOf, remembered, session, useStore } from "../state.js";
import { Composer } from "./compose.js";
import { conversationWith } from "./conversations.js";
import { dropDraft } from "./drafts.js";
import { Recipients, typed } from "./recipients.js";
import { summary } from "./words.js";

/** The right pane at #/new; query: to (comma separated), body, line. */
export function FreshPane({ query }) {
  const lines = useStore(session, () => linesOf());
  const persons = session.get().me?.persons ?? [];
  const [kept] = useState(() => remembered("draft.new") ?? {});
  const [people, setPeople] = useState(() => {
    const wanted = query.to ? query.to.split(",") : kept.to ?? [];
    return wanted.map((one) => typed(one, persons) ?? { to: one, name: one, kind: "number" });
  });
  const [line, setLine] = useState(() => [query.line, kept.line, lines.find((one) => one.default)?.label, lines[0]?.label].find((label) => lines.some((one) => one.label === label)) ?? "");
  const [together, setTogether] = useState("each");
  const [found, setFound] = useState(null); // the conversation that this would be in
  const [wrong, setWrong] = useState({});
  const stop = useRef(null);
  useEffect(() => {
    document.title = "New text - smsbridge";
  }, []);
  useKeys({ Escape: () => go([]) });

  const ours = lines.find((one) => one.label === line);
  const inside = people.length > 0 && people.every((one) => one.kind === "person");
  const several = people.length > 1 || people.some((one) => one.kind === "group");
  const as_group = several && together === "group" && Boolean(ours?.groups);
  useEffect(() => {
    stop.current?.abort();
    setFound(null);
    if (!people.length || (several && !as_group)) return;
    const mine = (stop.current = new AbortController());
    const timer = setTimeout(() => conversationWith(people.map((one) => one.to), inside ? "" : line, mine.signal).then(
      (one) => {
        if (mine.signal.aborted) return;
        setFound(one);
        setWrong({});
        // The server knows the number in full, and its name.
        if (people.length === 1 && one.attributes.parties.length === 1 && people[0].kind === "number") {
          const party = one.attributes.parties[0];
          if (party.number && (party.number !== people[0].to || format.name(party) !== people[0].name)) setPeople([{ to: party.number, name: format.name(party), kind: "number" }]);
        }
      },
      (error) => !mine.signal.aborted && !error.temporary && setWrong({ to: error.message }),
    ), 150);
    return () => (clearTimeout(timer), mine.abort());
  }, [people.map((one) => one.to).join("\n"), line, as_group, inside]);

  const last = found?.attributes.last_message?.attributes;
  const fresh = {
    to: people.map((one) => one.to),
    line: inside ? "" : line,
    group: several ? as_group : undefined,
    text: query.body ?? "",
    conversation: found?.id ?? "",
    check: () => {
      const problem = people.length ? "" : "Say who shall get the text.";
      if (problem) {
        setWrong({ to: problem });
        document.getElementById("recipients-field")?.focus();
      }
      return problem;
    },
    onError: (error) => setWrong({ to: error.about("to"), line: error.about("line") || error.about("from") }),
    onSent: (message) => {
      dropDraft("new");
      if (!message) toast("No connection. The text waits in this browser and is sent by itself.", { ms: 8000 });
      if (several && !as_group) {
        toast(message ? `Sent to ${people.map((one) => one.name).join(", ")}, each alone` : "The texts wait for the connection");
        go([], { replace: true });
      } else if (message || found) go(["c", message?.attributes.conversation ?? found.id], { replace: true });
      else go([], { replace: true });
    },
  };
  return html`<section class="thread-pane" aria-label="New text">
    <header class="thread-header"><${IconButton} icon="back" class="narrow-only" label="Back to the conversations" onClick=${() => go([])} />
      <h1 class="thread-title" tabindex="-1">New text</h1>
      <${IconButton} icon="close" class="wide-only" label="Close" onClick=${() => go([])} /></header>
    <div class="fresh">
      <${Recipients} value=${people} error=${wrong.to} onDone=${() => document.querySelector(".compose-text")?.focus()}
        onChange=${(next) => { setPeople(next); setWrong({}); }} />
      ${lines.length > 1 && !inside && html`<div class="fresh-row"><${Segmented} label="Over" value=${line} onChange=${(next) => { setLine(next); setWrong({}); }}
        options=${lines.filter((one) => one.enabled).map((one) => ({ value: one.label, label: one.label }))} />
        <span class="fresh-hint">${format.number(ours?.number)}</span></div>`}
      ${wrong.line && html`<p class="field-error" role="alert"><${Icon} name="alert" size=${16} /> ${wrong.line}</p>`}
      ${several && !inside && html`<div class="fresh-row">${ours?.groups && html`<${Segmented} label="As" value=${together} onChange=${setTogether}
        options=${[{ value: "each", label: "To each alone" }, { value: "group", label: "One group" }]} />`}
        <span class="fresh-hint">${as_group ? "Everyone sees everyone's answers." : "Everyone gets it alone and sees no others; answers come in their own conversations."}</span></div>`}
    </div>
    <div class="fresh-body">${last
      ? html`<button type="button" class="fresh-known" onClick=${() => go(["c", found.id], { replace: true })}>
          <${Icon} name="messages" /><span class="fresh-words"><span>There is a conversation already</span><span class="suggestion-hint">${format.ago(last.created_at)}: ${summary(last)}</span></span><${Icon} name="chevron_right" /></button>`
      : !people.length && html`<${Empty} icon="edit" title="Who shall get it?"><p>Type a name from your contacts, a number with its country code, or a group such as @family.</p><//>`}</div>
    <${Composer} fresh=${fresh} />
  </section>`;
}
