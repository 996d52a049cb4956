import type { Principal } from "@hms/kernel";
import { type AccountFacts, accountFacts } from "../accounts/account-store.ts";
import type { IdentityChanges } from "../identity-changes.ts";
import type { IdentityDatabase } from "../identity-tables.ts";
import { useKey } from "../keys/key-store.ts";
import { sha256 } from "../secret-digest.ts";
import { isMultiFactor, isSessionToken, useSession } from "../sessions/session-store.ts";
import { type AccessTokens, isJwt } from "./access-tokens.ts";
import { credentialName } from "./credential-name.ts";

/** What is remembered of a token is asked again after this long. */
const REMEMBERED_MS = 60_000;
const MOST = 20_000;

/** Whom a token stands for, and until when. */
interface Bearer {
  readonly accountId: string;
  readonly endsAtMs: number;
  readonly mfa: boolean;
  /** How it was shown who it is; default: not known. */
  readonly methods?: readonly string[];
  /** When its person last showed who they are; undefined: it has none. */
  readonly authenticatedAtMs?: number;
  /** Permissions it is limited to; undefined: none are taken away. */
  readonly scopes?: readonly string[];
}

interface Remembered {
  readonly principal: Principal;
  readonly until: number;
}

/** Knows accounts by session cookie, API key and access token. */
export interface AccountTokens extends Disposable {
  /** At once if it is remembered; undefined if the token is nobody's. */
  principalOf(token: string): Principal | undefined | Promise<Principal | undefined>;
}

/** What tokens are checked with. */
export interface AccountTokensOptions {
  readonly database: IdentityDatabase;
  readonly changes: IdentityChanges;
  readonly accessTokens: AccessTokens;
}

/**
 * Turns tokens into principals. What was found is remembered by the token's SHA-256 for at most 60 s, and forgotten
 * within a second once the account changes; while no news come through, nothing remembered counts.
 */
export function createAccountTokens({ database, changes, accessTokens }: AccountTokensOptions): AccountTokens {
  const remembered = new Map<string, Remembered>();
  const ofAccount = new Map<string, Set<string>>();
  let forgotten = 0;

  const forget = (accountId: string) => {
    for (const key of ofAccount.get(accountId) ?? []) remembered.delete(key);
    ofAccount.delete(accountId);
  };
  const forgetAll = () => {
    remembered.clear();
    ofAccount.clear();
  };
  const following = changes.follow((change) => {
    forgotten += 1;
    if (typeof change === "object") forget(change.account);
    else if (change !== "signing-keys") forgetAll();
  });

  const bearerOf = async (token: string): Promise<Bearer | undefined> => {
    if (isSessionToken(token)) return sessionBearer(database, token);
    if (token.startsWith("hms_")) return keyBearer(database, token);
    return isJwt(token) ? accessTokens.bearerOf(token) : undefined;
  };

  const find = async (token: string, key: string): Promise<Principal | undefined> => {
    const before = forgotten;
    const bearer = await bearerOf(token);
    if (bearer === undefined || bearer.endsAtMs <= Date.now()) return undefined;
    const account = await accountFacts(database.db).where("account_id", "=", bearer.accountId).executeTakeFirst();
    if (account === undefined || !account.active) return undefined;
    const principal = Object.freeze({ ...principalFor(account, bearer), credential: credentialName(token) });
    // What changed while we looked may be what we saw before the change.
    if (before === forgotten) {
      if (remembered.size >= MOST) forgetAll();
      remembered.set(key, { principal, until: Math.min(Date.now() + REMEMBERED_MS, bearer.endsAtMs) });
      const keys = ofAccount.get(bearer.accountId) ?? new Set();
      ofAccount.set(bearer.accountId, keys.add(key));
    }
    return principal;
  };

  return {
    principalOf(token) {
      if (!isOurs(token)) return undefined;
      const key = sha256(token).toString("base64");
      const found = remembered.get(key);
      if (found !== undefined && found.until > Date.now() && changes.inTouch) return found.principal;
      return find(token, key);
    },
    [Symbol.dispose]: () => following[Symbol.dispose](),
  };
}

function isOurs(token: string): boolean {
  return token.length <= 4096 && (isSessionToken(token) || token.startsWith("hms_") || isJwt(token));
}

async function sessionBearer(database: IdentityDatabase, token: string): Promise<Bearer | undefined> {
  const session = await useSession(database, token);
  if (session === undefined) return undefined;
  const { accountId, methods, expiresAt, authenticatedAt } = session;
  const authenticatedAtMs = authenticatedAt.getTime();
  return { accountId, endsAtMs: expiresAt.getTime(), mfa: isMultiFactor(methods), methods, authenticatedAtMs };
}

async function keyBearer(database: IdentityDatabase, token: string): Promise<Bearer | undefined> {
  const key = await useKey(database, token);
  if (key === undefined) return undefined;
  const { account_id: accountId, scopes, expires_at } = key;
  return { accountId, endsAtMs: expires_at.getTime(), mfa: false, ...(scopes.length === 0 ? {} : { scopes }) };
}

function principalFor(
  { kind, account_id: id, login, roles, groups }: AccountFacts,
  { endsAtMs, mfa, methods, scopes, authenticatedAtMs }: Bearer,
): Principal {
  return Object.freeze({
    kind,
    id,
    login,
    roles: Object.freeze(roles),
    ...(groups.length === 0 ? {} : { groups: Object.freeze(groups) }),
    mfa,
    ...(methods === undefined ? {} : { methods: Object.freeze([...methods]) }),
    endsAtMs,
    ...(authenticatedAtMs === undefined ? {} : { authenticatedAtMs }),
    ...(scopes === undefined ? {} : { scopes: Object.freeze(scopes) }),
  });
}
