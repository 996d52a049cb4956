import type { MountHandler } from "@hms/http-edge";
import type { Provider } from "oidc-provider";
import { protectAnswer } from "../pages/protect-answer.ts";
import { sha256 } from "../secret-digest.ts";
import { endSession } from "../sessions/session-store.ts";
import { finishAnswer } from "./finish-answer.ts";
import { forgetOldest, forLibraryAt } from "./host-cookies.ts";
import type { OidcGround } from "./oidc-ground.ts";
import { noteDelivery } from "./token-delivery.ts";

/** The library that speaks OAuth 2.1 and OpenID Connect, loaded when somebody first needs it. */
export class OidcProvider {
  readonly #ground: OidcGround;
  #provider: { readonly signsWith: string; readonly opened: Promise<Provider> } | undefined;

  constructor(ground: OidcGround) {
    this.#ground = ground;
  }

  /**
   * The library's provider with today's signing keys. A new one signs with the new key, also if who made that died before
   * telling of it; what the old one has made lies in the database.
   */
  async current(): Promise<Provider> {
    const [{ kid: signsWith } = { kid: "" }] = await this.#ground.signingKeys.list();
    if (this.#provider?.signsWith !== signsWith) this.#provider = { signsWith, opened: openProvider(this.#ground) };
    const { opened } = this.#provider;
    try {
      return await opened;
    } catch (error) {
      if (this.#provider?.opened === opened) this.#provider = undefined;
      throw error;
    }
  }

  /** Answers below /oidc. */
  readonly handler: MountHandler = async (request, response, { path, query }) => {
    const provider = await this.current();
    const { host, protocol } = new URL(this.#ground.origin);
    // Addresses in answers are the issuer's, however the request came here.
    request.headers.host = host;
    request.headers["x-forwarded-host"] = host;
    request.headers["x-forwarded-proto"] = protocol.slice(0, -1);
    const own = request.headers.cookie;
    if (own !== undefined) {
      request.headers.cookie = forLibraryAt(path, own);
      for (const old of forgetOldest(own)) response.appendHeader("set-cookie", old);
    }
    Object.assign(request, { originalUrl: request.url });
    request.url = `${path || "/"}${query === "" ? "" : `?${query}`}`;
    const done = new Promise<void>((resolve) => response.once("close", resolve));
    await provider.callback()(request, response);
    await done;
  };
}

async function openProvider(ground: OidcGround): Promise<Provider> {
  const [{ default: ProviderClass }, { providerConfiguration }, { limitUserCodes }, { slowDownPolls }] =
    await Promise.all([
      import("oidc-provider"),
      import("./provider-configuration.ts"),
      import("./limit-user-codes.ts"),
      import("./slow-polls.ts"),
    ]);
  const provider = new ProviderClass(ground.issuer, await providerConfiguration(ground));
  provider.proxy = true;
  provider.silent = true;
  provider.use(async (ctx, next) => {
    protectAnswer(ctx.res);
    await next();
    finishAnswer(ctx.res, ground.issuer);
  });
  provider.on("grant.success", (ctx) => {
    const token = ctx.oidc.entities.RefreshToken?.jti;
    if (token === undefined) return;
    ctx.res.once("finish", () => void noteDelivery(ground.database, token).catch(ground.onFailure));
  });
  provider.use(limitUserCodes(ground.database));
  provider.use(slowDownPolls(ground.database));
  provider.on("server_error", (_, error) => ground.onFailure(error));
  Object.assign(provider.Client.prototype, { compareClientSecret });
  const { changes, database, liveSession } = ground;
  provider.on("end_session.success", (ctx) => void signOut(ctx.req.headers).catch(() => {}));
  provider.on("grant.revoked", (ctx) => {
    if (ctx.oidc.route !== "token") return;
    const accountId = ctx.oidc.entities.Account?.accountId ?? ctx.oidc.entities.RefreshToken?.accountId;
    const refused = "a used token was shown again; everything that came from it has ended";
    const resource = ctx.oidc.client?.clientId ?? "";
    ground.trail.record({ deed: "ReplayedToken", accountId, resource, refused, source: undefined });
  });
  const signOut = async (headers: Parameters<typeof liveSession>[0]) => {
    const session = await liveSession(headers);
    if (session === undefined) return;
    await database.transaction((queries) => endSession(queries, session.sessionId));
    await changes.tell({ account: session.accountId });
  };
  return provider;
}

/** Compares a shown secret with the kept SHA-256; digests of it all take the same time. */
function compareClientSecret(this: { clientSecret?: string }, shown: string): boolean {
  return this.clientSecret === sha256(shown).toString("hex");
}
