import { identityKeys, identityUsers } from "@hms/contracts";
import { expect } from "vitest";
import { makeRecoveryCodes } from "../factors/recovery-codes.ts";
import { appCode } from "./app-code.ts";
import type { Answer } from "./browser.ts";
import type { KillableIdentity } from "./killable-identity.ts";
import { isSignedIn, moved, type Operation, signIn, withConsole } from "./killed-stage.ts";
import { PASSWORD, signedIn, somebody } from "./people.ts";

const pathOf = (link: string) => new URL(link).pathname + new URL(link).search;

/** The code of the app that a page sets up. */
function codeOn({ body }: Answer): Promise<string> {
  return appCode(/Key: <code>([^<]*)/.exec(body)?.[1] ?? "");
}

/** What changes an account and what it comes in by, by name. */
export const accountOperations: Readonly<Record<string, Operation>> = {
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

  async "a password change"(place) {
    const { login } = place;
    const signed = await withConsole(place);
    const other = await signedIn(place.database, place.at.browse(), signed.accountId);
    const page = await signed.browser.get("/sign-in/change-password");
    const fresh = "another four joined words";
    return {
      run: () => signed.browser.submit(page, { current: PASSWORD, password: fresh }),
      async check(next, isAnswered) {
        const [before, after] = [await signIn(next, login), await signIn(next, login, fresh)];
        const isChanged = await isSignedIn(after);
        expect([await isSignedIn(before), isChanged || !isAnswered]).toEqual([!isChanged, true]);
        expect(await isSignedIn(moved(next, signed.browser))).toBe(true);
        const works = await Promise.all([next.whoIs(other.token), next.whoIs(signed.access)]);
        expect(works.map(Boolean)).toEqual([!isChanged, !isChanged]);
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
      run: async () => browser.submit(asked, { code: await codeOn(asked) }),
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
