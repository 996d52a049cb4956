import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { identityProviders, identityUsers } from "@hms/contracts";
import { namesLeadTo } from "@hms/testkit";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Browser } from "../testing/browser.ts";
import { codeOf, type IdentityProcess, IdentityScene, operator } from "../testing/identity-scene.ts";
import { OUTSIDE_CLIENT, type OutsideProvider, openOutsideProvider } from "../testing/outside-provider.ts";

/** Where clouds tell machines their secrets, and where nobody is. */
const METADATA = ["https://169.254.169.254/", "https://[::ffff:169.254.169.254]/", "https://[fe80::1]/", "https://0/"];
const PASSWORD = "four words nobody joined";

let scene: IdentityScene;
let running: IdentityProcess;
let outside: OutsideProvider;
beforeAll(async () => {
  scene = await IdentityScene.open();
  running = await scene.start();
  outside = await openOutsideProvider([`${running.origin}/sign-in/with/there/back`]);
  const put = { name: "there", displayName: "There & Co", issuer: outside.issuer, clientId: OUTSIDE_CLIENT.client_id };
  const { provider } = await providers().putIdentityProvider({ ...put, clientSecret: OUTSIDE_CLIENT.client_secret });
  expect(provider?.redirectUri).toBe(`${running.origin}/sign-in/with/there/back`);
});
afterAll(async () => {
  await outside[Symbol.asyncDispose]();
  await scene[Symbol.asyncDispose]();
  expect(scene.failures).toEqual([]);
});

const providers = () => running.kernel.client(identityProviders.IdentityProviderService, operator);
const users = () => running.kernel.client(identityUsers.UserService, operator);
const browse = () => new Browser(running.origin);
const whoIs = async (browser: Browser) =>
  running.identity.tokens.principalOf(browser.cookies.get("__Host-hms_session")?.value ?? "");

/** Goes to the provider and comes back to the address that it sends browsers to. */
async function throughProvider(browser: Browser): Promise<string> {
  const there = new Browser(outside.origin);
  const { pathname, search } = new URL(browser.landed ?? "");
  await there.get(pathname + search);
  const back = new URL(there.landed ?? "");
  return back.pathname + back.search;
}

async function comeIn(browser: Browser, subject: string) {
  outside.subject = subject;
  await browser.get("/sign-in/with/there?next=/sign-in");
  return browser.get(await throughProvider(browser));
}

async function somebody(login: string) {
  const { user } = await users().createUser({ login, email: "anna@example.org" });
  const { link } = await users().createInvitation({ user: login });
  const browser = browse();
  await browser.submit(await browser.get(new URL(link).pathname + new URL(link).search), { password: PASSWORD });
  await browser.submit(await browser.get("/sign-in"), { login, password: PASSWORD });
  return { accountId: user?.userId ?? "", login, browser };
}

async function linkWith(browser: Browser, subject: string) {
  outside.subject = subject;
  const page = await browser.get("/sign-in/factors");
  expect(page.headers["content-security-policy"]).toContain(outside.origin);
  const form = [...page.body.matchAll(/<form([^>]*)>/g)].findIndex(([, text]) => text?.includes("/with/there"));
  await browser.submit(page, {}, form);
  return browser.get(await throughProvider(browser));
}

test("nobody comes in by a provider before they are linked, whatever their mail address is there", async () => {
  const anna = await somebody("anna");
  const stranger = browse();
  expect((await stranger.get("/sign-in")).body).toContain("Sign in with There &amp; Co");
  const refused = await comeIn(stranger, "anna-there");
  expect([refused.status, refused.body]).toEqual([403, expect.stringContaining("Nobody here is linked with you")]);
  expect(await whoIs(stranger)).toBeUndefined();
  expect((await linkWith(anna.browser, "anna-there")).body).toContain("End the link with There &amp; Co");
  const other = browse();
  expect((await comeIn(other, "anna-there")).body).toContain("You are signed in as");
  expect(await whoIs(other)).toMatchObject({ id: anna.accountId, mfa: false });
  // Who they are there is one account's only.
  const ben = await somebody("ben");
  expect((await linkWith(ben.browser, "anna-there")).body).toContain("linked with another account");
  // Nor does the same subject of another issuer count.
  await scene.database.db.updateTable("outside_identity").set({ issuer: "http://localhost:1/other" }).execute();
  expect((await comeIn(browse(), "anna-there")).status).toBe(403);
  await scene.database.db.updateTable("outside_identity").set({ issuer: outside.issuer }).execute();
});

test("a provider leads this installation nowhere but to places where providers may be, and by no redirect", async () => {
  const asked: string[] = [];
  let document: object = {};
  const server = createServer((request, response) => {
    asked.push(request.url ?? "");
    const isMoved = request.url?.startsWith("/moved");
    response.writeHead(isMoved ? 302 : 200, { "content-type": "application/json", location: `${origin}/elsewhere` });
    response.end(JSON.stringify(document));
  }).listen(0, "0.0.0.0");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const put = (issuer: string) => providers().putIdentityProvider({ name: "odd", issuer, clientId: "x" });
  expect(await codeOf(put(`${origin}/moved`))).toBe("UNAVAILABLE");
  document = { issuer: "https://login.example.org" };
  expect(await codeOf(put(`${origin}/other`))).toBe("UNAVAILABLE");
  for (const place of ["http://169.254.169.254/token", "https://169.254.169.254/token", "http://192.0.2.1/token"]) {
    const authorization_endpoint = "https://login.example.org/auth";
    document = { issuer: origin, authorization_endpoint, token_endpoint: place, jwks_uri: place };
    await put(origin);
    const browser = browse();
    await browser.get("/sign-in/with/odd");
    const state = new URL(browser.landed ?? "").searchParams.get("state");
    const started = performance.now();
    expect((await browser.get(`/sign-in/with/odd/back?state=${state}&code=x`)).status).toBe(403);
    // Nobody was waited for.
    expect(performance.now() - started).toBeLessThan(5000);
  }
  expect(asked).not.toContain("/elsewhere");
  // Nor by a name that leads where clouds have their metadata, although somebody answers there.
  const before = asked.length;
  using _ = namesLeadTo({ "there.localhost": "0.0.0.0" });
  expect(await codeOf(put(origin.replace("127.0.0.1", "there.localhost")))).toBe("UNAVAILABLE");
  expect(asked.length).toBe(before);
  await providers().deleteIdentityProvider({ name: "odd" });
  server.closeAllConnections();
  server.close();
});

test("an ID token that is not signed by the provider, for this client, for this visit and for now lets nobody in", async () => {
  const [own, others] = [await generateKeyPair("ES256", { extractable: true }), await generateKeyPair("ES256")];
  const jwk = { ...(await exportJWK(own.publicKey)), kid: "k", alg: "ES256", use: "sig" };
  let answer: (nonce: string) => Promise<string> = async () => "";
  let nonce = "";
  const server = createServer(async (request, response) => {
    const endpoints = {
      authorization_endpoint: `${issuer}/auth`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/jwks`,
    };
    const document = { issuer, ...endpoints, id_token_signing_alg_values_supported: ["ES256"] };
    const body = request.url?.endsWith("/token")
      ? { access_token: "x", token_type: "bearer", id_token: await answer(nonce) }
      : request.url?.endsWith("/jwks")
        ? { keys: [jwk] }
        : document;
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await providers().putIdentityProvider({ name: "forger", issuer, clientId: "us", clientSecret: "s" });
  const { accountId } = await somebody("frieda");
  await scene.database.db
    .insertInto("outside_identity")
    .values({ issuer, subject: "f", account_id: accountId })
    .execute();
  const now = () => Math.floor(Date.now() / 1000);
  const claims = (said: string) => ({ iss: issuer, aud: "us", sub: "f", nonce: said, iat: now(), exp: now() + 60 });
  const signed = (said: string, changes: object = {}, key = own.privateKey, alg = "ES256") =>
    new SignJWT({ ...claims(said), ...changes } as never).setProtectedHeader({ alg, kid: "k" }).sign(key);
  const comeBack = async (make: typeof answer) => {
    answer = make;
    const browser = browse();
    await browser.get("/sign-in/with/forger");
    const asked = new URL(browser.landed ?? "").searchParams;
    nonce = asked.get("nonce") ?? "";
    expect(asked.get("max_age")).toBe("43200");
    await browser.get(`/sign-in/with/forger/back?state=${asked.get("state")}&code=x`);
    return whoIs(browser);
  };
  expect(await comeBack((said) => signed(said))).toMatchObject({ id: accountId });
  expect(await comeBack((said) => signed(said, { auth_time: now() - 3600 }))).toMatchObject({ id: accountId });
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const forged: Record<string, typeof answer> = {
    "no token": async () => "",
    "no signature": async (said) => `${encode({ alg: "none" })}.${encode(claims(said))}.`,
    "a signature by the public key as a secret": async (said) =>
      signed(said, {}, new TextEncoder().encode(JSON.stringify(jwk)) as never, "HS256"),
    "a signature by the client's secret": (said) => signed(said, {}, new TextEncoder().encode("s") as never, "HS256"),
    "another's key": (said) => signed(said, {}, others.privateKey),
    "a changed subject": async (said) => {
      const [head, , signature] = (await signed(said)).split(".");
      return `${head}.${encode({ ...claims(said), sub: "other" })}.${signature}`;
    },
    "another issuer": (said) => signed(said, { iss: "https://login.example.org" }),
    "another audience": (said) => signed(said, { aud: "them" }),
    "several audiences without saying whose": (said) => signed(said, { aud: ["them", "they"] }),
    "another party": (said) => signed(said, { aud: ["us", "them"], azp: "them" }),
    "no nonce": (said) => signed(said, { nonce: undefined }),
    "another visit's nonce": (said) => signed(said, { nonce: "n" }),
    "a past end": (said) => signed(said, { exp: now() - 600 }),
    "no end": (said) => signed(said, { exp: undefined }),
    "a start to come": (said) => signed(said, { nbf: now() + 600 }),
    "a sign-in there that is older than sessions live here": (said) => signed(said, { auth_time: now() - 43_300 }),
    "a sign-in there at no time": (said) => signed(said, { auth_time: "today" }),
    "no subject": (said) => signed(said, { sub: undefined }),
  };
  for (const [what, make] of Object.entries(forged)) expect([what, await comeBack(make)]).toEqual([what, undefined]);
  await providers().deleteIdentityProvider({ name: "forger" });
  await scene.database.db.deleteFrom("outside_identity").where("issuer", "=", issuer).execute();
  server.closeAllConnections();
  server.close();
});

test("an account that is closed, or has a second factor, is not opened by a provider alone", async () => {
  const carl = await somebody("carl");
  await linkWith(carl.browser, "carl-there");
  const recovery = { account_id: carl.accountId, sealed: Buffer.from("x") };
  await scene.database.db.insertInto("totp").values(recovery).execute();
  const browser = browse();
  expect((await comeIn(browser, "carl-there")).body).toContain("Code of your app");
  expect(await whoIs(browser)).toBeUndefined();
  await scene.database.db.deleteFrom("totp").execute();
  await users().deactivateUser({ user: "carl" });
  expect((await comeIn(browse(), "carl-there")).status).toBe(403);
});

test("an answer is good once, in the browser that left, for the provider that was asked, and in time", async () => {
  const dora = await somebody("dora");
  await linkWith(dora.browser, "dora-there");
  outside.subject = "dora-there";
  const leave = async () => {
    const browser = browse();
    await browser.get("/sign-in/with/there?next=/sign-in");
    return { browser, back: await throughProvider(browser) };
  };
  const { browser, back } = await leave();
  // Somebody else's browser, led to the answer: nobody is signed in as another.
  const victim = browse();
  expect((await victim.get(back)).status).toBe(403);
  expect((await browser.get(back)).body).toContain("You are signed in as");
  expect((await browser.get(back)).status).toBe(403);
  const changed: Record<string, (address: string) => string> = {
    "another state": (address) => address.replace(/state=[^&]*/, "state=x"),
    "no state": (address) => address.replace(/state=[^&]*&?/, ""),
    "another code": (address) => address.replace(/code=[^&]*/, "code=x"),
    "another issuer": (address) => address.replace(/iss=[^&]*/, "iss=http%3A%2F%2Fevil.example"),
    "two codes": (address) => `${address}&code=x`,
    "a provider that is none": (address) => address.replace("/there/", "/other/"),
  };
  for (const [what, change] of Object.entries(changed)) {
    const own = await leave();
    const answer = await own.browser.get(change(own.back));
    expect([what, answer.status >= 403 && answer.status <= 404]).toEqual([what, true]);
    expect(await whoIs(own.browser), what).toBeUndefined();
  }
  const late = await leave();
  await sql`update outside_visit set expires_at = clock_timestamp()`.execute(scene.database.db);
  expect((await late.browser.get(late.back)).status).toBe(403);
});

test("a link ends when its owner, or who runs the platform, ends it; secrets lie sealed and go only where they were given for", async () => {
  const emil = await somebody("emil");
  const page = await linkWith(emil.browser, "emil-there");
  const form = [...page.body.matchAll(/<form([^>]*)>/g)].findIndex(([, text]) => text?.includes("/with/there/end"));
  await emil.browser.submit(page, {}, form);
  expect((await comeIn(browse(), "emil-there")).status).toBe(403);
  const rows = await scene.database.db.selectFrom("identity_provider").selectAll().execute();
  expect(rows.map(({ sealed }) => Buffer.from(sealed).includes(OUTSIDE_CLIENT.client_secret))).toEqual([false]);
  const [shown] = (await providers().listIdentityProviders({})).providers;
  expect(Object.values(shown ?? {})).not.toContain(OUTSIDE_CLIENT.client_secret);
  const wrong = { name: "there", clientId: "x" };
  for (const issuer of [
    "http://10.0.0.1/",
    "file:///etc/passwd",
    "https://a:b@example.org",
    "ftp://x",
    "nothing",
    ...METADATA,
  ]) {
    expect([issuer, await codeOf(providers().putIdentityProvider({ ...wrong, issuer }))]).toEqual([
      issuer,
      "INVALID_ARGUMENT",
    ]);
  }
  // What does not answer as a provider is not kept, and the one before stays.
  expect(await codeOf(providers().putIdentityProvider({ ...wrong, issuer: `${running.origin}/nothing` }))).toBe(
    "UNAVAILABLE",
  );
  expect((await providers().listIdentityProviders({})).providers).toMatchObject([{ issuer: outside.issuer }]);
  await providers().deleteIdentityProvider({ name: "there" });
  expect((await browse().get("/sign-in/with/there")).status).toBe(404);
});
