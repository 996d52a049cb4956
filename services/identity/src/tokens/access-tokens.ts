import { HmsError } from "@hms/kernel";
import type { JSONWebKeySet, JWTPayload } from "jose";
import { sql } from "kysely";
import type { IdentityDatabase } from "../identity-tables.ts";
import { type Grant, scopesOf } from "../oidc/grant-scopes.ts";
import { sha256 } from "../secret-digest.ts";
import { isMultiFactor } from "../sessions/session-store.ts";

/** The scope that takes nothing away: the token may do what its account may. */
export const WHOLE_SCOPE = "hms";

// jose also reads base64 with spaces, padding and bits that count for nothing, which would be other texts of the same token.
const JWT = /^[\w-]+\.[\w-]+\.([\w-]+)$/;
const LONGEST = 4096;

/** How long an access token lives, in seconds. */
export const ACCESS_TOKEN_LIFE_S = 300;

/** By how much clocks of two processes may differ. */
const CLOCKS_DIFFER_S = 60;

/** Whether a text has the form of a signed JWT, and nothing else around it. */
export function isJwt(token: string): boolean {
  const signature = token.length <= LONGEST ? JWT.exec(token)?.[1] : undefined;
  return signature !== undefined && Buffer.from(signature, "base64url").toString("base64url") === signature;
}

/** What an access token says, after it and its grant were found good. */
interface AccessTokenBearer {
  readonly accountId: string;
  readonly endsAtMs: number;
  readonly mfa: boolean;
  readonly methods?: readonly string[];
  /** When its person last showed who they are; undefined: it has none. */
  readonly authenticatedAtMs?: number;
  readonly scopes?: readonly string[];
}

/** Knows access tokens that this installation has signed. */
export interface AccessTokens {
  /** Undefined if it is not ours, has ended, or its grant has. */
  bearerOf(token: string): Promise<AccessTokenBearer | undefined>;
}

/** Where access tokens come from and are good. */
export interface AccessTokensOptions {
  readonly database: IdentityDatabase;
  /** Stands in them as issuer and as audience. */
  readonly audience: string;
  /** The keys published now. */
  readonly keySet: () => Promise<JSONWebKeySet>;
}

/**
 * Verifies access tokens (RFC 9068): ES256 only, type, issuer, audience and times, and that none lives longer than they do;
 * keys never come from the token.
 */
export function createAccessTokens({ database, audience, keySet }: AccessTokensOptions): AccessTokens {
  return {
    async bearerOf(token) {
      const { createLocalJWKSet, jwtVerify } = await import("jose");
      const keys = createLocalJWKSet(await keySet());
      const terms = {
        algorithms: ["ES256"],
        typ: "at+jwt",
        issuer: audience,
        audience,
        requiredClaims: ["sub", "exp", "iat"],
      };
      let payload: JWTPayload;
      try {
        const verified = await jwtVerify(token, keys, terms);
        const { cty, b64 } = verified.protectedHeader;
        // None of ours says that another token is in it (RFC 7519, section 5.2), or how it is encoded (RFC 7797).
        if (cty !== undefined || b64 !== undefined || !hasOurTimes(verified.payload)) return undefined;
        ({ payload } = verified);
      } catch (error) {
        // Whatever is wrong with it, it is nobody's token; a database that is away is another matter.
        if (error instanceof HmsError) throw error;
        return undefined;
      }
      const origin = await originOf(database, payload);
      if (origin === undefined) return undefined;
      const { held, ...shown } = origin;
      return { ...bearerFrom(payload, held), ...shown };
    },
  };
}

/** Whether it begins, and ends when tokens of ours do: an end in 10^292 years is a number to the library too. */
function hasOurTimes({ iat = 0, exp = 0 }: JWTPayload): boolean {
  if (!Number.isSafeInteger(iat) || !Number.isSafeInteger(exp)) return false;
  return iat <= Date.now() / 1000 + CLOCKS_DIFFER_S && exp - iat <= ACCESS_TOKEN_LIFE_S + CLOCKS_DIFFER_S;
}

/** What a token says, within what its grant holds by now; undefined: it has none. */
function bearerFrom(
  { sub = "", exp = 0, scope }: JWTPayload,
  held: ReadonlySet<string> | undefined,
): Omit<AccessTokenBearer, keyof Shown> {
  const signed = typeof scope === "string" ? scope.split(" ") : [];
  const scopes = held === undefined ? signed : signed.filter((name) => held.has(name));
  const limits = scopes.includes(WHOLE_SCOPE) ? {} : { scopes: scopes.filter((name) => name.includes(":")) };
  return { accountId: sub, endsAtMs: exp * 1000, ...limits };
}

/** How and when somebody had shown who they are. */
type Shown = Pick<AccessTokenBearer, "mfa" | "methods" | "authenticatedAtMs">;

/** A program that goes on without its browser has shown a second factor for this long. */
const FACTOR_COUNTS_MS = 12 * 3_600_000;

/**
 * What the login shows that a token comes from; undefined if it has ended. Using it keeps its browser session from being
 * idle.
 */
async function originOf(
  { db }: IdentityDatabase,
  { gid, client_id, sub }: JWTPayload,
): Promise<(Shown & { readonly held?: ReadonlySet<string> }) | undefined> {
  // A service account's own tokens belong to no login.
  if (gid === undefined) return client_id === sub ? { mfa: false } : undefined;
  const grant = await db
    .selectFrom("oidc_artifact")
    .select(["session_id", "methods", "authenticated_at", "payload"])
    .where("kind", "=", "Grant")
    .where("id_sha256", "=", sha256(String(gid)))
    .executeTakeFirst();
  if (grant === undefined) return undefined;
  const { held } = scopesOf(grant.payload as Grant);
  if (grant.session_id === null) {
    const shownAt = grant.authenticated_at?.getTime() ?? 0;
    const mfa = isMultiFactor(grant.methods) && Date.now() - shownAt < FACTOR_COUNTS_MS;
    return { held, mfa, methods: grant.methods, authenticatedAtMs: shownAt };
  }
  const used = await db
    .updateTable("session")
    .set({ last_seen_at: sql`clock_timestamp()` })
    .where("session_id", "=", grant.session_id)
    .where("expires_at", ">", sql<Date>`clock_timestamp()`)
    .where("last_seen_at", ">", sql<Date>`clock_timestamp() - interval '30 minutes'`)
    .returning(["methods", "authenticated_at"])
    .executeTakeFirst();
  if (used === undefined) return undefined;
  const { methods, authenticated_at } = used;
  return { held, mfa: isMultiFactor(methods), methods, authenticatedAtMs: authenticated_at.getTime() };
}
