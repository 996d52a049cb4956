import { identityClients, identityKeys, identitySessions, identityUsers } from "@hms/contracts";
import { machineSlowness } from "@hms/testkit";
import { decodeJwt } from "jose";
import * as client from "openid-client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openSession } from "../sessions/session-store.ts";
import { Browser, localFetch } from "../testing/browser.ts";
import { codeOf, type IdentityProcess, IdentityScene, operator } from "../testing/identity-scene.ts";

let scene: IdentityScene;
let running: IdentityProcess;
const PASSWORD = "four words nobody joined";

beforeAll(async () => {
  scene = await IdentityScene.open();
  running = await scene.start();
  const browser = new Browser(running.origin);
  const page = await browser.get(
    new URL(running.identity.setUpLink ?? "").pathname + new URL(running.identity.setUpLink ?? "").search,
  );
  await browser.submit(page, { login: "anna", password: PASSWORD });
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  expect(scene.failures).toEqual([]);
});

function discover(clientId: string, auth: client.ClientAuth = client.None()) {
  return client.discovery(new URL(`${running.origin}/oidc`), clientId, undefined, auth, {
    [client.customFetch]: localFetch as client.CustomFetch,
    execute: [client.allowInsecureRequests],
  });
}

async function whoIs(token: string) {
  const principal = await running.identity.tokens.principalOf(token);
  return principal && running.kernel.client(identitySessions.SessionService, principal).whoAmI({});
}

/** Signs a new browser in, in the middle of an authorization. */
async function authorize(browser: Browser, address: URL): Promise<URL> {
  const page = await browser.get(`${address.pathname}${address.search}`);
  expect(page.body).toContain("Sign in");
  const after = await browser.submit(page, { login: "anna", password: PASSWORD });
  expect(after.body).not.toContain("did not work");
  return new URL(browser.landed ?? "");
}

async function signInByCode(scope = "openid hms", browser = new Browser(running.origin)) {
  const config = await discover("hms-console");
  const verifier = client.randomPKCECodeVerifier();
  const address = client.buildAuthorizationUrl(config, {
    redirect_uri: `${running.origin}/console/callback`,
    scope,
    state: "s1",
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    ...(scope.includes("offline") ? { prompt: "consent" } : {}),
  });
  const landed = await authorize(browser, address);
  const tokens = await client.authorizationCodeGrant(config, landed, {
    pkceCodeVerifier: verifier,
    expectedState: "s1",
  });
  return { config, tokens, landed, verifier, browser };
}

async function signInByDevice(credentials = { login: "anna", password: PASSWORD }) {
  const config = await discover("hms-cli");
  const started = await client.initiateDeviceAuthorization(config, { scope: "openid offline_access hms" });
  const browser = new Browser(running.origin);
  await browser.submit(await browser.get("/sign-in"), credentials);
  const confirm = await browser.submit(await browser.get("/oidc/device"), { user_code: started.user_code });
  expect(confirm.body).toContain("command line");
  expect(confirm.body).toContain(started.user_code);
  const done = await browser.submit(confirm, { confirm: "yes" });
  expect(done.body).toContain("The program is in");
  return { config, started };
}

const deviceTokens = (config: client.Configuration, { device_code }: { device_code: string }) =>
  client.genericGrantRequest(config, "urn:ietf:params:oauth:grant-type:device_code", { device_code });

test("a console gets tokens by code and PKCE, and its access token stands for the person", async () => {
  const { tokens, landed } = await signInByCode();
  expect(landed.searchParams.get("iss")).toBe(`${running.origin}/oidc`);
  expect(tokens.claims()?.sub).toBeDefined();
  const found = await whoIs(tokens.access_token);
  expect(found).toMatchObject({ login: "anna", roles: ["admin"], permissions: ["*"] });
});

test("a code is good once, also for many at the same time", async () => {
  const { landed, verifier, config } = await signInByCode();
  const again = client.authorizationCodeGrant(config, landed, { pkceCodeVerifier: verifier, expectedState: "s1" });
  await expect(again).rejects.toMatchObject({ error: "invalid_grant" });
});

test("a program gets tokens by the device flow, and refreshes them", async () => {
  const { config, started } = await signInByDevice();
  const tokens = await deviceTokens(config, started);
  expect(await whoIs(tokens.access_token)).toMatchObject({ login: "anna" });
  const fresh = await client.refreshTokenGrant(config, tokens.refresh_token ?? "");
  expect(fresh.refresh_token).not.toBe(tokens.refresh_token);
  expect(await whoIs(fresh.access_token)).toMatchObject({ login: "anna" });
});

test("a device code approved under 50 parallel polls yields one grant", async () => {
  const { config, started } = await signInByDevice();
  const poll = () => deviceTokens(config, started).catch(() => undefined);
  const got = (await Promise.all(Array.from({ length: 50 }, poll))).filter((tokens) => tokens !== undefined);
  expect(got).toHaveLength(1);
  expect(await whoIs(got[0]?.access_token ?? "")).toMatchObject({ login: "anna" });
});

test("50 parallel refreshes of one token lose nobody's session, and one chain goes on", async () => {
  const { config, started } = await signInByDevice();
  const first = await deviceTokens(config, started);
  const refresh = (token: string | undefined) => client.refreshTokenGrant(config, token ?? "");
  const all = await Promise.all(Array.from({ length: 50 }, () => refresh(first.refresh_token)));
  const [one, other] = all;
  const next = await refresh(one?.refresh_token);
  // As after the ten seconds in which an answer may have got lost.
  await scene.database.db
    .updateTable("oidc_artifact")
    .set({ consumed_at: new Date(0) })
    .where("consumed_at", "is not", null)
    .execute();
  await expect(refresh(other?.refresh_token)).rejects.toMatchObject({ error: "invalid_grant" });
  await expect(refresh(next.refresh_token)).rejects.toMatchObject({ error: "invalid_grant" });
  expect(await whoIs(next.access_token)).toBeUndefined();
});

test("a refresh token whose successor was never made, because the platform died, is good again", async () => {
  const { config, started } = await signInByDevice();
  const first = await deviceTokens(config, started);
  await scene.database.db
    .updateTable("oidc_artifact")
    .set({ consumed_at: new Date(0) })
    .where("kind", "=", "RefreshToken")
    .execute();
  const next = await client.refreshTokenGrant(config, first.refresh_token ?? "");
  expect(next.access_token).toBeDefined();
});

test("a service account gets tokens by client credentials, until it is deactivated", async () => {
  const accounts = running.kernel.client(identityKeys.ServiceAccountService, operator);
  const { account, clientSecret } = await accounts.createServiceAccount({ login: "batch", roles: ["operator"] });
  const config = await discover(account?.accountId ?? "", client.ClientSecretBasic(clientSecret));
  const tokens = await client.clientCredentialsGrant(config, { scope: "hms" });
  expect(await whoIs(tokens.access_token)).toMatchObject({ login: "batch", roles: ["operator"] });
  const wrong = await discover(account?.accountId ?? "", client.ClientSecretBasic(`${clientSecret}x`));
  await expect(client.clientCredentialsGrant(wrong, {})).rejects.toMatchObject({ status: 401 });
  await accounts.deactivateServiceAccount({ account: "batch" });
  expect(await whoIs(tokens.access_token)).toBeUndefined();
  await expect(client.clientCredentialsGrant(config, {})).rejects.toMatchObject({ status: 401 });
});

test("a program's tokens count as shown with a second factor for twelve hours, if its sign-in was", async () => {
  const { config, started } = await signInByDevice();
  const { access_token: token } = await deviceTokens(config, started);
  const mfaAfter = async (change: { methods?: string[]; authenticated_at?: Date }) => {
    const { sub } = decodeJwt(token);
    if (Object.keys(change).length > 0) {
      await scene.database.db.updateTable("oidc_artifact").set(change).where("kind", "=", "Grant").execute();
    }
    await scene.database.notify("changed", sub ?? "");
    return running.identity.tokens.principalOf(token);
  };
  expect(await mfaAfter({})).toMatchObject({ mfa: false });
  await expect.poll(() => mfaAfter({ methods: ["pwd", "otp"] })).toMatchObject({ mfa: true });
  const early = new Date(Date.now() - 12 * 3_600_000);
  await expect.poll(() => mfaAfter({ authenticated_at: early })).toMatchObject({ mfa: false });
});

test("a registered application is let in once its person says yes, and loses everything when it, or the person, is done", async () => {
  const clients = running.kernel.client(identityClients.ClientService, operator);
  const redirect = "http://127.0.0.1:9/done";
  const wanted = { redirectUris: [redirect], confidential: true, scopes: ["services:read"] };
  const made = await clients.createClient({ name: "Wiki <b>", ...wanted });
  expect(made.client).toMatchObject({ scopes: ["services:read"] });
  const unknown = clients.createClient({ name: "x", ...wanted, scopes: ["services:raed", "*"] });
  await expect(unknown).rejects.toThrow(/scopes/);
  const clientId = made.client?.clientId ?? "";
  const config = await discover(clientId, client.ClientSecretBasic(made.clientSecret));
  const signIn = async (answer: "yes" | "no") => {
    const verifier = client.randomPKCECodeVerifier();
    const code_challenge = await client.calculatePKCECodeChallenge(verifier);
    const terms = {
      redirect_uri: redirect,
      scope: "openid services:read",
      code_challenge,
      code_challenge_method: "S256",
    };
    const address = client.buildAuthorizationUrl(config, terms);
    const browser = new Browser(running.origin);
    const page = await browser.get(`${address.pathname}${address.search}`);
    const asked = await browser.submit(page, { login: "anna", password: PASSWORD });
    expect(asked.body).toContain("Wiki &lt;b&gt;");
    await browser.submit(asked, { answer });
    return { browser, landed: new URL(browser.landed ?? ""), verifier };
  };
  // To the letter: services listen on other ports of this machine.
  for (const other of ["http://127.0.0.1:10/done", "http://127.0.0.1/done", `${redirect}/`, `${redirect}?x`]) {
    const asked = new URLSearchParams({
      client_id: clientId,
      redirect_uri: other,
      response_type: "code",
      scope: "openid",
    });
    const refused = await new Browser(running.origin).get(`/oidc/auth?${asked}`);
    expect([other, refused.status, refused.body]).toEqual([other, 400, expect.stringContaining("did not work")]);
  }
  expect((await signIn("no")).landed.searchParams.get("error")).toBe("access_denied");
  const { landed, verifier } = await signIn("yes");
  const tokens = await client.authorizationCodeGrant(config, landed, { pkceCodeVerifier: verifier });
  const who = () => running.identity.tokens.principalOf(tokens.access_token);
  expect(await who()).toMatchObject({ login: "anna", scopes: ["services:read"] });
  const sessions = running.kernel.client(identitySessions.SessionService, operator);
  const listed = (await sessions.listSessions({ user: "anna" })).sessions;
  expect(listed.map(({ client: id, clientName }) => [id, clientName])).toContainEqual([clientId, "Wiki <b>"]);
  for (const redirectUri of ["http://evil.example/", "https://x/#y", "javascript:alert(1)", "http://u:p@localhost/"]) {
    const wrong = clients.createClient({ name: "x", redirectUris: [redirectUri] });
    expect([redirectUri, await codeOf(wrong)]).toEqual([redirectUri, "INVALID_ARGUMENT"]);
  }
  // Its person sees it, and can end it; others see and end nothing of it.
  const own = new Browser(running.origin);
  await own.submit(await own.get("/sign-in"), { login: "anna", password: PASSWORD });
  const places = await own.get("/sign-in/places");
  expect(places.body).toContain("End Wiki &lt;b&gt;");
  expect(places.body).toContain("the permission services:read");
  const { user: ben } = await running.kernel.client(identityUsers.UserService, operator).createUser({ login: "benno" });
  const [{ token }] = [
    await openSession(scene.database.db, ben?.userId ?? "", { address: "", userAgent: "", methods: ["pwd"] }),
  ];
  const place = listed.find((one) => one.client === clientId)?.sessionId ?? "";
  const other = new Browser(running.origin);
  other.cookies.set("__Host-hms_session", { value: token, path: "/" });
  const foreign = await other.get("/sign-in/places");
  expect(foreign.body).not.toContain("Wiki");
  await other.submit(foreign, { place });
  expect(await who()).toBeDefined();
  await own.submit(places, { place });
  expect(await who()).toBeUndefined();
  const again = await signIn("yes");
  const next = await client.authorizationCodeGrant(config, again.landed, { pkceCodeVerifier: again.verifier });
  expect(await running.identity.tokens.principalOf(next.access_token)).toBeDefined();
  await clients.deleteClient({ clientId });
  expect(await running.identity.tokens.principalOf(next.access_token)).toBeUndefined();
  await expect(client.refreshTokenGrant(config, tokens.refresh_token ?? "x")).rejects.toMatchObject({ status: 401 });
});

test("a deployed service gets its own tokens at any host, and nothing tells it the platform's own", async () => {
  const accounts = running.kernel.client(identityKeys.ServiceAccountService, operator);
  const { account, clientSecret } = await accounts.createServiceAccount({ login: "deployed", roles: ["viewer"] });
  const elsewhere = `http://localhost:${running.port}/oidc`;
  const ask = (path: string, secret: string, form: string) =>
    localFetch(`${elsewhere}${path}`, {
      method: "POST",
      headers: {
        authorization: `Basic ${btoa(`${account?.accountId}:${secret}`)}`,
        "content-type": "application/x-www-form-urlencoded",
      },
      body: form,
    });
  const everything = async (answer: Response) => JSON.stringify([...answer.headers]) + (await answer.text());
  const good = await ask("/token", clientSecret, "grant_type=client_credentials&scope=hms");
  const told = JSON.parse(await good.text()) as { access_token: string };
  expect(await whoIs(told.access_token)).toMatchObject({ login: "deployed" });
  // Whoever is called with it can read it.
  expect(Buffer.from(told.access_token.split(".")[1] ?? "", "base64url").toString()).not.toContain("localhost");
  const others = [
    await ask("/token", "wrong", "grant_type=client_credentials"),
    await ask("/token", clientSecret, "grant_type=authorization_code&code=x"),
    await ask("/token/introspection", clientSecret, "token=x"),
    await localFetch(`${elsewhere}/.well-known/openid-configuration`),
    await localFetch(`${elsewhere}/auth?client_id=hms-console`),
  ];
  expect(others.map(({ status }) => status)).toEqual([401, 400, 421, 421, 421]);
  for (const answer of others) expect(await everything(answer)).not.toContain(new URL(running.origin).hostname);
});

test("signing keys are replaced without a restart; tokens signed before stay good", async () => {
  const before = await signInByCode();
  const keys = running.kernel.client(identityKeys.SigningKeyService, operator);
  const [current, next] = (await keys.listSigningKeys({})).keys;
  const rotated = (await keys.rotateSigningKeys({})).keys;
  expect(rotated.map(({ kid }) => kid)).toEqual([next?.kid, expect.any(String), current?.kid]);
  const after = await signInByCode();
  const kidOf = (token: string) => JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()).kid;
  expect(kidOf(before.tokens.access_token)).toBe(current?.kid);
  expect(kidOf(after.tokens.access_token)).toBe(next?.kid);
  expect(await whoIs(before.tokens.access_token)).toMatchObject({ login: "anna" });
  expect(await whoIs(after.tokens.access_token)).toMatchObject({ login: "anna" });
});

test("an access token ends with the browser session it came from", async () => {
  const { tokens, browser } = await signInByCode();
  expect(await whoIs(tokens.access_token)).toBeDefined();
  await browser.submit(await browser.get("/sign-in"), {});
  expect(await whoIs(tokens.access_token)).toBeUndefined();
});

test("a program's tokens end when it revokes them, and when the person ends it", async () => {
  const { config, started } = await signInByDevice();
  const tokens = await deviceTokens(config, started);
  expect(await whoIs(tokens.access_token)).toBeDefined();
  await client.tokenRevocation(config, tokens.refresh_token ?? "");
  expect(await whoIs(tokens.access_token)).toBeUndefined();
  const second = await signInByDevice();
  const more = await deviceTokens(config, second.started);
  const principal = await running.identity.tokens.principalOf(more.access_token);
  const sessions = running.kernel.client(identitySessions.SessionService, principal ?? operator);
  const { sessions: open } = await sessions.listSessions({});
  const program = open.find(({ client: name }) => name === "hms-cli");
  await sessions.revokeSession({ sessionId: program?.sessionId ?? "" });
  expect(await whoIs(more.access_token)).toBeUndefined();
  await expect(client.refreshTokenGrant(config, more.refresh_token ?? "")).rejects.toMatchObject({
    error: "invalid_grant",
  });
});

test("deactivating a person ends session, key, access token and refresh token at once, in every process", async () => {
  const users = running.kernel.client(identityUsers.UserService, operator);
  const { user } = await users.createUser({ login: "ben", roles: ["operator"] });
  const { link } = await users.createInvitation({ user: "ben" });
  const browser = new Browser(running.origin);
  const page = await browser.get(new URL(link).pathname + new URL(link).search);
  const credentials = { login: "ben", password: "another four words together" };
  await browser.submit(page, { password: credentials.password });
  const signedIn = await browser.submit(await browser.get("/sign-in"), credentials);
  expect(signedIn.body).toContain("You are signed in as");
  const cookie = browser.cookies.get("__Host-hms_session")?.value ?? "";
  const keys = running.kernel.client(identityKeys.KeyService, operator);
  const { secret } = await keys.createKey({ user: "ben", name: "k" });
  const { config, started: device } = await signInByDevice(credentials);
  const first = await deviceTokens(config, device);
  // The refresh token is one that works, and so are both access tokens.
  const tokens = await client.refreshTokenGrant(config, first.refresh_token ?? "");
  const shown = [cookie, secret, first.access_token, tokens.access_token];
  const other = await scene.start();
  for (const token of shown) {
    expect(await running.identity.tokens.principalOf(token)).toMatchObject({ kind: "user", id: user?.userId });
    expect(await other.identity.tokens.principalOf(token)).toMatchObject({ kind: "user", id: user?.userId });
  }
  const slowness = await machineSlowness();
  const started = performance.now();
  await users.deactivateUser({ user: "ben" });
  const known = (process: IdentityProcess) =>
    Promise.all(shown.map((each) => process.identity.tokens.principalOf(each)));
  expect(await known(running)).toEqual(shown.map(() => undefined));
  await expect.poll(async () => (await known(other)).filter(Boolean), { interval: 20, timeout: 5000 }).toEqual([]);
  expect(performance.now() - started).toBeLessThan(1000 * slowness);
  for (const token of [tokens.refresh_token, first.refresh_token]) {
    const refreshed = client.refreshTokenGrant(config, token ?? "");
    await expect(refreshed).rejects.toMatchObject({ error: "invalid_grant" });
  }
  expect(await codeOf(users.deactivateUser({ user: "anna" }))).toBe("FAILED_PRECONDITION");
});
