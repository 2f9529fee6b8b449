/** Numbers, times and sizes as people read them; times in the reader's zone and language. */
import { session } from "../state.js";

/** Show an E.164 number: national in our own country, grouped abroad; names pass unchanged. */
export function number(e164) {
  const match = /^\+(\d{7,15})$/.exec(e164 ?? "");
  if (!match) return e164 ?? "";
  const digits = match[1];
  if (digits.length === 11 && digits[0] === "1") {
    const [area, office, rest] = [digits.slice(1, 4), digits.slice(4, 7), digits.slice(7)];
    const home = ["US", "CA"].includes(session.get().me?.country ?? "US");
    return home ? `(${area}) ${office}-${rest}` : `+1 ${area} ${office} ${rest}`;
  }
  const code = digits.startsWith("7") ? 1 : TWO_DIGITS.has(digits.slice(0, 2)) ? 2 : 3;
  const local = digits.slice(code);
  const groups = local.length <= 4 ? [local] : local.length <= 8 ? [local.slice(0, -4), local.slice(-4)] : [local.slice(0, -6), local.slice(-6, -3), local.slice(-3)];
  return `+${digits.slice(0, code)} ${groups.join(" ")}`;
}

// ITU-T E.164, assigned country codes of two digits.
const TWO_DIGITS = new Set(
  "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98".split(" "),
);

/** Name a party {name, number, person}. */
export const name = (party) => party?.name || party?.person || number(party?.number ?? "");

const made = new Map();

function formatter(options) {
  const key = JSON.stringify(options);
  if (!made.has(key)) made.set(key, new Intl.DateTimeFormat(undefined, options));
  return made.get(key);
}

const CLOCK = { hour: "numeric", minute: "2-digit" };

/** "14:05" or "2:05 PM". */
export const clock = (iso) => (iso ? formatter(CLOCK).format(new Date(iso)) : "");

/** Return how many days ago a time is, by the calendar. */
function daysAgo(date, now) {
  const midnight = (value) => new Date(value.getFullYear(), value.getMonth(), value.getDate()).getTime();
  return Math.round((midnight(now) - midnight(date)) / 86_400_000);
}

/** A key that is the same for all times of one day in the reader's zone. */
export function dayKey(iso) {
  const date = new Date(iso);
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}

/** "Today", "Yesterday", "Monday", "March 3", "March 3, 2024". */
export function day(iso, now = new Date()) {
  const date = new Date(iso);
  const days = daysAgo(date, now);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days > 1 && days < 7) return formatter({ weekday: "long" }).format(date);
  const year = date.getFullYear() === now.getFullYear() ? {} : { year: "numeric" };
  return formatter({ month: "long", day: "numeric", ...year }).format(date);
}

/** For lists: the clock today, then the weekday, then the date. */
export function ago(iso, now = new Date()) {
  if (!iso) return "";
  const date = new Date(iso);
  const days = daysAgo(date, now);
  if (days === 0) return clock(iso);
  if (days === 1) return "Yesterday";
  if (days > 1 && days < 7) return formatter({ weekday: "short" }).format(date);
  if (date.getFullYear() === now.getFullYear()) return formatter({ month: "short", day: "numeric" }).format(date);
  return formatter({ year: "numeric", month: "numeric", day: "numeric" }).format(date);
}

/** In full: "Friday, March 3, 2026 at 2:05 PM"; short form "Mar 3, 2:05 PM". */
export function when(iso, { short = false } = {}) {
  if (!iso) return "";
  const date = new Date(iso);
  return short
    ? formatter({ month: "short", day: "numeric", ...CLOCK }).format(date)
    : formatter({ dateStyle: "full", timeStyle: "medium" }).format(date);
}

/** "310 kB", "3.4 MB" (powers of 1000). */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  const [value, unit] = bytes < 999_500 ? [bytes / 1e3, "kB"] : bytes < 999_500_000 ? [bytes / 1e6, "MB"] : [bytes / 1e9, "GB"];
  return `${value < 10 ? value.toFixed(1).replace(/\.0$/, "") : Math.round(value)} ${unit}`;
}

/** "0:42", "1:02:03" of seconds. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (value) => String(value).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** "1 text", "3 texts". */
export const count = (amount, one, many) => `${amount.toLocaleString()} ${amount === 1 ? one : many}`;
