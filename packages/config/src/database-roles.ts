import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { InstancePaths } from "./instance-paths.ts";

/** The database role of one of the platform's services. */
export interface DatabaseRole {
  service: string;
  role: string;
  /** Why it is not the service's own and what would change that; empty if it is. */
  sharedBecause: string;
}

const file = (paths: Pick<InstancePaths, "data">) => `${paths.data}/database-roles.json`;

/** The roles that the server found or made at its last start; none before its first. */
export function readDatabaseRoles(paths: Pick<InstancePaths, "data">): DatabaseRole[] {
  try {
    return JSON.parse(readFileSync(file(paths), "utf8")) as DatabaseRole[];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Notes which roles the services have; atomic. */
export function writeDatabaseRoles(paths: Pick<InstancePaths, "data">, roles: readonly DatabaseRole[]): void {
  writeFileSync(`${file(paths)}.new`, `${JSON.stringify(roles, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file(paths)}.new`, file(paths));
}
