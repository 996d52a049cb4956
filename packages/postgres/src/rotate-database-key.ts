import { renameSync, rmSync } from "node:fs";
import type { InstancePaths } from "@hms/config";
import { databaseKeyFile } from "./connection-source.ts";
import { ensureSecretFile } from "./secret-file.ts";

/**
 * Replaces the key from which the services' passwords are derived. Open connections stay; each service sets its role's
 * new password when it next connects. Where DATABASE_URL carries a password, that one is the key and this does nothing.
 */
export function rotateDatabaseKey(paths: InstancePaths): void {
  const file = databaseKeyFile(paths);
  rmSync(`${file}.next`, { force: true });
  ensureSecretFile(`${file}.next`);
  renameSync(`${file}.next`, file);
}
