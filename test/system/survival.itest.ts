import { readFileSync } from "node:fs";
import { machineSlowness, waitFor } from "@hms/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { failures, type Load, type LoadRecord, startLoad } from "./open-loop-load.ts";
import { type Platform, startPlatform } from "./platform.ts";

let platform: Platform;
let load: Load | undefined;
beforeAll(async () => {
  platform = await startPlatform();
  const { code, stderr } = await platform.cli("deploy", echoService(platform, { version: "1", replicas: 3 }));
  expect(stderr).not.toContain("✗");
  expect(code).toBe(0);
}, 120_000);
afterEach(async () => {
  await load?.stop();
  load = undefined;
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

interface ServiceStatus {
  service: { health: string };
  replicas: { ready: boolean; replica: { pid: string; port: number } }[];
}
const status = () => platform.json<ServiceStatus>("status", "echo-svc");

async function replicaPids(): Promise<number[]> {
  return (await status()).replicas.map(({ replica }) => Number(replica.pid));
}

const answered = (since: number) =>
  load?.records.some(({ startedAt, status: code }) => startedAt > since && code === 200) ?? false;

/** Kills under load and answers with the requests that failed though they were not under way at that moment. */
async function killUnderLoad(victims: number[], recovered: () => Promise<boolean>) {
  load = startLoad({ url: platform.url("/echo-svc"), perSecond: 200 });
  const { records } = load;
  await waitFor(() => records.filter(({ status: code }) => code === 200).length > 100, {
    describe: () => "the load runs",
  });
  const killedAt = performance.now();
  for (const pid of victims) process.kill(pid, "SIGKILL");
  while (victims.some(isAlive));
  const diedAt = performance.now();
  await waitFor(() => answered(killedAt), { describe: () => "requests are answered again" });
  const backAfterMs =
    (records.find(({ startedAt, status: code }) => startedAt > killedAt && code === 200)?.endedAt ?? 0) - killedAt;
  await waitFor(recovered, { deadlineMs: 30_000, describe: () => "what was killed is back" });
  const slowness = await machineSlowness();
  const all = await load.stop();
  const failed = failures(all);
  const wasInFlight = ({ startedAt, endedAt }: LoadRecord) => startedAt <= diedAt && endedAt >= killedAt;
  return { backAfterMs, slowness, failed, unexcused: failed.filter((record) => !wasInFlight(record)) };
}

/** True until the kernel has taken the process down; a zombie has no sockets any more. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

const healthy = async () => {
  const { code, stdout } = await platform.cli("status", "echo-svc", "-o", "json");
  return code === 0 && (JSON.parse(stdout) as ServiceStatus).service.health === "SERVICE_HEALTH_HEALTHY";
};
const replaced = (component: string, old: number) => async () => {
  try {
    const pid = await platform.pidOf(component);
    return pid !== 0 && pid !== old && (await healthy());
  } catch {
    return false;
  }
};

describe("under load, SIGKILL of", () => {
  test("a replica fails only requests in flight on it, and it comes back", async () => {
    const [victim = 0] = await replicaPids();
    const result = await killUnderLoad(
      [victim],
      async () => (await healthy()) && !(await replicaPids()).includes(victim),
    );
    expect(result.unexcused).toEqual([]);
  });

  test.each(["server", "agent", "postgres"])("the %s fails no request, and it comes back", async (component) => {
    const pid = await platform.pidOf(component);
    const before = await replicaPids();
    const result = await killUnderLoad([pid], replaced(component, pid));
    expect(result.failed).toEqual([]);
    expect(await replicaPids()).toEqual(before);
  });

  test("the data plane fails only requests in flight on it, and it is back within a second", async () => {
    const pid = await platform.pidOf("dataplane");
    const result = await killUnderLoad([pid], replaced("dataplane", pid));
    expect(result.unexcused).toEqual([]);
    expect(result.backAfterMs).toBeLessThan(1000 * result.slowness);
  });

  test("server and data plane: the data plane is back within a second, from its own disk", async () => {
    const server = await platform.pidOf("server");
    const dataplane = await platform.pidOf("dataplane");
    const result = await killUnderLoad([server, dataplane], replaced("server", server));
    expect(result.unexcused).toEqual([]);
    expect(result.backAfterMs).toBeLessThan(1000 * result.slowness);
  });

  test("everything at once loses no data: all of it comes back", async () => {
    const names = ["agent", "server", "dataplane", "postgres"];
    const pids = await Promise.all(names.map((name) => platform.pidOf(name)));
    const replicas = await replicaPids();
    load = startLoad({ url: platform.url("/echo-svc"), perSecond: 100 });
    for (const pid of [...pids, ...replicas]) process.kill(pid, "SIGKILL");
    const killedAt = performance.now();
    await waitFor(replaced("postgres", pids[3] ?? 0), { deadlineMs: 30_000, describe: () => "the platform is back" });
    await waitFor(() => answered(killedAt), { describe: () => "requests are answered again" });
  });
});

describe("a graceful restart of the data plane", () => {
  test("loses no request", async () => {
    load = startLoad({ url: platform.url("/echo-svc"), perSecond: 300, repeat: false });
    const { records } = load;
    await waitFor(() => records.length > 100, { describe: () => "the load runs" });
    for (let turn = 0; turn < 3; turn += 1) {
      const { code, stderr } = await platform.cli("restart-component", "dataplane");
      expect({ code, stderr }).toMatchObject({ code: 0 });
    }
    expect(failures(await load.stop())).toEqual([]);
  });
});

test("after a machine that lost everything but its data has started again, everything runs as before", async () => {
  const before = await platform.json<{ name: string; revision: string }[]>("services");
  const pids = [platform.up.pid ?? 0, ...(await replicaPids())];
  for (const name of ["agent", "server", "dataplane", "postgres"]) pids.push(await platform.pidOf(name));
  for (const pid of pids) process.kill(pid, "SIGKILL");
  await waitFor(() => platform.up.exitCode !== null || platform.up.signalCode !== null, {
    deadlineMs: 5000,
    describe: () => "up has gone",
  });
  await platform.start();
  await waitFor(healthy, { deadlineMs: 20_000, describe: () => "the service is healthy" });
  expect(await platform.json<typeof before>("services")).toMatchObject(
    before.map(({ name, revision }) => ({ name, revision })),
  );
});
