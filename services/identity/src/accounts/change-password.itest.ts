import { identityKeys, identityUsers } from "@hms/contracts";
import type { HmsError, Principal } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Browser } from "../testing/browser.ts";
import { type IdentityProcess, IdentityScene, operator } from "../testing/identity-scene.ts";
import { PASSWORD, signedIn, somebody } from "../testing/people.ts";

const NEXT = "another four joined words";
const PATH = "/sign-in/change-password";

let scene: IdentityScene;
let running: IdentityProcess;
beforeAll(async () => {
  scene = await IdentityScene.open();
  scene.hasMail = true;
  running = await scene.start();
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  expect(scene.failures).toEqual([]);
});

const browse = () => new Browser(running.origin);
const users = (who: Principal = operator) => running.kernel.client(identityUsers.UserService, who);
const keys = (who: Principal = operator) => running.kernel.client(identityKeys.KeyService, who);
const principalOf = async (token: string) => running.identity.tokens.principalOf(token);
const isSignedIn = async (browser: Browser) => (await browser.get("/sign-in")).body.includes("You are signed in as");
const reasonOf = (call: Promise<unknown>) =>
  call.then(
    () => "done",
    (error: HmsError) => error.details.reason ?? error.message,
  );

async function person(login: string) {
  const accountId = await somebody(scene.database, login);
  const own = await signedIn(scene.database, browse(), accountId);
  return { accountId, login, ...own };
}

async function comesIn(login: string, password: string): Promise<boolean> {
  const browser = browse();
  await browser.submit(await browser.get("/sign-in"), { login, password });
  return isSignedIn(browser);
}

const past = (minutes: number) => new Date(Date.now() - minutes * 60_000);

test("a password is changed on a page by the one before, and ends every other login", async () => {
  const anna = await person("anna");
  const { db } = scene.database;
  await db.updateTable("account").set({ email: "anna@example.org", email_verified_at: new Date() }).execute();
  const { link } = await users().createResetLink({ user: "anna", print: true });
  const elsewhere = (await signedIn(scene.database, browse(), anna.accountId)).browser;
  const page = await anna.browser.get(PATH);
  expect([page.body.includes("<script"), page.headers["content-security-policy"]]).toEqual([
    false,
    expect.stringMatching(/^default-src 'none'; style-src 'self'; .*form-action 'self'; frame/),
  ]);
  const refused: Record<string, [string, string]> = {
    "The current password is not your password": ["wrong", NEXT],
    "at least 12 characters": [PASSWORD, "short"],
    "tried first": [PASSWORD, "qwertyuiop123"],
    "was yours before": [PASSWORD, PASSWORD],
  };
  for (const [why, [current, password]] of Object.entries(refused)) {
    const answer = await anna.browser.submit(page, { current, password });
    expect([answer.status, answer.body]).toEqual([422, expect.stringContaining(why)]);
  }
  expect(await isSignedIn(elsewhere)).toBe(true);
  const done = await anna.browser.submit(page, { current: PASSWORD, password: NEXT });
  expect(done.body).toContain("Your password is changed");
  expect([await isSignedIn(anna.browser), await isSignedIn(elsewhere)]).toEqual([true, false]);
  expect([await comesIn("anna", PASSWORD), await comesIn("anna", NEXT)]).toEqual([false, true]);
  expect((await browse().get(new URL(link).pathname + new URL(link).search)).status).toBe(404);
  await waitFor(
    () => scene.mails.some(({ to, text }) => to === "anna@example.org" && text.includes("password was changed")),
    {
      describe: "the owner to be told",
    },
  );
  expect(scene.events.filter(({ method }) => method.endsWith("/ChangePassword")).map(({ outcome }) => outcome)).toEqual(
    [...Object.keys(refused).map(() => "denied"), "OK"],
  );
});

test("the page asks who it is once more after five minutes, and guesses on it wait as those at the sign-in do", async () => {
  const ben = await person("ben");
  const page = await ben.browser.get(PATH);
  for (let n = 0; n < 7; n += 1) await ben.browser.submit(page, { current: `guess ${n}`, password: NEXT });
  const { db } = scene.database;
  await db
    .updateTable("attempt")
    .set({ blocked_until: new Date(Date.now() + 60_000) })
    .execute();
  expect((await ben.browser.submit(page, { current: PASSWORD, password: NEXT })).status).toBe(422);
  await db.deleteFrom("attempt").execute();
  await db
    .updateTable("session")
    .set({ authenticated_at: past(6) })
    .where("account_id", "=", ben.accountId)
    .execute();
  expect((await ben.browser.submit(page, { current: PASSWORD, password: NEXT })).body).toContain(
    "Show again that it is you",
  );
  expect(await comesIn("ben", PASSWORD)).toBe(true);
  const again = await ben.browser.submit(await ben.browser.get(PATH), { login: "ben", password: PASSWORD });
  expect(again.body).toContain("Password now");
});

test("who signs in with a password at the moment it is changed is not let in by it", async () => {
  const dora = await person("dora");
  const browser = browse();
  const page = await browser.get("/sign-in");
  let signIn: Promise<unknown> | undefined;
  await scene.database.transaction(async (queries) => {
    await queries.selectFrom("account").select("login").where("account_id", "=", dora.accountId).forUpdate().execute();
    signIn = browser.submit(page, { login: "dora", password: PASSWORD });
    // It has compared the password, and waits for the account, which its owner is changing.
    await waitFor(async () => (await waiting()) > 0, { describe: "the sign-in to wait" });
    await queries.updateTable("password").set({ hash: "changed" }).where("account_id", "=", dora.accountId).execute();
  });
  await signIn;
  expect(await isSignedIn(browser)).toBe(false);
});

/** How many statements wait for a row of another's. */
async function waiting(): Promise<number> {
  const { rows } = await sql`select from pg_locks where not granted and locktype = 'transactionid'`.execute(
    scene.database.db,
  );
  return rows.length;
}

test("by the contract a password is changed in person only, and with a second factor only just after it was shown", async () => {
  const { accountId, token } = await person("emil");
  const { secret } = await keys().createKey({ user: "emil", name: "k" });
  const change = async (who: string, newPassword: string, currentPassword = PASSWORD) =>
    reasonOf(users(await principalOf(who)).changePassword({ currentPassword, newPassword }));
  expect(await change(secret, NEXT)).toBe("SIGN_IN_REQUIRED");
  expect(await change(token, NEXT, "wrong")).toContain("is not your password");
  await scene.database.db
    .insertInto("totp")
    .values({ account_id: accountId, sealed: Buffer.from("x") })
    .execute();
  await scene.database.db
    .updateTable("session")
    .set({ authenticated_at: past(6) })
    .execute();
  await scene.database.notify("changed", accountId);
  const shown = async () => (await principalOf(token))?.authenticatedAtMs ?? 0;
  await expect.poll(shown).toBeLessThan(past(5).getTime());
  expect(await change(token, NEXT)).toBe("STEP_UP_REQUIRED");
  await scene.database.db.deleteFrom("totp").execute();
  expect(await change(token, NEXT)).toBe("done");
  // It came by the browser's cookie, which ends with all the others.
  expect(await principalOf(token)).toBeUndefined();
  expect(await principalOf(secret)).toBeDefined();
});

test("who holds somebody's unlimited key gets hold of nothing that outlives it", async () => {
  const { accountId, token } = await person("fay");
  const { secret, key } = await keys().createKey({
    user: "fay",
    name: "stolen",
    lifetime: { seconds: 3600n, nanos: 0 },
  });
  const thief = (await principalOf(secret)) as Principal;
  expect(await reasonOf(users(thief).updateProfile({ email: "thief@example.org" }))).toBe("SIGN_IN_REQUIRED");
  expect(await reasonOf(keys(thief).createKey({ name: "another" }))).toBe("SIGN_IN_REQUIRED");
  const longer = { name: "longer", scopes: ["services:read"], lifetime: { seconds: 7200n, nanos: 0 } };
  expect(await reasonOf(keys(thief).createKey(longer))).toContain("must end with the key that makes it");
  const { key: narrow } = await keys({ ...thief, roles: ["operator"] }).createKey({
    name: "n",
    scopes: ["services:read"],
  });
  expect(narrow?.expiresAt?.seconds).toBeLessThanOrEqual(key?.expiresAt?.seconds ?? 0n);
  // Nor does an admin's key make links for its own account, or take its own factors away.
  const admin: Principal = { ...thief, roles: ["admin"] };
  for (const call of ["createResetLink", "createInvitation", "resetSecondFactors"] as const) {
    expect([call, await reasonOf(users(admin)[call]({ user: "fay" }))]).toEqual([call, "SIGN_IN_REQUIRED"]);
  }
  expect(await reasonOf(users(admin).updateUser({ user: "fay", email: "thief@example.org" }))).toBe("SIGN_IN_REQUIRED");
  // In person, shown lately, all of it; a while later not any more.
  const fay = (await principalOf(token)) as Principal;
  expect(await reasonOf(users(fay).updateProfile({ email: "fay@example.org" }))).toBe("done");
  expect(await reasonOf(keys(fay).createKey({ name: "own" }))).toBe("done");
  const stale = { ...fay, authenticatedAtMs: Date.now() - 6 * 60_000 };
  expect(await reasonOf(users(stale).updateProfile({ email: "other@example.org" }))).toBe("STEP_UP_REQUIRED");
  expect(await reasonOf(keys(stale).createKey({ name: "later" }))).toBe("STEP_UP_REQUIRED");
  expect(await reasonOf(users(stale).updateProfile({ displayName: "Fay" }))).toBe("done");
  expect(accountId).toBe(fay.id);
});
