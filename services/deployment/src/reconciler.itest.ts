import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deployment } from "@hms/contracts";
import { waitFor } from "@hms/testkit";
import { afterAll, afterEach, beforeEach, expect, test } from "vitest";
import { stepUnderWay } from "./testing/step-under-way.ts";
import { deploymentHost, openGround, openServer, openSite, outcomeOf } from "./testing/test-site.ts";

const { ServiceHealth } = deployment;
const echo = { environment: "default", service: "echo" };

afterAll(() => deploymentHost[Symbol.asyncDispose]());

let site: Awaited<ReturnType<typeof openSite>>;
let folder: string;
beforeEach(async () => {
  folder = mkdtempSync("/tmp/hms-test-marks-");
  site = await openSite();
});
afterEach(async () => {
  await site[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const activeIds = () => site.plane.active.map(({ endpointId }) => endpointId).sort();

test("a replica that ends is out of the mesh at once, and back when its next process is ready", async () => {
  await site.deploy({ version: "1" });
  const all = activeIds();
  const [victim = ""] = all;
  process.kill(site.agent.pidOf(victim), "SIGKILL");
  await waitFor(() => !activeIds().includes(victim), { describe: "the dead one to be taken out", intervalMs: 2 });
  await waitFor(() => activeIds().length === 2, { describe: "it to come back" });
  expect(activeIds()).toEqual(all);
});

test("a replica that fails its checks drains until it passes them again; when all fail, all are kept", async () => {
  const each = `if (require("node:fs").existsSync(process.env.MARKS + "/" + process.env.HMS_REPLICA.replaceAll("/", "_"))) { response.statusCode = 500; return response.end("ill"); }`;
  const checks = `health: {http: /, interval: 100ms, min_healthy_time: 50ms, fall: 2}\n`;
  const request = site.program.write({ version: "1", each, manifest: `env: {MARKS: "${folder}"}\n` });
  await outcomeOf(site.client.deploy({ ...request, manifest: request.manifest.replace(/health: .*\n/, checks) }));
  const [first = "", second = ""] = activeIds();
  const mark = (id: string) => join(folder, id.replaceAll("/", "_"));
  writeFileSync(mark(first), "");
  await waitFor(() => activeIds().join() === second, { describe: "the ill one to be taken out" });
  const { replicas } = await site.client.getService(echo);
  expect(replicas.find(({ replica }) => replica?.spec?.replicaId === first)).toMatchObject({
    ready: false,
    lastProbe: "HTTP 500 Internal Server Error: ill",
  });
  writeFileSync(mark(second), "");
  await waitFor(async () => (await site.client.getService(echo)).service?.health === ServiceHealth.DOWN, {
    describe: "both to be ill",
  });
  await waitFor(() => activeIds().length === 2, { describe: "both to be kept in the mesh" });
  rmSync(mark(first));
  await waitFor(() => activeIds().join() === first, { describe: "the recovered one to get everything" });
});

test("a replica that has vanished is started again, and one that nobody wants is ended", async () => {
  await site.deploy({ version: "1" });
  const [lost = "", kept = ""] = activeIds();
  await site.agent.lose(lost);
  await waitFor(() => site.agent.running().includes(lost), { describe: "the lost one to be started" });
  const stray = kept.replace(/[^/]*$/, "9-stray0");
  await site.agent.stray(kept, stray);
  await waitFor(() => !site.agent.running().includes(stray), { describe: "the stray to be ended" });
  expect(site.agent.running().sort()).toEqual([lost, kept].sort());
});

test("a replica that takes long to end holds up no other that has vanished", async () => {
  const before = `if (process.env.HMS_REPLICA.includes("/2-")) {
  const on = process.on.bind(process);
  process.on = (name, ...rest) => on(name, ...(name === "SIGTERM" ? [() => {}] : rest));
}`;
  const request = site.program.write({ version: "1", before });
  const manifest = request.manifest.replace("stop_grace: 3s", "stop_grace: 2m");
  await outcomeOf(site.client.deploy({ ...request, manifest }));
  const [first = "", second = ""] = activeIds();
  const scaling = outcomeOf(site.client.scale({ ...echo, replicas: 1 }));
  await stepUnderWay(site.client, /^Stopping/);
  for (const time of ["first", "second"]) {
    await site.agent.lose(first);
    await waitFor(() => site.agent.running().includes(first), { describe: `it to be started the ${time} time` });
  }
  expect(site.agent.running()).toContain(second);
  process.kill(site.agent.pidOf(second), "SIGKILL");
  await scaling;
});

test("a restarted server neither touches what runs nor empties the mesh", async () => {
  await using ground = await openGround();
  {
    await using server = await openServer(ground);
    const deploy = server.client.deploy(ground.program.write({ version: "1" }));
    await outcomeOf(deploy);
  }
  const before = ground.agent.running().map((id) => ground.agent.pidOf(id));
  const pictures = ground.plane.pictures.length;
  await using server = await openServer(ground);
  const { service } = await server.client.getService(echo);
  expect(service).toMatchObject({ health: ServiceHealth.HEALTHY, replicasReady: 2 });
  expect(ground.agent.running().map((id) => ground.agent.pidOf(id))).toEqual(before);
  // On a busy machine a probe may come late and change the picture; nothing may take everything out of it.
  expect(ground.plane.pictures.slice(pictures).filter((picture) => picture.length === 0)).toEqual([]);
});

test("two servers at once do not both carry a rollout on: the later one is refused until the first is gone", async () => {
  await using ground = await openGround();
  await using first = await openServer(ground);
  const slow = "const until = Date.now() + 1500; while (Date.now() < until);";
  const stream = first.client.deploy(ground.program.write({ version: "1", before: slow }));
  const iterator = stream[Symbol.asyncIterator]();
  const { value } = await iterator.next();
  const { rolloutId } = value as deployment.RolloutEvent;
  await waitFor(() => ground.agent.running().length === 2, { describe: "the replicas to start" });
  await using second = await openServer(ground);
  const { ended, events } = await outcomeOf(second.client.watchRollout({ rolloutId }));
  expect(ended.state).toBe(deployment.RolloutState.SUCCEEDED);
  expect(events.map(({ sequence }) => Number(sequence))).toEqual(events.map((_, index) => index + 1));
  const ends = events.filter(
    ({ event }) => event.case === "stepProgress" && /restarted server/.test(event.value.message),
  );
  expect(ends).toEqual([]);
});
