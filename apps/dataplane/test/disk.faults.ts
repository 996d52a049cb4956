import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { waitFor } from "@hms/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type DataPlaneProcess, inFlightAt, startDataPlane } from "./support/data-plane-process.ts";
import { type Installation, openInstallation } from "./support/installation.ts";
import { type SnapshotServer, startSnapshotServer } from "./support/snapshot-server.ts";
import { snapshotOf, type TestService } from "./support/snapshots.ts";
import { startUpstream, type Upstream } from "./support/upstream.ts";

let installation: Installation;
let upstream: Upstream;
let folder = "";
const opened: AsyncDisposable[] = [];

beforeEach(async () => {
  installation = await openInstallation();
  upstream = await startUpstream("served");
  folder = `${installation.paths.data}/dataplane`;
});
afterEach(async () => {
  for (const resource of opened.splice(0).reverse()) await resource[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
  await installation[Symbol.asyncDispose]();
});

const own = <T extends AsyncDisposable>(resource: T): T => {
  opened.push(resource);
  return resource;
};
const start = async (): Promise<DataPlaneProcess> => own(await startDataPlane(installation));
const serve = async (first?: mesh.Snapshot): Promise<SnapshotServer> =>
  own(await startSnapshotServer(installation.paths, first));
const picture = (version: number, path: string, more: Partial<TestService> = {}) =>
  snapshotOf(version, [{ name: "svc", upstreams: [upstream.port], path, ...more }]);
const statusOf = async (path: string) =>
  (await fetch(`http://127.0.0.1:${installation.network.gatewayPort}${path}`)).status;
const generations = () =>
  readdirSync(folder)
    .filter((name) => name.startsWith("snapshot."))
    .sort();

test("it serves from the disk with nothing else there, and says that the server is away", async () => {
  installation.store.save(picture(7, "/seven"));
  const plane = await start();
  expect(await statusOf("/seven")).toBe(200);
  expect(await plane.health()).toMatchObject({ status: "ok", snapshot: "7", server: "away" });
});

test("a spoilt newest generation: the one before is served, and it says so", async () => {
  installation.store.save(picture(1, "/one"));
  installation.store.save(picture(2, "/two"));
  const newest = `${folder}/${generations().at(-1)}`;
  const bytes = readFileSync(newest);
  bytes[bytes.length - 3] = (bytes[bytes.length - 3] ?? 0) ^ 1;
  writeFileSync(newest, bytes);
  const plane = await start();
  expect([await statusOf("/one"), await statusOf("/two")]).toEqual([200, 404]);
  expect((await plane.health()).problems.join()).toMatch(/its checksum is wrong.*version 1 is served/);
});

test("both generations spoilt: it starts empty, says so, and serves what the server sends", async () => {
  installation.store.save(picture(1, "/one"));
  installation.store.save(picture(2, "/two"));
  for (const name of generations()) writeFileSync(`${folder}/${name}`, "");
  const plane = await start();
  expect(await statusOf("/two")).toBe(404);
  expect((await plane.health()).problems.join()).toContain("nothing is served until the server sends one");
  await serve(picture(3, "/three"));
  await waitFor(async () => (await statusOf("/three")) === 200, { describe: "the server's snapshot to be served" });
  expect(await plane.health()).toMatchObject({ status: "ok", snapshot: "3", server: "connected", problems: [] });
});

test("each snapshot is kept on disk, two generations and nothing else, then reported", async () => {
  await start();
  const server = await serve(picture(1, "/one"));
  for (const version of [2, 3, 4]) {
    server.send(picture(version, `/v${version}`));
    await waitFor(() => server.reports.some(({ appliedVersion }) => appliedVersion === BigInt(version)), {
      describe: `version ${version} to be reported`,
    });
  }
  expect(generations()).toHaveLength(2);
  expect(installation.store.load(({ version }) => version).used).toBe(4n);
  expect(await statusOf("/v4")).toBe(200);
});

test("a snapshot whose checksum is wrong, or that contradicts itself, is refused; what was served stays", async () => {
  const plane = await start();
  const server = await serve(picture(1, "/one"));
  await waitFor(async () => (await statusOf("/one")) === 200, { describe: "the first to be served" });
  server.send(create(mesh.SnapshotSchema, { ...picture(2, "/two"), sha256: new Uint8Array(32) }));
  await waitFor(() => plane.said.includes("checksum"), { describe: "the refusal" });
  const twice = { name: "svc", upstreams: [upstream.port] };
  server.send(snapshotOf(3, [twice, twice]));
  await waitFor(() => plane.said.includes("listed twice"), { describe: "the second refusal" });
  expect(await plane.health()).toMatchObject({ snapshot: "1" });
  server.send(picture(4, "/four"));
  await waitFor(async () => (await statusOf("/four")) === 200, { describe: "the next good one to be served" });
  expect(server.reports.map(({ appliedVersion }) => appliedVersion)).not.toContain(2n);
});

test("an older version that the server sends is served, and is the newest after a restart", async () => {
  installation.store.save(picture(8, "/eight"));
  installation.store.save(picture(9, "/nine"));
  const plane = await start();
  const server = await serve(picture(5, "/restored"));
  await waitFor(async () => (await statusOf("/restored")) === 200, { describe: "the restored one to be served" });
  expect(server.watches[0]).toMatchObject({ knownVersion: 9n });
  expect(server.watches[0]?.knownSha256).toHaveLength(32);
  await waitFor(() => installation.store.load(({ version }) => version).used === 5n, { describe: "it to be kept" });
  plane.child.kill("SIGKILL");
  await plane.ended;
  expect(await (await start()).health()).toMatchObject({ snapshot: "5" });
});

test("a disk that takes nothing does not stop traffic from following the server", async () => {
  const plane = await start();
  rmSync(folder, { recursive: true });
  await serve(picture(1, "/one"));
  await waitFor(async () => (await statusOf("/one")) === 200, { describe: "the snapshot to be served" });
  expect((await plane.health()).problems.join()).toContain("could not be kept on disk");
});

test("what runs on endpoints that drain is reported until nothing does, also to a server that was away", async () => {
  await start();
  const first = await startSnapshotServer(installation.paths, picture(1, "/slow"));
  await waitFor(async () => (await statusOf("/slow")) === 200, { describe: "it to be served" });
  const answer = fetch(`http://127.0.0.1:${installation.network.gatewayPort}/slow?ms=2000`);
  await waitFor(async () => (await inFlightAt(installation.network.metricsPort)) === 1, { describe: "it to run" });
  const draining = picture(2, "/slow", { upstreams: [], draining: [upstream.port] });
  const key = `svc-${upstream.port}`;
  const isReported = (server: SnapshotServer, count: number | undefined) => () =>
    server.reports.at(-1)?.appliedVersion === 2n && server.reports.at(-1)?.drainingInFlight[key] === count;
  first.send(draining);
  await waitFor(isReported(first, 1), { describe: () => `the report of what runs: ${String(first.reports.at(-1))}` });
  await first[Symbol.asyncDispose]();
  const second = await serve(draining);
  await waitFor(isReported(second, 1), { describe: "the report to the next server" });
  expect((await answer).status).toBe(200);
  await waitFor(isReported(second, undefined), { deadlineMs: 1000, describe: "the report that all is done" });
});
