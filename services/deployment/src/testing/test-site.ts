import { join } from "node:path";
import { inspect } from "node:util";
import { agent, deployment, deploymentSecrets, mesh } from "@hms/contracts";
import { componentPrincipal, Kernel } from "@hms/kernel";
import { type ConnectionSource, openServiceDatabase } from "@hms/postgres";
import { createProcessRuntime } from "@hms/provider-process";
import { openSealingKey } from "@hms/secrets";
import { createMeshService, type MeshTables, meshMigrations } from "@hms/service-mesh";
import {
  defaultVia,
  openHostedTransport,
  openTestDatabase,
  openTestTransport,
  ServiceHost,
  sharedPostgres,
  type TestTransport,
  type TestVia,
} from "@hms/testkit";
import { serveSocket } from "@hms/wire";
import { createDeploymentService, type DeploymentTables, deploymentMigrations } from "../index.ts";
import type { HostedDeploymentOptions } from "./deployment-service-host.ts";
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

/** What a ground is made of beside what every ground has. */
interface GroundOptions {
  /** Where mesh and deployment have their tables; default: a database of their own each. */
  source?: ConnectionSource;
  /** The folder of what lets rollbacks work while the database is away; default: none. */
  kept?: string;
}

const MESH = { service: "mesh", migrations: meshMigrations };
const DEPLOYMENT = { service: "deployment", migrations: deploymentMigrations };

async function openDatabases(source: ConnectionSource | undefined, stack: AsyncDisposableStack) {
  if (source === undefined) {
    const meshDatabase = stack.use(await openTestDatabase<MeshTables>(MESH));
    return { meshDatabase, database: stack.use(await openTestDatabase<DeploymentTables>(DEPLOYMENT)) };
  }
  const meshDatabase = { source, database: stack.use(await openServiceDatabase<MeshTables>({ source, ...MESH })) };
  const database = stack.use(await openServiceDatabase<DeploymentTables>({ source, ...DEPLOYMENT }));
  return { meshDatabase, database: { source, database } };
}

/** PostgreSQL, the real mesh, an agent of real processes and a data plane; what a deployment service needs around it. */
export async function openGround({ source, kept }: GroundOptions = {}) {
  await using stack = new AsyncDisposableStack();
  const program = stack.use(new TestProgram());
  const testAgent = stack.use(new TestAgent());
  const { meshDatabase, database } = await openDatabases(source, stack);
  const kernel = openKernel();
  const sealing = openSealingKey(join(program.directory, "config", "secrets.key"));
  testAgent.sealing = sealing;
  const network = { vipPrefix: "127.88", proxyPort: 3002 };
  const graces = { reconnectMs: 200, idleMs: 20, startMs: 0 };
  const meshService = stack.use(
    createMeshService({
      ...{ database: meshDatabase.database, network, graces },
      ...(kept === undefined ? {} : { kept: join(kept, "mesh") }),
    }),
  );
  kernel.register(meshService.registration);
  kernel.register(testAgent.registration);
  const meshClient = kernel.client(mesh.MeshService, who);
  const plane = stack.use(new TestDataPlane(meshClient, "echo"));
  const own = stack.move();
  return {
    kernel,
    sealing,
    agent: testAgent,
    mesh: meshClient,
    program,
    database,
    plane,
    kept,
    [Symbol.asyncDispose]: () => own.disposeAsync(),
  };
}

type Ground = Awaited<ReturnType<typeof openGround>>;

/** A deployment service on its ground, in this process; without its database it is never ready. */
export async function openServer(ground: Ground, { isReady = true } = {}) {
  const service = openService(ground);
  const kernel = openKernel();
  kernel.register(service.registration);
  kernel.register(service.secrets);
  if (isReady) await service.ready;
  const client = kernel.client(deployment.DeploymentService, who);
  const secrets = kernel.client(deploymentSecrets.SecretService, who);
  return { client, secrets, [Symbol.asyncDispose]: () => service[Symbol.asyncDispose]() };
}

function openService(ground: Ground) {
  const runtime = createProcessRuntime(ground.kernel.client(agent.AgentService, who));
  const { database } = ground.database;
  const own = ground.kept === undefined ? {} : { kept: join(ground.kept, "deployment") };
  const { mesh, sealing } = ground;
  return createDeploymentService({ database, mesh, runtime, sealing, log: quiet, ...own });
}

/** The process for deployment services in processes of their own; a test file that uses it ends it. */
export const deploymentHost = new ServiceHost(new URL("./deployment-service-host.ts", import.meta.url));

/** A deployment service on its ground, called in one of the ways. */
async function openServerVia(ground: Ground, via: TestVia) {
  await using stack = new AsyncDisposableStack();
  const transport = stack.use(await openVia(ground, via, stack));
  const client = transport.client(deployment.DeploymentService);
  const owned = stack.move();
  return { client, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function openVia(ground: Ground, via: TestVia, stack: AsyncDisposableStack): Promise<TestTransport> {
  if (via === "in-process" || via === "socket") {
    const service = stack.use(openService(ground));
    await service.ready;
    return openTestTransport([service.registration], via);
  }
  const socket = join(ground.program.directory, "ground.sock");
  stack.use(await serveSocket(ground.kernel, { path: socket, graceMs: 200 }));
  const { paths, databaseUrl } = await sharedPostgres();
  const { database = "" } = await ground.database.source.admin();
  const options = { paths, databaseUrl, database, socket } satisfies HostedDeploymentOptions;
  return openHostedTransport(deploymentHost, { part: "deployment", via, options });
}

/** Both together; called in-process unless the test or HMS_TEST_VIA says otherwise. */
export async function openSite(asked?: TestVia) {
  const via = asked ?? (await defaultVia());
  await using stack = new AsyncDisposableStack();
  const ground = stack.use(await openGround());
  const { client } = stack.use(await openServerVia(ground, via));
  const own = stack.move();
  return {
    ...ground,
    client,
    deploy: (version: ProgramVersion, more: object = {}) =>
      outcomeOf(client.deploy({ ...ground.program.write(version), ...more })),
    [Symbol.asyncDispose]: () => own.disposeAsync(),
  };
}
