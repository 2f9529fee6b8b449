/** The inbox: conversations at the left, the open one at the right; one of both on narrow screens. */
import { html, useEffect } from "../lib/preact.js";
import { Empty, useKeys } from "../kit/index.js";
import { go } from "../router.js";
import { session, useStore } from "../state.js";
import { FreshPane } from "./fresh.js";
import { ListPane } from "./list.js";
import { watchNews } from "./news.js";
import { ThreadPane } from "./thread.js";

watchNews();

/** The page at "", "c/ID", "new" and "search". */
export function InboxPage({ route }) {
  const [kind, id] = route.path;
  // Search goes on beside an open conversation: its words stand in the address of both.
  const { q = "", in: within = "" } = route.query;
  const searching = kind !== "new" && (!!q || !!within);
  const open_id = kind === "c" ? id : "";
  const none = useStore(session, (value) => value.me && !value.me.lines.length && !value.me.persons.length);
  useKeys({ n: () => go(["new"]), Escape: () => (searching || kind === "search" ? go(open_id ? ["c", open_id] : []) : false) });
  useEffect(() => {
    if (!open_id && kind !== "new") document.title = "smsbridge";
  }, [open_id, kind]);
  let pane;
  if (open_id) pane = html`<${ThreadPane} key=${open_id} id=${open_id} at=${route.query.at} back=${searching ? { q, in: within } : null} />`;
  else if (kind === "new") pane = html`<${FreshPane} key=${route.text} query=${route.query} />`;
  else {
    pane = html`<section class="thread-pane thread-none" aria-label="No conversation open"><${Empty} icon="messages" title=${none ? "No line yet" : "Your texts"}>
      ${none ? html`<p>Nobody gave you a line so far. Ask the operator to name one in your section of the configuration.</p>`
        : html`<p>Choose a conversation, or press <kbd>n</kbd> for a new text and <kbd>?</kbd> for all keys.</p>`}<//></section>`;
  }
  return html`<div class=${"inbox " + (open_id || kind === "new" ? "inbox-deep" : "")}>
    <${ListPane} open_id=${open_id} query=${searching ? q : ""} within=${within} searching=${searching} />
    ${pane}
  </div>`;
}
