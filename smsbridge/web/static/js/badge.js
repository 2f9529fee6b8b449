/** Unread conversations in the title, on the favicon and on the icon of the installed app. */
import { shared } from "./state.js";

let shown = -1;
let base = document.title;

/** Show a count of unread conversations; 0 clears it. */
export function badge(unread) {
  if (unread === shown) return;
  shown = unread;
  write();
  const link = document.querySelector('link[rel="icon"]');
  if (link) link.href = unread ? drawn(unread) : "/static/icons/icon.svg";
  if (navigator.setAppBadge) (unread ? navigator.setAppBadge(unread) : navigator.clearAppBadge()).catch(() => {});
}

/** Follow the count, and put it before every title that a page sets. */
export function watchTitle() {
  shared.subscribe(({ unread }) => badge(unread));
  new MutationObserver(() => {
    const bare = document.title.replace(/^\(\d+\+?\) /, "");
    if (bare === base && document.title === prefixed()) return;
    base = bare;
    write();
  }).observe(document.querySelector("title"), { childList: true });
}

const prefixed = () => (shown > 0 ? `(${shown > 99 ? "99+" : shown}) ${base}` : base);

function write() {
  const title = prefixed();
  if (document.title !== title) document.title = title;
}

function drawn(unread) {
  const words = unread > 99 ? "99" : String(unread);
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><path d="M8 8h48v36H26L14 55V44H8z" fill="#1a56c4" stroke="#1a56c4" stroke-width="6" stroke-linejoin="round"/><circle cx="44" cy="44" r="20" fill="#b3261e"/><text x="44" y="52" font-family="sans-serif" font-size="${words.length > 1 ? 22 : 26}" font-weight="700" fill="#fff" text-anchor="middle">${words}</text></svg>`;
  return "data:image/svg+xml," + encodeURIComponent(svg);
}
