import { agent, deployment, mesh } from "@hms/contracts";
import { componentPrincipal, Kernel } from "@hms/kernel";
import { createProcessRuntime } from "@hms/provider-process";
import { createMeshService, type MeshTables, meshMigrations } from "@hms/service-mesh";
import { openTestDatabase } from "@hms/testkit";
import { createDeploymentService, type DeploymentTables, deploymentMigrations } from "../index.ts";
import { TestAgent } from "./test-agent.ts";
import { TestDataPlane } from "./test-data-plane.ts";
import { type ProgramVersion, TestProgram } from "./test-program.ts";

const quiet = { debug() {}, info() {}, warn() {}, error() {} };

/** A kernel in which everybody may do everything. */
function openKernel(): Kernel {
  const who = componentPrincipal("test");
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

/** PostgreSQL, mesh, agent of real processes, a data plane and the deployment service, in one process. */
export async function openSite({ dataPlane = true } = {}) {
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
  const who = componentPrincipal("test");
  const meshClient = kernel.client(mesh.MeshService, who);
  const plane = dataPlane ? stack.use(new TestDataPlane(meshClient, "echo")) : undefined;
  const runtime = createProcessRuntime(kernel.client(agent.AgentService, who));
  const service = stack.use(
    createDeploymentService({ database: database.database, mesh: meshClient, runtime, log: quiet }),
  );
  kernel.register(service.registration);
  await service.ready;
  const client = kernel.client(deployment.DeploymentService, who);
  const own = stack.move();
  return {
    client,
    kernel,
    agent: testAgent,
    mesh: meshClient,
    program,
    database,
    meshDatabase,
    /** Only there unless it was left out. */
    plane: plane as TestDataPlane,
    deploy: (version: ProgramVersion, more: object = {}) =>
      outcomeOf(client.deploy({ ...program.write(version), ...more })),
    [Symbol.asyncDispose]: () => own.disposeAsync(),
  };
}
