/**
 * The thread: bubbles by day and sender in a window that moves, kept in place while older ones
 * load, with the unread divider, the button to the newest, and what can be done with each.
 */
import { html, useCallback, useEffect, useLayoutEffect, useReducer, useRef, useState } from "../lib/preact.js";
import { announce, Avatar, Button, confirm, Dialog, Empty, format, Icon, IconButton, MenuButton, openMenu, Spinner, toast, useKeys } from "../kit/index.js";
import { put, del } from "../api.js";
import { on as onLive } from "../live.js";
import { go } from "../router.js";
import { linesOf, session, shared, useStore } from "../state.js";
import { Bubble, WaitingBubble } from "./bubble.js";
import { Composer } from "./compose.js";
import { archive, book, change, conversation, mute } from "./conversations.js";
import { Details } from "./details.js";
import { markUnread, rowMenu } from "./list.js";
import { Lightbox } from "./media.js";
import { cancel, removeMessage, retry, thread } from "./messages.js";
import { discard, outbox, sendNow } from "./outbox.js";
import { isOwn, sender, titleOf } from "./words.js";

const GROUP_MS = 5 * 60_000;
const NEAR_PX = 900; // load more when the edge is this near
const AT_END_PX = 60;

/** The right pane for an open conversation. */
export function ThreadPane({ id, at, back }) {
  const one = useStore(book, (value) => value.byId[id]);
  const [error, setError] = useState(null);
  const [edited, setEdited] = useState(null); // an unsent text that goes back into the field
  useEffect(() => {
    setError(null);
    conversation(id).catch(setError);
  }, [id]);
  const names = useStore(shared, (value) => value.contacts_version);
  useEffect(() => {
    if (names) conversation(id, { fresh: true }).catch(() => {}); // the old name does no harm
  }, [names]);
  const there = !!one;
  useEffect(() => {
    // Screen readers begin at the name; with a mouse and keys the text field has the focus.
    if (there && !matchMedia("(pointer: fine)").matches && !at) document.querySelector(".thread-title")?.focus({ preventScroll: true });
  }, [id, there]);
  useEffect(() => {
    if (one) document.title = `${titleOf(one)} - smsbridge`;
  }, [one && titleOf(one)]);
  useKeys({
    Escape: () => (back ? go(["c", id], { replace: true }) : go([])),
    e: () => one && (archive(id, !one.attributes.archived), one.attributes.archived || go([])),
    m: () => one && mute(id, !one.attributes.muted),
    u: () => one && markUnread(one),
    c: () => document.querySelector(".compose-text")?.focus(),
  });
  if (error && !one) {
    return html`<section class="thread-pane"><${Empty} icon="alert" title="This conversation did not open"><p>${error.message}</p>
      <${Button} label="Show the inbox" onClick=${() => go([])} /><//></section>`;
  }
  if (!one) return html`<section class="thread-pane"><${Spinner} label="Opening the conversation" /></section>`;
  return html`<section class="thread-pane" aria-label=${"Conversation with " + titleOf(one)}>
    <${ThreadHeader} one=${one} back=${back} />
    ${one.attributes.blocked && html`<div class="thread-note"><${Icon} name="block" size=${18} /> You blocked this number. Its texts make no sound and no notification.
      <button type="button" class="link-button" onClick=${() => block(one, false)}>Unblock</button></div>`}
    <${Messages} key=${id + (at ?? "")} one=${one} at=${at} onEdit=${setEdited} />
    <${Composer} key=${id} one=${one} returned=${edited} />
  </section>`;
}

async function block(one, yes) {
  const number = one.attributes.parties[0].number;
  try {
    if (yes) await put(`/blocks/${encodeURIComponent(number)}`, "block", {});
    else await del(`/blocks/${encodeURIComponent(number)}`);
    await conversation(one.id, { fresh: true });
    toast(yes ? "Blocked. Its texts wait in the folder “Blocked”." : "Not blocked any more", yes ? { action: "Undo", onAction: () => block(one, false) } : {});
  } catch (error) {
    toast(error.message, { tone: "bad" });
  }
}

function ThreadHeader({ one, back }) {
  const { parties, group, line, muted, archived, blocked, internal } = one.attributes;
  const [members, setMembers] = useState(false);
  const lines = linesOf();
  const ours = lines.find((entry) => entry.label === line);
  const first = parties[0] ?? {};
  const unknown = !group && first.number && !first.name;
  const subtitle = [
    !group && first.name && first.number ? format.number(first.number) : group ? format.count(parties.length, "person", "people") : "",
    internal ? "without a line" : lines.length > 1 || !ours ? `line ${line}` : "",
    ours && !ours.enabled ? "line is off" : "",
  ].filter(Boolean).join(" · ");
  const add = () => go(["contacts"], { query: { add: first.number } });
  const items = () => [
    ...(unknown ? [{ label: "Add to contacts", icon: "contact_add", onSelect: add }] : []),
    ...(group ? [{ label: "Who is in it", icon: "group", onSelect: () => setMembers(true) }] : []),
    ...(!group && first.number ? [{ label: "Copy the number", icon: "copy", onSelect: () => copy(first.number, "Number copied") }] : []),
    { label: "Search in this conversation", icon: "search", onSelect: () => go(matchMedia("(max-width: 719px)").matches ? ["search"] : ["c", one.id], { query: { in: one.id } }) },
    null,
    ...rowMenu(one).slice(0, -2),
    ...(!group && first.number ? [blocked
      ? { label: "Unblock the number", icon: "block", onSelect: () => block(one, false) }
      : { label: "Block the number", icon: "block", onSelect: async () => {
          if (await confirm({ title: `Block ${format.name(first)}?`, text: "Texts from this number are still kept, in the folder “Blocked”, but nobody is disturbed by them.", action: "Block" })) block(one, true);
        } }] : []),
    null,
    rowMenu(one).at(-1),
  ];
  return html`<header class="thread-header">
    <${IconButton} class="narrow-only" icon="back" label=${back ? "Back to what was found" : "Back to the conversations"} onClick=${() => (back ? go(["search"], { query: back }) : go([]))} />
    <${Avatar} name=${first.name || first.person} number=${first.number || one.id} group=${group} />
    <div class="thread-titles">
      <h1 class="thread-title" tabindex="-1" title=${titleOf(one)}>${titleOf(one)}</h1>
      <p class="thread-subtitle">${muted && html`<${Icon} name="bell_off" size=${14} label="Muted" /> `}${archived && html`<span class="thread-tag">Archived</span> `}${subtitle}</p>
    </div>
    ${unknown && html`<${IconButton} icon="contact_add" label="Add to contacts" onClick=${add} />`}
    <${MenuButton} icon="more" label="More for this conversation" items=${items} />
    ${members && html`<${Dialog} title="Who is in it" onClose=${() => setMembers(false)}>
      <ul class="members">${parties.map((party) => html`<li><${Avatar} name=${party.name || party.person} number=${party.number} small />
        <span>${format.name(party)}${party.name && party.number ? html`<span class="member-number">${format.number(party.number)}</span>` : null}</span>
        ${party.number && html`<${IconButton} icon="messages" label=${"Text " + format.name(party) + " alone"} onClick=${() => { setMembers(false); go(["new"], { query: { to: party.number } }); }} />`}</li>`)}</ul>
    <//>`}
  </header>`;
}

/** Copy a text, and say so. */
export async function copy(text, words = "Copied") {
  try {
    await navigator.clipboard.writeText(text);
    toast(words);
  } catch {
    toast("The browser does not let this page copy. Mark the text and copy it by hand.", { tone: "bad" });
  }
}

function Messages({ one, at, onEdit }) {
  const box = useRef(null);
  const [window_] = useState(() => {
    const opened = thread(one.id);
    const { unread } = one.attributes;
    const holds = at ? opened.messages.some((message) => message.id === at) : !opened.stale && !opened.has_newer && unread <= 40;
    // What is in memory is another place of the thread: nothing of it is shown.
    if (!holds) opened.forget();
    return opened;
  });
  const [, again] = useReducer((turn) => turn + 1, 0);
  const state = useRef({ stick: true, anchor: null, placed: false, divider: "", divider_set: false, asked: "" }).current;
  const [far, setFar] = useState(false);
  const [menu_details, setDetails] = useState(null);
  const [shown, setShown] = useState(null); // lightbox
  const me = session.get().me?.person;
  const waiting = useStore(outbox, (value) => value.entries);

  // What stays where it is while the rest changes: the first bubble that is seen.
  const hold = () => {
    const scroller = box.current;
    if (!scroller || state.stick) return;
    const top = scroller.getBoundingClientRect().top;
    const rows = scroller.querySelectorAll(".bubble-row");
    let [low, high] = [0, rows.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle].getBoundingClientRect().bottom > top + 8) high = middle;
      else low = middle + 1;
    }
    state.anchor = rows[low] ? { id: rows[low].dataset.id, top: rows[low].getBoundingClientRect().top, rows: [...rows].slice(low, low + 40).map((row) => [row.dataset.id, row.getBoundingClientRect().top]) } : null;
  };

  useEffect(() => {
    const done = window_.watch(() => {
      hold();
      again();
    });
    const { unread, read_to } = one.attributes;
    if (!window_.loaded) window_.load(at || (unread > 40 && read_to) || "");
    else again();
    return done;
  }, []);

  // The stream says that it could not resume, or was away for long: look again at what is shown.
  useEffect(() => onLive("reset", () => window_.load(window_.has_newer ? window_.messages[0]?.id : "")), []);

  const messages = window_.messages;

  // The divider stands before the first unread as it was on opening, and stays.
  if (window_.loaded && !state.divider_set && messages.length) {
    state.divider_set = true;
    const { unread, read_to } = one.attributes;
    if (unread > 0) {
      const after = read_to ? messages.findIndex((message) => message.id === read_to) : -1;
      let first;
      if (after >= 0) first = messages.slice(after + 1).find((message) => message.attributes.direction === "inbound" || !isOwn(message, me));
      else {
        let left = unread;
        for (let index = messages.length - 1; index >= 0 && left > 0; index--) {
          if (!isOwn(messages[index], me)) {
            left -= 1;
            first = messages[index];
          }
        }
      }
      state.divider = first?.id ?? "";
    }
  }

  useLayoutEffect(() => {
    const scroller = box.current;
    if (!scroller || !window_.loaded) return;
    if (!state.placed && messages.length) {
      state.placed = true;
      const target = at ? document.getElementById("m-" + at) : state.divider && scroller.querySelector(".divider");
      if (target) {
        const offset = target.getBoundingClientRect().top - scroller.getBoundingClientRect().top;
        scroller.scrollTop += offset - scroller.clientHeight * (at ? 0.4 : 0.2);
        state.stick = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < AT_END_PX && !window_.has_newer;
        if (at) target.querySelector(".bubble")?.focus({ preventScroll: true });
      } else scroller.scrollTop = scroller.scrollHeight;
    } else if (state.stick && !window_.has_newer) scroller.scrollTop = scroller.scrollHeight;
    else if (state.anchor) {
      // The anchor itself may have been dropped from the window: the next one that is left.
      for (const [id, top] of state.anchor.rows) {
        const row = scroller.querySelector(`[data-id="${CSS.escape(id)}"]`);
        if (!row) continue;
        const moved = row.getBoundingClientRect().top - top;
        if (Math.abs(moved) > 0.5) scroller.scrollTop += moved;
        break;
      }
      state.anchor = null;
    }
    look();
  });

  const look = useCallback(() => {
    const scroller = box.current;
    if (!scroller || !window_.loaded || !state.placed) return;
    const below = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    state.stick = below < AT_END_PX && !window_.has_newer;
    if (state.stick && window_.fresh) {
      window_.fresh = 0;
    }
    setFar(below > 400 || window_.has_newer);
    if (!window_.error) {
      if (scroller.scrollTop < NEAR_PX) window_.older();
      else if (below < NEAR_PX) window_.newer();
    }
    read();
  }, []);

  // Read is what was seen: up to the last bubble above the lower edge, while the page is looked at.
  const read = () => {
    if (document.visibilityState !== "visible" || !document.hasFocus()) return;
    const scroller = box.current;
    const now = book.get().byId[one.id];
    if (!scroller || !now?.attributes.unread || !window_.messages.length) return;
    let last = null;
    if (state.stick) last = window_.messages.at(-1);
    else {
      const bottom = scroller.getBoundingClientRect().bottom;
      const rows = scroller.querySelectorAll(".bubble-row[id]");
      for (let index = rows.length - 1; index >= 0; index--) {
        if (rows[index].getBoundingClientRect().bottom <= bottom + 4) {
          last = window_.messages.find((message) => message.id === rows[index].dataset.id);
          break;
        }
      }
    }
    if (!last || last.id === state.asked) return;
    const known = window_.messages.find((message) => message.id === now.attributes.read_to);
    if (known && known.attributes.created_at >= last.attributes.created_at) return;
    clearTimeout(state.timer);
    state.timer = setTimeout(() => {
      state.asked = last.id;
      change(one.id, { read_to: last.id, ...(last === window_.messages.at(-1) && !window_.has_newer ? { unread: 0 } : {}) }).catch(() => { state.asked = ""; });
    }, 350);
  };
  useEffect(() => {
    addEventListener("focus", read);
    document.addEventListener("visibilitychange", read);
    return () => {
      clearTimeout(state.timer);
      removeEventListener("focus", read);
      document.removeEventListener("visibilitychange", read);
    };
  }, []);
  useEffect(read, [one.attributes.unread]);

  // The composer grows, the window turns: at the end stays at the end.
  useEffect(() => {
    const scroller = box.current;
    const watcher = new ResizeObserver(() => {
      if (state.stick && !window_.has_newer) scroller.scrollTop = scroller.scrollHeight;
      else look();
    });
    watcher.observe(scroller);
    if (scroller.firstElementChild) watcher.observe(scroller.firstElementChild);
    return () => watcher.disconnect();
  }, []);

  const toEnd = async () => {
    state.stick = true;
    state.anchor = null;
    if (window_.has_newer) {
      await window_.load();
      state.stick = true;
    }
    window_.fresh = 0;
    const scroller = box.current;
    scroller?.scrollTo({ top: scroller.scrollHeight });
    setFar(false);
    again();
  };
  // An own text that was just written is always shown.
  const own_waiting = waiting.filter((entry) => entry.conversation === one.id);
  const count_waiting = own_waiting.length;
  const before_waiting = useRef(count_waiting);
  useEffect(() => {
    if (count_waiting > before_waiting.current) toEnd();
    before_waiting.current = count_waiting;
  }, [count_waiting]);

  const on = useCallback((action, message, extra) => {
    if (action === "retry") retry(message);
    else if (action === "cancel") cancel(message);
    else if (action === "picture") {
      const pictures = window_.messages.flatMap((each) => (each.attributes.media ?? []).filter((media) => media.content_type.startsWith("image/")).map((media) => ({ media, message: each })));
      const wanted = message.attributes.media[extra];
      setShown({ pictures, start: Math.max(0, pictures.findIndex((each) => each.media === wanted)) });
    } else if (action === "menu") {
      const { body, status } = message.attributes;
      const mine = isOwn(message, me);
      const picked = String(getSelection());
      openMenu(extra, [
        ...(body ? [{ label: picked && body.includes(picked) ? "Copy what is marked" : "Copy text", icon: "copy", onSelect: () => copy(picked && body.includes(picked) ? picked : body) }] : []),
        ...(body ? [{ label: "Forward", icon: "share", onSelect: () => go(["new"], { query: { body } }) }] : []),
        ...(mine && ["failed", "expired", "uncertain", "dropped"].includes(status) ? [{ label: "Send again", icon: "refresh", onSelect: () => retry(message) }] : []),
        ...(mine && ["scheduled", "queued"].includes(status) ? [{ label: "Cancel", icon: "close", onSelect: () => cancel(message) }] : []),
        { label: "Details", icon: "info", onSelect: () => setDetails(message) },
        null,
        { label: "Delete", icon: "trash", danger: true, onSelect: () => removeMessage(message) },
      ]);
    }
  }, []);

  const onKeyDown = (event) => {
    const bubble = event.target.closest?.(".bubble");
    if (!bubble || event.target !== bubble) return;
    const row = bubble.closest(".bubble-row");
    const rows = [...box.current.querySelectorAll(".bubble-row[id]")];
    const index = rows.indexOf(row);
    const to = { ArrowUp: index - 1, ArrowDown: index + 1, Home: 0 }[event.key];
    if (event.key === "Delete") removeMessage(messages.find((message) => message.id === row.dataset.id));
    else if (event.key === "End") toEnd();
    else if (to !== undefined) {
      if (to >= rows.length) document.querySelector(".compose-text")?.focus();
      else rows[Math.max(0, to)]?.querySelector(".bubble").focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  useKeys({
    End: () => toEnd(),
    ArrowUp: () => {
      if (document.activeElement !== document.body) return false;
      box.current?.querySelector(".bubble-row:last-child .bubble")?.focus();
      return true;
    },
  });

  let content;
  if (!window_.loaded && window_.error) {
    content = html`<${Empty} icon="alert" title="The texts did not load"><p>${window_.error.message}</p><${Button} label="Try again" onClick=${() => window_.load(at)} /><//>`;
  } else if (!window_.loaded) content = html`<${Spinner} label="Loading texts" />`;
  else {
    content = html`<div class="thread-content">
      <div class="thread-edge">${window_.loading === "older" ? html`<span class="spinner" role="status" aria-label="Loading older texts"></span>`
        : window_.has_older && window_.error ? html`<button type="button" class="link-button" onClick=${() => { window_.error = null; window_.older(); }}>${window_.error.message} Try again</button>`
        : !window_.has_older && messages.length ? html`<span class="thread-start">This is where it begins</span>` : null}</div>
      ${drawn({ messages, parties: one.attributes.parties, group: one.attributes.group, me, divider: state.divider, at, on })}
      ${!messages.length && !count_waiting && html`<p class="thread-empty">No texts yet. Write the first one below.</p>`}
      ${!window_.has_newer && count_waiting > 0 && html`<ol class="bubbles" aria-label="Not sent yet">
        ${own_waiting.filter((entry) => !arrived(entry, messages, me)).map((entry) => html`<${WaitingBubble} key=${entry.key} entry=${entry}
          onEdit=${(each) => { discard(each.key); onEdit({ ...each }); }} onDiscard=${(each) => discard(each.key)} onAgain=${(each) => sendNow(each.key)} />`)}
      </ol>`}
      ${window_.has_newer && html`<div class="thread-edge">${window_.error ? html`<button type="button" class="link-button" onClick=${() => { window_.error = null; window_.newer(); }}>${window_.error.message} Try again</button>` : html`<span class="spinner" role="status" aria-label="Loading newer texts"></span>`}</div>`}
    </div>`;
  }
  return html`<div class="thread-frame">
    <div class="thread-scroll" ref=${box} tabindex="-1" onScroll=${look} onKeyDown=${onKeyDown}>${content}</div>
    ${far && html`<button type="button" class="to-end" onClick=${toEnd} aria-label=${window_.fresh ? `${window_.fresh} new texts, jump to the newest` : "Jump to the newest text"}>
      <${Icon} name="chevron_down" />${window_.fresh ? html`<span class="badge" aria-hidden="true">${window_.fresh > 99 ? "99+" : window_.fresh}</span>` : null}</button>`}
    ${menu_details && html`<${Details} message=${menu_details} onClose=${() => setDetails(null)} />`}
    ${shown && html`<${Lightbox} ...${shown} onClose=${() => setShown(null)} />`}
  </div>`;
}

/** Tell whether the text that waits here has already come back as a message. */
const arrived = (entry, messages, me) =>
  entry.state === "sending" &&
  messages.slice(-20).some((message) => isOwn(message, me) && message.attributes.body === (entry.attributes.body ?? "") && Date.parse(message.attributes.created_at) >= Date.parse(entry.at) - 3000);

function drawn({ messages, parties, group, me, divider, at, on }) {
  const days = [];
  let previous = null;
  const who = (message) => (isOwn(message, me) ? "me " + message.attributes.person : message.attributes.from + message.attributes.person);
  for (let index = 0; index < messages.length; index++) {
    const message = messages[index];
    const next = messages[index + 1];
    const { created_at, person, direction } = message.attributes;
    const key = format.dayKey(created_at);
    if (!days.length || days.at(-1).key !== key) {
      days.push({ key, iso: created_at, rows: [] });
      previous = null;
    }
    const near = (one, other) => one && other && who(one) === who(other) && Math.abs(Date.parse(one.attributes.created_at) - Date.parse(other.attributes.created_at)) < GROUP_MS;
    const breaks = message.id === divider;
    const own = isOwn(message, me);
    const first = !near(previous, message) || breaks;
    const last = !near(message, next) || next?.id === divider || (next && format.dayKey(next.attributes.created_at) !== key);
    if (breaks) days.at(-1).rows.push(html`<li key="divider" class="divider"><span>New texts</span></li>`);
    days.at(-1).rows.push(html`<${Bubble} key=${message.id} message=${message} own=${own} first=${first} last=${!!last}
      name=${!own && first && group ? sender(message, parties) : ""} writer=${own && person && person !== me && direction !== "inbound" ? person : ""}
      found=${message.id === at} focusable=${index === messages.length - 1} on=${on} />`);
    previous = message;
  }
  return days.map((one) => html`<section key=${one.key} class="day" aria-label=${format.day(one.iso)}>
    <h2 class="day-name"><span>${format.day(one.iso)}</span></h2>
    <ol class="bubbles">${one.rows}</ol></section>`);
}

// A text that comes in while its thread is open is read aloud.
onLive("message", (message) => {
  if (message?.attributes?.direction !== "inbound" || document.visibilityState !== "visible") return;
  const open = decodeURIComponent((/^#\/c\/([^?]+)/.exec(location.hash) ?? [])[1] ?? "");
  if (message.attributes.conversation !== open || Date.now() - Date.parse(message.attributes.created_at) > 120_000) return;
  const parties = book.get().byId[open]?.attributes.parties ?? [];
  announce(`New text from ${sender(message, parties)}: ${message.attributes.body || "a file"}`);
});

