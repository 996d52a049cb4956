import { createHmac } from "node:crypto";
import type { InstancePaths } from "@hms/config";
import { HmsError, OutgoingSocket } from "@hms/kernel";
import type { ClientConfig } from "pg";
import { parseIntoClientConfig } from "pg-connection-string";
import { ensureSecretFile, readSecretFile } from "./secret-file.ts";
import { ADMIN_ROLE, EMBEDDED_DATABASE, SOCKET_PORT } from "./server-settings.ts";

/** Where the database is and who may administer it. Holds no open connection. */
export interface ConnectionSource {
  kind: "embedded" | "external";
  /** For people: host, port and database, never a password. */
  description: string;
  /** Settings of the administrator (the embedded server's, or DATABASE_URL's role); reads its password each time. */
  admin(): Promise<ClientConfig>;
  /** Settings of another role on the same database, without its password. */
  as(role: string): ClientConfig;
  /** The password of a role of this installation; the same for all its processes, new after rotateDatabaseKey(). */
  passwordOf(role: string): string;
  /** Whether the password of DATABASE_URL is what all others are derived from. */
  keyOfUrl: boolean;
  /** The same server, another database. */
  withDatabase(database: string): ConnectionSource;
}

/** The folder of the embedded server's socket, mode 0700 and the database's own. */
export const embeddedSocketFolder = (paths: InstancePaths): string => `${paths.run}/pg`;
/** The file of the embedded administrator's password. */
export const embeddedPasswordFile = (paths: InstancePaths): string => `${paths.config}/postgres.password`;
/** The file of the key from which the services' passwords are derived. */
export const databaseKeyFile = (paths: InstancePaths): string => `${paths.config}/database.key`;

const derive = (key: string, role: string) => createHmac("sha256", key).update(`role:${role}`).digest("base64url");

/**
 * Says how to reach the installation's database: `databaseUrl` (postgres://…, with sslmode, sslrootcert, sslcert and
 * sslkey), else the embedded server.
 * @throws HmsError INVALID_ARGUMENT if the URL is not one, or a certificate file cannot be read.
 */
export function connectionSource(paths: InstancePaths, databaseUrl?: string): ConnectionSource {
  return databaseUrl ? externalSource(paths, databaseUrl) : embeddedSource(paths, EMBEDDED_DATABASE);
}

function embeddedSource(paths: InstancePaths, database: string): ConnectionSource {
  const host = embeddedSocketFolder(paths);
  // All said here: what is left out, pg takes from PGSSLMODE, PGPORT and their like.
  const base: ClientConfig = { host, port: SOCKET_PORT, database, ssl: false };
  return {
    kind: "embedded",
    description: `embedded PostgreSQL, socket ${host}, database ${database}`,
    admin: async () => ({ ...base, user: ADMIN_ROLE, password: adminPassword(paths) }),
    as: (role) => ({ ...base, user: role }),
    passwordOf: (role) => derive(ensureSecretFile(databaseKeyFile(paths)), role),
    keyOfUrl: false,
    withDatabase: (name) => embeddedSource(paths, name),
  };
}

function adminPassword(paths: InstancePaths): string {
  const password = readSecretFile(embeddedPasswordFile(paths));
  if (password) return password;
  throw new HmsError(
    "UNAVAILABLE",
    "The embedded PostgreSQL has not been set up yet; it is at the platform's first start.",
    { reason: "DATABASE_DOWN" },
  );
}

function externalSource(paths: InstancePaths, databaseUrl: string): ConnectionSource {
  const { user, password, ...base } = parseUrl(databaseUrl);
  const key = typeof password === "string" && password !== "" ? password : undefined;
  return {
    kind: "external",
    description: `PostgreSQL at ${base.host}:${base.port ?? SOCKET_PORT}, database ${base.database}, role ${user}`,
    admin: async () => ({ ...base, user, ...(password === undefined ? {} : { password }) }),
    as: (role) => ({ ...base, user: role }),
    // Derived from the URL's password if it has one: then every machine with the same DATABASE_URL agrees.
    passwordOf: (role) => derive(key ?? ensureSecretFile(databaseKeyFile(paths)), role),
    keyOfUrl: key !== undefined,
    withDatabase: (name) => externalSource(paths, otherDatabase(databaseUrl, name)),
  };
}

function otherDatabase(databaseUrl: string, name: string): string {
  const url = new URL(databaseUrl);
  url.pathname = `/${encodeURIComponent(name)}`;
  return url.href;
}

function parseUrl(databaseUrl: string): ClientConfig & { user: string; database: string; host: string } {
  const refuse = (why: string): never => {
    // The URL itself holds a password and is not repeated.
    throw new HmsError(
      "INVALID_ARGUMENT",
      `DATABASE_URL cannot be used: ${why}. Write postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full.`,
      { reason: "DATABASE_URL" },
    );
  };
  if (!/^postgres(ql)?:\/\//.test(databaseUrl)) refuse("it does not begin with postgres://");
  try {
    const { user, database, host, ...rest } = parseIntoClientConfig(databaseUrl);
    if (!user) return refuse("it names no user");
    if (!database) return refuse("it names no database");
    if (!host) return refuse("it names no host");
    return { ...rest, user, database, host, stream: () => new OutgoingSocket() };
  } catch (error) {
    if (error instanceof HmsError) throw error;
    return refuse((error as Error).message);
  }
}
