import { flushCompileCache } from "node:module";
import type { InstancePaths } from "@hms/config";
import { agent, deployment, mesh } from "@hms/contracts";
import { componentPrincipal, createClient } from "@hms/kernel";
import { connectionSource, openServiceDatabase } from "@hms/postgres";
import { createProcessRuntime } from "@hms/provider-process";
import { connectSocket } from "@hms/wire";
import { createDeploymentService, type DeploymentTables, deploymentMigrations } from "../index.ts";
import { openKernel, quiet } from "./test-site.ts";

/** Where a server of a process of its own finds everything, and when it is to die. */
export interface CrashServerOptions {
  paths: InstancePaths;
  databaseUrl: string | undefined;
  database: string;
  /** Where agent and mesh answer. */
  socket: string;
  /** What it is asked for at its start. */
  request: { manifest: string; manifestPath: string };
  rolloutId: string;
  /** The moment at which it kills itself. */
  moment: string;
}

/** Runs a deployment service with one rollout until the moment comes; with SIGKILL nothing is tidied up. */
export async function runCrashServer(options: CrashServerOptions): Promise<void> {
  const source = connectionSource(options.paths, options.databaseUrl).withDatabase(options.database);
  const open = { source, service: "deployment", migrations: deploymentMigrations };
  const database = await openServiceDatabase<DeploymentTables>(open);
  const transport = connectSocket({ path: options.socket, waitForReadyMs: 5000 });
  const service = createDeploymentService({
    database,
    mesh: createClient(mesh.MeshService, transport),
    runtime: createProcessRuntime(createClient(agent.AgentService, transport)),
    log: quiet,
    checkpoint: (moment) => {
      if (moment === options.moment) process.kill(process.pid, "SIGKILL");
    },
  });
  // Who is killed cannot leave it behind at its end.
  flushCompileCache();
  const kernel = openKernel();
  kernel.register(service.registration);
  const client = kernel.client(deployment.DeploymentService, componentPrincipal("test"));
  const metadata = { "x-hms-idempotency-key": options.rolloutId };
  for await (const { event } of client.deploy(options.request, { metadata })) {
    if (event.case === "ended") process.stdout.write(`ended without "${options.moment}"\n`);
  }
  process.exit(0);
}
