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
  /** The database's name. */
  database: string;
  own: Pick<RegistryServiceOptions, "keepLostMs" | "foreignLeaseMs">;
}

hostServices(async ({ paths, databaseUrl, database: name, own }: HostedRegistryOptions, stack) => {
  const source = connectionSource(paths, databaseUrl).withDatabase(name);
  const open = { source, service: "registry", migrations: registryMigrations };
  const database = stack.use(await openServiceDatabase<RegistryTables>(open));
  const service = stack.use(createRegistryService({ database, foreignServers: grpcForeignServers, ...own }));
  return [service.registration, service.policies];
});
