import { identityProviders, identityRoles, identityUsers } from "@hms/contracts";
import type { Principal } from "@hms/kernel";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { Browser } from "../testing/browser.ts";
import { codeOf, type IdentityProcess, IdentityScene, operator } from "../testing/identity-scene.ts";
import { OUTSIDE_CLIENT, type OutsideProvider, openOutsideProvider } from "../testing/outside-provider.ts";
import { somebody } from "../testing/people.ts";

let scene: IdentityScene;
let running: IdentityProcess;
let outside: OutsideProvider;
beforeAll(async () => {
  scene = await IdentityScene.open();
  running = await scene.start();
  outside = await openOutsideProvider([`${running.origin}/sign-in/with/there/back`]);
});
afterAll(async () => {
  await outside[Symbol.asyncDispose]();
  await scene[Symbol.asyncDispose]();
  expect(scene.failures).toEqual([]);
});
beforeEach(() => {
  scene.events.length = 0;
});

const providers = (who: Principal = operator) => running.kernel.client(identityProviders.IdentityProviderService, who);
const users = () => running.kernel.client(identityUsers.UserService, operator);
const roles = () => running.kernel.client(identityRoles.RoleService, operator);
const groups = () => running.kernel.client(identityRoles.GroupService, operator);
const logins = async () => (await users().listUsers({})).users.map(({ login }) => login).sort();
const linked = () => scene.database.db.selectFrom("outside_identity").select(["subject", "account_id"]).execute();

type Terms = Partial<Pick<identityProviders.SignUp, "emailDomains" | "roles" | "groups">>;

function put(signUp: Terms | undefined, who: Principal = operator) {
  const given = { name: "there", issuer: outside.issuer, clientId: OUTSIDE_CLIENT.client_id };
  const { client_secret: clientSecret } = OUTSIDE_CLIENT;
  return providers(who).putIdentityProvider({ ...given, clientSecret, ...(signUp ? { signUp } : {}) });
}

/** Leaves for the provider, is signed in there, and comes back. */
async function comeIn(subject: string, claims: Record<string, unknown> = {}) {
  Object.assign(outside, { subject, claims });
  const browser = new Browser(running.origin);
  await browser.get("/sign-in/with/there?next=/sign-in");
  const left = new URL(browser.landed ?? "");
  const there = new Browser(outside.origin);
  await there.get(left.pathname + left.search);
  const back = new URL(there.landed ?? "");
  const answer = await browser.get(back.pathname + back.search);
  const token = browser.cookies.get("__Host-hms_session")?.value ?? "";
  const principal = await running.identity.tokens.principalOf(token);
  return { status: answer.status, body: answer.body, principal, scope: left.searchParams.get("scope") };
}

const verified = (email: string, more: object = {}) => ({ email, email_verified: true, ...more });

test("before anybody has an account nobody gets one by a provider, and the set-up link stays good", async () => {
  await put({ emailDomains: ["*"] });
  const { status, body, principal } = await comeIn("early", verified("early@example.org"));
  expect([status, body, principal]).toEqual([403, expect.stringContaining("set-up link"), undefined]);
  expect(await logins()).toEqual([]);
  const link = new URL(running.identity.setUpLink ?? "");
  expect((await new Browser(running.origin).get(link.pathname + link.search)).status).toBe(200);
  await somebody(scene.database, "first");
});

test("without a word of it in the provider's settings nobody gets an account, and nothing is asked about people", async () => {
  const { provider } = await put(undefined);
  expect(provider?.signUp).toBeUndefined();
  const { status, principal, scope } = await comeIn("stranger", verified("stranger@example.org"));
  expect([status, principal, scope]).toEqual([403, undefined, "openid"]);
  expect(await logins()).toEqual(["first"]);
});

test("who has a verified address of the domain gets an account, with what the settings say, known by issuer and subject", async () => {
  await groups().putGroup({ name: "crew" });
  await roles().assignRoles({ holder: "group:crew", roles: ["operator"] });
  const terms = { emailDomains: ["example.org"], roles: ["developer"], groups: ["crew"] };
  expect((await put(terms)).provider?.signUp).toMatchObject(terms);
  const first = await comeIn("s-1", verified("Carla@Example.org", { name: "Carla\u0000 C." }));
  expect([first.body, first.scope]).toEqual([expect.stringContaining("You are signed in as"), "openid email profile"]);
  expect(first.principal).toMatchObject({
    kind: "user",
    login: "carla@example.org",
    roles: ["developer", "operator"],
    groups: ["crew"],
    mfa: false,
  });
  const { user } = await users().getUser({ user: "carla@example.org" });
  expect(user).toMatchObject({ displayName: "Carla  C.", email: "carla@example.org" });
  const row = scene.database.db.selectFrom("account").selectAll().where("login", "=", "carla@example.org");
  // Its word is good for an account, and proves no address to which links for new passwords would go.
  expect(await row.executeTakeFirst()).toMatchObject({ created_by: "provider:there", email_verified_at: null });
  const who = { principal: { kind: "user", id: user?.userId, methods: ["fed"] }, outcome: "OK" };
  expect(scene.events.filter(({ method }) => method.includes("SignIn/"))).toMatchObject([
    { method: "hms.identity.v1.SignIn/SignUp", ...who, resource: user?.userId },
    { method: "hms.identity.v1.SignIn/SignIn", ...who },
  ]);
  // The same subject is the same person, whatever their address is by now; another with that address is not.
  const again = await comeIn("s-1", verified("someone@elsewhere.example"));
  expect(again.principal).toMatchObject({ id: user?.userId });
  const other = await comeIn("s-2", verified("carla@example.org"));
  expect([other.status, other.principal]).toEqual([403, undefined]);
  expect(await logins()).toEqual(["carla@example.org", "first"]);
});

test("nobody gets hold of an account that is there, by its mail address or by its login", async () => {
  await put({ emailDomains: ["example.org"] });
  await users().createUser({ login: "dora", email: "Dora@Example.org", roles: ["admin"] });
  await users().createUser({ login: "emil@example.org" });
  const before = await linked();
  for (const email of ["dora@example.org", "DORA@example.org", "emil@example.org"]) {
    const { status, body, principal } = await comeIn("taker", verified(email));
    expect([email, status, principal]).toEqual([email, 403, undefined]);
    expect(body).toContain("has your mail address already");
  }
  expect(await linked()).toEqual(before);
  expect((await logins()).length).toBe(4);
  expect(scene.events.filter(({ outcome }) => outcome === "denied")).toHaveLength(3);
});

test.each<[string, Record<string, unknown>]>([
  ["no address", {}],
  ["an address that is not verified", { email: "x@example.org", email_verified: false }],
  ["an address of which nothing is said", { email: "x@example.org" }],
  ["a text instead of a truth", { email: "x@example.org", email_verified: "true" }],
  ["another domain", verified("x@example.com")],
  ["a domain below", verified("x@sub.example.org")],
  ["a domain that only ends so", verified("x@notexample.org")],
  ["two addresses", verified("x@evil.example,y@example.org")],
  ["an address in an address", verified("x@evil.example@example.org")],
  ["a name with it", verified("X <x@example.org>")],
  ["an address that is none", { email: ["x@example.org"], email_verified: true }],
])("nobody gets an account by %s", async (_, claims) => {
  await put({ emailDomains: ["example.org"] });
  const before = await logins();
  const { status, body, principal } = await comeIn("nobody", claims);
  expect([status, principal]).toEqual([403, undefined]);
  expect(body).toContain("none of those that get one");
  expect(await logins()).toEqual(before);
});

test("an account that was closed is not made anew", async () => {
  await put({ emailDomains: ["example.org"] });
  const { principal } = await comeIn("s-3", verified("greta@example.org"));
  expect(principal).toMatchObject({ roles: ["viewer"] });
  await users().deactivateUser({ user: "greta@example.org" });
  const closed = await comeIn("s-3", verified("greta.two@example.org"));
  expect([closed.status, closed.body]).toEqual([403, expect.stringContaining("is closed")]);
  await users().activateUser({ user: "greta@example.org" });
  expect((await comeIn("s-3")).principal).toMatchObject({ id: principal?.id });
});

test("of many first sign-ins of one person at the same time one makes the account, and all come in to it", async () => {
  await put({ emailDomains: ["*"] });
  const all = await Promise.all(Array.from({ length: 6 }, () => comeIn("s-4")));
  const ids = new Set(all.map(({ principal }) => principal?.id));
  expect([ids.size, [...ids][0]]).toEqual([1, expect.any(String)]);
  // Without an address the login is one that nobody could have asked for.
  expect(all[0]?.principal?.login).toMatch(/^there-[0-9a-f]{12}$/);
  expect((await linked()).filter(({ subject }) => subject === "s-4")).toHaveLength(1);
});

test("what new accounts begin with is never everything, nor more than who sets it up has", async () => {
  await groups().putGroup({ name: "bosses" });
  await roles().assignRoles({ holder: "group:bosses", roles: ["admin"] });
  const emailDomains = ["example.org"];
  const refused: Record<string, Terms> = {
    "sign_up.roles": { emailDomains, roles: ["admin"] },
    "sign_up.groups": { emailDomains, groups: ["bosses"] },
    "sign_up.email_domains": { emailDomains: ["*", "example.org"] },
  };
  for (const [field, terms] of Object.entries(refused)) {
    await expect(put(terms), field).rejects.toMatchObject({ details: { fieldViolations: [{ field }] } });
  }
  expect(await codeOf(put({ emailDomains, roles: ["nothing"] }))).toBe("NOT_FOUND");
  expect(await codeOf(put({ emailDomains, groups: ["nothing"] }))).toBe("NOT_FOUND");
  await roles().putRole({ name: "keeper", permissions: ["identity-providers:update"] });
  const keeper: Principal = { kind: "user", id: "k", roles: ["keeper"] };
  expect(await codeOf(put({ emailDomains, roles: ["operator"] }, keeper))).toBe("PERMISSION_DENIED");

  // What has become more since then gives nobody anything; what is gone is left out.
  await roles().putRole({ name: "passing", permissions: ["services:read"] });
  await put({ emailDomains, roles: ["passing", "viewer"], groups: ["crew"] });
  await roles().assignRoles({ holder: "group:crew", roles: ["admin"] });
  const late = await comeIn("s-5", verified("late@example.org"));
  expect([late.status, late.body]).toEqual([403, expect.stringContaining("given too much")]);
  await roles().unassignRoles({ holder: "group:crew", roles: ["admin"] });
  await roles().deleteRole({ name: "passing" });
  await groups().deleteGroup({ name: "crew" });
  expect((await comeIn("s-5", verified("late@example.org"))).principal).toMatchObject({ roles: ["viewer"] });
});
