import { setTimeout as delay } from "node:timers/promises";
import type { AuditEvent } from "@hms/kernel";
import { type OpenedLog, openLog } from "./audit/opened-log.ts";
import type { BenchOptions, BenchResult } from "./support/bench.ts";

/** Callers that each wait until their event is kept. */
const IN_FLIGHT = 500;
const RATE_PER_S = 500;
const TICK_MS = 10;
const DRAIN_MS = 30_000;

function eventOf(n: number): AuditEvent {
  return {
    time: new Date(),
    principal: { kind: "user", id: `user-${n % 100}`, roles: ["developer"], credential: "key:k1" },
    method: "hms.sys.deployment.v1.DeploymentService/Deploy",
    permission: "services:deploy",
    resource: `svc-${n % 500}`,
    outcome: "OK",
    reason: "",
    requestId: `r-${n}`,
    environment: "default",
    way: "http",
    source: { address: "10.0.0.9", userAgent: "bench" },
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    decision: { policies: ["role:developer"], revision: "0a1b2c3d4e5f", cached: true },
    durationMs: 1.5,
    request: { manifest: "receipt.hms.yml" },
  };
}

interface Round {
  eventsPerS: number;
  /** Of all processor time that was used, here and in PostgreSQL. */
  eventsPerCpuS: number;
  /** CPU time of an event in this process and in PostgreSQL. */
  ownUs: number;
  databaseUs: number;
}

const sorted = (values: number[]) => values.sort((a, b) => a - b);
const rounded = (value: number) => Number(value.toPrecision(4));

/** Events per second from the first record until the last one is committed in PostgreSQL, every caller waiting for its own. */
async function endToEnd({ spool, logged, cpuMs }: OpenedLog, events: number): Promise<Round> {
  const before = await logged();
  const cpu = cpuMs();
  const started = performance.now();
  let recorded = 0;
  const caller = async () => {
    while (recorded < events) {
      spool.record(eventOf(recorded));
      recorded += 1;
      await spool.kept();
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, caller));
  await until(logged, before + recorded);
  const eventsPerS = (recorded / (performance.now() - started)) * 1000;
  const after = cpuMs();
  const [ownUs, databaseUs] = (["own", "database"] as const).map(
    (part) => ((after[part] - cpu[part]) * 1000) / recorded,
  );
  const eventsPerCpuS = 1e6 / ((ownUs ?? 0) + (databaseUs ?? 0));
  return { eventsPerS, eventsPerCpuS, ownUs: ownUs ?? 0, databaseUs: databaseUs ?? 0 };
}

async function until(logged: OpenedLog["logged"], events: number): Promise<void> {
  for (const deadline = performance.now() + DRAIN_MS; (await logged()) < events; ) {
    if (performance.now() > deadline) throw new Error(`Of ${events} events ${await logged()} came into the log.`);
    await delay(2);
  }
}

/** Milliseconds until an event is on disk, at a rate that is no load. */
async function keptMs({ spool }: OpenedLog, ms: number): Promise<number[]> {
  const found: number[] = [];
  const waiting: Promise<void>[] = [];
  const started = performance.now();
  while (performance.now() < started + ms) {
    await delay(TICK_MS);
    for (let due = Math.floor(((performance.now() - started) / 1000) * RATE_PER_S); waiting.length < due; ) {
      const began = performance.now();
      spool.record(eventOf(waiting.length));
      waiting.push((spool.kept() ?? Promise.resolve()).then(() => void found.push(performance.now() - began)));
    }
  }
  await Promise.all(waiting);
  return sorted(found);
}

/** Microseconds that recording takes the calling thread. */
async function recordUs({ spool }: OpenedLog): Promise<number> {
  const rounds: number[] = [];
  for (let round = 0; round < 20; round += 1) {
    const started = performance.now();
    for (let n = 0; n < 500; n += 1) spool.record(eventOf(n));
    rounds.push(((performance.now() - started) * 1000) / 500);
    await spool.kept();
  }
  return sorted(rounds)[10] ?? Number.NaN;
}

/** What an ordinary audit table takes: a row and a transaction for each event, no chain. */
async function plainInserts({ insert }: OpenedLog, ms: number): Promise<number> {
  const started = performance.now();
  let inserted = 0;
  const caller = async () => {
    while (performance.now() < started + ms) {
      inserted += 1;
      await insert(inserted);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, caller));
  return (inserted / (performance.now() - started)) * 1000;
}

/**
 * Audit events per second from `record` over the fsync'd spool and the hash chain into PostgreSQL, all in one process as in
 * a server, and per second of processor time of both together; what waiting for the disk costs a call; and how fast the log
 * is verified. Beside it: an ordinary table that takes each event in a transaction of its own, without spool or chain.
 */
export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  await using opened = await openLog();
  await endToEnd(opened, 5000);
  const rounds: Round[] = [];
  for (let n = 0; n < (quick ? 2 : 5); n += 1) rounds.push(await endToEnd(opened, quick ? 15_000 : 100_000));
  const median = (name: keyof Round) =>
    sorted(rounds.map((each) => each[name]))[Math.floor(rounds.length / 2)] ?? Number.NaN;
  const eventsPerS = median("eventsPerS");
  const kept = await keptMs(opened, 2000);
  const record = await recordUs(opened);
  const plain = await plainInserts(opened, quick ? 2000 : 6000);
  const started = performance.now();
  const verified = await opened.verify();
  const figures = {
    events_per_s: rounded(eventsPerS),
    events_per_cpu_s: rounded(median("eventsPerCpuS")),
    cpu_us_per_event: rounded(median("ownUs")),
    database_cpu_us_per_event: rounded(median("databaseUs")),
    kept_p50_ms: rounded(kept[Math.floor(kept.length / 2)] ?? Number.NaN),
    kept_p99_ms: rounded(kept[Math.floor(kept.length * 0.99)] ?? Number.NaN),
    record_us: rounded(record),
    verified_per_s: rounded((verified / (performance.now() - started)) * 1000),
    plain_table_events_per_s: rounded(plain),
  };
  const ratios = { events_per_s_vs_plain_table: rounded(eventsPerS / plain) };
  return { figures, ratios, versions: { node: process.version, database: opened.version } };
}
