import type { MountHandler } from "@hms/http-edge";
import type { Provider } from "oidc-provider";
import { sha256 } from "../secret-digest.ts";
import { endSession } from "../sessions/session-store.ts";
import type { OidcGround } from "./oidc-ground.ts";

/** The library that speaks OAuth 2.1 and OpenID Connect, loaded when somebody first needs it. */
export class OidcProvider implements Disposable {
  readonly #ground: OidcGround;
  readonly #following: Disposable;
  #provider: Promise<Provider> | undefined;

  constructor(ground: OidcGround) {
    this.#ground = ground;
    // A new one signs with the new key; what the old one has made lies in the database.
    this.#following = ground.changes.follow((change) => {
      if (change === "signing-keys") this.#provider = undefined;
    });
  }

  /** The library's provider with today's signing keys. */
  current(): Promise<Provider> {
    this.#provider ??= openProvider(this.#ground).catch((error) => {
      this.#provider = undefined;
      throw error;
    });
    return this.#provider;
  }

  /** Answers below /oidc. */
  readonly handler: MountHandler = async (request, response, { path, query }) => {
    const provider = await this.current();
    const { host, protocol } = new URL(this.#ground.origin);
    // Addresses in answers are the issuer's, however the request came here.
    request.headers.host = host;
    request.headers["x-forwarded-host"] = host;
    request.headers["x-forwarded-proto"] = protocol.slice(0, -1);
    Object.assign(request, { originalUrl: request.url });
    request.url = `${path || "/"}${query === "" ? "" : `?${query}`}`;
    const done = new Promise<void>((resolve) => response.once("close", resolve));
    await provider.callback()(request, response);
    await done;
  };

  [Symbol.dispose](): void {
    this.#following[Symbol.dispose]();
  }
}

async function openProvider(ground: OidcGround): Promise<Provider> {
  const [{ default: ProviderClass }, { providerConfiguration }] = await Promise.all([
    import("oidc-provider"),
    import("./provider-configuration.ts"),
  ]);
  const provider = new ProviderClass(ground.issuer, await providerConfiguration(ground));
  provider.proxy = true;
  provider.silent = true;
  provider.use(async (ctx, next) => {
    await next();
    const asked = ctx.res.getHeader("www-authenticate");
    // The library's realm is its address, which not everybody may know who asks for a program's tokens.
    if (typeof asked === "string") ctx.set("www-authenticate", asked.replaceAll(ground.issuer, "hms-sys"));
  });
  provider.on("server_error", (_, error) => ground.onFailure(error));
  Object.assign(provider.Client.prototype, { compareClientSecret });
  const { changes, database, liveSession } = ground;
  provider.on("end_session.success", (ctx) => void signOut(ctx.req.headers).catch(() => {}));
  provider.on("grant.revoked", (ctx) => {
    const accountId = ctx.oidc.entities.Account?.accountId ?? ctx.oidc.entities.RefreshToken?.accountId;
    if (accountId === undefined) return;
    void changes.tell({ account: accountId });
    if (ctx.oidc.route !== "token") return;
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
