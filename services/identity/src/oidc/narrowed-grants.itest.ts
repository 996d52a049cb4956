import { identityClients, identitySessions, identityUsers } from "@hms/contracts";
import type { Principal } from "@hms/kernel";
import { machineSlowness } from "@hms/testkit";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openSession } from "../sessions/session-store.ts";
import { Browser } from "../testing/browser.ts";
import { codeOf, IdentityScene, operator } from "../testing/identity-scene.ts";
import { type Application, OAuthVisitor } from "../testing/oauth-visitor.ts";

let scene: IdentityScene;
let visitor: OAuthVisitor;
let app: Application;
const ALL = ["openid", "offline_access", "services:deploy", "services:read"];

beforeAll(async () => {
  scene = await IdentityScene.open();
  visitor = await OAuthVisitor.open(scene);
  const clients = visitor.running.kernel.client(identityClients.ClientService, operator);
  const terms = { name: "Deployer", redirectUris: [visitor.redirect], confidential: true };
  const made = await clients.createClient({ ...terms, scopes: ["services:read", "services:deploy"] });
  app = { clientId: made.client?.clientId ?? "", secret: made.clientSecret };
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  expect(scene.failures).toEqual([]);
});
beforeEach(async () => {
  await scene.database.db.deleteFrom("attempt").execute();
  await scene.database.db.deleteFrom("oidc_artifact").execute();
});

const asked = () => visitor.asked({ client_id: app.clientId, scope: ALL.join(" ") });
const sessionsAs = (who: Principal) => visitor.running.kernel.client(identitySessions.SessionService, who);
const scopesOf = async (token: unknown) => (await visitor.who(token))?.scopes;

/** Lets the application in for anna; what it got, and the place that she sees. */
async function letIn() {
  const { landed, browser } = await visitor.authorize(await asked());
  const redeem = () => visitor.redeem(visitor.withCode(landed.searchParams.get("code") ?? ""), app);
  const { sessions } = await sessionsAs(operator).listSessions({ user: "anna" });
  const place = sessions.find(({ client }) => client === app.clientId);
  return { redeem, browser, place: place?.sessionId ?? "", scopes: place?.scopes };
}
const refresh = (token: unknown, scope?: string) =>
  visitor.redeem({ grant_type: "refresh_token", refresh_token: String(token), ...(scope ? { scope } : {}) }, app);

/** Sends the form of the page with anything in it. */
async function sendForm(browser: Browser, fields: readonly [string, string][]) {
  const { body } = await browser.get("/sign-in/places");
  const csrf = /name="csrf" value="([^"]*)"/.exec(body)?.[1] ?? "";
  const form = new URLSearchParams([["csrf", csrf], ...fields]);
  return browser.fetch("POST", "/sign-in/places/narrow", form);
}

test("a permission that is taken away by the page is gone from old access tokens within a second, in every process, and from all that come", async () => {
  const { redeem, browser, place, scopes } = await letIn();
  expect(scopes?.toSorted()).toEqual(ALL.toSorted());
  const tokens = await redeem();
  const other = await scene.start();
  const known = () =>
    Promise.all(
      [visitor.running, other].map(({ identity }) => identity.tokens.principalOf(String(tokens.access_token))),
    );
  for (const who of await known()) expect(who?.scopes?.toSorted()).toEqual(["services:deploy", "services:read"]);
  const page = await browser.get("/sign-in/places");
  expect(page.body).toContain(`name="scope" value="services:deploy"`);
  expect(page.body).not.toContain("<script");
  expect(page.headers["content-security-policy"]).toMatch(
    /^default-src 'none'; style-src 'self'; object-src 'none'; form-action 'self'/,
  );
  const slowness = await machineSlowness();
  const before = performance.now();
  const sent = await sendForm(browser, [
    ["place", place],
    ["scope", "services:deploy"],
  ]);
  expect([sent.status, sent.headers.location]).toEqual([303, "/sign-in/places"]);
  expect(await scopesOf(tokens.access_token)).toEqual(["services:read"]);
  await expect
    .poll(async () => (await known()).map((who) => who?.scopes), { interval: 20, timeout: 5000 })
    .toEqual([["services:read"], ["services:read"]]);
  expect(performance.now() - before).toBeLessThan(1000 * slowness);
  // It is not to be had back by what was given before: not by asking, nor by refreshing.
  expect(await refresh(tokens.refresh_token, ALL.join(" "))).toMatchObject({ status: 400, error: "invalid_scope" });
  const fresh = await refresh(tokens.refresh_token);
  expect(await scopesOf(fresh.access_token)).toEqual(["services:read"]);
  expect(await scopesOf((await refresh(fresh.refresh_token)).access_token)).toEqual(["services:read"]);
  const told = await visitor.send("/token/introspection", { token: String(fresh.refresh_token) }, app);
  expect(await told.json()).toMatchObject({ active: true, scope: "openid offline_access services:read" });
  expect((await browser.get("/sign-in/places")).body).not.toContain("services:deploy");
  const recorded = scene.events.filter(({ method }) => method === "hms.identity.v1.SignIn/NarrowProgram");
  expect(recorded).toMatchObject([{ resource: place, outcome: "OK" }]);
});

test("a code and a device code that were approved before yield no more than is left", async () => {
  const { redeem, place } = await letIn();
  const anna = (await sessionsAs(operator).listSessions({ user: "anna" })).sessions.length;
  expect(anna).toBeGreaterThan(0);
  const left = await sessionsAs(operator).narrowSession({ sessionId: place, scopes: ["services:deploy", "openid"] });
  expect(left.scopes.toSorted()).toEqual(["offline_access", "services:read"]);
  const tokens = await redeem();
  expect([tokens.status, tokens.id_token, await scopesOf(tokens.access_token)]).toEqual([
    200,
    undefined,
    ["services:read"],
  ]);
});

test("the same form gives nothing: not what was taken, not what was never asked for, and not another's", async () => {
  const { redeem, browser, place } = await letIn();
  const tokens = await redeem();
  const { user } = await visitor.running.kernel
    .client(identityUsers.UserService, operator)
    .createUser({ login: "ben" });
  const { token } = await openSession(scene.database.db, user?.userId ?? "", {
    address: "",
    userAgent: "",
    methods: ["pwd"],
  });
  const ben = new Browser(visitor.running.origin);
  ben.cookies.set("__Host-hms_session", { value: token, path: "/" });
  const asBen = (await visitor.who(token)) ?? expect.unreachable("ben is nobody");
  const program: [string, string] = ["place", place];
  await sendForm(ben, [program, ["scope", "services:deploy"]]);
  expect(await codeOf(sessionsAs(asBen).narrowSession({ sessionId: place, scopes: ["services:deploy"] }))).toBe(
    "NOT_FOUND",
  );
  expect((await scopesOf(tokens.access_token))?.length).toBe(2);
  await sendForm(browser, [program, ["scope", "services:deploy"]]);
  for (const scope of ["services:deploy", "hms", "users:read", "", "services:read services:deploy", "SERVICES:READ"]) {
    await sendForm(browser, [program, ["scope", scope], ["scopes", ALL.join(" ")]]);
    expect([scope, await scopesOf(tokens.access_token)]).toEqual([scope, ["services:read"]]);
  }
  const forged = await browser.fetch(
    "POST",
    "/sign-in/places/narrow",
    new URLSearchParams([program, ["scope", "services:read"]]),
  );
  expect([forged.status, await scopesOf(tokens.access_token)]).toEqual([403, ["services:read"]]);
  const typo = sessionsAs(operator).narrowSession({ sessionId: place, scopes: ["services:raed", "hms"] });
  await expect(typo).rejects.toThrow(/"services:raed", "hms".*services:read/);
  const own = (await sessionsAs(operator).listSessions({ user: "ben" })).sessions[0]?.sessionId ?? "";
  expect(await codeOf(sessionsAs(asBen).narrowSession({ sessionId: own, scopes: ["hms"] }))).toBe(
    "FAILED_PRECONDITION",
  );
});

test("who asks again for what was taken away has its person asked", async () => {
  const { browser, place } = await letIn();
  await sendForm(browser, [
    ["place", place],
    ["scope", "services:deploy"],
  ]);
  const silent = await browser.fetch(
    "GET",
    `/oidc/auth?${await visitor.asked({ client_id: app.clientId, scope: "openid services:deploy", prompt: "none" })}`,
  );
  expect(new URL(String(silent.headers.location)).searchParams.get("error")).toBe("consent_required");
  const page = await browser.get(`/oidc/auth?${await asked()}`);
  expect(page.body).toContain("the permission services:deploy");
});

test("without leave to go on it is refreshed no more, also by a token on its way; without any scope it ends", async () => {
  const { redeem, browser, place } = await letIn();
  const tokens = await redeem();
  const racing = [
    refresh(tokens.refresh_token),
    sendForm(browser, [
      ["place", place],
      ["scope", "offline_access"],
    ]),
  ] as const;
  const [raced] = await Promise.all(racing);
  for (const token of [tokens.refresh_token, raced.refresh_token ?? "none"]) {
    expect(await refresh(token)).toMatchObject({ status: 400, error: "invalid_grant" });
  }
  expect((await scopesOf(tokens.access_token))?.length).toBe(2);
  const narrow = (scopes: string[]) => sessionsAs(operator).narrowSession({ sessionId: place, scopes });
  expect(await narrow(["services:read", "services:deploy"])).toMatchObject({ scopes: ["openid"] });
  expect(await scopesOf(tokens.access_token)).toEqual([]);
  expect(await narrow(["openid"])).toMatchObject({ scopes: [] });
  expect(await visitor.who(tokens.access_token)).toBeUndefined();
  expect(await codeOf(narrow(["openid"]))).toBe("NOT_FOUND");
});
