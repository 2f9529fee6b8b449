/** The queue, for operators: what waits or went wrong, to be sent again or dropped. */
import { get, post } from "../api.js";
import { Button, confirm, Empty, Field, format, IconButton, toast, useLoad } from "../kit/index.js";
import { html, useEffect, useState } from "../lib/preact.js";
import { Loaded } from "./loaded.js";
import { seen } from "./line-words.js";

const PAGE = 50;
const STATUSES = [
  ["", "Waiting or uncertain"],
  ["queued", "Waiting"],
  ["sending", "Being sent"],
  ["uncertain", "May not have been sent"],
  ["failed", "Failed"],
  ["expired", "Too late"],
  ["dropped", "Dropped"],
];
const WORDS = Object.fromEntries(STATUSES);
const TONES = { failed: "bad", expired: "bad", uncertain: "warn", dropped: "quiet" };
const MAY_GO_AGAIN = new Set(["failed", "expired", "uncertain", "dropped"]);
const MAY_BE_DROPPED = new Set(["queued", "failed", "expired", "uncertain"]);

/** The tab at #/operator/queue. */
export function QueueTab() {
  const [filter, setFilter] = useState({ status: "", gateway: "", line: "" });
  const [chosen, setChosen] = useState(new Set());
  const [busy, setBusy] = useState("");
  const [more, setMore] = useState(false);
  const queue = useLoad((signal) => get("/queue", { ...filter, limit: PAGE }, { signal }), [filter]);
  const names = useLoad(async (signal) => {
    const [links, lines] = await Promise.all([get("/links", {}, { signal }), get("/lines", { all: "true" }, { signal })]);
    return { gateways: links.data.map((entry) => entry.id), lines: lines.data.map((entry) => entry.id) };
  }, []);
  const rows = queue.data?.data ?? [];
  useEffect(() => {
    setChosen((now) => new Set([...now].filter((id) => rows.some((row) => row.id === id))));
  }, [queue.data]);

  const put = (part) => {
    setChosen(new Set());
    setFilter((now) => ({ ...now, ...part }));
  };
  const toggle = (id) => setChosen((now) => {
    const next = new Set(now);
    if (!next.delete(id)) next.add(id);
    return next;
  });
  const of = (allowed) => rows.filter((row) => chosen.has(row.id) && allowed.has(row.attributes.status)).map((row) => row.id);
  const again = of(MAY_GO_AGAIN);
  const drop = of(MAY_BE_DROPPED);

  const act = async (what, ids) => {
    if (what === "drop") {
      const yes = await confirm({
        title: `Drop ${format.count(ids.length, "text", "texts")}?`,
        text: "A dropped text is not sent. Its sender is told. It can be sent again from here later.",
        action: "Drop", danger: true,
      });
      if (!yes) return;
    }
    setBusy(what);
    try {
      const { meta } = await post("/queue/" + what, "delivery", { ids });
      const count = meta?.count ?? ids.length;
      const words = what === "retry" ? "will be sent again" : count === 1 ? "is dropped" : "are dropped";
      toast(count < ids.length
        ? `${format.count(count, "text", "texts")} of ${ids.length} ${words}; the others have changed meanwhile.`
        : `${format.count(count, "text", "texts")} ${words}.`, { tone: "good" });
      setChosen(new Set());
      queue.again();
    } catch (error) {
      toast(error.message, { tone: "bad" });
    } finally {
      setBusy("");
    }
  };
  const load = async () => {
    setMore(true);
    try {
      const page = await get(queue.data.links.next);
      queue.setData((now) => ({ ...page, data: [...now.data, ...page.data] }));
    } catch (error) {
      toast(error.message, { tone: "bad" });
    } finally {
      setMore(false);
    }
  };
  const all = rows.length > 0 && rows.every((row) => chosen.has(row.id));

  return html`<div class="filters">
      <${Choice} label="Status" value=${filter.status} options=${STATUSES} onChange=${(status) => put({ status })} />
      <${Choice} label="Gateway" value=${filter.gateway} options=${[["", "All"], ...(names.data?.gateways ?? []).map((id) => [id, id])]} onChange=${(gateway) => put({ gateway })} />
      <${Choice} label="Line" value=${filter.line} options=${[["", "All"], ...(names.data?.lines ?? []).map((id) => [id, id])]} onChange=${(line) => put({ line })} />
    </div>
    <div class="select-bar">
      <label class="check"><input type="checkbox" checked=${all} indeterminate=${!all && chosen.size > 0} disabled=${!rows.length}
        onChange=${() => setChosen(all ? new Set() : new Set(rows.map((row) => row.id)))} /> ${chosen.size ? `${chosen.size} chosen` : "Choose all shown"}</label>
      <span class="select-actions">
        <${Button} icon="refresh" label=${again.length ? `Send again (${again.length})` : "Send again"} disabled=${!again.length} busy=${busy === "retry"} onClick=${() => act("retry", again)} />
        <${Button} kind="text" icon="trash" label=${drop.length ? `Drop (${drop.length})` : "Drop"} disabled=${!drop.length} busy=${busy === "drop"} onClick=${() => act("drop", drop)} />
        <${IconButton} icon="refresh" label="Refresh" disabled=${queue.loading} onClick=${queue.again} />
      </span>
    </div>
    <${Loaded} of=${queue} label="Loading the queue">${() => rows.length
      ? html`<ul class="rows queue">${rows.map((row) => html`<${Row} key=${row.id} row=${row} chosen=${chosen.has(row.id)} onToggle=${() => toggle(row.id)} />`)}</ul>`
      : html`<${Empty} icon="check" title=${filter.status || filter.gateway || filter.line ? "Nothing like that" : "The queue is empty"}>
          <p>${filter.status || filter.gateway || filter.line ? "No text matches these filters." : "Nothing waits. What failed is behind the filter of the status, with its reason."}</p><//>`}<//>
    ${queue.data?.links?.next && html`<div class="list-end"><${Button} kind="text" label="Show more" busy=${more} onClick=${load} /></div>`}`;
}

function Choice({ label, value, options, onChange }) {
  return html`<${Field} label=${label}>${(wired) => html`<select class="input" ...${wired} onChange=${(event) => onChange(event.target.value)}>
    ${options.map(([id, words]) => html`<option key=${id} value=${id} selected=${id === value}>${words}</option>`)}</select>`}<//>`;
}

function Row({ row, chosen, onToggle }) {
  const { to, person, gateway, line, kind, status, attempts, reason, detail, created_at, due_at } = row.attributes;
  const who = to ? format.number(to) : person;
  const waits = status === "queued" && due_at && new Date(due_at) > new Date();
  return html`<li class=${"row " + (chosen ? "row-chosen" : "")}><label class="row-main">
    <input type="checkbox" class="row-check" checked=${chosen} onChange=${onToggle} aria-label=${`Text to ${who}, ${WORDS[status] ?? status}`} />
    <span class="row-words"><span class="row-title">${who} <span class=${"tag tag-" + (TONES[status] ?? "plain")}>${WORDS[status] ?? status}</span>${kind && !/^(sms|text|message)$/.test(kind) ? html` <span class="tag">${kind}</span>` : null}</span>
      ${(detail || reason) && html`<span class="row-detail">${detail || reason}${detail && reason ? html` <code>${reason}</code>` : null}</span>`}
      <span class="row-text">${[line && `line ${line}`, gateway && `gateway ${gateway}`, format.count(attempts, "attempt", "attempts"), `from ${seen(created_at)}`, waits && `next at ${format.when(due_at, { short: true })}`].filter(Boolean).join(" · ")}</span></span>
  </label></li>`;
}
