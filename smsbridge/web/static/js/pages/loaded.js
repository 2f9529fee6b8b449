/** What a part of a page says while it loads, when it could not, and when it may not. */
import { Banner, Button, Empty, Spinner } from "../kit/index.js";
import { html } from "../lib/preact.js";

/** `of` is what useLoad returned; `children` is a function of its data. */
export function Loaded({ of, label, children }) {
  if (of.error?.status === 403) return html`<${Empty} icon="lock" title="Not for you"><p>${of.error.message}</p><//>`;
  return html`${of.error && html`<${Banner} tone="bad" actions=${html`<${Button} kind="text" label="Try again" onClick=${of.again} />`}>${of.error.message}<//>`}
    ${of.loading && !of.data && html`<${Spinner} label=${label} />`}${of.data && children(of.data)}`;
}
