// The way in. After an expired session the view behind it is as it was.

import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { signIn } from "../session.js";
import { Button, Field, Icon, Refused, html } from "../ui.js";

export default function Login({ expired }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(null);
  const name = useRef(null);
  useEffect(() => {
    document.title = "Sign in · Holdfast";
    name.current?.focus();
  }, []);
  async function submit(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    setBusy(true);
    try {
      setProblem(await signIn(form.get("name").trim(), form.get("password")));
    } catch {
      setProblem({ title: "No answer", detail: "The service cannot be reached." });
    } finally {
      setBusy(false);
    }
  }
  const wrong = Object.fromEntries((problem?.errors ?? []).map(({ field, message }) => [field, message]));
  const unplaced = problem && !problem.errors;
  return html`<main class="login"><div class="card">
    <span class="brand"><span class="mark"><svg viewBox="0 0 24 24" aria-hidden="true">
      <path d="M7 5v14M17 5v14M7 12h10" /></svg></span>Holdfast</span>
    <h1>${expired ? "Sign in again" : "Sign in to the console"}</h1>
    <p class="muted">${expired ? "Your session has ended. You will be where you were." : "For administrators and merchants."}</p>
    ${!isSecureContext && html`<p class="notice warn"><${Icon} name="triangle-alert" />
      <span class="grow">This page came without HTTPS, so signing in will be refused. Open it over HTTPS, or on the machine itself.</span></p>`}
    <form onSubmit=${submit}>
      <${Field} label="Username or e-mail" name="name" error=${wrong.username ?? wrong.email}>${(tied) => html`<input type="text" ...${tied} ref=${name}
        autocomplete="username" autocapitalize="none" spellcheck=${false} required />`}</${Field}>
      <${Field} label="Password" name="password" type="password" error=${wrong.password} autocomplete="current-password" required />
      ${unplaced && html`<${Refused} error=${{ title: problem.title, message: problem.detail }} />`}
      <${Button} type="submit" kind="primary" busy=${busy}>Sign in</${Button}>
    </form>
  </div></main>`;
}
