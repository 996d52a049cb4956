import { setTimeout as delay } from "node:timers/promises";
import { type Platform, startPlatform } from "../test/system/platform.ts";
import { lost, type MixedLoad, startMixedLoad } from "./deploy/mixed-load.ts";
import { type Fault, manifestOf, PROGRAM, type ProgramVersion } from "./deploy/program.ts";
import { rivalFigures } from "./deploy/rivals.ts";
import { median } from "./support/median.ts";

/** What is deployed, in turn: three strategies, with faults between them. */
const TURNS: readonly (Pick<ProgramVersion, "fault" | "strategy"> & { kills?: readonly string[] })[] = [
  { fault: "none", strategy: "rolling" },
  { fault: "failing gate", strategy: "canary" },
  { fault: "none", strategy: "canary" },
  { fault: "missing program", strategy: "rolling" },
  { fault: "none", strategy: "blue-green" },
  { fault: "crash after 5 s", strategy: "rolling" },
  { fault: "none", strategy: "rolling", kills: ["server", "agent"] },
  { fault: "slow start", strategy: "blue-green" },
  { fault: "crash after 5 s", strategy: "blue-green" },
  { fault: "none", strategy: "canary", kills: ["server"] },
];
const REJECTED: ReadonlySet<Fault> = new Set(["failing gate", "missing program", "crash after 5 s"]);
const KILL_AFTER_MS = 2000;

interface Times {
  /** From the command to the new version's first answer. */
  switched: number[];
  /** From the command to the end of what failed: found and undone. */
  undone: number[];
}

/** Deploys again and again, with faults among them, under a load that does not wait: requests lost, and how long it takes. */
export async function run({ quick }: { quick: boolean }) {
  const deploys = quick ? 10 : 100;
  const perSecond = Number(process.env.HMS_BENCH_PER_SECOND ?? 1000);
  const terms = { perSecond, slowPerSecond: 5, socketsPerSecond: 1 };
  await using platform = await startPlatform();
  await deploy(platform, { version: "0", fault: "none", strategy: "rolling" });
  await using load = await startMixedLoad({ url: platform.url("/app"), ...terms });
  const times: Times = { switched: [], undone: [] };
  for (let turn = 1; turn <= deploys; turn += 1) await takeTurn({ platform, load, times }, turn);
  const report = await load.stop();
  const { kept, slow, socket } = report.classes;
  const own = {
    deploys,
    requests: Object.values(report.classes).reduce((sum, { sent }) => sum + sent, 0),
    requests_lost: lost(report),
    lost_of_new_connections: report.classes.new.lost,
    lost_of_kept_connections: kept.lost,
    lost_of_5s_requests: slow.lost,
    lost_of_websockets: socket.lost,
    command_to_first_answer_ms_p50: median(times.switched),
    command_to_undone_ms_p50: median(times.undone),
    latency_ms_p50: report.latency_ms_p50,
    latency_ms_p99: report.latency_ms_p99,
    latency_ms_max: report.latency_ms_max,
  };
  for (const [reason, count] of Object.entries(report.reasons)) process.stderr.write(`lost ${count} × ${reason}\n`);
  const rivals = await rivalFigures(terms, quick ? 3 : 10);
  return {
    figures: { ...own, ...rivals.figures },
    ratios: {},
    versions: { node: process.version, ...rivals.versions },
  };
}

async function takeTurn(
  { platform, load, times }: { platform: Platform; load: MixedLoad; times: Times },
  turn: number,
): Promise<void> {
  const { fault, strategy, kills = [] } = TURNS[(turn - 1) % TURNS.length] ?? { fault: "none", strategy: "rolling" };
  const version = String(turn);
  const began = Date.now();
  const killing = kills.length > 0 ? killLater(platform, kills) : undefined;
  const code = await deploy(platform, { version, fault, strategy });
  await killing;
  const expected = REJECTED.has(fault) ? 3 : 0;
  if (code !== expected) throw new Error(`deploy ${turn} (${strategy}, ${fault}) exited ${code}, not ${expected}`);
  if (expected === 3) times.undone.push(Date.now() - began);
  const at = await load.firstAnswer(version);
  if (expected === 0 && at !== undefined) times.switched.push(at - began);
  if (expected === 3 && at !== undefined) throw new Error(`deploy ${turn} (${strategy}, ${fault}) answered somebody`);
}

async function killLater(platform: Platform, components: readonly string[]): Promise<void> {
  const pids = await Promise.all(components.map((component) => platform.pidOf(component)));
  await delay(KILL_AFTER_MS);
  for (const pid of pids) if (pid > 0) process.kill(pid, "SIGKILL");
}

async function deploy(platform: Platform, version: ProgramVersion): Promise<number> {
  const manifest = platform.service("app", manifestOf(version), { "server.js": PROGRAM });
  const { code, stderr } = await platform.cli("deploy", manifest);
  if (code !== 0 && code !== 3) process.stderr.write(`${stderr}\n`);
  return code;
}
