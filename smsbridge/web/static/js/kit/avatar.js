/** The round picture of a party: initials on a color that stays the same for the same name. */
import { html } from "../lib/preact.js";
import { Icon } from "./icons.js";

const COLORS = 10; // .avatar-0 .. .avatar-9 in kit.css

/** Draw the avatar of a name or number; groups and bare numbers get a figure. */
export function Avatar({ name = "", number = "", group = false, small = false, large = false }) {
  const initials = group ? "" : initialsOf(name);
  const color = hash(number || name) % COLORS;
  return html`<span class=${`avatar avatar-${color} ${small ? "avatar-small" : ""} ${large ? "avatar-large" : ""}`} aria-hidden="true">
    ${initials || html`<${Icon} name=${group ? "group" : "contacts"} size=${small ? 16 : 22} />`}
  </span>`;
}

/** Return one or two letters of a name; "" for a number or nothing. */
export function initialsOf(name) {
  const words = name.trim().split(/[\s._-]+/u).filter((word) => /^\p{L}/u.test(word));
  if (!words.length) return "";
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return letters.map((word) => [...word][0].toLocaleUpperCase()).join("");
}

function hash(text) {
  let value = 7;
  for (const letter of text) value = (value * 31 + letter.codePointAt(0)) >>> 0;
  return value;
}
