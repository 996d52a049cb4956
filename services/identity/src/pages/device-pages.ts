import { Html, html } from "./html.ts";
import type { Client, DeviceFlowFeature } from "./oidc-types.ts";
import { plainPage, showPage } from "./page.ts";

const WHY: Readonly<Record<string, string>> = {
  NotFoundError: "There is no such code. Look at it again.",
  NoCodeError: "Type the code that the program shows.",
  ExpiredError: "This code has ended. Start the program's sign-in again.",
  AlreadyUsedError: "This code has been used. Start the program's sign-in again.",
  AbortedError: "The program was not let in.",
};

/** Asks for the code that a program shows. */
const userCodeInputSource: DeviceFlowFeature["userCodeInputSource"] = async (...[ctx, form, , error]) => {
  const why = error === undefined ? undefined : (WHY[error.name] ?? "That did not work. Type the code again.");
  const content = html`${why === undefined ? "" : html`<p role="alert">${why}</p>`}
<p>Type the code that the program shows you.</p>
${new Html(withLabel(form))}
<button type="submit" form="op.deviceInputForm">Go on</button>`;
  showPage(ctx, { title: "Sign a program in", content });
};

// The library's form has no name for its field and takes the focus by an attribute that readers find confusing.
function withLabel(form: string): string {
  return form
    .replace(
      /<input[^>]*name="user_code"/,
      (input) => `<label for="user_code">Code</label>${input} id="user_code" autocomplete="off"`,
    )
    .replace(/ (?:onfocus|onblur)="[^"]*"/g, "");
}

/** Asks whether the program may come in; nobody should say yes to a code that came by mail or telephone. */
const userCodeConfirmSource: DeviceFlowFeature["userCodeConfirmSource"] = async (
  ...[ctx, form, client, device, code]
) => {
  const { ip } = device as { ip?: string };
  const content = html`<p><strong>${nameOf(client)}</strong> wants to act for you, with everything you may do.</p>
<p>It must show this code: <br><code>${code}</code></p>
<p role="alert">Go on only if you started it yourself. Nobody who calls or writes to you needs this code.</p>
<p><small>Asked for from ${ip ?? "an unknown address"}.</small></p>
${new Html(form)}
<button type="submit" form="op.deviceConfirmForm">Let it in</button>
<button type="submit" form="op.deviceConfirmForm" class="other" value="yes" name="abort">Do not</button>`;
  showPage(ctx, { title: "Let a program in?", content });
};

/** Says that the program is in. */
const successSource: DeviceFlowFeature["successSource"] = async (ctx) => {
  plainPage(ctx, "The program is in", "You can close this page and go back to it.");
};

const nameOf = (client: Client) => client.clientName ?? client.clientId;

/** The pages of the device flow. */
export const devicePages = { userCodeInputSource, userCodeConfirmSource, successSource };
