import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { registry } from "@hms/contracts";
import { openTestPlatform } from "@hms/direct-calls/testing";
import { componentPrincipal } from "@hms/kernel";
import type { LoadOrder, LoadResult } from "./call/client.ts";
import { pipelineKernel, REQUEST } from "./call/workload.ts";
import type { BenchOptions, BenchResult } from "./support/bench.ts";
import { freePort, versionOf as programVersion, startContender } from "./support/contender.ts";

const NAMES = ["hms", "hms_frames", "grpc_js", "connect_node", "nats"] as const;
type Name = (typeof NAMES)[number];
const NATS_SERVER = process.env.HMS_BENCH_NATS_SERVER ?? "/usr/sbin/nats-server";
const IN_FLIGHT = 64;

interface Pair {
  name: Name;
  server: ChildProcess;
  client: ChildProcess;
}

interface Round extends LoadResult {
  /** CPU time of the server process. */
  serverCpuUs: number;
}

async function start(script: URL, args: string[]): Promise<ChildProcess> {
  const child = fork(script, args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  await once(child, "message");
  return child;
}

async function startPair(name: Name, path: string): Promise<Pair> {
  const server = await start(new URL("./call/server.ts", import.meta.url), [name, path]);
  const client = await start(new URL("./call/client.ts", import.meta.url), [name, path]);
  return { name, server, client };
}

async function ask<T>(child: ChildProcess, question: object): Promise<T> {
  child.send(question);
  const [answer] = await once(child, "message");
  return answer as T;
}

async function round({ server, client }: Pair, order: LoadOrder): Promise<Round> {
  const before = await ask<NodeJS.CpuUsage>(server, {});
  const result = await ask<LoadResult>(client, order);
  const after = await ask<NodeJS.CpuUsage>(server, {});
  return { ...result, serverCpuUs: after.user + after.system - before.user - before.system };
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function summary(rounds: Round[]) {
  const perCall = (round: Round, us: number) => us / round.calls;
  return {
    calls_per_s: median(rounds.map((r) => (r.calls / r.ms) * 1000)),
    p50_us: median(rounds.map((r) => r.p50Us)),
    p99_us: median(rounds.map((r) => r.p99Us)),
    client_cpu_us_per_call: median(rounds.map((r) => perCall(r, r.cpuUs))),
    server_cpu_us_per_call: median(rounds.map((r) => perCall(r, r.serverCpuUs))),
  };
}

/** Mean time of one call that stays in the process, pipeline on. */
async function inProcessUs(ms: number): Promise<number> {
  const client = pipelineKernel().client(registry.RegistryService, componentPrincipal("bench"));
  for (let n = 0; n < 50_000; n += 1) await client.lookup(REQUEST);
  const rounds: number[] = [];
  for (const endAt = performance.now() + ms; performance.now() < endAt; ) {
    const started = performance.now();
    for (let n = 0; n < 50_000; n += 1) await client.lookup(REQUEST);
    rounds.push((performance.now() - started) / 50);
  }
  return median(rounds);
}

async function versionOf(name: string): Promise<string> {
  const text = await readFile(new URL(`../node_modules/${name}/package.json`, import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

/**
 * The same small call over a unix socket, 64 in flight, server and client in processes of their own: ours with the whole
 * pipeline (ticket, policy, validation, audit, metrics, trace context), the rivals bare. NATS, where it is installed,
 * goes through its server on loopback, which has no unix sockets. Rounds alternate, and the median round counts.
 */
export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const folder = await mkdtemp(join(tmpdir(), "hms-bench-"));
  const pairs: Pair[] = [];
  const nats = await startNats();
  try {
    for (const name of NAMES) {
      const path = name === "nats" ? nats && `127.0.0.1:${nats.port}` : join(folder, `${name}.sock`);
      if (path) pairs.push(await startPair(name, path));
    }
    const rounds = await compete(pairs, quick);
    const used = { ...(await versions()), ...(nats ? { "nats-server": nats.version } : {}) };
    return report(rounds, await inProcessUs(quick ? 1_000 : 5_000), used);
  } finally {
    for (const { server, client } of pairs) for (const child of [client, server]) child.disconnect();
    await nats?.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function startNats() {
  if (!existsSync(NATS_SERVER)) return undefined;
  const port = await freePort();
  const args = ["-a", "127.0.0.1", "-p", String(port)];
  const server = await startContender({ name: "nats-server", port, command: NATS_SERVER, args });
  const version = /v([\d.]+)/.exec((await programVersion(NATS_SERVER, ["--version"])) ?? "")?.[1] ?? "";
  return { port, version, stop: server.stop };
}

async function compete(pairs: Pair[], quick: boolean): Promise<Map<Name, Round[]>> {
  const rounds = new Map<Name, Round[]>(pairs.map(({ name }) => [name, []]));
  for (const pair of pairs) await round(pair, { ms: quick ? 1_500 : 5_000, inFlight: IN_FLIGHT });
  for (let n = 0; n < (quick ? 5 : 11); n += 1) {
    for (const pair of pairs) {
      rounds.get(pair.name)?.push(await round(pair, { ms: quick ? 1_200 : 4_000, inFlight: IN_FLIGHT }));
    }
  }
  return rounds;
}

async function versions(): Promise<Record<string, string>> {
  return {
    node: process.version,
    "@grpc/grpc-js": await versionOf("@grpc/grpc-js"),
    "@connectrpc/connect-node": await versionOf("@connectrpc/connect-node"),
    "@bufbuild/protobuf": await versionOf("@bufbuild/protobuf"),
  };
}

function report(rounds: Map<Name, Round[]>, alone: number, used: Record<string, string>): BenchResult {
  const figures: Record<string, number> = { in_process_us: rounded(alone) };
  const ratios: Record<string, number> = {};
  const ours = summary(rounds.get("hms") ?? []);
  for (const [name, own] of rounds) {
    const theirs = summary(own);
    for (const [key, value] of Object.entries(theirs)) figures[`${name}_${key}`] = rounded(value);
    if (name === "hms") continue;
    ratios[`calls_per_s_vs_${name}`] = rounded(ours.calls_per_s / theirs.calls_per_s);
    ratios[`p50_vs_${name}`] = rounded(ours.p50_us / theirs.p50_us);
  }
  return { figures, ratios, versions: used };
}

const rounded = (value: number) => Number(value.toPrecision(4));
