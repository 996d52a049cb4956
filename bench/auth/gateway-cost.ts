import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { upstream } from "../gateway/rivals.ts";
import { type Contender, freePort, startContender } from "../support/contender.ts";
import { treeCpuSeconds } from "../support/process-cpu.ts";
import { runWrk, WRK } from "../support/wrk.ts";

const CONNECTIONS = 32;

interface Spent {
  requests: number;
  cpuSeconds: number;
}

/**
 * What a known caller costs the gateway: processor time of a request on a route that asks, with 10,000 live tokens of
 * which 95 % are remembered, and of one on a route that does not; nothing where wrk is missing.
 */
export async function gatewayCost(quick: boolean): Promise<{ figures: Record<string, number>; ratio?: number }> {
  if (!existsSync(WRK)) return { figures: {} };
  const folder = mkdtempSync(join(tmpdir(), "hms-bench-auth-"));
  const contenders: Contender[] = [];
  try {
    const gateway = await start(folder, contenders);
    const rounds = quick ? 3 : 8;
    const spent = { open: { requests: 0, cpuSeconds: 0 }, known: { requests: 0, cpuSeconds: 0 } };
    // The first rounds compile what Node runs, and fill what is remembered.
    for (let seed = 1001; seed < 1004; seed++) await load(gateway, { path: "known", seed });
    await load(gateway, { path: "open", seed: 1000 });
    for (let round = 0; round < rounds; round++) {
      for (const path of ["open", "known"] as const) add(spent[path], await load(gateway, { path, seed: round + 1 }));
    }
    const us = ({ requests, cpuSeconds }: Spent) => Math.round((cpuSeconds / requests) * 1e8) / 100;
    const figures = { gateway_open_cpu_us: us(spent.open), gateway_known_cpu_us: us(spent.known) };
    const ratio = Math.round((figures.gateway_known_cpu_us / figures.gateway_open_cpu_us) * 1000) / 1000;
    return { figures, ratio };
  } finally {
    for (const contender of contenders.reverse()) await contender.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function start(folder: string, contenders: Contender[]): Promise<Contender> {
  const [port, upstreamPort, readyPort] = [await freePort(), await freePort(), await freePort()];
  const [socket, tokenFile] = [join(folder, "kernel.sock"), join(folder, "dataplane.token")];
  writeFileSync(tokenFile, `${"d".repeat(64)}\n`, { mode: 0o600 });
  const run = (name: string, host: string, args: (string | number)[], answersAt: number) =>
    startContender({
      name,
      port: answersAt,
      command: process.execPath,
      args: [join(import.meta.dirname, host), ...args.map(String)],
    });
  contenders.push(await startContender(upstream({ folder, port: upstreamPort, upstreamPort })));
  contenders.push(await run("identify", "identify-host.ts", [readyPort, socket], readyPort));
  const gateway = await run("gateway", "gateway-host.ts", [port, upstreamPort, socket, tokenFile], port);
  contenders.push(gateway);
  return gateway;
}

async function load({ port, pid }: Contender, { path, seed }: { path: string; seed: number }): Promise<Spent> {
  const before = treeCpuSeconds(pid);
  const script = join(import.meta.dirname, "bearer.lua");
  const scriptArgs = [path, String(seed)];
  const { requests, failures } = await runWrk({ port, connections: CONNECTIONS, seconds: 2, script, scriptArgs });
  if (failures > 0) throw new Error(`${failures} of ${requests} requests for /${path} were not answered with 200.`);
  return { requests, cpuSeconds: treeCpuSeconds(pid) - before };
}

function add(sum: Spent, { requests, cpuSeconds }: Spent): void {
  sum.requests += requests;
  sum.cpuSeconds += cpuSeconds;
}
