import { mkdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ContenderFolder, EventContender } from "./events/contender.ts";
import { openHms } from "./events/hms.ts";
import { openJetstream } from "./events/jetstream.ts";
import { openRedisStreams } from "./events/redis-streams.ts";
import type { BenchOptions, BenchResult } from "./support/bench.ts";

const OPENERS: Record<string, (folder: ContenderFolder) => Promise<EventContender | null>> = {
  hms: openHms,
  redis_streams: openRedisStreams,
  jetstream: openJetstream,
};
/** Publishers that each wait for their acknowledgement. */
const IN_FLIGHT = 2000;
const KEYS = 500;
const FILLER = "x".repeat(180);
const RATE_PER_S = 500;
const TICK_MS = 10;
/** A rival that fsyncs every event by itself needs this long for what is in flight. */
const DRAIN_MS = 15_000;

interface Round {
  eventsPerS: number;
  p50Ms: number;
  p99Ms: number;
}

/** What has come back from a contender. */
class Received {
  count = 0;
  latencies: number[] = [];

  /** The body begins with the time at which it was published. */
  take(body: string): void {
    this.count += 1;
    this.latencies.push(performance.now() - Number.parseFloat(body));
  }
}

const body = () => `${performance.now()} ${FILLER}`;

async function untilReceived(received: Received, count: number): Promise<void> {
  const deadline = performance.now() + DRAIN_MS;
  while (received.count < count && performance.now() < deadline) await delay(2);
  if (received.count < count) throw new Error(`Only ${received.count} of ${count} events came back.`);
}

/** Events per second from the first publication until the group has handled the last one. */
async function throughput(contender: EventContender, received: Received, ms: number): Promise<number> {
  const before = received.count;
  const started = performance.now();
  let published = 0;
  const publisher = async (n: number) => {
    while (performance.now() < started + ms) {
      await contender.publish(`k${n % KEYS}`, body());
      published += 1;
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, (_, n) => publisher(n)));
  await untilReceived(received, before + published);
  return (published / (performance.now() - started)) * 1000;
}

/** Publish to consume, at a rate that everybody can carry, however slowly some events go. */
async function latency(contender: EventContender, received: Received, ms: number): Promise<number[]> {
  const before = received.count;
  received.latencies = [];
  const sent: Promise<void>[] = [];
  const started = performance.now();
  while (performance.now() < started + ms) {
    await delay(TICK_MS);
    const due = Math.floor(((performance.now() - started) / 1000) * RATE_PER_S);
    while (sent.length < due) sent.push(contender.publish(`k${sent.length % KEYS}`, body()));
  }
  await Promise.all(sent);
  await untilReceived(received, before + sent.length);
  return received.latencies.sort((a, b) => a - b);
}

const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
const rounded = (value: number) => Number(value.toPrecision(4));

async function round(contender: EventContender, received: Received, quick: boolean): Promise<Round> {
  const eventsPerS = await throughput(contender, received, quick ? 5000 : 8000);
  const sorted = await latency(contender, received, quick ? 2000 : 4000);
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
  return { eventsPerS, p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** Starts one, warms it up, measures it and ends it: nothing else runs beside it. */
async function measure(name: string, folder: string, quick: boolean): Promise<{ version: string; rounds: Round[] }> {
  const own = join(folder, name);
  mkdirSync(own);
  const opened = await OPENERS[name]?.({ folder: own });
  if (!opened) return { version: "not installed, not measured", rounds: [] };
  await using contender = opened;
  const received = new Received();
  await contender.consume((text) => received.take(text));
  await throughput(contender, received, 1000);
  const rounds: Round[] = [];
  for (let n = 0; n < (quick ? 1 : 3); n += 1) rounds.push(await round(contender, received, quick));
  return { version: contender.version, rounds };
}

/**
 * Durable events per second, published one by one by 2000 publishers and handled by a group, and the time from publishing
 * to handling at 500 a second; ours beside Redis Streams and NATS JetStream, one after the other on the same disk.
 */
export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const folder = await mkdtemp(join(tmpdir(), "hms-bench-events-"));
  const figures: Record<string, number> = {};
  const versions: Record<string, string> = { node: process.version };
  try {
    for (const name of Object.keys(OPENERS)) {
      const { version, rounds } = await measure(name, folder, quick);
      versions[name] = version;
      if (rounds.length === 0) continue;
      const prefix = name === "hms" ? "" : `${name}_`;
      figures[`${prefix}events_per_s`] = rounded(median(rounds.map(({ eventsPerS }) => eventsPerS)));
      figures[`${prefix}p50_ms`] = rounded(median(rounds.map(({ p50Ms }) => p50Ms)));
      figures[`${prefix}p99_ms`] = rounded(median(rounds.map(({ p99Ms }) => p99Ms)));
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return { figures, ratios: ratiosOf(figures), versions };
}

function ratiosOf(figures: Record<string, number>): Record<string, number> {
  const ratios: Record<string, number> = {};
  for (const rival of ["redis_streams", "jetstream"]) {
    for (const metric of ["events_per_s", "p50_ms"]) {
      const [ours, theirs] = [figures[metric], figures[`${rival}_${metric}`]];
      if (ours !== undefined && theirs !== undefined) ratios[`${metric}_vs_${rival}`] = rounded(ours / theirs);
    }
  }
  return ratios;
}
