import { identityKeys, identitySessions, identityUsers } from "@hms/contracts";
import { sql } from "kysely";
import * as client from "openid-client";
import { expect } from "vitest";
import { makeRecoveryCodes } from "../factors/recovery-codes.ts";
import { stepAt, totpCode } from "../factors/totp.ts";
import type { IdentityDatabase } from "../identity-tables.ts";
import type { Answer, Browser } from "./browser.ts";
import type { Holds, KillableIdentity } from "./killable-identity.ts";
import {
  approvedDevice,
  consoleToken,
  deviceTokens,
  PASSWORD,
  programAt,
  refreshed,
  signedIn,
  somebody,
} from "./people.ts";

/** Where operations are killed. */
export interface Stage {
  readonly database: IdentityDatabase;
  readonly holds: Holds;
}

interface Place extends Stage {
  readonly at: KillableIdentity;
  /** Somebody of this operation's own. */
  readonly login: string;
}

/** An operation that is about to run. */
export interface Begun {
  run(): Promise<unknown>;
  /** Looks at what is left, in another process; whether the operation had been answered. */
  check(at: KillableIdentity, isAnswered: boolean): Promise<void>;
}

type Operation = (place: Place) => Promise<Begun>;

const pathOf = (link: string) => new URL(link).pathname + new URL(link).search;
const isSignedIn = async (browser: Browser) => (await browser.get("/sign-in")).body.includes("You are signed in as");

/** The code of the app that a page sets up. */
function codeOn({ body }: Answer): string {
  const typed = (/Key: <code>([^<]*)/.exec(body)?.[1] ?? "").replace(/ /g, "");
  const bits = [...typed].map((letter) =>
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0"),
  );
  const bytes = bits.join("").match(/.{8}/g) ?? [];
  return totpCode(Buffer.from(bytes.map((byte) => Number.parseInt(byte, 2))), stepAt(Date.now()));
}

/** The same browser at another process. */
function moved(at: KillableIdentity, { cookies }: Browser): Browser {
  const browser = at.browse();
  for (const [name, cookie] of cookies) browser.cookies.set(name, cookie);
  return browser;
}

/** Signs somebody in by the page. */
async function signIn(at: KillableIdentity, login: string, password = PASSWORD): Promise<Browser> {
  const browser = at.browse();
  await browser.submit(await browser.get("/sign-in"), { login, password });
  return browser;
}

async function withProgram({ at, database, login }: Place) {
  const accountId = await somebody(database, login);
  const { browser } = await signedIn(database, at.browse(), accountId);
  const tokens = await deviceTokens(at, await approvedDevice(at, browser));
  return { accountId, browser, tokens };
}

/** Somebody with a browser session and a token of the console in it. */
async function withConsole({ at, database, login }: Place) {
  const accountId = await somebody(database, login);
  const session = await signedIn(database, at.browse(), accountId);
  return { accountId, ...session, access: await consoleToken(at, session.browser) };
}

/** As if the ten seconds in which answers may get lost were over. */
const later = ({ db }: IdentityDatabase, accountId: string) =>
  sql`update oidc_artifact set consumed_at = consumed_at - interval '1 hour' where account_id = ${accountId}`.execute(
    db,
  );

/** What ends a browser session: both it and what came from it work, or neither does; ended again, neither. */
function endOfSession(
  { browser, token, access }: { browser: Browser; token: string; access: string },
  end: (at: KillableIdentity, browser: Browser) => Promise<unknown>,
): Pick<Begun, "check"> {
  return {
    async check(at, isAnswered) {
      const there = moved(at, browser);
      const works = await Promise.all([isSignedIn(there), at.whoIs(token), at.whoIs(access)]);
      expect(new Set(works.map(Boolean)).size).toBe(1);
      if (!isAnswered && works[0]) await end(at, there);
      expect([await isSignedIn(there), await at.whoIs(token), await at.whoIs(access)]).toEqual([
        false,
        undefined,
        undefined,
      ]);
    },
  };
}

/** What changes, by name. */
export const operations: Readonly<Record<string, Operation>> = {
  async login({ at, database, login }) {
    const accountId = await somebody(database, login);
    const { token } = await signedIn(database, at.browse(), accountId);
    const browser = at.browse();
    const page = await browser.get("/sign-in");
    return {
      run: () => browser.submit(page, { login, password: PASSWORD }),
      async check(next) {
        expect(await next.whoIs(token)).toMatchObject({ login });
        expect(await isSignedIn(moved(next, browser))).toBe(browser.cookies.has("__Host-hms_session"));
        expect(await isSignedIn(await signIn(next, login, "wrong"))).toBe(false);
        expect(await isSignedIn(await signIn(next, login))).toBe(true);
      },
    };
  },

  async "a program's login"({ at, database, login }) {
    const accountId = await somebody(database, login);
    const { browser } = await signedIn(database, at.browse(), accountId);
    const code = await approvedDevice(at, browser);
    let got: Awaited<ReturnType<typeof deviceTokens>> | undefined;
    return {
      run: async () => {
        got = await deviceTokens(at, code);
      },
      async check(next, isAnswered) {
        const again = await deviceTokens(next, code).catch(() => undefined);
        if (isAnswered) expect(again).toBeUndefined();
        const tokens = got ?? again;
        if (tokens !== undefined) expect(await next.whoIs(tokens.access_token)).toMatchObject({ login });
        await expect(deviceTokens(next, code)).rejects.toThrow();
        // It can begin anew.
        const fresh = await deviceTokens(next, await approvedDevice(next, moved(next, browser)));
        expect(await next.whoIs(fresh.access_token)).toMatchObject({ login });
      },
    };
  },

  async refresh(place) {
    const { at, database, login } = place;
    const { accountId, tokens } = await withProgram(place);
    const first = await refreshed(at, tokens.refresh_token);
    let got: Awaited<ReturnType<typeof refreshed>> | undefined;
    return {
      run: async () => {
        got = await refreshed(at, first.refresh_token);
      },
      async check(next, isAnswered) {
        await later(database, accountId);
        const last = isAnswered ? got : first;
        const fresh = await refreshed(next, last?.refresh_token);
        expect(await next.whoIs(fresh.access_token)).toMatchObject({ login });
        // The one long before is a stolen one.
        await expect(refreshed(next, tokens.refresh_token)).rejects.toMatchObject({ error: "invalid_grant" });
        expect(await next.whoIs(fresh.access_token)).toBeUndefined();
      },
    };
  },

  async "a stolen token's use"(place) {
    const { at, database } = place;
    const { accountId, tokens } = await withProgram(place);
    const first = await refreshed(at, tokens.refresh_token);
    const second = await refreshed(at, first.refresh_token);
    await later(database, accountId);
    const steal = (there: KillableIdentity) => refreshed(there, tokens.refresh_token).catch(() => undefined);
    return {
      run: () => steal(at),
      async check(next) {
        expect(await steal(next)).toBeUndefined();
        await expect(refreshed(next, second.refresh_token)).rejects.toMatchObject({ error: "invalid_grant" });
        expect(await next.whoIs(second.access_token)).toBeUndefined();
      },
    };
  },

  async "a program's revocation"(place) {
    const { at, login } = place;
    const { tokens } = await withProgram(place);
    const other = await withProgram({ ...place, login: `${login}-2` });
    const revoke = async (there: KillableIdentity) =>
      client.tokenRevocation(await programAt(there, "hms-cli"), tokens.refresh_token ?? "");
    return {
      run: () => revoke(at),
      async check(next, isAnswered) {
        if (!isAnswered) await revoke(next);
        await expect(refreshed(next, tokens.refresh_token)).rejects.toMatchObject({ error: "invalid_grant" });
        expect(await next.whoIs(tokens.access_token)).toBeUndefined();
        expect(await next.whoIs(other.tokens.access_token)).toBeDefined();
      },
    };
  },

  async "a sign-out"(place) {
    const signed = await withConsole(place);
    const out = async (browser: Browser) => browser.submit(await browser.get("/sign-in"), {});
    const page = await signed.browser.get("/sign-in");
    return {
      run: () => moved(place.at, signed.browser).submit(page, {}),
      ...endOfSession(signed, (_, browser) => out(browser)),
    };
  },

  async "a session's revocation"(place) {
    const signed = await withConsole(place);
    const { sessionId } = signed;
    const revoke = (at: KillableIdentity) => at.client(identitySessions.SessionService).revokeSession({ sessionId });
    return { run: () => revoke(place.at), ...endOfSession(signed, revoke) };
  },

  async "a new key"({ at, database, login }) {
    await somebody(database, login);
    const make = (there: KillableIdentity) =>
      there.client(identityKeys.KeyService).createKey({ user: login, name: "k" });
    const { secret } = await make(at);
    let made: string | undefined;
    return {
      run: async () => {
        made = (await make(at)).secret;
      },
      async check(next) {
        expect(await next.whoIs(secret)).toMatchObject({ login });
        expect(await next.whoIs(made ?? (await make(next)).secret)).toMatchObject({ login });
      },
    };
  },

  async "a key's revocation"({ at, database, login }) {
    await somebody(database, login);
    const keys = (there: KillableIdentity) => there.client(identityKeys.KeyService);
    const { secret, key } = await keys(at).createKey({ user: login, name: "k" });
    const other = await keys(at).createKey({ user: login, name: "other" });
    const revoke = (there: KillableIdentity) => keys(there).revokeKey({ keyId: key?.keyId ?? "" });
    return {
      run: () => revoke(at),
      async check(next, isAnswered) {
        if (!isAnswered) await revoke(next);
        expect(await next.whoIs(secret)).toBeUndefined();
        expect(await next.whoIs(other.secret)).toMatchObject({ login });
      },
    };
  },

  async "a password by a link"(place) {
    const { at, login } = place;
    const signed = await withConsole(place);
    const { link } = await at.client(identityUsers.UserService).createResetLink({ user: login });
    const browser = at.browse();
    const page = await browser.get(pathOf(link));
    const fresh = "another four joined words";
    return {
      run: () => browser.submit(page, { password: fresh }),
      async check(next, isAnswered) {
        const [before, after] = [await signIn(next, login), await signIn(next, login, fresh)];
        const isChanged = await isSignedIn(after);
        expect([await isSignedIn(before), isChanged || !isAnswered]).toEqual([!isChanged, true]);
        const works = await Promise.all([isSignedIn(moved(next, signed.browser)), next.whoIs(signed.access)]);
        expect(works.map(Boolean)).toEqual([!isChanged, !isChanged]);
        expect((await next.browse().get(pathOf(link))).status).toBe(isChanged ? 404 : 200);
      },
    };
  },

  async "a new signing key"(place) {
    const { at, login } = place;
    const { tokens } = await withProgram(place);
    const keys = (there: KillableIdentity) => there.client(identityKeys.SigningKeyService);
    return {
      run: () => keys(at).rotateSigningKeys({}),
      async check(next) {
        const { CURRENT, NEXT } = identityKeys.SigningKeyState;
        const states = (await keys(next).listSigningKeys({})).keys.map(({ state }) => state);
        expect(states.filter((state) => state === CURRENT || state === NEXT)).toEqual([CURRENT, NEXT]);
        expect(await next.whoIs(tokens.access_token)).toMatchObject({ login });
        const fresh = await refreshed(next, tokens.refresh_token);
        expect(await next.whoIs(fresh.access_token)).toMatchObject({ login });
      },
    };
  },

  async "a deactivation"(place) {
    const { at, login } = place;
    const signed = await withConsole(place);
    const { secret } = await at.client(identityKeys.KeyService).createKey({ user: login, name: "k" });
    const close = (there: KillableIdentity) => there.client(identityUsers.UserService).deactivateUser({ user: login });
    return {
      run: () => close(at),
      async check(next, isAnswered) {
        const tokens = [signed.token, signed.access, secret];
        const work = async () => Promise.all(tokens.map(async (token) => (await next.whoIs(token)) !== undefined));
        expect(new Set(await work()).size).toBe(1);
        if (!isAnswered) await close(next);
        expect(await work()).toEqual([false, false, false]);
        expect(await isSignedIn(await signIn(next, login))).toBe(false);
      },
    };
  },

  async "an app's set-up"(place) {
    const { at, database, login } = place;
    const accountId = await somebody(database, login);
    const { token: elsewhere } = await signedIn(database, at.browse(), accountId);
    const { browser } = await signedIn(database, at.browse(), accountId);
    const asked = await browser.submit(await browser.get("/sign-in/factors"), {}, 0);
    return {
      run: () => browser.submit(asked, { code: codeOn(asked) }),
      async check(next, isAnswered) {
        const { user } = await next.client(identityUsers.UserService).getUser({ user: login });
        const isSetUp = user?.secondFactors.includes("totp") ?? false;
        expect(isSetUp || !isAnswered).toBe(true);
        const codes = await database.db
          .selectFrom("recovery_code")
          .selectAll()
          .where("account_id", "=", accountId)
          .execute();
        expect([codes.length, (await next.whoIs(elsewhere)) === undefined]).toEqual([isSetUp ? 10 : 0, isSetUp]);
        expect(await isSignedIn(moved(next, browser))).toBe(true);
        expect(await isSignedIn(await signIn(next, login))).toBe(!isSetUp);
      },
    };
  },

  async "a recovery code"({ at, database, login }) {
    const accountId = await somebody(database, login);
    await database.db
      .insertInto("totp")
      .values({ account_id: accountId, sealed: Buffer.from("x") })
      .execute();
    const [code = "", other = ""] = await makeRecoveryCodes(database.db, accountId);
    const begin = async (there: KillableIdentity) => {
      const browser = there.browse();
      return { browser, page: await browser.submit(await browser.get("/sign-in"), { login, password: PASSWORD }) };
    };
    const { browser, page } = await begin(at);
    const comesIn = async (there: KillableIdentity, shown: string) => {
      const again = await begin(there);
      return (await again.browser.submit(again.page, { code: shown })).body.includes("You are signed in as");
    };
    return {
      run: () => browser.submit(page, { code }),
      async check(next, isAnswered) {
        const opened = await database.db
          .selectFrom("session")
          .selectAll()
          .where("account_id", "=", accountId)
          .execute();
        expect(opened.length > 0 || !isAnswered).toBe(true);
        expect(await comesIn(next, code)).toBe(opened.length === 0);
        expect(await comesIn(next, code)).toBe(false);
        expect(await comesIn(next, other)).toBe(true);
      },
    };
  },
};
