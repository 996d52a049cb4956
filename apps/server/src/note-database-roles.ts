import { type DatabaseRole, type InstancePaths, writeDatabaseRoles } from "@hms/config";
import type { Logger } from "@hms/telemetry";
import type { Databases } from "./open-databases.ts";

/** Leaves word of how services are kept apart in the database, for the doctor; on a full disk the old word stays. */
export function noteDatabaseRoles(databases: Databases, { paths, log }: { paths: InstancePaths; log: Logger }): void {
  const roles = Object.values(databases).map(({ service, isolation }): DatabaseRole => {
    const sharedBecause = isolation.kind === "shared-role" ? isolation.reason : "";
    return { service, role: isolation.role, sharedBecause };
  });
  try {
    writeDatabaseRoles(paths, roles);
  } catch (error) {
    log.warn("how services are kept apart in the database could not be noted", { error });
  }
}
