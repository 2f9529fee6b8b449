/** What is known of a line, in words; and its signal as bars. */
import { format } from "../kit/index.js";
import { html } from "../lib/preact.js";

/** Say a line's state, which the server tells in a few words: {tone: "good"|"bad"|"quiet", words}. */
export function stateOf({ enabled, up, state }) {
  if (!enabled) return { tone: "quiet", words: "Switched off by the operator" };
  const said = state ? state.charAt(0).toUpperCase() + state.slice(1) : "";
  if (up) return { tone: "good", words: said || "Ready" };
  return { tone: "bad", words: !said || /^(up|ready)$/i.test(said) ? "Not heard of" : said };
}

const STRENGTHS = ["no signal", "weak", "fair", "good", "strong"];

/** Four bars, some of them full; nothing for a line without a radio. */
export function Signal({ bars, dbm }) {
  if (bars === null || bars === undefined) return null;
  const words = `Signal ${STRENGTHS[bars] ?? bars}${dbm === null || dbm === undefined ? "" : `, ${dbm} dBm`}`;
  return html`<span class="signal" role="img" aria-label=${words} title=${words}>
    <svg viewBox="0 0 20 16" width="25" height="20" aria-hidden="true">
      ${[0, 1, 2, 3].map((at) => html`<rect key=${at} x=${at * 5 + 0.5} y=${11 - at * 3.5} width="3.5" height=${4.5 + at * 3.5} rx="1" class=${at < bars ? "bar-on" : "bar-off"} />`)}
    </svg></span>`;
}

/** "just now", "5 min ago", then the time or date. */
export function seen(iso) {
  if (!iso) return "never";
  const minutes = Math.floor((Date.now() - new Date(iso).getTime()) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  return format.when(iso, { short: true });
}
