/** Small hooks: one request of a page, and the rows of a long list that are seen. */
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "../lib/preact.js";

/**
 * Load something when the inputs change; what was there stays until the new has come.
 * @param {(signal: AbortSignal) => Promise<any>} load
 * @param {any[]} inputs
 * @returns {{data: any, error: Error|null, loading: boolean, again: () => void, setData: (data: any) => void}}
 */
export function useLoad(load, inputs) {
  const [state, setState] = useState({ data: null, error: null, loading: true });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    setState((now) => ({ ...now, loading: true, error: null }));
    load(stop.signal).then(
      (data) => !stop.signal.aborted && setState({ data, error: null, loading: false }),
      (error) => !stop.signal.aborted && setState((now) => ({ ...now, error, loading: false })),
    );
    return () => stop.abort();
  }, [...inputs, turn]);
  const again = useCallback(() => setTurn((now) => now + 1), []);
  const setData = useCallback((data) => setState((now) => ({ ...now, data: typeof data === "function" ? data(now.data) : data })), []);
  return { ...state, again, setData };
}

/**
 * Tell which rows of a list of equal rows are seen (and a few around them).
 * @param {{count: number, height_px: number, ref: {current: Element|null}, extra?: number}} list
 *   `ref` is the scrolling element
 */
export function useVirtual({ count, height_px, ref, extra = 8 }) {
  const [seen, setSeen] = useState({ start: 0, end: 30 });
  const last = useRef(seen);
  const look = useCallback(() => {
    const box = ref.current;
    if (!box) return;
    // Steps of four rows: scrolling renders rarely.
    const start = Math.max(0, Math.floor((box.scrollTop / height_px - extra) / 4) * 4);
    const end = Math.ceil(((box.scrollTop + box.clientHeight) / height_px + extra) / 4) * 4;
    if (start !== last.current.start || end !== last.current.end) {
      last.current = { start, end };
      setSeen(last.current);
    }
  }, [height_px, extra]);
  useLayoutEffect(look, [count, look]);
  useEffect(() => {
    const box = ref.current;
    if (!box) return undefined;
    box.addEventListener("scroll", look, { passive: true });
    const watcher = new ResizeObserver(look);
    watcher.observe(box);
    return () => {
      box.removeEventListener("scroll", look);
      watcher.disconnect();
    };
  }, [look]);
  const end = Math.min(count, seen.end);
  const start = Math.min(seen.start, end);
  return { start, end, before_px: start * height_px, after_px: (count - end) * height_px };
}
