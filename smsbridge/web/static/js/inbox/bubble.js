/** One message as a bubble: its text with links, what is attached, its time and status, what can be done. */
import { Component, html } from "../lib/preact.js";
import { format, Icon, IconButton } from "../kit/index.js";
import { link } from "../router.js";
import { Attachments } from "./media.js";
import { isEmojiOnly, pieces, STATUS, textOf } from "./words.js";

/**
 * props: message, own, first, last (of its group), name (who, "" for none), writer (colleague on a
 * shared line), found (jumped to), on(action, message, event). Draws again only when one of them changes.
 */
export class Bubble extends Component {
  shouldComponentUpdate(next) {
    for (const key in next) if (next[key] !== this.props[key]) return true;
    return false;
  }

  render({ message, own, first, last, name, writer, found, focusable, on }) {
    const { media, status, created_at, scheduled_at } = message.attributes;
    const body = textOf(message.attributes);
    const look = STATUS[status] ?? STATUS.sent;
    const wrong = own && look.wrong;
    const again = own && look.again;
    const waits = own && ["queued", "sending", "scheduled"].includes(status);
    const large = !media?.length && isEmojiOnly(body ?? "");
    const time = format.clock(created_at);
    const foot = last || again || waits;
    const menu = (event) => {
      event.preventDefault();
      on("menu", message, event.type === "contextmenu" && event.clientX ? { x: event.clientX, y: event.clientY } : event.currentTarget);
    };
    // Long presses: Safari on iOS tells nobody about them.
    const press = (event) => {
      const target = event.currentTarget;
      const { clientX: x, clientY: y } = event.touches[0];
      clearTimeout(this.pressed);
      this.pressed = setTimeout(() => on("menu", message, { x, y, target }), 550);
    };
    const lift = () => clearTimeout(this.pressed);
    return html`<li class=${`bubble-row ${own ? "own" : "theirs"} ${first ? "first" : ""} ${last ? "last" : ""} ${found ? "found-bubble" : ""}`}
      id=${"m-" + message.id} data-id=${message.id}>
      ${name && html`<span class="bubble-name">${name}</span>`}
      <div class="bubble-line">
        <div class=${`bubble ${large ? "bubble-large" : ""} ${media?.length && !body ? "bubble-bare" : ""} ${wrong ? "bubble-wrong" : ""} ${status === "scheduled" ? "bubble-later" : ""} ${own && status === "dropped" ? "bubble-back" : ""}`}
          tabindex=${focusable ? 0 : -1} onContextMenu=${(event) => (lift(), menu(event))} onTouchStart=${press} onTouchMove=${lift} onTouchEnd=${lift} onTouchCancel=${lift} title=${format.when(created_at)}
          onKeyDown=${(event) => event.target === event.currentTarget && event.key === "Enter" && menu(event)}>
          <span class="unseen">${own ? (writer ? writer + " wrote" : "You") : name || "They"}${own ? "" : " wrote"}, ${time}: </span>
          ${media?.length ? html`<${Attachments} message=${message} on=${on} />` : null}
          ${body ? html`<span class="bubble-text" dir="auto"><${Text} text=${body} /></span>` : null}
        </div>
        <${IconButton} class="bubble-more" icon="more" size=${20} label="What to do with this text" tabindex="-1" aria-haspopup="menu" onClick=${menu} />
      </div>
      ${foot && html`<div class=${"bubble-foot " + (wrong ? "foot-wrong" : "")}>
        ${writer && html`<span>${writer}</span>`}
        <time datetime=${created_at}>${status === "scheduled" && scheduled_at ? "Goes out " + format.when(scheduled_at, { short: true }) : time}</time>
        ${own && html`<span class="foot-status"><${Icon} name=${look.icon} size=${16} /><span class=${again || waits ? "" : "unseen"}>${look.words}</span></span>`}
      </div>`}
      ${again && html`<div class="bubble-why">
        <p>${status === "dropped" ? "" : why(message)}</p>
        <button type="button" class="link-button" onClick=${() => on("retry", message)}>Send again</button>
      </div>`}
      ${status === "scheduled" && html`<div class="bubble-why bubble-plan">
        <button type="button" class="link-button" onClick=${() => on("cancel", message)}>Cancel</button>
      </div>`}
    </li>`;
  }
}

function why({ attributes: { status, detail, deliveries = [] } }) {
  if (detail) return detail;
  const told = deliveries.find((one) => one.detail)?.detail;
  if (told) return told;
  return {
    failed: "The line could not send it.",
    expired: "It waited too long for the line.",
    uncertain: "The connection broke while it was sent. Look on the other side before you send it again.",
  }[status] ?? "";
}

/** A text with its links and numbers. */
export function Text({ text }) {
  return pieces(text).map((piece) => {
    if (piece.href) return html`<a href=${piece.href} target="_blank" rel="noopener noreferrer">${piece.text}</a>`;
    if (piece.number) return html`<a href=${link(["new"], { to: piece.number })} title="Text this number">${piece.text}</a>`;
    return piece.text;
  });
}

/** A text that waits in this browser for the server. `entry`: see outbox.js. */
export function WaitingBubble({ entry, onEdit, onDiscard, onAgain }) {
  const { body, scheduled_at } = entry.attributes;
  const wrong = entry.state === "refused";
  const words = wrong ? "Not sent" : entry.state === "waiting" ? "Waiting" : "Sending";
  return html`<li class="bubble-row own first last" data-id=${entry.key}>
    <div class="bubble-line"><div class=${"bubble bubble-waiting " + (wrong ? "bubble-wrong" : "")}>
      ${entry.media?.length ? html`<p class="bubble-files"><${Icon} name="attach" size=${18} /> ${entry.media.map((one) => one.name).join(", ")}</p>` : null}
      ${body && html`<span class="bubble-text" dir="auto"><${Text} text=${body} /></span>`}
    </div></div>
    <div class=${"bubble-foot " + (wrong ? "foot-wrong" : "")}><time>${format.clock(entry.at)}</time>
      <span class="foot-status"><${Icon} name=${wrong ? "alert" : "clock"} size=${16} /><span>${words}${scheduled_at && !wrong ? ", for later" : ""}</span></span></div>
    ${entry.state !== "sending" && html`<div class="bubble-why"><p>${entry.error}</p>
      ${wrong && html`<button type="button" class="link-button" onClick=${() => onEdit(entry)}>Edit</button>`}
      <button type="button" class="link-button" onClick=${() => onAgain(entry)}>${wrong ? "Send again" : "Try now"}</button>
      <button type="button" class="link-button" onClick=${() => onDiscard(entry)}>Discard</button></div>`}
  </li>`;
}

