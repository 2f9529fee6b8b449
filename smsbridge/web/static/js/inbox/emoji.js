/** The emoji picker: a small list in groups, the ones used last first, arrows to move, words to find. */
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../lib/preact.js";
import { remember, remembered } from "../state.js";

/** [group, "emoji words|emoji words|..."]; the first word is the name. */
const GROUPS = [
  ["Smileys", "😀 grin happy|😃 smile happy|😄 laugh eyes|😁 beam|😆 squint laugh|😅 sweat laugh|🤣 rolling laugh|😂 tears joy laugh|🙂 slight smile|🙃 upside down|😉 wink|😊 blush|😇 angel halo|🥰 love hearts|😍 heart eyes love|🤩 star eyes|😘 kiss|😋 yum tasty|😜 wink tongue|🤪 crazy|🤗 hug|🤭 giggle|🤫 quiet shush|🤔 think|🤐 zip mouth|😐 neutral|😏 smirk|🙄 eye roll|😬 grimace|😌 relieved|😔 sad pensive|😴 sleep|🤒 ill fever|🤧 sneeze cold|🥵 hot|🥶 freezing cold|😵 dizzy|🤯 mind blown|🥳 party|😎 cool sunglasses|🤓 nerd|😕 confused|😟 worried|🙁 frown|😮 wow surprised|😳 flushed|🥺 please pleading|😢 cry|😭 sob cry|😱 scream fear|😤 huff|😡 angry red|🤬 swear|😈 devil|💀 skull dead|💩 poop|🤡 clown|👻 ghost|👽 alien|🤖 robot"],
  ["People", "👍 thumbs up yes good|👎 thumbs down no|👌 ok|✌️ peace victory|🤞 fingers crossed luck|🤟 love you|🤙 call me|👈 left|👉 right|👆 up|👇 down|☝️ one point|✋ hand stop|👋 wave hello bye|🤝 handshake deal|👏 clap|🙌 hooray hands|🙏 thanks pray please|✍️ write|💪 strong muscle|🧠 brain|👀 eyes look|👂 ear|👃 nose|👶 baby|🧒 child|👦 boy|👧 girl|👨 man|👩 woman|🧓 old|👮 police|👷 worker|🧑‍💻 computer coder|🧑‍🔧 mechanic|🧑‍🍳 cook|🧑‍🏫 teacher|🤷 shrug|🤦 facepalm|🙋 raise hand|🏃 run|🚶 walk|💃 dance|👪 family|👫 couple"],
  ["Hearts and signs", "❤️ red heart love|🧡 orange heart|💛 yellow heart|💚 green heart|💙 blue heart|💜 purple heart|🖤 black heart|🤍 white heart|💔 broken heart|💕 hearts|💯 hundred|✅ done check yes|❌ no cross|❗ exclamation|❓ question|⚠️ warning|🚫 forbidden|♻️ recycle|✨ sparkles|🔥 fire|⭐ star|🎵 music note|➡️ right arrow|⬅️ left arrow|⬆️ up arrow|⬇️ down arrow|🔴 red circle|🟢 green circle|🟡 yellow circle|🔵 blue circle|🆗 ok|🆘 sos help|💤 sleep zzz|💬 speech text|🔔 bell|🔕 bell off"],
  ["Nature", "🐶 dog|🐱 cat|🐭 mouse|🐰 rabbit|🦊 fox|🐻 bear|🐼 panda|🐨 koala|🦁 lion|🐮 cow|🐷 pig|🐸 frog|🐵 monkey|🐔 chicken|🐧 penguin|🐦 bird|🦉 owl|🐴 horse|🐝 bee|🦋 butterfly|🐢 turtle|🐍 snake|🐟 fish|🐬 dolphin|🐳 whale|🌵 cactus|🌲 tree|🌱 plant|🍀 clover luck|🌸 blossom|🌹 rose|🌻 sunflower|🌍 earth|🌙 moon|☀️ sun|⛅ cloud sun|🌧️ rain|⛈️ storm|❄️ snow|🌈 rainbow|🌊 wave sea|⚡ lightning"],
  ["Food", "🍏 apple|🍌 banana|🍇 grapes|🍓 strawberry|🍒 cherry|🍑 peach|🍍 pineapple|🥑 avocado|🍅 tomato|🥕 carrot|🌽 corn|🥔 potato|🍞 bread|🥐 croissant|🧀 cheese|🥚 egg|🍳 breakfast|🥓 bacon|🍔 burger|🍟 fries|🍕 pizza|🌭 hot dog|🌮 taco|🥗 salad|🍝 pasta|🍜 noodles|🍣 sushi|🍚 rice|🍦 ice cream|🍰 cake|🎂 birthday cake|🍫 chocolate|🍪 cookie|☕ coffee|🍵 tea|🍺 beer|🍻 cheers|🍷 wine|🥂 toast cheers|🍹 cocktail|🥤 drink|🍽️ dinner"],
  ["Travel and places", "🚗 car|🚕 taxi|🚌 bus|🚲 bike|🏍️ motorcycle|🚂 train|🚇 metro|✈️ plane|🚀 rocket|🚁 helicopter|⛵ boat|🚢 ship|⛽ fuel|🚦 traffic light|🚧 works|📍 place pin|🗺️ map|🏠 house home|🏢 office|🏫 school|🏥 hospital|🏨 hotel|🏪 shop|⛪ church|🏖️ beach|🏕️ camping|⛰️ mountain|🌃 night city|🌅 sunrise|🎡 fair"],
  ["Things", "📱 phone mobile|☎️ telephone|💻 laptop|⌨️ keyboard|🖨️ printer|📷 camera|🎥 movie|📺 television|📡 antenna satellite|🔋 battery|🔌 plug|💡 idea light|🔦 torch|💸 money|💰 money bag|💳 card pay|📦 parcel|✉️ letter|📧 mail|📅 calendar date|⏰ alarm clock|⏳ waiting|📌 pin|📎 clip|✂️ scissors|📝 note|📚 books|🔑 key|🔒 lock|🔨 hammer|🔧 wrench tool|⚙️ gear|🧰 toolbox|💊 pill|🛒 cart|🎁 present gift|🎈 balloon|🎉 party|🏆 trophy|⚽ football soccer|🏀 basketball|🎾 tennis|🎮 game|🎲 dice|🎸 guitar|🎤 microphone|🎬 film|🛏️ bed|🚪 door|🚿 shower"],
];

const ALL = GROUPS.map(([name, text]) => [name, text.split("|").map((entry) => {
  const cut = entry.indexOf(" ");
  return { emoji: entry.slice(0, cut), words: entry.slice(cut + 1) };
})]);

/** A panel; onPick gets the emoji and the panel stays open, onClose on Esc or a press outside. */
export function EmojiPicker({ onPick, onClose }) {
  const box = useRef(null);
  const [query, setQuery] = useState("");
  const [recent] = useState(() => remembered("recent.emoji", []));
  const groups = useMemo(() => {
    const words = query.trim().toLowerCase();
    if (words) return [["Found", ALL.flatMap(([, list]) => list).filter((one) => one.words.includes(words) || one.emoji === words)]];
    const all = new Map(ALL.flatMap(([, list]) => list).map((one) => [one.emoji, one]));
    const last = recent.map((emoji) => all.get(emoji)).filter(Boolean);
    return last.length ? [["Used last", last], ...ALL] : ALL;
  }, [query]);
  useLayoutEffect(() => {
    box.current.querySelector("input").focus();
  }, []);
  useEffect(() => {
    const outside = (event) => !box.current?.contains(event.target) && !event.target.closest?.(".emoji-button") && onClose();
    addEventListener("pointerdown", outside, true);
    return () => removeEventListener("pointerdown", outside, true);
  }, []);
  const pick = (emoji) => {
    remember("recent.emoji", [emoji, ...remembered("recent.emoji", []).filter((one) => one !== emoji)].slice(0, 24));
    onPick(emoji);
  };
  const onKeyDown = (event) => {
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      onClose(true);
      return;
    }
    const cells = [...box.current.querySelectorAll(".emoji")];
    const at = cells.indexOf(document.activeElement);
    if (at < 0) {
      if (event.key === "ArrowDown" || (event.key === "Enter" && query)) {
        event.preventDefault();
        if (event.key === "Enter") cells[0]?.click();
        else cells[0]?.focus();
      }
      return;
    }
    const row = cells.filter((cell) => cell.offsetTop === cells[0].offsetTop && cell.closest("section") === cells[0].closest("section")).length || 8;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row }[event.key];
    if (!step) return;
    event.preventDefault();
    if (at + step < 0) box.current.querySelector("input").focus();
    else cells[Math.min(cells.length - 1, at + step)]?.focus();
  };
  return html`<div class="emoji-panel" role="dialog" aria-label="Emoji" ref=${box} onKeyDown=${onKeyDown}>
    <input class="input" type="search" placeholder="Find an emoji" aria-label="Find an emoji" value=${query} onInput=${(event) => setQuery(event.target.value)} />
    <div class="emoji-scroll">${groups.map(([name, list], first) => html`<section key=${name} aria-label=${name}><h3>${name}</h3>
      <div class="emoji-grid">${list.map((one, at) => html`<button key=${one.emoji} type="button" class="emoji" tabindex=${first + at ? -1 : 0} title=${one.words} aria-label=${one.words} onClick=${() => pick(one.emoji)}>${one.emoji}</button>`)}</div>
      ${query && !list.length && html`<p class="field-hint">None has this word.</p>`}</section>`)}</div>
  </div>`;
}
