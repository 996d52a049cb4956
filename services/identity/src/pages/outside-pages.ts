import { endSessions } from "../accounts/take-away.ts";
import { beginCeremony } from "../factors/ceremony-store.ts";
import { factorFacts, hasSecondFactor } from "../factors/factor-facts.ts";
import type { OidcGround } from "../oidc/oidc-ground.ts";
import { beginJourney, callbackOf, endJourney, KnownProviders, type Returned } from "../outside/outside-client.ts";
import {
  accountLinkedWith,
  endDeparture,
  link,
  noteDeparture,
  type OutsideIdentity,
  unlink,
} from "../outside/outside-visit-store.ts";
import { findProvider, type ProviderRow } from "../outside/provider-store.ts";
import { signUp } from "../outside/sign-up.ts";
import type { BrowserSession } from "../sessions/session-store.ts";
import type { FormTokens } from "./form-token.ts";
import { messagePage } from "./forms.ts";
import { isFresh, sendToConfirm } from "./fresh-session.ts";
import { sendPage } from "./page.ts";
import { cookieOf, OUTSIDE_COOKIE, setCookie } from "./request-cookies.ts";
import { sendSecondFactor } from "./second-factor-page.ts";
import { letIn } from "./sign-in.ts";
import { localPath, sendOn, type Visit } from "./sign-in-visit.ts";

type Turn = (visit: Visit) => Promise<void>;

const NOT_EXPECTED = "Nobody was expected back here, or it took too long. Begin again.";
const NOT_PROVEN = "Its answer proves nothing, or you were not let in there. Begin again.";

/** The way to outside providers and back: to sign in, or to link what one has there with one's account. */
export class OutsidePages {
  readonly #ground: OidcGround;
  readonly #tokens: FormTokens;
  readonly #providers: KnownProviders;

  constructor(ground: OidcGround, tokens: FormTokens) {
    this.#providers = new KnownProviders(ground.sealing);
    this.#ground = ground;
    this.#tokens = tokens;
  }

  /** What happens at "GET /with/NAME", "POST /with/NAME" and "GET /with/NAME/back". */
  turnOf(asked: string): Turn | undefined {
    const [, method, name = "", end = ""] =
      /^(GET|POST) \/with\/([a-z][a-z0-9-]{0,30})(\/back|\/end)?$/.exec(asked) ?? [];
    const turns: Readonly<Record<string, (visit: Visit, provider: ProviderRow) => Promise<void>>> = {
      "GET ": (visit, provider) =>
        this.#depart(visit, provider, { accountId: null, next: localPath(visit.query.get("next")) }),
      "POST ": this.#linkOwn,
      "GET /back": this.#return,
      "POST /end": this.#unlink,
    };
    const turn = turns[`${method} ${end}`];
    return turn && ((visit) => this.#at(visit, name, turn));
  }

  async #at(visit: Visit, name: string, turn: (visit: Visit, provider: ProviderRow) => Promise<void>): Promise<void> {
    const provider = await findProvider(this.#ground.database.db, name);
    if (provider !== undefined) return turn(visit, provider);
    sendPage(visit.response, messagePage("Not here", "There is no such provider here.", 404));
  }

  async #depart(
    { response }: Visit,
    provider: ProviderRow,
    { accountId, next }: { accountId: string | null; next: string },
  ): Promise<void> {
    const { database, sealing, origin } = this.#ground;
    const { name } = provider;
    const config = await this.#providers.configOf(provider);
    // Nothing is asked about people that nothing is done with.
    const scope = provider.sign_up_domains === null || accountId !== null ? "openid" : "openid email profile";
    const { address, ...journey } = await beginJourney(config, callbackOf(origin, name), scope);
    await noteDeparture(database.db, sealing, { journey, visit: { provider: name, accountId, next } });
    // The one who comes back must be the browser that left.
    setCookie(response, OUTSIDE_COOKIE, journey.state);
    sendOn(response, address);
  }

  readonly #linkOwn = async (visit: Visit, provider: ProviderRow): Promise<void> => {
    const session = await this.#ground.liveSession(visit.request.headers);
    if (!isFresh(session)) return sendToConfirm(visit);
    return this.#depart(visit, provider, { accountId: session.accountId, next: "/sign-in/factors" });
  };

  readonly #return = async (visit: Visit, provider: ProviderRow): Promise<void> => {
    const { database, sealing, origin } = this.#ground;
    const { request, response, query } = visit;
    const state = query.get("state") ?? "";
    const isSameBrowser = state !== "" && cookieOf(request.headers, OUTSIDE_COOKIE) === state;
    setCookie(response, OUTSIDE_COOKIE, undefined);
    const departed = isSameBrowser
      ? await endDeparture(database.db, sealing, { state, provider: provider.name })
      : undefined;
    if (departed === undefined) return this.#refuse(visit, provider, NOT_EXPECTED);
    const back = new URL(`${callbackOf(origin, provider.name)}?${query}`);
    const who = await endJourney(await this.#providers.configOf(provider), departed.journey, back);
    if (who === undefined) return this.#refuse(visit, provider, NOT_PROVEN);
    const { accountId, next } = departed;
    return accountId === null
      ? this.#signIn(visit, provider, { who, next })
      : this.#link(visit, provider, { who, accountId });
  };

  async #signIn(visit: Visit, provider: ProviderRow, { who, next }: { who: Returned; next: string }) {
    const { database, trail } = this.#ground;
    trail.assertAccepts();
    const accountId = (await accountLinkedWith(database, who)) ?? (await this.#signUp(visit, provider, who));
    if (accountId === undefined) return;
    if (!hasSecondFactor(await factorFacts(database.db, accountId))) {
      await letIn(this.#ground, visit, { accountId, methods: ["fed"] });
      return sendOn(visit.response, next);
    }
    const ceremony = await beginCeremony(database.db, "sign-in", { accountId, firstMethod: "fed" });
    const csrf = this.#tokens.issue(visit.request, visit.response);
    return sendSecondFactor(this.#ground, visit, { action: "/sign-in", csrf, ceremony, next });
  }

  /** The account that somebody gets at their first sign-in; undefined: none, and they have been told. */
  async #signUp(visit: Visit, provider: ProviderRow, who: Returned): Promise<string | undefined> {
    const { database, trail } = this.#ground;
    const done = await signUp(database, { who, provider, profile: who.profile });
    if (done !== undefined && "accountId" in done) {
      const { accountId } = done;
      trail.record({ deed: "SignUp", accountId, resource: accountId, methods: ["fed"], source: visit });
      return accountId;
    }
    const unlinked = `Nobody here is linked with you there. Sign in with your password once, and link ${provider.display_name} under "How you come in".`;
    this.#refuse(visit, provider, done?.refused ?? unlinked);
    return undefined;
  }

  async #link(visit: Visit, provider: ProviderRow, { who, accountId }: { who: OutsideIdentity; accountId: string }) {
    const session = await this.#ground.liveSession(visit.request.headers);
    if (!isFresh(session) || session.accountId !== accountId) return sendToConfirm(visit);
    const isDone = await this.#ground.database.transaction((queries) => link(queries, accountId, who));
    if (!isDone) return this.#refuse(visit, provider, "You are linked with another account here already.");
    return this.#changed(visit, session);
  }

  readonly #unlink = async (visit: Visit, { issuer }: ProviderRow): Promise<void> => {
    const session = await this.#ground.liveSession(visit.request.headers);
    if (!isFresh(session)) return sendToConfirm(visit);
    const { accountId, sessionId } = session;
    await this.#ground.database.transaction(async (queries) => {
      await unlink(queries, accountId, issuer);
      await endSessions(queries, accountId, { session: sessionId });
    });
    return this.#changed(visit, session);
  };

  async #changed(visit: Visit, { accountId }: BrowserSession): Promise<void> {
    const { trail, mail, changes } = this.#ground;
    trail.record({ deed: "ChangeFactors", accountId, resource: accountId, source: visit });
    mail.tell(accountId, "The outside providers by which you come in were changed");
    await changes.tell({ account: accountId });
    sendOn(visit.response, "/sign-in/factors");
  }

  #refuse(visit: Visit, { name, display_name: title }: ProviderRow, why: string): void {
    this.#ground.trail.record({ deed: "SignIn", resource: `with ${name}`, refused: why, source: visit });
    sendPage(visit.response, messagePage(`Not signed in with ${title}`, why, 403));
  }
}
