/** Choose when a text goes out: some good times, or any. */
import { html, useState } from "../lib/preact.js";
import { Button, Dialog, Field, format } from "../kit/index.js";

const two = (value) => String(value).padStart(2, "0");
const asInput = (date) => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`;

function at(days, hour, now) {
  const date = new Date(now.getFullYear(), now.getMonth(), now.getDate() + days, hour, 0);
  return date;
}

/** Return [words, Date] of times that people want. */
export function presets(now = new Date()) {
  const hour = now.getHours();
  const monday = (8 - now.getDay()) % 7 || 7;
  return [
    ["In an hour", new Date(Math.ceil((now.getTime() + 3_600_000) / 300_000) * 300_000)],
    ...(hour < 17 ? [["This evening", at(0, 18, now)]] : []),
    ["Tomorrow morning", at(1, 8, now)],
    ["Tomorrow afternoon", at(1, 13, now)],
    ...(monday > 1 ? [["Monday morning", at(monday, 8, now)]] : []),
  ];
}

/** A dialog; onChoose gets an ISO time, or null for "now". */
export function ScheduleDialog({ value, onChoose, onClose }) {
  const now = new Date();
  const [own, setOwn] = useState(asInput(value ? new Date(value) : at(1, 8, now)));
  const [wrong, setWrong] = useState("");
  const take = () => {
    const date = new Date(own);
    if (Number.isNaN(date.getTime())) return setWrong("Choose a day and a time.");
    if (date.getTime() < Date.now() + 30_000) return setWrong("This time is past. Choose a later one.");
    return onChoose(date.toISOString());
  };
  return html`<${Dialog} title="Send later" onClose=${onClose} onSubmit=${take} actions=${html`
      ${value && html`<${Button} kind="text" label="Send without delay" onClick=${() => onChoose(null)} />`}
      <${Button} kind="filled" type="submit" label="Set the time" />`}>
    <ul class="presets">${presets(now).map(([words, date]) => html`<li><button type="button" class="preset" onClick=${() => onChoose(date.toISOString())}>
      <span>${words}</span><span class="preset-time">${format.when(date.toISOString(), { short: true })}</span></button></li>`)}</ul>
    <${Field} label="Another time" type="datetime-local" value=${own} min=${asInput(now)} onInput=${(next) => { setOwn(next); setWrong(""); }} error=${wrong}
      hint=${"In your time zone, " + Intl.DateTimeFormat().resolvedOptions().timeZone.replaceAll("_", " ")} />
  <//>`;
}
