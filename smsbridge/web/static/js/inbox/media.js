/** What is attached to a message: pictures in boxes that never jump, sound, video, files; the lightbox. */
import { html, useEffect, useRef, useState } from "../lib/preact.js";
import { Dialog, format, Icon, IconButton } from "../kit/index.js";
import { local } from "./words.js";

const kindOf = (one) => (one.content_type ?? "").split("/")[0];
// What browsers show; others (HEIC, TIFF) are files with a thumbnail at most.
const SHOWN = /^image\/(jpeg|png|gif|webp|avif|bmp)$/;

/** Draw the attachments of a message; a picture opens by on("picture", message, index). */
export function Attachments({ message, on }) {
  const media = message.attributes.media;
  const pictures = media.filter((one) => kindOf(one) === "image");
  const others = media.filter((one) => kindOf(one) !== "image");
  return html`<div class="media">
    ${pictures.length > 0 && html`<div class=${"pictures pictures-" + Math.min(pictures.length, 4)}>
      ${pictures.map((one) => html`<${Picture} one=${one} alone=${pictures.length === 1} onOpen=${() => on("picture", message, media.indexOf(one))} />`)}
    </div>`}
    ${others.map((one) => html`<${Card} one=${one} />`)}
  </div>`;
}

function Picture({ one, alone, onOpen }) {
  const [gone, setGone] = useState(false);
  const source = local(one.thumbnail) || (SHOWN.test(one.content_type) ? local(one.url) : "");
  // The box has its shape before the picture is there; odd shapes are cut to a sensible one.
  const ratio = one.width && one.height ? Math.min(2.2, Math.max(0.66, one.width / one.height)) : 4 / 3;
  const words = one.name || "Picture";
  if (!source || gone) return html`<${Card} one=${one} />`;
  return html`<button type="button" class="picture" style=${{ aspectRatio: alone ? String(ratio) : "1" }} aria-label=${`Open the picture ${words}`} onClick=${onOpen}>
    <img src=${source} alt="" loading="lazy" decoding="async" draggable=${false} onError=${() => setGone(true)} />
    ${one.content_type === "image/gif" && html`<span class="picture-tag">GIF</span>`}
  </button>`;
}

function Card({ one }) {
  const kind = kindOf(one);
  const source = local(one.url);
  const [gone, setGone] = useState(false);
  const words = one.name || { audio: "Recording", video: "Video", image: "Picture" }[kind] || "File";
  if (kind === "audio" && !gone) {
    return html`<div class="filecard filecard-sound"><span class="filecard-name"><${Icon} name="music" size=${18} /> ${words}</span>
      <audio controls preload="none" src=${source} aria-label=${words} onError=${() => setGone(true)}></audio></div>`;
  }
  if (kind === "video" && !gone) {
    const ratio = one.width && one.height ? one.width / one.height : 16 / 9;
    return html`<video class="filecard-video" controls preload="metadata" src=${source} poster=${local(one.thumbnail) || undefined} aria-label=${words}
      style=${{ aspectRatio: String(Math.max(0.6, ratio)) }} onError=${() => setGone(true)}></video>`;
  }
  const icon = { audio: "music", video: "video", image: "image" }[kind] ?? (/vcard/.test(one.content_type) ? "contacts" : "file");
  return html`<a class="filecard filecard-file" href=${source} download=${one.name || true}>
    <span class="filecard-icon"><${Icon} name=${icon} /></span>
    <span class="filecard-words"><span class="filecard-name">${words}</span><span class="filecard-size">${gone ? "Cannot be played here, download it" : format.size(one.size)}</span></span>
    <${Icon} name="download" size=${20} /></a>`;
}

/**
 * Pictures large, with arrows between them.
 * @param {{pictures: {media: object, message: object}[], start: number, onClose: () => void}} props
 */
export function Lightbox({ pictures, start, onClose }) {
  const [at, setAt] = useState(start);
  const [loaded, setLoaded] = useState(false);
  const box = useRef(null);
  const { media, message } = pictures[at];
  const turn = (step) => {
    const to = at + step;
    if (to < 0 || to >= pictures.length) return;
    setLoaded(false);
    setAt(to);
  };
  useEffect(() => {
    const onKey = (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      turn(step);
    };
    const element = box.current?.closest("dialog");
    element?.addEventListener("keydown", onKey);
    return () => element?.removeEventListener("keydown", onKey);
  });
  const touch = useRef(0);
  const source = SHOWN.test(media.content_type) ? local(media.url) : local(media.thumbnail);
  return html`<${Dialog} title=${media.name || "Picture"} onClose=${onClose} class="lightbox">
    <div class="lightbox-stage" ref=${box} onClick=${(event) => event.target === event.currentTarget && onClose()}
      onTouchStart=${(event) => { touch.current = event.touches[0].clientX; }}
      onTouchEnd=${(event) => { const moved = event.changedTouches[0].clientX - touch.current; if (Math.abs(moved) > 60) turn(moved < 0 ? 1 : -1); }}>
      <img key=${source} class=${loaded ? "" : "coming"} src=${source} alt=${`${media.name || "Picture"}, ${format.when(message.attributes.created_at, { short: true })}`} onLoad=${() => setLoaded(true)} />
      ${at > 0 && html`<${IconButton} class="lightbox-turn lightbox-before" icon="chevron_left" label="Picture before" onClick=${() => turn(-1)} />`}
      ${at < pictures.length - 1 && html`<${IconButton} class="lightbox-turn lightbox-after" icon="chevron_right" label="Next picture" onClick=${() => turn(1)} />`}
    </div>
    <footer class="lightbox-foot"><span>${pictures.length > 1 ? `${at + 1} of ${pictures.length} · ` : ""}${format.when(message.attributes.created_at, { short: true })} · ${media.width ? `${media.width} × ${media.height} · ` : ""}${format.size(media.size)}</span>
      <a class="button button-tonal" href=${local(media.url)} download=${media.name || true}><${Icon} name="download" size=${20} /><span>Download</span></a></footer>
  <//>`;
}
