import { type ConnectionSource, openServiceDatabase } from "@hms/postgres";
import { type DeploymentTables, deploymentMigrations } from "@hms/service-deployment";
import { type IdentityTables, identityMigrations } from "@hms/service-identity";
import { type IntegrationTables, integrationComponents, integrationMigrations } from "@hms/service-integration";
import { type MeshTables, meshMigrations } from "@hms/service-mesh";
import { type RegistryTables, registryMigrations } from "@hms/service-registry";

/** The database may still be starting when the server does: milliseconds. */
export const DATABASE_PATIENCE_MS = 60_000;

/** Each service's own part of the database. */
export type Databases = Awaited<ReturnType<typeof openDatabases>>;

/** Opens the schema of every service, each under its own role. */
export async function openDatabases(source: ConnectionSource, stack: AsyncDisposableStack) {
  const deadlineMs = DATABASE_PATIENCE_MS;
  const [registry, meshDatabase, deployment, integration, identity] = await Promise.all([
    openServiceDatabase<RegistryTables>({ source, service: "registry", migrations: registryMigrations, deadlineMs }),
    openServiceDatabase<MeshTables>({ source, service: "mesh", migrations: meshMigrations, deadlineMs }),
    openServiceDatabase<DeploymentTables>({
      source,
      service: "deployment",
      migrations: deploymentMigrations,
      deadlineMs,
    }),
    openServiceDatabase<IntegrationTables>({
      source,
      service: "integration",
      migrations: integrationMigrations,
      components: integrationComponents,
      deadlineMs,
    }),
    openServiceDatabase<IdentityTables>({ source, service: "identity", migrations: identityMigrations, deadlineMs }),
  ]);
  for (const database of [registry, meshDatabase, deployment, integration, identity]) stack.use(database);
  return { registry, mesh: meshDatabase, deployment, integration, identity };
}
