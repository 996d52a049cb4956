import { type DatabaseRole, type InstancePaths, writeDatabaseRoles } from "@hms/config";
import type { ServiceDatabase } from "@hms/postgres";
import type { Logger } from "@hms/telemetry";

/** Leaves word of how services are kept apart in the database, for the doctor; on a full disk the old word stays. */
export function noteDatabaseRoles(
  databases: { [name: string]: Pick<ServiceDatabase<never>, "service" | "isolation"> | undefined },
  { paths, log }: { paths: InstancePaths; log: Logger },
): void {
  const roles = Object.values(databases).flatMap((database): DatabaseRole[] => {
    if (database === undefined) return [];
    const { service, isolation } = database;
    const sharedBecause = isolation.kind === "shared-role" ? isolation.reason : "";
    return [{ service, role: isolation.role, sharedBecause }];
  });
  try {
    writeDatabaseRoles(paths, roles);
  } catch (error) {
    log.warn("how services are kept apart in the database could not be noted", { error });
  }
}
