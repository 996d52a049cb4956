import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openTestPlatform } from "@hms/direct-calls/testing";
import type { LoadOrder, LoadResult } from "./call/client.ts";
import { median } from "./call/median.ts";
import { run as runPython } from "./python-call.ts";
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

function summary(rounds: Round[]) {
  const perCall = (round: Round, us: number) => us / round.calls;
  return {
    calls_per_s: median(rounds.map((r) => (r.calls / r.ms) * 1000)),
    p50_us: median(rounds.map((r) => r.p50Us)),
    p99_us: median(rounds.map((r) => r.p99Us)),
    cpu_us_per_call: median(rounds.map((r) => perCall(r, r.cpuUs + r.serverCpuUs))),
    client_cpu_us_per_call: median(rounds.map((r) => perCall(r, r.cpuUs))),
    server_cpu_us_per_call: median(rounds.map((r) => perCall(r, r.serverCpuUs))),
  };
}

/** What a call costs that stays in its process, in a process of its own. */
async function inProcess(ms: number): Promise<Record<string, number>> {
  const child = fork(new URL("./call/in-process.ts", import.meta.url), [String(ms)]);
  const [found] = (await once(child, "message")) as [Record<string, number>];
  return found;
}

async function versionOf(name: string): Promise<string> {
  const text = await readFile(new URL(`../node_modules/${name}/package.json`, import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

/**
 * The same small call over a unix socket, 64 in flight, server and client in processes of their own: ours by the SDK, client
 * and service, with tickets, policy, validation, metrics and trace context, the rivals bare. The full form also measures
 * ours without the SDK, and Python's clients (`python-call`). NATS, where it is installed, goes through its server on
 * loopback, which has no unix sockets. Rounds alternate, and the median round counts.
 */
export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "hms-bench-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const platform = stack.use(await openTestPlatform());
  platform.memory.allowed = { "BenchService/Lookup": "none" };
  const nats = await startNats();
  if (nats) stack.defer(nats.stop);
  const places: Partial<Record<Name, string>> = {
    hms: `unix:${platform.path}`,
    ...(quick ? {} : { hms_frames: join(folder, "frames.sock") }),
    grpc_js: join(folder, "grpc.sock"),
    connect_node: join(folder, "connect.sock"),
    ...(nats ? { nats: `127.0.0.1:${nats.port}` } : {}),
  };
  const rounds = await measured(places, quick);
  const alone = await inProcess(quick ? 1_500 : 8_000);
  const used = { ...(await versions()), ...(nats ? { "nats-server": nats.version } : {}) };
  const own = report(rounds, alone, used);
  return quick ? own : together(own, await runPython({ quick }));
}

async function measured(places: Partial<Record<Name, string>>, quick: boolean): Promise<Map<Name, Round[]>> {
  const pairs: Pair[] = [];
  try {
    for (const [name, path] of Object.entries(places)) pairs.push(await startPair(name as Name, path));
    return await compete(pairs, quick);
  } finally {
    for (const { server, client } of pairs) for (const child of [client, server]) child.disconnect();
  }
}

function together(one: BenchResult, other: BenchResult): BenchResult {
  return {
    figures: { ...one.figures, ...other.figures },
    ratios: { ...one.ratios, ...other.ratios },
    versions: { ...one.versions, ...other.versions },
  };
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
      rounds.get(pair.name)?.push(await round(pair, { ms: quick ? 1_000 : 4_000, inFlight: IN_FLIGHT }));
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

function report(rounds: Map<Name, Round[]>, alone: Record<string, number>, used: Record<string, string>): BenchResult {
  const figures = Object.fromEntries(Object.entries(alone).map(([name, us]) => [name, rounded(us)]));
  const ratios: Record<string, number> = {};
  const ours = summary(rounds.get("hms") ?? []);
  for (const [name, own] of rounds) {
    const theirs = summary(own);
    for (const [key, value] of Object.entries(theirs)) figures[`${name}_${key}`] = rounded(value);
    if (name === "hms") continue;
    ratios[`calls_per_s_vs_${name}`] = rounded(ours.calls_per_s / theirs.calls_per_s);
    ratios[`p50_vs_${name}`] = rounded(ours.p50_us / theirs.p50_us);
    ratios[`cpu_us_per_call_vs_${name}`] = rounded(ours.cpu_us_per_call / theirs.cpu_us_per_call);
  }
  return { figures, ratios, versions: used };
}

const rounded = (value: number) => Number(value.toPrecision(4));
