/** Short notes at the edge of the page, and what only screen readers hear. */
import { html, useEffect, useRef } from "../lib/preact.js";
import { createStore, useStore } from "../state.js";
import { Icon } from "./icons.js";

const notes = createStore({ toasts: [], said: "", turn: 0 });
let count = 0;

/**
 * Show a note; it goes by itself, later when it has an action or the reader is at it.
 * @param {string} text
 * @param {{action?: string, onAction?: () => void, tone?: "info"|"good"|"bad", ms?: number}} [options]
 * @returns {() => void} takes it away
 */
export function toast(text, { action, onAction, tone = "info", ms } = {}) {
  const id = ++count;
  const close = () => notes.set((now) => ({ toasts: now.toasts.filter((note) => note.id !== id) }));
  const note = { id, text, action, onAction, tone, close, ms: ms ?? (action ? 10_000 : tone === "bad" ? 8_000 : 5_000) };
  notes.set((now) => ({ toasts: [...now.toasts.slice(-2), note] }));
  return close;
}

/** Say something to screen readers alone. */
export function announce(text) {
  // The same words twice are a change only with a difference: turn by turn in one of two regions.
  notes.set((now) => ({ said: text, turn: now.turn + 1 }));
}

/** Shows the notes; mounted once by the app. */
export function ToastHost() {
  const { toasts, said, turn } = useStore(notes);
  const host = useRef(null);
  useEffect(() => {
    const jump = (event) => {
      if (event.key === "F6" && host.current?.querySelector("button")) {
        event.preventDefault();
        host.current.querySelector("button").focus();
      }
    };
    addEventListener("keydown", jump);
    return () => removeEventListener("keydown", jump);
  }, []);
  useEffect(() => {
    // Above an open dialog: the top layer is a stack, so the newest note lifts the host again.
    const element = host.current;
    if (!element?.showPopover) return;
    if (element.matches(":popover-open")) element.hidePopover();
    if (toasts.length) element.showPopover();
  }, [toasts]);
  return html`<div>
    <div ref=${host} class="toasts" popover="manual" role="region" aria-label="Notes">
      ${toasts.map((note) => html`<${Toast} key=${note.id} note=${note} />`)}
    </div>
    <div class="unseen" role="status" aria-live="polite">${turn % 2 ? said : ""}</div>
    <div class="unseen" role="status" aria-live="polite">${turn % 2 ? "" : said}</div>
  </div>`;
}

function Toast({ note }) {
  const held = useRef(false);
  useEffect(() => {
    let left = note.ms;
    const timer = setInterval(() => {
      if (!held.current && (left -= 250) <= 0) note.close();
    }, 250);
    return () => clearInterval(timer);
  }, [note]);
  const hold = (yes) => () => { held.current = yes; };
  return html`<div class=${"toast toast-" + note.tone} role=${note.tone === "bad" ? "alert" : "status"}
    onMouseEnter=${hold(true)} onMouseLeave=${hold(false)} onFocusIn=${hold(true)} onFocusOut=${hold(false)}>
    ${note.tone === "bad" && html`<${Icon} name="alert" size=${20} />`}
    <span class="toast-text">${note.text}</span>
    ${note.action && html`<button type="button" class="toast-action" onClick=${() => { note.close(); note.onAction?.(); }}>${note.action}</button>`}
    <button type="button" class="toast-close" aria-label="Dismiss" onClick=${note.close}><${Icon} name="close" size=${18} /></button>
  </div>`;
}
