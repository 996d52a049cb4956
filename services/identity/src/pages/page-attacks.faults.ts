import { readdirSync, readFileSync } from "node:fs";
import * as client from "openid-client";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { localFetch } from "../testing/browser.ts";
import { IdentityScene } from "../testing/identity-scene.ts";
import { OAuthVisitor } from "../testing/oauth-visitor.ts";

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

describe("a page of the protocol", () => {
  test("takes no form that another page sends", async () => {
    const browser = visitor.browse();
    const page = await browser.get(`/oidc/auth?${await visitor.asked()}`);
    const path = new URL(page.url).pathname;
    const signIn = new URLSearchParams({ login: "anna", password: visitor.password });
    expect((await browser.fetch("POST", path, signIn)).status).toBe(403);
    const consent = await browser.submit(page, { login: "anna", password: visitor.password });
    expect(consent.body).toMatch(/Wiki.*anna.*services:read.*wiki\.example\.org.*after 30 days at most/s);
    const at = new URL(consent.url).pathname;
    expect((await browser.fetch("POST", at, new URLSearchParams({ answer: "yes" }))).status).toBe(403);
    for (const [path, form] of [
      ["/oidc/device", { user_code: "AAAAAAAA", confirm: "yes" }],
      ["/oidc/logout/confirm", { logout: "yes" }],
    ] as const) {
      const forged = await browser.fetch("POST", path, new URLSearchParams(form));
      expect([path, forged.status]).toEqual([path, 400]);
    }
    expect((await browser.get("/sign-in")).body).toContain("You are signed in as");
  });

  test("and each other that there is takes no form without its token, from another page or another browser", async () => {
    const folder = new URL(".", import.meta.url);
    const sources = readdirSync(folder).map((name) => readFileSync(new URL(name, folder), "utf8"));
    const paths = sources.flatMap((source) =>
      [...source.matchAll(/"POST (\/[a-z/-]*)":?/g)].map(([, path]) => path ?? ""),
    );
    expect(paths.length).toBeGreaterThan(12);
    const { browser } = await visitor.authorize(await visitor.asked());
    const page = await browser.get("/sign-in");
    const csrf = /name="csrf" value="([^"]*)"/.exec(page.body)?.[1] ?? "";
    for (const path of [...paths.filter((path) => path !== "/end"), "/with/there", "/with/there/end"]) {
      const send = (form: Record<string, string>, from = browser, headers: Record<string, string> = {}) =>
        from.fetch("POST", `/sign-in${path}`, new URLSearchParams(form), headers).then(({ status }) => status);
      expect([path, await send({})]).toEqual([path, 403]);
      expect([path, await send({ csrf: "x".repeat(csrf.length) })]).toEqual([path, 403]);
      expect([path, await send({ csrf }, visitor.browse())]).toEqual([path, 403]);
      expect([path, await send({ csrf }, browser, { origin: "https://evil.example" })]).toEqual([path, 403]);
      expect([path, await send({ csrf }, browser, { origin: "null" })]).toEqual([path, 403]);
      const asText = await send({ csrf }, browser, { "content-type": "text/plain" });
      expect([path, asText]).toEqual([path, 400]);
    }
    // Whoever watches the audit log sees that somebody tries, and nobody fills it.
    const forged = scene.events.filter(({ method }) => method === "hms.identity.v1.SignIn/ForgedForm");
    expect(forged).toMatchObject([{ outcome: "denied", resource: "sign-in", source: { address: expect.any(String) } }]);
    expect((await browser.get("/sign-in")).body).toContain("You are signed in as");
  });

  test("that is over, or another browser's, says so and what to do, also to who goes back to it", async () => {
    const browser = visitor.browse();
    const page = await browser.get(`/oidc/auth?${await visitor.asked()}`);
    const path = new URL(page.url).pathname;
    await browser.submit(page, { login: "anna", password: visitor.password });
    const back = [
      await browser.submit(page, { login: "anna", password: visitor.password }),
      await browser.get(path),
      await visitor.browse().get(path),
      await browser.get(`/sign-in/${"x".repeat(43)}`),
    ];
    for (const { status, body } of back) {
      expect(status).toBe(404);
      expect(body).toContain("Go back to the program and begin again there.");
    }
  });

  test("lends its session to no call but those of its own pages", async () => {
    const { browser } = await visitor.authorize(await visitor.asked());
    const path = "/v1/hms.identity.v1.SessionService/WhoAmI";
    const call = (headers: Record<string, string>) =>
      browser.fetch("POST", path, new URLSearchParams(), { "content-type": "application/json", ...headers });
    const own = visitor.running.origin;
    expect((await call({ origin: own })).status).not.toBe(401);
    for (const site of ["cross-site", "same-site", "none", ""]) {
      expect([site, (await call({ origin: own, "sec-fetch-site": site })).status]).toEqual([site, 401]);
    }
    for (const origin of ["https://evil.example", "null", own.replace("http:", "https:").replace("hms-", "x")]) {
      expect([origin, (await call({ origin })).status]).toEqual([origin, 403]);
    }
    const atAnother = await browser.fetch("POST", path, undefined, { host: `localhost:${visitor.running.port}` });
    expect(atAnother.status).toBe(401);
  });

  test("sends nobody elsewhere after signing out", async () => {
    const { browser } = await visitor.authorize(await visitor.asked());
    for (const to of ["https://evil.example/", "//evil.example", "javascript:alert(1)", visitor.redirect]) {
      const query = new URLSearchParams({ client_id: visitor.wiki.clientId, post_logout_redirect_uri: to });
      const answer = await browser.fetch("GET", `/oidc/logout?${query}`);
      expect([to, answer.status, answer.headers.location]).toEqual([to, 400, undefined]);
    }
    // Nor is anybody signed out by being led there.
    await browser.fetch("GET", "/oidc/logout");
    expect((await browser.get("/sign-in")).body).toContain("You are signed in as");
  });

  test("and every other answer can be framed nowhere, is taken for nothing else, and its cookies are this host's", async () => {
    const { browser } = await visitor.authorize(await visitor.asked());
    const paths = [
      `/oidc/auth?${await visitor.asked()}`,
      `/oidc/auth?${await visitor.asked({ redirect_uri: "x" })}`,
      `/oidc/auth?${await visitor.asked({ response_mode: "form_post", prompt: "none" })}`,
      "/oidc/device",
      "/oidc/device?user_code=AAAA-AAAA",
      "/oidc/logout",
      "/oidc/nothing",
      "/oidc/.well-known/openid-configuration",
      "/oidc/jwks",
      "/oidc/me",
      "/sign-in",
      "/sign-in/again",
      "/sign-in/factors",
      "/sign-in/places",
      "/sign-in/forgot",
      "/sign-in/set-up?token=x",
      "/sign-in/password?token=x",
      "/sign-in/with/nobody",
      "/sign-in/nothing",
      "/sign-in/style.css",
      "/sign-in/passkey.js",
      "/docs",
      "/openapi.json",
      "/v1/nothing",
    ];
    for (const guest of [browser, visitor.browse()]) {
      for (const path of paths) {
        const { headers, body, status } = await guest.fetch("GET", path);
        const { "content-security-policy": policy = "", "x-content-type-options": sniffing } = headers;
        expect([path, sniffing, policy]).toEqual([path, "nosniff", expect.stringContaining("frame-ancestors 'none'")]);
        if (body !== "")
          expect([path, headers["content-type"]]).toEqual([
            path,
            expect.stringMatching(/charset=utf-8|json|text\/css|javascript/),
          ]);
        expect([path, body.includes("    at ")]).toEqual([path, false]);
        expect(status).toBeLessThan(500);
        for (const line of [headers["set-cookie"] ?? []].flat()) {
          expect(line).toMatch(/^__Host-[^;]*(?!.*domain=).*; *path=\/(?=;).*; *secure/i);
          expect(line).toMatch(/; *httponly/i);
          expect(line).toMatch(/; *samesite=(?:lax|strict)/i);
        }
      }
    }
  });

  test("of somebody who is signed in leads to the way out, which leaves nothing behind", async () => {
    const { browser } = await visitor.authorize(await visitor.asked());
    for (const path of ["/sign-in/factors", "/sign-in/places"]) {
      expect((await browser.get(path)).body).toMatch(/<a href="\/sign-in">[^<]*sign out/);
    }
    const page = await browser.get("/sign-in");
    const csrf = /name="csrf" value="([^"]*)"/.exec(page.body)?.[1] ?? "";
    const before = browser.cookies.get("__Host-hms_session")?.value;
    const out = await browser.fetch("POST", "/sign-in/out", new URLSearchParams({ csrf }));
    expect([out.status, out.headers["clear-site-data"]]).toEqual([303, '"cache", "storage"']);
    expect(browser.cookies.has("__Host-hms_session")).toBe(false);
    expect(await visitor.who(before)).toBeUndefined();
    const came = scene.events.find(({ method, outcome }) => method.endsWith("SignIn/SignIn") && outcome === "OK");
    expect(came?.reason).toBe("by pwd");
  });

  test("hides passwords that are typed, and lets managers fill them in", async () => {
    const { body } = await visitor.browse().get("/sign-in");
    const fields = [...body.matchAll(/<input[^>]*name="password"[^>]*>/g)].map(([field]) => field);
    expect(fields).toEqual([expect.stringMatching(/type="password" autocomplete="current-password"/)]);
    expect(body).not.toMatch(/onpaste|autocomplete="off"|<script/);
  });

  test("lets nobody guess the codes that programs show", async () => {
    const config = await client.discovery(
      new URL(`${visitor.running.origin}/oidc`),
      "hms-cli",
      undefined,
      client.None(),
      {
        [client.customFetch]: localFetch as client.CustomFetch,
        execute: [client.allowInsecureRequests],
      },
    );
    const { user_code } = await client.initiateDeviceAuthorization(config, { scope: "openid hms" });
    expect(user_code).toMatch(/^[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}$/);
    const browser = visitor.browse();
    await browser.submit(await browser.get("/sign-in"), { login: "anna", password: visitor.password });
    const type = async (code: string) => browser.submit(await browser.get("/oidc/device"), { user_code: code });
    expect((await type(user_code)).body).toContain("command line");
    const answers = [];
    for (let at = 0; at < 12; at++) answers.push((await type(`BBBB-BBB${"CDFGHJKLMNPQ"[at]}`)).status);
    expect(answers.filter((status) => status === 429).length).toBeGreaterThan(0);
    await scene.database.db
      .updateTable("attempt")
      .set({ blocked_until: new Date(Date.now() + 900_000) })
      .execute();
    expect((await type(user_code)).status).toBe(429);
    await scene.database.db.deleteFrom("attempt").execute();
    expect((await type(user_code)).body).toContain("command line");
  });
});
