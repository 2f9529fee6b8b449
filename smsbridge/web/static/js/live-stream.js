/**
 * The event stream itself: server-sent events read with fetch, resumed with `Last-Event-ID`.
 *
 * fetch instead of EventSource, because EventSource hides the status of a refusal (a session that
 * ended looks like a broken link), cannot send our header and cannot be told that the keep-alive
 * comments stopped. Format: WHATWG HTML, "Server-sent events", 9.2.6. Runs in a page and in a worker.
 */

const QUIET_MS = 50_000; // the server says something every 20 s
const LONGEST_WAIT_MS = 30_000;

/**
 * Cut the text of an event stream into events.
 * @param {(event: {type: string, data: string, id: string|null}) => void} onEvent
 * @param {(ms: number) => void} [onRetry]
 * @returns {(chunk: string) => void}
 */
export function parser(onEvent, onRetry) {
  let rest = "";
  let type = "", data = [], id = null;
  return (chunk) => {
    rest += chunk;
    // A "\r" at the end may be half of "\r\n": it waits for the next chunk.
    const lines = rest.split(/\r\n|\n|\r(?=[^])/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (data.length || type) onEvent({ type: type || "message", data: data.join("\n"), id });
        type = "";
        data = [];
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue; // a comment keeps the link alive
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "event") type = value;
      else if (field === "data") data.push(value);
      else if (field === "id" && !value.includes("\0")) id = value;
      else if (field === "retry" && /^\d+$/.test(value)) onRetry?.(Number(value));
    }
  };
}

/**
 * Keep an event stream open until it is stopped.
 * @param {string} address
 * @param {{onEvent: (type: string, data: any) => void, onState: (state: "connecting"|"open"|"lost"|"refused") => void}} told
 * @param {string} [last_id] where an earlier stream of the same person ended
 * @returns {{stop: () => string, nudge: () => void}} `nudge` tries at once (the network is back);
 *   `stop` returns the id to go on from
 */
export function stream(address, { onEvent, onState }, last_id = "") {
  let stopped = false;
  let retry_ms = 2000;
  let failures = 0;
  let cut = null; // ends the present attempt or wait

  const wait = (ms) => new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    cut = () => (clearTimeout(timer), resolve());
  });

  async function attempt() {
    const stop = new AbortController();
    cut = () => stop.abort();
    let quiet = setTimeout(() => stop.abort(), QUIET_MS);
    try {
      const headers = { Accept: "text/event-stream", "X-Requested-With": "smsbridge" };
      if (last_id) headers["Last-Event-ID"] = last_id;
      const answer = await fetch(address, { headers, signal: stop.signal, credentials: "same-origin", cache: "no-store" });
      if (answer.status === 401 || answer.status === 403) return "refused";
      if (!answer.ok || !answer.body) return "lost";
      failures = 0;
      onState("open");
      const feed = parser(({ type, data, id }) => {
        if (id !== null) last_id = id;
        let value = null;
        try {
          value = data ? JSON.parse(data) : null;
        } catch {
          return; // not ours
        }
        onEvent(type, value);
      }, (ms) => { retry_ms = Math.max(200, Math.min(ms, LONGEST_WAIT_MS)); });
      const reader = answer.body.getReader();
      const decoder = new TextDecoder();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return "lost";
        clearTimeout(quiet);
        quiet = setTimeout(() => stop.abort(), QUIET_MS);
        feed(decoder.decode(value, { stream: true }));
      }
    } catch {
      return "lost"; // the network, or we cut it ourselves
    } finally {
      clearTimeout(quiet);
    }
  }

  (async () => {
    while (!stopped) {
      onState("connecting");
      const end = await attempt();
      if (stopped) return;
      onState(end);
      failures += 1;
      // The first pause is the server's; later ones grow, with a share of chance so that a
      // thousand pages do not come back in the same moment.
      const pause = Math.min(LONGEST_WAIT_MS, retry_ms * 2 ** Math.min(failures - 1, 5));
      await wait(failures === 1 ? Math.min(pause, 500 + Math.random() * 500) : pause * (0.7 + Math.random() * 0.6));
    }
  })();

  return {
    stop() {
      stopped = true;
      cut?.();
      return last_id;
    },
    nudge() {
      cut?.();
    },
  };
}
