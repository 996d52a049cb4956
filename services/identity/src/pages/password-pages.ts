import { accountOf } from "../accounts/account-store.ts";
import { changePassword } from "../accounts/change-password.ts";
import { isAdmin } from "../accounts/choose-password.ts";
import type { OidcGround } from "../oidc/oidc-ground.ts";
import type { BrowserSession } from "../sessions/session-store.ts";
import { form } from "./form.ts";
import { problemsOf } from "./form-problems.ts";
import type { FormTokens } from "./form-token.ts";
import { messagePage } from "./forms.ts";
import { isFresh, sendToConfirm } from "./fresh-session.ts";
import { html } from "./html.ts";
import { sendPage } from "./page.ts";
import type { Visit } from "./sign-in-visit.ts";

const PATH = "/sign-in/change-password";

/** The page on which people who are signed in change their password. */
export class PasswordPages {
  readonly #ground: OidcGround;
  readonly #tokens: FormTokens;

  constructor(ground: OidcGround, tokens: FormTokens) {
    this.#ground = ground;
    this.#tokens = tokens;
  }

  /** What happens at "GET /change-password" and when its form is sent. */
  turnOf(asked: string): ((visit: Visit) => Promise<void>) | undefined {
    if (asked === "GET /change-password")
      return (visit) => this.#freshly(visit, (session) => this.#ask(visit, session));
    if (asked === "POST /change-password")
      return (visit) => this.#freshly(visit, (session) => this.#change(visit, session));
    return undefined;
  }

  async #freshly(visit: Visit, turn: (session: BrowserSession) => Promise<void>): Promise<void> {
    const session = await this.#ground.liveSession(visit.request.headers);
    return isFresh(session) ? turn(session) : sendToConfirm(visit, PATH);
  }

  async #ask(
    { request, response }: Visit,
    { accountId }: BrowserSession,
    problems: readonly string[] = [],
  ): Promise<void> {
    const account = await accountOf(this.#ground.database.db, accountId);
    if (!account.has_password) {
      const how =
        "You have no password here. Who may change your account can make a link for you: hms-sys users invite LOGIN";
      return sendPage(response, messagePage("Change the password", how));
    }
    const content = html`<p>Everything else that is signed in as <strong>${account.login}</strong> ends: other browsers, programs and applications.</p>${form(
      { action: PATH, csrf: this.#tokens.issue(request, response), problems },
      html`<input type="hidden" name="username" autocomplete="username" value="${account.login}">
<label for="current">Password now</label>
<input id="current" name="current" type="password" autocomplete="current-password" required>
<label for="password">New password, at least ${String(isAdmin(account) ? 15 : 12)} characters</label>
<input id="password" name="password" type="password" autocomplete="new-password" required>
<button type="submit">Change it</button>`,
    )}
<p><a href="/sign-in">Back</a></p>`;
    sendPage(response, { title: "Change the password", content, ...(problems.length > 0 ? { status: 422 } : {}) });
  }

  async #change(visit: Visit, session: BrowserSession): Promise<void> {
    const { response, form: sent, address } = visit;
    const { database, trail } = this.#ground;
    const { accountId, sessionId } = session;
    trail.assertAccepts();
    const account = await accountOf(database.db, accountId);
    const done = { deed: "ChangePassword", accountId, resource: accountId, source: visit } as const;
    const given = { current: sent.get("current") ?? "", password: sent.get("password") ?? "", address };
    try {
      await changePassword(this.#ground, account, { ...given, keep: { session: sessionId } });
    } catch (error) {
      const problems = problemsOf(error);
      if (problems === undefined) throw error;
      trail.record({ ...done, refused: problems.join(" ") });
      return this.#ask(visit, session, problems);
    }
    trail.record(done);
    sendPage(
      response,
      messagePage("Changed", "Your password is changed. Everything else that was signed in as you has ended."),
    );
  }
}
