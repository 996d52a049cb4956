import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Bench, BenchResult } from "./support/bench.ts";
import { type Contender, freePort, startContender, versionOf } from "./support/contender.ts";
import { treeCpuSeconds } from "./support/process-cpu.ts";
import { runWrk, WRK } from "./support/wrk.ts";

const CONNECTIONS = 32;
const SCRIPT = join(import.meta.dirname, "edge", "post-json.lua");
const HOSTS = {
  hms: { script: "edge-host.ts", path: "/v1/hms.ffi/Lookup" },
  connect_node: { script: "connect-host.ts", path: "/hms.ffi.v1.RegistryService/Lookup" },
} as const;
type Name = keyof typeof HOSTS;
const NAMES = Object.keys(HOSTS) as Name[];

interface Load {
  requests: number;
  cpuSeconds: number;
  requestsPerSecond: number[];
  p50Ms: number[];
}

/**
 * Requests per CPU-second of a small unary call with JSON in and out: the edge with the whole pipeline (token, policy,
 * validation, audit, metrics, trace context) and connect-node's handler, bare, for the same method, with the same client
 * and 32 connections.
 */
export const run: Bench = async ({ quick }) => {
  if (!existsSync(WRK)) throw new Error(`${WRK} is missing, which makes the load: install the package wrk.`);
  const contenders: Contender[] = [];
  try {
    for (const name of NAMES) contenders.push(await startHost(name));
    const loads = new Map<Name, Load>(
      NAMES.map((name) => [name, { requests: 0, cpuSeconds: 0, requestsPerSecond: [], p50Ms: [] }]),
    );
    for (const contender of contenders) await loadOnce(contender, 3);
    // Rounds take turns, so that a busy moment of the machine hits both alike.
    for (let round = 0; round < (quick ? 3 : 5); round++) {
      for (const contender of contenders) await addRound(contender, loads, quick ? 2 : 4);
    }
    return report(loads, await versions());
  } finally {
    for (const contender of contenders) await contender.stop();
  }
};

async function startHost(name: Name): Promise<Contender> {
  const port = await freePort();
  const script = join(import.meta.dirname, "edge", HOSTS[name].script);
  return startContender({ name, port, command: process.execPath, args: [script, String(port)] });
}

function loadOnce({ name, port }: Contender, seconds: number) {
  const scriptArgs = [HOSTS[name as Name].path];
  return runWrk({ port, connections: CONNECTIONS, seconds, script: SCRIPT, scriptArgs });
}

async function addRound(contender: Contender, loads: Map<Name, Load>, seconds: number): Promise<void> {
  const before = treeCpuSeconds(contender.pid);
  const wrk = await loadOnce(contender, seconds);
  if (wrk.failures > 0) throw new Error(`${contender.name} failed ${wrk.failures} of ${wrk.requests} requests.`);
  const load = loads.get(contender.name as Name) as Load;
  load.requests += wrk.requests;
  load.cpuSeconds += treeCpuSeconds(contender.pid) - before;
  load.requestsPerSecond.push(wrk.requestsPerSecond);
  load.p50Ms.push(wrk.p50Ms);
  process.stderr.write(`${contender.name}: ${Math.round(wrk.requestsPerSecond)} req/s\n`);
}

function report(loads: Map<Name, Load>, used: Record<string, string>): BenchResult {
  const figures: Record<string, number> = {};
  const perCpuSecond = (name: Name) => {
    const { requests, cpuSeconds } = loads.get(name) as Load;
    return requests / cpuSeconds;
  };
  for (const [name, { requestsPerSecond, p50Ms }] of loads) {
    figures[`req_per_cpu_s_${name}`] = Math.round(perCpuSecond(name));
    figures[`req_per_s_${name}`] = Math.round(median(requestsPerSecond));
    figures[`p50_ms_${name}`] = rounded(median(p50Ms));
  }
  const ratios = { req_per_cpu_s_vs_connect_node: rounded(perCpuSecond("hms") / perCpuSecond("connect_node")) };
  return { figures, ratios, versions: used };
}

async function versions(): Promise<Record<string, string>> {
  const file = new URL("../node_modules/@connectrpc/connect-node/package.json", import.meta.url);
  const { version } = JSON.parse(await readFile(file, "utf8")) as { version: string };
  const wrk = await versionOf(WRK, ["-v"]).catch((error) => String(error.stdout).split(" [")[0]);
  return { node: process.version, "@connectrpc/connect-node": version, wrk: String(wrk) };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

const rounded = (value: number) => Math.round(value * 1000) / 1000;
