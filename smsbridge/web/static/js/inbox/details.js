/** What became of a message, in plain words: its way, step by step, to everyone it went to. */
import { html } from "../lib/preact.js";
import { Dialog, format, Icon, Spinner, useLoad } from "../kit/index.js";
import { linesOf } from "../state.js";
import { traced } from "./messages.js";
import { STATUS } from "./words.js";

const HEADLINE = {
  queued: "It waits for its turn on the line.",
  sending: "It is on its way to the network.",
  sent: "The network has it. Whether the phone has it is not known yet.",
  delivered: "The phone has it.",
  failed: "It did not go out.",
  expired: "It waited too long and was given up.",
  uncertain: "It may or may not have gone out.",
  dropped: "It was taken back.",
  scheduled: "It waits for its time.",
  received: "It came in.",
};

/** A dialog with a message's details; loads the history that lists leave out. */
export function Details({ message, onClose }) {
  const { data, error, loading } = useLoad((signal) => traced(message.id, signal), [message.id]);
  const { direction, from, to, line, created_at, network_at, scheduled_at, status, person, is_mms, body, detail, deliveries = [], media = [] } = (data ?? message).attributes;
  const ours = linesOf().find((one) => one.label === line);
  const rows = [
    ["From", format.number(from)],
    ["To", to.map((one) => format.number(one)).join(", ")],
    line && ["Line", ours?.number ? `${line}, ${format.number(ours.number)}` : line],
    person && direction !== "inbound" && ["Written by", person],
    ["Kind", direction === "internal" ? "Between persons of this bridge, over no line" : is_mms ? "MMS" : "SMS"],
    [direction === "inbound" ? "Came in" : "Written", format.when(created_at)],
    network_at && network_at !== created_at && ["The network had it", format.when(network_at)],
    scheduled_at && ["Goes out", format.when(scheduled_at)],
    body && ["Length", format.count([...body].length, "character", "characters")],
    media.length && ["Attached", media.map((one) => `${one.name || one.content_type} (${format.size(one.size)})`).join(", ")],
  ].filter(Boolean);
  return html`<${Dialog} title="Details" onClose=${onClose}>
    <p class="details-head">${HEADLINE[status] ?? status}${detail ? html` <strong>${detail}</strong>` : null}</p>
    <dl class="details-table">${rows.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
    ${deliveries.map((one) => html`<section class="details-way" key=${one.id}>
      <h3>To ${format.number(one.to)}${one.person ? ` (${one.person})` : ""}</h3>
      <ol class="steps">${(one.history ?? [{ at: null, status: one.status, text: one.detail, attempt: one.attempts }]).map((step) => html`<li class=${"step step-" + step.status}>
        <span class="step-icon"><${Icon} name=${STATUS[step.status]?.icon ?? "info"} size=${18} /></span>
        <span class="step-words"><span>${STATUS[step.status]?.words ?? step.status}${step.attempt > 1 ? `, attempt ${step.attempt}` : ""}</span>
          ${(step.text || step.reason) && html`<span class="step-text">${step.text || step.reason}</span>`}</span>
        ${step.at && html`<time datetime=${step.at}>${format.when(step.at, { short: true })}</time>`}
      </li>`)}</ol>
      <p class="details-small">Over ${one.gateway}${one.remote_id ? html`, there known as <code>${one.remote_id}</code>` : null}</p>
    </section>`)}
    ${loading && html`<${Spinner} label="Loading its way" />`}
    ${error && html`<p class="field-error"><${Icon} name="alert" size=${16} /> ${error.message}</p>`}
    <p class="details-small">Message <code>${message.id}</code></p>
  <//>`;
}
