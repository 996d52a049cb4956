import { inspect } from "node:util";
import { agent, deployment, mesh } from "@hms/contracts";
import { componentPrincipal, Kernel } from "@hms/kernel";
import { createProcessRuntime } from "@hms/provider-process";
import { createMeshService, type MeshTables, meshMigrations } from "@hms/service-mesh";
import { openTestDatabase } from "@hms/testkit";
import { createDeploymentService, type DeploymentTables, deploymentMigrations } from "../index.ts";
import { TestAgent } from "./test-agent.ts";
import { TestDataPlane } from "./test-data-plane.ts";
import { type ProgramVersion, TestProgram } from "./test-program.ts";

/** Says only what must not happen. */
export const quiet = {
  debug() {},
  info() {},
  warn() {},
  error: (message: string, fields?: unknown) => process.stderr.write(`${message} ${inspect(fields)}\n`),
};

const who = componentPrincipal("test");

/** A kernel in which everybody may do everything. */
export function openKernel(): Kernel {
  return new Kernel({
    identity: { authenticate: () => who },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record() {} },
  });
}

/** What happened in a rollout, and how it ended. */
export interface Outcome {
  events: deployment.RolloutEvent[];
  /** Titles of finished steps, "✗ " before those that failed. */
  titles: string[];
  ended: deployment.RolloutEnded;
}

/** Reads a rollout to its end. */
export async function outcomeOf(events: AsyncIterable<deployment.RolloutEvent>): Promise<Outcome> {
  const all: deployment.RolloutEvent[] = [];
  const titles: string[] = [];
  for await (const event of events) {
    all.push(event);
    if (event.event.case === "stepFinished")
      titles.push(`${event.event.value.ok ? "" : "✗ "}${event.event.value.title}`);
    if (event.event.case === "ended") return { events: all, titles, ended: event.event.value };
  }
  throw new Error("the stream ended before the rollout");
}

/** PostgreSQL, the real mesh, an agent of real processes and a data plane; what a deployment service needs around it. */
export async function openGround() {
  await using stack = new AsyncDisposableStack();
  const program = stack.use(new TestProgram());
  const testAgent = stack.use(new TestAgent());
  const meshDatabase = stack.use(await openTestDatabase<MeshTables>({ service: "mesh", migrations: meshMigrations }));
  const options = { service: "deployment", migrations: deploymentMigrations };
  const database = stack.use(await openTestDatabase<DeploymentTables>(options));
  const kernel = openKernel();
  const network = { vipPrefix: "127.88", proxyPort: 3002 };
  const graces = { reconnectMs: 200, idleMs: 20, startMs: 0 };
  const meshService = stack.use(createMeshService({ database: meshDatabase.database, network, graces }));
  kernel.register(meshService.registration);
  kernel.register(testAgent.registration);
  const meshClient = kernel.client(mesh.MeshService, who);
  const plane = stack.use(new TestDataPlane(meshClient, "echo"));
  const own = stack.move();
  return {
    kernel,
    agent: testAgent,
    mesh: meshClient,
    program,
    database,
    plane,
    [Symbol.asyncDispose]: () => own.disposeAsync(),
  };
}

/** A deployment service on its ground, in this process. */
export async function openServer(ground: Awaited<ReturnType<typeof openGround>>) {
  const runtime = createProcessRuntime(ground.kernel.client(agent.AgentService, who));
  const { database } = ground.database;
  const service = createDeploymentService({ database, mesh: ground.mesh, runtime, log: quiet });
  const kernel = openKernel();
  kernel.register(service.registration);
  await service.ready;
  const client = kernel.client(deployment.DeploymentService, who);
  return { client, [Symbol.asyncDispose]: () => service[Symbol.asyncDispose]() };
}

/** Both together. */
export async function openSite() {
  await using stack = new AsyncDisposableStack();
  const ground = stack.use(await openGround());
  const { client } = stack.use(await openServer(ground));
  const own = stack.move();
  return {
    ...ground,
    client,
    deploy: (version: ProgramVersion, more: object = {}) =>
      outcomeOf(client.deploy({ ...ground.program.write(version), ...more })),
    [Symbol.asyncDispose]: () => own.disposeAsync(),
  };
}
