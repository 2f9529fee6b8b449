/**
 * Where a text is written: it grows, counts, keeps drafts, takes files by button, drop and paste, and
 * loses nothing when the server or the network says no.
 */
import { html, useCallback, useEffect, useLayoutEffect, useRef, useState } from "../lib/preact.js";
import { request } from "../api.js";
import { announce, format, Icon, IconButton, openMenu, toast } from "../kit/index.js";
import { remember, remembered, session, settings, useStore } from "../state.js";
import { AttachmentRow, keptOf, useAttachments } from "./attachments.js";
import { change } from "./conversations.js";
import { draftOf, dropDraft, keepDraft } from "./drafts.js";
import { discard, send } from "./outbox.js";
import { PreviewDialog } from "./preview.js";
import { ScheduleDialog } from "./schedule.js";
import { count } from "./segments.js";

const TALLEST_PX = 200;

/**
 * The field at the foot of a conversation, or of a new one.
 * @param {{one?: object, fresh?: {to: string[], line: string, group: boolean|undefined, check: () => string,
 *   conversation: string, onError: (error) => void, onSent: (message: object|null) => void, text?: string}, returned?: object}} props
 *   `one`: the open conversation; or `fresh`: what a new one knows; `returned`: an unsent text to edit
 */
export function Composer({ one, fresh, returned }) {
  const key = one ? one.id : "new";
  const parties = one?.attributes.parties ?? [];
  const label = one ? one.attributes.line : fresh.line;
  const line = useStore(session, (value) => value.me?.lines)?.find((entry) => entry.label === label) ?? null;
  const internal = one ? one.attributes.internal : false;
  const may_send = useStore(session, (value) => (value.me?.scopes ?? []).includes("send"));
  const { enter_sends } = useStore(settings);
  const [draft] = useState(() => draftOf(key, one?.attributes.draft));
  const [text, setText] = useState(fresh?.text || draft.text || "");
  const [scheduled_at, setScheduled] = useState(later(draft.scheduled_at));
  const [test, setTest] = useState(!!remembered("test_mode", false));
  const [wrong, setWrong] = useState({}); // body, media, scheduled_at, "" -> sentence
  const [busy, setBusy] = useState(false);
  const [eager, setEager] = useState(false); // send as soon as the uploads are done
  const [emoji, setEmoji] = useState(null); // the picker, loaded when it is wanted
  const [choosing, setChoosing] = useState(false);
  const [preview, setPreview] = useState(null);
  const [dropping, setDropping] = useState(false);
  const field = useRef(null);
  const picker = useRef(null);
  const live = useRef({});
  const lineNow = useRef(line);
  lineNow.current = line;
  const files = useAttachments(draft.attachments ?? [], () => lineNow.current);
  const over = line?.attachments ?? (internal ? "mms" : "none");
  live.current = { text, items: files.items, mounted: true };

  // A draft from another device, when nothing was typed here.
  useEffect(() => {
    const theirs = one?.attributes.draft ?? "";
    if (one && theirs && !live.current.text && document.activeElement !== field.current && !live.current.sent) setText(theirs);
  }, [one?.attributes.draft]);
  useEffect(() => () => { live.current.mounted = false; }, []);

  // Everything typed is kept at once (an ordinary effect waits for the next frame, and the page may be
  // left before it); `new` keeps its recipients too.
  const first = useRef(true);
  useLayoutEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    keepDraft(key, { text, attachments: keptOf(files.items), scheduled_at, ...(fresh ? { to: fresh.to, line: fresh.line } : {}) });
  }, [text, files.items, scheduled_at, fresh?.to?.join("\n"), fresh?.line]);

  useLayoutEffect(() => {
    const area = field.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = Math.min(TALLEST_PX, area.scrollHeight) + "px";
    area.style.overflowY = area.scrollHeight > TALLEST_PX ? "auto" : "hidden";
  }, [text]);

  useEffect(() => {
    // On a phone the keyboard would cover the thread that was just opened.
    if (one && matchMedia("(pointer: fine)").matches) field.current?.focus({ preventScroll: true });
  }, [key]);

  useEffect(() => {
    if (!returned) return;
    setText(returned.attributes.body ?? "");
    if (returned.media?.length) files.restore(returned.media);
    setScheduled(later(returned.attributes.scheduled_at));
    field.current?.focus();
  }, [returned]);

  const measured = count(text, line?.charset === "ascii" ? "ascii" : "gsm");
  const mms = files.items.length > 0 && over === "mms";
  const uploading = files.items.some((item) => item.state === "fitting" || item.state === "uploading");
  const failed = files.items.some((item) => item.state === "failed");
  const max_segments = line?.max_segments ?? 0;
  const too_long = !mms && max_segments > 0 && measured.segments > max_segments;
  const empty = !text.trim() && !files.items.length;

  const attributes = () => {
    const done = keptOf(live.current.items);
    return {
      to: one ? parties.map((party) => party.number || party.person) : fresh.to,
      ...(label ? { line: label } : {}),
      body: text,
      ...(done.length ? { media: done.map((item) => item.digest) } : {}),
      ...(one?.attributes.group ? { group: true } : fresh && fresh.group !== undefined ? { group: fresh.group } : {}),
      ...(scheduled_at ? { scheduled_at } : {}),
    };
  };

  const refuse = (error) => {
    const found = {};
    for (const name of ["body", "media", "scheduled_at"]) found[name] = error.about?.(name) ?? "";
    if (fresh && (error.about?.("to") || error.about?.("line") || error.about?.("from"))) fresh.onError(error);
    else if (!Object.values(found).some(Boolean)) found[""] = error.message;
    setWrong(found);
    announce(error.message);
  };

  const clear = () => {
    live.current.sent = true;
    setText("");
    files.clear();
    setScheduled("");
    setWrong({});
    dropDraft(key);
    if (one?.attributes.draft) change(key, { draft: "" }).catch(() => {});
  };

  const submit = async ({ real = false } = {}) => {
    if (busy) return;
    const problem = fresh?.check?.();
    if (problem) return;
    if (empty) {
      setWrong({ body: "Write a text or attach a file." });
      field.current?.focus();
      return;
    }
    if (too_long) return setWrong({ body: `This is ${measured.segments} texts long; the line takes at most ${max_segments}. Shorten it.` });
    if (failed) return setWrong({ media: "A file was not uploaded. Try it again or remove it." });
    if (uploading) {
      setEager(true);
      announce("It is sent when the upload is done");
      return;
    }
    setEager(false);
    setWrong({});
    if (test && !real) {
      setBusy(true);
      try {
        const answer = await request("POST", "/messages", { query: { test: "true" }, body: { data: { type: "message", attributes: attributes() } } });
        setPreview(answer.data.attributes);
      } catch (error) {
        refuse(error);
      }
      setBusy(false);
      return;
    }
    const kept = { text, scheduled_at, attachments: keptOf(files.items) };
    const promise = send({ conversation: one ? one.id : fresh.conversation, attributes: attributes(), media: kept.attachments });
    if (one) clear();
    else setBusy(true);
    try {
      const message = await promise;
      if (fresh) {
        clear();
        fresh.onSent(message);
      } else if (kept.scheduled_at && message) announce("Scheduled");
    } catch (error) {
      // Refused: back into the field, unless the reader writes something else by now.
      if (fresh || (live.current.mounted && !live.current.text && !live.current.items.length)) {
        if (error.entry) discard(error.entry.key);
        if (one) {
          setText(kept.text);
          files.restore(kept.attachments);
          setScheduled(later(kept.scheduled_at));
        }
        refuse(error);
        if (!fresh) field.current?.focus();
      } else toast("A text was not sent: " + error.message, { tone: "bad" });
    } finally {
      setBusy(false);
    }
  };

  useEffect(() => {
    if (eager && !uploading) submit();
  }, [eager, uploading]);

  const insert = useCallback((piece) => {
    const area = field.current;
    const { selectionStart: from, selectionEnd: to } = area;
    area.setRangeText(piece, from, to, "end");
    setText(area.value);
  }, []);

  const attach = (list) => {
    const chosen = [...list];
    if (!chosen.length) return;
    if (over === "none") {
      setWrong({ media: line ? `The line ${line.label} takes no files. Choose another line or write a text.` : "Choose a line first." });
      return;
    }
    setWrong({});
    files.add(chosen);
  };
  const onPaste = (event) => {
    const list = [...(event.clipboardData?.files ?? [])];
    if (!list.length) return;
    event.preventDefault();
    attach(list);
  };
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  useEffect(() => {
    // Files may be dropped anywhere on the conversation, and never open in place of the page.
    let depth = 0;
    const pane = field.current?.closest(".thread-pane") ?? document;
    const enter = (event) => carries(event) && (event.preventDefault(), depth++, setDropping(true));
    const overIt = (event) => carries(event) && event.preventDefault();
    const leave = () => --depth <= 0 && ((depth = 0), setDropping(false));
    const drop = (event) => {
      depth = 0;
      setDropping(false);
      if (!carries(event)) return;
      event.preventDefault();
      live.current.attach(event.dataTransfer.files);
    };
    pane.addEventListener("dragenter", enter);
    pane.addEventListener("dragover", overIt);
    pane.addEventListener("dragleave", leave);
    pane.addEventListener("drop", drop);
    return () => {
      pane.removeEventListener("dragenter", enter);
      pane.removeEventListener("dragover", overIt);
      pane.removeEventListener("dragleave", leave);
      pane.removeEventListener("drop", drop);
    };
  }, []);
  live.current.attach = attach;

  const touch = matchMedia("(pointer: coarse)").matches;
  const onKeyDown = (event) => {
    if (event.isComposing) return;
    const mod = event.ctrlKey || event.metaKey;
    if (event.key === "Enter" && (mod || (enter_sends && !touch && !event.shiftKey))) {
      event.preventDefault();
      submit();
    } else if (event.key === "ArrowUp" && !text && one) {
      event.preventDefault();
      document.querySelector(".thread-scroll .day:last-of-type .bubble-row:last-child .bubble")?.focus();
    } else if (event.key === "Escape") field.current.blur();
  };

  const more = (event) => openMenu(event.currentTarget, [
    { label: scheduled_at ? "Change the time" : "Send later", icon: "schedule", onSelect: () => setChoosing(true) },
    { label: "Test mode", icon: "test", hint: test ? "On: Send shows what would be sent" : "Show what would be sent, send nothing", checked: test, onSelect: () => { setTest(!test); remember("test_mode", test ? null : true); } },
  ]);

  if (!may_send) return html`<p class="compose-closed">You may read here, but not send.</p>`;
  if (line && !line.enabled) return html`<p class="compose-closed">The line ${line.label} is switched off; nothing can be sent over it.</p>`;
  if (one && !line && !internal) return html`<p class="compose-closed">You have no right to send over the line ${label} any more.</p>`;

  const words = [
    mms ? "MMS" : "",
    !mms && files.items.length && over === "link" ? "Files go as links" : "",
    !mms && text ? `${measured.left} left` : "",
    !mms && measured.segments > 1 ? format.count(measured.segments, "text", "texts") : "",
    !mms && text && measured.encoding === "unicode" ? "Unicode" : "",
  ].filter(Boolean).join(" · ");
  const show_count = mms || files.items.length || measured.segments > 1 || measured.left <= 30 || (text && measured.encoding === "unicode");
  const tip = measured.encoding === "unicode" ? `“${measured.first_outside}” is not in the GSM alphabet: only 70 characters fit into one text.` : "";
  const send_label = test ? "Show what would be sent" : scheduled_at ? "Schedule" : "Send";
  const errors = Object.entries(wrong).filter(([, sentence]) => sentence);
  return html`<form class=${"compose " + (dropping ? "compose-drop" : "")} aria-label="Write" onSubmit=${(event) => { event.preventDefault(); submit(); }}>
    ${dropping && html`<div class="drop-note"><${Icon} name="attach" /> Drop files to attach them</div>`}
    ${emoji && html`<${emoji.EmojiPicker} onPick=${insert} onClose=${(back) => { setEmoji(null); if (back) field.current?.focus(); }} />`}
    <${AttachmentRow} items=${files.items} onRemove=${files.remove} onAgain=${files.again} limit=${line?.media_limit} as=${over} />
    ${(scheduled_at || test) && html`<div class="compose-modes">
      ${scheduled_at && html`<span class="mode"><${Icon} name="schedule" size=${18} /> <button type="button" class="link-button" onClick=${() => setChoosing(true)}>${format.when(scheduled_at, { short: true })}</button>
        <button type="button" class="mode-off" aria-label="Send without delay" onClick=${() => setScheduled("")}><${Icon} name="close" size=${16} /></button></span>`}
      ${test && html`<span class="mode mode-test"><${Icon} name="test" size=${18} /> Test mode: nothing is sent
        <button type="button" class="mode-off" aria-label="Leave the test mode" onClick=${() => { setTest(false); remember("test_mode", null); }}><${Icon} name="close" size=${16} /></button></span>`}
    </div>`}
    <div class="compose-row">
      <${IconButton} icon="attach" label="Attach a file" onClick=${() => (over === "none" ? attach([new Blob()]) : picker.current.click())} />
      <input type="file" multiple hidden ref=${picker} aria-hidden="true" tabindex="-1" onChange=${(event) => { attach(event.target.files); event.target.value = ""; field.current?.focus(); }} />
      <div class=${"compose-box " + (errors.length ? "compose-wrong" : "")}>
        <textarea class="compose-text" ref=${field} rows="1" aria-label=${one ? "Text" : "Text of the new conversation"} placeholder=${scheduled_at ? "Text for later" : "Text"} dir="auto"
          aria-describedby="compose-count compose-wrong" aria-invalid=${errors.length ? "true" : null} enterkeyhint=${enter_sends && !touch ? "send" : "enter"} autocapitalize="sentences"
          value=${text} onInput=${(event) => { live.current.sent = false; setText(event.target.value); if (errors.length) setWrong({}); }} onKeyDown=${onKeyDown} onPaste=${onPaste}></textarea>
        <${IconButton} class="emoji-button" icon="emoji" label="Emoji" aria-expanded=${String(!!emoji)} onClick=${() => (emoji ? setEmoji(null) : import("./emoji.js").then(setEmoji, () => toast("The emoji did not load. Check the connection.", { tone: "bad" })))} />
      </div>
      <${IconButton} icon="more" label="More ways to send" aria-haspopup="menu" onClick=${more} />
      <button type="submit" class=${"send " + (empty ? "send-empty" : "")} aria-label=${eager ? "Sends when the upload is done" : send_label} title=${send_label} aria-busy=${busy || eager ? "true" : null}>
        ${busy || eager ? html`<span class="spinner spinner-small"></span>` : html`<${Icon} name=${test ? "test" : scheduled_at ? "schedule" : "send"} />`}
      </button>
    </div>
    <div class="compose-foot">
      <p class="compose-error" id="compose-wrong">${errors.map(([name, sentence]) => html`<span key=${name} role="alert"><${Icon} name="alert" size=${16} /> ${sentence}</span>`)}</p>
      <p class=${"compose-count " + (too_long ? "count-over" : "")} id="compose-count" title=${tip}>${show_count ? words : ""}</p>
    </div>
    ${choosing && html`<${ScheduleDialog} value=${scheduled_at} onClose=${() => setChoosing(false)} onChoose=${(time) => { setChoosing(false); setScheduled(time ?? ""); setWrong({}); }} />`}
    ${preview && html`<${PreviewDialog} preview=${preview} scheduled_at=${scheduled_at} onClose=${() => setPreview(null)} onSend=${() => { setPreview(null); submit({ real: true }); }} />`}
  </form>`;
}

/** A planned time that is still to come, else "". */
const later = (iso) => (iso && Date.parse(iso) > Date.now() ? iso : "");
