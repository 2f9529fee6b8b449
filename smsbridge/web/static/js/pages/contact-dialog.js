/**
 * The card of a contact, to read, write and delete; also "add to contacts" of a thread:
 * html`<${ContactDialog} number="+12025550123" onClose=${..} onSaved=${(contact) => ..} />`.
 */
import { del, patch, post } from "../api.js";
import { Avatar, Button, Chip, Dialog, Field, format, Icon, IconButton, toast } from "../kit/index.js";
import { html, useRef, useState } from "../lib/preact.js";
import { go, link } from "../router.js";

const LABELS = ["mobile", "home", "work", "main", "other"];
// As the server's limits, so that a field says it before the request does.
const MAX_NAME = 100;
const MAX_NOTE = 2000;
const MAX_NUMBERS = 50;

/** Give a group as it is typed in a recipient field: "Family" -> "family". */
export const handleOf = (text) => text.trim().replace(/^@+/, "").toLowerCase().replace(/\s+/g, "-");

/**
 * A dialog with the fields of a contact.
 * @param {{contact?: {id: string, attributes: object}, number?: string, name?: string, groups?: string[],
 *   onClose: () => void, onSaved?: (contact: object) => void}} props
 *   without `contact` a new one is made, with the number and name that are known
 */
export function ContactDialog({ contact, number = "", name = "", groups: known = [], onClose, onSaved }) {
  if (contact?.attributes.source === "file") return html`<${ContactCard} contact=${contact} onClose=${onClose} />`;
  const given = contact?.attributes ?? { name, numbers: number ? [{ number, label: "mobile" }] : [], groups: [], note: "" };
  const [fields, setFields] = useState({
    name: given.name ?? "",
    numbers: given.numbers.length ? given.numbers.map((entry) => ({ ...entry, number: format.number(entry.number) })) : [{ number: "", label: "mobile" }],
    groups: given.groups ?? [],
    note: given.note ?? "",
  });
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const change = (part) => {
    setFields((now) => ({ ...now, ...part }));
    setProblem(null);
  };
  const numbers = fields.numbers.filter((entry) => entry.number.trim());

  const save = async () => {
    const missing = !fields.name.trim()
      ? { name: "Type a name." }
      : !numbers.length
        ? { numbers: { 0: "Type at least one number." } }
        : null;
    if (missing) return setProblem(missing);
    setBusy(true);
    const attributes = {
      name: fields.name.trim(),
      numbers: numbers.map((entry) => ({ number: entry.number.trim(), label: entry.label.trim() })),
      groups: fields.groups,
      note: fields.note.trim(),
    };
    try {
      const answer = contact
        ? await patch("/contacts/" + encodeURIComponent(contact.id), "contact", attributes)
        : await post("/contacts", "contact", attributes);
      toast(contact ? `${attributes.name} is saved.` : `${attributes.name} is in your contacts.`, { tone: "good" });
      onSaved?.(answer.data);
      onClose();
    } catch (error) {
      setProblem(problemOf(error, fields.numbers));
      setBusy(false);
    }
  };

  return html`<${Dialog} title=${contact ? "Edit contact" : "Add contact"} onClose=${onClose} onSubmit=${save} class="contact-dialog"
    actions=${html`<${Button} kind="text" label="Cancel" onClick=${onClose} /><${Button} kind="filled" type="submit" label="Save" busy=${busy} />`}>
    ${problem?.all && html`<p class="form-problem" role="alert"><${Icon} name="alert" size=${18} /> ${problem.all}</p>`}
    <${Field} label="Name" value=${fields.name} maxlength=${MAX_NAME} autocomplete="off" autofocus=${!contact && !name}
      error=${problem?.name} onInput=${(value) => change({ name: value })} />
    <${Numbers} numbers=${fields.numbers} problems=${problem?.numbers ?? {}} onChange=${(list) => change({ numbers: list })} />
    <${Groups} groups=${fields.groups} known=${known} problem=${problem?.groups} onChange=${(list) => change({ groups: list })} />
    <${Field} label="Note" optional multiline value=${fields.note} maxlength=${MAX_NOTE} error=${problem?.note}
      onInput=${(value) => change({ note: value })} />
  <//>`;
}

// What the server says of a field stands at that field.
function problemOf(error, typed) {
  const found = { numbers: {} };
  const filled = typed.map((entry, at) => (entry.number.trim() ? at : -1)).filter((at) => at >= 0);
  for (const { source, detail, title } of error.errors ?? []) {
    const match = /\/(name|numbers|groups|note)(?:\/(\d+))?/.exec(source?.pointer ?? "");
    const words = detail || title;
    if (!match) found.all ??= words;
    else if (match[1] === "numbers") found.numbers[filled[Number(match[2] ?? 0)] ?? 0] = words;
    else found[match[1]] = words;
  }
  if (!found.all && !found.name && !found.groups && !found.note && !Object.keys(found.numbers).length) found.all = error.message;
  return found;
}

function Numbers({ numbers, problems, onChange }) {
  const box = useRef(null);
  const put = (at, part) => onChange(numbers.map((entry, index) => (index === at ? { ...entry, ...part } : entry)));
  const add = () => {
    onChange([...numbers, { number: "", label: LABELS.find((label) => !numbers.some((entry) => entry.label === label)) ?? "other" }]);
    setTimeout(() => [...box.current.querySelectorAll("input[type=tel]")].at(-1)?.focus());
  };
  return html`<fieldset class="numbers" ref=${box}><legend class="field-label">Numbers</legend>
    ${numbers.map((entry, at) => html`<div class="number-row" key=${at}>
      <${Field} label=${`Number ${at + 1}`} class="field-quiet" type="tel" inputmode="tel" autocomplete="off" placeholder="(202) 555-0123"
        value=${entry.number} error=${problems[at]} onInput=${(value) => put(at, { number: value })} />
      <${Field} label=${`Kind of number ${at + 1}`} class="field-quiet number-label">
        ${(wired) => html`<select class="input" ...${wired} value=${entry.label} onChange=${(event) => put(at, { label: event.target.value })}>
          ${[...new Set([...LABELS, entry.label])].map((label) => html`<option key=${label} value=${label} selected=${label === entry.label}>${label || "no kind"}</option>`)}
        </select>`}
      <//>
      <${IconButton} icon="close" label=${`Remove number ${at + 1}`} disabled=${numbers.length === 1 && !entry.number}
        onClick=${() => onChange(numbers.length === 1 ? [{ number: "", label: "mobile" }] : numbers.filter((_, index) => index !== at))} />
    </div>`)}
    ${numbers.length < MAX_NUMBERS && html`<${Button} kind="text" icon="add" label="Add a number" onClick=${add} />`}
  </fieldset>`;
}

function Groups({ groups, known, problem, onChange }) {
  const [typed, setTyped] = useState("");
  const add = (text) => {
    const handle = handleOf(text);
    if (handle && !groups.includes(handle)) onChange([...groups, handle]);
    setTyped("");
  };
  const others = known.filter((handle) => !groups.includes(handle));
  const onKeyDown = (event) => {
    if ((event.key === "Enter" || event.key === ",") && typed.trim()) {
      event.preventDefault();
      add(typed);
    } else if (event.key === "Backspace" && !typed && groups.length) onChange(groups.slice(0, -1));
  };
  return html`<div class="groups-field">
    <${Field} label="Groups" optional hint="A group has a handle: a text to @family goes to everybody in it." value=${typed} error=${problem}
      autocomplete="off" placeholder="Type a group and press Enter" onInput=${setTyped} onKeyDown=${onKeyDown} onBlur=${() => typed.trim() && add(typed)} />
    ${(groups.length || others.length) ? html`<div class="chips">
      ${groups.map((handle) => html`<${Chip} key=${handle} label=${"@" + handle} onRemove=${() => onChange(groups.filter((other) => other !== handle))} />`)}
      ${others.map((handle) => html`<${Chip} key=${handle} label=${"@" + handle} icon="add" onClick=${() => add(handle)} />`)}
    </div>` : null}
  </div>`;
}

/** The card of a contact, to read: with what can be done with each number. */
export function ContactCard({ contact, onClose, onEdit, onDelete }) {
  const { name, numbers, groups, note, source } = contact.attributes;
  const from_file = source === "file";
  return html`<${Dialog} title="Contact" onClose=${onClose} class="contact-dialog"
    actions=${!from_file && onEdit && html`<${Button} kind="text" icon="trash" label="Delete" onClick=${onDelete} /><${Button} kind="tonal" icon="edit" label="Edit" onClick=${onEdit} autofocus />`}>
    <div class="card-head"><${Avatar} name=${name} number=${numbers[0]?.number} large /><p class="card-name">${name}</p>
      ${groups.length > 0 && html`<ul class="chips card-groups" aria-label="Groups">${groups.map((handle) => html`<li key=${handle} class="tag">@${handle}</li>`)}</ul>`}
    </div>
    <ul class="card-numbers">${numbers.map((entry) => html`<li key=${entry.number}>
      <span class="card-number"><span>${format.number(entry.number)}</span>${entry.label && html`<span class="quiet">${entry.label}</span>`}</span>
      <${IconButton} icon="copy" label=${`Copy ${format.number(entry.number)}`} onClick=${() => copy(entry.number)} />
      <${IconButton} icon="messages" label=${`Text ${format.number(entry.number)}`} onClick=${() => { onClose(); go(link(["new"], { to: entry.number })); }} />
    </li>`)}</ul>
    ${note && html`<div><h3>Note</h3><p class="card-note">${note}</p></div>`}
    ${from_file && html`<p class="quiet">This card comes from the operator's address book file and is changed there. To keep a version of your own, add a contact with the same number.</p>`}
  <//>`;
}

/** Copy a text and say so. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.");
  } catch {
    toast("The browser did not let the page copy. Select the text and copy it by hand.", { tone: "bad" });
  }
}

/** Delete a contact at once and offer to undo it. `onChanged` is called after both. */
export async function deleteContact(contact, onChanged) {
  const { name, numbers, groups, note } = contact.attributes;
  try {
    await del("/contacts/" + encodeURIComponent(contact.id));
  } catch (error) {
    if (error.status !== 404) return void toast(error.message, { tone: "bad" });
  }
  onChanged();
  toast(`${name} is deleted.`, {
    action: "Undo",
    onAction: async () => {
      try {
        await post("/contacts", "contact", { name, numbers, groups, note });
        onChanged();
      } catch (error) {
        toast(`${name} could not be put back. ${error.message}`, { tone: "bad" });
      }
    },
  });
}
