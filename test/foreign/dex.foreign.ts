import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { identityProviders, identityUsers } from "@hms/contracts";
import { openSealingKey } from "@hms/secrets";
import { freePort, tempFolder, waitFor } from "@hms/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Browser } from "../../services/identity/src/testing/browser.ts";
import { type IdentityProcess, IdentityScene, operator } from "../../services/identity/src/testing/identity-scene.ts";
import { dex } from "./foreign-tools.ts";

const PASSWORD = "four words nobody joined";
const SECRET = "a secret of dex and ours";
/** "password", as dex keeps it. */
const HASH = "$2a$10$2b2cU8CPhOTaGrs1HRQuAueS7JTT5ZHsHSzYiFPm1leZck7Mc8T4W";
const VISIT = ["identity", "outside-visit", "dex"];

const stack = new AsyncDisposableStack();
let scene: IdentityScene;
let running: IdentityProcess;
let issuer = "";

beforeAll(async () => {
  scene = stack.use(await IdentityScene.open());
  running = await scene.start();
  issuer = `http://127.0.0.1:${await freePort()}/dex`;
  await startDex();
  const put = { name: "dex", displayName: "Dex", issuer, clientId: "hms", clientSecret: SECRET };
  const { provider } = await providers().putIdentityProvider(put);
  expect(provider?.redirectUri).toBe(`${running.origin}/sign-in/with/dex/back`);
});
afterAll(async () => {
  await stack.disposeAsync();
  expect(scene.failures).toEqual([]);
});

/** Starts dex with two people who have the same mail address at different subjects, as providers allow. */
async function startDex(): Promise<void> {
  const file = `${stack.use(tempFolder()).path}/dex.json`;
  const person = (userID: string, email: string) => ({ email, hash: HASH, username: userID, userID });
  const configuration = {
    issuer,
    storage: { type: "memory" },
    web: { http: new URL(issuer).host },
    oauth2: { skipApprovalScreen: true },
    enablePasswordDB: true,
    staticClients: [
      { id: "hms", name: "HMS-SYS", secret: SECRET, redirectURIs: [`${running.origin}/sign-in/with/dex/back`] },
    ],
    staticPasswords: [
      person("anna-there", "anna@example.org"),
      person("stranger", "ben@example.org"),
      person("new-there", "carla@example.org"),
    ],
  };
  writeFileSync(file, JSON.stringify(configuration));
  const child: ChildProcess = spawn(await dex(), ["serve", file], { stdio: ["ignore", "ignore", "ignore"] });
  const ended = once(child, "exit");
  stack.defer(async () => {
    child.kill("SIGTERM");
    await ended;
  });
  const answers = () =>
    fetch(`${issuer}/.well-known/openid-configuration`).then(
      ({ ok }) => ok,
      () => false,
    );
  await waitFor(answers, { deadlineMs: 30_000, describe: "dex to answer" });
}

const providers = () => running.kernel.client(identityProviders.IdentityProviderService, operator);
const users = () => running.kernel.client(identityUsers.UserService, operator);
const browse = () => new Browser(running.origin);
const whoIs = (browser: Browser) =>
  Promise.resolve(running.identity.tokens.principalOf(browser.cookies.get("__Host-hms_session")?.value ?? ""));

/** Signs in at dex's own page, and answers with where it sends the browser then. */
async function throughDex(browser: Browser, email: string): Promise<string> {
  const there = new Browser(new URL(issuer).origin);
  const left = new URL(browser.landed ?? "");
  expect([...left.searchParams.keys()].sort()).toEqual(
    [
      "client_id",
      "code_challenge",
      "code_challenge_method",
      "max_age",
      "nonce",
      "redirect_uri",
      "response_type",
      "scope",
      "state",
    ].sort(),
  );
  const page = await there.get(left.pathname + left.search);
  expect(page.body).toContain("password");
  await there.submit(page, { login: email, password: "password" });
  const back = new URL(there.landed ?? "");
  return back.pathname + back.search;
}

async function comeIn(email: string, browser = browse()) {
  await browser.get("/sign-in/with/dex?next=/sign-in");
  return { browser, answer: await browser.get(await throughDex(browser, email)) };
}

async function person(login: string, email: string) {
  await users().createUser({ login, email });
  const { link } = await users().createInvitation({ user: login });
  const browser = browse();
  await browser.submit(await browser.get(new URL(link).pathname + new URL(link).search), { password: PASSWORD });
  await browser.submit(await browser.get("/sign-in"), { login, password: PASSWORD });
  return browser;
}

async function linkWith(browser: Browser, email: string) {
  const page = await browser.get("/sign-in/factors");
  const form = [...page.body.matchAll(/<form([^>]*)>/g)].findIndex(([, text]) => text?.includes("/with/dex"));
  await browser.submit(page, {}, form);
  return browser.get(await throughDex(browser, email));
}

test("somebody links what they are at dex, and comes in by it from then on", async () => {
  const anna = await person("anna", "anna@example.org");
  const before = await comeIn("anna@example.org");
  expect([before.answer.status, before.answer.body]).toEqual([403, expect.stringContaining("Nobody here is linked")]);
  expect((await linkWith(anna, "anna@example.org")).body).toContain("End the link with Dex");
  const { browser, answer } = await comeIn("anna@example.org");
  expect(answer.body).toContain("You are signed in as");
  expect(await whoIs(browser)).toMatchObject({ login: "anna", mfa: false });
});

test("a stranger at dex who has the mail address of somebody here is nobody here", async () => {
  await person("ben", "ben@example.org");
  const { browser, answer } = await comeIn("ben@example.org");
  expect([answer.status, answer.body]).toEqual([403, expect.stringContaining("Nobody here is linked")]);
  expect(await whoIs(browser)).toBeUndefined();
  expect((await users().listUsers({})).users.map(({ login }) => login)).toEqual(["anna", "ben"]);
});

test("somebody new at dex gets an account at the first sign-in, once the settings say so", async () => {
  const put = { name: "dex", displayName: "Dex", issuer, clientId: "hms", clientSecret: SECRET };
  expect((await comeIn("carla@example.org")).answer.status).toBe(403);
  await providers().putIdentityProvider({ ...put, signUp: { emailDomains: ["example.com"] } });
  expect((await comeIn("carla@example.org")).answer.body).toContain("none of those that get one");
  await providers().putIdentityProvider({ ...put, signUp: { emailDomains: ["example.org"], roles: ["developer"] } });
  const { browser, answer } = await comeIn("carla@example.org");
  expect(answer.body).toContain("You are signed in as");
  const first = await whoIs(browser);
  expect(first).toMatchObject({ login: "carla@example.org", roles: ["developer"] });
  // Whose address is somebody's here gets no hold of it.
  expect((await comeIn("ben@example.org")).answer.body).toContain("has your mail address already");
  // What is known of her is who she is at dex: she comes in when nobody new does any more.
  await providers().putIdentityProvider(put);
  expect(await whoIs((await comeIn("carla@example.org")).browser)).toMatchObject({ id: first?.id });
});

test.each(["nonce", "verifier"] as const)(
  "an answer of dex with another %s than was sent lets nobody in",
  async (which) => {
    const browser = browse();
    await browser.get("/sign-in/with/dex?next=/sign-in");
    const back = await throughDex(browser, "anna@example.org");
    const sealing = openSealingKey(scene.keyFile);
    const { db } = scene.database;
    const { sealed } = await db.selectFrom("outside_visit").select("sealed").executeTakeFirstOrThrow();
    const journey = JSON.parse(sealing.open(Buffer.from(sealed), VISIT).toString()) as Record<string, string>;
    const changed = JSON.stringify({ ...journey, [which]: "x".repeat(43) });
    await db
      .updateTable("outside_visit")
      .set({ sealed: sealing.seal(Buffer.from(changed), VISIT) })
      .execute();
    expect((await browser.get(back)).body).toContain("Its answer proves nothing");
    expect(await whoIs(browser)).toBeUndefined();
    // The same way with what was sent.
    expect((await comeIn("anna@example.org")).answer.body).toContain("You are signed in as");
  },
);

test("dex's discovery document counts only for the issuer that it names, and a wrong secret lets nobody in", async () => {
  const other = {
    name: "other",
    issuer: issuer.replace("127.0.0.1", "localhost"),
    clientId: "hms",
    clientSecret: SECRET,
  };
  await expect(providers().putIdentityProvider(other)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  const put = { name: "dex", displayName: "Dex", issuer, clientId: "hms" };
  await providers().putIdentityProvider({ ...put, clientSecret: "another" });
  expect((await comeIn("anna@example.org")).answer.body).toContain("Its answer proves nothing");
  await providers().putIdentityProvider({ ...put, clientSecret: SECRET });
  expect((await comeIn("anna@example.org")).answer.body).toContain("You are signed in as");
});
