/** Test mode: shows exactly what would be sent, and sends nothing. */
import { html } from "../lib/preact.js";
import { Banner, Button, Dialog, format } from "../kit/index.js";
import { Attachments } from "./media.js";

const KINDS = { sms: "SMS", mms: "MMS", link: "SMS with links to the files", internal: "within this bridge, over no line" };

/** A dialog with the server's preview ({attributes} of type "preview"). */
export function PreviewDialog({ preview, onClose, onSend, scheduled_at }) {
  const { line, from, recipients, parts, texts, encoding, characters, as, body, media = [], warnings = [] } = preview;
  const first = recipients[0] ?? {};
  const rows = [
    ["To", recipients.map((one) => (one.name && one.number ? `${one.name}, ${format.number(one.number)}` : format.name(one))).join(" · ")],
    ["From", as === "internal" ? "you" : `${format.number(from)}${line ? `, line ${line}` : ""}`],
    ["As", KINDS[as] ?? as],
    as !== "mms" && as !== "internal" && ["Length", `${format.count(characters, "character", "characters")}, ${encoding === "gsm" ? "GSM alphabet" : "Unicode"}, ${format.count(parts, "text", "texts")}${recipients.length > 1 ? ` for each, ${texts} in all` : ""}`],
    scheduled_at && ["When", format.when(scheduled_at)],
  ].filter(Boolean);
  return html`<${Dialog} title="What would be sent" onClose=${onClose} actions=${html`
      <${Button} kind="text" label="Back to the text" onClick=${onClose} /><${Button} kind="filled" icon="send" label="Send it now" onClick=${onSend} />`}>
    <p class="details-small">This is a test. Nothing has been sent.</p>
    ${warnings.map((words) => html`<${Banner} tone="warn">${words}<//>`)}
    <dl class="details-table">${rows.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
    <div class="preview-bubble"><div class="bubble">
      ${media.length > 0 && html`<${Attachments} message=${{ attributes: { media } }} on=${() => {}} />`}
      ${body && html`<span class="bubble-text" dir="auto">${body}</span>`}
      ${!body && !media.length && html`<em>nothing</em>`}
    </div></div>
    ${first.number && recipients.length > 1 && html`<p class="details-small">Each of the ${recipients.length} gets this.</p>`}
  <//>`;
}
