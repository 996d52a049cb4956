import type { OfferedProvider } from "../outside/offered-providers.ts";
import { type FormTerms, form, terms } from "./form.ts";
import { html } from "./html.ts";
import type { Page } from "./page.ts";

/** Asks for login and password. */
export function signInPage(
  given: FormTerms & {
    login?: string;
    next?: string;
    client?: string;
    isAgain?: boolean;
    providers?: readonly OfferedProvider[];
  },
): Page {
  const { client, isAgain = false } = given;
  const why = isAgain ? html`<p>Show again that it is you: what comes next changes how you come in.</p>` : "";
  const intro = client === undefined ? why : html`<p>to go on to <strong>${client}</strong></p>`;
  const content = html`${intro}${form(
    given,
    html`<input type="hidden" name="next" value="${given.next ?? ""}">
<label for="login">Login</label>
<input id="login" name="login" autocomplete="username" autocapitalize="none" spellcheck="false" required value="${given.login ?? ""}">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button type="submit">Sign in</button>`,
  )}
${(given.providers ?? []).map(
  ({ name, title }) =>
    html`<p><a href="/sign-in/with/${name}?next=${encodeURIComponent(given.next ?? "")}">Sign in with ${title}</a></p>`,
)}
<p><a href="/sign-in/forgot">Forgot the password?</a></p>`;
  return { title: "Sign in", content, ...terms(given) };
}

/** Asks for the first admin's login and password. */
export function setUpPage(given: FormTerms & { token: string; login?: string }): Page {
  const content = html`<p>This installation has no accounts yet. Make the first one: it may do everything.</p>${form(
    given,
    html`<input type="hidden" name="token" value="${given.token}">
<label for="login">Login</label>
<input id="login" name="login" autocomplete="username" autocapitalize="none" spellcheck="false" required value="${given.login ?? ""}">
<label for="password">Password, at least 15 characters</label>
<input id="password" name="password" type="password" autocomplete="new-password" required>
<button type="submit">Make the account</button>`,
  )}`;
  return { title: "Set up HMS-SYS", content, ...terms(given) };
}

/** Asks for a new password of an account. */
export function passwordPage(given: FormTerms & { token: string; login: string; shortest: number }): Page {
  const content = html`<p>For the account <strong>${given.login}</strong>.</p>${form(
    given,
    html`<input type="hidden" name="token" value="${given.token}">
<input type="hidden" name="username" autocomplete="username" value="${given.login}">
<label for="password">New password, at least ${String(given.shortest)} characters</label>
<input id="password" name="password" type="password" autocomplete="new-password" required>
<button type="submit">Use this password</button>`,
  )}`;
  return { title: "Choose a password", content, ...terms(given) };
}

/** Asks whether an application may act for somebody. */
export function consentPage(given: FormTerms & { client: string; login: string; scopes: readonly string[] }): Page {
  const asked = given.scopes.map((scope) => html`<li>${meaningOf(scope)}</li>`);
  const content = html`<p><strong>${given.client}</strong> asks you, <strong>${given.login}</strong>, for this:</p>
<ul>${asked}</ul>
<p><small>Your answer goes to ${(given.leadsTo ?? []).join(", ") || "the program"}. It ends by itself after 30 days at most; you can end it at any time under "Where you are signed in".</small></p>${form(
    given,
    html`<button type="submit" name="answer" value="yes">Allow</button>
<button type="submit" name="answer" value="no" class="other">Do not allow</button>`,
  )}`;
  return { title: "Allow access?", content, ...terms(given) };
}

const MEANINGS: ReadonlyMap<string, string> = new Map([
  ["openid", "to know who you are"],
  ["offline_access", "to go on while you are away"],
  ["hms", "to do everything that you may do"],
]);

/** What a scope of OAuth lets a program do, in words. */
export const meaningOf = (scope: string) => MEANINGS.get(scope) ?? `the permission ${scope}`;

/** Says who is signed in, and offers an end. */
export function signedInPage(given: FormTerms & { login: string }): Page {
  const content = html`<p>You are signed in as <strong>${given.login}</strong>.</p>
<p><a href="/sign-in/change-password">Change the password</a><br><a href="/sign-in/factors">How you come in</a><br><a href="/sign-in/places">Where you are signed in</a></p>${form(given, html`<button type="submit">Sign out</button>`)}`;
  return { title: "Signed in", content, ...terms(given) };
}

/** Says one thing. */
export function messagePage(title: string, sentence: string, status = 200): Page {
  return { title, content: html`<p>${sentence}</p>`, status };
}
