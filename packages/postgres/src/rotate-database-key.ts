import { renameSync, rmSync } from "node:fs";
import type { InstancePaths } from "@hms/config";
import { HmsError } from "@hms/kernel";
import { escapeIdentifier, escapeLiteral } from "pg";
import { openAdmin } from "./admin-connection.ts";
import { type ConnectionSource, databaseKeyFile } from "./connection-source.ts";
import { lockKey } from "./lock-key.ts";
import { scramVerifier } from "./scram-verifier.ts";
import { ensureSecretFile } from "./secret-file.ts";

/** Roles of services: each owns a schema of this database, and nothing else is named like it. */
const ROLES = `
  SELECT DISTINCT r.rolname AS role FROM pg_roles r JOIN pg_namespace n ON n.nspowner = r.oid
  WHERE r.rolname = 'hms_' || n.nspname AND r.rolcanlogin AND r.rolname <> current_user ORDER BY 1`;

/**
 * Replaces the key from which the services' passwords are derived, and sets the new password of every role: those before open
 * nothing any more when this returns. Open connections stay; who connects in the very moment between key and password sets the
 * password itself. Answers whose passwords are new. May be repeated after a crash, which leaves the new key in force.
 * @throws HmsError FAILED_PRECONDITION where DATABASE_URL carries a password, which is the key then
 */
export async function rotateDatabaseKey(paths: InstancePaths, source: ConnectionSource): Promise<string[]> {
  if (source.keyOfUrl) {
    const message =
      "The password of DATABASE_URL is the key of all others. Change it in PostgreSQL (ALTER ROLE … PASSWORD) and in DATABASE_URL, and start the platform again.";
    throw new HmsError("FAILED_PRECONDITION", message, { reason: "DATABASE_URL" });
  }
  await using admin = await openAdmin(source);
  await admin.query("SET lock_timeout = '60s'");
  await admin.query("SELECT pg_advisory_lock($1)", [lockKey("service-roles")]);
  const roles = (await admin.query<{ role: string }>(ROLES)).map(({ role }) => role);
  const file = databaseKeyFile(paths);
  rmSync(`${file}.next`, { force: true });
  ensureSecretFile(`${file}.next`);
  renameSync(`${file}.next`, file);
  for (const role of roles) {
    const verifier = escapeLiteral(scramVerifier(source.passwordOf(role)));
    await admin.query(`ALTER ROLE ${escapeIdentifier(role)} PASSWORD ${verifier}`);
  }
  return roles;
}
