/** What is pressed: buttons, chips, tabs and choices of a few. */
import { html, useRef } from "../lib/preact.js";
import { Icon } from "./icons.js";

/** A button with words; `busy` shows a spinner and takes no second press. */
export function Button({ label, icon, kind = "tonal", busy = false, disabled = false, type = "button", onClick, children, class: extra = "", ...rest }) {
  return html`<button ...${rest} type=${type} class=${`button button-${kind} ${extra}`} disabled=${disabled}
    aria-busy=${busy ? "true" : null} onClick=${(event) => (busy ? event.preventDefault() : onClick?.(event))}>
    ${busy ? html`<span class="spinner spinner-small" aria-hidden="true"></span>` : icon && html`<${Icon} name=${icon} size=${20} />`}
    <span>${label ?? children}</span>
  </button>`;
}

/** A round button with an icon alone; its label is read aloud and shown when pointed at. */
export function IconButton({ icon, label, onClick, pressed, disabled = false, badge = 0, size = 24, class: extra = "", ...rest }) {
  return html`<button type="button" ...${rest} class=${"icon-button " + extra} aria-label=${label} title=${label}
    aria-pressed=${pressed === undefined ? null : String(pressed)} disabled=${disabled} onClick=${onClick}>
    <${Icon} name=${icon} size=${size} />
    ${badge ? html`<span class="badge icon-badge" aria-hidden="true">${badge > 99 ? "99+" : badge}</span>` : null}
  </button>`;
}

/** A chip: a filter that is on or off, or a chosen thing that can be taken away. */
export function Chip({ label, selected, onClick, onRemove, icon, tone = "", title, children }) {
  const inside = html`${icon && html`<${Icon} name=${icon} size=${18} />`}<span class="chip-label">${label ?? children}</span>`;
  if (onRemove) {
    return html`<span class=${"chip chip-held " + tone} title=${title}>${inside}
      <button type="button" class="chip-remove" aria-label=${`Remove ${label}`} onClick=${onRemove}><${Icon} name="close" size=${16} /></button>
    </span>`;
  }
  return html`<button type="button" class=${"chip " + (selected ? "chip-on " : "") + tone} aria-pressed=${String(!!selected)} title=${title} onClick=${onClick}>
    ${selected && !icon ? html`<${Icon} name="check" size=${18} />` : null}${inside}
  </button>`;
}

/** Tabs of a page: arrows move between them. `tabs`: [{id, label, count?}]. */
export function Tabs({ label, tabs, value, onChange }) {
  const row = useRef(null);
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const at = tabs.findIndex((tab) => tab.id === value);
    const to = event.key === "Home" ? 0 : event.key === "End" ? tabs.length - 1 : step ? (at + step + tabs.length) % tabs.length : -1;
    if (to < 0) return;
    event.preventDefault();
    onChange(tabs[to].id);
    row.current.children[to]?.focus();
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} ref=${row} onKeyDown=${move}>
    ${tabs.map((tab) => html`<button key=${tab.id} type="button" role="tab" class="tab" aria-selected=${String(tab.id === value)}
      tabindex=${tab.id === value ? 0 : -1} onClick=${() => onChange(tab.id)}>${tab.label}${tab.count ? html` <span class="tab-count">${tab.count}</span>` : null}</button>`)}
  </div>`;
}

/** A choice of a few, all seen at once. `options`: [{value, label, icon?}]. */
export function Segmented({ label, options, value, onChange, name }) {
  const group = useRef(name ?? "segmented-" + Math.random().toString(36).slice(2)).current;
  return html`<fieldset class="segmented">
    <legend class="field-label">${label}</legend>
    <div class="segmented-row">
      ${options.map((option) => html`<label key=${option.value} class="segment">
        <input type="radio" name=${group} checked=${option.value === value} onChange=${() => onChange(option.value)} />
        <span class="segment-face">${option.icon && html`<${Icon} name=${option.icon} size=${18} />`}${option.label}</span>
      </label>`)}
    </div>
  </fieldset>`;
}
