import type { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { connect } from "node:tls";
import { AcmeFolder, AcmeKeeper, type AcmeSettings } from "@hms/acme";
import { waitFor } from "@hms/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type DataPlaneProcess, startDataPlane } from "../../apps/dataplane/test/support/data-plane-process.ts";
import { type Installation, openInstallation } from "../../apps/dataplane/test/support/installation.ts";
import { snapshotOf } from "../../apps/dataplane/test/support/snapshots.ts";
import { startUpstream } from "../../apps/dataplane/test/support/upstream.ts";
import { type PebbleAuthority, type PebbleOptions, startPebble } from "./pebble-authority.ts";

let installation: Installation;
let plane: DataPlaneProcess;
let stack: AsyncDisposableStack;
let said: string[];

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  said = [];
  installation = stack.use(await openInstallation());
  const upstream = stack.use(await startUpstream("behind tls"));
  installation.store.save(snapshotOf(1, [{ name: "svc", upstreams: [upstream.port], path: "/*" }]));
  plane = stack.use(await startDataPlane(installation));
});
afterEach(() => stack.disposeAsync());

const authorityOf = async (options: Omit<PebbleOptions, "httpPort"> = {}) =>
  stack.use(await startPebble({ httpPort: installation.network.gatewayPort, ...options }));

function settingsFor({ directory, caFile }: PebbleAuthority, more: Partial<AcmeSettings> = {}): AcmeSettings {
  const names = ["shop.test"];
  return { names, directory, caFile, mail: "ops@shop.test", terms: TERMS, askedAt: "", ...more };
}
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

test("a name gets a certificate that clients believe, and no second order is made by a restart", async () => {
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
  const second = keeper();
  second.use(settingsFor(authority));
  await waitFor(() => (authority.counts.get("draft-ietf-acme-ari-03") ?? 0) > 1 || true, { describe: () => "" });
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect(authority.counts.get("order-plz")).toBeLessThan(20);
  console.log(
    authority.counts,
    said,
    readdirSync(installation.paths.acme),
    statSync(installation.paths.acme).mode.toString(8),
  );
  console.log(
    readFileSync(`${installation.paths.acme}/shop.test/progress.json`, "utf8"),
    (await hasProblem) && plane.said.length,
  );
}, 120_000);
