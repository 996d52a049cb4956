import { PolicyBook } from "@hms/authorization";
import type { InstancePaths } from "@hms/config";
import { ffiOptions, registry } from "@hms/contracts";
import { createDirectCalls, createElsewhere } from "@hms/direct-calls";
import { openDirectory } from "@hms/directory";
import { openEventLog } from "@hms/events";
import { anonymous, componentPrincipal, Kernel, type Principal } from "@hms/kernel";
import { connectionSource, openServiceDatabase } from "@hms/postgres";
import {
  type IntegrationTables,
  integrationComponents,
  integrationMigrations,
  openIntegrationService,
} from "@hms/service-integration";
import { createRegistryService, type RegistryTables, registryMigrations } from "@hms/service-registry";
import { createRequestValidator } from "@hms/validation";
import { serveSocket } from "@hms/wire";

/** What a platform of the conformance runs is started with. */
export interface PlatformOrder {
  paths: InstancePaths;
  databaseUrl?: string;
  database: string;
  /** Where it answers. */
  socket: string;
  /** Who the peers are. */
  token: string;
}

const PEERS: Principal = {
  kind: "service",
  id: "default/conformance",
  environment: "default",
  roles: ["service:conformance"],
};
const EVERY_METHOD = {
  id: "conformance",
  service: "hms.conformance",
  method: "*",
  allowedRoles: ["service:conformance"],
  deniedRoles: [],
  requiresMfa: false,
  auditLevel: ffiOptions.AuditLevel.UNSPECIFIED,
  environment: "",
};

const order = JSON.parse(process.argv[2] ?? "{}") as PlatformOrder;
const complain = (failure: Error) => process.stderr.write(`${failure.stack}\n`);
const source = connectionSource(order.paths, order.databaseUrl).withDatabase(order.database);
const [own, integration] = await Promise.all([
  openServiceDatabase<RegistryTables>({ source, service: "registry", migrations: registryMigrations }),
  openServiceDatabase<IntegrationTables>({
    source,
    service: "integration",
    migrations: integrationMigrations,
    components: integrationComponents,
  }),
]);

const policies = new PolicyBook();
policies.replace("file", [EVERY_METHOD]);
const registryService = createRegistryService({
  database: own,
  policies,
  registersOf: () => ["hms.conformance"],
  onFailure: complain,
});
const kernel = new Kernel({
  identity: { authenticate: ({ token }) => (token === order.token ? PEERS : anonymous) },
  policy: {
    decide: ({ principal }) => (principal === anonymous ? { allowed: false, reason: "nobody" } : { allowed: true }),
  },
  audit: { accepts: true, record: () => {} },
  validator: createRequestValidator(),
});
const registryFor = (principal: Principal) => kernel.client(registry.RegistryService, principal);
const directory = openDirectory({ registry: registryFor(componentPrincipal("server")), registryFor });
kernel.options.elsewhere = createElsewhere(directory, createDirectCalls({ directory }));
const { registrations } = await openIntegrationService({
  database: integration,
  events: await openEventLog({ source, onFailure: complain }),
  kernel,
  pollMs: 50,
  leaseMs: 1000,
  onFailure: complain,
});
for (const each of [registryService.registration, registryService.policies, ...registrations]) kernel.register(each);
await serveSocket(kernel, { path: order.socket, graceMs: 0 });
process.stdout.write("ready\n");
// The runner's end is ours, however it ends; until then it only ever kills this process.
process.stdin.resume().on("close", () => process.exit());
