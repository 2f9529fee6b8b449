import { html } from "../lib/preact.js";
import { Page, Empty } from "../kit/index.js";
export function InboxPage() {
  return html`<${Page} title="Messages"><${Empty} title="Being built" /><//>`;
}
