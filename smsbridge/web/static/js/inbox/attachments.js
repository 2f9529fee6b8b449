/** The attachments of a text that is being written: made small, uploaded with progress, kept in the draft. */
import { html, useCallback, useRef, useState } from "../lib/preact.js";
import { post, upload } from "../api.js";
import { announce, format, Icon, IconButton, Progress } from "../kit/index.js";
import { canFit, fit } from "./picture.js";
import { local } from "./words.js";

let count = 0;

/**
 * Manage attachments: [{key, name, size, type, state: "fitting"|"uploading"|"done"|"failed", progress,
 * digest, resource, note, error, preview}].
 * @param {object[]} initial those of the draft (uploaded ones only)
 * @param {() => object|null} lineOf the line that they will go over
 */
export function useAttachments(initial, lineOf) {
  const [items, setItems] = useState(() => initial.map((one) => ({ ...one, key: ++count, state: "done" })));
  const files = useRef(new Map()).current; // key -> {file, stop}
  const update = (key, patch) => setItems((now) => now.map((one) => (one.key === key ? { ...one, ...patch } : one)));

  const start = async (key, file) => {
    const stop = new AbortController();
    files.set(key, { file, stop });
    const line = lineOf();
    const limit = line?.media_limit ?? 0;
    try {
      let [blob, name, note] = [file, file.name || "pasted.png", ""];
      if (canFit(file.type)) {
        update(key, { state: "fitting", error: "" });
        const fitted = await fit(file, limit);
        if (stop.signal.aborted) return;
        if (fitted) {
          blob = fitted.blob;
          name = name.replace(/\.\w+$/, "") + ".jpg";
          note = `${format.size(file.size)} → ${format.size(blob.size)}`;
          announce(`${name} made smaller: ${note}`);
        }
      }
      update(key, { state: "uploading", progress: 0, name, size: blob.size, note, error: "" });
      let answer = await upload("/media?" + new URLSearchParams({ name }), blob, {
        content_type: blob.type || "application/octet-stream",
        signal: stop.signal,
        onProgress: (progress) => update(key, { progress }),
      });
      // What the browser could not make small, the server may.
      if (limit && answer.data.attributes.size > limit && /^image\//.test(answer.data.attributes.content_type)) {
        const fitted = await post(`/media/${encodeURIComponent(answer.data.id)}/fit`, "media", {}, { headers: {}, query: { line: line.label }, timeout_ms: 60_000 }).catch(() => null);
        if (fitted?.data) {
          note = `${format.size(fitted.meta?.original_size ?? file.size)} → ${format.size(fitted.data.attributes.size)}`;
          answer = fitted;
        }
      }
      if (stop.signal.aborted) return;
      files.delete(key);
      update(key, { state: "done", digest: answer.data.id, resource: answer.data.attributes, size: answer.data.attributes.size, note });
    } catch (error) {
      if (!stop.signal.aborted) update(key, { state: "failed", error: error.message });
    }
  };

  const add = useCallback((list) => {
    for (const file of list) {
      const key = ++count;
      const preview = /^image\/(jpeg|png|gif|webp)$/.test(file.type) ? URL.createObjectURL(file) : "";
      setItems((now) => [...now, { key, name: file.name || "pasted.png", size: file.size, type: file.type, state: "fitting", progress: 0, note: "", error: "", preview }]);
      start(key, file);
    }
  }, []);
  const remove = useCallback((key) => {
    files.get(key)?.stop.abort();
    files.delete(key);
    setItems((now) => now.filter((one) => {
      if (one.key === key && one.preview) URL.revokeObjectURL(one.preview);
      return one.key !== key;
    }));
  }, []);
  const again = useCallback((key) => {
    const kept = files.get(key);
    if (kept) start(key, kept.file);
  }, []);
  const clear = useCallback(() => setItems((now) => {
    for (const one of now) if (one.preview) URL.revokeObjectURL(one.preview);
    return [];
  }), []);
  const restore = useCallback((list) => setItems(list.map((one) => ({ ...one, key: ++count, state: "done" }))), []);
  return { items, add, remove, again, clear, restore };
}

/** What of the attachments a draft keeps. */
export const keptOf = (items) => items.filter((one) => one.state === "done" && one.digest).map(({ name, size, type, digest, resource, note }) => ({ name, size, type, digest, resource, note }));

/** The row of attachments above the text field. */
export function AttachmentRow({ items, onRemove, onAgain, limit, as }) {
  if (!items.length) return null;
  return html`<ul class="attachments" aria-label="Attached">${items.map((one) => {
    const picture = one.preview || local(one.resource?.thumbnail);
    const busy = one.state === "fitting" || one.state === "uploading";
    const big = one.state === "done" && as === "mms" && limit && one.size > limit;
    return html`<li key=${one.key} class=${"attachment " + (one.state === "failed" ? "attachment-wrong" : "")}>
      <span class="attachment-face">${picture ? html`<img src=${picture} alt="" />` : html`<${Icon} name=${/^audio/.test(one.type) ? "music" : /^video/.test(one.type) ? "video" : /^image/.test(one.type) ? "image" : "file"} />`}</span>
      <span class="attachment-words"><span class="attachment-name" title=${one.name}>${one.name}</span>
        ${one.state === "failed"
          ? html`<span class="attachment-error" role="alert">${one.error} <button type="button" class="link-button" onClick=${() => onAgain(one.key)}>Try again</button></span>`
          : busy
            ? html`<span class="attachment-size">${one.state === "fitting" ? "Preparing…" : `Uploading, ${Math.round(one.progress * 100)} %`}</span><${Progress} value=${one.state === "fitting" ? null : one.progress} label=${"Upload of " + one.name} />`
            : html`<span class="attachment-size">${one.note || format.size(one.size)}${big ? html` <span class="attachment-error">more than this line takes (${format.size(limit)})</span>` : null}</span>`}
      </span>
      <${IconButton} icon="close" size=${18} label=${"Remove " + one.name} onClick=${() => onRemove(one.key)} />
    </li>`;
  })}</ul>`;
}
