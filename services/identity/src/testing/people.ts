import * as client from "openid-client";
import { createAccount } from "../accounts/create-account.ts";
import type { IdentityDatabase } from "../identity-tables.ts";
import { hashPassword } from "../passwords/hash-password.ts";
import { openSession } from "../sessions/session-store.ts";
import { type Browser, fetchAt } from "./browser.ts";
import type { KillableIdentity } from "./killable-identity.ts";

/** Everybody's password in these tests. */
export const PASSWORD = "four words nobody joined";

let hash: Promise<string> | undefined;

/** Adds somebody who has that password; answers with the account's id. */
export async function somebody(database: IdentityDatabase, login: string): Promise<string> {
  hash ??= hashPassword(PASSWORD);
  const kept = await hash;
  return database.transaction(async (queries) => {
    const terms = { kind: "user", login, displayName: login, roles: ["viewer"], createdBy: "test" } as const;
    const accountId = await createAccount(queries, terms);
    await queries.insertInto("password").values({ account_id: accountId, hash: kept }).execute();
    return accountId;
  });
}

/** A browser in which somebody is signed in, who has shown who they are just now. */
export async function signedIn(
  { db }: IdentityDatabase,
  browser: Browser,
  accountId: string,
): Promise<{ browser: Browser; token: string; sessionId: string }> {
  const origin = { address: "127.0.0.1", userAgent: "test", methods: ["pwd"] };
  const { token, session } = await openSession(db, accountId, origin);
  browser.cookies.set("__Host-hms_session", { value: token, path: "/" });
  return { browser, token, sessionId: session.sessionId };
}

/** An openid-client of a program, by default one without a secret as the platform's are, that asks one process. */
export function programAt(
  { origin, port }: KillableIdentity,
  clientId: string,
  auth: client.ClientAuth = client.None(),
): Promise<client.Configuration> {
  return client.discovery(new URL(`${origin}/oidc`), clientId, undefined, auth, {
    [client.customFetch]: fetchAt(port) as client.CustomFetch,
    execute: [client.allowInsecureRequests],
  });
}

/** A device code that somebody has said yes to, in a browser in which they are signed in. */
export async function approvedDevice(at: KillableIdentity, browser: Browser): Promise<string> {
  const started = await client.initiateDeviceAuthorization(await programAt(at, "hms-cli"), {
    scope: "openid offline_access hms",
  });
  const confirm = await browser.submit(await browser.get("/oidc/device"), { user_code: started.user_code });
  await browser.submit(confirm, { confirm: "yes" });
  return started.device_code;
}

/** Gets the tokens of a device code once. */
export async function deviceTokens(at: KillableIdentity, device_code: string) {
  const grant = "urn:ietf:params:oauth:grant-type:device_code";
  return client.genericGrantRequest(await programAt(at, "hms-cli"), grant, { device_code });
}

/** Gets new tokens for a refresh token once. */
export async function refreshed(at: KillableIdentity, token = "") {
  return client.refreshTokenGrant(await programAt(at, "hms-cli"), token);
}

/** An access token of the console, that ends with its browser session. */
export async function consoleToken(at: KillableIdentity, browser: Browser): Promise<string> {
  const config = await programAt(at, "hms-console");
  const verifier = client.randomPKCECodeVerifier();
  const address = client.buildAuthorizationUrl(config, {
    redirect_uri: `${at.origin}/console/callback`,
    scope: "openid hms",
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  });
  await browser.get(`${address.pathname}${address.search}`);
  const tokens = await client.authorizationCodeGrant(config, new URL(browser.landed ?? ""), {
    pkceCodeVerifier: verifier,
  });
  return tokens.access_token;
}
