import type { Configuration, KoaContextWithOIDC } from "oidc-provider";
import type { IdentityDatabase } from "../identity-tables.ts";
import { devicePages } from "../pages/device-pages.ts";
import { logOutPage } from "../pages/log-out-pages.ts";
import { errorPage, plainPage } from "../pages/page.ts";
import { ACCESS_TOKEN_LIFE_S, WHOLE_SCOPE } from "../tokens/access-tokens.ts";
import { ArtifactAdapter } from "./artifact-adapter.ts";
import { ClientAdapter, ownClients } from "./clients.ts";
import { forLibrary } from "./library-error.ts";
import type { LiveSession, OidcGround } from "./oidc-ground.ts";

const MINUTE = 60;
const DAY = 86_400;

/** How oidc-provider is set up: what is off here is not served at all. */
export async function providerConfiguration(ground: OidcGround): Promise<Configuration> {
  const { database, origin, audience, signingKeys, sealing, clients } = ground;
  const jwks = { keys: (await signingKeys.privateKeys()) as never[] };
  const [current] = await signingKeys.list();
  const scopes = ["openid", "offline_access", WHOLE_SCOPE, ...ground.permissions()];
  const known = new Set(scopes);
  return {
    adapter: (kind) => (kind === "Client" ? new ClientAdapter(database, known) : new ArtifactAdapter(kind, ground)),
    clients: [...ownClients(origin), ...clients],
    jwks,
    scopes,
    claims: { openid: ["sub"] },
    findAccount: (_, id) => forLibrary(accountClaims(database, id)),
    pkce: { required: () => true },
    // Said where it was asked for, and again where it is redeemed (RFC 6749, section 4.1.3).
    allowOmittingSingleRegisteredRedirectUri: false,
    responseTypes: ["code"],
    clientDefaults: { id_token_signed_response_alg: "ES256" },
    enabledJWA: { idTokenSigningAlgValues: ["ES256"], userinfoSigningAlgValues: ["ES256"] },
    rotateRefreshToken: true,
    issueRefreshToken: async (_, client, code) =>
      client.grantTypeAllowed("refresh_token") && (code.scopes.has("offline_access") || code.kind === "DeviceCode"),
    expiresWithSession: async (_, code) => code.kind === "AuthorizationCode" && !code.scopes.has("offline_access"),
    extraTokenClaims: async (_, token) => ("grantId" in token && token.grantId ? { gid: token.grantId } : undefined),
    formats: { customizers: { jwt: (_, __, { payload }) => void Object.assign(payload, { iss: audience }) } },
    interactions: { url: (_, { uid }) => `/sign-in/${uid}`, policy: await interactionPolicy(ground) },
    // Each login makes a grant of its own, so that ending one ends no other.
    loadExistingGrant: async (ctx) => ownGrant(ctx),
    routes: { authorization: "/auth", code_verification: "/device", end_session: "/logout" },
    cookies: {
      keys: [sealing.derive("oidc-cookies").toString("base64url")],
      // The latter two belong to one path each; browsers get them under names that say so (host-cookies.ts).
      names: { session: "__Host-hms_oidc", interaction: "hms_oidc_interaction", resume: "hms_oidc_resume" },
      long: { signed: true, httpOnly: true, sameSite: "lax", path: "/" },
      short: { signed: true, httpOnly: true, sameSite: "lax" },
    },
    ttl: {
      AccessToken: ACCESS_TOKEN_LIFE_S,
      AuthorizationCode: MINUTE,
      ClientCredentials: ACCESS_TOKEN_LIFE_S,
      DeviceCode: 10 * MINUTE,
      Grant: 30 * DAY,
      IdToken: 5 * MINUTE,
      Interaction: 30 * MINUTE,
      RefreshToken: 30 * DAY,
      Session: DAY / 2,
    },
    features: providerFeatures(ground, current?.kid ?? ""),
    renderError: (ctx, out) => errorPage(ctx, out),
  };
}

function providerFeatures({ audience, permissions }: OidcGround, kid: string): Configuration["features"] {
  const sign = { alg: "ES256", kid } as const;
  const scope = [WHOLE_SCOPE, ...permissions()].join(" ");
  return {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true, ...devicePages },
    // Nobody here looks at proofs of possession: tokens that ask for them would be good without.
    dPoP: { enabled: false },
    pushedAuthorizationRequests: { enabled: false },
    introspection: { enabled: true, allowedPolicy: async (_, client, token) => token.clientId === client.clientId },
    revocation: { enabled: true, allowedPolicy: async (_, client, token) => token.clientId === client.clientId },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: logOutPage,
      postLogoutSuccessSource: (ctx) => plainPage(ctx, "Signed out", "You are signed out here."),
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope,
        audience,
        accessTokenFormat: "jwt",
        accessTokenTTL: ACCESS_TOKEN_LIFE_S,
        jwt: { sign },
      }),
    },
  };
}

async function accountClaims({ db }: IdentityDatabase, accountId: string) {
  const account = await db
    .selectFrom("account")
    .select("account_id")
    .where("account_id", "=", accountId)
    .where("kind", "=", "user")
    .where("active", "=", true)
    .executeTakeFirst();
  return account && { accountId, claims: () => ({ sub: accountId }) };
}

async function ownGrant(ctx: KoaContextWithOIDC) {
  const grantId = ctx.oidc.result?.consent?.grantId;
  return grantId === undefined ? undefined : ctx.oidc.provider.Grant.find(grantId);
}

/** The library's session counts only while ours does, for the same account. */
async function interactionPolicy({ liveSession }: OidcGround) {
  const { interactionPolicy: policy } = await import("oidc-provider");
  const prompts = policy.base();
  const check = new policy.Check("hms_session", "The browser session has ended.", async (ctx) => {
    const session: LiveSession | undefined = await forLibrary(liveSession(ctx.req.headers));
    if (ctx.oidc.result?.login !== undefined && session?.accountId === ctx.oidc.result.login.accountId) return false;
    return session === undefined || session.accountId !== ctx.oidc.session?.accountId;
  });
  prompts.get("login")?.checks.add(check);
  return prompts;
}
