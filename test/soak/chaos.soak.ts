import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import { echoService } from "../system/echo-service.ts";
import { failures, type LoadRecord, startLoad } from "../system/open-loop-load.ts";
import { type Platform, startPlatform } from "../system/platform.ts";
import { randomOf } from "./random-numbers.ts";

const MINUTES = Number(process.env.HMS_SOAK_MINUTES ?? 10);
const SEED = Number(process.env.HMS_SOAK_SEED ?? Date.now() % 100_000);
const COMPONENTS = ["server", "agent", "dataplane", "postgres"];
const STRATEGIES = [
  "strategy: rolling",
  "strategy: canary, warm: 1s, steps: [{share: 30%, hold: 1s}]",
  "strategy: blue-green, warm: 1s",
];
/** How long the kernel may take to end a process that is killed. */
const DYING_MS = 250;
/** A data plane's successor is there well within this time; what was under way in it ends with it. */
const TAKEOVER_MS = 5000;

const random = randomOf(SEED);
const oneOf = <T>(choices: readonly T[]): T => choices[Math.floor(random() * choices.length)] as T;

interface Kill {
  what: string;
  at: number;
}

async function versionOf(platform: Platform): Promise<string> {
  const response = await fetch(platform.url("/echo-svc"), { signal: AbortSignal.timeout(15_000) });
  return ((await response.json()) as { version: string }).version;
}

interface Status {
  replicas: { replica: { pid: string } }[];
}

/** A process that may be killed now; 0 if what was killed before is still coming back. */
async function pidOf(platform: Platform, what: string): Promise<number> {
  if (what !== "replica") return platform.pidOf(what).catch(() => 0);
  const { stdout } = await platform.cli("status", "echo-svc", "-o", "json");
  const { replicas = [] } = (stdout === "" ? {} : JSON.parse(stdout)) as Partial<Status>;
  return replicas.length === 0 ? 0 : Number(oneOf(replicas).replica?.pid ?? 0);
}

/** Kills something each 2 to 6 seconds, until it is told to stop. */
async function killAtRandom(platform: Platform, kills: Kill[], stopped: () => boolean): Promise<void> {
  while (!stopped()) {
    await delay(2000 + random() * 4000);
    const what = random() < 0.3 ? "replica" : oneOf(COMPONENTS);
    const pid = await pidOf(platform, what);
    if (pid <= 0 || stopped()) continue;
    kills.push({ what, at: performance.now() });
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended by itself since: a replica that was replaced.
      kills.pop();
    }
  }
}

/** Starts a run each 3 seconds, until it is told to stop; those that were taken. */
async function startRuns(platform: Platform, stopped: () => boolean): Promise<string[]> {
  const file = join(platform.data, "..", "look.yml");
  const call = "uses: call/hms.sys.deployment.v1.DeploymentService/ListServices";
  const retry = "retry: {max: 20}";
  writeFileSync(
    file,
    `nodes:\n  first: {${call}, ${retry}}\n  left: {needs: [first], ${call}, ${retry}}\n  right: {needs: [first], ${call}, ${retry}}\n  last: {needs: [left, right], ${call}, ${retry}}\n`,
  );
  const started: string[] = [];
  while (!stopped()) {
    const { code, stdout } = await platform.cli("runs", "start", file, "-o", "json");
    const id = /"runId": ?"([^"]+)"/.exec(stdout)?.[1];
    if (code === 0 && id !== undefined) started.push(id);
    await delay(3000);
  }
  return started;
}

/** Deploys again and again; each must end, and what serves afterwards must be what its end says. */
async function deployInTurns(platform: Platform, stopped: () => boolean): Promise<Record<string, number>> {
  const ends: Record<string, number> = {};
  let serving = "0";
  for (let turn = 1; !stopped(); turn += 1) {
    const version = `${turn}`;
    const isBroken = random() < 0.25;
    const rollout = oneOf(STRATEGIES);
    const before = isBroken ? "setTimeout(() => process.exit(1), 300);" : "";
    const service = echoService(platform, { version, replicas: 3, rollout, before });
    const { code, stderr } = await platform.cli("deploy", service);
    const what = `deploy ${turn} (${rollout}${isBroken ? ", broken" : ""})`;
    console.log(`${what} ended with ${code}`);
    // A replica of the new version that is killed while it is tried speaks against it.
    expect(isBroken ? [3] : [0, 3], `${what}: ${stderr}`).toContain(code);
    if (code === 0) serving = version;
    expect(await versionOf(platform), `after ${what}: ${stderr}`).toBe(serving);
    ends[code === 0 ? "succeeded" : "rolled back"] = (ends[code === 0 ? "succeeded" : "rolled back"] ?? 0) + 1;
  }
  return ends;
}

/** Requests that failed though no data plane was killed under them. */
function unexplained(records: readonly LoadRecord[], kills: readonly Kill[]): LoadRecord[] {
  const taken = kills.filter(({ what }) => what === "dataplane");
  return failures(records).filter(
    ({ startedAt, endedAt }) => !taken.some(({ at }) => startedAt <= at + DYING_MS && endedAt <= at + TAKEOVER_MS),
  );
}

test(
  `${MINUTES} minutes of kills at random under load: every rollout and run ends, nothing lies, no request fails without a cause`,
  async () => {
    console.log(`seed ${SEED}`);
    await using platform = await startPlatform();
    expect((await platform.cli("deploy", echoService(platform, { version: "0", replicas: 3 }))).code).toBe(0);
    await using load = startLoad({ url: platform.url("/echo-svc"), perSecond: 100 });
    const endsAt = performance.now() + MINUTES * 60_000;
    const stopped = () => performance.now() >= endsAt;
    const kills: Kill[] = [];
    const [, started, ends] = await Promise.all([
      killAtRandom(platform, kills, stopped),
      startRuns(platform, stopped),
      deployInTurns(platform, stopped),
    ]);
    const records = await load.stop();
    const counts = Map.groupBy(kills, ({ what }) => what);
    console.log("killed", Object.fromEntries([...counts].map(([what, all]) => [what, all.length])));
    console.log("deploys", ends, "runs", started.length, "requests", records.length);
    const failed = failures(records);
    console.log("requests that failed", failed.length);
    expect(unexplained(records, kills)).toEqual([]);
    await waitFor(async () => (await platform.json<object[]>("runs", "list", "--state", "running")).length === 0, {
      deadlineMs: 60_000,
      describe: () => "every run to end",
    });
    const runs = await platform.json<{ runId: string; state: string }[]>("runs", "list", "--limit", "1000");
    const states = new Map(runs.map(({ runId, state }) => [runId, state]));
    expect(started.filter((id) => states.get(id) !== "RUN_STATE_SUCCEEDED")).toEqual([]);
    const history = await platform.json<{ state: string }[]>("history", "echo-svc", "--limit", "1000");
    const open = history.filter(({ state }) => !/SUCCEEDED|ROLLED_BACK/.test(state));
    expect(open).toEqual([]);
    expect((await platform.cli("audit", "verify")).code).toBe(0);
    const [service] = await platform.json<{ replicasReady: number }[]>("services");
    expect(service?.replicasReady).toBe(3);
  },
  (MINUTES + 5) * 60_000,
);
