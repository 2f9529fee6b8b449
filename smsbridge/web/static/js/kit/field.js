/** Fields of forms: a label, the input, a hint and an error in words, tied together for screen readers. */
import { html, useRef } from "../lib/preact.js";
import { Icon } from "./icons.js";

let count = 0;

/**
 * A labelled field. Give input attributes (type, value, onInput(value), autocomplete, ...), or one
 * child function that gets {id, "aria-describedby", "aria-invalid"} and returns the control.
 */
export function Field({ label, hint, error, children, multiline = false, class: extra = "", onInput, inputRef, optional = false, ...input }) {
  const id = useRef(null);
  id.current ??= input.id ?? "field-" + ++count;
  const wired = {
    id: id.current,
    "aria-describedby": [error && id.current + "-error", hint && id.current + "-hint"].filter(Boolean).join(" ") || null,
    "aria-invalid": error ? "true" : null,
  };
  const typed = onInput && ((event) => onInput(event.target.value, event));
  let control;
  if (typeof children === "function") control = children(wired);
  else if (multiline) control = html`<textarea class="input" rows="3" ...${input} ...${wired} ref=${inputRef} onInput=${typed}></textarea>`;
  else control = html`<input class="input" type="text" ...${input} ...${wired} ref=${inputRef} onInput=${typed} />`;
  return html`<div class=${`field ${error ? "field-wrong" : ""} ${extra}`}>
    <label class="field-label" for=${id.current}>${label}${optional ? html` <span class="field-optional">optional</span>` : null}</label>
    ${control}
    ${hint && html`<p class="field-hint" id=${id.current + "-hint"}>${hint}</p>`}
    ${error && html`<p class="field-error" id=${id.current + "-error"} role="alert"><${Icon} name="alert" size=${16} /> ${error}</p>`}
  </div>`;
}

/** A setting that is on or off. */
export function Switch({ label, checked, onChange, hint, disabled = false }) {
  const id = useRef(null);
  id.current ??= "switch-" + ++count;
  return html`<label class="switch">
    <span class="switch-words"><span>${label}</span>${hint && html`<span class="field-hint" id=${id.current}>${hint}</span>`}</span>
    <input type="checkbox" role="switch" checked=${checked} disabled=${disabled} aria-describedby=${hint ? id.current : null}
      onChange=${(event) => onChange(event.target.checked)} />
    <span class="switch-track" aria-hidden="true"></span>
  </label>`;
}
