/** The left pane: search, folders, lines and the conversations, newest first. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib/preact.js";
import { Avatar, Button, Chip, Empty, format, Icon, IconButton, MenuButton, openMenu, Spinner, toast, useKeys, useVirtual } from "../kit/index.js";
import { get } from "../api.js";
import { go, link } from "../router.js";
import { linesOf, saveSettings, session, settings, useStore } from "../state.js";
import { archive, book, change, loadList, loadMore, mute, remove } from "./conversations.js";
import { SearchResults } from "./search.js";
import { isOwn, STATUS, summary, summaryIcon, titleOf } from "./words.js";

const FOLDERS = [
  { id: "inbox", label: "Inbox", icon: "inbox" },
  { id: "unread", label: "Unread", icon: "messages" },
  { id: "archived", label: "Archived", icon: "archive" },
  { id: "blocked", label: "Blocked", icon: "block" },
  { id: "all", label: "Everything", icon: "queue" },
];

/** Draw the pane; `open_id` is the conversation on the right. */
export function ListPane({ open_id, query, within, searching }) {
  const { filter } = useStore(book);
  const lines = useStore(session, (value) => value.me?.lines) ?? [];
  const folder = FOLDERS.find((one) => one.id === filter.folder) ?? FOLDERS[0];
  const field = useRef(null);
  useEffect(() => {
    if (within) field.current?.focus();
  }, [within]);
  useKeys({
    "/": () => field.current?.focus(),
    "mod+k": () => field.current?.focus(),
  });
  const inside = useStore(book, (value) => (within ? value.byId[within] : null));
  const search = (words, one = within) => go(open_id ? ["c", open_id] : words || one ? ["search"] : [], { query: { q: words, in: one }, replace: searching });
  const choose = (patch) => loadList({ ...filter, ...patch });
  return html`<section class="list-pane" aria-label="Conversations">
    <header class="list-header">
      <h1 class="list-title">${folder.id === "inbox" ? "Messages" : folder.label}</h1>
      <${MenuButton} icon="filter" label=${"Folder: " + folder.label} items=${() => [
        ...FOLDERS.map((one) => ({ label: one.label, checked: one.id === filter.folder, onSelect: () => choose({ folder: one.id }) })),
      ]} />
      <${ThemeButton} />
      <${IconButton} icon="edit" label="New text" class="list-new" onClick=${() => go(["new"])} />
    </header>
    <search class="list-search">
      <span class="list-find"><${Icon} name="search" size=${20} />
        <input ref=${field} type="search" aria-label="Search all messages and names" placeholder=${within ? "Search in this conversation" : "Search"} value=${query} autocomplete="off" enterkeyhint="search"
          onInput=${(event) => search(event.target.value)}
          onKeyDown=${(event) => {
            if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); search("", ""); field.current.blur(); }
            if (event.key === "ArrowDown") { event.preventDefault(); document.querySelector(".list-scroll a")?.focus(); }
          }} />
        ${query && html`<${IconButton} icon="close" size=${18} label="Clear the search" onClick=${() => { search(""); field.current?.focus(); }} />`}
      </span>
    </search>
    ${within && html`<div class="list-chips"><${Chip} label=${"In: " + (inside ? titleOf(inside) : "this conversation")} onRemove=${() => search(query, "")} /></div>`}
    ${!searching && (lines.length > 1 || folder.id !== "inbox") && html`<div class="list-chips" role="group" aria-label="Show">
      ${folder.id !== "inbox" && html`<${Chip} label=${folder.label} icon=${folder.icon} selected onClick=${() => choose({ folder: "inbox" })} title="Back to the inbox" />`}
      ${lines.length > 1 && lines.map((line) => html`<${Chip} key=${line.label} label=${line.label} selected=${filter.line === line.label}
        title=${format.number(line.number)} onClick=${() => choose({ line: filter.line === line.label ? "" : line.label })} />`)}
    </div>`}
    ${searching ? html`<${SearchResults} query=${query} within=${within} />` : html`<${Conversations} open_id=${open_id} folder=${folder} />`}
    <button type="button" class="fab" onClick=${() => go(["new"])}><${Icon} name="edit" size=${22} /><span>New text</span></button>
  </section>`;
}

function ThemeButton() {
  const theme = useStore(settings, (value) => value.theme);
  const icon = { auto: "system", light: "light", dark: "dark" }[theme];
  return html`<${MenuButton} icon=${icon} label="Light or dark" items=${[
    { label: "As the system", value: "auto" }, { label: "Light", value: "light" }, { label: "Dark", value: "dark" },
  ].map((one) => ({ label: one.label, checked: one.value === theme, onSelect: () => saveSettings({ theme: one.value }) }))} />`;
}

function Conversations({ open_id, folder }) {
  const { ids, byId, next, loading, loaded, error, filter } = useStore(book);
  const box = useRef(null);
  const [row_px, setRow] = useState(76);
  const seen = useVirtual({ count: ids.length, height_px: row_px, ref: box });
  useEffect(() => {
    if (!loaded && !loading) loadList();
  }, []);
  useEffect(() => {
    box.current?.scrollTo(0, 0);
  }, [filter]);
  useEffect(() => {
    // Rows are measured in rem: with larger letters they are higher.
    setRow(parseFloat(getComputedStyle(document.documentElement).fontSize) * 4.75);
  }, []);
  useLayoutEffect(() => {
    if (next && !loading && seen.end > ids.length - 15) loadMore();
  }, [seen.end, ids.length, next, loading]);

  const move = (step) => {
    const at = focusedIndex(ids);
    const to = at < 0 ? Math.max(0, ids.indexOf(open_id)) : Math.min(ids.length - 1, Math.max(0, at + step));
    focusRow(box.current, to, row_px);
  };
  const onKeyDown = (event) => {
    const id = document.activeElement?.dataset?.id;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (step) move(step);
    else if (event.key === "Home") focusRow(box.current, 0, row_px);
    else if (event.key === "End") focusRow(box.current, ids.length - 1, row_px);
    else if (event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) id && openMenu(document.activeElement, rowMenu(byId[id]));
    else if (event.key === "Delete" && id) remove(id);
    else return;
    event.preventDefault();
  };
  useKeys({
    ArrowDown: () => (box.current?.contains(document.activeElement) || document.activeElement === document.body ? move(1) : false),
    ArrowUp: () => (box.current?.contains(document.activeElement) || document.activeElement === document.body ? move(-1) : false),
  });

  let body;
  if (!ids.length && error) {
    body = html`<${Empty} icon="alert" title="The conversations did not load"><p>${error.message}</p><${Button} label="Try again" onClick=${() => loadList()} /><//>`;
  } else if (!ids.length && !loaded) body = html`<${Spinner} label="Loading conversations" />`;
  else if (!ids.length) body = html`<${NoConversations} folder=${folder} line=${filter.line} />`;
  else {
    body = html`<ul class="list-rows" style=${{ height: ids.length * row_px + "px" }}>
      ${ids.slice(seen.start, seen.end).map((id, at) => html`<${Row} key=${id} one=${byId[id]} open=${id === open_id}
        at=${seen.start + at} count=${next ? -1 : ids.length} top_px=${(seen.start + at) * row_px} focusable=${open_id && ids.includes(open_id) ? id === open_id : seen.start + at === 0} />`)}
    </ul>
    ${error && html`<p class="list-note">${error.message} <button type="button" class="link-button" onClick=${loadMore}>Try again</button></p>`}`;
  }
  return html`<div class="list-scroll" ref=${box} onKeyDown=${onKeyDown}>${body}</div>`;
}

const focusedIndex = (ids) => ids.indexOf(document.activeElement?.dataset?.id);

function focusRow(box, at, row_px) {
  if (!box || at < 0) return;
  const top = at * row_px;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + row_px > box.scrollTop + box.clientHeight) box.scrollTop = top + row_px - box.clientHeight;
  // The row may be drawn only after the scroll.
  requestAnimationFrame(() => requestAnimationFrame(() => box.querySelector(`[data-at="${at}"]`)?.focus({ preventScroll: true })));
}

function NoConversations({ folder, line }) {
  if (folder.id === "inbox" && !line) {
    return html`<${Empty} icon="messages" title="No conversations yet"><p>Texts to your lines appear here by themselves.</p>
      <${Button} kind="filled" icon="edit" label="Write the first text" onClick=${() => go(["new"])} /><//>`;
  }
  const words = {
    inbox: ["Nothing on this line yet", "Texts to and from it appear here."],
    unread: ["All read", "New texts appear here until you have read them."],
    archived: ["Nothing archived", "Archive a conversation to take it out of the inbox; a new text brings it back."],
    blocked: ["Nobody blocked", "Block a number in its conversation; its texts then wait here without a sound."],
    all: ["No conversations yet", "Texts to your lines appear here by themselves."],
  }[folder.id];
  return html`<${Empty} icon=${folder.icon} title=${words[0]}><p>${words[1]}</p>
    ${(folder.id !== "inbox" || line) && html`<${Button} kind="text" label="Show the inbox" onClick=${() => loadList({ folder: "inbox", line: "" })} />`}<//>`;
}

/** What can be done with a conversation, from its row or its thread. */
export function rowMenu(one, { gone } = {}) {
  const { archived, muted, unread, last_message } = one.attributes;
  const leave = () => location.hash.includes(encodeURIComponent(one.id)) && go([]);
  return [
    unread > 0
      ? { label: "Mark as read", icon: "check", onSelect: () => markRead(one) }
      : { label: "Mark as unread", icon: "messages", disabled: !last_message, onSelect: () => markUnread(one) },
    archived
      ? { label: "Move to the inbox", icon: "unarchive", onSelect: () => archive(one.id, false) }
      : { label: "Archive", icon: "archive", onSelect: () => { archive(one.id, true); leave(); } },
    muted
      ? { label: "Unmute", icon: "bell", onSelect: () => mute(one.id, false) }
      : { label: "Mute", icon: "bell_off", hint: "No notifications", onSelect: () => mute(one.id, true) },
    null,
    { label: "Delete", icon: "trash", danger: true, onSelect: async () => { leave(); (await remove(one.id)) && gone?.(); } },
  ];
}

function markRead(one) {
  const last = one.attributes.last_message?.id;
  if (last) change(one.id, { read_to: last, unread: 0 }).catch(() => {});
}

/** Mark the newest text of the others unread; leaves the thread, which would mark it read again. */
export async function markUnread(one) {
  if (decodeURIComponent(location.hash).includes(one.id)) go([]);
  try {
    const me = session.get().me?.person;
    const { data } = await get(`/conversations/${encodeURIComponent(one.id)}/messages`, { limit: 50 });
    const at = data.findLastIndex((message) => !isOwn(message, me));
    if (at < 0) toast("Nobody wrote here yet; there is nothing to mark.");
    // Ids grow with time: "0" is before the first.
    else await change(one.id, { read_to: data[at - 1]?.id ?? "0" });
  } catch (error) {
    toast(error.message, { tone: "bad" });
  }
}

function Row({ one, open, at, count, top_px, focusable }) {
  const { title, parties, group, line, last_message, unread, muted, archived, blocked, draft, updated_at } = one.attributes;
  const several = linesOf().length > 1;
  const last = last_message?.attributes;
  const own = last && last.direction !== "inbound" && (last.direction !== "internal" || last.person === session.get().me?.person);
  const status = own && STATUS[last.status];
  // On a line that several share it may have been a colleague.
  const writer = !own ? "" : !last.person || last.person === session.get().me?.person ? "You" : last.person;
  const name = titleOf(one);
  const words = draft ? draft : last ? summary(last) : "";
  const icon = !draft && last ? summaryIcon(last) : "";
  const time = format.ago(last?.created_at ?? updated_at);
  const spoken = [name, unread ? `${unread >= 100 ? "more than 99" : unread} unread` : "", draft ? "draft" : writer.toLowerCase(), words, own && status ? status.words : "", time,
    several && line ? `line ${line}` : "", muted ? "muted" : "", archived ? "archived" : "", blocked ? "blocked" : ""].filter(Boolean).join(", ");
  return html`<li class="list-item" style=${{ transform: `translateY(${top_px}px)` }} aria-setsize=${count} aria-posinset=${at + 1}>
    <a class=${`conv ${open ? "conv-open" : ""} ${unread ? "conv-unread" : ""}`} href=${link(["c", one.id])} data-id=${one.id} data-at=${at} tabindex=${focusable ? 0 : -1}
      aria-current=${open ? "page" : null} aria-label=${spoken} draggable=${false}
      onContextMenu=${(event) => { event.preventDefault(); openMenu({ x: event.clientX, y: event.clientY }, rowMenu(one)); }}>
      <${Avatar} name=${parties[0]?.name || parties[0]?.person} number=${parties[0]?.number || one.id} group=${group} />
      <span class="conv-words">
        <span class="conv-top"><span class="conv-name">${name}</span>
          ${muted && html`<${Icon} name="bell_off" size=${16} />`}
          <span class="conv-time">${time}</span></span>
        <span class="conv-bottom">
          <span class="conv-text">${draft ? html`<span class="conv-draft">Draft: </span>` : own ? writer + ": " : group && last?.direction === "inbound" ? firstName(last, parties) : null}${icon && html`<${Icon} name=${icon} size=${16} class="conv-icon" />`}${words}</span>
          ${several && line && html`<span class="conv-line">${line}</span>`}
          ${unread ? html`<span class="badge">${unread >= 100 ? "99+" : unread}</span>` : !draft && status && html`<span class=${"tick " + (status.wrong ? "tick-wrong" : last.status === "delivered" ? "tick-done" : "")}><${Icon} name=${status.icon} size=${16} /></span>`}
        </span>
      </span>
    </a>
  </li>`;
}

function firstName(last, parties) {
  const party = parties.find((one) => one.number === last.from);
  return (party?.name ? party.name.split(" ")[0] : format.number(last.from)) + ": ";
}
