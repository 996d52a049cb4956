import type { PartName } from "@hms/config";
import { type ConnectionSource, openServiceDatabase } from "@hms/postgres";
import { type AutomationTables, automationMigrations } from "@hms/service-automation";
import { auditLogMigrations, type CommunicationTables, communicationMigrations } from "@hms/service-communication";
import { type DeploymentTables, deploymentComponents, deploymentMigrations } from "@hms/service-deployment";
import { type IdentityTables, identityMigrations } from "@hms/service-identity";
import { type IntegrationTables, integrationComponents, integrationMigrations } from "@hms/service-integration";
import { type MeshTables, meshMigrations } from "@hms/service-mesh";
import { type RegistryTables, registryMigrations } from "@hms/service-registry";

/** The database may still be starting when the server does: milliseconds. */
export const DATABASE_PATIENCE_MS = 60_000;

const deadlineMs = DATABASE_PATIENCE_MS;

const openers = {
  registry: (source: ConnectionSource) =>
    openServiceDatabase<RegistryTables>({ source, service: "registry", migrations: registryMigrations, deadlineMs }),
  mesh: (source: ConnectionSource) =>
    openServiceDatabase<MeshTables>({ source, service: "mesh", migrations: meshMigrations, deadlineMs }),
  deployment: (source: ConnectionSource) =>
    openServiceDatabase<DeploymentTables>({
      source,
      service: "deployment",
      migrations: deploymentMigrations,
      components: deploymentComponents,
      deadlineMs,
    }),
  integration: (source: ConnectionSource) =>
    openServiceDatabase<IntegrationTables>({
      source,
      service: "integration",
      migrations: integrationMigrations,
      components: integrationComponents,
      deadlineMs,
    }),
  communication: openCommunicationDatabase,
  automation: (source: ConnectionSource) =>
    openServiceDatabase<AutomationTables>({
      source,
      service: "automation",
      migrations: automationMigrations,
      poolSize: 2,
      deadlineMs,
    }),
} satisfies Record<PartName, unknown>;

/** Each part's own part of the database, of those that run here. */
export type Databases = { [P in PartName]?: Awaited<ReturnType<(typeof openers)[P]>> };

/** The log's own schema belongs to another role, so that the service's may add to it and nothing else. */
async function openCommunicationDatabase(source: ConnectionSource) {
  const database = await openServiceDatabase<CommunicationTables>({
    source,
    service: "communication",
    migrations: communicationMigrations,
    deadlineMs,
  });
  const log = { source, service: "audit_log", migrations: auditLogMigrations, deadlineMs };
  await using _log = await openServiceDatabase(log);
  return database;
}

/** Opens the schema of the identity service, which runs where people come in. */
export function openIdentityDatabase(source: ConnectionSource) {
  return openServiceDatabase<IdentityTables>({
    source,
    service: "identity",
    migrations: identityMigrations,
    deadlineMs,
  });
}

/** Opens the schema of each of these parts, under its own role. */
export async function openDatabases(
  source: ConnectionSource,
  parts: readonly PartName[],
  stack: AsyncDisposableStack,
): Promise<Databases> {
  const opened = await Promise.all(parts.map(async (part) => [part, stack.use(await openers[part](source))] as const));
  return Object.fromEntries(opened) as Databases;
}
