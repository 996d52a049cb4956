import { interactionGone } from "../errors.ts";
import { bindGrant } from "../oidc/bind-grant.ts";
import { isOwnClient } from "../oidc/clients.ts";
import { forLibraryAt } from "../oidc/host-cookies.ts";
import type { OidcGround } from "../oidc/oidc-ground.ts";
import type { OidcProvider } from "../oidc/oidc-provider.ts";
import { offeredProviders } from "../outside/offered-providers.ts";
import type { BrowserSession } from "../sessions/session-store.ts";
import type { FormTokens } from "./form-token.ts";
import { consentPage, signInPage } from "./forms.ts";
import type { Interaction } from "./oidc-types.ts";
import { sendPage } from "./page.ts";
import { sendSecondFactor } from "./second-factor-page.ts";
import { letIn, loginOf, signInStep } from "./sign-in.ts";
import { sendOn, type Visit } from "./sign-in-visit.ts";

type Turn = (visit: Visit) => Promise<void>;

/** Reasons for which a session that goes on is not enough: the password is asked for again. */
const AGAIN = new Set(["login_prompt", "max_age", "id_token_hint"]);

/** The pages in the middle of an authorization: who is it, and may the program act for them. */
export class Interactions {
  readonly #ground: OidcGround;
  readonly #provider: OidcProvider;
  readonly #tokens: FormTokens;

  constructor(ground: OidcGround, provider: OidcProvider, tokens: FormTokens) {
    this.#ground = ground;
    this.#provider = provider;
    this.#tokens = tokens;
  }

  /** What happens at "GET /UID" and "POST /UID". */
  turnOf(asked: string): Turn | undefined {
    if (/^GET \/[\w-]{21,64}$/.test(asked)) return this.#show;
    return /^POST \/[\w-]{21,64}$/.test(asked) ? this.#answer : undefined;
  }

  readonly #show: Turn = async (visit) => {
    const interaction = await this.#interactionOf(visit);
    const { prompt, params } = interaction;
    if (prompt.name === "login") {
      const session = await this.#ground.liveSession(visit.request.headers);
      const isEnough = session !== undefined && !prompt.reasons.some((reason) => AGAIN.has(reason));
      if (isEnough) return this.#finish(visit, { login: loginResult(session) });
      return this.#askLogin(visit, interaction, []);
    }
    if (isOwnClient(params.client_id)) return this.#allow(visit, interaction);
    return this.#askConsent(visit, interaction);
  };

  readonly #answer: Turn = async (visit) => {
    const interaction = await this.#interactionOf(visit);
    if (interaction.prompt.name === "login") {
      const step = await signInStep(this.#ground, visit);
      if (step.kind === "refused") return this.#askLogin(visit, interaction, step.problems);
      if (step.kind === "half")
        return sendSecondFactor(this.#ground, visit, { ...this.#terms(visit, interaction), ...step });
      return this.#finish(visit, { login: loginResult(await letIn(this.#ground, visit, step)) });
    }
    if (visit.form.get("answer") === "yes") return this.#allow(visit, interaction);
    const refusal = { error: "access_denied", error_description: "The person did not allow it." };
    return this.#finish(visit, refusal);
  };

  async #interactionOf({ request, response }: Visit): Promise<Interaction> {
    const provider = await this.#provider.current();
    const [path = ""] = (request.url ?? "").split("?");
    request.headers.cookie = forLibraryAt(path, request.headers.cookie ?? "");
    try {
      return await provider.interactionDetails(request, response);
    } catch (error) {
      // Who goes back in the browser, or comes too late, has nothing that the address could belong to.
      if (error instanceof Error && error.name === "SessionNotFound") throw interactionGone();
      throw error;
    }
  }

  #terms({ request, response }: Visit, { uid, params }: Interaction) {
    const leadsTo = typeof params.redirect_uri === "string" ? [new URL(params.redirect_uri).origin] : [];
    return {
      action: `/sign-in/${uid}`,
      csrf: this.#tokens.issue(request, response),
      leadsTo: leadsTo.filter((origin) => origin !== "null"),
    };
  }

  async #askLogin(visit: Visit, interaction: Interaction, problems: readonly string[]): Promise<void> {
    const client = await this.#nameOf(interaction);
    const login = visit.form.get("login") ?? String(interaction.params.login_hint ?? "");
    const providers = await offeredProviders(this.#ground.database.db);
    const way = { client, login, problems, providers, next: `/sign-in/${interaction.uid}` };
    sendPage(visit.response, signInPage({ ...this.#terms(visit, interaction), ...way }));
  }

  async #askConsent(visit: Visit, interaction: Interaction): Promise<void> {
    const client = await this.#nameOf(interaction);
    const scopes = missingOf(interaction);
    const asked = [...new Set([...scopes.oidc, ...scopes.resource])];
    const login = await loginOf(this.#ground, interaction.session?.accountId ?? "");
    const terms = { client, login, scopes: asked };
    sendPage(visit.response, consentPage({ ...this.#terms(visit, interaction), ...terms }));
  }

  async #nameOf({ params }: Interaction): Promise<string> {
    const provider = await this.#provider.current();
    const client = await provider.Client.find(String(params.client_id));
    return client?.clientName ?? String(params.client_id);
  }

  async #allow(visit: Visit, interaction: Interaction): Promise<void> {
    const { database, audience, liveSession } = this.#ground;
    const provider = await this.#provider.current();
    const accountId = interaction.session?.accountId;
    const session = await liveSession(visit.request.headers);
    if (accountId === undefined || session?.accountId !== accountId) {
      const refusal = { error: "access_denied", error_description: "The browser session has ended." };
      return this.#finish(visit, refusal);
    }
    const grant = new provider.Grant({ accountId, clientId: String(interaction.params.client_id) });
    const { oidc, resource: ofApi } = missingOf(interaction);
    if (oidc.length > 0) grant.addOIDCScope(oidc.join(" "));
    if (ofApi.length > 0) grant.addResourceScope(audience, ofApi.join(" "));
    const grantId = await grant.save();
    // A program that may go on without the browser outlives its session.
    const endsWithIt = interaction.deviceCode === undefined && !oidc.includes("offline_access");
    await bindGrant(database, grantId, { session, endsWithIt });
    const resource = String(interaction.params.client_id);
    this.#ground.trail.record({ deed: "AllowProgram", accountId, resource, source: visit });
    return this.#finish(visit, { consent: { grantId } });
  }

  async #finish({ request, response }: Visit, result: Record<string, unknown>): Promise<void> {
    const provider = await this.#provider.current();
    sendOn(response, await provider.interactionResult(request, response, result));
  }
}

function loginResult({ accountId, methods, authenticatedAt }: BrowserSession) {
  return { accountId, amr: [...methods], ts: Math.floor(authenticatedAt.getTime() / 1000), remember: false };
}

/** What a grant must hold for the program to get what it asks for. */
function missingOf({ prompt }: Interaction): { oidc: string[]; resource: string[] } {
  const { missingOIDCScope = [], missingResourceScopes = {} } = prompt.details as {
    missingOIDCScope?: string[];
    missingResourceScopes?: Record<string, string[]>;
  };
  return { oidc: [...missingOIDCScope], resource: Object.values(missingResourceScopes).flat() };
}
