import { type FormTerms, form } from "./form.ts";
import { type Html, html } from "./html.ts";

/** A form that a browser fills in with a passkey; without scripts it stays hidden, and the page's other way is left. */
export function passkeyForm(
  given: FormTerms,
  { options, fields, label }: { options: string; fields: Html; label: string },
): Html {
  return form(
    { ...given, attributes: html` hidden data-passkey="${options}"` },
    html`${fields}
<input type="hidden" name="passkey" value="">
<button type="submit" class="other">${label}</button>
<p role="alert" hidden>The browser has shown no passkey. Try again, or go another way.</p>`,
  );
}

/** What fills such forms in. Browsers that cannot do it show none of them. */
export const passkeyScript = `for (const form of document.querySelectorAll("form[data-passkey]")) {
  const options = JSON.parse(form.dataset.passkey);
  const isNew = "user" in options;
  const key = window.PublicKeyCredential;
  if (!key?.parseCreationOptionsFromJSON || !key.parseRequestOptionsFromJSON) continue;
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const credential = isNew
        ? await navigator.credentials.create({ publicKey: key.parseCreationOptionsFromJSON(options) })
        : await navigator.credentials.get({ publicKey: key.parseRequestOptionsFromJSON(options) });
      form.elements.passkey.value = JSON.stringify(credential);
      form.submit();
    } catch {
      form.querySelector("[role=alert]").hidden = false;
    }
  });
}
`;
