import { flushCompileCache } from "node:module";
import { connectionSource, openServiceDatabase } from "@hms/postgres";
import { serveSocket } from "@hms/wire";
import { type IdentityTables, identityMigrations } from "../index.ts";
import { serveIdentity } from "./serve-identity.ts";

/** Which database and key a process of the identity service has, and where it is reached. */
export interface HostTerms {
  readonly socket: string;
  readonly paths: Parameters<typeof connectionSource>[0];
  readonly database: string;
  readonly databaseUrl: string;
  readonly keyFile: string;
  readonly origin: string | undefined;
  /** Most connections to the database; default as everywhere. */
  readonly poolSize?: number;
}

// The identity service in a process of its own, for tests that kill it: identity-host.ts TERMS.
const terms = JSON.parse(process.argv[2] ?? "{}") as HostTerms;
const source = connectionSource(terms.paths, terms.databaseUrl || undefined).withDatabase(terms.database);
// Work that a test holds up may wait.
const held = { statementTimeoutMs: 600_000, ...(terms.poolSize ? { poolSize: terms.poolSize } : {}) };
const options = { source, service: "identity", migrations: identityMigrations, ...held };
const database = await openServiceDatabase<IdentityTables>(options);
const { kernel, port, origin } = await serveIdentity({
  database,
  keyFile: terms.keyFile,
  origin: terms.origin,
  record: () => {},
  onFailure: (error) => console.error(error),
});
await serveSocket(kernel, { path: terms.socket });
process.stdout.write(`${JSON.stringify({ port, origin })}\n`);
// Who is killed cannot leave it behind at its end.
setTimeout(flushCompileCache, 1000).unref();
