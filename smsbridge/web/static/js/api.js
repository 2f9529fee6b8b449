/**
 * Requests to `/api/v2.2`: JSON:API in and out, errors as `ApiError` with a sentence for people, a
 * session that ended asked for again without losing the request, uploads with progress.
 */
import { connection, session } from "./state.js";

export const BASE = "/api/v2.2";
const TIMEOUT_MS = 30_000;

/** What went wrong, in words: `message` is the server's sentence or ours when there is none. */
export class ApiError extends Error {
  /** @param {{status?: number, code?: string, detail: string, errors?: object[], retry_after_s?: number}} what */
  constructor({ status = 0, code = "", detail, errors = [], retry_after_s = 0 }) {
    super(detail);
    this.name = "ApiError";
    this.status = status; // 0: no answer came
    this.code = code;
    this.errors = errors; // as in the answer, with source.pointer or source.parameter
    this.retry_after_s = retry_after_s;
  }

  /** Tell whether trying the same again later may work. */
  get temporary() {
    // 507: the operator must make room first.
    return this.status === 0 || this.status === 429 || (this.status >= 500 && this.status !== 507);
  }

  /** Return the sentence for one attribute ("to", "body"), or "" if none speaks of it. */
  about(attribute) {
    const suffix = "/attributes/" + attribute;
    for (const error of this.errors) {
      const pointer = error.source?.pointer ?? "";
      if (pointer.endsWith(suffix) || pointer.includes(suffix + "/") || pointer === "/" + attribute) return error.detail || error.title;
      if (error.source?.parameter === attribute) return error.detail || error.title;
    }
    return "";
  }
}

/**
 * Ask the server.
 * @param {string} method
 * @param {string} path below /api/v2.2, or a whole path that starts with it (links.next)
 * @param {{query?: object, body?: any, content_type?: string, headers?: object, signal?: AbortSignal,
 *   timeout_ms?: number, anonymous?: boolean, as?: "json"|"blob"|"text"}} [options]
 *   `anonymous` requests never ask for a new log in.
 * @returns {Promise<any>} the answer's JSON ({data, meta, links, included}); null for 204
 * @throws {ApiError}
 */
export async function request(method, path, options = {}) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await once(method, path, options);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401 && !options.anonymous && attempt === 0) {
        await loggedInAgain();
        continue;
      }
      throw error;
    }
  }
}

export const get = (path, query, options = {}) => request("GET", path, { ...options, query });
export const del = (path, options = {}) => request("DELETE", path, options);

/** POST attributes as a resource of a type. */
export const post = (path, type, attributes, options = {}) =>
  request("POST", path, { ...options, body: { data: { type, attributes } } });
export const patch = (path, type, attributes, options = {}) =>
  request("PATCH", path, { ...options, body: { data: { type, attributes } } });
export const put = (path, type, attributes, options = {}) =>
  request("PUT", path, { ...options, body: { data: { type, attributes } } });

async function once(method, path, options) {
  const address = new URL(path.startsWith("/api/") ? path : BASE + path, location.origin);
  for (const [name, value] of Object.entries(options.query ?? {})) {
    if (value !== undefined && value !== null && value !== "") address.searchParams.set(name, value);
  }
  const headers = {
    Accept: "application/vnd.api+json",
    "X-Requested-With": "smsbridge",
    ...options.headers,
  };
  let { body } = options;
  if (body !== undefined && !isRaw(body)) {
    headers["Content-Type"] = "application/vnd.api+json";
    body = JSON.stringify(body);
  } else if (body !== undefined && options.content_type) {
    headers["Content-Type"] = options.content_type;
  }
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), options.timeout_ms ?? TIMEOUT_MS);
  const give_up = () => stop.abort();
  if (options.signal?.aborted) stop.abort();
  options.signal?.addEventListener("abort", give_up);
  let answer, text;
  try {
    answer = await fetch(address, {
      method, headers, body, signal: stop.signal, credentials: "same-origin", cache: "no-store",
    });
    if (answer.ok && options.as === "blob") return await answer.blob();
    text = answer.status === 204 ? "" : await answer.text();
  } catch (error) {
    if (options.signal?.aborted) throw new DOMException("given up", "AbortError");
    throw unreachable();
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", give_up);
  }
  if (answer.ok) {
    if (!text) return null;
    return options.as === "text" ? text : JSON.parse(text);
  }
  throw failure(answer.status, text, answer.headers.get("Retry-After"));
}

const isRaw = (body) =>
  typeof body === "string" || body instanceof Blob || body instanceof ArrayBuffer || ArrayBuffer.isView(body);

function unreachable() {
  const offline = !connection.get().online;
  return new ApiError({
    code: "unreachable",
    detail: offline
      ? "This device is offline. Connect it and try again."
      : "smsbridge does not answer. Check the connection and try again in a moment.",
  });
}

/** Build the error of an answer; words of our own when the body has none. */
export function failure(status, text, retry_after) {
  let errors = [];
  try {
    errors = JSON.parse(text).errors ?? [];
  } catch {
    // A proxy's page, perhaps; the status has to do.
  }
  const first = errors[0] ?? {};
  return new ApiError({
    status,
    code: first.code ?? "",
    detail: first.detail || first.title || WORDS[status] || `smsbridge answered with the error ${status}. Try again in a moment.`,
    errors,
    retry_after_s: Number(retry_after) || 0,
  });
}

const WORDS = {
  401: "You are logged out. Log in again.",
  403: "You may not do this.",
  404: "This is not there any more.",
  409: "Somebody else changed this just now. Load it again.",
  413: "This is too big.",
  429: "Too many requests. Wait a little and try again.",
  502: "smsbridge is not reachable behind its proxy. Try again in a moment.",
  503: "smsbridge is not ready. Try again in a moment.",
};

// A session that ended: every request waits for the same dialog.
let waiting = null;

function loggedInAgain() {
  if (session.get().phase === "out" || session.get().phase === "starting") {
    return Promise.reject(new ApiError({ status: 401, detail: WORDS[401] }));
  }
  if (!waiting) {
    session.set({ phase: "expired" });
    waiting = new Promise((resolve, reject) => {
      const done = session.subscribe((now) => {
        if (now.phase === "expired") return;
        done();
        waiting = null;
        if (now.phase === "in") resolve();
        else reject(new ApiError({ status: 401, detail: WORDS[401] }));
      });
    });
  }
  return waiting;
}

/**
 * Upload bytes with progress.
 * @param {string} path e.g. "/media?name=photo.jpg"
 * @param {Blob} blob
 * @param {{onProgress?: (share: number) => void, signal?: AbortSignal, content_type?: string}} [options]
 * @returns {Promise<any>} the answer's JSON
 * @throws {ApiError}
 */
export async function upload(path, blob, options = {}) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await uploadOnce(path, blob, options);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401 && attempt === 0) {
        await loggedInAgain();
        continue;
      }
      throw error;
    }
  }
}

// fetch cannot tell how much has been sent; XMLHttpRequest can.
function uploadOnce(path, blob, { onProgress, signal, content_type } = {}) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open("POST", BASE + path);
    call.setRequestHeader("Accept", "application/vnd.api+json");
    call.setRequestHeader("X-Requested-With", "smsbridge");
    call.setRequestHeader("Content-Type", content_type || blob.type || "application/octet-stream");
    call.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
    call.onload = () => {
      if (call.status >= 200 && call.status < 300) resolve(call.responseText ? JSON.parse(call.responseText) : null);
      else reject(failure(call.status, call.responseText, call.getResponseHeader("Retry-After")));
    };
    call.onerror = () => reject(unreachable());
    call.onabort = () => reject(new DOMException("given up", "AbortError"));
    if (signal?.aborted) return call.abort(), reject(new DOMException("given up", "AbortError"));
    signal?.addEventListener("abort", () => call.abort());
    call.send(blob);
  });
}
