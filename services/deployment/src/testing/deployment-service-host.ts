import type { InstancePaths } from "@hms/config";
import { agent, mesh } from "@hms/contracts";
import { createClient } from "@hms/kernel";
import { connectionSource, openServiceDatabase } from "@hms/postgres";
import { createProcessRuntime } from "@hms/provider-process";
import { hostServices } from "@hms/testkit";
import { connectSocket } from "@hms/wire";
import { createDeploymentService, type DeploymentTables, deploymentMigrations } from "../index.ts";
import { quiet } from "./test-site.ts";

/** What a deployment service in a process of its own is opened with. */
export interface HostedDeploymentOptions {
  paths: InstancePaths;
  databaseUrl: string | undefined;
  /** The database's name. */
  database: string;
  /** Where agent and mesh answer. */
  socket: string;
}

hostServices(async ({ paths, databaseUrl, database: name, socket }: HostedDeploymentOptions, stack) => {
  const source = connectionSource(paths, databaseUrl).withDatabase(name);
  const open = { source, service: "deployment", migrations: deploymentMigrations };
  const database = stack.use(await openServiceDatabase<DeploymentTables>(open));
  const transport = stack.use(connectSocket({ path: socket, waitForReadyMs: 5000 }));
  const service = createDeploymentService({
    database,
    mesh: createClient(mesh.MeshService, transport),
    runtime: createProcessRuntime(createClient(agent.AgentService, transport)),
    log: quiet,
  });
  stack.use(service);
  await service.ready;
  return [service.registration];
});
