import { spawn } from "node:child_process";
import { createHash, hash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { hostEnvironment, resolveInstance } from "@hms/config";
import { registry } from "@hms/contracts";
import { createClient, HmsError } from "@hms/kernel";
import { machineSlowness, testAuthority, waitFor } from "@hms/testkit";
import { connectSocket } from "@hms/wire";
import { SMTPServer } from "smtp-server";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Browser } from "../../services/identity/src/testing/browser.ts";
import { expectShutOut, openDirectCaller } from "./direct-caller.ts";
import { echoService } from "./echo-service.ts";
import { hmsSys, type Platform, runCommand, startPlatform } from "./platform.ts";

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform();
}, 120_000);
afterAll(async () => {
  await platform[Symbol.asyncDispose]();
});

const PASSWORD = "four words nobody joined";
const origin = () => `http://${readFileSync(paths().platformHost, "utf8").trim()}:${platform.network.gatewayPort}`;
const paths = () =>
  resolveInstance({ instance: platform.instance, data: platform.data }, hostEnvironment(platform.env));

interface WhoAmI {
  login: string;
  principal: string;
  roles: string[];
  permissions: string[];
}

/** Signs in at the command line as `login` does, with a browser that types the code. */
async function logIn(browser: Browser): Promise<number> {
  const command = spawn(hmsSys, ["login"], { env: platform.env, stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  command.stdout.on("data", (text) => {
    said += text;
  });
  const ended = new Promise<number>((resolve) => command.once("exit", (code) => resolve(code ?? -1)));
  await waitFor(() => said.includes("type the code"), { deadlineMs: 20_000, describe: "login to show its code" });
  const code = /code (\S+)/.exec(said)?.[1] ?? "";
  const confirm = await browser.submit(await browser.get("/oidc/device"), { user_code: code });
  expect((await browser.submit(confirm, { confirm: "yes" })).body).toContain("The program is in");
  return ended;
}

test("a new installation is set up by a link, used by roles, and closed within a second", async () => {
  expect(platform.said).toContain("Make the first account at");
  const link = new URL(readFileSync(paths().setUpLink, "utf8").trim());
  expect(link.origin).toBe(origin());
  const browser = new Browser(origin());
  const page = await browser.get(`${link.pathname}${link.search}`);
  expect(page.headers["content-security-policy"]).toContain("default-src 'none'");
  expect((await browser.submit(page, { login: "anna", password: "short" })).body).toContain("at least 15 characters");
  // A list of passwords that have leaked is asked as soon as it is named.
  const list = join(platform.data, "pwned.txt");
  const leaked = "a phrase that somebody lost";
  writeFileSync(list, `${createHash("sha1").update(leaked).digest("hex").toUpperCase()}:7\r\n`);
  writeFileSync(paths().passwordFile, JSON.stringify({ breached_passwords: list }), { mode: 0o600 });
  expect((await browser.submit(page, { login: "anna", password: leaked })).body).toContain("has leaked somewhere");
  const done = await browser.submit(page, { login: "anna", password: PASSWORD });
  expect(done.body).toContain("You are signed in as");
  expect(existsSync(paths().setUpLink)).toBe(false);
  expect((await browser.get(`${link.pathname}${link.search}`)).status).toBe(404);

  // The browser's session opens REST for pages of the platform's own host, and of no other.
  const who = JSON.parse((await browser.fetch("GET", "/v1/whoami")).body) as WhoAmI;
  expect(who).toMatchObject({ login: "anna", roles: ["admin"], permissions: ["*"] });
  const cross = await browser.fetch("GET", "/v1/whoami", undefined, { "sec-fetch-site": "cross-site" });
  expect(cross.status).toBe(401);

  expect(await logIn(browser)).toBe(0);
  expect(await platform.json<WhoAmI>("whoami")).toMatchObject({ login: "anna", principal: who.principal });

  // A viewer looks on and deploys nothing; a role is had at once.
  const { link: invitation } = await platform.json<{ link: string }>("users", "create", "ben");
  const other = new Browser(origin());
  const choose = await other.get(new URL(invitation).pathname + new URL(invitation).search);
  await other.submit(choose, { password: "another four joined words" });
  await other.submit(await other.get("/sign-in"), { login: "ben", password: "another four joined words" });
  const key = (await platform.json<{ secret: string }>("keys", "create", "k", "--user", "ben")).secret;
  const call = (path: string, init: RequestInit = {}) =>
    fetch(platform.url(path), { ...init, headers: { authorization: `Bearer ${key}` } });
  expect((await call("/v1/users")).status).toBe(403);
  expect(await platform.json("roles", "assign", "ben", "manager")).toMatchObject({ roles: ["manager", "viewer"] });
  expect((await call("/v1/users")).status).toBe(200);
  expect((await call("/v1/users/ben:deactivate", { method: "POST" })).status).toBe(403);
  expect((await platform.cli("users", "deactivate", "ben")).code).toBe(0);
  expect((await call("/v1/users")).status).toBe(401);
  expect((await other.get("/sign-in")).body).toContain("Password");
  expect((await platform.cli("users", "deactivate", "anna")).stderr).toContain("last active admin");

  expect((await platform.cli("logout")).code).toBe(0);
  expect(await platform.json<WhoAmI>("whoami")).toMatchObject({ principal: "operator:operator" });
}, 120_000);

test("no service ever sees a browser's session, whatever its routes are", async () => {
  expect(await platform.cli("deploy", echoService(platform, { version: "1" }))).toMatchObject({ code: 0 });
  const browser = new Browser(origin());
  expect((await browser.get("/echo-svc")).status).toBe(404);
  expect((await fetch(platform.url("/echo-svc"))).status).toBe(200);
}, 120_000);

test("an invitation comes by mail once a mail server is named, without a restart", async () => {
  const mails: string[] = [];
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ["STARTTLS", "AUTH"],
    onData: (stream, _session, done) => void text(stream).then((mail) => done(void mails.push(mail))),
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const { port } = server.server.address() as AddressInfo;
  const settings = { server: `smtp://127.0.0.1:${port}`, from: "ops@example.org" };
  writeFileSync(paths().mailFile, JSON.stringify(settings), { mode: 0o600 });
  try {
    const made = await platform.json("users", "create", "carl", "--email", "carl@example.org");
    expect(made).toMatchObject({ link: "", mailedTo: "carl@example.org" });
    expect(mails.join().replaceAll("=\r\n", "").replaceAll("=3D", "=")).toContain(
      `${origin()}/sign-in/password?token=`,
    );
  } finally {
    rmSync(paths().mailFile);
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}, 60_000);

/** Lets an echo service answer with a stream of events that does not end. */
const EVENT_STREAMS = `const plain = http.createServer;
http.createServer = (listener) => plain.call(http, (request, response) => {
  if (request.headers.accept !== "text/event-stream") return listener(request, response);
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write("data: first\\n\\n");
});`;

/** A stream of events that has begun, and how it ended. */
async function eventsAt(url: string, headers: Record<string, string>): Promise<{ end: "whole" | "cut" | undefined }> {
  const response = await fetch(url, { headers: { accept: "text/event-stream", ...headers } });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  expect(await reader?.read()).toMatchObject({ value: "data: first\n\n" });
  const events: { end: "whole" | "cut" | undefined } = { end: undefined };
  void reader?.read().then(
    () => Object.assign(events, { end: "whole" }),
    () => Object.assign(events, { end: "cut" }),
  );
  return events;
}

/** Follows what is told of traffic, as the guide says it is shown, until the platform ends. */
async function sensorEvents(): Promise<() => Record<string, unknown>[]> {
  const args = ["ffi", "call", "hms.sys.integration", "Subscribe", "pattern=hms.sys.mesh.**", "-o", "json"];
  const command = spawn(hmsSys, args, { env: platform.env, stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  command.stdout.on("data", (more) => {
    said += more;
  });
  await waitFor(() => said.includes("\n"), { deadlineMs: 20_000, describe: "the subscription" });
  return () => {
    const lines = said.split("\n").slice(0, -1);
    const events = lines.map((line) => JSON.parse(line).delivery?.event).filter((event) => event !== undefined);
    return events.map(({ type, source, data }) => {
      return { type, source, ...JSON.parse(Buffer.from(data, "base64").toString()) };
    });
  };
}

test("a route that asks lets in whom roles allow, tells the program who it is, and forgets within a second what is taken back", async () => {
  const route = [
    "    auth: required",
    "    roles: [operator]",
    "    limits: [{by: principal, rate: 1000/s}]",
    `    response_headers: {set: {x-caller: "\${caller.name}"}}`,
    '    deprecated: "2026-11-01"',
  ].join("\n");
  const manifest = echoService(platform, { name: "ask-svc", version: "1", replicas: 1, route, before: EVENT_STREAMS });
  expect(await platform.cli("deploy", manifest)).toMatchObject({ code: 0 });
  await platform.json("users", "create", "cara");
  const { secret } = await platform.json<{ secret: string }>("keys", "create", "k", "--user", "cara");
  const call = (headers: Record<string, string> = { authorization: `Bearer ${secret}` }, method = "GET") =>
    fetch(platform.url("/ask-svc"), { headers, method });
  const told = await sensorEvents();
  expect((await call({})).status).toBe(401);
  expect((await call({ authorization: "Bearer hms_nobody" })).status).toBe(401);
  expect((await call()).status).toBe(403);
  await platform.json("roles", "assign", "cara", "operator");
  const answer = await call({ authorization: `Bearer ${secret}`, "x-hms-principal": "user:root" });
  expect([answer.status, answer.headers.get("ratelimit-policy")]).toEqual([200, '"principal";q=1000;w=1']);
  await waitFor(() => told().filter(({ type }) => type === "hms.sys.mesh.request.denied").length === 3, {
    deadlineMs: 20_000,
    describe: () => `three refusals: ${JSON.stringify(told())}`,
  });
  const { principal, authorization } = (await answer.json()) as Record<string, string>;
  expect([principal, authorization]).toEqual([expect.stringMatching(/^user:[0-9a-f-]{36}$/), undefined]);
  expect(["x-caller", "deprecation"].map((name) => answer.headers.get(name))).toEqual([principal, "@1793491200"]);
  const of = { source: "component:hms.sys.mesh", service: "ask-svc", route: "/ask-svc", method: "GET", weight: 1 };
  const refused = { ...of, type: "hms.sys.mesh.request.denied", network: "127.0.0.0/24" };
  expect(told()).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ ...refused, status: 401, rule: "credentials", principal: "" }),
      expect.objectContaining({ ...refused, status: 403, rule: "roles", principal }),
    ]),
  );

  // A certificate stands for the same account, on one connection that stands.
  const { gatewayTls } = paths();
  mkdirSync(gatewayTls, { recursive: true });
  const [authority, clients] = [testAuthority(), testAuthority()];
  const { cert, key } = authority.issue("DNS:localhost");
  // The certificate last: with it TLS begins, and a connection that is made before clients are asked for theirs stands.
  const files = { "clients.pem": clients.ca, "settings.json": '{"redirect": false}', "combined.pem": cert + key };
  for (const [name, content] of Object.entries(files)) writeFileSync(`${gatewayTls}/${name}`, content);
  const agent = new Agent({
    ca: authority.ca,
    keepAlive: true,
    maxSockets: 1,
    ...clients.issue(`URI:spiffe://${platform.instance}/user/cara`),
  });
  const certified = async (): Promise<{ status?: number; principal?: string }> => {
    const asking = request(`https://localhost:${platform.network.tlsPort}/ask-svc`, { agent });
    const [response] = await once(asking.end(), "response");
    const body = await text(response);
    return { status: response.statusCode, ...(response.statusCode === 200 ? JSON.parse(body) : {}) };
  };
  await waitFor(() => certified().then(({ status }) => status === 200), { describe: () => "the certificate to count" });
  expect(await certified()).toMatchObject({ status: 200, principal });

  // What runs ends with the account: the stream of events, without waiting for the next request.
  const slowness = await machineSlowness();
  const events = await eventsAt(platform.url("/ask-svc"), { authorization: `Bearer ${secret}` });
  expect(events.end).toBeUndefined();
  expect((await platform.cli("users", "deactivate", "cara")).code).toBe(0);
  const cut = waitFor(() => events.end === "cut", {
    deadlineMs: 1000 * slowness,
    describe: () => `the end: ${events.end}`,
  });
  await waitFor(async () => (await call()).status === 401 && (await certified()).status === 401, {
    deadlineMs: 1000,
    describe: () => "key and certificate to be forgotten",
  });
  await cut;
  agent.destroy();
  rmSync(gatewayTls, { recursive: true });

  // Ten seconds by the clock have passed by now, or nearly.
  const measure = () =>
    told().find(({ type, service }) => type === "hms.sys.mesh.traffic.measured" && service === "ask-svc");
  await waitFor(() => measure() !== undefined, {
    deadlineMs: 30_000,
    describe: () => `measures: ${JSON.stringify(told())}`,
  });
  const measured = measure();
  expect(measured).toMatchObject({ revision: "1", p50Ms: expect.any(Number) });
  expect([Number(measured?.requests), Number(measured?.p99Ms)].every((figure) => figure > 0)).toBe(true);
  const sampled = told().filter(({ type }) => type === "hms.sys.mesh.request.sampled");
  expect(sampled).toContainEqual(expect.objectContaining({ ...of, status: 200, entrance: "ENTRANCE_GATEWAY" }));

  // The server away: what is known reads on, nothing is changed on the strength of it.
  await platform.json("users", "create", "dora", "--roles", "operator");
  const { secret: doras } = await platform.json<{ secret: string }>("keys", "create", "k", "--user", "dora");
  const dora = { authorization: `Bearer ${doras}` };
  expect((await call(dora)).status).toBe(200);
  const server = await platform.pidOf("server");
  process.kill(server, "SIGSTOP");
  try {
    await waitFor(async () => (await call(dora, "POST")).status === 503, {
      deadlineMs: 20_000,
      describe: () => "changes to be refused",
    });
    expect((await call(dora)).status).toBe(200);
    const health = await (await fetch(`http://127.0.0.1:${platform.network.metricsPort}/healthz`)).text();
    expect(health).toContain("routes with auth refuse requests that change something");
  } finally {
    process.kill(server, "SIGCONT");
  }
  await waitFor(async () => (await call(dora, "POST")).status === 200, {
    deadlineMs: 20_000,
    describe: () => "changes to go on",
  });
}, 120_000);

test("who is deactivated calls no service directly any more, and streams of theirs end, within a second", async () => {
  const operatorToken = readFileSync(paths().operatorToken, "utf8").trim();
  const options = { socket: paths().kernelSocket, operatorToken, login: "erin", role: "operator" };
  await using caller = await openDirectCaller(platform, options);
  await expectShutOut(platform, "erin", caller);
}, 60_000);

test("a stream of the platform ends when its caller's key is taken from the key file, or its account deactivated", async () => {
  await using stack = new AsyncDisposableStack();
  const watchAs = async (token: string) => {
    const transport = stack.use(connectSocket({ path: paths().kernelSocket, token }));
    const events = createClient(registry.RegistryService, transport).watch({})[Symbol.asyncIterator]();
    const read = async () => {
      for (;;) await events.next();
    };
    let end: string | undefined;
    // The first event says that the stream runs.
    await events.next();
    void read().catch((error) => {
      end = HmsError.from(error).details.reason;
    });
    return () => end;
  };
  const fileKey = (id: string) => ({ id, kind: "user", token_sha256: hash("sha256", `token-of-${id}`) });
  const write = (...ids: string[]) => writeFileSync(paths().keyFile, JSON.stringify(ids.map(fileKey)), { mode: 0o600 });
  write("greta", "hugo");
  const [greta, hugo] = await Promise.all(
    ["greta", "hugo"].map((id) => waitFor(() => watchAs(`token-of-${id}`), { describe: `the key of ${id}` })),
  );
  await platform.json("users", "create", "fay", "--roles", "viewer");
  const { secret } = await platform.json<{ secret: string }>("keys", "create", "k", "--user", "fay");
  const fay = await watchAs(secret);
  const slowness = await machineSlowness();
  write("hugo");
  await waitFor(() => greta?.() === "ACCESS_CHANGED", {
    deadlineMs: 2000 * slowness,
    describe: "the stream of the key to end",
  });
  expect((await platform.cli("users", "deactivate", "fay")).code).toBe(0);
  await waitFor(() => fay() === "ACCESS_CHANGED", {
    deadlineMs: 1000 * slowness,
    describe: "the account's stream to end",
  });
  expect(hugo?.()).toBeUndefined();
}, 60_000);

test("six commands at once whose token has ended refresh it once and all go on", async () => {
  const browser = new Browser(origin());
  await browser.submit(await browser.get("/sign-in"), { login: "anna", password: PASSWORD });
  expect(await logIn(browser)).toBe(0);
  const file = join(paths().config, "login.json");
  const before = JSON.parse(readFileSync(file, "utf8"));
  writeFileSync(file, JSON.stringify({ ...before, endsAtMs: 0 }));
  const all = await Promise.all(Array.from({ length: 6 }, () => platform.json<WhoAmI>("whoami")));
  expect(all.every(({ login }) => login === "anna")).toBe(true);
  expect(JSON.parse(readFileSync(file, "utf8")).refreshToken).not.toBe(before.refreshToken);

  // A new password ends the browser's session, and not the login that changes it.
  const script = `printf '%s\\n%s\\n' "$OLD" "$NEW" | "$HMS_SYS" users password -o json`;
  const given = { HMS_SYS: hmsSys, OLD: PASSWORD, NEW: "five other words nobody joined" };
  const changed = await runCommand(["sh", "-c", script], { ...platform.env, ...given });
  expect([changed.code, changed.stdout]).toEqual([0, expect.stringContaining('"changed"')]);
  expect(await platform.json<WhoAmI>("whoami")).toMatchObject({ login: "anna" });
  expect((await browser.get("/sign-in")).body).toContain("Forgot the password?");
}, 120_000);
