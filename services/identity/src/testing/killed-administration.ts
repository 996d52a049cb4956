import { identityClients, identityKeys, identityRoles, identitySessions, identityUsers } from "@hms/contracts";
import * as client from "openid-client";
import { expect } from "vitest";
import { makeRecoveryCodes } from "../factors/recovery-codes.ts";
import { accountLinkedWith } from "../outside/outside-visit-store.ts";
import { type Answer, type Browser, fetchAt } from "./browser.ts";
import type { KillableIdentity } from "./killable-identity.ts";
import { isSignedIn, moved, type Operation, signIn, withConsole } from "./killed-stage.ts";
import { approvedDevice, deviceTokens, programAt, refreshed, signedIn, somebody } from "./people.ts";

const REDIRECT = "https://wiki.example.org/done";

/** The access token that a service account gets for its secret; undefined if the secret is not its. */
async function ownToken({ origin, port }: KillableIdentity, accountId: string, secret: string) {
  const answer = await fetchAt(port)(`${origin}/oidc/token`, {
    method: "POST",
    headers: {
      authorization: `Basic ${btoa(`${accountId}:${secret}`)}`,
      "content-type": "application/x-www-form-urlencoded",
    },
    body: "grant_type=client_credentials&scope=hms",
  });
  return answer.status === 200 ? ((await answer.json()) as { access_token: string }).access_token : undefined;
}

/** Lets an application act for whoever is signed in in a browser. */
async function letIn(config: client.Configuration, browser: Browser) {
  const verifier = client.randomPKCECodeVerifier();
  const { pathname, search } = client.buildAuthorizationUrl(config, {
    redirect_uri: REDIRECT,
    scope: "openid offline_access hms",
    prompt: "consent",
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  });
  await browser.submit(await browser.get(pathname + search), { answer: "yes" });
  return client.authorizationCodeGrant(config, new URL(browser.landed ?? ""), { pkceCodeVerifier: verifier });
}

const formAt = ({ body }: Answer, action: string) =>
  [...body.matchAll(/<form([^>]*)>/g)].findIndex(([, attributes = ""]) => attributes.includes(`action="${action}"`));

/** What admins take away and replace, and the end of a link, by name. */
export const administrationOperations: Readonly<Record<string, Operation>> = {
  async "a new client secret"({ at, login }) {
    const accounts = (there: KillableIdentity) => there.client(identityKeys.ServiceAccountService);
    const { account, clientSecret } = await accounts(at).createServiceAccount({ login, roles: ["viewer"] });
    const accountId = account?.accountId ?? "";
    const rotate = async (there: KillableIdentity) =>
      (await accounts(there).rotateClientSecret({ account: login })).clientSecret;
    let fresh: string | undefined;
    return {
      run: async () => {
        fresh = await rotate(at);
      },
      async check(next, isAnswered) {
        expect((await ownToken(next, accountId, clientSecret)) === undefined || !isAnswered).toBe(true);
        const token = await ownToken(next, accountId, fresh ?? (await rotate(next)));
        expect(await next.whoIs(token ?? "none")).toMatchObject({ login });
        expect(await ownToken(next, accountId, clientSecret)).toBeUndefined();
      },
    };
  },

  async "the end of all sessions"(place) {
    const { at, login } = place;
    const signed = await withConsole(place);
    const program = await deviceTokens(at, await approvedDevice(at, signed.browser));
    const { secret } = await at.client(identityKeys.KeyService).createKey({ user: login, name: "k" });
    const other = await withConsole({ ...place, login: `${login}-2` });
    const end = (there: KillableIdentity) =>
      there.client(identitySessions.SessionService).revokeAllSessions({ user: login });
    return {
      run: () => end(at),
      async check(next, isAnswered) {
        const tokens = [signed.token, signed.access, program.access_token];
        const work = async () => Promise.all(tokens.map(async (token) => (await next.whoIs(token)) !== undefined));
        const before = await work();
        expect([new Set(before).size, before[0] && isAnswered]).toEqual([1, false]);
        if (!isAnswered) await end(next);
        expect(await work()).toEqual([false, false, false]);
        expect(await isSignedIn(moved(next, signed.browser))).toBe(false);
        await expect(refreshed(next, program.refresh_token)).rejects.toMatchObject({ error: "invalid_grant" });
        for (const kept of [secret, other.token, other.access]) expect(await next.whoIs(kept)).toBeDefined();
      },
    };
  },

  async "an application's end"({ at, database, login }) {
    const accountId = await somebody(database, login);
    const clients = (there: KillableIdentity) => there.client(identityClients.ClientService);
    const application = async () => {
      const asked = { redirectUris: [REDIRECT], confidential: true, scopes: ["hms", "services:read"] };
      const made = await clients(at).createClient({ name: login, ...asked });
      const clientId = made.client?.clientId ?? "";
      const config = (there: KillableIdentity) =>
        programAt(there, clientId, client.ClientSecretBasic(made.clientSecret));
      const { browser } = await signedIn(database, at.browse(), accountId);
      return { clientId, config, tokens: await letIn(await config(at), browser) };
    };
    const [gone, kept] = [await application(), await application()];
    const end = (there: KillableIdentity) => clients(there).deleteClient({ clientId: gone.clientId });
    return {
      run: () => end(at),
      async check(next, isAnswered) {
        const listed = async () =>
          (await clients(next).listClients({})).clients.some(({ clientId }) => clientId === gone.clientId);
        const isThere = await listed();
        expect([isThere && isAnswered, (await next.whoIs(gone.tokens.access_token)) !== undefined]).toEqual([
          false,
          isThere,
        ]);
        if (isThere) await end(next);
        expect([await listed(), await next.whoIs(gone.tokens.access_token)]).toEqual([false, undefined]);
        const refresh = async ({ config, tokens }: typeof gone) =>
          client.refreshTokenGrant(await config(next), tokens.refresh_token ?? "");
        await expect(refresh(gone)).rejects.toMatchObject({ status: 401 });
        expect(await next.whoIs(kept.tokens.access_token)).toMatchObject({ login });
        expect(await next.whoIs((await refresh(kept)).access_token)).toMatchObject({ login });
      },
    };
  },

  async "roles that are taken away"(place) {
    const { at, login } = place;
    const signed = await withConsole(place);
    const roles = (there: KillableIdentity) => there.client(identityRoles.RoleService);
    const taken = { holder: login, roles: ["operator", "manager"] };
    await roles(at).assignRoles(taken);
    const { secret } = await at.client(identityKeys.KeyService).createKey({ user: login, name: "k" });
    const rolesOf = async (there: KillableIdentity, token: string) =>
      ((await there.whoIs(token)) as { roles?: string[] } | undefined)?.roles?.toSorted();
    const all = ["manager", "operator", "viewer"];
    // What is remembered of them from before must not outlive the process.
    for (const token of [signed.token, secret]) expect(await rolesOf(at, token)).toEqual(all);
    return {
      run: () => roles(at).unassignRoles(taken),
      async check(next, isAnswered) {
        const { user } = await next.client(identityUsers.UserService).getUser({ user: login });
        const left = user?.roles.toSorted();
        expect([["viewer"], ...(isAnswered ? [] : [all])]).toContainEqual(left);
        const held = () => Promise.all([signed.token, signed.access, secret].map((token) => rolesOf(next, token)));
        expect(await held()).toEqual([left, left, left]);
        if (!isAnswered) await roles(next).unassignRoles(taken);
        expect(await held()).toEqual([["viewer"], ["viewer"], ["viewer"]]);
      },
    };
  },

  async "second factors that are reset"({ at, database, login }) {
    const { db } = database;
    const accountId = await somebody(database, login);
    await db
      .insertInto("totp")
      .values({ account_id: accountId, sealed: Buffer.from("x") })
      .execute();
    const key = { credential_id: login, name: "k", public_key: Buffer.from("x"), counter: "0", transports: [] };
    await db
      .insertInto("passkey")
      .values({ account_id: accountId, ...key })
      .execute();
    await makeRecoveryCodes(db, accountId);
    const { token } = await signedIn(database, at.browse(), accountId);
    const users = (there: KillableIdentity) => there.client(identityUsers.UserService);
    const left = async (there: KillableIdentity) => {
      const { user } = await users(there).getUser({ user: login });
      const codes = await db.selectFrom("recovery_code").selectAll().where("account_id", "=", accountId).execute();
      return [user?.secondFactors.length, codes.length, (await there.whoIs(token)) !== undefined];
    };
    const [before, after] = [await left(at), [0, 0, false]];
    expect(before).toEqual([2, 10, true]);
    return {
      run: () => users(at).resetSecondFactors({ user: login }),
      async check(next, isAnswered) {
        const found = await left(next);
        expect([after, ...(isAnswered ? [] : [before])]).toContainEqual(found);
        // The password goes with them.
        const { user } = await users(next).getUser({ user: login });
        expect(user?.hasPassword).toBe(found[0] !== 0);
        expect(await isSignedIn(await signIn(next, login))).toBe(false);
        if (!isAnswered) await users(next).resetSecondFactors({ user: login });
        expect(await left(next)).toEqual(after);
        expect(await isSignedIn(await signIn(next, login))).toBe(false);
      },
    };
  },

  async "the end of a link with a provider"({ at, database, login }) {
    const { db } = database;
    const [accountId, other] = [await somebody(database, login), await somebody(database, `${login}-2`)];
    const name = `p${accountId.slice(-12)}`;
    const issuer = `https://${name}.example`;
    const provider = { name, display_name: name, issuer, client_id: "hms", sealed: Buffer.from("x") };
    await db.insertInto("identity_provider").values(provider).execute();
    const [own, others] = [login, `${login}-2`].map((subject) => ({ issuer, subject })) as [Who, Who];
    await db
      .insertInto("outside_identity")
      .values([
        { ...own, account_id: accountId },
        { ...others, account_id: other },
      ])
      .execute();
    const { token: elsewhere } = await signedIn(database, at.browse(), accountId);
    const { browser } = await signedIn(database, at.browse(), accountId);
    const end = async (there: Browser) => {
      const page = await there.get("/sign-in/factors");
      return () => there.submit(page, {}, formAt(page, `/sign-in/with/${name}/end`));
    };
    const run = await end(browser);
    return {
      run,
      async check(next, isAnswered) {
        const isLinked = (await accountLinkedWith(database, own)) === accountId;
        expect([isLinked && isAnswered, (await next.whoIs(elsewhere)) !== undefined]).toEqual([false, isLinked]);
        const here = moved(next, browser);
        if (isLinked) await (await end(here))();
        const linked = [await accountLinkedWith(database, own), await accountLinkedWith(database, others)];
        expect([linked, await next.whoIs(elsewhere)]).toEqual([[undefined, other], undefined]);
        expect(await isSignedIn(here)).toBe(true);
      },
    };
  },
};

type Who = Parameters<typeof accountLinkedWith>[1];
