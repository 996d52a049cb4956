import { once } from "node:events";
import { join } from "node:path";
import { deployment, mesh } from "@hms/contracts";
import { casesOf, sharedPostgres, startNodeProgram } from "@hms/testkit";
import { serveSocket } from "@hms/wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ProgramVersion } from "./testing/test-program.ts";
import { openGround, openServer, outcomeOf } from "./testing/test-site.ts";

const { RolloutState } = deployment;
const RELEASE = `run: {command: exec node server.js, release: echo migrated}
hooks: {before_traffic: [{run: echo hooked}]}
`;
/** Requests per second through the data plane, all the time. */
const EVERY_MS = 10;

let ground: Awaited<ReturnType<typeof openGround>>;
let stack: AsyncDisposableStack;
let socket: string;
let count = 0;

beforeAll(async () => {
  stack = new AsyncDisposableStack();
  ground = stack.use(await openGround());
  socket = join(ground.program.directory, "ground.sock");
  stack.use(await serveSocket(ground.kernel, { path: socket }));
  await using server = await openServer(ground);
  await outcomeOf(server.client.deploy(write({ version: "0" })));
});
afterAll(async () => {
  await stack.disposeAsync();
});

function write(version: ProgramVersion) {
  const request = ground.program.write({ replicas: 1, ...version });
  return { ...request, manifest: request.manifest.replace(/run:\n {2}command: .*\n/, RELEASE) };
}

/** Runs a server in a process of its own that begins a deploy and kills itself at the moment. */
async function crashAt(moment: string, request: ReturnType<typeof write>): Promise<string> {
  const { paths, databaseUrl } = await sharedPostgres();
  const database = ground.database.source.as("x").database ?? "";
  count += 1;
  const rolloutId = `crash${String(count).padStart(6, "0")}`;
  const options = { paths, databaseUrl, database, socket, request, rolloutId, moment };
  const module = new URL("./testing/crash-server.ts", import.meta.url).href;
  const source = `const { runCrashServer } = await import(${JSON.stringify(module)}); await runCrashServer(${JSON.stringify(options)});`;
  await using program = startNodeProgram(source);
  const [code, signal] = await once(program.child, "close");
  if (signal !== "SIGKILL") throw new Error(`it ended with ${code}: ${await program.output()}`);
  return rolloutId;
}

/** Lets the next server carry the rollout on to its end. */
async function resume(rolloutId: string) {
  await using server = await openServer(ground);
  return await outcomeOf(server.client.watchRollout({ rolloutId }));
}

const FORWARD = ["prepare", "release", "start", "verify", "hook", "shift", "bake", "drain", "stop", "prove"];
const moments = [
  "committed locked prepare",
  ...FORWARD.flatMap((kind) => [`before ${kind}`, `after ${kind}`]),
  "committed succeeded",
];

describe("a server killed in a deploy under load loses nothing", () => {
  const repeating = ["after release", "after hook"];
  // What comes after a step is what comes before the next, but for those of commands, which are alike.
  const telling = (moment: string) => !/^after |^before hook$/.test(moment) || repeating.includes(moment);
  test.each(casesOf(moments, telling))("%s", async (moment) => {
    ground.plane.answers.length = 0;
    ground.plane.pictures.length = 0;
    ground.agent.tasks.length = 0;
    ground.plane.load(EVERY_MS);
    const version = `after-${moment.replaceAll(" ", "-")}`;
    const rolloutId = await crashAt(moment, write({ version }));
    const { ended, events } = await resume(rolloutId);
    expect(await ground.plane.stopLoad()).toEqual([]);
    expect(ended.state).toBe(RolloutState.SUCCEEDED);
    expect(events.map(({ sequence }) => Number(sequence))).toEqual(events.map((_, index) => index + 1));
    const finished = events.flatMap(({ event }) => (event.case === "stepFinished" ? [event.value.stepId] : []));
    expect(new Set(finished).size).toBe(finished.length);
    // Only who dies before it is on record that a command has succeeded runs it again (ADR 4).
    const commands = ["release", "hook", ...repeating.flatMap((at) => (moment === at ? [at.slice(6)] : []))];
    expect(ground.agent.tasks.map((id) => id.split("-")[0]).toSorted()).toEqual(commands.toSorted());
    expect(ground.agent.running()).toHaveLength(1);
    expect(ground.plane.active).toMatchObject([{ endpointId: ground.agent.running()[0], revision: ended.revision }]);
    const counts = ground.plane.pictures.map((picture) => picture.filter(isActive).length);
    expect(counts.every((each) => each === 1 || each === 2)).toBe(true);
  });
});

const isActive = ({ state }: mesh.Endpoint) => state === mesh.EndpointState.ACTIVE;

describe("a server killed while a bad version is undone", () => {
  test.each(casesOf(["before verify", "after verify", "before stop", "after stop"], (at) => !at.startsWith("after ")))(
    "%s",
    async (moment) => {
      ground.plane.pictures.length = 0;
      const [serving] = ground.agent.running();
      ground.plane.load(EVERY_MS);
      const rolloutId = await crashAt(moment, write({ version: "bad", before: "process.exit(7);" }));
      const { ended } = await resume(rolloutId);
      expect(await ground.plane.stopLoad()).toEqual([]);
      expect(ended).toMatchObject({ state: RolloutState.ROLLED_BACK, failure: { exit: { code: 7 } } });
      expect(ground.agent.running()).toEqual([serving]);
      expect(ground.plane.pictures.flat().every(({ endpointId }) => endpointId === serving)).toBe(true);
    },
  );
});
