import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { failures, startLoad } from "./open-loop-load.ts";
import { type Platform, startPlatform } from "./platform.ts";

interface Shown {
  service: { revision: string; health: string; replicasReady: number; rolloutId: string };
  replicas: unknown[];
  notice: string;
}

const deploy = (platform: Platform, version: string) => platform.cli("deploy", echoService(platform, { version }));
const version = async (platform: Platform) =>
  ((await (await fetch(platform.url("/echo-svc"))).json()) as { version: string }).version;

/** Kills PostgreSQL, and lets it not start again until the result is called. */
async function takeDatabaseAway(platform: Platform): Promise<() => void> {
  const settings = join(platform.data, "postgres/postgresql.local.conf");
  writeFileSync(settings, "this is no setting\n", { mode: 0o644 });
  process.kill(await platform.pidOf("postgres"), "SIGKILL");
  return () => rmSync(settings);
}

test("a rollback works with PostgreSQL dead, over the death of the server, and is in the history afterwards", async () => {
  await using platform = await startPlatform();
  for (const each of ["1", "2"]) expect(await deploy(platform, each)).toMatchObject({ code: 0 });
  await using load = startLoad({ url: platform.url("/echo-svc"), perSecond: 50 });
  const bringBack = await takeDatabaseAway(platform);
  const rollback = platform.cli("rollback", "echo-svc", "--reason", "it answers nonsense");
  await waitFor(async () => (await version(platform)) === "1", { deadlineMs: 20_000, describe: "revision 1 to serve" });
  process.kill(await platform.pidOf("server"), "SIGKILL");
  const { code, stderr } = await rollback;
  expect(code, stderr).toBe(0);
  expect(stderr).toMatch(/The database is away\. This rollback is kept in .*\.spool, and entered into the history/);
  const away = await platform.json<Shown>("status", "echo-svc");
  expect(away).toMatchObject({
    service: { revision: "1", replicasReady: 2 },
    notice: expect.stringMatching(/\.spool/),
  });
  expect(await version(platform)).toBe("1");

  bringBack();
  const rollbacks = join(platform.data, "kept/deployment/rollbacks");
  await waitFor(() => readdirSync(rollbacks).length === 0, { deadlineMs: 30_000, describe: "the database to have it" });
  const [newest] = await platform.json<object[]>("history", "echo-svc");
  expect(newest).toMatchObject({
    kind: "ROLLOUT_KIND_ROLLBACK",
    state: "ROLLOUT_STATE_SUCCEEDED",
    revision: "1",
    previousRevision: "2",
    principal: "operator",
    reason: "it answers nonsense (rolled back while the database was away)",
  });
  expect(await platform.json<Shown>("status", "echo-svc")).toMatchObject({
    service: { revision: "1", health: "SERVICE_HEALTH_HEALTHY", replicasReady: 2, rolloutId: "" },
    replicas: [{ ready: true }, { ready: true }],
    notice: "",
  });
  expect(await deploy(platform, "3")).toMatchObject({ code: 0 });
  expect(failures(await load.stop())).toEqual([]);
  expect(await version(platform)).toBe("3");
}, 180_000);
