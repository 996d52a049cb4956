import { HmsError } from "@hms/kernel";
import { escapeIdentifier, escapeLiteral } from "pg";
import { type Connection, openAdmin, openConnection } from "./admin-connection.ts";
import type { ConnectionSource } from "./connection-source.ts";
import { lockKey } from "./lock-key.ts";
import { scramVerifier } from "./scram-verifier.ts";

/** How a service is kept apart from the others in the database. */
export type Isolation =
  | { kind: "own-role"; role: string }
  /** DATABASE_URL's role works for all services; `reason` says why and what would change it. */
  | { kind: "shared-role"; role: string; reason: string };

interface Facts {
  admin: string;
  database: string;
  may_create_role: boolean;
  is_superuser: boolean;
  may_create_schema: boolean;
  role_exists: boolean;
  schema_owner: string | null;
}

const FACTS = `
  SELECT current_user AS admin, current_database() AS database,
    r.rolsuper OR r.rolcreaterole AS may_create_role, r.rolsuper AS is_superuser,
    has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
    EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS role_exists,
    (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = $2) AS schema_owner
  FROM pg_roles r WHERE r.rolname = current_user`;

const NAME = /^[a-z][a-z0-9_]{0,40}$/;
const RESERVED = new Set(["public", "information_schema", "hms"]);

/** The role of a service. @throws HmsError INVALID_ARGUMENT if the name cannot be a schema's. */
function roleOf(service: string): string {
  if (NAME.test(service) && !service.startsWith("pg_") && !RESERVED.has(service)) return `hms_${service}`;
  throw new HmsError(
    "INVALID_ARGUMENT",
    `"${service}" cannot name a service's schema: use up to 41 lower-case letters, digits and underscores, beginning with a letter.`,
  );
}

/**
 * Makes sure that the service has its schema and, where DATABASE_URL's role may create roles, a role that owns this
 * schema and can reach no other. Safe from several processes at once.
 * @throws HmsError PERMISSION_DENIED if neither is possible.
 */
export async function ensureServiceRole(source: ConnectionSource, service: string): Promise<Isolation> {
  const role = roleOf(service);
  await using admin = await openAdmin(source);
  await admin.query("SET client_min_messages = warning");
  await admin.query("SET lock_timeout = '60s'");
  await admin.query("SELECT pg_advisory_lock($1)", [lockKey("service-roles")]);
  const [facts] = await admin.query<Facts>(FACTS, [role, service]);
  if (!facts) throw new HmsError("INTERNAL", "The database does not know the role it runs as.");
  const obstacle = obstacleToOwnRole(facts, role);
  if (obstacle) {
    await ensureSchema(admin, { service, facts, owner: facts.admin });
    return { kind: "shared-role", role: facts.admin, reason: obstacle };
  }
  await ensureRole(admin, { source, role, service, facts });
  await ensureSchema(admin, { service, facts, owner: role });
  await ensureDatabaseRights(admin, { source, role, facts });
  await ensurePassword(admin, source, role);
  return { kind: "own-role", role };
}

function obstacleToOwnRole(facts: Facts, role: string): string | undefined {
  const { admin, schema_owner: owner } = facts;
  if (!facts.may_create_role) {
    return (
      `The role ${admin} of DATABASE_URL may not create roles, so all services share it and nothing but their code keeps ` +
      `them apart. To separate them: ALTER ROLE ${admin} CREATEROLE, on a database without their schemas.`
    );
  }
  if (owner === null || owner === role) return undefined;
  return (
    `The schema belongs to ${owner}, from a time when services shared a role. To separate it: give the schema and ` +
    `everything in it to ${role} (ALTER SCHEMA, ALTER TABLE … OWNER TO), then restart.`
  );
}

interface RoleTask {
  source: ConnectionSource;
  role: string;
  service: string;
  facts: Facts;
}

/** Roles belong to the whole server, the lock to one database: two set-ups may still meet here. */
const SIMULTANEOUS = new Set(["42710", "23505", "XX000"]);

async function tolerateSimultaneous(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    const sqlstate = error instanceof HmsError ? (error.details.metadata?.sqlstate ?? "") : "";
    if (!SIMULTANEOUS.has(sqlstate)) throw error;
  }
}

async function ensureRole(admin: Connection, { source, role, service, facts }: RoleTask): Promise<void> {
  const name = escapeIdentifier(role);
  if (!facts.role_exists) {
    const verifier = escapeLiteral(scramVerifier(source.passwordOf(role)));
    await tolerateSimultaneous(admin.query(`CREATE ROLE ${name} LOGIN PASSWORD ${verifier}`));
  }
  const path = `search_path=${service}`;
  const [set] = await admin.query(
    `SELECT FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
     WHERE r.rolname = $1 AND s.setdatabase = 0 AND $2 = ANY (s.setconfig)`,
    [role, path],
  );
  if (!set)
    await tolerateSimultaneous(admin.query(`ALTER ROLE ${name} SET search_path = ${escapeIdentifier(service)}`));
  // Only a member of a role may make it the owner of something; a superuser always may.
  if (!facts.is_superuser) await tolerateSimultaneous(admin.query(`GRANT ${name} TO CURRENT_USER`));
}

interface SchemaTask {
  service: string;
  facts: Facts;
  owner: string;
}

async function ensureSchema(admin: Connection, { service, facts, owner }: SchemaTask): Promise<void> {
  if (facts.schema_owner !== null) return;
  if (!facts.may_create_schema) {
    throw new HmsError(
      "PERMISSION_DENIED",
      `The role ${facts.admin} of DATABASE_URL may not create the schema ${service}. As the database's owner: GRANT CREATE ON DATABASE ${facts.database} TO ${facts.admin}.`,
      { reason: "DATABASE_RIGHTS" },
    );
  }
  await admin.query(`CREATE SCHEMA ${escapeIdentifier(service)} AUTHORIZATION ${escapeIdentifier(owner)}`);
}

/** On our own server nobody may do anything unless told; on somebody else's we only add what our role needs. */
async function ensureDatabaseRights(admin: Connection, task: Omit<RoleTask, "service">): Promise<void> {
  const database = escapeIdentifier(task.facts.database);
  const [rights] = await admin.query<{ granted: boolean }>(
    `SELECT EXISTS (SELECT FROM pg_database d, aclexplode(d.datacl) a JOIN pg_roles r ON r.oid = a.grantee
       WHERE d.datname = current_database() AND r.rolname = $1 AND a.privilege_type = 'CONNECT') AS granted`,
    [task.role],
  );
  if (rights?.granted) return;
  if (task.source.kind === "embedded") {
    await admin.query(`REVOKE ALL ON DATABASE ${database} FROM PUBLIC`);
    await admin.query("REVOKE ALL ON SCHEMA public FROM PUBLIC");
  }
  await admin.query(`GRANT CONNECT, TEMPORARY ON DATABASE ${database} TO ${escapeIdentifier(task.role)}`);
}

/** Sets the role's password only if the present one does not open the door: running processes keep theirs. */
async function ensurePassword(admin: Connection, source: ConnectionSource, role: string): Promise<void> {
  const password = source.passwordOf(role);
  try {
    await using _probe = await openConnection({ ...source.as(role), password });
  } catch (error) {
    if (!(error instanceof HmsError) || error.code !== "UNAUTHENTICATED") throw error;
    const verifier = escapeLiteral(scramVerifier(password));
    await tolerateSimultaneous(admin.query(`ALTER ROLE ${escapeIdentifier(role)} LOGIN PASSWORD ${verifier}`));
  }
}
