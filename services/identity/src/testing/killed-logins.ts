import { identityKeys, identitySessions } from "@hms/contracts";
import * as client from "openid-client";
import { expect } from "vitest";
import type { Browser } from "./browser.ts";
import type { KillableIdentity } from "./killable-identity.ts";
import {
  type Begun,
  isSignedIn,
  later,
  moved,
  type Operation,
  signIn,
  withConsole,
  withProgram,
} from "./killed-stage.ts";
import { approvedDevice, deviceTokens, PASSWORD, programAt, refreshed, signedIn, somebody } from "./people.ts";

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

/** What lets programs and browsers in, and ends them, by name. */
export const loginOperations: Readonly<Record<string, Operation>> = {
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
};
