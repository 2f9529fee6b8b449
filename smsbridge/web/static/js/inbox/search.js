/** Search over everything: names first, then the texts in which the words stand, by conversation. */
import { html, useEffect, useRef, useState } from "../lib/preact.js";
import { get } from "../api.js";
import { Avatar, Button, Empty, format, Spinner } from "../kit/index.js";
import { link } from "../router.js";
import { titleOf } from "./words.js";

const PAGE = 30;

/** Draw what is found, in the list pane. */
export function SearchResults({ query, within }) {
  const [found, setFound] = useState({ query: "", people: [], messages: [], included: {}, next: null, loading: true, error: null });
  const stop = useRef(null);
  const words = query.trim();
  useEffect(() => {
    stop.current?.abort();
    if (!words) return undefined;
    const mine = (stop.current = new AbortController());
    setFound((now) => ({ ...now, loading: true, error: null }));
    const timer = setTimeout(async () => {
      try {
        const [people, texts] = await Promise.all([
          within ? { data: [] } : get("/conversations", { q: words, folder: "all", limit: 6 }, { signal: mine.signal }),
          get("/search", { q: words, conversation: within, limit: PAGE }, { signal: mine.signal }),
        ]);
        setFound({ query: words, people: people.data, messages: texts.data, included: byId(texts.included), next: texts.links?.next ?? null, loading: false, error: null });
      } catch (error) {
        if (!mine.signal.aborted) setFound((now) => ({ ...now, loading: false, error }));
      }
    }, 200);
    return () => (clearTimeout(timer), mine.abort());
  }, [words, within]);
  const more = async () => {
    setFound((now) => ({ ...now, loading: true }));
    try {
      const texts = await get(found.next);
      setFound((now) => ({ ...now, messages: [...now.messages, ...texts.data], included: { ...now.included, ...byId(texts.included) }, next: texts.links?.next ?? null, loading: false }));
    } catch (error) {
      setFound((now) => ({ ...now, loading: false, error }));
    }
  };
  const onKeyDown = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const links = [...event.currentTarget.querySelectorAll("a, button")];
    const to = links.indexOf(document.activeElement) + step;
    event.preventDefault();
    if (to < 0) document.querySelector(".list-search input")?.focus();
    else links[Math.min(to, links.length - 1)]?.focus();
  };
  const nothing = !found.people.length && !found.messages.length;
  if (!words) return html`<${Empty} icon="search" title="Search in this conversation"><p>Type words that stand in a text.</p><//>`;
  if (found.error) return html`<${Empty} icon="alert" title="The search did not work"><p>${found.error.message}</p><//>`;
  if (nothing && found.loading) return html`<${Spinner} label="Searching" />`;
  if (nothing) return html`<${Empty} icon="search" title="Nothing found"><p>Nothing has “${words}” in it. Try fewer or shorter words, a name or a part of a number.</p><//>`;
  // Newest first, and the texts of one conversation together under its name.
  const groups = new Map();
  for (const message of found.messages) {
    const id = message.attributes.conversation;
    if (!groups.has(id)) groups.set(id, []);
    groups.get(id).push(message);
  }
  return html`<div class="list-scroll found" onKeyDown=${onKeyDown} aria-busy=${String(found.loading)}>
    <p class="unseen" role="status">${found.loading ? "" : `${found.people.length} conversations and ${found.messages.length}${found.next ? " or more" : ""} texts found`}</p>
    ${found.people.length > 0 && html`<section aria-label="Conversations found"><h2 class="found-head">Conversations</h2><ul>
      ${found.people.map((one) => html`<li key=${one.id}><a class="found-person" href=${link(["c", one.id], { q: words })}>
        <${Avatar} name=${one.attributes.parties[0]?.name || one.attributes.parties[0]?.person} number=${one.attributes.parties[0]?.number || one.id} group=${one.attributes.group} small />
        <span class="conv-name"><${Marked} text=${titleOf(one)} words=${words} /></span>
        <span class="conv-time">${format.ago(one.attributes.last_message?.attributes.created_at)}</span></a></li>`)}
    </ul></section>`}
    ${[...groups].map(([id, messages]) => {
      const one = found.included[id];
      return html`<section key=${id} class="found-group"><h2 class="found-head">${one ? titleOf(one) : "Conversation"}${one?.attributes.line ? html` <span class="found-line">${one.attributes.line}</span>` : null}</h2>
        <ul>${messages.map((message) => html`<li key=${message.id}><a class="found-text" href=${link(["c", id], { at: message.id, q: words, in: within })}>
          <span class="found-words"><${Marked} text=${around(message.attributes.body, words)} words=${words} /></span>
          <span class="conv-time">${message.attributes.direction === "inbound" ? "" : "You · "}${format.ago(message.attributes.created_at)}</span></a></li>`)}</ul>
      </section>`;
    })}
    ${found.next && html`<div class="found-more"><${Button} label="Show more" busy=${found.loading} onClick=${more} /></div>`}
  </div>`;
}

const byId = (resources) => Object.fromEntries((resources ?? []).map((one) => [one.id, one]));

/** Cut a long text around the first found word. */
function around(text, words) {
  const flat = text.replace(/\s+/g, " ");
  const at = flat.toLowerCase().indexOf(words.split(/\s+/)[0].toLowerCase());
  return at > 60 ? "…" + flat.slice(at - 40) : flat;
}

/** Draw a text with the words marked. */
export function Marked({ text, words }) {
  const wanted = words.split(/\s+/).filter(Boolean).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  if (!wanted.length) return text;
  const parts = text.split(new RegExp(`(${wanted.join("|")})`, "giu"));
  return parts.map((part, at) => (at % 2 ? html`<mark>${part}</mark>` : part));
}
