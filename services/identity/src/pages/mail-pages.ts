import { findAccount } from "../accounts/account-store.ts";
import { addressOfLink, proveAddress } from "../accounts/mail-address.ts";
import { makePersonalLink } from "../accounts/personal-link.ts";
import type { OidcGround } from "../oidc/oidc-ground.ts";
import { beginAttempt } from "../passwords/attempt-throttle.ts";
import { form } from "./form.ts";
import type { FormTokens } from "./form-token.ts";
import { messagePage } from "./forms.ts";
import { html } from "./html.ts";
import { sendPage } from "./page.ts";
import type { Visit } from "./sign-in-visit.ts";

type Turn = (visit: Visit) => Promise<void>;

const ON_ITS_WAY =
  "If there is such an account, and its mail address is known to be its owner's, a link is on its way. It is good for 10 minutes.";

/** The pages for what comes by mail: a new password, and the proof that an address is somebody's. */
export class MailPages {
  readonly #ground: OidcGround;
  readonly #tokens: FormTokens;

  constructor(ground: OidcGround, tokens: FormTokens) {
    this.#ground = ground;
    this.#tokens = tokens;
  }

  /** What happens at "GET /forgot", "GET /verify" and when their forms are sent. */
  turnOf(asked: string): Turn | undefined {
    const turns: Readonly<Record<string, Turn>> = {
      "GET /forgot": this.#askLogin,
      "POST /forgot": this.#forgot,
      "GET /verify": this.#askProof,
      "POST /verify": this.#verify,
    };
    return turns[asked];
  }

  readonly #askLogin: Turn = async ({ request, response }) => {
    if (!this.#ground.mail.isSetUp) {
      const how =
        "No mail is set up here. Who may change your account can make a link for you: hms-sys users reset LOGIN";
      return sendPage(response, messagePage("Forgot the password?", how));
    }
    const content = form(
      { action: "/sign-in/forgot", csrf: this.#tokens.issue(request, response) },
      html`<label for="login">Login</label>
<input id="login" name="login" autocomplete="username" autocapitalize="none" spellcheck="false" required>
<button type="submit">Mail me a link</button>`,
    );
    sendPage(response, { title: "Forgot the password?", content });
  };

  readonly #forgot: Turn = async ({ response, form: sent, address }) => {
    const login = (sent.get("login") ?? "").toLowerCase().slice(0, 100);
    // After the answer, so that it takes as long for logins that nobody has.
    this.#ground.mail.inBackground(() => this.#mailReset(login, address));
    sendPage(response, messagePage("Look at your mail", ON_ITS_WAY));
  };

  async #mailReset(login: string, address: string): Promise<void> {
    const { database, mail } = this.#ground;
    if (!mail.isSetUp) return;
    if (!(await beginAttempt(database, { subject: `forgotten by ${login}`, address, isGuessable: true }))) return;
    const account = await findAccount(database.db, login);
    if (account?.kind !== "user" || !account.active || account.email_verified_at === null) return;
    await makePersonalLink(this.#ground, account, { purpose: "reset" });
  }

  // A page with a button, because programs that look mail through follow links.
  readonly #askProof: Turn = async ({ request, response, query }) => {
    const token = query.get("token") ?? "";
    const email = await addressOfLink(this.#ground.database, token);
    const content = html`<p>Is <strong>${email}</strong> your address?</p>${form(
      { action: "/sign-in/verify", csrf: this.#tokens.issue(request, response) },
      html`<input type="hidden" name="token" value="${token}">
<button type="submit">Yes, it is mine</button>`,
    )}`;
    sendPage(response, { title: "Confirm your mail address", content });
  };

  readonly #verify: Turn = async (visit) => {
    const { response, form: sent } = visit;
    const { database, trail } = this.#ground;
    trail.assertAccepts();
    const accountId = await proveAddress(database, sent.get("token") ?? "");
    trail.record({ deed: "VerifyAddress", accountId, resource: accountId, source: visit });
    sendPage(response, messagePage("Confirmed", "This address is yours. You can close this page."));
  };
}
