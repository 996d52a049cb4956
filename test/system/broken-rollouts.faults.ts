import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { isThorough, waitFor } from "@hms/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { failures, type Load, startLoad } from "./open-loop-load.ts";
import { type Platform, startPlatform } from "./platform.ts";
import { killAtOnce, type Outage, wasUnderWay } from "./sudden-death.ts";

/** One figure decides at which moments things break; print it with a failure, set it to see that failure again. */
const seed = Date.now() % 100_000;

/** A generator of figures in [0, 1): Tommy Ettinger's mulberry32. */
function randomFrom(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
const random = randomFrom(seed);

let platform: Platform;
let load: Load | undefined;
let turn = 0;
beforeAll(async () => {
  platform = await startPlatform();
  expect(await platform.cli("deploy", echoService(platform, { version: "0" }))).toMatchObject({ code: 0 });
}, 120_000);
afterEach(async () => {
  await load?.stop();
  load = undefined;
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

interface Seen {
  service: { health: string; rolloutId: string; version: string; revision: string; replicasWanted: number };
  replicas: { ready: boolean; replica: { spec: { revision: string } } }[];
}
const status = () => platform.json<Seen>("status", "echo-svc");
const history = () => platform.json<{ rolloutId: string; state: string; version: string }[]>("history", "echo-svc");

/** A process and everything it started, the lowest first. */
function family(pid: number): number[] {
  const parents = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(parentOf);
  return [...parents.filter(([, parent]) => parent === pid).map(([child]) => child), pid];
}

function parentOf(name: string): [pid: number, parent: number] {
  try {
    const stat = readFileSync(`/proc/${name}/stat`, "latin1");
    return [Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])];
  } catch {
    // It ended while we looked.
    return [Number(name), 0];
  }
}

/** PostgreSQL works in children of its first process; the others' children are not theirs to stop. */
async function freeze(...components: string[]): Promise<Outage> {
  const pids = await Promise.all(components.map(async (name) => ({ name, pid: await platform.pidOf(name) })));
  const frozen = pids.flatMap(({ name, pid }) => (name === "postgres" ? family(pid) : [pid]));
  const from = performance.now();
  for (const one of frozen) process.kill(one, "SIGSTOP");
  await delay(5000);
  for (const one of frozen) process.kill(one, "SIGCONT");
  return { from, to: performance.now() };
}

/** Deploys the next version under load, breaks something in the middle, and answers with what became of all of it. */
async function deployWhile(breaking: () => Promise<Outage>) {
  turn += 1;
  const before = (await status()).service.version;
  load = startLoad({ url: platform.url("/echo-svc"), method: "POST", body: '{"x":1}', perSecond: 50 });
  const known = (await history()).length;
  const deploy = platform.cli("deploy", echoService(platform, { version: `${turn}` }), "--timeout", "60s");
  await waitFor(async () => (await history()).length > known, {
    deadlineMs: 15_000,
    describe: "the rollout is on record",
  });
  await delay(random() * 1500);
  const outage = await breaking();
  const { code, stdout, stderr } = await deploy;
  await waitFor(async () => (await status()).service.health === "SERVICE_HEALTH_HEALTHY", {
    deadlineMs: 30_000,
    describe: "the service is healthy",
  });
  await waitFor(async () => (await fetch(platform.url("/echo-svc"))).status === 200, {
    describe: "the gateway answers",
  });
  const records = await load.stop();
  return {
    before,
    after: `${turn}`,
    code,
    words: `seed ${seed}: ${stdout}${stderr}`,
    outage,
    failed: failures(records),
  };
}

type Told = Awaited<ReturnType<typeof deployWhile>>;

/** What the command said, what the history says and what serves are the same one version. */
async function expectOneTruth({ before, after, code, words }: Told): Promise<void> {
  expect([0, 3], words).toContain(code);
  const serving = code === 0 ? after : before;
  const [last] = await history();
  expect(last, words).toMatchObject({
    version: after,
    state: code === 0 ? "ROLLOUT_STATE_SUCCEEDED" : "ROLLOUT_STATE_ROLLED_BACK",
  });
  const { service, replicas } = await status();
  expect(service, words).toMatchObject({ version: serving, rolloutId: "", replicasWanted: 2 });
  expect(
    replicas.map(({ replica }) => replica.spec.revision),
    words,
  ).toEqual([service.revision, service.revision]);
  const answers = await Promise.all(Array.from({ length: 10 }, () => fetch(platform.url("/echo-svc"))));
  const versions = await Promise.all(
    answers.map(async (answer) => ((await answer.json()) as { version: string }).version),
  );
  expect(new Set(versions), words).toEqual(new Set([serving]));
}

describe("in the middle of a deploy under load, SIGKILL of", () => {
  test.each(["server", "agent", "postgres"])(
    "the %s loses no request, and the rollout ends in one truth",
    async (component) => {
      const told = await deployWhile(async () => killAtOnce(await platform.pidOf(component)));
      await expectOneTruth(told);
      expect(told.failed, told.words).toEqual([]);
    },
    120_000,
  );

  test("the data plane loses only what was under way, and the rollout ends in one truth", async () => {
    const told = await deployWhile(async () => killAtOnce(await platform.pidOf("dataplane")));
    await expectOneTruth(told);
    const unexcused = told.failed.filter((record) => !wasUnderWay(record, told.outage));
    expect(unexcused, told.words).toEqual([]);
  }, 120_000);
});

describe.runIf(isThorough)("in the middle of a deploy under load, five seconds of standstill of", () => {
  test.each(["server", "dataplane", "agent and postgres"])(
    "the %s loses no request, and the rollout ends in one truth",
    async (components) => {
      const told = await deployWhile(() => freeze(...components.split(" and ")));
      await expectOneTruth(told);
      expect(told.failed, told.words).toEqual([]);
    },
    120_000,
  );
});

describe("an orderly restart in the middle of a deploy", () => {
  test.each(["server", "dataplane"])(
    "of the %s loses no request and does not undo the deploy",
    async (component) => {
      const told = await deployWhile(async () => {
        expect(await platform.cli("restart-component", component)).toMatchObject({ code: 0 });
        return { from: 0, to: 0 };
      });
      await expectOneTruth(told);
      expect({ code: told.code, failed: told.failed }, told.words).toEqual({ code: 0, failed: [] });
    },
    120_000,
  );
});
