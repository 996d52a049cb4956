import type { MountHandler } from "@hms/http-edge";
import { HmsError } from "@hms/kernel";
import { choosePassword, isAdmin, ownerOfLink } from "../accounts/choose-password.ts";
import { findLink } from "../accounts/link-store.ts";
import { makeFirstAdmin } from "../accounts/set-up.ts";
import { linkGone } from "../errors.ts";
import type { OidcGround } from "../oidc/oidc-ground.ts";
import type { OidcProvider } from "../oidc/oidc-provider.ts";
import { offeredProviders } from "../outside/offered-providers.ts";
import { FactorPages } from "./factor-pages.ts";
import { problemsOf } from "./form-problems.ts";
import { FormTokens } from "./form-token.ts";
import { messagePage, passwordPage, setUpPage, signedInPage, signInPage } from "./forms.ts";
import { html } from "./html.ts";
import { Interactions } from "./interactions.ts";
import { MailPages } from "./mail-pages.ts";
import { OutsidePages } from "./outside-pages.ts";
import { sendPage } from "./page.ts";
import { passkeyScript } from "./passkey-form.ts";
import { PasswordPages } from "./password-pages.ts";
import { PlacesPages } from "./places-pages.ts";
import { protectAnswer } from "./protect-answer.ts";
import { sendSecondFactor } from "./second-factor-page.ts";
import { letIn, loginOf, signInStep, signOut } from "./sign-in.ts";
import { localPath, sendOn, type Visit, visitOf } from "./sign-in-visit.ts";
import { style } from "./style.ts";

/** What pages take along. */
const FILES: Readonly<Record<string, { readonly type: string; readonly text: string }>> = {
  "/style.css": { type: "text/css", text: style },
  "/passkey.js": { type: "text/javascript", text: passkeyScript },
};

/** What happens at each path below /sign-in. */
type Turn = (visit: Visit) => Promise<void>;

/** The pages by which people come in: sign-in, set-up, passwords and consent. They work without scripts. */
export class SignInPages {
  readonly #ground: OidcGround;
  readonly #tokens: FormTokens;
  readonly #interactions: Interactions;
  readonly #factors: FactorPages;
  readonly #mails: MailPages;
  readonly #outside: OutsidePages;
  readonly #places: PlacesPages;
  readonly #passwords: PasswordPages;
  readonly #onSetUp: () => void;

  constructor(ground: OidcGround, provider: OidcProvider, onSetUp: () => void) {
    this.#ground = ground;
    this.#tokens = new FormTokens(ground.sealing.derive("form-tokens"), ground.origin);
    this.#interactions = new Interactions(ground, provider, this.#tokens);
    this.#places = new PlacesPages(ground, this.#tokens);
    this.#passwords = new PasswordPages(ground, this.#tokens);
    this.#outside = new OutsidePages(ground, this.#tokens);
    this.#mails = new MailPages(ground, this.#tokens);
    this.#factors = new FactorPages(ground, this.#tokens);
    this.#onSetUp = onSetUp;
  }

  /** Answers below the mount's prefix. */
  readonly handler: MountHandler = async (request, response, context) => {
    protectAnswer(response);
    const file = FILES[context.path];
    if (file !== undefined) {
      response.setHeader("content-type", `${file.type}; charset=utf-8`);
      response.setHeader("cache-control", "public, max-age=3600");
      response.end(file.text);
      return;
    }
    const turn = this.#turnOf(`${request.method === "HEAD" ? "GET" : request.method} ${context.path}`);
    if (turn === undefined) return sendPage(response, messagePage("Not here", "There is no such page.", 404));
    try {
      const visit = await visitOf(request, response, context);
      if (request.method === "POST") this.#checkForm(visit);
      await turn(visit);
    } catch (error) {
      if (!(error instanceof HmsError) || response.headersSent) throw error;
      const status =
        { PERMISSION_DENIED: 403, NOT_FOUND: 404, RESOURCE_EXHAUSTED: 429, UNAVAILABLE: 503 }[error.code as string] ??
        400;
      if (error.code === "INTERNAL" || error.code === "UNAVAILABLE") throw error;
      sendPage(response, { title: "This did not work", content: html`<p role="alert">${error.message}</p>`, status });
    }
  };

  /** @throws HmsError PERMISSION_DENIED, recorded, for a form that is none of ours. */
  #checkForm(visit: Visit): void {
    try {
      this.#tokens.check(visit.request, visit.form.get("csrf") ?? "");
    } catch (error) {
      const refused = "the form came from another page or another browser, or has ended";
      this.#ground.trail.record({ deed: "ForgedForm", resource: "sign-in", refused, source: visit });
      throw error;
    }
  }

  #turnOf(asked: string): Turn | undefined {
    const turns: Readonly<Record<string, Turn>> = {
      "GET ": this.#start,
      "GET /": this.#start,
      "POST /": this.#signIn,
      "POST ": this.#signIn,
      "GET /again": this.#askAgain,
      "POST /out": this.#signOut,
      "GET /set-up": this.#showSetUp,
      "POST /set-up": this.#setUp,
      "GET /password": this.#showPassword,
      "POST /password": this.#setPassword,
    };
    return (
      turns[asked] ??
      this.#factors.turnOf(asked) ??
      this.#mails.turnOf(asked) ??
      this.#outside.turnOf(asked) ??
      this.#places.turnOf(asked) ??
      this.#passwords.turnOf(asked) ??
      this.#interactions.turnOf(asked)
    );
  }

  readonly #start: Turn = async ({ request, response, query }) => {
    const session = await this.#ground.liveSession(request.headers);
    const csrf = this.#tokens.issue(request, response);
    if (session === undefined) {
      const providers = await offeredProviders(this.#ground.database.db);
      sendPage(response, signInPage({ action: "/sign-in", csrf, next: localPath(query.get("next")), providers }));
      return;
    }
    if (query.has("next")) return sendOn(response, localPath(query.get("next")));
    const login = await loginOf(this.#ground, session.accountId);
    sendPage(response, signedInPage({ action: "/sign-in/out", csrf, login }));
  };

  readonly #askAgain: Turn = async ({ request, response, query }) => {
    const session = await this.#ground.liveSession(request.headers);
    const next = localPath(query.get("next"));
    const login = session && (await loginOf(this.#ground, session.accountId));
    const csrf = this.#tokens.issue(request, response);
    const providers = await offeredProviders(this.#ground.database.db);
    const terms = { action: "/sign-in", csrf, next, isAgain: true, providers };
    sendPage(response, signInPage({ ...terms, ...(login ? { login } : {}) }));
  };

  readonly #signIn: Turn = async (visit) => {
    const { request, response, form } = visit;
    const step = await signInStep(this.#ground, visit);
    const next = localPath(form.get("next"));
    if (step.kind === "known") {
      await letIn(this.#ground, visit, step);
      return sendOn(response, next);
    }
    const terms = { action: "/sign-in", csrf: this.#tokens.issue(request, response), problems: step.problems };
    if (step.kind === "half") return sendSecondFactor(this.#ground, visit, { ...terms, ceremony: step.ceremony });
    const providers = await offeredProviders(this.#ground.database.db);
    sendPage(response, signInPage({ ...terms, login: form.get("login") ?? "", next, providers }));
  };

  readonly #signOut: Turn = async (visit) => {
    await signOut(this.#ground, visit);
    // Nothing that was seen here is to be had by going back.
    visit.response.setHeader("clear-site-data", '"cache", "storage"');
    sendOn(visit.response, "/sign-in");
  };

  readonly #showSetUp: Turn = async ({ request, response, query }) => {
    const token = query.get("token") ?? "";
    if ((await findLink(this.#ground.database.db, token))?.purpose !== "set-up") throw linkGone();
    sendPage(response, setUpPage({ action: "/sign-in/set-up", csrf: this.#tokens.issue(request, response), token }));
  };

  readonly #setUp: Turn = async (visit) => {
    const { request, response, form } = visit;
    const [token, login, password] = ["token", "login", "password"].map((name) => form.get(name) ?? "") as [
      string,
      string,
      string,
    ];
    this.#ground.trail.assertAccepts();
    try {
      const accountId = await makeFirstAdmin(this.#ground, { token, login, password });
      this.#onSetUp();
      this.#ground.trail.record({ deed: "SetUp", accountId, resource: login, source: visit });
      await letIn(this.#ground, visit, { accountId, methods: ["pwd"] });
      sendOn(response, "/sign-in");
    } catch (error) {
      const problems = problemsOf(error);
      if (problems === undefined) throw error;
      const csrf = this.#tokens.issue(request, response);
      sendPage(response, setUpPage({ action: "/sign-in/set-up", csrf, token, login, problems }));
    }
  };

  readonly #showPassword: Turn = async ({ request, response, query }) => {
    const token = query.get("token") ?? "";
    await this.#askPassword({ request, response }, token, []);
  };

  async #askPassword({ request, response }: Pick<Visit, "request" | "response">, token: string, problems: string[]) {
    const owner = await ownerOfLink(this.#ground.database, token);
    const csrf = this.#tokens.issue(request, response);
    const shortest = isAdmin(owner) ? 15 : 12;
    sendPage(
      response,
      passwordPage({ action: "/sign-in/password", csrf, token, login: owner.login, shortest, problems }),
    );
  }

  readonly #setPassword: Turn = async (visit) => {
    const { response, form } = visit;
    const token = form.get("token") ?? "";
    this.#ground.trail.assertAccepts();
    try {
      const accountId = await choosePassword(this.#ground, { token, password: form.get("password") ?? "" });
      this.#ground.mail.tell(accountId, "The password was changed");
      this.#ground.trail.record({ deed: "ChoosePassword", accountId, resource: accountId, source: visit });
      sendOn(response, "/sign-in");
    } catch (error) {
      const problems = problemsOf(error);
      if (problems === undefined) throw error;
      await this.#askPassword(visit, token, problems);
    }
  };
}
