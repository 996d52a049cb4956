import { once } from "node:events";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { connect } from "node:tls";
import { ListenerKeeper } from "@hms/handover";
import { expositionProblems, type TestCertificate, testAuthority, waitFor } from "@hms/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startDataPlane } from "./support/data-plane-process.ts";
import { type Installation, openInstallation } from "./support/installation.ts";
import { snapshotOf } from "./support/snapshots.ts";
import { startUpstream } from "./support/upstream.ts";

const authority = testAuthority();
let installation: Installation;
let stack: AsyncDisposableStack;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  installation = stack.use(await openInstallation());
  const upstream = stack.use(await startUpstream("behind tls"));
  installation.store.save(snapshotOf(1, [{ name: "svc", upstreams: [upstream.port], path: "/*" }]));
});
afterEach(() => stack.disposeAsync());

function put({ cert, key }: TestCertificate, folder = ""): void {
  const place = `${installation.paths.gatewayTls}${folder}`;
  mkdirSync(place, { recursive: true });
  writeFileSync(`${place}/key.pem`, key);
  writeFileSync(`${place}/cert.pem`, cert);
}

async function get(host: string, path = "/") {
  const { tlsPort: port } = installation.network;
  const asking = request({
    host: "127.0.0.1",
    port,
    path,
    servername: host,
    ca: authority.ca,
    agent: false,
    headers: { host },
  });
  const [response] = await once(asking.end(), "response");
  let body = "";
  for await (const chunk of response.setEncoding("utf8")) body += chunk;
  return { status: response.statusCode, headers: response.headers, body };
}
const answers = (host: string) =>
  get(host).then(
    ({ body }) => body === "behind tls",
    () => false,
  );
const overHttp = (path: string, init: RequestInit = {}) =>
  fetch(`http://localhost:${installation.network.gatewayPort}${path}`, { redirect: "manual", ...init });
/** As browsers ask for a page that somebody goes to. */
const browsed = (path: string, init: RequestInit = {}) =>
  overHttp(path, { ...init, headers: { accept: "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", ...init.headers } });

test("certificates that are put there are shown at once, changed and taken away again, and broken ones change nothing", async () => {
  const plane = stack.use(await startDataPlane(installation));
  expect((await overHttp("/x")).status).toBe(200);
  put(authority.issue("DNS:first.test,DNS:localhost"));
  await waitFor(() => answers("first.test"), { describe: () => "TLS to be spoken" });

  const sent = await browsed("/x?y=1");
  expect([sent.status, sent.headers.get("location")]).toEqual([
    308,
    `https://localhost:${installation.network.tlsPort}/x?y=1`,
  ]);
  // A year, and names below, by themselves; not for localhost, where they would hold for every program of the machine.
  const year = "max-age=31536000; includeSubDomains";
  expect((await get("first.test")).headers["strict-transport-security"]).toBe(year);
  const nowhere = await get("first.test", "/a/../b");
  expect([nowhere.status, nowhere.headers["strict-transport-security"]]).toEqual([400, year]);
  expect((await get("localhost")).headers["strict-transport-security"]).toBeUndefined();
  writeFileSync(
    `${installation.paths.gatewayTls}/settings.json`,
    '{"redirect": false, "hsts_max_age": 600, "hsts_subdomains": false}',
  );
  await waitFor(async () => (await overHttp("/x")).status === 200, { describe: () => "redirects to end" });
  expect((await get("first.test")).headers["strict-transport-security"]).toBe("max-age=600");

  // Authorities come by HTTP and follow no rule of ours; what nobody has asked for goes where everything goes.
  const { acmeChallenges, gatewayTls } = installation.paths;
  const proof = `/.well-known/acme-challenge/${"t0_-".repeat(10)}`;
  writeFileSync(`${gatewayTls}/settings.json`, "{}");
  await waitFor(async () => (await browsed("/x")).status === 308, { describe: () => "redirects to begin again" });
  expect((await overHttp(proof)).status).toBe(403);
  mkdirSync(acmeChallenges, { recursive: true });
  writeFileSync(`${acmeChallenges}/${"t0_-".repeat(10)}`, "the.proof");
  const proven = await overHttp(proof);
  expect([proven.status, proven.headers.get("content-type"), await proven.text()]).toEqual([
    200,
    "application/octet-stream",
    "the.proof",
  ]);
  for (const other of ["", "x", "%2e%2e%2facme", `${"t0_-".repeat(10)}/`]) {
    expect((await overHttp(`/.well-known/acme-challenge/${other}`)).status).toBe(403);
  }

  const before = connect({
    port: installation.network.tlsPort,
    host: "127.0.0.1",
    servername: "first.test",
    ca: authority.ca,
  });
  await once(before, "secureConnect");
  put(authority.issue("DNS:second.test"));
  put(authority.issue("DNS:third.test"), "/third");
  const { cert, key } = authority.issue("DNS:fourth.test");
  mkdirSync(`${gatewayTls}/fourth`);
  writeFileSync(`${gatewayTls}/fourth/combined.pem`, cert + key);
  await waitFor(() => answers("second.test"), { describe: () => "the other certificate to be shown" });
  expect(await answers("third.test")).toBe(true);
  await waitFor(() => answers("fourth.test"), { describe: () => "both of one file to be shown" });
  expect(await answers("first.test")).toBe(false);
  before.write("GET / HTTP/1.1\r\nHost: first.test\r\n\r\n");
  expect(String((await once(before, "data"))[0])).toMatch(/^HTTP\/1.1 200 OK/);

  writeFileSync(`${installation.paths.gatewayTls}/settings.json`, '{"redirect": "yes", "hsts": 1}');
  await waitFor(async () => (await plane.health()).problems.length === 1, { describe: () => "the problem to be told" });
  const [problem] = (await plane.health()).problems;
  expect(problem).toContain(
    '"hsts" is no setting; there are redirect, hsts_max_age and hsts_subdomains; redirect is true or false',
  );
  expect(await answers("second.test")).toBe(true);
  const metrics = await (await fetch(`http://127.0.0.1:${installation.network.metricsPort}/metrics`)).text();
  expect(expositionProblems(metrics)).toEqual([]);
  const ends = [...metrics.matchAll(/certificate_ends_timestamp_seconds\{name="(\w+)\.test"\} (\d+)/g)];
  expect(ends.map(([, name]) => name)).toEqual(["second", "fourth", "third"]);
  expect(Math.abs(Number(ends[0]?.[2]) - Date.now() / 1000 - 86_400)).toBeLessThan(600);
  rmSync(installation.paths.gatewayTls, { recursive: true });
  await waitFor(async () => !(await answers("second.test")), { describe: () => "TLS to be given up" });
  expect((await plane.health()).problems).toEqual([]);
  before.destroy();
}, 60_000);

test("without TLS pages are sent on to it, and every other request is refused, so that no program goes on sending in the clear", async () => {
  put(authority.issue("DNS:first.test"));
  stack.use(await startDataPlane(installation));
  await waitFor(() => answers("first.test"), { describe: () => "TLS to be spoken" });
  for (const method of ["GET", "HEAD"])
    expect([method, (await browsed("/x", { method })).status]).toEqual([method, 308]);
  const refused = [
    overHttp("/x"),
    overHttp("/x", { headers: { accept: "application/json" } }),
    browsed("/x", { headers: { authorization: "Bearer hms_k_x" } }),
    browsed("/x", { method: "POST", body: "b" }),
    browsed("/x", { method: "DELETE" }),
  ];
  for (const answer of await Promise.all(refused)) {
    expect([answer.status, answer.headers.get("location")]).toEqual([403, null]);
    expect(await answer.text()).toContain("over TLS only");
  }
});

test("a new data plane takes over the port for TLS without a refused connection", async () => {
  put(authority.issue("DNS:first.test"));
  const keeper = new ListenerKeeper();
  stack.defer(() => keeper.close());
  const old = stack.use(await startDataPlane(installation, { keeper }));
  let failures = 0;
  let done = 0;
  let isEnding = false;
  const load = (async () => {
    while (!isEnding) {
      if (await answers("first.test")) done += 1;
      else failures += 1;
    }
  })();
  await waitFor(() => done > 5, { describe: () => "answers" });
  stack.use(await startDataPlane(installation, { keeper }));
  old.child.kill("SIGTERM");
  await old.ended;
  const atEnd = done;
  await waitFor(() => done > atEnd + 5, { describe: () => "answers of the new one" });
  isEnding = true;
  await load;
  expect(failures).toBe(0);
}, 60_000);
