import type { InstancePaths } from "@hms/config";
import { connectionSource, openServiceDatabase } from "@hms/postgres";
import { hostServices } from "@hms/testkit";
import {
  createRegistryService,
  type RegistryServiceOptions,
  type RegistryTables,
  registryMigrations,
} from "../index.ts";
import { grpcForeignServers } from "./grpc-foreign-servers.ts";

/** What a registry in a process of its own is opened with. */
export interface HostedRegistryOptions {
  paths: InstancePaths;
  databaseUrl: string | undefined;
  /** The name of the one database that this process uses. */
  database: string;
  own: Pick<RegistryServiceOptions, "keepLostMs" | "foreignLeaseMs">;
}

let opened: ReturnType<typeof openDatabase> | undefined;

function openDatabase({ paths, databaseUrl, database }: HostedRegistryOptions) {
  const source = connectionSource(paths, databaseUrl).withDatabase(database);
  return openServiceDatabase<RegistryTables>({ source, service: "registry", migrations: registryMigrations });
}

hostServices(async (options: HostedRegistryOptions, stack) => {
  opened ??= openDatabase(options);
  const more = { foreignServers: grpcForeignServers, ...options.own };
  const service = stack.use(createRegistryService({ database: await opened, ...more }));
  return [service.registration, service.policies];
});
