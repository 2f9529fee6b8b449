/** Tells about new texts when nobody looks: a notification of the browser, and a sound for those who want one. */
import { format } from "../kit/index.js";
import { on } from "../live.js";
import { go } from "../router.js";
import { session, settings } from "../state.js";
import { book, conversation } from "./conversations.js";
import { sender, summary, titleOf } from "./words.js";

let watching = false;

/** Start to tell; once for the page. */
export function watchNews() {
  if (watching) return;
  watching = true;
  on("message", (message) => {
    const { attributes } = message ?? {};
    if (!attributes || !fromOthers(attributes)) return;
    // A change of an old message is no news; neither is what came while the stream was away for long.
    if (Date.now() - Date.parse(attributes.created_at) > 5 * 60_000 || told.has(message.id)) return;
    told.add(message.id);
    if (told.size > 500) told.delete(told.values().next().value);
    once(message);
  });
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const lookedAt = () => document.visibilityState === "visible" && document.hasFocus();

/** All tabs hear of a text; the one that is looked at deals with it, else one of the hidden ones. */
async function once(message) {
  if (!navigator.locks) return tell(message);
  if (!lookedAt()) await pause(150);
  return navigator.locks.request("smsbridge.news." + message.id, { ifAvailable: true }, async (lock) => {
    if (!lock) return;
    await tell(message);
    await pause(2000); // until the slowest tab has asked
  });
}

const told = new Set();

const fromOthers = ({ direction, person }) => direction === "inbound" || (direction === "internal" && person !== session.get().me?.person);

async function tell(message) {
  const { conversation: id } = message.attributes;
  const open = location.hash.startsWith("#/c/" + encodeURIComponent(id));
  if (open && lookedAt()) return;
  let one;
  try {
    one = book.get().byId[id] ?? (await conversation(id));
  } catch {
    return; // not for us, or gone
  }
  if (one.attributes.muted || one.attributes.blocked) return;
  if (settings.get().sound) beep();
  if (lookedAt()) return;
  await notify(message, one);
}

async function notify(message, one) {
  if (!settings.get().notify || !("Notification" in window) || Notification.permission !== "granted") return;
  // Web Push shows the same text from the service worker; two would be one too many.
  const registration = await navigator.serviceWorker?.getRegistration().catch(() => null);
  if (await registration?.pushManager?.getSubscription().catch(() => null)) return;
  const { group, parties } = one.attributes;
  const words = summary(message.attributes);
  const options = { body: group ? `${sender(message, parties)}: ${words}` : words, tag: one.id, renotify: true, icon: "/static/icons/icon-192.png", data: { conversation: one.id } };
  const open = () => {
    window.focus();
    go(["c", one.id]);
  };
  try {
    // The tag is the conversation: all tabs show one and the same.
    const shown = new Notification(titleOf(one) || format.number(message.attributes.from), options);
    shown.onclick = () => (open(), shown.close());
  } catch {
    // Phones show them through the service worker only.
    registration?.showNotification(titleOf(one), options);
  }
}

let audio = null;

/** A short soft sound, made on the spot. */
export function beep() {
  try {
    audio ??= new AudioContext();
    const [tone, loudness] = [audio.createOscillator(), audio.createGain()];
    tone.frequency.setValueAtTime(880, audio.currentTime);
    tone.frequency.setValueAtTime(1175, audio.currentTime + 0.09);
    loudness.gain.setValueAtTime(0.0001, audio.currentTime);
    loudness.gain.exponentialRampToValueAtTime(0.15, audio.currentTime + 0.02);
    loudness.gain.exponentialRampToValueAtTime(0.0001, audio.currentTime + 0.3);
    tone.connect(loudness).connect(audio.destination);
    tone.start();
    tone.stop(audio.currentTime + 0.32);
  } catch {
    // A browser that plays nothing before a press; the next text sounds.
  }
}
