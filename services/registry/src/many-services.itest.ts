import { registry } from "@hms/contracts";
import { createClient } from "@hms/kernel";
import { openTestDatabase, tempInstance, waitFor } from "@hms/testkit";
import { connectSocket, serveSocket } from "@hms/wire";
import { sql } from "kysely";
import { afterEach, expect, test } from "vitest";
import { createRegistryService, type RegistryTables, registryMigrations } from "./index.ts";
import { instance, kernelFor, shopContract } from "./testing/registry-scene.ts";

/** HMS_REGISTRY_SERVICES=10000 HMS_REGISTRY_WATCHES=500 is the size that the registry is built for; it tells its figures. */
const services = Number(process.env.HMS_REGISTRY_SERVICES ?? 1000);
const watches = Number(process.env.HMS_REGISTRY_WATCHES ?? 40);
const tellsFigures = process.env.HMS_REGISTRY_SERVICES !== undefined;
const CHANGES = 50;
const LOOKUPS = 500;

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

const idOf = (index: number) => `svc.n${String(index).padStart(5, "0")}`;

async function openManyServices() {
  const own = stack.use(
    await openTestDatabase<RegistryTables>({ service: "registry", migrations: registryMigrations }),
  );
  const { db } = own.database;
  const contract = shopContract({ 1: "id" });
  const ids = sql`select 'svc.n' || lpad(n::text, 5, '0') as id from generate_series(0, ${services - 1}::int) n`;
  await sql`insert into service (environment, service_id, version) select 'default', id, 'v1' from (${ids}) s`.execute(
    db,
  );
  await sql`insert into contract (environment, service_id, version, sha256, file_descriptor_set)
    select 'default', id, 'v1', sha256(id::bytea), ${contract} from (${ids}) s`.execute(db);
  await sql`insert into instance (environment, service_id, version, instance_id, address, lease_ms, lease_expires_at)
    select 'default', id, 'v1', 'i-' || i, 'unix:/run/' || id || i || '.sock', 600000, now() + interval '1 hour'
    from (${ids}) s, generate_series(1, 2) i`.execute(db);
  const service = stack.use(createRegistryService({ database: own.database }));
  const path = `${stack.use(tempInstance()).root}/r.sock`;
  stack.use(await serveSocket(kernelFor(service.registration), { path, graceMs: 500 }));
  return () => {
    const transport = stack.use(connectSocket({ path, token: "test" }));
    return createClient(registry.RegistryService, transport);
  };
}

/** A client that follows services, and what it was told. */
function follow(client: ReturnType<Awaited<ReturnType<typeof openManyServices>>>, pattern: string) {
  const call = new AbortController();
  stack.defer(() => call.abort());
  const told = { current: 0, synced: false, changed: new Map<string, number>() };
  const read = async () => {
    for await (const { kind, service } of client.watch({ pattern }, { signal: call.signal })) {
      if (kind === registry.WatchEventKind.SYNCED) told.synced = true;
      else if (!told.synced) told.current += 1;
      else told.changed.set(service?.serviceId ?? "", performance.now());
    }
  };
  // It ends when the test does.
  void read().catch(() => {});
  return told;
}

function quantiles(times: readonly number[]): string {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (part: number) => `${(sorted[Math.floor((sorted.length - 1) * part)] ?? 0).toFixed(2)} ms`;
  return `p50 ${at(0.5)}, p99 ${at(0.99)}, most ${at(1)}`;
}

test(`with ${services} services and ${watches} watches, everybody is told, and look-ups and listings are answered meanwhile`, async () => {
  const open = await openManyServices();
  const began = performance.now();
  // Most clients call few services; one in ten, like an edge or a console, follows all.
  const all = Array.from({ length: watches }, (_, index) => {
    const own = idOf(index % CHANGES);
    return { own, everything: index % 10 === 0, told: follow(open(), index % 10 === 0 ? "*" : own) };
  });
  const deadlineMs = 120_000;
  await waitFor(() => all.every(({ told }) => told.synced), { describe: "every watch to be in step", deadlineMs });
  const syncedMs = performance.now() - began;
  for (const { everything, told } of all) expect(told.current).toBe(everything ? services : 1);

  const client = open();
  const changedAt = new Map<string, number>();
  const lookups: number[] = [];
  const change = async () => {
    for (let index = 0; index < CHANGES; index += 1) {
      await client.register(instance(idOf(index), { instanceId: "new" }));
      changedAt.set(idOf(index), performance.now());
    }
  };
  const lookUp = async () => {
    for (let index = 0; index < LOOKUPS; index += 1) {
      const serviceId = idOf((index * 7919) % services);
      const started = performance.now();
      const { service } = await client.lookup({ serviceId });
      lookups.push(performance.now() - started);
      expect(service).toMatchObject({ serviceId, hasContract: true });
    }
  };
  const list = async () => {
    const names = new Set<string>();
    let pageToken = "";
    do {
      const page = await client.list({ pageSize: 1000, pageToken });
      for (const { serviceId } of page.services) names.add(serviceId);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(names.size).toBe(services);
  };
  const listBegan = performance.now();
  await Promise.all([change(), lookUp(), list()]);
  const workMs = performance.now() - listBegan;
  const hasAll = ({ own, everything, told }: (typeof all)[number]) =>
    everything ? told.changed.size === CHANGES : told.changed.has(own);
  await waitFor(() => all.every(hasAll), { describe: "every watch to be told", deadlineMs });
  const delays = all.flatMap(({ told }) =>
    [...told.changed].map(([id, at]) => Math.max(0, at - (changedAt.get(id) ?? at))),
  );
  if (!tellsFigures) return;
  console.info(`${watches} watches in step after ${syncedMs.toFixed(0)} ms`);
  console.info(`look-up from PostgreSQL beside ${CHANGES} changes and a whole listing: ${quantiles(lookups)}`);
  console.info(
    `from a change's answer to ${delays.length} deliveries: ${quantiles(delays)}; all work ${workMs.toFixed(0)} ms`,
  );
  const quiet: number[] = [];
  for (let index = 0; index < LOOKUPS; index += 1) {
    const started = performance.now();
    await client.lookup({ serviceId: idOf((index * 7919) % services) });
    quiet.push(performance.now() - started);
  }
  console.info(`look-up from PostgreSQL, nothing else going on: ${quantiles(quiet)}`);
}, 300_000);
