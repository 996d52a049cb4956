import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { identityClients, identityKeys } from "@hms/contracts";
import { sql } from "kysely";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { codeOf, IdentityScene, operator } from "../testing/identity-scene.ts";
import { type Application, OAuthVisitor } from "../testing/oauth-visitor.ts";

let scene: IdentityScene;
let visitor: OAuthVisitor;

beforeAll(async () => {
  scene = await IdentityScene.open();
  visitor = await OAuthVisitor.open(scene);
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  expect(scene.failures).toEqual([]);
});
beforeEach(async () => {
  await scene.database.db.deleteFrom("attempt").execute();
});

describe("an authorization request", () => {
  test("that comes back where it is not registered to is answered here, with no way on", async () => {
    const variants = [
      `${visitor.redirect}/`,
      `${visitor.redirect}?x=1`,
      `${visitor.redirect}#x`,
      `${visitor.redirect}/../evil`,
      `${visitor.redirect}%2f..%2fevil`,
      "https://wiki.example.org/Done",
      "https://wiki.example.org/done%00",
      "https://wiki.example.org:443/done",
      "https://wiki.example.org./done",
      "http://wiki.example.org/done",
      "https://wiki.example.org@evil.example/done",
      "https://evil.example/?https://wiki.example.org/done",
      "https://wiki.example.org.evil.example/done",
      "https://evil.wiki.example.org/done",
      "https:\\\\wiki.example.org\\done",
      "//wiki.example.org/done",
      "/done",
      "javascript:alert(1)",
      "data:text/html,x",
      "https://wiki.example.org/done\r\nx: y",
      "*",
    ];
    for (const redirect_uri of variants) {
      const { status, headers } = await visitor
        .browse()
        .fetch("GET", `/oidc/auth?${await visitor.asked({ redirect_uri })}`);
      expect([redirect_uri, status, headers.location]).toEqual([redirect_uri, 400, undefined]);
    }
    const query = await visitor.asked();
    query.append("redirect_uri", "https://evil.example/");
    const twice = await visitor.browse().fetch("GET", `/oidc/auth?${query}`);
    expect([twice.status, twice.headers.location]).toEqual([400, undefined]);
  });

  test.each([
    ["without PKCE", { code_challenge: undefined, code_challenge_method: undefined }],
    ["with PKCE in the plain", { code_challenge: "v".repeat(43), code_challenge_method: "plain" }],
    ["with a challenge and no method", { code_challenge_method: undefined }],
    ["with a challenge that is too short", { code_challenge: "short" }],
    ["for a token at once", { response_type: "token" }],
    ["for an ID token at once", { response_type: "id_token" }],
    ["for code and token", { response_type: "code token" }],
    ["for no kind of answer", { response_type: undefined }],
    ["as an object by value", { request: "eyJhbGciOiJub25lIn0.e30." }],
    ["of nobody who has signed in, without a page", { prompt: "none" }],
    ["in a mode of answering that there is not", { response_mode: "web_message" }],
    ["for more than the application was registered for", { scope: "openid services:read services:deploy" }],
    ["for everything, which the application was not registered for", { scope: "openid hms" }],
  ])("%s gets an error and never a code", async (_, changes) => {
    const browser = visitor.browse();
    const answer = await browser.fetch("GET", `/oidc/auth?${await visitor.asked(changes)}`);
    const sentTo = String(answer.headers.location ?? visitor.redirect);
    expect(sentTo.startsWith(visitor.redirect), `${sentTo} is the application's`).toBe(true);
    expect(sentTo).not.toMatch(/[?&#](?:code|access_token|id_token)=/);
    expect(answer.status).toBe(303);
    const terms = new URL(sentTo.replace("#", "?")).searchParams;
    expect([terms.get("error") ?? "", terms.get("iss"), terms.get("state")]).toEqual([
      expect.stringMatching(/^[a-z_]+$/),
      `${visitor.running.origin}/oidc`,
      "s1",
    ]);
  });

  test("by reference is not fetched", async () => {
    let asks = 0;
    const server = createServer((_, response) => {
      asks += 1;
      response.end("x");
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const here = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    for (const changes of [{ request_uri: here }, { client_id: here }, { client_id: here, request_uri: here }]) {
      const answer = await visitor.browse().fetch("GET", `/oidc/auth?${await visitor.asked(changes)}`);
      expect(String(answer.headers.location ?? "")).not.toContain("code=");
    }
    expect(asks).toBe(0);
    server.closeAllConnections();
    server.close();
  });

  test("is answered with who answers it, and its state", async () => {
    const { landed, browser } = await visitor.authorize(await visitor.asked());
    // Any other would have the browser send what somebody typed here, the password too, to where it is sent on.
    expect(new Set(browser.redirects)).toEqual(new Set([303]));
    expect(landed.href.startsWith(`${visitor.redirect}?`)).toBe(true);
    expect(Object.fromEntries(landed.searchParams)).toEqual({
      code: expect.any(String),
      state: "s1",
      iss: `${visitor.running.origin}/oidc`,
    });
  });
});

describe("a code", () => {
  test("is not to be had for tokens without its verifier, its application and its address", async () => {
    const wrongs: [string, Record<string, string>, Application?][] = [
      ["no verifier", { code_verifier: "" }],
      ["another verifier", { code_verifier: "w".repeat(43) }],
      ["the challenge for a verifier", { code_verifier: await visitor.challenge() }],
      ["another address", { redirect_uri: "https://wiki.example.org/other" }],
      ["no address", { redirect_uri: "" }],
      ["another application's", {}, visitor.other],
      ["another application's secret", {}, { clientId: visitor.wiki.clientId, secret: visitor.other.secret }],
    ];
    for (const [what, changes, from] of wrongs) {
      const answer = await visitor.redeem(visitor.withCode(await visitor.freshCode(), changes), from);
      expect([what, answer.access_token, Number(answer.status) >= 400]).toEqual([what, undefined, true]);
    }
  });

  test("that is shown again ends everything that came from it", async () => {
    const code = await visitor.freshCode();
    const tokens = await visitor.redeem(visitor.withCode(code));
    expect(await visitor.who(tokens.access_token)).toMatchObject({ login: "anna", scopes: ["services:read"] });
    expect(await visitor.redeem(visitor.withCode(code))).toMatchObject({ status: 400, error: "invalid_grant" });
    await expect.poll(() => visitor.who(tokens.access_token), { interval: 10, timeout: 1000 }).toBeUndefined();
    const refresh = { grant_type: "refresh_token", refresh_token: String(tokens.refresh_token) };
    expect(await visitor.redeem(refresh)).toMatchObject({ status: 400, error: "invalid_grant" });
  });
});

describe("tokens", () => {
  test("never stand for more than they were given for, nor for another application", async () => {
    const tokens = await visitor.redeem(visitor.withCode(await visitor.freshCode()));
    const refresh = { grant_type: "refresh_token", refresh_token: String(tokens.refresh_token) };
    expect(await visitor.redeem(refresh, visitor.other)).toMatchObject({ status: 400, error: "invalid_grant" });
    for (const scope of ["hms", "openid hms", "services:read services:deploy"]) {
      const wider = await visitor.redeem({ ...refresh, scope });
      expect([scope, wider.access_token]).toEqual([scope, undefined]);
    }
    const same = await visitor.redeem({ ...refresh, scope: "openid services:read" });
    expect(await visitor.who(same.access_token)).toMatchObject({ scopes: ["services:read"] });
  });

  test("end 30 days after the sign-in, however often they are refreshed", async () => {
    const { db } = scene.database;
    const tokens = await visitor.redeem(visitor.withCode(await visitor.freshCode()));
    const ofGrant = () => db.selectFrom("oidc_artifact").select("expires_at").where("kind", "=", "Grant").execute();
    const before = (await ofGrant()).map(({ expires_at: end }) => end?.getTime() ?? Number.POSITIVE_INFINITY);
    expect(Math.max(...before)).toBeLessThan(Date.now() + 30 * 86_400_000 + 60_000);
    const refresh = (token: unknown) => visitor.redeem({ grant_type: "refresh_token", refresh_token: String(token) });
    const fresh = await refresh(tokens.refresh_token);
    expect(fresh.status).toBe(200);
    expect((await ofGrant()).map(({ expires_at: end }) => end?.getTime())).toEqual(before);
    await db
      .updateTable("oidc_artifact")
      .set({ expires_at: new Date(0) })
      .where("kind", "=", "Grant")
      .execute();
    expect(await refresh(fresh.refresh_token)).toMatchObject({ status: 400, error: "invalid_grant" });
  });

  test("of other kinds are no access tokens: ID token, refresh token, code, secret of an application", async () => {
    const code = await visitor.freshCode();
    expect(await visitor.who(code)).toBeUndefined();
    const tokens = await visitor.redeem(visitor.withCode(code));
    for (const kind of ["id_token", "refresh_token"] as const)
      expect([kind, await visitor.who(tokens[kind])]).toEqual([kind, undefined]);
    expect(await visitor.who(visitor.wiki.secret)).toBeUndefined();
  });

  test("are neither introspected nor revoked by another application", async () => {
    const tokens = await visitor.redeem(visitor.withCode(await visitor.freshCode()));
    const ask = (path: string, from: Application, token: unknown) =>
      visitor.send(`/token/${path}`, { token: String(token) }, from);
    const introspected = await ask("introspection", visitor.other, tokens.refresh_token);
    expect(await introspected.json()).toEqual({ active: false });
    const own = async () => (await ask("introspection", visitor.wiki, tokens.refresh_token)).json();
    expect(await own()).toMatchObject({ active: true, client_id: visitor.wiki.clientId });
    await ask("revocation", visitor.other, tokens.refresh_token);
    expect(await visitor.who(tokens.access_token)).toBeDefined();
    expect((await ask("revocation", visitor.wiki, tokens.refresh_token)).status).toBe(200);
    await expect.poll(() => visitor.who(tokens.access_token), { interval: 10, timeout: 1000 }).toBeUndefined();
    expect(await own()).toEqual({ active: false });
  });

  test("are not to be had in ways that a program does not need, or nobody should", async () => {
    const accounts = visitor.running.kernel.client(identityKeys.ServiceAccountService, operator);
    const { account, clientSecret } = await accounts.createServiceAccount({ login: "batch", roles: ["viewer"] });
    const batch = { clientId: account?.accountId ?? "", secret: clientSecret };
    const device = "urn:ietf:params:oauth:grant-type:device_code";
    const asks: [string, Record<string, string>, Application][] = [
      ["a password", { grant_type: "password", username: "anna", password: visitor.password }, visitor.wiki],
      ["its own secret", { grant_type: "client_credentials", scope: "hms" }, visitor.wiki],
      ["a device", { grant_type: device, device_code: "x" }, visitor.wiki],
      ["a code", visitor.withCode("x"), batch],
      ["a device of a service account", { grant_type: device, device_code: "x" }, batch],
      [
        "an exchange",
        { grant_type: "urn:ietf:params:oauth:grant-type:token-exchange", subject_token: "x" },
        visitor.wiki,
      ],
      ["an assertion", { grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion: "x" }, visitor.wiki],
      ["nothing", { grant_type: "" }, visitor.wiki],
    ];
    for (const [what, form, from] of asks) {
      const answer = await visitor.redeem(form, from);
      expect([what, answer.status, answer.access_token]).toEqual([what, 400, undefined]);
    }
    for (const path of ["/oidc/reg", "/oidc/request", "/oidc/backchannel", "/oidc/ciba"]) {
      const answer = await visitor.browse().fetch("POST", path, new URLSearchParams({ x: "y" }));
      expect([path, answer.status]).toEqual([path, 404]);
    }
  });
});

describe("a device", () => {
  const grant_type = "urn:ietf:params:oauth:grant-type:device_code";
  const start = async () => {
    const started = await visitor.ask("/device/auth", { scope: "openid services:read" });
    return { userCode: String(started.user_code), deviceCode: String(started.device_code) };
  };

  test("that asks sooner than it may is told to slow down, and gets its tokens once it may", async () => {
    const { userCode, deviceCode } = await start();
    const poll = () => visitor.ask("/token", { grant_type, device_code: deviceCode });
    const first = await Promise.all(Array.from({ length: 10 }, poll));
    const slowDown = { status: 400, error: "slow_down" };
    expect(first.map(({ error }) => String(error)).sort()).toEqual([
      "authorization_pending",
      ...Array.from({ length: 9 }, () => "slow_down"),
    ]);
    expect(await poll()).toMatchObject(slowDown);
    // Another one's haste is not this one's.
    const other = await start();
    const asked = await visitor.ask("/token", { grant_type, device_code: other.deviceCode });
    expect(asked).toMatchObject({ status: 400, error: "authorization_pending" });
    // As after five seconds.
    await sql`update oidc_artifact set payload = payload || jsonb_build_object('polledAt', clock_timestamp() - interval '5 seconds')
      where kind = 'DeviceCode'`.execute(scene.database.db);
    expect(await poll()).toMatchObject({ status: 400, error: "authorization_pending" });
    expect(await poll()).toMatchObject(slowDown);
    const browser = visitor.browse();
    await browser.submit(await browser.get("/sign-in"), { login: "anna", password: visitor.password });
    const confirm = await browser.submit(await browser.get("/oidc/device"), { user_code: userCode });
    await poll();
    expect(await poll()).toMatchObject(slowDown);
    await browser.submit(confirm, { confirm: "yes" });
    expect(await visitor.who((await poll()).access_token)).toMatchObject({ login: "anna" });
    expect(await poll()).toMatchObject({ status: 400, error: "invalid_grant" });
  });

  test("gets codes that nobody guesses: 258 random bits for itself, 34 for its person to type", async () => {
    const codes: Awaited<ReturnType<typeof start>>[] = [];
    while (codes.length < 1000) codes.push(...(await Promise.all(Array.from({ length: 20 }, start))));
    const userCodes = codes.map(({ userCode }) => userCode.replace("-", ""));
    const deviceCodes = codes.map(({ deviceCode }) => deviceCode);
    // 20^8 are 34.6 bits; without vowels they spell nothing, and none looks like a digit.
    for (const { userCode } of codes) expect(userCode).toMatch(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
    for (const code of deviceCodes) expect(code).toMatch(/^[\w-]{43}$/);
    expect(new Set(deviceCodes).size).toBe(1000);
    // Two alike among 1,000 of 20^8 there are once in 50,000 times.
    expect(new Set(userCodes).size).toBeGreaterThanOrEqual(999);
    const lettersAt = (texts: readonly string[], at: number) => new Set(texts.map((text) => text[at])).size;
    for (let at = 0; at < 8; at += 1) expect(lettersAt(userCodes, at)).toBe(20);
    // Each of 64 is missing once in 7,000,000 times.
    for (let at = 0; at < 43; at += 1) expect(lettersAt(deviceCodes, at)).toBeGreaterThanOrEqual(62);
    const counts = new Map<string, number>();
    for (const letter of userCodes.join("")) counts.set(letter, (counts.get(letter) ?? 0) + 1);
    // 400 of each are expected, with a deviation of 19.5: seven of those.
    for (const [letter, count] of counts) expect([letter, Math.abs(count - 400) < 137]).toEqual([letter, true]);
  });
});

test("an application's addresses are https, or this machine, whoever registers it", async () => {
  const clients = visitor.running.kernel.client(identityClients.ClientService, operator);
  for (const redirectUri of [
    "http://10.0.0.1/",
    "http://wiki.example.org/",
    "https://*.example.org/",
    "app:/x",
    "https://x/\u0000",
  ]) {
    expect([redirectUri, await codeOf(clients.createClient({ name: "x", redirectUris: [redirectUri] }))]).toEqual([
      redirectUri,
      "INVALID_ARGUMENT",
    ]);
  }
});
