import type { BegunCeremony } from "../factors/ceremony-store.ts";
import { passkeyRequest } from "../factors/passkeys.ts";
import type { OidcGround } from "../oidc/oidc-ground.ts";
import { type FormTerms, form, terms } from "./form.ts";
import { html } from "./html.ts";
import { sendPage } from "./page.ts";
import { passkeyForm } from "./passkey-form.ts";
import type { Visit } from "./sign-in-visit.ts";

/** Asks for the second factor of a sign-in that was begun. */
export async function sendSecondFactor(
  { database, origin }: OidcGround,
  { response, form: sent }: Visit,
  given: FormTerms & { ceremony: BegunCeremony; next?: string },
): Promise<void> {
  const { ceremony, next = sent.get("next") ?? "" } = given;
  const options = await passkeyRequest(database.db, origin, ceremony);
  const hidden = html`<input type="hidden" name="ceremony" value="${ceremony.token}">
<input type="hidden" name="next" value="${next}">`;
  const code = form(
    given,
    html`${hidden}
<label for="code">Code of your app, or a recovery code</label>
<input id="code" name="code" autocomplete="one-time-code" autocapitalize="none" spellcheck="false" required>
<button type="submit">Go on</button>`,
  );
  const passkey =
    options === undefined
      ? ""
      : passkeyForm({ ...given, problems: [] }, { options, fields: hidden, label: "Use a passkey" });
  const content = html`${code}${passkey}
<p><small>Neither at hand? Somebody who may change your account can take the second factor away.</small></p>`;
  sendPage(response, { title: "One more thing", content, script: options !== undefined, ...terms(given) });
}
