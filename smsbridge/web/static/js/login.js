/** The log in page, and the same form in a dialog when a session ended. */
import { html, useEffect, useRef, useState } from "./lib/preact.js";
import { request } from "./api.js";
import { Button, Dialog, Field, Icon, IconButton } from "./kit/index.js";
import { remember, session } from "./state.js";

/**
 * Log in and start the session.
 * @throws {import("./api.js").ApiError}
 */
async function logIn(person, password, keep) {
  const answer = await request("POST", "/session", {
    body: { data: { type: "session", attributes: { person, password, keep } } },
    anonymous: true,
  });
  const before = session.get().me;
  const me = answer.data.attributes;
  me.person = answer.data.id;
  if (before && before.person !== me.person) {
    location.reload(); // somebody else: nothing of the first may stay on the page
    return;
  }
  session.set({ phase: "in", me, problem: "" });
  remember("login", Date.now()); // the other tabs wait at the same question
}

addEventListener("storage", async (event) => {
  // A tab in the background may not have noticed that its session ended, and the cookie that it has
  // now is that of whoever logged in elsewhere.
  const { phase, me } = session.get();
  if (event.key !== "smsbridge.login" || !me) return;
  try {
    const { data } = await request("GET", "/me", { anonymous: true });
    if (data.id !== me.person) location.reload();
    else if (phase === "expired") session.set({ phase: "in", me: { ...data.attributes, person: data.id }, problem: "" });
  } catch {
    // The question stays.
  }
});

function Form({ known = "" }) {
  const [person, setPerson] = useState(known);
  const [password, setPassword] = useState("");
  const [keep, setKeep] = useState(true);
  const [seen, setSeen] = useState(false);
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState("");
  const [wait_s, setWait] = useState(0);
  const secret = useRef(null);

  useEffect(() => {
    if (wait_s <= 0) return undefined;
    const timer = setTimeout(() => setWait(wait_s - 1), 1000);
    return () => clearTimeout(timer);
  }, [wait_s]);

  const submit = async (event) => {
    event.preventDefault();
    if (busy || wait_s) return;
    // Password managers may fill fields without an input event.
    const form = new FormData(event.target);
    const [who, word] = [String(form.get("username")).trim(), String(form.get("password"))];
    if (!who || !word) {
      setWrong(!who ? "Type your name." : "Type your password.");
      return;
    }
    setBusy(true);
    setWrong("");
    try {
      await logIn(who, word, keep);
    } catch (error) {
      if (error.status === 429) setWait(Math.max(1, Math.ceil(error.retry_after_s || 30)));
      else setWrong(error.status === 401 ? error.message || "Name or password is wrong." : error.message);
      if (error.status === 401) secret.current?.select();
    } finally {
      setBusy(false);
    }
  };

  const problem = wait_s ? `Too many attempts. Try again in ${wait_s} ${wait_s === 1 ? "second" : "seconds"}.` : wrong;
  return html`<form class="login-form" onSubmit=${submit} method="post" action="/">
    <${Field} label="Name" name="username" autocomplete="username" autocapitalize="none" spellcheck=${false} required
      value=${person} onInput=${setPerson} autofocus=${!known} readonly=${!!known} />
    <${Field} label="Password" error=${problem}>
      ${(wired) => html`<span class="password-field">
        <input class="input" ...${wired} ref=${secret} name="password" type=${seen ? "text" : "password"} autocomplete="current-password" required
          value=${password} onInput=${(event) => setPassword(event.target.value)} autofocus=${!!known} />
        <${IconButton} icon=${seen ? "eye_off" : "eye"} label=${seen ? "Hide password" : "Show password"} onClick=${() => setSeen(!seen)} />
      </span>`}
    <//>
    <label class="check"><input type="checkbox" checked=${keep} onChange=${(event) => setKeep(event.target.checked)} /> Stay logged in on this device</label>
    <${Button} kind="filled" type="submit" label="Log in" busy=${busy} disabled=${wait_s > 0} />
  </form>`;
}

/** The page of somebody who is not logged in. */
export function LoginPage() {
  useEffect(() => {
    document.title = "Log in - smsbridge";
  }, []);
  return html`<main class="login"><div class="login-card">
    <div class="login-head"><span class="login-mark"><${Icon} name="messages" size=${36} /></span>
      <h1>smsbridge</h1><p>Log in to read and write texts.</p></div>
    <${Form} />
  </div></main>`;
}

/** Asks again over the page that the reader is on; what was typed there stays. */
export function LoginAgain() {
  const { me } = session.get();
  return html`<${Dialog} title="Log in again">
    <p>Your session ended. What you typed is still here.</p>
    <${Form} known=${me?.person ?? ""} />
    <${Button} kind="text" label="Leave this page" onClick=${() => { session.set({ phase: "out", me: null }); location.reload(); }} />
  <//>`;
}
