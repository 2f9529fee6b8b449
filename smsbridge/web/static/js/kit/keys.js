/** Keys of the page: not while somebody types, not while a dialog or menu is open. */
import { useEffect, useRef } from "../lib/preact.js";

/** What the help dialog shows: [keys, what they do]. */
export const keysShown = [
  ["/", "Search everything"],
  ["n", "New text"],
  ["↑ ↓", "Move in the list or the thread"],
  ["Enter", "Open the conversation; in the text field: send"],
  ["Shift + Enter", "New line in the text field"],
  ["Esc", "Back, or close what is open"],
  ["e", "Archive the open conversation"],
  ["m", "Mute or unmute the open conversation"],
  ["u", "Mark the open conversation unread"],
  ["c", "Write in the open conversation"],
  ["End", "Jump to the newest text"],
  ["F6", "Go to a note such as “Undo”"],
  ["?", "Show these keys"],
];

/**
 * Listen to keys while the component is mounted.
 * @param {Object<string, (event: KeyboardEvent) => void>} map by `event.key`, "mod+k" with Ctrl or Cmd;
 *   the one mounted last is asked first, and a handler that returns false passes the key on
 */
export function useKeys(map) {
  const current = useRef(map);
  current.current = map;
  useEffect(() => {
    stack.unshift(current);
    return () => stack.splice(stack.indexOf(current), 1);
  }, []);
}

const stack = [];

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || event.altKey) return;
  if (document.querySelector("dialog[open], .menu")) return;
  const typing = event.target instanceof Element && event.target.closest("input, textarea, select, [contenteditable=true]");
  const mod = event.ctrlKey || event.metaKey;
  if (typing && !mod && event.key !== "Escape") return;
  const key = mod ? "mod+" + event.key.toLowerCase() : event.key;
  for (const map of stack) {
    const found = map.current[key];
    if (found && found(event) !== false) {
      event.preventDefault();
      return;
    }
  }
});
