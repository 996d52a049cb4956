import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CloudEvent } from "@hms/events";
import { parseManifest } from "@hms/manifest";
import { casesOf, openTestDatabase } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DeploymentTables, deploymentMigrations } from "../index.ts";
import { grantRollout } from "../rollout-grant.ts";
import { replicaSuffix } from "../rollout-id.ts";
import { RolloutJournal } from "../rollout-journal.ts";
import { plannedRollout, type Transition, transition } from "../rollout-machine.ts";
import { RolloutNews } from "../rollout-news.ts";
import { type Effect, hasEnded, type RolloutInput, type RolloutState } from "../rollout-state.ts";
import type { RevisionRecord, ServiceRecord } from "../service-record.ts";
import { readRevisions, readServices } from "../service-store.ts";
import { randomOf } from "../testing/random.ts";
import { failure, success } from "../testing/rollout-fixtures.ts";
import { chooseRollback } from "./choose-rollback.ts";
import { RollbackSpool } from "./rollback-spool.ts";
import { takeIn } from "./take-in.ts";

const SEEDS = casesOf(
  Array.from({ length: 60 }, (_, seed) => seed),
  (seed) => seed < 8,
);
const stack = new AsyncDisposableStack();
let database: Awaited<ReturnType<typeof openTestDatabase<DeploymentTables>>>["database"];
let folder: string;
const told: CloudEvent[] = [];
const news = new RolloutNews({ publish: async (events) => void told.push(...events) });
const carrier = { holder: "here", isGone: () => false };

beforeAll(async () => {
  const options = { service: "deployment", migrations: deploymentMigrations };
  database = stack.use(await openTestDatabase<DeploymentTables>(options)).database;
  folder = mkdtempSync(join(tmpdir(), "hms-spool-"));
  stack.defer(() => rmSync(folder, { recursive: true }));
});
afterAll(() => stack.disposeAsync());

/** A service whose second revision serves, in the database. */
async function deployed(service: string, replicas: number): Promise<ServiceRecord> {
  const { db } = database;
  const key = { environment: "default", service };
  const serving = { current_revision: "2", traffic_revision: "2", wanted: replicas, next_revision: "3" };
  await db
    .insertInto("service")
    .values({ environment: "default", name: service, owner: "user:anna", ...serving })
    .execute();
  for (const revision of ["1", "2"]) {
    const text = `name: ${service}\nversion: "${revision}"\nrun: {command: x}\nscaling: {min: ${replicas}}\n`;
    const manifest = JSON.stringify(parseManifest(text));
    const made = { revision, manifest, source_directory: "/src", release_digest: `sha256:${revision}` };
    await db
      .insertInto("revision")
      .values({ ...key, ...made, outcome: "good" })
      .execute();
  }
  for (let ordinal = 1; ordinal <= replicas; ordinal += 1) {
    const what = { revision: "2", ordinal, phase: "running", traffic: "active", proven: "1.0" } as const;
    await db
      .insertInto("replica")
      .values({ ...key, ...what, replica_id: `default/${service}/2/${ordinal}-old000` })
      .execute();
  }
  return found(service);
}

async function found(service: string): Promise<ServiceRecord> {
  const [record] = await readServices(database.db, { environment: "default", service });
  if (record === undefined) throw new Error(`${service} is not there`);
  return record;
}

/** What happens in a rollback, decided by chance: the same for the same seed, whoever keeps its journal. */
function fate(seed: number, rolloutId: string) {
  const random = randomOf(seed);
  const ready = new Set<string>();
  let now = 1000;
  const first = (state: RolloutState, record: ServiceRecord): RolloutInput => {
    if (random() < 0.7) for (const { id } of record.replicas) ready.add(id);
    const grant = grantRollout(state, { record, request: {} });
    if (typeof grant !== "string" && random() < 0.9) return { type: "locked", grant };
    return { type: "refused", failure: { reason: "It is refused", remedy: "" } };
  };
  const next = (doing: Effect): RolloutInput => {
    if (random() < 0.1) return { type: "resumed", awayMs: 50, why: "Carried on" };
    if (random() < 0.15) return { type: "failed", failure: failure(doing) };
    for (const id of doing.ids) if (doing.kind === "verify") ready.add(id);
    return success(doing);
  };
  return ({ state, record }: { state: RolloutState; record: ServiceRecord }): Transition => {
    now += 100;
    const input = state.doing ? next(state.doing) : first(state, record);
    const made = transition(state, input, { now, ready });
    return { ...made, events: made.events.map((event) => ({ rolloutId, ...event })) };
  };
}

/** Everything that the rows say of a service, but for times. */
async function rowsOf(service: string) {
  const { db } = database;
  const own = { environment: "default", service };
  const [record] = await readServices(db, own);
  const rollouts = await db
    .selectFrom("rollout")
    .selectAll()
    .where("service", "=", service)
    .orderBy("position")
    .execute();
  const ids = rollouts.map(({ rollout_id }) => rollout_id);
  const events = await db
    .selectFrom("rollout_event")
    .selectAll()
    .where("rollout_id", "in", ids)
    .orderBy("sequence")
    .execute();
  const replicas = await db
    .selectFrom("replica")
    .selectAll()
    .where("service", "=", service)
    .orderBy("replica_id")
    .execute();
  const locks = await db.selectFrom("rollout_lock").selectAll().where("service", "=", service).execute();
  return {
    record: record && plain(record),
    revisions: (await readRevisions(db, own)).map(timeless),
    rollouts: rollouts.map(({ position: _, request: __, started_at, ended_at, ...row }) => ({
      ...row,
      times: [started_at, ended_at].map((at) => at !== null),
    })),
    events: events.map(({ event: { time: _, ...event }, ...row }) => ({ ...row, event })),
    replicas: replicas.map(({ changed_at: _, ...row }) => row),
    locks,
  };
}

const timeless = ({ createdAt: _, ...rest }: RevisionRecord) => rest;

function plain({ revisions, deployedAt, running, replicas, ...rest }: ServiceRecord) {
  return {
    ...rest,
    hasDate: deployedAt !== undefined,
    running: running && { ...running, since: "" },
    replicas: replicas.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    revisions: [...revisions.values()].map(timeless).sort((a, b) => a.revision - b.revision),
  };
}

/** The same with another service's names. */
const renamed = <T>(value: T, names: Record<string, string>): T =>
  JSON.parse(Object.entries(names).reduce((text, [from, to]) => text.replaceAll(from, to), JSON.stringify(value))) as T;

function begun(
  record: ServiceRecord,
  revisions: RevisionRecord[],
  { rolloutId, reason = "" }: { rolloutId: string; reason?: string },
): RollbackSpool {
  const file = join(folder, `${rolloutId}.spool`);
  const ready = new Set(record.replicas.map(({ id }) => id));
  const request = { revision: 0n, tag: "", reason };
  const wish = { request, principal: "operator", rolloutId, ready, file, now: new Date() };
  return RollbackSpool.begin(file, chooseRollback({ ...wish, copy: { record, revisions } }));
}

describe("a rollback that is kept in a file and entered afterwards", () => {
  test.each(SEEDS)("leaves the same rows as one in the database (%i)", async (seed) => {
    const suffix = String(seed).padStart(3, "0");
    const [one, other] = [`spooled${suffix}`, `journal${suffix}`];
    const [id, otherId] = [`aspool${suffix}x`, `journl${suffix}x`];
    const names = { [other]: one, [otherId]: id, [replicaSuffix(otherId)]: replicaSuffix(id) };
    const replicas = 1 + (seed % 3);
    told.length = 0;

    // In the database.
    await deployed(other, replicas);
    const journal = new RolloutJournal(database, carrier, news);
    const key = { environment: "default", service: other };
    const state = plannedRollout({ ...key, rolloutId: otherId, kind: "rollback", revision: 1, previousRevision: 2 });
    const wanted = { principal: "operator", owner: "", version: "1", request: {}, refuseIfLocked: false };
    const event = { planned: { kind: "ROLLOUT_KIND_ROLLBACK" } };
    const reason = "rolled back while the database was away";
    const begin = () => ({ state, event });
    await journal.create({ ...key, ...wanted, rolloutId: otherId, kind: "rollback", reason, begin });
    const claim = await journal.claim(otherId);
    if (!claim.granted) throw new Error("the lock is not granted");
    const decide = fate(seed, otherId);
    const records: ServiceRecord[] = [];
    for (let turn = 0, now = state; !hasEnded(now); turn += 1) {
      const at = { rolloutId: otherId, fence: claim.fence, turn };
      const position = await journal.turn(at, decide);
      now = position.state;
      if (position.record) records.push(position.record);
    }
    const expected = renamed(await rowsOf(other), names);
    const toldThere = renamed(
      told.splice(0).map(({ time: _, data, ...rest }) => rest),
      names,
    );

    // In a file, opened again after each transition.
    const record = await deployed(one, replicas);
    const revisions = await readRevisions(database.db, record);
    let spool = begun(record, revisions, { rolloutId: id });
    const again = fate(seed, id);
    for (let turn = 0; !spool.hasEnded; turn += 1) {
      await spool.turn({ turn }, again);
      spool.close();
      spool = RollbackSpool.open(spool.file) as RollbackSpool;
      expect(plain(spool.copy.record)).toEqual(renamed(plain(records[turn] as ServiceRecord), names));
    }
    await database.transaction((trx) => takeIn(trx, spool, news));
    const rows = await rowsOf(one);
    expect(comparable(rows)).toEqual(comparable(expected));
    expect(told.map(({ time: _, data, ...rest }) => JSON.parse(JSON.stringify(rest)))).toEqual(toldThere);

    // A server that died before it took the file away enters nothing twice.
    told.length = 0;
    expect(
      await database.transaction((trx) => takeIn(trx, RollbackSpool.open(spool.file) as RollbackSpool, news)),
    ).toBe(id);
    expect(await rowsOf(one)).toEqual(rows);
    expect(told).toEqual([]);
  });
});

test("what had not ended in the database is ended by a rollback that is entered, the request that was lost included", async () => {
  const record = await deployed("shop", 1);
  const key = { environment: "default", service: "shop" };
  const journal = new RolloutJournal(database, carrier, news);
  const wanted = { principal: "user:anna", owner: "", version: "3", request: {}, reason: "", refuseIfLocked: false };
  const create = (rolloutId: string, kind: "deploy" | "rollback") =>
    journal.create({
      ...{ ...key, ...wanted, rolloutId, kind },
      begin: () => ({
        state: plannedRollout({ ...key, rolloutId, kind, revision: kind === "deploy" ? 3 : 1, previousRevision: 2 }),
        event: { planned: {} },
      }),
    });
  // A deploy in the middle, which the database knows more of than the server that lost it, and two that wait.
  await create("deploying1", "deploy");
  const claim = await journal.claim("deploying1");
  if (!claim.granted) throw new Error("the lock is not granted");
  const policy = {
    ...plannedRollout({ ...key, rolloutId: "", kind: "deploy", revision: 3, previousRevision: 2 }).policy,
    wanted: 1,
  };
  const existing = record.replicas.map(({ id, revision, ordinal, traffic }) => ({ id, revision, ordinal, traffic }));
  const grant = { revision: 3, previousRevision: 2, trafficRevision: 2, policy, existing };
  await journal.turn({ rolloutId: "deploying1", fence: claim.fence, turn: 0 }, ({ state }) =>
    transition(state, { type: "locked", grant }, { now: 0, ready: new Set() }),
  );
  await create("waiting001", "deploy");
  await create("lostanswer", "rollback");

  const spool = begun(record, await readRevisions(database.db, key), { rolloutId: "lostanswer" });
  const decide = fate(1000, "lostanswer");
  for (let turn = 0; !spool.hasEnded; turn += 1) await spool.turn({ turn }, decide);
  const id = await database.transaction((trx) => takeIn(trx, spool, news));
  expect(id).toBe("lostanswerx");
  const { rollouts, locks, replicas, record: after } = await rowsOf("shop");
  expect(locks).toEqual([]);
  expect(rollouts.map(({ rollout_id, phase }) => [rollout_id, phase])).toEqual([
    ["deploying1", "rolled_back"],
    ["waiting001", "rolled_back"],
    ["lostanswer", "rolled_back"],
    ["lostanswerx", spool.row.phase],
  ]);
  for (const { failure_reason } of rollouts.slice(0, 3))
    expect(failure_reason).toMatch(/took the place of this rollout/);
  expect(after?.running).toBeUndefined();
  // The replica that the deploy was about to start is nobody's.
  const third = replicas.filter(({ revision }) => revision === "3");
  expect(third).toMatchObject([{ phase: "stopping", traffic: "none" }]);
  expect(await database.transaction((trx) => takeIn(trx, spool, news))).toBe(id);
});

test("a reason that the database cannot keep as it is does not keep the rollback out", async () => {
  const record = await deployed("quoted", 1);
  const rolloutId = "quotedback";
  const spool = begun(record, await readRevisions(database.db, record), {
    rolloutId,
    reason: "it said \0 and stopped",
  });
  const decide = fate(1001, rolloutId);
  for (let turn = 0; !spool.hasEnded; turn += 1) await spool.turn({ turn }, decide);
  await database.transaction((trx) => takeIn(trx, spool, news));
  const { rollouts } = await rowsOf("quoted");
  expect(rollouts).toMatchObject([{ reason: "it said \ufffd and stopped (rolled back while the database was away)" }]);
});

/** The first event says where the rollback is kept. */
function comparable(rows: Awaited<ReturnType<typeof rowsOf>>) {
  return JSON.parse(JSON.stringify({ ...rows, events: rows.events.slice(1) }));
}
