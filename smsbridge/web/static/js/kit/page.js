/** The frame of a page, and what it says while it loads, when it is empty, or when something is wrong. */
import { html, useEffect, useRef } from "../lib/preact.js";
import { IconButton } from "./button.js";
import { Icon } from "./icons.js";

/** Header and scrolling body; `back` is an address shown as an arrow on narrow screens (or always with `back_always`). */
export function Page({ title, subtitle, actions, back, back_always = false, children, class: extra = "" }) {
  const heading = useRef(null);
  useEffect(() => {
    document.title = `${title} - smsbridge`;
  }, [title]);
  return html`<div class=${"page " + extra}>
    <header class="page-header">
      ${back && html`<${IconButton} class=${back_always ? "" : "narrow-only"} icon="back" label="Back" onClick=${() => { location.hash = back; }} />`}
      <div class="page-titles"><h1 ref=${heading} tabindex="-1">${title}</h1>${subtitle && html`<p class="page-subtitle">${subtitle}</p>`}</div>
      <div class="page-actions">${actions}</div>
    </header>
    <div class="page-body" tabindex="-1">${children}</div>
  </div>`;
}

/** A place with nothing yet, that says what to do. */
export function Empty({ icon = "messages", title, children }) {
  return html`<div class="empty"><span class="empty-icon"><${Icon} name=${icon} size=${40} /></span>
    <h2>${title}</h2><div class="empty-text">${children}</div></div>`;
}

/** A wheel that says what it waits for; it appears after a moment only. */
export function Spinner({ label = "Loading" }) {
  return html`<div class="loading" role="status"><span class="spinner" aria-hidden="true"></span><span class="loading-text">${label}…</span></div>`;
}

/** How far something is (0 to 1); null when nobody knows. */
export function Progress({ value = null, label }) {
  return html`<progress class="progress" aria-label=${label} max="1" value=${value === null ? undefined : value}></progress>`;
}

/** An amount against its limit. */
export function Meter({ value, max, label }) {
  const share = max ? Math.min(1, value / max) : 0;
  return html`<progress class=${"progress " + (share >= 0.9 ? "progress-full" : "")} aria-label=${label} max="1" value=${share}></progress>`;
}

/** A strip above the content: what is wrong or worth knowing, with what to do. */
export function Banner({ tone = "info", icon, children, actions }) {
  return html`<div class=${"banner banner-" + tone} role=${tone === "bad" ? "alert" : "status"}>
    <${Icon} name=${icon ?? (tone === "info" ? "info" : "alert")} size=${20} /><div class="banner-text">${children}</div>${actions}
  </div>`;
}
