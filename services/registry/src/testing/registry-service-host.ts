import { type AccessRule, PolicyBook } from "@hms/authorization";
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
import { registersOf } from "./registration-grants.ts";

/** What a registry in a process of its own is opened with. */
export interface HostedRegistryOptions {
  paths: InstancePaths;
  databaseUrl: string | undefined;
  database: string;
  own: Pick<RegistryServiceOptions, "keepLostMs" | "foreignLeaseMs">;
  /** What the policy file says; without it, the registry asks no policies and stays with the first database it was given. */
  fileRules?: readonly AccessRule[];
}

let opened: ReturnType<typeof openDatabase> | undefined;

function openDatabase({ paths, databaseUrl, database }: HostedRegistryOptions) {
  const source = connectionSource(paths, databaseUrl).withDatabase(database);
  return openServiceDatabase<RegistryTables>({ source, service: "registry", migrations: registryMigrations });
}

async function serviceOptions(options: HostedRegistryOptions, stack: AsyncDisposableStack) {
  const { fileRules } = options;
  if (fileRules === undefined) {
    opened ??= openDatabase(options);
    return { database: await opened, foreignServers: grpcForeignServers, ...options.own };
  }
  const policies = new PolicyBook();
  policies.replace("file", fileRules);
  return { database: stack.use(await openDatabase(options)), policies, registersOf };
}

hostServices(async (options: HostedRegistryOptions, stack) => {
  const service = stack.use(createRegistryService(await serviceOptions(options, stack)));
  return [service.registration, service.policies];
});
