/** Whom a new text goes to: chips, and suggestions from contacts, groups and persons while typing. */
import { html, useEffect, useRef, useState } from "../lib/preact.js";
import { get } from "../api.js";
import { announce, Avatar, Chip, format, Icon } from "../kit/index.js";
import { session } from "../state.js";

/** Tell what a typed word could be: "+1202..", "@family", a person; null when it is nothing yet. */
export function typed(word, persons = []) {
  const text = word.trim();
  if (/^@[\w.-]+$/.test(text)) return { to: text, name: text, kind: "group" };
  const person = persons.find((one) => one.toLowerCase() === text.toLowerCase());
  if (person) return { to: person, name: person, kind: "person" };
  const digits = text.replace(/[^\d]/g, "");
  if (/^\+?[\d\s().\-/]+$/.test(text) && digits.length >= 3 && digits.length <= 15) {
    const to = (text.startsWith("+") ? "+" : "") + digits;
    return { to, name: to.startsWith("+") ? format.number(to) : text, kind: "number" };
  }
  return null;
}

/**
 * The field with chips.
 * @param {{value: {to: string, name: string, kind: string}[], onChange: (value) => void, error: string}} props
 */
export function Recipients({ value, onChange, error, onDone }) {
  const [text, setText] = useState("");
  const [found, setFound] = useState([]);
  const [at, setAt] = useState(-1);
  const [open, setOpen] = useState(false);
  const field = useRef(null);
  const groups = useRef(null);
  const found_for = useRef(null); // the word that the suggestions belong to; a quick typist is ahead of them
  const persons = session.get().me?.persons ?? [];
  const word = text.trim();

  useEffect(() => field.current?.focus(), []);
  useEffect(() => {
    const stop = new AbortController();
    const timer = setTimeout(async () => {
      const list = [];
      const own = typed(word, persons);
      try {
        groups.current ??= (await get("/groups", {}, { signal: stop.signal })).data;
        const { data } = await get("/contacts", { q: word.replace(/^@/, "") }, { signal: stop.signal });
        const needle = word.toLowerCase().replace(/^@/, "");
        for (const group of groups.current) {
          if (needle && !group.id.toLowerCase().includes(needle)) continue;
          if (!needle && word !== "@" && list.length > 2) break;
          const { members } = group.attributes;
          list.push({ to: "@" + group.id.replace(/^@/, ""), name: "@" + group.id.replace(/^@/, ""), hint: members.map((one) => one.name || format.number(one.number)).join(", "), kind: "group" });
        }
        for (const person of persons) if (needle && person.toLowerCase().includes(needle)) list.push({ to: person, name: person, hint: "on this bridge, costs nothing", kind: "person" });
        for (const contact of data) {
          for (const number of contact.attributes.numbers) list.push({ to: number.number, name: contact.attributes.name, hint: [format.number(number.number), number.label].filter(Boolean).join(" · "), kind: "contact" });
        }
      } catch {
        if (stop.signal.aborted) return;
        // Without suggestions numbers can still be typed.
      }
      // A handle that is only begun is no group: the list has those that there are.
      const whole = own && (own.kind !== "group" || !list.some((one) => one.kind === "group"));
      if (whole && !list.some((one) => one.to === own.to)) list.unshift({ ...own, hint: own.kind === "number" ? "Use this number" : "" });
      const chosen = new Set(value.map((one) => one.to));
      const rest = list.filter((one) => !chosen.has(one.to)).slice(0, 30);
      found_for.current = word;
      setFound(rest);
      setAt(word && rest.length ? 0 : -1);
    }, word ? 120 : 0);
    return () => (clearTimeout(timer), stop.abort());
  }, [word, value.length]);

  const add = (one) => {
    if (!value.some((each) => each.to === one.to)) onChange([...value, { to: one.to, name: one.name, kind: one.kind }]);
    announce(`${one.name} added`);
    setText("");
    setOpen(false);
    field.current?.focus();
  };
  const remove = (one) => {
    onChange(value.filter((each) => each !== one));
    announce(`${one.name} removed`);
    field.current?.focus();
  };
  const takeTyped = () => {
    const own = typed(word, persons);
    if (own) add(own);
    return !!own;
  };
  const onKeyDown = (event) => {
    if (event.isComposing) return;
    const { key } = event;
    if (key === "ArrowDown" || key === "ArrowUp") {
      setOpen(true);
      setAt((now) => (found.length ? (now + (key === "ArrowDown" ? 1 : -1) + found.length) % found.length : -1));
    } else if (key === "Enter" || (key === "Tab" && word && !event.shiftKey) || key === "," || key === ";") {
      if (!word && key === "Tab") return;
      const fits = found_for.current === word;
      if (fits && key === "Enter" && open && found[at]) add(found[at]);
      else if (fits && (key === "Tab" || key === "Enter") && word && found[Math.max(0, at)]) add(found[Math.max(0, at)]);
      else if (!takeTyped() && key === "Enter" && !word && value.length) onDone?.();
    } else if (key === "Backspace" && !text && value.length) remove(value.at(-1));
    else if (key === "Escape" && open && found.length) {
      setOpen(false);
      event.stopPropagation();
    } else return;
    event.preventDefault();
  };
  const onPaste = (event) => {
    const pasted = event.clipboardData?.getData("text") ?? "";
    const parts = pasted.split(/[,;\n]+/).map((part) => typed(part, persons)).filter(Boolean);
    if (parts.length < 2) return;
    event.preventDefault();
    const known = new Set(value.map((one) => one.to));
    onChange([...value, ...parts.filter((part) => !known.has(part.to) && known.add(part.to))]);
  };
  const shown = open && found.length > 0;
  return html`<div class="recipients">
    <div class=${"recipients-box " + (error ? "compose-wrong" : "")} onClick=${(event) => event.target === event.currentTarget && field.current?.focus()}>
      <label class="recipients-label" for="recipients-field">To</label>
      ${value.map((one) => html`<${Chip} key=${one.to} label=${one.name} title=${format.number(one.to)} icon=${one.kind === "group" ? "group" : undefined} onRemove=${() => remove(one)} />`)}
      <input id="recipients-field" ref=${field} class="recipients-field" value=${text} placeholder=${value.length ? "" : "Name, number or @group"} role="combobox" aria-expanded=${String(shown)} aria-controls="recipients-list" aria-autocomplete="list"
        aria-activedescendant=${shown && at >= 0 ? "recipient-" + at : null} aria-invalid=${error ? "true" : null} aria-describedby=${error ? "recipients-error" : null}
        autocomplete="off" autocapitalize="none" spellcheck=${false} inputmode="text" onInput=${(event) => { setText(event.target.value); setOpen(true); }}
        onKeyDown=${onKeyDown} onPaste=${onPaste} onFocus=${() => setOpen(true)} onBlur=${() => { setTimeout(() => setOpen(false), 150); takeTypedOnLeave(); }} />
    </div>
    ${shown && html`<ul class="suggestions" id="recipients-list" role="listbox" aria-label="Suggestions">
      ${found.map((one, index) => html`<li key=${one.to + index} id=${"recipient-" + index} role="option" aria-selected=${String(index === at)} class=${"suggestion " + (index === at ? "suggestion-on" : "")}
        onPointerDown=${(event) => event.preventDefault()} onClick=${() => add(one)} ref=${index === at ? (element) => element?.scrollIntoView({ block: "nearest" }) : null}>
        <${Avatar} name=${one.kind === "contact" || one.kind === "person" ? one.name : ""} number=${one.to} group=${one.kind === "group"} small />
        <span class="suggestion-words"><span>${one.name}</span>${one.hint && html`<span class="suggestion-hint">${one.hint}</span>`}</span></li>`)}
    </ul>`}
    ${error && html`<p class="field-error" id="recipients-error" role="alert"><${Icon} name="alert" size=${16} /> ${error}</p>`}
  </div>`;

  // A number that was typed and left is meant.
  function takeTypedOnLeave() {
    const own = typed(word, persons);
    if (own?.kind === "number" && own.to.replace("+", "").length >= 7) add_quietly(own);
  }
  function add_quietly(own) {
    if (!value.some((each) => each.to === own.to)) onChange([...value, own]);
    setText("");
  }
}
