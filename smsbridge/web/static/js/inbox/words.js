/** What a message is in words: its status, its preview in a list, its sender. */
import { format } from "../kit/index.js";

/** status -> its icon and words; what is `wrong` is drawn so, what may be sent `again` says it. */
export const STATUS = {
  scheduled: { icon: "schedule", words: "Scheduled" },
  queued: { icon: "clock", words: "Waiting" },
  sending: { icon: "clock", words: "Sending" },
  sent: { icon: "check", words: "Sent" },
  delivered: { icon: "check_double", words: "Delivered" },
  failed: { icon: "alert", words: "Not sent", wrong: true, again: true },
  expired: { icon: "alert", words: "Not sent in time", wrong: true, again: true },
  uncertain: { icon: "alert", words: "May not have been sent", wrong: true, again: true },
  dropped: { icon: "block", words: "Canceled", again: true },
  received: { icon: "check", words: "Received" },
};

/** Name a conversation: names where we know them, numbers as people write them. */
export const titleOf = (one) => one.attributes.parties.map(format.name).join(", ") || one.attributes.title;

/** Tell whether a message is our side's (drawn at the right). */
export const isOwn = (message, me) => {
  const { direction, person } = message.attributes;
  return direction === "outbound" || (direction === "internal" && (person === "" || person === me));
};

/** Name who wrote an inbound message of a group. */
export function sender(message, parties) {
  const { from, person } = message.attributes;
  const party = parties.find((one) => (one.number && one.number === from) || (one.person && (one.person === from || one.person === person)));
  return party ? format.name(party) : format.number(from) || person;
}

/** Return the text without the links to those of its files that are shown beside it. */
export function textOf({ body, media }) {
  const links = (media ?? []).map((one) => one.in_text).filter(Boolean);
  return links.length ? links.reduce((rest, one) => rest.replace(one, ""), body ?? "").trim() : (body ?? "");
}

/** Say what a message is in one line: its text, or what is attached. */
export function summary(attributes) {
  const text = textOf(attributes).replace(/\s+/g, " ").trim();
  if (text) return text;
  const media = attributes.media ?? [];
  if (!media.length) return "";
  const kinds = { image: ["Picture", "pictures"], audio: ["Recording", "recordings"], video: ["Video", "videos"] };
  const kind = media[0].content_type.split("/")[0];
  const same = media.every((one) => one.content_type.split("/")[0] === kind);
  if (!same || !kinds[kind]) return media.length === 1 ? media[0].name || "File" : `${media.length} files`;
  return media.length === 1 ? kinds[kind][0] : `${media.length} ${kinds[kind][1]}`;
}

/** Icon of what is attached, for lists. */
export function summaryIcon(attributes) {
  if (textOf(attributes).trim() || !attributes.media?.length) return "";
  return { image: "image", audio: "music", video: "video" }[attributes.media[0].content_type.split("/")[0]] ?? "file";
}

/** Return an address on our own origin for a media link (public_url may name another host). */
export function local(url) {
  if (!url) return "";
  try {
    const parsed = new URL(url, location.origin);
    return parsed.pathname.startsWith("/media/") ? parsed.pathname + parsed.search : "";
  } catch {
    return "";
  }
}

const LINK = /https?:\/\/[^\s<>"'`]+[^\s<>"'`.,:;!?)\]}…]|(?<![\w+@./-])\+?\(?\d[\d\s().-]{5,18}\d(?![\w@/-])/giu;

/**
 * Cut a text into plain pieces, links (http and https only) and telephone numbers.
 * @returns {({text: string, href?: string, number?: string})[]}
 */
export function pieces(text) {
  const found = [];
  let from = 0;
  for (const match of text.matchAll(LINK)) {
    let piece = match[0];
    const extra = {};
    if (/^https?:/i.test(piece)) {
      // A bracket that the address itself opened belongs to it: "(see http://a/b_(c))".
      if (text[match.index + piece.length] === ")" && piece.split("(").length > piece.split(")").length) piece += ")";
      try {
        extra.href = new URL(piece).href;
      } catch {
        continue;
      }
    } else {
      const digits = piece.replace(/\D/g, "");
      if (digits.length < 7 || digits.length > 15 || /^\d{4}-\d\d-\d\d$/.test(piece)) continue;
      if (!piece.startsWith("+") && digits.length < 10) continue;
      extra.number = (piece.startsWith("+") ? "+" : "") + digits;
    }
    if (match.index > from) found.push({ text: text.slice(from, match.index) });
    found.push({ text: piece, ...extra });
    from = match.index + piece.length;
  }
  if (from < text.length) found.push({ text: text.slice(from) });
  return found;
}

/** Tell whether a text is up to three emoji and nothing else (drawn large). */
export function isEmojiOnly(text) {
  const bare = text.trim();
  if (!bare || bare.length > 40 || /[\d#*]/.test(bare)) return false;
  if (!/^[\p{Extended_Pictographic}\p{Emoji_Component}\s]+$/u.test(bare) || !/\p{Extended_Pictographic}|\p{Regional_Indicator}/u.test(bare)) return false;
  return [...new Intl.Segmenter().segment(bare.replace(/\s/g, ""))].length <= 3;
}
