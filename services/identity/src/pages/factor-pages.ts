import { beginCeremony, endCeremony } from "../factors/ceremony-store.ts";
import { addKey, addTotp, beginTotp, type FactorChange, removeFactor, secretOf } from "../factors/change-factors.ts";
import { factorFacts } from "../factors/factor-facts.ts";
import { passkeyCreation } from "../factors/passkeys.ts";
import { makeRecoveryCodes } from "../factors/recovery-codes.ts";
import { totpAddress, typedSecret } from "../factors/totp.ts";
import type { Queries } from "../identity-tables.ts";
import type { OidcGround } from "../oidc/oidc-ground.ts";
import { offeredProviders } from "../outside/offered-providers.ts";
import { linkedIssuers } from "../outside/outside-visit-store.ts";
import type { BrowserSession } from "../sessions/session-store.ts";
import { codesPage, factorsPage, totpPage } from "./factor-forms.ts";
import type { FormTokens } from "./form-token.ts";
import { isFresh, sendToConfirm } from "./fresh-session.ts";
import { sendPage } from "./page.ts";
import { loginOf } from "./sign-in.ts";
import { sendOn, type Visit } from "./sign-in-visit.ts";

const START = "/sign-in/factors";
const NOT_ITS_CODE = "That is not the code of this app now. Look at the clock of your phone, and try the next one.";
const NO_PASSKEY = "The browser's passkey could not be used, or is somebody's already. Try again.";

type SignedInTurn = (visit: Visit, session: BrowserSession) => Promise<void>;

/** The pages on which people set up and remove second factors. */
export class FactorPages {
  readonly #ground: OidcGround;
  readonly #tokens: FormTokens;

  constructor(ground: OidcGround, tokens: FormTokens) {
    this.#ground = ground;
    this.#tokens = tokens;
  }

  /** What happens at "GET /factors" and what is sent from there. */
  turnOf(asked: string): ((visit: Visit) => Promise<void>) | undefined {
    const turns: Readonly<Record<string, SignedInTurn>> = {
      "GET /factors": (visit, session) => this.#show(visit, session),
      "POST /factors/totp": this.#beginTotp,
      "POST /factors/totp/code": this.#addTotp,
      "POST /factors/passkey": this.#addPasskey,
      "POST /factors/codes": this.#makeCodes,
      "POST /factors/remove": this.#remove,
    };
    const turn = turns[asked];
    return turn && ((visit) => this.#freshly(visit, turn));
  }

  async #freshly(visit: Visit, turn: SignedInTurn): Promise<void> {
    const session = await this.#ground.liveSession(visit.request.headers);
    return isFresh(session) ? turn(visit, session) : sendToConfirm(visit);
  }

  #terms({ request, response }: Visit, action: string, problems: readonly string[] = []) {
    return { action, csrf: this.#tokens.issue(request, response), problems };
  }

  async #show(visit: Visit, { accountId }: BrowserSession, problems: readonly string[] = []): Promise<void> {
    const { database, origin } = this.#ground;
    const facts = await factorFacts(database.db, accountId);
    const ceremony = await beginCeremony(database.db, "passkey", { accountId });
    const login = await loginOf(this.#ground, accountId);
    const options = await passkeyCreation(database.db, origin, { ...ceremony, login });
    const passkey = { options, token: ceremony.token };
    const providers = await offeredProviders(database.db, await linkedIssuers(database.db, accountId));
    const terms = { ...this.#terms(visit, START, problems), leadsTo: providers.map((each) => each.origin) };
    sendPage(visit.response, factorsPage({ ...terms, facts, passkey, providers }));
  }

  readonly #beginTotp: SignedInTurn = (visit, { accountId }) => this.#askCode(visit, { accountId, problems: [] });

  async #askCode(
    visit: Visit,
    { problems, ...begun }: { accountId: string; secret?: Buffer; problems: readonly string[] },
  ): Promise<void> {
    const { database, sealing, instance } = this.#ground;
    const ceremony = await beginTotp(database.db, sealing, begun);
    const secret = secretOf(sealing, ceremony);
    const login = await loginOf(this.#ground, begun.accountId);
    const { renderSVG } = await import("uqr");
    const picture = renderSVG(totpAddress(secret, { login, instance }), { border: 2 });
    const shown = { token: ceremony.token, picture, typed: typedSecret(secret) };
    sendPage(visit.response, totpPage({ ...this.#terms(visit, `${START}/totp/code`, problems), ...shown }));
  }

  readonly #addTotp: SignedInTurn = async (visit, session) => {
    const { sealing } = this.#ground;
    const ceremony = await this.#ended(visit, session, "totp");
    if (ceremony === undefined) return sendOn(visit.response, START);
    const code = visit.form.get("code") ?? "";
    const done = await this.#changed(visit, session, (queries) =>
      addTotp(queries, sealing, { ceremony, code, session }),
    );
    if (done !== undefined) return this.#finish(visit, done);
    const { accountId } = session;
    return this.#askCode(visit, { accountId, secret: secretOf(sealing, ceremony), problems: [NOT_ITS_CODE] });
  };

  readonly #addPasskey: SignedInTurn = async (visit, session) => {
    const { origin } = this.#ground;
    const ceremony = await this.#ended(visit, session, "passkey");
    const [shown, name] = [visit.form.get("passkey") ?? "", visit.form.get("name")?.trim() || "Passkey"];
    const done =
      ceremony &&
      (await this.#changed(visit, session, (queries) => addKey(queries, origin, { ceremony, shown, name, session })));
    return done === undefined ? this.#show(visit, session, [NO_PASSKEY]) : this.#finish(visit, done);
  };

  readonly #makeCodes: SignedInTurn = async (visit, session) => {
    const codes = await this.#changed(visit, session, (queries) => makeRecoveryCodes(queries, session.accountId));
    sendPage(visit.response, codesPage(codes));
  };

  readonly #remove: SignedInTurn = async (visit, session) => {
    const factor = visit.form.get("factor") ?? "";
    const which = factor === "totp" ? factor : { credentialId: factor };
    await this.#changed(visit, session, (queries) => removeFactor(queries, session, which));
    sendOn(visit.response, START);
  };

  /** What this account has begun; whoever else has its token gets nothing. */
  async #ended({ form }: Visit, { accountId }: BrowserSession, purpose: "totp" | "passkey") {
    const ceremony = await endCeremony(this.#ground.database.db, purpose, form.get("ceremony") ?? "");
    return ceremony?.accountId === accountId ? ceremony : undefined;
  }

  /** Does a change in one transaction, records it, and tells of it. */
  async #changed<T>(visit: Visit, session: BrowserSession, work: (queries: Queries) => Promise<T>): Promise<T> {
    const { database, changes, trail, mail } = this.#ground;
    const { accountId } = session;
    trail.assertAccepts();
    const done = await database.transaction(work);
    if (done === undefined) return done;
    trail.record({ deed: "ChangeFactors", accountId, resource: accountId, source: visit });
    mail.tell(accountId, "What is asked for beside the password was changed");
    await changes.tell({ account: accountId });
    return done;
  }

  #finish({ response }: Visit, { codes }: FactorChange): void {
    if (codes === undefined) sendOn(response, START);
    else sendPage(response, codesPage(codes));
  }
}
