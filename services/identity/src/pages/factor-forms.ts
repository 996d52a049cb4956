import type { FactorFacts } from "../factors/factor-facts.ts";
import type { OfferedProvider } from "../outside/offered-providers.ts";
import { type FormTerms, form, terms } from "./form.ts";
import { Html, html } from "./html.ts";
import type { Page } from "./page.ts";
import { passkeyForm } from "./passkey-form.ts";

const day = (date: Date) => date.toISOString().slice(0, 10);

function oneButton(
  given: FormTerms,
  action: string,
  { label, fields = html`` }: { label: string; fields?: Html },
): Html {
  return form({ ...given, action, problems: [] }, html`${fields}<button type="submit" class="other">${label}</button>`);
}

function providersPart(given: FormTerms, providers: readonly OfferedProvider[]): Html {
  if (providers.length === 0) return html``;
  const each = providers.map(({ name, title, isLinked }) =>
    oneButton(given, `/sign-in/with/${name}${isLinked ? "/end" : ""}`, {
      label: isLinked ? `End the link with ${title}` : `Link ${title}`,
    }),
  );
  return html`<h2>Elsewhere</h2><p>Sign in here by what you are signed in with there.</p>${each}`;
}

/** What somebody has beside a password, and how to change it. */
export function factorsPage(
  given: FormTerms & {
    facts: FactorFacts;
    passkey: { options: string; token: string };
    providers: readonly OfferedProvider[];
  },
): Page {
  const { totpSince, passkeys, codesLeft } = given.facts;
  const app =
    totpSince === undefined
      ? html`<p>Not set up.</p>${oneButton(given, "/sign-in/factors/totp", { label: "Set up an app" })}`
      : html`<p>Set up on ${day(totpSince)}.</p>${oneButton(given, "/sign-in/factors/remove", {
          label: "Remove the app",
          fields: html`<input type="hidden" name="factor" value="totp">`,
        })}`;
  const listed = passkeys.map(
    ({ credentialId, name, createdAt }) =>
      html`<p>${name}, since ${day(createdAt)}</p>${oneButton(given, "/sign-in/factors/remove", {
        label: `Remove ${name}`,
        fields: html`<input type="hidden" name="factor" value="${credentialId}">`,
      })}`,
  );
  const another = passkeyForm(
    { ...given, action: "/sign-in/factors/passkey", problems: [] },
    {
      options: given.passkey.options,
      fields: html`<input type="hidden" name="ceremony" value="${given.passkey.token}">
<label for="name">Name of a new passkey</label>
<input id="name" name="name" maxlength="100" required value="Passkey ${String(passkeys.length + 1)}">`,
      label: "Add a passkey",
    },
  );
  const hasAny = totpSince !== undefined || passkeys.length > 0;
  const codes = hasAny
    ? html`<h2>Recovery codes</h2><p>${String(codesLeft)} left; each is good once.</p>${oneButton(
        given,
        "/sign-in/factors/codes",
        { label: "Make new ones" },
      )}`
    : "";
  const alert = (given.problems ?? []).map((one) => html`<p role="alert">${one}</p>`);
  const content = html`${alert}<p>Beside your password, one of these is asked for whenever you sign in. Changing them signs you out everywhere else.</p>
<h2>Authenticator app</h2>${app}
<h2>Passkeys</h2>${passkeys.length === 0 ? html`<p>None.</p>` : listed}${another}
${codes}${providersPart(given, given.providers)}
<p><a href="/sign-in">Back, or sign out</a></p>`;
  return { title: "How you come in", content, script: true, ...terms(given) };
}

/** Shows the secret of an app that is being set up, and asks for its first code. */
export function totpPage(given: FormTerms & { token: string; picture: string; typed: string }): Page {
  const content = html`<p>Scan this with an authenticator app, or type the key into it.</p>
<div class="picture">${new Html(given.picture)}</div>
<p>Key: <code>${given.typed}</code></p>${form(
    given,
    html`<input type="hidden" name="ceremony" value="${given.token}">
<label for="code">The code that it shows now</label>
<input id="code" name="code" autocomplete="one-time-code" inputmode="numeric" required>
<button type="submit">Use this app</button>`,
  )}`;
  return { title: "Set up an app", content, ...terms(given) };
}

/** Shows recovery codes, this one time. */
export function codesPage(codes: readonly string[]): Page {
  const content = html`<p>With one of these you come in when you have neither app nor passkey at hand. Each is good once. They are not shown again: write them down, or print this page.</p>
<ul class="codes">${codes.map((code) => html`<li><code>${code}</code></li>`)}</ul>
<p><a href="/sign-in/factors">I have kept them</a></p>`;
  return { title: "Recovery codes", content };
}
