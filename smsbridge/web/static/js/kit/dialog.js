/** Dialogs over the page: the browser's own <dialog>, so that focus, Esc and what lies behind are right. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib/preact.js";
import { createStore, useStore } from "../state.js";
import { Button, IconButton } from "./button.js";
import { Field } from "./field.js";

let count = 0;

/**
 * A modal dialog, open as long as it is mounted.
 * @param {{title: string, onClose?: () => void, actions?: any, wide?: boolean, class?: string, children?: any}} props
 *   without onClose it cannot be closed by the reader
 */
export function Dialog({ title, onClose, actions, wide = false, class: extra = "", children, onSubmit }) {
  const box = useRef(null);
  const id = useRef(null);
  id.current ??= "dialog-" + ++count;
  useLayoutEffect(() => {
    const dialog = box.current;
    const before = document.activeElement;
    dialog.showModal();
    dialog.querySelector("[autofocus]")?.focus();
    // Words alone that do not fit are scrolled by keyboard only when they take the focus.
    const body = dialog.querySelector(".dialog-body");
    if (body.scrollHeight > body.clientHeight && !body.querySelector("a, button, input, select, textarea")) body.tabIndex = 0;
    return () => {
      if (dialog.open) dialog.close();
      // Preact may have removed the element already: give the focus back ourselves.
      if (before?.isConnected) before.focus({ preventScroll: true });
    };
  }, []);
  const body = html`<div class="dialog-body">${children}</div>
    ${actions && html`<footer class="dialog-actions">${actions}</footer>`}`;
  return html`<dialog ref=${box} class=${`dialog ${wide ? "dialog-wide" : ""} ${extra}`} aria-labelledby=${id.current}
    onCancel=${(event) => { event.preventDefault(); onClose?.(); }}
    onMouseDown=${(event) => event.target === box.current && onClose?.()}
    onKeyDown=${(event) => event.key !== "Escape" && event.stopPropagation()}>
    <div class="dialog-frame">
      <header class="dialog-header"><h2 id=${id.current}>${title}</h2>
        ${onClose && html`<${IconButton} icon="close" label="Close" onClick=${onClose} />`}</header>
      ${onSubmit
        ? html`<form class="dialog-form" onSubmit=${(event) => { event.preventDefault(); onSubmit(event); }}>${body}</form>`
        : body}
    </div>
  </dialog>`;
}

const asked = createStore({ question: null });

/** Ask yes or no. */
export function confirm({ title, text, action = "OK", danger = false }) {
  return new Promise((resolve) => asked.set({ question: { title, text, action, danger, resolve } }));
}

/** Ask for one line of text; null when the reader thinks better of it. */
export function ask({ title, label, value = "", action = "OK", type = "text", hint }) {
  return new Promise((resolve) => asked.set({ question: { title, label, value, action, type, hint, resolve, wants: true } }));
}

/** Shows what `confirm` and `ask` ask; mounted once by the app. */
export function DialogHost() {
  const question = useStore(asked, (value) => value.question);
  return question && html`<${Question} key=${question} question=${question} />`;
}

function Question({ question }) {
  const [value, setValue] = useState(question.value ?? "");
  const done = (answer) => {
    asked.set({ question: null });
    question.resolve(answer);
  };
  useEffect(() => setValue(question.value ?? ""), [question]);
  const no = question.wants ? null : false;
  return html`<${Dialog} title=${question.title} onClose=${() => done(no)} onSubmit=${() => done(question.wants ? value : true)}
    actions=${html`<${Button} kind="text" label="Cancel" onClick=${() => done(no)} />
      <${Button} kind=${question.danger ? "danger" : "filled"} type="submit" label=${question.action} autofocus=${!question.wants} />`}>
    ${question.text && html`<p>${question.text}</p>`}
    ${question.wants && html`<${Field} label=${question.label} hint=${question.hint} type=${question.type} value=${value} onInput=${setValue} autofocus />`}
  <//>`;
}
