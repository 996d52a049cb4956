import { identityKeys, identityUsers } from "@hms/contracts";
import { hash } from "@node-rs/argon2";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { sha256 } from "../secret-digest.ts";
import { Browser } from "../testing/browser.ts";
import { type IdentityProcess, IdentityScene, operator } from "../testing/identity-scene.ts";

let scene: IdentityScene;
let running: IdentityProcess;
const PASSWORD = "four words nobody joined";
const SESSION = "__Host-hms_session";

const pathOf = (link: string) => new URL(link).pathname + new URL(link).search;
const users = () => running.kernel.client(identityUsers.UserService, operator);
const browse = () => new Browser(running.origin);

beforeAll(async () => {
  scene = await IdentityScene.open();
  running = await scene.start();
  await person("anna");
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  expect(scene.failures).toEqual([]);
});
beforeEach(async () => {
  await scene.database.db.deleteFrom("attempt").execute();
});

async function person(login: string, password = PASSWORD): Promise<void> {
  await users().createUser({ login });
  const { link } = await users().createInvitation({ user: login });
  await setPassword(link, password);
}

async function setPassword(link: string, password: string, browser = browse()) {
  return browser.submit(await browser.get(pathOf(link)), { password });
}

async function signIn(login: string, password: string, browser = browse()) {
  const answer = await browser.submit(await browser.get("/sign-in"), { login, password });
  return { browser, answer, isIn: answer.body.includes("You are signed in as") };
}

const cookieOf = (browser: Browser) => browser.cookies.get(SESSION)?.value;

test("a password is compared exactly as it was received", async () => {
  const exact = "  Straße und 12 Äpfel — nichts wird gekürzt, auch nicht nach zweiundsiebzig Zeichen!  ";
  await person("exact", exact);
  expect((await signIn("exact", exact)).isIn).toBe(true);
  for (const other of [exact.trim(), exact.toLowerCase(), exact.slice(0, 72), exact.normalize("NFD"), `${exact} `]) {
    await scene.database.db.deleteFrom("attempt").execute();
    expect((await signIn("exact", other)).isIn, other).toBe(false);
  }
});

test("passwords are kept by argon2id at today's cost, and made again at sign-in if it was another one", async () => {
  await person("costly");
  const { db } = scene.database;
  const kept = async () => {
    const found = db.selectFrom("password").innerJoin("account", "account.account_id", "password.account_id");
    return (await found.select("hash").where("login", "=", "costly").executeTakeFirstOrThrow()).hash;
  };
  const today = /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/;
  expect(await kept()).toMatch(today);
  const cheap = await hash(PASSWORD, { algorithm: 2, memoryCost: 8192, timeCost: 1, parallelism: 1 });
  await db
    .updateTable("password")
    .set({ hash: cheap })
    .where("hash", "=", await kept())
    .execute();
  expect((await signIn("costly", "wrong")).isIn).toBe(false);
  expect(await kept()).toBe(cheap);
  expect((await signIn("costly", PASSWORD)).isIn).toBe(true);
  expect(await kept()).toMatch(today);
  expect((await signIn("costly", PASSWORD)).isIn).toBe(true);
});

test("what is wrong with a new password is said together, and the link stays good until one is right", async () => {
  await users().createUser({ login: "problems", email: "pat@example.org" });
  const { link } = await users().createInvitation({ user: "problems" });
  const refused = await setPassword(link, "problems1");
  expect(refused.status).toBe(422);
  expect(refused.body).toContain("at least 12 characters");
  expect(refused.body).toContain("made of your name");
  for (const known of ["Password123456", "qwertyuiop123", "abcabcabcabc", "123456789012", "superman!superman!"]) {
    expect((await setPassword(link, known)).body, known).toContain("tried first");
  }
  expect((await setPassword(link, PASSWORD)).body).toContain("Sign in");
  expect((await browse().get(pathOf(link))).status).toBe(404);
});

test("the last five passwords cannot be had again", async () => {
  await person("again");
  for (const next of ["first new long phrase", PASSWORD]) {
    const { link } = await users().createResetLink({ user: "again" });
    expect((await setPassword(link, next)).body.includes("was yours before")).toBe(next === PASSWORD);
  }
});

test("a reset ends every session, signs nobody in, and is good once, also for two at the same time", async () => {
  const login = `resets-${Date.now()}`;
  await person(login);
  const { browser } = await signIn(login, PASSWORD);
  const { link, expiresAt } = await users().createResetLink({ user: login });
  expect(Number(expiresAt?.seconds) * 1000 - Date.now()).toSatisfy((ms) => ms > 500_000 && ms <= 600_000);
  const browsers = [browse(), browse()];
  const pages = await Promise.all(browsers.map((each) => each.get(pathOf(link))));
  const both = await Promise.all(
    browsers.map((each, n) => each.submit(pages[n] ?? expect.unreachable(), { password: `${n} new long phrases` })),
  );
  expect(both.map(({ status }) => status).sort()).toEqual([200, 404]);
  expect((await browser.get("/sign-in")).body).not.toContain("You are signed in as");
});

test("wrong password, unknown login, closed account, open invitation and service account are told apart by nothing", async () => {
  await person("closed");
  await users().deactivateUser({ user: "closed" });
  await users().createUser({ login: "invited" });
  const accounts = running.kernel.client(identityKeys.ServiceAccountService, operator);
  await accounts.createServiceAccount({ login: "program", roles: [] });
  const answers = [await signIn("anna", "wrong"), await signIn("nobody", "wrong"), await signIn("closed", PASSWORD)];
  for (const login of ["invited", "program"]) answers.push(await signIn(login, "wrong"));
  const [one, ...others] = answers.map(({ answer }) =>
    answer.body.replace(/value="[^"]*"/g, "").replace(/csrf[^>]*/g, ""),
  );
  for (const other of others) expect(other).toBe(one);
  expect(new Set(answers.map(({ answer }) => answer.status))).toEqual(new Set([422]));
  const fields = answers.map(({ answer: { headers } }) => {
    const { date: _, "x-request-id": __, "content-length": ___, ...rest } = headers;
    return JSON.stringify(rest);
  });
  expect(new Set(fields).size).toBe(1);
});

test("after some failures the right password does not help either, from that network; from others it does", async () => {
  const guesses = Array.from({ length: 12 }, (_, n) => signIn("anna", `guess ${n}`));
  await Promise.all(guesses);
  const { db } = scene.database;
  const counted = await db.selectFrom("attempt").selectAll().orderBy("failures", "desc").execute();
  // The whole network is not counted where it is this machine.
  expect(counted.map(({ failures }) => failures >= 5)).toEqual([true, true]);
  // The wait of one second may be over on a slow machine.
  const pair = sha256("pair\u0000127.0.0.1\u0000anna");
  await db
    .updateTable("attempt")
    .set({ blocked_until: new Date(Date.now() + 3_600_000) })
    .where("key", "=", pair)
    .execute();
  expect((await signIn("anna", PASSWORD)).isIn).toBe(false);
  const elsewhere = browse();
  const page = await elsewhere.get("/sign-in");
  const form = new URLSearchParams({
    login: "anna",
    password: PASSWORD,
    csrf: /name="csrf" value="([^"]*)"/.exec(page.body)?.[1] ?? "",
  });
  const answer = await elsewhere.fetch("POST", "/sign-in", form, { "x-forwarded-for": "203.0.113.9" });
  expect(answer.status).toBe(303);
  const guessed = scene.events.filter(
    ({ method, outcome }) => method.endsWith("SignIn/SignIn") && outcome === "denied",
  );
  expect(guessed.length).toBeGreaterThan(0);
  const of = (deed: string) => scene.events.filter(({ method }) => method === `hms.identity.v1.SignIn/${deed}`);
  // Told once, however often it is tried; with from where, which the log is searched by.
  expect(of("LockOut")).toMatchObject([
    { outcome: "denied", resource: "anna", way: "http", source: { address: "127.0.0.1" } },
  ]);
  expect(of("SignIn").at(-1)).toMatchObject({
    outcome: "OK",
    principal: { kind: "user", methods: ["pwd"], mfa: false },
    source: { address: "203.0.113.9" },
  });
});

test("a session gets a new id when somebody signs in, and a planted one is not taken over", async () => {
  const { browser: attacker } = await signIn("anna", PASSWORD);
  const planted = cookieOf(attacker) ?? "";
  const victim = browse();
  victim.cookies.set(SESSION, { value: planted, path: "/" });
  await person("victim");
  const page = await victim.get("/sign-in");
  expect(page.body).toContain("anna");
  const csrf = /name="csrf" value="([^"]*)"/.exec(page.body)?.[1] ?? "";
  await victim.fetch("POST", "/sign-in", new URLSearchParams({ csrf, login: "victim", password: PASSWORD }));
  expect(cookieOf(victim)).not.toBe(planted);
  expect(await running.identity.tokens.principalOf(planted)).toBeUndefined();
  expect(JSON.stringify(await scene.database.db.selectFrom("session").selectAll().execute())).not.toContain(planted);
});

test("a session ends after 30 idle minutes, and after 12 hours anyhow", async () => {
  for (const [column, minutes] of [
    ["last_seen_at", 31],
    ["expires_at", 1],
  ] as const) {
    const { browser } = await signIn("anna", PASSWORD);
    const token = cookieOf(browser) ?? "";
    const at = new Date(Date.now() - minutes * 60_000);
    await scene.database.db
      .updateTable("session")
      .set({ [column]: at })
      .where("token_sha256", "=", sha256(token))
      .execute();
    expect(await running.identity.tokens.principalOf(token)).toBeUndefined();
    expect((await browser.get("/sign-in")).body).toContain("Password");
  }
});

test("a form that another page sends, or without its browser's cookie, does nothing", async () => {
  const browser = browse();
  const page = await browser.get("/sign-in");
  const csrf = /name="csrf" value="([^"]*)"/.exec(page.body)?.[1] ?? "";
  const form = new URLSearchParams({ csrf, login: "anna", password: PASSWORD });
  const foreign = await browser.fetch("POST", "/sign-in", form, { origin: "http://evil.example" });
  expect(foreign.status).toBe(403);
  const service = await browser.fetch("POST", "/sign-in", form, { origin: `http://localhost:${running.port}` });
  expect(service.status).toBe(403);
  const stranger = browse();
  expect((await stranger.fetch("POST", "/sign-in", form)).status).toBe(403);
  expect(
    (await browser.fetch("POST", "/sign-in", new URLSearchParams({ login: "anna", password: PASSWORD }))).status,
  ).toBe(403);
  expect((await browser.fetch("POST", "/sign-in", form)).status).toBe(303);
});

test("nobody is sent to another place after signing in", async () => {
  for (const next of [
    "//evil.example",
    "https://evil.example",
    "/\\evil.example",
    "/sign-in//evil",
    "javascript:1",
    "/oidc/../x y",
  ]) {
    const browser = browse();
    const page = await browser.get(`/sign-in?next=${encodeURIComponent(next)}`);
    await browser.submit(page, { login: "anna", password: PASSWORD, next });
    expect(browser.landed, next).toBeUndefined();
  }
});

test("pages run no script, are shown in no frame, leave no trace, and show input as text", async () => {
  const browser = browse();
  const page = await browser.submit(await browser.get("/sign-in"), {
    login: `"><script>alert(1)</script>`,
    password: "x",
  });
  expect(page.body).not.toContain("<script");
  expect(page.body).toContain("&lt;script&gt;");
  expect(page.headers).toMatchObject({
    "content-security-policy": expect.stringMatching(/default-src 'none'.*frame-ancestors 'none'; base-uri 'none'/),
    "x-frame-options": "DENY",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
  });
  expect([page.headers["set-cookie"] ?? []].flat().join()).not.toContain("undefined");
  expect((await browser.get("/sign-in/style.css")).headers["content-type"]).toContain("text/css");
  expect((await browser.get("/sign-in/nothing")).status).toBe(404);
});

test("at another host than the platform's own there is no sign-in", async () => {
  const browser = browse();
  for (const path of ["/sign-in", "/oidc/.well-known/openid-configuration"]) {
    const answer = await browser.fetch("GET", path, undefined, { host: running.origin.replace("http://hms.", "") });
    expect(answer.status).toBe(421);
    expect(answer.headers["set-cookie"]).toBeUndefined();
  }
});

test("the session cookie is for this host, TLS or loopback, and no script", async () => {
  const browser = browse();
  const page = await browser.get("/sign-in");
  const csrf = /name="csrf" value="([^"]*)"/.exec(page.body)?.[1] ?? "";
  const answer = await browser.fetch(
    "POST",
    "/sign-in",
    new URLSearchParams({ csrf, login: "anna", password: PASSWORD }),
  );
  const cookie = [answer.headers["set-cookie"] ?? []].flat().find((line) => line.startsWith(SESSION));
  expect(cookie).toMatch(/^__Host-hms_session=hmss_[\w-]{43}; Path=\/; Secure; HttpOnly; SameSite=Lax$/);
});
