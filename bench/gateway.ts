import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RIVALS, type Rival, type RivalPlace, upstream } from "./gateway/rivals.ts";
import type { Bench, BenchResult } from "./support/bench.ts";
import { type Contender, freePort, startContender, versionOf } from "./support/contender.ts";
import { treeCpuSeconds } from "./support/process-cpu.ts";
import { runWrk, WRK, type WrkRun } from "./support/wrk.ts";

const CONNECTIONS = 32;
/** These are fast from their first request; what Node runs needs some thousands before it is compiled. */
const COMPILED = ["nginx", "haproxy", "caddy"];
const THINK_TIME = join(import.meta.dirname, "gateway", "think-time.lua");

/** What saturating a contender came to, over all rounds. */
interface Load {
  requests: number;
  cpuSeconds: number;
  requestsPerSecond: number;
}

/**
 * Requests per CPU-second of our gateway and of nginx, HAProxy, Caddy and @fastify/http-proxy, with 32 keep-alive
 * connections and the same upstream; and latency at half of our load against HAProxy's.
 */
export const run: Bench = async ({ quick }) => {
  if (!existsSync(WRK)) throw new Error(`${WRK} is missing, which makes the load: install the package wrk.`);
  const folder = mkdtempSync(join(tmpdir(), "hms-bench-gateway-"));
  const contenders: Contender[] = [];
  const result: BenchResult = { figures: {}, ratios: {}, versions: { node: process.version } };
  try {
    await startAll(folder, contenders, result);
    const measured = contenders.filter(({ name }) => name !== "upstream");
    await measureThroughput(measured, result, quick ? { rounds: 2, seconds: 2 } : { rounds: 5, seconds: 5 });
    await measureHalfLoad(measured, result, quick ? { rounds: 5, seconds: 1 } : { rounds: 5, seconds: 5 });
  } finally {
    for (const contender of contenders.reverse()) await contender.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  return result;
};

async function startAll(folder: string, contenders: Contender[], { versions }: BenchResult): Promise<void> {
  const upstreamPort = await freePort();
  contenders.push(await startContender(upstream({ folder, port: upstreamPort, upstreamPort })));
  versions.wrk = String(await versionOf(WRK, ["-v"]).catch((error) => String(error.stdout).split(" [")[0]));
  const port = await freePort();
  const host = join(import.meta.dirname, "gateway", "engine-host.ts");
  const args = [host, String(port), String(upstreamPort)];
  contenders.push(await startContender({ name: "ours", port, command: process.execPath, args }));
  const place = { folder, upstreamPort };
  const started = await Promise.allSettled(RIVALS.map((rival) => startRival(rival, place, versions)));
  for (const outcome of started) {
    if (outcome.status === "fulfilled" && outcome.value !== null) contenders.push(outcome.value);
  }
  for (const outcome of started) if (outcome.status === "rejected") throw outcome.reason;
}

async function startRival(
  rival: Rival,
  place: Omit<RivalPlace, "port">,
  versions: Record<string, string>,
): Promise<Contender | null> {
  const version = await rival.version();
  versions[rival.key] = version ?? "skipped: not installed";
  if (version === null) return null;
  const contender = await startContender(rival.command({ ...place, port: await freePort() }));
  return { ...contender, name: rival.key };
}

/** How often and how long each contender is measured. */
interface Effort {
  rounds: number;
  seconds: number;
}

async function measureThroughput(contenders: readonly Contender[], result: BenchResult, effort: Effort): Promise<void> {
  const loads = new Map<string, Load>();
  for (const { name, port } of contenders) {
    await runWrk({ port, connections: CONNECTIONS, seconds: COMPILED.includes(name) ? 1 : 3 });
    loads.set(name, { requests: 0, cpuSeconds: 0, requestsPerSecond: 0 });
  }
  // Rounds take turns, so that a busy moment of the machine hits all alike.
  for (let round = 0; round < effort.rounds; round++) {
    for (const contender of contenders) await addRound(contender, loads.get(contender.name) as Load, effort);
  }
  const perCpuSecond = (name: string) => {
    const load = loads.get(name) as Load;
    return load.requests / load.cpuSeconds;
  };
  for (const { name } of contenders) {
    result.figures[`req_per_cpu_s_${name}`] = Math.round(perCpuSecond(name));
    result.figures[`req_per_s_${name}`] = Math.round((loads.get(name) as Load).requestsPerSecond / effort.rounds);
    if (name !== "ours") result.ratios[`req_per_cpu_s_vs_${name}`] = rounded(perCpuSecond("ours") / perCpuSecond(name));
  }
}

async function addRound({ name, port, pid }: Contender, load: Load, { seconds }: Effort): Promise<void> {
  const before = treeCpuSeconds(pid);
  const wrk = await runWrk({ port, connections: CONNECTIONS, seconds });
  if (wrk.failures > 0) throw new Error(`${name} failed ${wrk.failures} of ${wrk.requests} requests.`);
  load.requests += wrk.requests;
  load.cpuSeconds += treeCpuSeconds(pid) - before;
  load.requestsPerSecond += wrk.requestsPerSecond;
  process.stderr.write(`${name}: ${Math.round(wrk.requestsPerSecond)} req/s, p99 ${wrk.p99Ms.toFixed(2)} ms\n`);
}

async function measureHalfLoad(contenders: readonly Contender[], result: BenchResult, effort: Effort): Promise<void> {
  const { figures, ratios } = result;
  const target = (figures.req_per_s_ours as number) / 2;
  // Each connection rests between two requests; the answer itself takes a small part of that time.
  const thinkMs = String(Math.max((CONNECTIONS * 1000) / target - 0.3, 0.1).toFixed(2));
  const compared = contenders.filter(({ name }) => name === "ours" || name === "haproxy");
  const runs = new Map<string, WrkRun[]>(compared.map(({ name }) => [name, []]));
  for (let round = 0; round < effort.rounds; round++) {
    for (const { name, port } of compared) {
      const load = {
        port,
        connections: CONNECTIONS,
        seconds: effort.seconds,
        script: THINK_TIME,
        scriptArgs: [thinkMs],
      };
      runs.get(name)?.push(await runWrk(load));
    }
  }
  for (const [name, list] of runs) {
    figures[`half_load_req_per_s_${name}`] = Math.round(median(list.map((wrk) => wrk.requestsPerSecond)));
    figures[`half_load_p50_ms_${name}`] = rounded(median(list.map((wrk) => wrk.p50Ms)));
    figures[`half_load_p99_ms_${name}`] = rounded(median(list.map((wrk) => wrk.p99Ms)));
  }
  for (const metric of ["p50", "p99"]) {
    const theirs = figures[`half_load_${metric}_ms_haproxy`];
    const ours = figures[`half_load_${metric}_ms_ours`] as number;
    if (theirs !== undefined) ratios[`${metric}_half_load_vs_haproxy`] = rounded(ours / theirs);
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
