/** Blocking numbers, for every page that offers it; the list of blocked ones is in the settings. */
import { del, request } from "../api.js";
import { toast } from "../kit/index.js";
import { shared } from "../state.js";

// Pages that show names or blocks load them again.
const tell = () => shared.set((now) => ({ contacts_version: now.contacts_version + 1 }));

/** Block numbers at once and offer to undo it; `name` is what the note says. */
export async function block(numbers, name) {
  const blocked = [];
  try {
    for (const number of numbers) {
      await request("PUT", "/blocks/" + encodeURIComponent(number));
      blocked.push(number);
    }
  } catch (error) {
    toast(error.message, { tone: "bad" });
  }
  if (!blocked.length) return;
  tell();
  toast(`${name} is blocked.`, { action: "Undo", onAction: () => unblock(blocked, name) });
}

/** Let texts of these numbers through again. */
export async function unblock(numbers, name) {
  try {
    for (const number of numbers) await del("/blocks/" + encodeURIComponent(number));
    toast(`Texts from ${name} reach you again.`, { tone: "good" });
  } catch (error) {
    toast(error.message, { tone: "bad" });
  }
  tell();
}
