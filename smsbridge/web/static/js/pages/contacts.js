/** The contacts: list with search and groups, cards, import and export of vCard files. */
import { get, request } from "../api.js";
import { Avatar, Banner, Button, Chip, confirm, Dialog, Empty, format, Icon, IconButton, MenuButton, Page, Spinner, toast, useKeys, useLoad } from "../kit/index.js";
import { html, useEffect, useMemo, useRef, useState } from "../lib/preact.js";
import { go, link } from "../router.js";
import { shared, useStore } from "../state.js";
import { block, unblock } from "./blocks.js";
import { ContactCard, ContactDialog, copy, deleteContact } from "./contact-dialog.js";

// Pages are added while the reader scrolls: an address book may have 20,000.
const PAGE = 200;
const MAX_FILE_BYTES = 8 * 1024 * 1024;
const SEARCH_AFTER_MS = 200;

/** The page at #/contacts; #/contacts/ID opens a card, #/contacts?add=NUMBER a new one. */
export default function ContactsPage({ route }) {
  const version = useStore(shared, (value) => value.contacts_version);
  const [typed, setTyped] = useState(route.query.q ?? "");
  const [q, setQ] = useState(typed);
  const [handle, setHandle] = useState("");
  const [open, setOpen] = useState(null); // {mode: "card"|"edit"|"add", contact}
  const [imported, setImported] = useState(null);
  const [importing, setImporting] = useState("");
  const [over, setOver] = useState(false);
  const search = useRef(null);
  const file = useRef(null);

  useEffect(() => {
    const timer = setTimeout(() => setQ(typed.trim()), SEARCH_AFTER_MS);
    return () => clearTimeout(timer);
  }, [typed]);

  // After a change as much is loaded again as was shown, so that the list does not jump.
  const shown = useRef({ q, count: 0 });
  if (shown.current.q !== q) shown.current = { q, count: 0 };
  const list = useLoad((signal) => pages(q, shown.current.count, signal), [q, version]);
  useEffect(() => {
    shown.current.count = list.data?.data.length ?? 0;
  }, [list.data]);
  const groups = useLoad((signal) => get("/groups", {}, { signal }), [version]);
  const blocks = useLoad((signal) => get("/blocks", {}, { signal }), [version]);
  const blocked = useMemo(() => new Set((blocks.data?.data ?? []).map((entry) => entry.id)), [blocks.data]);
  const again = () => {
    list.again();
    groups.again();
  };
  const handles = groups.data?.data ?? [];
  const group = handles.find((entry) => entry.id === handle);
  useEffect(() => {
    if (handle && groups.data && !group) setHandle(""); // its last member left
  }, [groups.data]);

  const wanted = route.path[1];
  useEffect(() => {
    if (!wanted) return undefined;
    const stop = new AbortController();
    get("/contacts/" + encodeURIComponent(wanted), {}, { signal: stop.signal }).then(
      ({ data }) => setOpen({ mode: "card", contact: data }),
      (error) => {
        if (error.name === "AbortError") return;
        toast(error.status === 404 ? "This contact is not there any more." : error.message, { tone: "bad" });
        go("#/contacts", { replace: true });
      },
    );
    return () => stop.abort();
  }, [wanted]);
  // "Add to contacts" of a conversation: #/contacts?add=NUMBER, and back to it afterwards.
  const adding = route.query.add;
  useEffect(() => {
    if (adding) setOpen({ mode: "add", number: adding });
  }, [adding]);
  const close = () => {
    setOpen(null);
    if (adding && history.length > 1) history.back();
    else if (adding || wanted) go("#/contacts", { replace: true });
  };

  useKeys({
    "/": () => search.current?.focus(),
    Escape: () => {
      if (!typed) return false;
      setTyped("");
    },
  });

  const take = async (chosen) => {
    if (!chosen) return;
    if (chosen.size > MAX_FILE_BYTES) {
      return toast(`${chosen.name} has ${format.size(chosen.size)}; 8 MB is the most. Export it in parts.`, { tone: "bad" });
    }
    setImporting(chosen.name);
    try {
      const answer = await request("POST", "/contacts/import", {
        body: new Blob([await chosen.arrayBuffer()]), content_type: "text/vcard", timeout_ms: 120_000,
      });
      setImported({ name: chosen.name, ...answer.meta });
      again();
    } catch (error) {
      toast(error.message, { tone: "bad" });
    } finally {
      setImporting("");
    }
  };

  const save = async () => {
    try {
      const blob = await request("GET", "/contacts/export", { as: "blob", headers: { Accept: "text/vcard" }, timeout_ms: 120_000 });
      const address = URL.createObjectURL(blob);
      const anchor = document.createElement("a");
      anchor.href = address;
      anchor.download = "contacts.vcf";
      anchor.click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    } catch (error) {
      toast(error.message, { tone: "bad" });
    }
  };

  const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const none = list.data && !list.data.data.length;
  const known = handles.map((entry) => entry.id);
  const empty = none && !q && !handle;

  return html`<div class="drop-zone" onDragOver=${(event) => { if (carriesFiles(event)) { event.preventDefault(); setOver(true); } }}
      onDragLeave=${(event) => !event.currentTarget.contains(event.relatedTarget) && setOver(false)}
      onDrop=${(event) => { if (carriesFiles(event)) { event.preventDefault(); setOver(false); take(event.dataTransfer.files[0]); } }}>
    <${Page} title="Contacts" actions=${html`
        <${Button} kind="filled" icon="contact_add" label="Add" aria-label="Add contact" onClick=${() => setOpen({ mode: "add" })} />
        <${MenuButton} icon="more" label="More about contacts" items=${[
          { label: "Import a vCard file…", icon: "upload", onSelect: () => file.current.click(), hint: "Or drop one on this page" },
          { label: "Export all as vCard", icon: "download", onSelect: save, disabled: !!empty },
        ]} />`}>
      <input ref=${file} type="file" class="unseen" tabindex="-1" aria-hidden="true" accept=".vcf,.vcard,text/vcard,text/x-vcard"
        onChange=${(event) => { take(event.target.files[0]); event.target.value = ""; }} />
      ${importing && html`<${Banner} icon="upload">Importing ${importing}…<//>`}
      ${!empty && html`<div class="list-tools">
        <label class="search-field"><span class="unseen">Search contacts</span><${Icon} name="search" size=${20} />
          <input ref=${search} class="input" type="search" placeholder="Search names and numbers" value=${typed} autocomplete="off" onInput=${(event) => setTyped(event.target.value)} /></label>
        ${handles.length > 0 && html`<div class="chips" role="group" aria-label="Groups">
          ${handles.map((entry) => html`<${Chip} key=${entry.id} label=${`@${entry.id} (${entry.attributes.members.length})`} selected=${entry.id === handle}
            onClick=${() => setHandle(entry.id === handle ? "" : entry.id)} />`)}</div>`}
      </div>`}
      ${list.error && html`<${Banner} tone="bad" actions=${html`<${Button} kind="text" label="Try again" onClick=${again} />`}>${list.error.message}<//>`}
      ${list.loading && !list.data && html`<${Spinner} label="Loading contacts" />`}
      ${empty && html`<${Empty} icon="contacts" title="No contacts yet">
        <p>Names of contacts stand over your conversations instead of bare numbers, and a group such as @family gets a text with one handle.</p>
        <${Button} kind="filled" icon="contact_add" label="Add the first one" onClick=${() => setOpen({ mode: "add" })} />
        <${Button} kind="text" icon="upload" label="Import a vCard file from your phone" onClick=${() => file.current.click()} /><//>`}
      ${group
        ? html`<${Group} group=${group} q=${q} onOpen=${(id) => go(link(["contacts", id]))} />`
        : list.data && html`<${List} answer=${list.data} blocked=${blocked} q=${q} setAnswer=${list.setData} onOpen=${(contact) => setOpen({ mode: "card", contact })}
            onEdit=${(contact) => setOpen({ mode: "edit", contact })} onDelete=${(contact) => deleteContact(contact, again)} />`}
      ${none && q && !group && html`<${Empty} icon="search" title="Nobody found"><p>No contact has “${q}” in a name or number.</p>
        <${Button} label="Clear the search" onClick=${() => setTyped("")} /><//>`}
    <//>
    ${over && html`<div class="drop-hint" aria-hidden="true"><${Icon} name="upload" size=${40} /><span>Drop a vCard file to import it</span></div>`}
    ${open?.mode === "card" && html`<${ContactCard} contact=${open.contact} onClose=${close} onEdit=${() => setOpen({ mode: "edit", contact: open.contact })}
      onDelete=${() => { close(); deleteContact(open.contact, again); }} />`}
    ${open && open.mode !== "card" && html`<${ContactDialog} key=${open.mode} contact=${open.contact} number=${open.number} groups=${known} onClose=${close} onSaved=${again} />`}
    ${imported && html`<${Imported} result=${imported} onClose=${() => setImported(null)} />`}
  </div>`;
}

// Letters between the names help the eye; a search has few rows and needs none.
const letterOf = (name) => {
  const letter = [...name.trim().normalize("NFD")][0]?.toLocaleUpperCase() ?? "#";
  return /\p{L}/u.test(letter) ? letter : "#";
};

// Load pages of contacts until there are as many as wanted.
async function pages(q, count, signal) {
  let answer = await get("/contacts", { q, limit: PAGE }, { signal });
  while (answer.links?.next && answer.data.length < count) {
    const more = await get(answer.links.next, {}, { signal });
    answer = { ...more, data: [...answer.data, ...more.data] };
  }
  return answer;
}

function List({ answer, blocked, q, setAnswer, onOpen, onEdit, onDelete }) {
  const [busy, setBusy] = useState(false);
  const end = useRef(null);
  const next = answer.links?.next;
  const more = async () => {
    if (busy || !next) return;
    setBusy(true);
    try {
      const page = await get(next);
      setAnswer((now) => (now.links?.next === next ? { ...page, data: [...now.data, ...page.data] } : now));
    } catch (error) {
      toast(error.message, { tone: "bad" });
    } finally {
      setBusy(false);
    }
  };
  useEffect(() => {
    if (!next || !end.current) return undefined;
    const watcher = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && more(), { rootMargin: "800px" });
    watcher.observe(end.current);
    return () => watcher.disconnect();
  }, [next, busy]);
  const sections = useMemo(() => {
    const found = [];
    for (const contact of answer.data) {
      const letter = q ? "" : letterOf(contact.attributes.name);
      if (found.at(-1)?.letter === letter) found.at(-1).contacts.push(contact);
      else found.push({ letter, contacts: [contact] });
    }
    return found;
  }, [answer.data, q]);
  return html`${sections.map(({ letter, contacts: some }, at) => html`<section key=${letter + at} class="contact-section">
      ${letter && html`<h2 class="letter">${letter}</h2>`}
      <ul class="rows">${some.map((contact) => html`<${Row} key=${contact.id} contact=${contact} blocked=${blocked} onOpen=${onOpen} onEdit=${onEdit} onDelete=${onDelete} />`)}</ul>
    </section>`)}
    ${next && html`<div ref=${end} class="list-end"><${Button} kind="text" label="Show more" busy=${busy} onClick=${more} /></div>`}`;
}

function Row({ contact, blocked, onOpen, onEdit, onDelete }) {
  const { name, numbers, groups, source } = contact.attributes;
  const first = numbers[0];
  const own = source !== "file";
  const stopped = numbers.map((entry) => entry.number).filter((number) => blocked.has(number));
  const items = [
    ...numbers.slice(0, 5).map((entry) => ({ label: "Text " + format.number(entry.number), hint: entry.label, icon: "messages", onSelect: () => go(link(["new"], { to: entry.number })) })),
    first && { label: "Copy the number", icon: "copy", onSelect: () => copy(first.number) },
    null,
    own && { label: "Edit", icon: "edit", onSelect: () => onEdit(contact) },
    first && (stopped.length
      ? { label: "Unblock", icon: "block", onSelect: () => unblock(stopped, name) }
      : { label: "Block", icon: "block", onSelect: () => askToBlock(name, numbers) }),
    own && { label: "Delete", icon: "trash", danger: true, onSelect: () => onDelete(contact) },
  ].filter((item) => item !== false && item !== undefined);
  return html`<li class="row">
    <button type="button" class="row-main" onClick=${() => onOpen(contact)}>
      <${Avatar} name=${name} number=${first?.number} />
      <span class="row-words"><span class="row-title">${name}</span>
        <span class="row-text">${first ? format.number(first.number) : "no number"}${first?.label ? ` · ${first.label}` : ""}${numbers.length > 1 ? ` · ${numbers.length - 1} more` : ""}</span></span>
      <span class="row-tags">${groups.slice(0, 3).map((handle) => html`<span key=${handle} class="tag">@${handle}</span>`)}
        ${stopped.length > 0 && html`<span class="tag tag-bad">blocked</span>`}
        ${!own && html`<span class="tag tag-quiet" title="From the operator's address book file; read-only"><${Icon} name="lock" size=${14} /> file</span>`}</span>
    </button>
    ${first && html`<${IconButton} icon="messages" label=${`Text ${name}`} onClick=${() => go(link(["new"], { to: first.number }))} />`}
    <${MenuButton} icon="more" label=${`More about ${name}`} items=${items} />
  </li>`;
}

async function askToBlock(name, numbers) {
  const many = numbers.length > 1 ? "all numbers of " : "";
  const yes = await confirm({
    title: `Block ${name}?`,
    text: `Texts from ${many}${name} will not reach you. They are not told. You can undo this in the settings.`,
    action: "Block", danger: true,
  });
  if (yes) await block(numbers.map((entry) => entry.number), name);
}

function Group({ group, q, onOpen }) {
  const wanted = q.toLocaleLowerCase();
  const members = group.attributes.members.filter((member) => !q || member.name.toLocaleLowerCase().includes(wanted) || (member.number ?? "").includes(wanted.replace(/[^\d]/g, "") || wanted));
  return html`<section class="contact-section">
    <div class="group-head"><p>A text to <strong>@${group.id}</strong> goes to ${format.count(group.attributes.members.length, "person", "people")}.</p>
      <${Button} icon="messages" label=${`Text @${group.id}`} onClick=${() => go(link(["new"], { to: "@" + group.id }))} /></div>
    <ul class="rows">${members.map((member) => html`<li key=${member.contact} class="row">
      <button type="button" class="row-main" onClick=${() => onOpen(member.contact)}><${Avatar} name=${member.name} number=${member.number} />
        <span class="row-words"><span class="row-title">${member.name}</span><span class="row-text">${member.number ? format.number(member.number) : "no number: gets no text"}</span></span></button>
      ${member.number && html`<${IconButton} icon="messages" label=${`Text ${member.name}`} onClick=${() => go(link(["new"], { to: member.number }))} />`}
    </li>`)}</ul></section>`;
}

function Imported({ result, onClose }) {
  const { added = 0, updated = 0, skipped = [] } = result;
  const nothing = !added && !updated;
  return html`<${Dialog} title=${nothing ? "Nothing new" : "Imported"} onClose=${onClose} actions=${html`<${Button} kind="filled" label="OK" onClick=${onClose} autofocus />`}>
    <p>${nothing ? `${result.name} brought no contact that was not there already.`
      : `${result.name}: ${format.count(added, "contact", "contacts")} added, ${updated.toLocaleString()} updated.`}</p>
    ${skipped.length > 0 && html`<div><h3>${format.count(skipped.length, "card was", "cards were")} left out</h3>
      <ul class="skipped">${skipped.slice(0, 100).map((sentence, at) => html`<li key=${at}>${sentence}</li>`)}</ul>
      ${skipped.length > 100 && html`<p class="quiet">and ${skipped.length - 100} more</p>`}</div>`}
  <//>`;
}
