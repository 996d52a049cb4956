import { setTimeout as delay } from "node:timers/promises";
import { identityUsers } from "@hms/contracts";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Answer, Browser } from "../testing/browser.ts";
import { type IdentityProcess, IdentityScene, operator } from "../testing/identity-scene.ts";
import { SoftwareAuthenticator } from "../testing/software-authenticator.ts";
import { stepAt, totpCode } from "./totp.ts";

const PASSWORD = "four words nobody joined";

let scene: IdentityScene;
let running: IdentityProcess;
beforeAll(async () => {
  scene = await IdentityScene.open();
  running = await scene.start();
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  expect(scene.failures).toEqual([]);
});

const users = () => running.kernel.client(identityUsers.UserService, operator);
const db = () => scene.database.db;
const browse = () => new Browser(running.origin);
const tokenOf = (browser: Browser) => browser.cookies.get("__Host-hms_session")?.value ?? "";
const whoIs = async (browser: Browser) => running.identity.tokens.principalOf(tokenOf(browser));

/** Somebody with a password. */
async function somebody(login: string): Promise<string> {
  const { user } = await users().createUser({ login });
  await choosePassword(login);
  return user?.userId ?? "";
}

async function choosePassword(login: string, password = PASSWORD) {
  const { link } = await users().createResetLink({ user: login });
  const browser = browse();
  const { pathname, search } = new URL(link);
  return browser.submit(await browser.get(pathname + search), { password });
}

const signIn = async (browser: Browser, login: string) =>
  browser.submit(await browser.get("/sign-in"), { login, password: PASSWORD });

/** Nobody waits for the next half minute: as if the last code had been used long ago. */
const later = (accountId: string) =>
  db().updateTable("totp").set({ last_step: "0" }).where("account_id", "=", accountId).execute();
const keyOn = ({ body }: Answer) => {
  const bits = (/Key: <code>([^<]*)/.exec(body)?.[1] ?? "").replace(/ /g, "");
  const numbers = [...bits].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter));
  const binary = numbers.map((number) => number.toString(2).padStart(5, "0")).join("");
  return Buffer.from((binary.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
};
/** The code that an app shows, as people type it: not when it is about to end. */
async function codeNow(secret: Buffer) {
  const leftMs = 30_000 - (Date.now() % 30_000);
  if (leftMs < 2_000) await delay(leftMs);
  return totpCode(secret, stepAt(Date.now()));
}
const wrongCode = (secret: Buffer) => {
  const good = new Set([-2, -1, 0, 1, 2].map((away) => totpCode(secret, stepAt(Date.now()) + away)));
  return ["000000", "111111", "222222", "333333", "444444", "555555"].find((code) => !good.has(code)) ?? "";
};
const codesOn = ({ body }: Answer) => [...body.matchAll(/<li><code>([^<]*)/g)].map(([, code]) => code ?? "");
const optionsOn = ({ body }: Answer) =>
  (/data-passkey="([^"]*)"/.exec(body)?.[1] ?? "").replaceAll("&quot;", '"').replaceAll("&amp;", "&");
/** Which form of a page has the passkey. */
const formOf = ({ body }: Answer) =>
  [...body.matchAll(/<form([^>]*)>/g)].findIndex(([, attributes]) => attributes?.includes("data-passkey"));

/** Sets an app up for somebody who is signed in. */
async function setUpApp(browser: Browser): Promise<{ secret: Buffer; used: string; codes: string[] }> {
  const asked = await browser.submit(await browser.get("/sign-in/factors"), {}, 0);
  const secret = keyOn(asked);
  expect(secret).toHaveLength(20);
  expect((await browser.submit(asked, { code: wrongCode(secret) })).status).toBe(422);
  const again = await browser.submit(await browser.get("/sign-in/factors"), {}, 0);
  const own = keyOn(again);
  const used = await codeNow(own);
  return { secret: own, used, codes: codesOn(await browser.submit(again, { code: used })) };
}

async function withApp(login: string) {
  const accountId = await somebody(login);
  const browser = browse();
  await signIn(browser, login);
  return { accountId, login, browser, ...(await setUpApp(browser)) };
}

test("who has set an app up shows its code at each sign-in, and comes in with two factors", async () => {
  const elsewhere = browse();
  const accountId = await somebody("anna");
  await signIn(elsewhere, "anna");
  const browser = browse();
  await signIn(browser, "anna");
  expect(await whoIs(browser)).toMatchObject({ mfa: false });
  const { secret, used: setUpBy, codes } = await setUpApp(browser);
  expect([codes.length, new Set(codes).size]).toEqual([10, 10]);
  // The session that has shown it goes on, all others end.
  expect(await whoIs(browser)).toMatchObject({ mfa: true });
  expect(await whoIs(elsewhere)).toBeUndefined();
  const asked = await signIn(elsewhere, "anna");
  expect(asked.body).toContain("Code of your app");
  expect(await whoIs(elsewhere)).toBeUndefined();
  // The code by which it was set up has been used.
  const used = await elsewhere.submit(asked, { code: setUpBy });
  expect([used.status, used.body]).toEqual([422, expect.stringContaining("it has been used")]);
  await later(accountId);
  expect((await elsewhere.submit(used, { code: ` ${await codeNow(secret)} ` })).body).toContain("You are signed in as");
  expect(await whoIs(elsewhere)).toMatchObject({ id: accountId, mfa: true });
});

test("of many who show one code at the same time one comes in, and no page works twice", async () => {
  const { accountId, login, secret } = await withApp("ben");
  await later(accountId);
  const begun = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const browser = browse();
      return { browser, page: await signIn(browser, login) };
    }),
  );
  const code = await codeNow(secret);
  const answers = await Promise.all(begun.map(({ browser, page }) => browser.submit(page, { code })));
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 422, 422, 422]);
  await later(accountId);
  const [first] = begun;
  const again = await first?.browser.submit(first.page, { code });
  expect(again?.body).toContain("This took too long, or was done already");
});

test("a recovery code is good once, however it is typed, and counts as a second factor", async () => {
  const { login, codes } = await withApp("carl");
  const [code = ""] = codes;
  // 28 letters of five bits each; of 280 random ones all but a few of the 32 are there.
  for (const each of codes) expect(each).toMatch(/^[a-z2-7]{4}(?:-[a-z2-7]{4}){6}$/);
  expect([codes.length, new Set(codes).size, new Set(codes.join("")).size]).toEqual([
    10,
    10,
    expect.toSatisfy((n) => n > 28),
  ]);
  const browser = browse();
  await browser.submit(await signIn(browser, login), { code: ` ${code.toUpperCase().replaceAll("-", " ")}` });
  expect(await whoIs(browser)).toMatchObject({ mfa: true });
  const other = browse();
  expect((await other.submit(await signIn(other, login), { code })).status).toBe(422);
  expect((await browser.get("/sign-in/factors")).body).toContain("9 left");
});

test("nothing of a factor can be read in the database, and a secret opens for its own account only", async () => {
  const { accountId, secret, codes, browser } = await withApp("dora");
  await browser.get("/sign-in/factors");
  const rows = [];
  for (const table of ["totp", "recovery_code", "ceremony"] as const) {
    rows.push(...(await db().selectFrom(table).selectAll().execute()));
  }
  const kept = rows
    .map((row) =>
      Object.values(row).map((value) => (Buffer.isBuffer(value) ? value.toString("latin1") : String(value))),
    )
    .join();
  expect(kept).not.toContain(secret.toString("latin1"));
  for (const code of codes) expect(kept).not.toContain(code.replaceAll("-", ""));
  const other = await withApp("dirk");
  const moved = await db()
    .selectFrom("totp")
    .select("sealed")
    .where("account_id", "=", accountId)
    .executeTakeFirstOrThrow();
  await db()
    .updateTable("totp")
    .set({ sealed: moved.sealed, last_step: "0" })
    .where("account_id", "=", other.accountId)
    .execute();
  const thief = browse();
  const tried = await thief.submit(await signIn(thief, other.login), { code: await codeNow(secret) });
  expect([tried.status, tokenOf(thief)]).toEqual([400, expect.not.stringMatching(/^hmss_/)]);
});

test("guessing ends: after a few wrong codes right ones wait too, whatever the password does meanwhile", async () => {
  const { accountId, login, secret } = await withApp("emil");
  await later(accountId);
  const browser = browse();
  let page = await signIn(browser, login);
  for (let n = 0; n < 5; n += 1) page = await browser.submit(page, { code: wrongCode(secret) });
  // A right password begins anew, but not the count.
  page = await signIn(browse(), login);
  expect(page.body).toContain("Code of your app");
  // The wait of some seconds may be over on a slow machine.
  await sql`update attempt set blocked_until = blocked_until + interval '1 hour' where blocked_until > '-infinity'`.execute(
    db(),
  );
  const other = browse();
  const right = await other.submit(await signIn(other, login), { code: await codeNow(secret) });
  expect([right.status, right.body]).toEqual([422, expect.stringContaining("too many attempts of late")]);
  // It was not used up by being refused.
  await sql`update attempt set blocked_until = '-infinity'`.execute(db());
  expect((await other.submit(right, { code: await codeNow(secret) })).body).toContain("You are signed in as");
  // Nobody else waits for it.
  const fred = await withApp("fred");
  await later(fred.accountId);
  const free = browse();
  expect((await free.submit(await signIn(free, "fred"), { code: await codeNow(fred.secret) })).status).toBe(200);
  const denials = scene.events.filter(({ reason }) => reason === "too many attempts at the second factor");
  expect(denials.length).toBeGreaterThan(0);
});

test("a half sign-in ends with its password, its account, and its time", async () => {
  const { accountId, login, secret } = await withApp("gus");
  const tries: Record<string, () => Promise<unknown>> = {
    "the password was changed": () => choosePassword(login, "another four joined words"),
    "the account was closed": () => users().deactivateUser({ user: login }),
  };
  for (const [what, change] of Object.entries(tries)) {
    await later(accountId);
    const browser = browse();
    const half = await browser.submit(await browser.get("/sign-in"), {
      login,
      password: what.includes("closed") ? "another four joined words" : PASSWORD,
    });
    expect(half.body, what).toContain("Code of your app");
    await change();
    await browser.submit(half, { code: await codeNow(secret) });
    expect(await whoIs(browser), what).toBeUndefined();
  }
  await users().activateUser({ user: login });
  await later(accountId);
  const slow = browse();
  const half = await slow.submit(await slow.get("/sign-in"), { login, password: "another four joined words" });
  await sql`update ceremony set expires_at = clock_timestamp()`.execute(db());
  expect((await slow.submit(half, { code: await codeNow(secret) })).body).toContain("This took too long");
});

test("a reset of the password does not get past the second factor; who has lost it comes in again by a link, as at first", async () => {
  const { login } = await withApp("hans");
  await choosePassword(login, PASSWORD.toUpperCase());
  const browser = browse();
  const asked = await browser.submit(await browser.get("/sign-in"), { login, password: PASSWORD.toUpperCase() });
  expect(asked.body).toContain("Code of your app");
  expect((await users().getUser({ user: login })).user?.secondFactors).toEqual(["totp"]);
  await users().resetSecondFactors({ user: login });
  expect((await users().getUser({ user: login })).user?.secondFactors).toEqual([]);
  // The password that was there opens nothing any more: whoever has it may be the one who asked for this.
  await browser.submit(await browser.get("/sign-in"), { login, password: PASSWORD.toUpperCase() });
  expect(await whoIs(browser)).toBeUndefined();
  expect((await users().getUser({ user: login })).user?.hasPassword).toBe(false);
  expect((await choosePassword(login, PASSWORD.toUpperCase())).status).toBe(422);
  await choosePassword(login, "five other words nobody joined");
  await browser.submit(await browser.get("/sign-in"), { login, password: "five other words nobody joined" });
  expect(await whoIs(browser)).toMatchObject({ mfa: false });
});

test("who was signed in a while ago shows again who it is before a factor changes; the session goes on under a new token", async () => {
  const { accountId, secret, browser } = await withApp("ida");
  await db()
    .updateTable("session")
    .set({ authenticated_at: new Date(Date.now() - 6 * 60_000) })
    .where("account_id", "=", accountId)
    .execute();
  const before = tokenOf(browser);
  const page = await browser.get("/sign-in/factors");
  expect([page.url, page.body]).toEqual([
    expect.stringContaining("/sign-in/again"),
    expect.stringContaining('value="ida"'),
  ]);
  const csrf = /name="csrf" value="([^"]*)"/.exec(page.body)?.[1] ?? "";
  const removing = new URLSearchParams({ csrf, factor: "totp" });
  expect((await browser.fetch("POST", "/sign-in/factors/remove", removing)).headers.location).toContain(
    "/sign-in/again",
  );
  await later(accountId);
  const shown = await browser.submit(await browser.submit(page, { login: "ida", password: PASSWORD }), {
    code: await codeNow(secret),
  });
  expect(shown.body).toContain("How you come in");
  expect(await running.identity.tokens.principalOf(before)).toBeUndefined();
  const sessions = await db().selectFrom("session").selectAll().where("account_id", "=", accountId).execute();
  expect(sessions).toHaveLength(1);
  // Removed, it is not asked for any more, and its recovery codes are gone.
  await browser.submit(shown, {}, 0);
  const left = await db().selectFrom("recovery_code").selectAll().where("account_id", "=", accountId).execute();
  expect(left).toEqual([]);
  const other = browse();
  expect((await signIn(other, "ida")).body).toContain("You are signed in as");
});

/** Somebody with a passkey. */
async function withPasskey(login: string) {
  const accountId = await somebody(login);
  const browser = browse();
  await signIn(browser, login);
  const key = new SoftwareAuthenticator();
  const page = await browser.get("/sign-in/factors");
  expect(page.headers["content-security-policy"]).toContain("script-src 'self';");
  const made = await browser.submit(
    page,
    { name: "My <phone>", passkey: key.create(optionsOn(page), running.origin) },
    formOf(page),
  );
  expect(codesOn(made)).toHaveLength(10);
  return { accountId, login, browser, key };
}

test("a passkey lets its owner in, for this page's challenge, once", async () => {
  const { accountId, login, key, browser } = await withPasskey("jana");
  expect((await browser.get("/sign-in/factors")).body).toContain("My &lt;phone&gt;");
  const other = browse();
  const page = await signIn(other, login);
  key.counter = 7;
  const shown = key.get(optionsOn(page), running.origin);
  expect((await other.submit(page, { passkey: shown }, formOf(page))).body).toContain("You are signed in as");
  expect(await whoIs(other)).toMatchObject({ id: accountId, mfa: true });
  // The same answer again, for another page's challenge, and with a counter that went back: a copy.
  const thief = browse();
  const next = await signIn(thief, login);
  const replayed = await thief.submit(next, { passkey: shown }, formOf(next));
  expect(replayed.status).toBe(422);
  key.counter = 3;
  const copy = await thief.submit(
    replayed,
    { passkey: key.get(optionsOn(replayed), running.origin) },
    formOf(replayed),
  );
  expect(copy.status).toBe(422);
  expect(await whoIs(thief)).toBeUndefined();
});

test("a passkey by RSA is neither asked for nor taken: what authenticators make has 112 bits of strength", async () => {
  await somebody("rosa");
  const browser = browse();
  await signIn(browser, "rosa");
  const page = await browser.get("/sign-in/factors");
  const asked = JSON.parse(optionsOn(page)) as { pubKeyCredParams: { alg: number }[] };
  expect(asked.pubKeyCredParams.map(({ alg }) => alg)).toEqual([-8, -7]);
  const shown = new SoftwareAuthenticator("RS256").create(optionsOn(page), running.origin);
  expect((await browser.submit(page, { name: "x", passkey: shown }, formOf(page))).status).toBe(422);
  expect(await db().selectFrom("passkey").selectAll().where("name", "=", "x").execute()).toEqual([]);
});

test("a passkey's answer from another port or host, or another's passkey, lets nobody in", async () => {
  const [karl, lena] = [await withPasskey("karl"), await withPasskey("lena")];
  const browser = browse();
  let page = await signIn(browser, "karl");
  const at = (text: string) => text;
  const forged = [
    () => karl.key.get(optionsOn(page), running.origin.replace(/\d+$/, "9999")),
    () => karl.key.get(optionsOn(page), "http://evil.localhost"),
    () => karl.key.get(optionsOn(page).replace(/"rpId":"[^"]*"/, '"rpId":"localhost"'), running.origin),
    () => lena.key.get(optionsOn(page), running.origin),
    () => at("{}"),
    () => at("no JSON"),
    () => at('{"id":"x","response":{}}'),
  ];
  for (const [n, forge] of forged.entries()) {
    await sql`delete from attempt`.execute(db());
    page = await browser.submit(page, { passkey: forge() }, formOf(page));
    expect([n, page.status]).toEqual([n, 422]);
  }
  // Nor does anybody register what another has.
  const own = await lena.browser.get("/sign-in/factors");
  const taken = karl.key.create(optionsOn(own), running.origin);
  expect((await lena.browser.submit(own, { name: "x", passkey: taken }, formOf(own))).body).toContain(
    "is somebody&#39;s already",
  );
  expect(await whoIs(browser)).toBeUndefined();
});

test("what one has begun is nothing in the hands of another", async () => {
  const [max, nora] = [await withApp("max"), await withApp("nora")];
  const asked = await max.browser.submit(await max.browser.get("/sign-in/factors"), {}, 0);
  const page = await nora.browser.get("/sign-in/factors");
  const key = new SoftwareAuthenticator();
  const stolen = /name="ceremony" value="([^"]*)"/.exec((await max.browser.get("/sign-in/factors")).body)?.[1] ?? "";
  const options = optionsOn(page);
  const tried = await nora.browser.submit(
    page,
    { ceremony: stolen, name: "x", passkey: key.create(options, running.origin) },
    formOf(page),
  );
  expect(tried.status).toBe(422);
  expect(asked.status).toBe(200);
});
