import type { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, statSync } from "node:fs";
import { connect } from "node:tls";
import { AcmeFolder, AcmeKeeper, type AcmeSettings } from "@hms/acme";
import { waitFor } from "@hms/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startDataPlane } from "../../apps/dataplane/test/support/data-plane-process.ts";
import { type Installation, openInstallation } from "../../apps/dataplane/test/support/installation.ts";
import { snapshotOf } from "../../apps/dataplane/test/support/snapshots.ts";
import { startUpstream } from "../../apps/dataplane/test/support/upstream.ts";
import { startPlatform } from "../system/platform.ts";
import { type PebbleAuthority, type PebbleOptions, startPebble } from "./pebble-authority.ts";

let installation: Installation;
let stack: AsyncDisposableStack;
let said: string[];

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  said = [];
  installation = stack.use(await openInstallation());
  const upstream = stack.use(await startUpstream("behind tls"));
  installation.store.save(snapshotOf(1, [{ name: "svc", upstreams: [upstream.port], path: "/*" }]));
  stack.use(await startDataPlane(installation));
});
afterEach(() => stack.disposeAsync());

const authorityOf = async (options: Omit<PebbleOptions, "httpPort"> = {}) =>
  stack.use(await startPebble({ httpPort: installation.network.gatewayPort, ...options }));

function settingsFor({ directory, caFile }: PebbleAuthority, more: Partial<AcmeSettings> = {}): AcmeSettings {
  const names = ["shop.test"];
  return { names, directory, caFile, mail: "ops@shop.test", terms: TERMS, askedAt: "", ...more };
}
const RENEWAL = "draft-ietf-acme-ari-03";
const LIMITED = {
  status: 429,
  headers: { "retry-after": "7200" },
  body: { type: "urn:ietf:params:acme:error:rateLimited", detail: "too many certificates already issued" },
};
/** What pebble says its terms are. */
const TERMS = "data:text/plain,Do%20what%20thou%20wilt";

function folderOf({ paths }: Installation): AcmeFolder {
  const { acme, gatewayTls, acmeChallenges } = paths;
  return new AcmeFolder({ folder: acme, certificates: gatewayTls, challenges: acmeChallenges });
}

let line = Promise.resolve();
/** As the server does by the database: one after the other. */
const exclusively = <T>(work: () => Promise<T>): Promise<T> => {
  const done = line.then(work);
  line = done.then(
    () => {},
    () => {},
  );
  return done;
};

function keeper(): AcmeKeeper {
  const note = (message: string) => said.push(message);
  const log = { info: note, warn: note, error: note };
  return stack.use(new AcmeKeeper({ folder: folderOf(installation), exclusively, log }));
}

/** The certificate that a client is shown. */
async function shown(name: string): Promise<X509Certificate | undefined> {
  const socket = connect({
    port: installation.network.tlsPort,
    host: "127.0.0.1",
    servername: name,
    rejectUnauthorized: false,
  });
  try {
    await once(socket, "secureConnect");
    return socket.getPeerX509Certificate();
  } catch {
    return undefined;
  } finally {
    socket.destroy();
  }
}

const isShown = (name: string) =>
  waitFor(async () => (await shown(name))?.checkHost(name) !== undefined, {
    deadlineMs: 60_000,
    describe: () => `a certificate for ${name}; ${said.join("\n")}`,
  });
const problem = (name: string) => folderOf(installation).progress(name)?.problem;
const hasProblem = (name: string) =>
  waitFor(() => problem(name) !== undefined, {
    deadlineMs: 60_000,
    describe: () => `a failure for ${name}; ${said.join("\n")}`,
  });

const orders = ({ counts }: PebbleAuthority) => counts.get("order-plz") ?? 0;
/** Refuses no nonce, so that requests can be counted. */
const exact = { nonceRejectPercent: 0 };

test("a name gets a certificate that clients believe, although good nonces are refused, and a restart orders nothing", async () => {
  const authority = await authorityOf();
  const first = keeper();
  first.use(settingsFor(authority));
  await isShown("shop.test");
  const socket = connect({
    port: installation.network.tlsPort,
    host: "127.0.0.1",
    servername: "shop.test",
    ca: await authority.root(),
  });
  await once(socket, "secureConnect");
  socket.destroy();
  await first[Symbol.asyncDispose]();
  const before = orders(authority);
  const asked = authority.counts.get(RENEWAL) ?? 0;
  keeper().use(settingsFor(authority));
  await waitFor(() => (authority.counts.get(RENEWAL) ?? 0) > asked, { describe: () => "the second to look" });
  expect(orders(authority)).toBe(before);
  const { acme, acmeChallenges } = installation.paths;
  expect(existsSync(acmeChallenges) ? readdirSync(acmeChallenges) : []).toEqual([]);
  const files = readdirSync(acme, { recursive: true, encoding: "utf8" }).map((name) => `${acme}/${name}`);
  for (const file of files) expect(statSync(file).mode & 0o077).toBe(0);
}, 120_000);

test("a name that leads elsewhere fails with the authority's reason, and keeps no other name waiting", async () => {
  const authority = await authorityOf();
  await authority.lead("elsewhere.test", "127.0.0.77");
  keeper().use(settingsFor(authority, { names: ["elsewhere.test", "blocked.test", "shop.test"] }));
  await isShown("shop.test");
  expect(problem("elsewhere.test")).toMatchObject({ kind: "connection" });
  expect(problem("elsewhere.test")?.message).toContain("127.0.0.77");
  expect(problem("blocked.test")).toMatchObject({ kind: "rejectedIdentifier" });
  expect(said.join("\n")).toContain("no certificate for elsewhere.test");
  expect(said.join("\n")).toContain("let the name's DNS records lead to this machine");
  const wait = (folderOf(installation).progress("elsewhere.test")?.nextAttemptAt ?? 0) - Date.now();
  expect(wait).toBeGreaterThan(3 * 60_000);
}, 120_000);

test("who has not agreed to the authority's terms gets no account", async () => {
  const authority = await authorityOf(exact);
  keeper().use(settingsFor(authority, { terms: "" }));
  await hasProblem("shop.test");
  expect(problem("shop.test")).toMatchObject({ kind: "termsChanged" });
  expect(problem("shop.test")?.message).toContain(TERMS);
  expect(authority.counts.get("sign-me-up")).toBeUndefined();
}, 120_000);

test("an authority that is away, or wants to be left alone, is asked no oftener than it likes", async () => {
  const authority = await authorityOf(exact);
  authority.instead = () => "hang up";
  const first = keeper();
  first.use(settingsFor(authority));
  await hasProblem("shop.test");
  expect(problem("shop.test")).toMatchObject({ kind: "unreachable" });
  expect(authority.counts.get("dir")).toBe(1);
  // Asked by the operator: at once.
  authority.instead = (path) => (path === "/order-plz" ? LIMITED : undefined);
  first.use(settingsFor(authority, { askedAt: "now" }));
  await waitFor(() => problem("shop.test")?.kind === "rateLimited", { describe: () => said.join("\n") });
  expect(problem("shop.test")?.message).toContain("too many certificates");
  const wait = (folderOf(installation).progress("shop.test")?.nextAttemptAt ?? 0) - Date.now();
  expect(wait).toBeGreaterThan(7100_000);
  // Neither a restart nor the operator goes past that.
  authority.instead = undefined;
  await first[Symbol.asyncDispose]();
  const before = new Map(authority.counts);
  keeper().use(settingsFor(authority, { askedAt: "again" }));
  await new Promise((resolve) => setTimeout(resolve, 1500));
  expect(authority.counts).toEqual(before);
}, 120_000);

test("an order that a server has begun before its end is carried on, and two servers at once make one", async () => {
  const authority = await authorityOf(exact);
  // Ended with the order placed, and again with the certificate issued but not fetched; neither gets to note anything.
  for (const stage of ["authZ", "certZ"]) {
    authority.instead = (path) => (path.startsWith(`/${stage}`) ? "say nothing" : undefined);
    const dying = keeper();
    dying.use(settingsFor(authority));
    await waitFor(() => (authority.counts.get(stage) ?? 0) > 0, {
      deadlineMs: 60_000,
      describe: () => `it to get to ${stage}; ${said.join("\n")}`,
    });
    await dying[Symbol.asyncDispose]();
  }
  expect(problem("shop.test")).toBeUndefined();
  expect(await shown("shop.test")).toBeUndefined();
  authority.instead = undefined;
  for (const one of [keeper(), keeper()]) one.use(settingsFor(authority));
  await isShown("shop.test");
  await waitFor(() => (authority.counts.get(RENEWAL) ?? 0) >= 2, { describe: () => "both to look" });
  expect(orders(authority)).toBe(1);
  expect(authority.counts.get("sign-me-up")).toBe(1);
}, 120_000);

test("a certificate is renewed in time, the old one is shown until then, and no connection ends", async () => {
  const authority = await authorityOf({ validityS: 20 });
  keeper().use(settingsFor(authority));
  await isShown("shop.test");
  const first = await shown("shop.test");
  const standing = connect({
    port: installation.network.tlsPort,
    host: "127.0.0.1",
    servername: "shop.test",
    rejectUnauthorized: false,
  });
  await once(standing, "secureConnect");
  let missed = 0;
  await waitFor(
    async () => {
      const now = await shown("shop.test");
      if (now === undefined) missed += 1;
      return now !== undefined && now.fingerprint256 !== first?.fingerprint256;
    },
    { deadlineMs: 40_000, describe: () => said.join("\n") },
  );
  expect(Date.now()).toBeLessThan(first?.validToDate.getTime() ?? 0);
  expect(missed).toBe(0);
  standing.write("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
  expect(String((await once(standing, "data"))[0])).toMatch(/^HTTP\/1.1 200 OK/);
  standing.destroy();
  expect((await shown("shop.test"))?.publicKey.export({ format: "jwk" })).not.toEqual(
    first?.publicKey.export({ format: "jwk" }),
  );
  // HTTP is refused by now, but for authorities: the renewal has shown it. What nobody has asked for is refused like everything.
  const at = `http://127.0.0.1:${installation.network.gatewayPort}/.well-known/acme-challenge`;
  expect(
    (await fetch(`${at}/${"t".repeat(43)}`, { redirect: "manual", headers: { connection: "close" } })).status,
  ).toBe(403);
}, 120_000);

test("another authority's certificate takes the place of the first one's, which is shown until then", async () => {
  const [first, second] = [await authorityOf(exact), await authorityOf(exact)];
  const one = keeper();
  one.use(settingsFor(first));
  await isShown("shop.test");
  second.instead = () => "hang up";
  one.use(settingsFor(second));
  await hasProblem("shop.test");
  expect((await shown("shop.test"))?.checkHost("shop.test")).toBe("shop.test");
  second.instead = undefined;
  one.use(settingsFor(second, { askedAt: "now" }));
  await waitFor(
    () => orders(second) === 1 && folderOf(installation).progress("shop.test")?.issuedBy === second.directory,
    {
      deadlineMs: 60_000,
      describe: () => said.join("\n"),
    },
  );
  one.use(undefined);
  await waitFor(async () => (await shown("shop.test")) === undefined, { describe: () => "it to be shown no more" });
}, 120_000);

test("hms-sys tls acme asks for agreement, waits for the certificate, and says what hinders it, as status and doctor do", async () => {
  const platform = stack.use(await startPlatform());
  const authority = stack.use(await startPebble({ httpPort: platform.network.gatewayPort }));
  const acme = (...more: string[]) =>
    platform.cli("tls", "acme", "--names", "shop.test,blocked.test", "--directory", authority.directory, ...more);
  expect(await acme()).toMatchObject({ code: 1, stderr: expect.stringContaining("cannot be asked") });
  const withCa = ["--ca-file", authority.caFile];
  expect(await acme(...withCa)).toMatchObject({ code: 1, stderr: expect.stringContaining("--agree-terms") });
  const { code, stdout } = await acme(...withCa, "--agree-terms");
  expect(code).toBe(1);
  expect(stdout).toMatch(/^shop.test: certificate until 20/m);
  expect(stdout).toMatch(/^blocked.test: no certificate yet[\s\S]+blocked.test[\s\S]+→ The authority issues nothing/m);
  const doctor = await platform.cli("doctor");
  expect(doctor.stdout).toMatch(/✗ certificates: none for blocked.test by ACME/);
  const status = await platform.json<{ certificates: { names: string[] }[] }>("tls", "acme", "--names", "shop.test");
  expect(status).toMatchObject({ names: [{ name: "shop.test" }] });
  expect((await platform.cli("tls", "status")).stdout).toContain("acme-shop.test");
  expect((await platform.cli("doctor")).stdout).toMatch(/✓ certificates: 1 at the gateway/);
  await platform.cli("restart-component", "server");
  const before = orders(authority);
  await platform.cli("tls", "acme");
  expect(orders(authority)).toBe(before);
  expect(await platform.cli("tls", "acme", "--off")).toMatchObject({ code: 0 });
  await waitFor(async () => (await platform.cli("tls", "status")).stdout.includes("speaks no TLS"), {
    describe: () => "the certificate to be shown no more",
  });
}, 240_000);
